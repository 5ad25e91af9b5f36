//! Random lifecycles: a model of the controller moves a canary through legal states and says what it would
//! report; whatever is dropped, nothing comes twice and nothing is lost that the last state still shows.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use herald_core::{
    lifecycle::{
        Observation, Subject, observe,
        reasons::{self, Origin},
    },
    occurrence::Occurrence,
};
use herald_value::Value;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

#[derive(Clone, Copy, Debug)]
enum Action {
    Update,
    Step,
    TimeIsUp,
    Promote,
    Abort,
    Retry,
    RollBack,
    PromoteFull,
    Noise,
}

const STEPS: usize = 5;

/// A version of the Rollout, and its ReplicaSets at that time.
#[derive(Clone)]
struct Version {
    rollout: Value,
    replica_sets: Vec<Value>,
}

fn replica_set(hash: i64, revisions: &[i64]) -> Value {
    let texts: Vec<String> = revisions.iter().map(i64::to_string).collect();
    let (revision, history) = texts.split_last().unwrap();
    let json = json!({
        "metadata": {
            "uid": format!("{hash:08}"), "name": format!("web-h{hash}"), "generation": 1,
            "creationTimestamp": jiff::Timestamp::from_second(1_767_225_600 + hash).unwrap().to_string(),
            "ownerReferences": [{"uid": "u", "controller": true}],
            "labels": {"rollouts-pod-template-hash": format!("h{hash}")},
            "annotations": {
                "rollout.argoproj.io/revision": revision,
                "rollout.argoproj.io/revision-history": history.join(","),
            },
        },
    });
    Value::from_json(json.to_string().as_bytes()).unwrap()
}

/// The canary as the controller keeps it.
struct Model {
    object: Json,
    clock: i64,
    revision: i64,
    hash: i64,
    stable: i64,
    index: usize,
    paused: Option<i64>,
    aborted: bool,
    /// Revisions of each ReplicaSet, by hash.
    replica_sets: BTreeMap<i64, Vec<i64>>,
    versions: Vec<Version>,
    expected: Vec<String>,
}

fn steps() -> Json {
    json!([{"setWeight": 20}, {"pause": {}}, {"setWeight": 40}, {"pause": {"duration": "10s"}}, {"setWeight": 80}])
}

impl Model {
    fn new() -> Model {
        let mut model = Model {
            object: json!({
                "metadata": {"uid": "u", "name": "web", "generation": 1, "annotations": {}},
                "spec": {"strategy": {"canary": {"steps": steps()}}},
                "status": {"currentStepHash": "s", "duration": {"rolloutStartedAt": "2026-01-01T00:00:00Z"}},
            }),
            clock: 1_767_225_600,
            revision: 1,
            hash: 1,
            stable: 1,
            index: STEPS,
            paused: None,
            aborted: false,
            replica_sets: BTreeMap::from([(1, vec![1])]),
            versions: Vec::new(),
            expected: Vec::new(),
        };
        model.completed(true);
        model.set("phase", json!("Healthy"));
        model.annotate();
        model.observed();
        model.progress("NewReplicaSetAvailable");
        model.version();
        model
    }

    fn now(&self) -> String {
        jiff::Timestamp::from_second(self.clock).unwrap().to_string()
    }

    fn set(&mut self, field: &str, value: Json) {
        let status = self.object["status"].as_object_mut().unwrap();
        if value.is_null() {
            status.remove(field);
        } else {
            status.insert(field.to_owned(), value);
        }
    }

    fn condition(&mut self, kind: &str, condition: Json) {
        let list = self.object["status"]["conditions"].take();
        let mut list = list.as_array().cloned().unwrap_or_default();
        list.retain(|c| c["type"] != kind);
        list.push(condition);
        self.object["status"]["conditions"] = Json::Array(list);
    }

    fn completed(&mut self, is: bool) {
        let status = if is { "True" } else { "False" };
        let now = self.now();
        self.condition(
            "Completed",
            json!({"type": "Completed", "status": status, "lastTransitionTime": now}),
        );
    }

    fn is_completed(&self) -> bool {
        let list = self.object["status"]["conditions"].as_array().unwrap();
        list.iter().any(|c| c["type"] == "Completed" && c["status"] == "True")
    }

    fn progress(&mut self, reason: &str) {
        let now = self.now();
        let condition =
            json!({"type": "Progressing", "status": "True", "reason": reason, "lastUpdateTime": now});
        self.condition("Progressing", condition);
    }

    fn annotate(&mut self) {
        self.object["metadata"]["annotations"]["rollout.argoproj.io/revision"] =
            json!(self.revision.to_string());
    }

    fn observed(&mut self) {
        let generation = self.object["metadata"]["generation"].as_i64().unwrap();
        self.set("observedGeneration", json!(generation.to_string()));
    }

    fn tell(&mut self, reason: &str) {
        self.expected.push(reason.to_owned());
    }

