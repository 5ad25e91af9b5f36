//! Services against the real programs on the other side.

mod common;

use std::{path::Path, time::Duration};

use common::send;
use herald_services::{Environment, Reason, Registry};
use herald_testkit::{
    installed::{Running, Tool},
    nats::{Nats, NatsOptions},
    tls,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

/// The body of the answer to a request that is no test's subject.
async fn http(port: u16, request: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("a connection");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("an answer");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_string()).unwrap_or_default()
}

async fn get(port: u16, path: &str) -> Value {
    let body = http(port, &format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")).await;
    serde_json::from_str(&body).unwrap_or_else(|e| panic!("{e}: {body}"))
}

async fn deliver(case: &Value) -> Result<(), herald_services::SendError> {
    let template = case["template"].as_str().unwrap_or("message: hello {{.app.metadata.name}}");
    send(&Registry::standard(), &Environment::default(), case, template).await
}

#[tokio::test]
async fn an_alert_appears_in_alertmanager() {
    let Some(alertmanager) = Tool::Alertmanager.start().await else { return };
    let target = format!("127.0.0.1:{}", alertmanager.port());
    // Besides it a target that isn't there: one that takes the alert is enough.
    let case = json!({"type": "alertmanager", "options": {"targets": [target, "127.0.0.1:1"]},
        "template": "alertmanager: {labels: {severity: info, app: '{{.app.metadata.name}}'}, annotations: {note: 'ü <b>'}}"});
    deliver(&case).await.expect("delivered");
    let alerts = get(alertmanager.port(), "/api/v2/alerts").await;
    assert_eq!(
        alerts[0]["labels"],
        json!({"alertname": "app-deployed", "severity": "info", "app": "guestbook"}),
        "{alerts}"
    );
    assert_eq!(alerts[0]["annotations"], json!({"note": "ü <b>"}));
    assert_eq!(alerts[0]["generatorURL"], "https://github.com/argoproj/argocd-example-apps.git");

    let case = json!({"type": "alertmanager", "options": {"targets": [target], "apiPath": "/api/v9/alerts"},
        "template": "alertmanager: {labels: {a: b}}"});
    let error = deliver(&case).await.expect_err("no such API");
    assert_eq!((error.reason, error.status), (Reason::Rejected, Some(404)), "{error}");
}

/// A call of the API of SQS; moto takes any signature.
async fn sqs(moto: &Running, action: &str, body: &Value) -> Value {
    let body = body.to_string();
    let request = format!(
        "POST / HTTP/1.0\r\nHost: sqs.eu-west-1.amazonaws.com\r\nContent-Type: application/x-amz-json-1.0\r\n\
         X-Amz-Target: AmazonSQS.{action}\r\nAuthorization: AWS4-HMAC-SHA256 Credential=AK/20260101/eu-west-1/sqs/aws4_request, \
         SignedHeaders=host, Signature=0\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = http(moto.port(), &request).await;
    serde_json::from_str(&answer).unwrap_or_else(|e| panic!("{action}: {e}: {answer}"))
}

#[tokio::test]
async fn messages_arrive_in_queues_of_both_kinds() {
    let Some(moto) = Tool::Moto.start().await else { return };
    let plain = sqs(&moto, "CreateQueue", &json!({"QueueName": "plain"})).await;
    let fifo = json!({"QueueName": "ordered.fifo", "Attributes": {"FifoQueue": "true"}});
    let fifo = sqs(&moto, "CreateQueue", &fifo).await;
    let options = json!({"region": "eu-west-1", "key": "AK", "secret": "s3cret-key", "queue": "plain",
        "endpointUrl": moto.url("/")});

    let case = json!({"type": "awssqs", "options": options,
        "template": "{message: 'hello ü', awssqs: {messageAttributes: {app: '{{.app.metadata.name}}'}}}"});
    deliver(&case).await.expect("delivered");
    // The reference's ten seconds of delay: the message is there, but not to be read yet.
    let wanted =
        json!({"QueueUrl": plain["QueueUrl"], "AttributeNames": ["ApproximateNumberOfMessagesDelayed"]});
    let found = sqs(&moto, "GetQueueAttributes", &wanted).await;
    assert_eq!(found["Attributes"]["ApproximateNumberOfMessagesDelayed"], "1", "{found}");

    let case = json!({"type": "awssqs", "options": options, "recipient": "ordered.fifo",
        "template": "{message: 'hello ü', awssqs: {messageGroupId: g, messageAttributes: {app: '{{.app.metadata.name}}'}}}"});
    // The second attempt of the same notice is taken once.
    deliver(&case).await.expect("delivered");
    deliver(&case).await.expect("delivered");
    let wanted = json!({"QueueUrl": fifo["QueueUrl"], "MaxNumberOfMessages": 10, "MessageAttributeNames": ["All"],
        "AttributeNames": ["All"]});
    let found = sqs(&moto, "ReceiveMessage", &wanted).await;
    let messages = found["Messages"].as_array().cloned().unwrap_or_default();
    assert_eq!(messages.len(), 1, "{found}");
    assert_eq!(messages[0]["Body"], "hello ü");
    assert_eq!(messages[0]["Attributes"]["MessageGroupId"], "g");
    assert_eq!(messages[0]["MessageAttributes"]["app"]["StringValue"], "guestbook");

    let case = json!({"type": "awssqs", "options": options, "recipient": "missing"});
    let error = deliver(&case).await.expect_err("no such queue");
    assert_eq!(error.reason, Reason::Rejected, "{error}");
    assert!(!error.to_string().contains("s3cret"), "{error}");
}

/// The mails that a server has taken, oldest first.
fn mails(home: &Path) -> Vec<Value> {
    let mut files: Vec<_> = std::fs::read_dir(home.join("mails"))
        .into_iter()
        .flatten()
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "json"))
        .collect();
    files.sort();
    files
        .iter()
        .map(|file| serde_json::from_slice(&std::fs::read(file).expect("a mail")).expect("JSON"))
        .collect()
}

