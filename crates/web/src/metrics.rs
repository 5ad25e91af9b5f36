//! The numbers. No label holds the name of an object.

use std::{sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::Registry,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Attempt {
    service: String,
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfService {
    service: String,
}

type Seconds = Gauge<f64, AtomicU64>;

fn durations() -> Histogram {
    Histogram::new([0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0])
}

/// All metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    deliveries: Family<Attempt, Counter>,
    duration: Family<OfService, Histogram, fn() -> Histogram>,
    dead_letters: Family<OfService, Counter>,
    pending: Gauge,
    oldest: Seconds,
    problems: Gauge,
}

impl Metrics {
    /// Metrics of this version.
    pub fn new(version: &str) -> Metrics {
        let mut registry = Registry::with_prefix("herald");
        let metrics = Metrics {
            deliveries: Family::default(),
            duration: Family::new_with_constructor(durations),
            dead_letters: Family::default(),
            pending: Gauge::default(),
            oldest: Seconds::default(),
            problems: Gauge::default(),
            registry: Registry::default(),
        };
        registry.register("build", "What is running", Info::new([("version", version.to_owned())]));
        registry.register("deliveries", "Attempts to deliver, by how they ended", metrics.deliveries.clone());
        registry.register("delivery_duration_seconds", "How long attempts took", metrics.duration.clone());
        registry.register("dead_letters", "Notices that were given up", metrics.dead_letters.clone());
        registry.register("outbox_pending", "Notices that wait", metrics.pending.clone());
        registry.register(
            "outbox_oldest_seconds",
            "Age of the oldest notice that waits",
            metrics.oldest.clone(),
        );
        registry.register("problems", "Problems told since the start", metrics.problems.clone());
        Metrics { registry, ..metrics }
    }

    /// An attempt ended.
    pub fn attempted(&self, service: &str, outcome: &str, took: Duration) {
        let labels = Attempt { service: service.to_owned(), reason: outcome.to_owned() };
        self.deliveries.get_or_create(&labels).inc();
        self.duration.get_or_create(&OfService { service: service.to_owned() }).observe(took.as_secs_f64());
    }

    /// A notice was given up.
    pub fn dead_letter(&self, service: &str) {
        self.dead_letters.get_or_create(&OfService { service: service.to_owned() }).inc();
    }

    /// How many notices wait, and how old the oldest is in seconds.
    pub fn backlog(&self, waiting: u64, oldest: f64) {
        self.pending.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        self.oldest.set(oldest);
    }

    /// How many problems were told.
    pub fn problems(&self, count: usize) {
        self.problems.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// All metrics as text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a String can't fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
