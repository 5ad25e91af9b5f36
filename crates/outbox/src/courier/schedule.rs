//! When to try again: a pure function.

use std::time::Duration;

/// Why an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureClass {
    /// The other side understood and refused: another attempt gives the same answer.
    Rejected,
    /// The other side asks for patience.
    Throttled,
    /// No connection, a broken one, or one that isn't trusted.
    Unreachable,
    /// No answer in time.
    TimedOut,
    /// The other side failed by itself, or gave an answer that makes no sense.
    ServerError,
    /// Options, template or recipient can't work.
    Misconfigured,
    /// The deliverer itself failed.
    Panicked,
}

impl FailureClass {
    /// All classes.
    pub const ALL: [FailureClass; 7] = [
        FailureClass::Rejected,
        FailureClass::Throttled,
        FailureClass::Unreachable,
        FailureClass::TimedOut,
        FailureClass::ServerError,
        FailureClass::Misconfigured,
        FailureClass::Panicked,
    ];

    /// The word for it in history and metrics.
    pub fn label(self) -> &'static str {
        match self {
            FailureClass::Rejected => "rejected",
            FailureClass::Throttled => "throttled",
            FailureClass::Unreachable => "unreachable",
            FailureClass::TimedOut => "timed_out",
            FailureClass::ServerError => "server_error",
            FailureClass::Misconfigured => "misconfigured",
            FailureClass::Panicked => "panicked",
        }
    }

    /// Whether another attempt may succeed.
    pub fn is_retryable(self) -> bool {
        !matches!(self, FailureClass::Rejected | FailureClass::Misconfigured)
    }

    /// Whether it says that the service as a whole is unwell, not this one notice.
    pub fn blames_service(self) -> bool {
        matches!(self, FailureClass::Unreachable | FailureClass::TimedOut | FailureClass::ServerError)
    }
}

/// A retry schedule, one for each service instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The delay after the first failure; it doubles with each one.
    pub first: Duration,
    /// The longest delay by the schedule itself.
    pub longest: Duration,
    /// No other side may make us wait longer than this.
    pub longest_retry_after: Duration,
    /// Given up when the planned delays together would be longer than this.
    pub give_up_after: Duration,
    /// A deliverer that panics is a fault of ours, which patience seldom heals: at most so many attempts.
    pub panics: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy {
            first: Duration::from_secs(2),
            longest: Duration::from_secs(30 * 60),
            longest_retry_after: Duration::from_secs(60 * 60),
            give_up_after: Duration::from_secs(24 * 60 * 60),
            panics: 5,
        }
    }
}

/// What to do after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Try again after this delay.
    After(Duration),
    /// It becomes a dead letter.
    GiveUp,
}

impl RetryPolicy {
    /// What to do after attempt number `attempt` (from 1) failed. `waited` is the sum of the delays so far; `jitter` is a
    /// number from 0 to 1 that spreads the delay between half of it and all of it, so that what failed together isn't
    /// tried together.
    pub fn next(
        &self,
        class: FailureClass,
        attempt: u32,
        waited: Duration,
        retry_after: Option<Duration>,
        jitter: f64,
    ) -> Next {
        if !class.is_retryable() || (class == FailureClass::Panicked && attempt >= self.panics) {
            return Next::GiveUp;
        }
        let doublings = attempt.saturating_sub(1).min(30);
        let full = self.first.saturating_mul(1 << doublings).min(self.longest);
        let jitter = if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 1.0 };
        let spread = full.mul_f64(0.5 + jitter / 2.0);
        let delay = match retry_after {
            // Never earlier than asked for; the spread comes on top, in small.
            Some(asked) => {
                let asked = asked.min(self.longest_retry_after);
                asked + asked.mul_f64(jitter / 10.0).min(full)
            }
            None => spread,
        };
        if waited.saturating_add(delay) > self.give_up_after { Next::GiveUp } else { Next::After(delay) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Every class × with and without `Retry-After`: the bounds of the delay, by hand from the policy's words.
    #[test]
    fn every_class_and_header() {
        let policy = RetryPolicy::default();
        let minute = 60 * SECOND;
        for class in FailureClass::ALL {
            let retried = !matches!(class, FailureClass::Rejected | FailureClass::Misconfigured);
            // (attempt, Retry-After, least, most)
            let table = [
                (1, None, SECOND, 2 * SECOND),
                (2, None, 2 * SECOND, 4 * SECOND),
                (4, None, 8 * SECOND, 16 * SECOND),
                (1, Some(30 * SECOND), 30 * SECOND, 32 * SECOND),
                (4, Some(30 * SECOND), 30 * SECOND, 33 * SECOND),
                (1, Some(Duration::ZERO), Duration::ZERO, Duration::ZERO),
                (1, Some(1000 * minute), 60 * minute, 60 * minute + 2 * SECOND),
            ];
            for (attempt, retry_after, least, most) in table {
                for jitter in [0.0, 0.25, 0.5, 1.0] {
                    match policy.next(class, attempt, Duration::ZERO, retry_after, jitter) {
                        Next::After(delay) => {
                            assert!(retried, "{class:?} is not to be retried");
                            assert!(
                                least <= delay && delay <= most,
                                "{class:?} {attempt} {retry_after:?}: {delay:?}"
                            );
                        }
                        Next::GiveUp => assert!(!retried, "{class:?} {attempt}"),
                    }
                }
                assert!(matches!(
                    policy.next(class, attempt, 24 * 60 * minute, Some(SECOND), 0.5),
                    Next::GiveUp
                ));
            }
        }
    }

    #[test]
    fn jitter_reaches_both_ends_and_nonsense_is_harmless() {
        let policy = RetryPolicy::default();
        let next = |jitter| policy.next(FailureClass::TimedOut, 3, Duration::ZERO, None, jitter);
        assert_eq!(next(0.0), Next::After(4 * SECOND));
        assert_eq!(next(1.0), Next::After(8 * SECOND));
        assert_eq!(next(7.0), Next::After(8 * SECOND));
        assert_eq!(next(f64::NAN), Next::After(8 * SECOND));
    }

    #[test]
    fn the_default_goes_on_for_24_hours() {
        let policy = RetryPolicy::default();
        for jitter in [0.0, 1.0] {
            let (mut waited, mut attempt) = (Duration::ZERO, 1);
            while let Next::After(delay) =
                policy.next(FailureClass::Unreachable, attempt, waited, None, jitter)
            {
                waited += delay;
                attempt += 1;
            }
            assert!(
                waited <= policy.give_up_after && waited > policy.give_up_after - policy.longest,
                "{waited:?}"
            );
        }
        assert_eq!(
            policy.next(FailureClass::TimedOut, u32::MAX, Duration::ZERO, None, 1.0),
            Next::After(policy.longest)
        );
    }

    #[test]
    fn panics_are_given_up_soon() {
        let policy = RetryPolicy::default();
        let next = |attempt| policy.next(FailureClass::Panicked, attempt, Duration::ZERO, None, 1.0);
        assert!(matches!(next(4), Next::After(_)));
        assert_eq!(next(5), Next::GiveUp);
    }
}
