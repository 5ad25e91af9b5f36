template
get
--config-map
secret.yaml
