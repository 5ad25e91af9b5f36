//! What is due, and why: (configuration, object, occurrences, record, now) → notices, and the chain of gates that
//! each subscription × condition went through.
//!
//! The same function answers "what must be sent" and "why was nothing sent": a [`Chain`] is kept for everything
//! that was looked at, and what is due is exactly what passed every gate.
//!
//! [`State`] is what was sent, in the reference's form; [`Held`] is what `for`, `resolve` and `repeatEvery` must
//! remember besides. Both go in and come out, and are to be stored together with the notices. A condition with one
//! of these fields may become due while nothing changes: then [`Decision::next_look`] says when to look again.

mod chain;
mod held;
#[cfg(test)]
mod tests;
mod weigh;

use std::collections::{BTreeMap, BTreeSet};

use herald_value::{Value, gofmt};
use jiff::Timestamp;

pub use self::{
    chain::{Chain, Gate, GateName, PartValue},
    held::Held,
};
use self::{
    chain::{part_values, sentence},
    held::Episode,
};
use crate::{
    config::{Condition, Config, Expression, Trigger},
    diagnostic::Diagnostic,
    lifecycle::reasons::trigger_of,
    names::{Destination, TemplateName, TriggerName},
    occurrence::Occurrence,
    state::State,
    subscription::{self, Origin, Subscription},
    variables::{self, Extras},
};

/// What to do with what is already true when an object is first seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Baseline {
    /// Record it, tell nobody.
    Silent,
    /// Tell it.
    Notify,
}

/// What a decision looks at.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The object as it is now, in its shape for templates (see [`variables::shape_rollout`]).
    pub object: &'a Value,
    /// The variable `analysisRuns`.
    pub analysis_runs: &'a Value,
    /// The object as it was when it was last looked at, if that is known.
    pub previous: Option<&'a Value>,
    /// What happened to it since, in order.
    pub occurrences: &'a [Occurrence],
    /// What was sent.
    pub state: &'a State,
    /// What holds since when, as the last decision left it.
    pub held: &'a Held,
    /// The moment.
    pub now: Timestamp,
    /// What to do with what is already true.
    pub baseline: Baseline,
}

/// Which notice of a condition it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Turn {
    /// The first.
    #[default]
    First,
    /// A repetition, from 1, because it still holds (`repeatEvery`).
    Again(u32),
    /// The last, because it holds no longer (`resolve`).
    Ended,
}

/// A text that tells the notices of one condition and key apart, for ids; empty for the first.
impl std::fmt::Display for Turn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Turn::First => Ok(()),
            Turn::Again(number) => write!(f, "again-{number}"),
            Turn::Ended => f.write_str("ended"),
        }
    }
}

/// A notice that is due.
#[derive(Clone, Debug)]
pub struct Due {
    /// The trigger.
    pub trigger: TriggerName,
    /// The condition's index in it.
    pub condition: usize,
    /// The templates to render, in order.
    pub send: Vec<TemplateName>,
    /// To whom.
    pub destination: Destination,
    /// The dedupe key: what the record calls it.
    pub key: String,
    /// Which notice with this key it is.
    pub turn: Turn,
    /// What happened; `None` where the condition just holds.
    pub occurrence: Option<Occurrence>,
    /// The variables for its templates, less `recipient` and `serviceType`.
    pub vars: Value,
    /// Where the subscription comes from.
    pub origin: Origin,
}

impl Due {
    /// Whether the next look finds it due again if its key is forgotten. What happened once, or has ended, is not
    /// found again: if it cannot be rendered, it must be kept as given up.
    pub fn comes_again(&self) -> bool {
        self.occurrence.is_none() && self.turn != Turn::Ended
    }
}

/// A notice that would be due, but cannot be made now and will not be due again: keep it as given up, with its
/// reason, so that it is not lost.
#[derive(Clone, Debug)]
pub struct Undeliverable {
    /// The notice. Its templates or its service may not exist.
    pub due: Due,
    /// What is missing.
    pub reason: String,
}

/// A change of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateChange {
    /// It was recorded, or its time was renewed.
    Recorded(String),
    /// It was forgotten, because the condition no longer holds.
    Forgotten(String),
}

/// What is due, and everything about how that was found.
#[derive(Clone, Debug, Default)]
pub struct Decision {
    /// The notices, in order.
    pub due: Vec<Due>,
    /// What happened once and cannot be told, because a service or template is missing or broken. A condition that
    /// holds is not among them: it is due as soon as it can be told.
    pub undeliverable: Vec<Undeliverable>,
    /// The record with these notices in it. It must be stored together with them.
    pub state: State,
    /// How the record changed.
    pub changes: Vec<StateChange>,
    /// What holds since when. It must be stored as well.
    pub held: Held,
    /// When to decide again even if nothing changes; `None` if nothing waits for a time.
    pub next_look: Option<Timestamp>,
    /// Everything that was looked at.
    pub chains: Vec<Chain>,
    /// What looks wrong about the object's annotations.
    pub diagnostics: Vec<Diagnostic>,
}

