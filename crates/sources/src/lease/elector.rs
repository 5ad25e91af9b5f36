//! One leader: an election, carried out.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use super::{Election, ElectionOptions, Fence, Leadership, LeaseError, LeaseStore, Step};

/// Notes that wait for being written on the lease.
const MOST_NOTES: usize = 16;

/// Times that a lease is tried to be given back.
const RELEASES: u32 = 3;

/// Elects one leader.
#[derive(Debug)]
pub struct Elector;

/// Our part in an election. Dropped without [`LeaseHandle::release`] the lease runs out by itself.
pub struct LeaseHandle {
    identity: String,
    leadership: watch::Receiver<Leadership>,
    annotations: watch::Receiver<BTreeMap<String, String>>,
    fence: Fence,
    notes: mpsc::Sender<(String, Option<String>)>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Elector {
    /// Takes part in an election.
    pub fn start(store: Arc<dyn LeaseStore>, options: ElectionOptions) -> Result<LeaseHandle, String> {
        options.timing.check()?;
        let (leadership, seen) = watch::channel(Leadership::Standby);
        let (annotations, noted) = watch::channel(BTreeMap::new());
        let (notes, wanted) = mpsc::channel(MOST_NOTES);
        let (stop, stopped) = watch::channel(false);
        let fence = Fence::default();
        let identity = options.identity.clone();
        let election = Election::new(&options.name, &options.identity, options.timing, now());
        let runner = Runner {
            name: options.name,
            request: options.timing.request(),
            retry: options.timing.retry,
            store,
            election,
            leadership,
            annotations,
            fence: fence.clone(),
            wanted,
            failing: false,
        };
        let task = tokio::spawn(runner.run(stopped));
        Ok(LeaseHandle { identity, leadership: seen, annotations: noted, fence, notes, stop, task })
    }
}

impl LeaseHandle {
    /// Who we are in the election.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Whether we act.
    pub fn leadership(&self) -> Leadership {
        *self.leadership.borrow()
    }

    /// Tells of each change of it.
    pub fn watch(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    /// Waits for the next change; false once the election has ended.
    pub async fn changed(&mut self) -> bool {
        self.leadership.changed().await.is_ok()
    }

    /// To be asked right before anything is done.
    pub fn fence(&self) -> Fence {
        self.fence.clone()
    }

    /// The annotations of the lease as last read.
    pub fn annotations(&self) -> watch::Receiver<BTreeMap<String, String>> {
        self.annotations.clone()
    }

    /// Notes something on the lease, with the next renewal; takes it away with `None`. Returns once it was written,
    /// or false if we stopped leading before.
    pub async fn annotate(&self, key: &str, value: Option<&str>) -> bool {
        let (mut annotations, mut leadership) = (self.annotations(), self.watch());
        if self.notes.send((key.to_owned(), value.map(str::to_owned))).await.is_err() {
            return false;
        }
        loop {
            if annotations.borrow_and_update().get(key).map(String::as_str) == value {
                return true;
            }
            if !leadership.borrow_and_update().leads() {
                return false;
            }
            let alive = tokio::select! {
                changed = annotations.changed() => changed,
                changed = leadership.changed() => changed,
            };
            if alive.is_err() {
                return false;
            }
        }
    }

    /// Gives the lease back, so that another replica takes over at once. Stop acting before.
    pub async fn release(mut self) {
        self.stop.send_replace(true);
        let _ = (&mut self.task).await;
    }
}

impl Drop for LeaseHandle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

struct Runner {
    name: String,
    request: Duration,
    retry: Duration,
    store: Arc<dyn LeaseStore>,
    election: Election,
    leadership: watch::Sender<Leadership>,
    annotations: watch::Sender<BTreeMap<String, String>>,
    fence: Fence,
    wanted: mpsc::Receiver<(String, Option<String>)>,
    failing: bool,
}

impl Runner {
    async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        let mut noting = true;
        loop {
            self.publish();
            let step = self.election.step(now(), Timestamp::now());
            let until = match step {
                Step::Wait(until) => until,
                step => {
                    tokio::select! {
                        () = self.carry_out(step) => {}
                        _ = stopped.wait_for(|stopped| *stopped) => break,
                    }
                    continue;
                }
            };
            tokio::select! {
                () = tokio::time::sleep_until(until.into()) => {}
                note = self.wanted.recv(), if noting => match note {
                    // Whoever asked has been told that we don't lead.
                    Some(_) if !self.election.leadership(now()).leads() => {}
                    Some((key, value)) => self.election.annotate(&key, value.as_deref()),
                    None => noting = false,
                },
                _ = stopped.wait_for(|stopped| *stopped) => break,
            }
        }
        self.release().await;
    }

