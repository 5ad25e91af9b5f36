//! Adaptive Cards, as the renderer of their makers draws them: the same elements in the same order.

use maud::{Markup, html};
use serde_json::Value;

use super::{
    DEEPEST,
    inline::{Dialect, inline},
    items, link, mrkdwn, picture, text, unknown,
};

/// A card.
pub fn adaptive_card(card: &Value) -> Markup {
    html! { div.adaptive { (body(card, 0)) } }
}

fn body(card: &Value, depth: usize) -> Markup {
    html! {
        @for one in items(card, "body") { (element(one, depth)) }
        (actions(items(card, "actions"), depth))
    }
}

fn word<'v>(value: &'v Value, field: &str) -> &'v str {
    text(value, field).unwrap_or_default()
}

/// The classes that spacing, size and the like are drawn by.
fn classes(value: &Value, kind: &str) -> String {
    const KNOWN: [(&str, &[&str]); 8] = [
        ("size", &["small", "default", "medium", "large", "extralarge"]),
        ("weight", &["lighter", "default", "bolder"]),
        ("color", &["default", "dark", "light", "accent", "good", "warning", "attention"]),
        ("spacing", &["none", "small", "default", "medium", "large", "extralarge", "padding"]),
        ("style", &["default", "emphasis", "good", "attention", "warning", "accent", "heading"]),
        ("horizontalAlignment", &["left", "center", "right"]),
        ("fontType", &["default", "monospace"]),
        ("width", &["auto", "stretch"]),
    ];
    let mut all = format!("ac-{kind}");
    for (field, words) in KNOWN {
        let wanted = word(value, field).to_ascii_lowercase();
        if words.contains(&wanted.as_str()) {
            all.push_str(&format!(" {field}-{wanted}"));
        }
    }
    for (field, class) in [("isSubtle", "subtle"), ("separator", "separated"), ("wrap", "wrap")] {
        if value.get(field) == Some(&Value::Bool(true)) {
            all.push(' ');
            all.push_str(class);
        }
    }
    all
}

fn element(value: &Value, depth: usize) -> Markup {
    if depth > DEEPEST || value.get("isVisible") == Some(&Value::Bool(false)) {
        return html! {};
    }
    let inner = |field: &str| html! { @for one in items(value, field) { (element(one, depth + 1)) } };
    match word(value, "type") {
        "TextBlock" => {
            let words = word(value, "text");
            html! { @if !words.is_empty() { div class=(classes(value, "text")) { (mrkdwn::lines(words, Dialect::Markdown)) } } }
        }
        "RichTextBlock" => html! {
            div class=(classes(value, "text")) {
                @for run in items(value, "inlines") {
                    @match run { Value::String(words) => { (words) } run => { (text_run(run)) } }
                }
            }
        },
        "FactSet" => html! {
            table.ac-facts { tbody { @for fact in items(value, "facts") {
                tr { th scope="row" { (inline(word(fact, "title"), Dialect::Markdown)) } td { (inline(word(fact, "value"), Dialect::Markdown)) } }
            } } }
        },
        "Container" => html! { div class=(classes(value, "container")) { (inner("items")) } },
        "ColumnSet" => html! {
            div class=(classes(value, "columns")) {
                @for column in items(value, "columns") {
                    @if column.get("isVisible") != Some(&Value::Bool(false)) {
                        div class={ (classes(column, "column")) " " (share(column)) } {
                            @for one in items(column, "items") { (element(one, depth + 1)) }
                        }
                    }
                }
            }
        },
        "Table" => html! {
            table.ac-table { tbody { @for row in items(value, "rows") {
                tr { @for cell in items(row, "cells") { td { @for one in items(cell, "items") { (element(one, depth + 1)) } } } }
            } } }
        },
        "ActionSet" => actions(items(value, "actions"), depth + 1),
        "Image" => picture(word(value, "altText"), word(value, "url")),
        "ImageSet" => {
            html! { div.ac-images { @for one in items(value, "images") { (picture(word(one, "altText"), word(one, "url"))) } } }
        }
        "CodeBlock" => html! { pre { (word(value, "codeSnippet")) } },
        other => match value.get("fallback") {
            Some(fallback @ Value::Object(_)) => element(fallback, depth + 1),
            Some(Value::String(drop)) if drop == "drop" => html! {},
            _ => unknown(other),
        },
    }
}

/// How much of the width a column takes, in steps.
fn share(column: &Value) -> String {
    let number = match column.get("width") {
        Some(Value::Number(number)) => number.as_u64(),
        Some(Value::String(text)) => text.parse().ok(),
        _ => None,
    };
    number
        .map(|number| {
            format!("share-{}", if number > 12 { number.div_ceil(10).min(12) } else { number.max(1) })
        })
        .unwrap_or_default()
}

fn text_run(run: &Value) -> Markup {
    let is = |field: &str| run.get(field) == Some(&Value::Bool(true));
    let words = html! {
        span class=(classes(run, "run")) {
            @if is("strikethrough") { s { (word(run, "text")) } }
            @else if is("italic") { i { (word(run, "text")) } }
            @else { (word(run, "text")) }
        }
    };
    match run.pointer("/selectAction/url").and_then(Value::as_str) {
        Some(url) => link(url, &words),
        None => words,
    }
}

/// The buttons, with the cards that some of them show.
fn actions(all: &[Value], depth: usize) -> Markup {
    if all.is_empty() || depth > DEEPEST {
        return html! {};
    }
    html! {
        div.ac-actions {
            @for action in all {
                @let title = html! { (word(action, "title")) };
                @match word(action, "type") {
                    "Action.OpenUrl" => { span.button { (link(word(action, "url"), &title)) } }
                    "Action.ShowCard" => {
                        details { summary.button { (title) } @if let Some(card) = action.get("card") { div.ac-shown { (body(card, depth + 1)) } } }
                    }
                    _ => { span.button { (title) } }
                }
            }
        }
    }
}
