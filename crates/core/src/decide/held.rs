//! How long conditions have held and who was told: what `for`, `resolve` and `repeatEvery` must remember.
//!
//! The clock is an argument and may jump. Time counts only while somebody looks: a look that comes much later than
//! [`Decision::next_look`](super::Decision::next_look) asked for, or before the look that went before, may mean a clock
//! that jumped, so the time since the last look counts for nothing. So a jump makes nothing come early, and nothing is
//! lost or doubled; what waits waits on for what was left of its time. A jump happens once: if the next look is late
//! as well, then looks are late here (a job that runs hourly), and the time counts.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How late a look may be, in microseconds.
const LATE: i64 = 60_000_000;
/// While something waits, it is looked at least this often, in microseconds: a jump of the clock hides in no longer
/// time.
const LONGEST: i64 = 600_000_000;

/// What `for`, `resolve` and `repeatEvery` must remember of an object from one look to the next. Small, and empty
/// where no condition with one of these fields holds. Times are Unix microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Held {
    /// When it was last looked at.
    seen: i64,
    /// When the next look was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<i64>,
    /// Whether the last look was late.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    late: bool,
    /// The conditions that hold, by trigger and key.
    #[serde(rename = "c")]
    pub(super) conditions: BTreeMap<String, Episode>,
}

/// A time in which a condition holds without a pause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Episode {
    /// Since when, with what `oncePer` says now.
    pub(super) since: i64,
    /// What `oncePer` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) once: Option<String>,
    /// Who was told, by destination.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) told: BTreeMap<String, Told>,
    /// Whether it began at this look.
    #[serde(skip)]
    pub(super) new: bool,
}

/// What somebody was told of an episode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    /// The dedupe key.
    pub(super) key: String,
    /// When, the last time.
    pub(super) at: i64,
    /// How often it was repeated.
    #[serde(default)]
    pub(super) repeats: u32,
    /// It was only recorded, so there is nothing to repeat or to resolve.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) silent: bool,
}

impl Held {
    /// Whether there is nothing to remember.
    pub fn is_empty(&self) -> bool {
        self.conditions.is_empty()
    }

    /// The record at a look.
    pub(super) fn looked_at(&self, now: i64) -> Held {
        let mut held = self.clone();
        let passed = now.saturating_sub(held.seen);
        let late = held.next.is_some_and(|next| now > next.saturating_add(LATE));
        for episode in held.conditions.values_mut() {
            episode.new = false;
        }
        if passed < 0 || (late && !held.late) {
            for episode in held.conditions.values_mut() {
                episode.since = episode.since.saturating_add(passed);
                for told in episode.told.values_mut() {
                    told.at = told.at.saturating_add(passed);
                }
            }
        }
        held.seen = now;
        held.late = late;
        held.next = None;
        held
    }

    /// Asks for a look.
    pub(super) fn ask(&mut self, at: i64) {
        let at = at.min(self.seen.saturating_add(LONGEST));
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }

    /// The record to keep, and when the next look is wanted.
    pub(super) fn finish(self) -> (Held, Option<Timestamp>) {
        if self.conditions.is_empty() {
            return (Held::default(), None);
        }
        let next = self.next.and_then(|next| Timestamp::from_microsecond(next).ok());
        (self, next)
    }

    /// The condition holds: its episode goes on, or begins.
    pub(super) fn holds(&mut self, key: &str, once: Option<&str>) {
        let now = self.seen;
        let episode = self.conditions.entry(key.to_owned()).or_insert_with(|| Episode {
            since: now,
            once: once.map(str::to_owned),
            told: BTreeMap::new(),
            new: true,
        });
        // What `oncePer` distinguishes is timed apart.
        if episode.once.as_deref() != once {
            episode.since = now;
            episode.once = once.map(str::to_owned);
        }
    }
}

/// A time for people.
pub(super) fn moment(micros: i64) -> String {
    Timestamp::from_microsecond(micros).map_or_else(|_| micros.to_string(), |at| at.to_string())
}
