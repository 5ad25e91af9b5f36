//! What the Rollout's ReplicaSets, AnalysisRuns and Experiments show.

use herald_value::Value;

use super::{
    derive::{Derivation, Facts},
    view::{Named, Owned},
};
use crate::occurrence::Occurrence;

/// What the cursor calls an object: enough of its uid to tell the objects of one Rollout apart.
pub(super) fn key(uid: &str) -> &str {
    uid.get(..8).unwrap_or(uid)
}

/// The name without the Rollout's.
fn short<'a>(name: &'a str, rollout: &str) -> &'a str {
    name.strip_prefix(rollout).map_or(name, |rest| rest.strip_prefix('-').unwrap_or(rest))
}

fn is_final(phase: &str) -> bool {
    matches!(phase, "Successful" | "Failed" | "Error" | "Inconclusive")
}

/// An analysis that is due, and where it stands among the steps.
pub(super) struct RunDue {
    /// The step that it belongs to, if that is known.
    pub(super) step: Option<i64>,
    /// Whether the Rollout names it only now: then whatever else this version shows came first.
    pub(super) fresh: bool,
    pub(super) occurrence: Occurrence,
}

/// Marks a remembered phase of a run that the Rollout's status has named.
const NAMED: char = '+';

impl Derivation<'_> {
    /// New ReplicaSets, by revision; those of a revision that the Rollout doesn't carry yet wait for it.
    pub(super) fn new_replica_sets(&mut self) -> Vec<(i64, Occurrence)> {
        let mut due = Vec::new();
        for rs in self.replica_sets.clone() {
            if self.next.replica_set(key(rs.uid)).is_some() {
                continue;
            }
            if self.is_old(rs.created) {
                self.next.set_replica_set(key(rs.uid), rs.generation(), rs.replicas());
            } else if rs.revision() <= self.later.revision {
                // Its scaling counts from 0.
                self.next.set_replica_set(key(rs.uid), 0, 0);
                let mut facts = Facts::from([("replicaSet".to_owned(), Value::str(rs.name))]);
                facts.insert("revision".to_owned(), Value::int64(rs.revision()));
                let message = format!("Created ReplicaSet {} (revision {})", rs.name, rs.revision());
                let object = self.before();
                let time = rs.created_at();
                let occurrence =
                    self.make("NewReplicaSetCreated", key(rs.uid), time, message, facts, Some(object));
                due.push((rs.revision(), occurrence));
            }
        }
        due
    }

    /// ReplicaSets whose wanted number of pods changed.
    pub(super) fn scalings(&mut self) {
        for rs in self.replica_sets.clone() {
            let Some((generation, from)) = self.next.replica_set(key(rs.uid)) else { continue };
            if rs.generation() <= generation {
                continue;
            }
            let to = rs.replicas();
            self.next.set_replica_set(key(rs.uid), rs.generation(), to);
            if to == from {
                continue;
            }
            let direction = if to > from { "up" } else { "down" };
            let message = format!(
                "Scaled {direction} ReplicaSet {} (revision {}) from {from} to {to}",
                rs.name,
                rs.revision()
            );
            let mut facts = Facts::from([("replicaSet".to_owned(), Value::str(rs.name))]);
            facts.insert("from".to_owned(), Value::int64(from));
            facts.insert("to".to_owned(), Value::int64(to));
            let id = format!("{}/{}", key(rs.uid), rs.generation());
            let object = self.before();
            self.emit("ScalingReplicaSet", &id, rs.scaled_at(), message, facts, Some(object));
        }
    }

    /// Analyses of the Rollout itself.
    pub(super) fn analyses(&mut self) -> Vec<RunDue> {
        let named = self.later.named_runs();
        let mut due = Vec::new();
        for run in self.analysis_runs.clone() {
            let entry = named.iter().find(|entry| entry.name == run.name);
            due.extend(self.analysis(run.name, entry, Some(&run)));
        }
        // The status is the only trace of a run that is gone or late. The controller reports in this order.
        for entry in &named {
            if !self.analysis_runs.iter().any(|run| run.name == entry.name) {
                due.extend(self.analysis(entry.name, Some(entry), None));
            }
        }
        due
    }

    fn analysis(&mut self, name: &str, entry: Option<&Named<'_>>, run: Option<&Owned<'_>>) -> Option<RunDue> {
        let key = short(name, self.later.name).to_owned();
        let known = self.next.run(&key).map(str::to_owned);
        let was_named = known.as_deref().is_some_and(|k| k.ends_with(NAMED));
        let reported = known.as_deref().map_or("", |k| k.trim_end_matches(NAMED)).to_owned();
        let is_named = was_named || entry.is_some();
        let mark = |phase: &str| if is_named { format!("{phase}{NAMED}") } else { phase.to_owned() };

        let entry_phase = entry.map_or("", |entry| entry.phase);
        let run_phase = run.map_or("", Owned::phase);
        let phase = if is_final(run_phase) || entry_phase.is_empty() { run_phase } else { entry_phase };
        let over = run.filter(|_| known.is_none()).is_some_and(|run| {
            self.is_old(run.created) && !run.completed_at().is_some_and(|end| self.is_after_horizon(end))
        });
        if self.silent || over {
            self.next.set_run(&key, &mark(phase));
            return None;
        }
        let step = run.and_then(|run| run.label("step-index")).and_then(|i| i.parse::<i64>().ok());
        let due = !is_final(&reported)
            && phase != reported
            && if is_final(phase) {
                let cut = run.is_some_and(Owned::terminated);
                // A run that the controller itself ended is reported only if the Rollout still names its end.
                entry_phase == phase || !cut && (is_named || self.moved_beyond(step))
            } else {
                phase == "Running" && is_named
            };
        if !due {
            // An end that isn't reported yet must not hide behind a remembered phase.
            if is_named && !was_named {
                self.next.set_run(&key, &mark(&reported));
            }
            return None;
        }
        self.next.set_run(&key, &mark(phase));
        let kind = entry.map_or_else(
            || run.and_then(|run| run.label("rollout-type")).unwrap_or_default(),
            |entry| entry.kind,
        );
        let message = format!("{kind} Analysis Run '{name}' Status New: '{phase}' Previous: '{reported}'");
        let time = match phase {
            "Running" => run.and_then(Owned::started_at),
            _ => run.and_then(Owned::completed_at),
        };
        let mut facts = Facts::from([
            ("analysisRun".to_owned(), Value::str(name)),
            ("kind".to_owned(), Value::str(kind)),
            ("phase".to_owned(), Value::str(phase)),
        ]);
        if let Some(cause) = run.map(Owned::message).filter(|m| !m.is_empty()) {
            facts.insert("cause".to_owned(), Value::str(cause));
        }
        // The controller reports a run only after it has stored its name, so that version is the one from before.
        let fresh = is_named && !was_named;
        let object = (!fresh).then(|| self.before());
        let occurrence = self.make(&format!("AnalysisRun{phase}"), &key, time, message, facts, object);
        Some(RunDue { step, fresh, occurrence })
    }

    /// Whether the Rollout went on since a run of that step began, so that it won't name the run any more.
    fn moved_beyond(&self, step: Option<i64>) -> bool {
        let later = &self.later;
        later.aborted_at.is_some()
            || later.stable.is_some() && later.stable == later.hash
            || step.is_some_and(|step| later.clamped_index() != step)
    }

    /// Experiments of the Rollout, and their analyses.
    pub(super) fn experiments(&mut self) {
        for experiment in self.experiments.clone() {
            let key = format!("x/{}", short(experiment.name, self.later.name));
            let known = self.next.run(&key).map(str::to_owned);
            let silent = self.silent || known.is_none() && self.is_old(experiment.created);
            let name = || Facts::from([("experiment".to_owned(), Value::str(experiment.name))]);
            if known.is_none() && !silent {
                let message = format!("Created Experiment '{}'", experiment.name);
                let object = self.before();
                let time = experiment.created_at();
                self.emit("ExperimentCreated", &key, time, message, name(), Some(object));
            }
            let phase = experiment.phase();
            if known.as_deref() != Some(phase) {
                self.next.set_run(&key, phase);
                let reason = format!("Experiment{phase}");
                if !silent && super::reasons::find(&reason).is_some() {
                    let message = format!("Experiment '{}' is {phase}", experiment.name);
                    self.emit(&reason, &key, None, message, name(), None);
                }
            }
            for (analysis, phase, cause) in experiment.analyses() {
                let key = format!("{key}/{analysis}");
                let reported = self.next.run(&key).unwrap_or_default().to_owned();
                if phase == reported || is_final(&reported) {
                    continue;
                }
                self.next.set_run(&key, phase);
                let reason = format!("AnalysisRun{phase}");
                if silent || super::reasons::find(&reason).is_none() {
                    continue;
                }
                let mut facts = name();
                facts.insert("analysis".to_owned(), Value::str(analysis));
                facts.insert("phase".to_owned(), Value::str(phase));
                if !cause.is_empty() {
                    facts.insert("cause".to_owned(), Value::str(cause));
                }
                let message = format!("AnalysisRun '{analysis}' transitioned from {reported} -> {phase}");
                let object = self.before();
                self.emit(&reason, &key, None, message, facts, Some(object));
            }
        }
    }
}
