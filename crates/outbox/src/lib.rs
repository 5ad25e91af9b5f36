//! Being built.

mod clock;
mod courier;
mod error;
mod notice;
mod outbox;
mod sqlite;

pub use self::{
    clock::{Clock, SystemClock, VirtualClock},
    courier::{
        Attempted, BreakerPolicy, Circuit, Courier, CourierOptions, Deliverer, FailureClass, Next, Observer,
        Policies, Rate, Report, RetryPolicy, ServicePolicy,
    },
    error::OutboxError,
    notice::{Attempt, Filter, HistoryEntry, LaneKey, Notice, ObjectRef, Outcome, Place, Queued, Receipt},
    outbox::{Batch, HandleKey, Outbox, Retention, StateEntry},
    sqlite::{Access, SqliteOutbox},
};
