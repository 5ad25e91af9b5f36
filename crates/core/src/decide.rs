//! What is due, and why: (configuration, object, occurrences, record, now) → notices, and the chain of gates that
//! each subscription × condition went through.
//!
//! The same function answers "what must be sent" and "why was nothing sent": a [`Chain`] is kept for everything
//! that was looked at, and what is due is exactly what passed every gate.

use std::collections::BTreeSet;

use herald_value::{Value, gofmt};
use jiff::Timestamp;

use crate::{
    config::{Condition, Config, Expression, Trigger},
    diagnostic::Diagnostic,
    lifecycle::reasons,
    names::{Destination, TemplateName, TriggerName, trigger_name},
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
    /// The moment.
    pub now: Timestamp,
    /// What to do with what is already true.
    pub baseline: Baseline,
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
    /// What happened; `None` where the condition just holds.
    pub occurrence: Option<Occurrence>,
    /// The variables for its templates, less `recipient` and `serviceType`.
    pub vars: Value,
    /// Where the subscription comes from.
    pub origin: Origin,
}

/// A change of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateChange {
    /// It was recorded.
    Recorded(String),
    /// It was forgotten, because the condition no longer holds.
    Forgotten(String),
}

/// A question that must be answered with yes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GateName {
    /// Is there such a trigger?
    TriggerConfigured,
    /// Has it a condition that can be used?
    ConditionUsable,
    /// Did the event happen? (conditions with an empty `when`)
    Happened,
    /// Does `when` hold?
    Condition,
    /// Can `oncePer` be computed?
    OncePer,
    /// Was it not sent before?
    NotSentBefore,
    /// Is it more than what was already true at the first look?
    PastBaseline,
    /// Is there such a service?
    ServiceConfigured,
    /// Are there usable templates?
    TemplatesUsable,
}

impl GateName {
    /// The question in words.
    pub fn as_str(self) -> &'static str {
        match self {
            GateName::TriggerConfigured => "trigger configured",
            GateName::ConditionUsable => "condition usable",
            GateName::Happened => "event happened",
            GateName::Condition => "condition true",
            GateName::OncePer => "oncePer computed",
            GateName::NotSentBefore => "not sent before",
            GateName::PastBaseline => "past the baseline",
            GateName::ServiceConfigured => "service configured",
            GateName::TemplatesUsable => "templates usable",
        }
    }
}

/// A gate and how it was passed, or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// Which.
    pub name: GateName,
    /// Whether it was passed.
    pub passed: bool,
    /// Why.
    pub detail: String,
}

/// What became of one subscription and one condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// The trigger.
    pub trigger: TriggerName,
    /// The condition's index; `None` if the trigger has none.
    pub condition: Option<usize>,
    /// To whom.
    pub destination: Destination,
    /// Where the subscription comes from.
    pub origin: Origin,
    /// The id of the occurrence that it was about, if it was about one.
    pub occurrence: Option<String>,
    /// The dedupe key, if it came so far.
    pub key: Option<String>,
    /// The gates in order; only the last one can have been closed.
    pub gates: Vec<Gate>,
}

impl Chain {
    /// The gate that stopped it; `None` if it is due.
    pub fn stopped_by(&self) -> Option<&Gate> {
        self.gates.last().filter(|gate| !gate.passed)
    }
}

/// What is due, and everything about how that was found.
#[derive(Clone, Debug, Default)]
pub struct Decision {
    /// The notices, in order.
    pub due: Vec<Due>,
    /// The record with these notices in it. It must be stored together with them.
    pub state: State,
    /// How the record changed.
    pub changes: Vec<StateChange>,
    /// Everything that was looked at.
    pub chains: Vec<Chain>,
    /// What looks wrong about the object's annotations.
    pub diagnostics: Vec<Diagnostic>,
}

/// Decides what is due.
pub fn decide(subject: &Subject<'_>) -> Decision {
    let found = subscription::subscriptions(subject.config, subject.object);
    let mut decider = Decider {
        subject,
        decision: Decision {
            state: subject.state.clone(),
            diagnostics: found.diagnostics,
            ..Decision::default()
        },
        told: BTreeSet::new(),
    };
    for occurrence in subject.occurrences {
        decider.occurrence(occurrence, &found.list);
    }
    decider.states(&found.list);
    decider.decision
}

/// The dedupe key of the record.
fn dedupe_key(
    config: &Config,
    once_per: Option<&str>,
    trigger: &TriggerName,
    condition: &Condition,
    to: &Destination,
) -> String {
    let mut key = String::new();
    for part in [once_per.filter(|once| !once.is_empty()), config.namespace()].into_iter().flatten() {
        key.push_str(part);
        key.push(':');
    }
    key.push_str(&format!("{trigger}:{}:{}:{}", condition.key, to.service, to.recipient));
    key
}

