//! Every recording of the real controller, replayed.

use std::{collections::BTreeMap, fs, path::PathBuf};

use herald_core::replay::{self, Form, Recording, Restart};

fn recordings() -> Vec<(String, PathBuf)> {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/traces"));
    let mut found = Vec::new();
    for set in ["a", "b"] {
        let Ok(folders) = fs::read_dir(root.join(set)) else { continue };
        for folder in folders.flatten() {
            let name = format!("{set}/{}", folder.file_name().to_string_lossy());
            found.push((name, folder.path().join("stream.jsonl")));
        }
    }
    found.sort();
    found
}

#[test]
fn explore() {
    let only = std::env::var("ONLY").unwrap_or_default();
    for (name, path) in recordings() {
        if !name.contains(&only) {
            continue;
        }
        let text = fs::read_to_string(path).unwrap();
        let report = replay::run(text.lines()).unwrap();
        if only.is_empty() {
            for s in &report.subjects {
                println!("## {name} {} reordered {}", s.name, s.reordered);
                let mut counts = BTreeMap::new();
                for d in &s.differences {
                    *counts
                        .entry(format!(
                            "{} {} {:?} {}",
                            d.kind,
                            d.trigger,
                            d.meant,
                            if d.kind == replay::DifferenceKind::Object {
                                d.detail.clone()
                            } else {
                                String::new()
                            }
                        ))
                        .or_insert(0) += 1;
                }
                for (k, v) in counts {
                    println!("   {v} {k}");
                }
            }
        } else {
            println!("{report}");
        }
    }
}

#[test]
fn explore_disturbed() {
    let only = std::env::var("ONLY").unwrap_or_default();
    let mut total: BTreeMap<String, usize> = BTreeMap::new();
    for (name, path) in recordings() {
        if !name.contains(&only) {
            continue;
        }
        let text = fs::read_to_string(path).unwrap();
        let recording = Recording::read(text.lines()).unwrap();
        let plain = replay::derive(&recording, Restart::Never);
        let n = recording.watched.len();
        let mut forms = vec![
            ("plain".to_string(), recording.clone(), Restart::Never),
            ("restart".to_string(), recording.clone(), Restart::Always),
            ("second".to_string(), recording.disturbed(Form::EverySecondMissing), Restart::Never),
            ("twice".to_string(), recording.disturbed(Form::Twice), Restart::Never),
            ("late50".to_string(), recording.disturbed(Form::Late(50)), Restart::Never),
            ("late1000".to_string(), recording.disturbed(Form::Late(1000)), Restart::Never),
        ];
        for seed in 1..20 {
            forms.push((
                "half".to_string(),
                recording.disturbed(Form::HalfMissing(seed * 7919)),
                Restart::Never,
            ));
        }
        for k in 1..8 {
            forms.push(("away".to_string(), recording.clone(), Restart::Away(n * k / 10, n * (k + 2) / 10)));
        }
        for (form, recording, restart) in forms {
            let derived = replay::derive(&recording, restart);
            let ids: BTreeMap<&str, usize> = derived.iter().fold(BTreeMap::new(), |mut m, d| {
                *m.entry(d.occurrence.id.as_str()).or_default() += 1;
                m
            });
            for (id, n) in &ids {
                if *n > 1 {
                    *total
                        .entry(format!("{form} REPEATED {}", id.split('/').next().unwrap()))
                        .or_default() += 1;
                    println!("{name} {form} REPEATED {id}");
                }
            }
            let plain_ids: std::collections::BTreeSet<&str> =
                plain.iter().map(|d| d.occurrence.id.as_str()).collect();
            for id in ids.keys() {
                if !plain_ids.contains(id) {
                    let reason = id.split('/').next().unwrap();
                    let inferred = if id.contains("inferred") { "inferred" } else { "" };
                    *total.entry(format!("{form} extra {reason} {inferred}")).or_default() += 1;
                    if inferred.is_empty() && reason != "ScalingReplicaSet" {
                        println!("{name} {form} extra {id}");
                    }
                }
            }
            for id in &plain_ids {
                if !ids.contains_key(id) {
                    *total.entry(format!("{form} missing {}", id.split('/').next().unwrap())).or_default() +=
                        1;
                    if std::env::var("MISSING").is_ok_and(|m| id.starts_with(&m)) {
                        println!("{name} {form} missing {id}");
                    }
                }
            }
            for id in ids.keys() {
                *total.entry(format!("{form} ok {}", id.split('/').next().unwrap())).or_default() += 1;
            }
        }
    }
    for (k, v) in total {
        println!("{v:6} {k}");
    }
}
