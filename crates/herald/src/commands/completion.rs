//! `herald completion`

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::{cli::Cli, failure::Outcome, output};

/// Arguments of `completion`.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  herald completion bash > /etc/bash_completion.d/herald")]
pub(crate) struct CompletionArgs {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(args: &CompletionArgs) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "herald", &mut script);
    output::print(&String::from_utf8_lossy(&script))
}
