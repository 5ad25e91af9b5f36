//! A message of Slack: blocks, then attachments; the text alone where there are no blocks.

use maud::{Markup, html};
use serde_json::Value;

use super::{DEEPEST, bar, items, link, mrkdwn, picture, text, unknown};

/// A message with its section of a notification.
pub fn slack(message: &str, section: &Value) -> Markup {
    let blocks = list(section, "blocks");
    let attachments = list(section, "attachments");
    html! {
        div.message {
            span.avatar aria-hidden="true" {}
            div.said {
                p.who { b { (text(section, "username").unwrap_or("Herald")) } span.app { "APP" } }
                @if blocks.is_empty() && !message.is_empty() { div.text { (mrkdwn(message)) } }
                @for one in &blocks { (block(one, 0)) }
                @for one in &attachments { (attachment(one)) }
                @if blocks.is_empty() && attachments.is_empty() && message.is_empty() {
                    p.problem { "Slack refuses a message without text, blocks and attachments." }
                }
            }
        }
    }
}

/// A field of JSON text, in the forms that Slack's tools write.
fn list(section: &Value, field: &str) -> Vec<Value> {
    let parsed = text(section, field).and_then(|text| serde_json::from_str::<Value>(text).ok());
    match parsed {
        Some(Value::Array(items)) => items,
        Some(Value::Object(mut map)) => match map.remove(field) {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// A text object, or a text.
fn words(value: Option<&Value>) -> Markup {
    match value {
        Some(Value::String(text)) => mrkdwn(text),
        Some(object) if object["type"] == "plain_text" => {
            html! { (text(object, "text").unwrap_or_default()) }
        }
        Some(object) => mrkdwn(text(object, "text").unwrap_or_default()),
        None => html! {},
    }
}

fn block(block: &Value, depth: usize) -> Markup {
    if depth > DEEPEST {
        return html! {};
    }
    match text(block, "type").unwrap_or_default() {
        "header" => html! { p.header { (words(block.get("text"))) } },
        "divider" => html! { hr; },
        "section" => html! {
            div.section {
                div.text {
                    (words(block.get("text")))
                    @if !items(block, "fields").is_empty() {
                        div.fields { @for field in items(block, "fields") { div { (words(Some(field))) } } }
                    }
                }
                @if let Some(accessory) = block.get("accessory") { div.accessory { (element(accessory)) } }
            }
        },
        "context" => html! { div.context { @for one in items(block, "elements") { (element(one)) " " } } },
        "actions" => html! { div.actions { @for one in items(block, "elements") { (element(one)) } } },
        "image" => html! {
            @if let Some(title) = block.get("title") { p.muted { (words(Some(title))) } }
            (picture(text(block, "alt_text").unwrap_or_default(), text(block, "image_url").unwrap_or_default()))
        },
        "rich_text" => html! { div.text { @for one in items(block, "elements") { (rich(one, depth + 1)) } } },
        "markdown" => {
            html! { div.text { (super::inline::inline(text(block, "text").unwrap_or_default(), super::inline::Dialect::Markdown)) } }
        }
        other => unknown(other),
    }
}

fn rich(part: &Value, depth: usize) -> Markup {
    if depth > DEEPEST {
        return html! {};
    }
    let inner = || html! { @for one in items(part, "elements") { (rich(one, depth + 1)) } };
    let style = |name: &str| part.pointer(&format!("/style/{name}")) == Some(&Value::Bool(true));
    match text(part, "type").unwrap_or_default() {
        "rich_text_section" => html! { p { (inner()) } },
        "rich_text_list" => {
            html! { ul { @for one in items(part, "elements") { li { (rich(one, depth + 1)) } } } }
        }
        "rich_text_quote" => html! { blockquote { (inner()) } },
        "rich_text_preformatted" => html! { pre { (inner()) } },
        "link" => {
            let url = text(part, "url").unwrap_or_default();
            link(url, &html! { (text(part, "text").unwrap_or(url)) })
        }
        "emoji" => mrkdwn(&format!(":{}:", text(part, "name").unwrap_or_default())),
        "user" => html! { span.mention { "@" (text(part, "user_id").unwrap_or_default()) } },
        "channel" => html! { span.mention { "#" (text(part, "channel_id").unwrap_or_default()) } },
        "broadcast" => html! { span.mention { "@" (text(part, "range").unwrap_or_default()) } },
        "text" => {
            let words = text(part, "text").unwrap_or_default();
            html! {
                @if style("code") { code { (words) } }
                @else if style("bold") { b { (words) } }
                @else if style("italic") { i { (words) } }
                @else if style("strike") { s { (words) } }
                @else { (words) }
            }
        }
        other => unknown(other),
    }
}

fn element(element: &Value) -> Markup {
    match text(element, "type").unwrap_or_default() {
        "mrkdwn" | "plain_text" => words(Some(element)),
        "image" => picture(
            text(element, "alt_text").unwrap_or_default(),
            text(element, "image_url").unwrap_or_default(),
        ),
        "button" => html! {
            span class={ "button " (text(element, "style").unwrap_or_default()) } { (words(element.get("text"))) }
        },
        _ if element.get("placeholder").is_some() => html! {
            span.button { (words(element.get("placeholder"))) " ▾" }
        },
        other => unknown(other),
    }
}

fn attachment(attachment: &Value) -> Markup {
    let field = |name: &str| text(attachment, name);
    html! {
        @if let Some(pretext) = field("pretext") { div.text { (mrkdwn(pretext)) } }
        div.attachment {
            (bar(field("color").unwrap_or("#dddddd")))
            div.inside {
                @if let Some(author) = field("author_name") { p.muted { (author) } }
                @if let Some(title) = field("title") {
                    p.title { (link(field("title_link").unwrap_or_default(), &html! { (title) })) }
                }
                @if let Some(words) = field("text") { div.text { (mrkdwn(words)) } }
                @if !items(attachment, "fields").is_empty() {
                    div.fields {
                        @for one in items(attachment, "fields") {
                            div.wide[one["short"] != true] {
                                b { (text(one, "title").unwrap_or_default()) } br;
                                @match &one["value"] { Value::String(value) => { (mrkdwn(value)) } Value::Null => {} other => { (other) } }
                            }
                        }
                    }
                }
                @for one in items(attachment, "blocks") { (block(one, 1)) }
                @if let Some(image) = field("image_url").or(field("thumb_url")) { (picture("", image)) }
                @if !items(attachment, "actions").is_empty() {
                    div.actions { @for one in items(attachment, "actions") { span.button { (text(one, "text").unwrap_or_default()) } } }
                }
                @if let Some(footer) = field("footer") { p.muted { (footer) } }
            }
        }
    }
}
