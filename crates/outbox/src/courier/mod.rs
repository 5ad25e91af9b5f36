//! The courier: takes notices out of the outbox to their recipients.

mod complaints;
mod crew;
mod flight;
mod fold;
mod plan;
mod rate;
mod runner;
mod schedule;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::watch;

pub use self::{
    plan::{Policies, ServicePolicy},
    rate::{BreakerPolicy, Circuit, Rate},
    runner::Courier,
    schedule::{FailureClass, Next, RetryPolicy},
};
use crate::{Notice, Outcome, Retention};

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempted {
    /// The other side accepted it.
    Delivered {
        /// What it said, without secrets.
        detail: String,
    },
    /// It did not.
    Failed {
        /// The kind of failure.
        class: FailureClass,
        /// When the other side asked to be tried again, counted from now.
        retry_after: Option<Duration>,
        /// What happened, without secrets.
        message: String,
    },
    /// There was no attempt, as this process may not act now: it says nothing about the other side, and isn't counted.
    Postponed,
}

impl Attempted {
    /// A failure without a wish of the other side.
    pub fn failed(class: FailureClass, message: impl Into<String>) -> Self {
        Attempted::Failed { class, retry_after: None, message: message.into() }
    }
}

/// Whoever brings a notice to its recipient.
#[async_trait]
pub trait Deliverer: Send + Sync + 'static {
    /// Delivers it; `attempt` counts from 1. Dropped in the middle when it takes too long.
    async fn deliver(&self, notice: &Notice, attempt: u32) -> Attempted;

    /// The payload of one notice that says what these say together; `None` delivers each by itself.
    fn digest(&self, _notices: &[Notice]) -> Option<Vec<u8>> {
        None
    }
}

/// Whoever wants to know what the courier does: metrics, Kubernetes Events.
pub trait Observer: Send + Sync + 'static {
    /// An attempt ended, as `delivered` or with the label of its failure.
    fn attempted(&self, _notice: &Notice, _outcome: &str, _took: Duration) {}
    /// A notice became a dead letter.
    fn dead_letter(&self, _notice: &Notice, _reason: &str) {}
    /// The same, with what the other side said last, without secrets.
    fn given_up(&self, notice: &Notice, reason: &str, _answer: &str) {
        self.dead_letter(notice, reason);
    }
    /// So many notices were done without a delivery of their own, as `muted` or `grouped`.
    fn done(&self, _outcome: Outcome, _count: usize) {}
    /// How many wait, and since when the oldest does; now and then.
    fn backlog(&self, _waiting: u64, _oldest: Option<Timestamp>) {}
    /// Whether a service is attempted at all; now and then.
    fn circuit(&self, _service: &str, _circuit: Circuit) {}
}

/// Nobody wants to know.
impl Observer for () {}

/// What the courier is told at its start.
#[derive(Clone)]
pub struct CourierOptions {
    /// Deliveries at a time, all services together. No service holds more of them than it leaves to others, so that
    /// those that hang can't take all, with attempts that last minutes.
    pub concurrency: usize,
    /// No attempt takes longer.
    pub attempt_timeout: Duration,
    /// What is on its way at a shutdown may take so long.
    pub grace: Duration,
    /// How often the store is asked for what other processes put there.
    pub poll: Duration,
    /// How long history is kept; `None` keeps it.
    pub retention: Option<Retention>,
    /// What each service instance bears; a new value comes into force within `poll`.
    pub policies: watch::Receiver<Policies>,
}

impl Default for CourierOptions {
    fn default() -> Self {
        let policies: Policies = Arc::new(|_: &str| ServicePolicy::default());
        CourierOptions {
            concurrency: 512,
            attempt_timeout: Duration::from_secs(120),
            grace: Duration::from_secs(20),
            poll: Duration::from_secs(2),
            retention: Some(Retention::default()),
            policies: watch::channel(policies).1,
        }
    }
}

impl CourierOptions {
    /// The same policy for all services.
    #[must_use]
    pub fn with_policy(mut self, policy: ServicePolicy) -> Self {
        let policies: Policies = Arc::new(move |_: &str| policy.clone());
        self.policies = watch::channel(policies).1;
        self
    }
}

/// What a run of the courier did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Notices that were delivered.
    pub delivered: u64,
    /// Attempts that failed.
    pub failed_attempts: u64,
    /// Notices that became dead letters.
    pub dead_letters: u64,
    /// Notices that still wait.
    pub waiting: u64,
    /// Times that the store couldn't be read: the other numbers may then be too small.
    pub store_failures: u64,
}
