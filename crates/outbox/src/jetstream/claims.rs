//! Which worker delivers which partition: leases in a bucket whose keys the server lets expire, so no clocks are compared.
//!
//! A partition has one consumer, made by whoever claims it. The one before is removed first: its owner, should it still
//! live, can acknowledge nothing any more, and the server delivers everything again that was not acknowledged, in order.
//! So one lane is with one worker at a time, and a slow lane keeps nobody waiting: a worker takes in all that waits in
//! its partitions and lets its courier choose.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use async_nats::jetstream::{
    self,
    consumer::{AckPolicy, DeliverPolicy, pull},
    kv::{CreateErrorKind, UpdateErrorKind},
};
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::task::JoinHandle;

use super::{Inner, record::Record, stores::LEASE};
use crate::{OutboxError, Outcome};

/// How often claims are renewed.
const TICK: Duration = Duration::from_millis(1500);

/// A claim is kept for so long after it was renewed: shorter than for the server, so that nobody else has it yet.
const HOLDS: Duration = LEASE.saturating_sub(Duration::from_millis(500));

/// Notices of a partition that one worker takes in.
const MOST: i64 = 100_000;

/// The server delivers again what was not acknowledged for so long; the courier's own retries come long before.
const ACK_WAIT: Duration = Duration::from_secs(3600);

struct Claim {
    revision: u64,
    renewed: Instant,
    consumer: String,
    reader: JoinHandle<()>,
    /// It goes to another worker as soon as nothing of it is on its way.
    leaving: bool,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// What was lost because the server was away. When it is back, everybody first takes up what they had: what was sent
/// meanwhile is written down before somebody else could send it again.
#[derive(Default)]
struct Former {
    partitions: BTreeSet<u32>,
    /// Since the server is back.
    alone_until: Option<Instant>,
}

impl Former {
    fn lost(&mut self, number: u32) {
        self.partitions.insert(number);
        self.alone_until = None;
    }

