explain
rollout.yaml
--config-map
explain-cm.yaml
