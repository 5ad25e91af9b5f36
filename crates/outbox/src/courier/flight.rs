//! One attempt: the notice is read, handed to the deliverer, and what became of it is written down.

use std::{any::Any, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt as _;
use jiff::Timestamp;

use super::{Attempted, FailureClass, crew::Crew, plan::Verdict};
use crate::{
    Attempt, Notice, OutboxError, Place, Queued, Receipt,
    clock::{between, later},
};

/// An attempt that ended.
pub(super) struct Flight {
    /// What was attempted; none if it waits no more.
    pub(super) notice: Option<Arc<Notice>>,
    /// How it ended; none if there was nothing to attempt.
    pub(super) attempted: Option<Attempted>,
    pub(super) began: Timestamp,
    pub(super) took: Duration,
    /// It was delivered, and that is written down.
    pub(super) recorded: bool,
}

/// What is to be written down of an attempt.
pub(super) struct Landing {
    pub(super) queued: Queued,
    pub(super) verdict: Verdict,
    pub(super) began: Timestamp,
    pub(super) took: Duration,
    pub(super) reason: String,
    /// The receiver's, or what failed.
    pub(super) answer: String,
}

impl Crew {
    /// Attempts it once; `attempt` counts from 1.
    pub(super) async fn fly(self, id: String, place: Place, attempt: u32, timeout: Duration) -> Flight {
        let Some(notice) = self.load(place, &id).await else {
            let began = self.clock.now();
            return Flight { notice: None, attempted: None, began, took: Duration::ZERO, recorded: false };
        };
        let began = self.clock.now();
        // A panic is a failure of this attempt only.
        let delivery = AssertUnwindSafe(self.deliverer.deliver(&notice, attempt)).catch_unwind();
        let attempted = tokio::select! {
            ended = delivery => ended.unwrap_or_else(|payload| panicked(&*payload)),
            () = self.clock.sleep_until(later(began, timeout)) => Attempted::failed(
                FailureClass::TimedOut,
                format!("no result within {} s", timeout.as_secs()),
            ),
        };
        let took = between(began, self.clock.now());
        // At once: what is accepted but not written down is sent again after a crash.
        let recorded = match &attempted {
            Attempted::Delivered { detail } => {
                let receipt = Receipt { at: later(began, took), took, detail: detail.clone() };
                self.outbox.delivered(&notice.id, receipt).await.is_ok()
            }
            _ => false,
        };
        Flight { notice: Some(Arc::new(notice)), attempted: Some(attempted), began, took, recorded }
    }

    /// Writes down what became of an attempt, as often as it takes; only a closed store keeps it from that.
    pub(super) async fn land(self, landing: Landing) -> (Queued, Verdict, Result<(), OutboxError>) {
        let Landing { queued, verdict, began, took, reason, answer } = landing;
        loop {
            let attempt = || Attempt { at: began, took, reason: reason.clone(), answer: answer.clone() };
            let written = match verdict {
                Verdict::Delivered => {
                    let receipt = Receipt { at: later(began, took), took, detail: answer.clone() };
                    self.outbox.delivered(&queued.id, receipt).await
                }
                Verdict::Retry { due, waited } => self.outbox.retry(&queued.id, due, waited, attempt()).await,
                Verdict::GiveUp => self.outbox.give_up(&queued.id, &reason, attempt()).await,
                Verdict::Gone | Verdict::Postpone { .. } => Ok(()),
            };
            match written {
                Ok(()) | Err(OutboxError::Closed) => return (queued, verdict, written),
                Err(error) => {
                    self.refused("a result can't be written down, trying again", &error, &queued.id).await;
                }
            }
        }
    }
}

fn panicked(payload: &(dyn Any + Send)) -> Attempted {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let message = format!("the delivery panicked: {}", text.unwrap_or_default());
    Attempted::failed(FailureClass::Panicked, message)
}