    async fn carry_out(&mut self, step: Step) {
        let (store, name, sent) = (self.store.clone(), self.name.clone(), now());
        match step {
            Step::Wait(_) => {}
            Step::Read => {
                let read = self.ask(async move { store.get(&name).await }).await;
                self.told(read.as_ref().err());
                self.election.read(read, now());
            }
            Step::Create(lease) => {
                let wrote = self.ask(async move { store.create(*lease).await }).await;
                self.told(wrote.as_ref().err());
                self.election.wrote(wrote, sent, now());
            }
            Step::Update(lease) => {
                let wrote = self.ask(async move { store.update(*lease).await }).await;
                self.told(wrote.as_ref().err());
                self.election.wrote(wrote, sent, now());
            }
        }
    }

    /// Waits for an answer, but never past the end of the leadership without saying so.
    async fn ask<T>(
        &self,
        request: impl Future<Output = Result<T, LeaseError>> + Send,
    ) -> Result<T, LeaseError> {
        let mut request = std::pin::pin!(tokio::time::timeout(self.request, request));
        if let Some(until) = self.fence.until() {
            tokio::select! {
                answer = &mut request => return answer.unwrap_or_else(|_| Err(too_long(self.request))),
                () = tokio::time::sleep_until(until.into()) => self.publish(),
            }
        }
        request.await.unwrap_or_else(|_| Err(too_long(self.request)))
    }

    fn told(&mut self, error: Option<&LeaseError>) {
        match error {
            Some(LeaseError::Failed(error)) if !self.failing => {
                tracing::warn!(
                    lease = self.name,
                    "the lease can't be read or renewed: {error}; trying again"
                );
                self.failing = true;
            }
            None if self.failing => {
                tracing::info!(lease = self.name, "the lease can be read again");
                self.failing = false;
            }
            _ => {}
        }
    }

    fn publish(&self) {
        let leadership = self.election.leadership(now());
        self.fence.set(if leadership.leads() { self.election.valid_until() } else { None });
        let changed =
            self.leadership.send_if_modified(|old| std::mem::replace(old, leadership) != leadership);
        if changed {
            match leadership {
                Leadership::Leading { term } => tracing::info!(lease = self.name, term, "leading"),
                Leadership::Standby => tracing::warn!(lease = self.name, "not leading any more"),
            }
        }
        if let Some(annotations) = self.election.annotations() {
            self.annotations.send_if_modified(|old| {
                let differs = old != annotations;
                if differs {
                    old.clone_from(annotations);
                }
                differs
            });
        }
    }

    async fn release(mut self) {
        self.fence.set(None);
        self.leadership.send_replace(Leadership::Standby);
        let (store, name) = (self.store.clone(), self.name.clone());
        let give_back = async {
            for _ in 0..RELEASES {
                let Some(lease) = self.election.release(Timestamp::now()) else { return };
                match store.update(lease).await {
                    Ok(_) => {
                        tracing::info!(lease = name, "released");
                        return;
                    }
                    // The renewal that was cut off may have been written.
                    Err(_) => self.election.read(store.get(&name).await, now()),
                }
            }
        };
        // Otherwise it runs out by itself.
        let _ = tokio::time::timeout(self.request.min(self.retry * 2), give_back).await;
    }
}

fn too_long(limit: Duration) -> LeaseError {
    LeaseError::Failed(format!("no answer within {limit:?}"))
}
