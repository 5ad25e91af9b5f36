//! Where fuzzing starts from: the sources of the case files, the configurations of the other cases, the catalog.

use std::{
    collections::hash_map::DefaultHasher,
    fs,
    hash::{Hash, Hasher},
    path::Path,
};

use anyhow::{Context, Result};
use herald_core::{catalog, yaml};
use serde_json::Value as Json;

use crate::{
    cases::{self, Kind},
    root,
};

/// What separates the entries of a configuration (`fuzz/targets.rs` splits there).
const ENTRY: &str = "\n=====\n";

/// The fuzz targets.
pub(crate) const TARGETS: [&str; 4] = ["template", "expr", "config", "json_value"];

/// Writes the seeds of every target below `fuzz/corpus`.
pub(crate) fn write() -> Result<()> {
    for target in TARGETS {
        let folder = root().join("fuzz/corpus").join(target);
        fs::create_dir_all(&folder)?;
        let seeds = of(target)?;
        for seed in &seeds {
            let mut hasher = DefaultHasher::new();
            seed.hash(&mut hasher);
            fs::write(folder.join(format!("seed-{:016x}", hasher.finish())), seed)?;
        }
        println!("{target}: {} seeds", seeds.len());
    }
    Ok(())
}

/// The seeds of one target.
pub(crate) fn of(target: &str) -> Result<Vec<String>> {
    let mut seeds = match target {
        "template" => sources(Kind::Template)?,
        "expr" => sources(Kind::Expr)?,
        "config" => configurations()?,
        _ => environments()?,
    };
    seeds.sort();
    seeds.dedup();
    Ok(seeds)
}

fn sources(kind: Kind) -> Result<Vec<String>> {
    let mut seeds = Vec::new();
    for file in cases::files().into_iter().filter(|file| file.kind == kind) {
        for line in fs::read_to_string(&file.path)?.lines() {
            let case: Json = serde_json::from_str(line)?;
            seeds.push(case["src"].as_str().unwrap_or_default().to_owned());
        }
    }
    Ok(seeds)
}

fn yaml_files(folder: &Path) -> Result<Vec<Json>> {
    let mut contents = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = fs::read_to_string(&path)?;
            let node = yaml::parse(&text).with_context(|| path.display().to_string())?;
            contents.push(node.to_json());
        }
    }
    Ok(contents)
}

fn configurations() -> Result<Vec<String>> {
    let mut seeds: Vec<String> =
        catalog::data().into_iter().map(|(key, text)| format!("{key}\n{text}")).collect();
    for case in yaml_files(&root().join("conformance/engine"))? {
        let mut entries = Vec::new();
        for (part, sigil) in [("configmap", ""), ("base", ""), ("secret", "$")] {
            for (key, text) in case[part].as_object().into_iter().flatten() {
                entries.push(format!("{sigil}{key}\n{}", text.as_str().unwrap_or_default()));
            }
        }
        seeds.push(entries.join(ENTRY));
    }
    for file in yaml_files(&root().join("conformance/services"))? {
        for case in file["cases"].as_array().into_iter().flatten() {
            let service = case["type"].as_str().or(file["defaults"]["type"].as_str()).unwrap_or("webhook");
            let template = case["template"].as_str().unwrap_or("message: hello");
            seeds.push(format!("service.{service}\n{}{ENTRY}template.a\n{template}", case["options"]));
        }
    }
    Ok(seeds)
}

fn environments() -> Result<Vec<String>> {
    let mut seeds = Vec::new();
    for entry in fs::read_dir(root().join("conformance/vectors/envs"))? {
        seeds.push(fs::read_to_string(entry?.path())?);
    }
    for file in cases::files() {
        for line in fs::read_to_string(&file.path)?.lines().step_by(7) {
            seeds.push(line.to_owned());
        }
    }
    Ok(seeds)
}
