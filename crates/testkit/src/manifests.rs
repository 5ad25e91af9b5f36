//! The directory that tests of the whole program watch: a Rollout, and what says whom to tell of it.

/// The secret that requests to the service `hook` carry.
pub const TOKEN: &str = "s3cret-token";

/// A Rollout in the namespace `shop` whose revision is done, subscribed to `on-done` at the service `hook`.
pub fn rollout(name: &str, revision: u32) -> String {
    format!(
        r#"apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata:
  name: {name}
  namespace: shop
  uid: uid-{name}
  creationTimestamp: "2026-01-01T00:00:00Z"
  annotations:
    rollout.argoproj.io/revision: "{revision}"
    notifications.argoproj.io/subscribe.on-done.hook: ""
spec:
  replicas: 1
  strategy: {{canary: {{steps: [{{setWeight: 20}}, {{pause: {{}}}}]}}}}
  template: {{spec: {{containers: [{{name: web, image: "web:{revision}"}}]}}}}
status: {{phase: Healthy, currentPodHash: h{revision}, stableRS: h{revision}}}
"#
    )
}

/// A ConfigMap with a trigger, a template and the service `hook` at this URL, and the Secret with [`TOKEN`] that it names.
pub fn configuration(url: &str) -> String {
    format!(
        r#"apiVersion: v1
kind: ConfigMap
metadata: {{name: argo-rollouts-notification-configmap, namespace: argo-rollouts}}
data:
  service.webhook.hook: |
    url: {url}
    headers: [{{name: Authorization, value: Bearer $token}}]
    retryMax: 0
  template.done: |
    webhook:
      hook:
        method: POST
        body: "{{{{.rollout.metadata.name}}}} {{{{.rollout.status.currentPodHash}}}}"
  trigger.on-done: |
    - when: rollout.status.phase == 'Healthy'
      oncePer: rollout.status.currentPodHash
      send: [done]
---
apiVersion: v1
kind: Secret
metadata: {{name: argo-rollouts-notification-secret, namespace: argo-rollouts}}
stringData: {{token: {TOKEN}}}
"#
    )
}
