trigger
run
on-degraded
rollout.yaml
--config-map
cm.yaml
