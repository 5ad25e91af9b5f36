//! Chores of the repository. `cargo xtask conformance` runs every case file of the two languages against Herald.

mod apiserver;
mod cases;
mod conformance;
mod crash;
mod fuzz;
mod guard;
mod languages;
#[cfg(test)]
mod mistakes;
#[cfg(test)]
mod mutations;
mod oracle;
mod seeds;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Chores of the repository.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the case files of templates and expressions, and prints passes and failures by group.
    Conformance {
        /// Computes our own case files' results anew, by the originals (needs Go).
        #[arg(long)]
        regenerate: bool,
        /// How many failures to show.
        #[arg(long, default_value_t = 20)]
        show: usize,
        /// Only cases whose group begins so.
        #[arg(long, default_value = "")]
        group: String,
    },
    /// Random programs, run by Herald and by the originals, must have the same outcome (needs Go).
    Fuzz {
        /// How many random templates, and as many expressions.
        #[arg(long, default_value_t = 10_000)]
        cases: u64,
        /// The first seed.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// How many differences to show.
        #[arg(long, default_value_t = 20)]
        show: usize,
        /// Only this language.
        #[arg(long)]
        kind: Option<cases::Kind>,
    },
    /// Runs a real API server on loopback, with Argo Rollouts' CRDs (needs Go, or KUBEBUILDER_ASSETS).
    Apiserver(apiserver::Options),
    /// Writes what the fuzz targets start from to `fuzz/corpus`.
    FuzzSeeds,
    /// Counts the instructions of parsing, compiling, deciding and rendering; fails where they grew (needs valgrind).
    Guard {
        /// Takes what is counted now as the baseline.
        #[arg(long)]
        update: bool,
    },
    /// Kills the real program under load, again and again, and counts what is lost or repeated.
    Crash(crash::CrashArgs),
    /// Benchmarks beside the originals.
    Bench {
        #[command(subcommand)]
        scene: Scene,
    },
}

#[derive(Subcommand)]
enum Scene {
    /// Compiling and running the real conditions and templates, beside Go, in one run (needs Go).
    Languages {
        /// How many of the cases to show that are the least faster.
        #[arg(long, default_value_t = 0)]
        show: usize,
    },
    /// Notices a second through the state file with full durability, beside the raw store's limit.
    Outbox {
        /// Delivered notices that a second store holds before.
        #[arg(long, default_value_t = 1_000_000)]
        history: usize,
    },
    /// The healthy receiver's p99 beside one that hangs, and alone, at 500 notices a second.
    Isolation,
}

/// Runs a measurement of the outbox, optimised.
fn example(name: &str, words: &[&str]) -> anyhow::Result<()> {
    let mut command = std::process::Command::new(env!("CARGO"));
    command.args(["run", "--release", "--quiet", "--package", "herald-outbox", "--example", name, "--"]);
    let status = command.args(words).current_dir(root()).status()?;
    anyhow::ensure!(status.success(), "the measurement failed");
    Ok(())
}

/// The repository's root.
fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Conformance { regenerate: true, .. } => conformance::regenerate(),
        Command::Conformance { show, group, .. } => conformance::run(show, &group),
        Command::Fuzz { cases, seed, show, kind } => fuzz::run(cases, seed, show, kind),
        Command::Apiserver(options) => apiserver::run(options),
        Command::Crash(args) => crash::run(&args),
        Command::Guard { update } => guard::run(update),
        Command::FuzzSeeds => seeds::write(),
        Command::Bench { scene: Scene::Languages { show } } => languages::run(show),
        Command::Bench { scene: Scene::Outbox { history } } => {
            example("throughput", &["20000", "256", &history.to_string()])
        }
        Command::Bench { scene: Scene::Isolation } => example("isolation", &[]),
    }
}