#[tokio::test]
async fn a_mail_server_takes_mail_after_starttls_and_a_password() {
    let Some(server) = Tool::Smtp.start().await else { return };
    let mail = |user: &str, password: &str, recipient: &str| {
        json!({"type": "email", "recipient": recipient, "options": {"host": "localhost", "port": server.port(),
            "username": user, "password": password, "from": "Rollouts <r@example.com>", "caBundle": tls::CA_PEM},
            "template": "{message: not used, email: {subject: 'Grüße {{.app.metadata.name}}', body: \"Zeile 1\\n.Zeile 2 ü\\n\", html: '<b>x</b>'}}"})
    };
    let case = mail("plain", "s3cret-mail", "\"Ops, Team\" <a@example.com>, b@example.com");
    deliver(&case).await.expect("delivered");
    let found = mails(server.home());
    assert_eq!((&found[0]["tls"], &found[0]["user"]), (&json!(true), &json!("plain")), "{found:?}");
    assert_eq!(found[0]["to"], json!(["a@example.com", "b@example.com"]));
    let data = found[0]["data"].as_str().expect("a mail");
    assert!(data.contains("multipart/alternative") && data.contains("=?utf-8?"), "{data}");
    assert!(data.contains("\n.Zeile 2 =C3=BC"), "{data}");

    let error = deliver(&mail("plain", "s3cret-wrong", "a@example.com")).await.expect_err("refused");
    assert_eq!(error.reason, Reason::Rejected, "{error}");
    assert!(!error.to_string().contains("s3cret"), "{error}");
    let error = deliver(&mail("plain", "s3cret-mail", "nobody@example.com")).await.expect_err("refused");
    assert!(error.reason == Reason::Rejected && error.to_string().contains("no such user"), "{error}");
    let error = deliver(&mail("", "", "a@example.com")).await.expect_err("a password is required");
    assert_eq!(error.reason, Reason::Rejected, "{error}");
    assert_eq!(mails(server.home()).len(), 1);
}

