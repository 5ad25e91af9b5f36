//! The outbox in NATS JetStream, for many processes.
//!
//! What waits is a work-queue stream: a notice's id is its `Nats-Msg-Id`, its subject is the partition of its recipient
//! or, where the recipient is empty, of its lane. Attempts, outcomes, state and handles are in buckets. Any number of
//! workers share the partitions (see `claims`); a notice is acknowledged once its outcome is written down.
//!
//! A batch isn't one transaction here: notices are published first, what is known of the object last. A crash in between
//! publishes them again, and their ids tell that they are there.

mod address;
mod claims;
mod held;
mod known;
mod presence;
mod record;
mod search;
mod stores;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use async_nats::{Subject, jetstream::kv};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

pub use self::address::NatsAddress;
pub(crate) use self::record::stable_hash;
use self::{
    held::Held,
    known::Lookups,
    record::{Record, millis, text, token},
    stores::{AT_ONCE, Stores},
};
use crate::{
    Attempt, Batch, Filter, HandleKey, HistoryEntry, LaneKey, Notice, Outbox, OutboxError, Outcome, Place,
    Queued, Receipt, Retention,
};

/// What a process means to do with the outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Deliver from it, beside any number of others.
    Worker,
    /// Put notices into it.
    Publisher,
    /// Look at it, or change single notices; makes nothing that is missing.
    Guest,
}

/// An outbox at a NATS server.
pub struct JetStreamOutbox {
    inner: Arc<Inner>,
    claiming: Mutex<Option<JoinHandle<()>>>,
    stop: watch::Sender<bool>,
    watching: Option<JoinHandle<()>>,
}

struct Inner {
    stores: Stores,
    lookups: Lookups,
    /// A name that no other process has.
    worker: String,
    held: Mutex<Held>,
    changes: watch::Sender<u64>,
}

impl Inner {
    fn held(&self) -> MutexGuard<'_, Held> {
        // A panic elsewhere leaves the maps whole enough: what is missing comes again.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Tells the server that a message is done, and hears that it knows.
    async fn acknowledge(&self, reply: Option<Subject>) -> Result<(), OutboxError> {
        let Some(reply) = reply else { return Ok(()) };
        self.stores.there().await?;
        match self.stores.client().request(reply, Bytes::from_static(b"+ACK")).await {
            Ok(_) => Ok(()),
            // The consumer is gone, because somebody else has the partition: the outcome tells them.
            Err(error) if error.kind() == async_nats::RequestErrorKind::NoResponders => Ok(()),
            Err(error) => Err(self.stores.failed(error)),
        }
    }

    /// Writes down how a notice ended, then acknowledges it.
    async fn finish(&self, record: Record, place: Option<Place>) -> Result<(), OutboxError> {
        let key = token(&record.id);
        let stores = &self.stores;
        if record.outcome() == Outcome::DeadLetter {
            stores.put(&stores.dead, &key, record.encode()).await?;
            stores.put(&stores.history, &key, record.without_payload().encode()).await?;
        } else {
            stores.put(&stores.history, &key, record.encode()).await?;
        }
        let Some(place) = place else { return Ok(()) };
        loop {
            let reply = || self.held().at(place).and_then(|entry| entry.reply.clone());
            let asked = reply();
            match self.acknowledge(asked.clone()).await {
                Ok(()) => break,
                // Its partition was read anew meanwhile, and who heard of the old delivery is gone.
                Err(_) if reply() != asked => {}
                Err(error) => return Err(error),
            }
        }
        self.held().end(place);
        Ok(())
    }

    /// A notice that is held, with its payload.
    async fn whole(&self, place: Place) -> Result<Option<Record>, OutboxError> {
        let found = self.held().at(place).map(|entry| (entry.record.clone(), entry.sequence, entry.on_way));
        let Some((mut record, sequence, on_way)) = found else { return Ok(None) };
        if on_way {
            return Ok(Some(record));
        }
        match self.stores.message(sequence).await? {
            Some(bytes) => {
                let stored = Record::decode(&bytes).map_err(|error| self.stores.failed(error))?;
                record.payload = stored.payload;
                Ok(Some(record))
            }
            None => {
                self.gone(place).await?;
                Ok(None)
            }
        }
    }

