//! The crash test: the real program under load, killed again and again.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use herald_testkit::{
    crash::Crash,
    nats::{Nats, NatsOptions},
};

/// Arguments of `crash`.
#[derive(Args, Clone, Debug)]
pub(crate) struct CrashArgs {
    /// How often the program is killed.
    #[arg(long, default_value_t = 200)]
    kills: u32,
    /// Where the random numbers begin.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Rollouts that move on at once.
    #[arg(long, default_value_t = 20)]
    rollouts: usize,
    /// A Rollout moves on so often, in milliseconds: three notices each time.
    #[arg(long, default_value_t = 250)]
    pace: u64,
    /// The outbox.
    #[arg(long, default_value = "sqlite")]
    outbox: Store,
    /// Programs that only deliver, killed in turn with the one that watches (with `--outbox nats`).
    #[arg(long, default_value_t = 0)]
    workers: usize,
    /// The program [default: built here].
    #[arg(long)]
    program: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Store {
    Sqlite,
    Nats,
}

pub(crate) fn run(args: &CrashArgs) -> anyhow::Result<()> {
    let program = match &args.program {
        Some(program) => program.clone(),
        None => built()?,
    };
    let crash = Crash {
        program,
        kills: args.kills,
        seed: args.seed,
        rollouts: args.rollouts,
        pace: std::time::Duration::from_millis(args.pace),
        outbox: None,
        workers: args.workers,
    };
    let runtime = tokio::runtime::Runtime::new()?;
    let counted = runtime.block_on(async {
        if args.outbox == Store::Sqlite {
            return Ok(crash.run().await);
        }
        let options = NatsOptions { jetstream: true, ..NatsOptions::default() };
        let nats = Nats::start(&options).await.context("there is no nats-server")?;
        Ok::<_, anyhow::Error>(Crash { outbox: Some(nats.url()), ..crash }.run().await)
    })?;
    print!("{counted}");
    if !counted.is_good() {
        bail!("a promise was broken");
    }
    Ok(())
}

/// The program, built as this one was.
fn built() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let dir = own.parent().context("this program is in no directory")?;
    let mut command = std::process::Command::new(env!("CARGO"));
    command.args(["build", "--quiet", "--package", "herald", "--target-dir"]);
    command.arg(dir.parent().context("this program is in no target directory")?);
    if dir.ends_with("release") {
        command.arg("--release");
    }
    if !command.current_dir(crate::root()).status()?.success() {
        bail!("the program can't be built");
    }
    Ok(dir.join("herald"))
}
