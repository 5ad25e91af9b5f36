//! Notices that are due, until they are delivered or given up; their history; and what is known of each object.
//!
//! A notice is durable before its first attempt. Its id is deterministic, so enqueuing it twice is once. Notices of one
//! lane (object, service, recipient) go in order; lanes don't wait for each other. What is inside a notice is the
//! caller's business.
//!
//! ```
//! use herald_outbox::*;
//! # use std::sync::Arc;
//! struct Print;
//! #[async_trait::async_trait]
//! impl Deliverer for Print {
//!     async fn deliver(&self, notice: &Notice, attempt: u32) -> Attempted {
//!         println!("{} for {}, attempt {attempt}", notice.id, notice.recipient);
//!         Attempted::Delivered { detail: "printed".into() }
//!     }
//! }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), OutboxError> {
//! # let (dir, now) = (tempfile::tempdir().unwrap(), jiff::Timestamp::UNIX_EPOCH);
//! # let notice = Notice { id: "web-completed-7".into(), object: ObjectRef::default(), trigger: "on-rollout-completed".into(),
//! #     service: "console".into(), recipient: "stdout".into(), created: now, due_after: now, payload: b"{}".to_vec() };
//! let outbox = Arc::new(SqliteOutbox::open(dir.path().join("state.db"), Access::Owner)?);
//! // The notice and what is now known of the object become durable together.
//! let cursor = StateEntry { scope: "cursor".into(), key: "prod/web".into(), value: b"7".to_vec() };
//! outbox.commit(Batch { enqueue: vec![notice], put_state: vec![cursor], ..Batch::default() }).await?;
//! let clock = Arc::new(SystemClock::default());
//! let courier = Courier::new(outbox.clone(), Arc::new(Print), clock, CourierOptions::default());
//! assert_eq!(courier.run_until_idle(3).await.delivered, 1);
//! assert_eq!(outbox.list(Filter::default()).await?[0].outcome, Outcome::Delivered);
//! # Ok(())
//! # }
//! ```

mod clock;
mod courier;
mod error;
mod grouping;
mod handles;
mod jetstream;
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
    grouping::{GroupBy, Grouping, GroupingRule, MuteTime, Muted},
    handles::HandleCache,
    jetstream::{JetStreamOutbox, NatsAddress, Role},
    notice::{Attempt, Filter, HistoryEntry, LaneKey, Notice, ObjectRef, Outcome, Place, Queued, Receipt},
    outbox::{Batch, Done, HandleKey, Outbox, Retention, StateEntry},
    sqlite::{Access, SqliteOutbox},
};
