//! The decision of one replica over one lease. Pure: no clock, no requests.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};

use super::{Leadership, LeaseError, Timing};

/// A lease as we read it, and since when its record has not changed before our eyes.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// The lease, or what it was before it vanished; `None` if there never was one.
    pub lease: Option<Lease>,
    /// Since when.
    pub since: Instant,
    /// Whether it is not there (any more).
    pub absent: bool,
}

/// What a replica does about a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Takes it: nobody holds it.
    Acquire,
    /// It is ours, and it is time to say so again.
    Renew,
    /// Nothing before then.
    Wait {
        /// When the lease runs out, or is to be renewed.
        until: Instant,
    },
    /// It was ours, and is not any more.
    Lost,
}

/// What to do about a lease. `renewed`: when our last successful renewal was sent, if we lead.
pub fn decide(seen: &Seen, me: &str, renewed: Option<Instant>, now: Instant, timing: &Timing) -> Decision {
    let holder = seen.lease.as_ref().map_or("", holder);
    if let Some(renewed) = renewed {
        if holder != me || now >= renewed + timing.renew_deadline {
            return Decision::Lost;
        }
        let until = renewed + timing.retry;
        return if seen.absent || now >= until { Decision::Renew } else { Decision::Wait { until } };
    }
    if holder == me {
        // An answer that never came: the write had succeeded.
        return Decision::Renew;
    }
    if holder.is_empty() {
        return Decision::Acquire;
    }
    // Also where the lease vanished: whoever held it may not know yet.
    let until = seen.since + duration(seen.lease.as_ref(), timing);
    if now >= until { Decision::Acquire } else { Decision::Wait { until } }
}

/// Who holds a lease; empty if nobody does.
pub(crate) fn holder(lease: &Lease) -> &str {
    lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default()
}

pub(crate) fn duration(lease: Option<&Lease>, timing: &Timing) -> Duration {
    let seconds = lease.and_then(|lease| lease.spec.as_ref()?.lease_duration_seconds);
    let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok()).filter(|seconds| *seconds > 0);
    seconds.map_or(timing.duration, Duration::from_secs)
}

fn term(lease: &Lease) -> i32 {
    lease.spec.as_ref().and_then(|spec| spec.lease_transitions).unwrap_or(0)
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Read the lease and tell [`Election::read`].
    Read,
    /// Create it and tell [`Election::wrote`].
    Create(Box<Lease>),
    /// Replace it, guarded by its resource version, and tell [`Election::wrote`].
    Update(Box<Lease>),
    /// Nothing before then.
    Wait(Instant),
}

/// One replica's view of one lease.
#[derive(Clone, Debug)]
pub struct Election {
    name: String,
    me: String,
    timing: Timing,
    seen: Option<Seen>,
    /// When the last successful renewal was sent.
    renewed: Option<Instant>,
    /// What we know is not what is there.
    stale: bool,
    next_read: Instant,
    next_write: Instant,
    labels: BTreeMap<String, String>,
    /// Annotations to write with the next renewal.
    wishes: BTreeMap<String, Option<String>>,
}

impl Election {
    /// A replica that knows nothing yet.
    pub fn new(name: &str, me: &str, timing: Timing, now: Instant) -> Election {
        Election {
            name: name.to_owned(),
            me: me.to_owned(),
            timing,
            seen: None,
            renewed: None,
            stale: true,
            next_read: now,
            next_write: now,
            labels: BTreeMap::new(),
            wishes: BTreeMap::new(),
        }
    }

    /// Labels for a lease that we create.
    #[must_use]
    pub fn labelled(mut self, labels: BTreeMap<String, String>) -> Election {
        self.labels = labels;
        self
    }

