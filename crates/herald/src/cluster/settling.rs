//! From the courier back to the records: which notices are settled.

use std::{sync::Arc, time::Duration};

use herald_outbox::{Notice, Observer, Outcome};
use jiff::Timestamp;
use tokio::sync::mpsc;

use super::session::Settled;
use crate::operator::Health;

/// Passes on what the courier tells, and who needs no more waiting.
pub(super) struct Settling {
    pub(super) health: Arc<Health>,
    pub(super) settle: mpsc::UnboundedSender<Settled>,
}

impl Settling {
    fn settled(&self, notice: &Notice) {
        let name = format!("{}/{}", notice.object.namespace, notice.object.name);
        // The session may have ended.
        let _ = self.settle.send((name, notice.id.clone()));
    }
}

impl Observer for Settling {
    fn attempted(&self, notice: &Notice, outcome: &str, took: Duration) {
        self.health.attempted(notice, outcome, took);
        if outcome == Outcome::Delivered.label() {
            self.settled(notice);
        }
    }

    fn given_up(&self, notice: &Notice, reason: &str, answer: &str) {
        self.health.given_up(notice, reason, answer);
        self.settled(notice);
    }

    fn done(&self, outcome: Outcome, count: usize) {
        self.health.done(outcome, count);
    }

    fn backlog(&self, waiting: u64, oldest: Option<Timestamp>) {
        self.health.backlog(waiting, oldest);
    }
}
