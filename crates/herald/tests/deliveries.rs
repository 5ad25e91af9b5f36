//! `herald deliveries` and `run --once`, over a state file and over NATS JetStream.

// Helpers of tests may fail loudly, too.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use herald_testkit::{
    http::{Answer, Recorder},
    nats::{Nats, NatsOptions},
};
use serde_json::Value;

const CONFIGURATION: &str = r#"
kind: ConfigMap
metadata: {name: argo-rollouts-notification-configmap, namespace: argo-rollouts}
data:
  service.webhook.good: "{url: 'URL/good', retryMax: 0}"
  service.webhook.bad: "{url: 'URL/bad', retryMax: 0}"
  service.webhook.later: |
    url: URL/later
    delivery: {groupBy: [namespace], groupWait: 1h}
  template.done: |
    message: "{{.rollout.metadata.name}} is done"
    webhook:
      good: {method: POST, body: "{{.rollout.metadata.name}}"}
      bad: {method: POST, body: "{{.rollout.metadata.name}}"}
      later: {method: POST, body: "{{.rollout.metadata.name}}"}
  trigger.on-done: |
    - when: rollout.status.phase == 'Healthy'
      send: [done]
"#;

const ROLLOUT: &str = r#"
kind: Rollout
metadata:
  name: NAME
  namespace: NAMESPACE
  uid: u-NAME
  annotations:
    notifications.argoproj.io/subscribe.on-done.good: ""
    notifications.argoproj.io/subscribe.on-done.bad: ""
    notifications.argoproj.io/subscribe.on-done.later: ""
status: {phase: Healthy}
"#;

struct Scene {
    home: tempfile::TempDir,
    sink: Recorder,
    outbox: Option<String>,
}

impl Scene {
    /// Two Rollouts; one service accepts, one refuses, one collects for an hour.
    async fn new(outbox: Option<String>) -> Scene {
        let scene = Scene { home: tempfile::tempdir().unwrap(), sink: Recorder::start().await, outbox };
        scene.sink.otherwise(Answer::status(200));
        scene.sink.answer_at("/bad", Answer::status(400));
        fs::create_dir(scene.dir()).unwrap();
        let url = scene.sink.url("");
        fs::write(scene.dir().join("config.yaml"), CONFIGURATION.replace("URL", url.trim_end_matches('/')))
            .unwrap();
        for (name, namespace) in [("web", "shop"), ("api", "prod")] {
            let text = ROLLOUT.replace("NAMESPACE", namespace).replace("NAME", name);
            fs::write(scene.dir().join(format!("{name}.yaml")), text).unwrap();
        }
        scene
    }

    fn dir(&self) -> PathBuf {
        self.home.path().join("manifests")
    }

    fn herald(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_herald"));
        command
            .args(arguments)
            .current_dir(self.dir())
            .env("XDG_STATE_HOME", self.home.path())
            .env_remove("RUST_LOG");
        if let Some(outbox) = &self.outbox {
            command.env("HERALD_OUTBOX", outbox);
        }
        command.output().unwrap()
    }

