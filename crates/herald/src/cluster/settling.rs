//! From the courier back to the records: which notices are settled.

use std::{collections::HashMap, sync::Arc, time::Duration};

use herald_outbox::{Notice, Observer, Outbox, OutboxError, Outcome};
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

/// Notices that ended without being attempted (muted, part of a digest, dropped by a person) are settled, too: those of
/// the given ones that wait no longer.
pub(super) async fn ended(
    outbox: Arc<dyn Outbox>,
    waiting: Vec<Settled>,
) -> Result<Vec<Settled>, OutboxError> {
    let ids = waiting.iter().map(|(_, id)| id.clone()).collect();
    let mut names: HashMap<String, String> = waiting.into_iter().map(|(name, id)| (id, name)).collect();
    let ended = outbox.ended(ids).await?;
    Ok(ended.into_iter().filter_map(|id| names.remove(&id).map(|name| (name, id))).collect())
}
