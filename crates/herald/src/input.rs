//! What commands read from files: the ConfigMap, the Secret, objects.

use std::{
    collections::BTreeMap,
    io::Read as _,
    path::{Path, PathBuf},
};

use base64::Engine as _;
use clap::Args;
use herald_core::{
    catalog,
    config::{CONFIG_MAP, Config, ConfigInput, SECRET},
    diagnostic::{Diagnostic, Severity, codes},
    yaml::{self, Node},
};
use herald_services::{Environment, Registry, redact::Redactor};
use herald_value::{Value, limits::Limits};

use crate::failure::Failure;

/// Larger files are refused, as Kubernetes has no object of that size.
const LARGEST_BYTES: u64 = herald_sources::directory::LARGEST_FILE_BYTES;

/// Where the configuration comes from.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ConfigArgs {
    /// File with the ConfigMap `argo-rollouts-notification-configmap`; `-` is standard input
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) config_map: Option<String>,
    /// File with the Secret `argo-rollouts-notification-secret`; `-` is standard input, `:empty` is none
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) secret: Option<String>,
    /// Namespace of the configuration
    #[arg(short, long, value_name = "NAME", global = true)]
    pub(crate) namespace: Option<String>,
}

/// A file's text; `-` is standard input.
pub(crate) fn text(name: &str) -> Result<String, Failure> {
    let fail = |error: std::io::Error| Failure::bad(format!("can't read file '{name}': {error}"));
    let mut bytes = Vec::new();
    if name == "-" {
        std::io::stdin().lock().take(LARGEST_BYTES + 1).read_to_end(&mut bytes).map_err(fail)?;
    } else {
        let file = std::fs::File::open(name).map_err(fail)?;
        file.take(LARGEST_BYTES + 1).read_to_end(&mut bytes).map_err(fail)?;
    }
    if bytes.len() as u64 > LARGEST_BYTES {
        return Err(Failure::bad(format!(
            "file '{name}' is larger than {} MiB, and no manifest is",
            LARGEST_BYTES >> 20
        )));
    }
    String::from_utf8(bytes)
        .map_err(|e| Failure::bad(format!("file '{name}' is no text: {} (UTF-8 is needed)", e.utf8_error())))
}

/// All documents of a file.
pub(crate) fn documents(name: &str) -> Result<Vec<Node>, Failure> {
    let documents = yaml::parse_all(&text(name)?).map_err(|e| {
        Failure::bad(format!(
            "file '{name}' is no valid YAML: line {}, column {}: {}",
            e.at.line, e.at.column, e.message
        ))
    })?;
    Ok(documents.into_iter().flat_map(listed).collect())
}

/// What a document holds: several objects, if it is a list as `kubectl get -o yaml` prints it.
fn listed(document: Node) -> Vec<Node> {
    let is_list = document.get("kind").and_then(Node::text).is_some_and(|kind| kind.ends_with("List"));
    match document.get("items").filter(|_| is_list) {
        Some(items) => items.items().to_vec(),
        None => vec![document],
    }
}

fn kind_and_name(node: &Node) -> (&str, &str) {
    let kind = node.get("kind").and_then(Node::text).unwrap_or_default();
    let name = node.get("metadata").and_then(|m| m.get("name")).and_then(Node::text).unwrap_or_default();
    (kind, name)
}

fn find(documents: &[Node], kind: &str, name: &str) -> Option<Value> {
    documents.iter().find(|node| kind_and_name(node) == (kind, name)).map(Node::to_value)
}

fn named(file: &str, documents: &[Node], kind: &str, name: &str) -> Result<Value, Failure> {
    find(documents, kind, name)
        .ok_or_else(|| Failure::bad(format!("file '{file}' does not have '/{kind}/{name}'")))
}

/// The data of a ConfigMap.
pub(crate) fn config_map_data(object: &Value) -> BTreeMap<String, String> {
    let entries = object.get("data").and_then(Value::as_map).map(|map| map.entries().to_vec());
    let text =
        |value: &Value| value.as_str().map_or_else(|| herald_value::gofmt::to_text(value), str::to_owned);
    entries
        .unwrap_or_default()
        .iter()
        .filter(|(_, value)| !value.is_nil())
        .map(|(key, value)| (key.to_str_lossy().into_owned(), text(value)))
        .collect()
}