    /// What to do now. `wall` is only written down for people.
    pub fn step(&mut self, now: Instant, wall: Timestamp) -> Step {
        let Some(seen) = &self.seen else { return self.look(now) };
        let mut decision = decide(seen, &self.me, self.renewed, now, &self.timing);
        if decision == Decision::Lost {
            self.renewed = None;
            self.wishes.clear();
            decision = decide(seen, &self.me, None, now, &self.timing);
        }
        if self.stale {
            return self.look(now);
        }
        match decision {
            Decision::Acquire | Decision::Renew if now >= self.next_write => self.write(now, wall),
            Decision::Acquire | Decision::Renew => self.idle(self.next_write),
            _ if self.renewed.is_some() && !self.wishes.is_empty() && now >= self.next_write => {
                self.write(now, wall)
            }
            Decision::Wait { until } if self.renewed.is_some() => self.idle(until),
            Decision::Wait { .. } | Decision::Lost if now >= self.next_read => Step::Read,
            Decision::Wait { until } => self.idle(until.min(self.next_read)),
            Decision::Lost => self.idle(self.next_read),
        }
    }

    fn look(&self, now: Instant) -> Step {
        if now >= self.next_read { Step::Read } else { self.idle(self.next_read) }
    }

    fn idle(&self, until: Instant) -> Step {
        // The end of the leadership is a moment to wake up at, too.
        Step::Wait(self.valid_until().map_or(until, |valid| valid.min(until)))
    }

    fn write(&self, now: Instant, wall: Timestamp) -> Step {
        let seen = self.seen.as_ref();
        let old = seen.and_then(|seen| seen.lease.as_ref());
        let absent = seen.is_none_or(|seen| seen.absent);
        let mut metadata = match old {
            Some(old) if !absent => old.metadata.clone(),
            // What was noted on a lease that vanished is noted on the new one.
            old => ObjectMeta {
                name: Some(self.name.clone()),
                annotations: old.and_then(|old| old.metadata.annotations.clone()),
                labels: (!self.labels.is_empty()).then(|| self.labels.clone()),
                ..ObjectMeta::default()
            },
        };
        metadata.managed_fields = None;
        for (key, wish) in &self.wishes {
            let annotations = metadata.annotations.get_or_insert_default();
            match wish {
                Some(value) => drop(annotations.insert(key.clone(), value.clone())),
                None => drop(annotations.remove(key)),
            }
        }
        let ours = old.is_some_and(|old| holder(old) == self.me);
        let old = old.and_then(|old| old.spec.clone()).unwrap_or_default();
        let transitions = match (ours, old.lease_transitions) {
            (true, transitions) => transitions.unwrap_or(0),
            (false, None) => 0,
            (false, Some(transitions)) => transitions.saturating_add(1),
        };
        let spec = LeaseSpec {
            holder_identity: Some(self.me.clone()),
            lease_duration_seconds: i32::try_from(self.timing.duration.as_secs()).ok(),
            lease_transitions: Some(transitions),
            acquire_time: if ours { old.acquire_time } else { Some(MicroTime(wall)) },
            renew_time: Some(MicroTime(wall)),
            ..old
        };
        let lease = Box::new(Lease { metadata, spec: Some(spec) });
        debug_assert!(self.seen.as_ref().is_none_or(|seen| seen.since <= now));
        if absent { Step::Create(lease) } else { Step::Update(lease) }
    }

    /// What was read, or that there is no lease. A failure changes nothing but when to try again.
    pub fn read(&mut self, lease: Result<Option<Lease>, LeaseError>, now: Instant) {
        self.next_read = now + self.timing.retry;
        let Ok(lease) = lease else { return };
        self.stale = false;
        self.observe(lease, now);
    }

    fn observe(&mut self, lease: Option<Lease>, now: Instant) {
        match (&mut self.seen, lease) {
            (Some(seen), Some(lease)) => {
                let same = !seen.absent && seen.lease.as_ref().is_some_and(|old| old.spec == lease.spec);
                if !same {
                    seen.since = now;
                }
                seen.absent = false;
                seen.lease = Some(lease);
            }
            (Some(seen), None) => seen.absent = true,
            (seen, lease) => *seen = Some(Seen { absent: lease.is_none(), lease, since: now }),
        }
    }

