template
get
second
--config-map
cm.yaml
-o
json
