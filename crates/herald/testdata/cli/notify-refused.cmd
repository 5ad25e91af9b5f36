template
notify
first
rollout.yaml
--config-map
cm.yaml
--recipient
closed:x