/// The data of a Secret, `stringData` included, and what is wrong with it.
pub(crate) fn secret_data(object: &Value) -> (BTreeMap<String, Vec<u8>>, Vec<String>) {
    let mut data = BTreeMap::new();
    let mut wrong = Vec::new();
    let entries = |field: &str| {
        let map = object.get(field).and_then(Value::as_map);
        map.map(|map| map.entries().to_vec()).unwrap_or_default()
    };
    for (key, value) in entries("data") {
        let key = key.to_str_lossy().into_owned();
        let encoded: String =
            value.as_str().unwrap_or_default().chars().filter(|c| !c.is_ascii_whitespace()).collect();
        match base64::engine::general_purpose::STANDARD.decode(encoded) {
            Ok(bytes) => drop(data.insert(key, bytes)),
            Err(_) => wrong.push(format!(
                "key `{key}` of `data` is not base64; write it below `stringData` to have it as it stands"
            )),
        }
    }
    for (key, value) in entries("stringData") {
        let text = value.as_str().map_or_else(|| herald_value::gofmt::to_text(&value), str::to_owned);
        data.insert(key.to_str_lossy().into_owned(), text.into_bytes());
    }
    (data, wrong)
}

/// A loaded configuration and what sending with it needs.
pub(crate) struct Loaded {
    pub(crate) config: Config,
    pub(crate) environment: Environment,
    /// Whether a ConfigMap was given.
    pub(crate) given: bool,
}

impl ConfigArgs {
    /// What the files hold, over the catalog.
    pub(crate) fn input(&self) -> Result<ConfigInput, Failure> {
        let mut input = base_input();
        let mut secret = None;
        if let Some(file) = &self.config_map {
            let documents = documents(file)?;
            input.data = config_map_data(&named(file, &documents, "ConfigMap", CONFIG_MAP)?);
            input.object = format!("ConfigMap {CONFIG_MAP}");
            input.file = Some(file.clone());
            // Often both are in one file; `--secret :empty` says that the Secret there doesn't count.
            if self.secret.as_ref().is_none_or(|other| other == file) {
                secret = find(&documents, "Secret", SECRET).map(|secret| (file.as_str(), secret));
            }
        }
        if secret.is_none()
            && let Some(file) = self.secret.as_deref().filter(|file| *file != ":empty")
        {
            secret = Some((file, named(file, &documents(file)?, "Secret", SECRET)?));
        }
        if let Some((file, secret)) = secret {
            let (data, wrong) = secret_data(&secret);
            for problem in wrong {
                eprintln!("warning: file '{file}', Secret {SECRET}: {problem}");
            }
            input.secret = data;
            input.secret_object = file.to_owned();
        }
        Ok(input)
    }

    /// Loads the configuration; says what is wrong with it.
    pub(crate) fn load(&self) -> Result<Loaded, Failure> {
        let input = self.input()?;
        let (config, diagnostics) = Config::load(&input, &Registry::standard(), Limits::DEFAULT);
        // Without a Secret given, that a key of it is missing tells nobody anything.
        let idle = |d: &Diagnostic| self.secret.is_none() && d.code == codes::SECRET_KEY;
        for diagnostic in diagnostics.iter().filter(|d| d.severity != Severity::Note && !idle(d)) {
            eprint!("{diagnostic}");
        }
        Ok(Loaded { config, environment: environment(&input), given: self.config_map.is_some() })
    }
}

/// The catalog, and the services that need no configuration.
pub(crate) fn base_input() -> ConfigInput {
    let provided = "console".parse().map(|name| vec![(name, "console".to_owned())]);
    ConfigInput { base: catalog::data(), provided: provided.unwrap_or_default(), ..ConfigInput::default() }
}

