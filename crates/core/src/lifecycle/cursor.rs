//! What is remembered of a Rollout between two looks.

use serde::{Deserialize, Serialize};

use super::view::{Completed, Counts, Pause, RolloutView};

/// The version of the cursor's form that this code writes.
pub const CURSOR_VERSION: u8 = 1;

/// How many ReplicaSets, and how many analyses and experiments, are remembered beyond those that are there.
const MAX_REMEMBERED: usize = 32;

/// What was last seen of a Rollout and what was reported about it: enough to tell what happened since, and to
/// show a template the status from before a change. A few hundred bytes as JSON; survives restarts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cursor {
    /// The form of this cursor.
    #[serde(rename = "v")]
    pub version: u8,
    /// The Rollout's uid.
    pub uid: String,
    /// The resourceVersion that was last looked at.
    #[serde(rename = "rv", skip_serializing_if = "zero")]
    pub resource_version: u64,
    /// Nothing owned by the Rollout and created up to this time is new.
    #[serde(rename = "hz", skip_serializing_if = "Option::is_none")]
    pub horizon: Option<String>,
    /// The revision annotation.
    #[serde(rename = "rev", skip_serializing_if = "zero_i")]
    pub revision: i64,
    /// The attempt that the status is about.
    #[serde(rename = "at", skip_serializing_if = "String::is_empty")]
    pub attempt: String,
    /// The status as it was.
    #[serde(rename = "s")]
    pub status: Before,
    /// `Progressing`: reason and lastUpdateTime.
    #[serde(rename = "pr", skip_serializing_if = "Option::is_none")]
    pub progressing: Option<(String, String)>,
    /// The lastUpdateTime of the InvalidSpec condition that was reported.
    #[serde(rename = "iv", skip_serializing_if = "Option::is_none")]
    pub invalid: Option<String>,
    /// The `Completed` condition.
    #[serde(rename = "co", skip_serializing_if = "Option::is_none")]
    pub completed: Option<Completed>,
    /// `status.duration.rolloutStartedAt`.
    #[serde(rename = "st", skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// `status.restartedAt`.
    #[serde(rename = "ra", skip_serializing_if = "Option::is_none")]
    pub restarted_at: Option<String>,
    /// The router's weights, in short.
    #[serde(rename = "w", skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
    /// The wanted canary weight, without a router.
    #[serde(rename = "ww", skip_serializing_if = "Option::is_none")]
    pub wanted_weight: Option<i64>,
    /// Blue-green: the hash behind the preview Service.
    #[serde(rename = "bp", skip_serializing_if = "Option::is_none")]
    pub preview: Option<String>,
    /// Blue-green: the hash behind the active Service.
    #[serde(rename = "ba", skip_serializing_if = "Option::is_none")]
    pub active: Option<String>,
    /// The step at which the last reported pause of this attempt began.
    #[serde(rename = "ps", skip_serializing_if = "Option::is_none")]
    pub paused_step: Option<i64>,
    /// Whether the retry of the present abort was reported.
    #[serde(rename = "rt", skip_serializing_if = "no")]
    pub retried: bool,
    /// Step plugins and their phases.
    #[serde(rename = "sp", skip_serializing_if = "Vec::is_empty")]
    pub plugins: Vec<String>,
    /// ReplicaSets: start of the uid, generation, wanted replicas.
    #[serde(rename = "rs", skip_serializing_if = "Vec::is_empty")]
    pub replica_sets: Vec<(String, i64, i64)>,
    /// AnalysisRuns, Experiments and their analyses: name without the Rollout's, reported phase.
    #[serde(rename = "ar", skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<(String, String)>,
}

