//! Kubernetes Events as a second source, for what objects can't show: the errors of routers, load balancers and
//! step plugins, and the Services of a canary.
//!
//! Clients drop Events beyond 25 for an object, so an Event can only add something: a reason that objects show is
//! ignored here, whatever Events say about it. The controller repeats an error with each try. [`observe_event`]
//! tells each episode once: the same reason and text without a longer silence between.
//!
//! ```
//! use herald_core::lifecycle::events::observe_event;
//! use herald_value::Value;
//!
//! let event = Value::from_json(br#"{
//!     "metadata": {"uid": "e1"}, "source": {"component": "rollouts-controller"},
//!     "involvedObject": {"kind": "Rollout", "name": "web", "uid": "u1"},
//!     "reason": "TrafficRoutingError", "message": "no such Ingress", "count": 3,
//!     "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:01:00Z"
//! }"#)?;
//! let baseline = Some(jiff::Timestamp::UNIX_EPOCH);
//! let now = jiff::Timestamp::UNIX_EPOCH;
//! let first = observe_event(None, &event, None, baseline, now);
//! assert_eq!(first.occurrence.map(|told| told.reason.into_owned()).as_deref(), Some("TrafficRoutingError"));
//! let again = observe_event(first.record.as_ref(), &event, None, baseline, now);
//! assert!(again.occurrence.is_none());
//! # Ok::<(), herald_value::DecodeError>(())
//! ```

use std::borrow::Cow;

use herald_value::Value;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    before::shaped,
    derive::{Facts, fact},
    reasons::{self, Origin, Reason},
    view::{self, text},
};
use crate::occurrence::{EventType, Occurrence};

/// The version of the record's form that this code writes.
pub const RECORD_VERSION: u8 = 1;

/// How many episodes are remembered for a Rollout.
const MAX_EPISODES: usize = 32;

/// An error that was silent for that long, in seconds, is over. A client that has sent too many lets one Event
/// through every five minutes, so a shorter silence proves nothing.
const QUIET_ERROR: i64 = 600;

/// The same for what is no error. A switch there and back again a minute later is worth telling, and a controller
/// that flips a Service to and fro does it many times a second.
const QUIET_NORMAL: i64 = 60;

/// The same for what is sent whenever the controller looks at a Rollout, which it does at least every 15 minutes.
const QUIET_EVERY_LOOK: i64 = 1800;
const EVERY_LOOK: [&str; 2] = ["CanaryMappingWeightUpdate", "TargetGroupVerified"];

/// What stands before the text of the Events that a client has put together.
const COMBINED: &str = "(combined from similar events): ";

/// What Events told about a Rollout so far. Empty for most Rollouts, at most some two thousand bytes as JSON;
/// survives restarts. It goes with the Rollout.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EventRecord {
    /// The form of this record.
    #[serde(rename = "v")]
    pub version: u8,
    /// The Rollout's uid.
    pub uid: String,
    /// Nothing up to this second is new.
    #[serde(rename = "hz")]
    horizon: i64,
    #[serde(rename = "ep", skip_serializing_if = "Vec::is_empty")]
    episodes: Vec<Episode>,
}

/// Reason, fingerprint of the text, first and last second.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Episode(String, String, i64, i64);

impl EventRecord {
    /// Takes note of an Event; tells whether an episode begins with it.
    fn note(&mut self, event: &Seen<'_>) -> bool {
        if event.at <= self.horizon {
            return false;
        }
        let (reason, at, quiet) = (event.known.reason, event.at, event.quiet());
        let same = |episode: &Episode| {
            let text = episode.1 == event.fingerprint || event.of_any_text();
            episode.0 == reason && text && (episode.2 - quiet..=episode.3 + quiet).contains(&at)
        };
        if let Some(known) = self.episodes.iter_mut().find(|episode| same(episode)) {
            known.2 = known.2.min(at);
            known.3 = known.3.max(at);
            return false;
        }
        self.episodes.push(Episode(reason.to_owned(), event.fingerprint.clone(), at, at));
        while self.episodes.len() > MAX_EPISODES {
            // What is forgotten must not look new when its Event is listed again.
            let Some(oldest) =
                (0..self.episodes.len()).min_by_key(|nth| self.episodes.get(*nth).map(|e| e.3))
            else {
                break;
            };
            self.horizon = self.horizon.max(self.episodes.remove(oldest).3);
        }
        true
    }
}

