//! Streams and buckets: made where they are missing, and what is read and written there.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_nats::{
    Client,
    connection::State,
    jetstream::{
        self, Context,
        consumer::{AckPolicy, DeliverPolicy, pull},
        context::{GetStreamErrorKind, KeyValueErrorKind},
        kv,
        message::PublishMessage,
        stream::{self, DirectGetErrorKind, RetentionPolicy, StorageType, Stream},
    },
};
use bytes::Bytes;
use futures::{StreamExt as _, stream::FuturesOrdered};

use super::{
    NatsAddress,
    presence::{self, Presence},
    record::Record,
};
use crate::{OutboxError, Retention};

/// NATS answers within this time, or it counts as away.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);

/// How often whoever waits for the connection looks for it.
const LOOK: Duration = Duration::from_millis(50);

/// A notice that is published again within this time is recognised by the server itself; later by its history.
const DUPLICATES: Duration = Duration::from_secs(2 * 3600);

/// A claim that isn't renewed for this time is void.
pub(super) const LEASE: Duration = Duration::from_secs(6);

/// Requests on their way at once.
pub(super) const AT_ONCE: usize = 256;

/// Everything of an outbox at a NATS server.
#[derive(Clone)]
pub(super) struct Stores {
    pub(super) context: Context,
    /// What waits.
    pub(super) due: Stream<stream::Info>,
    pub(super) state: kv::Store,
    pub(super) handles: kv::Store,
    /// What is known of notices beside the stream: attempts, and how they ended.
    pub(super) history: kv::Store,
    /// Dead letters, which are never pruned.
    pub(super) dead: kv::Store,
    /// Which worker delivers which partition.
    pub(super) leases: kv::Store,
    pub(super) partitions: u32,
    pub(super) presence: Arc<Presence>,
    prefix: String,
    address: String,
}

impl Stores {
    pub(super) async fn open(address: &NatsAddress, make: bool) -> Result<Stores, OutboxError> {
        let name = address.to_string();
        let failed = |error: &dyn std::fmt::Display| OutboxError::Nats {
            address: name.clone(),
            reason: error.to_string(),
        };
        let options = address
            .options()
            .await?
            .name("herald")
            .connection_timeout(TIMEOUT)
            .request_timeout(Some(TIMEOUT));
        // Whoever waits for it asks again anyway: it is there soon after the server is.
        let options = options.reconnect_delay_callback(|attempts| {
            Duration::from_millis(u64::try_from(attempts).unwrap_or(u64::MAX).saturating_mul(100).min(1000))
        });
        let presence = Arc::new(Presence::default());
        let told = presence.clone();
        let options = options.event_callback(move |event| {
            presence::heard(&told, &event);
            std::future::ready(())
        });
        let client = options.connect(address.servers()).await.map_err(|error| {
            failed(&format!("no connection: {error}; look whether the server runs and lets us in"))
        })?;
        let context = jetstream::ContextBuilder::new().timeout(TIMEOUT).build(client);
        let prefix = &address.prefix;
        let due = stream_of(&context, address, make).await.map_err(|error| failed(&error))?;
        let partitions =
            due.cached_info().config.metadata.get("partitions").and_then(|text| text.parse().ok());
        let partitions = partitions.ok_or_else(|| {
            failed(&format!(
                "the stream {prefix}-due was not made by Herald; choose another prefix with ?prefix=NAME"
            ))
        })?;
        let retention = Retention::default();
        let config = |name: &str, max_age: Duration, max_bytes: i64| kv::Config {
            bucket: format!("{prefix}-{name}"),
            history: 1,
            max_age,
            max_bytes,
            storage: StorageType::File,
            num_replicas: address.replicas,
            ..kv::Config::default()
        };
        let bytes = i64::try_from(retention.bytes).unwrap_or(-1);
        let open = |config: kv::Config| bucket(&context, config, make);
        let buckets = async {
            Ok::<_, String>(Stores {
                state: open(config("state", Duration::ZERO, -1)).await?,
                handles: open(config("handles", Duration::ZERO, -1)).await?,
                history: open(config("history", retention.age, bytes)).await?,
                dead: open(config("dead", Duration::ZERO, -1)).await?,
                // A bucket in memory would be gone after a restart of the server.
                leases: open(config("leases", LEASE, -1)).await?,
                context: context.clone(),
                due,
                partitions,
                presence: presence.clone(),
                prefix: prefix.clone(),
                address: name.clone(),
            })
        };
        buckets.await.map_err(|error| failed(&error))
    }

