//! Configuration: triggers, templates, services, with what is wrong on the line where it stands.

use std::sync::Arc;

use axum::{
    Extension,
    extract::State,
    response::{IntoResponse as _, Response},
};
use maud::{Markup, html};

use super::{encoded, page as whole, state};
use crate::ui::{
    Ui,
    backend::{Configuration, Entry, Finding},
    guard::Visitor,
};

/// The groups of entries, in order.
const GROUPS: [(&str, &str); 4] =
    [("trigger", "Triggers"), ("template", "Templates"), ("service", "Services"), ("other", "Other keys")];

pub(in crate::ui) async fn page(
    State(ui): State<Arc<Ui>>,
    Extension(visitor): Extension<Visitor>,
) -> Response {
    match ui.backend.configuration().await {
        Ok(found) => whole("Configuration", "/configuration", &visitor, &content(&found)).into_response(),
        Err(fault) => super::broken(&fault),
    }
}

fn content(found: &Configuration) -> Markup {
    let count = |severity: &str| found.findings.iter().filter(|one| one.severity == severity).count();
    let (errors, warnings) = (count("error"), count("warning"));
    let known = |finding: &&Finding| found.entries.iter().any(|entry| entry.key == finding.key);
    html! {
        div.bar {
            h1 { "Configuration" }
            @if errors > 0 { (state("error")) span.muted { (errors) } }
            @if warnings > 0 { (state("warning")) span.muted { (warnings) } }
            @if errors + warnings == 0 { (state("good")) }
        }
        p.muted { @if found.object.is_empty() { "The built-in catalog; there is no ConfigMap." } @else { (found.object) }
            @if let Some(file) = &found.file { " in " code { (file) } } }
        @for finding in found.findings.iter().filter(|one| !known(one)) { (message(finding)) }
        @for (group, title) in GROUPS {
            @let own: Vec<&Entry> = found.entries.iter().filter(|one| one.group == group && !one.built_in).collect();
            @let built_in: Vec<&Entry> = found.entries.iter().filter(|one| one.group == group && one.built_in).collect();
            @if !own.is_empty() || !built_in.is_empty() {
                section.group aria-labelledby={ "group-" (group) } {
                    h2 id={ "group-" (group) } { (title) }
                    @for one in own { (entry(one, &found.findings)) }
                    @if !built_in.is_empty() {
                        details.builtin {
                            summary { (built_in.len()) " built in" }
                            @for one in built_in { (entry(one, &found.findings)) }
                        }
                    }
                }
            }
        }
    }
}

fn entry(entry: &Entry, findings: &[Finding]) -> Markup {
    let about: Vec<&Finding> = findings.iter().filter(|one| one.key == entry.key).collect();
    let worst =
        ["error", "warning", "note"].into_iter().find(|word| about.iter().any(|one| one.severity == *word));
    html! {
        details.entry open[worst.is_some_and(|word| word != "note")] {
            summary {
                code.key { (entry.key) }
                @if let Some(worst) = worst { (state(worst)) }
            }
            (source(&entry.source, &about))
            @if let Some(name) = entry.key.strip_prefix("template.") {
                a.action href={ "/preview?template=" (encoded(name)) } { "Preview " (name) }
            }
        }
    }
}

/// A text with what is wrong below the line that it is about.
pub(super) fn source(text: &str, findings: &[&Finding]) -> Markup {
    html! {
        div.source tabindex="0" role="region" aria-label="Source" {
            @for finding in findings.iter().filter(|one| one.line == 0) { (message(finding)) }
            @if findings.is_empty() { pre { code { (text) } } }
            @else { @for (number, line) in (1_u32..).zip(text.lines()) {
                @let here: Vec<_> = findings.iter().filter(|one| one.line == number).collect();
                div.line.marked[!here.is_empty()] { span.ln aria-hidden="true" { (number) } code { (line) } }
                @for finding in here {
                    @if finding.column > 0 && finding.column < 200 {
                        div.caret aria-hidden="true" { span.ln {} code { (" ".repeat(usize::try_from(finding.column - 1).unwrap_or(0))) "^" } }
                    }
                    (message(finding))
                }
            } }
        }
    }
}

/// A finding.
pub(super) fn message(finding: &Finding) -> Markup {
    html! {
        p class={ "finding " (finding.severity) } {
            (state(&finding.severity)) " " code { (finding.code) } " " (finding.message)
            @if let Some(hint) = &finding.hint { span.hint { (hint) } }
        }
    }
}
