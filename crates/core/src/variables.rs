//! The variables that conditions and templates see.

use herald_value::{CallError, Str, Value, time::Time};

use crate::{lifecycle, occurrence::Occurrence};

/// Variables that the reference does not have.
#[derive(Clone, Debug, Default)]
pub struct Extras<'a> {
    /// `.trigger`: the trigger's name.
    pub trigger: Option<&'a str>,
    /// `.event`: what happened.
    pub event: Option<&'a Occurrence>,
    /// `.previous`: the object as it was before, where that is known.
    pub previous: Option<&'a Value>,
    /// The object that `.rollout` is, for `.diff`.
    pub now: Option<&'a Value>,
}

/// A map of few entries; it nests too deep only if one of them already does.
fn map<'a>(entries: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    Value::map(entries).unwrap_or_default()
}

/// Variables that are there whatever the object is.
pub const BUILT_IN: &[&str] =
    &["analysisRuns", "time", "secrets", "trigger", "event", "previous", "diff", "recipient", "serviceType"];

/// The name of the variable that objects of a kind are: the kind in lower case. What doesn't say its kind is a Rollout.
pub fn of_kind(kind: &str) -> String {
    if kind.is_empty() { "rollout".to_owned() } else { kind.to_lowercase() }
}

/// The object under its name, `analysisRuns`, `time`, `secrets`, and the extras.
pub fn variables(
    rollout: &Value,
    analysis_runs: &Value,
    secrets: &Value,
    now: jiff::Timestamp,
    extras: &Extras<'_>,
) -> Value {
    let name = of_kind(text(rollout, &["kind"]).unwrap_or_default());
    let mut entries = vec![
        (name.as_str(), rollout.clone()),
        ("analysisRuns", analysis_runs.clone()),
        ("time", time(now)),
        ("secrets", secrets.clone()),
    ];
    if let Some(trigger) = extras.trigger {
        entries.push(("trigger", Value::str(trigger)));
    }
    if let Some(occurrence) = extras.event {
        entries.push(("event", event(occurrence)));
    }
    if let Some(previous) = extras.previous {
        entries.push(("previous", previous.clone()));
        entries.push(("diff", diff(previous, extras.now.unwrap_or(rollout))));
    }
    map(entries)
}

/// These variables with one more.
pub(crate) fn with(vars: &Value, entries: &[(&str, Value)]) -> Value {
    let Some(all) = vars.as_map() else { return vars.clone() };
    let entries = entries.iter().map(|(key, value)| (Str::from(*key), value.clone()));
    Value::map(all.entries().iter().cloned().chain(entries)).unwrap_or_else(|_| vars.clone())
}

fn time(now: jiff::Timestamp) -> Value {
    map([
        ("Now", Value::func("time.Now", Some(0), move |_| Ok(Value::Time(Time::utc(now).into())))),
        (
            "Parse",
            Value::func("time.Parse", Some(1), |args| {
                let text = args.first().and_then(Value::as_str).ok_or_else(|| {
                    CallError::new("time.Parse wants a text, such as `2006-01-02T15:04:05Z`")
                })?;
                herald_value::time::parse_rfc3339(text).map(|time| Value::Time(time.into()))
            }),
        ),
    ])
}

/// What `.event` is.
pub fn event(occurrence: &Occurrence) -> Value {
    let facts = occurrence.facts.iter().map(|(key, value)| (key.as_str(), value.clone()));
    map([
        ("reason", Value::str(&*occurrence.reason)),
        ("type", Value::str(occurrence.event_type.as_str())),
        ("id", Value::str(occurrence.id.as_str())),
        ("message", Value::str(occurrence.message.as_str())),
        ("time", occurrence.time.map_or(Value::Nil, |at| Value::str(at.to_string()))),
        ("facts", map(facts)),
    ])
}

/// The Secret's data as `secrets`: each value a `[]byte`.
pub fn secrets<'a>(data: impl IntoIterator<Item = (&'a String, &'a Vec<u8>)>) -> Value {
    map(data.into_iter().map(|(key, value)| (key.as_str(), Value::bytes(value))))
}

/// The object in the shape in which the reference hands it to templates and conditions; `workload` is the object
/// that its `spec.workloadRef` names.
pub fn shape_rollout(rollout: &Value, workload: Option<&Value>) -> Value {
    let pod_template = workload.and_then(|w| w.path(&["spec", "template"]).or_else(|| w.get("template")));
    let shaped = lifecycle::shaped(rollout, pod_template);
    let referenced = rollout.path(&["spec", "workloadRef"]).is_some_and(|r| !r.is_nil());
    let own = rollout.path(&["spec", "selector"]).is_some_and(|s| !s.is_nil());
    let selector = workload.and_then(|w| w.path(&["spec", "selector"]));
    match (selector, shaped.get("spec")) {
        (Some(selector), Some(spec)) if referenced && !own => {
            let spec = with(spec, &[("selector", selector.clone())]);
            with(&shaped, &[("spec", spec)])
        }
        _ => shaped,
    }
}

fn text<'a>(object: &'a Value, path: &[&str]) -> Option<&'a str> {
    object.path(path).and_then(Value::as_str)
}

