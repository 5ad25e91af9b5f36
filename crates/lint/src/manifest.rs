//! The objects in the files: ConfigMap, Secret, and everything that may subscribe.

use std::collections::BTreeMap;

use base64::Engine as _;
use herald_core::{
    config::{CONFIG_MAP, SECRET},
    diagnostic::{Diagnostic, Severity, codes},
    names::nearest,
    yaml::{self, Kind, Node, Position},
};

use crate::place::Text;

/// ConfigMaps with this label are read, too, if it is `true`.
const CONFIG_LABEL: &str = "herald.dev/config";

/// One entry of a ConfigMap's data.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) file: usize,
    pub(crate) key_at: Position,
    pub(crate) value_at: Position,
    pub(crate) value: String,
}

/// The ConfigMap of a namespace; patches of the same object, in other documents, are part of it.
#[derive(Debug, Default)]
pub(crate) struct ConfigMap {
    pub(crate) namespace: String,
    pub(crate) object: String,
    pub(crate) entries: BTreeMap<String, Entry>,
}

/// An object that may subscribe.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) file: usize,
    pub(crate) kind: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) node: Node,
}

/// All that matters.
#[derive(Debug, Default)]
pub(crate) struct Manifests {
    pub(crate) files: Vec<Text>,
    pub(crate) config_maps: Vec<ConfigMap>,
    /// By namespace.
    pub(crate) secrets: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    pub(crate) objects: Vec<Object>,
    pub(crate) found: Vec<Diagnostic>,
}

impl Manifests {
    pub(crate) fn read(files: &[(String, String)]) -> Manifests {
        let mut all = Manifests::default();
        let (mut strangers, mut labelled) = (Vec::new(), Vec::new());
        for (name, text) in files {
            all.files.push(Text::new(name, text));
            let index = all.files.len() - 1;
            let (nodes, twice, error) = yaml::parse_all_lenient(text);
            for node in nodes {
                all.document(index, node, &mut strangers, &mut labelled);
            }
            for error in twice {
                all.tell(index, "", Severity::Warning, codes::DUPLICATE_KEY, error.message, None, error.at);
            }
            if let Some(error) = error {
                let hint = yaml::advice(&error, text);
                all.tell(index, "", Severity::Error, codes::YAML, error.message, hint, error.at);
            }
        }
        // After the one with the name, whose keys go before theirs.
        for (file, node) in labelled {
            all.config_map(file, &node, true);
        }
        // A ConfigMap under another name is meant if there is no other, and if it looks like one.
        let none = all.config_maps.is_empty();
        for (file, node, name, at) in strangers {
            if none {
                let message = format!("this ConfigMap is called `{name}`, so it is not read");
                let hint = Some(format!("Argo Rollouts and Herald read the one called `{CONFIG_MAP}`"));
                all.tell(file, "", Severity::Error, codes::MANIFEST, message, hint, at);
                all.config_map(file, &node, false);
            }
        }
        all
    }

    #[allow(clippy::too_many_arguments, reason = "a finding has that many parts")]
    fn tell(
        &mut self,
        file: usize,
        object: &str,
        severity: Severity,
        code: &'static str,
        message: impl Into<String>,
        hint: Option<String>,
        at: Position,
    ) {
        let mut diagnostic = Diagnostic::new(severity, code, message);
        diagnostic.hint = hint;
        object.clone_into(&mut diagnostic.object);
        if let Some(text) = self.files.get(file) {
            put(&mut diagnostic, text, at);
        }
        self.found.push(diagnostic);
    }

