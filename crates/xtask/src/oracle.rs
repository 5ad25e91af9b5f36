//! Asking the originals: the Go program in `conformance/oracle`.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value as Json};

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

    let mut command = Command::new(&binary);
    command.arg("-env-dir").arg(env_dir).stdin(Stdio::piped()).stdout(Stdio::piped());
    if bench {
        command.arg("-bench");
    }
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
    let answers = BufReader::new(output)
        .lines()
        .map(|line| Ok(serde_json::from_str(&line?)?))
        .collect::<Result<Vec<_>>>()?;
    let _ = writer.join();
    let status = child.wait()?;
    if !status.success() || answers.len() != cases.len() {
        bail!("the oracle answered {} of {} cases and ended with {status}", answers.len(), cases.len());
    }
    Ok(answers)
}
