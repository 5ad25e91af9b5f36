//! `--resource`: objects of another kind than Rollouts, with the same triggers, templates and subscriptions.

use std::collections::BTreeMap;

use herald_testkit::{
    apiserver::{Api, Stop, wait_for},
    http::Answer,
};
use serde_json::{Value, json};

use crate::scene::{NOTIFIED, PATIENCE, Scene, completed, updating};

const DEPLOYMENTS: [&str; 1] = ["--resource=apps/v1/Deployment"];

fn path(namespace: &str) -> String {
    format!("/apis/apps/v1/namespaces/{namespace}/deployments")
}

/// A Deployment of three replicas that subscribes to a trigger of its own, and to one of Rollouts.
fn deployment(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "annotations": {
            "notifications.argoproj.io/subscribe.on-available.hook": "",
            "notifications.argoproj.io/subscribe.on-rollout-completed.hook": "",
        }},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": "argoproj/rollouts-demo:blue"}]},
            },
        },
    })
}

async fn available(scene: &Scene, name: &str, replicas: u32) {
    let path = format!("{}/{name}/status", path(&scene.namespace));
    let status = json!({"status": {"replicas": 3, "readyReplicas": replicas, "availableReplicas": replicas}});
    Api::done(scene.api.merge(&path, &status).await);
}

async fn notified(scene: &Scene, name: &str) -> BTreeMap<String, u64> {
    let found = Api::done(scene.api.get(&format!("{}/{name}", path(&scene.namespace))).await);
    let text = found["metadata"]["annotations"][NOTIFIED].as_str().unwrap_or("{}").to_owned();
    serde_json::from_str(&text).unwrap()
}

