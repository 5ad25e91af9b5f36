//! The one message that follows a rollout, from its beginning to its end.

// Helpers of tests may fail loudly, too.
#![allow(clippy::unwrap_used)]

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use herald_testkit::http::{Answer, Recorded, Recorder};

const PATIENCE: Duration = Duration::from_secs(60);

/// A canary at a step, subscribed at Slack and at a webhook, which can't edit.
fn rollout(phase: &str, step: u32, more: &str) -> String {
    format!(
        r#"apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata:
  name: web
  namespace: shop
  uid: u
  creationTimestamp: "2026-01-01T00:00:00Z"
  annotations:
    rollout.argoproj.io/revision: "2"
    notifications.argoproj.io/subscribe.on-rollout-live.slack: deploys
    notifications.argoproj.io/subscribe.on-rollout-live.hook: ""
spec:
  strategy: {{canary: {{steps: [{{setWeight: 20}}, {{pause: {{}}}}, {{setWeight: 60}}, {{pause: {{duration: 1m}}}}]}}}}
  template: {{spec: {{containers: [{{name: web, image: "web:2"}}]}}}}
status: {{phase: {phase}, currentStepIndex: {step}, currentPodHash: h2, stableRS: h1{more}}}
"#
    )
}

struct Scene {
    home: tempfile::TempDir,
    slack: Recorder,
    hook: Recorder,
}

impl Scene {
    async fn new() -> Scene {
        let scene = Scene {
            home: tempfile::tempdir().unwrap(),
            slack: Recorder::start().await,
            hook: Recorder::start().await,
        };
        scene.slack.otherwise(Answer::ok(r#"{"ok":true,"channel":"C1","ts":"17.1"}"#));
        std::fs::create_dir(scene.dir()).unwrap();
        scene.write(
            "config.yaml",
            &format!(
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: argo-rollouts-notification-configmap, namespace: \
                 argo-rollouts}}\ndata:\n  service.slack: |\n    token: x\n    apiURL: {}\n    delivery: {{recipientRate: \
                 {{every: 1ms}}}}\n  service.webhook.hook: |\n    url: {}\n",
                scene.slack.url("/api"),
                scene.hook.url("/hook")
            ),
        );
        scene
    }

    fn dir(&self) -> std::path::PathBuf {
        self.home.path().join("manifests")
    }

    fn write(&self, name: &str, text: &str) {
        let new = self.home.path().join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, self.dir().join(name)).unwrap();
    }

    fn start(&self) -> Child {
        herald(&["run"], &self.dir(), &self.home.path().join("state.db"))
            .arg("--notify-existing")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }
}

fn herald(words: &[&str], dir: &Path, state: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_herald"));
    command.args(words).arg(dir).arg("--state").arg(state).env_remove("RUST_LOG");
    command
}

fn method(request: &Recorded) -> &str {
    request.target.rsplit('/').next().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_posted_once_then_edited_and_survives_a_crash() {
    let scene = Scene::new().await;
    let mut child = scene.start();
    let stages = [
        rollout("Progressing", 0, ""),
        rollout(
            "Paused",
            1,
            ", pauseConditions: [{reason: CanaryPauseStep, startTime: \"2026-01-01T00:00:00Z\"}]",
        ),
        rollout("Progressing", 2, ""),
        rollout("Paused", 3, ""),
        rollout("Healthy", 4, "").replace("stableRS: h1", "stableRS: h2"),
    ];
    for (number, stage) in stages.iter().enumerate() {
        scene.write("web.yaml", stage);
        scene.slack.wait_for(number + 1, PATIENCE).await.expect("an update");
        if number == 2 {
            // The answer is on its way to the disk, or it is there: either way no second message appears.
            let state = scene.home.path().join("state.db");
            let stored = async {
                loop {
                    let shown = Command::new(env!("CARGO_BIN_EXE_herald"))
                        .args(["deliveries", "list", "--outcome", "pending", "--state"])
                        .arg(&state)
                        .output()
                        .unwrap();
                    if !String::from_utf8_lossy(&shown.stdout).contains("slack") {
                        return;
                    }
                }
            };
            tokio::time::timeout(PATIENCE, stored).await.unwrap();
            child.kill().unwrap();
            child.wait().unwrap();
            child = scene.start();
        }
    }
    let requests = scene.slack.requests();
    let methods: Vec<&str> = requests.iter().map(method).collect();
    assert_eq!(methods, ["chat.postMessage", "chat.update", "chat.update", "chat.update", "chat.update"]);
    for update in &requests[1..] {
        assert!(
            update.text().contains("ts=17.1") && update.text().contains("channel=C1"),
            "{}",
            update.text()
        );
    }
    let says = |number: usize, words: &str| {
        let text = requests[number].text();
        assert!(text.contains(words), "{words} is not in {text}");
    };
    says(0, "web+is+rolling+out");
    says(1, "web+is+paused");
    says(1, "1+of+4");
    says(4, "web+is+rolled+out");
    says(4, "100+%25");
    // What can't be edited is sent at the beginning and at the end.
    let told = scene.hook.wait_for(2, PATIENCE).await.expect("two requests");
    assert!(told[0].text().contains("rolling out") && told[1].text().contains("rolled out"), "{told:?}");
    assert_eq!(scene.hook.requests().len(), 2);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_that_wait_are_folded_into_the_last() {
    let scene = Scene::new().await;
    // Slack asks for patience once: meanwhile the rollout goes on.
    scene.slack.script([Answer::status(429).header("Retry-After", "3")]);
    let mut child = scene.start();
    for step in 0..4 {
        let stage = rollout("Progressing", step, "");
        scene.write("web.yaml", &stage);
        let state = scene.home.path().join("state.db");
        let seen = async {
            loop {
                let shown = Command::new(env!("CARGO_BIN_EXE_herald"))
                    .args(["deliveries", "list", "--service", "slack", "--state"])
                    .arg(&state)
                    .output()
                    .unwrap();
                if String::from_utf8_lossy(&shown.stdout).lines().count() == step as usize + 2 {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, seen).await.expect("another update waits");
    }
    let requests = scene.slack.wait_for(2, PATIENCE).await.expect("one message");
    assert!(requests[1].text().contains("3+of+4"), "only the newest is posted: {}", requests[1].text());
    scene.write("web.yaml", &rollout("Healthy", 4, ""));
    let requests = scene.slack.wait_for(3, PATIENCE).await.expect("the end");
    assert_eq!(requests.len(), 3);
    assert_eq!(method(&requests[2]), "chat.update");
    child.kill().unwrap();
    child.wait().unwrap();
}