    /// Somebody dropped it.
    async fn gone(&self, place: Place) -> Result<(), OutboxError> {
        let reply = self.held().remove(place).and_then(|entry| entry.reply);
        self.acknowledge(reply).await
    }

    fn partition(&self, notice: &Notice) -> u32 {
        // A recipient is with one worker, so that its rate and its digests are; one URL for all is shared by lanes.
        let lane = notice.lane();
        let hash = match notice.recipient.is_empty() {
            true => stable_hash([lane.as_str()]),
            false => stable_hash([notice.service.as_str(), notice.recipient.as_str()]),
        };
        u32::try_from(hash % u64::from(self.stores.partitions)).unwrap_or(0)
    }
}

impl JetStreamOutbox {
    /// Connects, and makes what is missing.
    pub async fn open(address: &NatsAddress, role: Role) -> Result<Self, OutboxError> {
        let stores = Stores::open(address, role != Role::Guest).await?;
        let inner = Arc::new(Inner {
            lookups: Lookups::start(stores.clone()),
            stores,
            worker: uuid::Uuid::new_v4().simple().to_string(),
            held: Mutex::default(),
            changes: watch::Sender::new(0),
        });
        let (stop, stopped) = watch::channel(false);
        let claiming =
            (role == Role::Worker).then(|| tokio::spawn(claims::claim(Arc::downgrade(&inner), stopped)));
        let watching = (role != Role::Guest).then(|| tokio::spawn(presence::watch(Arc::downgrade(&inner))));
        Ok(JetStreamOutbox { inner, claiming: Mutex::new(claiming), stop, watching })
    }

    fn stores(&self) -> &Stores {
        &self.inner.stores
    }

    async fn done(&self, batch: &Batch) -> Result<(), OutboxError> {
        for done in &batch.done {
            let held = self.inner.held().of_id(&done.id).map(|(place, _)| place);
            let (record, place) = match (held, batch.enqueue.iter().find(|notice| notice.id == done.id)) {
                (Some(place), _) => (self.inner.whole(place).await?, Some(place)),
                (None, Some(notice)) => {
                    // Given up before it ever waited; what is known of it already stays as it is.
                    let known = self.stores().known(&done.id).await?.is_some();
                    ((!known).then(|| Record::of(notice)), None)
                }
                (None, None) => (None, None),
            };
            if let Some(mut record) = record {
                record.end(done.outcome, done.at);
                record.because(&done.reason);
                self.inner.finish(record, place).await?;
            }
        }
        Ok(())
    }

    fn state_key(scope: &str, key: &str) -> String {
        format!("{}.{}", token(scope), token(key))
    }

    fn handle_key(key: &HandleKey) -> String {
        format!("{}.{}.{}", token(&key.instance), token(&key.recipient), token(&key.key))
    }
}

fn handle_of(key: &str) -> Option<HandleKey> {
    let mut parts = key.split('.').map(text);
    Some(HandleKey { instance: parts.next()?, recipient: parts.next()?, key: parts.next()? })
}

#[async_trait]
impl Outbox for JetStreamOutbox {
    async fn commit(&self, batch: Batch) -> Result<Vec<String>, OutboxError> {
        let waits = |notice: &&Notice| !batch.done.iter().any(|done| done.id == notice.id);
        let messages = batch
            .enqueue
            .iter()
            .filter(waits)
            .map(|notice| (self.inner.partition(notice), notice.id.clone(), Record::of(notice).encode()));
        let fresh = self.stores().publish(messages.collect()).await?;
        let new = batch.enqueue.iter().filter(waits).zip(fresh).filter(|(_, new)| *new);
        let mut new: Vec<String> = new.map(|(notice, _)| notice.id.clone()).collect();
        new.extend(batch.enqueue.iter().filter(|notice| !waits(notice)).map(|notice| notice.id.clone()));
        self.done(&batch).await?;
        let stores = self.stores();
        let puts = batch.put_state.iter().map(|entry| {
            let (key, value) = (Self::state_key(&entry.scope, &entry.key), Bytes::from(entry.value.clone()));
            async move { stores.put(&stores.state, &key, value).await }
        });
        let mut puts = futures::stream::iter(puts.collect::<Vec<_>>()).buffer_unordered(AT_ONCE);
        while let Some(put) = puts.next().await {
            put?;
        }
        for (scope, key) in &batch.delete_state {
            stores.forget(&stores.state, &Self::state_key(scope, key)).await?;
        }
        Ok(new)
    }

