//! Every case file against Herald.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result, bail};
use herald_value::vector::Case;
use serde_json::{Map, Value as Json};

use crate::{
    cases::{self, Environments, Kind},
    oracle, root,
};

/// The deliberate differences: case ids with their reason, one a line, as `id: reason`.
fn deliberate() -> Result<BTreeMap<String, String>> {
    let path = root().join("conformance/differences-languages.txt");
    let text = fs::read_to_string(&path).unwrap_or_default();
    text.lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
        .map(|line| {
            let (id, reason) = line.split_once(':').with_context(|| format!("{}: {line}", path.display()))?;
            Ok((id.trim().to_owned(), reason.trim().to_owned()))
        })
        .collect()
}

/// Runs all cases and prints passes and failures by group; fails if any case does.
pub(crate) fn run(show: usize, only: &str) -> Result<()> {
    let deliberate = deliberate()?;
    let mut failures = 0_usize;
    for file in cases::files() {
        let text = fs::read_to_string(&file.path)?;
        let mut environments = Environments::new(&file.env_dir);
        let mut groups: BTreeMap<String, (usize, usize, usize)> = BTreeMap::new();
        for line in text.lines() {
            let case = Case::parse(line)?;
            if !case.group.starts_with(only) {
                continue;
            }
            let outcome = cases::run(file.kind, &case.src, &environments.of(&case)?);
            let (passed, failed, meant) = groups.entry(case.group.clone()).or_default();
            match cases::difference(&case, &outcome) {
                None => *passed += 1,
                Some(_) if deliberate.contains_key(&case.id) => *meant += 1,
                Some(difference) => {
                    *failed += 1;
                    failures += 1;
                    if failures <= show {
                        println!("  {} {}: {}\n      {difference}", case.id, case.group, case.src);
                    }
                }
            }
        }
        println!("{}", file.path.strip_prefix(root()).unwrap_or(&file.path).display());
        let mut sums = (0, 0, 0);
        for (group, (passed, failed, meant)) in &groups {
            sums = (sums.0 + passed, sums.1 + failed, sums.2 + meant);
            let note = if *failed > 0 { "  <-- " } else { "" };
            println!("  {group:24} {passed:5} passed {failed:5} failed {meant:3} meant to differ{note}");
        }
        println!("  {:24} {:5} passed {:5} failed {:3} meant to differ", "all", sums.0, sums.1, sums.2);
    }
    if failures > 0 {
        bail!("{failures} cases failed");
    }
    Ok(())
}

/// Asks the originals for the results of `conformance/cases`.
pub(crate) fn regenerate() -> Result<()> {
    for kind in [Kind::Template, Kind::Expr] {
        let path = root().join(format!("conformance/cases/{}.jsonl", kind.name()));
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let mut cases: Vec<Map<String, Json>> =
            text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        for case in &mut cases {
            case.retain(|key, _| {
                matches!(&**key, "id" | "group" | "src" | "env" | "env_ref" | "nums" | "helpers")
            });
            case.insert("kind".into(), kind.name().into());
        }
        let answers = oracle::ask(&root().join("conformance/vectors"), &cases, false)?;
        let mut out = String::new();
        for (mut case, answer) in cases.into_iter().zip(answers) {
            case.remove("kind");
            case.extend(answer);
            out.push_str(&serde_json::to_string(&case)?);
            out.push('\n');
        }
        fs::write(&path, out)?;
        println!("wrote {}", path.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_case_gives_what_the_originals_gave() {
        super::run(20, "").unwrap();
    }
}
