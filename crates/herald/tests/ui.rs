//! `herald ui`: the page over a store, without running anything.

// Helpers of tests may fail loudly, too.
#![allow(clippy::unwrap_used)]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
};

struct Served {
    child: Child,
    address: String,
}

impl Served {
    fn start(arguments: &[&str]) -> Served {
        let mut child = Command::new(env!("CARGO_BIN_EXE_herald"))
            .args(["ui", "--ui-address", "127.0.0.1:0"])
            .args(arguments)
            .env("NO_COLOR", "1")
            .env_remove("RUST_LOG")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines.find_map(|line| {
            let line = line.unwrap();
            line.split_once("the page is at http://").map(|(_, rest)| rest.trim_end_matches('/').to_owned())
        });
        Served { child, address: address.unwrap() }
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address);
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        answer
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn a_store_is_looked_at_with_and_without_its_directory() {
    let home = tempfile::tempdir().unwrap();
    let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/quickstart");
    let manifests = manifests.to_str().unwrap();
    let state = home.path().join("state.db");
    let state = state.to_str().unwrap();
    let ran = Command::new(env!("CARGO_BIN_EXE_herald"))
        .args(["run", manifests, "--once", "--state", state])
        .output()
        .unwrap();
    assert!(ran.status.success());

    let alone = Served::start(&["--state", state]);
    let now = alone.get("/");
    assert!(now.contains("on-rollout-completed") && now.contains("delivered"), "{now}");
    // There is no configuration: that is said, and is no failure.
    for path in ["/configuration", "/preview"] {
        assert!(alone.get(path).contains("No configuration was read yet"));
    }
    drop(alone);

    let whole = Served::start(&[manifests, "--state", state]);
    assert!(whole.get("/").contains("on-rollout-completed"));
    assert!(whole.get("/rollouts").contains("payments"));
    assert!(whole.get("/rollouts/shop/payments").contains("on-rollout-aborted"));
    assert!(whole.get("/configuration").contains("Triggers"));
}

/// Whatever the API's description allows, and what it doesn't: no answer is a failure of the server.
#[test]
fn the_api_fails_at_nothing() {
    let Some(schemathesis) = herald_testkit::installed::Tool::Schemathesis.installed() else { return };
    let home = tempfile::tempdir().unwrap();
    let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/quickstart");
    let manifests = manifests.to_str().unwrap();
    let state = home.path().join("state.db");
    let token = home.path().join("token");
    std::fs::write(&token, "0123456789abcdef-token").unwrap();
    let state = state.to_str().unwrap();
    let run = ["run", manifests, "--once", "--state", state];
    assert!(Command::new(env!("CARGO_BIN_EXE_herald")).args(run).output().unwrap().status.success());
    for open in [true, false] {
        // Once with a configuration, once before there is any.
        let mut arguments = vec!["--state", state, "--ui-token-file", token.to_str().unwrap()];
        arguments.extend(open.then_some(manifests));
        let page = Served::start(&arguments);
        let description = home.path().join("openapi.json");
        let answer = page.get("/api/v1/openapi.json");
        std::fs::write(&description, answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        let output = Command::new(&schemathesis)
            .arg("run")
            .arg(&description)
            .args(["--url", &format!("http://{}", page.address)])
            .args(["--header", "Authorization: Bearer 0123456789abcdef-token"])
            .args(["--checks", "not_a_server_error", "--max-examples", "40", "--seed", "1"])
            // It never ends, as it should.
            .args(["--exclude-path", "/api/v1/events", "--no-color"])
            .current_dir(home.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}{err}");
        assert!(said.contains("not_a_server_error") || said.contains("generated"), "{said}");
    }
}
