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
    let count = later.step_count();
    // At a first deploy the controller jumps over all steps.
    let Some(stable) = was.stable.as_deref().filter(|_| count > 0) else { return passage };
    let to = later.clamped_index();
    let from = if passage.new_attempt { 0 } else { was.index.unwrap_or(0).clamp(0, to) };
    if to == from {
        return passage;
    }
    let at_end = to == count;
    if passage.new_attempt && at_end && later.hash == Some(stable) && later.stable == Some(stable) {
        let missed_update = !hash_changed
            && !steps_changed
            && later.revision >= earlier.revision.saturating_add(2)
            && later.completion == Some("Promoted");
        if !missed_update {
            passage.skip_all = hash_changed || steps_changed || later.revision != earlier.revision;
            return passage;
        }
        passage.round_trip = true;
    }
    if was.promote_full || later.promote_full || later.completion == Some("FastPromoted") && at_end {
        return passage;
    }
    if at_end && from == 0 && later.has_rollback_window() && !passage.round_trip {
        let of = |hash: Option<&str>| replica_sets.iter().find(|rs| rs.hash().is_some() && rs.hash() == hash);
        if let (Some(back), Some(from)) = (of(later.hash), of(Some(stable)))
            && back.created < from.created
        {
            // Only a version that still runs is skipped to; otherwise the controller promotes without a word.
            let ran = earlier.replica_set(super::related::key(back.uid)).is_some_and(|(_, n)| n > 0);
            passage.skip_all = hash_changed && ran;
            return passage;
        }
    }
    let last = to - 1;
    if later.index_by_person(earlier.progressing.as_ref()) {
        let all = at_end && last > from;
        passage.skipped = if all { (from..to).collect() } else { vec![last] };
        passage.completed = if all { Vec::new() } else { (from..last).collect() };
    } else {
        passage.completed = (from..to).collect();
    }
    passage
}

/// Decides who ended the pause that the cursor knows.
pub(super) fn ended_by(earlier: &Cursor, later: &RolloutView<'_>, new_attempt: bool) -> EndedBy {
    let was = &earlier.status;
    if later.abort || later.aborted_at.is_some() && later.aborted_at != was.aborted_at.as_deref() {
        return EndedBy::Abort;
    }
    if later.controller_pause && later.pauses.is_empty() {
        return EndedBy::Person;
    }
    if new_attempt
        || later.revision != earlier.revision
        || was.promote_full
        || later.promote_full
        || later.completion == Some("FastPromoted") && later.stable == later.hash
    {
        return EndedBy::Controller;
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
