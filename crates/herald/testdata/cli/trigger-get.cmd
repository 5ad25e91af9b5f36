trigger
get
--config-map
cm.yaml
