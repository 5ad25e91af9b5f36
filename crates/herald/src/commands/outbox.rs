//! `herald outbox check`

use clap::{Args, Subcommand};
use herald_outbox::Access;

use super::deliveries::StateArgs;
use crate::{
    failure::{Failure, Outcome},
    output,
};

/// Arguments of `outbox`.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  herald outbox check --dir examples/quickstart")]
pub(crate) struct OutboxArgs {
    #[command(subcommand)]
    command: OutboxCommand,
}

#[derive(Subcommand, Debug)]
enum OutboxCommand {
    /// Look for damage in the state file
    #[command(after_help = "Example:\n  herald outbox check --state /var/lib/herald/state.db")]
    Check(StateArgs),
}

pub(crate) fn run(args: &OutboxArgs) -> Outcome {
    let OutboxCommand::Check(state) = &args.command;
    let runtime = tokio::runtime::Runtime::new()?;
    let outbox = runtime.block_on(state.open(Access::ReadOnly))?;
    let findings = runtime.block_on(outbox.check())?;
    if findings.is_empty() {
        return output::print(&format!("{}: no damage found\n", state.place()?));
    }
    Err(Failure::bad(findings.join("\n")))
}
