//! Mail beyond the cases: TLS, passwords, refusals, and headers that nothing can be smuggled into.

mod common;

use std::collections::BTreeMap;

use common::send;
use herald_services::{Environment, Reason, Registry};
use herald_testkit::{
    smtp::{Behaviour, SmtpSink},
    tls,
};
use serde_json::{Value, json};

fn case(sink: &SmtpSink, options: Value, recipient: &str) -> Value {
    let mut all = json!({"host": "localhost", "port": sink.address().port(), "from": "Rollouts <r@example.com>",
        "caBundle": tls::CA_PEM});
    for (key, value) in options.as_object().into_iter().flatten() {
        all[key] = value.clone();
    }
    json!({"type": "email", "options": all, "recipient": recipient})
}

fn offers(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_string()).collect()
}

#[tokio::test]
async fn starttls_comes_before_the_password() {
    let login = Some(("u".to_string(), "s3cret".to_string()));
    let behaviour =
        Behaviour { offers: offers(&["AUTH LOGIN"]), starttls: true, login, ..Behaviour::default() };
    let sink = SmtpSink::start(behaviour).await;
    let registry = Registry::standard();
    let good = case(&sink, json!({"username": "u", "password": "s3cret"}), "a@example.com");
    send(&registry, &Environment::default(), &good, "message: hello").await.expect("delivered");
    let mails = sink.mails();
    assert!(mails[0].encrypted);
    assert_eq!(mails[0].header("Message-ID"), Some("<notice-1@example.com>"));

    let bad = case(&sink, json!({"username": "u", "password": "s3cret-wrong"}), "a@example.com");
    let error = send(&registry, &Environment::default(), &bad, "message: hello").await.expect_err("refused");
    assert_eq!(error.reason, Reason::Rejected);
    assert!(
        error.to_string().contains("authentication failed") && !error.to_string().contains("s3cret"),
        "{error}"
    );
}

#[tokio::test]
async fn an_unknown_certificate_is_refused_and_nothing_is_sent() {
    let sink = SmtpSink::start(Behaviour { starttls: true, ..Behaviour::default() }).await;
    let untrusting = case(&sink, json!({"caBundle": ""}), "a@example.com");
    let error = send(&Registry::standard(), &Environment::default(), &untrusting, "message: x")
        .await
        .expect_err("TLS");
    assert_eq!(error.reason, Reason::Untrusted, "{error}");
    assert_eq!(sink.mails().len(), 0);
}

#[tokio::test]
async fn refusals_are_classified() {
    for (command, answer, reason) in [
        ("RCPT", "550 no such user", Reason::Rejected),
        ("RCPT", "450 greylisted", Reason::ServerError),
        (".", "554 spam", Reason::Rejected),
        ("MAIL", "421 closing", Reason::ServerError),
    ] {
        let answers = BTreeMap::from([(command.to_string(), answer.to_string())]);
        let sink = SmtpSink::start(Behaviour { answers, ..Behaviour::default() }).await;
        let case = case(&sink, json!({}), "a@example.com");
        let error = send(&Registry::standard(), &Environment::default(), &case, "message: x")
            .await
            .expect_err(answer);
        assert_eq!(error.reason, reason, "{error}");
    }
}

#[tokio::test]
async fn headers_hold_what_they_are_given_and_nothing_else() {
    let sink = SmtpSink::start(Behaviour { offers: offers(&["8BITMIME"]), ..Behaviour::default() }).await;
    let registry = Registry::standard();
    let recipient = "\"Ops, Team\" <a@example.com>, Jörg <b@example.com>, a@example.com";
    let template =
        "{message: text, email: {subject: \"one\\r\\nBcc: evil@example.com\\n\", html: '<b>x</b>'}}";
    send(&registry, &Environment::default(), &case(&sink, json!({}), recipient), template)
        .await
        .expect("delivered");
    let mails = sink.mails();
    assert_eq!(mails[0].header("Bcc"), None);
    assert_eq!(mails[0].header("Subject"), Some("one  Bcc: evil@example.com"));
    assert!(mails[0].header("Content-Type").is_some_and(|value| value.starts_with("multipart/alternative")));
    let recipients: Vec<String> =
        sink.commands().into_iter().filter(|line| line.starts_with("RCPT")).collect();
    assert_eq!(recipients, ["RCPT TO:<a@example.com>", "RCPT TO:<b@example.com>"]);

    let evil = case(&sink, json!({}), "a@example.com\r\nRCPT TO:<evil@example.com>");
    let error = send(&registry, &Environment::default(), &evil, template).await.expect_err("no address");
    assert_eq!(error.reason, Reason::Misconfigured);
}
