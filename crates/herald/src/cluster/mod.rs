//! A cluster as the source: what a replica does from its start to its end.
//!
//! A replica takes part in the election; while it acts for something, it has a [`session::Session`], and a change of
//! what it acts for ends one session and begins the next. Objects stream through a session and are not kept.

mod baseline;
mod configured;
mod echo;
mod feeds;
mod fetch;
mod index;
mod prune;
mod record;
mod related;
mod session;
mod settling;
mod tenants;
mod visitors;
mod watched;

use std::{
    future::pending,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use clap::Args;
use herald_core::config::ConfigInput;
use herald_outbox::{Clock, Courier, CourierOptions, HandleCache, Outbox, SystemClock};
use herald_services::http::Range;
use herald_sources::kubernetes::{
    annotate::{Busy, KubeAnnotations, PatchOptions, StatePatcher},
    client::{Connection, ConnectionOptions, connect},
    event_writer::{EventWriter, KubeEvents},
    limit::RequestLimit,
};
use herald_web::ui::Authenticator;
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};

use crate::{
    cluster_events,
    election::{ElectionArgs, LEASE, Part, Patches, Scope},
    failure::{Failure, Outcome},
    input::ConfigArgs,
    operator::{Health, MetricsArgs, Requests},
    pipeline::{
        configuration::{Active, Builder},
        deliver::Services,
        delivery,
        handles::{self, DurableHandles},
        report::Reporter,
    },
    traces::Traces,
    ui::UiArgs,
};
use baseline::Baseline;
pub(crate) use feeds::CONFIG_LABEL;
use feeds::{Feeds, Pulse, Reach};
use record::Records;
use session::{Session, Surroundings};
use settling::Settling;
use visitors::Visitors;
pub(crate) use watched::ResourceName;
use watched::Watched;

/// The scope of what the store keeps about us.
const META: &str = "meta";

/// Where the store keeps when this fleet first looked at the cluster.
const BASELINE: &str = "baseline";

/// Where the store keeps what it acted for last.
const ACTED: &str = "acted";

/// How often a standby looks whether it is needed.
const STANDBY: Duration = Duration::from_millis(500);

/// What was found at the first look is written onto the objects within this time, or the others don't wait for it.
const NOTING: Duration = Duration::from_secs(300);

/// While more notices than this wait for their receivers, records wait, too.
const MANY: usize = 64;

/// Where the lease keeps when the fleet first looked.
const NOTE: &str = "herald.dev/baseline";

/// Flags for a cluster.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct ClusterArgs {
    /// The kubeconfig file [default: $KUBECONFIG, ~/.kube/config, or the pod's service account]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// Watch the namespace of the configuration only
    #[arg(long, env = "HERALD_NAMESPACED")]
    namespaced: bool,
    /// Watch objects of this kind instead of Rollouts: conditions and templates see them under the kind's name in lower case
    #[arg(long, value_name = "GROUP/VERSION/KIND", env = "HERALD_RESOURCE")]
    resource: Option<ResourceName>,
    /// Watch only Rollouts with these labels
    #[arg(long, value_name = "LABELS", env = "HERALD_SELECTOR")]
    selector: Option<String>,
    /// Watch only Rollouts with the label argo-rollouts.argoproj.io/controller-instance-id=ID
    #[arg(long, value_name = "ID", env = "HERALD_INSTANCE_ID")]
    instance_id: Option<String>,
    /// Write the record of what was sent onto the Rollouts, as Argo Rollouts does
    #[arg(long, value_name = "on|off", env = "HERALD_STATE_ANNOTATION", default_value = "on", value_parser = on_or_off, action = clap::ArgAction::Set)]
    state_annotation: bool,
    /// Write what the next leader has to know onto the Rollouts [default: on with an election]
    #[arg(long, value_name = "on|off", env = "HERALD_CURSOR_ANNOTATION", value_parser = on_or_off)]
    cursor_annotation: Option<bool>,
    /// In each namespace also use the ConfigMap and the Secret of these names there, for the Rollouts there
    #[arg(
        long,
        value_name = "BOOL",
        env = "HERALD_SELF_SERVICE_NOTIFICATION_ENABLED",
        default_value_t = false,
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        action = clap::ArgAction::Set
    )]
    self_service_notification_enabled: bool,
    /// Addresses that are not public, which configurations of namespaces may send to all the same, such as 10.1.0.0/16
    #[arg(long, value_name = "RANGE", env = "HERALD_SELF_SERVICE_ALLOW", value_delimiter = ',')]
    self_service_allow: Vec<Range>,
    /// Requests a second that write to the API server; 0 is no limit
    #[arg(long, value_name = "N", env = "HERALD_QPS", default_value_t = 40.0)]
    qps: f64,
    /// So many of them at once after a rest
    #[arg(long, value_name = "N", env = "HERALD_BURST", default_value_t = 80)]
    burst: u32,
    /// At the end, what is on its way may take so many seconds
    #[arg(long, value_name = "SECONDS", env = "HERALD_GRACE_PERIOD", default_value_t = 25)]
    grace_period: u64,
    #[command(flatten)]
    election: ElectionArgs,
}

