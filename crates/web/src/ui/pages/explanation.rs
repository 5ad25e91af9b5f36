//! Why something was sent, or not.

use herald_core::explain::{Answer, Explanation, Passage};
use maud::{Markup, html};

use super::{ago, encoded, state};

/// An explanation: what needs somebody first.
pub(super) fn explanation(explanation: &Explanation) -> Markup {
    let mut answers: Vec<&Answer> = explanation.answers.iter().collect();
    answers.sort_by_key(|answer| std::cmp::Reverse(answer.verdict));
    html! {
        @if let Some(namespace) = &explanation.configuration {
            p.muted { "By the configuration of namespace " b { (namespace) } ":" }
        }
        @for finding in &explanation.findings {
            p.finding {
                (state(&finding.severity)) " " code { (finding.code) } " " (finding.message)
                @if !finding.key.is_empty() { span.muted { " in " code { (finding.key) } } }
                @if let Some(hint) = &finding.hint { span.hint { (hint) } }
            }
        }
        @for event in &explanation.happened {
            p.event { span.muted { "Happened: " } b { (event.reason) } " " (event.message) }
        }
        @if answers.is_empty() && explanation.advice.is_empty() { p.empty { "Nobody is subscribed." } }
        @for advice in &explanation.advice { p.advice { (advice) } }
        div.answers { @for one in answers { (answer(one, false)) } }
    }
}

/// The answer for one subscription and condition.
pub(super) fn answer(answer: &Answer, open: bool) -> Markup {
    html! {
        details.answer open[open] {
            summary {
                (state(answer.verdict.word()))
                span.what {
                    b { (answer.trigger) }
                    @if answer.conditions > 1 && let Some(index) = answer.condition { span.muted { " condition " (index + 1) } }
                    " → " (answer.to)
                }
                span.sentence { (answer.sentence) }
            }
            div.body {
                p.muted { "From " (answer.from)
                    @if !answer.description.is_empty() { ". " (answer.description) } }
                ol.gates { @for passage in &answer.gates { (gate(passage)) } }
                @if let Some(delivery) = &answer.delivery {
                    p { "Notice " a href={ "/deliveries/" (encoded(&delivery.id)) } { code { (delivery.id) } }
                        ", due " (ago(&delivery.created)) ", " (delivery.attempts) " tries" }
                }
            }
        }
    }
}

fn gate(passage: &Passage) -> Markup {
    html! {
        li class=(if passage.passed { "passed" } else { "stopped" }) {
            b { (passage.gate.title()) }
            span.hidden { @if passage.passed { ": yes. " } @else { ": no. " } }
            span.detail { (passage.detail) }
            @if !passage.values.is_empty() {
                dl.values { @for part in &passage.values { dt { code { (part.text) } } dd { code { (part.value) } } } }
            }
            @for hint in &passage.hints { span.hint { (hint) } }
        }
    }
}
