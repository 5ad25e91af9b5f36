template
get
nope
--config-map
cm.yaml
--compat-exit-codes