/// What was told, and the record for the next Event.
#[derive(Clone, Debug)]
pub struct EventObserved {
    /// To be kept; `None` as long as nothing was worth a record.
    pub record: Option<EventRecord>,
    /// What happened, if an episode begins with this Event.
    pub occurrence: Option<Occurrence>,
}

/// An Event of either form that says what objects don't.
struct Seen<'a> {
    known: &'static Reason,
    uid: &'a str,
    text: &'a str,
    combined: bool,
    fingerprint: String,
    /// When it was last seen, in seconds: that is how exactly most Events know it.
    at: i64,
    count: i64,
}

impl<'a> Seen<'a> {
    fn of(event: &'a Value, rollout: Option<&Value>, now: Timestamp) -> Option<Seen<'a>> {
        let first = |paths: &[&[&str]]| paths.iter().find_map(|path| text(event, path));
        let by_controller = [
            &["reportingController"][..],
            &["reportingComponent"],
            &["source", "component"],
            &["deprecatedSource", "component"],
        ];
        if !by_controller.iter().any(|path| text(event, path) == Some(view::CONTROLLER)) {
            return None;
        }
        let kind = first(&[&["regarding", "kind"], &["involvedObject", "kind"]])?;
        let uid = first(&[&["regarding", "uid"], &["involvedObject", "uid"]])?;
        let other = rollout.is_some_and(|rollout| text(rollout, &["metadata", "uid"]) != Some(uid));
        if kind != "Rollout" || other {
            return None;
        }
        let known = reasons::find(text(event, &["reason"])?)?;
        if known.origin != Origin::EventOnly && !(known.reason == "SwitchService" && is_canary(rollout)) {
            return None;
        }
        let whole = first(&[&["note"], &["message"]]).unwrap_or_default();
        let message = whole.strip_prefix(COMBINED).unwrap_or(whole);
        let at = first(&[
            &["series", "lastObservedTime"],
            &["lastTimestamp"],
            &["deprecatedLastTimestamp"],
            &["eventTime"],
            &["firstTimestamp"],
            &["metadata", "creationTimestamp"],
        ]);
        let count = [&["series", "count"][..], &["count"], &["deprecatedCount"]]
            .iter()
            .find_map(|path| event.path(path)?.as_i64());
        Some(Seen {
            known,
            uid,
            text: message,
            combined: whole.len() != message.len(),
            fingerprint: fingerprint(message, known.event_type),
            at: at.and_then(view::time).unwrap_or(now).as_second(),
            count: count.unwrap_or(1),
        })
    }

    fn quiet(&self) -> i64 {
        match self.known.event_type {
            EventType::Warning => QUIET_ERROR,
            EventType::Normal if EVERY_LOOK.contains(&self.known.reason) => QUIET_EVERY_LOOK,
            EventType::Normal => QUIET_NORMAL,
        }
    }

    /// A client puts errors together once there were ten of a reason within ten minutes: more of the same.
    fn of_any_text(&self) -> bool {
        self.combined && self.known.event_type == EventType::Warning
    }

    fn occurrence(&self, rollout: Option<&Value>) -> Occurrence {
        let Seen { known, uid, text: message, .. } = self;
        let mut facts = Facts::from([fact("count", Value::int64(self.count))]);
        match switched(message) {
            Some(parts) if known.reason == "SwitchService" => {
                facts.extend(["service", "from", "to"].into_iter().zip(parts).map(|(k, v)| fact(k, v)));
            }
            _ => facts.extend([fact("cause", *message)]),
        }
        facts.extend(rollout.map(|rollout| fact("revision", Value::int64(view::revision_of(rollout)))));
        Occurrence {
            reason: Cow::Borrowed(known.reason),
            event_type: known.event_type,
            id: format!("{}/{uid}/{}/{}", known.reason, self.fingerprint, self.at),
            time: Timestamp::from_second(self.at).ok(),
            message: (*message).to_owned(),
            facts,
            object: rollout.map(|rollout| shaped(rollout, None)),
        }
    }
}

/// Tells whether an episode begins with an Event, core/v1 or events.k8s.io/v1.
///
/// The record is to be kept, for each Rollout; `rollout` is the Rollout as it is now, without which a switched
/// Service can't be judged. `baseline` is as in [`observe`](super::observe): what is older, or all while it is
/// `None`, is recorded in silence. An Event that expires says nothing.
pub fn observe_event(
    record: Option<&EventRecord>,
    event: &Value,
    rollout: Option<&Value>,
    baseline: Option<Timestamp>,
    now: Timestamp,
) -> EventObserved {
    let Some(seen) = Seen::of(event, rollout, now) else {
        return EventObserved { record: record.cloned(), occurrence: None };
    };
    let known = record.filter(|record| record.uid == seen.uid).cloned();
    let mut record = known.unwrap_or_else(|| EventRecord {
        version: RECORD_VERSION,
        uid: seen.uid.to_owned(),
        horizon: baseline.map_or_else(|| now.as_second(), |baseline| baseline.as_second().saturating_sub(1)),
        episodes: Vec::new(),
    });
    let begins = record.note(&seen) && baseline.is_some();
    EventObserved { record: Some(record), occurrence: begins.then(|| seen.occurrence(rollout)) }
}

/// For blue-green the status shows which Service was switched.
fn is_canary(rollout: Option<&Value>) -> bool {
    rollout.and_then(|r| r.path(&["spec", "strategy", "canary"])).is_some_and(|canary| !canary.is_nil())
}

/// Service, old and new hash of a switch's text.
fn switched(message: &str) -> Option<[&str; 3]> {
    let mut quoted = message.split('\'').skip(1).step_by(2);
    Some([quoted.next()?, quoted.next()?, quoted.next()?])
}

/// Names a text in ids and in the record. Errors carry the ids of requests and the ports of connections, which
/// are others with each try: what looks so is not looked at.
fn fingerprint(text: &str, of: EventType) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let mut hash = Fnv::new();
    for piece in text.split_inclusive(|c: char| !is_part(c)) {
        let (part, rest) = piece.split_at(piece.trim_end_matches(|c| !is_part(c)).len());
        let random = of == EventType::Warning && (is_number(part) || is_request(part));
        hash.add(if random { "#" } else { part });
        hash.add(rest);
    }
    format!("{:016x}", hash.0)
}

