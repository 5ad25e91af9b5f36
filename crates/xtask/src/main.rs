//! Chores of the repository. `cargo xtask conformance` runs every case file of the two languages against Herald.

mod apiserver;
mod bench;
mod cases;
mod conformance;
mod crash;
mod fuzz;
mod guard;
mod hostile;
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
    /// Hostile inputs, and how long each takes until it ends with an error: at most a second in a release build.
    Hostile,
    /// Counts the instructions of parsing, compiling, deciding and rendering; fails where they grew (needs valgrind).
    Guard {
        /// Takes what is counted now as the baseline.
        #[arg(long)]
        update: bool,
    },
    /// Kills the real program under load, again and again, and counts what is lost or repeated.
    Crash(crash::CrashArgs),
    /// Benchmarks beside the originals: one report of all scenes, or a part of it.
    Bench(bench::BenchArgs),
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
        Command::Hostile => hostile::run(),
        Command::FuzzSeeds => seeds::write(),
        Command::Bench(args) => bench::run(args),
    }
}
