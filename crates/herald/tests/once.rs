//! What a look tells once: Kubernetes Events, and completions.

#![allow(clippy::unwrap_used)]

use std::{fs, path::Path, process::Command};

const ROLLOUT: &str = r#"
kind: Rollout
metadata:
  name: web
  namespace: shop
  uid: u1
  annotations: {notifications.argoproj.io/subscribe.on-traffic-routing-error.console: stdout}
spec: {strategy: {canary: {steps: [{setWeight: 20}]}}}
"#;

const EVENT: &str = r#"
kind: Event
metadata: {name: web.1, namespace: shop, uid: e1}
involvedObject: {kind: Rollout, namespace: shop, name: web, uid: u1}
reason: TrafficRoutingError
type: Warning
message: the ingress is missing
source: {component: rollouts-controller}
count: COUNT
firstTimestamp: "2026-11-23T00:20:00Z"
lastTimestamp: "2026-11-23T00:20:00Z"
"#;

/// What one run over the directory prints.
fn run(dir: &Path) -> String {
    let state = dir.with_extension("db");
    let run = Command::new(env!("CARGO_BIN_EXE_herald"))
        .args(["run", "--once", "--state"])
        .arg(&state)
        .arg(dir)
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).unwrap()
}

#[test]
fn an_episode_is_told_once() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("manifests");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("rollout.yaml"), ROLLOUT).unwrap();
    assert_eq!(run(&dir), "");
    fs::write(dir.join("event.yaml"), EVENT.replace("COUNT", "1")).unwrap();
    let told = run(&dir);
    assert_eq!(told.matches("the ingress is missing").count(), 1, "{told}");
    // The same again, and once more within its quiet time, is the same episode.
    assert_eq!(run(&dir), "");
    fs::write(dir.join("event.yaml"), EVENT.replace("COUNT", "2")).unwrap();
    assert_eq!(run(&dir), "");
}

#[test]
fn a_first_look_does_not_tell_that_the_version_before_was_completed() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("manifests");
    fs::create_dir(&dir).unwrap();
    let write = |revision: u32, status: &str| {
        let rollout = format!(
            "kind: Rollout\nmetadata:\n  name: web\n  uid: u1\n  annotations:\n    \
             rollout.argoproj.io/revision: \"{revision}\"\n    \
             notifications.argoproj.io/subscribe.on-rollout-completed.console: stdout\n\
             spec: {{strategy: {{canary: {{}}}}}}\nstatus: {status}\n"
        );
        fs::write(dir.join("rollout.yaml"), rollout).unwrap();
    };
    write(2, "{phase: Progressing, currentPodHash: h1, stableRS: h0}");
    assert_eq!(run(&dir), "");
    write(2, "{phase: Healthy, currentPodHash: h1, stableRS: h1}");
    let told = run(&dir);
    assert_eq!(told.matches("web is completed").count(), 1, "{told}");
    assert_eq!(run(&dir), "");
}
