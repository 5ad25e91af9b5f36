//! What a store refuses, told once and not thousands of times.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{Outbox, OutboxError};

/// The same complaint is told again after this time at the earliest.
const AGAIN: Duration = Duration::from_secs(60);

/// When what was told last, and how often it happened since.
#[derive(Clone, Default)]
pub(super) struct Complaints(Arc<Mutex<BTreeMap<&'static str, (Instant, u64)>>>);

impl Complaints {
    /// Something failed. A store that has told itself what keeps it from working needs no further word.
    pub(super) fn about(&self, outbox: &dyn Outbox, what: &'static str, error: &OutboxError, notice: &str) {
        if outbox.trouble().is_some() {
            return tracing::debug!(%error, notice, "{what}");
        }
        match self.due(what, Instant::now()) {
            Some(0) => tracing::warn!(%error, notice, "{what}"),
            Some(more) => tracing::warn!(%error, notice, more, "{what}"),
            None => tracing::debug!(%error, notice, "{what}"),
        }
    }

    /// How many were not told before this one, if it is to be told.
    fn due(&self, what: &'static str, now: Instant) -> Option<u64> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match told.get_mut(what) {
            Some((at, more)) if now.duration_since(*at) < AGAIN => {
                *more += 1;
                None
            }
            other => {
                let more = other.map_or(0, |(_, more)| *more);
                told.insert(what, (now, 0));
                Some(more)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_told_once_a_minute_with_its_number() {
        let (complaints, now) = (Complaints::default(), Instant::now());
        assert_eq!(complaints.due("read", now), Some(0));
        assert_eq!((0..5).map(|_| complaints.due("read", now)).collect::<Vec<_>>(), [None; 5]);
        assert_eq!(complaints.due("write", now), Some(0));
        assert_eq!(complaints.due("read", now + AGAIN), Some(5));
        assert_eq!(complaints.due("read", now + AGAIN), None);
    }
}
