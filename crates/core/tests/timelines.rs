//! Timelines that no recording covers: `conformance/lifecycle/timelines.json`. Each look changes the Rollout by a
//! JSON merge patch, may replace what it owns, and says what must be told.

#![allow(clippy::unwrap_used)]

use std::fs;

use herald_core::{
    lifecycle::{Cursor, Observation, Subject, observe},
    occurrence::Occurrence,
};
use herald_value::Value;
use serde::Deserialize;
use serde_json::{Value as Json, json};

#[derive(Deserialize)]
struct Timeline {
    name: String,
    baseline: Option<String>,
    looks: Vec<Look>,
}

#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
#[derive(Default)]
struct Look {
    baseline: Option<String>,
    rollout: Option<Json>,
    deleted: bool,
    replica_sets: Option<Vec<Json>>,
    analysis_runs: Option<Vec<Json>>,
    experiments: Option<Vec<Json>>,
    expect: Vec<String>,
}

fn merge(target: &mut Json, patch: &Json) {
    let Json::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let target = target.as_object_mut().unwrap();
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key).or_insert(Json::Null), value);
        }
    }
}

fn value(json: &Json) -> Value {
    Value::from_json(json.to_string().as_bytes()).unwrap()
}

fn replica_set(short: &Json) -> Value {
    let owner = json!([{"uid": "uid-1", "controller": true}]);
    value(&json!({
        "metadata": {
            "uid": short["uid"], "name": format!("web-{}", short["hash"].as_str().unwrap()),
            "generation": short["generation"], "creationTimestamp": created(short), "ownerReferences": owner,
            "labels": {"rollouts-pod-template-hash": short["hash"]},
            "annotations": {"rollout.argoproj.io/revision": short["revision"].to_string()},
        },
        "spec": {"replicas": short["replicas"]},
    }))
}

fn created(short: &Json) -> Json {
    short.get("created").cloned().unwrap_or_else(|| json!("2026-01-01T00:00:00Z"))
}

fn experiment(short: &Json) -> Value {
    value(&json!({
        "metadata": {
            "uid": short["uid"], "name": short["name"], "creationTimestamp": created(short),
            "ownerReferences": [{"uid": "uid-1", "controller": true}],
        },
        "status": {"phase": short["phase"], "analysisRuns": short["analyses"]},
    }))
}

fn analysis_run(short: &Json) -> Value {
    value(&json!({
        "metadata": {
            "uid": short["uid"], "name": short["name"], "creationTimestamp": created(short),
            "ownerReferences": [{"uid": "uid-1", "controller": true}],
            "labels": {"rollout-type": "Step", "step-index": short["step"].to_string()},
        },
        "spec": {"terminate": short.get("terminate")},
        "status": {"phase": short["phase"], "completedAt": short.get("completed")},
    }))
}

/// The reason, and for a step its number.
fn told(occurrence: &Occurrence) -> String {
    match occurrence.facts.get("step").and_then(Value::as_i64) {
        Some(step) => format!("{} {step}", occurrence.reason),
        None => occurrence.reason.to_string(),
    }
}

