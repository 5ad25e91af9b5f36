//! A recording of a cluster in which the reference ran: the annotation shows when it recorded what.

use std::collections::BTreeMap;

use herald_core::state::State;
use herald_sources::{Change, ObjectKey, directory};
use herald_value::Value;
use jiff::Timestamp;

use super::{Kind, Line, RecordKey, second, snapshot};
use crate::{
    failure::Failure,
    pipeline::look::text,
    scene::Configured,
    simulation::{Outcome, Simulation},
};

/// What was recorded: by key, when each time.
type Record = BTreeMap<(String, String), Vec<i64>>;

/// One observation.
struct Seen {
    at: Timestamp,
    deleted: bool,
    object: Value,
}

/// Compares what the reference recorded with what Herald would have sent.
pub(crate) fn compare(configured: &Configured, source: &str, name: &str) -> Result<Vec<Line>, Failure> {
    let observations = read(source).map_err(|e| Failure::bad(format!("{name}: {e}")))?;
    let mut simulation = Simulation::new(configured.clone());
    let mut outcome = Outcome::default();
    let mut theirs = Record::new();
    let mut last: BTreeMap<String, State> = BTreeMap::new();
    for seen in &observations {
        simulation.pass(seen.at, &mut outcome);
        let Ok(objects) = directory::objects(&seen.object) else { continue };
        let mut changes = Vec::new();
        for (key, object) in objects {
            if key.kind == "Rollout" {
                note(&key, &object, &mut last, &mut theirs);
            }
            changes.push(if seen.deleted {
                Change::Delete { key }
            } else {
                // Herald keeps a record of its own here.
                Change::Upsert { key, object: snapshot::without_record(&object), file: None }
            });
        }
        simulation.change(changes, seen.at, false, &mut outcome);
    }
    Ok(lines(&theirs, outcome, observations.last().map(|seen| seen.at)))
}

/// Notes what is new in a Rollout's annotation.
fn note(key: &ObjectKey, object: &Value, last: &mut BTreeMap<String, State>, theirs: &mut Record) {
    let rollout = format!("{}/{}", key.namespace, key.name);
    let record = State::of(object);
    let before = last.entry(rollout.clone()).or_default();
    for (key, at) in record.entries().filter(|(key, at)| before.sent_at(key) != Some(*at)) {
        theirs.entry((rollout.clone(), key.to_owned())).or_default().push(at);
    }
    *before = record;
}

fn read(source: &str) -> Result<Vec<Seen>, String> {
    let mut observations = Vec::new();
    for (number, line) in source.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let fail = |message: String| format!("line {}: {message}", number + 1);
        let entry = Value::from_json(line.as_bytes()).map_err(|e| fail(e.to_string()))?;
        if !matches!(text(&entry, &["source"]), "watch" | "event") {
            continue;
        }
        let millis = entry.get("t_ms").and_then(Value::as_i64);
        let at = millis.and_then(|millis| Timestamp::from_millisecond(millis).ok());
        let at = at.ok_or_else(|| fail("there is no time `t_ms`".to_owned()))?;
        let deleted = text(&entry, &["type"]) == "DELETED";
        let object = entry.get("object").cloned().unwrap_or_default();
        observations.push(Seen { at, deleted, object });
    }
    Ok(observations)
}

/// How far apart, in seconds, the two may tell the same.
const NEAR: i64 = 30;

fn lines(theirs: &Record, outcome: Outcome, end: Option<Timestamp>) -> Vec<Line> {
    let mut ours = Record::new();
    let mut lines = Vec::new();
    for made in outcome.made {
        let Some(why) = &made.why else { continue };
        let rollout = format!("{}/{}", made.notice.object.namespace, made.notice.object.name);
        let key = why.key.clone().unwrap_or_default();
        if why.event.is_some() {
            lines.push(line(Kind::Event, rollout, key, made.at.as_second(), String::new(), true));
        } else {
            ours.entry((rollout, key)).or_default().push(made.at.as_second());
        }
    }
    let keys: std::collections::BTreeSet<_> = theirs.keys().chain(ours.keys()).cloned().collect();
    for (rollout, key) in keys {
        let place = (rollout.clone(), key.clone());
        let empty = Vec::new();
        let (theirs, ours) = (theirs.get(&place).unwrap_or(&empty), ours.get(&place).unwrap_or(&empty));
        let one = |kind, at: i64, why: String| line(kind, rollout.clone(), key.clone(), at, why, false);
        for number in 0..theirs.len().max(ours.len()) {
            lines.push(match (theirs.get(number), ours.get(number)) {
                (Some(their), Some(our)) if (their - our).abs() <= NEAR => {
                    one(Kind::Both, *their, String::new())
                }
                (Some(their), Some(our)) => {
                    let why = format!("Herald would have sent it {}", second(*our));
                    one(Kind::OnlyReference, *their, why)
                }
                (Some(their), None) => {
                    one(Kind::OnlyReference, *their, why_not(&outcome.explanations, &key))
                }
                (None, Some(our)) => {
                    // What was due in the last moments may have been recorded later.
                    let late = end.is_some_and(|end| end.as_second() - our <= 2);
                    let why = if late {
                        "the recording ends before the reference could have recorded it"
                    } else {
                        "the reference did not record it: its condition was true too shortly to be seen, its send \
                         failed, or it saw another value"
                    };
                    let mut line = one(Kind::OnlyHerald, *our, why.to_owned());
                    line.meant = late;
                    line
                }
                (None, None) => continue,
            });
        }
    }
    lines
}

/// What the last decision about such a subscription says.
fn why_not(explanations: &[herald_core::explain::Explanation], key: &str) -> String {
    let Some(parsed) = RecordKey::parse(key) else {
        return "this key has a form that is not known".to_owned();
    };
    let answers = explanations.iter().rev().flat_map(|one| &one.answers);
    let mut fitting =
        answers.filter(|answer| answer.trigger == parsed.trigger && answer.to.to_string() == parsed.to());
    match fitting.next() {
        Some(answer) => answer.sentence.clone(),
        None => format!("`{}` is not subscribed to `{}`", parsed.to(), parsed.trigger),
    }
}

fn line(kind: Kind, rollout: String, key: String, at: i64, why: String, meant: bool) -> Line {
    let parsed = RecordKey::parse(&key);
    Line {
        kind,
        rollout,
        trigger: parsed.as_ref().map(|parsed| parsed.trigger.to_owned()).unwrap_or_default(),
        to: parsed.as_ref().map(RecordKey::to).unwrap_or_default(),
        at: Some(second(at)),
        why,
        meant,
        key,
    }
}