/// What services share, for a configuration.
pub(crate) fn environment(input: &ConfigInput) -> Environment {
    let secrets = input.secret.values().map(|value| String::from_utf8_lossy(value));
    Environment { redactor: Redactor::new(secrets).into(), ..Environment::default() }
}

/// The object that a command is about, with what else its file holds.
pub(crate) struct Resource {
    pub(crate) object: Value,
    pub(crate) analysis_runs: Value,
}

/// Reads RESOURCE: a file with a Rollout, or with any one object.
pub(crate) fn resource(name: &str) -> Result<Resource, Failure> {
    if name != "-" && !Path::new(name).is_file() {
        // A path means a file and nothing else; any other name could be that of an object in a cluster.
        let looks_like_a_file = name.contains('/')
            || [".yaml", ".yml", ".json"].iter().any(|end| name.to_ascii_lowercase().ends_with(end));
        return Err(if looks_like_a_file {
            Failure::bad(format!("there is no file '{name}'"))
        } else {
            Failure::unreachable(format!(
                "there is no file '{name}', and objects of a cluster can't be read; give the file of a Rollout"
            ))
        });
    }
    let objects: Vec<Value> = documents(name)?.iter().map(Node::to_value).collect();
    let kind = |object: &Value| object.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
    let rollout = objects.iter().find(|o| kind(o) == "Rollout").or(match &objects[..] {
        [only] => Some(only),
        _ => None,
    });
    let Some(rollout) = rollout else {
        return Err(Failure::bad(format!("file '{name}' does not have 'argoproj.io/Rollout/'")));
    };
    let reference = rollout.path(&["spec", "workloadRef"]);
    let workload = reference.and_then(|reference| {
        objects.iter().find(|o| {
            o.get("kind") == reference.get("kind") && o.path(&["metadata", "name"]) == reference.get("name")
        })
    });
    let runs = objects.iter().filter(|o| kind(o) == "AnalysisRun");
    Ok(Resource {
        analysis_runs: herald_core::variables::select_analysis_runs(rollout, runs),
        object: herald_core::variables::shape_rollout(rollout, workload),
    })
}

fn state_home() -> Result<PathBuf, Failure> {
    let home = |variable: &str| std::env::var_os(variable).filter(|v| !v.is_empty()).map(PathBuf::from);
    home("XDG_STATE_HOME").or_else(|| home("HOME").map(|h| h.join(".local/state"))).ok_or_else(|| {
        Failure::usage("neither XDG_STATE_HOME nor HOME is set; name a state file with --state FILE")
    })
}

/// The state file of a run in a cluster.
pub(crate) fn cluster_state_file(named: Option<&Path>, context: Option<&str>) -> Result<PathBuf, Failure> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    let context: String = context
        .unwrap_or("current")
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' })
        .collect();
    Ok(state_home()?.join("herald").join(format!("cluster-{context}.db")))
}

/// The state file that is named, which may be by the directory that belongs to it; else that of a directory.
pub(crate) fn named_state_file(named: Option<&Path>, dir: &Path) -> Result<PathBuf, Failure> {
    match named {
        Some(place) if place.is_dir() => state_file(None, place),
        other => state_file(other, dir),
    }
}

/// The state file of a directory, unless one is named.
pub(crate) fn state_file(named: Option<&Path>, dir: &Path) -> Result<PathBuf, Failure> {
    use sha2::{Digest as _, Sha256};
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    let base = state_home()?;
    let canonical =
        std::fs::canonicalize(dir).or_else(|_| std::path::absolute(dir)).unwrap_or_else(|_| dir.to_owned());
    let hash = Sha256::digest(canonical.as_os_str().as_encoded_bytes());
    let short: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Ok(base.join("herald").join(format!("{short}.db")))
}

/// A diagnostic with the object and the file that it is about, where it doesn't say so itself.
pub(crate) fn placed(mut diagnostic: Diagnostic, object: &str, file: Option<&Path>) -> Diagnostic {
    if diagnostic.object.is_empty() {
        object.clone_into(&mut diagnostic.object);
    }
    if diagnostic.file.is_none() {
        diagnostic.file = file.map(|file| file.display().to_string());
    }
    diagnostic
}