    async fn pending(&self, after: Place, limit: u32) -> Result<Vec<Queued>, OutboxError> {
        Ok(self.inner.held().pending(after, limit))
    }

    async fn pending_in_lane(
        &self,
        lane: &LaneKey,
        after: Place,
        limit: u32,
    ) -> Result<Vec<Queued>, OutboxError> {
        Ok(self.inner.held().pending_in_lane(lane, after, limit))
    }

    async fn load(&self, place: Place) -> Result<Option<Notice>, OutboxError> {
        // On its way before it is read, so that it isn't given to another worker meanwhile.
        let started = self.inner.held().start(place, Instant::now());
        let Some((sequence, payload)) = started else { return Ok(None) };
        let stored = match payload {
            Some(payload) => Ok(payload),
            None => match self.stores().message(sequence).await {
                Ok(Some(bytes)) => Record::decode(&bytes)
                    .map(|record| record.payload)
                    .map_err(|error| self.stores().failed(error)),
                Ok(None) => {
                    self.inner.gone(place).await?;
                    return Ok(None);
                }
                Err(error) => Err(error),
            },
        };
        match stored {
            Ok(payload) if self.inner.held().is_ours(place, Instant::now()) => {
                let record = self.inner.held().carry(place, payload);
                Ok(record.map(|record| record.notice()))
            }
            // It waits on, and goes with its partition.
            other => {
                self.inner.held().stay(place);
                Err(other.err().unwrap_or_else(|| self.stores().failed("the claim of its partition ran out")))
            }
        }
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changes.subscribe()
    }

    async fn delivered(&self, id: &str, receipt: Receipt) -> Result<(), OutboxError> {
        let Some((place, mut record)) =
            self.inner.held().of_id(id).map(|(p, entry)| (p, entry.record.clone()))
        else {
            return Ok(());
        };
        record.end(Outcome::Delivered, receipt.at);
        record.said(receipt.took, None, &receipt.detail);
        self.inner.finish(record, Some(place)).await
    }

    async fn retry(
        &self,
        id: &str,
        due: Timestamp,
        waited: Duration,
        attempt: Attempt,
    ) -> Result<(), OutboxError> {
        let Some(mut record) = self.inner.held().of_id(id).map(|(_, entry)| entry.record.clone()) else {
            return Ok(());
        };
        record.failed(&attempt);
        (record.due, record.waited) = (due.as_millisecond(), millis(waited));
        let stores = self.stores();
        stores.put(&stores.history, &token(id), record.without_payload().encode()).await?;
        self.inner.held().back(id, &record);
        Ok(())
    }

    async fn give_up(&self, id: &str, reason: &str, attempt: Attempt) -> Result<(), OutboxError> {
        let Some((place, mut record)) =
            self.inner.held().of_id(id).map(|(p, entry)| (p, entry.record.clone()))
        else {
            return Ok(());
        };
        record.failed(&attempt);
        record.end(Outcome::DeadLetter, attempt.at);
        record.because(reason);
        self.inner.finish(record, Some(place)).await
    }

    async fn held(&self, reasons: Vec<(String, String)>) -> Result<(), OutboxError> {
        let known = reasons.into_iter().filter_map(|(id, reason)| {
            let record = self.inner.held().of_id(&id)?.1.record.without_payload();
            Some((token(&id), record.held_back(reason).encode()))
        });
        let known: Vec<_> = known.collect();
        self.stores().there().await?;
        // Only where nothing is known yet: what is written of an attempt or of the end always comes after it.
        let put = |(key, value): (String, Bytes)| async move {
            match self.stores().history.create(key, value).await {
                Err(error) if error.kind() != kv::CreateErrorKind::AlreadyExists => {
                    Err(self.stores().failed(error))
                }
                _ => Ok(()),
            }
        };
        let mut puts = futures::stream::iter(known).map(put).buffer_unordered(AT_ONCE);
        while let Some(done) = puts.next().await {
            done?;
        }
        Ok(())
    }