/// What evaluating an expression gave, kept for all destinations.
enum Answer {
    Yes(String),
    No(String),
}

struct Evaluated<'c> {
    condition: &'c Condition,
    holds: Answer,
    /// `None`: the condition has no `oncePer`.
    once_per: Option<Result<String, String>>,
}

struct Decider<'a> {
    subject: &'a Subject<'a>,
    decision: Decision,
    /// (trigger, condition, destination) that an occurrence has told in this decision.
    told: BTreeSet<(TriggerName, usize, Destination)>,
}

impl<'a> Decider<'a> {
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
        let result = expression.program.run(vars, self.subject.config.limits());
        result.map_err(|error| error.to_string())
    }

    /// Runs a condition once for all its destinations.
    fn evaluate<'c>(
        &self,
        condition: &'c Condition,
        vars: &Value,
        occurrence: Option<&Occurrence>,
    ) -> Evaluated<'c> {
        let holds = match (&condition.when, occurrence) {
            (None, Some(occurrence)) => Answer::Yes(format!("{} happened", occurrence.reason)),
            (None, None) => Answer::No("the event has not happened since the last look".into()),
            (Some(when), _) => match self.run(when, vars) {
                Ok(Value::Bool(true)) => Answer::Yes(format!("`{}` is true", when.source)),
                Ok(Value::Bool(false)) => Answer::No(format!("`{}` is false", when.source)),
                Ok(other) => Answer::No(format!("`{}` is no boolean but {}", when.source, other.go_type())),
                Err(error) => Answer::No(format!("`{}` failed: {error}", when.source)),
            },
        };
        let once_per = match (&condition.once_per, &holds) {
            (Some(once_per), Answer::Yes(_)) => {
                let value = self.run(once_per, vars).map(|value| gofmt::to_text(&value));
                Some(value.map_err(|error| format!("`{}` failed: {error}", once_per.source)))
            }
            _ => None,
        };
        Evaluated { condition, holds, once_per }
    }

    /// The conditions that are about an event itself, or about the state when it happened.
    fn occurrence(&mut self, occurrence: &Occurrence, subscriptions: &[Subscription]) {
        let name = trigger_name(&occurrence.reason);
        if !subscriptions.iter().any(|s| s.trigger.as_str() == name) {
            return;
        }
        let Some(trigger) = self.subject.config.trigger(&name) else {
            self.no_trigger(subscriptions.iter().filter(|s| s.trigger.as_str() == name), Some(occurrence));
            return;
        };
        let vars = self.vars(&name, Some(occurrence));
        for condition in &trigger.conditions {
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
            let happened = self.subject.occurrences.iter().any(|o| trigger_name(&o.reason) == name.as_str());
            let Some(trigger) = self.subject.config.trigger(name.as_str()) else {
                if !happened {
                    self.no_trigger(subscriptions.iter().filter(|s| s.trigger == *name), None);
                }
                continue;
            };
            if trigger.conditions.is_empty() {
                for subscription in subscriptions.iter().filter(|s| s.trigger == *name) {
                    let mut chain = chain(subscription, None, None);
                    gate(&mut chain, GateName::TriggerConfigured, true, format!("trigger `{name}`"));
                    let detail = "the trigger has no condition that can be used".into();
                    gate(&mut chain, GateName::ConditionUsable, false, detail);
                    self.decision.chains.push(chain);
                }
            }
            let vars = self.vars(name.as_str(), None);
            for condition in trigger.conditions.iter().filter(|c| c.when.is_some() || !happened) {
                let evaluated = self.evaluate(condition, &vars, None);
                for subscription in subscriptions.iter().filter(|s| s.trigger == *name) {
                    self.weigh(trigger, &evaluated, subscription, None, &vars);
                }
            }
        }
    }

    fn no_trigger<'s>(
        &mut self,
        subscriptions: impl Iterator<Item = &'s Subscription>,
        occurrence: Option<&Occurrence>,
    ) {
        for subscription in subscriptions {
            let mut chain = chain(subscription, None, occurrence);
            let detail = format!("there is no trigger `{}`", subscription.trigger);
            gate(&mut chain, GateName::TriggerConfigured, false, detail);
            self.decision.chains.push(chain);
        }
    }

    /// Leads one subscription and one condition through the gates.
    fn weigh(
        &mut self,
        trigger: &Trigger,
        evaluated: &Evaluated<'_>,
        subscription: &Subscription,
        occurrence: Option<&Occurrence>,
        vars: &Value,
    ) {
        let mut chain = chain(subscription, Some(evaluated.condition.index), occurrence);
        let passed = self.gates(&mut chain, trigger, evaluated, subscription, occurrence);
        if let Some(key) = passed {
            let condition = evaluated.condition;
            let destination = subscription.destination.clone();
            self.record(&key);
            self.told.insert((trigger.name.clone(), condition.index, destination.clone()));
            self.decision.due.push(Due {
                trigger: trigger.name.clone(),
                condition: condition.index,
                send: condition.send.clone(),
                destination,
                key,
                occurrence: occurrence.cloned(),
                vars: vars.clone(),
                origin: subscription.origin.clone(),
            });
        }
        self.decision.chains.push(chain);
    }

    fn record(&mut self, key: &str) {
        if self.decision.state.record(key, self.subject.now) {
            self.decision.changes.push(StateChange::Recorded(key.to_owned()));
        }
    }

    /// The gates in order; gives the dedupe key if all are open.
    fn gates(
        &mut self,
        chain: &mut Chain,
        trigger: &Trigger,
        evaluated: &Evaluated<'_>,
        subscription: &Subscription,
        occurrence: Option<&Occurrence>,
    ) -> Option<String> {
        let config = self.subject.config;
        let (condition, to) = (evaluated.condition, &subscription.destination);
        gate(chain, GateName::TriggerConfigured, true, format!("trigger `{}`", trigger.name));

        let name = if condition.when.is_none() { GateName::Happened } else { GateName::Condition };
        match &evaluated.holds {
            Answer::Yes(detail) => gate(chain, name, true, detail.clone()),
            Answer::No(detail) => {
                let mut detail = detail.clone();
                if condition.when.is_none() && reasons::of_trigger(trigger.name.as_str()).is_none() {
                    detail = "`when` is empty, and no event has this trigger's name".into();
                }
                gate(chain, name, false, detail);
                if occurrence.is_none() && condition.once_per.is_none() {
                    let key = dedupe_key(config, None, &trigger.name, condition, to);
                    if self.decision.state.forget(&key) {
                        self.decision.changes.push(StateChange::Forgotten(key));
                    }
                }
                return None;
            }
        }

        let once_per = match &evaluated.once_per {
            None => occurrence.map(|occurrence| occurrence.id.clone()),
            Some(Ok(value)) => {
                gate(chain, GateName::OncePer, true, format!("once per `{value}`"));
                Some(value.clone())
            }
            Some(Err(detail)) => {
                gate(chain, GateName::OncePer, false, detail.clone());
                return None;
            }
        };
        let key = dedupe_key(config, once_per.as_deref(), &trigger.name, condition, to);
        chain.key = Some(key.clone());
        if let Some(at) = self.decision.state.sent_at(&key) {
            let when = Timestamp::from_second(at).map_or_else(|_| at.to_string(), |at| at.to_string());
            gate(chain, GateName::NotSentBefore, false, format!("sent to {to} at {when}"));
            return None;
        }
        // The occurrence has told it already; the state is only noted, so that it is not told again.
        let told = (trigger.name.clone(), condition.index, to.clone());
        if occurrence.is_none() && self.told.contains(&told) {
            self.record(&key);
            gate(chain, GateName::NotSentBefore, false, format!("sent to {to} for the event just now"));
            return None;
        }
        gate(chain, GateName::NotSentBefore, true, "nothing is recorded".into());

        // What was true before anybody looked stays quiet, also once its service is configured.
        if self.subject.baseline == Baseline::Silent {
            self.record(&key);
            let detail = "this was already so when the object was first seen".into();
            gate(chain, GateName::PastBaseline, false, detail);
            return None;
        }

        match config.service(to.service.as_str()) {
            Some(service) => {
                let detail = format!("service `{}` of type {}", service.name, service.service_type);
                gate(chain, GateName::ServiceConfigured, true, detail);
            }
            None => {
                let detail = format!("there is no usable service `{}`", to.service);
                gate(chain, GateName::ServiceConfigured, false, detail);
                return None;
            }
        }

        let missing = condition.send.iter().find(|name| config.template(name.as_str()).is_none());
        if let Some(name) = missing {
            gate(chain, GateName::TemplatesUsable, false, format!("there is no usable template `{name}`"));
            return None;
        }
        if condition.send.is_empty() {
            let detail = "the condition names no template in `send`".into();
            gate(chain, GateName::TemplatesUsable, false, detail);
            return None;
        }
        let names: Vec<&str> = condition.send.iter().map(TemplateName::as_str).collect();
        gate(chain, GateName::TemplatesUsable, true, format!("templates {}", names.join(", ")));
        Some(key)
    }
}

fn chain(subscription: &Subscription, condition: Option<usize>, occurrence: Option<&Occurrence>) -> Chain {
    Chain {
        trigger: subscription.trigger.clone(),
        condition,
        destination: subscription.destination.clone(),
        origin: subscription.origin.clone(),
        occurrence: occurrence.map(|occurrence| occurrence.id.clone()),
        key: None,
        gates: Vec::new(),
    }
}

fn gate(chain: &mut Chain, name: GateName, passed: bool, detail: String) {
    chain.gates.push(Gate { name, passed, detail });
}
