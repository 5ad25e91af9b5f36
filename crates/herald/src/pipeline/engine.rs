//! From a look at a Rollout to what is committed: notices, cursor, record.

use std::collections::BTreeMap;

use herald_core::{
    config::Config,
    decide::{Baseline, Decision, Due, Held, StateChange, Subject as Question, Turn, decide},
    lifecycle::{
        Cursor, Observed, Subject,
        events::{EventRecord, observe_event},
        observe,
    },
    notification::{Notification, RenderError},
    state::State,
    variables::{select_analysis_runs, shape_rollout},
};
use herald_outbox::{Batch, Done, Notice, ObjectRef, Outbox, OutboxError, Outcome, StateEntry};
use herald_value::Value;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    configuration,
    look::{Look, text},
    payload,
    report::Reporter,
};

/// The scope of what is known of each Rollout.
pub(crate) const SCOPE: &str = "rollout";

/// How many keys' repetitions are remembered for a Rollout.
const MOST_REPEATED: usize = 500;

/// What is known of a Rollout from one look to the next.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Known {
    pub(crate) namespace: String,
    pub(crate) name: String,
    #[serde(default)]
    cursor: Option<Cursor>,
    /// Which Kubernetes Events were heard.
    #[serde(default)]
    events: Option<EventRecord>,
    /// The record of what was sent, as the annotation writes it.
    #[serde(default)]
    sent: String,
    /// How often a key was forgotten: a condition that holds again is another notice.
    #[serde(default)]
    repeated: BTreeMap<String, u32>,
    /// What holds since when, for `for`, `resolve` and `repeatEvery`.
    #[serde(default, skip_serializing_if = "Held::is_empty")]
    held: Held,
}

/// What looks at Rollouts need.
pub(crate) struct Engine<'a> {
    pub(crate) config: &'a Config,
    pub(crate) outbox: &'a dyn Outbox,
    pub(crate) reporter: &'a Reporter,
    pub(crate) now: Timestamp,
}

