//! Handles in memory, written to the outbox behind the caller's back: whoever sends a message never waits for the disk.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, task::JoinHandle};

use crate::{Clock, HandleKey, Outbox, OutboxError, clock::later};

/// Before a failed write to the store is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// The remembered messages of an outbox, read once and written behind: get and put don't wait.
///
/// Bounded: beyond the capacity the oldest are forgotten, here and in the store. A crash loses what was put in the last
/// moment, which costs a thread, never a notice.
pub struct HandleCache {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
    listener: Option<JoinHandle<()>>,
}

struct Shared {
    outbox: Arc<dyn Outbox>,
    clock: Arc<dyn Clock>,
    capacity: usize,
    inner: Mutex<Inner>,
    changed: Notify,
    /// One writer at a time, so that an older value never lands on a newer one.
    writing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Inner {
    values: HashMap<HandleKey, String>,
    /// Oldest first.
    order: VecDeque<HandleKey>,
    /// To be written, or deleted if there is no value any more.
    dirty: HashSet<HandleKey>,
}

impl Inner {
    /// Another process remembers it. What this one is about to write is newer.
    fn hear(&mut self, key: HandleKey, value: String, capacity: usize) {
        if self.dirty.contains(&key) {
            return;
        }
        if self.values.insert(key.clone(), value).is_none() {
            self.order.push_back(key);
        }
        while self.values.len() > capacity {
            let Some(oldest) = self.order.pop_front() else { break };
            self.values.remove(&oldest);
        }
    }
}

impl HandleCache {
    /// Reads the newest handles of the outbox and starts the writer, on the current tokio runtime.
    pub async fn start(
        outbox: Arc<dyn Outbox>,
        clock: Arc<dyn Clock>,
        capacity: usize,
    ) -> Result<Self, OutboxError> {
        let capacity = capacity.max(1);
        let found = outbox.handles(u32::try_from(capacity).unwrap_or(u32::MAX)).await?;
        let mut inner = Inner::default();
        for (key, value) in found.into_iter().rev() {
            inner.order.push_back(key.clone());
            inner.values.insert(key, value);
        }
        let shared = Arc::new(Shared {
            outbox,
            clock,
            capacity,
            inner: Mutex::new(inner),
            changed: Notify::new(),
            writing: tokio::sync::Mutex::new(()),
        });
        let behind = shared.clone();
        let writer = tokio::spawn(async move {
            loop {
                behind.changed.notified().await;
                let mut told = false;
                while let Err(error) = behind.write().await {
                    if error == OutboxError::Closed {
                        return;
                    }
                    if !told && behind.outbox.trouble().is_none() {
                        tracing::warn!(%error, "handles can't be written, trying again soon");
                        told = true;
                    }
                    behind.clock.sleep_until(later(behind.clock.now(), PAUSE)).await;
                }
            }
        });
        let heard = shared.outbox.watch_handles().await.map(|mut heard| {
            let shared = Arc::downgrade(&shared);
            tokio::spawn(async move {
                while let Some((key, value)) = heard.recv().await {
                    let Some(shared) = shared.upgrade() else { return };
                    shared.inner().hear(key, value, shared.capacity);
                }
            })
        });
        Ok(HandleCache { shared, writer: Some(writer), listener: heard })
    }

    /// The handle of a key.
    pub fn get(&self, key: &HandleKey) -> Option<String> {
        self.shared.inner().values.get(key).cloned()
    }

    /// Remembers a handle.
    pub fn put(&self, key: HandleKey, handle: String) {
        {
            let mut inner = self.shared.inner();
            if inner.values.get(&key) == Some(&handle) {
                return;
            }
            if inner.values.insert(key.clone(), handle).is_none() {
                inner.order.push_back(key.clone());
            }
            inner.dirty.insert(key);
            while inner.values.len() > self.shared.capacity {
                let Some(oldest) = inner.order.pop_front() else { break };
                inner.values.remove(&oldest);
                inner.dirty.insert(oldest);
            }
        }
        self.shared.changed.notify_one();
    }

