//! Now: deliveries as they happen, what waits, how the services do.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{Query as Params, State, rejection::QueryRejection},
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use maud::{Markup, html};

use super::{ago, destination, encoded, page as whole, plain, rollout_link, state, took};
use crate::ui::{
    Ui,
    backend::{Delivery, Health, MOST_ROWS, Query, Queue},
    guard::Visitor,
};

/// Where deliveries can stand: the word of the data, and the one on the page.
const OUTCOMES: [(&str, &str); 6] = [
    ("pending", "Pending"),
    ("delivered", "Delivered"),
    ("dead-letter", "Dead letter"),
    ("dropped", "Dropped"),
    ("muted", "Muted"),
    ("grouped", "Grouped"),
];

pub(in crate::ui) async fn page(
    State(ui): State<Arc<Ui>>,
    Extension(visitor): Extension<Visitor>,
    query: Result<Params<Query>, QueryRejection>,
) -> Response {
    let Ok(Params(query)) = query else {
        return (
            StatusCode::BAD_REQUEST,
            plain("This did not work", "The address has a filter that can't be read."),
        )
            .into_response();
    };
    let backend = &ui.backend;
    let (rows, queue_now, health) =
        futures::join!(backend.deliveries(&query), backend.queue(), backend.services());
    let (rows, queue_now, health) = match (rows, queue_now, health) {
        (Ok(rows), Ok(queue), Ok(health)) => (rows, queue, health),
        (Err(fault), ..) | (_, Err(fault), _) | (.., Err(fault)) => return super::broken(&fault),
    };
    whole("Now", "/", &visitor, &content(&query, &rows, &queue_now, &health, &visitor)).into_response()
}

fn content(
    query: &Query,
    rows: &[Delivery],
    queue_now: &Queue,
    health: &[Health],
    visitor: &Visitor,
) -> Markup {
    html! {
        h1.hidden { "Now" }
        div.now {
            section.glance aria-label="At a glance" {
                div #queue data-region { (queue(queue_now)) }
                div #services data-region { (services(health)) }
            }
            section.stream aria-labelledby="deliveries-title" {
                div.bar {
                    h2 #deliveries-title { "Deliveries" }
                    (filters(query))
                }
                div #bulk data-region { (bulk(rows, query, visitor)) }
                (table(rows, query))
            }
        }
    }
}

/// Sends again or drops all that a filter shows: those that are on the page, and no others.
fn bulk(rows: &[Delivery], query: &Query, visitor: &Visitor) -> Markup {
    let ids = |of: fn(&Delivery) -> bool| {
        rows.iter().filter(|row| of(row)).map(|row| row.id.as_str()).collect::<Vec<_>>()
    };
    let again = ids(|row| row.outcome != "pending");
    let droppable = ids(|row| matches!(row.outcome.as_str(), "pending" | "dead-letter"));
    let form = |what: &str, word: &str, ids: &[&str], csrf: &str| {
        html! {
            form method="post" action="/change" data-change=(what) data-ids=(ids.join(" ")) {
                input type="hidden" name="csrf" value=(csrf);
                input type="hidden" name="id" value=(ids.join(" "));
                input type="hidden" name="what" value=(what);
                input type="hidden" name="back" value={ "/?" (address(query, query.rows())) };
                button.danger[what == "drop"] { (word) }
            }
        }
    };
    html! {
        @if let Some(csrf) = visitor.csrf.as_ref().filter(|_| !query.is_empty() && rows.len() > 1) {
            div.changes.bulk {
                @if again.len() > 1 { (form("resend", &format!("Send these {} again", again.len()), &again, csrf)) }
                @if droppable.len() > 1 { (form("drop", &format!("Drop these {}", droppable.len()), &droppable, csrf)) }
                p.problem data-problem hidden role="alert" {}
            }
        }
    }
}

fn filters(query: &Query) -> Markup {
    let texts = [
        ("rollout", "Rollout", &query.rollout),
        ("trigger", "Trigger", &query.trigger),
        ("service", "Service", &query.service),
        ("recipient", "Recipient", &query.recipient),
    ];
    html! {
        form.filters method="get" action="/" role="search" aria-label="Deliveries" data-filters {
            select name="outcome" aria-label="Outcome" {
                option value="" { "Any outcome" }
                @for (value, word) in OUTCOMES {
                    option value=(value) selected[query.outcome == value] { (word) }
                }
            }
            @for (name, word, value) in texts {
                input type="search" name=(name) value=(value) placeholder=(word) aria-label=(word)
                    autocomplete="off" spellcheck="false";
            }
            button { "Filter" }
            @if !query.is_empty() { a href="/" { "Clear" } }
        }
    }
}

