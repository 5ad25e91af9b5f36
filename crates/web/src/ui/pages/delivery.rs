//! One delivery: what it says, each attempt, why it was sent.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use maud::{Markup, html};

use super::{
    ago, destination, encoded, exact, explanation::answer, page as whole, plain, preview, rollout_link,
    state, took,
};
use crate::ui::{
    Ui,
    backend::{Detail, View},
    guard::Visitor,
};

pub(in crate::ui) async fn page(
    State(ui): State<Arc<Ui>>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
) -> Response {
    let found = match ui.backend.delivery(&id).await {
        Ok(Some(found)) => found,
        Ok(None) => {
            let text = "There is no such delivery. History is kept for two weeks.";
            return (StatusCode::NOT_FOUND, plain("Not here", text)).into_response();
        }
        Err(fault) => return super::broken(&fault),
    };
    whole("Delivery", "", &visitor, &content(&ui, &found, &visitor)).into_response()
}

fn content(ui: &Ui, found: &Detail, visitor: &Visitor) -> Markup {
    let delivery = &found.delivery;
    html! {
        p.crumb { a href="/" { "Now" } }
        div #delivery data-region data-refresh=(delivery.id) {
            div.bar {
                h1 { (delivery.trigger) " → " (destination(&delivery.service, &delivery.recipient)) }
                (state(&delivery.outcome))
            }
            div.split {
                dl.facts {
                    dt { "Rollout" } dd { (rollout_link(&delivery.namespace, &delivery.name)) }
                    dt { "Due" } dd { (ago(&delivery.created)) " " span.muted { (exact(&delivery.created)) } }
                    @if let Some(finished) = &delivery.finished { dt { "Done" } dd { (ago(finished)) " " span.muted { (exact(finished)) } } }
                    dt { "Id" } dd { code { (delivery.id) } }
                }
                (changes(found, visitor))
            }
            section aria-labelledby="attempts" { h2 #attempts { "Attempts" } (attempts(found)) }
        }
        section aria-label="What it says" {
            @match (&found.content, &found.missing) {
                (Some(content), _) => {
                    @let view = View {
                        service_type: found.service_type.clone(), content: Some(content.clone()),
                        requests: found.requests.clone(), ..View::default()
                    };
                    (preview::view(ui, &view))
                }
                (None, Some(missing)) => { p.problem { "There is nothing to deliver: " (missing) } }
                (None, None) => { p.empty { "What it says is not kept." } }
            }
        }
        section aria-labelledby="why" {
            h2 #why { "Why it was sent" }
            @match &found.why {
                Some(why) => { (answer(why, true)) }
                None => { p.empty { "Nothing was kept about it." } }
            }
        }
    }
}

fn changes(found: &Detail, visitor: &Visitor) -> Markup {
    let delivery = &found.delivery;
    let droppable = matches!(delivery.outcome.as_str(), "pending" | "dead-letter");
    let form = |what: &str, word: &str, csrf: &str| {
        html! {
            form method="post" action="/change" data-change=(what) data-id=(delivery.id) {
                input type="hidden" name="csrf" value=(csrf);
                input type="hidden" name="id" value=(delivery.id);
                input type="hidden" name="what" value=(what);
                input type="hidden" name="back" value={ "/deliveries/" (encoded(&delivery.id)) };
                button.primary[what == "resend"] .danger[what == "drop"] { (word) }
            }
        }
    };
    html! {
        div.changes {
            @if let Some(csrf) = &visitor.csrf {
                @if delivery.outcome != "pending" { (form("resend", "Send again", csrf)) }
                @if droppable { (form("drop", "Drop", csrf)) }
            } @else if visitor.changeable {
                a.button href="/login" { "Log in to send again" @if droppable { " or drop" } }
            }
            p.problem data-problem hidden role="alert" {}
        }
    }
}

fn attempts(found: &Detail) -> Markup {
    let delivery = &found.delivery;
    html! {
        @if found.failures.is_empty() && delivery.outcome != "delivered" {
            p.empty { @if delivery.outcome == "pending" { "It waits for its first attempt." } @else { "There was none." }
                @if let Some(reason) = &delivery.reason { " " (reason) } }
        }
        ol.attempts {
            @for attempt in &found.failures {
                li.failed {
                    (state("failing")) " " (ago(&attempt.at)) " " span.muted { (exact(&attempt.at)) ", took " (took(attempt.took_ms)) }
                    p { b { (attempt.reason) } " " (attempt.answer) }
                }
            }
            @if delivery.outcome == "delivered" {
                li.delivered {
                    (state("delivered")) " "
                    @if let Some(finished) = &delivery.finished { (ago(finished)) " " span.muted { (exact(finished)) } }
                    @if let Some(ms) = delivery.took_ms { span.muted { ", took " (took(ms)) } }
                    p { (delivery.answer.as_deref().unwrap_or_default()) }
                }
            }
        }
    }
}
