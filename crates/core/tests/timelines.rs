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
    let created = short.get("created").cloned().unwrap_or_else(|| json!("2026-01-01T00:00:00Z"));
    value(&json!({
        "metadata": {
            "uid": short["uid"], "name": format!("web-{}", short["hash"].as_str().unwrap()),
            "generation": short["generation"], "creationTimestamp": created, "ownerReferences": owner,
            "labels": {"rollouts-pod-template-hash": short["hash"]},
            "annotations": {"rollout.argoproj.io/revision": short["revision"].to_string()},
        },
        "spec": {"replicas": short["replicas"]},
    }))
}

fn analysis_run(short: &Json) -> Value {
    value(&json!({
        "metadata": {
            "uid": short["uid"], "name": short["name"], "creationTimestamp": "2026-01-01T00:00:00Z",
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
    assert!(timelines.len() >= 16);
    for timeline in timelines {
        let mut rollout = json!({
            "kind": "Rollout",
            "metadata": {"uid": "uid-1", "name": "web", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"strategy": {"canary": {"steps": [{"setWeight": 20}, {"pause": {}}, {"setWeight": 60}]}}},
        });
        let mut baseline = timeline.baseline;
        let mut cursor: Option<Cursor> = None;
        let (mut replica_sets, mut analysis_runs) = (Vec::new(), Vec::new());
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
            let object = value(&rollout);
            let (replica_sets, analysis_runs): (Vec<&Value>, Vec<&Value>) =
                (replica_sets.iter().collect(), analysis_runs.iter().collect());
            let seen = Observation {
                rollout: if look.deleted { Subject::Deleted(None) } else { Subject::Present(&object) },
                replica_sets: &replica_sets,
                analysis_runs: &analysis_runs,
                experiments: &[],
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
