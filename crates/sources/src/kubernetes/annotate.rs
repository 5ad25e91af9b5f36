//! Annotations on objects: what was sent is noted there, and nothing else of theirs is touched.
//!
//! ```no_run
//! # async fn example(client: kube::Client) {
//! use std::sync::Arc;
//! use herald_sources::kubernetes::{
//!     annotate::{KubeAnnotations, PatchOptions, StatePatcher, Target},
//!     limit::RequestLimit,
//!     watch::Resource,
//! };
//!
//! let limit = Arc::new(RequestLimit::new(40.0, 80));
//! let patcher = StatePatcher::start(Arc::new(KubeAnnotations::new(client, limit)), PatchOptions::default());
//! let rollouts = Resource::new("argoproj.io", "v1alpha1", "rollouts", "Rollout");
//! let target = Target {
//!     resource: Arc::new(rollouts),
//!     namespace: "shop".into(),
//!     name: "web".into(),
//!     uid: "1-2-3".into(),
//! };
//! patcher.wish(target, [("notified.notifications.argoproj.io".to_owned(), Some("{}".to_owned()))]);
//! patcher.flush(std::time::Duration::from_secs(5)).await;
//! # }
//! ```

mod pace;

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use kube::Client;
use serde_json::json;
use tokio::{
    sync::{Notify, watch},
    task::{JoinHandle, JoinSet},
};

pub use self::pace::Busy;
use self::pace::Pace;
use super::{limit::RequestLimit, watch::Resource};

/// Who we are to the API server.
pub const FIELD_MANAGER: &str = "herald";

/// What is asked for as the answer to a patch: the least that there is.
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

/// Annotations to write; `None` takes one away.
pub type Annotations = BTreeMap<String, Option<String>>;

/// An object, this one and not a later one of its name.
#[derive(Clone, Debug)]
pub struct Target {
    /// What it is.
    pub resource: Arc<Resource>,
    /// Its namespace; empty for objects of the cluster.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid. If another object has the name by now, nothing is written.
    pub uid: String,
}

/// Why annotations were not written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The object is gone, or another one has its name.
    #[error("the object is gone")]
    Gone,
    /// Trying again may help.
    #[error("{message}")]
    Temporary {
        /// What happened.
        message: String,
        /// When the server wishes to be asked again.
        retry_after: Option<Duration>,
    },
    /// Trying again does not help.
    #[error("{0}")]
    Refused(String),
}

/// Writes annotations of an object.
#[async_trait]
pub trait AnnotationWriter: Send + Sync + 'static {
    /// Writes these, and touches no others.
    async fn patch(&self, target: &Target, annotations: &Annotations) -> Result<(), PatchError>;
}

/// Is told how it goes.
pub trait PatchObserver: Send + Sync + 'static {
    /// A patch ended, as `written`, `gone`, `retried`, `refused` or `dropped`.
    fn patched(&self, _target: &Target, _outcome: &'static str, _took: Duration) {}
}

impl PatchObserver for () {}

/// How annotations are written.
#[derive(Clone)]
pub struct PatchOptions {
    /// Wishes for an object are collected so long before they are written.
    pub window: Duration,
    /// Patches at a time.
    pub concurrency: usize,
    /// No patch takes longer.
    pub timeout: Duration,
    /// Attempts before a patch is given up; the next wish for the object begins anew.
    pub attempts: u32,
    /// Patches trail behind: one at a time while this says that something is more urgent, and with rests where the API
    /// server is slow. `None` where others act by what is written, so that it has to be there soon.
    pub trailing: Option<Busy>,
    /// Asked right before a patch is sent; if it says no, the wish is dropped: another replica sees to the object.
    pub allowed: Arc<dyn Fn(&Target) -> bool + Send + Sync>,
    /// Is told how it goes.
    pub observer: Arc<dyn PatchObserver>,
}

impl Default for PatchOptions {
    fn default() -> Self {
        PatchOptions {
            window: Duration::from_millis(200),
            concurrency: 8,
            timeout: Duration::from_secs(15),
            attempts: 12,
            trailing: None,
            allowed: Arc::new(|_| true),
            observer: Arc::new(()),
        }
    }
}

/// Patches at a time of what nobody waits for.
const LEISURE: usize = 2;

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// By kind, namespace, name and uid.
type Key = (String, String, String, String);

