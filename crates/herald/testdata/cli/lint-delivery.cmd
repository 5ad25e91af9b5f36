lint
lint-delivery.yaml
