//! A look at a Rollout, judged: what happened since the look before, and what is due. Pure: the time is an argument,
//! and nothing is read or stored. The pipeline, explanations and tests of configurations all judge here.

use std::collections::BTreeMap;

use herald_core::{
    config::Config,
    decide::{Baseline, Decision, Due, Held, Subject as Question, decide},
    diagnostic::Diagnostic,
    explain::{Asked, Delivery, Explanation, explain},
    lifecycle::{
        Cursor, Observed, Subject,
        events::{EventRecord, observe_event},
        observe,
    },
    occurrence::Occurrence,
    state::{ANNOTATION, State},
    subscription::PREFIX,
    variables::{of_kind, select_analysis_runs, shape_rollout},
};
use herald_value::Value;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    live::Live,
    look::{Look, Past, text},
};

/// What is known of a Rollout from one look to the next.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Known {
    pub(crate) namespace: String,
    pub(crate) name: String,
    #[serde(default)]
    pub(super) cursor: Option<Cursor>,
    /// Which Kubernetes Events were heard.
    #[serde(default)]
    pub(super) events: Option<EventRecord>,
    /// The record of what was sent, as the annotation writes it.
    #[serde(default)]
    pub(crate) sent: String,
    /// How often a key was forgotten: a condition that holds again is another notice.
    #[serde(default)]
    pub(super) repeated: BTreeMap<String, u32>,
    /// What holds since when, for `for`, `resolve` and `repeatEvery`.
    #[serde(default, skip_serializing_if = "Held::is_empty")]
    pub(super) held: Held,
    /// The same by the configuration of its own namespace.
    #[serde(default, skip_serializing_if = "Held::is_empty")]
    pub(super) tenant_held: Held,
    /// The message that follows the rollout.
    #[serde(default, skip_serializing_if = "Live::is_empty")]
    pub(super) live: Live,
    /// The annotation with the record, as it was last seen.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) noticed: String,
    /// Nobody had subscribed to it at the last look, so nothing else is known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) unsubscribed: bool,
    /// How many of its decisions were kept.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) decisions: u64,
}

/// What the next leader has to know beside the record of what was sent.
#[derive(Serialize, Deserialize)]
struct Handover {
    cursor: Cursor,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) events: Option<EventRecord>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    repeated: BTreeMap<String, u32>,
    #[serde(default, skip_serializing_if = "Held::is_empty")]
    held: Held,
    #[serde(default, skip_serializing_if = "Held::is_empty")]
    tenant_held: Held,
}

impl Known {
    /// What another replica has to know if it takes over. The same as long as nothing happens.
    pub(crate) fn for_the_next_leader(&self) -> Option<String> {
        // Writing it makes a new version, so the version is no part of it.
        let cursor = Cursor { resource_version: 0, ..self.cursor.clone()? };
        let (events, repeated, held) = (self.events.clone(), self.repeated.clone(), self.held.clone());
        let tenant_held = self.tenant_held.clone();
        serde_json::to_string(&Handover { cursor, events, repeated, held, tenant_held }).ok()
    }

    /// What another replica has left on an object.
    pub(crate) fn from_the_former_leader(object: &Value, cursor: &str) -> Option<Known> {
        let left: Handover = serde_json::from_str(cursor).ok()?;
        let annotation = text(object, &["metadata", "annotations", ANNOTATION]).to_owned();
        Some(Known {
            namespace: text(object, &["metadata", "namespace"]).to_owned(),
            name: text(object, &["metadata", "name"]).to_owned(),
            cursor: Some(left.cursor),
            events: left.events,
            repeated: left.repeated,
            held: left.held,
            tenant_held: left.tenant_held,
            sent: annotation.clone(),
            noticed: annotation,
            ..Known::default()
        })
    }

    /// What was sent, as we and others know it. The annotation counts where others changed it: what is not written yet
    /// would else come back after it was forgotten.
    fn record(&mut self, object: &Value, past: Past<'_>) -> State {
        let mut state = State::parse(&self.sent);
        let annotation = text(object, &["metadata", "annotations", ANNOTATION]);
        if !past.cluster {
            state.merge(&State::of(object));
            return state;
        }
        if annotation != self.noticed {
            if past.written != Some(annotation) {
                state.merge(&State::of(object).without(&State::parse(&self.noticed)));
            }
            self.noticed = annotation.to_owned();
        }
        state
    }
}

/// Whether anybody may want to hear of an object.
pub(crate) fn subscribed(config: &Config, object: &Value) -> bool {
    let annotations = object.path(&["metadata", "annotations"]).and_then(Value::as_map);
    let annotated = annotations.is_some_and(|map| {
        map.entries().iter().any(|(key, _)| {
            key.as_bytes().strip_prefix(PREFIX.as_bytes()).is_some_and(|rest| rest.starts_with(b"/subscri"))
        })
    });
    annotated || !config.subscriptions().is_empty()
}