impl ClusterArgs {
    /// Whether namespaces have configurations of their own. In one namespace alone there are no others.
    pub(crate) fn is_self_service(&self) -> bool {
        self.self_service_notification_enabled && !self.namespaced
    }
}

fn on_or_off(text: &str) -> Result<bool, String> {
    match text {
        "on" | "true" => Ok(true),
        "off" | "false" => Ok(false),
        _ => Err("write on or off".into()),
    }
}

/// What a run has beside the flags for a cluster.
pub(crate) struct RunOptions<'a> {
    pub(crate) cluster: &'a ClusterArgs,
    pub(crate) ui: &'a UiArgs,
    pub(crate) config: &'a ConfigArgs,
    pub(crate) metrics: &'a MetricsArgs,
    pub(crate) healthz_port: u16,
    pub(crate) metrics_port: u16,
    pub(crate) notify_existing: bool,
    pub(crate) json: bool,
}

struct Fleet<'a> {
    options: &'a RunOptions<'a>,
    connection: Connection,
    home: String,
    reach: Reach,
    outbox: Arc<dyn Outbox>,
    clock: Arc<dyn Clock>,
    builder: Builder,
    active: watch::Sender<Arc<Active>>,
    reporter: Arc<Reporter>,
    health: Arc<Health>,
    limit: Arc<RequestLimit>,
    events: Arc<EventWriter>,
    pulse: Pulse,
}

/// Runs until it is interrupted.
pub(crate) async fn run(
    options: &RunOptions<'_>,
    outbox: Arc<dyn Outbox>,
    interrupted: impl Future<Output = ()>,
) -> Outcome {
    let args = options.cluster;
    let connection =
        connect(&ConnectionOptions { kubeconfig: args.kubeconfig.clone(), context: args.context.clone() })
            .await
            .map_err(|error| Failure::unreachable(error.to_string()))?;
    let home = home(options.config.namespace.as_deref(), &connection);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let handles = Arc::new(HandleCache::start(outbox.clone(), clock.clone(), handles::MOST).await?);
    let watched = match &args.resource {
        Some(name) => Watched::find(&connection.client, name).await?,
        None => Watched::rollouts(),
    };
    let metrics = options.metrics.metrics();
    let reporter = Arc::new(Reporter::counting(options.json, metrics.clone()));
    let traces = Traces::from_env(&metrics);
    let builder = Builder::new(Box::new(DurableHandles(handles.clone())))
        .observed_by(Arc::new(Requests(metrics.clone(), traces.clone())), &args.self_service_allow);
    // Not even the catalog: nothing is decided before the ConfigMap was read.
    let empty = builder.build(&ConfigInput::default(), None, &Reporter::quiet());
    let health = Health::new(outbox.clone(), reporter.clone(), metrics.clone(), traces.clone());
    health.serve(&[options.healthz_port, options.metrics_port]).await?;
    health.count_dead_letters();
    let visitors =
        Visitors::new(connection.client.clone(), watched.resource(), args.namespaced.then(|| home.clone()));
    let tokens: Arc<dyn Authenticator> = Arc::new(visitors);
    let tokens = (connection.in_cluster || !options.ui.place.is_on_loopback()).then_some(tokens);
    health.show_on(options.ui.serve(outbox.clone(), tokens).await?);
    let limit = Arc::new(RequestLimit::new(args.qps, args.burst));
    let store = Arc::new(KubeEvents::new(connection.client.clone(), limit.clone()));
    let active = watch::Sender::new(Arc::new(empty));
    let secrets = active.subscribe();
    let clean = Arc::new(move |text: &str| secrets.borrow().redactor.clean(text));
    let events = Arc::new(EventWriter::start(store, &herald_sources::lease::identity(), clean));
    let ours = watched.resource();
    let known = move |kind: &str| (kind == ours.kind).then(|| ours.api_version());
    health.tell_given_up(cluster_events::given_up(events.clone(), known));
    let part = args.election.join(connection.client.clone(), (&home, &watched.own(LEASE)), &metrics)?;
    let pulse = Pulse::new(metrics);
    tracing::info!(
        server = connection.server,
        namespace = if args.namespaced { home.as_str() } else { "all" },
        configuration = home,
        "watching {}",
        watched.resource()
    );
    let reach = Reach {
        namespace: args.namespaced.then(|| home.clone()),
        labels: labels(args),
        home: home.clone(),
        self_service: args.is_self_service(),
        watched,
    };
    let fleet = Fleet {
        options,
        connection,
        home,
        reach,
        outbox,
        clock,
        builder,
        active,
        reporter,
        health,
        limit,
        events,
        pulse,
    };
    let result = fleet.take_part(part, interrupted).await;
    handles.flush().await?;
    traces.flush().await;
    result
}

