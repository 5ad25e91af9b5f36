//! Previews: templates over objects, for each service, with nothing sent and no secret in reach.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use herald_core::{
    config::{Config, ConfigInput},
    lifecycle::reasons,
    names::{Destination, Recipient, TemplateName},
    notification::{Notification, RenderError},
    occurrence::Occurrence,
    variables::{self, Extras},
    yaml::{self, Node},
};
use herald_services::{
    Delivery, Environment, ObjectRef, Registry, check,
    http::{HttpFactory, Keeper, Kept},
};
use herald_value::{Value, limits::Limits};
use herald_web::ui::backend::{Ask, Content, Fault, Preview, Request, View};
use jiff::Timestamp;

use super::{configured::Configured, shelf::Shelf};
use crate::{input, pipeline::look::text};

/// Nothing is sent, so nothing takes long.
const PATIENCE: Duration = Duration::from_secs(5);

/// Services that are shown even if they are not configured, with the options that they need to draw.
const SAMPLES: [(&str, &str); 6] = [
    ("slack", "token: preview"),
    ("teams-workflows", "recipientUrls: {preview: 'https://teams.invalid/preview'}"),
    ("teams", "recipientUrls: {preview: 'https://teams.invalid/preview'}"),
    ("email", "{host: mail.invalid, port: 25, from: herald@mail.invalid}"),
    ("telegram", "token: preview"),
    ("googlechat", "webhooks: {preview: 'https://chat.invalid/preview'}"),
];
/// Of those, they are always shown; the others where the template has something for them.
const ALWAYS: [&str; 4] = ["slack", "teams-workflows", "teams", "email"];

/// The object that is previewed, and what belongs to it.
pub(super) struct Scene {
    object: Value,
    runs: Value,
}

/// The object that is asked for.
pub(super) fn scene(shelf: &Shelf, ask: &Ask) -> Result<Scene, Fault> {
    let value = |json: &serde_json::Value| Value::from_json(json.to_string().as_bytes()).unwrap_or_default();
    if ask.object == "paste" {
        let node = yaml::parse(&ask.pasted).map_err(|e| {
            Fault::Asked(format!(
                "the pasted object is no YAML: line {}, column {}: {}",
                e.at.line, e.at.column, e.message
            ))
        })?;
        let object = variables::shape_rollout(&node.to_value(), None);
        if object.as_map().is_none() {
            return Err(Fault::Asked("paste a Rollout, as YAML or JSON".into()));
        }
        return Ok(Scene { object, runs: Value::Nil });
    }
    if let Some(name) = ask.object.strip_prefix("live:") {
        let (namespace, name) = name.split_once('/').unwrap_or(("", name));
        let found = shelf.find(namespace, name).and_then(|(_, kept)| kept);
        let kept = found.ok_or_else(|| Fault::Asked(format!("there is no Rollout {namespace}/{name}")))?;
        let runs = variables::select_analysis_runs(&kept.rollout, kept.analysis_runs.iter());
        return Ok(Scene { object: variables::shape_rollout(&kept.rollout, kept.workload.as_ref()), runs });
    }
    let wanted = ask.object.strip_prefix("sample:").unwrap_or(&ask.object);
    let all = herald_lint::samples::samples();
    let sample = all.iter().find(|sample| sample.name == wanted || wanted.is_empty());
    let sample = sample.ok_or_else(|| Fault::Asked(format!("there is no sample `{wanted}`")))?;
    Ok(Scene {
        object: variables::shape_rollout(&value(&sample.rollout), None),
        runs: value(&sample.analysis_runs),
    })
}

/// The configuration with placeholders for all secrets, as whoever writes a template could print them.
pub(super) fn without_secrets(input: &ConfigInput) -> ConfigInput {
    let placeholder = |key: &String, value: &Vec<u8>| {
        let word = if value.starts_with(b"http") {
            format!("https://secret.invalid/{key}")
        } else {
            format!("secret-{key}")
        };
        (key.clone(), word.into_bytes())
    };
    let secret = input.secret.iter().map(|(key, value)| placeholder(key, value)).collect();
    ConfigInput { secret, ..input.clone() }
}

