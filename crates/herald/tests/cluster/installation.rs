//! The manifests of `deploy/`, applied to a real API server, and the rights that they give.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use herald_testkit::apiserver::{Api, Stop, wait_for};

use crate::scene::{PATIENCE, Scene, configuration, updating};

fn deploy(part: &str) -> String {
    format!("{}/../../deploy/{part}", env!("CARGO_MANIFEST_DIR"))
}

fn kubectl(args: &[&str], input: Option<&str>) -> Option<Result<String, String>> {
    let mut command = Command::new("kubectl");
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        eprintln!("SKIPPED: 1 test of deploy/: kubectl is not there (Debian: kubernetes-client)");
        return None;
    };
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.unwrap_or_default().as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some(match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(text(&output.stderr)),
    })
}

fn render(dir: &str) -> Option<String> {
    kubectl(&["kustomize", dir], None).map(|rendered| rendered.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rights_of_the_namespace_install_are_enough_and_no_more() {
    let Some(mut scene) = Scene::new("rights").await else { return };
    let Some(manifests) = render(&deploy("namespace-install")) else { return };
    let admin = scene.server.kubeconfig(scene.home(), &scene.namespace);
    let admin = admin.to_str().unwrap();
    let apply = ["--kubeconfig", admin, "-n", &scene.namespace, "apply", "-f", "-"];
    let applied = kubectl(&apply, Some(&manifests)).unwrap();
    assert!(applied.is_ok(), "{applied:?}");

    scene.token = scene.server.account_token(&scene.namespace, "herald").await;
    scene.configure(&[("trigger.broken", "- when: rollout.status.phase ==\n  send: [healthy]\n")]).await;
    // A replica takes part in the election, so the rights on Leases are used, too.
    let herald = scene.replica(1, &["--leader-election-retry-period=500ms"]);
    herald.ready().await;
    scene.put(&updating("web", &["when-healthy", "on-rollout-completed"])).await;
    scene.complete("web").await;
    scene.deliveries(2).await;
    let written = wait_for(PATIENCE, async || scene.notified("web").await.len() >= 2).await;
    assert!(written.is_ok(), "{}", scene.log());
    let events = Api::core(&scene.namespace, "events");
    let told = async || {
        let events = Api::done(scene.api.get(&events).await);
        let found = events["items"].as_array().unwrap();
        found.iter().any(|event| event["involvedObject"]["kind"] == "ConfigMap" && event["type"] == "Warning")
    };
    assert!(wait_for(PATIENCE, told).await.is_ok(), "{}", scene.log());
    assert!(!scene.log().contains("forbidden"), "{}", scene.log());
    assert!(herald.stop(Stop::Gently).success(), "{}", scene.log());

    // What it must not be able to do.
    let account = Api::new(&scene.server.url(), &scene.token);
    for (what, path) in [
        ("other Secrets", Api::core(&scene.namespace, "secrets")),
        ("other namespaces", Api::core("kube-system", "configmaps")),
        ("pods", Api::core(&scene.namespace, "pods")),
    ] {
        let (status, answer) = account.get(&path).await;
        assert_eq!(status, 403, "{what}: {answer}");
    }
    let rollout = format!("{}/web", Api::rollouts(&scene.namespace));
    let (status, answer) = account.delete(&rollout).await;
    assert_eq!(status, 403, "deleting a Rollout: {answer}");
}

/// A kustomization of a base and components, rendered for a namespace.
fn rendered(dir: &Path, base: &str, components: &[&str], namespace: &str) -> Option<String> {
    std::fs::create_dir_all(dir).unwrap();
    let target = |part: &str| {
        let path = Path::new(&deploy(part)).canonicalize().unwrap();
        // Kustomize takes relative paths only.
        let up = "../".repeat(dir.components().count());
        format!("{}{}", up.trim_end_matches('/'), path.display())
    };
    let components: String =
        components.iter().map(|part| format!("  - {}\n", target(&format!("components/{part}")))).collect();
    let text = format!(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n  - {}\ncomponents:\n{components}",
        target(base)
    );
    std::fs::write(dir.join("kustomization.yaml"), text).unwrap();
    let manifests = render(dir.to_str().unwrap())?;
    Some(manifests.replace("namespace: argo-rollouts", &format!("namespace: {namespace}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rights_of_the_cluster_install_with_self_service_are_enough_and_no_more() {
    let Some(mut scene) = Scene::own("rights").await else { return };
    let Some(manifests) =
        rendered(&scene.home().join("k"), "cluster-install", &["self-service"], &scene.namespace)
    else {
        return;
    };
    let admin = scene.server.kubeconfig(scene.home(), &scene.namespace);
    let apply = ["--kubeconfig", admin.to_str().unwrap(), "-n", &scene.namespace, "apply", "-f", "-"];
    let applied = kubectl(&apply, Some(&manifests)).unwrap();
    assert!(applied.is_ok(), "{applied:?}");

    scene.token = scene.server.account_token(&scene.namespace, "herald").await;
    scene.namespaced = false;
    let tenant = scene.server.namespace("tenant").await;
    scene.configure(&[]).await;
    let text = "webhook:\n  hook: {method: POST, body: by the tenant}\n";
    let tenants = configuration(&scene.sink.url("/tenant"), &[("template.completed", text)]);
    scene.put_config_in(&tenant, tenants).await;
    scene.api.put_rollout(&tenant, &updating("web", &["on-rollout-completed"])).await;
    let herald = scene
        .herald_with(&["--self-service-notification-enabled=true", "--self-service-allow=127.0.0.1"])
        .await;
    scene.api.set_status(&tenant, "web", crate::scene::done("h2")).await;
    scene.deliveries(2).await;
    let told = scene.told();
    assert!(told.contains_key("by the tenant") && told.contains_key("web completed h2"), "{told:?}");
    assert!(!scene.log().contains("forbidden"), "{}", scene.log());
    assert!(herald.stop(Stop::Gently).success(), "{}", scene.log());

    let account = Api::new(&scene.server.url(), &scene.token);
    for path in
        ["/api/v1/secrets", "/api/v1/configmaps", "/api/v1/secrets?fieldSelector=metadata.name%3Dother"]
    {
        let (status, answer) = account.get(path).await;
        assert_eq!(status, 403, "{path}: {answer}");
    }
}

/// The page on all addresses, as in a pod.
fn page(scene: &Scene) -> (crate::scene::Herald, String) {
    let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let herald = scene.spawn(&[
        "--ui",
        &format!("--ui-address=0.0.0.0:{port}"),
        &format!("--ui-host=localhost:{port},127.0.0.1:{port}"),
    ]);
    (herald, format!("http://127.0.0.1:{port}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_for_those_whose_token_the_api_server_knows_and_who_may_patch_rollouts() {
    let Some(mut scene) = Scene::own("page").await else { return };
    let dir = scene.home().join("k");
    let Some(manifests) = rendered(&dir, "cluster-install", &["ui"], &scene.namespace) else { return };
    let admin = scene.server.kubeconfig(scene.home(), &scene.namespace);
    let apply = ["--kubeconfig", admin.to_str().unwrap(), "-n", &scene.namespace, "apply", "-f", "-"];
    let applied = kubectl(&apply, Some(&manifests)).unwrap();
    assert!(applied.is_ok(), "{applied:?}");
    let stranger =
        serde_json::json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "stranger"}});
    Api::done(scene.api.create(&Api::core(&scene.namespace, "serviceaccounts"), &stranger).await);
    let mut tokens = Vec::new();
    for account in ["herald", "stranger"] {
        tokens.push(scene.server.account_token(&scene.namespace, account).await);
    }
    // Herald itself may patch Rollouts, a stranger may not.
    scene.token = tokens[0].clone();
    scene.configure(&[]).await;
    let (herald, url) = page(&scene);
    herald.ready().await;
    let get = async |token: &str| Api::new(&url, token).get("/api/v1/deliveries").await;
    assert_eq!(get(&tokens[0]).await.0, 200, "{}", scene.log());
    for (who, token) in
        [("a stranger", tokens[1].as_str()), ("garbage", "garbage-of-16-characters"), ("nobody", "")]
    {
        let (status, answer) = get(token).await;
        assert_eq!(status, 401, "{who}: {answer}\n{}", scene.log());
    }
    assert!(!scene.log().contains("forbidden"), "{}", scene.log());
    drop(herald);

    // Without the right to ask, nobody is let in, and it says why.
    scene.token = tokens[1].clone();
    let (_herald, url) = page(&scene);
    let answered = async || Api::new(&url, &tokens[0]).get("/api/v1/deliveries").await;
    let refused = wait_for(PATIENCE, async || answered().await.0 == 503).await;
    assert!(refused.is_ok(), "{:?}\n{}", answered().await, scene.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_in_deploy_is_accepted_by_the_api_server() {
    let Some(scene) = Scene::new("deploy").await else { return };
    let admin = scene.server.kubeconfig(scene.home(), &scene.namespace);
    let admin = admin.to_str().unwrap();
    let parts = ["high-availability", "self-service", "ui", "network-policy"];
    for base in ["cluster-install", "namespace-install"] {
        let dir = scene.home().join(base);
        // Only what may be written into this namespace; the objects of the cluster are checked without being kept.
        let Some(manifests) = rendered(&dir, base, &parts, &scene.namespace) else { return };
        let apply = [
            "--kubeconfig",
            admin,
            "-n",
            &scene.namespace,
            "apply",
            "--dry-run=server",
            "--validate=strict",
            "-f",
            "-",
        ];
        let applied = kubectl(&apply, Some(&manifests)).unwrap();
        assert!(applied.is_ok(), "{base}: {applied:?}");
        let lines = applied.unwrap();
        for kind in ["statefulset.apps/herald", "poddisruptionbudget", "networkpolicy", "role.rbac"] {
            assert!(lines.contains(kind), "{base} has no {kind}:\n{lines}");
        }
    }
}

#[test]
fn the_chart_s_rules_are_those_of_the_monitoring_component() {
    let component = std::fs::read_to_string(deploy("components/monitoring/prometheus-rule.yaml")).unwrap();
    let chart = std::fs::read_to_string(deploy("chart/herald/rules.yaml")).unwrap();
    let indented: String = chart.lines().map(|line| format!("  {line}\n")).collect();
    let spec = component.split_once("\nspec:\n").unwrap().1;
    assert_eq!(spec.trim_end(), indented.trim_end());
}