    pub(super) fn failed(&self, error: impl std::fmt::Display) -> OutboxError {
        self.presence.doubt();
        let away = match self.client().connection_state() {
            State::Connected => "",
            _ => "; the connection is lost, it is tried again until the server is back",
        };
        OutboxError::Nats { address: self.address.clone(), reason: format!("{error}{away}") }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Waits for the connection, not for long. What is asked without one would stand in line, and be written long after
    /// whoever asked gave up.
    pub(super) async fn there(&self) -> Result<(), OutboxError> {
        let client = self.client();
        let connected = async {
            while client.connection_state() != State::Connected {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(TIMEOUT, connected).await.map_err(|_| self.failed("no answer"))
    }

    /// Whether everything answers that notices need, and writes.
    pub(super) async fn probe(&self, worker: &str) -> Result<(), String> {
        if self.client().connection_state() != State::Connected {
            return Err("no connection".into());
        }
        for stream in [&self.due, &self.history.stream, &self.state.stream] {
            stream.get_info().await.map_err(|error| format!("JetStream doesn't answer: {error}"))?;
        }
        let written = self.leases.put(format!("probe.{worker}"), Bytes::new()).await;
        written.map(drop).map_err(|error| format!("JetStream doesn't store: {error}"))
    }

    pub(super) fn client(&self) -> Client {
        self.context.client()
    }

    pub(super) fn subject(&self, partition: u32) -> String {
        format!("{}.due.{partition}", self.prefix)
    }

    /// Publishes in order; gives, for each, whether it was new.
    pub(super) async fn publish(
        &self,
        messages: Vec<(u32, String, Bytes)>,
    ) -> Result<Vec<bool>, OutboxError> {
        self.there().await?;
        let mut acks = FuturesOrdered::new();
        let mut new = Vec::with_capacity(messages.len());
        for (partition, id, body) in messages {
            let message = PublishMessage::build().message_id(&id).payload(body);
            let ack = self.context.send_publish(self.subject(partition), message).await;
            acks.push_back(ack.map_err(|error| self.failed(error))?.into_future());
            if acks.len() >= AT_ONCE
                && let Some(ack) = acks.next().await
            {
                new.push(!ack.map_err(|error| self.failed(error))?.duplicate);
            }
        }
        while let Some(ack) = acks.next().await {
            new.push(!ack.map_err(|error| self.failed(error))?.duplicate);
        }
        Ok(new)
    }

    pub(super) async fn put(&self, bucket: &kv::Store, key: &str, value: Bytes) -> Result<(), OutboxError> {
        self.there().await?;
        bucket.put(key, value).await.map(drop).map_err(|error| self.failed(error))
    }

    pub(super) async fn get(&self, bucket: &kv::Store, key: &str) -> Result<Option<Bytes>, OutboxError> {
        self.there().await?;
        bucket.get(key).await.map_err(|error| self.failed(error))
    }

    /// Forgets a key, without a trace of it.
    pub(super) async fn forget(&self, bucket: &kv::Store, key: &str) -> Result<(), OutboxError> {
        self.there().await?;
        let subject = format!("$KV.{}.{key}", bucket.name);
        bucket.stream.purge().filter(subject).await.map(drop).map_err(|error| self.failed(error))
    }

    /// How much there is of a stream.
    pub(super) async fn state_of(&self, stream: &Stream<stream::Info>) -> Result<stream::State, OutboxError> {
        self.there().await?;
        Ok(stream.get_info().await.map_err(|error| self.failed(error))?.state)
    }

    /// The message at a sequence of the stream of what waits.
    pub(super) async fn message(&self, sequence: u64) -> Result<Option<Bytes>, OutboxError> {
        self.there().await?;
        match self.due.direct_get(sequence).await {
            Ok(message) => Ok(Some(message.payload)),
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// What is known of a notice beside the stream.
    pub(super) async fn known(&self, id: &str) -> Result<Option<Record>, OutboxError> {
        let found = self.get(&self.history, &super::record::token(id)).await?;
        // What can't be read is as good as unknown: then it is attempted.
        Ok(found.and_then(|bytes| Record::decode(&bytes).ok()))
    }

    /// All notices that wait, with their places in the stream, in the order of each partition.
    pub(super) async fn waiting(&self) -> Result<Vec<(u64, Record)>, OutboxError> {
        self.there().await?;
        let one = |partition: u32| async move {
            let (mut found, mut next) = (Vec::new(), 1);
            loop {
                match self.due.direct_get_next_for_subject(self.subject(partition), Some(next)).await {
                    Ok(message) => {
                        next = message.sequence + 1;
                        match Record::decode(&message.payload) {
                            Ok(record) => found.push((message.sequence, record)),
                            Err(error) => tracing::error!(sequence = message.sequence, "{error}"),
                        }
                    }
                    Err(error) if error.kind() == DirectGetErrorKind::NotFound => return Ok(found),
                    Err(error) => return Err(self.failed(error)),
                }
            }
        };
        let mut all = Vec::new();
        let mut parts = futures::stream::iter(0..self.partitions).map(one).buffered(16);
        while let Some(part) = parts.next().await {
            all.extend(part?);
        }
        Ok(all)
    }

    /// The newest records of the history, newest first, as many as `wanted` takes; it says when it has enough.
    pub(super) async fn newest(&self, mut wanted: impl FnMut(Record) -> bool) -> Result<(), OutboxError> {
        let state = self.state_of(&self.history.stream).await?;
        let (first, last) = (state.first_sequence, state.last_sequence);
        let get = |sequence: u64| async move { self.history.stream.direct_get(sequence).await };
        let mut messages = futures::stream::iter((first.max(1)..=last).rev()).map(get).buffered(AT_ONCE);
        while let Some(found) = messages.next().await {
            match found {
                Ok(message) => {
                    if let Ok(record) = Record::decode(&message.payload)
                        && wanted(record)
                    {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == DirectGetErrorKind::NotFound => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
        Ok(())
    }

    /// The entries of a bucket below a prefix: key, value, revision.
    pub(super) async fn entries(
        &self,
        bucket: &kv::Store,
        below: &str,
    ) -> Result<Vec<(String, Bytes, u64)>, OutboxError> {
        self.there().await?;
        let subject = format!("$KV.{}.", bucket.name);
        let config = pull::Config {
            deliver_policy: DeliverPolicy::LastPerSubject,
            ack_policy: AckPolicy::None,
            filter_subject: format!("{subject}{below}>"),
            memory_storage: true,
            num_replicas: 1,
            inactive_threshold: Duration::from_secs(30),
            ..pull::Config::default()
        };
        let consumer = bucket.stream.create_consumer(config).await.map_err(|error| self.failed(error))?;
        let mut left = consumer.cached_info().num_pending;
        let name = consumer.cached_info().name.clone();
        let mut found = Vec::new();
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(1000);
            let batch = consumer.fetch().max_messages(most).expires(TIMEOUT).messages().await;
            let mut batch = batch.map_err(|error| self.failed(error))?;
            let mut any = false;
            while let Some(message) = batch.next().await {
                let message = message.map_err(|error| self.failed(error))?;
                any = true;
                left -= 1;
                let removed =
                    message.headers.as_ref().is_some_and(|headers| headers.get("KV-Operation").is_some());
                let revision = message.info().map_or(0, |info| info.stream_sequence);
                if let (Some(key), false) = (message.subject.strip_prefix(&subject), removed) {
                    found.push((key.to_owned(), message.payload.clone(), revision));
                }
            }
            if !any {
                return Err(self.failed("a bucket can't be read to its end"));
            }
        }
        // It ends by itself soon, if this fails.
        let _ = bucket.stream.delete_consumer(&name).await;
        Ok(found)
    }
}

async fn stream_of(
    context: &Context,
    address: &NatsAddress,
    make: bool,
) -> Result<Stream<stream::Info>, String> {
    let name = format!("{}-due", address.prefix);
    match context.get_stream(&name).await {
        Ok(found) => return Ok(found),
        Err(error) if !missing(&error) => {
            return Err(format!("{error}; JetStream must be enabled at the server"));
        }
        Err(_) if !make => {
            return Err(format!("there is no stream {name}; `herald run --outbox nats://…` makes it"));
        }
        Err(_) => {}
    }
    let config = stream::Config {
        name: name.clone(),
        subjects: vec![format!("{}.due.*", address.prefix)],
        retention: RetentionPolicy::WorkQueue,
        storage: StorageType::File,
        num_replicas: address.replicas,
        duplicate_window: DUPLICATES,
        allow_direct: true,
        description: Some("Notices that wait for their delivery (Herald)".into()),
        metadata: HashMap::from([("partitions".to_owned(), address.partitions.to_string())]),
        ..stream::Config::default()
    };
    context
        .create_stream(config)
        .await
        .map_err(|error| format!("the stream {name} can't be made: {error}"))?;
    context.get_stream(&name).await.map_err(|error| error.to_string())
}

fn missing(error: &jetstream::context::GetStreamError) -> bool {
    matches!(error.kind(), GetStreamErrorKind::JetStream(error) if error.error_code() == jetstream::ErrorCode::STREAM_NOT_FOUND)
}

async fn bucket(context: &Context, config: kv::Config, make: bool) -> Result<kv::Store, String> {
    let name = config.bucket.clone();
    match context.get_key_value(&name).await {
        Ok(found) => return Ok(found),
        Err(error) if !make || error.kind() == KeyValueErrorKind::InvalidStoreName => {
            return Err(format!("the bucket {name}: {error}"));
        }
        Err(_) => {}
    }
    match context.create_key_value(config).await {
        Ok(made) => Ok(made),
        // Another process was first.
        Err(error) => context
            .get_key_value(&name)
            .await
            .map_err(|_| format!("the bucket {name} can't be made: {error}")),
    }
}
