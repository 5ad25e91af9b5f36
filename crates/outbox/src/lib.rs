//! Being built.

mod error;
mod notice;
mod outbox;
mod sqlite;

pub use self::{
    error::OutboxError,
    notice::{Attempt, Filter, HistoryEntry, LaneKey, Notice, ObjectRef, Outcome, Place, Queued, Receipt},
    outbox::{Batch, HandleKey, Outbox, Retention, StateEntry},
    sqlite::{Access, SqliteOutbox},
};
