template
get
--config-map
cm.yaml
-o
name
