trigger
run
on-rollout-completed
rollout.yaml
--config-map
both.yaml
