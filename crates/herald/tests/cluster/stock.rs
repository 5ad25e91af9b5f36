//! The nine stock triggers, applied with kubectl, on rollouts whose status goes through a whole canary as it was recorded
//! from the real controller.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
    process::Command,
    time::Duration,
};

use herald_testkit::{
    apiserver::{Api, wait_for},
    http::Answer,
};
use serde_json::{Value, json};

use crate::{
    baseline::traces,
    scene::{NOTIFIED, PATIENCE, Scene},
};

const STOCK: [&str; 9] = [
    "on-rollout-updated",
    "on-rollout-step-completed",
    "on-rollout-completed",
    "on-rollout-paused",
    "on-rollout-aborted",
    "on-scaling-replica-set",
    "on-analysis-run-running",
    "on-analysis-run-error",
    "on-analysis-run-failed",
];

/// The longest pause between two writes: a recording's waits are shortened to it.
const PACE: Duration = Duration::from_millis(150);

/// Writes what a recording's controllers wrote, under their names.
struct Player<'a> {
    scene: &'a Scene,
    /// The last version of each object, by kind and name, and who wrote it.
    seen: HashMap<(String, String), (Value, String)>,
    /// Recorded uids to those on this server.
    uids: HashMap<String, String>,
}

impl Player<'_> {
    fn path(&self, object: &Value) -> String {
        match object["kind"].as_str().unwrap() {
            "ReplicaSet" => format!("/apis/apps/v1/namespaces/{}/replicasets", self.scene.namespace),
            kind => Api::argo(&self.scene.namespace, &format!("{}s", kind.to_lowercase())),
        }
    }

    async fn patch(&self, path: &str, manager: &str, patch: &Value) {
        let path = format!("{path}?fieldManager={manager}");
        Api::done(self.scene.api.merge(&path, patch).await);
    }

    async fn write(&mut self, object: &Value, annotations: &Value) {
        let key = (object["kind"].as_str().unwrap().to_string(), name(object).to_string());
        let collection = self.path(object);
        let path = format!("{collection}/{}", name(object));
        let has_status = key.0 != "AnalysisRun";
        let main = main_part(object);
        let Some((old, last)) = self.seen.get(&key).cloned() else {
            let mut created = main.clone();
            created["metadata"]["name"] = key.1.clone().into();
            if key.0 == "Rollout" {
                merge(&mut created["metadata"], &json!({"annotations": annotations}));
            }
            let owners = object["metadata"]["ownerReferences"].clone();
            let mapped = owners.as_array().cloned().unwrap_or_default().into_iter().map(|mut owner| {
                let uid = self.uids.get(owner["uid"].as_str().unwrap()).cloned();
                owner["uid"] = uid.expect("owners come first").into();
                owner
            });
            created["metadata"]["ownerReferences"] = mapped.collect();
            if !has_status {
                created["status"] = object["status"].clone();
            }
            let manager = manager(&Value::Null, object).unwrap_or_else(|| "rollouts-controller".into());
            let collection = format!("{collection}?fieldManager={manager}");
            let made = Api::done(self.scene.api.create(&collection, &created).await);
            let uid = |object: &Value| object["metadata"]["uid"].as_str().unwrap().to_string();
            self.uids.insert(uid(object), uid(&made));
            if has_status && object["status"].as_object().is_some_and(|status| !status.is_empty()) {
                self.patch(&format!("{path}/status"), &manager, &json!({"status": object["status"]})).await;
            }
            self.seen.insert(key, (object.clone(), manager));
            return;
        };
        let manager = manager(&old, object).unwrap_or(last);
        if let Some(patch) = difference(&main_part(&old), &main) {
            self.patch(&path, &manager, &patch).await;
        }
        let status = |object: &Value| json!({"status": object.get("status").cloned().unwrap_or(json!({}))});
        if let Some(patch) = difference(&status(&old), &status(object)) {
            let path = if has_status { format!("{path}/status") } else { path };
            self.patch(&path, &manager, &patch).await;
        }
        self.seen.insert(key, (object.clone(), manager));
    }
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap()
}

