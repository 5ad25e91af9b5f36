//! Reading and running the cases of `conformance/services`.

#![allow(dead_code, reason = "each test binary uses its own part of it")]

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use herald_core::{
    notification::{Notification, RenderContext, ServiceTypes, TemplateText},
    yaml::{self, Kind, Node},
};
use herald_services::{
    Delivery, Environment, ObjectRef, Registry, SendError, http::HttpFactory, section::child,
};
use herald_value::{Value as Data, limits::Limits};
use serde_json::{Map, Value, json};

pub(crate) const MESSAGE: &str = "message: Application {{.app.metadata.name}} is <now> & running.";
pub(crate) const MSG: &str = "Application guestbook is <now> & running.";
pub(crate) const NOTICE: &str = "notice-1";

pub(crate) type Check = Result<(), String>;

pub(crate) fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../conformance/services"))
}

pub(crate) fn read_yaml(path: &PathBuf) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    yaml::parse(&text).unwrap_or_else(|e| panic!("{}:{}: {e}", path.display(), e.at.line)).to_json()
}

pub(crate) fn texts(case: &Value, key: &str) -> Vec<String> {
    case[key].as_array().into_iter().flatten().filter_map(Value::as_str).map(String::from).collect()
}

pub(crate) fn entries<'a>(case: &'a Value, key: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    case[key].as_object().into_iter().flatten()
}

pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) defaults: Value,
    pub(crate) secrets: Value,
    pub(crate) macros: Map<String, Value>,
    pub(crate) cases: Vec<Value>,
}

impl File {
    pub(crate) fn read(path: &PathBuf) -> File {
        let content = read_yaml(path);
        let mut macros = content["macros"].as_object().cloned().unwrap_or_default();
        macros.insert("MSG".into(), json!(MSG));
        let key = std::fs::read_to_string(folder().join("github-test-key.pem")).expect("the test key");
        macros.insert("KEY".into(), json!(key));
        File {
            name: path.file_stem().expect("a name").to_string_lossy().into_owned(),
            defaults: expand(&content["defaults"], &macros),
            secrets: content["secrets"].clone(),
            cases: content["cases"].as_array().cloned().unwrap_or_default(),
            macros,
        }
    }

    /// The files of the specification's cases.
    pub(crate) fn all() -> Vec<File> {
        File::of(folder())
    }

    /// Cases of our own.
    pub(crate) fn more() -> Vec<File> {
        File::of(folder().join("more"))
    }

    fn of(folder: PathBuf) -> Vec<File> {
        let paths = std::fs::read_dir(&folder).expect("a folder of cases");
        let mut paths: Vec<PathBuf> = paths.map(|entry| entry.expect("an entry").path()).collect();
        paths
            .retain(|path| path.extension().is_some_and(|ext| ext == "yaml") && !path.ends_with("vars.yaml"));
        paths.sort();
        paths.iter().map(File::read).collect()
    }

    /// A case with the file's defaults below it and its `better` above it.
    pub(crate) fn complete(&self, case: &Value) -> Value {
        let mut case = expand(case, &self.macros);
        for (key, value) in self.defaults.as_object().into_iter().flatten() {
            match (case.get_mut(key), value) {
                (Some(Value::Object(own)), Value::Object(below)) if key == "options" => {
                    for (key, value) in below {
                        own.entry(key.clone()).or_insert_with(|| value.clone());
                    }
                }
                (Some(_), _) => {}
                (None, _) => case[key] = value.clone(),
            }
        }
        for (key, value) in case["better"].as_object().cloned().unwrap_or_default() {
            match (case.get_mut(&key), value) {
                (Some(Value::Object(own)), Value::Object(better)) if key == "urls" => own.extend(better),
                (_, value) => case[key] = value,
            }
        }
        if case.get("type").is_none() {
            case["type"] = json!(self.name);
        }
        case
    }
}

/// Replaces the macros in a value: as a whole, or at the start of a text that goes on with `/`.
pub(crate) fn expand(value: &Value, macros: &Map<String, Value>) -> Value {
    match value {
        Value::String(text) => {
            let word =
                text.split_once('/').and_then(|(word, rest)| Some((macros.get(word)?.as_str()?, rest)));
            match (macros.get(text), word) {
                (Some(value), _) => value.clone(),
                (None, Some((word, rest))) => json!(format!("{word}/{rest}")),
                (None, None) => value.clone(),
            }
        }
        Value::Array(items) => items.iter().map(|item| expand(item, macros)).collect(),
        Value::Object(map) => {
            Value::Object(map.iter().map(|(k, v)| (k.clone(), expand(v, macros))).collect())
        }
        other => other.clone(),
    }
}

/// The template stage of the engine, as far as the cases need it.
pub(crate) fn render(
    registry: &Registry,
    templates: &[&str],
    instance: &str,
    recipient: &str,
) -> Result<Notification, String> {
    let mut vars = read_yaml(&folder().join("vars.yaml"));
    vars["serviceType"] = json!(instance);
    vars["recipient"] = json!(recipient);
    let vars = Data::from_json(vars.to_string().as_bytes()).map_err(|e| format!("{e:?}"))?;
    let context = RenderContext {
        template: "app-deployed",
        vars: &vars,
        limits: Limits::DEFAULT,
        now: jiff::Timestamp::now(),
    };
    let mut notification = Notification::default();
    for template in templates {
        let node = yaml::parse(template).map_err(|e| e.to_string())?;
        if let Some(message) = child(&node, "message") {
            let message: TemplateText = yaml::decode(message).map_err(|e| e.to_string())?;
            let message = context.text(&message).map_err(|e| e.to_string())?;
            if !message.is_empty() {
                notification.message = message;
            }
        }
        let Kind::Map(entries) = &node.kind else { continue };
        for (key, _, value) in entries.iter().filter(|(key, _, _)| registry.has_section(key)) {
            let section = registry.parse_section(key, value).map_err(|e| e.to_string())?;
            let earlier = notification.sections.get(key);
            let rendered = section.render(&context, earlier).map_err(|e| e.to_string())?;
            notification.sections.insert(key.clone(), rendered);
        }
    }
    Ok(notification)
}

pub(crate) async fn send(
    registry: &Registry,
    environment: &Environment,
    case: &Value,
    template: &str,
) -> Result<(), SendError> {
    let service_type = case["type"].as_str().expect("a type");
    let instance = case["service"].as_str().unwrap_or(service_type);
    let recipient = case["recipient"].as_str().unwrap_or_default();
    let options = match &case["options"] {
        Value::Null => Node { kind: Kind::Null, at: yaml::Position::default() },
        options => yaml::parse(&options.to_string()).expect("options"),
    };
    let instance = registry
        .build(service_type, instance, &options, environment)
        .map_err(|error| SendError::misconfigured(error.message))?;
    let several = texts(case, "templates");
    let templates: Vec<&str> = match several.is_empty() {
        true => vec![template],
        false => several.iter().map(String::as_str).collect(),
    };
    let notification =
        render(registry, &templates, instance.name(), recipient).map_err(SendError::misconfigured)?;
    let delivery = Delivery {
        notification: &notification,
        recipient,
        notice_id: NOTICE,
        trigger: "on-deployed",
        object: ObjectRef { kind: "Application", namespace: "argocd", name: "guestbook" },
        now: jiff::Timestamp::now(),
    };
    instance.send(&delivery).await.map(drop)
}

pub(crate) fn environment(address: SocketAddr) -> Environment {
    Environment { http: Arc::new(HttpFactory::default().with_intercept(address)), ..Environment::default() }
}
