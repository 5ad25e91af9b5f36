-- All that filters ask for, so that looking for something rare in a long history never reads rows with their payloads.
CREATE INDEX notice_filter
  ON notice (place, outcome, created, "trigger", service, recipient, namespace, name, kind);
