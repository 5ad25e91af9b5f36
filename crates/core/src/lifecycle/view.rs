//! The parts of the objects that matter here, read out of a [`Value`].

use std::fmt::Write as _;

use herald_value::Value;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::cursor::{Before, Cursor};

/// The controller's field manager: the name of its program.
pub(super) const CONTROLLER: &str = "rollouts-controller";
const REVISION: &str = "rollout.argoproj.io/revision";
const REVISION_HISTORY: &str = "rollout.argoproj.io/revision-history";

/// `replicas`, `updatedReplicas`, `readyReplicas`, `availableReplicas`.
pub type Counts = [Option<i64>; 4];

/// The names of [`Counts`] in the status.
pub(super) const COUNT_FIELDS: [&str; 4] =
    ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"];

/// A pause condition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Why.
    #[serde(rename = "r")]
    pub reason: String,
    /// Since when.
    #[serde(rename = "t")]
    pub start: String,
}

/// The `Completed` condition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completed {
    /// Whether it is True.
    #[serde(rename = "c")]
    pub is: bool,
    /// Since when.
    #[serde(rename = "t")]
    pub since: String,
}

#[derive(Clone, Debug)]
pub(super) struct Condition<'a> {
    pub(super) status: &'a str,
    pub(super) reason: &'a str,
    pub(super) message: &'a str,
    pub(super) updated: &'a str,
    pub(super) transitioned: &'a str,
}

/// An analysis run that the Rollout's status names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named<'a> {
    pub(super) name: &'a str,
    pub(super) phase: &'a str,
    pub(super) kind: &'static str,
}

pub(super) struct Plugin<'a> {
    pub(super) key: String,
    pub(super) index: i64,
    pub(super) name: &'a str,
    pub(super) operation: &'a str,
    pub(super) phase: &'a str,
    pub(super) updated: Option<Timestamp>,
}

pub(super) fn text<'a>(value: &'a Value, path: &[&str]) -> Option<&'a str> {
    value.path(path).and_then(Value::as_str).filter(|text| !text.is_empty())
}

fn int(value: &Value, path: &[&str]) -> Option<i64> {
    match value.path(path)? {
        Value::Float(x) => Some(*x as i64),
        other => other.as_i64(),
    }
}

fn flag(value: &Value, path: &[&str]) -> bool {
    value.path(path).and_then(Value::as_bool).unwrap_or(false)
}

fn items<'a>(value: &'a Value, path: &[&str]) -> &'a [Value] {
    value.path(path).and_then(Value::as_list).unwrap_or_default()
}

pub(super) fn time(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

pub(super) fn revision_of(value: &Value) -> i64 {
    text(value, &["metadata", "annotations", REVISION]).and_then(|t| t.parse().ok()).unwrap_or(0)
}

fn condition<'a>(status: &'a Value, kind: &str) -> Option<Condition<'a>> {
    let found = items(status, &["conditions"]).iter().find(|c| text(c, &["type"]) == Some(kind))?;
    let field = |name| text(found, &[name]).unwrap_or_default();
    Some(Condition {
        status: field("status"),
        reason: field("reason"),
        message: field("message"),
        updated: field("lastUpdateTime"),
        transitioned: field("lastTransitionTime"),
    })
}

/// Seconds of a Go duration or of a number, as the pause step takes them.
fn seconds(value: &Value) -> Option<i64> {
    if let Some(n) = value.as_i64() {
        return Some(n);
    }
    let text = value.as_str()?;
    if let Ok(n) = text.parse::<i64>() {
        return Some(n);
    }
    let (mut total, mut number) = (0.0_f64, String::new());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let scale = match (c, chars.peek()) {
            ('m', Some('s')) => {
                chars.next();
                0.001
            }
            ('h', _) => 3600.0,
            ('m', _) => 60.0,
            ('s', _) => 1.0,
            ('0'..='9' | '.', _) => {
                number.push(c);
                continue;
            }
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * scale;
        number.clear();
    }
    (number.is_empty() && total > 0.0).then_some(total as i64)
}