    #[track_caller]
    fn says(&self, arguments: &[&str]) -> String {
        let output = self.herald(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn refuses(&self, arguments: &[&str]) -> String {
        let output = self.herald(arguments);
        assert!(!output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stderr).unwrap()
    }

    /// Service and outcome of what a list gives, sorted.
    #[track_caller]
    fn list(&self, arguments: &[&str]) -> Vec<String> {
        let text = self.says(&[&["deliveries", "list", "-o", "json"], arguments].concat());
        let found: Vec<Value> = serde_json::from_str(&text).unwrap();
        let word = |entry: &Value, key: &str| entry[key].as_str().unwrap().to_owned();
        let mut words: Vec<String> = found
            .iter()
            .map(|entry| {
                format!("{} {} {}", word(entry, "name"), word(entry, "service"), word(entry, "outcome"))
            })
            .collect();
        words.sort();
        words
    }

    fn arrived(&self, path: &str) -> usize {
        self.sink.requests().iter().filter(|request| request.target == path).count()
    }

    fn keeps_its_word(&self) {
        let first = self.herald(&["run", ".", "--once"]);
        let told = String::from_utf8_lossy(&first.stderr);
        assert_eq!(first.status.code(), Some(1), "{told}");
        assert!(told.contains("2 delivered, 2 given up") && told.contains("2 not delivered yet"), "{told}");
        let all = [
            "api bad dead-letter",
            "api good delivered",
            "api later pending",
            "web bad dead-letter",
            "web good delivered",
            "web later pending",
        ];
        assert_eq!(self.list(&[]), all);
        assert_eq!(self.list(&["."]), all);
        for (filter, expected) in [
            (&["--service", "good"][..], &["api good delivered", "web good delivered"][..]),
            (&["--outcome", "dead-letter", "--rollout", "web"], &["web bad dead-letter"]),
            (&["--rollout", "shop/web", "--outcome", "pending"], &["web later pending"]),
            (&["-n", "prod", "--service", "good"], &["api good delivered"]),
            (&["--trigger", "on-else"], &[]),
            (&["--recipient", "nobody"], &[]),
            (&["--until", "1h"], &[]),
            (&["--since", "1h", "--service", "later"], &["api later pending", "web later pending"]),
        ] {
            assert_eq!(self.list(filter), expected, "{filter:?}");
        }
        // Whoever looks is told why a notice waits.
        let held = self.says(&["deliveries", "list", "--outcome", "pending"]);
        assert_eq!(held.matches("waits for others of its group").count(), 2, "{held}");
        let id = self.says(&["deliveries", "list", "-o", "name", "--rollout", "web", "--service", "bad"]);
        let id = id.trim();
        let shown = self.says(&["deliveries", "show", id]);
        for words in ["outcome:   dead-letter", "to:        bad:", "failed: ", "message: web is done"] {
            assert!(shown.contains(words), "{words} is not in {shown}");
        }
        let shown = self.says(&["deliveries", "show", id, "-o", "yaml"]);
        assert!(shown.contains("message: web is done") && shown.contains("id: "), "{shown}");

        assert!(self.refuses(&["deliveries", "resend"]).contains("say which deliveries"));
        assert!(self.refuses(&["deliveries", "resend", id, "nonsense"]).contains("`nonsense`"));
        assert!(self.refuses(&["deliveries", "show", "nonsense"]).contains("`nonsense`"));
        let meant = self.says(&["deliveries", "resend", "--outcome", "dead-letter", "--dry-run"]);
        assert_eq!(meant.lines().count(), 3, "{meant}");
        assert_eq!(self.arrived("/bad"), 2);

        // One, a filter, everything since a time.
        self.sink.answer_at("/bad", Answer::status(200));
        assert_eq!(self.says(&["deliveries", "resend", id]), "1 queued again\n");
        self.herald(&["run", ".", "--once"]);
        assert_eq!(self.arrived("/bad"), 3);
        assert_eq!(self.says(&["deliveries", "resend", "--outcome", "dead-letter"]), "1 queued again\n");
        self.herald(&["run", ".", "--once"]);
        assert_eq!((self.arrived("/bad"), self.list(&["--outcome", "dead-letter"])), (4, Vec::new()));
        assert_eq!(self.says(&["deliveries", "drop", "--outcome", "pending"]), "2 dropped\n");
        assert_eq!(self.list(&["--outcome", "dropped"]), ["api later dropped", "web later dropped"]);
        assert_eq!(
            self.says(&["deliveries", "resend", "--since", "1h", "--outcome", "delivered"]),
            "4 queued again\n"
        );
        let last = self.herald(&["run", ".", "--once"]);
        assert!(last.status.success(), "{}", String::from_utf8_lossy(&last.stderr));
        assert_eq!((self.arrived("/good"), self.arrived("/bad"), self.arrived("/later")), (4, 6, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_state_file() {
    let scene = Scene::new(None).await;
    let told = scene.refuses(&["deliveries", "list"]);
    assert!(told.contains("there is no state file") && told.contains("--state"), "{told}");
    scene.keeps_its_word();
    let dir = scene.dir();
    let dir = dir.to_str().unwrap();
    for place in [&[dir][..], &["--dir", dir], &["--state", dir]] {
        assert_eq!(scene.list(place).len(), 6, "{place:?}");
    }
    let found: Vec<_> = fs::read_dir(scene.home.path().join("herald")).unwrap().flatten().collect();
    let file = found.iter().find(|entry| entry.path().extension().is_some_and(|ext| ext == "db")).unwrap();
    let file = file.path();
    let file = file.to_str().unwrap();
    for place in [&[file][..], &["--state", file]] {
        assert_eq!(scene.list(place).len(), 6, "{place:?}");
    }
    assert!(scene.refuses(&["deliveries", "list", dir, "--state", file]).contains("name one of them"));
    assert!(scene.refuses(&["deliveries", "list", "--since", "soon"]).contains("90m, 2h or 1d"));
}

#[tokio::test(flavor = "multi_thread")]
async fn in_jetstream() {
    let Some(nats) = Nats::start(&NatsOptions { jetstream: true, ..NatsOptions::default() }).await else {
        return;
    };
    let scene = Scene::new(Some(nats.url())).await;
    scene.keeps_its_word();
}
