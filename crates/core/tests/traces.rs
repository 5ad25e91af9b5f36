//! Every recording of the real controller, replayed.

use std::{fs, path::PathBuf};

use herald_core::replay;

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
                let mut counts = std::collections::BTreeMap::new();
                for d in &s.differences {
                    *counts
                        .entry(format!(
                            "{} {} {}",
                            d.kind,
                            d.trigger,
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
