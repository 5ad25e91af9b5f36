//! `herald run DIR` as a process, against a recording webhook sink.

// Helpers of tests may fail loudly, too.
#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, SystemTime},
};

use herald_testkit::{
    http::{Answer, Recorder},
    manifests::{configuration, rollout},
};

const PATIENCE: Duration = Duration::from_secs(60);

fn herald(dir: &Path, state: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_herald"));
    command.arg("run").arg(dir).arg("--state").arg(state).env("NO_COLOR", "1").env_remove("RUST_LOG");
    command
}

fn once(dir: &Path, state: &Path) -> Output {
    herald(dir, state).arg("--once").output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

struct Scene {
    home: tempfile::TempDir,
    sink: Recorder,
}

impl Scene {
    async fn new(rollouts: usize) -> Scene {
        let scene = Scene { home: tempfile::tempdir().unwrap(), sink: Recorder::start().await };
        scene.sink.otherwise(Answer::status(200));
        std::fs::create_dir(scene.dir()).unwrap();
        scene.write("config.yaml", &configuration(&scene.sink.url("/hook")));
        for n in 0..rollouts {
            scene.write(&format!("r{n}.yaml"), &rollout(&format!("r{n}"), 1));
        }
        scene
    }

    fn dir(&self) -> std::path::PathBuf {
        self.home.path().join("manifests")
    }

    fn state(&self) -> std::path::PathBuf {
        self.home.path().join("state.db")
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.dir().join(name), text).unwrap();
    }

    fn bodies(&self) -> Vec<String> {
        self.sink.requests().iter().map(|request| request.text()).collect()
    }
}

