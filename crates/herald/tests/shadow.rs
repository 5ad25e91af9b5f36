//! `herald shadow` on recordings of the real controller, and on made-up annotations.

#![allow(clippy::unwrap_used)] // a test that cannot go on says where

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// The triggers of the recordings that are conditions on the state.
const CONFIGURATION: &str = "
kind: ConfigMap
metadata: {name: argo-rollouts-notification-configmap}
data:
  service.webhook.rec: 'url: http://127.0.0.1:1/'
  template.t: 'message: x'
  trigger.when-healthy: |
    - when: rollout.status.phase == 'Healthy'
      oncePer: rollout.status.currentPodHash
      send: [t]
  trigger.when-degraded: |
    - when: rollout.status.phase == 'Degraded'
      send: [t]
  trigger.when-paused: |
    - when: rollout.status.phase == 'Paused'
      send: [t]
  subscriptions: |
    - recipients: [rec]
      triggers: [when-healthy, when-degraded, when-paused]
";

fn shadow(arguments: &[&Path]) -> (Option<i32>, serde_json::Value, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_herald"))
        .arg("shadow")
        .args(arguments)
        .args(["-o", "json"])
        .env_remove("RUST_LOG")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or_default(), said)
}

#[test]
fn what_the_real_controller_recorded_is_what_herald_would_have_sent() {
    let traces = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/traces/a");
    let Ok(entries) = std::fs::read_dir(&traces) else {
        eprintln!("SKIPPED: {} is not there", traces.display());
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let configuration = dir.path().join("cm.yaml");
    std::fs::write(&configuration, CONFIGURATION).unwrap();
    let mut same = 0;
    for entry in entries {
        let path = entry.unwrap().path();
        let (code, report, said) = shadow(&[&path, Path::new("--config-map"), &configuration]);
        assert_eq!(code, Some(0), "{}: {report:#} {said}", path.display());
        let both = report["counts"]["both"].as_u64().unwrap_or(0);
        assert!(both > 0, "{}: nothing was compared", path.display());
        same += both;
    }
    assert!(same >= 70, "{same}");
}

/// A difference that is not meant is found: a changed condition has another key.
#[test]
fn a_difference_is_found_in_a_recording() {
    let trace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/traces/a/canary-abort-retry/stream.jsonl");
    if !trace.exists() {
        eprintln!("SKIPPED: {} is not there", trace.display());
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let configuration = dir.path().join("cm.yaml");
    std::fs::write(&configuration, CONFIGURATION.replace("'Paused'", "'Progressing'")).unwrap();
    let (code, report, _) = shadow(&[&trace, Path::new("--config-map"), &configuration]);
    assert_eq!(code, Some(1));
    let of = |kind: &str| {
        let lines = report["lines"].as_array().unwrap();
        lines.iter().filter(|line| line["kind"] == kind && line["trigger"] == "when-paused").count()
    };
    assert!(of("only-reference") == 3 && of("only-herald") > 0, "{report:#}");
}

fn rollout(name: &str, annotations: &str, phase: &str) -> String {
    format!(
        "---\nkind: Rollout\nmetadata:\n  name: {name}\n  namespace: shop\n  annotations:\n    \
         notified.notifications.argoproj.io: '{annotations}'\n  labels: {{app: {name}}}\n\
         status: {{phase: {phase}, currentPodHash: abc}}\n"
    )
}

#[test]
fn annotations_are_compared_and_differences_explained() {
    const HEALTHY: &str = "abc:when-healthy:[0].qYwPqtSSDQgdyGN38qWobdZi5qc:rec:";
    const DEGRADED: &str = "when-degraded:[0].znepfVmnAvPuvsSa8G4jaiZ4500:rec:";
    let dir = tempfile::tempdir().unwrap();
    let file: PathBuf = dir.path().join("all.yaml");
    let cases = [
        // (name, record, phase, kind, meant, words)
        ("same", HEALTHY.to_owned(), "Healthy", "both", true, ""),
        ("unrecorded", String::new(), "Healthy", "only-herald", false, "has not looked"),
        ("gone", DEGRADED.to_owned(), "Progressing", "only-reference", false, "is false"),
        (
            "older",
            HEALTHY.replace("abc", "old"),
            "Progressing",
            "past",
            true,
            "an earlier value of `oncePer`",
        ),
        ("edited", DEGRADED.replace("znep", "zzzz"), "Progressing", "past", true, "no such condition"),
        ("dropped", DEGRADED.replace(":rec:", ":slack:x"), "Progressing", "past", true, "not subscribed"),
        ("renamed", DEGRADED.replace("when-", "then-"), "Progressing", "past", true, "no trigger"),
    ];
    let mut text = CONFIGURATION.to_owned();
    for (name, record, phase, ..) in &cases {
        let record = if record.is_empty() { "{}".to_owned() } else { format!("{{\"{record}\":1700000000}}") };
        text.push_str(&rollout(name, &record, phase));
    }
    std::fs::write(&file, &text).unwrap();
    let (code, report, said) = shadow(&[&file]);
    assert_eq!(code, Some(1), "{said}");
    for (name, _, _, kind, meant, words) in &cases {
        let lines = report["lines"].as_array().unwrap();
        let of: Vec<_> = lines.iter().filter(|line| line["rollout"] == format!("shop/{name}")).collect();
        assert_eq!(of.len(), 1, "{name}: {report:#}");
        assert_eq!(
            (&of[0]["kind"], &of[0]["meant"]),
            (&(*kind).into(), &(*meant).into()),
            "{name}: {report:#}"
        );
        assert!(of[0]["why"].as_str().unwrap_or_default().contains(words), "{name}: {report:#}");
    }
    assert_eq!(report["differences"], 2);
}

/// What Herald adds on purpose is told as meant: `for`, recipients with colons, one broken key.
#[test]
fn what_is_meant_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("all.yaml");
    let record = r#"{"when-degraded:[0].znepfVmnAvPuvsSa8G4jaiZ4500:rec:":1700000000}"#;
    let waits = CONFIGURATION.replace("'Degraded'\n      send", "'Degraded'\n      for: 5m\n      send");
    let cut = CONFIGURATION.replace("recipients: [rec]", "recipients: ['rec:a:b']");
    let cut_record = record.replace(":rec:", ":rec:a");
    let broken = format!("{CONFIGURATION}  trigger.broken: '- when: ('\n");
    for (configuration, record, words) in [
        (waits, record, "ignores `for`"),
        (cut, cut_record.as_str(), "cuts the recipient"),
        (broken, "{}", "rejects the whole ConfigMap while `trigger.broken` is wrong"),
    ] {
        std::fs::write(&file, configuration + &rollout("web", record, "Degraded")).unwrap();
        let (code, report, said) = shadow(&[&file]);
        assert_eq!(code, Some(0), "{words}: {report:#} {said}");
        let lines = report["lines"].as_array().unwrap();
        let why = lines.iter().find(|line| line["kind"] != "event").unwrap()["why"].as_str().unwrap();
        assert!(why.contains(words), "{report:#}");
    }
}
