//! Colours on a terminal. They are written always, and taken out where nobody wants them (`NO_COLOR`, `CLICOLOR`, no
//! terminal) by [`print()`]. Everything is readable without them.

use std::io::Write as _;

use anstyle::{AnsiColor, Style};
use herald_core::explain::Verdict;

use crate::failure::Outcome;

fn paint(style: Style, text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("{style}{text}{style:#}") }
}

/// Heads.
pub(crate) fn bold(text: &str) -> String {
    paint(Style::new().bold(), text)
}

/// What matters less.
pub(crate) fn dim(text: &str) -> String {
    paint(Style::new().dimmed(), text)
}

/// What is as it should be.
pub(crate) fn good(text: &str) -> String {
    paint(AnsiColor::Green.on_default(), text)
}

/// What is not as it should be.
pub(crate) fn bad(text: &str) -> String {
    paint(AnsiColor::Red.on_default(), text)
}

/// In the colour of a verdict.
pub(crate) fn verdict(verdict: Verdict, text: &str) -> String {
    match verdict {
        Verdict::Wrong => paint(AnsiColor::Red.on_default().bold(), text),
        Verdict::Muted | Verdict::Queued | Verdict::Waiting => paint(AnsiColor::Yellow.on_default(), text),
        Verdict::Due | Verdict::Told => good(text),
        Verdict::Quiet => dim(text),
    }
}

/// Writes text to standard output. A reader that went away is no failure.
pub(crate) fn print(text: &str) -> Outcome {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
