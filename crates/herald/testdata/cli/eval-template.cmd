eval
--template
{{.rollout.metadata.name | upper}}
--object
rollout.yaml
