//! From a look at a Rollout to what is committed: notices, cursor, record.

use herald_core::{
    config::Config,
    decide::{Decision, Due, Held, StateChange, Turn},
    explain::{Answer, Explanation},
    lifecycle::Subject,
    notification::{Notification, RenderError},
};
use herald_outbox::{Batch, Done, Notice, ObjectRef, Outbox, OutboxError, Outcome, StateEntry};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

pub(crate) use super::assess::Known;
use super::{
    assess::{self, assess},
    configuration, decisions,
    look::{Look, text},
    payload,
    report::Reporter,
    tenant,
};

/// Where the store keeps what is known of each Rollout. Other kinds have scopes of their own.
pub(crate) const SCOPE: &str = "rollout";

/// The annotation with what the next leader has to know.
pub(crate) const CURSOR: &str = "herald.dev/cursor";

/// How many keys' repetitions are remembered for a Rollout.
const MOST_REPEATED: usize = 500;

/// What looks need. They store nothing: who looks commits what follows.
pub(crate) struct Engine<'a> {
    pub(crate) config: &'a Config,
    pub(crate) reporter: &'a Reporter,
    pub(crate) now: Timestamp,
    /// Where the store keeps what is known of the objects.
    pub(crate) scope: &'a str,
}

/// What follows from a look.
#[derive(Default)]
pub(crate) struct Weighed {
    /// What is to be committed.
    pub(crate) batch: Batch,
    /// When to look again even if nothing changes.
    pub(crate) next_look: Option<Timestamp>,
    /// What is known now; `None` once the object is gone.
    pub(crate) known: Option<Known>,
    /// Under which key each notice is in the record of what was sent.
    pub(crate) recorded: Vec<(String, String)>,
}

/// What one of the configurations has decided.
struct Part<'a> {
    config: &'a Config,
    decision: Decision,
    why: Option<Explanation>,
}

impl Part<'_> {
    fn why(&self, due: &Due) -> Option<&Answer> {
        self.why.as_ref().and_then(|why| decisions::why(why, due))
    }
}

