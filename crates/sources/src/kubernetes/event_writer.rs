//! Kubernetes Events, so that `kubectl describe` tells what went wrong.
//!
//! The same thing said again raises a count, more and more rarely; many things about one object are combined; and
//! whatever is said, requests are limited. Events are a courtesy: what can't be written is forgotten.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::{sync::mpsc, task::JoinHandle};

use super::{annotate::FIELD_MANAGER, limit::RequestLimit};

/// Reasons of Events that we write.
pub mod reasons {
    /// A notification was given up.
    pub const GIVEN_UP: &str = "NotificationGivenUp";
    /// A part of the configuration can't be used.
    pub const CONFIGURATION: &str = "NotificationConfigurationInvalid";
}

/// What an Event is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct About {
    /// Group and version, such as `argoproj.io/v1alpha1`.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Its uid: `kubectl describe` finds Events by it.
    pub uid: String,
}

/// Something to tell about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// The object.
    pub about: About,
    /// One word for machines, such as [`reasons::GIVEN_UP`].
    pub reason: String,
    /// A sentence for people.
    pub message: String,
    /// Whether it is bad news.
    pub warning: bool,
}

impl Happening {
    /// A notification was given up.
    pub fn given_up(about: About, trigger: &str, service: &str, recipient: &str, reason: &str) -> Happening {
        let to = if recipient.is_empty() { service.to_owned() } else { format!("{service}:{recipient}") };
        let message = format!("Notification of trigger {trigger} to {to} was given up: {reason}");
        Happening { about, reason: reasons::GIVEN_UP.into(), message, warning: true }
    }

    /// A part of the configuration, a ConfigMap or Secret, can't be used.
    pub fn configuration(about: About, message: &str) -> Happening {
        let message = message.to_owned();
        Happening { about, reason: reasons::CONFIGURATION.into(), message, warning: true }
    }
}

/// The longest message that the API server takes.
const LONGEST: usize = 1024;

/// Different messages of a reason on an object, before they are combined into one Event.
const DIFFERENT: usize = 5;

/// How long an Event is remembered after it was last told; the API server forgets after an hour.
const REMEMBERED: Duration = Duration::from_secs(50 * 60);

/// Events remembered at a time.
const MOST: usize = 1000;

/// Happenings that wait; more are forgotten.
const WAITING: usize = 256;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Why an Event was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventError {
    /// It is not there any more, or its namespace isn't.
    Gone,
    /// Trying again may help.
    Temporary,
    /// Trying again does not help.
    Refused,
}

/// Where Events are kept.
#[async_trait]
pub trait EventStore: Send + Sync + 'static {
    /// Creates one.
    async fn create(&self, event: Event) -> Result<(), EventError>;
    /// Raises its count.
    async fn raise(
        &self,
        namespace: &str,
        name: &str,
        count: i32,
        last: Timestamp,
        message: &str,
    ) -> Result<(), EventError>;
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    about: About,
    reason: String,
    /// `None` for what is combined.
    message: Option<String>,
}

#[derive(Debug)]
struct Series {
    name: String,
    message: String,
    warning: bool,
    count: i32,
    first: Timestamp,
    last: Timestamp,
    told: Instant,
    created: bool,
    written: i32,
    due: Instant,
    pause: Duration,
}

/// What is to be written, without clock or requests.
#[derive(Default)]
struct Correlator {
    series: HashMap<Key, Series>,
}

#[derive(Clone, Debug, PartialEq)]
enum Write {
    Create(Box<Event>),
    Raise { namespace: String, name: String, count: i32, last: Timestamp, message: String },
}

