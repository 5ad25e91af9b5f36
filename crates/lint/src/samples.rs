//! Sample objects, in the states that notifications are about.

use std::sync::LazyLock;

use herald_core::{
    lifecycle::reasons,
    occurrence::Occurrence,
    variables::{self, Extras},
    yaml,
};
use herald_value::Value;
use jiff::Timestamp;
use serde_json::Value as Json;

/// A rollout in one state.
#[derive(Clone, Debug)]
pub struct Sample {
    /// What the state is called, such as `canary-paused`.
    pub name: String,
    /// The triggers that fire in it.
    pub events: Vec<String>,
    /// The Rollout.
    pub rollout: Json,
    /// Its AnalysisRuns.
    pub analysis_runs: Json,
}

static ALL: LazyLock<Vec<Sample>> = LazyLock::new(|| {
    let Ok(node) = yaml::parse(include_str!("../data/samples.yaml")) else { return Vec::new() };
    let text = |json: &Json| json.as_str().unwrap_or_default().to_owned();
    let sample = |json: Json| Sample {
        name: text(&json["name"]),
        events: json["events"].as_array().map(|all| all.iter().map(text).collect()).unwrap_or_default(),
        rollout: json["rollout"].clone(),
        analysis_runs: json["analysisRuns"].clone(),
    };
    node.items().iter().map(|item| sample(item.to_json())).collect()
});

/// All samples.
pub fn samples() -> &'static [Sample] {
    &ALL
}

/// What people and programs write freely comes with what breaks careless templates.
const AWKWARD: &str = "a \"quoted\" word, a \\ and\na second line";

/// The moment of rendering: a fixed one, so that the same configuration gives the same findings.
pub(crate) fn moment() -> Timestamp {
    Timestamp::from_second(1_772_447_400).unwrap_or(Timestamp::UNIX_EPOCH)
}

impl Sample {
    /// This sample with awkward texts wherever a text is free.
    pub(crate) fn awkward(&self) -> Sample {
        let mut sample = self.clone();
        spoil(&mut sample.rollout);
        spoil(&mut sample.analysis_runs);
        sample
    }

    /// The variables that a template or condition of a trigger sees.
    pub(crate) fn variables(&self, trigger: Option<&str>, secrets: &Value, event_message: &str) -> Value {
        let value = |json: &Json| Value::from_json(json.to_string().as_bytes()).unwrap_or_default();
        let rollout = variables::shape_rollout(&value(&self.rollout), None);
        let runs = value(&self.analysis_runs);
        let reason = trigger.and_then(reasons::of_trigger);
        let event = reason.map(|reason| Occurrence {
            reason: reason.reason.into(),
            event_type: reason.event_type,
            id: format!("{}/7", reason.reason),
            time: Some(moment()),
            message: event_message.to_owned(),
            facts: Default::default(),
            object: None,
        });
        let extras = Extras { trigger, event: event.as_ref(), previous: Some(&rollout), now: Some(&rollout) };
        variables::variables(&rollout, &runs, secrets, moment(), &extras)
    }

    pub(crate) fn awkward_event() -> &'static str {
        AWKWARD
    }
}

fn spoil(json: &mut Json) {
    match json {
        Json::Object(map) => {
            for (key, value) in map {
                match value {
                    Json::String(text) if key == "message" => AWKWARD.clone_into(text),
                    Json::Object(own) if key == "annotations" => {
                        for (name, value) in own.iter_mut() {
                            if name != "rollout.argoproj.io/revision" {
                                *value = Json::from(AWKWARD);
                            }
                        }
                    }
                    other => spoil(other),
                }
            }
        }
        Json::Array(items) => items.iter_mut().for_each(spoil),
        _ => {}
    }
}

/// Puts a text where a template asks for a key of the user's own: a label, an annotation.
pub(crate) fn provide(json: &mut Json, path: &[&str]) {
    let Some((last, parents)) = path.split_last() else { return };
    let mut at = json;
    for key in parents {
        let Json::Object(map) = at else { return };
        at = map.entry((*key).to_owned()).or_insert_with(|| Json::Object(Default::default()));
    }
    if let Json::Object(map) = at {
        map.entry((*last).to_owned()).or_insert_with(|| Json::from("value"));
    }
}

#[cfg(test)]
mod tests {
    use herald_core::lifecycle::reasons;

    use crate::fields::{Found, Step, follow};

    use super::*;

    #[test]
    fn samples_are_rollouts_with_known_fields_and_events() {
        assert!(samples().len() >= 10);
        for sample in samples() {
            for event in &sample.events {
                let state = herald_core::catalog::state_triggers().any(|(name, ..)| name == event);
                assert!(state || reasons::of_trigger(event).is_some(), "{}: {event}", sample.name);
            }
            check(&sample.name, "Rollout", &sample.rollout, &mut Vec::new());
            for run in sample.analysis_runs.as_array().into_iter().flatten() {
                check(&sample.name, "AnalysisRun", run, &mut Vec::new());
            }
        }
    }

    fn check<'j>(name: &str, kind: &str, json: &'j Json, path: &mut Vec<Step<'j>>) {
        if !path.is_empty() {
            let found = follow(kind, path);
            assert!(matches!(found, Found::Value { .. } | Found::Dark), "{name}: {path:?}: {found:?}");
        }
        match json {
            Json::Object(map) => {
                for (key, value) in map {
                    path.push(Step::Key(key));
                    check(name, kind, value, path);
                    path.pop();
                }
            }
            Json::Array(items) => {
                for item in items {
                    path.push(Step::Item);
                    check(name, kind, item, path);
                    path.pop();
                }
            }
            _ => {}
        }
    }
}
