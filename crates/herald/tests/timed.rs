//! `herald run DIR`: conditions that wait for a time, and notices that cannot be made.

// Helpers of tests may fail loudly, too.
#![allow(clippy::unwrap_used)]

use std::{
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use herald_testkit::http::{Answer, Recorder};

const PATIENCE: Duration = Duration::from_secs(60);

fn herald(args: &[&str], dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_herald"));
    command.args(args).arg("--state").arg(dir.join("state.db")).env("NO_COLOR", "1").env_remove("RUST_LOG");
    command
}

fn rollout(phase: &str, subscription: &str) -> String {
    format!(
        r#"apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata:
  name: web
  namespace: shop
  uid: uid-web
  creationTimestamp: "2026-01-01T00:00:00Z"
  annotations:
    rollout.argoproj.io/revision: "1"
    notifications.argoproj.io/{subscription}: ""
spec:
  replicas: 1
  template: {{spec: {{containers: [{{name: web, image: "web:1"}}]}}}}
status: {{phase: {phase}, currentPodHash: h1, stableRS: h1}}
"#
    )
}

fn configuration(url: &str) -> String {
    format!(
        r#"apiVersion: v1
kind: ConfigMap
metadata: {{name: argo-rollouts-notification-configmap, namespace: argo-rollouts}}
data:
  service.webhook.hook: |
    url: {url}
  template.bad: |
    webhook: {{hook: {{method: POST, body: bad}}}}
  template.good: |
    webhook: {{hook: {{method: POST, body: good}}}}
  trigger.on-degraded: |
    - when: rollout.status.phase == 'Degraded'
      for: 2s
      repeatEvery: 2s
      resolve: [good]
      send: [bad]
"#
    )
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_that_lasts_is_told_repeated_and_resolved_without_a_change() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("manifests");
    std::fs::create_dir(&dir).unwrap();
    let sink = Recorder::start().await;
    sink.otherwise(Answer::status(200));
    let began = std::time::Instant::now();
    std::fs::write(dir.join("config.yaml"), configuration(&sink.url("/hook"))).unwrap();
    std::fs::write(dir.join("web.yaml"), rollout("Degraded", "subscribe.on-degraded.hook")).unwrap();
    let mut child = herald(&["run", dir.to_str().unwrap(), "--notify-existing"], home.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Nothing changes in the directory.
    sink.wait_for(1, PATIENCE).await.expect("the first");
    assert!(began.elapsed() >= Duration::from_secs(2), "not before its time");
    sink.wait_for(2, PATIENCE).await.expect("a repetition");
    assert!(began.elapsed() >= Duration::from_secs(4), "not before its time");
    std::fs::write(dir.join("web.yaml"), rollout("Healthy", "subscribe.on-degraded.hook")).unwrap();
    let mut bodies: Vec<String> = Vec::new();
    let mut wanted = 3;
    while bodies.last().is_none_or(|body| body != "good") {
        let requests = sink.wait_for(wanted, PATIENCE).await.expect("the end");
        bodies = requests.iter().map(|request| request.text()).collect();
        wanted = bodies.len() + 1;
    }
    assert!(bodies.iter().rev().skip(1).all(|body| body == "bad"), "{bodies:?}");
    // It ends in order, so that what was accepted is known to be.
    let ended = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(ended.success() && child.wait().unwrap().success());

    let output = herald(&["run", dir.to_str().unwrap(), "--once"], home.path()).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(sink.requests().len(), bodies.len(), "a restart repeats nothing");
}

#[test]
fn an_event_whose_service_is_missing_becomes_a_dead_letter() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("manifests");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("web.yaml"), rollout("Healthy", "subscribe.on-rollout-completed.nosuch"))
        .unwrap();
    for _ in 0..2 {
        let output = herald(&["run", dir.to_str().unwrap(), "--once"], home.path()).output().unwrap();
        assert!(text(&output).contains("nosuch"), "{}", text(&output));
    }
    let list = herald(&["deliveries", "list", "--outcome", "dead-letter"], home.path()).output().unwrap();
    let lines = text(&list);
    let lost: Vec<&str> = lines.lines().filter(|line| line.contains("on-rollout-completed")).collect();
    assert_eq!(lost.len(), 1, "{}", text(&list));
}
