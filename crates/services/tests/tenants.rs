//! What configurations of tenants may not do: reach the inside, or act as the machine.

mod common;

use std::{io::ErrorKind, net::TcpListener};

use common::send;
use herald_services::{Environment, Reason, Registry};
use serde_json::{Value, json};

fn tenant() -> Environment {
    Environment { guarded: true, ..Environment::default() }
}

/// Sends for a tenant; what is said, and whether anybody came to the listener.
async fn refused(listener: &TcpListener, case: &Value) -> bool {
    let error = send(&Registry::standard(), &tenant(), case, "message: hello").await.expect_err("refused");
    assert_eq!(error.reason, Reason::Misconfigured, "{error}");
    listener.set_nonblocking(true).expect("a listener");
    matches!(listener.accept(), Err(error) if error.kind() == ErrorKind::WouldBlock)
}

#[tokio::test]
async fn mail_and_nats_do_not_reach_the_inside() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    for host in ["127.0.0.1", "localhost"] {
        let mail = json!({"type": "email", "recipient": "a@example.com",
            "options": {"host": host, "port": port, "from": "r@example.com"}});
        assert!(refused(&listener, &mail).await, "mail to {host}");
        let nats = json!({"type": "nats", "recipient": "subject",
            "options": {"url": format!("nats://{host}:{port}")}});
        assert!(refused(&listener, &nats).await, "nats at {host}");
    }
}

#[tokio::test]
async fn the_machines_identity_at_a_cloud_is_not_a_tenants() {
    let queue = json!({"type": "awssqs", "recipient": "queue",
        "options": {"region": "eu-central-1", "queue": "queue"}});
    let error = send(&Registry::standard(), &tenant(), &queue, "message: hello").await.expect_err("refused");
    assert_eq!(error.reason, Reason::Misconfigured, "{error}");
    assert!(error.to_string().contains("key and secret are required"), "{error}");
}