    fn document(
        &mut self,
        file: usize,
        node: Node,
        strangers: &mut Vec<(usize, Node, String, Position)>,
        labelled: &mut Vec<(usize, Node)>,
    ) {
        let kind = text(&node, "kind");
        if kind.ends_with("List")
            && let Some(items) = node.get("items")
        {
            for item in items.items() {
                self.document(file, item.clone(), strangers, labelled);
            }
            return;
        }
        let name = node.get("metadata").map(|meta| text(meta, "name")).unwrap_or_default();
        match kind.as_str() {
            "" => {
                let keys: Vec<&str> = node.entries().iter().map(|(key, ..)| key.as_str()).collect();
                if keys.iter().any(|key| meant(key)) {
                    let message = "this document has no `kind`, so nobody reads it";
                    let hint = format!("put these keys below `data:` of the ConfigMap `{CONFIG_MAP}`");
                    self.tell(file, "", Severity::Error, codes::MANIFEST, message, Some(hint), node.at);
                    self.config_map(
                        file,
                        &Node { kind: Kind::Map(vec![("data".into(), node.at, node.clone())]), at: node.at },
                        false,
                    );
                }
            }
            "ConfigMap" if name == CONFIG_MAP => self.config_map(file, &node, false),
            "ConfigMap" if is_labelled(&node) => labelled.push((file, node)),
            "ConfigMap" => {
                let data = node.get("data").map(Node::entries).unwrap_or_default();
                let near = nearest(&name, [CONFIG_MAP]).is_some();
                if near || data.iter().any(|(key, ..)| meant(key)) {
                    let meta = node.get("metadata");
                    let at = meta.and_then(|m| m.get("name")).map_or(node.at, |name| name.at);
                    strangers.push((file, node, name, at));
                }
            }
            "Secret" if name == SECRET => self.secret(file, &node),
            "Secret" if nearest(&name, [SECRET]).is_some() => {
                let at = node.get("metadata").and_then(|m| m.get("name")).map_or(node.at, |name| name.at);
                let message = format!("this Secret is called `{name}`, so it is not read");
                let hint = Some(format!("Argo Rollouts and Herald read the one called `{SECRET}`"));
                self.tell(file, "", Severity::Error, codes::MANIFEST, message, hint, at);
                self.secret(file, &node);
            }
            "Secret" => {}
            _ => {
                let namespace = node.get("metadata").map(|meta| text(meta, "namespace")).unwrap_or_default();
                self.objects.push(Object { file, kind, namespace, name, node });
            }
        }
    }

    /// `more`: its keys are read where no other ConfigMap has them.
    fn config_map(&mut self, file: usize, node: &Node, more: bool) {
        let namespace = node.get("metadata").map(|meta| text(meta, "namespace")).unwrap_or_default();
        let place =
            if namespace.is_empty() { CONFIG_MAP.to_owned() } else { format!("{namespace}/{CONFIG_MAP}") };
        let object = format!("ConfigMap {place}");
        if let Some((_, at, _)) = node.entries().iter().find(|(key, ..)| key == "binaryData") {
            let message = "`binaryData` is not read";
            let hint = Some("put the keys below `data`".to_owned());
            self.tell(file, &object, Severity::Warning, codes::MANIFEST, message, hint, *at);
        }
        let data = node.get("data");
        if let Some(data) = data.filter(|data| !matches!(data.kind, Kind::Map(_) | Kind::Null)) {
            let message = format!("`data` must be a map, but this is {}", data.describe());
            self.tell(file, &object, Severity::Error, codes::MANIFEST, message, None, data.at);
        }
        for (key, at, value) in node.entries() {
            if meant(key) {
                let message = format!("`{key}` stands beside `data`, so it is not read");
                let hint = Some("indent it below `data:`".to_owned());
                self.tell(
                    file,
                    &object,
                    Severity::Error,
                    codes::MANIFEST,
                    message,
                    hint,
                    value.at.max(*at).min(*at),
                );
            }
        }
        let index = match self.config_maps.iter().position(|map| map.namespace == namespace) {
            Some(index) => index,
            None => {
                self.config_maps.push(ConfigMap {
                    namespace,
                    object: object.clone(),
                    entries: BTreeMap::new(),
                });
                self.config_maps.len() - 1
            }
        };
        for (key, key_at, value) in data.map(Node::entries).unwrap_or_default() {
            let text = match &value.kind {
                Kind::Text(text) => text.clone(),
                Kind::Null => continue,
                _ => {
                    let message = format!(
                        "the value of `{key}` is {}, but a ConfigMap holds text only: Kubernetes refuses it",
                        value.describe()
                    );
                    let hint = match value.kind {
                        Kind::Map(_) | Kind::List(_) => {
                            format!("write `{key}: |` and leave the lines below as they are")
                        }
                        _ => "put it into quotes".to_owned(),
                    };
                    self.tell(file, &object, Severity::Error, codes::MANIFEST, message, Some(hint), *key_at);
                    value.text().map_or_else(|| value.to_json().to_string(), str::to_owned)
                }
            };
            let entry = Entry { file, key_at: *key_at, value_at: value.at, value: text };
            if let Some(map) = self.config_maps.get_mut(index)
                && !(more && map.entries.contains_key(key))
            {
                map.entries.insert(key.clone(), entry);
            }
        }
    }