struct Wish {
    target: Target,
    wanted: Annotations,
    due: Instant,
    attempts: u32,
    in_flight: bool,
    /// Others go first.
    leisurely: bool,
}

/// What is to be written, without clock or requests.
#[derive(Default)]
struct Wishes {
    all: BTreeMap<Key, Wish>,
    due: BTreeSet<(Instant, Key)>,
    leisure: BTreeSet<(Instant, Key)>,
}

impl Wishes {
    fn add(&mut self, target: Target, annotations: Annotations, due: Instant, leisurely: bool) {
        let kind = target.resource.path(None);
        let key = (kind, target.namespace.clone(), target.name.clone(), target.uid.clone());
        let new = Wish { target, wanted: Annotations::new(), due, attempts: 0, in_flight: false, leisurely };
        let wish = self.all.entry(key.clone()).or_insert(new);
        wish.wanted.extend(annotations);
        // What waits for its turn waits no longer because of more wishes, nor does what is being retried.
        if wish.leisurely && !leisurely {
            wish.leisurely = false;
            self.leisure.remove(&(wish.due, key.clone()));
        }
        self.queue(key);
    }

    fn queue(&mut self, key: Key) {
        let Some(wish) = self.all.get(&key).filter(|wish| !wish.in_flight) else { return };
        let queue = if wish.leisurely { &mut self.leisure } else { &mut self.due };
        queue.insert((wish.due, key));
    }

    /// The next object to write to, if one is due. With `leisure`, also what others go before.
    fn next(&mut self, now: Instant, leisure: bool) -> Option<(Key, Target, Annotations, bool)> {
        let is_due = |queue: &BTreeSet<(Instant, Key)>| queue.first().is_some_and(|(due, _)| *due <= now);
        let (_, key) = if is_due(&self.due) {
            self.due.pop_first()?
        } else if leisure && is_due(&self.leisure) {
            self.leisure.pop_first()?
        } else {
            return None;
        };
        let wish = self.all.get_mut(&key)?;
        wish.in_flight = true;
        Some((key, wish.target.clone(), std::mem::take(&mut wish.wanted), wish.leisurely))
    }

    /// What is only being collected is due now. What is being retried is not.
    fn hurry(&mut self, now: Instant) {
        for (key, wish) in &mut self.all {
            let old = (wish.due, key.clone());
            if !wish.in_flight && wish.attempts == 0 && (self.due.remove(&old) || self.leisure.remove(&old)) {
                (wish.due, wish.leisurely) = (now, false);
                self.due.insert((now, key.clone()));
            }
        }
    }

    fn wake(&self, leisure: bool) -> Option<Instant> {
        let later = self.leisure.first().filter(|_| leisure);
        self.due.first().into_iter().chain(later).map(|(due, _)| *due).min()
    }

    /// It is done, or will never be.
    fn settled(&mut self, key: &Key, next: Instant) {
        let Some(wish) = self.all.get_mut(key) else { return };
        if wish.wanted.is_empty() {
            self.all.remove(key);
            return;
        }
        // More was wanted meanwhile.
        (wish.in_flight, wish.attempts, wish.due) = (false, 0, next);
        self.queue(key.clone());
    }

    /// It failed; newer wishes go before those that were sent. Gives whether it is tried again.
    fn failed(
        &mut self,
        key: &Key,
        sent: Annotations,
        pause: impl Fn(u32) -> Duration,
        now: Instant,
        most: u32,
    ) -> bool {
        let Some(wish) = self.all.get_mut(key) else { return false };
        wish.attempts += 1;
        if wish.attempts >= most {
            self.settled(key, now);
            return false;
        }
        for (annotation, value) in sent {
            wish.wanted.entry(annotation).or_insert(value);
        }
        (wish.in_flight, wish.due) = (false, now + pause(wish.attempts));
        self.queue(key.clone());
        true
    }
}

struct Shared {
    wishes: Mutex<Wishes>,
    changed: Notify,
    waiting: watch::Sender<usize>,
    hurrying: AtomicBool,
}

impl Shared {
    fn wishes(&self) -> MutexGuard<'_, Wishes> {
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self) {
        let waiting = self.wishes().all.len();
        self.waiting.send_if_modified(|old| std::mem::replace(old, waiting) != waiting);
    }
}

