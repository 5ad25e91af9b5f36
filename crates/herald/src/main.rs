//! Herald: notifications for Argo Rollouts. This binary wires the rooms together: one file for each command in
//! `commands/`, and in `pipeline/` the way of a change from a source to the outbox.

mod cli;
mod cluster;
mod cluster_events;
mod commands;
mod election;
mod explain;
mod failure;
mod input;
mod live;
mod operator;
mod output;
mod pipeline;
mod scene;
mod settings;
mod shadow;
mod simulation;
mod store;
mod style;
mod suite;
mod table;
mod traces;
mod ui;

use std::process::ExitCode;

/// Objects of a cluster are many small values that come and go: this allocator takes less time and memory for them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Whoever makes the first TLS connection finds a provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let words: Vec<_> = std::env::args_os().collect();
    let cli = match settings::parse(&words) {
        Ok(Ok(cli)) => cli,
        Ok(Err(error)) => error.exit(),
        Err(failure) => {
            eprintln!("{}", failure.message);
            return ExitCode::from(failure.code.number());
        }
    };
    cli.logging.start();
    let compat = cli.compat_exit_codes;
    match cli.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.message.is_empty() {
                eprintln!("{}", failure.message.trim_end());
            }
            match failure.code {
                failure::Code::Usage => ExitCode::from(failure.code.number()),
                // The reference prints most errors and ends well.
                _ if compat => ExitCode::SUCCESS,
                code => ExitCode::from(code.number()),
            }
        }
    }
}
