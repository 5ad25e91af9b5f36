//! `herald shadow`

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use jiff::Timestamp;

use crate::{
    failure::{Failure, Outcome},
    input::{self, ConfigArgs},
    live, output,
    scene::{ClusterArgs, Scene},
    shadow::{Line, recording, report, snapshot},
    style,
};

/// Arguments of `shadow`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  kubectl get rollouts,replicasets,analysisruns -A -o yaml > now.yaml\n  herald shadow now.yaml --config-map notifications.yaml\n  herald shadow recording/stream.jsonl --config-map notifications.yaml -o json\n  herald shadow --live -n shop\n\nNothing is sent, and nothing is stored. Exits with 1 if the two differ in a way that is not meant."
)]
pub(crate) struct ShadowArgs {
    /// Directory or file with objects as they are now, or a recording: one observation a line (stream.jsonl); `-` is
    /// standard input
    #[arg(required_unless_present = "live", conflicts_with = "live")]
    source: Option<PathBuf>,
    /// Compare in a cluster, for the Rollouts of --namespace, or all
    #[arg(long)]
    live: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Tell what is the same, too
    #[arg(long)]
    all: bool,
    /// Format
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Shape,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shape {
    /// For people
    Text,
    /// JSON, indented by two
    Json,
}

pub(crate) fn run(args: &ShadowArgs, config: &ConfigArgs) -> Outcome {
    let source = args.source.as_deref().unwrap_or(Path::new("-"));
    let lines = match recorded(source) {
        _ if args.live => in_cluster(args, config)?,
        Some(file) => {
            let name = file.to_string_lossy().into_owned();
            let text = input::text(&name)?;
            recording::compare(&Scene::default().configuration(config)?, &text, &name)?
        }
        None => present(&source.to_string_lossy(), config)?,
    };
    match args.output {
        Shape::Text => style::print(&report::text(&lines, args.all))?,
        Shape::Json => output::print(&format!("{:#}\n", report::json(&lines)))?,
    }
    if lines.iter().any(Line::is_difference) { Err(Failure::told()) } else { Ok(()) }
}

/// The file of a recording, if it is one.
fn recorded(source: &Path) -> Option<PathBuf> {
    let inside = source.join("stream.jsonl");
    if inside.is_file() {
        return Some(inside);
    }
    source.extension().is_some_and(|ending| ending == "jsonl").then(|| source.to_owned())
}

fn present(source: &str, config: &ConfigArgs) -> Result<Vec<Line>, Failure> {
    if source != "-" && !Path::new(source).exists() {
        return Err(Failure::unreachable(format!("there is no file or directory '{source}'")));
    }
    let scene = Scene::read(source)?;
    compare(&scene, source, config)
}

fn in_cluster(args: &ShadowArgs, config: &ConfigArgs) -> Result<Vec<Line>, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let namespace = config.namespace.as_deref();
    let scene = runtime.block_on(live::scene(&args.cluster, namespace))?;
    // The namespace is that of the Rollouts.
    let config = ConfigArgs { namespace: None, ..config.clone() };
    compare(&scene, "the cluster", &config)
}

fn compare(scene: &Scene, source: &str, config: &ConfigArgs) -> Result<Vec<Line>, Failure> {
    let configured = scene.configuration(config)?;
    let keys = scene.rollouts(None)?;
    if keys.is_empty() {
        return Err(Failure::bad(format!("{source} holds no Rollout")));
    }
    let now = Timestamp::now();
    Ok(keys.iter().flat_map(|key| snapshot::compare(&configured, &scene.world.look(key), now)).collect())
}