    /// Whether a partition may be claimed, by a worker that reached the server just now.
    fn allows(&mut self, number: u32) -> bool {
        if self.partitions.is_empty() {
            return true;
        }
        let until = *self.alone_until.get_or_insert_with(|| Instant::now() + LEASE);
        if Instant::now() >= until {
            *self = Former::default();
            return true;
        }
        self.partitions.contains(&number)
    }
}

/// Claims partitions as long as the outbox lives, or until it is told to stop.
pub(super) async fn claim(outbox: Weak<Inner>, mut stop: tokio::sync::watch::Receiver<bool>) {
    let mut claims: BTreeMap<u32, Claim> = BTreeMap::new();
    let mut former = Former::default();
    let mut told = false;
    loop {
        let Some(inner) = outbox.upgrade() else { return };
        if *stop.borrow() {
            for (partition, claim) in std::mem::take(&mut claims) {
                // If it can't be said, the lease runs out.
                let _ = release(&inner, partition, claim).await;
            }
            let _ = inner.stores.forget(&inner.stores.leases, &worker(&inner.worker)).await;
            return;
        }
        match tick(&inner, &mut claims, &mut former).await {
            Ok(()) => told = false,
            Err(error) if !told && inner.stores.presence.trouble().is_none() => {
                tracing::error!(%error, "partitions can't be claimed, trying again");
                told = true;
            }
            Err(_) => {}
        }
        drop(inner);
        tokio::select! {
            () = tokio::time::sleep(TICK) => {}
            _ = stop.changed() => {}
        }
    }
}

fn worker(id: &str) -> String {
    format!("worker.{id}")
}

fn partition(number: u32) -> String {
    format!("partition.{number}")
}

async fn tick(
    inner: &Arc<Inner>,
    claims: &mut BTreeMap<u32, Claim>,
    former: &mut Former,
) -> Result<(), OutboxError> {
    // Whoever can't renew in time must believe that somebody else has it.
    let late: Vec<u32> = claims
        .iter()
        .filter(|(_, claim)| claim.renewed.elapsed() > HOLDS)
        .map(|(number, _)| *number)
        .collect();
    for number in late {
        claims.remove(&number);
        inner.held().lose(number);
        former.lost(number);
    }
    let stores = &inner.stores;
    let id = || bytes::Bytes::from(inner.worker.clone());
    stores.put(&stores.leases, &worker(&inner.worker), id()).await?;
    let renewals = claims.iter().map(|(number, claim)| {
        let (number, revision, began) = (*number, claim.revision, Instant::now());
        async move { (number, began, stores.leases.update(partition(number), id(), revision).await) }
    });
    let renewed: Vec<_> =
        futures::stream::iter(renewals.collect::<Vec<_>>()).buffer_unordered(64).collect().await;
    for (number, began, renewed) in renewed {
        match (renewed, claims.get_mut(&number)) {
            (Ok(revision), Some(claim)) => {
                (claim.revision, claim.renewed) = (revision, began);
                inner.held().renew(number, began + HOLDS);
            }
            (Err(error), claim) if error.kind() == UpdateErrorKind::WrongLastRevision => {
                // It ran out while this was on its way to a server that was away.
                if claim.is_some_and(|claim| claim.renewed.elapsed() > HOLDS) {
                    former.lost(number);
                }
                claims.remove(&number);
                inner.held().lose(number);
            }
            _ => {}
        }
    }
    // It could read no further: it reads anew what isn't acknowledged.
    for (number, claim) in claims.iter_mut().filter(|(_, claim)| claim.reader.is_finished() && !claim.leaving)
    {
        inner.held().lose(*number);
        (claim.consumer, claim.reader) = read(inner, *number, claim.renewed + HOLDS).await?;
    }
    let below = format!("$KV.{}.>", stores.leases.name);
    let seen = stores.leases.stream.info_with_subjects(below).await.map_err(|error| stores.failed(error))?;
    let subjects: BTreeSet<String> = seen
        .try_collect::<Vec<_>>()
        .await
        .map_err(|error| stores.failed(error))?
        .into_iter()
        .map(|(subject, _)| subject)
        .collect();
    let named = |key: &str| format!("$KV.{}.{key}", stores.leases.name);
    let workers = subjects.iter().filter(|subject| subject.starts_with(&named("worker."))).count().max(1);
    let fair = (stores.partitions as usize).div_ceil(workers);

    let staying = claims.values().filter(|claim| !claim.leaving).count();
    for claim in claims.values_mut().filter(|claim| !claim.leaving).take(staying.saturating_sub(fair)) {
        claim.leaving = true;
        claim.reader.abort();
    }
    for number in
        claims.iter().filter(|(_, claim)| claim.leaving).map(|(number, _)| *number).collect::<Vec<_>>()
    {
        inner.held().lose(number);
        if inner.held().on_way(number) == 0
            && let Some(claim) = claims.remove(&number)
        {
            release(inner, number, claim).await?;
        }
    }
    // Everyone begins somewhere else, so that two who come at once don't quarrel.
    let first = super::record::stable_hash([inner.worker.as_str()]) % u64::from(stores.partitions);
    for step in 0..stores.partitions {
        if claims.len() >= fair {
            break;
        }
        let number = (u32::try_from(first).unwrap_or(0) + step) % stores.partitions;
        let taken = claims.contains_key(&number) || subjects.contains(&named(&partition(number)));
        if taken || !former.allows(number) {
            continue;
        }
        let began = Instant::now();
        match stores.leases.create(partition(number), id()).await {
            Ok(revision) => {
                let (consumer, reader) = read(inner, number, began + HOLDS).await?;
                claims.insert(number, Claim { revision, renewed: began, consumer, reader, leaving: false });
            }
            Err(error) if error.kind() == CreateErrorKind::AlreadyExists => {}
            Err(error) => return Err(stores.failed(error)),
        }
    }
    Ok(())
}

async fn release(inner: &Inner, number: u32, claim: Claim) -> Result<(), OutboxError> {
    inner.held().lose(number);
    claim.reader.abort();
    // Whoever claims it next removes what is left of it.
    let _ = inner.stores.due.delete_consumer(&claim.consumer).await;
    inner.stores.forget(&inner.stores.leases, &partition(number)).await
}

/// Makes the consumer of a partition, in place of the one before, and reads it.
async fn read(
    inner: &Arc<Inner>,
    number: u32,
    until: Instant,
) -> Result<(String, JoinHandle<()>), OutboxError> {
    let stores = &inner.stores;
    let prefix = format!("due-{number}-");
    let names: Vec<String> =
        stores.due.consumer_names().try_collect().await.map_err(|error| stores.failed(error))?;
    for name in names.iter().filter(|name| name.starts_with(&prefix)) {
        stores.due.delete_consumer(name).await.map_err(|error| stores.failed(error))?;
    }
    let name = format!("{prefix}{}", inner.worker);
    let config = pull::Config {
        durable_name: Some(name.clone()),
        filter_subject: stores.subject(number),
        deliver_policy: DeliverPolicy::All,
        ack_policy: AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        max_ack_pending: MOST,
        description: Some("the worker that delivers this partition".into()),
        ..pull::Config::default()
    };
    let consumer = stores.due.create_consumer(config).await.map_err(|error| stores.failed(error))?;
    let messages = consumer
        .stream()
        .max_messages_per_batch(500)
        .heartbeat(Duration::from_secs(2))
        .expires(Duration::from_secs(10));
    let messages = messages.messages().await.map_err(|error| stores.failed(error))?;
    let outbox = Arc::downgrade(inner);
    let claim = inner.held().claim(number, until);
    let reader = tokio::spawn(async move {
        // Looked up side by side, taken in in order.
        let known = messages.map(|message| {
            let outbox = outbox.clone();
            async move { look_up(&outbox, message.map_err(|error| error.to_string())?).await }
        });
        let mut known = std::pin::pin!(known.buffered(128));
        while let Some(found) = known.next().await {
            let Some(inner) = outbox.upgrade() else { return };
            match found {
                Ok((message, record)) => arrive(&inner, (number, claim), &message, record).await,
                Err(reason) => {
                    // Nobody has to do anything about it: it is read anew. Whether the server is away is told elsewhere.
                    tracing::debug!(partition = number, "reading what waits failed: {reason}");
                    inner.stores.presence.doubt();
                    return;
                }
            }
        }
    });
    Ok((name, reader))
}

type Found = (jetstream::Message, Option<Record>);

/// The notice of a message with what is known of it; `None` if it is done or can't be read.
async fn look_up(outbox: &Weak<Inner>, message: jetstream::Message) -> Result<Found, String> {
    let inner = outbox.upgrade().ok_or("closed")?;
    let mut record = match Record::decode(&message.payload) {
        Ok(record) => record,
        Err(reason) => {
            // Kept: a newer version may read it.
            tracing::error!("{reason}");
            return Ok((message, None));
        }
    };
    match inner.lookups.known(&record.id).await.map_err(|error| error.to_string())? {
        None => {}
        Some(known) if known.outcome() == Outcome::Pending => record.take_progress(known),
        Some(_) => {
            acknowledge(&inner, &message).await;
            return Ok((message, None));
        }
    }
    Ok((message, Some(record)))
}

async fn arrive(inner: &Inner, claim: (u32, u64), message: &jetstream::Message, record: Option<Record>) {
    let Some(record) = record else { return };
    let sequence = message.info().map_or(0, |info| info.stream_sequence);
    let taken = inner.held().arrive(sequence, claim, message.reply.clone(), record);
    if taken {
        inner.changed();
    } else {
        acknowledge(inner, message).await;
    }
}

async fn acknowledge(inner: &Inner, message: &jetstream::Message) {
    // If that fails it comes again, and is recognised again.
    if let Err(error) = inner.acknowledge(message.reply.clone()).await {
        tracing::debug!(%error, "what was done is not acknowledged yet");
    }
}
