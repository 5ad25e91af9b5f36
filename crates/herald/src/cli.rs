//! The words of the command line.

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{
    commands::{
        catalog, complete_words, completion, deliver, deliveries, eval, explain, lint, man, outbox, replay,
        run, schema, shadow, template, test, trigger, ui, version,
    },
    failure::Outcome,
    input::ConfigArgs,
};

/// Notifications for Argo Rollouts: everything delivered, nothing repeated, every decision explained.
#[derive(Parser, Debug)]
#[command(
    name = "herald",
    version,
    after_help = "Example:\n  herald run examples/quickstart --once",
    max_term_width = 110
)]
pub(crate) struct Cli {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    pub(crate) logging: Logging,
    /// Exit with 0 where `kubectl argo rollouts notifications` does so in spite of an error
    #[arg(long, global = true)]
    pub(crate) compat_exit_codes: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Watch a directory of manifests and send the notifications that are due
    Run(run::RunArgs),
    /// List templates, or send a notification from them
    Template(template::TemplateArgs),
    /// List triggers, or run one
    Trigger(trigger::TriggerArgs),
    /// Say why a notification was sent, or not
    Explain(explain::ExplainArgs),
    /// Test a configuration: given these objects, expect these notices
    Test(test::TestArgs),
    /// Check a configuration and the manifests that subscribe to it
    Lint(lint::LintArgs),
    /// Compare with what Argo Rollouts recorded as sent, without sending anything
    Shadow(shadow::ShadowArgs),
    /// Print JSON Schemas of the ConfigMap's keys
    Schema(schema::SchemaArgs),
    /// Evaluate a template or an expression
    Eval(eval::EvalArgs),
    /// Print the built-in triggers and templates as a ConfigMap
    Catalog(catalog::CatalogArgs),
    /// Deliver what others publish to a shared outbox
    Deliver(deliver::DeliverArgs),
    /// Look at deliveries, send dead letters again, or drop them
    Deliveries(deliveries::DeliveriesArgs),
    /// Serve the page over what a run has stored, without running anything
    Ui(ui::UiArgs),
    /// Replay a recording of a cluster and compare what was sent with what is derived
    Replay(replay::ReplayArgs),
    /// Look after the state file
    Outbox(outbox::OutboxArgs),
    /// Print a completion script for a shell
    Completion(completion::CompletionArgs),
    /// Candidates for kubectl's completion
    #[command(hide = true)]
    CompleteWords(complete_words::CompleteWordsArgs),
    /// Write the manual pages
    #[command(hide = true)]
    Man(man::ManArgs),
    /// Print the version
    Version(version::VersionArgs),
}

impl Cli {
    pub(crate) fn run(self) -> Outcome {
        match self.command {
            Command::Run(args) => run::run(&args, &self.config, self.logging.logformat == LogFormat::Json),
            Command::Template(args) => template::run(&args, &self.config),
            Command::Trigger(args) => trigger::run(&args, &self.config),
            Command::Explain(args) => explain::run(&args, &self.config),
            Command::Test(args) => test::run(&args, &self.config),
            Command::Lint(args) => lint::run(&args, &self.config),
            Command::Shadow(args) => shadow::run(&args, &self.config),
            Command::Schema(args) => schema::run(&args),
            Command::Eval(args) => eval::run(&args),
            Command::Catalog(args) => catalog::run(&args),
            Command::Deliver(args) => {
                deliver::run(&args, &self.config, self.logging.logformat == LogFormat::Json)
            }
            Command::Deliveries(args) => deliveries::run(&args, &self.config),
            Command::Ui(args) => ui::run(&args, &self.config),
            Command::Replay(args) => replay::run(&args),
            Command::Outbox(args) => outbox::run(&args),
            Command::Completion(args) => completion::run(&args),
            Command::CompleteWords(args) => complete_words::run(&args),
            Command::Man(args) => man::run(&args),
            Command::Version(args) => version::run(&args),
        }
    }
}

/// How logs look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// Logs: always on standard error.
#[derive(Args, Clone, Debug)]
pub(crate) struct Logging {
    /// error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "info", env = "HERALD_LOGLEVEL", global = true)]
    loglevel: String,
    /// Format of logs
    #[arg(long, value_name = "FORMAT", default_value = "text", env = "HERALD_LOGFORMAT", global = true)]
    pub(crate) logformat: LogFormat,
}

impl Logging {
    pub(crate) fn start(&self) {
        use tracing_subscriber::EnvFilter;
        let wanted = std::env::var("RUST_LOG").ok().filter(|v| !v.is_empty());
        let level = if self.loglevel == "warning" { "warn" } else { &self.loglevel };
        // The client of NATS speaks of its connections; what it means for deliveries the outbox says.
        let ours = if level == "info" { "info,async_nats=warn" } else { level };
        let filter =
            EnvFilter::try_new(wanted.as_deref().unwrap_or(ours)).unwrap_or_else(|_| EnvFilter::new("info"));
        let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        let color =
            std::io::IsTerminal::is_terminal(&std::io::stderr()) && std::env::var_os("NO_COLOR").is_none();
        match self.logformat {
            LogFormat::Text => builder.with_ansi(color).with_target(false).init(),
            LogFormat::Json => builder.json().flatten_event(true).init(),
        }
    }
}

