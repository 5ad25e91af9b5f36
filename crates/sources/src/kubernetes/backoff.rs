//! Waiting longer and longer, and never all at the same moment.

use std::{
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(5);

/// How long to wait before the next try.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff { next: FIRST }
    }
}

impl Backoff {
    /// The next wait: half of it fixed, half of it by chance.
    pub(crate) fn next(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(LONGEST);
        let half = wait / 2;
        half + Duration::from_millis(Backoff::jitter(half.as_millis() as u64))
    }

    /// A number up to this one, by chance.
    pub(crate) fn jitter(up_to: u64) -> u64 {
        // Each state of the standard library's hasher has keys of its own.
        RandomState::new().hash_one(0_u8) % (up_to + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_limit() {
        let mut backoff = Backoff::default();
        for wait in [200_u64, 400, 800, 1600, 3200, 5000, 5000] {
            let got = backoff.next().as_millis() as u64;
            assert!((wait / 2..=wait).contains(&got), "{got} is not within {wait}");
        }
    }
}
