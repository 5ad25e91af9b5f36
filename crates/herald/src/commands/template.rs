//! `herald template get|notify`

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use herald_core::{
    config::{Config, Layer, TemplateConfig},
    names::{Destination, TemplateName},
    notification::RenderError,
    variables::{self, Extras},
    yaml::{self, Kind, Node},
};
use herald_services::{Delivery, ObjectRef, Registry};
use herald_value::{Numbers, Value};

use crate::{
    failure::{Failure, Outcome},
    input::{self, ConfigArgs, Loaded},
    output::{self, Format},
};

/// Arguments of `template`.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  herald template get --config-map notifications.yaml")]
pub(crate) struct TemplateArgs {
    #[command(subcommand)]
    command: TemplateCommand,
}

#[derive(Subcommand, Debug)]
enum TemplateCommand {
    /// List templates
    #[command(after_help = "Example:\n  herald template get rollout-completed -o yaml")]
    Get {
        /// Only this one
        name: Option<String>,
        /// Format of the list
        #[arg(short, long, value_name = "FORMAT", default_value = "wide")]
        output: Format,
    },
    /// Render templates and send the notification
    #[command(after_help = "Example:\n  herald template notify rollout-completed rollout.yaml\n  \
                            herald template notify base,extra --vars vars.json --config-map cm.yaml \
                            --secret secret.yaml --recipient slack:ops")]
    Notify(NotifyArgs),
}

#[derive(Args, Debug)]
struct NotifyArgs {
    /// The templates, in order: `a,b` renders both into one notification
    #[arg(value_name = "NAME[,NAME]")]
    names: String,
    /// File with the Rollout (and what belongs to it)
    #[arg(required_unless_present = "vars")]
    resource: Option<String>,
    /// JSON file with the variables themselves, in place of RESOURCE
    #[arg(long, value_name = "FILE", conflicts_with = "resource")]
    vars: Option<String>,
    /// `<service>:<recipient>`; may come several times
    #[arg(long, value_name = "SERVICE:RECIPIENT", default_value = "console:stdout")]
    recipient: Vec<String>,
}

pub(crate) fn run(args: &TemplateArgs, config: &ConfigArgs) -> Outcome {
    match &args.command {
        TemplateCommand::Get { name, output } => get(name.as_deref(), *output, &config.load()?),
        TemplateCommand::Notify(args) => notify(args, &config.load()?),
    }
}

/// Whether something is listed: what the given ConfigMap has, or else the catalog.
pub(crate) fn is_listed(loaded: &Loaded, layer: Layer) -> bool {
    !loaded.given || layer == Layer::ConfigMap
}

/// A name that is not there, with those that are.
pub(crate) fn no_such<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> Failure {
    let known: Vec<&str> = known.collect();
    Failure::bad(format!("{what} with name '{name}' does not exist (found {})", known.join(", ")))
}

fn get(name: Option<&str>, format: Format, loaded: &Loaded) -> Outcome {
    let all = || loaded.config.templates().filter(|t| is_listed(loaded, t.layer));
    if let Some(name) = name
        && !all().any(|t| t.name.as_str() == name)
    {
        return Err(no_such("template", name, all().map(|t| t.name.as_str())));
    }
    let mut table = String::from("NAME\tPREVIEW\n");
    let mut items = Vec::new();
    for template in all().filter(|t| name.is_none_or(|name| t.name.as_str() == name)) {
        let _ = writeln!(table, "{}\t{}", template.name, preview(template));
        items.push((template.name.to_string(), shown(template)));
    }
    output::list(format, &items, &table)
}

/// The first line of the message, or the whole template as JSON where there is none, cut as the reference cuts it: by
/// bytes, but never inside a character.
fn preview(template: &TemplateConfig) -> String {
    // Those of the catalog begin with the same words, which only compute.
    if template.layer != Layer::ConfigMap
        && let Some(preview) = herald_core::catalog::preview(template.name.as_str())
    {
        return preview;
    }
    let message = template.message.as_ref().map(|message| message.source.to_string());
    let text = message
        .filter(|message| !message.is_empty())
        .unwrap_or_else(|| shown(template).to_json().to_string());
    let first = text.split('\n').next().unwrap_or_default();
    if first.len() <= 100 {
        return first.to_owned();
    }
    let end = (0..=99).rev().find(|end| first.is_char_boundary(*end)).unwrap_or(0);
    format!("{}...", first.get(..end).unwrap_or_default())
}

