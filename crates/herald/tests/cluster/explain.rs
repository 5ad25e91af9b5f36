//! `herald explain` of a Rollout in the cluster.

use std::process::{Command, Output};

use herald_testkit::{
    apiserver::{Api, Stop, wait_for},
    http::Recorder,
};
use serde_json::{Value, json};

use crate::scene::{HEALTHY, PATIENCE, Scene, done, updating};

fn explain(scene: &Scene, more: &[&str]) -> Output {
    explain_in(scene, &scene.namespace, more)
}

fn explain_in(scene: &Scene, namespace: &str, more: &[&str]) -> Output {
    let kubeconfig = scene.server.kubeconfig(scene.home(), &scene.namespace);
    Command::new(env!("CARGO_BIN_EXE_herald"))
        .arg("explain")
        .args(more)
        .args(["-n", namespace, "--controller-namespace", &scene.namespace, "--kubeconfig"])
        .arg(kubeconfig)
        .env("NO_COLOR", "1")
        .env_remove("RUST_LOG")
        .env_remove("HERALD_STATE")
        .output()
        .unwrap()
}

fn items(output: &Output) -> Vec<Value> {
    let said = String::from_utf8_lossy(&output.stderr);
    let all: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {said}"));
    all["items"].as_array().unwrap_or_else(|| panic!("{all}\n{said}")).clone()
}

/// The answers of the first explanation: trigger, verdict, sentence.
fn answers(output: &Output) -> Vec<(String, String, String)> {
    let answers = items(output)[0]["answers"].as_array().unwrap().clone();
    let text = |answer: &Value, key: &str| answer[key].as_str().unwrap_or_default().to_owned();
    answers.iter().map(|one| (text(one, "trigger"), text(one, "verdict"), text(one, "sentence"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_of_the_cluster_is_explained_before_and_after_it_was_told() {
    let Some(scene) = Scene::new("explain").await else { return };
    scene.configure(&[]).await;
    scene.put(&updating("web", &["when-healthy", "when-degraded"])).await;
    // Nothing runs: what the cluster shows is enough.
    let before = explain(&scene, &["web", "-o", "json"]);
    let quiet = |trigger: &str, all: &[(String, String, String)]| {
        all.iter().any(|(name, verdict, _)| name == trigger && verdict == "quiet")
    };
    let first = answers(&before);
    assert!(quiet("when-healthy", &first) && quiet("when-degraded", &first), "{first:?}");
    assert!(before.status.success());

    let herald = scene.herald().await;
    scene.complete("web").await;
    scene.deliveries(1).await;
    let written = wait_for(PATIENCE, async || !scene.notified("web").await.is_empty()).await;
    assert!(written.is_ok(), "{}", scene.log());
    // The record on the object tells it, and the state file tells more.
    let state = scene.state();
    for more in [&["web", "-o", "json"][..], &["web", "-o", "json", "--state", state.to_str().unwrap()]] {
        let after = answers(&explain(&scene, more));
        let told = after.iter().any(|(name, verdict, _)| name == "when-healthy" && verdict == "told");
        assert!(told && quiet("when-degraded", &after), "{more:?}: {after:?}");
    }
    let text = explain(&scene, &["web", "--trigger", "when-degraded"]);
    let text = String::from_utf8_lossy(&text.stdout);
    assert!(text.contains("Degraded") && text.contains("web"), "{text}");
    drop(herald);

    let missing = explain(&scene, &["nobody"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("there is no Rollout"), "{missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_of_its_own_namespace_is_explained_beside_the_controllers() {
    const FLAG: &str = "--self-service-notification-enabled";
    let Some(mut scene) = Scene::own("explain-home").await else { return };
    scene.namespaced = false;
    let (team, own) = (scene.server.namespace("explain-team").await, Recorder::start().await);
    scene.configure(&[]).await;
    let data = [
        ("service.webhook.own", format!("url: {}\n", own.url("/"))),
        (
            "trigger.mine",
            format!("- when: {HEALTHY}\n  oncePer: rollout.status.currentPodHash\n  send: [mine]\n"),
        ),
        ("template.mine", "webhook: {own: {method: POST, body: 'mine {{.secrets.word}}'}}\n".to_owned()),
    ];
    scene.put_config_in(&team, data.map(|(key, value)| (key.to_owned(), value)).into()).await;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "argo-rollouts-notification-secret"},
        "stringData": {"word": "s3cret-of-the-team"},
    });
    Api::done(scene.api.create(&Api::core(&team, "secrets"), &secret).await);
    let mut rollout = updating("web", &["when-healthy"]);
    rollout["metadata"]["annotations"]["notifications.argoproj.io/subscribe.mine.own"] = "".into();
    scene.api.put_rollout(&team, &rollout).await;

    // Without the flag the team's subscription is a mistake, as it is for Herald without it.
    let without = explain_in(&scene, &team, &["web", "-o", "json"]);
    assert_eq!(without.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&without.stderr).contains("has a ConfigMap"), "{without:?}");
    assert_eq!(items(&without).len(), 1);

    let triggers = |item: &Value| -> Vec<(String, String)> {
        let answers = item["answers"].as_array().unwrap().iter();
        answers
            .map(|one| ["trigger", "verdict"].map(|key| one[key].as_str().unwrap().into()).into())
            .collect()
    };
    let both = |more: &[&str], verdict: &str| {
        let output = explain_in(&scene, &team, &[&["web", "-o", "json", FLAG], more].concat());
        let found = items(&output);
        let expected = |trigger: &str| vec![(trigger.to_owned(), verdict.to_owned())];
        assert_eq!(
            found.iter().map(triggers).collect::<Vec<_>>(),
            [expected("when-healthy"), expected("mine")]
        );
        assert_eq!([&found[0]["configuration"], &found[1]["configuration"]], [&Value::Null, &json!(team)]);
        assert!(output.status.success(), "{output:?}");
        found
    };
    both(&[], "quiet");
    let text = explain_in(&scene, &team, &["web", FLAG]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(
        text.contains(&format!("Rollout {team}/web by the configuration of namespace {team}: ")),
        "{text}"
    );

    let herald = scene.herald_with(&[FLAG, "--self-service-allow=127.0.0.0/8"]).await;
    scene.api.set_status(&team, "web", done("h2")).await;
    assert!(own.wait_for(1, PATIENCE).await.is_some(), "{}", scene.log());
    scene.deliveries(1).await;
    assert!(herald.stop(Stop::Gently).success());
    // Each has the deliveries of its own services.
    let state = scene.state();
    let found = both(&["--state", state.to_str().unwrap()], "told");
    let service = |item: &Value| item["answers"][0]["delivery"]["to"]["service"].clone();
    assert_eq!([service(&found[0]), service(&found[1])], ["hook", "own"]);
    let history = explain_in(&scene, &team, &["web", "--history", "--state", state.to_str().unwrap()]);
    let history = String::from_utf8_lossy(&history.stdout).into_owned();
    assert!(history.contains(&format!("web by the configuration of namespace {team}")), "{history}");
}
