//! Replaying a recording of a real cluster: what the controller sent, beside what is derived from the objects.

mod compare;
mod recording;

use std::collections::BTreeMap;

use herald_value::Value;
use jiff::Timestamp;

pub use compare::{Difference, DifferenceKind, ReplayReport, Row, SubjectReport};
pub use recording::{Form, Kind, Recording, RecordingError, Sent, Watched};

use crate::{
    lifecycle::{
        Cursor, Observation, Observed, Subject,
        events::{EventObserved, EventRecord, observe_event},
        observe,
    },
    occurrence::Occurrence,
};

/// An occurrence that a replay derived.
#[derive(Clone, Debug)]
pub struct Derived {
    /// When the observation arrived that showed it.
    pub at: Timestamp,
    /// The Rollout's uid.
    pub uid: String,
    /// The Rollout's name.
    pub name: String,
    /// The Rollout's version that the controller had before it when it reported this, as far as can be told.
    pub version: String,
    /// What happened.
    pub occurrence: Occurrence,
}

/// Reads a recording, replays it, and compares.
pub fn run<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<ReplayReport, RecordingError> {
    let recording = Recording::read(lines)?;
    let derived = derive(&recording, Restart::Never);
    Ok(compare::compare(&recording.sent, &derived))
}

/// Compares what was sent with what a replay derived.
pub fn compare(sent: &[Sent], derived: &[Derived]) -> ReplayReport {
    compare::compare(sent, derived)
}

/// Whether a replay loses its memory on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// It doesn't.
    Never,
    /// Before each observation the cursors are written out and read back, and nothing else is kept.
    Always,
    /// The observations from the first to before the second number are lost; then everything is listed again.
    Away(usize, usize),
}

/// Derives the occurrences of a recording.
pub fn derive(recording: &Recording, restart: Restart) -> Vec<Derived> {
    replay(recording, restart).derived
}

/// The cursors of the Rollouts that are there at a recording's end.
pub fn cursors(recording: &Recording) -> Vec<Cursor> {
    replay(recording, Restart::Never).cursors.into_values().collect()
}

fn replay(recording: &Recording, restart: Restart) -> World {
    let mut world = World::default();
    let baseline = Some(recording.start);
    for (at, seen) in recording.watched.iter().enumerate() {
        if let Restart::Away(from, to) = restart
            && at == to
            && from < to
        {
            world.look_at_all(seen.at, baseline);
        }
        world.take(seen);
        if matches!(restart, Restart::Away(from, to) if (from..to).contains(&at)) {
            continue;
        }
        if restart == Restart::Always {
            world.restart();
        }
        if seen.kind == Kind::Event {
            world.hear(&seen.object, seen.at, baseline);
        }
        for uid in world.concerned(seen) {
            world.look(&uid, seen.at, baseline);
        }
    }
    if let (Restart::Away(from, to), Some(last)) = (restart, recording.watched.last())
        && from < to
        && to >= recording.watched.len()
    {
        world.look_at_all(last.at, baseline);
    }
    world
}

/// What is there, as the watches told it so far.
#[derive(Default)]
struct World {
    objects: BTreeMap<(Kind, String), Value>,
    deleted: BTreeMap<String, Value>,
    cursors: BTreeMap<String, Cursor>,
    records: BTreeMap<String, EventRecord>,
    derived: Vec<Derived>,
}

impl World {
    fn take(&mut self, seen: &Watched) {
        let key = (seen.kind, seen.uid().to_owned());
        if !seen.deleted {
            self.objects.insert(key, seen.object.clone());
        } else if self.objects.remove(&key).is_some() && seen.kind == Kind::Rollout {
            self.deleted.insert(key.1, seen.object.clone());
        }
    }

    /// The Rollouts that an observation is about.
    fn concerned(&self, seen: &Watched) -> Vec<String> {
        if seen.kind == Kind::Rollout {
            return vec![seen.uid().to_owned()];
        }
        let owners =
            seen.object.path(&["metadata", "ownerReferences"]).and_then(Value::as_list).unwrap_or_default();
        owners
            .iter()
            .map(|owner| recording::text(owner, &["uid"]).to_owned())
            .filter(|uid| self.objects.contains_key(&(Kind::Rollout, uid.clone())))
            .collect()
    }