/// The table of deliveries.
pub(super) fn table(rows: &[Delivery], query: &Query) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="List of deliveries" {
            table.deliveries {
                thead {
                    tr {
                        th scope="col" { "When" } th scope="col" { "Outcome" } th scope="col" { "Rollout" }
                        th scope="col" { "Trigger" } th scope="col" { "To" }
                        th.number scope="col" { "Tries" } th.number scope="col" { "Took" }
                        th scope="col" { "Answer" }
                    }
                }
                tbody #deliveries data-region data-rows { @for delivery in rows { (row(delivery)) } }
            }
        }
        @if rows.is_empty() {
            p.empty data-empty {
                @if query.is_empty() {
                    "Nothing was delivered yet. What is due appears here as it happens."
                } @else { "No delivery matches. " a href="/" { "Clear the filters" } }
            }
        }
        @let wanted = query.rows();
        @if rows.len() >= usize::try_from(wanted).unwrap_or(usize::MAX) && wanted < MOST_ROWS {
            p.more { a href={ "/?" (address(query, MOST_ROWS)) } { "Show " (MOST_ROWS) } }
        }
    }
}

fn address(query: &Query, limit: u32) -> String {
    let pairs = [
        ("outcome", &query.outcome),
        ("rollout", &query.rollout),
        ("trigger", &query.trigger),
        ("service", &query.service),
        ("recipient", &query.recipient),
    ];
    let given = pairs.iter().filter(|(_, value)| !value.is_empty());
    given.map(|(name, value)| format!("{name}={}&", encoded(value))).collect::<String>()
        + &format!("limit={limit}")
}

/// One line. Scripts of the page compare its data with the filters.
pub(in crate::ui) fn row(delivery: &Delivery) -> Markup {
    let answer = delivery.answer.as_deref().or(delivery.reason.as_deref()).unwrap_or_default();
    let short: String = answer.chars().take(160).collect();
    let to = format!("/deliveries/{}", encoded(&delivery.id));
    html! {
        tr data-id=(delivery.id) data-outcome=(delivery.outcome) data-namespace=(delivery.namespace)
            data-name=(delivery.name) data-trigger=(delivery.trigger) data-service=(delivery.service)
            data-recipient=(delivery.recipient) {
            td.when { a href=(to) data-open { (ago(&delivery.created)) } }
            td.outcome { (state(&delivery.outcome)) }
            td.rollout { (rollout_link(&delivery.namespace, &delivery.name)) }
            td.trigger { (delivery.trigger) }
            td.dest { (destination(&delivery.service, &delivery.recipient)) }
            td.number.tries { @if delivery.attempts > 0 { (delivery.attempts) } }
            td.number.took { @if let Some(ms) = delivery.took_ms { (took(ms)) } }
            td.answer title=(answer) { (short) }
        }
    }
}

/// What waits.
pub(in crate::ui) fn queue(queue: &Queue) -> Markup {
    html! {
        a.figure href="/?outcome=pending" {
            span.value { (queue.waiting) } span.label { "waiting" }
            span.note { @match &queue.oldest { Some(oldest) => { "oldest " (ago(oldest)) } None => { "nothing waits" } } }
        }
        a.figure.bad[queue.dead > 0] href="/?outcome=dead-letter" {
            span.value { (queue.dead) }
            span.label { @if queue.dead == 1 { "dead letter" } @else { "dead letters" } }
            span.note { @if queue.dead > 0 { "look at each, then resend or drop" } @else { "none was given up" } }
        }
    }
}

/// How the services do.
pub(in crate::ui) fn services(all: &[Health]) -> Markup {
    html! {
        h2 { "Services" }
        @if all.is_empty() { p.empty { "No service is configured." } }
        ul.services {
            @for health in all {
                li class={ "service " (health.state) } {
                    a href={ "/?service=" (encoded(&health.service)) } {
                        span.name { b { (health.service) }
                            @if health.service_type != health.service && !health.service_type.is_empty() {
                                span.muted { " " (health.service_type) }
                            } }
                        (state(&health.state))
                        span.note {
                            @if let Some(failure) = &health.last_failure { (failure.chars().take(120).collect::<String>()) }
                            @else if let Some(at) = &health.last_delivered {
                                (health.delivered) " lately, last " (ago(at))
                                @if let Some(ms) = health.typical_ms { ", typically " (took(ms)) }
                            } @else { "nothing delivered lately" }
                        }
                    }
                }
            }
        }
    }
}