    async fn resend(&self, filter: Filter, now: Timestamp) -> Result<usize, OutboxError> {
        let mut found = self.matching(&filter).await?;
        // What waits is sent anyway.
        found.retain(|record| record.outcome() != Outcome::Pending);
        found.reverse();
        let stores = self.stores();
        let count = found.len();
        for mut record in found {
            let key = token(&record.id);
            record.again(now);
            stores.put(&stores.history, &key, record.without_payload().encode()).await?;
            let partition = self.inner.partition(&record.notice());
            let message_id = format!("{}#{}", record.id, now.as_millisecond());
            stores.publish(vec![(partition, message_id, record.encode())]).await?;
            stores.forget(&stores.dead, &key).await?;
        }
        Ok(count)
    }

    async fn drop_notices(&self, filter: Filter, now: Timestamp) -> Result<usize, OutboxError> {
        let wanted: Vec<Record> = self.matching(&filter).await?;
        let places: HashMap<String, u64> = self
            .stores()
            .waiting()
            .await?
            .into_iter()
            .map(|(sequence, record)| (record.id, sequence))
            .collect();
        let stores = self.stores();
        let mut count = 0;
        for mut record in wanted {
            let was = record.outcome();
            if !matches!(was, Outcome::Pending | Outcome::DeadLetter) {
                continue;
            }
            let key = token(&record.id);
            record.end(Outcome::Dropped, now);
            stores.put(&stores.history, &key, record.encode()).await?;
            match places.get(&record.id) {
                Some(sequence) if was == Outcome::Pending => {
                    stores.due.delete_message(*sequence).await.map_err(|error| stores.failed(error))?;
                }
                _ => stores.forget(&stores.dead, &key).await?,
            }
            count += 1;
        }
        Ok(count)
    }

    async fn list(&self, filter: Filter) -> Result<Vec<HistoryEntry>, OutboxError> {
        Ok(self.matching(&filter).await?.iter().map(|record| record.entry(false)).collect())
    }

    async fn count(&self, filter: Filter) -> Result<u64, OutboxError> {
        let all = Filter { outcome: Some(Outcome::DeadLetter), limit: filter.limit, ..Filter::default() };
        if filter == all {
            // What is forgotten leaves no trace there: each message is one.
            return Ok(self.stores().state_of(&self.stores().dead.stream).await?.messages);
        }
        let found = self.matching(&Filter { limit: None, ..filter }).await?;
        Ok(u64::try_from(found.len()).unwrap_or(u64::MAX))
    }

    async fn show(&self, id: &str) -> Result<Option<HistoryEntry>, OutboxError> {
        Ok(self.one(id).await?.map(|record| record.entry(true)))
    }

    async fn get_state(&self, scope: &str, key: &str) -> Result<Option<Vec<u8>>, OutboxError> {
        let found = self.stores().get(&self.stores().state, &Self::state_key(scope, key)).await?;
        Ok(found.map(|bytes| bytes.to_vec()))
    }

