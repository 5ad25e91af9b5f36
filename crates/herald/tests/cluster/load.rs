//! Many rollouts.

use std::{io::Write, time::Instant};

use herald_testkit::apiserver::Stop;
use serde_json::json;

use crate::scene::{Scene, rollout};

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_rollouts_with_a_true_trigger_are_two_thousand_deliveries() {
    const ROLLOUTS: usize = 2_000;
    let Some(scene) = Scene::new("load").await else { return };
    let body = "webhook:\n  hook: {method: POST, body: '{{.rollout.metadata.name}} true'}\n";
    scene
        .configure(&[
            ("template.true", body),
            ("trigger.always", "- when: rollout.metadata.labels.tier == 'load'\n  send: ['true']\n"),
        ])
        .await;
    let herald = scene.herald().await;
    let start = Instant::now();
    // Without a status, so that each takes one write.
    scene
        .put_all((0..ROLLOUTS).map(|n| {
            let mut object = rollout(&format!("r{n}"), &["always"], 1, json!(null));
            object["metadata"]["labels"] = json!({"tier": "load"});
            object.as_object_mut().unwrap().remove("status");
            object
        }))
        .await;
    let created = start.elapsed();
    scene.deliveries(ROLLOUTS).await;
    let delivered = start.elapsed();
    let told = scene.told();
    assert_eq!(told.len(), ROLLOUTS);
    scene.settled(ROLLOUTS).await;
    assert!(herald.stop(Stop::Gently).success(), "{}", scene.log());
    // Another run repeats nothing.
    let _herald = scene.herald().await;
    scene.settled(0).await;
    let _ = writeln!(
        std::io::stderr(),
        "{ROLLOUTS} rollouts created in {created:.1?}, delivered {:.1?} later",
        delivered.saturating_sub(created)
    );
}
