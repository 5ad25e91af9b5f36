template
notify
words
missing.yaml
--config-map
both.yaml
