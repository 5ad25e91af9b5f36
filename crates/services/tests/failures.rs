//! What goes wrong on the other side, and what each service makes of it.

mod common;

use std::{sync::Arc, time::Duration};

use common::{File, MESSAGE, environment, send};
use herald_services::{Environment, Reason, Registry, SendError, http::HttpFactory};
use herald_testkit::{
    http::{Answer, Recorder},
    tls,
};
use serde_json::{Value, json};

/// A case of each HTTP service that would be delivered, with options that make failures quick.
fn samples(registry: &Registry) -> Vec<Value> {
    File::all()
        .iter()
        .filter(|file| registry.find(&file.name).is_some())
        .filter(|file| !["console", "email", "merging", "nats"].contains(&file.name.as_str()))
        .map(|file| {
            let case =
                file.cases.iter().find(|case| case["result"] == "ok").expect("a case that is delivered");
            let mut case = file.complete(case);
            case["options"]["requestTimeout"] = json!("400ms");
            case["options"]["retryMax"] = json!(-1);
            case
        })
        .collect()
}

async fn attempt(registry: &Registry, case: &Value, answer: Answer) -> Result<(), SendError> {
    let recorder = Recorder::start().await;
    recorder.otherwise(answer);
    send(registry, &environment(recorder.address()), case, case["template"].as_str().unwrap_or(MESSAGE)).await
}