/// The status as it was when it was last seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Before {
    /// `currentPodHash`
    #[serde(rename = "h", skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// `stableRS`
    #[serde(rename = "sr", skip_serializing_if = "Option::is_none")]
    pub stable: Option<String>,
    /// `currentStepHash`
    #[serde(rename = "sh", skip_serializing_if = "Option::is_none")]
    pub step_hash: Option<String>,
    /// `currentStepIndex`
    #[serde(rename = "i", skip_serializing_if = "Option::is_none")]
    pub index: Option<i64>,
    /// `phase`
    #[serde(rename = "p", skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// `pauseConditions`
    #[serde(rename = "pc", skip_serializing_if = "Vec::is_empty")]
    pub pauses: Vec<Pause>,
    /// `controllerPause`
    #[serde(rename = "cp", skip_serializing_if = "no")]
    pub controller_pause: bool,
    /// `abort`
    #[serde(rename = "ab", skip_serializing_if = "no")]
    pub abort: bool,
    /// `abortedAt`
    #[serde(rename = "aa", skip_serializing_if = "Option::is_none")]
    pub aborted_at: Option<String>,
    /// `promoteFull`
    #[serde(rename = "pf", skip_serializing_if = "no")]
    pub promote_full: bool,
    /// `replicas`, `updatedReplicas`, `readyReplicas`, `availableReplicas`
    #[serde(rename = "n", skip_serializing_if = "no_counts")]
    pub counts: Counts,
}

fn zero(n: &u64) -> bool {
    *n == 0
}

fn zero_i(n: &i64) -> bool {
    *n == 0
}

fn no(flag: &bool) -> bool {
    !flag
}

fn no_counts(counts: &Counts) -> bool {
    counts.iter().all(Option::is_none)
}

impl Cursor {
    /// The cursor of a Rollout of which nothing was seen yet.
    pub(super) fn empty(uid: &str) -> Cursor {
        Cursor { version: CURSOR_VERSION, uid: uid.to_owned(), ..Cursor::default() }
    }

    /// Remembers the Rollout as it is now.
    pub(super) fn take(&mut self, seen: &RolloutView<'_>, attempt: String) {
        self.version = CURSOR_VERSION;
        self.resource_version = seen.resource_version.max(self.resource_version);
        self.revision = seen.revision;
        self.attempt = attempt;
        self.status = seen.status();
        self.progressing = seen.progressing.as_ref().map(|c| (c.reason.to_owned(), c.updated.to_owned()));
        self.completed = seen.completed();
        self.started_at = seen.started_at.map(str::to_owned);
        self.restarted_at = seen.restarted_at.map(str::to_owned);
        self.weights = seen.weights();
        self.wanted_weight = seen.wanted_weight().map(|(weight, _)| weight);
        // A canary clears them, and the Services still select the same on the way back.
        self.preview = seen.preview.map(str::to_owned).or(self.preview.take());
        self.active = seen.active.map(str::to_owned).or(self.active.take());
        self.invalid = seen.invalid.as_ref().map(|c| c.updated.to_owned());
        self.plugins = seen.plugins().into_iter().map(|p| p.key).collect();
    }

    pub(super) fn replica_set(&self, key: &str) -> Option<(i64, i64)> {
        self.replica_sets.iter().find(|(k, ..)| k == key).map(|(_, generation, n)| (*generation, *n))
    }

    pub(super) fn set_replica_set(&mut self, key: &str, generation: i64, replicas: i64) {
        match self.replica_sets.iter_mut().find(|(k, ..)| k == key) {
            Some(entry) => (entry.1, entry.2) = (generation, replicas),
            None => self.replica_sets.push((key.to_owned(), generation, replicas)),
        }
    }

    pub(super) fn run(&self, key: &str) -> Option<&str> {
        self.runs.iter().find(|(k, _)| k == key).map(|(_, phase)| phase.as_str())
    }

    pub(super) fn set_run(&mut self, key: &str, phase: &str) {
        match self.runs.iter_mut().find(|(k, _)| k == key) {
            Some(entry) => phase.clone_into(&mut entry.1),
            None => self.runs.push((key.to_owned(), phase.to_owned())),
        }
    }

    /// Forgets the oldest of what is no longer there. Something that is only late keeps its entry, so that it
    /// isn't reported again.
    pub(super) fn prune(&mut self, present: &dyn Fn(&str) -> bool) {
        prune(&mut self.replica_sets, |(key, ..)| present(key));
        prune(&mut self.runs, |(key, _)| present(key));
    }
}

fn prune<T>(entries: &mut Vec<T>, present: impl Fn(&T) -> bool) {
    let mut excess = entries.len().saturating_sub(MAX_REMEMBERED);
    entries.retain(|entry| {
        let forget = excess > 0 && !present(entry);
        excess -= usize::from(forget);
        !forget
    });
}
