//! One trace for each notice, as a collector gets it at its OTLP endpoint.

#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Output},
};

use herald_testkit::http::{Answer, Recorder};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span, status::StatusCode},
};
use prost::Message as _;

const MANIFESTS: &str = r#"
kind: ConfigMap
metadata: {name: argo-rollouts-notification-configmap}
data:
  service.webhook.hook: |
    url: URL/path-s3cret-of-address
    retryMax: 1
    retryWaitMin: 1ms
    retryWaitMax: 1ms
    headers: [{name: Authorization, value: Bearer $token}]
  trigger.on-blue: |
    - {when: "true", send: [blue]}
  template.blue: |
    webhook: {hook: {method: POST, body: "blue"}}
---
kind: Secret
metadata: {name: argo-rollouts-notification-secret}
stringData: {token: s3cret-of-header}
---
kind: Rollout
metadata:
  name: web
  namespace: shop
  uid: u1
  annotations: {notifications.argoproj.io/subscribe.on-blue.hook: ""}
"#;

/// What a run of it over the directory gives, with this collector.
fn run(place: &Path, receiver: &Recorder, endpoint: &str) -> Output {
    let dir = place.join("manifests");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("all.yaml"), MANIFESTS.replace("URL", &receiver.url(""))).unwrap();
    Command::new(env!("CARGO_BIN_EXE_herald"))
        .args(["run", "--once", "--state"])
        .arg(place.join("state.db"))
        .arg(&dir)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        .env("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
        .output()
        .unwrap()
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.clone()?.value? {
        Value::StringValue(text) => Some(text),
        Value::IntValue(number) => Some(number.to_string()),
        other => panic!("{other:?}"),
    }
}

/// The spans that a collector got, by the times they began.
fn spans(collector: &Recorder) -> Vec<Span> {
    let mut spans = Vec::new();
    for request in collector.requests() {
        assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/v1/traces"));
        assert_eq!(request.header("content-type"), Some("application/x-protobuf"));
        let request = ExportTraceServiceRequest::decode(request.body.as_slice()).unwrap();
        for of_resource in request.resource_spans {
            let resource = of_resource.resource.unwrap().attributes;
            assert_eq!(text(&resource, "service.name").as_deref(), Some("herald"));
            assert_eq!(text(&resource, "deployment.environment.name").as_deref(), Some("test"));
            spans.extend(of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
        }
    }
    spans.sort_by_key(|span| (span.start_time_unix_nano, std::cmp::Reverse(span.end_time_unix_nano)));
    spans
}

fn is_error(span: &Span) -> bool {
    span.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_is_one_trace_from_the_change_to_the_accepted_request() {
    let place = tempfile::tempdir().unwrap();
    let (receiver, collector) = (Recorder::start().await, Recorder::start().await);
    // The service tries a request twice in one attempt, as it is configured.
    receiver.script([Answer::status(500), Answer::status(500)]);
    let ran = run(place.path(), &receiver, &collector.url(""));
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert_eq!(receiver.requests().len(), 3);

    let spans = spans(&collector);
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["notice on-blue", "enqueue", "attempt hook", "POST", "POST", "attempt hook", "POST"]);
    let [root, enqueue, failed, refused, again, arrived, accepted] = &spans[..] else { panic!("{names:?}") };
    assert!(spans.iter().all(|span| span.trace_id == root.trace_id && span.trace_id.len() == 16));
    assert!(root.parent_span_id.is_empty());
    for child in [enqueue, failed, arrived] {
        assert_eq!(child.parent_span_id, root.span_id);
        assert!(child.start_time_unix_nano >= root.start_time_unix_nano);
        assert!(child.end_time_unix_nano <= root.end_time_unix_nano);
    }
    assert_eq!(refused.parent_span_id, failed.span_id);
    assert_eq!(again.parent_span_id, failed.span_id);
    assert_eq!(accepted.parent_span_id, arrived.span_id);
    assert_eq!(
        spans.iter().map(is_error).collect::<Vec<_>>(),
        [false, false, true, true, true, false, false]
    );
    assert_eq!(text(&refused.attributes, "http.response.status_code").as_deref(), Some("500"));
    assert_eq!(text(&accepted.attributes, "http.response.status_code").as_deref(), Some("200"));
    assert_eq!(text(&arrived.attributes, "herald.attempt").as_deref(), Some("2"));
    let about: BTreeMap<&str, &str> = BTreeMap::from([
        ("k8s.namespace.name", "shop"),
        ("herald.kind", "Rollout"),
        ("herald.object", "web"),
        ("herald.trigger", "on-blue"),
        ("herald.service", "hook"),
    ]);
    for (key, value) in about {
        assert_eq!(text(&root.attributes, key).as_deref(), Some(value), "{key}");
    }
    for request in collector.requests() {
        assert!(!String::from_utf8_lossy(&request.body).contains("s3cret"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_up_is_an_error_and_keeps_its_trace() {
    let place = tempfile::tempdir().unwrap();
    let (receiver, collector) = (Recorder::start().await, Recorder::start().await);
    receiver.script([Answer::status(400)]);
    let ran = run(place.path(), &receiver, &collector.url(""));
    assert_eq!(ran.status.code(), Some(1), "{}", String::from_utf8_lossy(&ran.stderr));
    let first = spans(&collector);
    assert!(is_error(&first[0]) && first[0].name == "notice on-blue");
    // Sent again by a person, by another process: the same trace.
    let resent = Command::new(env!("CARGO_BIN_EXE_herald"))
        .args(["deliveries", "resend", "--outcome", "dead-letter", "--state"])
        .arg(place.path().join("state.db"))
        .output()
        .unwrap();
    assert!(resent.status.success(), "{}", String::from_utf8_lossy(&resent.stderr));
    collector.clear();
    let ran = run(place.path(), &receiver, &collector.url(""));
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let second = spans(&collector);
    assert!(!second.is_empty() && second.iter().all(|span| span.trace_id == first[0].trace_id));
    assert!(!is_error(&second[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_not_there_hinders_nothing() {
    let place = tempfile::tempdir().unwrap();
    let receiver = Recorder::start().await;
    let ran = run(place.path(), &receiver, "http://127.0.0.1:1");
    let told = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{told}");
    assert_eq!(receiver.requests().len(), 1);
    assert!(told.contains("spans are lost"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_collector_there_are_no_traces() {
    let place = tempfile::tempdir().unwrap();
    let receiver = Recorder::start().await;
    let ran = run(place.path(), &receiver, "");
    let told = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success() && !told.contains("spans"), "{told}");
}