fn revision(object: &Value) -> i64 {
    let annotation = ["metadata", "annotations", "rollout.argoproj.io/revision"];
    text(object, &annotation).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// `analysisRuns`: those of the Rollout's namespace, pod hash and revision, newest first. Nil if none has the
/// hash.
pub fn select_analysis_runs<'a>(rollout: &Value, all: impl IntoIterator<Item = &'a Value>) -> Value {
    let Some(hash) = text(rollout, &["status", "currentPodHash"]).filter(|hash| !hash.is_empty()) else {
        return Value::Nil;
    };
    let namespace = text(rollout, &["metadata", "namespace"]).unwrap_or_default();
    let label = ["metadata", "labels", "rollouts-pod-template-hash"];
    let of_hash: Vec<&Value> = all
        .into_iter()
        .filter(|run| text(run, &label) == Some(hash))
        .filter(|run| text(run, &["metadata", "namespace"]).unwrap_or_default() == namespace)
        .collect();
    if of_hash.is_empty() {
        return Value::Nil;
    }
    let wanted = revision(rollout);
    let mut runs: Vec<&Value> = of_hash.into_iter().filter(|run| revision(run) == wanted).collect();
    let key = |run: &&Value| {
        let field = |name| text(run, &["metadata", name]).unwrap_or_default().to_owned();
        // Times are RFC 3339 in UTC, which sort as text; names make equal times stable.
        (std::cmp::Reverse(field("creationTimestamp")), field("name"))
    };
    runs.sort_by_cached_key(key);
    Value::list(runs.into_iter().cloned().collect()).unwrap_or_default()
}

/// `.diff`: what changed in images, weights and steps. Parts that did not change are absent.
pub fn diff(previous: &Value, now: &Value) -> Value {
    let mut parts = Vec::new();
    let images = images(previous, now);
    if !images.is_empty() {
        parts.push(("images", Value::list(images).unwrap_or_default()));
    }
    for (name, path) in [
        ("weights", &["status", "canary", "weights", "canary", "weight"][..]),
        ("steps", &["status", "currentStepIndex"]),
        ("revision", &["metadata", "annotations", "rollout.argoproj.io/revision"]),
        ("phase", &["status", "phase"]),
    ] {
        let (from, to) = (previous.path(path), now.path(path));
        if from != to {
            let part = [("from", from.cloned().unwrap_or_default()), ("to", to.cloned().unwrap_or_default())];
            parts.push((name, map(part)));
        }
    }
    map(parts)
}

fn images(previous: &Value, now: &Value) -> Vec<Value> {
    let list = |object: &Value| -> Vec<(String, String)> {
        let containers = object.path(&["spec", "template", "spec", "containers"]).and_then(Value::as_list);
        let of = |c: &Value| Some((text(c, &["name"])?.to_owned(), text(c, &["image"])?.to_owned()));
        containers.unwrap_or_default().iter().filter_map(of).collect()
    };
    let before = list(previous);
    let mut changed = Vec::new();
    for (name, to) in list(now) {
        let from = before.iter().find(|(n, _)| *n == name).map(|(_, image)| image.as_str());
        if from != Some(&to) {
            changed.push(map([
                ("container", Value::from(name)),
                ("from", from.map_or(Value::Nil, Value::from)),
                ("to", Value::from(to)),
            ]));
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Value {
        Value::from_json(text.as_bytes()).unwrap()
    }

    #[test]
    fn analysis_runs_are_those_of_hash_and_revision() {
        let rollout = json(
            r#"{"metadata":{"namespace":"a","annotations":{"rollout.argoproj.io/revision":"2"}},"status":{"currentPodHash":"h"}}"#,
        );
        let run = |name: &str, ns: &str, hash: &str, revision: &str, created: &str| {
            json(&format!(
                r#"{{"metadata":{{"name":"{name}","namespace":"{ns}","labels":{{"rollouts-pod-template-hash":"{hash}"}},
                "annotations":{{"rollout.argoproj.io/revision":"{revision}"}},"creationTimestamp":"{created}"}}}}"#
            ))
        };
        let all = [
            run("old", "a", "h", "2", "2026-01-01T00:00:00Z"),
            run("new", "a", "h", "2", "2026-01-02T00:00:00Z"),
            run("other-revision", "a", "h", "1", "2026-01-03T00:00:00Z"),
            run("other-ns", "b", "h", "2", "2026-01-03T00:00:00Z"),
            run("other-hash", "a", "g", "2", "2026-01-03T00:00:00Z"),
        ];
        let chosen = select_analysis_runs(&rollout, &all);
        let names: Vec<_> =
            chosen.as_list().unwrap().iter().filter_map(|r| text(r, &["metadata", "name"])).collect();
        assert_eq!(names, ["new", "old"]);
        assert_eq!(select_analysis_runs(&rollout, &all[2..3]).as_list().map(<[_]>::len), Some(0));
        assert!(select_analysis_runs(&rollout, &all[4..]).is_nil());
    }

    #[test]
    fn the_workload_fills_in_template_and_selector() {
        let rollout = json(r#"{"spec":{"workloadRef":{"name":"w"},"paused":false}}"#);
        let workload =
            json(r#"{"spec":{"template":{"spec":{"containers":[]}},"selector":{"matchLabels":{}}}}"#);
        let shaped = shape_rollout(&rollout, Some(&workload));
        assert!(shaped.path(&["spec", "template", "spec", "containers"]).is_some());
        assert!(shaped.path(&["spec", "selector", "matchLabels"]).is_some());
        assert!(shaped.path(&["spec", "paused"]).is_none());
        assert!(shaped.path(&["status", "canary"]).is_some());
    }

    #[test]
    fn differences() {
        let a = json(
            r#"{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"x:1"}]}}},"status":{"phase":"P"}}"#,
        );
        let b = json(
            r#"{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"x:2"}]}}},"status":{"phase":"P"}}"#,
        );
        let wanted = json(r#"{"images":[{"container":"c","from":"x:1","to":"x:2"}]}"#);
        assert_eq!(diff(&a, &b), wanted);
    }
}
