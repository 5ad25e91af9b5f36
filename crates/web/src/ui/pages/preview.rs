//! Preview: a template and an object, and what each service would show of them.

use std::sync::Arc;

use axum::{
    Extension, Form,
    extract::{
        Query as Params, State,
        rejection::{FormRejection, QueryRejection},
    },
    response::{IntoResponse as _, Response},
};
use maud::{Markup, html};

use super::{configuration::message, page as whole};
use crate::ui::{
    Ui,
    backend::{Ask, Choices, Fault, Preview, Request, View},
    draw,
    guard::Visitor,
};

pub(in crate::ui) async fn page(
    ui: State<Arc<Ui>>,
    visitor: Extension<Visitor>,
    ask: Result<Params<Ask>, QueryRejection>,
) -> Response {
    draw_page(&ui, &visitor, ask.map(|Params(ask)| ask).unwrap_or_default()).await
}

/// The form without JavaScript.
pub(in crate::ui) async fn drawn(
    ui: State<Arc<Ui>>,
    visitor: Extension<Visitor>,
    ask: Result<Form<Ask>, FormRejection>,
) -> Response {
    match ask {
        Ok(Form(ask)) => draw_page(&ui, &visitor, ask).await,
        Err(refusal) => refusal.into_response(),
    }
}

/// The drawings alone, for the script of the page.
pub(in crate::ui) async fn views(ui: State<Arc<Ui>>, ask: Result<Form<Ask>, FormRejection>) -> Response {
    match ask {
        Ok(Form(ask)) => match preview(&ui, ask).await {
            Ok(found) => results(&ui, &found).into_response(),
            Err(fault) => html! { p.problem role="alert" { (fault) } }.into_response(),
        },
        Err(refusal) => refusal.into_response(),
    }
}

async fn preview(ui: &Ui, ask: Ask) -> Result<Preview, Fault> {
    let ended = |_| Fault::Broken("the page is ending".into());
    let _turn = ui.previews.acquire().await.map_err(ended)?;
    ui.backend.preview(ask).await
}

async fn draw_page(ui: &Ui, visitor: &Visitor, mut ask: Ask) -> Response {
    let choices = match ui.backend.choices().await {
        Ok(choices) => choices,
        Err(fault) => return super::broken(&fault),
    };
    if ask.template.is_empty() {
        let first = choices.templates.iter().find(|one| !one.built_in).or(choices.templates.first());
        ask.template = first.map(|one| one.name.clone()).unwrap_or_default();
    }
    if ask.object.is_empty() {
        ask.object = choices.objects.first().cloned().unwrap_or_default();
    }
    if ask.source.is_empty() {
        let known = choices.templates.iter().find(|one| one.name == ask.template);
        ask.source = known.map(|one| one.source.clone()).unwrap_or_default();
    }
    let found = preview(ui, ask.clone()).await;
    let content = html! {
        h1.hidden { "Preview" }
        div.preview {
            (form(&ask, &choices))
            section #views aria-label="What each service shows" aria-live="polite" aria-busy="false" {
                @match &found { Ok(found) => { (results(ui, found)) } Err(fault) => { p.problem { (fault) } } }
            }
        }
        script type="module" src="/assets/preview.js" {}
    };
    whole("Preview", "/preview", visitor, &content).into_response()
}

fn form(ask: &Ask, choices: &Choices) -> Markup {
    let groups = [("Own", false), ("Built in", true)];
    html! {
        form.editor method="post" action="/preview" data-preview {
            div.pick {
                label { span { "Template" }
                    select name="template" data-template {
                        @for (title, built_in) in groups {
                            @if choices.templates.iter().any(|one| one.built_in == built_in) {
                                optgroup label=(title) {
                                    @for one in choices.templates.iter().filter(|one| one.built_in == built_in) {
                                        option value=(one.name) selected[one.name == ask.template] { (one.name) }
                                    }
                                }
                            }
                        }
                        @if !choices.templates.iter().any(|one| one.name == ask.template) {
                            option value=(ask.template) selected { (ask.template) }
                        }
                    }
                }
                label { span { "Object" }
                    select name="object" data-object {
                        @for (title, prefix) in [("Live", "live:"), ("Samples", "sample:")] {
                            @if choices.objects.iter().any(|one| one.starts_with(prefix)) {
                                optgroup label=(title) {
                                    @for one in choices.objects.iter().filter(|one| one.starts_with(prefix)) {
                                        option value=(one) selected[*one == ask.object] { (one.trim_start_matches(prefix)) }
                                    }
                                }
                            }
                        }
                        option value="paste" selected[ask.object == "paste"] { "Pasted below" }
                    }
                }
            }
            label.grow for="source" { "Text of the template" }
            textarea #source name="source" rows="22" spellcheck="false" autocapitalize="off" { (ask.source) }
            details.pasted open[ask.object == "paste"] {
                summary { "Paste a Rollout" }
                label.hidden for="pasted" { "Rollout as YAML or JSON" }
                textarea #pasted name="pasted" rows="8" spellcheck="false"
                    placeholder="A Rollout as YAML or JSON" { (ask.pasted) }
            }
            div.foot {
                button { "Draw" }
                span.muted { "Secrets are replaced by placeholders here. Nothing is sent." }
            }
        }
    }
}

fn results(ui: &Ui, found: &Preview) -> Markup {
    html! {
        @if let Some(error) = &found.error { p.problem role="alert" { (error) } }
        @for finding in &found.findings { (message(finding)) }
        div.views { @for one in &found.views { (view(ui, one)) } }
    }
}

/// What one service shows.
pub(super) fn view(ui: &Ui, view: &View) -> Markup {
    let keep = |html: &str| ui.mails.keep(html);
    html! {
        article.view data-service=(view.service_type) {
            h2 { (title(&view.service_type)) }
            @if let Some(error) = &view.error { p.problem { (error) } }
            @for warning in &view.warnings { p.finding.warning { (super::state("warning")) " " (warning) } }
            @if let Some(content) = &view.content {
                div class={ "drawing " (view.service_type) } { (draw::draw(view, content, &keep)) }
            }
            @if !view.requests.is_empty() {
                details.raw { summary { "Request" } @for request in &view.requests { (raw(request)) } }
            }
            @if let Some(content) = &view.content && !content.sections.is_empty() {
                details.raw {
                    summary { "Rendered" }
                    pre tabindex="0" { (serde_json::to_string_pretty(&content.sections).unwrap_or_default()) }
                }
            }
        }
    }
}

fn title(service_type: &str) -> &str {
    match service_type {
        "slack" => "Slack",
        "teams" => "Teams connector",
        "teams-workflows" => "Teams workflow",
        "email" => "E-mail",
        "console" => "Console",
        "" => "Message",
        other => other,
    }
}

fn raw(request: &Request) -> Markup {
    let body = match serde_json::from_str::<serde_json::Value>(&request.body) {
        Ok(json) => serde_json::to_string_pretty(&json).unwrap_or_default(),
        Err(_) => request.body.clone(),
    };
    html! {
        pre tabindex="0" {
            b { (request.method) " " (request.url) } "\n"
            @for (name, value) in &request.headers { span.muted { (name) ": " (value) } "\n" }
            @if !body.is_empty() { "\n" (body) }
        }
    }
}