/// Weights, counts and well-known ports are shorter.
fn is_number(part: &str) -> bool {
    let digits = part.trim_end_matches('-');
    digits.len() >= 5 && digits.bytes().all(|b| b.is_ascii_digit())
}

/// Names and pod hashes have fewer hexadecimal digits in a row.
fn is_request(part: &str) -> bool {
    part.len() >= 24
        && part.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
        && part.bytes().any(|b| b.is_ascii_digit())
}

/// FNV-1a: ids are kept, so the hash must be the same in every release.
struct Fnv(u64);

impl Fnv {
    fn new() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, text: &str) {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_differ_by_a_request_are_the_same_error() {
        let of = |text| fingerprint(text, EventType::Warning);
        assert_eq!(
            of("RequestID: 3f2504e0-4f89-11d3-9a0c-0305e82c3301, no such target group"),
            of("RequestID: 7d444840-9dc0-11d1-b245-5ffdce74fad2, no such target group")
        );
        assert_eq!(
            of("read tcp 10.0.0.7:49152->10.0.0.1:443: i/o timeout"),
            of("read tcp 10.0.0.7:50001->10.0.0.1:443: i/o timeout")
        );
        assert_ne!(of("canary weight 20 not yet set"), of("canary weight 40 not yet set"));
        let switch = |text| fingerprint(text, EventType::Normal);
        assert_ne!(switch("from '57794123' to ''"), switch("from '57794124' to ''"));
        // Ids that were written down hold in every release.
        assert_eq!(switch(""), "cbf29ce484222325");
        assert_eq!(switch("a"), "af63dc4c8601ec8c");
    }
}