/// What is written without the status: labels, annotations but the record, and the specification.
fn main_part(object: &Value) -> Value {
    let word = |name: &str| object[name].clone();
    let mut annotations = object["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
    annotations.remove(NOTIFIED);
    let labels = object["metadata"]["labels"].as_object().cloned().unwrap_or_default();
    json!({
        "apiVersion": word("apiVersion"),
        "kind": word("kind"),
        "metadata": {"labels": labels, "annotations": annotations},
        "spec": word("spec"),
    })
}

/// Who wrote the newer version, if the fields' owners tell.
fn manager(old: &Value, new: &Value) -> Option<String> {
    let entries =
        |object: &Value| object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let old = entries(old);
    let changed = entries(new).into_iter().rfind(|entry| !old.contains(entry))?;
    Some(changed["manager"].as_str()?.to_string())
}

/// The JSON merge patch from one value to another, if they differ.
fn difference(old: &Value, new: &Value) -> Option<Value> {
    if old == new {
        return None;
    }
    let (Value::Object(old), Value::Object(new)) = (old, new) else { return Some(new.clone()) };
    let mut patch = serde_json::Map::new();
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    for (key, value) in new {
        let part = difference(old.get(key).unwrap_or(&Value::Null), value);
        patch.extend(part.map(|part| (key.clone(), part)));
    }
    Some(patch.into())
}

/// Adds fields to a value.
fn merge(value: &mut Value, more: &Value) {
    match (value, more) {
        (Value::Object(value), Value::Object(more)) => {
            for (key, part) in more {
                merge(value.entry(key.clone()).or_insert(Value::Null), part);
            }
        }
        (value, more) => *value = more.clone(),
    }
}

/// `kubectl apply`, or the same by the API where there is no kubectl.
async fn apply(scene: &Scene, text: &str) {
    let file = scene.home().join("stock.yaml");
    fs::write(&file, text).unwrap();
    let kubeconfig = scene.server.kubeconfig(scene.home(), &scene.namespace);
    let kubectl =
        Command::new("kubectl").env("KUBECONFIG", kubeconfig).args(["apply", "-f"]).arg(&file).output();
    if let Ok(output) = kubectl {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    for (resource, document) in ["secrets", "configmaps"].into_iter().zip(text.split("\n---\n")) {
        let name = document.lines().find_map(|line| line.strip_prefix("  name: ")).unwrap();
        let path = format!("{}/{name}?fieldManager=kubectl", Api::core(&scene.namespace, resource));
        Api::done(scene.api.apply(&path, document).await);
    }
}

/// Plays a recording (with some words of its text replaced by others) and compares what arrives with what the controller
/// itself sent then.
async fn play(recording: &str, replaced: &[(&str, &str)]) {
    let Some(dir) = traces() else { return };
    let Some(scene) = Scene::new("stock").await else { return };
    let sent =
        Answer::ok(r#"{"ok":true,"channel":"C1","ts":"1.1"}"#).header("Content-Type", "application/json");
    scene.sink.otherwise(sent);
    let text = include_str!("stock.yaml").replace("SLACK_URL", &scene.sink.url("/api/"));
    apply(&scene, &text).await;
    let _herald = scene.herald().await;

    let mut annotations = serde_json::Map::new();
    for trigger in STOCK {
        annotations.insert(format!("notifications.argoproj.io/subscribe.{trigger}.slack"), "channel".into());
    }
    let annotations = Value::Object(annotations);
    let mut player = Player { scene: &scene, seen: HashMap::new(), uids: HashMap::new() };
    let mut expected: BTreeMap<String, usize> = BTreeMap::new();
    let mut time = None;
    for line in read(&dir.join(recording), replaced) {
        if line["source"] == "notification" {
            let trigger = line["trigger"].as_str().unwrap();
            let of_rollout = line["object"]["kind"].as_str().is_none_or(|kind| kind == "Rollout");
            if of_rollout && STOCK.contains(&trigger) {
                *expected.entry(trigger.into()).or_default() += 1;
            }
        }
        if line["source"] == "watch" && line["type"] != "DELETED" {
            let now = line["t_ms"].as_u64().unwrap();
            let pause = Duration::from_millis(now - time.replace(now).unwrap_or(now));
            tokio::time::sleep(pause.min(PACE)).await;
            player.write(&line["object"], &annotations).await;
        }
    }
    let arrived = || {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for request in scene.sink.requests() {
            let text = request.text();
            let trigger = STOCK.iter().find(|trigger| text.contains(&format!("%28{trigger}%29")));
            *counts.entry(trigger.copied().unwrap_or(&text).to_string()).or_default() += 1;
        }
        counts
    };
    for ((kind, name), (recorded, _)) in &player.seen {
        let path = player.path(recorded);
        let object = Api::done(scene.api.get(&format!("{path}/{name}")).await);
        assert_eq!(object["status"], recorded["status"], "{kind} {name} is as it was recorded");
        assert_eq!(object["spec"], recorded["spec"], "{kind} {name} is as it was recorded");
    }
    // Several scalings between two looks are one.
    let scalings = expected.remove("on-scaling-replica-set").unwrap();
    let all = async || {
        let arrived = arrived();
        expected.iter().all(|(trigger, number)| arrived.get(trigger) >= Some(number))
    };
    let waited = wait_for(PATIENCE, all).await;
    let mut arrived = arrived();
    let scaled = arrived.remove("on-scaling-replica-set").unwrap_or(0);
    assert_eq!(arrived, expected, "\n{}", scene.log());
    assert!(waited.is_ok());
    assert!((1..=scalings).contains(&scaled), "{scaled} of {scalings} scalings");
    let requests = scene.sink.requests();
    let of = |word: &str| requests.iter().find(|request| request.text().contains(word)).unwrap().text();
    let step = of("on-rollout-step-completed");
    assert!(step.contains("text=Rollout+") && step.contains("+has+done+step+1+of+"), "{step}");
    assert!(step.contains("Canary") && step.contains("channel=channel"), "{step}");
}

fn read(dir: &Path, replaced: &[(&str, &str)]) -> Vec<Value> {
    let text = fs::read_to_string(dir.join("stream.jsonl")).unwrap();
    let text = replaced.iter().fold(text, |text, (from, to)| text.replace(from, to));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_canary() {
    play("a/canary-basic", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_analysis_fails_the_update_is_aborted_and_tried_again() {
    play("a/canary-analysis-fail", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_analysis_that_could_not_be_measured() {
    // The same story with another end of the analysis: the phase, and the trigger that comes of it.
    play("a/canary-analysis-fail", &[("Failed\"", "Error\""), ("run-failed\"", "run-error\"")]).await;
}
