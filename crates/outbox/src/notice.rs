//! A notice and what is known of its deliveries.

use std::{fmt, sync::Arc, time::Duration};

use jiff::Timestamp;

/// The object that a notice speaks of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectRef {
    /// Namespace, empty for cluster-wide objects.
    pub namespace: String,
    /// Kind, such as `Rollout`.
    pub kind: String,
    /// Name.
    pub name: String,
    /// The uid, empty if unknown. No part of the lane: an object that is created anew keeps its place in the order.
    pub uid: String,
}

/// One notification for one destination. What it says is in `payload`, which nobody in this crate looks into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The same occurrence for the same destination always has the same id, so enqueuing it twice is once.
    pub id: String,
    /// The object it speaks of.
    pub object: ObjectRef,
    /// The trigger that made it due.
    pub trigger: String,
    /// The service instance that delivers it.
    pub service: String,
    /// The recipient at that service.
    pub recipient: String,
    /// When it became due for the first time.
    pub created: Timestamp,
    /// Not to be attempted before this.
    pub due_after: Timestamp,
    /// What to deliver, in a versioned form that only the caller knows.
    pub payload: Vec<u8>,
}

impl Notice {
    /// The lane that this notice waits in.
    pub fn lane(&self) -> LaneKey {
        LaneKey::new(&self.object, &self.service, &self.recipient)
    }
}

/// The order key of notices: object, service and recipient. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneKey {
    key: Arc<str>,
}

/// Can't be part of a Kubernetes name and hardly of a recipient.
const SEPARATOR: char = '\u{1f}';

impl LaneKey {
    /// The lane of an object at a service's recipient.
    pub fn new(object: &ObjectRef, service: &str, recipient: &str) -> Self {
        let ObjectRef { namespace, kind, name, .. } = object;
        let key = format!("{namespace}/{kind}/{name}{SEPARATOR}{service}{SEPARATOR}{recipient}");
        LaneKey { key: key.into() }
    }

    pub(crate) fn from_stored(key: String) -> Self {
        LaneKey { key: key.into() }
    }

    /// The key as it is stored.
    pub fn as_str(&self) -> &str {
        &self.key
    }

    fn part(&self, index: usize) -> &str {
        self.key.splitn(3, SEPARATOR).nth(index).unwrap_or_default()
    }

    /// Namespace, kind and name of the object.
    pub fn object(&self) -> &str {
        self.part(0)
    }

    /// The service instance.
    pub fn service(&self) -> &str {
        self.part(1)
    }

    /// The recipient.
    pub fn recipient(&self) -> &str {
        self.part(2)
    }
}

impl fmt::Display for LaneKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}:{}", self.object(), self.service(), self.recipient())
    }
}

/// A notice's place in the queue. Places are given in the order of commits.
pub type Place = i64;

/// A waiting notice as the courier holds it: everything but the payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queued {
    /// Its place in the queue.
    pub place: Place,
    /// The notice's id.
    pub id: String,
    /// Its trigger.
    pub trigger: String,
    /// Its lane.
    pub lane: LaneKey,
    /// When it became due for the first time.
    pub created: Timestamp,
    /// Not to be attempted before this.
    pub due: Timestamp,
    /// Attempts that failed.
    pub attempts: u32,
    /// The delays planned so far, which decides when to give up: a clock that jumps changes nothing.
    pub waited: Duration,
}

/// Where a notice stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Waits for its first or another attempt.
    Pending,
    /// Accepted by the other side.
    Delivered,
    /// Given up, kept with its reason until someone sends it again or drops it.
    DeadLetter,
    /// Dropped by a person.
    Dropped,
    /// Not delivered, because it became due in a time that is muted.
    Muted,
    /// Delivered as part of a digest, a notice of its own; the reason names it.
    Grouped,
}

impl Outcome {
    /// All outcomes.
    pub const ALL: [Outcome; 6] = [
        Outcome::Pending,
        Outcome::Delivered,
        Outcome::DeadLetter,
        Outcome::Dropped,
        Outcome::Muted,
        Outcome::Grouped,
    ];

    /// The word for it in output, filters and metrics.
    pub fn label(self) -> &'static str {
        match self {
            Outcome::Pending => "pending",
            Outcome::Delivered => "delivered",
            Outcome::DeadLetter => "dead-letter",
            Outcome::Dropped => "dropped",
            Outcome::Muted => "muted",
            Outcome::Grouped => "grouped",
        }
    }

    pub(crate) fn code(self) -> i64 {
        match self {
            Outcome::Pending => 0,
            Outcome::Delivered => 1,
            Outcome::DeadLetter => 2,
            Outcome::Dropped => 3,
            Outcome::Muted => 4,
            Outcome::Grouped => 5,
        }
    }

    pub(crate) fn of_code(code: i64) -> Option<Self> {
        Outcome::ALL.into_iter().find(|outcome| outcome.code() == code)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// The record of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// When the other side accepted it.
    pub at: Timestamp,
    /// How long the attempt took.
    pub took: Duration,
    /// What the other side said, without secrets.
    pub detail: String,
}

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// When it began.
    pub at: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// The kind of failure.
    pub reason: String,
    /// What happened, without secrets.
    pub answer: String,
}

/// One line of the history: a notice and how far it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The notice; its payload is empty in lists.
    pub notice: Notice,
    /// Where it stands.
    pub outcome: Outcome,
    /// When it was delivered, given up or dropped.
    pub finished: Option<Timestamp>,
    /// How long the last attempt took.
    pub took: Option<Duration>,
    /// Attempts so far, the successful one included.
    pub attempts: u32,
    /// The kind of the last failure, or why it was given up.
    pub reason: Option<String>,
    /// What the other side said last.
    pub answer: Option<String>,
    /// The attempts that failed, in order; only in [`crate::Outbox::show`].
    pub failures: Vec<Attempt>,
}

/// Which notices are meant. Empty fields match all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only this notice.
    pub id: Option<String>,
    /// Namespace of the object.
    pub namespace: Option<String>,
    /// Kind of the object.
    pub kind: Option<String>,
    /// Name of the object.
    pub name: Option<String>,
    /// The trigger.
    pub trigger: Option<String>,
    /// The service instance.
    pub service: Option<String>,
    /// The recipient.
    pub recipient: Option<String>,
    /// Where it stands.
    pub outcome: Option<Outcome>,
    /// Created at this time or later.
    pub since: Option<Timestamp>,
    /// Created before this time.
    pub until: Option<Timestamp>,
    /// At most so many, the newest.
    pub limit: Option<u32>,
}
