//! A browser: Chromium, driven by chromedriver's WebDriver protocol over plain HTTP.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// What has not happened by then does not happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// One browser window.
pub(crate) struct Browser {
    driver: Child,
    http: reqwest::Client,
    session: String,
    _profile: tempfile::TempDir,
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver takes its browser along when it is asked kindly; it is asked to end by SIGTERM.
        let _ = Command::new("kill").arg(self.driver.id().to_string()).status();
        let _ = self.driver.wait();
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Browser {
    /// Starts one; `None`, with a loud line, where there is none.
    pub(crate) async fn start() -> Option<Browser> {
        let binary = std::env::var("HERALD_TEST_CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".into());
        let port = free_port();
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(driver) = driver else {
            eprintln!(
                "SKIPPED: tests in a browser: they need chromium and chromedriver (Debian: chromium-driver)"
            );
            return None;
        };
        // The client wants one, even for plain HTTP.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        let base = format!("http://127.0.0.1:{port}");
        let begun = Instant::now();
        while http.get(format!("{base}/status")).send().await.is_err() {
            assert!(begun.elapsed() < PATIENCE, "chromedriver does not start");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let profile = tempfile::tempdir().unwrap();
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            &format!("--user-data-dir={}", profile.path().display()),
        ]
        .map(str::to_owned);
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"args": arguments, "binary": binary},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }}});
        let mut browser = Browser { driver, http, session: format!("{base}/session"), _profile: profile };
        let begun = browser.post("", &wanted).await;
        let id = begun["sessionId"].as_str().expect("a session");
        browser.session = format!("{base}/session/{id}");
        Some(browser)
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        let answer = self
            .http
            .post(format!("{}{path}", self.session))
            .header("content-type", "application/json")
            .body(body.to_string())
            .send()
            .await
            .unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        let mut whole: Value = serde_json::from_str(&text).unwrap();
        assert!(status.is_success(), "{path}: {text}");
        whole["value"].take()
    }

    pub(crate) async fn open(&self, url: &str) {
        self.post("/url", &json!({"url": url})).await;
    }

    /// What a function body returns.
    pub(crate) async fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({"script": script, "args": []})).await
    }

    /// What a function body gives to its last argument.
    pub(crate) async fn run_async(&self, script: &str) -> Value {
        self.post("/execute/async", &json!({"script": script, "args": []})).await
    }

    /// Waits until a function body returns true.
    pub(crate) async fn until(&self, what: &str, script: &str) {
        let begun = Instant::now();
        while self.run(script).await != Value::Bool(true) {
            assert!(
                begun.elapsed() < PATIENCE,
                "{what}\n{}",
                self.run("return document.body.innerText").await
            );
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// Presses keys, one after the other.
    pub(crate) async fn keys(&self, keys: &[&str]) {
        let press =
            |key: &&str| [json!({"type": "keyDown", "value": key}), json!({"type": "keyUp", "value": key})];
        let actions: Vec<Value> = keys.iter().flat_map(press).collect();
        self.post("/actions", &json!({"actions": [{"type": "key", "id": "k", "actions": actions}]})).await;
    }

    /// A size, and whether it is night.
    pub(crate) async fn look(&self, width: u32, height: u32, dark: bool) {
        let scheme = if dark { "dark" } else { "light" };
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.command("Emulation.setDeviceMetricsOverride", size).await;
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.command("Emulation.setEmulatedMedia", features).await;
    }

    async fn command(&self, command: &str, parameters: Value) {
        self.post("/goog/cdp/execute", &json!({"cmd": command, "params": parameters})).await;
    }

    /// What the console said, less what the network's answers say of themselves.
    pub(crate) async fn console(&self) -> Vec<String> {
        let entries = self.post("/se/log", &json!({"type": "browser"})).await;
        entries
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["message"].as_str().unwrap().to_owned())
            .collect()
    }

    /// The addresses that were asked for.
    pub(crate) async fn requests(&self) -> Vec<String> {
        let entries = self.post("/se/log", &json!({"type": "performance"})).await;
        let of = |entry: &Value| {
            let message: Value = serde_json::from_str(entry["message"].as_str()?).ok()?;
            let message = &message["message"];
            (message["method"] == "Network.requestWillBeSent")
                .then(|| message["params"]["request"]["url"].as_str().map(str::to_owned))?
        };
        entries.as_array().unwrap().iter().filter_map(of).collect()
    }
}
