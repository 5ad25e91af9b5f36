//! The pipeline without a store, a clock or services: objects come in with times, rendered notices come out. What is
//! decided and rendered is what the pipeline decides and renders; nothing is sent.

use std::collections::{BTreeMap, BTreeSet};

use herald_core::{
    explain::{Answer, Explanation, Gate},
    notification::Notification,
};
use herald_outbox::{Batch, Notice};
use herald_sources::{Change, ObjectKey};
use jiff::Timestamp;

use crate::{
    pipeline::{
        assess::{Known, assess},
        engine::{Engine, SCOPE, Weighed},
        payload,
        report::Reporter,
    },
    scene::{Configured, Scene},
};

/// More timers than that between two steps mean that a condition is repeated for no purpose.
const MOST_LOOKS: usize = 10_000;

/// A notice that would have been sent.
pub(crate) struct Made {
    pub(crate) at: Timestamp,
    pub(crate) notice: Notice,
    pub(crate) notification: Notification,
    /// Why it was made.
    pub(crate) why: Option<Answer>,
}

/// What a stretch of time brought.
#[derive(Default)]
pub(crate) struct Outcome {
    /// In order.
    pub(crate) made: Vec<Made>,
    /// What could not be made: to whom, and why.
    pub(crate) broken: Vec<String>,
    /// How each look was decided.
    pub(crate) explanations: Vec<Explanation>,
}

/// Objects and what is known of them.
pub(crate) struct Simulation {
    configured: Configured,
    scene: Scene,
    reporter: Reporter,
    known: BTreeMap<ObjectKey, Known>,
    timers: BTreeMap<ObjectKey, Timestamp>,
}

impl Simulation {
    pub(crate) fn new(configured: Configured) -> Simulation {
        Simulation {
            configured,
            scene: Scene::default(),
            reporter: Reporter::quiet(),
            known: BTreeMap::new(),
            timers: BTreeMap::new(),
        }
    }

    /// Lets time pass until a moment, with the looks that were asked for.
    pub(crate) fn pass(&mut self, until: Timestamp, outcome: &mut Outcome) {
        for _ in 0..MOST_LOOKS {
            let next = self.timers.iter().min_by_key(|(_, at)| **at).map(|(key, at)| (key.clone(), *at));
            let Some((key, at)) = next.filter(|(_, at)| *at < until) else { return };
            self.timers.remove(&key);
            self.look(&key, at, false, outcome);
        }
    }

    /// Takes changes over, and looks at what they are about. `silent`: what is already true is not told.
    pub(crate) fn change(
        &mut self,
        changes: Vec<Change>,
        at: Timestamp,
        silent: bool,
        outcome: &mut Outcome,
    ) {
        let mut touched: BTreeSet<ObjectKey> = self.scene.world.apply(changes).rollouts;
        touched.extend(self.timers.iter().filter(|(_, due)| **due <= at).map(|(key, _)| key.clone()));
        for key in touched {
            self.look(&key, at, silent, outcome);
        }
    }

    /// Looks at all objects as they are.
    pub(crate) fn look_again(&mut self, at: Timestamp, outcome: &mut Outcome) {
        for key in self.scene.world.rollouts() {
            self.look(&key, at, false, outcome);
        }
    }

    fn look(&mut self, key: &ObjectKey, now: Timestamp, silent: bool, outcome: &mut Outcome) {
        let config = &self.configured.config;
        let look = self.scene.world.look(key);
        let known = || self.known.get(key).cloned();
        if let Some(assessed) = assess(config, &look, known(), silent, now) {
            let explanation = assessed.explain(config, &self.configured.loading, &[], now, true);
            // What is missing is told apart from what does not fit.
            let broken = explanation.answers.iter().filter(|answer| {
                let gate = answer.stopped_by;
                matches!(gate, Some(Gate::Rendered | Gate::ServiceConfigured | Gate::TemplatesUsable))
            });
            outcome.broken.extend(
                broken.map(|answer| format!("{} → {}: {}", answer.trigger, answer.to, answer.sentence)),
            );
            outcome.explanations.push(explanation);
        }
        let engine = Engine { config, reporter: &self.reporter, now, scope: SCOPE };
        let Weighed { batch, next_look: next, .. } = engine.weigh(&look, key.to_string(), known(), silent);
        self.scene.world.looked(key);
        self.keep(key, batch, next, now, outcome);
    }

    fn keep(
        &mut self,
        key: &ObjectKey,
        batch: Batch,
        next: Option<Timestamp>,
        now: Timestamp,
        outcome: &mut Outcome,
    ) {
        let entry = batch.put_state.iter().find(|entry| entry.scope == SCOPE);
        match entry.and_then(|entry| serde_json::from_slice(&entry.value).ok()) {
            Some(known) => drop(self.known.insert(key.clone(), known)),
            None => drop(self.known.remove(key)),
        }
        match next {
            Some(next) => drop(self.timers.insert(key.clone(), next)),
            None => drop(self.timers.remove(key)),
        }
        for notice in batch.enqueue {
            if batch.done.iter().any(|done| done.id == notice.id) {
                continue;
            }
            if let Ok(notification) = payload::read(&notice.payload) {
                let why = payload::why(&notice.payload);
                outcome.made.push(Made { at: now, notice, notification, why });
            }
        }
    }
}
