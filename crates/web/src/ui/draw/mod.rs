//! What services show of a notification, drawn as they draw it, near enough to judge it by.
//!
//! All of it is made here, on the server, and nothing of it loads anything: pictures are shown by their names.

mod adaptive;
mod card;
mod inline;
mod mrkdwn;
mod slack;

use maud::{Markup, PreEscaped, html};
use serde_json::Value;

pub use self::{adaptive::adaptive_card, card::message_card, mrkdwn::mrkdwn, slack::slack};
use super::backend::{Content, View};

/// Nothing is drawn deeper than this.
const DEEPEST: usize = 24;

/// Keeps the HTML of a mail, and gives the path of the frame that shows it.
pub(super) type KeepMail<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The drawing of one service.
pub(super) fn draw(view: &View, content: &Content, keep: KeepMail<'_>) -> Markup {
    let section = content.sections.get(&view.service_type).unwrap_or(&Value::Null);
    match view.service_type.as_str() {
        "slack" => slack(&content.message, section),
        "teams" => sent(view).map_or_else(|| plain(&content.message), |body| message_card(&body)),
        "teams-workflows" => {
            let body = sent(view);
            let card = body.as_ref().and_then(|body| body.pointer("/attachments/0/content"));
            card.map_or_else(|| plain(&content.message), adaptive_card)
        }
        "email" => mail(&content.message, section, view, keep),
        "webhook" => plain(&content.message),
        _ => {
            let said =
                ["text", "message", "title", "summary", "body"].iter().find_map(|field| text(section, field));
            plain(said.filter(|_| content.message.is_empty()).unwrap_or(&content.message))
        }
    }
}

/// The body that would be sent.
fn sent(view: &View) -> Option<Value> {
    view.requests.iter().find_map(|request| serde_json::from_str(&request.body).ok())
}

fn text<'v>(value: &'v Value, field: &str) -> Option<&'v str> {
    value.get(field).and_then(Value::as_str).filter(|text| !text.is_empty())
}

fn items<'v>(value: &'v Value, field: &str) -> &'v [Value] {
    value.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn plain(message: &str) -> Markup {
    html! { @if message.is_empty() { p.empty { "It has no message of its own; see the request." } } @else { div.plain { (message) } } }
}

fn mail(message: &str, section: &Value, view: &View, keep: KeepMail<'_>) -> Markup {
    let body = text(section, "body").unwrap_or(message);
    // The service says whether its body is HTML; its words are among what would be sent.
    let is_html = view.requests.iter().any(|request| {
        request.headers.iter().any(|(name, value)| name == "Content-Type" && value.starts_with("text/html"))
    });
    let own = text(section, "html").or(is_html.then_some(body));
    html! {
        div.mail {
            p.subject { @match text(section, "subject") { Some(subject) => { (subject) } None => { span.muted { "(no subject)" } } } }
            @match own.map(keep) {
                Some(Some(path)) => { iframe src=(path) sandbox="" title="The mail" loading="lazy" {} }
                Some(None) => { p.problem { "The mail is too large to be shown." } }
                None => { div.plain { (body) } }
            }
        }
    }
}

/// A link that leads where it says, and nowhere else.
fn link(url: &str, content: &Markup) -> Markup {
    let good =
        ["http://", "https://", "mailto:"].iter().any(|scheme| url.to_ascii_lowercase().starts_with(scheme));
    html! {
        @if good { a href=(url) rel="noopener noreferrer nofollow" target="_blank" { (content) } } @else { (content) }
    }
}

/// A picture by its name.
fn picture(alt: &str, url: &str) -> Markup {
    let shown = if alt.is_empty() { url.rsplit('/').next().unwrap_or_default() } else { alt };
    html! { span.picture role="img" aria-label=(shown) { (shown) } }
}

/// A colour as a bar: an attribute of a drawing, as no page has styles of its own.
fn bar(color: &str) -> Markup {
    let hex = color.trim_start_matches('#');
    let named = match color {
        "good" => Some("#2eb67d"),
        "warning" => Some("#daa038"),
        "danger" => Some("#a30200"),
        _ => None,
    };
    let is_hex = matches!(hex.len(), 3 | 6) && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    let fill =
        named.map(str::to_owned).or_else(|| is_hex.then(|| format!("#{hex}"))).unwrap_or("#dddddd".into());
    let drawn = format!(
        "<svg class=\"colorbar\" width=\"4\" height=\"100%\" aria-hidden=\"true\"><rect width=\"4\" height=\"100%\" rx=\"2\" fill=\"{fill}\"/></svg>"
    );
    PreEscaped(drawn)
}

/// What is not drawn, said.
fn unknown(what: &str) -> Markup {
    html! { p.unknown { (if what.is_empty() { "element" } else { what }) " is not drawn here" } }
}
