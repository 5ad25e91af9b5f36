//! `herald explain` beside `herald run`: what was sent, what failed, and what was decided before.

#![allow(clippy::unwrap_used)] // a test that cannot go on says where

use std::{
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

fn herald(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_herald"))
        .args(arguments)
        .current_dir(dir)
        .env_remove("RUST_LOG")
        .env("HERALD_STATE", dir.join("state.db"))
        .output()
        .unwrap()
}

fn explained(dir: &Path, arguments: &[&str]) -> (Option<i32>, Value) {
    let all = [&["explain", "manifests"], arguments, &["-o", "json"]].concat();
    let output = herald(dir, &all);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let json: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {said}"));
    (output.status.code(), json)
}

const CONFIGURATION: &str = "
kind: ConfigMap
metadata: {name: argo-rollouts-notification-configmap}
data:
  service.webhook.nowhere: |
    url: http://127.0.0.1:1/
  template.t: 'message: hello'
  trigger.on-degraded: |
    - when: rollout.status.phase == 'Degraded'
      send: [t]
  trigger.on-rollout-degraded: |
    - send: [t]
";

fn scene(phase: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("manifests")).unwrap();
    std::fs::write(dir.path().join("manifests/cm.yaml"), CONFIGURATION).unwrap();
    write(dir.path(), phase);
    dir
}

fn write(dir: &Path, phase: &str) {
    let subscribe = "notifications.argoproj.io/subscribe";
    let text = format!(
        "kind: Rollout\nmetadata:\n  name: web\n  namespace: shop\n  annotations:\n    \
         {subscribe}.on-degraded.console: stdout\n    {subscribe}.on-degraded.nowhere: ''\n    \
         {subscribe}.on-rollout-degraded.lost: ''\nstatus: {{phase: {phase}}}\n"
    );
    std::fs::write(dir.join("manifests/web.yaml"), text).unwrap();
}

/// (trigger → to) → (verdict, gate, sentence)
fn answers(explanation: &Value) -> Vec<(String, String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or("none").to_owned();
    let list = explanation["answers"].as_array().unwrap();
    let of = |answer: &Value| {
        let to = format!("{} → {}", text(&answer["trigger"]), text(&answer["to"]["service"]));
        (to, text(&answer["verdict"]), text(&answer["stoppedBy"]), text(&answer["sentence"]))
    };
    list.iter().map(of).collect()
}

#[test]
fn what_run_did_is_what_explain_tells() {
    let dir = scene("Degraded");
    // Before anything ran: what would be sent.
    let before = herald(dir.path(), &["explain", "manifests", "web"]);
    assert!(
        String::from_utf8_lossy(&before.stderr).contains("there is no state file"),
        "a named one is needed"
    );
    herald(dir.path(), &["run", "manifests", "--once"]);

    let (code, json) = explained(dir.path(), &["web"]);
    assert_eq!(code, Some(1));
    let found = answers(&json["items"][0]);
    let of =
        |to: &str| found.iter().find(|(name, ..)| name == to).unwrap_or_else(|| panic!("{to}: {json:#}"));
    let (_, verdict, gate, sentence) = of("on-degraded → console");
    assert_eq!((verdict.as_str(), gate.as_str()), ("told", "not-sent-before"), "{sentence}");
    let (_, verdict, gate, sentence) = of("on-degraded → nowhere");
    assert_eq!((verdict.as_str(), gate.as_str()), ("queued", "delivered"), "{sentence}");
    assert!(sentence.contains("3 attempts failed; last answer: "), "{sentence}");
    // What happened once, and could not be told, is a dead letter.
    let (_, verdict, gate, sentence) = of("on-rollout-degraded → lost");
    assert_eq!((verdict.as_str(), gate.as_str()), ("wrong", "delivered"), "{sentence}");
    assert!(sentence.contains("there is no usable service `lost`"), "{sentence}");

    // The decision was kept, and what became of it is known.
    let (_, json) = explained(dir.path(), &["web", "--at", "1"]);
    let kept = &json["items"][0];
    assert_eq!(kept["decision"], 1);
    assert!(kept["happened"].as_array().unwrap().iter().any(|event| event["reason"] == "RolloutDegraded"));
    let found = answers(kept);
    let verdicts: Vec<(&str, &str)> =
        found.iter().map(|(name, verdict, ..)| (name.as_str(), verdict.as_str())).collect();
    for wanted in [
        ("on-degraded → console", "told"),
        ("on-degraded → nowhere", "queued"),
        ("on-rollout-degraded → lost", "wrong"),
    ] {
        assert!(verdicts.contains(&wanted), "{wanted:?} is not in {verdicts:?}");
    }
    let history = herald(dir.path(), &["explain", "manifests", "web", "--history"]);
    let history = String::from_utf8_lossy(&history.stdout).into_owned();
    assert_eq!(history.lines().count(), 2, "{history}");
    assert!(history.contains("Rollout shop/web"), "{history}");
    let missing = herald(dir.path(), &["explain", "manifests", "web", "--at", "7"]);
    assert!(String::from_utf8_lossy(&missing.stderr).contains("decision 7 is not kept; kept are 1"));
    assert_eq!(missing.status.code(), Some(1));
}

#[test]
fn only_the_last_decisions_are_kept() {
    let dir = scene("Healthy");
    for _ in 0..12 {
        for phase in ["Degraded", "Healthy"] {
            write(dir.path(), phase);
            // Nobody who makes it wait.
            let file = dir.path().join("manifests/web.yaml");
            let text = std::fs::read_to_string(&file).unwrap();
            std::fs::write(&file, text.replace("on-degraded.nowhere", "on-degraded.lost")).unwrap();
            herald(dir.path(), &["run", "manifests", "--once"]);
        }
    }
    let (_, json) = explained(dir.path(), &["web", "--history"]);
    let kept = json["items"].as_array().unwrap();
    let numbers: Vec<u64> = kept.iter().map(|one| one["decision"].as_u64().unwrap()).collect();
    assert!(numbers.len() == 10 && *numbers.last().unwrap() >= 12, "{numbers:?}");
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{numbers:?}");
}

#[test]
fn resources_that_are_not_there_are_named() {
    let dir = scene("Healthy");
    herald(dir.path(), &["run", "manifests", "--once"]);
    let output = herald(dir.path(), &["explain", "manifests", "wep"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("there is no Rollout `wep`; did you mean `web`?"), "{said}");
}