/// A Rollout.
#[derive(Debug)]
pub(super) struct RolloutView<'a> {
    pub(super) raw: &'a Value,
    pub(super) uid: &'a str,
    pub(super) name: &'a str,
    pub(super) namespace: &'a str,
    pub(super) created: &'a str,
    pub(super) resource_version: u64,
    pub(super) revision: i64,
    pub(super) steps: &'a [Value],
    pub(super) canary: bool,
    pub(super) hash: Option<&'a str>,
    pub(super) stable: Option<&'a str>,
    pub(super) step_hash: Option<&'a str>,
    pub(super) index: Option<i64>,
    pub(super) phase: Option<&'a str>,
    pub(super) pauses: Vec<Pause>,
    pub(super) controller_pause: bool,
    pub(super) abort: bool,
    pub(super) aborted_at: Option<&'a str>,
    pub(super) promote_full: bool,
    pub(super) counts: Counts,
    pub(super) progressing: Option<Condition<'a>>,
    pub(super) invalid: Option<Condition<'a>>,
    pub(super) started_at: Option<&'a str>,
    pub(super) completion: Option<&'a str>,
    pub(super) restarted_at: Option<&'a str>,
    pub(super) preview: Option<&'a str>,
    pub(super) active: Option<&'a str>,
}

impl<'a> RolloutView<'a> {
    pub(super) fn of(raw: &'a Value) -> Option<RolloutView<'a>> {
        let empty = &Value::Nil;
        let status = raw.get("status").unwrap_or(empty);
        let pauses = items(status, &["pauseConditions"])
            .iter()
            .map(|p| Pause {
                reason: text(p, &["reason"]).unwrap_or_default().to_owned(),
                start: text(p, &["startTime"]).unwrap_or_default().to_owned(),
            })
            .collect();
        Some(RolloutView {
            raw,
            uid: text(raw, &["metadata", "uid"])?,
            name: text(raw, &["metadata", "name"]).unwrap_or_default(),
            namespace: text(raw, &["metadata", "namespace"]).unwrap_or_default(),
            created: text(raw, &["metadata", "creationTimestamp"]).unwrap_or_default(),
            resource_version: text(raw, &["metadata", "resourceVersion"])
                .and_then(|t| t.parse().ok())
                .unwrap_or(0),
            revision: revision_of(raw),
            steps: items(raw, &["spec", "strategy", "canary", "steps"]),
            canary: raw.path(&["spec", "strategy", "canary"]).is_some_and(|c| !c.is_nil()),
            hash: text(status, &["currentPodHash"]),
            stable: text(status, &["stableRS"]),
            step_hash: text(status, &["currentStepHash"]),
            index: int(status, &["currentStepIndex"]),
            phase: text(status, &["phase"]),
            pauses,
            controller_pause: flag(status, &["controllerPause"]),
            abort: flag(status, &["abort"]),
            aborted_at: text(status, &["abortedAt"]),
            promote_full: flag(status, &["promoteFull"]),
            counts: COUNT_FIELDS.map(|field| int(status, &[field])),
            progressing: condition(status, "Progressing"),
            invalid: condition(status, "InvalidSpec").filter(|c| c.status == "True"),
            started_at: text(status, &["duration", "rolloutStartedAt"]),
            completion: text(status, &["duration", "completionStatus"]),
            restarted_at: text(status, &["restartedAt"]),
            preview: text(status, &["blueGreen", "previewSelector"]),
            active: text(status, &["blueGreen", "activeSelector"]),
        })
    }

    pub(super) fn status(&self) -> Before {
        let own = |text: Option<&str>| text.map(str::to_owned);
        Before {
            hash: own(self.hash),
            stable: own(self.stable),
            step_hash: own(self.step_hash),
            index: self.index,
            phase: own(self.phase),
            pauses: self.pauses.clone(),
            controller_pause: self.controller_pause,
            abort: self.abort,
            aborted_at: own(self.aborted_at),
            promote_full: self.promote_full,
            counts: self.counts,
        }
    }

    /// The number of steps, as an index.
    pub(super) fn step_count(&self) -> i64 {
        i64::try_from(self.steps.len()).unwrap_or(i64::MAX)
    }

    /// The index, never beyond the end.
    pub(super) fn clamped_index(&self) -> i64 {
        self.index.unwrap_or(0).clamp(0, self.step_count())
    }

    pub(super) fn step(&self, index: i64) -> Option<&'a Value> {
        self.steps.get(usize::try_from(index).ok()?)
    }

