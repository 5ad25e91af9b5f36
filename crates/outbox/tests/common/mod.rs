//! A courier on a virtual clock, and an outbox that can be made to fail.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test binary uses its part; tests end where something unexpected happens"
)]

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use herald_outbox::{
    Access, Attempt, Attempted, Batch, Clock, Courier, CourierOptions, Deliverer, FailureClass, Filter,
    HandleKey, HistoryEntry, LaneKey, Notice, ObjectRef, Outbox, OutboxError, Outcome, Place, Queued,
    Receipt, Report, Retention, SqliteOutbox, VirtualClock,
};
use jiff::Timestamp;
use tokio::sync::{Notify, mpsc, watch};

pub(crate) fn start() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

pub(crate) fn notice(id: &str, name: &str, recipient: &str) -> Notice {
    Notice {
        id: id.into(),
        object: ObjectRef {
            namespace: "prod".into(),
            kind: "Rollout".into(),
            name: name.into(),
            uid: String::new(),
        },
        trigger: "t".into(),
        service: "hook".into(),
        recipient: recipient.into(),
        created: start(),
        due_after: start(),
        payload: Vec::new(),
    }
}

/// Answers by a script: for each id the results of its attempts, then success. `hang` never answers.
pub(crate) struct Script {
    pub(crate) clock: VirtualClock,
    pub(crate) results: Mutex<HashMap<String, Vec<Attempted>>>,
    pub(crate) begun: mpsc::UnboundedSender<(String, u32, Duration)>,
}

#[async_trait]
impl Deliverer for Script {
    async fn deliver(&self, notice: &Notice, attempt: u32) -> Attempted {
        let since = Duration::try_from(self.clock.now().duration_since(start())).unwrap();
        self.begun.send((notice.id.clone(), attempt, since)).unwrap();
        if notice.id.starts_with("hang") {
            std::future::pending::<()>().await;
        }
        assert!(!notice.id.starts_with("panic"), "a fault of the deliverer");
        let next = self
            .results
            .lock()
            .unwrap()
            .get_mut(&notice.id)
            .filter(|list| !list.is_empty())
            .map(|list| list.remove(0));
        next.unwrap_or(Attempted::Delivered { detail: "200".into() })
    }
}

pub(crate) struct Bench {
    pub(crate) outbox: Arc<SqliteOutbox>,
    pub(crate) clock: VirtualClock,
    pub(crate) script: Arc<Script>,
    pub(crate) begun: mpsc::UnboundedReceiver<(String, u32, Duration)>,
    _dir: tempfile::TempDir,
}

/// Waits until the store's threads have done what they were asked for before: each works in order.
pub(crate) async fn turn(outbox: &dyn Outbox) {
    tokio::task::yield_now().await;
    // A store that is made to fail answers too.
    let _ = outbox.commit(Batch::default()).await;
    let _ = outbox.get_state("", "").await;
    let _ = outbox.show("").await;
}