/// Writes annotations: all wishes for an object in one patch, one patch of an object at a time, again after a failure.
pub struct StatePatcher {
    shared: Arc<Shared>,
    window: Duration,
    task: JoinHandle<()>,
}

impl Drop for StatePatcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl StatePatcher {
    /// Starts writing.
    pub fn start(writer: Arc<dyn AnnotationWriter>, options: PatchOptions) -> StatePatcher {
        let shared = Arc::new(Shared {
            wishes: Mutex::default(),
            changed: Notify::new(),
            waiting: watch::Sender::new(0),
            hurrying: AtomicBool::new(false),
        });
        let window = options.window;
        let task = tokio::spawn(run(shared.clone(), writer, options));
        StatePatcher { shared, window, task }
    }

    /// Wants annotations on an object, or none (`None`). Of several wishes for the same annotation the last one counts.
    pub fn wish(&self, target: Target, annotations: impl IntoIterator<Item = (String, Option<String>)>) {
        self.add(target, annotations.into_iter().collect(), false);
    }

    /// The same for what nobody waits for: it goes behind all other wishes, a few at a time.
    pub fn wish_at_leisure(
        &self,
        target: Target,
        annotations: impl IntoIterator<Item = (String, Option<String>)>,
    ) {
        self.add(target, annotations.into_iter().collect(), true);
    }

    fn add(&self, target: Target, annotations: Annotations, leisurely: bool) {
        self.shared.wishes().add(target, annotations, now() + self.window, leisurely);
        self.shared.count();
        self.shared.changed.notify_one();
    }

    /// Objects with wishes that are not written yet; changes as they are.
    pub fn waiting(&self) -> watch::Receiver<usize> {
        self.shared.waiting.subscribe()
    }

    /// Writes what waits without further delay; gives how many objects could not be written to in this time.
    pub async fn flush(&self, limit: Duration) -> usize {
        self.shared.wishes().hurry(now());
        self.shared.hurrying.store(true, Ordering::Relaxed);
        self.shared.changed.notify_one();
        let mut waiting = self.waiting();
        let _ = tokio::time::timeout(limit, waiting.wait_for(|waiting| *waiting == 0)).await;
        *waiting.borrow()
    }
}

struct Flight {
    key: Key,
    target: Target,
    sent: Annotations,
    result: Result<(), PatchError>,
    took: Duration,
    leisurely: bool,
}

