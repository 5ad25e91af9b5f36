//! `herald replay`

use std::path::PathBuf;

use clap::Args;
use herald_core::replay;

use crate::{
    failure::{Failure, Outcome},
    output,
};

/// Arguments of `replay`.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  herald replay recording/stream.jsonl\n\nExits with 1 if anything differs in a way \
                        that is not meant."
)]
pub(crate) struct ReplayArgs {
    /// The recording: one observation a line, or a directory with `stream.jsonl`
    trace: PathBuf,
}

pub(crate) fn run(args: &ReplayArgs) -> Outcome {
    let path = if args.trace.is_dir() { args.trace.join("stream.jsonl") } else { args.trace.clone() };
    let bytes = std::fs::read(&path)
        .map_err(|e| Failure::bad(format!("can't read the recording {}: {e}", path.display())))?;
    let text = String::from_utf8(bytes)
        .map_err(|e| Failure::bad(format!("the recording {} is no text: {e}", path.display())))?;
    let report = replay::run(text.lines()).map_err(|e| Failure::bad(format!("{}: {e}", path.display())))?;
    output::print(&report.to_string())?;
    match report.unexplained().count() {
        0 => Ok(()),
        count => Err(Failure::bad(format!("{count} differences are not meant"))),
    }
}
