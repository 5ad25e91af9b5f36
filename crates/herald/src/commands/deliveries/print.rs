//! How deliveries are printed.

use std::fmt::Write as _;

use herald_outbox::HistoryEntry;
use herald_services::redact::Redactor;
use serde::Serialize;

use crate::{failure::Outcome, output, output::Format, table, ui};

/// Cells must not hold what parts them.
fn cell(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(100).collect()
}

fn data(format: Format, value: &impl Serialize) -> Outcome {
    let value = serde_json::to_value(value).map_err(|e| crate::failure::Failure::bad(e.to_string()))?;
    match format {
        Format::Yaml => output::print(&herald_services::services::console::yaml(&value)),
        _ => output::print(&format!("{value:#}\n")),
    }
}

/// A list.
pub(super) fn list(format: Format, entries: &[HistoryEntry]) -> Outcome {
    match format {
        Format::Wide => output::print(&lines(entries)),
        Format::Name => {
            output::print(&entries.iter().map(|entry| format!("{}\n", entry.notice.id)).collect::<String>())
        }
        Format::Json | Format::Yaml => {
            let redactor = Redactor::default();
            data(format, &entries.iter().map(|entry| ui::delivery(entry, &redactor)).collect::<Vec<_>>())
        }
    }
}

/// One delivery.
pub(super) fn one(format: Format, entry: &HistoryEntry) -> Outcome {
    match format {
        Format::Wide => output::print(&whole(entry)),
        Format::Name => output::print(&format!("{}\n", entry.notice.id)),
        Format::Json | Format::Yaml => data(format, &ui::detail(entry, &Redactor::default()).0),
    }
}

fn lines(entries: &[HistoryEntry]) -> String {
    let mut text = String::from("ID\tCREATED\tOBJECT\tTRIGGER\tTO\tOUTCOME\tATTEMPTS\tREASON\n");
    for entry in entries {
        let notice = &entry.notice;
        let to = format!("{}:{}", notice.service, notice.recipient);
        let _ = writeln!(
            text,
            "{}\t{:.0}\t{}/{}\t{}\t{}\t{}\t{}\t{}",
            cell(&notice.id),
            notice.created,
            notice.object.namespace,
            notice.object.name,
            cell(&notice.trigger),
            cell(&to),
            entry.outcome,
            entry.attempts,
            cell(entry.reason.as_deref().unwrap_or_default()),
        );
    }
    table::align(&text).lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn whole(entry: &HistoryEntry) -> String {
    let notice = &entry.notice;
    let mut text = format!(
        "id:        {}\nobject:    {} {}/{}\ntrigger:   {}\nto:        {}:{}\ncreated:   {}\noutcome:   {}\nattempts:  {}\n",
        notice.id,
        notice.object.kind,
        notice.object.namespace,
        notice.object.name,
        notice.trigger,
        notice.service,
        notice.recipient,
        notice.created,
        entry.outcome,
        entry.attempts,
    );
    if let Some(at) = entry.finished {
        let _ = writeln!(text, "finished:  {at}");
    }
    if let Some(reason) = &entry.reason {
        let _ = writeln!(text, "reason:    {reason}");
    }
    if let Some(answer) = &entry.answer {
        let _ = writeln!(text, "answer:    {answer}");
    }
    for attempt in &entry.failures {
        let _ = writeln!(text, "failed:    {} {}: {}", attempt.at, attempt.reason, attempt.answer);
    }
    match crate::pipeline::payload::read(&notice.payload) {
        Ok(content) => {
            let shown = herald_services::services::console::print(&content);
            let _ = writeln!(text, "content:");
            for line in shown.lines() {
                let _ = writeln!(text, "  {line}");
            }
        }
        Err(missing) => {
            let _ = writeln!(text, "content:   {missing}");
        }
    }
    text
}
