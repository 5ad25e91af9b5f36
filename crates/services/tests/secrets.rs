//! No secret of any service is in a log at the finest level, in an error or in a receipt, whatever the other side answers.

mod common;

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use common::{File, MESSAGE, environment};
use herald_core::yaml;
use herald_services::{Delivery, ObjectRef, Registry};
use herald_testkit::http::{Answer, Recorder};
use serde_json::{Value, json};

/// What is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Options whose values are secrets, as the file of the service's cases has them.
fn secrets(kind: &str, file: Option<&File>) -> Value {
    if kind == "gcppubsub" {
        let key =
            std::fs::read_to_string(common::folder().join("github-test-key.pem")).expect("the test key");
        let account = json!({"type": "service_account", "client_email": "a@b.example.com", "private_key_id": "1",
            "private_key": key, "token_uri": "https://oauth2.googleapis.com/token"});
        return json!({"project": "p", "topic": "t", "key": account.to_string()});
    }
    let secrets = file.map(|file| file.secrets.clone()).unwrap_or_default();
    assert!(
        secrets.to_string().contains("s3cret"),
        "{kind}: which of its options are secrets? conformance/services/{kind}.yaml tells it below `secrets`"
    );
    secrets
}

fn recipient(kind: &str) -> &'static str {
    if kind == "pushover" { "uumy8u4owy7bgkapp6mc5mvhfsvpcd" } else { "r" }
}

/// A template of the service's cases that is delivered.
fn template(file: Option<&File>) -> String {
    let case = file.and_then(|file| file.cases.iter().find(|case| case["result"] == "ok"));
    case.and_then(|case| case["template"].as_str().map(String::from)).unwrap_or_else(|| MESSAGE.into())
}

#[tokio::test]
async fn no_secret_is_told() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    // All threads, as the HTTP library has some of its own.
    tracing::subscriber::set_global_default(subscriber).expect("the first one");
    let registry = Registry::standard();
    let files = File::all();
    let mut told = String::new();
    for kind in registry.names().filter(|kind| !["email", "nats"].contains(kind)) {
        let file = files.iter().find(|file| file.name == kind);
        let options = secrets(kind, file).to_string();
        let all =
            ["s3cret-one", "s3cret-two", "s3cret-three", "s3cret-four", "s3cretone41pn13asmra6zaiyf7dh6"];
        let echo = all.into_iter().filter(|secret| options.contains(secret)).collect::<Vec<_>>().join(" ");
        // The tokens of sessions are secrets where there are sessions.
        let session = if ["rocketchat", "gcppubsub"].contains(&kind) { "s3cret-session" } else { "none" };
        let success = json!({"ok": true, "success": true, "status": "success", "access_token": session,
            "expires_in": 3600, "data": {"authToken": session, "userId": "u"}, "id": 5});
        let success = success.to_string();
        let answers = [
            Answer::ok(success),
            Answer::status(401)
                .body(format!(r#"{{"message":"bad {echo}","error":"{echo}","description":"{echo}"}}"#)),
            Answer::status(500).body(format!("<html>{echo}</html>")),
            Answer::close(),
        ];
        for answer in answers {
            let recorder = Recorder::start().await;
            recorder.otherwise(answer);
            let environment = environment(recorder.address());
            let options = yaml::parse(&options).expect("options");
            let instance =
                registry.build(kind, kind, &options, &environment).unwrap_or_else(|e| panic!("{kind}: {e}"));
            let notification =
                common::render(&registry, &[&template(file)], kind, recipient(kind)).expect("a notification");
            let delivery = Delivery {
                notification: &notification,
                recipient: recipient(kind),
                notice_id: "notice-1",
                trigger: "on-x",
                object: ObjectRef::default(),
                now: jiff::Timestamp::now(),
            };
            match instance.send(&delivery).await {
                Ok(receipt) => told.push_str(&format!("{kind}: {receipt:?}\n")),
                Err(error) => told.push_str(&format!("{kind}: {error} {error:?}\n")),
            }
            assert!(!recorder.requests().is_empty(), "{kind}: nothing was sent: {told}");
        }
    }
    let logged = String::from_utf8_lossy(&log.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned();
    assert!(logged.contains("TRACE") && logged.lines().count() > 500, "the log is not at the finest level");
    for line in told.lines().chain(logged.lines()) {
        for secret in ["s3cret", "PRIVATE KEY"] {
            assert!(!line.contains(secret), "{line}");
        }
    }
}
