//! The API server and the proxy before it do what tests rely on.

use std::{path::Path, time::Duration};

use herald_testkit::{
    api_proxy::{ApiProxy, Fault, Rule},
    apiserver::{Api, ApiServer, Stop},
};
use serde_json::{Value, json};

fn rollout(name: &str) -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": name},
        "spec": {"replicas": 1},
        "status": {"phase": "Healthy", "nested": {"number": 7}},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn rollouts_have_a_status_of_their_own_and_keep_every_field() {
    let Some(server) = ApiServer::shared().await else { return };
    let (api, namespace) = (server.api(), server.namespace("status").await);
    let path = Api::rollouts(&namespace);
    let made = Api::done(api.create(&path, &rollout("web")).await);
    assert_eq!(made.get("status"), None, "a status is not created with the object");
    let web = api.put_rollout(&namespace, &rollout("other")).await;
    assert_eq!(web["status"], json!({"phase": "Healthy", "nested": {"number": 7}}));
    let generation = web["metadata"]["generation"].clone();
    let web = api.set_status(&namespace, "other", json!({"phase": "Paused"})).await;
    assert_eq!(web["metadata"]["generation"], generation, "a status is no change of the specification");
    let managers = web["metadata"]["managedFields"].as_array().unwrap();
    assert!(managers.iter().any(|entry| entry["manager"] == "rollouts-controller"), "{managers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_role_may_do_nothing_and_tokens_are_real() {
    let Some(server) = ApiServer::shared().await else { return };
    let (admin, namespace) = (server.api(), server.namespace("rbac").await);
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "herald"}});
    Api::done(admin.create(&Api::core(&namespace, "serviceaccounts"), &account).await);
    let token = server.account_token(&namespace, "herald").await;
    let review = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token},
    });
    let review = Api::done(admin.create("/apis/authentication.k8s.io/v1/tokenreviews", &review).await);
    assert_eq!(review["status"]["user"]["username"], format!("system:serviceaccount:{namespace}:herald"));
    let path = Api::rollouts(&namespace);
    let api = Api::new(&server.url(), &token);
    assert_eq!(api.get(&path).await.0, 403);
    let rbac = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}");
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "read"},
        "rules": [{"apiGroups": ["argoproj.io"], "resources": ["rollouts"], "verbs": ["list"]}],
    });
    Api::done(admin.create(&format!("{rbac}/roles"), &role).await);
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "read"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "read"},
        "subjects": [{"kind": "ServiceAccount", "name": "herald", "namespace": namespace}],
    });
    Api::done(admin.create(&format!("{rbac}/rolebindings"), &binding).await);
    let allowed =
        herald_testkit::apiserver::wait_for(Duration::from_secs(30), async || api.get(&path).await.0 == 200);
    allowed.await.unwrap();
    assert_eq!(api.create(&path, &rollout("web")).await.0, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_what_is_stored_and_compacted_history_is_gone() {
    let Some(server) = ApiServer::start(&[]).await else { return };
    let (api, namespace) = (server.api(), server.namespace("own").await);
    let path = Api::rollouts(&namespace);
    let old = Api::done(api.create(&path, &rollout("before")).await);
    let version = old["metadata"]["resourceVersion"].as_str().unwrap();
    for number in 0..3 {
        Api::done(api.create(&path, &rollout(&format!("r{number}"))).await);
    }
    for how in [Stop::Gently, Stop::Hard] {
        server.stop(how);
        assert_eq!(api.get(&path).await.0, 0, "nobody answers");
        server.compact().await;
        server.resume().await.unwrap();
        let list = Api::done(api.get(&path).await);
        assert_eq!(list["items"].as_array().unwrap().len(), 4);
        let watch = format!("{path}?watch=true&timeoutSeconds=5&resourceVersion={version}");
        let (status, event) = api.get(&watch).await;
        assert!(status == 410 || event["object"]["code"] == 410, "{status} {event}");
    }
    let dir = server.dir().to_path_buf();
    drop(server);
    assert!(!Path::new(&dir).exists(), "nothing is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_passes_what_meets_no_fault() {
    let Some(server) = ApiServer::shared().await else { return };
    let namespace = server.namespace("proxy").await;
    let proxy = ApiProxy::start(&server.url()).await;
    let (direct, api) = (server.api(), Api::new(&proxy.url(), server.token()));
    let path = Api::rollouts(&namespace);
    let stranger = Api::new(&proxy.url(), "nobody");
    assert_eq!(stranger.get(&path).await.0, 401, "who asks is passed on");
    assert_eq!(Api::done(api.get(&path).await)["items"], json!([]));
    Api::done(api.create(&path, &rollout("web")).await);
    assert_eq!((proxy.count("list", "rollouts"), proxy.count("create", "rollouts")), (2, 1));

    proxy.add(Rule::on("list", "rollouts", Fault::Stale).times(1));
    assert_eq!(Api::done(api.get(&path).await)["items"], json!([]), "as it was at first");
    assert_eq!(Api::done(api.get(&path).await)["items"].as_array().unwrap().len(), 1);

    proxy.add(Rule::on("patch", "rollouts", Fault::too_many(Duration::from_secs(3))).times(1));
    proxy.add(Rule::on("patch", "rollouts", Fault::LoseAnswer).times(1));
    proxy.add(Rule::on("delete", "*", Fault::Drop).times(1));
    let (web, patch) = (format!("{path}/web"), json!({"metadata": {"labels": {"a": "b"}}}));
    let (status, answer) = api.merge(&web, &patch).await;
    assert_eq!((status, &answer["reason"]), (429, &json!("TooManyRequests")));
    assert_eq!(api.merge(&web, &patch).await.0, 0);
    assert_eq!(Api::done(direct.get(&web).await)["metadata"]["labels"]["a"], "b", "done, although unheard");
    assert_eq!(api.delete(&web).await.0, 0);
    assert_eq!(direct.get(&web).await.0, 200, "never heard");
    assert_eq!(proxy.faulted(), 4);

    let watch = format!("{path}?watch=true&timeoutSeconds=1");
    proxy.add(
        Rule::on("watch", "rollouts", Fault::WatchError { code: 410, reason: "Expired".into() }).times(1),
    );
    let (status, event) = api.get(&watch).await;
    assert_eq!((status, &event["type"], &event["object"]["code"]), (200, &json!("ERROR"), &json!(410)));
    proxy.add(Rule::on("watch", "rollouts", Fault::CutAfter(0)).times(1));
    assert_eq!(api.get(&watch).await.0, 0, "cut in the middle of the first object");
    let (status, event) = api.get(&watch).await;
    assert_eq!((status, &event["type"]), (200, &json!("ADDED")));
}
