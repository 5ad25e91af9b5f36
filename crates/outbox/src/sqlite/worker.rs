//! The threads that talk to SQLite: one writes, in groups; others read.

use std::{path::Path, sync::Arc};

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::{checkpoint::Checkpointer, open::classify, thread::Thread};
use crate::OutboxError;

/// Operations that wait for the writer before callers have to.
const QUEUE: usize = 4096;

/// Operations that share one transaction: one wait for the disk serves them all.
const GROUP: usize = 1024;

/// Told once it is known whether the group became durable.
type Reply = Box<dyn FnOnce(Result<(), OutboxError>) + Send>;

/// An operation inside the group's transaction.
type Job = Box<dyn FnOnce(&Connection) -> Reply + Send>;

/// A handle to a thread; the thread ends when all handles are gone and what was asked for is done.
pub(super) struct Worker {
    jobs: mpsc::Sender<Job>,
    _thread: Thread,
    path: Arc<Path>,
}

impl Worker {
    pub(super) fn writer(
        connection: Connection,
        owner: Option<Connection>,
        path: Arc<Path>,
    ) -> Result<Self, OutboxError> {
        let mut connection = connection;
        let checkpointer = Checkpointer::start(&mut connection, &path);
        let mut checkpointer = checkpointer.map_err(|error| classify(&path, &error))?;
        Worker::start("outbox-writer", path.clone(), move |mut jobs| {
            while let Some(job) = jobs.blocking_recv() {
                write_group(&mut connection, job, &mut jobs, &path);
                checkpointer.committed(&connection);
            }
            drop(checkpointer);
            drop(connection);
            // Last, so that the next owner finds everything written.
            drop(owner);
        })
    }

    pub(super) fn reader(connection: Connection, path: Arc<Path>) -> Result<Self, OutboxError> {
        Worker::start("outbox-reader", path, move |mut jobs| {
            while let Some(job) = jobs.blocking_recv() {
                job(&connection)(Ok(()));
            }
        })
    }

    fn start(
        name: &str,
        path: Arc<Path>,
        run: impl FnOnce(mpsc::Receiver<Job>) + Send + 'static,
    ) -> Result<Self, OutboxError> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let thread = Thread::start(name, move || run(receiver)).map_err(|error| OutboxError::Open {
            path: path.to_path_buf(),
            reason: format!("no thread for it: {error}"),
        })?;
        Ok(Worker { jobs: sender, _thread: thread, path })
    }

    /// Runs a piece of work on the thread; for a writer the answer comes once it is durable.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, OutboxError> {
        let (answer, answered) = oneshot::channel();
        let path = self.path.clone();
        let job: Job = Box::new(move |connection| {
            let result = within_savepoint(connection, work).map_err(|error| classify(&path, &error));
            Box::new(move |committed| {
                // The caller may have gone; what it asked for is done all the same.
                let _ = answer.send(committed.and(result));
            })
        });
        self.jobs.send(job).await.map_err(|_| OutboxError::Closed)?;
        answered.await.map_err(|_| OutboxError::Closed)?
    }
}

/// One failing operation undoes itself only, not the others of its group.
fn within_savepoint<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    if connection.is_autocommit() {
        return work(connection);
    }
    connection.prepare_cached("SAVEPOINT operation")?.execute([])?;
    let result = work(connection);
    // After a full disk SQLite has undone the whole transaction already; then the commit fails and everybody hears of it.
    if result.is_err() && !connection.is_autocommit() {
        connection.prepare_cached("ROLLBACK TO operation")?.execute([])?;
    }
    if !connection.is_autocommit() {
        connection.prepare_cached("RELEASE operation")?.execute([])?;
    }
    result
}

fn write_group(connection: &mut Connection, first: Job, jobs: &mut mpsc::Receiver<Job>, path: &Path) {
    let mut replies = Vec::new();
    let committed = match connection.transaction_with_behavior(TransactionBehavior::Immediate) {
        Ok(transaction) => {
            replies.push(first(&transaction));
            while replies.len() < GROUP && !transaction.is_autocommit() {
                match jobs.try_recv() {
                    Ok(job) => replies.push(job(&transaction)),
                    Err(_) => break,
                }
            }
            transaction.commit()
        }
        Err(error) => {
            // Outside of a transaction the job would write by itself; an unusable connection makes it fail instead.
            match Connection::open_in_memory() {
                Ok(nowhere) => replies.push(first(&nowhere)),
                Err(_) => drop(first),
            }
            Err(error)
        }
    };
    let committed = committed.map_err(|error| classify(path, &error));
    for reply in replies {
        reply(committed.clone());
    }
}