impl Decision {
    /// Takes back that a notice is sent, because it could not be made: the next look finds it due again, if it
    /// [comes again](Due::comes_again).
    pub fn take_back(&mut self, due: &Due) {
        self.state.forget(&due.key);
        for episode in self.held.conditions.values_mut() {
            episode.told.retain(|_, told| told.key != due.key);
        }
    }
}

/// Decides what is due.
pub fn decide(subject: &Subject<'_>) -> Decision {
    let found = subscription::subscriptions(subject.config, subject.object);
    let now = subject.now.as_microsecond();
    let mut decider = Decider {
        subject,
        now,
        decision: Decision {
            state: subject.state.clone(),
            diagnostics: found.diagnostics,
            ..Decision::default()
        },
        told: BTreeSet::new(),
        held: subject.held.looked_at(now),
        ended: BTreeMap::new(),
        looked: BTreeSet::new(),
    };
    for occurrence in subject.occurrences {
        decider.occurrence(occurrence, &found.list);
    }
    decider.states(&found.list);
    decider.finish()
}

/// The name of a condition, without what `oncePer` says and without a destination.
fn condition_name(config: &Config, trigger: &TriggerName, condition: &Condition) -> String {
    let namespace = config.namespace().map(|namespace| format!("{namespace}:")).unwrap_or_default();
    format!("{namespace}{trigger}:{}", condition.key)
}

/// The dedupe key of the record.
fn dedupe_key(
    config: &Config,
    once_per: Option<&str>,
    trigger: &TriggerName,
    condition: &Condition,
    to: &Destination,
) -> String {
    let once_per =
        once_per.filter(|once| !once.is_empty()).map(|once| format!("{once}:")).unwrap_or_default();
    format!("{once_per}{}:{}:{}", condition_name(config, trigger, condition), to.service, to.recipient)
}

/// What evaluating an expression gave, kept for all destinations.
enum Answer {
    Yes(String),
    No(String),
    /// It can't be told, which counts as no.
    Failed(String),
}

struct Evaluated<'c> {
    condition: &'c Condition,
    holds: Answer,
    /// What the parts of `when` were.
    values: Vec<PartValue>,
    /// `None`: the condition has no `oncePer`.
    once_per: Option<Result<String, String>>,
}

struct Decider<'a> {
    subject: &'a Subject<'a>,
    /// The moment in microseconds.
    now: i64,
    decision: Decision,
    /// (trigger, condition, destination) that an occurrence has told in this decision.
    told: BTreeSet<(TriggerName, usize, Destination)>,
    held: Held,
    /// Episodes that ended at this look.
    ended: BTreeMap<String, Episode>,
    /// The timed conditions that were looked at.
    looked: BTreeSet<String>,
}

