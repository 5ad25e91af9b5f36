//! `herald run`: over a directory of manifests, or in a cluster.

mod directory;

use std::{path::PathBuf, sync::Arc, time::Duration};

use clap::Args;
use herald_outbox::{Access, Outbox, SqliteOutbox};

use crate::{
    cluster::{self, ClusterArgs},
    failure::Outcome,
    input::{self, ConfigArgs},
    operator::MetricsArgs,
};

/// Arguments of `run`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  herald run examples/quickstart --once\n  herald run --kubeconfig ~/.kube/config --namespaced -n shop\n\n\
                  With a directory and without --once it watches the directory until it is interrupted; what is already \
                  true at the first run on a directory is then recorded silently; with --once it is delivered. Without \
                  a directory it watches the Rollouts of a cluster."
)]
pub(crate) struct RunArgs {
    /// A directory with manifests: Rollouts and what belongs to them, the ConfigMap, the Secret; without one, a cluster
    dir: Option<PathBuf>,
    /// Process what is in the directory, deliver, and exit; with 1 if anything failed
    #[arg(long, requires = "dir")]
    once: bool,
    /// The state file [default: below $XDG_STATE_HOME/herald, by the directory's path or the context's name]
    #[arg(long, value_name = "FILE", env = "HERALD_STATE")]
    state: Option<PathBuf>,
    /// At the first run on a directory or a cluster, deliver what is already true
    #[arg(long, env = "HERALD_NOTIFY_EXISTING")]
    notify_existing: bool,
    /// Port of /healthz and /readyz; 0 is none [default: 8080 in a cluster]
    #[arg(long = "healthzPort", value_name = "PORT", env = "HERALD_HEALTHZ_PORT")]
    healthz_port: Option<u16>,
    /// Port of /metrics; 0 is none [default: 8090 in a cluster]
    #[arg(
        long = "metricsPort",
        visible_alias = "metricsport",
        value_name = "PORT",
        env = "HERALD_METRICS_PORT"
    )]
    metrics_port: Option<u16>,
    #[command(flatten)]
    metrics: MetricsArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Runs it.
pub(crate) fn run(args: &RunArgs, config: &ConfigArgs, json: bool) -> Outcome {
    let runtime = tokio::runtime::Runtime::new()?;
    let result = runtime.block_on(async {
        match &args.dir {
            Some(dir) => directory::run(args, dir, config, json).await,
            None => in_cluster(args, config, json).await,
        }
    });
    // Nothing of ours is on its way any more.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn in_cluster(args: &RunArgs, config: &ConfigArgs, json: bool) -> Outcome {
    let file = input::cluster_state_file(args.state.as_deref(), args.cluster.context.as_deref())?;
    let outbox: Arc<dyn Outbox> = Arc::new(SqliteOutbox::open(&file, Access::Owner)?);
    let options = cluster::RunOptions {
        cluster: &args.cluster,
        config,
        metrics: &args.metrics,
        healthz_port: args.healthz_port.unwrap_or(8080),
        metrics_port: args.metrics_port.unwrap_or(8090),
        notify_existing: args.notify_existing,
        json,
    };
    cluster::run(&options, outbox, interrupted()).await
}

/// Returns at Ctrl-C or SIGTERM.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let mut streams: Vec<_> = [SignalKind::interrupt(), SignalKind::terminate()]
        .into_iter()
        .filter_map(|kind| signal(kind).ok())
        .collect();
    let Some(mut first) = streams.pop() else { return std::future::pending().await };
    let Some(mut second) = streams.pop() else {
        first.recv().await;
        return;
    };
    tokio::select! { _ = first.recv() => {}, _ = second.recv() => {} }
}
