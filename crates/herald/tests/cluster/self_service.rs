//! Namespaces with a configuration of their own beside the controller's.

use std::{collections::BTreeMap, time::Duration};

use herald_testkit::{
    apiserver::{Api, wait_for},
    http::Recorder,
};
use serde_json::json;

use crate::scene::{HEALTHY, HEALTHY_HASH, NOTIFIED, PATIENCE, Scene, configuration, done, updating};

const COMPLETED: &str = "on-rollout-completed";
const FLAG: &str = "--self-service-notification-enabled";

/// A scene whose Herald watches all namespaces, and a namespace beside that of the controller.
async fn scene() -> Option<(Scene, String)> {
    let mut scene = Scene::own("home").await?;
    scene.namespaced = false;
    let tenant = scene.server.namespace("tenant").await;
    Some((scene, tenant))
}

async fn complete(scene: &Scene, namespace: &str, name: &str) {
    scene.api.set_status(namespace, name, done("h2")).await;
}

async fn arrived(scene: &Scene, sink: &Recorder, number: usize) -> Vec<String> {
    if sink.wait_for(number, PATIENCE).await.is_none() {
        panic!("{number} deliveries; there are {:?}\n{}", texts(sink), scene.log());
    }
    texts(sink)
}

fn texts(sink: &Recorder) -> Vec<String> {
    let mut all: Vec<String> = sink.requests().iter().map(|request| request.text()).collect();
    all.sort();
    all
}

async fn put_secret(scene: &Scene, namespace: &str, word: &str) {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "argo-rollouts-notification-secret"},
        "stringData": {"word": word},
    });
    Api::done(scene.api.create(&Api::core(namespace, "secrets"), &secret).await);
}

