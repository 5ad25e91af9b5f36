//! The way through the steps: what is told about steps, pauses and the analyses among them.

use herald_value::Value;

use super::{
    before::at_step,
    derive::{Derivation, Facts, fact},
    related::RunDue,
    steps::{EndedBy, Passage, ended_by},
    view::time,
};
use crate::occurrence::Occurrence;

impl Derivation<'_> {
    /// Steps, analyses and pauses in their order. Gives back the end of a pause that this look's last change
    /// brought, as that is reported last.
    pub(super) fn passed(&mut self, passage: &Passage, due: Vec<RunDue>) -> Option<Occurrence> {
        let (fresh, mut due): (Vec<_>, Vec<_>) = due.into_iter().partition(|due| due.fresh);
        let mut resumed = self.pause_ended(passage.new_attempt);
        let before_step = self.earlier.status.index.unwrap_or(0);
        let mut passed: Vec<i64> = passage.completed.iter().chain(&passage.skipped).copied().collect();
        passed.sort_unstable();
        let last = passed.last().copied();
        for (nth, step) in passed.into_iter().enumerate() {
            let (now, rest): (Vec<_>, Vec<_>) =
                due.into_iter().partition(|due| due.step.is_none_or(|of| of <= step));
            due = rest;
            self.out.extend(now.into_iter().map(|due| due.occurrence));
            let seen_before = !passage.new_attempt && nth == 0 && step == before_step;
            let object = if seen_before { self.before() } else { self.shape(&at_step(self.later.raw, step)) };
            if passage.skipped.contains(&step) {
                self.step_skipped(step, object);
                continue;
            }
            let inferred = self.inferred_pause(step, &object);
            self.step_completed(step, last == Some(step), object.clone());
            if let Some(duration) = inferred
                && duration.is_some()
            {
                let id = format!("inferred/{}/{}", self.attempt, step + 1);
                self.emit("RolloutResumed", &id, None, "Rollout is resumed", Facts::new(), Some(object));
            }
            let more = last != Some(step) || !self.later.pauses.is_empty();
            if seen_before && more {
                self.out.extend(resumed.take());
            }
        }
        self.out.extend(due.into_iter().map(|due| due.occurrence));
        if self.new_pause() {
            // The next pause is already on: the last one ended before it.
            self.out.extend(resumed.take());
            self.paused();
        }
        self.out.extend(fresh.into_iter().map(|due| due.occurrence));
        resumed
    }

    fn step_completed(&mut self, step: i64, newest: bool, object: Value) {
        let count = self.later.step_count();
        let what = self.later.step(step).map(step_text).unwrap_or_default();
        let message = format!("Rollout step {}/{count} completed ({what})", step + 1);
        let facts = Facts::from([
            fact("step", Value::int64(step + 1)),
            fact("steps", Value::int64(count)),
            fact("stepText", what),
        ]);
        let time = newest.then(|| self.later.progress_time()).flatten();
        let id = format!("{}/{}", self.attempt, step + 1);
        self.emit("RolloutStepCompleted", &id, time, message, facts, Some(object));
    }

    fn step_skipped(&mut self, step: i64, object: Value) {
        let count = self.later.step_count();
        let message = format!("Rollout step {}/{count} skipped by a person", step + 1);
        let facts = Facts::from([fact("step", Value::int64(step + 1)), fact("steps", Value::int64(count))]);
        let time = self.later.index_written_at();
        let id = format!("{}/{}", self.attempt, step + 1);
        self.emit("RolloutStepSkipped", &id, time, message, facts, Some(object));
    }

    /// A pause step that was passed without its pause being seen: reports the pause, and gives back its duration.
    fn inferred_pause(&mut self, step: i64, object: &Value) -> Option<Option<i64>> {
        let duration = self.later.pause_step(step)?;
        if self.next.paused_step.is_some_and(|paused| paused >= step) || self.earlier.status.controller_pause
        {
            return None;
        }
        self.next.paused_step = Some(step);
        let id = format!("inferred/{}/{}", self.attempt, step + 1);
        let message = "Rollout is paused (CanaryPauseStep)";
        let facts = Facts::from([fact("cause", "CanaryPauseStep")]);
        self.emit("RolloutPaused", &id, None, message, facts, Some(object.clone()));
        Some(duration)
    }

    fn new_pause(&self) -> bool {
        let known = &self.earlier.status.pauses;
        self.later.pauses.first().is_some_and(|pause| !known.contains(pause))
    }

    fn paused(&mut self) {
        let Some(pause) = self.later.pauses.first().cloned() else { return };
        self.next.paused_step = Some(self.later.clamped_index());
        let id = format!("{}/{}", pause.reason, pause.start);
        let message = format!("Rollout is paused ({})", pause.reason);
        let facts = Facts::from([fact("cause", pause.reason.as_str())]);
        self.emit_before("RolloutPaused", &id, time(&pause.start), message, facts);
    }

    /// The end of the pause that the cursor knows; the occurrence, if the controller ended it.
    fn pause_ended(&mut self, new_attempt: bool) -> Option<Occurrence> {
        let pause = self.earlier.status.pauses.first().cloned()?;
        if self.later.pauses.contains(&pause) {
            return None;
        }
        let id = format!("{}/{}", pause.reason, pause.start);
        let facts = Facts::from([fact("cause", pause.reason.as_str())]);
        let time = self.later.progress_time();
        match ended_by(&self.earlier, &self.later, &self.analysis_runs, new_attempt) {
            EndedBy::Controller => {
                let object = self.before();
                Some(self.make("RolloutResumed", &id, time, "Rollout is resumed".into(), facts, Some(object)))
            }
            EndedBy::Person => {
                self.emit_before(
                    "RolloutPromotedByHand",
                    &id,
                    time,
                    "A person ended the pause".into(),
                    facts,
                );
                None
            }
            EndedBy::Abort => None,
        }
    }
}

/// A step as the reference's messages write it.
fn step_text(step: &Value) -> String {
    let Some((key, value)) = step.as_map().and_then(|map| map.entries().first()) else {
        return String::new();
    };
    let key = key.to_str_lossy();
    let inner = |name: &str| value.get(name).map(herald_value::gofmt::to_text).unwrap_or_default();
    match &*key {
        "setWeight" => format!("setWeight: {}", value.as_i64().unwrap_or(0)),
        "pause" if value.get("duration").is_some() => format!("pause: {}", inner("duration")),
        "setHeaderRoute" | "setMirrorRoute" | "plugin" => format!("{key}: {}", inner("name")),
        "setCanaryScale" => ["weight", "replicas", "matchTrafficWeight"]
            .iter()
            .find(|name| value.get(name).is_some())
            .map_or_else(|| key.to_string(), |name| format!("setCanaryScale{{{name}: {}}}", inner(name))),
        _ => key.into_owned(),
    }
}