impl Engine<'_> {
    /// What the store knows of objects, by `namespace/name` and in that order.
    pub(crate) async fn recall(
        &self,
        outbox: &dyn Outbox,
        names: &[String],
    ) -> Result<Vec<Option<Known>>, OutboxError> {
        let stored = outbox.get_states(self.scope, names).await?;
        // What can't be read is as good as never seen; it is told at most once more.
        Ok(stored.into_iter().map(|bytes| serde_json::from_slice(&bytes?).ok()).collect())
    }

    /// What follows from a look and what the store knew. `silent` records what is already true without telling it.
    pub(crate) fn look(&self, look: &Look<'_>, mut known: Option<Known>, silent: bool) -> Weighed {
        let key = format!("{}/{}", look.key.namespace, look.key.name);
        if look.past.cluster && (known.is_none() || look.past.handover) {
            let left = look.object().and_then(|object| {
                let cursor = text(object, &["metadata", "annotations", CURSOR]);
                Known::from_the_former_leader(object, cursor)
            });
            let decisions = known.as_ref().map_or(0, |known| known.decisions);
            known = left
                .map(|mut left| {
                    left.decisions = decisions;
                    left
                })
                .or(known);
        }
        // What is known of an object was found out at an earlier look: only what nobody ever saw is looked at in silence.
        let silent = silent && !(look.past.cluster && known.is_some());
        self.weigh(look, key, known, silent)
    }

    /// The same under a key of the caller's, and without a former leader.
    pub(crate) fn weigh(&self, look: &Look<'_>, key: String, known: Option<Known>, silent: bool) -> Weighed {
        let Some(mut assessed) = assess(self.config, look, known, silent, self.now) else {
            let batch = Batch { delete_state: vec![(self.scope.into(), key)], ..Batch::default() };
            return Weighed { batch, ..Weighed::default() };
        };
        configuration::tell(std::mem::take(&mut assessed.decision.diagnostics), look, self.reporter);
        let mut kept = Vec::new();
        let mut why = |config: &Config, decision: &Decision, known: &mut Known| {
            self.reporter.evaluated(&decision.chains);
            let notable = !silent && decisions::is_notable(&assessed.occurrences, decision);
            let why = notable.then(|| {
                let (object, occurrences) = (&assessed.shaped, &assessed.occurrences);
                assess::explained(config, object, occurrences, decision, self.now)
            });
            kept.extend(why.as_ref().and_then(|why| decisions::keep(why, &self.slot(&key), known)));
            why
        };
        let mut known = assessed.known;
        let first = why(self.config, &assessed.decision, &mut known);
        let mut parts = vec![Part { config: self.config, decision: assessed.decision, why: first }];
        if let (Some(config), Some(decision)) = (look.tenant, assessed.tenant) {
            let why = why(config, &decision, &mut known);
            parts.push(Part { config, decision, why });
        }
        let shaped = assessed.shaped;
        if matches!(look.rollout, Subject::Deleted(_)) {
            self.reporter.deleted(&look.key.namespace, &look.key.name);
        }
        let next_look = parts.iter().filter_map(|part| part.decision.next_look).min();
        let next_look = next_look.filter(|_| matches!(look.rollout, Subject::Present(_)));
        let uid = text(&shaped, &["metadata", "uid"]);
        let mut weighed = self.commit(look, uid, key, known, parts);
        // What is gone keeps no decisions.
        if !weighed.batch.put_state.is_empty() {
            weighed.batch.put_state.extend(kept);
        }
        Weighed { next_look, ..weighed }
    }

    fn commit(
        &self,
        look: &Look<'_>,
        uid: &str,
        key: String,
        mut known: Known,
        mut parts: Vec<Part<'_>>,
    ) -> Weighed {
        for change in parts.iter().flat_map(|part| &part.decision.changes) {
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
            uid: uid.to_owned(),
        };
        let mut batch = Batch::default();
        let (mut recorded, mut taken_back) = (Vec::new(), Vec::new());
        for part in &mut parts {
            let mut given_up = Vec::new();
            for due in std::mem::take(&mut part.decision.due) {
                let rendered = self
                    .render(part.config, &due)
                    .and_then(|notification| payload::write(&notification, part.why(&due)));
                match rendered {
                    Ok(payload) => {
                        if !known.live.wanted(part.config, &due, look.object()) {
                            continue;
                        }
                        let notice = self.notice(part.config, &due, &object_ref, &known, payload);
                        known.live.sent(part.config, &due, look.object(), &notice.id, &mut batch, self.now);
                        recorded.push((notice.id.clone(), due.key));
                        batch.enqueue.push(notice);
                    }
                    Err(reason) if due.comes_again() => {
                        // Not recorded, so that it is sent once the template is repaired.
                        part.decision.take_back(&due);
                        self.tell(look, &due, &reason);
                        taken_back.push(due.key);
                    }
                    Err(reason) => given_up.push((due, reason)),
                }
            }
            given_up.extend(part.decision.undeliverable.drain(..).map(|lost| (lost.due, lost.reason)));
            for (due, reason) in given_up {
                self.tell(look, &due, &reason);
                // Its templates may be usable, so that it can be sent by hand once the service is there.
                let why = part.why(&due);
                let rendered = self.render(part.config, &due);
                let rendered = rendered.and_then(|notification| payload::write(&notification, why));
                let Ok(payload) = rendered.or_else(|_| payload::missing(&reason, why)) else { continue };
                let notice = self.notice(part.config, &due, &object_ref, &known, payload);
                batch.done.push(Done {
                    id: notice.id.clone(),
                    outcome: Outcome::DeadLetter,
                    at: self.now,
                    reason,
                });
                batch.enqueue.push(notice);
            }
        }
        let gone = matches!(look.rollout, Subject::Deleted(_));
        known.namespace.clone_from(&object_ref.namespace);
        known.name.clone_from(&object_ref.name);
        let mut decisions = parts.into_iter().map(|part| part.decision);
        let first = decisions.next().unwrap_or_default();
        let second = decisions.next();
        known.held = first.held;
        let (mut state, held) = match second {
            Some(second) => (second.state, second.held),
            None => (first.state, Held::default()),
        };
        for key in &taken_back {
            state.forget(key);
        }
        known.tenant_held = held;
        known.sent = state.to_text().unwrap_or_default();
        match serde_json::to_vec(&known) {
            Ok(value) if !gone => batch.put_state.push(StateEntry { scope: self.scope.into(), key, value }),
            _ => {
                batch.delete_state.extend(decisions::entries(&self.slot(&key), known.decisions));
                batch.delete_state.push((self.scope.into(), key));
            }
        }
        Weighed { batch, next_look: None, known: (!gone).then_some(known), recorded }
    }

    /// Under which name decisions are kept: two objects of different kinds may have the same.
    fn slot(&self, key: &str) -> String {
        if self.scope == SCOPE { key.to_owned() } else { format!("{}/{key}", self.scope) }
    }

    fn tell(&self, look: &Look<'_>, due: &Due, reason: &str) {
        // Many rollouts may fail by the same template: that is one problem.
        let about = format!("trigger `{}` for {}", due.trigger, due.destination);
        self.reporter.failure(&format!("{about}: {reason}"), &look.key.to_string());
    }

    fn render(&self, config: &Config, due: &Due) -> Result<Notification, String> {
        let rendered = config.render(&due.send, &due.vars, &due.destination, self.now);
        rendered.map_err(|error| match error {
            // The place is one of the ConfigMap's value.
            RenderError::Template(error) => {
                let at =
                    format!("key template.{}, line {}, column {}", error.template, error.line, error.column);
                let (line, hint) = (error.source_line.trim(), error.hint.as_deref());
                let hint = hint.map(|hint| format!("\n  = help: {hint}")).unwrap_or_default();
                format!("{at}: {}\n  | {line}{hint}", error.message)
            }
            other => other.to_string(),
        })
    }

    fn notice(
        &self,
        config: &Config,
        due: &Due,
        object: &ObjectRef,
        known: &Known,
        payload: Vec<u8>,
    ) -> Notice {
        let repetition = known.repeated.get(&due.key).copied().unwrap_or(0);
        let occurrence = due.occurrence.as_ref().map_or("", |occurrence| occurrence.id.as_str());
        Notice {
            id: notice_id(&object.uid, due, occurrence, repetition),
            object: object.clone(),
            trigger: due.trigger.to_string(),
            service: tenant::instance(config.namespace(), due.destination.service.as_str()),
            recipient: due.destination.recipient.to_string(),
            created: self.now,
            due_after: self.now,
            payload,
        }
    }
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
