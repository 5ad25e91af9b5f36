//! `herald explain` of a Rollout in the cluster.

use std::process::{Command, Output};

use herald_testkit::apiserver::wait_for;
use serde_json::Value;

use crate::scene::{PATIENCE, Scene, updating};

fn explain(scene: &Scene, more: &[&str]) -> Output {
    let kubeconfig = scene.server.kubeconfig(scene.home(), &scene.namespace);
    Command::new(env!("CARGO_BIN_EXE_herald"))
        .arg("explain")
        .args(more)
        .args(["-n", &scene.namespace, "--controller-namespace", &scene.namespace, "--kubeconfig"])
        .arg(kubeconfig)
        .env("NO_COLOR", "1")
        .env_remove("RUST_LOG")
        .env_remove("HERALD_STATE")
        .output()
        .unwrap()
}

/// The answers: trigger, verdict, sentence.
fn answers(output: &Output) -> Vec<(String, String, String)> {
    let said = String::from_utf8_lossy(&output.stderr);
    let all: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {said}"));
    let answers = all["items"][0]["answers"].as_array().unwrap_or_else(|| panic!("{all}\n{said}")).clone();
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