    /// Stores the object as it is now.
    fn version(&mut self) {
        self.set("currentPodHash", json!(format!("h{}", self.hash)));
        self.set("stableRS", json!(format!("h{}", self.stable)));
        self.set("currentStepIndex", json!(self.index));
        let pauses = self.paused.map(|at| {
            let at = jiff::Timestamp::from_second(at).unwrap().to_string();
            json!([{"reason": "CanaryPauseStep", "startTime": at}])
        });
        self.set("pauseConditions", pauses.unwrap_or(Json::Null));
        self.object["metadata"]["resourceVersion"] = json!((self.versions.len() + 1).to_string());
        let rollout = Value::from_json(self.object.to_string().as_bytes()).unwrap();
        let replica_sets = self.replica_sets.iter().map(|(hash, revision)| replica_set(*hash, revision));
        self.versions.push(Version { rollout, replica_sets: replica_sets.collect() });
        self.clock += 2;
    }

    /// A new template, with the hash of its ReplicaSet.
    fn new_spec(&mut self, hash: i64) {
        let generation = self.object["metadata"]["generation"].as_i64().unwrap();
        self.object["metadata"]["generation"] = json!(generation + 1);
        self.version();
        self.revision += 1;
        self.replica_sets.entry(hash).or_default().push(self.revision);
        self.annotate();
        self.tell("RolloutUpdated");
        self.version();
        self.observed();
        self.aborted = false;
        for field in ["abort", "abortedAt", "controllerPause", "promoteFull"] {
            self.set(field, Json::Null);
        }
    }

    fn end_pause(&mut self) {
        if self.paused.take().is_some() {
            self.tell("RolloutResumed");
        }
    }

    fn act(&mut self, action: Action) {
        let updating = self.hash != self.stable;
        let moving = updating && !self.aborted;
        match action {
            Action::Noise => {
                self.object["metadata"]["labels"] = json!({"n": self.clock.to_string()});
                self.version();
            }
            Action::Update => {
                self.new_spec(self.revision + 1);
                self.hash = self.revision;
                self.index = 0;
                if self.is_completed() {
                    self.completed(false);
                    self.tell("RolloutNotCompleted");
                }
                self.end_pause();
                self.progress("ReplicaSetUpdated");
                self.set("duration", json!({"rolloutStartedAt": self.now()}));
                self.set("phase", json!("Progressing"));
                self.version();
            }
            Action::Step if moving && self.paused.is_none() => {
                if self.index == STEPS {
                    self.tell("RolloutCompleted");
                    self.stable = self.hash;
                    self.completed(true);
                    self.progress("NewReplicaSetAvailable");
                    self.object["status"]["duration"]["completionStatus"] = json!("Promoted");
                    self.set("phase", json!("Healthy"));
                } else if self.index % 2 == 1 {
                    self.tell("RolloutPaused");
                    self.paused = Some(self.clock);
                    self.set("controllerPause", json!(true));
                    self.set("phase", json!("Paused"));
                } else {
                    self.index += 1;
                    self.tell(&format!("RolloutStepCompleted {}", self.index));
                    self.progress("ReplicaSetUpdated");
                }
                self.version();
            }
            Action::TimeIsUp if moving && self.index == 3 && self.paused.is_some() => {
                self.clock += 10;
                self.index += 1;
                self.tell(&format!("RolloutStepCompleted {}", self.index));
                self.end_pause();
                self.progress("ReplicaSetUpdated");
                self.set("controllerPause", Json::Null);
                self.set("phase", json!("Progressing"));
                self.version();
            }
            Action::Promote if moving && self.index == 1 && self.paused.take().is_some() => {
                self.version();
                self.index += 1;
                self.tell(&format!("RolloutStepCompleted {}", self.index));
                self.progress("ReplicaSetUpdated");
                self.set("controllerPause", Json::Null);
                self.set("phase", json!("Progressing"));
                self.version();
            }
            Action::Abort if moving => {
                self.aborted = true;
                self.set("abort", json!(true));
                self.version();
                self.tell("RolloutAborted");
                self.paused = None;
                self.index = 0;
                self.set("abortedAt", json!(self.now()));
                self.set("controllerPause", Json::Null);
                self.set("phase", json!("Degraded"));
                self.progress("RolloutAborted");
                self.version();
            }
            Action::Retry if self.aborted => {
                self.set("abort", json!(false));
                self.version();
                self.progress("RolloutRetry");
                self.set("duration", json!({"rolloutStartedAt": self.now()}));
                self.set("phase", json!("Progressing"));
                self.version();
                self.aborted = false;
                self.set("abortedAt", Json::Null);
                self.version();
            }
            Action::RollBack if updating => {
                self.new_spec(self.stable);
                self.hash = self.stable;
                self.index = STEPS;
                self.tell("SkipSteps");
                self.end_pause();
                self.completed(true);
                self.progress("ReplicaSetUpdated");
                self.object["status"]["duration"]["completionStatus"] = json!("FastRolledBack");
                self.set("phase", json!("Healthy"));
                self.version();
            }
            Action::PromoteFull if moving => {
                self.set("promoteFull", json!(true));
                self.version();
                self.end_pause();
                self.index = STEPS;
                self.set("controllerPause", Json::Null);
                self.progress("ReplicaSetUpdated");
                self.set("phase", json!("Progressing"));
                self.version();
                self.tell("RolloutCompleted");
                self.stable = self.hash;
                self.completed(true);
                self.set("promoteFull", Json::Null);
                self.object["status"]["duration"]["completionStatus"] = json!("FastPromoted");
                self.set("phase", json!("Healthy"));
                self.version();
            }
            _ => {}
        }
    }
}