/// What a subscriber of a real server is sent, with its headers.
async fn subscribe(port: u16, connect: &Value, subject: &str) -> BufReader<TcpStream> {
    let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", port)).await.expect("a connection"));
    let mut line = String::new();
    stream.read_line(&mut line).await.expect("INFO");
    let hello = format!("CONNECT {connect}\r\nSUB {subject} 1\r\nPING\r\n");
    stream.write_all(hello.as_bytes()).await.expect("sent");
    line.clear();
    stream.read_line(&mut line).await.expect("PONG");
    assert_eq!(line, "PONG\r\n");
    stream
}

async fn line_of(stream: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    tokio::time::timeout(Duration::from_secs(10), stream.read_line(&mut line))
        .await
        .expect("in time")
        .expect("a line");
    line.trim_end().to_string()
}

fn port_of(nats: &Nats) -> u16 {
    nats.url().rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
}

#[tokio::test]
async fn nats_takes_credentials_and_says_what_is_not_allowed() {
    let config = "authorization { users = [ \
        { user: u, password: s3cret-nats, permissions: { publish: [\"ok.>\"] } }, { user: reader, password: r } ] }";
    let options = NatsOptions { config: config.into(), ..NatsOptions::default() };
    let Some(nats) = Nats::start(&options).await else { return };
    let reader = json!({"user": "reader", "pass": "r", "headers": true, "verbose": false});
    let mut reader = subscribe(port_of(&nats), &reader, "ok.>").await;
    let case = |password: &str, subject: &str| {
        json!({"type": "nats", "recipient": subject,
            "options": {"url": nats.url(), "username": "u", "password": password, "headers": {"Foo-bar": "b"}}})
    };
    deliver(&case("s3cret-nats", "ok.a")).await.expect("delivered");
    assert!(line_of(&mut reader).await.starts_with("HMSG ok.a 1 "));
    assert_eq!(line_of(&mut reader).await, "NATS/1.0");
    assert_eq!(line_of(&mut reader).await, "Foo-bar: b");
    assert_eq!(line_of(&mut reader).await, "");
    assert_eq!(line_of(&mut reader).await, "hello guestbook");
    let error = deliver(&case("s3cret-nats", "other")).await.expect_err("not allowed");
    assert_eq!(error.reason, Reason::Rejected, "{error}");
    let error = deliver(&case("s3cret-wrong", "ok.a")).await.expect_err("a wrong password");
    assert!(error.reason == Reason::Rejected && !error.to_string().contains("s3cret"), "{error}");
}

#[tokio::test]
async fn nats_speaks_tls_and_a_stream_keeps_messages() {
    let options = NatsOptions { jetstream: true, tls: true, ..NatsOptions::default() };
    let Some(nats) = Nats::start(&options).await else { return };
    let case = |more: Value| {
        let mut options = json!({"url": nats.url().replace("127.0.0.1", "localhost")});
        options.as_object_mut().expect("a map").extend(more.as_object().cloned().unwrap_or_default());
        json!({"type": "nats", "recipient": "ev.a", "options": options})
    };
    deliver(&case(json!({"caBundle": tls::CA_PEM}))).await.expect("delivered by TLS");
    let error = deliver(&case(json!({}))).await.expect_err("an unknown CA");
    assert_eq!(error.reason, Reason::Untrusted, "{error}");
    let stored = case(json!({"caBundle": tls::CA_PEM, "jetstream": true}));
    let error = deliver(&stored).await.expect_err("no stream yet");
    assert!(error.to_string().contains("no stream of JetStream takes the subject ev.a"), "{error}");
    // The stream is made by a message too.
    let mut make = case(json!({"caBundle": tls::CA_PEM}));
    make["recipient"] = json!("$JS.API.STREAM.CREATE.EV");
    make["template"] = json!("message: '{\"name\":\"EV\",\"subjects\":[\"ev.>\"],\"storage\":\"memory\"}'");
    deliver(&make).await.expect("a stream");
    // Twice the same notice is one message: the stream knows its id.
    deliver(&stored).await.expect("stored");
    deliver(&stored).await.expect("stored");
}