#[tokio::test]
async fn every_service_classifies_every_failure() {
    let registry = Registry::standard();
    let wait = Some(Duration::from_secs(7));
    let table: &[(&str, Answer, &[Reason], Option<Duration>)] = &[
        ("400", Answer::status(400), &[Reason::Rejected], None),
        ("401", Answer::status(401), &[Reason::Rejected], None),
        ("404", Answer::status(404), &[Reason::Rejected], None),
        ("429", Answer::status(429), &[Reason::Throttled], None),
        ("429", Answer::status(429).header("Retry-After", "7"), &[Reason::Throttled], wait),
        ("500", Answer::status(500), &[Reason::ServerError], None),
        ("503", Answer::status(503).header("Retry-After", "7"), &[Reason::Throttled], wait),
        ("", Answer::hang(), &[Reason::TimedOut], None),
        ("", Answer::close(), &[Reason::Unreachable], None),
        ("", Answer::half(), &[Reason::Unreachable], None),
    ];
    let mut faults = Vec::new();
    for case in samples(&registry) {
        let name = case["type"].as_str().expect("a type");
        for (status, answer, reasons, retry_after) in table {
            match attempt(&registry, &case, answer.clone()).await {
                Ok(()) => faults.push(format!("{name}: {answer:?} counted as delivered")),
                Err(error) => {
                    let text = error.to_string();
                    if !reasons.contains(&error.reason) || error.retry_after != *retry_after {
                        faults.push(format!("{name}: {status} {answer:?} gave {:?}: {text}", error.reason));
                    }
                    if !text.starts_with(name) || !text.contains(status) {
                        faults.push(format!("{name}: neither service nor status in {text}"));
                    }
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[tokio::test]
async fn every_service_refuses_an_unknown_certificate() {
    let registry = Registry::standard();
    for case in samples(&registry) {
        let name = case["type"].as_str().expect("a type");
        let recorder = Recorder::start_tls().await;
        let environment = Environment {
            http: Arc::new(HttpFactory::default().with_tls_intercept(recorder.address())),
            ..Environment::default()
        };
        let template = case["template"].as_str().unwrap_or(MESSAGE);
        let mut case = case.clone();
        case["options"]["requestTimeout"] = json!("10s");
        let error = send(&registry, &environment, &case, template).await.expect_err(name);
        assert_eq!(error.reason, Reason::Untrusted, "{name}: {error}");
        let text = error.to_string();
        assert!(text.starts_with(name) && text.contains("certificate is not trusted"), "{text}");
        assert_eq!(recorder.requests().len(), 0, "{name}");
        case["options"]["caBundle"] = json!(tls::CA_PEM);
        if let Err(error) = send(&registry, &environment, &case, template).await {
            assert_ne!(error.reason, Reason::Untrusted, "{name}: {error}");
        }
        assert!(!recorder.requests().is_empty(), "{name}");
    }
}

/// Far more than is read of an answer, and than buffers on its way hold.
const HUGE: usize = 100 * 1024 * 1024;

#[tokio::test]
async fn huge_and_strange_answers_do_no_harm() {
    let registry = Registry::standard();
    for case in samples(&registry) {
        let name = case["type"].as_str().expect("a type");
        let mut case = case.clone();
        case["options"]["requestTimeout"] = json!("10s");
        let recorder = Recorder::start().await;
        recorder.otherwise(Answer::huge(HUGE));
        let template = case["template"].as_str().unwrap_or(MESSAGE);
        let sent = send(&registry, &environment(recorder.address()), &case, template).await;
        // Whether it counts as delivered is the service's own matter; that it reads little is not.
        if let Err(error) = sent {
            assert!(error.to_string().len() < 10_000, "{name}: the error repeats the answer");
        }
        assert!(recorder.most_taken() < HUGE / 2, "{name}: read too much of the answer");
        let page = Answer::ok("<html>proxy</html>").header("Content-Type", "text/html");
        if let Err(error) = attempt(&registry, &case, page).await {
            assert_ne!(error.reason, Reason::Misconfigured, "{name}: {error}");
        }
    }
}

fn webhook(url: &str, more: Value) -> Value {
    let mut options = json!({"url": url, "retryMax": -1});
    for (key, value) in more.as_object().into_iter().flatten() {
        options[key] = value.clone();
    }
    json!({"type": "webhook", "service": "hook", "options": options})
}

#[tokio::test]
async fn certificates_are_checked_unless_told_otherwise() {
    let registry = Registry::standard();
    let recorder = Recorder::start_tls().await;
    let url = recorder.url("/p");
    let table = [
        (json!({}), Some(Reason::Untrusted)),
        (json!({"insecureSkipVerify": true}), None),
        (json!({"caBundle": tls::CA_PEM}), None),
    ];
    for (options, reason) in table {
        let result = send(&registry, &Environment::default(), &webhook(&url, options), MESSAGE).await;
        assert_eq!(result.as_ref().err().map(|error| error.reason), reason, "{result:?}");
    }
}

#[tokio::test]
async fn tenants_do_not_reach_the_inside() {
    let registry = Registry::standard();
    let recorder = Recorder::start().await;
    recorder.otherwise(Answer::status(200));
    let port = recorder.address().port();
    let guarded = Environment { guarded: true, ..Environment::default() };
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433"] {
        let case = webhook(&format!("http://{host}:{port}/"), json!({}));
        let error = send(&registry, &guarded, &case, MESSAGE).await.expect_err(host);
        assert_eq!(error.reason, Reason::Misconfigured, "{error}");
    }
    assert_eq!(recorder.requests().len(), 0);
    let open = webhook(&recorder.url("/"), json!({}));
    send(&registry, &Environment::default(), &open, MESSAGE).await.expect("the operator may");
}

#[tokio::test]
async fn secrets_stay_out_of_errors() {
    let registry = Registry::standard();
    let recorder = Recorder::start().await;
    recorder.otherwise(Answer::status(400).body("bad token s3cret-header and s3cret-password"));
    let case = webhook(
        &recorder.url("/p"),
        json!({"headers": [{"name": "X-Key", "value": "s3cret-header"}],
            "basicAuth": {"username": "u", "password": "s3cret-password"}}),
    );
    let error = send(&registry, &Environment::default(), &case, MESSAGE).await.expect_err("400");
    assert!(!error.to_string().contains("s3cret") && error.to_string().contains("***"), "{error}");
    // A tenant's proxy or a refused port must not show a URL's credentials either.
    let case = webhook("http://user:s3cret-url@127.0.0.1:1/p", json!({}));
    let error = send(&registry, &Environment::default(), &case, MESSAGE).await.expect_err("refused");
    assert_eq!(error.reason, Reason::Unreachable);
    assert!(!error.to_string().contains("s3cret"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_stay_within_the_limit() {
    let registry = Registry::standard();
    let recorder = Recorder::start().await;
    let options = json!({"url": recorder.url("/"), "maxConnsPerHost": 8}).to_string();
    let options = herald_core::yaml::parse(&options).expect("options");
    let instance = registry.build("webhook", "hook", &options, &Environment::default()).expect("an instance");
    let mut sends = tokio::task::JoinSet::new();
    for _ in 0..10_000 {
        let instance = instance.clone();
        sends.spawn(async move {
            let notification = herald_core::notification::Notification::default();
            let delivery = herald_services::Delivery {
                notification: &notification,
                recipient: "",
                notice_id: "n",
                trigger: "",
                object: herald_services::ObjectRef::default(),
                now: jiff::Timestamp::UNIX_EPOCH,
            };
            instance.send(&delivery).await.map(drop)
        });
    }
    while let Some(result) = sends.join_next().await {
        result.expect("no panic").expect("delivered");
    }
    assert_eq!(recorder.requests().len(), 10_000);
    let (total, peak) = recorder.connections();
    assert!(peak <= 8, "{peak} connections at once, {total} in all");
}
