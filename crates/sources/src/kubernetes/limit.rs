//! How many requests the API server gets from us.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// So many requests in a second, and so many at once after a rest: the flags `--qps` and `--burst`. Shared by all that
/// write.
#[derive(Debug)]
pub struct RequestLimit {
    /// Between two requests.
    interval: Duration,
    /// So far ahead of its time a request may be.
    tolerance: Duration,
    /// When the next request would be on time.
    next: Mutex<Option<Instant>>,
}

impl RequestLimit {
    /// A limit; 0 requests in a second means none.
    pub fn new(qps: f64, burst: u32) -> RequestLimit {
        let interval = if qps > 0.0 {
            Duration::try_from_secs_f64(1.0 / qps).unwrap_or_default()
        } else {
            Duration::ZERO
        };
        RequestLimit { interval, tolerance: interval * burst.saturating_sub(1), next: Mutex::new(None) }
    }

    /// Takes a place; how long to wait for it.
    fn take(&self, now: Instant) -> Duration {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let place = next.map_or(now, |next| next.max(now));
        *next = Some(place + self.interval);
        place.saturating_duration_since(now).saturating_sub(self.tolerance)
    }

    /// Waits for a place.
    pub async fn wait(&self) {
        let wait = self.take(tokio::time::Instant::now().into_std());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let limit = RequestLimit::new(10.0, 3);
        let start = Instant::now();
        let waits: Vec<u128> = (0..6).map(|_| limit.take(start).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 100, 200, 300]);
        // After a rest there is a burst again.
        let later = start + Duration::from_secs(10);
        let waits: Vec<u128> = (0..4).map(|_| limit.take(later).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 100]);
        assert_eq!(RequestLimit::new(0.0, 0).take(start), Duration::ZERO);
    }
}
