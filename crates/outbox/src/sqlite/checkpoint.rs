//! Moves what was written into the main file, on a thread of its own: that waits for the disk, and no notice should.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI32, AtomicU8, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
};

use rusqlite::Connection;

use super::thread::Thread;

/// Pages of the log from which on they are moved.
const PAGES: i32 = 2_000;

/// Pages of the log from which on the writer waits for the disk itself: nothing else keeps the log from growing.
const MOST_PAGES: i32 = 32_000;

/// Whose turn it is. While the thread moves pages the writer adds some. These few the writer moves itself, as the log can
/// only start over when nothing is left in it.
const WAITING: u8 = 0;
const MOVING: u8 = 1;
const MOVED: u8 = 2;

/// The thread, and how long the log is.
pub(super) struct Checkpointer {
    /// Pages in the log after the last commit.
    log: Arc<AtomicI32>,
    /// Pages that were in it when the rest was moved last; a reader may have kept it from starting over.
    left: i32,
    turn: Arc<AtomicU8>,
    wake: SyncSender<()>,
    _thread: Option<Thread>,
}

impl Checkpointer {
    /// Takes over from SQLite's own checkpoints of this connection, whose commits would wait for them.
    pub(super) fn start(writer: &mut Connection, path: &Path) -> rusqlite::Result<Self> {
        let own = Connection::open(path)?;
        let log = Arc::new(AtomicI32::new(0));
        let pages = log.clone();
        writer.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, length| {
            pages.store(length, Ordering::Relaxed);
            Ok(())
        }))?;
        let turn = Arc::new(AtomicU8::new(WAITING));
        let (wake, woken) = sync_channel(1);
        let its_turn = turn.clone();
        // Without a thread the writer moves them.
        let thread = Thread::start("outbox-checkpoint", move || run(&own, &its_turn, &woken)).ok();
        Ok(Checkpointer { log, left: 0, turn, wake, _thread: thread })
    }

    /// A group was committed, and everybody was told.
    pub(super) fn committed(&mut self, writer: &Connection) {
        let pages = self.log.load(Ordering::Relaxed);
        if pages < self.left {
            self.left = 0; // it has started over
        }
        let turn = self.turn.load(Ordering::Acquire);
        if turn == MOVED || pages >= MOST_PAGES {
            move_pages(writer);
            self.left = pages;
            self.turn.store(WAITING, Ordering::Release);
        } else if turn == WAITING && pages - self.left >= PAGES {
            self.turn.store(MOVING, Ordering::Release);
            if self.wake.try_send(()).is_err() {
                self.turn.store(MOVED, Ordering::Release);
            }
        }
    }
}

fn run(own: &Connection, turn: &AtomicU8, woken: &Receiver<()>) {
    while woken.recv().is_ok() {
        move_pages(own);
        turn.store(MOVED, Ordering::Release);
    }
}

/// Moves what nobody needs in the log any more, and waits for nobody.
fn move_pages(connection: &Connection) {
    // What can't be moved now stays in the log, where it is safe and readable; a full disk is told by the next commit.
    if let Err(error) = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
        tracing::debug!(%error, "the outbox's log is not moved into the main file now");
    }
}
