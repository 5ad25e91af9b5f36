//! Rollouts: each with its steps, whom it tells, and why.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use maud::{Markup, html};

use super::{ago, explanation::explanation, now, page as whole, plain, rollout_link, state};
use crate::ui::{
    Ui,
    backend::{Query, Rollout, RolloutDetail},
    guard::Visitor,
};

/// More than this are found by their address alone.
const SHOWN: usize = 500;

pub(in crate::ui) async fn list(
    State(ui): State<Arc<Ui>>,
    Extension(visitor): Extension<Visitor>,
) -> Response {
    let rollouts = match ui.backend.rollouts().await {
        Ok(rollouts) => rollouts,
        Err(fault) => return super::broken(&fault),
    };
    let content = html! {
        div.bar { h1 { "Rollouts" } span.muted { (rollouts.len()) } }
        div #rollouts data-region data-refresh="rollouts" {
            @if rollouts.is_empty() { p.empty { "No Rollout is there." } }
            ul.rollouts { @for rollout in rollouts.iter().take(SHOWN) { (line(rollout)) } }
            @if rollouts.len() > SHOWN { p.muted { (rollouts.len() - SHOWN) " more are not shown." } }
        }
    };
    whole("Rollouts", "/rollouts", &visitor, &content).into_response()
}

fn line(rollout: &Rollout) -> Markup {
    html! {
        li.rollout data-row {
            div.head {
                h2 { (rollout_link(&rollout.namespace, &rollout.name)) }
                (state(&rollout.phase))
                span.muted { @if !rollout.revision.is_empty() { "revision " (rollout.revision) } }
                span.muted.images { (rollout.images.join(", ")) }
            }
            (steps(rollout))
            p.tells {
                @if rollout.subscriptions.is_empty() { span.muted { "tells nobody" } }
                @else { (rollout.subscriptions.len())
                    @if rollout.subscriptions.len() == 1 { " subscription: " } @else { " subscriptions: " }
                    span.muted { (told(rollout)) } }
            }
        }
    }
}

fn told(rollout: &Rollout) -> String {
    let mut all: Vec<&str> = rollout.subscriptions.iter().map(|one| one.to.as_str()).collect();
    all.sort_unstable();
    all.dedup();
    all.join(", ")
}

/// The steps as a line.
fn steps(rollout: &Rollout) -> Markup {
    html! {
        @if rollout.steps.is_empty() {
            p.nosteps.muted { @if rollout.strategy.is_empty() { "no strategy" } @else { (rollout.strategy) ", no steps" } }
        } @else {
            ol.steps tabindex="0" aria-label={ "Steps of " (rollout.name) } {
                @for step in &rollout.steps {
                    li class={ "step " (step.state) } aria-current=[(step.state == "current").then_some("step")] {
                        span.word { (step.label) }
                        @if step.state == "done" { span.hidden { " (done)" } }
                    }
                }
            }
        }
    }
}

pub(in crate::ui) async fn page(
    State(ui): State<Arc<Ui>>,
    Extension(visitor): Extension<Visitor>,
    Path((namespace, name)): Path<(String, String)>,
) -> Response {
    let found = match ui.backend.rollout(&namespace, &name).await {
        Ok(Some(found)) => found,
        Ok(None) => {
            return (StatusCode::NOT_FOUND, plain("Not here", "There is no such Rollout.")).into_response();
        }
        Err(fault) => return super::broken(&fault),
    };
    let query = Query { rollout: format!("{namespace}/{name}"), limit: Some(20), ..Query::default() };
    let rows = match ui.backend.deliveries(&query).await {
        Ok(rows) => rows,
        Err(fault) => return super::broken(&fault),
    };
    let content = html! {
        p.crumb { a href="/rollouts" { "Rollouts" } }
        div #rollout data-region data-refresh="rollouts" { (top(&found)) }
        section aria-labelledby="why" {
            h2 #why { "Who is told, and why or why not" }
            div #explained data-region data-refresh="rollouts" {
                @for why in &found.explanations { (explanation(why)) }
                @if found.explanations.is_empty() {
                    p.empty { "Nothing is known of it here; the earlier decisions and deliveries are below." }
                }
            }
        }
        section aria-labelledby="last" {
            h2 #last { "Deliveries" }
            (now::table(&rows, &query))
        }
        @if !found.decisions.is_empty() {
            section aria-labelledby="earlier" {
                h2 #earlier { "Earlier decisions" }
                @for decision in &found.decisions {
                    details.decision {
                        summary { "Decision " (decision.decision.unwrap_or_default()) ", " (ago(&decision.at)) " "
                            (state(decision.verdict.word()))
                            span.muted { @if let Some(event) = decision.happened.last() { " " (event.reason)
                                @if decision.happened.len() > 1 { " and " (decision.happened.len() - 1) " before it" } } } }
                        (explanation(decision))
                    }
                }
            }
        }
    };
    whole(&name, "/rollouts", &visitor, &content).into_response()
}

fn top(found: &RolloutDetail) -> Markup {
    let rollout = &found.rollout;
    let (ready, all) = rollout.replicas;
    html! {
        div.bar {
            h1 { span.muted { (rollout.namespace) "/" } (rollout.name) }
            (state(&rollout.phase))
        }
        @if !rollout.message.is_empty() { p { (rollout.message) } }
        dl.facts {
            @if !rollout.revision.is_empty() { dt { "Revision" } dd { (rollout.revision) } }
            @if !rollout.images.is_empty() { dt { "Image" } dd { (rollout.images.join(", ")) } }
            @if all > 0 { dt { "Ready" } dd { (ready) " of " (all) } }
            @if let Some(weight) = rollout.weight { dt { "Weight" } dd { (weight) " %" } }
        }
        (steps(rollout))
        @if !rollout.subscriptions.is_empty() {
            details.subscriptions {
                summary { (rollout.subscriptions.len()) @if rollout.subscriptions.len() == 1 { " subscription" } @else { " subscriptions" } }
                ul { @for one in &rollout.subscriptions {
                    li { b { (one.trigger) } " → " (one.to) " " span.muted { (one.from) } }
                } }
            }
        }
    }
}
