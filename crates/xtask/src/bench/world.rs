//! The cluster: a real API server, a namespace whose Rollouts only become more, and a configuration for each scene.

use std::{collections::BTreeMap, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use herald_testkit::apiserver::{self, Api, ApiServer, Programs};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::root;

/// Requests at a time that fill the cluster.
const WRITERS: usize = 32;

/// The cluster.
pub(crate) struct World {
    server: ApiServer,
    namespace: String,
    pattern: Value,
    rollouts: usize,
    plain: reqwest::Client,
}

impl World {
    /// Starts an API server, or uses the one in a folder.
    pub(crate) async fn start(dir: Option<&Path>) -> Result<World> {
        let server = match dir {
            Some(dir) => ApiServer::join(dir)?,
            None => {
                let dir = tempfile::Builder::new().prefix("herald-bench-").tempdir()?.keep();
                ApiServer::run(Programs::find_or_build()?, dir, None, Vec::new()).await?
            }
        };
        let namespace = server.namespace("bench").await;
        let text = std::fs::read(root().join("conformance/vectors/envs/canary.json"))?;
        let mut env: Value = serde_json::from_slice(&text)?;
        let pattern = env["rollout"].take();
        let ca = reqwest::Certificate::from_pem(herald_testkit::tls::CA_PEM.as_bytes())?;
        let plain = reqwest::Client::builder()
            .tls_certs_only([ca])
            .no_proxy()
            .timeout(Duration::from_secs(120))
            .build()?;
        Ok(World { server, namespace, pattern, rollouts: 0, plain })
    }

    /// The namespace of everything.
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The API server's URL.
    pub(crate) fn url(&self) -> String {
        self.server.url()
    }

    /// A kubeconfig for some URL.
    pub(crate) fn kubeconfig(&self, dir: &Path, url: &str) -> std::path::PathBuf {
        apiserver::write_kubeconfig(dir, url, self.server.token(), &self.namespace)
    }

    /// An administrator's client.
    pub(crate) fn api(&self) -> Api {
        self.server.api()
    }

    /// A Rollout's name.
    pub(crate) fn name(number: usize) -> String {
        format!("rollout-{number:05}")
    }

    /// Makes more Rollouts, until there are so many.
    pub(crate) async fn grow(&mut self, size: usize) -> Result<()> {
        if size <= self.rollouts {
            return Ok(());
        }
        eprintln!("  making Rollouts: {} → {size}", self.rollouts);
        let (api, path) = (self.api(), Api::rollouts(&self.namespace));
        let mut tasks = JoinSet::new();
        for number in self.rollouts..size {
            if tasks.len() >= WRITERS {
                tasks.join_next().await.context("a writer")??;
            }
            let (api, path, rollout) = (api.clone(), path.clone(), self.rollout(number));
            tasks.spawn(async move { Api::done(api.create(&path, &rollout).await) });
        }
        while let Some(done) = tasks.join_next().await {
            done?;
        }
        self.rollouts = size;
        Ok(())
    }

    fn rollout(&self, number: usize) -> Value {
        let mut rollout = self.pattern.clone();
        let name = World::name(number);
        rollout["metadata"] = json!({
            "name": name,
            "labels": {"app": name, "tier": "load"},
            "annotations": {
                "rollout.argoproj.io/revision": "12",
                "notifications.argoproj.io/subscribe.told.hook": "",
            },
        });
        // The API server takes it only from a controller; a scene that needs one writes it.
        if let Some(fields) = rollout.as_object_mut() {
            fields.remove("status");
        }
        rollout
    }

    /// Writes the ConfigMap.
    pub(crate) async fn configure(&self, data: &BTreeMap<String, String>) -> Result<()> {
        let name = "argo-rollouts-notification-configmap";
        let object =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data});
        let path = Api::core(&self.namespace, "configmaps");
        let api = self.api();
        let (mut status, mut answer) = api.replace(&format!("{path}/{name}"), &object).await;
        if status == 404 {
            (status, answer) = api.create(&path, &object).await;
        }
        ensure!((200..300).contains(&status), "the ConfigMap is refused with {status}: {answer}");
        let secret = json!({"apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "argo-rollouts-notification-secret"}, "stringData": {"token": "t"}});
        let (status, answer) = api.create(&Api::core(&self.namespace, "secrets"), &secret).await;
        ensure!(status == 201 || status == 409, "the Secret is refused with {status}: {answer}");
        Ok(())
    }

    /// The requests that the API server has answered, without watches and what the benchmark itself asks.
    pub(crate) async fn requests(&self) -> Result<f64> {
        let answer =
            self.plain.get(format!("{}/metrics", self.url())).bearer_auth(self.server.token()).send().await?;
        let text = answer.error_for_status()?.text().await?;
        let ours =
            ["rollouts", "configmaps", "secrets", "replicasets", "analysisruns", "experiments", "events"];
        let counted = |line: &&str| {
            line.starts_with("apiserver_request_total{")
                && !line.contains("verb=\"WATCH\"")
                && ours.iter().any(|plural| line.contains(&format!("resource=\"{plural}\"")))
        };
        let number = |line: &str| line.rsplit(' ').next()?.parse::<f64>().ok();
        Ok(text.lines().filter(counted).filter_map(number).sum())
    }

    /// Lists all Rollouts in pages, as any watcher has to, and throws them away.
    pub(crate) async fn list(&self) -> Result<()> {
        let mut next = String::new();
        loop {
            let path = Api::rollouts(&self.namespace);
            let url = format!("{}{path}?limit=500&continue={next}", self.url());
            let answer = self.plain.get(url).bearer_auth(self.server.token()).send().await?;
            let bytes = answer.error_for_status()?.bytes().await?;
            // The token is in the list's metadata, which comes after the items.
            let end =
                String::from_utf8_lossy(bytes.get(bytes.len().saturating_sub(2048)..).unwrap_or_default());
            let token = end.rsplit_once("\"continue\":\"").and_then(|(_, rest)| rest.split('"').next());
            match token {
                Some(token) if !token.is_empty() => token.clone_into(&mut next),
                _ => return Ok(()),
            }
        }
    }
}
