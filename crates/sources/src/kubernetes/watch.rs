//! Watching one kind of object: a list in pages, then its changes, for ever.
//!
//! Objects stream through: nothing is kept here but the version to go on from. Whatever goes wrong ends in going on,
//! with a new list where the server has forgotten the version (410).

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::AsyncBufReadExt as _;
use herald_value::{
    Value,
    json::{Decoder, Numbers},
};
use kube::Client;
use tokio::sync::{Notify, mpsc};

use super::backoff::Backoff;

/// A kind of object, as the API server knows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Resource {
    /// Its group; empty for the core one.
    pub group: String,
    /// Its version.
    pub version: String,
    /// Its plural name in paths.
    pub plural: String,
    /// Its kind.
    pub kind: String,
}

impl Resource {
    /// A kind, with its plural name.
    pub fn new(group: &str, version: &str, plural: &str, kind: &str) -> Resource {
        Resource { group: group.into(), version: version.into(), plural: plural.into(), kind: kind.into() }
    }

    /// The path of its objects, in a namespace or in all of them.
    pub fn path(&self, namespace: Option<&str>) -> String {
        let root = if self.group.is_empty() { "/api" } else { "/apis/" };
        let namespaces = namespace.map(|name| format!("/namespaces/{name}")).unwrap_or_default();
        format!("{root}{}/{}{namespaces}/{}", self.group, self.version, self.plural)
    }

    /// Group and version as objects write them.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dot = if self.group.is_empty() { "" } else { "." };
        write!(f, "{}{dot}{}", self.plural, self.group)
    }
}

/// Which objects of a kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// One namespace, or all.
    pub namespace: Option<String>,
    /// A label selector.
    pub labels: Option<String>,
    /// A field selector.
    pub fields: Option<String>,
}

/// What is heard of the objects of a kind.
#[derive(Debug)]
pub enum Heard {
    /// A list begins: what is not in it once it is complete is gone. It may begin again before it is complete.
    Listing,
    /// A part of a list.
    Listed(Vec<Value>),
    /// The list is complete. `whole` is false where the kind does not exist, or may not be read.
    Synced {
        /// Whether objects could be read at all.
        whole: bool,
    },
    /// An object is new or different.
    Changed(Value),
    /// An object is gone; as it was last.
    Deleted(Value),
}

/// Why asking failed.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The server has forgotten the version.
    #[error("the server has forgotten the version")]
    Expired,
    /// A new list was asked for.
    #[error("a new list was asked for")]
    Asked,
    /// There is no such kind.
    #[error("the kind {0} does not exist in this cluster")]
    NoSuchKind(String),
    /// It may not be read.
    #[error("{0}")]
    Forbidden(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// Is told how it goes.
pub trait WatchObserver: Send + Sync + 'static {
    /// A list was asked for.
    fn listed(&self, _resource: &Resource) {}
    /// A watch had to be begun again, and why.
    fn restarted(&self, _resource: &Resource, _why: &str) {}
    /// Something was heard: the loop is alive.
    fn alive(&self) {}
}

impl WatchObserver for () {}

/// One kind to watch.
#[derive(Clone)]
pub struct Watch {
    /// The connection.
    pub client: Client,
    /// The kind.
    pub resource: Resource,
    /// Which objects.
    pub selection: Selection,
    /// Objects in a page of a list.
    pub page: u32,
    /// Asks for a new list.
    pub again: Arc<Notify>,
    /// Is told how it goes.
    pub observer: Arc<dyn WatchObserver>,
}

/// The longest line of a watch: an object has at most 3 MiB.
const LONGEST_LINE: usize = 16 << 20;

/// How long a kind that doesn't exist, or may not be read, is left alone.
const ABSENT: Duration = Duration::from_secs(60);

impl Watch {
    /// Tells what is heard until the receiver is dropped.
    pub async fn run(self, tell: mpsc::Sender<Heard>) {
        let mut backoff = Backoff::default();
        let mut decoder = Decoder::new(Numbers::Kubernetes);
        let (mut absent, mut said) = (Duration::from_millis(500), String::new());
        while !tell.is_closed() {
            let began = Instant::now();
            match self.list_and_watch(&tell, &mut backoff, &mut decoder).await {
                Ok(()) => return,
                Err(WatchError::Asked) => {}
                Err(WatchError::Expired) => {
                    self.observer.restarted(&self.resource, "expired");
                    if self.pause(backoff.next(), &tell).await {
                        return;
                    }
                }
                Err(error @ (WatchError::NoSuchKind(_) | WatchError::Forbidden(_))) => {
                    let why = error.to_string();
                    if std::mem::replace(&mut said, why.clone()) != why {
                        tracing::warn!(kind = %self.resource, "not watched for now: {why}");
                    }
                    self.observer.restarted(&self.resource, "unreadable");
                    // A server that is starting may not know everything yet.
                    absent = (absent * 2).min(ABSENT);
                    if tell.send(Heard::Synced { whole: false }).await.is_err()
                        || self.pause(absent, &tell).await
                    {
                        return;
                    }
                }
                Err(WatchError::Other(why)) => {
                    if began.elapsed() > Duration::from_secs(60) {
                        backoff = Backoff::default();
                    }
                    let wait = backoff.next();
                    tracing::warn!(kind = %self.resource, "{why}; asking again in {wait:.1?}");
                    self.observer.restarted(&self.resource, "failed");
                    if self.pause(wait, &tell).await {
                        return;
                    }
                }
            }
        }
    }