    /// Forgets all but the cursors, as they are written down.
    fn restart(&mut self) {
        for cursor in self.cursors.values_mut() {
            let read = serde_json::to_string(cursor).ok().and_then(|text| serde_json::from_str(&text).ok());
            *cursor = read.unwrap_or_default();
        }
        for record in self.records.values_mut() {
            let read = serde_json::to_string(record).ok().and_then(|text| serde_json::from_str(&text).ok());
            *record = read.unwrap_or_default();
        }
    }

    fn look_at_all(&mut self, at: Timestamp, baseline: Option<Timestamp>) {
        self.restart();
        // What was deleted meanwhile left no last state.
        let known = self.cursors.keys().cloned();
        let there =
            self.objects.keys().filter(|(kind, _)| *kind == Kind::Rollout).map(|(_, uid)| uid.clone());
        let all: std::collections::BTreeSet<String> = known.chain(there).collect();
        for uid in all {
            self.look(&uid, at, baseline);
        }
        let events = self.objects.iter().filter(|((kind, _), _)| *kind == Kind::Event);
        for event in events.map(|(_, event)| event.clone()).collect::<Vec<_>>() {
            self.hear(&event, at, baseline);
        }
    }

    fn hear(&mut self, event: &Value, at: Timestamp, baseline: Option<Timestamp>) {
        let uid = recording::text(event, &["involvedObject", "uid"]).to_owned();
        let rollout = self.objects.get(&(Kind::Rollout, uid.clone()));
        let EventObserved { record, occurrence } =
            observe_event(self.records.get(&uid), event, rollout, baseline, at);
        self.derived.extend(occurrence.map(|occurrence| Derived {
            at,
            uid: uid.clone(),
            name: recording::text(event, &["involvedObject", "name"]).to_owned(),
            version: recording::text(event, &["involvedObject", "resourceVersion"]).to_owned(),
            occurrence,
        }));
        self.records.extend(record.map(|record| (uid, record)));
    }

    fn look(&mut self, uid: &str, at: Timestamp, baseline: Option<Timestamp>) {
        let of = |kind: Kind| -> Vec<&Value> {
            self.objects.iter().filter(|((k, _), _)| *k == kind).map(|(_, object)| object).collect()
        };
        let present = self.objects.get(&(Kind::Rollout, uid.to_owned()));
        let last = self.deleted.get(uid);
        let (replica_sets, analysis_runs, experiments) =
            (of(Kind::ReplicaSet), of(Kind::AnalysisRun), of(Kind::Experiment));
        let seen = Observation {
            rollout: present.map_or(Subject::Deleted(last), Subject::Present),
            replica_sets: &replica_sets,
            analysis_runs: &analysis_runs,
            experiments: &experiments,
        };
        let Observed { cursor, occurrences } = observe(self.cursors.get(uid), &seen, baseline, at);
        let object = present.or(last);
        let name = object.map(|o| recording::text(o, &["metadata", "name"])).unwrap_or_default().to_owned();
        let now = object.map(|o| recording::text(o, &["metadata", "resourceVersion"])).unwrap_or_default();
        let before = self.cursors.get(uid).map_or_else(|| now.to_owned(), |c| c.resource_version.to_string());
        // These carry the answer of the write itself.
        let written = |o: &Occurrence| matches!(&*o.reason, "RolloutUpdated" | "NewReplicaSetCreated");
        self.derived.extend(occurrences.into_iter().map(|occurrence| Derived {
            version: if written(&occurrence) { now.to_owned() } else { before.clone() },
            at,
            uid: uid.to_owned(),
            name: name.clone(),
            occurrence,
        }));
        match cursor {
            Some(cursor) => self.cursors.insert(uid.to_owned(), cursor),
            None => self.cursors.remove(uid),
        };
    }
}
