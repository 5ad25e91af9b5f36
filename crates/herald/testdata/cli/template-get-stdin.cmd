template
get
second
--config-map
-
