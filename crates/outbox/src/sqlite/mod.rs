//! The outbox in a SQLite file.

mod open;
mod rows;
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
    // The courier's short reads never wait behind a long listing.
    reader: Worker,
    lister: Worker,
    // Closed last, which leaves everything in the main file.
    writer: Option<Worker>,
    changes: watch::Sender<u64>,
}

impl SqliteOutbox {
    /// Opens the file, making it if there is none (not for [`Access::ReadOnly`]).
    pub fn open(path: impl Into<PathBuf>, access: Access) -> Result<Self, OutboxError> {
        let path: Arc<Path> = path.into().into();
        let writer = match access {
            Access::ReadOnly => None,
            Access::Guest => Some(Worker::writer(open::writer(&path)?, None, path.clone())?),
            Access::Owner => {
                // A path that is no state file gets no lock file beside it; nobody else's file is migrated.
                open::inspect(&path)?;
                let owner = open::own(&path)?;
                Some(Worker::writer(open::writer(&path)?, Some(owner), path.clone())?)
            }
        };
        let reader = Worker::reader(open::reader(&path)?, path.clone())?;
        let lister = Worker::reader(open::reader(&path)?, path.clone())?;
        Ok(SqliteOutbox { path, reader, lister, writer, changes: watch::Sender::new(0) })
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
            Some(writer) => writer.run(work).await,
            None => Err(OutboxError::ReadOnly { path: self.path.to_path_buf() }),
        }
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
        self.reader.run(move |db| rows::pending(db, after, limit)).await
    }

    async fn pending_in_lane(
        &self,
        lane: &LaneKey,
        after: Place,
        limit: u32,
    ) -> Result<Vec<Queued>, OutboxError> {
        let lane = lane.clone();
        self.reader.run(move |db| rows::pending_in_lane(db, &lane, after, limit)).await
    }

    async fn load(&self, place: Place) -> Result<Option<Notice>, OutboxError> {
        self.reader.run(move |db| rows::load(db, place)).await
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
        self.lister.run(move |db| rows::list(db, &filter)).await
    }

    async fn count(&self, filter: Filter) -> Result<u64, OutboxError> {
        self.lister.run(move |db| rows::count(db, &filter)).await
    }

    async fn show(&self, id: &str) -> Result<Option<HistoryEntry>, OutboxError> {
        let id = id.to_owned();
        self.lister.run(move |db| rows::show(db, &id)).await
    }

    async fn get_state(&self, scope: &str, key: &str) -> Result<Option<Vec<u8>>, OutboxError> {
        let (scope, key) = (scope.to_owned(), key.to_owned());
        self.reader.run(move |db| rows::get_state(db, &scope, &key)).await
    }

    async fn list_state(&self, scope: &str) -> Result<Vec<(String, Vec<u8>)>, OutboxError> {
        let scope = scope.to_owned();
        self.lister.run(move |db| rows::list_state(db, &scope)).await
    }

    async fn get_handle(&self, key: &HandleKey) -> Result<Option<String>, OutboxError> {
        let key = key.clone();
        self.reader.run(move |db| rows::get_handle(db, &key)).await
    }

    async fn put_handle(&self, key: &HandleKey, json: String, now: Timestamp) -> Result<(), OutboxError> {
        let key = key.clone();
        self.write(move |db| rows::put_handle(db, &key, &json, now)).await
    }

    async fn handles(&self, limit: u32) -> Result<Vec<(HandleKey, String)>, OutboxError> {
        self.lister.run(move |db| rows::handles(db, limit)).await
    }

    async fn delete_handle(&self, key: &HandleKey) -> Result<(), OutboxError> {
        let key = key.clone();
        self.write(move |db| rows::delete_handle(db, &key)).await
    }

    async fn backlog(&self) -> Result<(u64, Option<Timestamp>), OutboxError> {
        self.lister.run(rows::backlog).await
    }

    async fn prune(&self, retention: Retention, now: Timestamp) -> Result<usize, OutboxError> {
        self.write(move |db| rows::prune(db, retention, now)).await
    }

    async fn check(&self) -> Result<Vec<String>, OutboxError> {
        self.lister.run(rows::check).await
    }
}
