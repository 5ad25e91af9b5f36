//! The ConfigMap while Herald runs.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use herald_testkit::apiserver::{Api, Stop, wait_for};
use serde_json::Value;

use crate::scene::{PATIENCE, Scene, configuration, updating};

const COMPLETED: &str = "on-rollout-completed";

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_in_force_within_a_second() {
    let Some(scene) = Scene::new("reload").await else { return };
    scene.configure(&[]).await;
    let rounds: Vec<String> = (0..5).map(|n| format!("r{n}")).collect();
    scene.put_all(rounds.iter().map(|name| updating(name, &[COMPLETED]))).await;
    let _herald = scene.herald().await;
    let mut slowest = Duration::ZERO;
    for (n, name) in rounds.iter().enumerate() {
        let text = format!("webhook:\n  hook: {{method: POST, body: 'version {n} of {name}'}}\n");
        scene.configure(&[("template.completed", &text)]).await;
        let start = Instant::now();
        // A second is what is promised; the change itself must not be seen by an older configuration.
        tokio::time::sleep(Duration::from_secs(1)).await;
        scene.complete(name).await;
        scene.deliveries(n + 1).await;
        slowest = slowest.max(start.elapsed());
        let told = scene.told();
        assert!(told.contains_key(&format!("version {n} of {name}")), "{told:?}\n{}", scene.log());
    }
    let _ = writeln!(std::io::stderr(), "edited to delivered, a second's wait included: at most {slowest:?}");
}

/// A Rollout whose last change was our own record is looked at all the same when the configuration asks for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_condition_is_judged_for_what_was_recorded_and_did_not_change_since() {
    let Some(scene) = Scene::new("judged").await else { return };
    scene.configure(&[]).await;
    scene.put(&updating("web", &["when-healthy", "when-added"])).await;
    let _herald = scene.herald().await;
    scene.complete("web").await;
    scene.deliveries(1).await;
    let recorded = wait_for(PATIENCE, async || !scene.notified("web").await.is_empty()).await;
    assert!(recorded.is_ok(), "{}", scene.log());
    let added = "- when: rollout.status.phase == 'Healthy'\n  send: [completed]\n";
    scene.configure(&[("trigger.when-added", added)]).await;
    scene.deliveries(2).await;
    assert!(scene.told().contains_key("web completed h2"), "{:?}\n{}", scene.told(), scene.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_part_is_told_on_the_config_map_and_the_rest_works() {
    let Some(scene) = Scene::new("broken").await else { return };
    scene.configure(&[]).await;
    scene.put_all(["good", "again"].map(|name| updating(name, &[COMPLETED, "when-healthy"]))).await;
    let herald = scene.herald().await;
    scene
        .configure(&[("trigger.when-healthy", "- when: 'rollout.status.phase =='\n  send: [healthy]\n")])
        .await;
    let path = Api::core(&scene.namespace, "events");
    let warnings = async || {
        let list = Api::done(scene.api.get(&path).await);
        let items = list["items"].as_array().unwrap();
        let about =
            |item: &&Value| item["involvedObject"]["kind"] == "ConfigMap" && item["type"] == "Warning";
        items.iter().filter(about).cloned().collect::<Vec<_>>()
    };
    let waited = wait_for(PATIENCE, async || !warnings().await.is_empty()).await;
    assert!(waited.is_ok(), "{}", scene.log());
    let warning = warnings().await.remove(0);
    assert_eq!(warning["involvedObject"]["name"], "argo-rollouts-notification-configmap");
    assert!(warning["message"].as_str().unwrap().contains("when-healthy"), "{warning}");

    // What does not depend on it works; the trigger that was good stays in force.
    scene.complete("good").await;
    scene.deliveries(2).await;
    assert!(scene.told().contains_key("good completed h2"), "{:?}", scene.told());
    assert!(scene.told().contains_key("good healthy h2"), "{:?}", scene.told());
    // Mended, it is told no more, and works.
    scene.configure(&[]).await;
    scene.complete("again").await;
    scene.deliveries(4).await;
    assert!(scene.told().contains_key("again healthy h2"), "{:?}", scene.told());
    assert!(herald.stop(Stop::Gently).success());
}

#[tokio::test(flavor = "multi_thread")]
async fn edited_100_times_under_load_nothing_is_lost_or_doubled() {
    const EDITS: usize = 100;
    let Some(scene) = Scene::new("edits").await else { return };
    scene.configure(&[]).await;
    scene.put_all((0..EDITS).map(|n| updating(&format!("r{n}"), &[COMPLETED, "when-healthy"]))).await;
    let _herald = scene.herald().await;
    let edits = async {
        for edit in 0..EDITS {
            let mut data = configuration(&scene.sink.url("/hook"), &[]);
            data.insert(format!("template.extra-{}", edit % 7), format!("message: edit {edit}\n"));
            if edit % 3 == 0 {
                data.insert("trigger.broken".into(), "- when: '=='\n  send: [completed]\n".into());
            }
            scene.put_config(data).await;
        }
    };
    let load = async {
        for n in 0..EDITS {
            scene.complete(&format!("r{n}")).await;
        }
    };
    tokio::join!(edits, load);
    scene.deliveries(2 * EDITS).await;
    let told = scene.told();
    for n in 0..EDITS {
        for word in ["completed", "healthy"] {
            assert_eq!(told.get(&format!("r{n} {word} h2")), Some(&1), "{told:?}\n{}", scene.log());
        }
    }
    scene.settled(2 * EDITS).await;
}
