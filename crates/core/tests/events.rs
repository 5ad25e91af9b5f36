//! Kubernetes Events as a second source.

#![allow(clippy::unwrap_used)]

use herald_core::{
    lifecycle::{
        events::{EventObserved, EventRecord, observe_event},
        reasons::{self, Origin},
    },
    occurrence::{EventType, Occurrence},
};
use herald_value::Value;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

const START: i64 = 1_767_225_600;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(START + second).unwrap()
}

fn value(json: &Json) -> Value {
    Value::from_json(json.to_string().as_bytes()).unwrap()
}

fn rollout(strategy: &str) -> Value {
    value(&json!({
        "kind": "Rollout", "spec": {"strategy": {strategy: {}}},
        "metadata": {"uid": "u", "name": "web", "annotations": {"rollout.argoproj.io/revision": "4"}},
    }))
}

/// As the controller's client writes them.
fn core_json(reason: &str, message: &str, last: i64, count: i64) -> Json {
    json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"uid": "e", "name": "web.1"},
        "source": {"component": "rollouts-controller"}, "reportingComponent": "rollouts-controller",
        "involvedObject": {"kind": "Rollout", "name": "web", "uid": "u", "resourceVersion": "7"},
        "reason": reason, "message": message, "type": "Normal", "count": count,
        "firstTimestamp": at(0).to_string(), "lastTimestamp": at(last).to_string(),
    })
}

fn core_event(reason: &str, message: &str, last: i64, count: i64) -> Value {
    value(&core_json(reason, message, last, count))
}

/// The same in the newer form.
fn new_event(reason: &str, message: &str, last: i64, count: i64) -> Value {
    let moment = |second| at(second).checked_add(SignedDuration::from_micros(250)).unwrap().to_string();
    value(&json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"uid": "e", "name": "web.1"},
        "reportingController": "rollouts-controller", "regarding": {"kind": "Rollout", "name": "web", "uid": "u"},
        "reason": reason, "note": message, "type": "Warning", "eventTime": moment(0),
        "series": {"count": count, "lastObservedTime": moment(last)},
    }))
}

/// The ids that a sequence of Events tells, over a restart between each.
fn told(events: &[Value], rollout: Option<&Value>, baseline: Option<Timestamp>) -> Vec<Occurrence> {
    let mut record: Option<EventRecord> = None;
    let mut told = Vec::new();
    for event in events {
        let observed = observe_event(record.as_ref(), event, rollout, baseline, at(10_000));
        told.extend(observed.occurrence);
        record = observed.record.map(|r| serde_json::from_str(&serde_json::to_string(&r).unwrap()).unwrap());
    }
    told
}

#[test]
fn an_error_is_told_once_however_often_it_is_tried() {
    // The controller tries again after 10 s at most; a spammed client lets through one in five minutes.
    let tries = [0, 1, 3, 9, 20, 30, 330, 630, 930];
    let events: Vec<Value> =
        tries.iter().zip(1..).map(|(t, n)| core_event("TrafficRoutingError", "no Ingress", *t, n)).collect();
    let all = told(&events, Some(&rollout("canary")), Some(at(0)));
    assert_eq!(all.len(), 1);
    let first = all.first().unwrap();
    assert_eq!(first.event_type, EventType::Warning, "the Event's own type is not to be trusted");
    assert_eq!((first.message.as_str(), first.time), ("no Ingress", Some(at(0))));
    assert_eq!(first.facts["cause"], Value::str("no Ingress"));
    assert_eq!(first.facts["revision"], Value::int64(4));
    assert!(first.object.is_some() && first.id.starts_with("TrafficRoutingError/u/"));

    // More than ten minutes of silence: another episode, with another id.
    let again = core_event("TrafficRoutingError", "no Ingress", 930 + 601, 10);
    let all = told(&[events, vec![again]].concat(), None, Some(at(0)));
    assert_eq!(all.len(), 2);
    assert_ne!(all[0].id, all[1].id);
}

#[test]
fn both_forms_of_an_event_are_one() {
    let events = [
        core_event("ReconciliationError", "plugin gone", 5, 2),
        new_event("ReconciliationError", "plugin gone", 5, 2),
    ];
    assert_eq!(told(&events, None, Some(at(0))).len(), 1);
    let one = |event: &Value| told(std::slice::from_ref(event), None, Some(at(0)));
    let (core, new) = (one(&events[0]), one(&events[1]));
    assert_eq!(core, new);
    assert_eq!(core[0].facts["count"], Value::int64(2));
}

#[test]
fn combined_errors_are_more_of_the_same() {
    let combined = "(combined from similar events): ";
    let error = |n: i64| core_event("WeightVerifyError", &format!("try {n}"), n, 1);
    let events = [error(1), core_event("WeightVerifyError", &format!("{combined}try 12"), 30, 3)];
    assert_eq!(told(&events, None, Some(at(0))).len(), 1);
    // What is no error is told, with its text alone.
    let patch = |text: &str, t| core_event("PatchingALBIngress", text, t, 1);
    let all = told(&[patch("weight 10", 1), patch(&format!("{combined}weight 55"), 9)], None, Some(at(0)));
    let texts: Vec<&str> = all.iter().map(|o| o.message.as_str()).collect();
    assert_eq!(texts, ["weight 10", "weight 55"]);
}

