//! Flags of `herald run` from a file: `--config FILE`, a map of flag names. What the command line and the environment say
//! goes before it.

use std::{ffi::OsString, path::PathBuf};

use clap::{CommandFactory as _, FromArgMatches as _};
use herald_core::yaml::{self, Kind, Node};

use crate::{cli::Cli, failure::Failure};

/// Reads the command line, with what a file says where it and the environment are silent.
pub(crate) fn parse(words: &[OsString]) -> Result<Result<Cli, clap::Error>, Failure> {
    let mut command = Cli::command();
    if let Some(file) = file(words) {
        let text = std::fs::read_to_string(&file)
            .map_err(|e| Failure::bad(format!("can't read the file of --config, {}: {e}", file.display())))?;
        let settings = settings(&text).map_err(|e| Failure::bad(format!("{}: {e}", file.display())))?;
        for (name, values) in settings {
            command =
                with(command, &name, values).map_err(|e| Failure::bad(format!("{}: {e}", file.display())))?;
        }
    }
    Ok(command.try_get_matches_from_mut(words).and_then(|found| Cli::from_arg_matches(&found)))
}

/// The file that the command line of `run`, or the environment, names.
fn file(words: &[OsString]) -> Option<PathBuf> {
    words.iter().skip(1).find(|word| *word == "run")?;
    let mut named = None;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == "--" {
            break;
        }
        if word == "--config" {
            named = words.next().map(PathBuf::from);
        } else if let Some(value) = word.to_str().and_then(|word| word.strip_prefix("--config=")) {
            named = Some(PathBuf::from(value));
        }
    }
    named.or_else(|| std::env::var_os("HERALD_CONFIG").filter(|name| !name.is_empty()).map(PathBuf::from))
}

/// Flags with their values.
fn settings(text: &str) -> Result<Vec<(String, Vec<String>)>, String> {
    let node = yaml::parse(text)
        .map_err(|e| format!("line {}, column {}: {}", e.at.line, e.at.column, e.message))?;
    if !matches!(node.kind, Kind::Map(_) | Kind::Null) {
        return Err(format!("it must be a map of flags, not {}", node.describe()));
    }
    let mut found = Vec::new();
    for (name, at, value) in node.entries() {
        let text = |node: &Node| {
            node.text().map(str::to_owned).ok_or_else(|| {
                format!(
                    "line {}: `{name}` must be a text, a number, true or false, or a list of those",
                    at.line
                )
            })
        };
        let values = match &value.kind {
            Kind::List(items) => items.iter().map(text).collect::<Result<_, _>>()?,
            _ => vec![text(value)?],
        };
        found.push((name.clone(), values));
    }
    Ok(found)
}

/// The command with these values for a flag where nothing else gives one.
fn with(command: clap::Command, name: &str, values: Vec<String>) -> Result<clap::Command, String> {
    let is_it = |arg: &&clap::Arg| arg.get_long() == Some(name) && name != "config";
    let run = command.find_subcommand("run");
    let own = run.and_then(|run| run.get_arguments().find(is_it)).map(|arg| arg.get_id().clone());
    let global = command.get_arguments().find(is_it).map(|arg| arg.get_id().clone());
    // Clap keeps defaults for as long as the program runs, which reads them once.
    let values: Vec<&'static str> = values.into_iter().map(|value| &*value.leak()).collect();
    let set = |arg: clap::Arg| match &values[..] {
        [one] => arg.default_value(*one),
        all => arg.default_values(all.to_vec()),
    };
    match (own, global) {
        (Some(id), _) => Ok(command.mut_subcommand("run", |run| run.mut_arg(id, set))),
        (None, Some(id)) => Ok(command.mut_arg(id, set)),
        (None, None) => {
            Err(format!("`{name}` is no flag of `herald run`; write its name without the dashes"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(settings: &str, words: &[&str]) -> Result<String, String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("herald.yaml");
        std::fs::write(&file, settings).unwrap();
        let flag = format!("--config={}", file.display());
        let words = ["herald", "run", &flag].iter().chain(words).map(OsString::from).collect::<Vec<_>>();
        let parsed = parse(&words).map_err(|failure| failure.message)?;
        parsed.map(|cli| format!("{cli:?}")).map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_gives_flags_and_the_command_line_goes_before_it() {
        let text = "qps: 7.5\nnamespaced: true\nhealthzPort: 8123\nui-host: [a.example, b.example]\nloglevel: debug\n\
                    state-annotation: 'off'\n";
        let found = parsed(text, &[]).unwrap();
        for part in [
            "qps: 7.5",
            "namespaced: true",
            "healthz_port: Some(8123)",
            "[\"a.example\", \"b.example\"]",
            "loglevel: \"debug\"",
            "state_annotation: false",
        ] {
            assert!(found.contains(part), "{part}: {found}");
        }
        let found = parsed(text, &["--qps=9", "--ui-host=c.example"]).unwrap();
        assert!(found.contains("qps: 9.0") && found.contains("[\"c.example\"]"), "{found}");
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (text, part) in [
            ("qqs: 1\n", "`qqs` is no flag of `herald run`"),
            ("- qps\n", "must be a map of flags"),
            ("qps: {a: 1}\n", "line 1: `qps` must be a text"),
            ("qps: many\n", "invalid value 'many'"),
            ("config: other.yaml\n", "is no flag"),
            ("qps: [\n", "line"),
        ] {
            let error = parsed(text, &[]).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
