//! Notifications on a terminal, for people.

use std::io::{IsTerminal as _, Write as _};

use herald_core::notification::Notification;
use herald_outbox::Notice;

/// A notification as a few lines: what it is about, then the message.
pub(crate) fn text(notice: &Notice, notification: &Notification, color: bool) -> String {
    let (bold, dim, reset) = if color { ("\x1b[1m", "\x1b[2m", "\x1b[0m") } else { ("", "", "") };
    let object = &notice.object;
    let mut out = format!(
        "{dim}──{reset} {bold}{}/{}{reset} {dim}{} → {}:{}{reset}\n",
        object.namespace, object.name, notice.trigger, notice.service, notice.recipient
    );
    if notification.message.is_empty() {
        for line in herald_services::services::console::print(notification).lines() {
            out.push_str(&format!("   {line}\n"));
        }
    }
    for line in notification.message.trim_end().lines() {
        // What a template prints must not steer the terminal.
        let line: String = line.chars().filter(|c| !c.is_control() || *c == '\t').collect();
        out.push_str(format!("   {line}").trim_end());
        out.push('\n');
    }
    out.push('\n');
    out
}

/// Prints a notification.
pub(crate) fn print(notice: &Notice, notification: &Notification) -> std::io::Result<()> {
    let stdout = std::io::stdout();
    let plain = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty())
        || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    let color = stdout.is_terminal() && !plain;
    let mut out = stdout.lock();
    out.write_all(text(notice, notification, color).as_bytes())?;
    out.flush()
}