#[test]
fn timelines() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../conformance/lifecycle/timelines.json");
    let timelines: Vec<Timeline> = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    assert!(timelines.len() >= 27);
    for timeline in timelines {
        let mut rollout = json!({
            "kind": "Rollout",
            "metadata": {"uid": "uid-1", "name": "web", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"strategy": {"canary": {"steps": [{"setWeight": 20}, {"pause": {}}, {"setWeight": 60}]}}},
        });
        let mut baseline = timeline.baseline;
        let mut cursor: Option<Cursor> = None;
        let (mut replica_sets, mut analysis_runs, mut experiments) = (Vec::new(), Vec::new(), Vec::new());
        for (nth, look) in timeline.looks.iter().enumerate() {
            baseline = look.baseline.clone().or(baseline);
            merge(&mut rollout, look.rollout.as_ref().unwrap_or(&json!({})));
            rollout["metadata"]["resourceVersion"] = json!((nth + 1).to_string());
            if let Some(new) = &look.replica_sets {
                replica_sets = new.iter().map(replica_set).collect();
            }
            if let Some(new) = &look.analysis_runs {
                analysis_runs = new.iter().map(analysis_run).collect();
            }
            if let Some(new) = &look.experiments {
                experiments = new.iter().map(experiment).collect();
            }
            let object = value(&rollout);
            let (replica_sets, analysis_runs): (Vec<&Value>, Vec<&Value>) =
                (replica_sets.iter().collect(), analysis_runs.iter().collect());
            let experiments: Vec<&Value> = experiments.iter().collect();
            let seen = Observation {
                rollout: if look.deleted { Subject::Deleted(None) } else { Subject::Present(&object) },
                replica_sets: &replica_sets,
                analysis_runs: &analysis_runs,
                experiments: &experiments,
            };
            let baseline = baseline.as_deref().map(|b| b.parse().unwrap());
            let now = "2026-01-01T00:01:00Z".parse().unwrap();
            let observed = observe(cursor.as_ref(), &seen, baseline, now);
            let all: Vec<String> = observed.occurrences.iter().map(told).collect();
            assert_eq!(all, look.expect, "{}, look {}", timeline.name, nth + 1);
            // A second look at the same tells nothing.
            let again = observe(observed.cursor.as_ref(), &seen, baseline, now);
            assert!(
                observed.cursor.is_none() || again.occurrences.is_empty(),
                "{}, look {}",
                timeline.name,
                nth + 1
            );
            assert_eq!(again.cursor, observed.cursor, "{}, look {}", timeline.name, nth + 1);
            cursor = observed.cursor;
        }
    }
}

/// Whatever stands in the fields, nothing panics.
#[test]
fn strange_values_are_harmless() {
    let strange = [
        json!(null),
        json!(-1),
        json!(i64::MIN),
        json!(i64::MAX),
        json!(1e300),
        json!(""),
        json!("x"),
        json!(i64::MAX.to_string()),
        json!(i64::MIN.to_string()),
        json!([]),
        json!([null, {}]),
        json!({}),
        json!(true),
    ];
    let paths = [
        "/metadata/annotations/rollout.argoproj.io~1revision",
        "/metadata/generation",
        "/metadata/resourceVersion",
        "/status/currentStepIndex",
        "/status/pauseConditions",
        "/status/conditions",
        "/status/duration",
        "/status/canary",
        "/status/canary/stepPluginStatuses/0/index",
        "/status/abortedAt",
        "/spec/strategy/canary/steps",
        "/status",
        "/spec/strategy/canary/steps/0/pause/duration",
        "/status/currentPodHash",
        "/status/stableRS",
    ];
    let plain = json!({
        "metadata": {"uid": "u", "generation": 1, "resourceVersion": "1", "annotations": {"rollout.argoproj.io/revision": "2"}},
        "spec": {"strategy": {"canary": {"steps": [{"pause": {"duration": "1s"}}, {"setWeight": 5}]}}},
        "status": {"currentStepIndex": 0, "pauseConditions": [{"reason": "x", "startTime": "2026-01-01T00:00:00Z"}],
            "conditions": [{"type": "Completed", "status": "True"}], "duration": {}, "abortedAt": "x",
            "canary": {"stepPluginStatuses": [{"index": 0, "phase": "Running"}]}, "currentPodHash": "a", "stableRS": "a"},
    });
    let mut objects = vec![value(&plain)];
    for path in paths {
        for strange in &strange {
            let mut object = plain.clone();
            *object.pointer_mut(path).unwrap() = strange.clone();
            objects.push(value(&object));
        }
    }
    let now = "2026-01-01T00:01:00Z".parse().unwrap();
    let mut cursor = None;
    for object in objects.iter().chain(objects.iter().rev()) {
        let seen = Observation { rollout: Subject::Present(object), ..Observation::gone() };
        let observed = observe(cursor.as_ref(), &seen, None, now);
        assert!(observed.occurrences.len() < 100);
        cursor = observed.cursor;
    }
}
