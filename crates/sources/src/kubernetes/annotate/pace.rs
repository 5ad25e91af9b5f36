//! How many patches go at a time. Where the store is the record that counts, what is written onto objects trails behind:
//! it gives way to deliveries, and to everybody else whom a slow API server keeps waiting.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinSet;

/// Says whether there is something more urgent than records.
pub type Busy = Arc<dyn Fn() -> bool + Send + Sync>;

/// A server that answers within this is never slow.
const PATIENCE: Duration = Duration::from_millis(20);

/// A server that takes so many times as long as at its best is slow: others wait for it, too.
const SLOW: u32 = 4;

/// For each millisecond too long, so many milliseconds without a patch in its place; and beside deliveries for each
/// millisecond of a patch: they share the machine with the API server, or its patience.
const REST: u32 = 8;

/// No place rests longer.
const LONGEST_REST: Duration = Duration::from_secs(1);

/// The places for patches: free, in use, or resting.
pub(super) struct Pace {
    most: usize,
    trailing: Option<Busy>,
    fastest: Duration,
    resting: JoinSet<()>,
}

impl Pace {
    /// So many places. With `trailing` patches give way, without they don't.
    pub(super) fn new(most: usize, trailing: Option<Busy>) -> Pace {
        Pace { most: most.max(1), trailing, fastest: Duration::MAX, resting: JoinSet::new() }
    }

    /// Whether another patch may go beside those in flight.
    pub(super) fn has_room(&mut self, in_flight: usize) -> bool {
        while self.resting.try_join_next().is_some() {}
        in_flight + self.resting.len() < if self.is_busy() { 1 } else { self.most }
    }

    fn is_busy(&self) -> bool {
        self.trailing.as_ref().is_some_and(|busy| busy())
    }

    /// A patch ended.
    pub(super) fn landed(&mut self, took: Duration) {
        if self.trailing.is_none() {
            return;
        }
        self.fastest = self.fastest.min(took);
        let patience = self.fastest.saturating_mul(SLOW).max(PATIENCE);
        let too_long = if self.is_busy() { took } else { took.saturating_sub(patience) };
        let rest = too_long.saturating_mul(REST).min(LONGEST_REST);
        if !rest.is_zero() {
            self.resting.spawn(tokio::time::sleep(rest));
        }
    }

    /// Once a place has rested; never if none rests.
    pub(super) async fn rested(&mut self) {
        if self.resting.join_next().await.is_none() {
            std::future::pending().await
        }
    }

    /// The end is near: all places are in use from now on.
    pub(super) fn hurry(&mut self) {
        self.trailing = None;
        self.resting.abort_all();
    }
}
