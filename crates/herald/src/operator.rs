//! What operators see: health, readiness, metrics.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use clap::Args;
use herald_core::lifecycle::reasons;
use herald_outbox::{Batch, Filter, Notice, Observer, Outbox, OutboxError, Outcome};
use herald_services::http;
use herald_web::{
    Operator,
    metrics::{Attempt, Compat, Lifecycle, Metrics},
};
use jiff::Timestamp;

use crate::{failure::Failure, pipeline::report::Reporter, traces::Traces, ui::Shelf};

/// How often dead letters are counted.
const COUNTING: Duration = Duration::from_secs(30);

/// Which metrics there are.
#[derive(Args, Clone, Debug)]
pub(crate) struct MetricsArgs {
    /// Also serve the metrics of Argo Rollouts and its notifications engine, under their names
    #[arg(
        long,
        value_name = "BOOL",
        env = "HERALD_COMPAT_METRICS",
        default_value_t = true,
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        action = clap::ArgAction::Set
    )]
    compat_metrics: bool,
    /// Prefix of the metrics of the notifications engine
    #[arg(long, value_name = "PREFIX", env = "HERALD_METRICS_PREFIX", default_value = "argo_rollouts")]
    metrics_prefix: String,
    /// Name each Rollout in the metrics of Argo Rollouts; turn it off where there are too many
    #[arg(
        long,
        value_name = "BOOL",
        env = "HERALD_METRICS_OBJECT_LABELS",
        default_value_t = true,
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        action = clap::ArgAction::Set
    )]
    metrics_object_labels: bool,
}

impl MetricsArgs {
    /// The metrics that are wanted.
    pub(crate) fn metrics(&self) -> Arc<Metrics> {
        let compat =
            self.compat_metrics.then(|| Compat::new(&self.metrics_prefix, self.metrics_object_labels));
        Arc::new(Metrics::new(env!("CARGO_PKG_VERSION"), compat))
    }
}

/// Is told of each notice that is given up, with the reason as a sentence.
pub(crate) type GivenUp = Box<dyn Fn(&Notice, &str) + Send + Sync>;

/// The state that operators ask about.
pub(crate) struct Health {
    metrics: Arc<Metrics>,
    ready: AtomicBool,
    outbox: Arc<dyn Outbox>,
    reporter: Arc<Reporter>,
    given_up: OnceLock<GivenUp>,
    shelf: OnceLock<Arc<Shelf>>,
    traces: Traces,
}

impl Health {
    /// Nothing is ready yet. The reporter counts in the same metrics.
    pub(crate) fn new(
        outbox: Arc<dyn Outbox>,
        reporter: Arc<Reporter>,
        metrics: Arc<Metrics>,
        traces: Traces,
    ) -> Arc<Health> {
        Arc::new(Health {
            metrics,
            ready: AtomicBool::new(false),
            outbox,
            reporter,
            given_up: OnceLock::new(),
            shelf: OnceLock::new(),
            traces,
        })
    }

    /// The numbers.
    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Where spans go.
    pub(crate) fn traces(&self) -> &Traces {
        &self.traces
    }

    /// What the page is to know, if there is one.
    pub(crate) fn show_on(&self, shelf: Option<Arc<Shelf>>) {
        if let Some(shelf) = shelf {
            let _ = self.shelf.set(shelf);
        }
    }

    /// Where the page finds what was looked at.
    pub(crate) fn shelf(&self) -> Option<&Shelf> {
        self.shelf.get().map(|shelf| &**shelf)
    }

    /// Whom to tell of notices that are given up, besides the log: Kubernetes Events. The first one stays.
    pub(crate) fn tell_given_up(&self, told: GivenUp) {
        let _ = self.given_up.set(told);
    }

    /// Stores what follows from looks, in one commit, and tells of it what there is to tell. Gives the ids of the notices
    /// that are new.
    pub(crate) async fn commit(&self, batch: Batch) -> Result<HashSet<String>, OutboxError> {
        let (stillborn, enqueuing) = (stillborn(&batch), self.traces.enqueuing(&batch));
        let new: HashSet<String> = self.outbox.commit(batch).await?.into_iter().collect();
        self.traces.enqueued(&enqueuing, |id| new.contains(id));
        for (notice, reason) in stillborn.iter().filter(|(notice, _)| new.contains(&notice.id)) {
            self.metrics.dead_letter(&attempt(notice), "undeliverable");
            self.traces.settled(notice, Some("undeliverable"));
            if let Some(told) = self.given_up.get() {
                told(notice, reason);
            }
        }
        Ok(new)
    }

    /// Counts dead letters now and then, until the program ends.
    pub(crate) fn count_dead_letters(self: &Arc<Self>) {
        let (metrics, outbox) = (self.metrics.clone(), self.outbox.clone());
        tokio::spawn(async move {
            loop {
                let dead = Filter { outcome: Some(Outcome::DeadLetter), ..Filter::default() };
                if let Ok(count) = outbox.count(dead).await {
                    metrics.dead_letters(usize::try_from(count).unwrap_or(usize::MAX));
                }
                tokio::time::sleep(COUNTING).await;
            }
        });
    }

    /// The first look is done.
    pub(crate) fn is_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// Answers on these ports until the program ends.
    pub(crate) async fn serve(self: &Arc<Self>, ports: &[u16]) -> Result<(), Failure> {
        let mut opened = Vec::new();
        for port in ports.iter().copied().filter(|port| *port != 0) {
            if opened.contains(&port) {
                continue;
            }
            let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
            let listener = tokio::net::TcpListener::bind(address).await.map_err(|e| {
                Failure::bad(format!("can't listen on port {port}: {e}; choose another one, or 0 for none"))
            })?;
            opened.push(port);
            tokio::spawn(herald_web::serve(listener, self.clone(), std::future::pending()));
        }
        Ok(())
    }
}

