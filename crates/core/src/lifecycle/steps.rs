//! Which canary steps were passed, and who ended a pause.

use super::{
    cursor::Cursor,
    view::{Owned, RolloutView},
};

/// What became of the steps between two looks. Steps are indexes, from 0.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Passage {
    /// Whether the present run through the steps is another one than before.
    pub(super) new_attempt: bool,
    /// Whether the controller skipped all steps.
    pub(super) skip_all: bool,
    /// Steps that the controller finished.
    pub(super) completed: Vec<i64>,
    /// Steps that a person skipped.
    pub(super) skipped: Vec<i64>,
    /// Whether a whole update back to the present stable version was missed.
    pub(super) round_trip: bool,
}

/// Who ended a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndedBy {
    Controller,
    Person,
    Abort,
}

/// Decides what became of the steps.
pub(super) fn passage(earlier: &Cursor, later: &RolloutView<'_>, replica_sets: &[Owned<'_>]) -> Passage {
    let was = &earlier.status;
    let other = |a: &Option<String>, b: Option<&str>| a.as_deref() != b;
    let started = was.hash.is_some();
    let hash_changed = started && other(&was.hash, later.hash);
    let steps_changed = started && other(&was.step_hash, later.step_hash);
    let clock_changed = earlier.started_at.is_some()
        && later.started_at.is_some()
        && other(&earlier.started_at, later.started_at);
    let retried = was.aborted_at.is_some() && later.aborted_at.is_none();
    let mut passage = Passage {
        new_attempt: hash_changed || steps_changed || clock_changed || retried,
        ..Passage::default()
    };
    let home = later.hash.is_some() && later.hash == was.stable.as_deref() && later.stable == later.hash;
    // Taking an update back before it is done leaves its clock, and says so.
    passage.round_trip = home
        && !steps_changed
        && clock_changed
        && later.revision > earlier.revision
        && later.completion == Some("Promoted");
    let count = later.step_count();
    // At a first deploy the controller jumps over all steps.
    let Some(stable) = was.stable.as_deref().filter(|_| count > 0) else { return passage };
    let to = later.clamped_index();
    let from = if passage.new_attempt { 0 } else { was.index.unwrap_or(0).clamp(0, to) };
    if to == from {
        return passage;
    }
    let at_end = to == count;
    if passage.new_attempt && at_end && home && !passage.round_trip {
        passage.skip_all = hash_changed || steps_changed || later.revision != earlier.revision;
        return passage;
    }
    if was.promote_full || later.promote_full || later.completion == Some("FastPromoted") && at_end {
        return passage;
    }
    if at_end && from == 0 && later.has_rollback_window() {
        let of = |hash: Option<&str>| replica_sets.iter().find(|rs| rs.hash().is_some() && rs.hash() == hash);
        // Another update may have become stable before this one began.
        let stable = later.stable.filter(|now| Some(*now) != later.hash).unwrap_or(stable);
        match (of(later.hash), of(Some(stable))) {
            (Some(back), Some(from)) if back.created >= from.created && !passage.round_trip => {}
            (back, _) => {
                // Only a version that still runs is skipped to; otherwise the controller promotes without a
                // word. Without the ReplicaSets it can't be told from an update: better nothing than wrong.
                let ran = back.and_then(|back| earlier.replica_set(super::related::key(back.uid)));
                passage.skip_all = hash_changed && !passage.round_trip && ran.is_some_and(|(_, n)| n > 0);
                return passage;
            }
        }
    }
    let last = to - 1;
    if later.index_by_person(earlier) {
        let all = at_end && last > from;
        passage.skipped = if all { (from..to).collect() } else { vec![last] };
        passage.completed = if all { Vec::new() } else { (from..last).collect() };
    } else {
        passage.completed = (from..to).collect();
    }
    passage
}

/// Decides who ended the pause that the cursor knows.
pub(super) fn ended_by(
    earlier: &Cursor,
    later: &RolloutView<'_>,
    analysis_runs: &[Owned<'_>],
    new_attempt: bool,
) -> EndedBy {
    let was = &earlier.status;
    if later.abort || later.aborted_at.is_some() && later.aborted_at != was.aborted_at.as_deref() {
        return EndedBy::Abort;
    }
    let other = new_attempt || later.revision != earlier.revision;
    let finished = later.stable != was.stable.as_deref() && later.stable == was.hash.as_deref();
    let retried = new_attempt
        && later.revision == earlier.revision
        && later.hash == was.hash.as_deref()
        && later.step_hash == was.step_hash.as_deref();
    let failed = |run: &Owned<'_>| {
        matches!(run.phase(), "Failed" | "Error") && run.hash().is_some() && run.hash() == was.hash.as_deref()
    };
    if retried || other && !finished && analysis_runs.iter().any(failed) {
        // The abort itself went by unseen.
        return EndedBy::Abort;
    }
    if other && !finished
        || was.promote_full
        || later.promote_full
        || later.completion == Some("FastPromoted") && later.stable == later.hash
    {
        return EndedBy::Controller;
    }
    // For a canary the controller's own end also takes away `controllerPause`.
    if later.canary && later.controller_pause && later.pauses.is_empty() {
        return EndedBy::Person;
    }
    // Skipping a step leaves the pause; the controller ends it with the step that follows.
    let at = was.index.unwrap_or(0);
    if later.canary && earlier.paused_step.is_some_and(|began| began != at) {
        return EndedBy::Controller;
    }
    let duration = match later.canary {
        true => later.pause_step(at).flatten(),
        false => later.auto_promotion(),
    };
    let start = was.pauses.first().and_then(|pause| super::view::time(&pause.start));
    match (duration, start, later.progress_time()) {
        (Some(duration), Some(start), Some(end)) if end.as_second() - start.as_second() >= duration => {
            EndedBy::Controller
        }
        _ => EndedBy::Person,
    }
}