impl Correlator {
    fn tell(&mut self, happening: Happening, name: impl FnOnce() -> String, now: Instant, wall: Timestamp) {
        let Happening { about, reason, message, warning } = happening;
        let message = cut(&message);
        let mut key = Key { about, reason, message: Some(message.clone()) };
        if !self.series.contains_key(&key) {
            let similar = |other: &&Key| {
                other.about == key.about && other.reason == key.reason && other.message.is_some()
            };
            if self.series.keys().filter(similar).count() >= DIFFERENT {
                key.message = None;
            }
        }
        if !self.series.contains_key(&key) && self.series.len() >= MOST {
            let oldest = self.series.iter().min_by_key(|(_, series)| series.told).map(|(key, _)| key.clone());
            if let Some(oldest) = oldest {
                self.series.remove(&oldest);
            }
        }
        let combined = key.message.is_none();
        let object = key.about.name.clone();
        let series = self.series.entry(key).or_insert_with(|| Series {
            name: event_name(&object, &name()),
            message: String::new(),
            warning,
            count: 0,
            first: wall,
            last: wall,
            told: now,
            created: false,
            written: 0,
            due: now,
            pause: FIRST_PAUSE,
        });
        series.count = series.count.saturating_add(1);
        (series.last, series.told) = (wall, now);
        series.message = match combined {
            true => cut(&format!("(combined from similar events): {message}")),
            false => message,
        };
    }

    fn forget(&mut self, now: Instant) {
        self.series.retain(|_, series| now.saturating_duration_since(series.told) < REMEMBERED);
    }

    /// What is due first, and when.
    fn wake(&self) -> Option<Instant> {
        self.series.values().filter(|series| series.written < series.count).map(|series| series.due).min()
    }

    fn next(&self, now: Instant, component: &str, instance: &str) -> Option<(Key, i32, Write)> {
        let waits = |(_, series): &(&Key, &Series)| series.written < series.count && series.due <= now;
        let (key, series) = self.series.iter().filter(waits).min_by_key(|(_, series)| series.due)?;
        let write = match series.created {
            true => Write::Raise {
                namespace: namespace(&key.about),
                name: series.name.clone(),
                count: series.count,
                last: series.last,
                message: series.message.clone(),
            },
            false => Write::Create(Box::new(event(key, series, component, instance))),
        };
        Some((key.clone(), series.count, write))
    }

    fn wrote(&mut self, key: &Key, count: i32, result: Result<(), EventError>, now: Instant, fresh: String) {
        let Some(series) = self.series.get_mut(key) else { return };
        series.due = now + series.pause;
        series.pause = (series.pause * 2).min(LONGEST_PAUSE);
        match result {
            Ok(()) => (series.created, series.written) = (true, count),
            Err(EventError::Gone) if series.created => {
                // It was forgotten by the server, or deleted.
                (series.created, series.name) = (false, event_name(&key.about.name, &fresh));
            }
            Err(EventError::Temporary) => {}
            Err(EventError::Gone | EventError::Refused) => series.written = series.count,
        }
    }
}

/// At most as long as the server takes it, whole characters, without control characters.
fn cut(message: &str) -> String {
    let mut text: String = message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.len() > LONGEST {
        let end = text.floor_char_boundary(LONGEST - '…'.len_utf8());
        text.truncate(end);
        text.push('…');
    }
    text
}

fn event_name(object: &str, unique: &str) -> String {
    let object: String = object.chars().take(200).collect();
    format!("{}.{unique}", object.trim_end_matches(['.', '-']))
}

/// Events of objects without a namespace live in `default`.
fn namespace(about: &About) -> String {
    if about.namespace.is_empty() { "default".into() } else { about.namespace.clone() }
}

fn event(key: &Key, series: &Series, component: &str, instance: &str) -> Event {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let about = &key.about;
    Event {
        metadata: ObjectMeta {
            name: Some(series.name.clone()),
            namespace: Some(namespace(about)),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: some(&about.api_version),
            kind: some(&about.kind),
            namespace: some(&about.namespace),
            name: some(&about.name),
            uid: some(&about.uid),
            ..ObjectReference::default()
        },
        reason: Some(key.reason.clone()),
        message: Some(series.message.clone()),
        type_: Some(if series.warning { "Warning" } else { "Normal" }.to_owned()),
        count: Some(series.count),
        first_timestamp: Some(Time(series.first)),
        last_timestamp: Some(Time(series.last)),
        source: Some(EventSource { component: Some(component.to_owned()), host: None }),
        reporting_component: Some(component.to_owned()),
        reporting_instance: Some(instance.to_owned()),
        ..Event::default()
    }
}

/// Removes secrets from a text.
pub type Clean = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// Writes Events.
pub struct EventWriter {
    happenings: mpsc::Sender<Happening>,
    clean: Clean,
    task: JoinHandle<()>,
}

