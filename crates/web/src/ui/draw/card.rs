//! MessageCards: what Office 365 connectors took.

use maud::{Markup, html};
use serde_json::Value;

use super::{
    bar,
    inline::{Dialect, inline},
    items, link, mrkdwn, text,
};

/// A card.
pub fn message_card(card: &Value) -> Markup {
    html! {
        div.messagecard {
            (bar(text(card, "themeColor").unwrap_or("#0072c6")))
            div.inside {
                @if let Some(title) = text(card, "title") { p.title { (inline(title, Dialect::Markdown)) } }
                @if let Some(words) = text(card, "text") { div.text { (mrkdwn::lines(words, Dialect::Markdown)) } }
                @for section in items(card, "sections") { (part(section)) }
                (buttons(items(card, "potentialAction")))
            }
        }
    }
}

fn part(section: &Value) -> Markup {
    let line = |field: &str, class: &str| {
        html! { @if let Some(words) = text(section, field) { div class=(class) { (mrkdwn::lines(words, Dialect::Markdown)) } } }
    };
    html! {
        div.part.separated[section["startGroup"] == true] {
            (line("title", "title"))
            (line("activityTitle", "title"))
            (line("activitySubtitle", "muted"))
            (line("activityText", "text"))
            (line("text", "text"))
            @if !items(section, "facts").is_empty() {
                table.ac-facts { tbody { @for fact in items(section, "facts") {
                    tr {
                        th scope="row" { (text(fact, "name").unwrap_or_default()) }
                        td { @match &fact["value"] {
                            Value::String(value) => { (inline(value, Dialect::Markdown)) } Value::Null => {} other => { (other) }
                        } }
                    }
                } } }
            }
            (buttons(items(section, "potentialAction")))
        }
    }
}

fn buttons(all: &[Value]) -> Markup {
    html! {
        @if !all.is_empty() {
            div.ac-actions {
                @for one in all {
                    @let url = one.pointer("/targets/0/uri").and_then(Value::as_str).unwrap_or_default();
                    span.button { (link(url, &html! { (text(one, "name").unwrap_or_default()) })) }
                }
            }
        }
    }
}
