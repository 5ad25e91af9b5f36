template
notify
first
web
--config-map
cm.yaml
