//! Explanations for people.

use std::fmt::Write as _;

use herald_core::{
    diagnostic::codes,
    explain::{Answer, Explanation, Finding, Passage, Source, Verdict},
};

use crate::{style, table};

/// How much is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    /// One line for each answer.
    Brief,
    /// All gates.
    Full,
}

/// An explanation as text, with colours.
pub(crate) fn text(explanation: &Explanation, length: Length) -> String {
    let mut out = String::new();
    let about = match explanation.decision {
        Some(number) => format!(", decision {number} of {}", second(&explanation.at)),
        None => String::new(),
    };
    let object = clean(&self::about(explanation));
    let _ = writeln!(out, "{}{about}: {}", style::bold(&object), summary(explanation));
    if !explanation.happened.is_empty() {
        let mut reasons: Vec<(&str, usize)> = Vec::new();
        for event in &explanation.happened {
            match reasons.iter_mut().find(|(reason, _)| *reason == event.reason) {
                Some((_, count)) => *count += 1,
                None => reasons.push((&event.reason, 1)),
            }
        }
        let times = |count: usize| if count > 1 { format!(" ×{count}") } else { String::new() };
        let reasons: Vec<String> =
            reasons.iter().map(|(reason, count)| format!("{}{}", clean(reason), times(*count))).collect();
        let _ = writeln!(out, "  {}", style::dim(&format!("happened: {}", reasons.join(", "))));
    }
    // What needs somebody comes first.
    let mut answers: Vec<&Answer> = explanation.answers.iter().collect();
    answers.sort_by_key(|answer| std::cmp::Reverse(answer.verdict));
    for finding in explanation.findings.iter().filter(|finding| !is_told(finding, &answers)) {
        tell_finding(finding, &mut out);
    }
    for answer in answers {
        tell(answer, length, &mut out);
    }
    for advice in &explanation.advice {
        for (number, line) in advice.lines().enumerate() {
            let _ = writeln!(out, "{}{}", if number == 0 { "  " } else { "    " }, clean(line));
        }
    }
    out
}

/// The object, and whose configuration it is about, where that is not the controller's.
pub(crate) fn about(explanation: &Explanation) -> String {
    match &explanation.configuration {
        Some(namespace) => format!("{} by the configuration of namespace {namespace}", explanation.object),
        None => explanation.object.to_string(),
    }
}

/// How many of which.
pub(crate) fn summary(explanation: &Explanation) -> String {
    let all = [
        Verdict::Wrong,
        Verdict::Muted,
        Verdict::Queued,
        Verdict::Due,
        Verdict::Waiting,
        Verdict::Told,
        Verdict::Quiet,
    ];
    let mut parts: Vec<String> = Vec::new();
    for verdict in all {
        let count = explanation.answers.iter().filter(|answer| answer.verdict == verdict).count();
        if count > 0 {
            parts.push(style::verdict(verdict, &format!("{count} {}", verdict.word())));
        }
    }
    let unread = explanation.findings.iter().filter(|finding| finding.code == codes::NEAR_MISS).count();
    if unread > 0 {
        let what = if unread == 1 { "1 annotation is not read" } else { "annotations are not read" };
        let what = if unread == 1 { what.to_owned() } else { format!("{unread} {what}") };
        parts.push(style::verdict(Verdict::Wrong, &what));
    }
    // What makes it wrong as a whole is never left out of the first line.
    let is_said = unread > 0 || explanation.answers.iter().any(|answer| answer.verdict == Verdict::Wrong);
    if explanation.verdict == Verdict::Wrong && !is_said {
        let count = explanation.findings.len();
        let what = if count == 1 { "1 mistake".to_owned() } else { format!("{count} mistakes") };
        parts.insert(0, style::verdict(Verdict::Wrong, &what));
    }
    if explanation.answers.is_empty() {
        parts.insert(0, "no subscription".to_owned());
    }
    parts.join(", ")
}

/// Whether a gate says it, too.
fn is_told(finding: &Finding, answers: &[&Answer]) -> bool {
    let named = finding.code == codes::UNKNOWN_TRIGGER || finding.code == codes::UNKNOWN_SERVICE;
    named
        && answers.iter().any(|answer| {
            answer.verdict == Verdict::Wrong
                && matches!(&answer.from, Source::Annotation(key) if *key == finding.key)
        })
}

fn tell_finding(finding: &Finding, out: &mut String) {
    let mark = style::verdict(Verdict::Wrong, "!");
    let key = clean(&finding.key);
    let _ = writeln!(out, "\n{mark} {}", style::bold(&key));
    let _ = writeln!(out, "  {} [{}]", clean(&finding.message), finding.code);
    if let Some(hint) = &finding.hint {
        let _ = writeln!(out, "    help: {}", clean(hint));
    }
}

fn tell(answer: &Answer, length: Length, out: &mut String) {
    let which = match answer.condition {
        Some(index) if answer.conditions > 1 => format!("[{index}]"),
        _ => String::new(),
    };
    let head = format!("{}{which} → {}", answer.trigger, answer.to);
    let mark = match answer.verdict {
        Verdict::Wrong => "✗",
        Verdict::Due | Verdict::Told => "✓",
        _ => "·",
    };
    let mark = style::verdict(answer.verdict, mark);
    if length == Length::Brief {
        let _ = writeln!(out, "{mark} {}  {}", clean(&head), clean(&answer.sentence));
        return;
    }
    let description =
        if answer.description.is_empty() { String::new() } else { format!("  {}", answer.description) };
    let _ = writeln!(out, "\n{mark} {}{}", style::bold(&clean(&head)), style::dim(&clean(&description)));
    for line in answer.sentence.lines() {
        let _ = writeln!(out, "  {}", clean(line));
    }
    for passage in &answer.gates {
        gate(answer, passage, out);
    }
}

/// As wide as the longest title.
const WIDTH: usize = 18;

fn gate(answer: &Answer, passage: &Passage, out: &mut String) {
    let mark = match (passage.passed, answer.verdict) {
        (true, _) => style::good("✓"),
        (false, verdict) => style::verdict(verdict, "✗"),
    };
    let title = format!("{:WIDTH$}", passage.gate.title());
    let title = if passage.passed { style::dim(&title) } else { title };
    let indent = WIDTH + 8;
    for (number, line) in passage.detail.lines().enumerate() {
        let line = clean(line);
        let _ = match number {
            0 => writeln!(out, "    {mark} {title}  {line}"),
            _ => writeln!(out, "{:indent$}{line}", ""),
        };
    }
    if !passage.values.is_empty() {
        let rows: String = passage
            .values
            .iter()
            .map(|part| format!("{}\tis {}\n", clean(&part.text), clean(&part.value)))
            .collect();
        for line in table::align(&rows).lines() {
            let _ = writeln!(out, "{:indent$}{}", "", line.trim_end());
        }
    }
    for hint in &passage.hints {
        for (number, line) in hint.lines().enumerate() {
            let lead = if number == 0 { "→ " } else { "  " };
            let _ = writeln!(out, "{:indent$}{}", "", style::dim(&format!("{lead}{}", clean(line))));
        }
    }
}

/// A time without its fraction.
pub(crate) fn second(at: &str) -> String {
    at.parse::<jiff::Timestamp>().map_or_else(|_| at.to_owned(), |at| format!("{at:.0}"))
}

/// What objects and templates hold must not steer the terminal.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { ' ' } else { c }).collect()
}
