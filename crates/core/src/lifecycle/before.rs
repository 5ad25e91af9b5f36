//! The object that a template sees: mostly the one from before the change.

use herald_value::{Elem, Map, Str, Value};

use super::{cursor::Before, view::COUNT_FIELDS};

/// A value with something below it set or removed. Containers on the way are made where they are missing; a
/// value that would nest too deep stays as it is.
pub(crate) fn with(value: &Value, path: &[&str], new: Option<Value>) -> Value {
    let Some((key, rest)) = path.split_first() else { return new.unwrap_or_default() };
    let empty = Value::map::<&str>([]).unwrap_or_default();
    let holder = if value.as_map().is_some() { value } else { &empty };
    let Some(map) = holder.as_map() else { return value.clone() };
    let child = map.get(key);
    if rest.is_empty() && new.is_none() {
        return match child {
            Some(_) => Value::Map(map.without(key.as_bytes()).into()),
            None => value.clone(),
        };
    }
    let child = with(child.unwrap_or(&Value::Nil), rest, new);
    map.with(Str::from(*key), child).map_or_else(|_| value.clone(), |map| Value::Map(map.into()))
}

/// The object with the status that it had before.
pub(super) fn rewound(object: &Value, before: &Before) -> Value {
    let text = |text: &Option<String>| text.as_deref().map(Value::from);
    let flag = |flag: bool| flag.then_some(Value::Bool(true));
    let pauses = before.pauses.iter().map(|pause| {
        Value::map([("reason", Value::str(&*pause.reason)), ("startTime", Value::str(&*pause.start))])
            .unwrap_or_default()
    });
    let pauses = Value::list(pauses.collect()).ok().filter(|_| !before.pauses.is_empty());
    let mut fields = vec![
        ("currentPodHash", text(&before.hash)),
        ("stableRS", text(&before.stable)),
        ("currentStepHash", text(&before.step_hash)),
        ("currentStepIndex", before.index.map(Value::int64)),
        ("phase", text(&before.phase)),
        ("pauseConditions", pauses),
        ("controllerPause", flag(before.controller_pause)),
        ("abort", flag(before.abort)),
        ("abortedAt", text(&before.aborted_at)),
        ("promoteFull", flag(before.promote_full)),
    ];
    fields.extend(COUNT_FIELDS.into_iter().zip(before.counts.map(|count| count.map(Value::int64))));
    let status = object.get("status").and_then(Value::as_map).map(Map::entries).unwrap_or_default();
    let is_known = |key: &Str| fields.iter().any(|(field, _)| key.as_bytes() == field.as_bytes());
    let mut entries: Vec<(Str, Value)> = status.iter().filter(|(key, _)| !is_known(key)).cloned().collect();
    entries.extend(fields.into_iter().filter_map(|(key, value)| Some((Str::from(key), value?))));
    let status = Map::new(Elem::Any, entries).map_or_else(|_| Value::Nil, |map| Value::Map(map.into()));
    with(object, &["status"], Some(status))
}

/// The object at a step that was passed without being seen.
pub(super) fn at_step(object: &Value, index: i64) -> Value {
    let object = with(object, &["status", "currentStepIndex"], Some(Value::int64(index)));
    let object = with(&object, &["status", "phase"], Some(Value::str("Progressing")));
    with(&object, &["status", "pauseConditions"], None)
}

/// The object in the shape in which the reference hands it to templates: the maps that templates look into are
/// there, flags that are false are not, and the pod template of a referenced workload is filled in.
///
/// `template` is the pod template of the Rollout's ReplicaSet of the present revision, where that is known.
pub fn shaped(object: &Value, template: Option<&Value>) -> Value {
    let mut shaped = object.clone();
    for path in [
        &["spec", "paused"][..],
        &["status", "abort"],
        &["status", "promoteFull"],
        &["status", "controllerPause"],
    ] {
        if object.path(path).and_then(Value::as_bool) == Some(false) {
            shaped = with(&shaped, path, None);
        }
    }
    let referenced = object.path(&["spec", "workloadRef"]).is_some_and(|r| !r.is_nil());
    if let Some(template) = template.filter(|_| referenced) {
        let mut template = template.clone();
        let label = ["metadata", "labels", "rollouts-pod-template-hash"];
        if template.path(&label).is_some() {
            template = with(&template, &label, None);
        }
        shaped = with(&shaped, &["spec", "template"], Some(template));
    }
    for path in [
        &["spec", "strategy"][..],
        &["spec", "template"],
        &["status"],
        &["status", "canary"],
        &["status", "blueGreen"],
    ] {
        if shaped.path(path).and_then(Value::as_map).is_none() {
            shaped = with(&shaped, path, Value::map::<&str>([]).ok());
        }
    }
    shaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Value {
        Value::from_json(text.as_bytes()).unwrap()
    }

    #[test]
    fn rewinds_what_the_cursor_knows_and_keeps_the_rest() {
        let now = json(
            r#"{"metadata":{"name":"web"},"status":{"currentStepIndex":2,"phase":"Progressing","message":"m",
            "replicas":5,"conditions":[]}}"#,
        );
        let before = Before {
            index: Some(1),
            phase: Some("Paused".into()),
            counts: [Some(4), None, None, None],
            ..Before::default()
        };
        let was = rewound(&now, &before);
        assert_eq!(
            was,
            json(
                r#"{"metadata":{"name":"web"},"status":{"currentStepIndex":1,"phase":"Paused","message":"m",
                "replicas":4,"conditions":[]}}"#
            )
        );
    }

    #[test]
    fn shapes_like_the_typed_object() {
        let seen = json(r#"{"spec":{"paused":false,"workloadRef":{"name":"d"}},"status":{"abort":false}}"#);
        let template =
            json(r#"{"metadata":{"labels":{"rollouts-pod-template-hash":"abc","app":"web"}},"spec":{}}"#);
        assert_eq!(
            shaped(&seen, Some(&template)),
            json(
                r#"{"spec":{"workloadRef":{"name":"d"},"strategy":{},"template":{"metadata":{"labels":
                {"app":"web"}},"spec":{}}},"status":{"canary":{},"blueGreen":{}}}"#
            )
        );
    }
}