fn start(scene: &Scene) -> Child {
    herald(&scene.dir(), &scene.state())
        .arg("--notify-existing")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn terminate(mut child: Child) -> std::process::ExitStatus {
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    child.wait().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rollout_gives_one_delivery_and_touching_gives_none() {
    let scene = Scene::new(25).await;
    let output = once(&scene.dir(), &scene.state());
    assert!(output.status.success(), "{}", stderr(&output));
    let wanted: BTreeSet<String> = (0..25).map(|n| format!("r{n} h1")).collect();
    assert_eq!(scene.bodies().len(), 25);
    assert_eq!(scene.bodies().into_iter().collect::<BTreeSet<_>>(), wanted);
    assert_eq!(scene.sink.requests()[0].header("Authorization"), Some("Bearer s3cret-token"));

    for entry in std::fs::read_dir(scene.dir()).unwrap() {
        let file = std::fs::File::options().append(true).open(entry.unwrap().path()).unwrap();
        file.set_modified(SystemTime::now() + Duration::from_secs(5)).unwrap();
    }
    let output = once(&scene.dir(), &scene.state());
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(scene.bodies().len(), 25);

    scene.write("r3.yaml", &rollout("r3", 2));
    assert!(once(&scene.dir(), &scene.state()).status.success());
    assert_eq!(scene.bodies()[25..], ["r3 h2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn watching_is_silent_about_what_was_there_and_tells_what_comes() {
    let scene = Scene::new(3).await;
    let child =
        herald(&scene.dir(), &scene.state()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut child = child;
    // It says when it has recorded what was there.
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
    assert!(lines.any(|line| line.unwrap().contains("watching")));
    std::thread::spawn(move || lines.count());
    scene.write("r1.yaml", &rollout("r1", 2));
    scene.write("new.yaml", &rollout("new", 1));
    let requests = scene.sink.wait_for(2, PATIENCE).await.expect("two deliveries");
    let bodies: BTreeSet<String> = requests.iter().map(|request| request.text()).collect();
    assert_eq!(bodies, BTreeSet::from(["r1 h2".to_owned(), "new h1".to_owned()]));
    assert!(terminate(child).success(), "it ends cleanly");
    let output = once(&scene.dir(), &scene.state());
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(scene.bodies().len(), 2, "a restart repeats nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_everything_arrives_and_nothing_acknowledged_comes_again() {
    const ROLLOUTS: usize = 30;
    for round in 0..8u64 {
        let scene = Scene::new(ROLLOUTS).await;
        scene.sink.otherwise(Answer::status(200).after(Duration::from_millis(2)));
        let mut child = start(&scene);
        // Each round kills it somewhere else: after so many deliveries have begun.
        let _ = scene.sink.wait_for(1 + round as usize * 4, PATIENCE).await;
        child.kill().unwrap();
        child.wait().unwrap();
        let before: Vec<String> = scene.bodies();
        let acknowledged = acknowledged(&scene.state());
        let output = once(&scene.dir(), &scene.state());
        assert!(output.status.success(), "round {round}: {}", stderr(&output));
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for body in scene.bodies() {
            *counts.entry(body).or_default() += 1;
        }
        for n in 0..ROLLOUTS {
            let count = counts.get(&format!("r{n} h1")).copied().unwrap_or(0);
            assert!(count >= 1, "round {round}: r{n} is lost");
            if acknowledged.contains(&format!("r{n}")) {
                assert_eq!(count, 1, "round {round}: r{n} was acknowledged and came again");
            }
        }
        assert!(scene.bodies().len() >= before.len());
    }
}

/// The Rollouts whose delivery the state file says is done.
fn acknowledged(state: &Path) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_herald"))
        .args(["deliveries", "list", "--outcome", "delivered", "--state"])
        .arg(state)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().filter_map(|word| word.strip_prefix("shop/")).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_told_once_each_and_the_rest_is_delivered() {
    let scene = Scene::new(2).await;
    let subscribed =
        |name: &str, subscription: &str| rollout(name, 1).replace("subscribe.on-done.hook", subscription);
    scene.write("broken.yaml", "kind: Rollout\nmetadata: {name: [");
    scene.write("unknown-trigger.yaml", &subscribed("a", "subscribe.on-nope.hook"));
    scene.write("unknown-service.yaml", &subscribed("b", "subscribe.on-done.nowhere"));
    scene.write("failing-template.yaml", &subscribed("c", "subscribe.on-bad.hook"));
    std::fs::write(scene.dir().join("binary.yaml"), [0xff, 0xfe, 0x00, 0x01]).unwrap();
    std::fs::write(scene.dir().join("huge.yaml"), vec![b'#'; 10 * 1024 * 1024]).unwrap();
    let more = "  service.slack: |\n    token: $missing\n  template.fails: |\n    message: '{{index .rollout.nothing 3}}'\n  \
                trigger.on-bad: |\n    - {when: 'true', send: [fails]}\n  trigger.on-syntax: |\n    - {when: 'a ==', send: [done]}\n---\n";
    let text = configuration(&scene.sink.url("/hook")).replacen("---\n", more, 1);
    scene.write("config.yaml", &text);
    let output = once(&scene.dir(), &scene.state());
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(
        scene.bodies().into_iter().collect::<BTreeSet<_>>(),
        BTreeSet::from(["r0 h1".into(), "r1 h1".into()])
    );
    for words in [
        "broken.yaml: line 2",
        "unknown-trigger.yaml, Rollout shop/a",
        "unknown-service.yaml, Rollout shop/b",
        "Rollout shop/c: trigger `on-bad` for hook: key template.fails, line 1, column 13",
        "binary.yaml: is no text",
        "huge.yaml: is larger than",
        "service.slack, line 1",
        "trigger.on-syntax, line 1",
    ] {
        assert_eq!(said.matches(words).count(), 1, "{words:?} in:\n{said}");
    }
    assert!(!said.contains("panicked") && !said.contains("s3cret-token"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_told_and_tried_again_by_the_next_run() {
    let scene = Scene::new(1).await;
    scene.sink.otherwise(Answer::status(400));
    let output = once(&scene.dir(), &scene.state());
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let said = stderr(&output);
    assert!(said.contains("given up"), "{said}");
    let listed = Command::new(env!("CARGO_BIN_EXE_herald"))
        .args(["deliveries", "resend", "--outcome", "dead-letter", "--state"])
        .arg(scene.state())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&listed.stdout), "1 queued again\n", "{}", stderr(&listed));
    scene.sink.otherwise(Answer::status(200));
    let output = once(&scene.dir(), &scene.state());
    assert!(output.status.success(), "{}", stderr(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_goes_on_after_a_restart() {
    let scene = Scene::new(0).await;
    scene.sink.otherwise(Answer::ok(r#"{"ok":true,"channel":"C123","ts":"1700000000.000100"}"#));
    let more = format!(
        "  service.slack: |\n    token: $token\n    apiURL: {}\n  template.said: |\n    message: hello\n    \
         slack: {{groupingKey: '{{{{.rollout.metadata.name}}}}'}}\n  trigger.on-said: |\n    - {{when: 'true', \
         oncePer: rollout.status.currentPodHash, send: [said]}}\n---\n",
        scene.sink.url("/api")
    );
    scene.write("config.yaml", &configuration(&scene.sink.url("/hook")).replacen("---\n", &more, 1));
    let subscribed =
        |revision| rollout("web", revision).replace("on-done.hook: \"\"", "on-said.slack: deploys");
    scene.write("web.yaml", &subscribed(1));
    let output = once(&scene.dir(), &scene.state());
    assert!(output.status.success(), "{}", stderr(&output));
    scene.write("web.yaml", &subscribed(2));
    let output = once(&scene.dir(), &scene.state());
    assert!(output.status.success(), "{}", stderr(&output));
    let bodies = scene.bodies();
    assert_eq!(bodies.len(), 2, "{bodies:?}");
    assert!(!bodies[0].contains("thread_ts"), "{}", bodies[0]);
    assert!(bodies[1].contains("thread_ts=1700000000.000100"), "{}", bodies[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_cannot_be_told_is_kept_until_it_can() {
    let scene = Scene::new(0).await;
    scene.write("web.yaml", &rollout("web", 1).replace("on-done.hook", "on-rollout-completed.nowhere"));
    assert_eq!(once(&scene.dir(), &scene.state()).status.code(), Some(1));
    let deliveries = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_herald"));
        command.arg("deliveries").args(words).arg("--state").arg(scene.state()).output().unwrap()
    };
    let listed = deliveries(&["list", "--outcome", "dead-letter"]);
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert_eq!(text.matches("no usable service `nowhere`").count(), 1, "{text}");
    assert!(text.contains("on-rollout-completed"), "{text}");

    let service =
        "  service.webhook.nowhere: |\n    url: URL\n---\n".replace("URL", &scene.sink.url("/later"));
    scene.write("config.yaml", &configuration(&scene.sink.url("/hook")).replacen("---\n", &service, 1));
    assert_eq!(deliveries(&["resend", "--outcome", "dead-letter"]).status.code(), Some(0));
    let output = once(&scene.dir(), &scene.state());
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(deliveries(&["list", "--outcome", "dead-letter"]).stdout.split(|b| *b == b'\n').count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_is_told_when_it_has_held_long_enough() {
    let scene = Scene::new(0).await;
    let more =
        "  trigger.on-long: |\n    - {when: rollout.status.phase == 'Healthy', for: 1s, send: [done]}\n---\n";
    scene.write("config.yaml", &configuration(&scene.sink.url("/hook")).replacen("---\n", more, 1));
    scene.write("web.yaml", &rollout("web", 1).replace("on-done", "on-long"));
    // Recorded as holding, but not for long enough.
    let output = once(&scene.dir(), &scene.state());
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(scene.bodies().is_empty(), "{:?}", scene.bodies());
    // Nothing changes any more: a timer tells it.
    let child = start(&scene);
    let requests = scene.sink.wait_for(1, PATIENCE).await.expect("a delivery");
    assert_eq!(requests[0].text(), "web h1");
    assert!(terminate(child).success());
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    let home = tempfile::tempdir().unwrap();
    let output = once(&home.path().join("nowhere"), &home.path().join("s.db"));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("nowhere does not exist"), "{}", stderr(&output));
}

#[tokio::test]
async fn a_page_for_everybody_needs_a_token() {
    let place = tempfile::tempdir().unwrap();
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_herald"))
        .args(["run", "--ui", "--ui-address", "0.0.0.0:0", "--state"])
        .arg(place.path().join("s.db"))
        .arg(place.path())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_secs(60), output).await.expect("it runs on").unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("--ui-token-file"), "{told}");
}

/// A receiver that answers with the secret, an address that holds one, a template that prints one, logs that tell all: none of
/// it is in the logs, and on disk only what a template itself puts into a message that has to be delivered.
#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_written_to_disk_or_logged() {
    let scene = Scene::new(3).await;
    let answer = || Answer::status(400).body("no: Bearer s3cret-token is unknown, path-s3cret-99 too");
    scene.sink.script([answer(), Answer::status(500).body("s3cret-token"), answer()]);
    let text = configuration(&scene.sink.url("/hook/$place"))
        .replace(
            "stringData: {token: s3cret-token}",
            "stringData: {token: s3cret-token, place: path-s3cret-99, pin: s3cret-in-bytes}",
        )
        .replace("{{.rollout.metadata.name}} ", "{{.rollout.metadata.name}} {{.secrets.pin}} ");
    scene.write("config.yaml", &text);
    let output =
        herald(&scene.dir(), &scene.state()).args(["--once", "--loglevel", "trace"]).output().unwrap();
    assert!(scene.sink.requests().iter().any(|request| request.url().contains("path-s3cret-99")));
    let bytes = |text: &str| text.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(" ");
    let mut places =
        vec![("standard error".to_owned(), output.stderr), ("standard output".to_owned(), output.stdout)];
    for entry in std::fs::read_dir(scene.home.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            places.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
    assert!(places.iter().any(|(name, _)| name.ends_with("state.db")));
    for (name, written) in places {
        let written = String::from_utf8_lossy(&written);
        let printed = bytes("s3cret-in-bytes");
        let delivered = name.contains("state.db");
        for secret in ["s3cret-token", "path-s3cret-99", "s3cret-in-bytes", "czNjcmV0", &printed] {
            if delivered && secret == printed {
                continue;
            }
            if let Some(at) = written.find(secret) {
                let near: String =
                    written[..at].chars().rev().take(300).collect::<String>().chars().rev().collect();
                panic!("{secret} is in {name}, after {near}");
            }
        }
    }
}