/// A destination to draw for.
struct Target {
    service_type: String,
    instance: String,
    recipient: String,
}

/// A preview.
pub(super) async fn preview(configured: &Arc<Configured>, scene: Scene, ask: Ask) -> Result<Preview, Fault> {
    let name: TemplateName =
        ask.template.parse().map_err(|e| Fault::Asked(format!("this is no name of a template: {e}")))?;
    let mut input = without_secrets(&configured.input);
    let key = format!("template.{name}");
    if !ask.source.is_empty() {
        input.data.insert(key.clone(), ask.source.replace("\r\n", "\n"));
    } else if let Some(source) = input.base.get(&key).filter(|_| !input.data.contains_key(&key)) {
        input.data.insert(key.clone(), source.clone());
    }
    for (service_type, options) in SAMPLES {
        if !input.data.keys().any(|key| is_of(key, service_type)) {
            input.data.insert(format!("service.{service_type}"), options.to_owned());
        }
    }
    let configured = configured.clone();
    let drawn = tokio::task::spawn_blocking(move || {
        let (config, _) = Config::load(&input, &Registry::standard(), Limits::DEFAULT);
        let mut findings = configured.findings(&input);
        findings.retain(|finding| finding.key == key);
        let rendered = render(&config, &name, &scene);
        (config, input, findings, rendered, scene)
    });
    let (config, input, findings, rendered, scene) =
        drawn.await.map_err(|_| Fault::Broken("the preview failed".into()))?;
    let mut preview = Preview { findings, ..Preview::default() };
    if config.template(&ask.template).is_none() {
        preview.error = Some("The template can't be used as it is.".into());
        return Ok(preview);
    }
    for (target, result) in rendered {
        preview.views.push(view(&config, &input, &target, result, &scene.object).await);
    }
    Ok(preview)
}

fn is_of(key: &str, service_type: &str) -> bool {
    key.strip_prefix("service.").and_then(|rest| rest.split('.').next()) == Some(service_type)
}

fn render(
    config: &Config,
    name: &TemplateName,
    scene: &Scene,
) -> Vec<(Target, Result<Notification, RenderError>)> {
    let now = Timestamp::now();
    let sends = |trigger: &&herald_core::config::Trigger| {
        trigger
            .conditions
            .iter()
            .any(|condition| condition.send.contains(name) || condition.resolve.contains(name))
    };
    let trigger = config.triggers().find(sends).map(|trigger| trigger.name.to_string());
    let reason = trigger.as_deref().and_then(reasons::of_trigger);
    let event = reason.map(|reason| Occurrence {
        reason: reason.reason.into(),
        event_type: reason.event_type,
        id: format!("{}/7", reason.reason),
        time: Some(now),
        message: "What the event says".to_owned(),
        facts: BTreeMap::default(),
        object: None,
    });
    let extras = Extras {
        trigger: trigger.as_deref(),
        event: event.as_ref(),
        previous: Some(&scene.object),
        now: Some(&scene.object),
    };
    let vars = variables::variables(&scene.object, &scene.runs, config.secrets(), now, &extras);
    targets(config, name)
        .into_iter()
        .filter_map(|target| {
            let destination = Destination {
                service: target.instance.parse().ok()?,
                recipient: Recipient::new(&target.recipient),
            };
            let rendered = config.render(std::slice::from_ref(name), &vars, &destination, now);
            Some((target, rendered))
        })
        .collect()
}

/// For whom it is drawn: the usual ones, and whatever is configured or has a section of its own.
fn targets(config: &Config, name: &TemplateName) -> Vec<Target> {
    let template = config.template(name.as_str());
    let has_section = |kind: &str| template.is_some_and(|template| template.sections.contains_key(kind));
    let order = |kind: &str| ALWAYS.iter().position(|known| *known == kind).unwrap_or(ALWAYS.len());
    let mut all: Vec<Target> = Vec::new();
    for service in config.services() {
        let kind = &*service.service_type;
        let wanted = ALWAYS.contains(&kind) || has_section(kind);
        let double = kind != "webhook" && all.iter().any(|known| known.service_type == kind);
        if wanted && !double && kind != "console" {
            all.push(Target {
                service_type: kind.to_owned(),
                instance: service.name.to_string(),
                recipient: recipient(kind, &service.options),
            });
        }
    }
    all.sort_by_key(|target| (!has_section(&target.service_type), order(&target.service_type)));
    all
}

