//! What a process is given by its environment: proxies and certificates. Each case is a process of its own, as these are
//! read once.

mod common;

use std::process::{Command, Output};

use common::{MESSAGE, send};
use herald_services::{Environment, Registry};
use herald_testkit::{
    http::{Answer, Recorder},
    tls,
};
use serde_json::json;

const URL: &str = "HERALD_TEST_URL";
const OPTIONS: &str = "HERALD_TEST_OPTIONS";

/// Not a test by itself: what the others run in a process of its own.
#[tokio::test]
#[ignore = "run by the other tests"]
async fn one_delivery() {
    let Ok(url) = std::env::var(URL) else { return };
    let mut options = json!({"url": url, "retryMax": -1});
    if let Ok(more) = std::env::var(OPTIONS) {
        let more: serde_json::Value = serde_json::from_str(&more).expect("JSON");
        options.as_object_mut().expect("a map").extend(more.as_object().cloned().unwrap_or_default());
    }
    let case = json!({"type": "webhook", "service": "hook", "options": options});
    match send(&Registry::standard(), &Environment::default(), &case, MESSAGE).await {
        Ok(()) => println!("DELIVERED"),
        Err(error) => println!("FAILED {}: {error}", error.reason),
    }
}

/// Delivers to a URL in a process with these variables.
async fn deliver(url: &str, variables: &[(&str, &str)]) -> String {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", "one_delivery", "--ignored", "--nocapture"]).env(URL, url);
    for name in
        ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy"]
    {
        command.env_remove(name);
    }
    command.envs(variables.iter().copied());
    let run = tokio::task::spawn_blocking(move || command.output().expect("it runs"));
    let Output { stdout, .. } = run.await.expect("no panic");
    String::from_utf8_lossy(&stdout).into_owned()
}

#[tokio::test]
async fn proxies_come_from_the_environment() {
    let proxy = Recorder::start().await;
    proxy.otherwise(Answer::ok("{}"));
    let address = proxy.url("");
    // The name doesn't exist: only a proxy could know it.
    let url = "http://hooks.invalid/p";
    let said = deliver(url, &[("HTTP_PROXY", &address)]).await;
    assert!(said.contains("DELIVERED"), "{said}");
    assert_eq!(proxy.requests()[0].target, url, "a proxy is asked for the whole URL");
    let said = deliver(url, &[("http_proxy", &address)]).await;
    assert!(said.contains("DELIVERED"), "{said}");
    let said = deliver(url, &[("HTTP_PROXY", &address), ("NO_PROXY", "example.com,.invalid")]).await;
    assert!(said.contains("FAILED unreachable"), "{said}");
    assert_eq!(proxy.requests().len(), 2);

    // An instance's own proxy goes before that of the environment.
    let own = Recorder::start().await;
    own.otherwise(Answer::ok("{}"));
    let options = json!({"proxyURL": own.url("")}).to_string();
    let said = deliver(url, &[("HTTP_PROXY", &address), (OPTIONS, &options)]).await;
    assert!(said.contains("DELIVERED"), "{said}");
    assert_eq!((own.requests().len(), proxy.requests().len()), (1, 2));
}

#[tokio::test]
async fn certificates_come_from_the_environment() {
    let server = Recorder::start_tls().await;
    server.otherwise(Answer::ok("{}"));
    let said = deliver(&server.url("/p"), &[]).await;
    assert!(said.contains("FAILED untrusted"), "{said}");
    let file = std::env::temp_dir().join(format!("herald-ca-{}.pem", std::process::id()));
    std::fs::write(&file, tls::CA_PEM).expect("a file");
    let said = deliver(&server.url("/p"), &[("SSL_CERT_FILE", &file.to_string_lossy())]).await;
    std::fs::remove_file(&file).expect("it is there");
    assert!(said.contains("DELIVERED"), "{said}");
}
