//! The outbox in a SQLite file.

mod checkpoint;
mod open;
mod rows;
mod salvage;
mod thread;
mod worker;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::Connection;
use tokio::sync::watch;

pub use self::open::Access;
use self::worker::Worker;
use crate::{
    Attempt, Batch, Filter, HandleKey, HistoryEntry, LaneKey, Notice, Outbox, OutboxError, Place, Queued,
    Receipt, Retention,
};

/// An outbox in one SQLite file. Dropping it waits for what was asked for.
pub struct SqliteOutbox {
    path: Arc<Path>,
    owner: bool,
    // The courier's short reads never wait behind a long listing.
    reader: Worker,
    lister: Worker,
    // Closed last, which leaves everything in the main file.
    writer: Option<Worker>,
    changes: watch::Sender<u64>,
    damaged: watch::Sender<bool>,
}

impl SqliteOutbox {
    /// Opens the file, making it if there is none (not for [`Access::ReadOnly`]).
    pub fn open(path: impl Into<PathBuf>, access: Access) -> Result<Self, OutboxError> {
        let path: Arc<Path> = path.into().into();
        SqliteOutbox::open_at(path.clone(), access).map_err(|error| match error {
            // What never was a database was never ours.
            OutboxError::Damaged { path, .. } if !salvage::was_ours(&path) && !open::is_database(&path) => {
                OutboxError::Foreign { path }
            }
            other => other,
        })
    }

