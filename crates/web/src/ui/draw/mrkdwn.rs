//! Slack's text format, by lines: code blocks, quotes, lists.

use maud::{Markup, html};

use super::inline::{Dialect, inline};

/// A text of mrkdwn.
pub fn mrkdwn(text: &str) -> Markup {
    html! {
        @for (index, part) in text.split("```").enumerate() {
            // Every second part stands between fences.
            @if index % 2 == 1 { pre { (part.trim_start_matches('\n')) } }
            @else { (lines(part, Dialect::Slack)) }
        }
    }
}

/// The lines of a text, with quotes and lists.
pub(super) fn lines(text: &str, dialect: Dialect) -> Markup {
    let last = text.lines().count().saturating_sub(1);
    html! {
        @for (index, line) in text.lines().enumerate() {
            @let quote = line.strip_prefix("&gt;").or_else(|| line.strip_prefix('>'));
            @let item = line.trim_start().strip_prefix("- ").or_else(|| line.trim_start().strip_prefix("• "));
            @if let Some(quote) = quote { blockquote { (inline(quote.trim_start(), dialect)) } }
            @else if let Some(item) = item { span.item { "• " (inline(item, dialect)) } @if index < last { br; } }
            @else { (inline(line, dialect)) @if index < last { br; } }
        }
    }
}
