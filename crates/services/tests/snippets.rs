//! Every YAML snippet of the services' pages is loaded, rendered and sent.

mod common;

use std::collections::BTreeMap;

use common::{environment, folder};
use herald_core::{
    config::{Config, ConfigInput},
    diagnostic::{Severity, codes},
    names::{Destination, TemplateName},
    subscription::subscriptions,
    variables::{Extras, variables},
    yaml::{self, Node},
};
use herald_services::{Delivery, Environment, ObjectRef, Registry};
use herald_testkit::{
    http::{Answer, Recorder},
    nats::{Nats, NatsOptions},
    smtp::{Behaviour, SmtpSink},
};
use herald_value::{Value, limits::Limits};
use serde_json::{Value as Json, json};

/// What a page's snippets amount to.
#[derive(Default)]
struct Page {
    data: BTreeMap<String, String>,
    secret: BTreeMap<String, Vec<u8>>,
    annotations: serde_json::Map<String, Json>,
}

/// The fenced YAML of a page, without its indentation.
fn snippets(markdown: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = markdown.lines();
    while let Some(line) = lines.next() {
        if line.trim() == "```yaml" {
            let body: Vec<&str> = lines.by_ref().take_while(|line| line.trim() != "```").collect();
            let indents = body.iter().filter(|line| !line.trim().is_empty());
            let indent = indents.map(|line| line.len() - line.trim_start().len()).min().unwrap_or(0);
            found.push(body.iter().map(|line| format!("{}\n", line.get(indent..).unwrap_or(""))).collect());
        }
    }
    found
}

fn texts(node: Option<&Node>) -> Vec<(String, String)> {
    let entries = node.map(Node::entries).unwrap_or_default();
    entries
        .iter()
        .map(|(key, _, value)| (key.clone(), value.text().unwrap_or_default().to_string()))
        .collect()
}

fn read(name: &str, markdown: &str) -> Page {
    let mut page = Page::default();
    for snippet in snippets(markdown) {
        let documents = yaml::parse_all(&snippet).unwrap_or_else(|e| panic!("{name}: {e}: {snippet}"));
        for document in documents {
            let kind = document.get("kind").and_then(Node::text).unwrap_or_default();
            let annotations = document.get("metadata").and_then(|metadata| metadata.get("annotations"));
            let first = document.entries().first().map_or("", |(key, _, _)| key.as_str());
            if kind == "ConfigMap" {
                page.data.extend(texts(document.get("data")));
            } else if kind == "Secret" {
                let secrets = texts(document.get("stringData"));
                page.secret.extend(secrets.into_iter().map(|(key, value)| (key, value.into_bytes())));
            } else if annotations.is_some() {
                page.annotations.extend(texts(annotations).into_iter().map(|(k, v)| (k, v.into())));
            } else if first.starts_with("notifications.argoproj.io/") {
                let given = texts(Some(&document)).into_iter().filter(|(key, _)| !key.contains('<'));
                page.annotations.extend(given.map(|(k, v)| (k, v.into())));
            } else if ["service.", "template.", "trigger."].iter().any(|start| first.starts_with(start)) {
                page.data.extend(texts(Some(&document)));
            } else {
                panic!(
                    "{name}: this snippet is neither an object, a part of data, nor an annotation: {snippet}"
                );
            }
        }
    }
    page
}

/// Values in place of those that a page can't show.
fn secret(key: &str) -> String {
    let private = std::fs::read_to_string(folder().join("github-test-key.pem")).expect("the test key");
    match key.to_lowercase() {
        key if key.contains("private") => private,
        key if key.contains("gcp") => json!({"type": "service_account", "client_email": "a@b.example.com",
            "private_key_id": "1", "private_key": private, "token_uri": "https://oauth2.googleapis.com/token"})
        .to_string(),
        key if key.contains("url") || key.contains("webhook") || key.contains("workflow") || key.contains("teams") || key.contains("chat") && !key.contains("rocket") => {
            format!("https://hooks.example.com/powerautomate/{key}")
        }
        key if key.contains("pushover") => "avtc41pn13asmra6zaiyf7dh6cgx97".into(),
        key => format!("secret-{key}"),
    }
}

fn rollout(page: &Page) -> Json {
    let mut annotations = page.annotations.clone();
    for key in ["commit", "revision", "project", "repo", "repository"] {
        annotations.insert(format!("example.com/{key}"), "team/abc123".into());
    }
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
        "metadata": {"name": "guestbook", "namespace": "shop", "annotations": annotations,
            "labels": {"team": "shop", "app": "guestbook"}},
        "spec": {"replicas": 3, "strategy": {"canary": {"steps": [{"setWeight": 50}, {"pause": {}}]}}},
        "status": {"phase": "Healthy", "message": "", "currentPodHash": "abc", "stableRS": "abc",
            "currentStepIndex": 1},
    })
}