async fn configure(scene: &Scene) {
    let trigger =
        "- when: deployment.status.availableReplicas == deployment.spec.replicas\n  send: [available]\n";
    let template = "webhook:\n  hook:\n    method: POST\n    body: \"{{.deployment.metadata.name}} has \
                    {{.deployment.status.availableReplicas}} of {{.deployment.spec.replicas}}\"\n";
    scene.configure(&[("trigger.on-available", trigger), ("template.available", template)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deployments_are_told_of_once_and_what_was_there_is_not() {
    let Some(scene) = Scene::new("kinds").await else { return };
    configure(&scene).await;
    for name in ["old", "web"] {
        Api::done(scene.api.create(&path(&scene.namespace), &deployment(name)).await);
    }
    available(&scene, "old", 3).await;
    available(&scene, "web", 1).await;
    // A Rollout of the same name is somebody else's, and stays as it is.
    scene.put(&completed("web", &["on-rollout-completed", "when-healthy"])).await;

    let herald = scene.herald_with(&DEPLOYMENTS).await;
    available(&scene, "web", 3).await;
    scene.deliveries(1).await;
    let recorded = wait_for(PATIENCE, async || notified(&scene, "web").await.len() == 1).await;
    assert!(recorded.is_ok(), "{:?}\n{}", notified(&scene, "web").await, scene.log());
    // It ends, and holds again: that is another notice.
    available(&scene, "web", 2).await;
    let forgotten = wait_for(PATIENCE, async || notified(&scene, "web").await.is_empty()).await;
    assert!(forgotten.is_ok(), "{:?}\n{}", notified(&scene, "web").await, scene.log());
    available(&scene, "web", 3).await;
    scene.deliveries(2).await;
    let recorded = wait_for(PATIENCE, async || notified(&scene, "web").await.len() == 1).await;
    assert!(recorded.is_ok(), "{:?}\n{}", notified(&scene, "web").await, scene.log());
    herald.stop(Stop::Hard);

    // Neither the same store nor another one tells it again, and the other deployment was there before.
    for forget in [false, true] {
        if forget {
            scene.forget();
        }
        let herald = scene.herald_with(&DEPLOYMENTS).await;
        Api::done(scene.api.create(&path(&scene.namespace), &deployment(&format!("new-{forget}"))).await);
        available(&scene, &format!("new-{forget}"), 3).await;
        scene.deliveries(if forget { 4 } else { 3 }).await;
        herald.stop(Stop::Gently);
    }
    let told = scene.told();
    let wanted = [("new-false has 3 of 3", 1), ("new-true has 3 of 3", 1), ("web has 3 of 3", 2)];
    assert_eq!(told, wanted.map(|(text, count)| (text.to_owned(), count)).into(), "{}", scene.log());
    assert!(scene.notified("web").await.is_empty(), "the Rollout was not touched");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_and_a_deployment_of_one_name_share_a_store_and_nothing_else() {
    let Some(scene) = Scene::new("twins").await else { return };
    configure(&scene).await;
    Api::done(scene.api.create(&path(&scene.namespace), &deployment("web")).await);
    available(&scene, "web", 1).await;
    // The store is the only record.
    let rollouts = ["--state-annotation=off"];
    let deployments = [&DEPLOYMENTS[..], &rollouts].concat();
    scene.herald_with(&rollouts).await.stop(Stop::Gently);
    let herald = scene.herald_with(&deployments).await;
    available(&scene, "web", 3).await;
    scene.deliveries(1).await;
    herald.stop(Stop::Gently);
    // What is known of the Deployment is not taken for a Rollout that is gone, nor the other way round.
    let herald = scene.herald_with(&rollouts).await;
    scene.put(&completed("web", &["when-healthy"])).await;
    scene.deliveries(2).await;
    herald.stop(Stop::Gently);
    let herald = scene.herald_with(&deployments).await;
    Api::done(scene.api.create(&path(&scene.namespace), &deployment("last")).await);
    available(&scene, "last", 3).await;
    scene.deliveries(3).await;
    drop(herald);
    let told = scene.told();
    let wanted = ["last has 3 of 3", "web has 3 of 3", "web healthy h2"];
    assert_eq!(told, wanted.map(|text| (text.to_owned(), 1)).into(), "{}", scene.log());
}

/// Whoever takes over drops what others have seen to meanwhile: of its own kind only.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_one_kind_is_not_dropped_by_another() {
    let Some(scene) = Scene::new("waiting").await else { return };
    configure(&scene).await;
    scene.put(&updating("web", &["when-healthy"])).await;
    Api::done(scene.api.create(&path(&scene.namespace), &deployment("web")).await);
    available(&scene, "web", 1).await;
    scene.sink.otherwise(Answer::status(503));
    let herald = scene.replica(0, &[]);
    herald.ready().await;
    scene.complete("web").await;
    scene.deliveries(1).await;
    herald.stop(Stop::Gently);
    // Another kind, and nothing is known of who acted before.
    let herald = scene.replica(0, &DEPLOYMENTS);
    herald.ready().await;
    herald.stop(Stop::Gently);
    scene.sink.clear();
    scene.sink.otherwise(Answer::status(200));
    let _herald = scene.replica(0, &[]);
    scene.deliveries(1).await;
    assert_eq!(scene.told(), [("web healthy h2".to_owned(), 1)].into(), "{}", scene.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn kinds_that_are_not_there_end_with_a_sentence() {
    let Some(scene) = Scene::new("nokind").await else { return };
    for (resource, words) in [
        (
            "apps/v1/Deploymint",
            "apps/v1 has no kind Deploymint; it has ControllerRevision, DaemonSet, Deployment",
        ),
        ("nowhere.io/v1/Thing", "this cluster has no API nowhere.io/v1"),
        ("v1/Namespace", "belongs to no namespace"),
    ] {
        let herald = scene.spawn(&[&format!("--resource={resource}")]);
        assert!(!herald.wait(PATIENCE).await.success(), "{resource}");
        let log = scene.log();
        assert!(log.contains(words), "{resource}: {log}");
    }
}
