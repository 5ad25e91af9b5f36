//! `herald man`

use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory as _};
use clap_mangen::Man;

use crate::{
    cli::Cli,
    failure::{Failure, Outcome},
    output,
};

/// Arguments of `man`.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  herald man /usr/local/share/man/man1\n\nWithout a directory the page of herald itself is printed."
)]
pub(crate) struct ManArgs {
    /// Write a page for each command into this directory
    dir: Option<PathBuf>,
}

pub(crate) fn run(args: &ManArgs) -> Outcome {
    let mut command = Cli::command();
    command.build();
    match &args.dir {
        None => {
            let mut page = Vec::new();
            Man::new(command).render(&mut page)?;
            output::print(&String::from_utf8_lossy(&page))
        }
        Some(dir) => {
            std::fs::create_dir_all(dir)
                .map_err(|e| Failure::bad(format!("can't create directory '{}': {e}", dir.display())))?;
            write(dir, &command, "herald")
        }
    }
}

/// A page for a command and each below it, named as `git` does: `herald-deliveries-list.1`.
fn write(dir: &Path, command: &Command, name: &str) -> Outcome {
    let path = dir.join(format!("{name}.1"));
    let mut page = Vec::new();
    Man::new(command.clone()).title(name).render(&mut page)?;
    std::fs::write(&path, page)
        .map_err(|e| Failure::bad(format!("can't write '{}': {e}", path.display())))?;
    for below in command.get_subcommands().filter(|c| !c.is_hide_set() && c.get_name() != "help") {
        write(dir, below, &format!("{name}-{}", below.get_name()))?;
    }
    Ok(())
}
