//! The numbers.
//!
//! Series of our own begin with `herald_`, and none of their labels holds the name of an object. Those of the
//! reference ([`Compat`]) have its exact names and labels, and go with the object that they name.

mod compat;

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};

pub use self::compat::{Compat, Lifecycle};

/// What was tried to be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt<'a> {
    /// Namespace of the object.
    pub namespace: &'a str,
    /// Name of the object.
    pub name: &'a str,
    /// The trigger.
    pub trigger: &'a str,
    /// The service instance.
    pub service: &'a str,
    /// What fires the trigger, if it is one of the lifecycle.
    pub lifecycle: Option<Lifecycle<'a>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Delivery {
    trigger: String,
    service: String,
    outcome: String,
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfService {
    service: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Evaluation {
    trigger: String,
    triggered: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfResource {
    resource: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfLease {
    lease: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfOutcome {
    outcome: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    service_type: String,
    code: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfType {
    service_type: String,
}

type Seconds = Gauge<f64, AtomicU64>;
type Durations<L> = Family<L, Histogram, fn() -> Histogram>;

fn durations() -> Histogram {
    Histogram::new([0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0])
}

/// All metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    compat: Option<Compat>,
    deliveries: Family<Delivery, Counter>,
    duration: Durations<OfService>,
    pending: Gauge,
    oldest: Seconds,
    dead: Gauge,
    problems: Gauge,
    evaluations: Family<Evaluation, Counter>,
    reloaded: Gauge,
    reloads: Counter,
    errors: Gauge,
    broken: Mutex<BTreeMap<String, usize>>,
    watch_restarts: Family<OfResource, Counter>,
    watched: Family<OfResource, Gauge>,
    lease: Family<OfLease, Gauge>,
    patches: Family<OfOutcome, Counter>,
    spans: Family<OfOutcome, Counter>,
    requests: Family<Request, Counter>,
    request_duration: Durations<OfType>,
    sent: Family<OfType, Counter>,
    received: Family<OfType, Counter>,
}

impl Metrics {
    /// Metrics of this version, with those of the reference if they are wanted.
    pub fn new(version: &str, compat: Option<Compat>) -> Metrics {
        let mut metrics = Metrics {
            registry: Registry::default(),
            compat,
            deliveries: Family::default(),
            duration: Family::new_with_constructor(durations),
            pending: Gauge::default(),
            oldest: Seconds::default(),
            dead: Gauge::default(),
            problems: Gauge::default(),
            evaluations: Family::default(),
            reloaded: Gauge::default(),
            reloads: Counter::default(),
            errors: Gauge::default(),
            broken: Mutex::default(),
            watch_restarts: Family::default(),
            watched: Family::default(),
            lease: Family::default(),
            patches: Family::default(),
            spans: Family::default(),
            requests: Family::default(),
            request_duration: Family::new_with_constructor(durations),
            sent: Family::default(),
            received: Family::default(),
        };
        metrics.register(version);
        metrics
    }

    fn register(&mut self, version: &str) {
        let Metrics { registry, compat, .. } = self;
        if let Some(compat) = compat {
            compat.register(registry);
        }
        let all = registry.sub_registry_with_prefix("herald");
        all.register("build", "What is running", Info::new([("version", version.to_owned())]));
        all.register(
            "deliveries",
            "Attempts to deliver, by how they ended; a notice that is given up counts as `dead-letter`, too",
            self.deliveries.clone(),
        );
        all.register_with_unit(
            "delivery_duration",
            "How long attempts took",
            Unit::Seconds,
            self.duration.clone(),
        );
        all.register("outbox_pending", "Notices that wait", self.pending.clone());
        all.register_with_unit(
            "outbox_oldest",
            "Age of the oldest notice that waits",
            Unit::Seconds,
            self.oldest.clone(),
        );
        all.register("outbox_dead", "Dead letters that nobody has dropped or sent again", self.dead.clone());
        all.register("problems", "Problems told since the start", self.problems.clone());
        all.register(
            "trigger_evaluations",
            "Conditions of triggers that were looked at, by whether they held",
            self.evaluations.clone(),
        );
        all.register(
            "config_last_reload_successful",
            "Whether the whole configuration could be used when it was last read",
            self.reloaded.clone(),
        );
        all.register("config_reloads", "Times that configuration was read", self.reloads.clone());
        all.register(
            "config_errors",
            "Parts of the configuration in force that can't be used",
            self.errors.clone(),
        );
        all.register("watch_restarts", "Watches that had to list anew", self.watch_restarts.clone());
        all.register("watched_objects", "Objects that are watched", self.watched.clone());
        all.register("lease_held", "Whether this replica holds the lease", self.lease.clone());
        all.register(
            "annotation_patches",
            "Patches of annotations on objects, by how they ended",
            self.patches.clone(),
        );
        all.register("spans", "Spans for the collector of traces, by how they ended", self.spans.clone());
        all.register(
            "http_client_requests",
            "Requests to services, by status, or why there is none",
            self.requests.clone(),
        );
        all.register_with_unit(
            "http_client_request_duration",
            "How long requests to services took",
            Unit::Seconds,
            self.request_duration.clone(),
        );
        all.register_with_unit(
            "http_client_sent",
            "Bytes of the bodies of requests to services",
            Unit::Bytes,
            self.sent.clone(),
        );
        all.register_with_unit(
            "http_client_received",
            "Bytes of the bodies of services' answers",
            Unit::Bytes,
            self.received.clone(),
        );
    }

    /// An attempt ended: delivered, or failed for a reason.
    pub fn attempted(&self, attempt: &Attempt<'_>, failure: Option<&str>, took: Duration) {
        self.delivery(
            attempt,
            if failure.is_some() { "failed" } else { "delivered" },
            failure.unwrap_or_default(),
        );
        let service = OfService { service: attempt.service.to_owned() };
        self.duration.get_or_create(&service).observe(took.as_secs_f64());
        if let Some(compat) = &self.compat {
            compat.attempted(attempt, failure.is_none(), took);
        }
    }

    /// A notice was given up.
    pub fn dead_letter(&self, attempt: &Attempt<'_>, reason: &str) {
        self.delivery(attempt, "dead-letter", reason);
    }

    fn delivery(&self, attempt: &Attempt<'_>, outcome: &str, reason: &str) {
        let labels = Delivery {
            trigger: attempt.trigger.to_owned(),
            service: attempt.service.to_owned(),
            outcome: outcome.to_owned(),
            reason: reason.to_owned(),
        };
        self.deliveries.get_or_create(&labels).inc();
    }

    /// How many notices wait, and how old the oldest is in seconds.
    pub fn backlog(&self, waiting: u64, oldest: f64) {
        self.pending.set(number(waiting));
        self.oldest.set(oldest);
    }

    /// How many dead letters there are.
    pub fn dead_letters(&self, count: usize) {
        self.dead.set(number(count));
    }

    /// How many problems were told.
    pub fn problems(&self, count: usize) {
        self.problems.set(number(count));
    }

    /// A condition of a trigger was looked at.
    pub fn evaluated(&self, trigger: &str, triggered: bool) {
        let labels = Evaluation { trigger: trigger.to_owned(), triggered: triggered.to_string() };
        self.evaluations.get_or_create(&labels).inc();
        if let Some(compat) = &self.compat {
            compat.evaluated(trigger, triggered);
        }
    }

    /// A configuration was read: so many of its parts can't be used.
    pub fn configured(&self, object: &str, errors: usize) {
        self.reloads.inc();
        let mut broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        match errors {
            0 => drop(broken.remove(object)),
            errors => drop(broken.insert(object.to_owned(), errors)),
        }
        self.reloaded.set(i64::from(broken.is_empty()));
        self.errors.set(number(broken.values().sum::<usize>()));
    }

    /// A configuration is not there any more.
    pub fn unconfigured(&self, object: &str) {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).remove(object);
        let broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        self.reloaded.set(i64::from(broken.is_empty()));
        self.errors.set(number(broken.values().sum::<usize>()));
    }

    /// A watch of a resource had to list anew.
    pub fn watch_restarted(&self, resource: &str) {
        self.watch_restarts.get_or_create(&OfResource { resource: resource.to_owned() }).inc();
    }

    /// So many objects of a resource are watched.
    pub fn watched(&self, resource: &str, count: usize) {
        self.watched.get_or_create(&OfResource { resource: resource.to_owned() }).set(number(count));
    }

    /// Whether we hold a lease.
    pub fn lease(&self, lease: &str, held: bool) {
        self.lease.get_or_create(&OfLease { lease: lease.to_owned() }).set(i64::from(held));
    }

    /// A patch of annotations ended.
    pub fn patched(&self, outcome: &str) {
        self.patches.get_or_create(&OfOutcome { outcome: outcome.to_owned() }).inc();
    }

    /// So many spans were accepted by the collector of traces, or lost.
    pub fn exported_spans(&self, outcome: &str, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.spans.get_or_create(&OfOutcome { outcome: outcome.to_owned() }).inc_by(count);
    }

    /// A request to a service ended.
    pub fn requested(&self, service_type: &str, code: &str, took: Duration, sent: usize, received: usize) {
        let request = Request { service_type: service_type.to_owned(), code: code.to_owned() };
        self.requests.get_or_create(&request).inc();
        let service = OfType { service_type: service_type.to_owned() };
        self.request_duration.get_or_create(&service).observe(took.as_secs_f64());
        let bytes = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        self.sent.get_or_create(&service).inc_by(bytes(sent));
        self.received.get_or_create(&service).inc_by(bytes(received));
    }

    /// An object was deleted: the series that name it go.
    pub fn deleted(&self, namespace: &str, name: &str) {
        if let Some(compat) = &self.compat {
            compat.deleted(namespace, name);
        }
    }

    /// All metrics as text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a String can't fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

fn number(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}
