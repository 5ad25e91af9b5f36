//! The pages. Each file draws one; what several draw is here.

pub(super) mod configuration;
pub(super) mod delivery;
pub(super) mod explanation;
pub(super) mod login;
pub(super) mod now;
pub(super) mod preview;
pub(super) mod rollouts;

use axum::{
    http::{StatusCode, Uri},
    response::{IntoResponse as _, Response},
};
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, html};

use super::{backend::Fault, guard::Visitor, problem};

/// The pages of the navigation: path, word and the key that goes there after `g`.
const PAGES: [(&str, &str, &str); 4] = [
    ("/", "Now", "n"),
    ("/rollouts", "Rollouts", "r"),
    ("/configuration", "Configuration", "c"),
    ("/preview", "Preview", "p"),
];

/// A whole page.
pub(super) fn page(title: &str, at: &str, visitor: &Visitor, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                @if let Some(csrf) = &visitor.csrf { meta name="csrf" content=(csrf); }
                title { (title) " · Herald" }
                link rel="icon" href="/assets/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/assets/page.css";
                link rel="stylesheet" href="/assets/drawings.css";
                script type="module" src="/assets/page.js" {}
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                header.top {
                    a.brand href="/" { (mark()) span { "Herald" } }
                    nav aria-label="Pages" {
                        @for (path, word, key) in PAGES {
                            a href=(path) data-key=(key) aria-current=[(path == at).then_some("page")] { (word) }
                        }
                    }
                    span.live data-live role="status" {}
                    (account(visitor))
                }
                main #main tabindex="-1" { (content) }
                dialog #keys aria-labelledby="keys-title" {
                    h2 #keys-title { "Keys" }
                    dl.keys {
                        @for (keys, what) in [
                            ("g n · g r · g c · g p", "Now, Rollouts, Configuration, Preview"),
                            ("j · k", "next, previous row"),
                            ("Enter", "open the row"),
                            ("/", "filter"),
                            ("?", "this list"),
                        ] { dt { kbd { (keys) } } dd { (what) } }
                    }
                    form method="dialog" { button { "Close" } }
                }
            }
        }
    }
}

fn mark() -> Markup {
    html! {
        svg viewBox="0 0 24 24" width="20" height="20" aria-hidden="true" {
            path fill="currentColor" d="M3 10v4h3l8 5V5l-8 5H3zm14-1.5v7c1.5-.6 2.5-1.9 2.5-3.5s-1-2.9-2.5-3.5z" {}
        }
    }
}

fn account(visitor: &Visitor) -> Markup {
    html! {
        @if visitor.csrf.is_some() {
            form.account method="post" action="/logout" { button.quiet { "Log out" } }
        } @else if visitor.changeable {
            a.account href="/login" { "Log in" }
        } @else {
            span.account.muted title="Start with --ui-token-file to resend and drop" { "Read only" }
        }
    }
}

/// A page that only says something.
pub(super) fn plain(title: &str, text: &str) -> Markup {
    let content = html! { section.lone { h1 { (title) } p { (text) } p { a href="/" { "Back to Now" } } } };
    page(title, "", &Visitor::default(), &content)
}

/// A page for what is not there.
pub(super) async fn missing(uri: Uri) -> Response {
    if uri.path().starts_with("/api/") {
        return problem(StatusCode::NOT_FOUND, "there is no such path");
    }
    (StatusCode::NOT_FOUND, plain("Not here", "There is no such page.")).into_response()
}

/// A page for what failed.
pub(super) fn broken(fault: &Fault) -> Response {
    let (status, title) = match fault {
        Fault::Asked(_) => (StatusCode::BAD_REQUEST, "This did not work"),
        // Nothing is wrong: a moment later it is there.
        Fault::Early(_) => (StatusCode::OK, "Not yet"),
        Fault::Broken(_) => (StatusCode::INTERNAL_SERVER_ERROR, "This did not work"),
    };
    (status, plain(title, &fault.to_string())).into_response()
}

/// A moment: how long ago, with the exact time at hand.
pub(super) fn ago(time: &str) -> Markup {
    let text = time
        .parse::<Timestamp>()
        .map_or_else(|_| time.to_owned(), |at| span_text(Timestamp::now().duration_since(at).as_secs()));
    html! { time datetime=(time) title=(exact(time)) { (text) } }
}

/// A time of the day, as people read it.
fn exact(time: &str) -> String {
    time.parse::<Timestamp>()
        .map_or_else(|_| time.to_owned(), |at| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
}

fn span_text(seconds: i64) -> String {
    match seconds {
        ..5 => "now".into(),
        5..60 => format!("{seconds} s ago"),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..86_400 => format!("{} h ago", seconds / 3600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

/// Milliseconds, as people read them.
pub(super) fn took(milliseconds: u64) -> String {
    match milliseconds {
        0..1000 => format!("{milliseconds} ms"),
        1000..60_000 => format!("{:.1} s", std::time::Duration::from_millis(milliseconds).as_secs_f64()),
        _ => format!("{} min", milliseconds / 60_000),
    }
}

/// A word with its colour: never the colour alone.
pub(super) fn state(word: &str) -> Markup {
    let tone = match word {
        "delivered" | "good" | "told" | "Healthy" | "done" => "good",
        "dead-letter" | "broken" | "wrong" | "Degraded" | "error" | "failing" => "bad",
        "pending" | "queued" | "due" | "waiting" | "Progressing" | "current" => "wait",
        "Paused" | "muted" | "warning" => "warn",
        _ => "calm",
    };
    let said = match word {
        "dead-letter" => "dead letter",
        "" => "unknown",
        word => word,
    };
    html! { span class={ "state " (tone) } { (said) } }
}

/// A link to a Rollout.
pub(super) fn rollout_link(namespace: &str, name: &str) -> Markup {
    html! {
        a.object href={ "/rollouts/" (encoded(namespace)) "/" (encoded(name)) } {
            @if !namespace.is_empty() { span.muted { (namespace) "/" } } (name)
        }
    }
}

/// A part of a path.
pub(super) fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// To whom.
pub(super) fn destination(service: &str, recipient: &str) -> Markup {
    html! { span.to { b { (service) } @if !recipient.is_empty() { span.muted { ":" } (recipient) } } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_never_markup() {
        let text = state("<script>alert(1)</script>").into_string();
        assert!(!text.contains("<script"), "{text}");
        assert_eq!(encoded("a/b c\"ü"), "a%2Fb%20c%22%C3%BC");
        assert_eq!((took(999), took(1500), took(61_000)), ("999 ms".into(), "1.5 s".into(), "1 min".into()));
    }
}
