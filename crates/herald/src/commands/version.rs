//! `herald version`

use clap::Args;

use crate::{failure::Outcome, output};

/// Arguments of `version`.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  herald version --short")]
pub(crate) struct VersionArgs {
    /// Only the number
    #[arg(long)]
    short: bool,
}

pub(crate) fn run(args: &VersionArgs) -> Outcome {
    let number = env!("CARGO_PKG_VERSION");
    output::print(&if args.short { format!("v{number}\n") } else { format!("herald: v{number}\n") })
}
