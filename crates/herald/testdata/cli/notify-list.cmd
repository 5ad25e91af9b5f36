template
notify
words
rollout.yaml
--config-map
list.yaml
