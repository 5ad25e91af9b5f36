template
get
--config-map
cm.yaml
