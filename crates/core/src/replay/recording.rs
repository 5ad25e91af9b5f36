//! A recording of a cluster, read line by line, and its disturbed forms.

use herald_value::Value;
use jiff::Timestamp;

use crate::lifecycle::with;

/// The kinds of objects that the lifecycle looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `Rollout`
    Rollout,
    /// `ReplicaSet`
    ReplicaSet,
    /// `AnalysisRun`
    AnalysisRun,
    /// `Experiment`
    Experiment,
    /// A Kubernetes `Event`
    Event,
}

/// One observation of a watch.
#[derive(Clone, Debug)]
pub struct Watched {
    /// When it arrived.
    pub at: Timestamp,
    /// What it is about.
    pub kind: Kind,
    /// Whether the object was deleted.
    pub deleted: bool,
    /// The object.
    pub object: Value,
}

impl Watched {
    /// The object's uid.
    pub fn uid(&self) -> &str {
        text(&self.object, &["metadata", "uid"])
    }
}

/// A notification that the real controller sent for a Rollout.
#[derive(Clone, Debug)]
pub struct Sent {
    /// When it arrived.
    pub at: Timestamp,
    /// The trigger.
    pub trigger: String,
    /// The object that the template saw.
    pub object: Value,
}

/// A recording.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// When it began.
    pub start: Timestamp,
    /// What the watches said, in order.
    pub watched: Vec<Watched>,
    /// What the controller sent for Rollouts, in order, without the conditions on the state.
    pub sent: Vec<Sent>,
}

/// Why a recording could not be read.
#[derive(Debug, thiserror::Error)]
#[error("line {line} of the recording is not readable: {message}")]
pub struct RecordingError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub message: String,
}

pub(super) fn text<'a>(value: &'a Value, path: &[&str]) -> &'a str {
    value.path(path).and_then(Value::as_str).unwrap_or_default()
}

/// Typed clients drop the kind of some objects; then the shape tells it.
fn is_rollout(object: &Value) -> bool {
    match text(object, &["kind"]) {
        "" => object.path(&["spec", "strategy"]).is_some(),
        kind => kind == "Rollout",
    }
}

impl Recording {
    /// Reads a recording: one JSON observation a line.
    pub fn read<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<Recording, RecordingError> {
        let mut recording = Recording::default();
        for (number, line) in lines.into_iter().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let fail = |message: String| RecordingError { line: number + 1, message };
            let entry = Value::from_json(line.as_bytes()).map_err(|e| fail(e.to_string()))?;
            let millis = entry.get("t_ms").and_then(Value::as_i64).unwrap_or(0);
            let at = Timestamp::from_millisecond(millis).map_err(|e| fail(e.to_string()))?;
            if recording.start == Timestamp::default() {
                recording.start = at;
            }
            let object = entry.get("object").cloned().unwrap_or_default();
            match text(&entry, &["source"]) {
                "watch" => {
                    let kind = match text(&entry, &["kind"]) {
                        "Rollout" => Kind::Rollout,
                        "ReplicaSet" => Kind::ReplicaSet,
                        "AnalysisRun" => Kind::AnalysisRun,
                        "Experiment" => Kind::Experiment,
                        _ => continue,
                    };
                    let deleted = text(&entry, &["type"]) == "DELETED";
                    recording.watched.push(Watched { at, kind, deleted, object });
                }
                "event" => {
                    let deleted = text(&entry, &["type"]) == "DELETED";
                    recording.watched.push(Watched { at, kind: Kind::Event, deleted, object });
                }
                "notification" if is_rollout(&object) => {
                    let trigger = text(&entry, &["trigger"]).to_owned();
                    if !trigger.starts_with("when-") {
                        recording.sent.push(Sent { at, trigger, object });
                    }
                }
                _ => {}
            }
        }
        Ok(recording)
    }

    /// A disturbed form of this recording: the same notifications, other observations of the same story.
    pub fn disturbed(&self, form: Form) -> Recording {
        let mut random = Random(match form {
            Form::HalfMissing(seed) => seed,
            _ => 1,
        });
        let mut counts: Vec<(String, usize)> = Vec::new();
        let mut watched: Vec<Watched> = Vec::new();
        for (at, seen) in self.watched.iter().enumerate() {
            let last = !self.watched.iter().skip(at + 1).any(|later| later.uid() == seen.uid());
            let nth = match counts.iter_mut().find(|(uid, _)| uid == seen.uid()) {
                Some((_, nth)) => {
                    *nth += 1;
                    *nth
                }
                None => {
                    counts.push((seen.uid().to_owned(), 0));
                    0
                }
            };
            let keep = match form {
                // The last state of an object is always seen: a watch that lost it lists again.
                Form::EverySecondMissing => last || nth % 2 == 0,
                Form::HalfMissing(_) => last || random.next().is_multiple_of(2),
                Form::Plain | Form::Twice | Form::Late(_) | Form::NoManagers | Form::NoClock => true,
            };
            if keep {
                watched.extend(std::iter::repeat_n(seen, if form == Form::Twice { 2 } else { 1 }).cloned());
            }
        }
        for seen in &mut watched {
            match form {
                Form::NoManagers => seen.object = with(&seen.object, &["metadata", "managedFields"], None),
                Form::NoClock => seen.object = with(&seen.object, &["status", "duration"], None),
                _ => {}
            }
        }
        if let Form::Late(millis) = form {
            let late = |seen: &Watched| {
                let delay = if seen.kind == Kind::Rollout { 0 } else { millis };
                seen.at.as_millisecond().saturating_add(delay)
            };
            watched.sort_by_key(late);
        }
        Recording { start: self.start, watched, sent: self.sent.clone() }
    }
}

/// How a recording can be disturbed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Not at all.
    Plain,
    /// Every second version of each object is missing.
    EverySecondMissing,
    /// A random half of the versions is missing; the number decides which.
    HalfMissing(u64),
    /// Each version comes twice.
    Twice,
    /// All but the Rollouts comes that many milliseconds late.
    Late(i64),
    /// `managedFields` are stripped, as some watches do.
    NoManagers,
    /// `status.duration` is missing, as before Argo Rollouts 1.10.
    NoClock,
}

/// xorshift: reproducible, and good enough to choose versions.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 |= 1 << 40;
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 11
    }
}
