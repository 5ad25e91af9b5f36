//! `herald explain`

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use herald_core::{
    diagnostic::codes,
    explain::{Answer, Explanation, Source},
};
use jiff::Timestamp;

use crate::{
    explain::{
        self, Stored,
        text::{self, Length},
    },
    failure::{Failure, Outcome},
    input::{self, ConfigArgs},
    output,
    scene::{ClusterArgs, Configured, Scene},
    style, table,
};

/// Arguments of `explain`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  herald explain rollout.yaml --config-map notifications.yaml\n  herald explain examples/quickstart payments\n  herald explain payments -n shop\n  herald explain . checkout --history\n  herald explain . checkout --at 12\n\nFor a directory that `herald run` watches, its state file tells what was sent. Without one, the answer is that of a \
                  first look, as `herald run --once` takes it.\nExits with 1 if something is wrong: an annotation that is not read, a trigger or service that is missing, a \
                  condition that fails, a notice that was given up."
)]
pub(crate) struct ExplainArgs {
    /// File with the Rollout and what belongs to it, or a directory; `-` is standard input. Else the name of a Rollout
    /// in the cluster
    resource: String,
    /// The Rollout of a directory: its name, or namespace/name [default: all]
    name: Option<String>,
    /// Format
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Shape,
    /// An earlier decision, by its number
    #[arg(long, value_name = "N", conflicts_with = "history")]
    at: Option<u64>,
    /// List the decisions that are kept
    #[arg(long)]
    history: bool,
    /// Only this trigger
    #[arg(long, value_name = "NAME")]
    trigger: Option<String>,
    /// Only to this service, or SERVICE:RECIPIENT
    #[arg(long, value_name = "DESTINATION")]
    to: Option<String>,
    /// One line for each subscription and condition
    #[arg(long)]
    brief: bool,
    /// The state file [default: that of `herald run` for the directory]
    #[arg(long, value_name = "FILE", env = "HERALD_STATE")]
    state: Option<PathBuf>,
    /// In a cluster, explain by the ConfigMap and the Secret of the Rollout's own namespace, too, as `herald run` does
    /// with this flag
    #[arg(
        long,
        value_name = "BOOL",
        env = "HERALD_SELF_SERVICE_NOTIFICATION_ENABLED",
        default_value_t = false,
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        action = clap::ArgAction::Set
    )]
    self_service_notification_enabled: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shape {
    /// For people
    Text,
    /// JSON, indented by two
    Json,
    /// YAML
    Yaml,
}

pub(crate) fn run(args: &ExplainArgs, config: &ConfigArgs) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let place = Path::new(&args.resource);
    let is_file = args.resource == "-" || place.exists();
    let scene = if is_file {
        Scene::read(&args.resource)?
    } else {
        let namespace = config.namespace.as_deref();
        let self_service = args.self_service_notification_enabled;
        runtime.block_on(Scene::fetch(&args.cluster, namespace, &args.resource, self_service))?
    };
    // In a cluster, the namespace is that of the Rollout.
    let namespace = config.namespace.clone().filter(|_| is_file);
    let config = &ConfigArgs { namespace, ..config.clone() };
    let stored = match &args.state {
        Some(file) if !file.exists() => {
            return Err(Failure::bad(format!("there is no state file {}", file.display())));
        }
        Some(file) => Stored::open(file)?,
        None if place.is_dir() => Stored::open(&input::state_file(None, place)?)?,
        None => Stored::nothing(),
    };
    if (args.history || args.at.is_some()) && !stored.is_there() {
        return Err(Failure::bad(
            "there is no state file, so no decision is kept; `herald run` keeps them, --state names the file",
        ));
    }
    let configured = scene.configuration(config)?;
    let tenant = scene.tenant.as_ref().map(Configured::of);
    let keys = scene.rollouts(args.name.as_deref())?;
    if keys.is_empty() {
        return Err(Failure::bad(format!("'{}' holds no Rollout", args.resource)));
    }
    if args.at.is_some() && keys.len() > 1 {
        return Err(Failure::usage("say which Rollout --at is about: herald explain DIR NAME --at N"));
    }
    let now = Timestamp::now();
    let mut explanations = Vec::new();
    for key in &keys {
        let past = runtime.block_on(stored.of(key))?;
        match args.at {
            _ if args.history => explanations.extend(past.decisions),
            Some(number) => explanations.push(explain::earlier(past, number)?),
            None => {
                let look = scene.world.look(key);
                explanations.extend(explain::present(&configured, tenant.as_ref(), look, past, now));
            }
        }
    }
    for explanation in &mut explanations {
        narrow(args, explanation);
    }
    show(args, &explanations)?;
    // What was wrong in the past may be repaired.
    let wrong = !args.history && explanations.iter().any(Explanation::is_wrong);
    if wrong { Err(Failure::told()) } else { Ok(()) }
}

/// Leaves out what was not asked for.
fn narrow(args: &ExplainArgs, explanation: &mut Explanation) {
    if args.trigger.is_none() && args.to.is_none() {
        return;
    }
    let asked = |answer: &Answer| {
        let to = args.to.as_deref().is_none_or(|to| to == answer.to.service || to == answer.to.to_string());
        to && args.trigger.as_deref().is_none_or(|trigger| trigger == answer.trigger)
    };
    // An annotation that is not read may be the one that was meant.
    explanation.retain(asked, |finding, answers| {
        let about = |answer: &Answer| answer.from == Source::Annotation(finding.key.clone());
        finding.code == codes::NEAR_MISS || answers.iter().any(about)
    });
}

fn show(args: &ExplainArgs, explanations: &[Explanation]) -> Outcome {
    if args.output != Shape::Text {
        let wrong = explanations.iter().any(Explanation::is_wrong);
        let all = serde_json::json!({ "wrong": wrong, "items": explanations });
        return match args.output {
            Shape::Yaml => output::print(&herald_services::services::console::yaml(&all)),
            _ => output::print(&format!("{all:#}\n")),
        };
    }
    if args.history {
        return history(explanations);
    }
    let length = if args.brief { Length::Brief } else { Length::Full };
    let texts: Vec<String> = explanations.iter().map(|one| text::text(one, length)).collect();
    style::print(&texts.join("\n"))
}

fn history(decisions: &[Explanation]) -> Outcome {
    let mut rows = String::from("N\tAT\tOBJECT\tHAPPENED\tANSWERS\n");
    for one in decisions {
        let happened: Vec<&str> = one.happened.iter().map(|event| event.reason.as_str()).collect();
        let happened = if happened.is_empty() { "-".to_owned() } else { happened.join(", ") };
        let at = text::second(&one.at);
        rows.push_str(&format!(
            "{}\t{at}\t{}\t{}\t{}\n",
            one.decision.unwrap_or_default(),
            text::clean(&text::about(one)),
            text::clean(&happened),
            anstream::adapter::strip_str(&text::summary(one)),
        ));
    }
    if decisions.is_empty() {
        rows = "no decision is kept yet\n".to_owned();
    }
    output::print(&table::align(&rows))
}
