-- What a long history needs: its oldest rows without a walk over what waits or is dead, and one object's rows.
CREATE INDEX notice_done ON notice (place) WHERE outcome IN (1, 3, 4, 5);
CREATE INDEX notice_object ON notice (namespace, name, place);
CREATE INDEX handle_updated ON handle (updated);