impl Engine<'_> {
    /// What is to be committed after a look, and when to look again even if nothing changes. `silent` records what is
    /// already true without telling it.
    pub(crate) async fn look(
        &self,
        look: &Look<'_>,
        silent: bool,
    ) -> Result<(Batch, Option<Timestamp>), OutboxError> {
        let key = format!("{}/{}", look.key.namespace, look.key.name);
        let known = self.outbox.get_state(SCOPE, &key).await?;
        // What can't be read is as good as never seen; it is told at most once more.
        let known: Option<Known> = known.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Ok(self.weigh(look, key, known, silent))
    }

    fn weigh(
        &self,
        look: &Look<'_>,
        key: String,
        known: Option<Known>,
        silent: bool,
    ) -> (Batch, Option<Timestamp>) {
        let Some(object) = look.object() else {
            return (Batch { delete_state: vec![(SCOPE.into(), key)], ..Batch::default() }, None);
        };
        let mut known = known.unwrap_or_default();
        if let Some(cursor) = &mut known.cursor {
            // A source tells its changes in order: what it says last is newer, whatever version it carries.
            cursor.resource_version = 0;
        }
        // Without a creation time it could not be told from what was there before.
        let dated = dated(object);
        let rollout = match look.rollout {
            Subject::Present(_) => Subject::Present(&dated),
            gone @ Subject::Deleted(_) => gone,
        };
        let baseline = (!silent).then_some(Timestamp::MIN);
        let mut observed = observe(known.cursor.as_ref(), &look.observation(rollout), baseline, self.now);
        if known.cursor.is_none() && !silent {
            add_step(&mut observed, look, rollout, self.now);
            drop_past(&mut observed, object);
        }
        // A Rollout that is gone has no record either.
        if let Subject::Present(object) = look.rollout {
            for event in &look.events {
                let heard = observe_event(known.events.as_ref(), event, Some(object), baseline, self.now);
                known.events = heard.record;
                observed.occurrences.extend(heard.occurrence);
            }
        }

        let shaped = shape_rollout(object, look.workload);
        let previous = look.previous.map(|previous| shape_rollout(previous, look.workload));
        let runs = select_analysis_runs(object, look.analysis_runs.iter().copied());
        let mut state = State::parse(&known.sent);
        state.merge(&State::of(object));
        let question = Question {
            config: self.config,
            object: &shaped,
            analysis_runs: &runs,
            previous: previous.as_ref(),
            occurrences: &observed.occurrences,
            state: &state,
            held: &known.held,
            now: self.now,
            baseline: if silent { Baseline::Silent } else { Baseline::Notify },
        };
        let mut decision = decide(&question);
        configuration::tell(std::mem::take(&mut decision.diagnostics), look, self.reporter);
        let next_look = decision.next_look.filter(|_| matches!(look.rollout, Subject::Present(_)));
        (self.commit(look, object, key, known, observed.cursor, decision), next_look)
    }

    fn commit(
        &self,
        look: &Look<'_>,
        object: &Value,
        key: String,
        mut known: Known,
        cursor: Option<Cursor>,
        mut decision: Decision,
    ) -> Batch {
        for change in &decision.changes {
            if let StateChange::Forgotten(key) = change {
                *known.repeated.entry(key.clone()).or_default() += 1;
            }
        }
        while known.repeated.len() > MOST_REPEATED {
            known.repeated.pop_first();
        }
        let object_ref = ObjectRef {
            namespace: look.key.namespace.clone(),
            kind: look.key.kind.clone(),
            name: look.key.name.clone(),
            uid: text(object, &["metadata", "uid"]).to_owned(),
        };
        let mut batch = Batch::default();
        let mut given_up = Vec::new();
        for due in std::mem::take(&mut decision.due) {
            let rendered = self.render(&due).and_then(|notification| payload::write(&notification));
            match rendered {
                Ok(payload) => batch.enqueue.push(self.notice(&due, &object_ref, &known, payload)),
                Err(reason) if due.comes_again() => {
                    // Not recorded, so that it is sent once the template is repaired.
                    decision.take_back(&due);
                    self.tell(look, &due, &reason);
                }
                Err(reason) => given_up.push((due, reason)),
            }
        }
        given_up.extend(decision.undeliverable.drain(..).map(|lost| (lost.due, lost.reason)));
        for (due, reason) in given_up {
            self.tell(look, &due, &reason);
            // Its templates may be usable, so that it can be sent by hand once the service is there.
            let rendered = self.render(&due).and_then(|notification| payload::write(&notification));
            let Ok(payload) = rendered.or_else(|_| payload::missing(&reason)) else { continue };
            let notice = self.notice(&due, &object_ref, &known, payload);
            batch.done.push(Done {
                id: notice.id.clone(),
                outcome: Outcome::DeadLetter,
                at: self.now,
                reason,
            });
            batch.enqueue.push(notice);
        }
        let gone = matches!(look.rollout, Subject::Deleted(_));
        known.namespace.clone_from(&object_ref.namespace);
        known.name.clone_from(&object_ref.name);
        known.cursor = cursor;
        known.held = std::mem::take(&mut decision.held);
        known.sent = decision.state.to_text().unwrap_or_default();
        match serde_json::to_vec(&known) {
            Ok(value) if !gone => batch.put_state.push(StateEntry { scope: SCOPE.into(), key, value }),
            _ => batch.delete_state.push((SCOPE.into(), key)),
        }
        batch
    }

    fn tell(&self, look: &Look<'_>, due: &Due, reason: &str) {
        let file = look.file.map(|file| format!("{}: ", file.display())).unwrap_or_default();
        self.reporter.problem(&format!(
            "{file}{}: trigger `{}` for {}: {reason}",
            look.key, due.trigger, due.destination
        ));
    }

    fn render(&self, due: &Due) -> Result<Notification, String> {
        let rendered = self.config.render(&due.send, &due.vars, &due.destination, self.now);
        rendered.map_err(|error| match error {
            RenderError::Template(error) => error.render_caret(),
            other => other.to_string(),
        })
    }

    fn notice(&self, due: &Due, object: &ObjectRef, known: &Known, payload: Vec<u8>) -> Notice {
        let repetition = known.repeated.get(&due.key).copied().unwrap_or(0);
        let occurrence = due.occurrence.as_ref().map_or("", |occurrence| occurrence.id.as_str());
        Notice {
            id: notice_id(&object.uid, due, occurrence, repetition),
            object: object.clone(),
            trigger: due.trigger.to_string(),
            service: due.destination.service.to_string(),
            recipient: due.destination.recipient.to_string(),
            created: self.now,
            due_after: self.now,
            payload,
        }
    }
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

/// The same notice always has the same id, whoever finds it due.
fn notice_id(uid: &str, due: &Due, occurrence: &str, repetition: u32) -> String {
    let mut hash = Sha256::new();
    let repetition = repetition.to_string();
    let destination = due.destination.to_string();
    for part in [uid, &due.key, occurrence, &destination, &repetition] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    if due.turn != Turn::First {
        hash.update(due.turn.to_string().as_bytes());
    }
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
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