#[test]
fn a_switched_service_is_told_for_a_canary_alone() {
    let text = "Switched selector for service 'web-c' from 'aa' to 'bb'";
    let event = core_event("SwitchService", text, 1, 1);
    let all = told(std::slice::from_ref(&event), Some(&rollout("canary")), Some(at(0)));
    let fact = |name: &str| all[0].facts[name].as_str().unwrap().to_owned();
    assert_eq!([fact("service"), fact("from"), fact("to")], ["web-c", "aa", "bb"]);
    assert!(told(std::slice::from_ref(&event), Some(&rollout("blueGreen")), Some(at(0))).is_empty());
    // A controller that flips it a hundred times in two seconds is told once each way.
    let back = core_event("SwitchService", "Switched selector for service 'web-c' from 'bb' to 'aa'", 1, 1);
    let storm: Vec<Value> = (0..50).flat_map(|_| [event.clone(), back.clone()]).collect();
    assert_eq!(told(&storm, Some(&rollout("canary")), Some(at(0))).len(), 2);
}

#[test]
fn what_objects_show_is_never_told_by_an_event() {
    for reason in reasons::REASONS {
        let event = core_event(reason.reason, "text", 1, 1);
        let count = told(&[event], Some(&rollout("blueGreen")), Some(at(0))).len();
        assert_eq!(count == 1, reason.origin == Origin::EventOnly, "{}", reason.reason);
    }
}

#[test]
fn events_of_others_are_ignored() {
    let event = |change: fn(&mut Json)| {
        let mut json = core_json("TrafficRoutingError", "x", 1, 1);
        change(&mut json);
        value(&json)
    };
    let ignored = [
        event(|e| {
            e["source"]["component"] = json!("kubelet");
            e["reportingComponent"] = json!("kubelet");
        }),
        event(|e| e["involvedObject"]["kind"] = json!("Experiment")),
        event(|e| e["involvedObject"]["uid"] = json!("the one before of that name")),
        event(|e| e["reason"] = json!("Strange")),
        event(|e| *e = json!({})),
        event(|e| *e = json!([1])),
    ];
    for event in ignored {
        let observed = observe_event(None, &event, Some(&rollout("canary")), Some(at(0)), at(1));
        assert!(observed.record.is_none() && observed.occurrence.is_none());
    }
}

#[test]
fn the_first_sight_is_silent() {
    let (old, new) =
        (core_event("TrafficRoutingError", "x", 1, 1), core_event("TrafficRoutingError", "y", 9, 1));
    // Recorded in silence at second 5, then the cluster goes on.
    let EventObserved { record, occurrence } = observe_event(None, &old, None, None, at(5));
    assert_eq!(occurrence, None);
    let again = observe_event(record.as_ref(), &old, None, Some(at(5)), at(6));
    assert_eq!(again.occurrence, None);
    assert!(observe_event(again.record.as_ref(), &new, None, Some(at(5)), at(9)).occurrence.is_some());
    // Without a record the baseline decides: it was passed at second 5.
    assert!(told(&[old], None, Some(at(5))).is_empty());
    assert_eq!(told(&[new], None, Some(at(5))).len(), 1);
}

#[test]
fn the_record_is_bounded_and_forgets_nothing_that_could_come_again() {
    let events: Vec<Value> =
        (0..200).map(|n| core_event("PatchingALBIngress", &format!("weight {n}"), n, 1)).collect();
    let mut record = None;
    for event in events.iter().chain(&events) {
        record = observe_event(record.as_ref(), event, None, Some(at(0)), at(200)).record;
        assert!(serde_json::to_string(&record).unwrap().len() < 2400);
    }
    let twice: Vec<Value> = events.iter().chain(&events).cloned().collect();
    assert_eq!(told(&twice, None, Some(at(0))).len(), 200);
}

const REASONS: [&str; 3] = ["TrafficRoutingError", "PatchingALBIngress", "TargetGroupVerified"];
/// Further apart than any silence that ends an episode, even with an episode's own length.
const APART: i64 = 5000;

proptest! {
    /// Whatever the order of the Events and however often they come: each episode once, with its first one's text.
    #[test]
    fn each_episode_once(
        seen in prop::collection::vec((0_usize..3, 0_i64..3, 0_i64..4, 0_i64..60, any::<bool>()), 1..25),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..80),
    ) {
        let event = |&(reason, text, episode, offset, new): &(usize, i64, i64, i64, bool)| {
            let make = if new { new_event } else { core_event };
            make(REASONS[reason], &format!("text {text}"), episode * APART + offset, 1)
        };
        let all: Vec<Value> = seen.iter().map(event).collect();
        // Every Event at least once, in a random place.
        let mut shuffled: Vec<Value> = all.clone();
        for (nth, index) in order.iter().enumerate() {
            let pick = index.get(&all).clone();
            shuffled.insert((nth * 7) % (shuffled.len() + 1), pick);
            let (a, b) = (nth % shuffled.len(), index.index(shuffled.len()));
            shuffled.swap(a, b);
        }
        let mut expected: Vec<(usize, i64, i64)> = seen.iter().map(|s| (s.0, s.1, s.2)).collect();
        expected.sort_unstable();
        expected.dedup();
        // All at most 36 episodes of a Rollout: no more than what is remembered.
        prop_assume!(expected.len() <= 32);
        let told = told(&shuffled, None, Some(at(0)));
        let mut found: Vec<(usize, i64, i64)> = told.iter().map(|o| {
            let reason = REASONS.iter().position(|r| *r == o.reason).unwrap();
            let text = o.message.strip_prefix("text ").unwrap().parse().unwrap();
            (reason, text, (o.time.unwrap().as_second() - START) / APART)
        }).collect();
        found.sort_unstable();
        prop_assert_eq!(found, expected);
        let mut ids: Vec<&str> = told.iter().map(|o| o.id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        prop_assert_eq!(ids.len(), told.len());
    }
}