    /// The pause of a step: none if it is no pause, else its seconds, if it has a duration.
    pub(super) fn pause_step(&self, index: i64) -> Option<Option<i64>> {
        let pause = self.step(index)?.get("pause")?;
        Some(pause.get("duration").and_then(seconds))
    }

    pub(super) fn auto_promotion(&self) -> Option<i64> {
        int(self.raw, &["spec", "strategy", "blueGreen", "autoPromotionSeconds"]).filter(|n| *n > 0)
    }

    pub(super) fn has_rollback_window(&self) -> bool {
        self.raw.path(&["spec", "rollbackWindow"]).is_some_and(|w| !w.is_nil())
    }

    pub(super) fn restart_at(&self) -> Option<&'a str> {
        text(self.raw, &["spec", "restartAt"])
    }

    /// Whether the status is about the specification as it is, so that the revision annotation is about the
    /// status too: the controller writes the annotation first.
    pub(super) fn is_reconciled(&self) -> bool {
        let generation = int(self.raw, &["metadata", "generation"]).map(|n| n.to_string());
        let observed = text(self.raw, &["status", "observedGeneration"]);
        let workload =
            text(self.raw, &["metadata", "annotations", "rollout.argoproj.io/workload-generation"]);
        let workload_observed = text(self.raw, &["status", "workloadObservedGeneration"]);
        observed.is_some()
            && observed == generation.as_deref()
            && (!self.has_workload_ref() || workload == workload_observed)
    }

    pub(super) fn has_workload_ref(&self) -> bool {
        self.raw.path(&["spec", "workloadRef"]).is_some_and(|r| !r.is_nil())
    }

    pub(super) fn completed(&self) -> Option<Completed> {
        let found = condition(self.raw.get("status")?, "Completed")?;
        Some(Completed { is: found.status == "True", since: found.transitioned.to_owned() })
    }

    pub(super) fn healthy_since(&self) -> Option<&'a str> {
        let found = condition(self.raw.get("status")?, "Healthy").filter(|c| c.status == "True");
        found.map(|c| c.updated)
    }

    pub(super) fn message(&self) -> &'a str {
        text(self.raw, &["status", "message"]).unwrap_or_default()
    }

    /// When the newest progress was.
    pub(super) fn progress_time(&self) -> Option<Timestamp> {
        time(self.progressing.as_ref()?.updated)
    }

    fn router(&self) -> bool {
        self.raw.path(&["spec", "strategy", "canary", "trafficRouting"]).is_some_and(|r| !r.is_nil())
    }

    /// The router's weights without `verified`, as a short text; `None` without a router.
    pub(super) fn weights(&self) -> Option<String> {
        let weights = self.raw.path(&["status", "canary", "weights"]).filter(|w| !w.is_nil())?;
        let mut key = String::new();
        let mut add = |entry: &Value| {
            let hash = text(entry, &["podTemplateHash"]).unwrap_or_default();
            let service = text(entry, &["serviceName"]).unwrap_or_default();
            let _ = write!(key, "{}:{hash}:{service};", int(entry, &["weight"]).unwrap_or(0));
        };
        ["canary", "stable"].iter().filter_map(|name| weights.get(name)).for_each(&mut add);
        items(weights, &["additional"]).iter().for_each(&mut add);
        Some(key)
    }

    pub(super) fn canary_weight(&self) -> Option<i64> {
        int(self.raw, &["status", "canary", "weights", "canary", "weight"])
    }

    /// The canary weight that the steps ask for, without a router, and the step that asks: the number of steps
    /// for the end, -1 for none.
    pub(super) fn wanted_weight(&self) -> Option<(i64, i64)> {
        if !self.canary || self.router() || self.steps.is_empty() || self.hash.is_none() {
            return None;
        }
        // It stays until the steps begin again.
        if self.aborted_at.is_some() {
            return Some((0, -1));
        }
        let index = self.clamped_index();
        if index == self.step_count() {
            return Some((100, index));
        }
        (0..=index).rev().find_map(|i| Some((int(self.step(i)?, &["setWeight"])?, i))).or(Some((0, -1)))
    }

    /// The analysis runs that the status names, in the order in which the controller reports them.
    pub(super) fn named_runs(&self) -> Vec<Named<'a>> {
        [
            (["blueGreen", "postPromotionAnalysisRunStatus"], "PostPromotion"),
            (["blueGreen", "prePromotionAnalysisRunStatus"], "PrePromotion"),
            (["canary", "currentStepAnalysisRunStatus"], "Step"),
            (["canary", "currentBackgroundAnalysisRunStatus"], "Background"),
        ]
        .into_iter()
        .filter_map(|([strategy, field], kind)| {
            let entry = self.raw.path(&["status", strategy, field])?;
            let phase = text(entry, &["status"]).unwrap_or_default();
            Some(Named { name: text(entry, &["name"])?, phase, kind })
        })
        .collect()
    }

    pub(super) fn plugins(&self) -> Vec<Plugin<'a>> {
        items(self.raw, &["status", "canary", "stepPluginStatuses"])
            .iter()
            .filter(|entry| !flag(entry, &["disabled"]))
            .map(|entry| {
                let index = int(entry, &["index"]).unwrap_or(0);
                let operation = text(entry, &["operation"]).unwrap_or_default();
                let phase = text(entry, &["phase"]).unwrap_or_default();
                Plugin {
                    key: format!("{index}/{operation}/{phase}"),
                    index,
                    name: text(entry, &["name"]).unwrap_or_default(),
                    operation,
                    phase,
                    updated: text(entry, &["updatedAt"]).and_then(time),
                }
            })
            .collect()
    }

    /// Who wrote the step index last: the manager's name and the time, where the object says so.
    fn index_writer(&self) -> Option<(&'a str, &'a str)> {
        items(self.raw, &["metadata", "managedFields"])
            .iter()
            .filter(|entry| entry.path(&["fieldsV1", "f:status", "f:currentStepIndex"]).is_some())
            .map(|entry| {
                (text(entry, &["manager"]).unwrap_or_default(), text(entry, &["time"]).unwrap_or_default())
            })
            .max_by_key(|(_, time)| *time)
    }

    /// Whether a person moved the step index last. Without managedFields: whether nothing else moved with it.
    pub(super) fn index_by_person(&self, earlier: &Cursor) -> bool {
        if let Some((manager, _)) = self.index_writer() {
            return manager != CONTROLLER;
        }
        let progress = self.progressing.as_ref().map(|c| (c.reason, c.updated));
        let earlier_progress =
            earlier.progressing.as_ref().map(|(reason, at)| (reason.as_str(), at.as_str()));
        progress == earlier_progress
            && Before { index: earlier.status.index, ..self.status() } == earlier.status
    }

    pub(super) fn index_written_at(&self) -> Option<Timestamp> {
        time(self.index_writer()?.1)
    }

    pub(super) fn revision_written_at(&self) -> Option<Timestamp> {
        let field = format!("f:{REVISION}");
        items(self.raw, &["metadata", "managedFields"])
            .iter()
            .filter(|entry| {
                entry.path(&["fieldsV1", "f:metadata", "f:annotations", field.as_str()]).is_some()
            })
            .filter_map(|entry| time(text(entry, &["time"])?))
            .max()
    }
}