/// An answer that the service takes for success.
fn answer(kind: &str) -> Answer {
    let all = json!({"ok": true, "success": true, "status": "success", "id": 5, "messageIds": ["1"],
        "data": {"authToken": "at", "userId": "u"}, "token": "ghs_x", "expires_at": "2099-01-01T00:00:00Z",
        "QueueUrl": "https://sqs.example.com/1/q", "MessageId": "1", "access_token": "at", "expires_in": 3600});
    match kind {
        "teams" => Answer::ok("1"),
        "pushover" => Answer::ok(r#"{"status":1}"#),
        _ => Answer::ok(all.to_string()),
    }
}

/// Options that lead to a server on this machine, for what is not HTTP.
fn with(options: &Node, more: Json) -> Node {
    let mut json = options.to_json();
    for (key, value) in more.as_object().into_iter().flatten() {
        json[key] = value.clone();
    }
    yaml::parse(&json.to_string()).expect("options")
}

async fn check(name: &str, mut page: Page) -> usize {
    let registry = Registry::standard();
    // What a page can't show is made up: first to learn the names, then to load.
    for text in page.data.values() {
        for part in text.split('$').skip(1) {
            let key: String =
                part.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect();
            page.secret.insert(key.clone(), secret(&key).into_bytes());
        }
    }
    let input = ConfigInput {
        base: herald_core::catalog::data(),
        data: page.data.clone(),
        secret: page.secret.clone(),
        ..ConfigInput::default()
    };
    let (config, diagnostics) = Config::load(&input, &registry, Limits::DEFAULT);
    let bad: Vec<String> = diagnostics
        .iter()
        .filter(|d| d.severity != Severity::Note && d.code != codes::UNKNOWN_TRIGGER)
        .map(ToString::to_string)
        .collect();
    assert!(bad.is_empty(), "{name}: {}", bad.join("\n"));

    let object = rollout(&page);
    let object = Value::from_json(object.to_string().as_bytes()).expect("JSON");
    let now = jiff::Timestamp::constant(1_790_000_000, 0);
    let vars = variables(&object, &Value::Nil, config.secrets(), now, &Extras::default());
    let found = subscriptions(&config, &object);
    let mut destinations: Vec<(Destination, Vec<TemplateName>)> = found
        .list
        .iter()
        .filter_map(|subscription| {
            let trigger = config.trigger(subscription.trigger.as_str())?;
            let send = trigger.conditions.first()?.send.clone();
            Some((subscription.destination.clone(), send))
        })
        .collect();
    let own: Vec<TemplateName> = config
        .templates()
        .filter(|t| page.data.contains_key(&format!("template.{}", t.name)))
        .map(|t| t.name.clone())
        .collect();
    let mut sent = 0;
    for service in config.services().filter(|service| page.data.contains_key(&service.key)) {
        // A second instance on a page may have no subscription there.
        if !destinations.iter().any(|(destination, _)| destination.service == service.name) {
            let destination = format!("{}:", service.name).parse().expect("a destination");
            destinations.push((destination, own.clone()));
        }
    }
    for (destination, mut send) in destinations {
        let Some(service) = config.service(destination.service.as_str()) else {
            panic!("{name}: the annotation's service {} is not configured", destination.service)
        };
        if !own.is_empty() {
            send.clone_from(&own);
        }
        let recorder = Recorder::start().await;
        recorder.otherwise(answer(&service.service_type));
        if &*service.service_type == "gitlab" {
            let requests = Answer::ok(r#"[{"iid":1,"state":"opened"}]"#);
            recorder.script([Answer::status(201), requests, Answer::ok("[]"), Answer::status(201)]);
        }
        let kind = &*service.service_type;
        let (mut options, mut nats, mut sink) = (service.options.clone(), None, None);
        if kind == "email" {
            let server = SmtpSink::start(Behaviour::default()).await;
            options = with(&options, json!({"host": "127.0.0.1", "port": server.address().port()}));
            sink = Some(server);
        } else if kind == "nats" {
            let Some(server) = Nats::start(&NatsOptions::default()).await else {
                sent += 1; // skipped, which was said aloud
                continue;
            };
            let more = json!({"url": server.url(), "jetstream": false, "username": "", "password": "", "nkey": "", "credentials": ""});
            options = with(&options, more);
            nats = Some(server);
        }
        let environment: Environment = environment(recorder.address());
        let instance = registry
            .build(kind, service.name.as_str(), &options, &environment)
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        let notification =
            config.render(&send, &vars, &destination, now).unwrap_or_else(|e| panic!("{name}: {e}"));
        let delivery = Delivery {
            notification: &notification,
            recipient: destination.recipient.as_str(),
            notice_id: "notice-1",
            trigger: "on-rollout-completed",
            object: ObjectRef { kind: "Rollout", namespace: "shop", name: "guestbook" },
            now: jiff::Timestamp::now(),
        };
        let receipt = instance.send(&delivery).await.unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(receipt.warnings.is_empty(), "{name}: {:?}", receipt.warnings);
        let arrived = recorder.requests().len() + sink.as_ref().map_or(0, |sink| sink.mails().len());
        assert!(arrived > 0 || nats.is_some(), "{name}: nothing arrived");
        let shown = serde_json::to_string(&notification).expect("JSON");
        assert!(!shown.contains("<no value>"), "{name}: {shown}");
        sent += 1;
    }
    sent
}

#[tokio::test]
async fn every_snippet_works() {
    let pages = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/services");
    let mut paths: Vec<_> =
        std::fs::read_dir(pages).expect("the pages").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        if name == "README" || name == "console" {
            continue;
        }
        let page = read(&name, &std::fs::read_to_string(&path).expect("a page"));
        assert!(!page.annotations.is_empty(), "{name}: nobody subscribes");
        assert!(page.data.keys().any(|key| key.starts_with("service.")), "{name}: no service");
        assert!(check(&name, page).await > 0, "{name}: nothing was sent");
    }
}

/// Every service has a page, and the list of pages names it.
#[test]
fn every_service_has_a_page() {
    let pages = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/services"));
    let list = std::fs::read_to_string(pages.join("README.md")).expect("the list");
    for name in Registry::standard().names() {
        assert!(pages.join(format!("{name}.md")).is_file(), "{name} has no page");
        assert!(list.contains(&format!("({name}.md)")), "{name} is not in the list");
    }
}
