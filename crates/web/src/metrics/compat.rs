//! The reference's metrics, under its exact names and labels, so that dashboards and alerts stay as they are.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder},
    metrics::{MetricType, TypedMetric, counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};

use super::Attempt;

/// What fires a trigger of the lifecycle: the Kubernetes Event that the reference would have recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifecycle<'a> {
    /// `Normal` or `Warning`.
    pub event_type: &'a str,
    /// The reason, such as `RolloutCompleted`.
    pub reason: &'a str,
}

/// The reference's counters have no `_total`, which OpenMetrics has no counter for. A series of unknown type may be
/// called anything, and is read the same.
#[derive(Clone, Debug, Default)]
struct Unknown(Arc<AtomicU64>);

impl EncodeMetric for Unknown {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        encoder.encode_gauge(&self.0.load(Ordering::Relaxed))
    }

    fn metric_type(&self) -> MetricType {
        Unknown::TYPE
    }
}

impl TypedMetric for Unknown {
    const TYPE: MetricType = MetricType::Unknown;
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Send {
    namespace: String,
    name: String,
    r#type: String,
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Object {
    namespace: String,
    name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Delivery {
    trigger: String,
    service: String,
    succeeded: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Evaluation {
    name: String,
    triggered: String,
}

fn durations() -> Histogram {
    Histogram::new([0.01, 0.15, 0.25, 0.5, 1.0])
}

/// The reference's metrics: `notification_send*` for triggers of the lifecycle, and the engine's two for all others.
#[derive(Debug)]
pub struct Compat {
    prefix: String,
    per_object: bool,
    success: Family<Send, Unknown>,
    error: Family<Send, Unknown>,
    performance: Family<Object, Histogram, fn() -> Histogram>,
    deliveries: Family<Delivery, Counter>,
    evaluations: Family<Evaluation, Counter>,
    /// Which series name an object.
    named: Mutex<HashMap<Object, HashSet<(String, String)>>>,
}

impl Compat {
    /// With this prefix of the engine's two series. Without `per_object` the labels `namespace` and `name` are empty,
    /// where there are more objects than the monitoring bears.
    pub fn new(prefix: &str, per_object: bool) -> Compat {
        let word = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
        Compat {
            prefix: prefix.chars().map(word).collect(),
            per_object,
            success: Family::default(),
            error: Family::default(),
            performance: Family::new_with_constructor(durations),
            deliveries: Family::default(),
            evaluations: Family::default(),
            named: Mutex::default(),
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("notification_send_success", "Notification send success", self.success.clone());
        registry.register("notification_send_error", "Error sending the notification", self.error.clone());
        registry.register("notification_send", "Notification send performance", self.performance.clone());
        let engine = match self.prefix.is_empty() {
            true => registry,
            false => registry.sub_registry_with_prefix(&self.prefix),
        };
        engine.register(
            "notifications_deliveries",
            "Number of delivered notifications",
            self.deliveries.clone(),
        );
        engine.register(
            "notifications_trigger_eval",
            "Number of trigger evaluations",
            self.evaluations.clone(),
        );
    }

    pub(super) fn attempted(&self, attempt: &Attempt<'_>, succeeded: bool, took: Duration) {
        let Some(lifecycle) = attempt.lifecycle else {
            let labels = Delivery {
                trigger: attempt.trigger.to_owned(),
                service: attempt.service.to_owned(),
                succeeded: succeeded.to_string(),
            };
            self.deliveries.get_or_create(&labels).inc();
            return;
        };
        let (namespace, name) = match self.per_object {
            true => (attempt.namespace.to_owned(), attempt.name.to_owned()),
            false => (String::new(), String::new()),
        };
        let object = Object { namespace, name };
        let (event_type, reason) = (lifecycle.event_type.to_owned(), lifecycle.reason.to_owned());
        // Held over all of it, so that nothing that names a deleted object comes back in between.
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        self.performance.get_or_create(&object).observe(took.as_secs_f64());
        let send = send(&object, &event_type, &reason);
        let family = if succeeded { &self.success } else { &self.error };
        family.get_or_create(&send).0.fetch_add(1, Ordering::Relaxed);
        named.entry(object).or_default().insert((event_type, reason));
    }

    pub(super) fn evaluated(&self, trigger: &str, triggered: bool) {
        let labels = Evaluation { name: trigger.to_owned(), triggered: triggered.to_string() };
        self.evaluations.get_or_create(&labels).inc();
    }

    pub(super) fn deleted(&self, namespace: &str, name: &str) {
        let object = Object { namespace: namespace.to_owned(), name: name.to_owned() };
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(series) = named.remove(&object) else { return };
        for (event_type, reason) in series {
            let send = send(&object, &event_type, &reason);
            self.success.remove(&send);
            self.error.remove(&send);
        }
        self.performance.remove(&object);
    }
}

fn send(object: &Object, event_type: &str, reason: &str) -> Send {
    let Object { namespace, name } = object.clone();
    Send { namespace, name, r#type: event_type.to_owned(), reason: reason.to_owned() }
}