    fn secret(&mut self, file: usize, node: &Node) {
        let object = format!("Secret {SECRET}");
        let namespace = node.get("metadata").map(|meta| text(meta, "namespace")).unwrap_or_default();
        let mut data = self.secrets.remove(&namespace).unwrap_or_default();
        for (key, at, value) in node.get("data").map(Node::entries).unwrap_or_default() {
            let encoded: String = value.text().unwrap_or_default().split_whitespace().collect();
            match base64::engine::general_purpose::STANDARD.decode(encoded) {
                Ok(bytes) => {
                    self.secret_value(file, &object, key, &bytes, *at);
                    data.insert(key.clone(), bytes);
                }
                Err(_) => {
                    let message = format!("the value of `{key}` is not base64, as it must be below `data`");
                    let hint = Some("write it below `stringData` to have it as it stands".to_owned());
                    self.tell(file, &object, Severity::Error, codes::SECRET_DATA, message, hint, *at);
                    data.insert(key.clone(), Vec::new());
                }
            }
        }
        for (key, at, value) in node.get("stringData").map(Node::entries).unwrap_or_default() {
            if matches!(value.kind, Kind::Map(_) | Kind::List(_)) {
                let message =
                    format!("the value of `{key}` is {}, but a Secret holds text only", value.describe());
                self.tell(file, &object, Severity::Error, codes::SECRET_DATA, message, None, *at);
            }
            let bytes = value.text().unwrap_or_default().as_bytes().to_vec();
            self.secret_value(file, &object, key, &bytes, *at);
            data.insert(key.clone(), bytes);
        }
        self.secrets.insert(namespace, data);
    }

    /// The Secret beside the ConfigMap of a namespace. Manifests often leave a namespace out: then it is any.
    pub(crate) fn secret_of(&self, namespace: &str) -> Option<BTreeMap<String, Vec<u8>>> {
        match self.secrets.get(namespace).or_else(|| self.secrets.get("")) {
            Some(secret) => Some(secret.clone()),
            None if namespace.is_empty() || self.config_maps.len() == 1 => {
                self.secrets.values().cloned().reduce(|mut all, more| {
                    all.extend(more);
                    all
                })
            }
            None => None,
        }
    }

    /// What is odd about a secret value; the value itself is never shown.
    fn secret_value(&mut self, file: usize, object: &str, key: &str, bytes: &[u8], at: Position) {
        let one_line = bytes.trim_ascii_end().iter().all(|b| *b != b'\n');
        if one_line && bytes.ends_with(b"\n") {
            let message = format!(
                "the value of `{key}` ends with a line break, which becomes part of headers and URLs"
            );
            let hint = Some("encode it with `echo -n`, or write `|-` instead of `|`".to_owned());
            self.tell(file, object, Severity::Warning, codes::SECRET_DATA, message, hint, at);
        } else if bytes.is_empty() {
            let message = format!("the value of `{key}` is empty");
            self.tell(file, object, Severity::Warning, codes::SECRET_DATA, message, None, at);
        }
    }
}

/// Puts a finding at a place of a file.
pub(crate) fn put(diagnostic: &mut Diagnostic, text: &Text, at: Position) {
    diagnostic.file = Some(text.name.clone());
    if !at.is_unknown() {
        diagnostic.in_file = Some(at);
        text.line(at.line).clone_into(&mut diagnostic.source_line);
    }
}

/// Whether the controller reads a ConfigMap besides the one with the name.
fn is_labelled(node: &Node) -> bool {
    let labels = node.get("metadata").and_then(|meta| meta.get("labels"));
    labels.is_some_and(|labels| text(labels, CONFIG_LABEL) == "true")
}

fn text(node: &Node, key: &str) -> String {
    node.get(key).and_then(Node::text).unwrap_or_default().to_owned()
}

/// Whether a key looks as if it belonged to the notifications.
fn meant(key: &str) -> bool {
    ["service.", "template.", "trigger.", "defaultTriggers"].iter().any(|start| key.starts_with(start))
        || key == "subscriptions"
}