/// Only Rollouts have one.
fn has_lifecycle(object: &Value) -> bool {
    of_kind(text(object, &["kind"])) == "rollout"
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// What a look found.
pub(crate) struct Assessed {
    /// What is known afterwards, less what committing adds.
    pub(crate) known: Known,
    /// The object in its shape for templates.
    pub(crate) shaped: Value,
    /// What happened since the look before.
    pub(crate) occurrences: Vec<Occurrence>,
    /// What is due, and why.
    pub(crate) decision: Decision,
    /// What is due by the configuration of its own namespace. Its record holds that of `decision`, too.
    pub(crate) tenant: Option<Decision>,
}

impl Assessed {
    /// Why it was decided so.
    pub(crate) fn explain(
        &self,
        config: &Config,
        loading: &[Diagnostic],
        deliveries: &[Delivery],
        now: Timestamp,
        render: bool,
    ) -> Explanation {
        self.explain_one(&self.decision, config, loading, deliveries, now, render)
    }

    /// Why it was decided so by the configuration of its own namespace, if there is one.
    pub(crate) fn explain_tenant(
        &self,
        config: &Config,
        loading: &[Diagnostic],
        deliveries: &[Delivery],
        now: Timestamp,
    ) -> Option<Explanation> {
        let decision = self.tenant.as_ref()?;
        Some(self.explain_one(decision, config, loading, deliveries, now, true))
    }

    fn explain_one(
        &self,
        decision: &Decision,
        config: &Config,
        loading: &[Diagnostic],
        deliveries: &[Delivery],
        now: Timestamp,
        render: bool,
    ) -> Explanation {
        let (object, occurrences) = (&self.shaped, &self.occurrences);
        explain(&Asked { config, loading, object, occurrences, decision, now, deliveries, render })
    }
}

/// Why it was decided so, to be kept.
pub(crate) fn explained(
    config: &Config,
    object: &Value,
    occurrences: &[Occurrence],
    decision: &Decision,
    now: Timestamp,
) -> Explanation {
    let (loading, deliveries) = (&[], &[]);
    explain(&Asked { config, loading, object, occurrences, decision, now, deliveries, render: false })
}

/// Judges a look; `None` if nothing is known of the object at all. `silent` records what is already true without
/// telling it.
pub(crate) fn assess(
    config: &Config,
    look: &Look<'_>,
    known: Option<Known>,
    silent: bool,
    now: Timestamp,
) -> Option<Assessed> {
    let object = look.object()?;
    let mut known = known.unwrap_or_default();
    let subscribed =
        subscribed(config, object) || look.tenant.is_some_and(|tenant| subscribed(tenant, object));
    // Whoever subscribes to an object hears of what happens from then on.
    let quiet = silent || (look.past.cluster && known.unsubscribed);
    known.unsubscribed = look.past.cluster && !subscribed;
    if known.unsubscribed {
        known.cursor = None;
        known.events = None;
    }
    if let Some(cursor) = known.cursor.as_mut().filter(|_| !look.past.cluster) {
        // A source tells its changes in order: what it says last is newer, whatever version it carries.
        cursor.resource_version = 0;
    }
    // Without a creation time it could not be told from what was there before.
    let dated = dated(object);
    let rollout = match look.rollout {
        Subject::Present(_) => Subject::Present(&dated),
        gone @ Subject::Deleted(_) => gone,
    };
    let baseline = (!quiet).then_some(look.past.since.unwrap_or(Timestamp::MIN));
    let has_lifecycle = has_lifecycle(object);
    let mut observed = match has_lifecycle {
        true => observe(known.cursor.as_ref(), &look.observation(rollout), baseline, now),
        // Nothing happens to it that we know of. What its conditions know is kept all the same.
        false => Observed { cursor: Some(Cursor::default()), occurrences: Vec::new() },
    };
    if has_lifecycle && known.cursor.is_none() && baseline == Some(Timestamp::MIN) {
        add_step(&mut observed, look, rollout, now);
        drop_past(&mut observed, object);
    }
    // A Rollout that is gone has no record either.
    if let Subject::Present(object) = look.rollout {
        for event in &look.events {
            let heard = observe_event(known.events.as_ref(), event, Some(object), baseline, now);
            known.events = heard.record;
            observed.occurrences.extend(heard.occurrence);
        }
    }

    let shape = |object: &Value| match has_lifecycle {
        true => shape_rollout(object, look.workload),
        false => object.clone(),
    };
    let shaped = shape(object);
    let previous = look.previous.map(shape);
    let runs = select_analysis_runs(object, look.analysis_runs.iter().copied());
    let state = known.record(object, look.past);
    let question = Question {
        config,
        object: &shaped,
        analysis_runs: &runs,
        previous: previous.as_ref(),
        occurrences: &observed.occurrences,
        state: &state,
        held: &known.held,
        now,
        baseline: if silent { Baseline::Silent } else { Baseline::Notify },
    };
    let mut decision = decide(&question);
    let tenant = look.tenant.map(|tenant| {
        let (state, held) = (&decision.state, &known.tenant_held);
        let mut second = decide(&Question { config: tenant, state, held, ..question });
        each_its_own(config, &mut decision, tenant, &mut second);
        second
    });
    known.cursor = observed.cursor.filter(|_| !known.unsubscribed);
    Some(Assessed { known, shaped, occurrences: observed.occurrences, decision, tenant })
}

/// Whether a configuration has a service, be it broken.
pub(crate) fn has_service(config: &Config, service: &str) -> bool {
    let broken = |key: &str| {
        key.strip_prefix("service.")
            .is_some_and(|rest| rest.split_once('.').map_or(rest, |(_, name)| name) == service)
    };
    config.service(service).is_some() || config.broken_keys().any(broken)
}

/// A subscription is meant for the configuration that has its service: that the other one hasn't is no loss.
fn each_its_own(config: &Config, decision: &mut Decision, tenant: &Config, second: &mut Decision) {
    let knows = |config: &Config, due: &Due| has_service(config, due.destination.service.as_str());
    let tells =
        |config: &Config, due: &Due| knows(config, due) && config.trigger(due.trigger.as_str()).is_some();
    decision.undeliverable.retain(|lost| knows(config, &lost.due) || !tells(tenant, &lost.due));
    second.undeliverable.retain(|lost| knows(tenant, &lost.due));
    // What looks wrong to both is wrong; it is told once.
    let both = std::mem::take(&mut second.diagnostics);
    decision.diagnostics.retain(|found| {
        both.iter().any(|other| (other.code, &other.key, other.at) == (found.code, &found.key, found.at))
    });
}

/// A first look that tells what is already true tells the last step of an update, too: the lifecycle itself can't, as
/// nothing says that the steps before were ever seen.
fn add_step(observed: &mut Observed, look: &Look<'_>, rollout: Subject<'_>, now: Timestamp) {
    const STEP: &str = "RolloutStepCompleted";
    let Some(mut before) = observed.cursor.clone() else { return };
    let updating = before.status.stable.is_some() && before.status.stable != before.status.hash;
    let told = observed.occurrences.iter().any(|occurrence| occurrence.reason == STEP);
    let Some(index) = before.status.index.filter(|index| *index > 0 && updating && !told) else { return };
    before.status.index = Some(index - 1);
    // Something else moved with it, so that it wasn't a person.
    before.progressing = None;
    before.status.pauses.clear();
    before.status.controller_pause = false;
    let again = observe(Some(&before), &look.observation(rollout), Some(Timestamp::MIN), now);
    let Some(step) = again.occurrences.into_iter().find(|occurrence| occurrence.reason == STEP) else {
        return;
    };
    let later =
        |reason: &str| matches!(reason, "RolloutPaused" | "RolloutAborted") || reason.starts_with("Analysis");
    let at = observed.occurrences.iter().position(|occurrence| later(&occurrence.reason));
    observed.occurrences.insert(at.unwrap_or(observed.occurrences.len()), step);
}

/// A first look tells what is true now. That the version before the present update was completed is past.
fn drop_past(observed: &mut Observed, object: &Value) {
    let current = text(object, &["status", "currentPodHash"]);
    observed.occurrences.retain(|occurrence| {
        let completed = occurrence.facts.get("hash").and_then(Value::as_str);
        occurrence.reason != "RolloutCompleted" || completed.is_none_or(|hash| hash == current)
    });
}

fn dated(object: &Value) -> Value {
    const FIELD: &str = "creationTimestamp";
    let metadata = object.get("metadata").and_then(Value::as_map);
    let (Some(all), Some(metadata)) = (object.as_map(), metadata) else { return object.clone() };
    if metadata.get(FIELD).and_then(Value::as_str).is_some_and(|at| !at.is_empty()) {
        return object.clone();
    }
    let dated = metadata.with(FIELD.into(), Value::str("1970-01-01T00:00:00Z"));
    dated
        .and_then(|metadata| all.with("metadata".into(), Value::Map(metadata.into())))
        .map_or_else(|_| object.clone(), |all| Value::Map(all.into()))
}
