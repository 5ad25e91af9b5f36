//! Every template case of the conformance vectors: same bytes, or failure at the same moment.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
};

use herald_template::{Phase, Template};
use herald_value::{Value, limits::Limits, vector::Case};

/// Cases that may fail, each with its reason.
const KNOWN: &[(&str, &str)] = &[
    // `slice .l 0 4` of three elements: Go shows the spare capacity that its JSON decoder happened to allocate.
    ("t02410", "reads past the end of a list"),
];

fn outcome(case: &Case, env: &Value) -> Result<(), String> {
    let limits = Limits::DEFAULT;
    let mut out = Vec::new();
    let result =
        Template::parse("t", &case.src, limits).and_then(|template| template.render(env, limits, &mut out));
    match (result, case.ok) {
        (Ok(()), true) => {
            let want = case.output().unwrap_or_default();
            if out == want {
                return Ok(());
            }
            Err(format!(
                "\n  want {:?}\n  got  {:?}",
                String::from_utf8_lossy(&want),
                String::from_utf8_lossy(&out)
            ))
        }
        (Ok(()), false) => Err(format!(
            "\n  want the error {:?}\n  got  {:?}",
            case.err.as_deref().unwrap_or(""),
            String::from_utf8_lossy(&out)
        )),
        (Err(error), true) => {
            Err(format!("\n  want {:?}\n  got the error {error}", case.out.as_ref().map(ToString::to_string)))
        }
        (Err(error), false) => {
            let phase = if error.phase == Phase::Parse { "parse" } else { "exec" };
            if case.phase.as_deref() == Some(phase) {
                return Ok(());
            }
            Err(format!("\n  want it at {:?}\n  got the error at {phase}: {error}", case.phase))
        }
    }
}

#[test]
fn all_template_vectors() {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors"));
    if !root.is_dir() {
        eprintln!("SKIPPED: {} is not there", root.display());
        return;
    }
    let now = jiff::Timestamp::from_second(1_790_000_000).unwrap();
    let mut files: HashMap<String, Vec<u8>> = HashMap::new();
    let mut groups: BTreeMap<String, (u32, u32)> = BTreeMap::new();
    let mut failed = Vec::new();
    for folder in ["own", "upstream"] {
        let text = std::fs::read_to_string(root.join(folder).join("template.jsonl")).unwrap();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let case = Case::parse(line).unwrap();
            let referred = case.env_ref.clone().map(|path| {
                let file =
                    files.entry(path.clone()).or_insert_with(|| std::fs::read(root.join(path)).unwrap());
                file.clone()
            });
            let env = case.environment(referred.as_deref(), now).unwrap();
            let count = groups.entry(case.group.clone()).or_default();
            let result = outcome(&case, &env);
            if result.is_ok() {
                count.0 += 1
            } else {
                count.1 += 1
            }
            if let Err(why) = result {
                failed.push((case.id.clone(), format!("{} {} {:?}{why}", case.id, case.group, case.src)));
            }
        }
    }
    for (group, (passed, failures)) in &groups {
        eprintln!("{group:20} {passed:5} passed {failures:4} failed");
    }
    failed.retain(|(id, _)| !KNOWN.iter().any(|(known, _)| known == id));
    let shown: Vec<&str> = failed.iter().map(|(_, text)| text.as_str()).collect();
    assert!(failed.is_empty(), "{} cases fail:\n{}", failed.len(), shown.join("\n"));
}