    async fn get_states(&self, scope: &str, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, OutboxError> {
        let asked = stream::iter(keys.iter().cloned());
        asked.map(async |key: String| self.get_state(scope, &key).await).buffered(AT_ONCE).try_collect().await
    }

    async fn list_state(&self, scope: &str) -> Result<Vec<(String, Vec<u8>)>, OutboxError> {
        let below = format!("{}.", token(scope));
        let entries = self.stores().entries(&self.stores().state, &below).await?;
        let key = |key: &str| text(key.strip_prefix(&below).unwrap_or_default());
        let mut found: Vec<(String, Vec<u8>)> =
            entries.into_iter().map(|(name, value, _)| (key(&name), value.to_vec())).collect();
        found.sort();
        Ok(found)
    }

    async fn get_handle(&self, key: &HandleKey) -> Result<Option<String>, OutboxError> {
        let found = self.stores().get(&self.stores().handles, &Self::handle_key(key)).await?;
        Ok(found.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    async fn put_handle(&self, key: &HandleKey, json: String, _now: Timestamp) -> Result<(), OutboxError> {
        self.stores().put(&self.stores().handles, &Self::handle_key(key), json.into()).await
    }

    async fn handles(&self, limit: u32) -> Result<Vec<(HandleKey, String)>, OutboxError> {
        let mut entries = self.stores().entries(&self.stores().handles, "").await?;
        entries.sort_by_key(|(.., revision)| std::cmp::Reverse(*revision));
        let value = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        let found = entries.iter().filter_map(|(key, bytes, _)| Some((handle_of(key)?, value(bytes))));
        Ok(found.take(limit as usize).collect())
    }

    async fn delete_handle(&self, key: &HandleKey) -> Result<(), OutboxError> {
        self.stores().forget(&self.stores().handles, &Self::handle_key(key)).await
    }

    async fn watch_handles(&self) -> Option<mpsc::Receiver<(HandleKey, String)>> {
        let (sender, receiver) = mpsc::channel(64);
        let stores = self.stores().clone();
        tokio::spawn(async move {
            while !sender.is_closed() {
                if let Ok(mut changes) = stores.handles.watch_all().await {
                    while let Some(Ok(entry)) = changes.next().await {
                        let Some(key) = handle_of(&entry.key) else { continue };
                        let value = String::from_utf8_lossy(&entry.value).into_owned();
                        if sender.send((key, value)).await.is_err() {
                            return;
                        }
                    }
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        Some(receiver)
    }

    async fn backlog(&self) -> Result<(u64, Option<Timestamp>), OutboxError> {
        let state = self.stores().state_of(&self.stores().due).await?;
        if state.messages == 0 {
            return Ok((0, None));
        }
        let first = self.stores().message(state.first_sequence).await?;
        let oldest =
            first.and_then(|bytes| Record::decode(&bytes).ok()).map(|record| record::time(record.created));
        Ok((state.messages, oldest))
    }

    fn trouble(&self) -> Option<String> {
        let stores = self.stores();
        stores.presence.trouble().map(|trouble| format!("the outbox at {} {trouble}", stores.address()))
    }

    async fn prune(&self, _retention: Retention, _now: Timestamp) -> Result<usize, OutboxError> {
        // The bucket of the history has its age and size: the server prunes it.
        Ok(0)
    }

    async fn check(&self) -> Result<Vec<String>, OutboxError> {
        let stores = self.stores();
        let mut findings = Vec::new();
        let waiting = stores.waiting().await?;
        let state = stores.state_of(&stores.due).await?;
        let unread = state.messages.saturating_sub(waiting.len() as u64);
        let same = |again: async_nats::jetstream::stream::State| again.last_sequence == state.last_sequence;
        if unread > 0 && stores.state_of(&stores.due).await.is_ok_and(same) {
            findings.push(format!("{unread} messages of the stream can't be read"));
        }
        for bucket in [&stores.dead, &stores.handles, &stores.state] {
            let entries = stores.entries(bucket, "").await?;
            if bucket.name == stores.dead.name {
                let broken = entries.iter().filter(|(_, bytes, _)| Record::decode(bytes).is_err()).count();
                if broken > 0 {
                    findings.push(format!("{broken} dead letters can't be read"));
                }
            }
        }
        Ok(findings)
    }

    async fn close(&self) {
        self.stop.send_replace(true);
        let claiming = self.claiming.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(claiming) = claiming {
            // A server that is away keeps nobody: what was claimed runs out by itself.
            let _ = tokio::time::timeout(Duration::from_secs(5), claiming).await;
        }
    }
}

impl Drop for JetStreamOutbox {
    fn drop(&mut self) {
        let claiming = self.claiming.lock().unwrap_or_else(PoisonError::into_inner).take();
        for task in claiming.iter().chain(&self.watching) {
            task.abort();
        }
    }
}
