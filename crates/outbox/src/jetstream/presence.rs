//! Whether the server is there: said once when it is away, and once when it is back.
//!
//! Any failure is a doubt, and a probe tells what is behind it: one refused request is its caller's affair, a server that
//! answers nothing is everybody's.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::Inner;

/// Between two probes. A connection that is there again by then was never away.
const PAUSE: Duration = Duration::from_millis(500);

/// What is known of the server.
#[derive(Default)]
pub(super) struct Presence {
    away: Mutex<Option<Away>>,
    doubt: Notify,
}

struct Away {
    since: Instant,
    reason: String,
}

impl Presence {
    fn away(&self) -> MutexGuard<'_, Option<Away>> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something failed: it may be away.
    pub(super) fn doubt(&self) {
        self.doubt.notify_one();
    }

    /// Why it is of no use at present.
    pub(super) fn trouble(&self) -> Option<String> {
        let away = self.away();
        away.as_ref()
            .map(|away| format!("is away since {} s ({})", away.since.elapsed().as_secs(), away.reason))
    }

    /// Since when, to be told at once.
    fn gone(&self, since: Instant, reason: String, address: &str) {
        let mut away = self.away();
        match &mut *away {
            Some(away) => away.reason = reason,
            None => {
                tracing::error!(
                    "the outbox at {address} is away ({reason}): until it is back nothing new is accepted or delivered, \
                     and nothing is lost"
                );
                *away = Some(Away { since, reason });
            }
        }
    }

    fn back(&self, address: &str) {
        if let Some(away) = self.away().take() {
            tracing::info!("the outbox at {address} is back after {} s", away.since.elapsed().as_secs());
        }
    }
}

/// Looks at each doubt whether the server is there, as long as the outbox lives.
pub(super) async fn watch(outbox: Weak<Inner>) {
    let Some(presence) = outbox.upgrade().map(|inner| inner.stores.presence.clone()) else { return };
    loop {
        presence.doubt.notified().await;
        let since = Instant::now();
        let mut doubts = 0;
        loop {
            let Some(inner) = outbox.upgrade() else { return };
            match inner.stores.probe(&inner.worker).await {
                Ok(()) => {
                    presence.back(inner.stores.address());
                    break;
                }
                Err(reason) if doubts > 0 => presence.gone(since, reason, inner.stores.address()),
                Err(_) => doubts += 1,
            }
            drop(inner);
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Told by the client.
pub(super) fn heard(presence: &Arc<Presence>, event: &async_nats::Event) {
    if !matches!(event, async_nats::Event::Connected) {
        presence.doubt();
    }
}
