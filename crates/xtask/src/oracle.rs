//! Asking the originals: the Go program in `conformance/oracle`.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, ExitStatus, Stdio},
    thread,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value as Json, json};

use crate::root;

/// Answers of the oracle to the cases, in their order.
pub(crate) fn ask(
    env_dir: &Path,
    cases: &[Map<String, Json>],
    bench: bool,
) -> Result<Vec<Map<String, Json>>> {
    let source = root().join("conformance/oracle");
    let binary = root().join("target/oracle");
    let built = Command::new("go")
        .args(["build", "-o"])
        .arg(&binary)
        .arg(".")
        .current_dir(&source)
        .status()
        .context("the originals need Go, and `go` can't be started")?;
    ensure!(built.success(), "the oracle in {} doesn't build", source.display());

    let (mut answers, mut lost) = (Vec::with_capacity(cases.len()), 0);
    while let Some(rest) = cases.get(answers.len()..).filter(|rest| !rest.is_empty()) {
        let status = ask_some(&binary, env_dir, rest, bench, &mut answers)?;
        // A case that took too long is answered, and the rest is for another process. One that ended its process isn't.
        if answers.len() < cases.len() && status.code() != Some(GAVE_UP) {
            lost += 1;
            ensure!(!bench && lost <= MOST_LOST, "the oracle ended with {status}, again and again");
            let id = cases.get(answers.len()).and_then(|case| case.get("id"));
            answers.extend(json!({"id": id, "gave_up": true}).as_object().cloned());
        }
    }
    Ok(answers)
}

/// Cases that may end the oracle, by running out of memory.
const MOST_LOST: usize = 20;

/// The oracle's exit code once a case took too long.
const GAVE_UP: i32 = 3;

/// Whether the originals gave no answer in time.
pub(crate) fn gave_up(answer: &Map<String, Json>) -> bool {
    answer.get("gave_up") == Some(&Json::Bool(true))
}

fn ask_some(
    binary: &Path,
    env_dir: &Path,
    cases: &[Map<String, Json>],
    bench: bool,
    answers: &mut Vec<Map<String, Json>>,
) -> Result<ExitStatus> {
    let mut command = Command::new(binary);
    command.arg("-env-dir").arg(env_dir).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.arg(if bench { "-bench" } else { "-limit=3s" });
    let mut child = command.spawn()?;
    let mut input = child.stdin.take().context("no standard input")?;
    let output = child.stdout.take().context("no standard output")?;
    let mut lines = Vec::new();
    for case in cases {
        serde_json::to_writer(&mut lines, case)?;
        lines.push(b'\n');
    }
    // Written beside reading, or both sides wait once the pipes are full.
    let writer = thread::spawn(move || input.write_all(&lines));
    for line in BufReader::new(output).lines() {
        answers.push(serde_json::from_str(&line?)?);
    }
    let _ = writer.join();
    Ok(child.wait()?)
}
