//! One look at objects as they are: the annotation says what the reference has sent so far.

use herald_core::{
    config::Condition,
    diagnostic::Severity,
    explain::{Answer, Explanation, Gate, Verdict},
    lifecycle::Subject,
    state::{ANNOTATION, State},
};
use herald_sources::ObjectKey;
use herald_value::Value;
use jiff::Timestamp;

use super::{Kind, Line, RecordKey, second};
use crate::{
    pipeline::{assess::assess, look::Look},
    scene::Configured,
};

/// Compares what the annotation of a Rollout says with what Herald would have sent without it.
pub(crate) fn compare(configured: &Configured, look: &Look<'_>, now: Timestamp) -> Vec<Line> {
    let Subject::Present(object) = look.rollout else { return Vec::new() };
    let record = State::of(object);
    let bare = without_record(object);
    let alone = Look {
        key: look.key,
        rollout: Subject::Present(&bare),
        previous: None,
        replica_sets: look.replica_sets.clone(),
        analysis_runs: look.analysis_runs.clone(),
        experiments: look.experiments.clone(),
        events: look.events.clone(),
        workload: look.workload,
        file: look.file,
        past: look.past,
        tenant: None,
    };
    let Some(assessed) = assess(&configured.config, &alone, None, false, now) else { return Vec::new() };
    let explanation = assessed.explain(&configured.config, &configured.loading, &[], now, true);
    lines(configured, look.key, &record, &explanation)
}

/// The object without the record of the reference.
pub(crate) fn without_record(object: &Value) -> Value {
    let stripped = || {
        let all = object.as_map()?;
        let metadata = object.get("metadata")?.as_map()?;
        let annotations = object.path(&["metadata", "annotations"])?.as_map()?;
        let annotations = Value::Map(annotations.without(ANNOTATION.as_bytes()).into());
        let metadata = metadata.with("annotations".into(), annotations).ok()?;
        all.with("metadata".into(), Value::Map(metadata.into())).ok()
    };
    stripped().map_or_else(|| object.clone(), |all| Value::Map(all.into()))
}

fn lines(
    configured: &Configured,
    rollout: &ObjectKey,
    record: &State,
    explanation: &Explanation,
) -> Vec<Line> {
    let name = format!("{}/{}", rollout.namespace, rollout.name);
    let line = |kind, answer: &Answer, at: Option<i64>, why: String, meant| Line {
        kind,
        rollout: name.clone(),
        trigger: answer.trigger.clone(),
        to: answer.to.to_string(),
        key: answer.key.clone().unwrap_or_default(),
        at: at.map(second),
        why,
        meant,
    };
    let mut lines = Vec::new();
    let mut seen: Vec<String> = Vec::new();
    for answer in &explanation.answers {
        let is_due = answer.verdict == Verdict::Due;
        if answer.event.is_some() {
            if is_due {
                lines.push(line(Kind::Event, answer, None, String::new(), true));
            }
            continue;
        }
        let Some(key) = answer.key.as_deref().filter(|_| is_due) else { continue };
        match record.sent_at(key) {
            Some(at) => {
                seen.push(key.to_owned());
                lines.push(line(Kind::Both, answer, Some(at), String::new(), true));
            }
            None => {
                let cut = cut_key(key, answer).filter(|cut| record.sent_at(cut).is_some());
                let (why, meant) = match &cut {
                    Some(cut) => {
                        seen.push(cut.clone());
                        let why =
                            "the reference cuts the recipient at its colon, and has sent it to what is left";
                        (why.to_owned(), true)
                    }
                    None => not_recorded(configured),
                };
                lines.push(line(Kind::OnlyHerald, answer, None, why, meant));
            }
        }
    }
    for (key, at) in record.entries().filter(|(key, _)| !seen.iter().any(|seen| seen == key)) {
        let parsed = RecordKey::parse(key);
        let (kind, why, meant) = match &parsed {
            Some(parsed) => not_due(configured, parsed, explanation),
            None => (Kind::Past, "this key has a form that is not known".to_owned(), true),
        };
        lines.push(Line {
            kind,
            rollout: name.clone(),
            trigger: parsed.as_ref().map(|parsed| parsed.trigger.to_owned()).unwrap_or_default(),
            to: parsed.as_ref().map(RecordKey::to).unwrap_or_default(),
            key: key.to_owned(),
            at: Some(second(at)),
            why,
            meant,
        });
    }
    lines
}

/// The key as the reference writes it where it cuts a recipient of the ConfigMap.
fn cut_key(key: &str, answer: &Answer) -> Option<String> {
    let (kept, _) = answer.to.recipient.split_once(':')?;
    Some(format!("{}{kept}", key.strip_suffix(answer.to.recipient.as_str())?))
}

/// Why the reference has no record of what is due.
fn not_recorded(configured: &Configured) -> (String, bool) {
    let errors: Vec<&str> = configured
        .loading
        .iter()
        .filter(|diagnostic| diagnostic.severity == Severity::Error)
        .filter_map(|diagnostic| diagnostic.key.as_deref())
        .collect();
    if !errors.is_empty() {
        let keys = errors.join("`, `");
        let why =
            format!("the reference rejects the whole ConfigMap while `{keys}` is wrong, and sends nothing");
        return (why, true);
    }
    let why = "the condition is true now: the reference has not looked since it is, its send failed, or it sees \
               another value";
    (why.to_owned(), false)
}

/// Why Herald would not send what the reference recorded.
fn not_due(configured: &Configured, key: &RecordKey<'_>, explanation: &Explanation) -> (Kind, String, bool) {
    let config = &configured.config;
    let Some(trigger) = config.trigger(key.trigger) else {
        return (Kind::Past, format!("there is no trigger `{}` (any more)", key.trigger), true);
    };
    let condition: Option<&Condition> =
        trigger.conditions.iter().find(|condition| condition.key == key.condition);
    let Some(condition) = condition else {
        let why = "the trigger has no such condition (any more): its `when` or its place was changed";
        return (Kind::Past, why.to_owned(), true);
    };
    let answer = explanation.answers.iter().find(|answer| {
        answer.event.is_none()
            && answer.trigger == key.trigger
            && answer.condition == Some(condition.index)
            && answer.to.to_string() == key.to()
    });
    let Some(answer) = answer else {
        return (Kind::Past, format!("`{}` is not subscribed (any more)", key.to()), true);
    };
    if condition.once_per.is_some() && answer.verdict != Verdict::Wrong {
        // The record of a `oncePer` stays for ever.
        return (Kind::Past, "sent for an earlier value of `oncePer`".to_owned(), true);
    }
    match answer.stopped_by {
        Some(Gate::HeldLongEnough) => {
            (Kind::OnlyReference, format!("the reference ignores `for`; {}", answer.sentence), true)
        }
        Some(Gate::Happened) => {
            let why = "its `when` is empty, and the reference looks at the state all the same";
            (Kind::OnlyReference, why.to_owned(), false)
        }
        _ => (Kind::OnlyReference, answer.sentence.clone(), false),
    }
}