/// An object that a Rollout may own: ReplicaSet, AnalysisRun, Experiment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owned<'a> {
    pub(super) raw: &'a Value,
    pub(super) uid: &'a str,
    pub(super) name: &'a str,
    pub(super) created: &'a str,
}

impl<'a> Owned<'a> {
    /// Those of the objects whose controller is the Rollout with that uid, oldest first.
    pub(super) fn of(objects: &[&'a Value], owner: &str) -> Vec<Owned<'a>> {
        let mut owned: Vec<Owned<'a>> = objects
            .iter()
            .filter(|raw| {
                items(raw, &["metadata", "ownerReferences"])
                    .iter()
                    .any(|o| text(o, &["uid"]) == Some(owner) && flag(o, &["controller"]))
            })
            .filter_map(|raw| {
                let raw: &'a Value = raw;
                Some(Owned {
                    raw,
                    uid: text(raw, &["metadata", "uid"])?,
                    name: text(raw, &["metadata", "name"])?,
                    created: text(raw, &["metadata", "creationTimestamp"]).unwrap_or_default(),
                })
            })
            .collect();
        owned.sort_by_key(|o| (o.created, revision_of(o.raw), o.name));
        owned
    }

    pub(super) fn created_at(&self) -> Option<Timestamp> {
        time(self.created)
    }

    pub(super) fn revision(&self) -> i64 {
        revision_of(self.raw)
    }

    pub(super) fn had_other_revisions(&self) -> bool {
        text(self.raw, &["metadata", "annotations", REVISION_HISTORY]).is_some()
    }

    /// The revisions that it had before the present one, oldest first.
    pub(super) fn other_revisions(&self) -> impl Iterator<Item = i64> + use<'a> {
        let history = text(self.raw, &["metadata", "annotations", REVISION_HISTORY]).unwrap_or_default();
        history.split(',').filter_map(|revision| revision.trim().parse().ok())
    }

    pub(super) fn hash(&self) -> Option<&'a str> {
        self.label("rollouts-pod-template-hash")
    }

