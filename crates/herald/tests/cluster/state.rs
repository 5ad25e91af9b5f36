//! The record on the object, in the reference's format.

use std::{
    io::Write,
    time::{SystemTime, UNIX_EPOCH},
};

use herald_testkit::{
    apiserver::{Api, Stop, wait_for},
    http::Answer,
};
use serde_json::{Value, json};

use crate::scene::{HEALTHY_HASH, NOTIFIED, PATIENCE, Scene, completed, rollout, updating};

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The key that the reference writes for `when-healthy` at the webhook without a recipient.
fn key(hash: &str) -> String {
    format!("{hash}:when-healthy:[0].{HEALTHY_HASH}:hook:")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_annotation_has_the_references_format_and_is_written_alone() {
    let Some(scene) = Scene::new("annotation").await else { return };
    scene.configure(&[]).await;
    let herald = scene.herald().await;
    let begun = now();
    let mut web = updating("web", &["when-healthy"]);
    web["metadata"]["annotations"]["someone.example/else"] = "stays".into();
    scene.put(&web).await;
    scene.complete("web").await;
    scene.deliveries(1).await;
    let written = wait_for(PATIENCE, async || !scene.notified("web").await.is_empty()).await;
    assert!(written.is_ok(), "{}", scene.log());
    let notified = scene.notified("web").await;
    assert_eq!(notified.keys().collect::<Vec<_>>(), [&key("h2")]);
    assert!((begun..=now()).contains(&notified[&key("h2")]), "{notified:?}");

    let object = scene.rollout("web").await;
    assert_eq!(object["metadata"]["annotations"]["someone.example/else"], "stays");
    let fields = object["metadata"]["managedFields"].as_array().unwrap();
    let owners: Vec<&Value> =
        fields.iter().filter(|entry| entry["fieldsV1"].to_string().contains(NOTIFIED)).collect();
    assert_eq!(owners.len(), 1, "{fields:?}");
    assert!(owners[0]["manager"].as_str().unwrap().starts_with("herald"), "{}", owners[0]);
    let wanted = json!({"f:metadata": {"f:annotations": {format!("f:{NOTIFIED}"): {}}}});
    assert_eq!(owners[0]["fieldsV1"], wanted, "it owns this one key and nothing else");

    // A `when` without a `oncePer` is forgotten when it turns false, and the annotation goes with the last entry.
    scene.put(&rollout("sad", &["when-degraded"], 1, json!({"phase": "Degraded"}))).await;
    scene.deliveries(2).await;
    wait_for(PATIENCE, async || scene.notified("sad").await.len() == 1).await.unwrap();
    scene.api.set_status(&scene.namespace, "sad", json!({"phase": "Progressing"})).await;
    let gone = async || scene.rollout("sad").await["metadata"]["annotations"].get(NOTIFIED).is_none();
    assert!(wait_for(PATIENCE, gone).await.is_ok(), "{}", scene.log());
    assert!(herald.stop(Stop::Gently).success(), "{}", scene.log());
}

/// A notice that ends without an attempt is settled, too: the record that waited for it is written.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_dropped_is_recorded() {
    let Some(scene) = Scene::new("dropped").await else { return };
    scene.configure(&[]).await;
    scene.sink.otherwise(Answer::status(503));
    scene.put(&updating("web", &["when-healthy"])).await;
    let _herald = scene.herald().await;
    scene.complete("web").await;
    let drop = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_herald"));
        command.args(["deliveries", "drop", "--outcome", "pending", "--state"]).arg(scene.state());
        String::from_utf8(command.env("NO_COLOR", "1").output().unwrap().stdout).unwrap()
    };
    let dropped = wait_for(PATIENCE, async || drop() == "1 dropped\n").await;
    assert!(dropped.is_ok(), "{}", scene.log());
    let recorded = wait_for(PATIENCE, async || !scene.notified("web").await.is_empty()).await;
    assert!(recorded.is_ok(), "{}", scene.log());
    assert_eq!(scene.notified("web").await.keys().collect::<Vec<_>>(), [&key("h2")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_reference_sent_is_not_sent_again() {
    let Some(scene) = Scene::new("migrate").await else { return };
    scene.configure(&[]).await;
    let recorded = json!({key("h2"): 1_700_000_000}).to_string();
    // One is there when Herald comes, one was moved into the cluster later.
    let mut before = completed("before", &["when-healthy"]);
    before["metadata"]["annotations"][NOTIFIED] = recorded.clone().into();
    scene.put(&before).await;
    let herald = scene.herald_with(&["--notify-existing"]).await;
    let mut after = completed("after", &["when-healthy"]);
    after["metadata"]["annotations"][NOTIFIED] = recorded.into();
    scene.put(&after).await;
    scene.settled(0).await;
    for name in ["before", "after"] {
        assert_eq!(scene.notified(name).await[&key("h2")], 1_700_000_000, "{name}");
    }
    // What comes after the switch is told and recorded beside it.
    scene.api.set_status(&scene.namespace, "before", crate::scene::done("h3")).await;
    scene.deliveries(1).await;
    assert_eq!(scene.told().keys().collect::<Vec<_>>(), ["before healthy h3"]);
    wait_for(PATIENCE, async || scene.notified("before").await.len() == 2).await.unwrap();
    herald.stop(Stop::Hard);

    // The way back, and a Herald that has lost its store: the annotation alone says what was sent.
    scene.sink.clear();
    scene.forget();
    let _herald = scene.herald_with(&["--notify-existing"]).await;
    scene.put(&completed("marker", &["when-healthy"])).await;
    scene.settled(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_annotations_of_others_are_never_reverted() {
    const ROLLOUTS: usize = 20;
    const WRITERS: usize = 5;
    const WRITES: usize = 10;
    let Some(scene) = Scene::new("writers").await else { return };
    scene.configure(&[]).await;
    scene.put_all((0..ROLLOUTS).map(|n| updating(&format!("r{n}"), &["when-healthy"]))).await;
    let _herald = scene.herald().await;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..ROLLOUTS {
        let path = format!("{}/r{n}", Api::rollouts(&scene.namespace));
        for writer in 0..WRITERS {
            let (api, path) = (scene.api.clone(), path.clone());
            tasks.spawn(async move {
                let key = format!("writer.example/w{writer}");
                let mut reverted = 0;
                for number in 0..WRITES {
                    if number > 0 {
                        let object = Api::done(api.get(&path).await);
                        reverted +=
                            usize::from(object["metadata"]["annotations"][&key] != *(number - 1).to_string());
                    }
                    let patch = json!({"metadata": {"annotations": {&key: number.to_string()}}});
                    Api::done(api.merge(&path, &patch).await);
                }
                reverted
            });
        }
        // Meanwhile Herald has something to record on each of them, again and again.
        let (api, namespace) = (scene.api.clone(), scene.namespace.clone());
        tasks.spawn(async move {
            for hash in 0..WRITES {
                api.set_status(&namespace, &format!("r{n}"), crate::scene::done(&format!("n{hash}"))).await;
            }
            0
        });
    }
    let mut reverted = 0;
    while let Some(done) = tasks.join_next().await {
        reverted += done.unwrap();
    }
    assert_eq!(reverted, 0);
    let recorded = async |n: usize| {
        let notified = scene.notified(&format!("r{n}")).await;
        notified.contains_key(&key(&format!("n{}", WRITES - 1)))
    };
    for n in 0..ROLLOUTS {
        let waited = wait_for(PATIENCE, async || recorded(n).await).await;
        assert!(waited.is_ok(), "r{n} is not recorded: {:?}\n{}", scene.told(), scene.log());
        let object = scene.rollout(&format!("r{n}")).await;
        for writer in 0..WRITERS {
            let value = &object["metadata"]["annotations"][format!("writer.example/w{writer}")];
            assert_eq!(value, &(WRITES - 1).to_string(), "r{n}, writer {writer}");
        }
    }
    let told = scene.told();
    // A state that is gone before Herald looks need not be told; the last one must be, and none twice.
    assert!(told.values().all(|times| *times == 1), "{told:?}");
    let last = (0..ROLLOUTS).filter(|n| told.contains_key(&format!("r{n} healthy n{}", WRITES - 1))).count();
    assert_eq!(last, ROLLOUTS, "{told:?}");
    let _ = writeln!(
        std::io::stderr(),
        "{} writes by others, 0 reverted, beside {} notices",
        ROLLOUTS * WRITERS * WRITES,
        told.len()
    );
}
