template
notify
fails
rollout.yaml
--config-map
cm.yaml
