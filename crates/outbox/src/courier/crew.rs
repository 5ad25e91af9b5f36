//! What work beside the plan needs: attempts, their results, and groups are written by tasks that hold one of these.

use std::{sync::Arc, time::Duration};

use super::{Deliverer, complaints::Complaints};
use crate::{Clock, Notice, Outbox, OutboxError, Place, clock::later};

/// Before a failed request to the store is tried again.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// Where notices are, who delivers them, and whom to tell of a store that refuses.
#[derive(Clone)]
pub(super) struct Crew {
    pub(super) outbox: Arc<dyn Outbox>,
    pub(super) deliverer: Arc<dyn Deliverer>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) complaints: Complaints,
}

impl Crew {
    /// A notice, as soon as the store gives it; none if it waits no more, or if the store is closed.
    pub(super) async fn load(&self, place: Place, id: &str) -> Option<Notice> {
        loop {
            match self.outbox.load(place).await {
                Ok(found) => return found,
                Err(OutboxError::Closed) => return None,
                Err(error) => self.refused("a notice can't be read, trying again soon", &error, id).await,
            }
        }
    }

    /// The store refused something: it is told, and soon tried again.
    pub(super) async fn refused(&self, what: &'static str, error: &OutboxError, notice: &str) {
        self.complaints.about(&*self.outbox, what, error, notice);
        self.clock.sleep_until(later(self.clock.now(), STORE_PAUSE)).await;
    }
}