impl Operator for Health {
    fn ready(&self) -> Result<(), String> {
        if let Some(trouble) = self.outbox.trouble() {
            return Err(trouble);
        }
        match self.ready.load(Ordering::Acquire) {
            true => Ok(()),
            false => Err("the first look at the objects is not done".into()),
        }
    }

    fn metrics(&self) -> String {
        self.metrics.problems(self.reporter.count());
        self.metrics.text()
    }
}

fn attempt(notice: &Notice) -> Attempt<'_> {
    let reason = reasons::of_trigger(&notice.trigger);
    Attempt {
        namespace: &notice.object.namespace,
        name: &notice.object.name,
        trigger: &notice.trigger,
        service: &notice.service,
        lifecycle: reason
            .map(|reason| Lifecycle { event_type: reason.event_type.as_str(), reason: reason.reason }),
    }
}

impl Observer for Health {
    fn attempted(&self, notice: &Notice, outcome: &str, took: Duration) {
        let failure = (outcome != Outcome::Delivered.label()).then_some(outcome);
        self.metrics.attempted(&attempt(notice), failure, took);
        if failure.is_none() {
            self.traces.settled(notice, None);
        }
    }

    fn given_up(&self, notice: &Notice, reason: &str, answer: &str) {
        self.metrics.dead_letter(&attempt(notice), reason);
        self.traces.settled(notice, Some(reason));
        tracing::error!(
            rollout = format!("{}/{}", notice.object.namespace, notice.object.name),
            trigger = notice.trigger,
            service = notice.service,
            delivery_id = notice.id,
            "given up: {reason}"
        );
        if let Some(told) = self.given_up.get() {
            told(notice, if answer.is_empty() { reason } else { answer });
        }
    }

    fn backlog(&self, waiting: u64, oldest: Option<Timestamp>) {
        let age = oldest.map_or(0.0, |oldest| Timestamp::now().duration_since(oldest).as_secs_f64());
        self.metrics.backlog(waiting, age.max(0.0));
    }
}

/// Counts the requests to services, and makes them part of traces.
pub(crate) struct Requests(pub(crate) Arc<Metrics>, pub(crate) Traces);

impl http::Observer for Requests {
    fn called(&self, call: &http::Call<'_>) {
        let code = match call.outcome {
            Ok(status) => status.to_string(),
            Err(reason) => reason.label().to_owned(),
        };
        self.0.requested(call.service_type, &code, call.elapsed, call.sent, call.received);
        self.1.called(call);
    }
}

/// The notices of a batch that are given up from the start, each with its reason.
fn stillborn(batch: &Batch) -> Vec<(Notice, String)> {
    let given_up = batch.done.iter().filter(|done| done.outcome == Outcome::DeadLetter);
    given_up
        .filter_map(|done| {
            let notice = batch.enqueue.iter().find(|notice| notice.id == done.id)?;
            Some((Notice { payload: Vec::new(), ..notice.clone() }, done.reason.clone()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use herald_outbox::{Access, Done, ObjectRef, SqliteOutbox};

    use super::*;

    fn notice() -> Notice {
        Notice {
            id: "never-rendered".into(),
            object: ObjectRef {
                kind: "Rollout".into(),
                namespace: "shop".into(),
                name: "web".into(),
                uid: "1".into(),
            },
            trigger: "on-x".into(),
            service: "slack".into(),
            recipient: "ops".into(),
            created: Timestamp::UNIX_EPOCH,
            due_after: Timestamp::UNIX_EPOCH,
            payload: b"?".to_vec(),
        }
    }

    fn given_up_at_once() -> Batch {
        let done = |outcome, id: &str| Done {
            id: id.into(),
            outcome,
            at: Timestamp::UNIX_EPOCH,
            reason: "no template".into(),
        };
        Batch {
            enqueue: vec![notice()],
            done: vec![done(Outcome::DeadLetter, "never-rendered"), done(Outcome::Grouped, "another")],
            ..Batch::default()
        }
    }

    #[tokio::test]
    async fn what_is_given_up_at_once_is_told_when_it_is_stored_and_only_then() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("state.db");
        drop(SqliteOutbox::open(&file, Access::Owner).unwrap());
        let told = Arc::new(std::sync::Mutex::new(Vec::new()));
        let health = |access| {
            let outbox = Arc::new(SqliteOutbox::open(&file, access).unwrap());
            let health =
                Health::new(outbox, Arc::default(), Arc::new(Metrics::new("1", None)), Traces::default());
            let told = told.clone();
            health.tell_given_up(Box::new(move |notice, reason| {
                told.lock().unwrap().push(format!("{}: {reason}", notice.id));
            }));
            health
        };
        // A store that refuses: the same is looked at again.
        assert!(health(Access::ReadOnly).commit(given_up_at_once()).await.is_err());
        assert_eq!(told.lock().unwrap().len(), 0);
        let health = health(Access::Owner);
        assert_eq!(health.commit(given_up_at_once()).await.unwrap().len(), 1);
        assert_eq!(health.commit(given_up_at_once()).await.unwrap().len(), 0);
        assert_eq!(*told.lock().unwrap(), ["never-rendered: no template"]);
    }
}