/// The configuration of a tenant: like the controller's, with a service `hook` and a text of its own.
async fn configure(scene: &Scene, tenant: &str, sink: &Recorder, text: &str) {
    let body = format!("webhook:\n  hook: {{method: POST, body: '{{{{.rollout.metadata.name}}}} {text}'}}\n");
    let service = format!("url: {}\nheaders: [{{name: X-Word, value: $word}}]\n", sink.url("/tenant"));
    let more = [("template.completed", body.as_str()), ("service.webhook.hook", &service)];
    scene.put_config_in(tenant, configuration("", &more)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_has_its_own_services_triggers_and_secrets_beside_the_controllers() {
    let Some((scene, tenant)) = scene().await else { return };
    let (own, bystander) = (Recorder::start().await, scene.server.namespace("bystander").await);
    scene.configure(&[]).await;
    put_secret(&scene, &scene.namespace, "the controller's").await;
    put_secret(&scene, &tenant, "the tenant's").await;
    configure(&scene, &tenant, &own, "by the tenant").await;
    for namespace in [&tenant, &bystander] {
        scene.api.put_rollout(namespace, &updating("web", &[COMPLETED, "when-healthy"])).await;
    }
    scene.api.put_rollout(&tenant, &updating("next", &[COMPLETED])).await;
    let _herald = scene.herald_with(&[FLAG, "--self-service-allow=127.0.0.0/8"]).await;
    complete(&scene, &tenant, "web").await;
    // Both configurations count, each with its own templates, services and Secret.
    assert_eq!(arrived(&scene, &own, 2).await, ["web by the tenant", "web healthy h2"]);
    assert_eq!(arrived(&scene, &scene.sink, 2).await, ["web completed h2", "web healthy h2"]);
    assert!(own.requests().iter().all(|request| request.header("x-word") == Some("the tenant's")));
    // The record carries the namespace in front for the tenant's.
    let path = format!("{}/web", Api::rollouts(&tenant));
    let key = format!("h2:when-healthy:[0].{HEALTHY_HASH}:hook:");
    let scoped = format!("h2:{tenant}:when-healthy:[0].{HEALTHY_HASH}:hook:");
    let recorded = wait_for(PATIENCE, async || {
        let rollout = Api::done(scene.api.get(&path).await);
        let text = rollout["metadata"]["annotations"][NOTIFIED].as_str().unwrap_or("{}").to_owned();
        let keys: BTreeMap<String, u64> = serde_json::from_str(&text).unwrap();
        keys.contains_key(&key) && keys.contains_key(&scoped)
    });
    assert!(recorded.await.is_ok(), "{}", scene.log());
    // Another namespace has nothing of it.
    complete(&scene, &bystander, "web").await;
    arrived(&scene, &scene.sink, 4).await;
    assert_eq!(own.requests().len(), 2, "{:?}", texts(&own));

    // A change is in force within a second: that is what is promised.
    configure(&scene, &tenant, &own, "in other words").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    complete(&scene, &tenant, "next").await;
    assert!(arrived(&scene, &own, 3).await.contains(&"next in other words".to_owned()), "{:?}", texts(&own));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_counts_where_its_service_is_and_a_broken_tenant_is_alone() {
    let Some((scene, tenant)) = scene().await else { return };
    let (own, broken) = (Recorder::start().await, scene.server.namespace("broken").await);
    scene.configure(&[]).await;
    let mut data = BTreeMap::new();
    data.insert("service.webhook.own".to_owned(), format!("url: {}\n", own.url("/")));
    data.insert("trigger.mine".into(), format!("- when: {HEALTHY}\n  send: [mine]\n"));
    data.insert("template.mine".into(), "webhook:\n  own: {method: POST, body: mine}\n".into());
    data.insert("subscriptions".into(), "- recipients: [own]\n  triggers: [mine]\n".into());
    scene.put_config_in(&tenant, data.clone()).await;
    data.insert("trigger.mine".into(), "- when: rollout.status.phase ==\n  send: [mine]\n".into());
    data.insert("service.webhook.hook".into(), "url: [\n".into());
    scene.put_config_in(&broken, data).await;
    for namespace in [&tenant, &broken] {
        scene.api.put_rollout(namespace, &updating("web", &[COMPLETED])).await;
    }
    let _herald = scene.herald_with(&[FLAG, "--self-service-allow=127.0.0.1,::1"]).await;
    complete(&scene, &tenant, "web").await;
    assert_eq!(arrived(&scene, &own, 1).await, ["mine"]);
    arrived(&scene, &scene.sink, 1).await;
    complete(&scene, &broken, "web").await;
    // The controller's configuration works there all the same.
    assert_eq!(arrived(&scene, &scene.sink, 2).await, ["web completed h2"; 2]);
    assert_eq!(own.requests().len(), 1, "{:?}", texts(&own));
    // The tenant is told, on its own ConfigMap, and nobody else is.
    let warnings = async |namespace: &str| {
        let list = Api::done(scene.api.get(&Api::core(namespace, "events")).await);
        let all = list["items"].as_array().unwrap().iter();
        all.filter(|item| item["involvedObject"]["kind"] == "ConfigMap")
            .map(|item| item["message"].to_string())
            .collect::<Vec<_>>()
    };
    let told = wait_for(PATIENCE, async || warnings(&broken).await.iter().any(|text| text.contains("mine")));
    assert!(told.await.is_ok(), "{:?}\n{}", warnings(&broken).await, scene.log());
    assert_eq!(warnings(&tenant).await, [""; 0]);
    // Nothing is given up because the other configuration lacks it.
    assert!(!scene.log().contains("dead_letter"), "{}", scene.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_reaches_nothing_inside() {
    let Some((scene, tenant)) = scene().await else { return };
    let own = Recorder::start().await;
    scene.configure(&[]).await;
    let mut data = configuration(&own.url("/inside"), &[]);
    data.insert("service.webhook.metadata".into(), "url: http://169.254.169.254/latest\n".into());
    let by_name = own.url("/").replace("127.0.0.1", "localhost");
    data.insert("service.webhook.name".into(), format!("url: {by_name}\n"));
    scene.put_config_in(&tenant, data).await;
    let mut rollout = updating("web", &[COMPLETED]);
    for service in ["metadata", "name"] {
        let key = format!("notifications.argoproj.io/subscribe.{COMPLETED}.{service}");
        rollout["metadata"]["annotations"][key] = "".into();
    }
    scene.api.put_rollout(&tenant, &rollout).await;
    let _herald = scene.herald_with(&[FLAG]).await;
    complete(&scene, &tenant, "web").await;
    // The controller's own configuration may.
    arrived(&scene, &scene.sink, 1).await;
    let refused =
        wait_for(PATIENCE, async || scene.log().matches("lies inside the cluster").count() >= 3).await;
    assert!(refused.is_ok(), "{}", scene.log());
    assert!(own.requests().is_empty(), "{:?}", texts(&own));
}
