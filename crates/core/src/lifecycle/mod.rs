//! The lifecycle of a Rollout, seen from outside.
//!
//! Argo Rollouts fires `on-rollout-completed` and its sisters from inside its own process. Here the same
//! occurrences are derived from the objects: [`observe`] compares what is there now with a [`Cursor`] of a few
//! hundred bytes that says what was there before, and tells what happened in between. It looks at changes, not
//! at versions of objects: seeing a version twice tells nothing, and missing some loses only what neither the
//! cursor nor the last version shows any more.
//!
//! ```
//! use herald_core::lifecycle::{Observation, Subject, observe};
//! use herald_value::Value;
//!
//! let rollout = Value::from_json(br#"{"metadata": {"uid": "u1", "name": "web", "resourceVersion": "7"}}"#)?;
//! let seen = Observation { rollout: Subject::Present(&rollout), ..Observation::gone() };
//! // The first sight of a cluster is silent.
//! let first = observe(None, &seen, None, jiff::Timestamp::UNIX_EPOCH);
//! assert!(first.occurrences.is_empty());
//! // The same again tells nothing either.
//! let again = observe(first.cursor.as_ref(), &seen, None, jiff::Timestamp::UNIX_EPOCH);
//! assert!(again.occurrences.is_empty());
//! # Ok::<(), herald_value::DecodeError>(())
//! ```
//!
//! [`reasons::REASONS`] lists everything that can be told; what no object shows is told by [`events`].

mod before;
mod cursor;
mod derive;
pub mod events;
mod journey;
pub mod reasons;
mod related;
mod states;
mod steps;
mod view;

use herald_value::Value;
use jiff::Timestamp;

pub use before::shaped;
pub(crate) use before::with;
pub use cursor::{Before, CURSOR_VERSION, Cursor};
pub use view::{Completed, Counts, Pause};

use crate::occurrence::{EventType, Occurrence};
use derive::{Derivation, Facts};
use view::RolloutView;

/// A Rollout, or that there is none any more.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// It is there.
    Present(&'a Value),
    /// It was deleted; with its last state, if that is known.
    Deleted(Option<&'a Value>),
}

/// What is there now. Objects of others among the related ones are ignored.
#[derive(Clone, Copy, Debug)]
pub struct Observation<'a> {
    /// The Rollout.
    pub rollout: Subject<'a>,
    /// ReplicaSets of its namespace, at least its own.
    pub replica_sets: &'a [&'a Value],
    /// AnalysisRuns likewise.
    pub analysis_runs: &'a [&'a Value],
    /// Experiments likewise.
    pub experiments: &'a [&'a Value],
}

impl Observation<'_> {
    /// Nothing is there.
    pub fn gone() -> Self {
        Observation {
            rollout: Subject::Deleted(None),
            replica_sets: &[],
            analysis_runs: &[],
            experiments: &[],
        }
    }
}

/// What happened since the cursor, and the cursor for the next look.
#[derive(Clone, Debug)]
pub struct Observed {
    /// To be kept; `None` if the Rollout is gone.
    pub cursor: Option<Cursor>,
    /// What happened, in order.
    pub occurrences: Vec<Occurrence>,
}

/// Tells what happened to a Rollout since the cursor.
///
/// `baseline` is the moment up to which this installation has recorded the cluster in silence; `None` while it
/// still does. A Rollout without a cursor is new if it was created since, and else recorded in silence.
pub fn observe(
    cursor: Option<&Cursor>,
    seen: &Observation<'_>,
    baseline: Option<Timestamp>,
    now: Timestamp,
) -> Observed {
    let object = match seen.rollout {
        Subject::Present(object) => object,
        Subject::Deleted(last) => {
            let occurrences = cursor.map(|cursor| deleted(cursor, last, now)).into_iter().collect();
            return Observed { cursor: None, occurrences };
        }
    };
    let Some(later) = RolloutView::of(object) else {
        // Without a uid it is no object of a cluster; nothing can be told about it.
        return Observed { cursor: cursor.cloned(), occurrences: Vec::new() };
    };
    let known = cursor.filter(|cursor| cursor.uid == later.uid);
    let mut occurrences = Vec::new();
    // The same name, another object: the old one is gone.
    let replaced = cursor.filter(|_| known.is_none());
    occurrences.extend(replaced.map(|old| deleted(old, None, now)));
    // Creation times are whole seconds.
    let is_new = |baseline: Timestamp| {
        view::time(later.created).is_some_and(|created| created.as_second() >= baseline.as_second())
    };
    let silent = known.is_none() && replaced.is_none() && !baseline.is_some_and(is_new);
    let mut earlier = known.cloned().unwrap_or_else(|| Cursor::empty(later.uid));
    if silent {
        let second = Timestamp::from_second(now.as_second()).unwrap_or(now);
        earlier.horizon = Some(second.to_string());
    }
    let mut observed = Derivation::new(earlier, later, seen, known.is_none(), silent).run();
    occurrences.append(&mut observed.occurrences);
    Observed { cursor: observed.cursor, occurrences }
}

fn deleted(cursor: &Cursor, last: Option<&Value>, now: Timestamp) -> Occurrence {
    let last = last.filter(|object| {
        object.path(&["metadata", "uid"]).and_then(Value::as_str) == Some(cursor.uid.as_str())
    });
    let at = last.and_then(|o| o.path(&["metadata", "deletionTimestamp"])).and_then(Value::as_str);
    let name = last.and_then(|o| o.path(&["metadata", "name"])).and_then(Value::as_str).unwrap_or_default();
    Occurrence {
        reason: "RolloutDeleted".into(),
        event_type: EventType::Normal,
        id: format!("RolloutDeleted/{}", cursor.uid),
        time: Some(at.and_then(view::time).unwrap_or(now)),
        message: format!("Rollout {name} is deleted."),
        facts: Facts::from([("revision".to_owned(), Value::int64(cursor.revision))]),
        object: last.map(|object| shaped(object, None)),
    }
}
