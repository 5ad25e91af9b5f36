//! `herald lint`: what is wrong with a configuration, before the cluster finds out.

use std::path::Path;

use clap::{Args, ValueEnum};
use herald_core::{diagnostic::Severity, names::nearest};
use herald_lint::{Options, Report, format, pages};

use crate::{
    cluster::ResourceName,
    failure::{Failure, Outcome},
    input::{self, ConfigArgs},
    live, output,
    pipeline::delivery,
    scene::ClusterArgs,
};

/// A format of findings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LintFormat {
    /// For people, with the source line and a caret
    #[default]
    Text,
    /// One JSON document
    Json,
    /// Workflow commands, shown by GitHub at the lines of a pull request
    Github,
    /// SARIF 2.1.0, for code scanning
    Sarif,
    /// JUnit XML: one test case for each file
    Junit,
}

/// What makes the command fail besides errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Deny {
    /// Warnings count as errors
    Warnings,
}

/// Check a configuration and the manifests that subscribe to it.
#[derive(Args, Debug)]
#[command(
    after_help = "Exit codes: 0 no errors, 1 errors found, 2 wrong usage, 3 something can't be reached.\n\n\
    Examples:\n  herald lint notifications.yaml rollout.yaml\n  herald lint manifests/ --format github --deny warnings\n  \
    kustomize build . | herald lint -\n  herald lint --live -n shop\n  herald lint --explain HD012"
)]
pub(crate) struct LintArgs {
    /// Files with manifests, directories of them, or `-` for standard input
    files: Vec<String>,
    /// Format of the findings
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: LintFormat,
    /// Also tell where Argo Rollouts' own notifications behave otherwise
    #[arg(long)]
    compat: bool,
    /// Conditions and templates are also about objects of this kind (`herald run --resource`)
    #[arg(long, value_name = "GROUP/VERSION/KIND")]
    resource: Vec<ResourceName>,
    /// Fail also because of these
    #[arg(long, value_name = "WHAT")]
    deny: Option<Deny>,
    /// Check the configuration in a cluster, and its Rollouts: those of --namespace, or all
    #[arg(long, conflicts_with = "files")]
    live: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Print what a code means, such as HD012
    #[arg(long, value_name = "CODE")]
    explain: Option<String>,
}

pub(crate) fn run(args: &LintArgs, config: &ConfigArgs) -> Outcome {
    if let Some(code) = &args.explain {
        return explain(code);
    }
    let files = match args.live {
        true => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(live::manifests(&args.cluster, config.namespace.as_deref()))?
        }
        false => {
            let mut names = args.files.clone();
            names.extend(config.config_map.iter().cloned());
            names.extend(config.secret.iter().filter(|file| *file != ":empty").cloned());
            if names.is_empty() {
                return Err(Failure::usage(
                    "name the files to check, a directory, `-` for standard input, or --live for a cluster",
                ));
            }
            read(&names)?
        }
    };
    let kinds = args.resource.iter().map(ResourceName::variable).collect();
    let options = Options { compat: args.compat, kinds, more: Some(delivery::check) };
    let mut report = herald_lint::lint(&files, &options);
    if args.deny == Some(Deny::Warnings) {
        report.deny_warnings();
    }
    let out = match args.format {
        LintFormat::Text => format::text(&report),
        LintFormat::Json => format::json(&report),
        LintFormat::Github => format::github(&report),
        LintFormat::Sarif => format::sarif(&report),
        LintFormat::Junit => format::junit(&report, &files),
    };
    output::print(&out)?;
    if args.format == LintFormat::Text {
        eprintln!("{}", format::summary(&report));
    }
    verdict(&report)
}

fn verdict(report: &Report) -> Outcome {
    if report.count(Severity::Error) > 0 { Err(Failure::told()) } else { Ok(()) }
}

fn explain(code: &str) -> Outcome {
    match pages::page(code) {
        Some(page) => output::print(page),
        None => {
            let near = nearest(code, pages::ALL.iter().map(|(code, _)| *code));
            let hint = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
            Err(Failure::usage(format!("there is no code `{code}`{hint}")))
        }
    }
}

/// The texts of files and of the manifests in directories.
fn read(names: &[String]) -> Result<Vec<(String, String)>, Failure> {
    let mut files = Vec::new();
    for name in names {
        if name != "-" && Path::new(name).is_dir() {
            let before = files.len();
            directory(Path::new(name), 0, &mut files)?;
            if files.len() == before {
                return Err(Failure::usage(format!("directory '{name}' holds no .yaml, .yml or .json file")));
            }
        } else {
            let text = input::text(name).map_err(|failure| Failure::usage(failure.message))?;
            let shown = if name == "-" { "<stdin>" } else { name };
            files.push((shown.to_owned(), text));
        }
    }
    Ok(files)
}

/// Directories deeper than this are no manifests of anybody.
const DEEPEST: usize = 16;

fn directory(dir: &Path, depth: usize, files: &mut Vec<(String, String)>) -> Result<(), Failure> {
    let fail =
        |error: std::io::Error| Failure::usage(format!("can't read directory '{}': {error}", dir.display()));
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(fail)? {
        entries.push(entry.map_err(fail)?.path());
    }
    entries.sort();
    for path in entries {
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let manifest = path
            .extension()
            .is_some_and(|ext| ["yaml", "yml", "json"].iter().any(|known| ext.eq_ignore_ascii_case(known)));
        if hidden {
            continue;
        }
        if path.is_dir() {
            if depth < DEEPEST {
                directory(&path, depth + 1, files)?;
            }
        } else if manifest {
            let name = path.display().to_string();
            let text = input::text(&name).map_err(|failure| Failure::usage(failure.message))?;
            files.push((name, text));
        }
    }
    Ok(())
}