    /// Returns when everything that was put before is durable.
    pub async fn flush(&self) -> Result<(), OutboxError> {
        self.shared.write().await
    }

    /// Writes what is left and lets the outbox go: for the shutdown.
    pub async fn close(mut self) -> Result<(), OutboxError> {
        if let Some(writer) = self.writer.take() {
            writer.abort();
            // It was told to end; how it ended tells nothing.
            let _ = writer.await;
        }
        self.shared.write().await
    }
}

impl Drop for HandleCache {
    fn drop(&mut self) {
        for task in self.writer.iter().chain(&self.listener) {
            task.abort();
        }
    }
}

impl Shared {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere leaves the maps whole: each change is complete in itself.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what is dirty now; what fails stays dirty.
    async fn write(&self) -> Result<(), OutboxError> {
        let _one = self.writing.lock().await;
        let dirty: Vec<(HandleKey, Option<String>)> = {
            let inner = self.inner();
            inner.dirty.iter().map(|key| (key.clone(), inner.values.get(key).cloned())).collect()
        };
        for (key, value) in dirty {
            match &value {
                Some(value) => self.outbox.put_handle(&key, value.clone(), self.clock.now()).await?,
                None => self.outbox.delete_handle(&key).await?,
            }
            let mut inner = self.inner();
            // Put again meanwhile: then it stays dirty for the next round.
            if inner.values.get(&key) == value.as_ref() {
                inner.dirty.remove(&key);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Access, SqliteOutbox, VirtualClock};
    use jiff::Timestamp;

    fn key(name: &str) -> HandleKey {
        HandleKey { instance: "slack".into(), recipient: "deploys".into(), key: name.into() }
    }

    #[tokio::test]
    async fn handles_survive_and_the_oldest_go_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let clock = Arc::new(VirtualClock::new(Timestamp::UNIX_EPOCH));
        let open = || Arc::new(SqliteOutbox::open(&path, Access::Owner).unwrap());
        let outbox = open();
        let cache = HandleCache::start(outbox.clone(), clock.clone(), 3).await.unwrap();
        for name in ["a", "b", "c", "d"] {
            cache.put(key(name), format!("1 of {name}"));
            cache.flush().await.unwrap();
            clock.advance(Duration::from_secs(1));
        }
        cache.put(key("b"), "2 of b".into());
        assert_eq!(cache.get(&key("a")), None);
        assert_eq!(cache.get(&key("b")).as_deref(), Some("2 of b"));
        cache.flush().await.unwrap();
        clock.advance(Duration::from_secs(1));
        assert_eq!(outbox.get_handle(&key("a")).await.unwrap(), None, "forgotten in the store too");
        cache.put(key("d"), "2 of d".into());
        cache.close().await.unwrap();
        drop(outbox);

        let outbox = open();
        let cache = HandleCache::start(outbox.clone(), clock.clone(), 2).await.unwrap();
        // The two that changed last.
        assert_eq!(cache.get(&key("c")), None);
        assert_eq!(cache.get(&key("b")).as_deref(), Some("2 of b"));
        assert_eq!(cache.get(&key("d")).as_deref(), Some("2 of d"));
        let other = HandleKey { instance: "other".into(), ..key("b") };
        assert_eq!(cache.get(&other), None, "instances are apart");
    }

    #[tokio::test]
    async fn the_writer_needs_nobody_to_flush() {
        let dir = tempfile::tempdir().unwrap();
        let outbox = Arc::new(SqliteOutbox::open(dir.path().join("state.db"), Access::Owner).unwrap());
        let clock = Arc::new(VirtualClock::new(Timestamp::UNIX_EPOCH));
        let cache = HandleCache::start(outbox.clone(), clock, 10).await.unwrap();
        cache.put(key("a"), "1".into());
        while outbox.get_handle(&key("a")).await.unwrap().is_none() {
            tokio::task::yield_now().await;
        }
    }
}