impl Drop for EventWriter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The component that Events come from.
pub const COMPONENT: &str = "herald";

impl EventWriter {
    /// Starts writing as this instance; `clean` removes secrets from messages.
    pub fn start(store: Arc<dyn EventStore>, instance: &str, clean: Clean) -> EventWriter {
        let (happenings, waiting) = mpsc::channel(WAITING);
        let task = tokio::spawn(run(store, instance.to_owned(), waiting));
        EventWriter { happenings, clean, task }
    }

    /// Tells something. Never waits: beyond a limit it is forgotten.
    pub fn tell(&self, mut happening: Happening) {
        happening.message = (self.clean)(&happening.message);
        if self.happenings.try_send(happening).is_err() {
            tracing::debug!("too many events at once, one is forgotten");
        }
    }
}

async fn run(store: Arc<dyn EventStore>, instance: String, mut waiting: mpsc::Receiver<Happening>) {
    let mut correlator = Correlator::default();
    let random = RandomState::new();
    let fresh = || format!("{:016x}", random.hash_one(Timestamp::now().as_nanosecond()));
    let now = || tokio::time::Instant::now().into_std();
    loop {
        let wake = correlator.wake();
        let sleep = async {
            match wake {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            happening = waiting.recv() => match happening {
                None => return,
                Some(happening) => {
                    correlator.forget(now());
                    correlator.tell(happening, fresh, now(), Timestamp::now());
                    continue;
                }
            },
            () = sleep => {}
        }
        let Some((key, count, write)) = correlator.next(now(), COMPONENT, &instance) else { continue };
        let written = async {
            match write {
                Write::Create(event) => store.create(*event).await,
                Write::Raise { namespace, name, count, last, message } => {
                    store.raise(&namespace, &name, count, last, &message).await
                }
            }
        };
        let result = tokio::time::timeout(Duration::from_secs(15), written).await;
        correlator.wrote(&key, count, result.unwrap_or(Err(EventError::Temporary)), now(), fresh());
    }
}

/// Events in a cluster.
pub struct KubeEvents {
    client: Client,
    limit: Arc<RequestLimit>,
    /// Events come after everything else.
    own: RequestLimit,
}

impl KubeEvents {
    /// Writes with this client, within this limit, and a lower one for Events.
    pub fn new(client: Client, limit: Arc<RequestLimit>) -> KubeEvents {
        KubeEvents { client, limit, own: RequestLimit::new(5.0, 25) }
    }

    async fn api(&self, namespace: &str) -> Api<Event> {
        self.own.wait().await;
        self.limit.wait().await;
        Api::namespaced(self.client.clone(), namespace)
    }
}

fn failure(error: kube::Error) -> EventError {
    match &error {
        kube::Error::Api(status) => match status.code {
            404 => EventError::Gone,
            408 | 409 | 429 | 500.. => EventError::Temporary,
            _ => {
                tracing::warn!("an event can't be written: {}", status.message);
                EventError::Refused
            }
        },
        _ => EventError::Temporary,
    }
}

#[async_trait]
impl EventStore for KubeEvents {
    async fn create(&self, event: Event) -> Result<(), EventError> {
        let namespace = event.metadata.namespace.clone().unwrap_or_default();
        let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
        self.api(&namespace).await.create(&params, &event).await.map(drop).map_err(failure)
    }

    async fn raise(
        &self,
        namespace: &str,
        name: &str,
        count: i32,
        last: Timestamp,
        message: &str,
    ) -> Result<(), EventError> {
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        let last = Time(last);
        let patch = Patch::Merge(json!({"count": count, "lastTimestamp": last, "message": message}));
        self.api(namespace).await.patch(name, &params, &patch).await.map(drop).map_err(failure)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn about(name: &str) -> About {
        About {
            api_version: "argoproj.io/v1alpha1".into(),
            kind: "Rollout".into(),
            namespace: "shop".into(),
            name: name.into(),
            uid: "1-2-3".into(),
        }
    }

    #[derive(Default)]
    struct Server {
        events: Mutex<HashMap<String, Event>>,
        requests: Mutex<u32>,
    }

    #[async_trait]
    impl EventStore for Server {
        async fn create(&self, event: Event) -> Result<(), EventError> {
            *self.requests.lock().unwrap() += 1;
            self.events.lock().unwrap().insert(event.metadata.name.clone().unwrap(), event);
            Ok(())
        }

        async fn raise(
            &self,
            _: &str,
            name: &str,
            count: i32,
            last: Timestamp,
            message: &str,
        ) -> Result<(), EventError> {
            *self.requests.lock().unwrap() += 1;
            let mut events = self.events.lock().unwrap();
            let event = events.get_mut(name).ok_or(EventError::Gone)?;
            event.count = Some(count);
            event.last_timestamp = Some(Time(last));
            event.message = Some(message.to_owned());
            Ok(())
        }
    }

    impl Server {
        fn events(&self) -> Vec<(String, i32)> {
            let events = self.events.lock().unwrap();
            let mut all: Vec<_> =
                events.values().map(|e| (e.message.clone().unwrap(), e.count.unwrap())).collect();
            all.sort();
            all
        }
    }

    fn writer(server: &Arc<Server>) -> EventWriter {
        let clean: Clean = Arc::new(|text| text.replace("s3cret", "***"));
        EventWriter::start(server.clone(), "herald-0", clean)
    }

    #[tokio::test(start_paused = true)]
    async fn says_who_was_not_told_of_what_and_no_secret() {
        let server = Arc::new(Server::default());
        let writer = writer(&server);
        writer.tell(Happening::given_up(
            about("web"),
            "on-x",
            "slack",
            "ops",
            "channel_not_found for s3cret",
        ));
        tokio::time::sleep(Duration::from_secs(1)).await;
        let events = server.events.lock().unwrap();
        let event = events.values().next().unwrap();
        let wanted = "Notification of trigger on-x to slack:ops was given up: channel_not_found for ***";
        assert_eq!(event.message.as_deref(), Some(wanted));
        assert_eq!(event.reason.as_deref(), Some("NotificationGivenUp"));
        assert_eq!(event.type_.as_deref(), Some("Warning"));
        assert_eq!(event.involved_object.uid.as_deref(), Some("1-2-3"));
        assert_eq!(event.metadata.namespace.as_deref(), Some("shop"));
        assert!(event.metadata.name.as_deref().unwrap().starts_with("web."));
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_again_raises_a_count_more_and_more_rarely() {
        let server = Arc::new(Server::default());
        let writer = writer(&server);
        for _ in 0..600 {
            writer.tell(Happening::given_up(about("web"), "on-x", "slack", "ops", "no"));
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        tokio::time::sleep(Duration::from_secs(600)).await;
        let message = "Notification of trigger on-x to slack:ops was given up: no".to_owned();
        assert_eq!(server.events(), [(message, 600)]);
        let requests = *server.requests.lock().unwrap();
        assert!(requests <= 14, "{requests}");
    }

    #[tokio::test(start_paused = true)]
    async fn many_things_about_one_object_are_combined() {
        let server = Arc::new(Server::default());
        let writer = writer(&server);
        for i in 0..100 {
            writer.tell(Happening::configuration(about("cm"), &format!("template {i}: no")));
            tokio::task::yield_now().await;
        }
        writer.tell(Happening::configuration(about("other"), "template 1: no"));
        tokio::time::sleep(Duration::from_secs(3600)).await;
        let events = server.events();
        assert_eq!(events.len(), 5 + 1 + 1, "{events:?}");
        assert_eq!(events[0], ("(combined from similar events): template 99: no".to_owned(), 95));
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_that_was_forgotten_is_written_anew() {
        let server = Arc::new(Server::default());
        let writer = writer(&server);
        let again = || writer.tell(Happening::configuration(about("cm"), "no"));
        again();
        tokio::time::sleep(Duration::from_secs(60)).await;
        server.events.lock().unwrap().clear();
        again();
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(server.events(), [("no".to_owned(), 2)]);
    }

    #[test]
    fn messages_are_cut_at_characters() {
        assert_eq!(cut("a\nb"), "a b");
        let long = cut(&"ü".repeat(2000));
        assert!(long.len() <= LONGEST && long.ends_with("ü…"), "{}", long.len());
    }
}