/// The namespace of the configuration.
fn home(named: Option<&str>, connection: &Connection) -> String {
    let pod = std::env::var("POD_NAMESPACE").ok().filter(|name| !name.is_empty());
    match (named, pod) {
        (Some(named), _) => named.to_owned(),
        (None, Some(pod)) => pod,
        (None, None) if connection.in_cluster => connection.namespace.clone(),
        (None, None) => "argo-rollouts".to_owned(),
    }
}

fn labels(args: &ClusterArgs) -> Option<String> {
    let instance =
        args.instance_id.as_ref().map(|id| format!("argo-rollouts.argoproj.io/controller-instance-id={id}"));
    let all: Vec<String> = args.selector.clone().into_iter().chain(instance).collect();
    (!all.is_empty()).then(|| all.join(","))
}

impl Fleet<'_> {
    /// Acts whenever it is our turn, until the interruption.
    async fn take_part(&self, mut part: Part, interrupted: impl Future<Output = ()>) -> Outcome {
        let mut interrupted = std::pin::pin!(interrupted);
        loop {
            let scope = part.scope();
            if scope == Scope::None {
                // A standby is ready to take over once the leader has looked for the first time.
                if part.noted(NOTE).all().next().is_some() {
                    self.health.is_ready();
                }
                tokio::select! {
                    () = &mut interrupted => break,
                    () = part.changed() => continue,
                    () = tokio::time::sleep(STANDBY) => continue,
                }
            }
            let (over, is_over) = tokio::sync::oneshot::channel::<()>();
            let fence = part.fence();
            let acting = self.act(scope.clone(), &part, fence, async {
                let _ = is_over.await;
            });
            let mut acting = std::pin::pin!(acting);
            let mut over = Some(over);
            let mut leaving = false;
            let mut watching = part.watch();
            let result = loop {
                tokio::select! {
                    result = &mut acting => break result,
                    () = &mut interrupted, if !leaving => {
                        leaving = true;
                        tracing::info!("ending: what is on its way is finished");
                        drop(over.take());
                    }
                    () = watching.changed(), if over.is_some() => {
                        if watching.scope() != scope {
                            tracing::info!("what this replica acts for has changed");
                            drop(over.take());
                        }
                    }
                }
            };
            result?;
            if leaving {
                break;
            }
        }
        part.release().await;
        tracing::info!("ended");
        Ok(())
    }

    async fn act(
        &self,
        scope: Scope,
        part: &Part,
        fence: crate::election::Allowed,
        end: impl Future<Output = ()>,
    ) -> Outcome {
        let args = self.options.cluster;
        let elected = !matches!(part, Part::Alone);
        let acted = Acted::of(&scope).filter(|_| elected);
        let former = self.state(ACTED).await?;
        // With an election, somebody else may have acted since we did.
        let handover = acted.as_ref().is_some_and(|acted| !acted.follows(former.as_deref()));
        let own = self.state(BASELINE).await?.and_then(|text| text.parse::<Timestamp>().ok());
        let baseline = Baseline::new(own, part.noted(NOTE));
        let earliest = baseline.earliest();
        let client = self.connection.client.clone();
        let deliveries = Arc::new(AtomicUsize::new(0));
        let patcher = Arc::new(StatePatcher::start(
            Arc::new(KubeAnnotations::new(client.clone(), self.limit.clone())),
            PatchOptions {
                allowed: {
                    let fence = fence.clone();
                    Arc::new(move |target| fence.holds(&target.uid))
                },
                observer: Arc::new(Patches(self.health.metrics().clone())),
                // Whoever takes over acts by the records. Who is alone has them in the store.
                trailing: (!elected).then(|| {
                    let deliveries = deliveries.clone();
                    let busy: Busy = Arc::new(move || deliveries.load(Ordering::Relaxed) > MANY);
                    busy
                }),
                ..PatchOptions::default()
            },
        ));
        let resource = Arc::new(self.reach.watched.resource());
        let with_cursor = args.cursor_annotation.unwrap_or(elected);
        let records =
            args.state_annotation.then(|| Records::new(patcher.clone(), resource, with_cursor, deliveries));
        let (settle, settled) = mpsc::unbounded_channel();
        let misconfigured = |namespace: &str, uid: &str, message: &str| {
            let name = herald_core::config::CONFIG_MAP;
            cluster_events::misconfigured(&self.events, "ConfigMap", namespace, name, uid, message);
        };
        let around = Surroundings {
            client: client.clone(),
            outbox: self.outbox.clone(),
            builder: &self.builder,
            active: &self.active,
            reporter: self.reporter.clone(),
            health: self.health.clone(),
            config_args: self.options.config,
            home: self.home.clone(),
            scope,
            handover,
            baseline,
            notify_existing: self.options.notify_existing,
            misconfigured: &misconfigured,
        };
        let feeds = Feeds::new(client, self.reach.clone(), self.pulse.clone());
        let mut session = Session::new(around, feeds, settled, records);

        let (stop, stopped) = watch::channel(false);
        let courier = Courier::new(
            self.outbox.clone(),
            Arc::new(
                self.health
                    .traces()
                    .around(Services { active: self.active.subscribe(), allowed: Some(fence) }),
            ),
            self.clock.clone(),
            CourierOptions {
                policies: delivery::policies(self.active.subscribe()),
                grace: Duration::from_secs(self.options.cluster.grace_period),
                ..CourierOptions::default()
            },
        )
        .observed_by(Arc::new(Settling { health: self.health.clone(), settle }));
        let mut waiting = Some((courier, stopped));
        let mut running = None;
        let begin = || {
            if let Some((courier, mut stopped)) = waiting.take() {
                running = Some(tokio::spawn(courier.run(async move {
                    let _ = stopped.wait_for(|stopped| *stopped).await;
                })));
            }
        };
        // Nothing is delivered before there is a configuration: every notice of a former run would be given up. What
        // others may have delivered meanwhile has to be sorted out first: that takes a look at everything.
        let began = Timestamp::now();
        let (first, looked) = tokio::sync::oneshot::channel();
        let mut first = Some(first);
        let noting = async {
            if looked.await.is_ok() {
                self.health.is_ready();
                let since = earliest.unwrap_or(began);
                if own.is_none() {
                    self.remember(BASELINE, &since.to_string()).await?;
                }
                if let Some(acted) = &acted {
                    self.remember(ACTED, &acted.text()).await?;
                }
                // Whoever takes over goes by what is noted on the objects. Before that is written, it had better look
                // in silence than tell what was true long before us.
                let mut waiting = patcher.waiting();
                let written = waiting.wait_for(|waiting| *waiting == 0);
                let _ = tokio::time::timeout(NOTING, written).await;
                part.note(NOTE, &since.to_string()).await;
            }
            pending::<Outcome>().await
        };
        let result = {
            let begin = std::cell::RefCell::new(begin);
            let configured = || {
                if !handover {
                    begin.borrow_mut()();
                }
            };
            let first = || {
                begin.borrow_mut()();
                if let Some(first) = first.take() {
                    let _ = first.send(());
                }
            };
            let running = session.run(end, configured, first);
            tokio::select! {
                result = running => result,
                result = noting => result,
            }
        };
        let _ = stop.send(true);
        if let Some(running) = running {
            let report = running.await.map_err(|e| Failure::bad(format!("the courier failed: {e}")))?;
            tracing::info!(delivered = report.delivered, waiting = report.waiting, "deliveries paused");
        }
        session.settle_all();
        let unwritten = patcher.flush(Duration::from_secs(5)).await;
        if unwritten > 0 {
            tracing::warn!("{unwritten} records could not be written onto their Rollouts in time");
        }
        result
    }

    async fn state(&self, name: &str) -> Result<Option<String>, Failure> {
        let bytes = self.outbox.get_state(META, &self.reach.watched.own(name)).await?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    async fn remember(&self, name: &str, text: &str) -> Outcome {
        use herald_outbox::{Batch, StateEntry};
        let key = self.reach.watched.own(name);
        let entry = StateEntry { scope: META.into(), key, value: text.as_bytes().to_vec() };
        self.outbox.commit(Batch { put_state: vec![entry], ..Batch::default() }).await?;
        Ok(())
    }
}

/// What a replica acted for, with the terms: who acts next for the same in the next term knows what there is to know.
struct Acted(std::collections::BTreeMap<u32, i32>);

impl Acted {
    /// `None` for nothing.
    fn of(scope: &Scope) -> Option<Acted> {
        match scope {
            Scope::None => None,
            Scope::All { term } => Some(Acted([(0, *term)].into())),
            Scope::Some(set) => Some(Acted(set.held.clone())),
        }
    }

    /// Whether nobody else acted in between for anything of this.
    fn follows(&self, former: Option<&str>) -> bool {
        let former: std::collections::BTreeMap<u32, i32> =
            former.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        self.0.iter().all(|(shard, term)| former.get(shard).is_some_and(|old| *term <= old + 1))
    }

    fn text(&self) -> String {
        serde_json::to_string(&self.0).unwrap_or_default()
    }
}