#[cfg(test)]
mod tests {
    use herald_core::yaml::{self, Node};

    use super::*;

    /// The command lines of all pods in rendered manifests.
    fn command_lines(manifests: &str) -> Vec<Vec<String>> {
        let texts = |node: Option<&Node>| -> Vec<String> {
            let items = node.map(Node::items).unwrap_or_default();
            items.iter().filter_map(|item| item.text().map(str::to_owned)).collect()
        };
        let mut found = Vec::new();
        for document in manifests.split("\n---\n") {
            let Ok((document, _)) = yaml::parse_lenient(document) else { panic!("{document}") };
            let containers = ["spec", "template", "spec", "containers"]
                .iter()
                .try_fold(&document, |node, key| node.get(key))
                .map(Node::items)
                .unwrap_or_default();
            found.extend(containers.iter().map(|container| texts(container.get("args"))));
        }
        found
    }

    fn rendered(program: &str, args: &[&str]) -> Option<String> {
        let Ok(output) = std::process::Command::new(program).args(args).output() else {
            eprintln!("SKIPPED: 1 test of deploy/: {program} is not there");
            return None;
        };
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        Some(String::from_utf8(output.stdout).unwrap())
    }

    fn check(manifests: &str, wanted: &[&str]) {
        let lines = command_lines(manifests);
        assert_eq!(lines.len(), 1, "{manifests}");
        let words = ["herald".to_owned()].into_iter().chain(lines[0].clone());
        let cli = Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{:?}: {error}", lines[0]));
        for flag in wanted {
            assert!(lines[0].iter().any(|word| word.starts_with(flag)), "{flag}: {:?}", lines[0]);
        }
        let Command::Run(args) = cli.command else { panic!("{:?}", lines[0]) };
        assert!(args.may_start().is_ok(), "{:?}: {:?}", lines[0], args.may_start());
    }

    #[test]
    fn the_annotations_are_switched_by_flags() {
        for line in ["--state-annotation=off", "--state-annotation=on", "--cursor-annotation=off"] {
            let parsed = Cli::try_parse_from(["herald", "run", line]);
            assert!(parsed.is_ok(), "{line}: {parsed:?}");
        }
        assert!(Cli::try_parse_from(["herald", "run", "--state-annotation=maybe"]).is_err());
    }

    /// A flag that the program doesn't have, or refuses, keeps a pod from starting.
    #[test]
    fn the_manifests_of_kustomize_start_the_program() {
        let deploy = std::path::absolute(format!("{}/../../deploy", env!("CARGO_MANIFEST_DIR"))).unwrap();
        for (base, components) in [
            ("cluster-install", vec!["high-availability", "self-service", "ui", "network-policy"]),
            ("namespace-install", vec!["high-availability", "ui"]),
            ("cluster-install", vec![]),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let up = "../".repeat(dir.path().components().count());
            let place = |part: &str| format!("{}{}/{part}", up.trim_end_matches('/'), deploy.display());
            let list: String = components
                .iter()
                .map(|part| format!("  - {}\n", place(&format!("components/{part}"))))
                .collect();
            let list = if list.is_empty() { list } else { format!("components:\n{list}") };
            let text = format!(
                "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n  - {}\n{list}",
                place(base)
            );
            std::fs::write(dir.path().join("kustomization.yaml"), text).unwrap();
            let Some(text) = rendered("kubectl", &["kustomize", dir.path().to_str().unwrap()]) else {
                return;
            };
            let wanted: &[&str] = match components.len() {
                4 => &["--self-service-notification-enabled", "--ui"],
                2 => &["--namespaced", "--ui"],
                _ => &["--state"],
            };
            check(&text, wanted);
        }
    }

    #[test]
    fn the_chart_starts_the_program() {
        let chart = format!("{}/../../deploy/chart/herald", env!("CARGO_MANIFEST_DIR"));
        let helm = std::env::var("HELM").unwrap_or_else(|_| "helm".into());
        for (values, wanted) in [
            (
                vec!["controller.selfServiceNotification=true", "ui.enabled=true"],
                vec!["--self-service", "--ui-address"],
            ),
            (vec!["clusterInstall=false", "ui.enabled=true"], vec!["--namespaced"]),
            (vec![], vec!["--state"]),
        ] {
            let mut args = vec!["template", "x", &chart, "--kube-version", "1.33.0"];
            for value in &values {
                args.extend(["--set", value]);
            }
            let Some(text) = rendered(&helm, &args) else { return };
            check(&text, &wanted);
        }
    }
}
