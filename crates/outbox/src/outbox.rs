//! The contract of every outbox.

use std::{collections::HashSet, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};

use crate::{Attempt, Filter, HistoryEntry, LaneKey, Notice, OutboxError, Outcome, Place, Queued, Receipt};

/// A piece of state to write: (scope, key, value). The outbox doesn't look into values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateEntry {
    /// What kind of state, such as `cursor` or `notified`.
    pub scope: String,
    /// Whose.
    pub key: String,
    /// The value.
    pub value: Vec<u8>,
}

/// What happens together or not at all: the notices of an object and what is known of it after them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Notices that became due.
    pub enqueue: Vec<Notice>,
    /// State to write.
    pub put_state: Vec<StateEntry>,
    /// State to forget: (scope, key).
    pub delete_state: Vec<(String, String)>,
    /// Notices that are done without a delivery of their own.
    pub done: Vec<Done>,
}

/// A waiting notice that is done without a delivery of its own. One that doesn't wait any more stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// Its id.
    pub id: String,
    /// Muted or grouped.
    pub outcome: Outcome,
    /// Since when.
    pub at: Timestamp,
    /// By what, or into what.
    pub reason: String,
}

/// A remembered message at a service (Slack's ts and channel, a check's id), by instance, recipient and grouping key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct HandleKey {
    /// The service instance.
    pub instance: String,
    /// The recipient.
    pub recipient: String,
    /// The grouping key.
    pub key: String,
}

/// How long history is kept. Dead letters and what still waits are never pruned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Delivered and dropped notices older than this are forgotten.
    pub age: Duration,
    /// Oldest first, as long as the store uses more bytes than this.
    pub bytes: u64,
    /// At most so many in one step, so that nobody waits for it.
    pub step: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Retention { age: Duration::from_secs(14 * 24 * 3600), bytes: 512 << 20, step: 200 }
    }
}

/// Notices that are due, durable until they are delivered or given up, their history, and what is known of each object.
///
/// Everything that changes something returns once it is durable.
#[async_trait]
pub trait Outbox: Send + Sync + 'static {
    /// Writes a batch in one transaction; gives the ids that were new.
    async fn commit(&self, batch: Batch) -> Result<Vec<String>, OutboxError>;

    /// What waits behind a place, in order, of all lanes.
    async fn pending(&self, after: Place, limit: u32) -> Result<Vec<Queued>, OutboxError>;
    /// What waits behind a place in one lane, in order.
    async fn pending_in_lane(
        &self,
        lane: &LaneKey,
        after: Place,
        limit: u32,
    ) -> Result<Vec<Queued>, OutboxError>;
    /// The whole notice, or `None` if it doesn't wait at that place any more.
    async fn load(&self, place: Place) -> Result<Option<Notice>, OutboxError>;
    /// Changes whenever something was enqueued by this process.
    fn changes(&self) -> watch::Receiver<u64>;

    /// The other side accepted it.
    async fn delivered(&self, id: &str, receipt: Receipt) -> Result<(), OutboxError>;
    /// An attempt failed, the next one is at `due`; `waited` is the sum of planned delays.
    async fn retry(
        &self,
        id: &str,
        due: Timestamp,
        waited: Duration,
        attempt: Attempt,
    ) -> Result<(), OutboxError>;
    /// It becomes a dead letter after this last attempt.
    async fn give_up(&self, id: &str, reason: &str, attempt: Attempt) -> Result<(), OutboxError>;

    /// Why notices (by id) are not attempted yet though they could be, for whoever looks at them. What was attempted or
    /// doesn't wait any more stays as it is.
    async fn held(&self, reasons: Vec<(String, String)>) -> Result<(), OutboxError> {
        let _ = reasons;
        Ok(())
    }

    /// Queues the matching notices again, at the end of their lanes; gives their number.
    async fn resend(&self, filter: Filter, now: Timestamp) -> Result<usize, OutboxError>;
    /// Drops the matching notices that wait or are dead letters; gives their number.
    async fn drop_notices(&self, filter: Filter, now: Timestamp) -> Result<usize, OutboxError>;
    /// The matching notices, newest first, without payloads.
    async fn list(&self, filter: Filter) -> Result<Vec<HistoryEntry>, OutboxError>;
    /// How many match, all of them: the limit doesn't count.
    async fn count(&self, filter: Filter) -> Result<u64, OutboxError> {
        let found = self.list(Filter { limit: None, ..filter }).await?;
        Ok(u64::try_from(found.len()).unwrap_or(u64::MAX))
    }
    /// Those of these notices that wait no longer, however they ended, and those that are unknown.
    async fn ended(&self, ids: Vec<String>) -> Result<Vec<String>, OutboxError> {
        let waiting = self.list(Filter { outcome: Some(Outcome::Pending), ..Filter::default() }).await?;
        let waiting: HashSet<String> = waiting.into_iter().map(|entry| entry.notice.id).collect();
        Ok(ids.into_iter().filter(|id| !waiting.contains(id)).collect())
    }
    /// One notice with its payload and all attempts.
    async fn show(&self, id: &str) -> Result<Option<HistoryEntry>, OutboxError>;

    /// A piece of state.
    async fn get_state(&self, scope: &str, key: &str) -> Result<Option<Vec<u8>>, OutboxError>;
    /// Pieces of state of a scope, in the order of the keys: asked for at once, as each question costs a way.
    async fn get_states(&self, scope: &str, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, OutboxError> {
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            found.push(self.get_state(scope, key).await?);
        }
        Ok(found)
    }
    /// All state of a scope, by key: (key, value).
    async fn list_state(&self, scope: &str) -> Result<Vec<(String, Vec<u8>)>, OutboxError>;
    /// The keys of a scope: of many thousands the values would fill the memory.
    async fn state_keys(&self, scope: &str) -> Result<Vec<String>, OutboxError> {
        Ok(self.list_state(scope).await?.into_iter().map(|(key, _)| key).collect())
    }

    /// A remembered message, as JSON.
    async fn get_handle(&self, key: &HandleKey) -> Result<Option<String>, OutboxError>;
    /// Remembers a message.
    async fn put_handle(&self, key: &HandleKey, json: String, now: Timestamp) -> Result<(), OutboxError>;
    /// The remembered messages that changed last, newest first.
    async fn handles(&self, limit: u32) -> Result<Vec<(HandleKey, String)>, OutboxError>;
    /// Forgets a message.
    async fn delete_handle(&self, key: &HandleKey) -> Result<(), OutboxError>;

    /// Messages that any process remembers from now on, where several share the outbox.
    async fn watch_handles(&self) -> Option<mpsc::Receiver<(HandleKey, String)>> {
        None
    }

    /// How many wait, and since when the oldest does.
    async fn backlog(&self) -> Result<(u64, Option<Timestamp>), OutboxError>;
    /// Forgets a few of the oldest of the history; gives how many. Call again while it gives more than 0.
    async fn prune(&self, retention: Retention, now: Timestamp) -> Result<usize, OutboxError>;
    /// Returns once the store turns out to be damaged: whoever owns it ends then, and the next start mends it.
    async fn damaged(&self) -> OutboxError {
        std::future::pending().await
    }
    /// What keeps the store from working at present, as a sentence that it has told already; failures follow from it.
    fn trouble(&self) -> Option<String> {
        None
    }
    /// Looks for damage; one sentence for each finding.
    async fn check(&self) -> Result<Vec<String>, OutboxError>;
    /// Lets go of what other processes may want, at the end.
    async fn close(&self) {}
}
