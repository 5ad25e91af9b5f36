//! What is watched, all of it in one channel.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use herald_core::config::{CONFIG_MAP, SECRET};
use herald_sources::kubernetes::{
    Client,
    watch::{Heard, Resource, Selection, Watch, WatchObserver},
};
use herald_web::metrics::Metrics;
use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
    time::Instant,
};

use super::{related::Kind, watched::Watched};

/// Objects in a page of a list: so many are in memory at a time.
const PAGE: u32 = 100;

/// ConfigMaps with this label are merged into the configuration.
pub(crate) const CONFIG_LABEL: &str = "herald.dev/config=true";

/// Where something was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Feed {
    ConfigMap,
    Secret,
    MoreConfig,
    TenantConfigMap,
    TenantSecret,
    Owned(Kind),
    Rollouts,
    Events,
}

/// Whether the watches are alive.
#[derive(Clone)]
pub(super) struct Pulse {
    metrics: Arc<Metrics>,
    began: Instant,
    /// Milliseconds after the begin when something was heard last.
    last: Arc<AtomicU64>,
}

impl Pulse {
    pub(super) fn new(metrics: Arc<Metrics>) -> Pulse {
        Pulse { metrics, began: Instant::now(), last: Arc::default() }
    }
}

impl WatchObserver for Pulse {
    fn restarted(&self, resource: &Resource, _why: &str) {
        self.metrics.watch_restarted(&resource.to_string());
    }

    fn alive(&self) {
        self.last.store(self.began.elapsed().as_millis() as u64, Ordering::Relaxed);
    }
}

/// Which namespaces, and which Rollouts in them.
#[derive(Clone, Debug)]
pub(super) struct Reach {
    /// Only this one.
    pub(super) namespace: Option<String>,
    /// A label selector for Rollouts.
    pub(super) labels: Option<String>,
    /// The namespace of the configuration.
    pub(super) home: String,
    /// Whether namespaces have configurations of their own.
    pub(super) self_service: bool,
    /// What is watched: Rollouts, mostly.
    pub(super) watched: Watched,
}

/// The watches of a session. They end when it is dropped.
pub(super) struct Feeds {
    client: Client,
    reach: Reach,
    pulse: Arc<Pulse>,
    /// Asks for a new list of the Rollouts.
    pub(super) again: Arc<Notify>,
    heard: mpsc::Sender<(Feed, Heard)>,
    tasks: JoinSet<()>,
}

impl Feeds {
    pub(super) fn new(client: Client, reach: Reach, pulse: Pulse) -> (Feeds, mpsc::Receiver<(Feed, Heard)>) {
        let (heard, hearing) = mpsc::channel(2);
        let (pulse, again, tasks) = (Arc::new(pulse), Arc::default(), JoinSet::new());
        (Feeds { client, reach, pulse, again, heard, tasks }, hearing)
    }

    /// Whether there are Rollouts that are not watched.
    pub(super) fn is_selective(&self) -> bool {
        self.reach.labels.is_some()
    }

    /// What is watched.
    pub(super) fn watched(&self) -> &Watched {
        &self.reach.watched
    }

    /// Whether namespaces have configurations of their own.
    pub(super) fn is_self_service(&self) -> bool {
        self.reach.self_service
    }

    /// Begins to watch.
    pub(super) fn open(&mut self, feed: Feed) {
        let core = |plural, kind| Resource::new("", "v1", plural, kind);
        let home = |labels: Option<&str>, fields: Option<&str>| Selection {
            namespace: Some(self.reach.home.clone()),
            labels: labels.map(str::to_owned),
            fields: fields.map(|name| format!("metadata.name={name}")),
        };
        let all = |labels: Option<&str>, fields: Option<&str>| Selection {
            namespace: self.reach.namespace.clone(),
            labels: labels.map(str::to_owned),
            fields: fields.map(str::to_owned),
        };
        let argo = |plural, kind| Resource::new("argoproj.io", "v1alpha1", plural, kind);
        let labels = self.reach.labels.as_deref();
        let (resource, selection) = match feed {
            Feed::ConfigMap => (core("configmaps", "ConfigMap"), home(None, Some(CONFIG_MAP))),
            Feed::Secret => (core("secrets", "Secret"), home(None, Some(SECRET))),
            Feed::MoreConfig => (core("configmaps", "ConfigMap"), home(Some(CONFIG_LABEL), None)),
            // By their names: nothing else of these kinds is ever read.
            Feed::TenantConfigMap => {
                (core("configmaps", "ConfigMap"), all(None, Some(&format!("metadata.name={CONFIG_MAP}"))))
            }
            Feed::TenantSecret => {
                (core("secrets", "Secret"), all(None, Some(&format!("metadata.name={SECRET}"))))
            }
            // Argo Rollouts puts this label on each ReplicaSet of its own.
            Feed::Owned(Kind::ReplicaSet) => (
                Resource::new("apps", "v1", "replicasets", "ReplicaSet"),
                all(Some("rollouts-pod-template-hash"), None),
            ),
            Feed::Owned(Kind::AnalysisRun) => (argo("analysisruns", "AnalysisRun"), all(None, None)),
            Feed::Owned(Kind::Experiment) => (argo("experiments", "Experiment"), all(None, None)),
            Feed::Rollouts => (self.reach.watched.resource(), all(labels, None)),
            Feed::Events => (core("events", "Event"), all(None, Some("involvedObject.kind=Rollout"))),
        };
        let again = if feed == Feed::Rollouts { self.again.clone() } else { Arc::default() };
        let watch = Watch {
            client: self.client.clone(),
            resource,
            selection,
            page: PAGE,
            again,
            observer: self.pulse.clone(),
        };
        let (tell, mut told) = mpsc::channel(1);
        let heard = self.heard.clone();
        self.tasks.spawn(watch.run(tell));
        self.tasks.spawn(async move {
            while let Some(next) = told.recv().await {
                if heard.send((feed, next)).await.is_err() {
                    return;
                }
            }
        });
    }
}
