template
notify
first,second
rollout.yaml
--config-map
cm.yaml
--secret
secret.yaml