    /// How a write that was sent at `sent` ended.
    pub fn wrote(&mut self, result: Result<Lease, LeaseError>, sent: Instant, now: Instant) {
        match result {
            Ok(lease) => {
                self.next_write = now;
                self.next_read = now + self.timing.retry;
                if holder(&lease) == self.me {
                    self.renewed = Some(sent);
                }
                let noted = lease.metadata.annotations.clone().unwrap_or_default();
                self.wishes.retain(|key, wish| noted.get(key) != wish.as_ref());
                self.stale = false;
                self.observe(Some(lease), now);
            }
            Err(LeaseError::Conflict | LeaseError::NotFound) => {
                self.stale = true;
                self.next_read = now;
                self.next_write = now;
            }
            Err(LeaseError::Failed(_)) => {
                // It may have been written all the same.
                self.stale = true;
                let soon = now + self.timing.retry / 2;
                self.next_read = soon;
                self.next_write = soon;
            }
        }
    }

    /// Wants an annotation on the lease, or none. Written once we lead.
    pub fn annotate(&mut self, key: &str, value: Option<&str>) {
        let same = self.annotations().and_then(|all| all.get(key)).map(String::as_str) == value;
        if same && !self.wishes.contains_key(key) {
            return;
        }
        self.wishes.insert(key.to_owned(), value.map(str::to_owned));
    }

    /// The annotations of the lease as last read.
    pub fn annotations(&self) -> Option<&BTreeMap<String, String>> {
        self.seen.as_ref()?.lease.as_ref()?.metadata.annotations.as_ref()
    }

    /// Who holds the lease as last read; `None` if nobody does, or if it ran out before our eyes.
    pub fn holder(&self, now: Instant) -> Option<&str> {
        let seen = self.seen.as_ref()?;
        let lease = seen.lease.as_ref()?;
        let until = seen.since + duration(Some(lease), &self.timing);
        Some(holder(lease)).filter(|holder| !holder.is_empty() && (*holder == self.me || now < until))
    }

    /// The lease's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether what we know may not be what is there.
    pub(crate) fn is_stale(&self) -> bool {
        self.stale
    }

    /// When the lease of another one runs out, if it is not renewed.
    pub(crate) fn runs_out(&self, now: Instant) -> Option<Instant> {
        let holder = self.holder(now).filter(|holder| *holder != self.me);
        let seen = self.seen.as_ref().filter(|_| holder.is_some())?;
        Some(seen.since + duration(seen.lease.as_ref(), &self.timing))
    }

    /// Until when we may act.
    pub fn valid_until(&self) -> Option<Instant> {
        self.renewed.map(|renewed| renewed + self.timing.renew_deadline)
    }

    /// Whether we act at this moment.
    pub fn leadership(&self, now: Instant) -> Leadership {
        let lease = self.seen.as_ref().and_then(|seen| seen.lease.as_ref());
        match (self.valid_until(), lease) {
            (Some(until), Some(lease)) if now < until && holder(lease) == self.me => {
                Leadership::Leading { term: term(lease) }
            }
            _ => Leadership::Standby,
        }
    }

    /// Stops leading; the lease to write so that others need not wait, if it is ours.
    pub fn release(&mut self, wall: Timestamp) -> Option<Lease> {
        self.renewed = None;
        let seen = self.seen.as_ref().filter(|seen| !seen.absent)?;
        let lease = seen.lease.as_ref().filter(|lease| holder(lease) == self.me)?;
        let mut metadata = lease.metadata.clone();
        metadata.managed_fields = None;
        let spec = LeaseSpec {
            holder_identity: Some(String::new()),
            lease_duration_seconds: Some(1),
            acquire_time: Some(MicroTime(wall)),
            renew_time: Some(MicroTime(wall)),
            ..lease.spec.clone().unwrap_or_default()
        };
        Some(Lease { metadata, spec: Some(spec) })
    }
}
