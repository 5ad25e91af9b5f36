//! Rate limits by the generic cell rate algorithm, which learn from refusals, and the circuit breaker.

use std::time::Duration;

use jiff::Timestamp;

use crate::clock::{between, later};

/// A configured limit: one each `interval`, and up to `burst` at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The steady distance between two.
    pub interval: Duration,
    /// How many may go at once after a rest.
    pub burst: u32,
}

impl Rate {
    /// No limit.
    pub const UNLIMITED: Rate = Rate { interval: Duration::ZERO, burst: 1 };

    /// One each `interval`.
    pub const fn one_per(interval: Duration) -> Rate {
        Rate { interval, burst: 1 }
    }
}

/// The interval that a first refusal teaches.
const FIRST_LESSON: Duration = Duration::from_millis(250);
const LONGEST_INTERVAL: Duration = Duration::from_secs(60);
/// So many successes in a row make the learned interval a fifth shorter.
const STREAK: u32 = 20;

/// The state of one limit.
#[derive(Clone, Debug)]
pub(crate) struct Limiter {
    rate: Rate,
    interval: Duration,
    /// The theoretical arrival time of the next one.
    next: Timestamp,
    hold: Timestamp,
    streak: u32,
}

impl Limiter {
    pub(crate) fn new(rate: Rate) -> Self {
        let (next, hold) = (Timestamp::MIN, Timestamp::MIN);
        Limiter { rate, interval: rate.interval, next, hold, streak: 0 }
    }

    /// When one may go: now or earlier means now.
    pub(crate) fn free_at(&self) -> Timestamp {
        let tolerance = self.interval.saturating_mul(self.rate.burst.saturating_sub(1));
        let millis = i64::try_from(tolerance.as_millis()).unwrap_or(i64::MAX);
        let by_rate = Timestamp::from_millisecond(self.next.as_millisecond().saturating_sub(millis))
            .unwrap_or(Timestamp::MIN);
        by_rate.max(self.hold)
    }

    /// One goes now.
    pub(crate) fn take(&mut self, now: Timestamp) {
        self.next = later(self.next.max(now), self.interval);
    }

    /// The other side said that it was too much.
    pub(crate) fn refused(&mut self, now: Timestamp, wait: Duration) {
        self.streak = 0;
        self.hold = self.hold.max(later(now, wait));
        self.interval = self.interval.saturating_mul(2).clamp(FIRST_LESSON, LONGEST_INTERVAL);
    }

    /// One was accepted: what was learned fades.
    pub(crate) fn accepted(&mut self) {
        self.streak += 1;
        if self.streak >= STREAK {
            self.streak = 0;
            self.interval = self.interval.mul_f64(0.8).max(self.rate.interval);
            if self.interval < Duration::from_millis(5) {
                self.interval = self.rate.interval;
            }
        }
    }

    /// Whether it can be forgotten: nothing learned, nothing to wait for.
    pub(crate) fn is_at_rest(&self, now: Timestamp) -> bool {
        self.interval == self.rate.interval && self.free_at() <= now && self.next <= now
    }
}

/// When a service that fails again and again is left in peace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerPolicy {
    /// Failures in a row, none of them the notice's own fault, until it opens.
    pub failures: u32,
    /// The first pause; it doubles with each probe that fails.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        BreakerPolicy {
            failures: 8,
            first_pause: Duration::from_secs(5),
            longest_pause: Duration::from_secs(2 * 60),
        }
    }
}

/// Whether a service instance is attempted at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Circuit {
    /// It is.
    Closed,
    /// Not until then.
    Open {
        /// When a probe may go.
        until: Timestamp,
    },
    /// One notice is on its way as a probe.
    Probing,
}

#[derive(Clone, Debug)]
pub(crate) struct Breaker {
    policy: BreakerPolicy,
    circuit: Circuit,
    failures: u32,
    pause: Duration,
}

/// What the breaker says to an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Permission {
    Go,
    At(Timestamp),
    /// When the probe is back.
    Later,
}

impl Breaker {
    pub(crate) fn new(policy: BreakerPolicy) -> Self {
        Breaker { policy, circuit: Circuit::Closed, failures: 0, pause: policy.first_pause }
    }

    pub(crate) fn circuit(&self) -> Circuit {
        self.circuit
    }

    pub(crate) fn permission(&self, now: Timestamp) -> Permission {
        match self.circuit {
            Circuit::Closed => Permission::Go,
            Circuit::Open { until } if between(now, until).is_zero() => Permission::Go,
            Circuit::Open { until } => Permission::At(until),
            Circuit::Probing => Permission::Later,
        }
    }

    /// An attempt begins.
    pub(crate) fn start(&mut self) {
        if matches!(self.circuit, Circuit::Open { .. }) {
            self.circuit = Circuit::Probing;
        }
    }

    /// The service answered, be it with a refusal.
    pub(crate) fn answered(&mut self) {
        *self = Breaker::new(self.policy);
    }

    /// An attempt failed by the service's fault.
    pub(crate) fn failed(&mut self, now: Timestamp) {
        self.failures = self.failures.saturating_add(1);
        match self.circuit {
            Circuit::Probing => {
                self.pause = self.pause.saturating_mul(2).min(self.policy.longest_pause);
                self.circuit = Circuit::Open { until: later(now, self.pause) };
            }
            Circuit::Closed if self.failures >= self.policy.failures => {
                self.pause = self.policy.first_pause;
                self.circuit = Circuit::Open { until: later(now, self.pause) };
            }
            Circuit::Closed | Circuit::Open { .. } => {}
        }
    }

    /// An attempt ended without any word on the service, such as one of ours that panicked.
    pub(crate) fn unknown(&mut self, now: Timestamp) {
        if self.circuit == Circuit::Probing {
            self.circuit = Circuit::Open { until: later(now, self.pause) };
        }
    }
}
