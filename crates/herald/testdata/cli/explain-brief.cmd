explain
explain-web.yaml
--config-map
explain-cm.yaml
--brief
--trigger
on-green
