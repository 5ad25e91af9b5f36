eval
--expr
rollout.status.phase + '!'
--object
rollout.yaml
