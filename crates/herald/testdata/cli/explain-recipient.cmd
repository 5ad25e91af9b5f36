explain
explain-recipient.yaml
--brief
--config-map
explain-recipient.yaml