    pub(super) fn label(&self, name: &str) -> Option<&'a str> {
        text(self.raw, &["metadata", "labels", name])
    }

    pub(super) fn generation(&self) -> i64 {
        int(self.raw, &["metadata", "generation"]).unwrap_or(0)
    }

    pub(super) fn replicas(&self) -> i64 {
        int(self.raw, &["spec", "replicas"]).unwrap_or(0)
    }

    /// When `spec.replicas` was last written.
    pub(super) fn scaled_at(&self) -> Option<Timestamp> {
        items(self.raw, &["metadata", "managedFields"])
            .iter()
            .filter(|entry| entry.path(&["fieldsV1", "f:spec", "f:replicas"]).is_some())
            .filter_map(|entry| time(text(entry, &["time"])?))
            .max()
    }

    /// The images of its containers, in order.
    pub(super) fn images(&self) -> Vec<&'a str> {
        items(self.raw, &["spec", "template", "spec", "containers"])
            .iter()
            .filter_map(|container| text(container, &["image"]))
            .collect()
    }

    pub(super) fn phase(&self) -> &'a str {
        text(self.raw, &["status", "phase"]).unwrap_or_default()
    }

    pub(super) fn message(&self) -> &'a str {
        text(self.raw, &["status", "message"]).unwrap_or_default()
    }

    pub(super) fn terminated(&self) -> bool {
        flag(self.raw, &["spec", "terminate"])
    }

    pub(super) fn started_at(&self) -> Option<Timestamp> {
        time(text(self.raw, &["status", "startedAt"])?)
    }

    pub(super) fn completed_at(&self) -> Option<Timestamp> {
        time(text(self.raw, &["status", "completedAt"])?)
    }

    /// An Experiment's analyses: name and phase.
    pub(super) fn analyses(&self) -> impl Iterator<Item = (&'a str, &'a str, &'a str)> {
        items(self.raw, &["status", "analysisRuns"]).iter().filter_map(|entry| {
            let field = |name| text(entry, &[name]).unwrap_or_default();
            Some((text(entry, &["name"])?, field("phase"), field("message")))
        })
    }
}
