//! The end of `--once` with an outbox that others share.

use std::time::{Duration, Instant};

use herald_outbox::{Filter, HistoryEntry, Outbox, OutboxError, Outcome};

/// How often it is counted what waits.
const PERIOD: Duration = Duration::from_millis(300);
/// Whoever has claimed what waits, and died, is replaced within this time.
const PATIENCE: Duration = Duration::from_secs(30);
/// So many of what waits are looked at.
const LOOKED_AT: u32 = 1000;

/// Returns when nothing waits, when all that waits was tried so often or is held back, or when nothing moves any more.
pub(super) async fn drained(outbox: &dyn Outbox, attempts: u32) -> Result<(), OutboxError> {
    let mut before = None;
    let mut moved = Instant::now();
    loop {
        let (waiting, _) = outbox.backlog().await?;
        if waiting == 0 {
            return Ok(());
        }
        let pending = Filter { outcome: Some(Outcome::Pending), limit: Some(LOOKED_AT), ..Filter::default() };
        let found = outbox.list(pending).await?;
        let stands = (waiting, found.iter().map(|entry| u64::from(entry.attempts)).sum::<u64>());
        if before.replace(stands) != Some(stands) {
            moved = Instant::now();
        }
        let left = |entry: &HistoryEntry| {
            entry.attempts >= attempts || (entry.attempts == 0 && entry.reason.is_some())
        };
        if found.iter().all(left) && moved.elapsed() > PERIOD || moved.elapsed() > PATIENCE {
            return Ok(());
        }
        tokio::time::sleep(PERIOD).await;
    }
}
