//! Time, given from outside so that tests don't wait for it.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::watch;

/// Where the courier has its time from.
#[async_trait]
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;
    /// Returns at this time or later.
    async fn sleep_until(&self, time: Timestamp);
}

/// The time plus a span, at most the end of time.
pub(crate) fn later(time: Timestamp, span: Duration) -> Timestamp {
    let millis = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(time.as_millisecond().saturating_add(millis)).unwrap_or(Timestamp::MAX)
}

/// The span from one time to another, zero if that is in the past.
pub(crate) fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

/// The machine's clock as it was at the start, going on steadily: a clock that is set an hour back delays no retry.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: Timestamp,
    since: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        SystemClock { start: Timestamp::now(), since: Instant::now() }
    }
}

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        later(self.start, self.since.elapsed())
    }

    async fn sleep_until(&self, time: Timestamp) {
        // One more millisecond: `now` is cut to whole ones.
        let rest = between(self.now(), time);
        if !rest.is_zero() {
            tokio::time::sleep(rest + Duration::from_millis(1)).await;
        }
    }
}

/// A clock that only moves when it is told to, for tests.
#[derive(Clone, Debug)]
pub struct VirtualClock {
    now: watch::Sender<Timestamp>,
}

impl VirtualClock {
    /// A clock that stands at this time.
    pub fn new(now: Timestamp) -> Self {
        VirtualClock { now: watch::Sender::new(now) }
    }

    /// Moves it.
    pub fn advance(&self, by: Duration) {
        self.now.send_modify(|now| *now = later(*now, by));
    }
}

#[async_trait]
impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        *self.now.borrow()
    }

    async fn sleep_until(&self, time: Timestamp) {
        let mut receiver = self.now.subscribe();
        // The sender lives in `self`, so this only ends when the time has come.
        let _ = receiver.wait_for(|now| *now >= time).await;
    }
}