/// A recipient of the right form.
fn recipient(service_type: &str, options: &Node) -> String {
    let first = ["recipientUrls", "webhooks", "topics", "queues"]
        .iter()
        .find_map(|field| options.get(field)?.entries().first().map(|(key, ..)| key.clone()));
    first.unwrap_or_else(|| match service_type {
        "email" => "someone@mail.invalid".into(),
        "telegram" => "1".into(),
        _ => "preview".into(),
    })
}

async fn view(
    config: &Config,
    input: &ConfigInput,
    target: &Target,
    rendered: Result<Notification, RenderError>,
    object: &Value,
) -> View {
    let mut view = View { service_type: target.service_type.clone(), ..View::default() };
    let notification = match rendered {
        Ok(notification) => notification,
        Err(RenderError::Template(error)) => {
            view.error = Some(error.render_caret());
            return view;
        }
        Err(other) => {
            view.error = Some(other.to_string());
            return view;
        }
    };
    let section = notification.sections.get(&target.service_type);
    let troubles = check::message(&target.service_type, &notification.message);
    let troubles = troubles
        .into_iter()
        .chain(section.iter().flat_map(|section| check::section(&target.service_type, section)));
    view.warnings = troubles.map(|trouble| format!("{}: {}", trouble.field, trouble.message)).collect();
    let object = ObjectRef {
        kind: text(object, &["kind"]),
        namespace: text(object, &["metadata", "namespace"]),
        name: text(object, &["metadata", "name"]),
    };
    let delivery = Delivery {
        notification: &notification,
        recipient: &target.recipient,
        notice_id: "preview",
        trigger: "",
        object,
        now: Timestamp::now(),
    };
    match requests(config, input, &target.instance, &delivery).await {
        Ok(requests) => view.requests = requests,
        Err(why) => view.error = Some(why),
    }
    view.content = Some(content(&notification));
    view
}

/// A notification as the page takes it.
pub(super) fn content(notification: &Notification) -> Content {
    let sections = notification.sections.iter().map(|(kind, section)| (kind.clone(), section.clone()));
    Content { message: notification.message.clone(), sections: sections.collect() }
}

/// The requests that a service would make, by a configuration without secrets. Nothing is sent.
pub(super) async fn requests(
    config: &Config,
    input: &ConfigInput,
    instance: &str,
    delivery: &Delivery<'_>,
) -> Result<Vec<Request>, String> {
    let service =
        config.service(instance).ok_or_else(|| format!("service `{instance}` is not configured"))?;
    if &*service.service_type == "console" {
        return Ok(Vec::new());
    }
    let keeper = Keeper::default();
    let environment =
        Environment { http: Arc::new(HttpFactory::keeping(keeper.clone())), ..input::environment(input) };
    let built = Registry::standard()
        .build(&service.service_type, instance, &service.options, &environment)
        .map_err(|error| error.message)?;
    let sent = tokio::time::timeout(PATIENCE, built.send(delivery)).await;
    let kept = std::mem::take(&mut *keeper.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    match sent {
        Ok(Err(error)) if kept.is_empty() => Err(error.message),
        _ => Ok(kept.into_iter().map(shown).collect()),
    }
}

fn shown(kept: Kept) -> Request {
    let text = String::from_utf8_lossy(&kept.body).into_owned();
    // A mail brings its headers itself.
    match text.split_once("\r\n\r\n").filter(|_| kept.method == "SMTP") {
        Some((head, body)) => {
            let headers = head.split("\r\n").filter_map(|line| line.split_once(": "));
            let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            Request { method: kept.method, url: kept.url, headers, body: body.to_owned() }
        }
        None => Request { method: kept.method, url: kept.url, headers: kept.headers, body: text },
    }
}