impl Bench {
    pub(crate) fn new(results: &[(&str, Vec<Attempted>)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let outbox = Arc::new(SqliteOutbox::open(dir.path().join("state.db"), Access::Owner).unwrap());
        let clock = VirtualClock::new(start());
        let (sender, begun) = mpsc::unbounded_channel();
        let results = results.iter().map(|(id, list)| ((*id).to_owned(), list.clone())).collect();
        let script = Arc::new(Script { clock: clock.clone(), results: Mutex::new(results), begun: sender });
        Bench { outbox, clock, script, begun, _dir: dir }
    }

    pub(crate) async fn enqueue(&self, notices: Vec<Notice>) {
        self.outbox.commit(Batch { enqueue: notices, ..Batch::default() }).await.unwrap();
    }

    pub(crate) fn courier(&self, options: CourierOptions) -> Courier {
        Courier::new(self.outbox.clone(), self.script.clone(), Arc::new(self.clock.clone()), options)
    }

    pub(crate) fn run(&self, options: CourierOptions) -> (Arc<Notify>, tokio::task::JoinHandle<Report>) {
        let stop = Arc::new(Notify::new());
        let (courier, stopped) = (self.courier(options), stop.clone());
        (stop, tokio::spawn(async move { courier.run(async move { stopped.notified().await }).await }))
    }

    /// The next attempt; moves the clock in steps of `step` until there is one.
    pub(crate) async fn next(&mut self, step: Duration) -> (String, u32, Duration) {
        for _ in 0..200_000 {
            // Threads of the store answer in real time: what they were asked for is done before time goes on.
            for _ in 0..20 {
                if let Ok(begun) = self.begun.try_recv() {
                    return begun;
                }
                turn(&*self.outbox).await;
            }
            self.clock.advance(step);
        }
        panic!("no further attempt");
    }

    pub(crate) async fn outcome(&self, id: &str) -> Outcome {
        self.outbox.show(id).await.unwrap().unwrap().outcome
    }

    pub(crate) async fn until(&self, id: &str, outcome: Outcome) {
        while self.outcome(id).await != outcome {
            tokio::task::yield_now().await;
        }
    }
}

pub(crate) fn failed(class: FailureClass) -> Attempted {
    Attempted::failed(class, "no")
}

pub(crate) fn second(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Asked before an operation, by its name.
pub(crate) type Before = Box<dyn Fn(&str) -> Result<(), OutboxError> + Send + Sync>;

/// Told after an operation on a notice succeeded.
pub(crate) type After = Box<dyn Fn(&str, &str) + Send + Sync>;

/// An outbox with somebody in between: may refuse before an operation, and hears of those that succeeded.
pub(crate) struct Between {
    pub(crate) inner: Arc<SqliteOutbox>,
    pub(crate) before: Before,
    pub(crate) after: After,
}

impl Between {
    pub(crate) fn failing(
        inner: Arc<SqliteOutbox>,
        before: impl Fn(&str) -> Result<(), OutboxError> + Send + Sync + 'static,
    ) -> Self {
        Between { inner, before: Box::new(before), after: Box::new(|_, _| {}) }
    }
}

#[async_trait]
impl Outbox for Between {
    async fn commit(&self, batch: Batch) -> Result<Vec<String>, OutboxError> {
        (self.before)("commit")?;
        let new = self.inner.commit(batch).await?;
        for id in &new {
            (self.after)("commit", id);
        }
        Ok(new)
    }
    async fn pending(&self, after: Place, limit: u32) -> Result<Vec<Queued>, OutboxError> {
        (self.before)("pending")?;
        self.inner.pending(after, limit).await
    }
    async fn pending_in_lane(
        &self,
        lane: &LaneKey,
        after: Place,
        limit: u32,
    ) -> Result<Vec<Queued>, OutboxError> {
        (self.before)("pending_in_lane")?;
        self.inner.pending_in_lane(lane, after, limit).await
    }
    async fn load(&self, place: Place) -> Result<Option<Notice>, OutboxError> {
        (self.before)("load")?;
        self.inner.load(place).await
    }
    fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changes()
    }
    async fn delivered(&self, id: &str, receipt: Receipt) -> Result<(), OutboxError> {
        (self.before)("delivered")?;
        self.inner.delivered(id, receipt).await?;
        (self.after)("delivered", id);
        Ok(())
    }
    async fn retry(
        &self,
        id: &str,
        due: Timestamp,
        waited: Duration,
        attempt: Attempt,
    ) -> Result<(), OutboxError> {
        (self.before)("retry")?;
        self.inner.retry(id, due, waited, attempt).await
    }
    async fn give_up(&self, id: &str, reason: &str, attempt: Attempt) -> Result<(), OutboxError> {
        (self.before)("give_up")?;
        self.inner.give_up(id, reason, attempt).await
    }
    async fn resend(&self, filter: Filter, now: Timestamp) -> Result<usize, OutboxError> {
        self.inner.resend(filter, now).await
    }
    async fn drop_notices(&self, filter: Filter, now: Timestamp) -> Result<usize, OutboxError> {
        self.inner.drop_notices(filter, now).await
    }
    async fn list(&self, filter: Filter) -> Result<Vec<HistoryEntry>, OutboxError> {
        self.inner.list(filter).await
    }
    async fn show(&self, id: &str) -> Result<Option<HistoryEntry>, OutboxError> {
        self.inner.show(id).await
    }
    async fn get_state(&self, scope: &str, key: &str) -> Result<Option<Vec<u8>>, OutboxError> {
        self.inner.get_state(scope, key).await
    }
    async fn list_state(&self, scope: &str) -> Result<Vec<(String, Vec<u8>)>, OutboxError> {
        self.inner.list_state(scope).await
    }
    async fn get_handle(&self, key: &HandleKey) -> Result<Option<String>, OutboxError> {
        self.inner.get_handle(key).await
    }
    async fn put_handle(&self, key: &HandleKey, json: String, now: Timestamp) -> Result<(), OutboxError> {
        self.inner.put_handle(key, json, now).await
    }
    async fn handles(&self, limit: u32) -> Result<Vec<(HandleKey, String)>, OutboxError> {
        self.inner.handles(limit).await
    }
    async fn delete_handle(&self, key: &HandleKey) -> Result<(), OutboxError> {
        self.inner.delete_handle(key).await
    }
    async fn backlog(&self) -> Result<(u64, Option<Timestamp>), OutboxError> {
        (self.before)("backlog")?;
        self.inner.backlog().await
    }
    async fn prune(&self, retention: Retention, now: Timestamp) -> Result<usize, OutboxError> {
        (self.before)("prune")?;
        self.inner.prune(retention, now).await
    }
    async fn check(&self) -> Result<Vec<String>, OutboxError> {
        self.inner.check().await
    }
}
