//! `herald trigger get|run`

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use herald_core::{
    config::Trigger,
    names::TemplateName,
    variables::{self, Extras},
    yaml::{self, Node},
};
use herald_value::Value;

use super::template::{is_listed, no_such};
use crate::{
    failure::Outcome,
    input::{self, ConfigArgs, Loaded},
    output::{self, Format},
    table,
};

/// Arguments of `trigger`.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  herald trigger get --config-map notifications.yaml")]
pub(crate) struct TriggerArgs {
    #[command(subcommand)]
    command: TriggerCommand,
}

#[derive(Subcommand, Debug)]
enum TriggerCommand {
    /// List triggers
    #[command(after_help = "Example:\n  herald trigger get on-rollout-completed -o yaml")]
    Get {
        /// Only this one
        name: Option<String>,
        /// Format of the list
        #[arg(short, long, value_name = "FORMAT", default_value = "wide")]
        output: Format,
    },
    /// Say which conditions of a trigger hold for a Rollout
    #[command(after_help = "Example:\n  herald trigger run on-degraded rollout.yaml --config-map cm.yaml")]
    Run {
        /// The trigger
        name: String,
        /// File with the Rollout (and what belongs to it)
        resource: String,
    },
}

pub(crate) fn run(args: &TriggerArgs, config: &ConfigArgs) -> Outcome {
    match &args.command {
        TriggerCommand::Get { name, output } => get(name.as_deref(), *output, &config.load()?),
        TriggerCommand::Run { name, resource } => try_out(name, resource, &config.load()?),
    }
}

fn get(name: Option<&str>, format: Format, loaded: &Loaded) -> Outcome {
    let all = || loaded.config.triggers().filter(|t| is_listed(loaded, t.layer));
    if let Some(name) = name
        && !all().any(|t| t.name.as_str() == name)
    {
        return Err(no_such("trigger", name, all().map(|t| t.name.as_str())));
    }
    let mut table = String::from("NAME\tTEMPLATE\tCONDITION\n");
    let mut items = Vec::new();
    for trigger in all().filter(|t| name.is_none_or(|name| t.name.as_str() == name)) {
        for (index, condition) in trigger.conditions.iter().enumerate() {
            let name = if index == 0 { trigger.name.as_str() } else { "" };
            let send: Vec<&str> = condition.send.iter().map(TemplateName::as_str).collect();
            let when = condition.when.as_ref().map_or("", |when| &*when.source);
            let _ = writeln!(table, "{name}\t{}\t{when}", send.join(", "));
        }
        items.push((trigger.name.to_string(), shown(trigger)));
    }
    output::list(format, &items, &table)
}

fn shown(trigger: &Trigger) -> Node {
    yaml::parse_lenient(&trigger.source)
        .map_or_else(|_| Node { kind: yaml::Kind::Null, at: yaml::Position::default() }, |(node, _)| node)
}

fn try_out(name: &str, resource: &str, loaded: &Loaded) -> Outcome {
    let config = &loaded.config;
    let trigger = config
        .trigger(name)
        .ok_or_else(|| no_such("trigger", name, config.triggers().map(|t| t.name.as_str())))?;
    let resource = input::resource(resource)?;
    let extras = Extras { trigger: Some(name), now: Some(&resource.object), ..Extras::default() };
    let now = jiff::Timestamp::now();
    let vars =
        variables::variables(&resource.object, &resource.analysis_runs, config.secrets(), now, &extras);
    let mut table = String::from("CONDITION\tRESULT\n");
    for condition in &trigger.conditions {
        let Some(when) = &condition.when else {
            eprintln!(
                "note: condition {} of trigger '{name}' has no `when`: it is sent with each event of that name, which an \
                 object alone doesn't show, so it counts as false here",
                condition.index
            );
            let _ = writeln!(table, "\tfalse");
            continue;
        };
        let holds = match when.program.run(&vars, config.limits()) {
            Ok(value) => value == Value::Bool(true),
            Err(error) => {
                eprintln!("condition {} of trigger '{name}' failed: {error}", condition.index);
                false
            }
        };
        let _ = writeln!(table, "{}\t{holds}", when.source);
    }
    output::print(&table::align(&table))
}