/// The template as data: the message first, then the sections.
fn shown(template: &TemplateConfig) -> Node {
    let Ok((mut node, _)) = yaml::parse_lenient(&template.source) else {
        return Node { kind: Kind::Null, at: yaml::Position::default() };
    };
    if let Kind::Map(entries) = &mut node.kind {
        entries.retain(|(key, _, node)| !(node.is_null() || key == "message" && node.text() == Some("")));
        entries.sort_by_key(|(key, ..)| key != "message");
    }
    node
}

fn vars_of(args: &NotifyArgs, config: &Config, now: jiff::Timestamp) -> Result<(Value, Value), Failure> {
    let Some(file) = &args.vars else {
        let resource = input::resource(args.resource.as_deref().unwrap_or_default())?;
        let vars = variables::variables(
            &resource.object,
            &resource.analysis_runs,
            config.secrets(),
            now,
            &Extras { now: Some(&resource.object), ..Extras::default() },
        );
        return Ok((vars, resource.object));
    };
    let text = input::text(file)?;
    let fail = |error: &dyn std::fmt::Display| Failure::bad(format!("file '{file}': {error}"));
    let given = herald_value::vector::environment(text.as_bytes(), Numbers::Kubernetes, None, now)
        .map_err(|e| fail(&e))?;
    let base = variables::variables(&Value::Nil, &Value::Nil, config.secrets(), now, &Extras::default());
    let of = |value: &Value| value.as_map().map(|map| map.entries().to_vec()).unwrap_or_default();
    let kept = of(&base).into_iter().filter(|(key, _)| matches!(key.as_bytes(), b"time" | b"secrets"));
    let vars = Value::map(kept.chain(of(&given))).map_err(|e| fail(&e))?;
    let object = given.get("rollout").cloned().unwrap_or_default();
    Ok((vars, object))
}

fn notify(args: &NotifyArgs, loaded: &Loaded) -> Outcome {
    let now = jiff::Timestamp::now();
    let mut names: Vec<TemplateName> = Vec::new();
    for name in args.names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let template = loaded
            .config
            .template(name)
            .ok_or_else(|| no_such("template", name, loaded.config.templates().map(|t| t.name.as_str())))?;
        names.push(template.name.clone());
    }
    if names.is_empty() {
        return Err(Failure::usage("no template is named; give one, or several as `a,b`"));
    }
    let (vars, object) = vars_of(args, &loaded.config, now)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let mut failed = false;
    for recipient in &args.recipient {
        let sent = runtime.block_on(send(recipient, &names, &vars, &object, loaded, now));
        if let Err(reason) = sent {
            eprintln!("failed to notify '{recipient}': {}", reason.trim_end());
            failed = true;
        }
    }
    if failed { Err(Failure::told()) } else { Ok(()) }
}

async fn send(
    recipient: &str,
    names: &[TemplateName],
    vars: &Value,
    object: &Value,
    loaded: &Loaded,
    now: jiff::Timestamp,
) -> Result<(), String> {
    let destination: Destination = recipient.parse().map_err(|e| format!("{e}"))?;
    let service = loaded.config.service(destination.service.as_str()).ok_or_else(|| {
        format!("service '{}' is not configured, or its options are wrong", destination.service)
    })?;
    let instance = Registry::standard()
        .build(&service.service_type, service.name.as_str(), &service.options, &loaded.environment)
        .map_err(|e| e.to_string())?;
    let notification = loaded.config.render(names, vars, &destination, now).map_err(|e| match e {
        RenderError::Template(error) => error.render_caret(),
        other => other.to_string(),
    })?;
    let text = |path: &[&str]| object.path(path).and_then(Value::as_str).unwrap_or_default();
    let delivery = Delivery {
        notification: &notification,
        recipient: destination.recipient.as_str(),
        notice_id: &format!("cli-{}", now.as_nanosecond()),
        trigger: "",
        object: ObjectRef {
            kind: text(&["kind"]),
            namespace: text(&["metadata", "namespace"]),
            name: text(&["metadata", "name"]),
        },
        now,
    };
    let receipt = instance.send(&delivery).await.map_err(|e| e.to_string())?;
    for warning in receipt.warnings {
        eprintln!("warning: {recipient}: {warning}");
    }
    Ok(())
}
