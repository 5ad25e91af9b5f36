trigger
get
on-event
-o
json
--config-map
cm.yaml
