//! Commands that look at a cluster once: `herald lint --live`, `herald shadow --live`.

use std::process::{Command, Output};

use herald_testkit::apiserver::{self, Api};
use serde_json::{Value, json};

use crate::scene::{HEALTHY_HASH, NOTIFIED, Scene, completed};

fn herald(scene: &Scene, arguments: &[&str]) -> Output {
    let url = scene.server.url();
    let kubeconfig = apiserver::write_kubeconfig(scene.home(), &url, &scene.token, &scene.namespace);
    Command::new(env!("CARGO_BIN_EXE_herald"))
        .args(arguments)
        .args(["--live", "-n", &scene.namespace, "--controller-namespace", &scene.namespace, "--kubeconfig"])
        .arg(kubeconfig)
        .env("NO_COLOR", "1")
        .env_remove("RUST_LOG")
        .output()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn lint_reads_further_config_maps_and_those_of_teams() {
    let Some(scene) = Scene::new("lint-more").await else { return };
    let team = scene.server.namespace("lint-team").await;
    scene.configure(&[]).await;
    let labelled = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "more", "labels": {"herald.dev/config": "true"}},
        "data": {"trigger.on-more": "- when: rollout.status.phas == 'Healthy'\n  send: [completed]\n"},
    });
    Api::done(scene.api.create(&Api::core(&scene.namespace, "configmaps"), &labelled).await);
    let broken = ("trigger.on-team".to_owned(), "- when: 1 ==\n  send: [x]\n".to_owned());
    scene.put_config_in(&team, [broken].into()).await;
    // A Rollout of the team is answered by the controller's configuration, too.
    scene.api.put_rollout(&team, &completed("web", &["when-healthy"])).await;
    let (url, kubeconfig) = (scene.server.url(), scene.home());
    let kubeconfig = apiserver::write_kubeconfig(kubeconfig, &url, &scene.token, &scene.namespace);
    let output = Command::new(env!("CARGO_BIN_EXE_herald"))
        .args(["lint", "--live", "--format", "json", "-n", &team])
        .args(["--controller-namespace", &scene.namespace, "--kubeconfig"])
        .arg(kubeconfig)
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let files: Vec<&str> =
        report["findings"].as_array().unwrap().iter().filter_map(|one| one["file"].as_str()).collect();
    let map = format!("configmap/{team}/argo-rollouts-notification-configmap");
    assert!(files.contains(&map.as_str()), "{}", text(&output));
    assert!(files.contains(&format!("configmap/{}/more", scene.namespace).as_str()), "{}", text(&output));
    assert!(!files.iter().any(|file| file.starts_with("rollout/")), "{}", text(&output));
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn lint_reads_the_configuration_in_force_and_who_subscribes() {
    let Some(scene) = Scene::new("lint").await else { return };
    scene.configure(&[]).await;
    scene.put(&completed("good", &["when-healthy"])).await;
    let good = herald(&scene, &["lint"]);
    assert!(good.status.success(), "{}", text(&good));
    scene
        .configure(&[("trigger.on-late", "- when: rollout.status.phas == 'Healthy'\n  send: [completedd]\n")])
        .await;
    scene.put(&completed("lost", &["when-heathly"])).await;
    let bad = herald(&scene, &["lint", "--format", "json"]);
    assert_eq!(bad.status.code(), Some(1), "{}", text(&bad));
    let report: Value = serde_json::from_slice(&bad.stdout).unwrap();
    let found = report.to_string();
    let map = format!("configmap/{}/argo-rollouts-notification-configmap", scene.namespace);
    let rollout = format!("rollout/{}/lost", scene.namespace);
    for words in [map.as_str(), &rollout, "completedd", "when-heathly"] {
        assert!(found.contains(words), "{words} is not in {found}");
    }
    assert!(!found.contains(&format!("rollout/{}/good", scene.namespace)), "{found}");
    // For people, with the line as the ConfigMap has it.
    let shown = text(&herald(&scene, &["lint"]));
    assert!(shown.contains("send: [completedd]"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn shadow_compares_with_what_the_cluster_recorded() {
    let Some(scene) = Scene::new("shadow").await else { return };
    scene.configure(&[]).await;
    scene.put(&completed("same", &["when-healthy"])).await;
    let record = json!({format!("h2:when-healthy:[0].{HEALTHY_HASH}:hook:"): 1_790_000_000}).to_string();
    scene.annotate("same", json!({NOTIFIED: record})).await;
    let same = herald(&scene, &["shadow", "--all", "-o", "json"]);
    assert!(same.status.success(), "{}", text(&same));
    assert!(text(&same).contains("\"both\""), "{}", text(&same));
    // Nobody recorded anything of this one.
    scene.put(&completed("missed", &["when-healthy"])).await;
    let differs = herald(&scene, &["shadow"]);
    assert_eq!(differs.status.code(), Some(1), "{}", text(&differs));
    assert!(
        text(&differs).contains("missed") && text(&differs).contains("only Herald"),
        "{}",
        text(&differs)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_does_not_answer_is_told() {
    let Some(scene) = Scene::new("away").await else { return };
    let nothing = herald(&scene, &["lint"]);
    assert!(text(&nothing).contains("--controller-namespace"), "{}", text(&nothing));
    let away = Command::new(env!("CARGO_BIN_EXE_herald"))
        .args(["lint", "--live", "--kubeconfig", "/nonexistent"])
        .output()
        .unwrap();
    assert_eq!(away.status.code(), Some(3), "{}", text(&away));
}