    /// Waits, less long if a new list is asked for; true once nobody listens.
    async fn pause(&self, wait: Duration, tell: &mpsc::Sender<Heard>) -> bool {
        tokio::select! {
            () = tokio::time::sleep(wait) => false,
            () = self.again.notified() => false,
            () = tell.closed() => true,
        }
    }

    /// `Ok` once nobody listens any more.
    async fn list_and_watch(
        &self,
        tell: &mpsc::Sender<Heard>,
        backoff: &mut Backoff,
        decoder: &mut Decoder,
    ) -> Result<(), WatchError> {
        if tell.send(Heard::Listing).await.is_err() {
            return Ok(());
        }
        let mut version = String::new();
        let mut after = String::new();
        loop {
            let (objects, next, at) = self.page(&after, decoder).await?;
            self.observer.alive();
            version = if version.is_empty() { at } else { version };
            if tell.send(Heard::Listed(objects)).await.is_err() {
                return Ok(());
            }
            after = next;
            if after.is_empty() {
                break;
            }
        }
        if tell.send(Heard::Synced { whole: true }).await.is_err() {
            return Ok(());
        }
        loop {
            let began = Instant::now();
            let mut heard = false;
            let watched = tokio::select! {
                watched = self.watch(&mut version, tell, &mut heard, decoder) => watched,
                () = self.again.notified() => return Err(WatchError::Asked),
                () = tell.closed() => return Ok(()),
            };
            // Whatever it was, it is over.
            if heard || began.elapsed() > Duration::from_secs(60) {
                *backoff = Backoff::default();
            }
            match watched {
                // A server that ends watches at once is not asked without a pause.
                Ok(true) if heard || began.elapsed() > Duration::from_secs(1) => {}
                Ok(true) => tokio::time::sleep(backoff.next()).await,
                Ok(false) => return Ok(()),
                Err(WatchError::Other(why)) => {
                    let wait = backoff.next();
                    tracing::debug!(kind = %self.resource, "watch: {why}; going on in {wait:.1?}");
                    self.observer.restarted(&self.resource, "interrupted");
                    tokio::time::sleep(wait).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn request(&self, parameters: &[(&str, &str)]) -> Result<http::Request<Vec<u8>>, WatchError> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let selectors =
            [("labelSelector", &self.selection.labels), ("fieldSelector", &self.selection.fields)];
        for (name, selector) in selectors {
            if let Some(selector) = selector {
                query.append_pair(name, selector);
            }
        }
        query.extend_pairs(parameters);
        let path = self.resource.path(self.selection.namespace.as_deref());
        http::Request::get(format!("{path}?{}", query.finish()))
            .header(http::header::ACCEPT, "application/json")
            .body(Vec::new())
            .map_err(|e| WatchError::Other(format!("can't ask for {}: {e}", self.resource)))
    }

    /// A page: its objects, where the next one begins, and the list's version.
    async fn page(
        &self,
        after: &str,
        decoder: &mut Decoder,
    ) -> Result<(Vec<Value>, String, String), WatchError> {
        let limit = self.page.to_string();
        let mut asked = vec![("limit", limit.as_str())];
        if !after.is_empty() {
            asked.push(("continue", after));
        }
        let request = self.request(&asked)?;
        self.observer.listed(&self.resource);
        let asked = self.client.request_text(request);
        let text = tokio::time::timeout(Duration::from_secs(60), asked)
            .await
            .map_err(|_| WatchError::Other(format!("a list of {} took over a minute", self.resource)))?
            .map_err(|e| self.failure(e))?;
        let list = decoder
            .decode(text.as_bytes())
            .map_err(|e| WatchError::Other(format!("the list of {} is no JSON: {e}", self.resource)))?;
        drop(text);
        let meta =
            |key: &str| list.path(&["metadata", key]).and_then(Value::as_str).unwrap_or_default().to_owned();
        let items = list.get("items").and_then(Value::as_list).unwrap_or_default();
        let objects = items.iter().map(|object| self.named(object)).collect();
        Ok((objects, meta("continue"), meta("resourceVersion")))
    }

    /// Built-in kinds don't say in a list what they are.
    fn named(&self, object: &Value) -> Value {
        let Some(map) = object.as_map().filter(|map| map.get("kind").is_none()) else {
            return object.clone();
        };
        let named = map.with("kind".into(), Value::str(self.resource.kind.as_str()));
        let named =
            named.and_then(|map| map.with("apiVersion".into(), Value::str(self.resource.api_version())));
        named.map_or_else(|_| object.clone(), |map| Value::Map(map.into()))
    }

    /// Hears changes until the server ends the watch, as it does every few minutes; false once nobody listens.
    async fn watch(
        &self,
        version: &mut String,
        tell: &mpsc::Sender<Heard>,
        any: &mut bool,
        decoder: &mut Decoder,
    ) -> Result<bool, WatchError> {
        let seconds = (240 + Backoff::jitter(50)).to_string();
        let request = self.request(&[
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("timeoutSeconds", &seconds),
            ("resourceVersion", version),
        ])?;
        let stream = self.client.request_stream(request).await.map_err(|e| self.failure(e))?;
        let mut stream = std::pin::pin!(stream);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = read_line(&mut stream, &mut line).await;
            read.map_err(|e| WatchError::Other(format!("the watch of {} broke off: {e}", self.resource)))?;
            if line.is_empty() {
                return Ok(true);
            }
            self.observer.alive();
            let event = decoder
                .decode(&line)
                .map_err(|_| WatchError::Other(format!("the watch of {} broke off", self.resource)))?;
            let object = event.get("object").cloned().unwrap_or(Value::Nil);
            let at = object.path(&["metadata", "resourceVersion"]).and_then(Value::as_str);
            let at = at.unwrap_or_default().to_owned();
            let heard = match event.get("type").and_then(Value::as_str) {
                Some("ADDED" | "MODIFIED") => Some(Heard::Changed(object)),
                Some("DELETED") => Some(Heard::Deleted(object)),
                Some("BOOKMARK") => None,
                _ => return Err(self.told(&object)),
            };
            *any = true;
            if let Some(heard) = heard
                && tell.send(heard).await.is_err()
            {
                return Ok(false);
            }
            if !at.is_empty() {
                *version = at;
            }
        }
    }

    /// What an error in a watch says.
    fn told(&self, status: &Value) -> WatchError {
        let code = status.get("code").and_then(Value::as_i64);
        let message = status.get("message").and_then(Value::as_str).unwrap_or("no message");
        match code {
            Some(410 | 504) => WatchError::Expired,
            _ => WatchError::Other(format!("the watch of {} ended: {message}", self.resource)),
        }
    }

    fn failure(&self, error: kube::Error) -> WatchError {
        let kube::Error::Api(status) = &error else {
            return WatchError::Other(format!("can't read {}: {error}", self.resource));
        };
        match status.code {
            410 => WatchError::Expired,
            404 => WatchError::NoSuchKind(self.resource.to_string()),
            401 | 403 => WatchError::Forbidden(format!(
                "{}; see the roles in deploy/ for what Herald needs",
                status.message
            )),
            _ => WatchError::Other(format!("can't read {}: {}", self.resource, status.message)),
        }
    }
}

async fn read_line(
    stream: &mut (impl futures::AsyncBufRead + Unpin),
    line: &mut Vec<u8>,
) -> std::io::Result<()> {
    loop {
        let (used, done) = {
            let available = stream.fill_buf().await?;
            if available.is_empty() {
                return Ok(());
            }
            let end = available.iter().position(|byte| *byte == b'\n');
            let part = available.get(..end.unwrap_or(available.len())).unwrap_or_default();
            line.extend_from_slice(part);
            (part.len() + usize::from(end.is_some()), end.is_some())
        };
        stream.consume_unpin(used);
        if done && !line.is_empty() {
            return Ok(());
        }
        if line.len() > LONGEST_LINE {
            return Err(std::io::Error::other("an object of more than 16 MiB"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_api() {
        let rollouts = Resource::new("argoproj.io", "v1alpha1", "rollouts", "Rollout");
        assert_eq!(rollouts.path(Some("shop")), "/apis/argoproj.io/v1alpha1/namespaces/shop/rollouts");
        assert_eq!(rollouts.api_version(), "argoproj.io/v1alpha1");
        let secrets = Resource::new("", "v1", "secrets", "Secret");
        assert_eq!(secrets.path(None), "/api/v1/secrets");
        assert_eq!(
            (secrets.to_string(), rollouts.to_string()),
            ("secrets".into(), "rollouts.argoproj.io".into())
        );
    }

    #[tokio::test]
    async fn lines_come_whole_and_a_broken_one_is_seen() {
        let mut input = futures::io::Cursor::new(b"{\"a\":1}\n\n{\"b\":2}\n{\"c\"".to_vec());
        let mut lines = Vec::new();
        loop {
            let mut line = Vec::new();
            read_line(&mut input, &mut line).await.unwrap();
            if line.is_empty() {
                break;
            }
            lines.push(String::from_utf8(line).unwrap());
        }
        assert_eq!(lines, ["{\"a\":1}", "{\"b\":2}", "{\"c\""]);
    }
}
