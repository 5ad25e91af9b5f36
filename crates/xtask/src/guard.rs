//! Instructions instead of time: they are the same on a busy machine, so a few per cent more are noticed.

use std::{collections::BTreeMap, fs, process::Command};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::root;

/// What is counted; the crate `guard` does it.
const CHORES: [&str; 6] = ["decode", "compile", "parse", "decide", "render", "enqueue"];

/// More than this much beyond the baseline, in per cent, fails.
const MOST_GROWTH: f64 = 5.0;

/// Counts every chore's instructions and compares them with `conformance/guard.json`.
pub(crate) fn run(update: bool) -> Result<()> {
    if Command::new("valgrind").arg("--version").output().is_err() {
        eprintln!("SKIPPED: instructions are not counted, because there is no valgrind");
        return Ok(());
    }
    let path = root().join("conformance/guard.json");
    let toolchain = toolchain()?;
    if update {
        let baseline = Baseline { toolchain, counts: counted()? };
        fs::write(&path, serde_json::to_string_pretty(&baseline)? + "\n")?;
        return Ok(());
    }
    let baseline: Baseline = serde_json::from_str(
        &fs::read_to_string(&path).with_context(|| format!("{} (write it with --update)", path.display()))?,
    )?;
    if baseline.toolchain != toolchain {
        // Another compiler makes other instructions, another libc brings others: neither is anybody's regression.
        eprintln!(
            "SKIPPED: instructions are not compared, because the baseline was counted with {}, and this is {toolchain}; \
             `cargo xtask guard --update` on the last good revision makes a baseline for this one",
            baseline.toolchain
        );
        return Ok(());
    }
    let counts = counted()?;
    let mut worse = Vec::new();
    for (chore, now) in &counts {
        let Some(before) = baseline.counts.get(chore) else { bail!("{} has no {chore}", path.display()) };
        let change = (*now as f64 / *before as f64 - 1.0) * 100.0;
        println!("{chore:8} {now:14} instructions, {change:+6.2} %");
        if change > MOST_GROWTH {
            worse.push(chore.as_str());
        }
    }
    ensure!(
        worse.is_empty(),
        "more than {MOST_GROWTH} % more instructions than in conformance/guard.json: {}. Find out where they come from \
         (valgrind --tool=callgrind target/release/herald-guard {}), or, if they are worth it, run \
         `cargo xtask guard --update` and say why in the commit",
        worse.join(", "),
        worse.first().unwrap_or(&"decide"),
    );
    Ok(())
}

/// The instructions of every chore.
fn counted() -> Result<BTreeMap<String, u64>> {
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--quiet", "--package", "herald-guard"])
        .args(["--message-format", "json"])
        .current_dir(root())
        .output()?;
    ensure!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let program = String::from_utf8_lossy(&built.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "herald-guard")
        .find_map(|message| message["executable"].as_str().map(str::to_owned))
        .context("cargo names no program")?;
    let start = count(&program, "nothing")?;
    let mut counts = BTreeMap::new();
    for chore in CHORES {
        counts.insert(chore.to_owned(), count(&program, chore)?.saturating_sub(start));
    }
    Ok(counts)
}

/// What was counted, and with what: the same program has other counts with another compiler or libc.
#[derive(Deserialize, Serialize)]
struct Baseline {
    toolchain: String,
    counts: BTreeMap<String, u64>,
}

/// The compiler, the libc and the processor.
fn toolchain() -> Result<String> {
    let first = |program: &str| -> Result<String> {
        let out = Command::new(program).arg("--version").output().with_context(|| program.to_owned())?;
        Ok(String::from_utf8_lossy(&out.stdout).lines().next().unwrap_or_default().to_owned())
    };
    // Copying and searching take the widest instructions that there are, which valgrind passes on.
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or(std::env::consts::ARCH, |(_, model)| model.trim());
    Ok(format!("{}, {}, {model}", first("rustc")?, first("ldd")?))
}

/// The instructions of one run.
fn count(program: &str, chore: &str) -> Result<u64> {
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", program, chore])
        .output()?;
    let text = String::from_utf8_lossy(&run.stderr);
    ensure!(run.status.success(), "{chore}: {text}");
    let collected = text.lines().find_map(|line| line.split_once("Collected :"));
    let (_, number) = collected.with_context(|| format!("valgrind counts nothing: {text}"))?;
    Ok(number.trim().parse()?)
}
