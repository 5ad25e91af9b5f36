template
get
nope
--config-map
cm.yaml