fn replay(versions: &[&Version]) -> Vec<Occurrence> {
    let (mut cursor, mut told) = (None, Vec::new());
    for version in versions {
        let replica_sets: Vec<&Value> = version.replica_sets.iter().collect();
        let rollout = Subject::Present(&version.rollout);
        let seen = Observation { rollout, replica_sets: &replica_sets, ..Observation::gone() };
        let mut observed = observe(cursor.as_ref(), &seen, None, jiff::Timestamp::UNIX_EPOCH);
        told.append(&mut observed.occurrences);
        // A restart after each look.
        cursor = observed.cursor.map(|c| serde_json::from_str(&serde_json::to_string(&c).unwrap()).unwrap());
    }
    told
}

fn names(told: &[Occurrence]) -> Vec<String> {
    told.iter()
        .filter(|o| reasons::find(&o.reason).is_some_and(|r| r.origin == Origin::Derived))
        .filter(|o| o.reason != "NewReplicaSetCreated")
        .map(|o| match o.facts.get("step").and_then(Value::as_i64) {
            Some(step) => format!("{} {step}", o.reason),
            None => o.reason.to_string(),
        })
        .collect()
}

fn ids(told: &[Occurrence]) -> BTreeSet<&str> {
    told.iter().map(|o| o.id.as_str()).collect()
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        2 => Just(Action::Update),
        8 => Just(Action::Step),
        3 => Just(Action::TimeIsUp),
        3 => Just(Action::Promote),
        1 => Just(Action::Abort),
        1 => Just(Action::Retry),
        1 => Just(Action::RollBack),
        1 => Just(Action::PromoteFull),
        1 => Just(Action::Noise),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_twice_and_nothing_lost(
        actions in prop::collection::vec(action(), 1..60),
        keep in prop::collection::vec(any::<bool>(), 256),
    ) {
        let mut model = Model::new();
        for action in actions {
            model.act(action);
        }
        let all: Vec<&Version> = model.versions.iter().collect();
        let plain = replay(&all);
        prop_assert_eq!(names(&plain), model.expected.clone());
        prop_assert_eq!(ids(&plain).len(), plain.len());

        let last = all.len() - 1;
        let kept: Vec<&Version> = all
            .iter()
            .enumerate()
            .filter(|(at, _)| *at == 0 || *at == last || keep[at % keep.len()])
            .map(|(_, version)| *version)
            .collect();
        let dropped = replay(&kept);
        let mut once = BTreeSet::new();
        for id in dropped.iter().map(|o| o.id.as_str()) {
            prop_assert!(once.insert(id), "{id} came twice");
        }
        let twice: Vec<&Version> = kept.iter().flat_map(|version| [*version, *version]).collect();
        prop_assert_eq!(&replay(&twice), &dropped);

        // What the last state and the cursor still show.
        let mut by_reason: BTreeMap<&str, Vec<&Occurrence>> = BTreeMap::new();
        for occurrence in &plain {
            by_reason.entry(&occurrence.reason).or_default().push(occurrence);
        }
        let dropped_ids = ids(&dropped);
        for updated in by_reason.get("RolloutUpdated").into_iter().flatten() {
            prop_assert!(dropped_ids.contains(updated.id.as_str()), "{} is lost", updated.id);
        }
        if model.paused.is_some() {
            let id = &by_reason["RolloutPaused"].last().unwrap().id;
            prop_assert!(dropped_ids.contains(id.as_str()), "{id} is lost");
        }
        if model.aborted {
            let id = &by_reason["RolloutAborted"].last().unwrap().id;
            prop_assert!(dropped_ids.contains(id.as_str()), "{id} is lost");
        }
        if model.stable == model.hash && model.stable != 1 {
            let id = &by_reason["RolloutCompleted"].last().unwrap().id;
            prop_assert!(dropped_ids.contains(id.as_str()), "{id} is lost");
        }
        // Nothing that never happened: each step completed was completed, each completion was one.
        let plain_ids = ids(&plain);
        for occurrence in dropped.iter().filter(|o| matches!(&*o.reason, "RolloutCompleted" | "RolloutAborted")) {
            let known = plain_ids.contains(occurrence.id.as_str()) || occurrence.id.contains("inferred");
            prop_assert!(known, "{} did not happen", occurrence.id);
        }
    }
}
