template
notify
words
rollout.yaml
--config-map
both.yaml
