//! `conformance/lifecycle/README.md` says which recording or timeline covers what: it must be so, for every reason.

#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use herald_core::{
    lifecycle::reasons::{self, COMMON_FACTS, Origin, REASONS},
    replay::{self, Recording, Restart},
};
use serde::Deserialize;

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

#[derive(Deserialize)]
struct Timeline {
    name: String,
    looks: Vec<Look>,
}

#[derive(Deserialize)]
struct Look {
    expect: Vec<String>,
}

/// What each timeline expects; `tests/timelines.rs` checks that it is so.
fn timelines() -> BTreeMap<String, BTreeSet<String>> {
    let text = fs::read_to_string(root().join("conformance/lifecycle/timelines.json")).unwrap();
    let timelines: Vec<Timeline> = serde_json::from_str(&text).unwrap();
    let reasons = |looks: Vec<Look>| -> BTreeSet<String> {
        let all = looks.into_iter().flat_map(|look| look.expect);
        all.map(|told| told.split(' ').next().unwrap().to_owned()).collect()
    };
    timelines.into_iter().map(|timeline| (timeline.name, reasons(timeline.looks))).collect()
}

/// What each recording tells, and with it which facts every occurrence has.
fn recordings() -> BTreeMap<String, BTreeSet<String>> {
    let mut all = BTreeMap::new();
    for set in ["a", "b"] {
        let Ok(folders) = fs::read_dir(root().join("../shared/traces").join(set)) else { continue };
        for folder in folders.flatten() {
            let name = format!("{set}/{}", folder.file_name().to_string_lossy());
            let text = fs::read_to_string(folder.path().join("stream.jsonl")).unwrap();
            let recording = Recording::read(text.lines()).unwrap();
            let mut told = BTreeSet::new();
            for derived in replay::derive(&recording, Restart::Never) {
                let occurrence = derived.occurrence;
                let known = reasons::find(&occurrence.reason).unwrap();
                for fact in occurrence.facts.keys().map(String::as_str) {
                    let listed = known.facts.contains(&fact) || COMMON_FACTS.contains(&fact);
                    assert!(listed, "{name}: {} has the fact {fact}, which is not listed", known.reason);
                }
                told.insert(known.reason.to_owned());
            }
            all.insert(name, told);
        }
    }
    if all.is_empty() {
        eprintln!("SKIPPED: no recordings in ../shared/traces");
    }
    all
}

/// The texts in backticks of a table's cell.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[test]
fn every_row_is_covered_as_written() {
    let (timelines, recordings) = (timelines(), recordings());
    let page = fs::read_to_string(root().join("conformance/lifecycle/README.md")).unwrap();
    let mut covered = BTreeSet::new();
    let (mut checked, mut wrong) = (0, Vec::new());
    let of_reasons = |line: &&str| quoted(line).next().is_some_and(|name| reasons::find(name).is_some());
    for line in page.lines().filter(|line| line.starts_with("| `")).filter(of_reasons) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let (reasons, covers) = (cells[1], &cells[2..]);
        for cover in covers.iter().flat_map(|cell| quoted(cell)) {
            let told = match timelines.get(cover).or_else(|| recordings.get(cover)) {
                Some(told) => told,
                None if recordings.is_empty() && (cover.starts_with("a/") || cover.starts_with("b/")) => {
                    continue;
                }
                // That test itself says what it covers.
                None if cover.starts_with("crates/") && root().join(cover).exists() => continue,
                None => panic!("there is no recording or timeline `{cover}`"),
            };
            let found: Vec<&str> = quoted(reasons).filter(|reason| told.contains(*reason)).collect();
            if found.is_empty() {
                wrong.push(format!("`{cover}` tells nothing of {reasons}"));
            }
            covered.extend(found.into_iter().map(str::to_owned));
            checked += 1;
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(checked > 20, "{checked} covers in the table");
    let missing: Vec<&str> = REASONS
        .iter()
        .filter(|known| known.origin != Origin::EventOnly)
        .map(|known| known.reason)
        .filter(|reason| !recordings.is_empty() && !covered.contains(*reason))
        .collect();
    assert_eq!(missing, Vec::<&str>::new(), "without a cover");
}
