//! The connection to a cluster: from a kubeconfig, or from inside it.

use std::{path::Path, time::Duration};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

/// How to connect.
#[derive(Clone, Debug, Default)]
pub struct ConnectionOptions {
    /// A kubeconfig file; without one `$KUBECONFIG`, `~/.kube/config`, or the service account of the pod.
    pub kubeconfig: Option<std::path::PathBuf>,
    /// A context of it, if not the current one.
    pub context: Option<String>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The kubeconfig can't be used.
    #[error("can't use the kubeconfig{}: {error}", .file.as_deref().map(|f| format!(" '{f}'")).unwrap_or_default())]
    Kubeconfig {
        /// The file.
        file: Option<String>,
        /// What is wrong with it.
        error: kube::config::KubeconfigError,
    },
    /// There is nothing to connect to.
    #[error(
        "there is no cluster to connect to: neither a kubeconfig ({0}) nor a pod's service account; \
         name one with --kubeconfig, or a directory with manifests: `herald run DIR`"
    )]
    Nothing(String),
    /// The client can't be built.
    #[error("can't connect to the cluster: {0}")]
    Client(#[from] kube::Error),
}

/// A connected client.
pub struct Connection {
    /// The client.
    pub client: Client,
    /// The namespace of the context or of the pod.
    pub namespace: String,
    /// Whether this is a pod of the cluster.
    pub in_cluster: bool,
    /// Where the API server is.
    pub server: String,
}

/// Connects: nothing is asked of the API server yet.
pub async fn connect(options: &ConnectionOptions) -> Result<Connection, ConnectionError> {
    let choice = KubeConfigOptions { context: options.context.clone(), ..KubeConfigOptions::default() };
    let (mut config, in_cluster) = match &options.kubeconfig {
        Some(file) => (from_file(file, &choice).await?, false),
        None => match inferred(&choice).await {
            Ok(found) => found,
            Err(error) => return Err(error),
        },
    };
    config.connect_timeout = Some(Duration::from_secs(10));
    // A watch that is silent for longer is dead: bookmarks come every minute.
    config.read_timeout = Some(Duration::from_secs(320));
    config.write_timeout = Some(Duration::from_secs(30));
    let (namespace, server) = (config.default_namespace.clone(), config.cluster_url.to_string());
    Ok(Connection { client: Client::try_from(config)?, namespace, in_cluster, server })
}

async fn from_file(file: &Path, choice: &KubeConfigOptions) -> Result<Config, ConnectionError> {
    let fail = |error| ConnectionError::Kubeconfig { file: Some(file.display().to_string()), error };
    let kubeconfig = Kubeconfig::read_from(file).map_err(fail)?;
    Config::from_custom_kubeconfig(kubeconfig, choice).await.map_err(fail)
}

/// The kubeconfig of the environment goes first, as with kubectl; then the pod's service account.
async fn inferred(choice: &KubeConfigOptions) -> Result<(Config, bool), ConnectionError> {
    match Config::from_kubeconfig(choice).await {
        Ok(config) => Ok((config, false)),
        // A context that was asked for is in no pod.
        Err(error) if choice.context.is_some() => Err(ConnectionError::Kubeconfig { file: None, error }),
        Err(error) => match Config::incluster() {
            Ok(config) => Ok((config, true)),
            Err(_) => Err(ConnectionError::Nothing(error.to_string())),
        },
    }
}
