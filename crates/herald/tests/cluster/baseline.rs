//! What is true when Herald comes is not told; what happens from then on is, also what happened while it was away.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use herald_testkit::apiserver::{Api, Stop};
use serde_json::{Value, json};

use crate::scene::{NOTIFIED, PATIENCE, Scene, completed, updating};

/// Recordings of the real controller.
pub(crate) fn traces() -> Option<PathBuf> {
    let dir = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/traces"));
    if dir.exists() {
        return Some(dir.into());
    }
    let _ =
        writeln!(std::io::stderr(), "SKIPPED: a test of the recordings in {}: there are none", dir.display());
    None
}

/// Some versions of rollouts from all recordings, evenly.
fn states(number: usize) -> Option<Vec<Value>> {
    let mut versions = Vec::new();
    for set in ["a", "b"] {
        let mut scenes: Vec<_> =
            fs::read_dir(traces()?.join(set)).unwrap().map(|entry| entry.unwrap().path()).collect();
        scenes.sort();
        for scene in scenes {
            for line in fs::read_to_string(scene.join("stream.jsonl")).unwrap().lines() {
                let line: Value = serde_json::from_str(line).unwrap();
                if line["source"] == "watch" && line["kind"] == "Rollout" {
                    versions.push(line["object"].clone());
                }
            }
        }
    }
    let step = versions.len() / number;
    Some(versions.into_iter().step_by(step).take(number).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn installing_on_200_rollouts_in_every_state_sends_nothing() {
    let Some(scene) = Scene::new("install").await else { return };
    let Some(states) = states(200) else { return };
    assert_eq!(states.len(), 200);
    let names = [
        "on-rollout-completed",
        "on-rollout-aborted",
        "on-rollout-paused",
        "on-rollout-resumed",
        "on-rollout-step-completed",
        "on-rollout-updated",
        "on-rollout-not-completed",
        "on-rollout-added-to-informer",
        "on-scaling-replica-set",
        "on-analysis-run-running",
        "on-analysis-run-failed",
        "on-analysis-run-error",
    ];
    let mut keys: Vec<(String, String)> =
        names.iter().map(|name| (format!("trigger.{name}"), "- send: [completed]\n".to_string())).collect();
    let all = format!("[{}, when-healthy, when-degraded]", names.join(", "));
    keys.push(("subscriptions".into(), format!("- recipients: [hook]\n  triggers: {all}\n")));
    let keys: Vec<(&str, &str)> = keys.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    scene.configure(&keys).await;
    let rollouts = states.into_iter().enumerate().map(|(n, mut object)| {
        let (labels, mut annotations) =
            (object["metadata"]["labels"].take(), object["metadata"]["annotations"].take());
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.remove(NOTIFIED);
        }
        object["metadata"] = json!({"name": format!("r{n}"), "labels": labels, "annotations": annotations});
        object
    });
    scene.put_all(rollouts).await;
    let path = Api::rollouts(&scene.namespace);
    assert_eq!(Api::done(scene.api.get(&path).await)["items"].as_array().unwrap().len(), 200);

    let herald = scene.herald().await;
    // What happens now is told, and it is all that is told: the new rollout is completed and healthy.
    scene.put(&updating("last", &[])).await;
    scene.complete("last").await;
    let arrived = async || {
        let told = scene.told();
        told.contains_key("last completed h2") && told.contains_key("last healthy h2")
    };
    let waited = herald_testkit::apiserver::wait_for(PATIENCE, arrived).await;
    let told = scene.told();
    assert!(waited.is_ok(), "{told:?}\n{}", scene.log());
    assert!(told.keys().all(|text| text.starts_with("last ")), "{told:?}");
    assert!(herald.stop(Stop::Gently).success(), "{}", scene.log());
    // On the others stands at most that a condition is true, so that another replica doesn't tell it, either.
    let list = Api::done(scene.api.get(&path).await);
    for item in list["items"].as_array().unwrap().iter().filter(|item| item["metadata"]["name"] != "last") {
        let record = item["metadata"]["annotations"][NOTIFIED].as_str().unwrap_or("{}");
        let record: serde_json::Map<String, Value> = serde_json::from_str(record).unwrap();
        assert!(record.keys().all(|key| key.contains("when-")), "{record:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_completes_while_herald_is_down_is_sent_when_it_is_back() {
    let Some(scene) = Scene::new("down").await else { return };
    scene.configure(&[]).await;
    let triggers = ["on-rollout-completed", "when-healthy"];
    scene.put_all((0..20).map(|n| updating(&format!("r{n}"), &triggers))).await;
    scene.put_all((0..10).map(|n| completed(&format!("old{n}"), &triggers))).await;
    let mut expected = 0;
    for (round, how) in [Stop::Gently, Stop::Hard].into_iter().enumerate() {
        let herald = scene.herald().await;
        herald.stop(how);
        assert_eq!(scene.told().len(), expected, "{:?}", scene.told());
        for n in 0..5 {
            scene.complete(&format!("r{}", round * 10 + n)).await;
        }
        // Created and completed while it is away, too.
        scene.put(&updating(&format!("new{round}"), &triggers)).await;
        scene.complete(&format!("new{round}")).await;
        let herald = scene.herald().await;
        expected += 12;
        scene.deliveries(expected).await;
        for n in 0..5 {
            let name = format!("r{}", round * 10 + n);
            assert_eq!(scene.told().get(&format!("{name} completed h2")), Some(&1), "{:?}", scene.told());
            assert_eq!(scene.told().get(&format!("{name} healthy h2")), Some(&1), "{:?}", scene.told());
        }
        assert_eq!(scene.told().get(&format!("new{round} completed h2")), Some(&1), "{:?}", scene.told());
        assert!(herald.stop(Stop::Gently).success(), "{}", scene.log());
    }
    let _herald = scene.herald().await;
    scene.settled(expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribing_later_tells_what_is_true_but_not_what_has_happened() {
    let Some(scene) = Scene::new("subscribe").await else { return };
    scene.configure(&[]).await;
    scene.put(&completed("web", &[])).await;
    let _herald = scene.herald().await;

    scene.annotate("web", json!({"notifications.argoproj.io/subscribe.on-rollout-completed.hook": ""})).await;
    scene.settled(0).await;

    scene.annotate("web", json!({"notifications.argoproj.io/subscribe.when-healthy.hook": ""})).await;
    scene.deliveries(1).await;
    assert_eq!(scene.told().keys().collect::<Vec<_>>(), ["web healthy h2"]);
    scene.sink.clear();

    // It happens again.
    let next = json!({
        "phase": "Progressing", "currentPodHash": "h3", "stableRS": "h2",
        "conditions": [{"type": "Completed", "status": "False", "reason": "RolloutCompleted"}],
    });
    scene.annotate("web", json!({"rollout.argoproj.io/revision": "3"})).await;
    scene.api.set_status(&scene.namespace, "web", next).await;
    scene.api.set_status(&scene.namespace, "web", crate::scene::done("h3")).await;
    scene.deliveries(2).await;
    let told = scene.told();
    assert_eq!(told.keys().collect::<Vec<_>>(), ["web completed h3", "web healthy h3"]);
    scene.settled(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_it_loses_nothing() {
    const ROLLOUTS: usize = 40;
    let Some(scene) = Scene::new("kill").await else { return };
    scene.configure(&[]).await;
    scene.put_all((0..ROLLOUTS).map(|n| updating(&format!("r{n}"), &["on-rollout-completed"]))).await;
    scene.herald().await.stop(Stop::Gently);
    for kill in 0..8 {
        let herald = scene.spawn(&[]);
        for n in 0..5 {
            scene.complete(&format!("r{}", kill * 5 + n)).await;
        }
        // Each time it is killed somewhere else: after so many deliveries have begun.
        scene.deliveries(kill * 5 + kill % 5 + 1).await;
        herald.stop(Stop::Hard);
    }
    let _herald = scene.herald().await;
    let all = async || scene.told().len() == ROLLOUTS;
    let waited = herald_testkit::apiserver::wait_for(PATIENCE, all).await;
    let told = scene.told();
    assert!(waited.is_ok(), "{told:?}\n{}", scene.log());
    let repeated: usize = told.values().map(|times| times - 1).sum();
    let _ = writeln!(std::io::stderr(), "killed 8 times: {ROLLOUTS} rollouts, 0 lost, {repeated} repeated");
    // Only what was on its way when it was killed may come twice: at most 16 requests to a service at a time.
    assert!(repeated <= 8 * 16, "{told:?}");
}
