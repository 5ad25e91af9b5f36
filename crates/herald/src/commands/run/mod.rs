//! `herald run`: over a directory of manifests, or in a cluster.

mod directory;
mod shared;

use std::{path::PathBuf, sync::Arc, time::Duration};

use clap::Args;
use herald_outbox::{Access, Role};

use crate::{
    cluster::{self, ClusterArgs},
    failure::{Failure, Outcome},
    input::{self, ConfigArgs},
    operator::MetricsArgs,
    store::OutboxUrl,
    ui::UiArgs,
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
    /// A YAML file with flags by their names, such as `qps: 20`; the command line and the environment go before it
    #[arg(long, value_name = "FILE", env = "HERALD_CONFIG")]
    config: Option<PathBuf>,
    /// The state file [default: below $XDG_STATE_HOME/herald, by the directory's path or the context's name]
    #[arg(long, value_name = "FILE", env = "HERALD_STATE")]
    state: Option<PathBuf>,
    #[command(flatten)]
    outbox: OutboxUrl,
    /// With --outbox: only publish what is due; `herald deliver` delivers it
    #[arg(long, requires = "outbox")]
    publish_only: bool,
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
    ui: UiArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

impl RunArgs {
    /// What clap can't tell: whether the flags for a cluster go together.
    pub(crate) fn may_start(&self) -> Result<(), Failure> {
        if self.publish_only && self.cluster.is_self_service() {
            return Err(Failure::usage(
                "--self-service-notification-enabled and --publish-only don't go together: `herald deliver` knows \
                 one configuration only",
            ));
        }
        Ok(())
    }

    async fn open(
        &self,
        file: impl FnOnce() -> Result<PathBuf, Failure>,
    ) -> Result<Arc<dyn herald_outbox::Outbox>, Failure> {
        match self.publish_only {
            true => self.outbox.open_shared(Role::Publisher).await,
            false => self.outbox.open(Access::Owner, file).await,
        }
    }
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
    args.may_start()?;
    let file = || input::cluster_state_file(args.state.as_deref(), args.cluster.context.as_deref());
    let outbox = args.open(file).await?;
    let options = cluster::RunOptions {
        cluster: &args.cluster,
        ui: &args.ui,
        config,
        metrics: &args.metrics,
        healthz_port: args.healthz_port.unwrap_or(8080),
        metrics_port: args.metrics_port.unwrap_or(8090),
        notify_existing: args.notify_existing,
        json,
    };
    let result = tokio::select! {
        result = cluster::run(&options, outbox.clone(), interrupted()) => result,
        damage = outbox.damaged() => Err(damage.into()),
    };
    outbox.close().await;
    result
}

/// Returns at Ctrl-C or SIGTERM.
pub(crate) async fn interrupted() {
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
