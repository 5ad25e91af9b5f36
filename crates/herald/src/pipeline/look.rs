//! One look at a Rollout: it and what belongs to it.

use std::path::Path;

use herald_core::{
    config::Config,
    lifecycle::{Observation, Subject},
};
use herald_sources::ObjectKey;
use herald_value::Value;
use jiff::Timestamp;

/// What a source knows of the time before a look.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Past<'a> {
    /// What an object went through before this time is not told unless it was watched then; `None` if all is told.
    pub(crate) since: Option<Timestamp>,
    /// Whether the source can tell versions out of order, so that the resourceVersion decides which one is older, and
    /// keeps what is known of objects that nobody subscribed to as small as can be.
    pub(crate) cluster: bool,
    /// The record that was last written onto the object by ourselves.
    pub(crate) written: Option<&'a str>,
    /// Whether another replica acted since this store was written: what it left on the object counts.
    pub(crate) handover: bool,
}

/// A Rollout as it is now, with what belongs to it.
pub(crate) struct Look<'a> {
    /// Which Rollout.
    pub(crate) key: &'a ObjectKey,
    /// It, or that it is gone.
    pub(crate) rollout: Subject<'a>,
    /// As it was at the last look, if that is known.
    pub(crate) previous: Option<&'a Value>,
    /// ReplicaSets of its namespace.
    pub(crate) replica_sets: Vec<&'a Value>,
    /// AnalysisRuns likewise.
    pub(crate) analysis_runs: Vec<&'a Value>,
    /// Experiments likewise.
    pub(crate) experiments: Vec<&'a Value>,
    /// Kubernetes Events about it, oldest first.
    pub(crate) events: Vec<&'a Value>,
    /// What its `workloadRef` names.
    pub(crate) workload: Option<&'a Value>,
    /// The file that it came from.
    pub(crate) file: Option<&'a Path>,
    /// What was before.
    pub(crate) past: Past<'a>,
    /// The configuration of its own namespace, beside the controller's.
    pub(crate) tenant: Option<&'a Config>,
}

impl<'a> Look<'a> {
    /// What the lifecycle looks at.
    pub(crate) fn observation<'b>(&'b self, rollout: Subject<'b>) -> Observation<'b> {
        Observation {
            rollout,
            replica_sets: &self.replica_sets,
            analysis_runs: &self.analysis_runs,
            experiments: &self.experiments,
        }
    }

    /// The Rollout, or what it was last.
    pub(crate) fn object(&self) -> Option<&'a Value> {
        match self.rollout {
            Subject::Present(object) => Some(object),
            Subject::Deleted(last) => last,
        }
    }
}

/// A text field.
pub(crate) fn text<'a>(object: &'a Value, path: &[&str]) -> &'a str {
    object.path(path).and_then(Value::as_str).unwrap_or_default()
}