impl Decider<'_> {
    fn vars(&self, trigger: &str, occurrence: Option<&Occurrence>) -> Value {
        let subject = self.subject;
        let object = occurrence.and_then(|o| o.object.as_ref()).unwrap_or(subject.object);
        let extras = Extras {
            trigger: Some(trigger),
            event: occurrence,
            previous: subject.previous,
            now: Some(subject.object),
        };
        variables::variables(object, subject.analysis_runs, subject.config.secrets(), subject.now, &extras)
    }

    fn run(&self, expression: &Expression, vars: &Value) -> Result<Value, String> {
        let result = expression.program.run_at(vars, self.subject.config.limits(), self.subject.now);
        result.map_err(|error| error.to_string())
    }

    /// Runs a condition once for all its destinations.
    fn evaluate<'c>(
        &self,
        condition: &'c Condition,
        vars: &Value,
        occurrence: Option<&Occurrence>,
    ) -> Evaluated<'c> {
        let mut values = Vec::new();
        let holds = match (&condition.when, occurrence) {
            (None, Some(occurrence)) => Answer::Yes(format!("{} happened", occurrence.reason)),
            (None, None) => Answer::No("the event has not happened since the last look".into()),
            (Some(when), _) => {
                values = part_values(when.program.explain(vars));
                let because =
                    if values.is_empty() { String::new() } else { format!(": {}", sentence(&values)) };
                match self.run(when, vars) {
                    Ok(Value::Bool(true)) => Answer::Yes(format!("`{}` is true{because}", when.source)),
                    Ok(Value::Bool(false)) => Answer::No(format!("`{}` is false{because}", when.source)),
                    Ok(other) => Answer::Failed(format!(
                        "`{}` is no boolean but {}{because}",
                        when.source,
                        other.go_type()
                    )),
                    Err(error) => Answer::Failed(format!("`{}` failed: {error}", when.source)),
                }
            }
        };
        let once_per = match (&condition.once_per, &holds) {
            (Some(once_per), Answer::Yes(_)) => {
                let value = self.run(once_per, vars).map(|value| gofmt::to_text(&value));
                Some(value.map_err(|error| format!("`{}` failed: {error}", once_per.source)))
            }
            _ => None,
        };
        Evaluated { condition, holds, values, once_per }
    }

    /// The conditions that are about an event itself, or about the state when it happened.
    fn occurrence(&mut self, occurrence: &Occurrence, subscriptions: &[Subscription]) {
        let name = trigger_of(&occurrence.reason);
        if !subscriptions.iter().any(|s| s.trigger.as_str() == name) {
            return;
        }
        let Some(trigger) = self.subject.config.trigger(&name) else {
            self.no_trigger(subscriptions.iter().filter(|s| s.trigger.as_str() == name), Some(occurrence));
            return;
        };
        let vars = self.vars(&name, Some(occurrence));
        // An event is a moment: it can't last.
        for condition in trigger.conditions.iter().filter(|c| c.waits().is_none()) {
            let evaluated = self.evaluate(condition, &vars, Some(occurrence));
            for subscription in subscriptions.iter().filter(|s| s.trigger == trigger.name) {
                self.weigh(trigger, &evaluated, subscription, Some(occurrence), &vars);
            }
        }
    }

    /// The conditions that are about the state as it is now.
    fn states(&mut self, subscriptions: &[Subscription]) {
        let names: BTreeSet<&TriggerName> = subscriptions.iter().map(|s| &s.trigger).collect();
        for name in names {
            let happened = self.subject.occurrences.iter().any(|o| trigger_of(&o.reason) == name.as_str());
            let Some(trigger) = self.subject.config.trigger(name.as_str()) else {
                if !happened {
                    self.no_trigger(subscriptions.iter().filter(|s| s.trigger == *name), None);
                }
                continue;
            };
            if trigger.conditions.is_empty() {
                for subscription in subscriptions.iter().filter(|s| s.trigger == *name) {
                    let mut chain = Chain::new(subscription, None, None);
                    chain.open(GateName::TriggerConfigured, format!("trigger `{name}`"));
                    chain.broken(GateName::ConditionUsable, "the trigger has no condition that can be used");
                    self.decision.chains.push(chain);
                }
            }
            let vars = self.vars(name.as_str(), None);
            for condition in trigger.conditions.iter().filter(|c| c.when.is_some() || !happened) {
                let evaluated = self.evaluate(condition, &vars, None);
                self.time(trigger, &evaluated);
                for subscription in subscriptions.iter().filter(|s| s.trigger == *name) {
                    self.weigh(trigger, &evaluated, subscription, None, &vars);
                }
            }
        }
    }

    /// Notes for how long a condition has held.
    fn time(&mut self, trigger: &Trigger, evaluated: &Evaluated<'_>) {
        if !evaluated.condition.is_timed() {
            return;
        }
        let name = condition_name(self.subject.config, &trigger.name, evaluated.condition);
        match (&evaluated.holds, &evaluated.once_per) {
            (Answer::Yes(_), None) => self.held.holds(&name, None),
            (Answer::Yes(_), Some(Ok(once))) => self.held.holds(&name, Some(once)),
            // Nothing can be sent now, but it goes on.
            (Answer::Yes(_), Some(Err(_))) => {}
            (Answer::No(_) | Answer::Failed(_), _) => {
                if let Some(episode) = self.held.conditions.remove(&name) {
                    self.ended.insert(name.clone(), episode);
                }
            }
        }
        self.looked.insert(name);
    }

    fn no_trigger<'s>(
        &mut self,
        subscriptions: impl Iterator<Item = &'s Subscription>,
        occurrence: Option<&Occurrence>,
    ) {
        for subscription in subscriptions {
            let mut chain = Chain::new(subscription, None, occurrence);
            let detail = format!("there is no trigger `{}`", subscription.trigger);
            chain.broken(GateName::TriggerConfigured, detail);
            self.decision.chains.push(chain);
        }
    }

    fn finish(mut self) -> Decision {
        // Nobody wants to hear of the others any more, or they were edited.
        let looked = self.looked;
        self.held.conditions.retain(|name, _| looked.contains(name));
        let (held, next_look) = self.held.finish();
        Decision { held, next_look, ..self.decision }
    }
}
