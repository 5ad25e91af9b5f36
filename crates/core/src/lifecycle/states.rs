//! What conditions, phases and step plugins tell by themselves.

use herald_value::Value;

use super::{
    derive::{Derivation, Facts, fact},
    view::time,
};

impl Derivation<'_> {
    /// States that the conditions tell, once for each time that they began.
    pub(super) fn states(&mut self) {
        if let Some(now) = self.later.progressing.clone() {
            let was = self.earlier.progressing.as_ref();
            let known = was.is_some_and(|(reason, since)| reason == now.reason && since == now.updated);
            let tells = matches!(
                now.reason,
                "ProgressDeadlineExceeded" | "ReplicaSetNotAvailable" | "ReplicaSetCreateError"
            );
            if tells && !known {
                let facts = Facts::from([fact("cause", now.message)]);
                self.emit(now.reason, now.updated, time(now.updated), now.message, facts, None);
            }
        }
        if let Some(now) = self.later.invalid.clone()
            && self.earlier.invalid.as_deref() != Some(now.updated)
        {
            let facts = Facts::from([fact("cause", now.message)]);
            self.emit("InvalidSpec", now.updated, time(now.updated), now.message, facts, None);
        }
        for plugin in self.later.plugins() {
            let quiet = plugin.operation == "Run" && plugin.phase == "Successful";
            if quiet || self.earlier.plugins.contains(&plugin.key) {
                continue;
            }
            let message = format!(
                "Step plugin {} (step {}) transitioned to {}",
                plugin.name,
                plugin.index.saturating_add(1),
                plugin.phase
            );
            let facts = Facts::from([fact("plugin", plugin.name), fact("phase", plugin.phase)]);
            let id = format!("{}/{}", self.attempt, plugin.key);
            self.emit_before("StepPluginTransition", &id, plugin.updated, message, facts);
        }
    }

    /// What is told about the state after everything else.
    pub(super) fn settled(&mut self) {
        if let Some((weight, step)) = self.later.wanted_weight()
            && self.earlier.status.stable.is_some()
            && self.earlier.wanted_weight.is_some_and(|was| was != weight)
            && (weight != 0 || self.later.aborted_at.is_some())
        {
            let message = format!("The wanted canary weight is {weight}");
            // Aborts have a clock of their own: one attempt can show two of them.
            let run = self.later.aborted_at.unwrap_or(&self.attempt);
            let id = format!("{run}/{}/{weight}", step + 1);
            let facts = Facts::from([fact("weight", Value::int64(weight))]);
            let time = self.later.progress_time();
            self.emit("RolloutWeightSet", &id, time, message, facts, None);
        }
        if let Some(at) = self.later.restarted_at
            && self.earlier.restarted_at.as_deref() != Some(at)
            && self.later.restart_at() == Some(at)
        {
            self.emit("RolloutRestarted", at, time(at), "All pods were restarted", Facts::new(), None);
        }
        let was = self.earlier.status.phase.as_deref();
        let reason = match self.later.phase.filter(|now| was != Some(now)) {
            Some("Healthy") => "RolloutHealthy",
            Some("Degraded") => "RolloutDegraded",
            _ => return,
        };
        let since = match reason {
            "RolloutHealthy" => {
                let completed = self.later.completed().filter(|c| c.is).map(|c| c.since);
                self.later.healthy_since().map(str::to_owned).max(completed)
            }
            _ => {
                self.later.invalid.as_ref().or(self.later.progressing.as_ref()).map(|c| c.updated.to_owned())
            }
        };
        let id = format!("{}/{}", self.revision, since.as_deref().unwrap_or_default());
        let message = match self.later.message() {
            "" => format!("Rollout is {}", self.later.phase.unwrap_or_default()),
            message => message.to_owned(),
        };
        self.emit(reason, &id, since.as_deref().and_then(time), message, Facts::new(), None);
    }
}
