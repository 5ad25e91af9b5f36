//! What the tests share: a namespace with a configuration, a recording webhook, and Herald as a process.

use std::{
    collections::BTreeMap,
    ops::Deref,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use herald_testkit::{
    apiserver::{self, Api, ApiServer, Stop},
    http::Recorder,
};
use serde_json::{Value, json};

/// Longer than anything takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A `when` trigger's condition, and the hash that its records carry (unpadded URL-safe base64 of its SHA-1).
pub(crate) const HEALTHY: &str = "rollout.status.phase == 'Healthy'";
pub(crate) const HEALTHY_HASH: &str = "qYwPqtSSDQgdyGN38qWobdZi5qc";

/// The annotation of the reference that holds what was sent.
pub(crate) const NOTIFIED: &str = "notified.notifications.argoproj.io";

pub(crate) enum Server {
    Shared(&'static ApiServer),
    Own(Box<ApiServer>),
}

impl Deref for Server {
    type Target = ApiServer;

    fn deref(&self) -> &ApiServer {
        match self {
            Server::Shared(server) => server,
            Server::Own(server) => server,
        }
    }
}

pub(crate) struct Scene {
    pub(crate) server: Server,
    pub(crate) api: Api,
    pub(crate) namespace: String,
    pub(crate) sink: Recorder,
    home: tempfile::TempDir,
    /// Whom Herald says it is.
    pub(crate) token: String,
    /// What Herald connects to; the server itself, or a proxy before it.
    url: String,
    /// Whether Herald watches the namespace only.
    pub(crate) namespaced: bool,
}

impl Scene {
    /// A namespace on the shared server.
    pub(crate) async fn new(prefix: &str) -> Option<Scene> {
        Some(Scene::on(Server::Shared(ApiServer::shared().await?), prefix).await)
    }

    /// A namespace on a server that the test may restart.
    pub(crate) async fn own(prefix: &str) -> Option<Scene> {
        Some(Scene::on(Server::Own(Box::new(ApiServer::start(&[]).await?)), prefix).await)
    }

    async fn on(server: Server, prefix: &str) -> Scene {
        let api = server.api();
        let namespace = server.namespace(prefix).await;
        let (sink, url, token) = (Recorder::start().await, server.url(), server.token().to_owned());
        Scene {
            server,
            api,
            namespace,
            sink,
            home: tempfile::tempdir().unwrap(),
            token,
            url,
            namespaced: true,
        }
    }

    /// Herald goes through this address from now on.
    pub(crate) fn through(&mut self, url: String) {
        self.url = url;
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.home.path().join("state.db")
    }

    /// Forgets what Herald knows beside the cluster.
    pub(crate) fn forget(&self) {
        for entry in std::fs::read_dir(self.home.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().to_str().unwrap().starts_with("state.db") {
                std::fs::remove_file(path).unwrap();
            }
        }
    }

    /// Writes the ConfigMap: the webhook `hook`, the triggers `on-rollout-completed`, `when-healthy` and
    /// `when-degraded`, whose texts are `NAME TRIGGER HASH`; and more keys.
    pub(crate) async fn configure(&self, more: &[(&str, &str)]) {
        self.put_config(configuration(&self.sink.url("/hook"), more)).await;
    }

    /// Writes the ConfigMap's data as it is given.
    pub(crate) async fn put_config(&self, data: BTreeMap<String, String>) {
        self.put_config_in(&self.namespace, data).await;
    }

    /// The same in another namespace.
    pub(crate) async fn put_config_in(&self, namespace: &str, data: BTreeMap<String, String>) {
        let name = "argo-rollouts-notification-configmap";
        let object =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data});
        let path = Api::core(namespace, "configmaps");
        let (status, answer) = self.api.replace(&format!("{path}/{name}"), &object).await;
        assert!(status == 200 || status == 201 || status == 404, "{status}: {answer}");
        if status == 404 {
            Api::done(self.api.create(&path, &object).await);
        }
    }

    /// Creates a rollout with its status.
    pub(crate) async fn put(&self, rollout: &Value) {
        self.api.put_rollout(&self.namespace, rollout).await;
    }

    /// Creates many, several at a time.
    pub(crate) async fn put_all(&self, rollouts: impl IntoIterator<Item = Value>) {
        let mut tasks = tokio::task::JoinSet::new();
        for rollout in rollouts {
            if tasks.len() >= 8 {
                tasks.join_next().await.unwrap().unwrap();
            }
            let (api, namespace) = (self.api.clone(), self.namespace.clone());
            tasks.spawn(async move {
                api.put_rollout(&namespace, &rollout).await;
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
    }

    /// The update of a rollout made by [`updating`] is done.
    pub(crate) async fn complete(&self, name: &str) {
        self.api.set_status(&self.namespace, name, done("h2")).await;
    }

    /// Gives a rollout other annotations.
    pub(crate) async fn annotate(&self, name: &str, annotations: Value) {
        let path = format!("{}/{name}", Api::rollouts(&self.namespace));
        Api::done(self.api.merge(&path, &json!({"metadata": {"annotations": annotations}})).await);
    }

    pub(crate) async fn rollout(&self, name: &str) -> Value {
        Api::done(self.api.get(&format!("{}/{name}", Api::rollouts(&self.namespace))).await)
    }

    /// What the annotation says was sent.
    pub(crate) async fn notified(&self, name: &str) -> BTreeMap<String, u64> {
        let rollout = self.rollout(name).await;
        let text = rollout["metadata"]["annotations"][NOTIFIED].as_str().unwrap_or("{}");
        serde_json::from_str(text).unwrap()
    }

    /// Starts Herald on the namespace, and waits until it is ready.
    pub(crate) async fn herald(&self) -> Herald {
        self.herald_with(&[]).await
    }

    /// The same with more arguments.
    pub(crate) async fn herald_with(&self, more: &[&str]) -> Herald {
        let herald = self.spawn(more);
        herald.ready().await;
        herald
    }

    /// Starts Herald without waiting.
    pub(crate) fn spawn(&self, more: &[&str]) -> Herald {
        // Of one process there is nothing to elect, and a killed one need not be waited for.
        self.start("herald", &self.state(), &[&["--leader-elect=false"], more].concat())
    }

    /// Starts one of several replicas without waiting: `replica-<index>`, with a state file of its own.
    pub(crate) fn replica(&self, index: usize, more: &[&str]) -> Herald {
        let name = format!("replica-{index}");
        self.start(&name, &self.home.path().join(format!("{name}.db")), more)
    }

    fn start(&self, name: &str, state: &Path, more: &[&str]) -> Herald {
        let kubeconfig =
            apiserver::write_kubeconfig(self.home.path(), &self.url, &self.token, &self.namespace);
        let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let log = self.home.path().join("herald.log");
        let file = std::fs::File::options().create(true).append(true).open(&log).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_herald"))
            .arg("run")
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .args(self.namespaced.then_some("--namespaced"))
            .args(["-n", &self.namespace, "--healthzPort", &port.to_string(), "--metricsPort", "0"])
            .arg("--state")
            .arg(state)
            .args(more)
            .env("POD_NAME", name)
            .env("NO_COLOR", "1")
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Herald { child, port, log }
    }

    /// The texts that arrived at the webhook, with how often each came.
    pub(crate) fn told(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for request in self.sink.requests() {
            *counts.entry(request.text()).or_default() += 1;
        }
        counts
    }

    /// Waits until a number of requests came to the webhook.
    pub(crate) async fn deliveries(&self, number: usize) {
        if self.sink.wait_for(number, PATIENCE).await.is_none() {
            panic!(
                "{number} deliveries; there are {}: {:?}\n{}",
                self.sink.requests().len(),
                self.told(),
                self.log()
            );
        }
    }

    /// Waits until everything that is due has been sent: by a rollout that turns healthy last of all. `before` is how many
    /// deliveries there must be without it.
    pub(crate) async fn settled(&self, before: usize) {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("last-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.put(&completed(&name, &["when-healthy"])).await;
        self.deliveries(before + 1).await;
        let told = self.told();
        assert_eq!(told.get(&format!("{name} healthy h2")), Some(&1), "{told:?}\n{}", self.log());
        assert_eq!(self.sink.requests().len(), before + 1, "{told:?}\n{}", self.log());
        self.sink.clear();
    }

    /// What Herald printed, its last part, and what it has not delivered.
    pub(crate) fn log(&self) -> String {
        let text = std::fs::read_to_string(self.home.path().join("herald.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let mut list = Command::new(env!("CARGO_BIN_EXE_herald"));
        list.args(["deliveries", "list", "--state"]).arg(self.state()).env("NO_COLOR", "1");
        let listed = list.output().unwrap();
        let deliveries = String::from_utf8_lossy(&listed.stdout);
        let deliveries: Vec<&str> = deliveries.lines().filter(|line| !line.contains(" delivered")).collect();
        format!(
            "{}\nnot delivered:\n{}",
            lines[lines.len().saturating_sub(40)..].join("\n"),
            deliveries.join("\n")
        )
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }
}

/// Herald as a process; it is killed when it is dropped.
pub(crate) struct Herald {
    child: Child,
    port: u16,
    log: PathBuf,
}

impl Herald {
    /// Waits until it says that it is ready.
    pub(crate) async fn ready(&self) {
        let health = Api::new(&format!("http://127.0.0.1:{}", self.port), "");
        let ready = apiserver::wait_for(PATIENCE, async || health.get("/readyz").await.0 == 200).await;
        let log = || std::fs::read_to_string(&self.log).unwrap_or_default();
        assert!(ready.is_ok(), "herald is not ready:\n{}", log());
    }

    /// Waits until it ends by itself.
    pub(crate) async fn wait(mut self, limit: Duration) -> ExitStatus {
        let mut status = None;
        let ended = apiserver::wait_for(limit, async || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert!(
            ended.await.is_ok(),
            "it goes on:\n{}",
            std::fs::read_to_string(&self.log).unwrap_or_default()
        );
        status.unwrap()
    }

    /// Ends it by a signal and waits for the end.
    pub(crate) fn stop(mut self, how: Stop) -> ExitStatus {
        let signal = match how {
            Stop::Gently => "-TERM",
            Stop::Hard => "-KILL",
        };
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
        self.child.wait().unwrap()
    }
}

impl Drop for Herald {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn configuration(url: &str, more: &[(&str, &str)]) -> BTreeMap<String, String> {
    let mut data = BTreeMap::new();
    let mut put = |key: &str, value: String| data.insert(key.to_string(), value);
    put("service.webhook.hook", format!("url: {url}\n"));
    for (trigger, word) in
        [("on-rollout-completed", "completed"), ("when-healthy", "healthy"), ("when-degraded", "degraded")]
    {
        let body = format!("{{{{.rollout.metadata.name}}}} {word} {{{{.rollout.status.currentPodHash}}}}");
        put(
            &format!("template.{word}"),
            format!("webhook:\n  hook:\n    method: POST\n    body: \"{body}\"\n"),
        );
        let when = match word {
            "healthy" => format!("  when: {HEALTHY}\n  oncePer: rollout.status.currentPodHash\n"),
            "degraded" => "  when: rollout.status.phase == 'Degraded'\n".into(),
            _ => String::new(),
        };
        put(&format!("trigger.{trigger}"), format!("- send: [{word}]\n{when}"));
    }
    for (key, value) in more {
        put(key, (*value).to_string());
    }
    data
}

/// A rollout with a status, subscribed to these triggers at the webhook.
pub(crate) fn rollout(name: &str, triggers: &[&str], revision: u32, status: Value) -> Value {
    let mut annotations = serde_json::Map::new();
    annotations.insert("rollout.argoproj.io/revision".into(), revision.to_string().into());
    for trigger in triggers {
        annotations.insert(format!("notifications.argoproj.io/subscribe.{trigger}.hook"), "".into());
    }
    json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "strategy": {"canary": {"steps": [{"setWeight": 50}, {"pause": {}}]}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "web", "image": format!("web:{revision}")}]},
            },
        },
        "status": status,
    })
}

/// In the middle of the update from `h1` to `h2`, revision 2.
pub(crate) fn updating(name: &str, triggers: &[&str]) -> Value {
    let status = json!({
        "phase": "Progressing",
        "currentPodHash": "h2",
        "stableRS": "h1",
        "observedGeneration": "1",
        "replicas": 1,
        "conditions": [
            {"type": "Completed", "status": "False", "reason": "RolloutCompleted"},
            {"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated"},
        ],
    });
    rollout(name, triggers, 2, status)
}

/// Completed with `h2`, revision 2.
pub(crate) fn completed(name: &str, triggers: &[&str]) -> Value {
    rollout(name, triggers, 2, done("h2"))
}

/// The status of a completed update.
pub(crate) fn done(hash: &str) -> Value {
    json!({
        "phase": "Healthy",
        "currentPodHash": hash,
        "stableRS": hash,
        "observedGeneration": "1",
        "replicas": 1,
        "conditions": [
            {"type": "Completed", "status": "True", "reason": "RolloutCompleted"},
            {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"},
        ],
    })
}
