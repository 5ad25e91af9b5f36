//! Every recording of the real controller, replayed: as it is, and disturbed. What may differ is written down in
//! `conformance/lifecycle`.

#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use herald_core::replay::{self, Derived, Difference, DifferenceKind, Form, Recording, Restart};
use serde::Deserialize;

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Name and text of every recording.
fn recordings() -> Vec<(String, String)> {
    let traces = root().join("../shared/traces");
    let mut found = Vec::new();
    for set in ["a", "b"] {
        let Ok(folders) = fs::read_dir(traces.join(set)) else { continue };
        for folder in folders.flatten() {
            let name = format!("{set}/{}", folder.file_name().to_string_lossy());
            found.push((name, fs::read_to_string(folder.path().join("stream.jsonl")).unwrap()));
        }
    }
    found.sort();
    if found.is_empty() {
        eprintln!("SKIPPED: no recordings at {}", traces.display());
    }
    found
}

fn conformance<T: for<'de> Deserialize<'de>>(file: &str) -> T {
    let text = fs::read_to_string(root().join("conformance/lifecycle").join(file)).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[derive(Deserialize)]
struct Listed {
    recording: String,
    rollout: String,
    kind: String,
    trigger: String,
    count: usize,
    why: String,
}

type Differences = BTreeMap<(String, String, String, String, String), usize>;

/// Sequence of triggers for each Rollout, the object that each template sees (step, phase, replica counts,
/// hashes, revision), and the order up to the notifications of one object version.
#[test]
fn recordings_equal_the_controller_but_for_what_is_listed() {
    let recordings = recordings();
    if recordings.is_empty() {
        return;
    }
    let mut found = Differences::new();
    let (mut compared, mut reordered) = (0, 0);
    for (name, text) in &recordings {
        let report = replay::run(text.lines()).unwrap();
        for subject in &report.subjects {
            reordered += subject.reordered;
            compared += subject.rows.iter().filter(|row| row.sent.is_some() && row.derived.is_some()).count();
            for difference in &subject.differences {
                let why = match (difference.kind, difference.meant) {
                    (DifferenceKind::Object, None) => difference.detail.clone(),
                    (_, meant) => meant.unwrap_or_default().to_owned(),
                };
                let kind = difference.kind.to_string();
                let key = (name.clone(), subject.name.clone(), kind, difference.trigger.clone(), why);
                *found.entry(key).or_default() += 1;
            }
        }
    }
    let listed: Vec<Listed> = conformance("differences.json");
    let listed: Differences =
        listed.into_iter().map(|l| ((l.recording, l.rollout, l.kind, l.trigger, l.why), l.count)).collect();
    assert_eq!(found, listed);
    // Inside one reconcile of the controller; as many as DIFFERENCES.md says.
    assert!(reordered <= 9, "{reordered} in another order");
    // So that an empty comparison can't pass: of 1,468 notifications for Rollouts these have a counterpart.
    assert!(recordings.len() >= 42 && compared >= 1341, "{compared} notifications compared");
}

#[derive(Deserialize)]
struct Disturbed {
    forms: BTreeMap<String, Tolerance>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Tolerance {
    missing: BTreeSet<String>,
    inferred: BTreeSet<String>,
    other: BTreeSet<String>,
}

/// The disturbed forms of a recording, each with its name in the list.
fn forms(recording: &Recording) -> Vec<(&'static str, Vec<Derived>)> {
    let replayed = |form| replay::derive(&recording.disturbed(form), Restart::Never);
    let mut forms = vec![
        ("restarted before each observation", replay::derive(recording, Restart::Always)),
        ("each version twice", replayed(Form::Twice)),
        ("all but the Rollout 50 ms late", replayed(Form::Late(50))),
        ("all but the Rollout 1 s late", replayed(Form::Late(1000))),
        ("every second version missing", replayed(Form::EverySecondMissing)),
    ];
    for seed in 1..=20 {
        forms.push(("a random half missing", replayed(Form::HalfMissing(seed * 7919))));
    }
    let count = recording.watched.len();
    for tenth in 0..=8 {
        let away = Restart::Away(count * tenth / 10, count * (tenth + 2) / 10);
        forms.push(("away for a fifth of the time", replay::derive(recording, away)));
    }
    forms
}

fn reason(id: &str) -> &str {
    id.split('/').next().unwrap_or(id)
}

#[test]
fn disturbed_forms_lose_and_add_only_what_is_listed() {
    let list: Disturbed = conformance("disturbed.json");
    let mut wrong = BTreeSet::new();
    for (name, text) in recordings() {
        let recording = Recording::read(text.lines()).unwrap();
        let plain = replay::derive(&recording, Restart::Never);
        let ids: BTreeSet<&str> = plain.iter().map(|d| d.occurrence.id.as_str()).collect();
        assert_eq!(ids.len(), plain.len(), "{name}: an occurrence came twice");
        for (form, derived) in forms(&recording) {
            let tolerance = &list.forms[form];
            let mut seen = BTreeSet::new();
            for id in derived.iter().map(|d| d.occurrence.id.as_str()) {
                let fine = ids.contains(id)
                    || tolerance.other.contains(reason(id))
                    || id.contains("/inferred/") && tolerance.inferred.contains(reason(id));
                if !fine {
                    wrong.insert(format!("{name}, {form}: {id} is not in the undisturbed replay"));
                }
                if !seen.insert(id) {
                    wrong.insert(format!("{name}, {form}: {id} came twice"));
                }
            }
            for id in ids.difference(&seen).filter(|id| !tolerance.missing.contains(reason(id))) {
                wrong.insert(format!("{name}, {form}: {id} is lost"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Objects without `managedFields`, and those of releases that have no attempt clock, tell the same.
#[test]
fn poorer_objects_tell_the_same() {
    for (name, text) in recordings() {
        for form in [Form::NoManagers, Form::NoClock] {
            let recording = Recording::read(text.lines()).unwrap().disturbed(form);
            let derived = replay::derive(&recording, Restart::Never);
            let report = replay::compare(&recording.sent, &derived);
            assert_eq!(
                report.unexplained().collect::<Vec<_>>(),
                Vec::<&Difference>::new(),
                "{name} {form:?}"
            );
        }
    }
}

/// A restart and repeated versions change nothing at all, not even the order.
#[test]
fn restarts_and_repeats_change_nothing() {
    for (name, text) in recordings() {
        let recording = Recording::read(text.lines()).unwrap();
        let ids =
            |derived: Vec<Derived>| -> Vec<String> { derived.into_iter().map(|d| d.occurrence.id).collect() };
        let plain = ids(replay::derive(&recording, Restart::Never));
        assert_eq!(ids(replay::derive(&recording, Restart::Always)), plain, "{name}");
        let twice = recording.disturbed(Form::Twice);
        assert_eq!(ids(replay::derive(&twice, Restart::Never)), plain, "{name}");
    }
}

/// The cursor is what is kept for each Rollout: a few hundred bytes.
#[test]
fn cursors_are_small() {
    for (name, text) in recordings() {
        let recording = Recording::read(text.lines()).unwrap();
        for cursor in replay::cursors(&recording) {
            let size = serde_json::to_string(&cursor).unwrap().len();
            assert!(size < 700, "{name}: {size} bytes");
        }
    }
}