async fn run(shared: Arc<Shared>, writer: Arc<dyn AnnotationWriter>, options: PatchOptions) {
    let mut flights: JoinSet<Flight> = JoinSet::new();
    let random = RandomState::new();
    let mut leisurely_flights = 0;
    let mut pace = Pace::new(options.concurrency, options.trailing.clone());
    loop {
        if shared.hurrying.load(Ordering::Relaxed) {
            pace.hurry();
        }
        while pace.has_room(flights.len()) {
            let next = shared.wishes().next(now(), leisurely_flights < LEISURE);
            let Some((key, target, sent, leisurely)) = next else { break };
            if !(options.allowed)(&target) {
                options.observer.patched(&target, "dropped", Duration::ZERO);
                let mut wishes = shared.wishes();
                wishes.all.remove(&key);
                drop(wishes);
                shared.count();
                continue;
            }
            leisurely_flights += usize::from(leisurely);
            let (writer, timeout) = (writer.clone(), options.timeout);
            flights.spawn(async move {
                let began = now();
                let patch = tokio::time::timeout(timeout, writer.patch(&target, &sent));
                let late = |_| {
                    Err(PatchError::Temporary {
                        message: format!("no answer within {timeout:?}"),
                        retry_after: None,
                    })
                };
                let result = patch.await.unwrap_or_else(late);
                let took = now().saturating_duration_since(began);
                Flight { key, target, sent, result, took, leisurely }
            });
        }
        let room = pace.has_room(flights.len());
        let wake = if room { shared.wishes().wake(leisurely_flights < LEISURE) } else { None };
        let sleep = async {
            match wake {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(landed) = flights.join_next() => {
                if let Ok(flight) = landed {
                    leisurely_flights -= usize::from(flight.leisurely);
                    pace.landed(flight.took);
                    land(&shared, flight, &options, &random);
                    shared.count();
                }
            }
            () = pace.rested() => {}
            () = shared.changed.notified() => {}
            () = sleep => {}
        }
    }
}

fn land(shared: &Shared, flight: Flight, options: &PatchOptions, random: &RandomState) {
    let Flight { key, target, sent, result, took, .. } = flight;
    let what = || format!("{} {}/{}", target.resource.kind, target.namespace, target.name);
    let outcome = match result {
        Ok(()) => {
            shared.wishes().settled(&key, now() + options.window);
            "written"
        }
        Err(PatchError::Gone) => {
            tracing::debug!(object = what(), "the object is gone, nothing is noted on it");
            // Whatever else is wanted of it can't be written either.
            shared.wishes().all.remove(&key);
            "gone"
        }
        Err(PatchError::Refused(message)) => {
            tracing::warn!(object = what(), "the annotations can't be written: {message}");
            shared.wishes().settled(&key, now() + options.window);
            "refused"
        }
        Err(PatchError::Temporary { message, retry_after }) => {
            let jitter = random.hash_one((&key, now())) % 1000;
            let pause = |attempt: u32| {
                let planned = FIRST_PAUSE * 2_u32.saturating_pow(attempt.saturating_sub(1).min(16));
                let planned = planned.min(LONGEST_PAUSE);
                // Between half of it and all of it.
                let planned = planned.mul_f64(0.5 + f64::from(u32::try_from(jitter).unwrap_or(0)) / 2000.0);
                retry_after.map_or(planned, |wished| wished.min(LONGEST_PAUSE).max(planned))
            };
            let again = shared.wishes().failed(&key, sent, pause, now(), options.attempts);
            if again {
                tracing::debug!(object = what(), "the annotations can't be written yet: {message}");
                "retried"
            } else {
                tracing::warn!(
                    object = what(),
                    "the annotations can't be written, tried often enough: {message}"
                );
                "refused"
            }
        }
    };
    options.observer.patched(&target, outcome, took);
}

/// Annotations in a cluster.
pub struct KubeAnnotations {
    client: Client,
    limit: Arc<RequestLimit>,
}

impl KubeAnnotations {
    /// Writes with this client, within this limit.
    pub fn new(client: Client, limit: Arc<RequestLimit>) -> KubeAnnotations {
        KubeAnnotations { client, limit }
    }
}

/// The patch: these annotations, and the uid, which the server compares.
fn body(target: &Target, annotations: &Annotations) -> serde_json::Value {
    json!({"metadata": {"uid": target.uid, "annotations": annotations}})
}

fn failure(error: kube::Error) -> PatchError {
    let kube::Error::Api(status) = &error else {
        return PatchError::Temporary { message: error.to_string(), retry_after: None };
    };
    let about_uid =
        || status.message.contains("metadata.uid") || status.message.contains("UID in precondition");
    match status.code {
        404 => PatchError::Gone,
        409 | 422 if about_uid() => PatchError::Gone,
        // Rights may be granted later, so they are worth another attempt.
        401 | 403 | 408 | 409 | 429 | 500.. => PatchError::Temporary {
            message: status.message.clone(),
            retry_after: status
                .details
                .as_ref()
                .map(|details| details.retry_after_seconds)
                .filter(|seconds| *seconds > 0)
                .map(|seconds| Duration::from_secs(seconds.into())),
        },
        _ => PatchError::Refused(status.message.clone()),
    }
}

/// The request: only the metadata comes back, and nobody reads it.
fn request(target: &Target, annotations: &Annotations) -> Result<http::Request<Vec<u8>>, PatchError> {
    let namespace = (!target.namespace.is_empty()).then_some(target.namespace.as_str());
    let path = format!("{}/{}?fieldManager={FIELD_MANAGER}", target.resource.path(namespace), target.name);
    http::Request::patch(path)
        .header(http::header::ACCEPT, METADATA)
        .header(http::header::CONTENT_TYPE, "application/merge-patch+json")
        .body(body(target, annotations).to_string().into_bytes())
        .map_err(|error| PatchError::Refused(format!("{} can't be asked for: {error}", target.name)))
}

#[async_trait]
impl AnnotationWriter for KubeAnnotations {
    async fn patch(&self, target: &Target, annotations: &Annotations) -> Result<(), PatchError> {
        self.limit.wait().await;
        let request = request(target, annotations)?;
        self.client.request_text(request).await.map(drop).map_err(failure)
    }
}

#[cfg(test)]
mod tests;
