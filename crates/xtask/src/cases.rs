//! Case files: where they are, and running one case.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use herald_expr::Program;
use herald_template::Template;
use herald_value::{Value, gofmt, limits::Limits, vector, vector::Case};

use crate::root;

/// The two languages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// A template.
    Template,
    /// An expression.
    Expr,
}

impl Kind {
    /// The name in case files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Template => "template",
            Kind::Expr => "expr",
        }
    }
}

/// What running a case gave.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// A template's text.
    Text(Vec<u8>),
    /// An expression's value: encoded, its Go type, its printed text.
    Value(serde_json::Value, String, String),
    /// A failure: its phase, its message, and whether a limit of ours caused it.
    Failure(String, String, bool),
}

/// A case file.
pub(crate) struct File {
    /// The language of its cases.
    pub(crate) kind: Kind,
    /// Its path.
    pub(crate) path: PathBuf,
    /// The folder below which `env_ref` is resolved.
    pub(crate) env_dir: PathBuf,
}

/// All case files: our own, and the ones beside the repository where they are there.
pub(crate) fn files() -> Vec<File> {
    let mut files = Vec::new();
    let own = root().join("conformance/vectors");
    let shared = root().join("../shared/vectors");
    let extra = root().join("conformance/cases");
    for (folder, env_dir) in
        [(own.join("own"), own.clone()), (extra, own.clone()), (shared.join("upstream"), shared.clone())]
    {
        for kind in [Kind::Template, Kind::Expr] {
            let path = folder.join(format!("{}.jsonl", kind.name()));
            if path.exists() {
                files.push(File { kind, path, env_dir: env_dir.clone() });
            } else {
                eprintln!("SKIPPED: no {}", path.display());
            }
        }
    }
    files
}

/// Environments by file, read once.
pub(crate) struct Environments {
    dir: PathBuf,
    now: jiff::Timestamp,
    texts: HashMap<String, Vec<u8>>,
}

impl Environments {
    /// Environments below a folder.
    pub(crate) fn new(dir: &Path) -> Environments {
        Environments { dir: dir.to_owned(), now: jiff::Timestamp::now(), texts: HashMap::new() }
    }

    /// The environment of a case.
    pub(crate) fn of(&mut self, case: &Case) -> Result<Value> {
        let referred = match &case.env_ref {
            None => None,
            Some(name) => {
                if !self.texts.contains_key(name) {
                    let path = self.dir.join(name);
                    let text = fs::read(&path).with_context(|| path.display().to_string())?;
                    self.texts.insert(name.clone(), text);
                }
                self.texts.get(name).map(Vec::as_slice)
            }
        };
        Ok(case.environment(referred, self.now)?)
    }
}

/// Runs a case.
pub(crate) fn run(kind: Kind, source: &str, env: &Value) -> Outcome {
    match kind {
        Kind::Template => {
            let template = match Template::parse("t", source, Limits::DEFAULT) {
                Ok(template) => template,
                Err(error) => return Outcome::Failure("parse".into(), error.to_string(), error.over_limit),
            };
            let mut out = Vec::new();
            match template.render(env, Limits::DEFAULT, &mut out) {
                Ok(()) => Outcome::Text(out),
                Err(error) => Outcome::Failure("exec".into(), error.to_string(), error.over_limit),
            }
        }
        Kind::Expr => {
            let program = match Program::compile(source, Limits::DEFAULT) {
                Ok(program) => program,
                Err(error) => return Outcome::Failure("compile".into(), error.to_string(), error.over_limit),
            };
            match program.run(env, Limits::DEFAULT) {
                Ok(value) => Outcome::Value(vector::encode(&value), value.go_type(), gofmt::to_text(&value)),
                Err(error) => Outcome::Failure("run".into(), error.to_string(), error.over_limit),
            }
        }
    }
}

/// How an outcome differs from what a case wants; `None` if it doesn't.
pub(crate) fn difference(case: &Case, outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Failure(phase, message, _) if case.ok => Some(format!("failed ({phase}): {message}")),
        Outcome::Failure(phase, message, _) => (Some(phase.as_str()) != case.phase.as_deref())
            .then(|| format!("failed in {phase} instead of {:?}: {message}", case.phase)),
        Outcome::Text(text) => {
            let text_shown = String::from_utf8_lossy(text);
            match case.output() {
                _ if !case.ok => Some(format!("no error, but {text_shown:?}")),
                Some(wanted) if wanted == *text => None,
                wanted => Some(format!(
                    "printed {text_shown:?} instead of {:?}",
                    String::from_utf8_lossy(&wanted.unwrap_or_default())
                )),
            }
        }
        Outcome::Value(value, go_type, text) => {
            let wanted = case.out.clone().unwrap_or_default();
            if !case.ok {
                Some(format!("no error, but {value}"))
            } else if !same(&wanted, value) {
                Some(format!("gave {value} instead of {wanted}"))
            } else if case.gotype.as_ref().is_some_and(|wanted| !same_type(wanted, go_type)) {
                Some(format!("has type {go_type} instead of {:?}", case.gotype))
            } else if case.text.as_ref().is_some_and(|wanted| wanted != text) {
                Some(format!("prints {text:?} instead of {:?}", case.text))
            } else {
                None
            }
        }
    }
}

/// Whether two encoded values are the same. A float is not an integer; the order of a map's pairs means nothing.
fn same(a: &serde_json::Value, b: &serde_json::Value) -> bool {
    use serde_json::Value as Json;
    match (a, b) {
        (Json::Array(a), Json::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Json::Object(a), Json::Object(b)) => {
            if let (Some(Json::Array(a)), Some(Json::Array(b))) = (a.get("$map"), b.get("$map")) {
                return a.len() == b.len() && a.iter().all(|a| b.iter().any(|b| same(a, b)));
            }
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

/// Functions have no type worth comparing.
fn same_type(wanted: &str, given: &str) -> bool {
    wanted == given || wanted.starts_with("func(") || wanted == "interface {}"
}
