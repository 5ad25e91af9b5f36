//! `herald deliver`: a worker beside others.

use std::{path::PathBuf, sync::Arc, time::Duration};

use clap::Args;
use herald_outbox::{Clock, Courier, CourierOptions, HandleCache, Role, SystemClock};
use herald_sources::directory::Directory;
use tokio::sync::{Notify, watch};

use crate::{
    commands::run::interrupted,
    failure::{Failure, Outcome},
    input::ConfigArgs,
    operator::{Health, MetricsArgs, Requests},
    pipeline::{
        configuration::{self, Builder},
        deliver::Services,
        delivery,
        handles::{self, DurableHandles},
        report::Reporter,
        world::World,
    },
    store::OutboxUrl,
    traces::Traces,
};

/// How often the directory with the configuration is looked at.
const PERIOD: Duration = Duration::from_secs(1);

/// Arguments of `deliver`.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  herald deliver manifests/ --outbox nats://nats:4222\n\nAny number of workers share what \
                  `herald run --outbox nats://…` publishes. The services are read from a directory with the ConfigMap \
                  and the Secret, or from --config-map and --secret."
)]
pub(crate) struct DeliverArgs {
    /// A directory with the ConfigMap and the Secret, looked at for changes
    dir: Option<PathBuf>,
    #[command(flatten)]
    outbox: OutboxUrl,
    /// Port of /healthz and /readyz; 0 is none
    #[arg(long = "healthzPort", value_name = "PORT", default_value_t = 0, env = "HERALD_HEALTHZ_PORT")]
    healthz_port: u16,
    /// Port of /metrics; 0 is none
    #[arg(long = "metricsPort", value_name = "PORT", default_value_t = 0, env = "HERALD_METRICS_PORT")]
    metrics_port: u16,
    #[command(flatten)]
    metrics: MetricsArgs,
}

/// Delivers until it is interrupted.
pub(crate) fn run(args: &DeliverArgs, config: &ConfigArgs, json: bool) -> Outcome {
    let runtime = tokio::runtime::Runtime::new()?;
    let result = runtime.block_on(deliver(args, config, json));
    // Nothing of ours is on its way any more.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn deliver(args: &DeliverArgs, config: &ConfigArgs, json: bool) -> Outcome {
    if let Some(dir) = args.dir.as_ref().filter(|dir| !dir.is_dir()) {
        return Err(Failure::bad(format!(
            "{} is no directory; name the one with the ConfigMap",
            dir.display()
        )));
    }
    let outbox = args.outbox.open_shared(Role::Worker).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let handles = Arc::new(HandleCache::start(outbox.clone(), clock.clone(), handles::MOST).await?);
    let metrics = args.metrics.metrics();
    let reporter = Arc::new(Reporter::counting(json, metrics.clone()));
    let traces = Traces::from_env(&metrics);
    let builder = Builder::new(Box::new(DurableHandles(handles.clone())))
        .observed_by(Arc::new(Requests(metrics.clone(), traces.clone())), &[]);
    let mut world = World::default();
    let mut directory = args.dir.as_deref().map(Directory::new);
    look(directory.as_mut(), &mut world, &reporter);
    let first = builder.build(&configuration::input(config, &world, &reporter)?, None, &reporter);
    let active = watch::Sender::new(Arc::new(first));
    let health = Health::new(outbox.clone(), reporter.clone(), metrics, traces);
    health.serve(&[args.healthz_port, args.metrics_port]).await?;
    health.is_ready();

    let services = health.traces().around(Services { active: active.subscribe(), allowed: None });
    let options =
        CourierOptions { policies: delivery::policies(active.subscribe()), ..CourierOptions::default() };
    let courier =
        Courier::new(outbox.clone(), Arc::new(services), clock, options).observed_by(health.clone());
    let stop = Arc::new(Notify::new());
    let stopped = stop.clone();
    let courier = tokio::spawn(courier.run(async move { stopped.notified().await }));
    tracing::info!("delivering");
    if let Some(directory) = &mut directory {
        directory.be_patient();
    }
    let mut interrupt = std::pin::pin!(interrupted());
    loop {
        tokio::select! {
            () = &mut interrupt => break,
            () = tokio::time::sleep(PERIOD) => {}
        }
        if look(directory.as_mut(), &mut world, &reporter) {
            let input = configuration::input(config, &world, &reporter)?;
            let earlier = active.borrow().clone();
            active.send_replace(Arc::new(builder.build(&input, Some(&*earlier), &reporter)));
        }
    }
    tracing::info!("ending: what is on its way is finished");
    stop.notify_one();
    let report = courier.await.map_err(|error| Failure::bad(format!("the courier failed: {error}")))?;
    handles.flush().await?;
    outbox.close().await;
    health.traces().flush().await;
    tracing::info!(delivered = report.delivered, "ended");
    Ok(())
}

/// Looks at the directory; says whether the configuration may have changed.
fn look(directory: Option<&mut Directory>, world: &mut World, reporter: &Reporter) -> bool {
    let Some(directory) = directory else { return false };
    let scan = directory.scan();
    for problem in &scan.problems {
        reporter.problem(&problem.to_string());
    }
    world.apply(scan.changes).configuration
}
