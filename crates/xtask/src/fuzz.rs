//! Differential fuzzing: random programs from a grammar must have the same outcome here and in the originals.

mod expression;
mod meant;
pub(crate) mod random;
mod template;

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use herald_value::vector::Case;
use random::Random;
use serde_json::{Map, Value as Json, json};

use crate::{
    cases::{self, Environments, Kind, Outcome},
    oracle, root,
};

const BATCH: u64 = 20_000;

/// Runs random programs of both languages, or of one.
pub(crate) fn run(count: u64, seed: u64, show: usize, only: Option<Kind>) -> Result<()> {
    let env_dir = root().join("conformance/vectors");
    let mut different = 0_usize;
    for kind in [Kind::Template, Kind::Expr].into_iter().filter(|kind| only.is_none_or(|only| only == *kind))
    {
        let (mut succeeded, mut gave_up) = (0_u64, 0_u64);
        let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
        let mut done = 0;
        while done < count {
            let batch = BATCH.min(count - done);
            let sources: Vec<String> = (0..batch)
                .map(|i| {
                    let mut random = Random::new(seed.wrapping_mul(1_000_003).wrapping_add(done + i));
                    match kind {
                        Kind::Template => template::generate(&mut random),
                        Kind::Expr => expression::generate(&mut random),
                    }
                })
                .collect();
            let questions: Vec<Map<String, Json>> = sources
                .iter()
                .enumerate()
                .map(|(i, source)| {
                    let question = json!({
                        "id": format!("f{}", done + i as u64), "group": "fuzz", "kind": kind.name(),
                        "src": source, "env_ref": "envs/misc.json"
                    });
                    let mut question = question.as_object().cloned().unwrap_or_default();
                    if kind == Kind::Expr {
                        question.insert("helpers".into(), "argocd".into());
                    }
                    question
                })
                .collect();
            let answers = oracle::ask(&env_dir, &questions, false)?;
            let mut environments = Environments::new(&env_dir);
            for (question, answer) in questions.iter().zip(answers) {
                if oracle::gave_up(&answer) {
                    gave_up += 1;
                    println!("{} the originals gave up: {}", question["id"], question["src"]);
                    continue;
                }
                let mut case = question.clone();
                case.extend(answer);
                let case: Case = serde_json::from_value(Json::Object(case))?;
                succeeded += u64::from(case.ok);
                let outcome = cases::run(kind, &case.src, &environments.of(&case)?);
                // Limits are ours, so what they end can't be compared.
                if matches!(outcome, Outcome::Failure(_, _, true)) {
                    continue;
                }
                if let Some(difference) =
                    cases::difference(&case, &outcome).filter(|_| !meant::to_differ(&case, &outcome))
                {
                    different += 1;
                    *kinds.entry(difference.chars().take(40).collect()).or_default() += 1;
                    if different <= show {
                        let original = case.err.as_deref().unwrap_or_default();
                        println!("{} {}\n    {difference}\n    original: {original}", case.id, case.src);
                    }
                }
            }
            done += batch;
        }
        println!(
            "{}: {count} cases, {succeeded} of them successful, {gave_up} without an answer of the originals, kinds of \
             difference: {}",
            kind.name(),
            kinds.len()
        );
    }
    if different > 0 {
        bail!("{different} differences");
    }
    Ok(())
}