    fn open_at(path: Arc<Path>, access: Access) -> Result<Self, OutboxError> {
        let writer = match access {
            Access::ReadOnly => None,
            Access::Guest => Some(Worker::writer(open::writer(&path)?, None, path.clone())?),
            Access::Owner => {
                // A path that is no state file gets no lock file beside it; nobody else's file is migrated.
                let damaged = match open::inspect(&path) {
                    Err(OutboxError::Damaged { .. }) if salvage::was_ours(&path) => true,
                    other => other.map(|()| salvage::is_marked(&path))?,
                };
                let owner = open::own(&path)?;
                if damaged {
                    salvage::renew(&path)?;
                }
                let writer = match open::writer(&path) {
                    Err(OutboxError::Damaged { .. }) if !damaged && salvage::was_ours(&path) => {
                        salvage::renew(&path)?;
                        open::writer(&path)?
                    }
                    Ok(writer) if !damaged && !open::is_sound(&writer, &path) => {
                        drop(writer);
                        salvage::renew(&path)?;
                        open::writer(&path)?
                    }
                    other => other?,
                };
                Some(Worker::writer(writer, Some(owner), path.clone())?)
            }
        };
        let reader = Worker::reader(open::reader(&path)?, path.clone())?;
        let lister = Worker::reader(open::reader(&path)?, path.clone())?;
        let owner = access == Access::Owner;
        Ok(SqliteOutbox {
            path,
            owner,
            reader,
            lister,
            writer,
            changes: watch::Sender::new(0),
            damaged: watch::Sender::new(false),
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, OutboxError> {
        match &self.writer {
            Some(_) if *self.damaged.borrow() => Err(self.damage()),
            Some(writer) => self.noted(writer.run(work).await),
            None => Err(OutboxError::ReadOnly { path: self.path.to_path_buf() }),
        }
    }

    async fn read<T: Send + 'static>(
        &self,
        worker: &Worker,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, OutboxError> {
        self.noted(worker.run(work).await)
    }

    /// Damage is remembered for the next start, which takes over what can be read. Nothing is written any more.
    fn noted<T>(&self, result: Result<T, OutboxError>) -> Result<T, OutboxError> {
        if self.owner && matches!(result, Err(OutboxError::Damaged { .. })) {
            salvage::mark(&self.path);
            self.damaged.send_replace(true);
        }
        result
    }

    fn damage(&self) -> OutboxError {
        OutboxError::Damaged { path: self.path.to_path_buf(), reason: "found before".to_owned() }
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }
}

#[async_trait]
impl Outbox for SqliteOutbox {
    async fn commit(&self, batch: Batch) -> Result<Vec<String>, OutboxError> {
        let new = self.write(move |db| rows::commit(db, &batch)).await?;
        if !new.is_empty() {
            self.changed();
        }
        Ok(new)
    }

    async fn pending(&self, after: Place, limit: u32) -> Result<Vec<Queued>, OutboxError> {
        self.read(&self.reader, move |db| rows::pending(db, after, limit)).await
    }

    async fn pending_in_lane(
        &self,
        lane: &LaneKey,
        after: Place,
        limit: u32,
    ) -> Result<Vec<Queued>, OutboxError> {
        let lane = lane.clone();
        self.read(&self.reader, move |db| rows::pending_in_lane(db, &lane, after, limit)).await
    }

    async fn load(&self, place: Place) -> Result<Option<Notice>, OutboxError> {
        self.read(&self.reader, move |db| rows::load(db, place)).await
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    async fn delivered(&self, id: &str, receipt: Receipt) -> Result<(), OutboxError> {
        let id = id.to_owned();
        self.write(move |db| rows::delivered(db, &id, &receipt)).await
    }

    async fn retry(
        &self,
        id: &str,
        due: Timestamp,
        waited: Duration,
        attempt: Attempt,
    ) -> Result<(), OutboxError> {
        let id = id.to_owned();
        self.write(move |db| rows::retry(db, &id, due, waited, &attempt)).await
    }

    async fn give_up(&self, id: &str, reason: &str, attempt: Attempt) -> Result<(), OutboxError> {
        let (id, reason) = (id.to_owned(), reason.to_owned());
        self.write(move |db| rows::give_up(db, &id, &reason, &attempt)).await
    }

    async fn held(&self, reasons: Vec<(String, String)>) -> Result<(), OutboxError> {
        self.write(move |db| rows::held(db, &reasons)).await
    }

    async fn resend(&self, filter: Filter, now: Timestamp) -> Result<usize, OutboxError> {
        let count = self.write(move |db| rows::resend(db, &filter, now)).await?;
        if count > 0 {
            self.changed();
        }
        Ok(count)
    }

    async fn drop_notices(&self, filter: Filter, now: Timestamp) -> Result<usize, OutboxError> {
        self.write(move |db| rows::drop_notices(db, &filter, now)).await
    }

    async fn list(&self, filter: Filter) -> Result<Vec<HistoryEntry>, OutboxError> {
        self.read(&self.lister, move |db| rows::list(db, &filter)).await
    }

    async fn count(&self, filter: Filter) -> Result<u64, OutboxError> {
        self.read(&self.lister, move |db| rows::count(db, &filter)).await
    }

    async fn ended(&self, ids: Vec<String>) -> Result<Vec<String>, OutboxError> {
        self.read(&self.lister, move |db| rows::ended(db, ids)).await
    }

    async fn show(&self, id: &str) -> Result<Option<HistoryEntry>, OutboxError> {
        let id = id.to_owned();
        self.read(&self.lister, move |db| rows::show(db, &id)).await
    }

    async fn get_state(&self, scope: &str, key: &str) -> Result<Option<Vec<u8>>, OutboxError> {
        let (scope, key) = (scope.to_owned(), key.to_owned());
        self.read(&self.reader, move |db| rows::get_state(db, &scope, &key)).await
    }

    async fn get_states(&self, scope: &str, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, OutboxError> {
        let (scope, keys) = (scope.to_owned(), keys.to_vec());
        self.read(&self.reader, move |db| keys.iter().map(|key| rows::get_state(db, &scope, key)).collect())
            .await
    }

    async fn list_state(&self, scope: &str) -> Result<Vec<(String, Vec<u8>)>, OutboxError> {
        let scope = scope.to_owned();
        self.read(&self.lister, move |db| rows::list_state(db, &scope)).await
    }

    async fn state_keys(&self, scope: &str) -> Result<Vec<String>, OutboxError> {
        let scope = scope.to_owned();
        self.read(&self.lister, move |db| rows::state_keys(db, &scope)).await
    }

    async fn get_handle(&self, key: &HandleKey) -> Result<Option<String>, OutboxError> {
        let key = key.clone();
        self.read(&self.reader, move |db| rows::get_handle(db, &key)).await
    }

    async fn put_handle(&self, key: &HandleKey, json: String, now: Timestamp) -> Result<(), OutboxError> {
        let key = key.clone();
        self.write(move |db| rows::put_handle(db, &key, &json, now)).await
    }

    async fn handles(&self, limit: u32) -> Result<Vec<(HandleKey, String)>, OutboxError> {
        self.read(&self.lister, move |db| rows::handles(db, limit)).await
    }

    async fn delete_handle(&self, key: &HandleKey) -> Result<(), OutboxError> {
        let key = key.clone();
        self.write(move |db| rows::delete_handle(db, &key)).await
    }

    async fn backlog(&self) -> Result<(u64, Option<Timestamp>), OutboxError> {
        self.read(&self.lister, rows::backlog).await
    }

    async fn prune(&self, retention: Retention, now: Timestamp) -> Result<usize, OutboxError> {
        self.write(move |db| rows::prune(db, retention, now)).await
    }

    async fn damaged(&self) -> OutboxError {
        let mut damaged = self.damaged.subscribe();
        // The sender is here: it can't be gone before.
        let _ = damaged.wait_for(|damaged| *damaged).await;
        self.damage()
    }

    async fn check(&self) -> Result<Vec<String>, OutboxError> {
        self.read(&self.lister, rows::check).await
    }
}
