//! From the data of a ConfigMap to a [`Config`].

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use base64::Engine as _;
use herald_expr::Program;
use herald_value::limits::Limits;
use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};
use sha1::{Digest as _, Sha1};

use super::{
    Condition, Config, ConfigInput, DefaultSubscription, Expression, Layer, Parts, ServiceConfig,
    TemplateConfig, Trigger, reach, secret, unknown,
};
use crate::{
    diagnostic::{Diagnostic, Severity, codes},
    names::{Destination, ServiceName, TemplateName, TriggerName, nearest},
    notification::{ServiceTypes, TemplateText},
    selector::Selector,
    variables,
    yaml::{self, Kind, Located, Node, Position, YamlError},
};

/// The hash in a condition's key: unpadded URL-safe base64 of the SHA-1 of its `when`.
pub fn condition_hash(when: &str) -> String {
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(Sha1::digest(when.as_bytes()))
}

pub(super) fn load(
    input: &ConfigInput,
    types: &dyn ServiceTypes,
    limits: Limits,
) -> (Config, Vec<Diagnostic>) {
    let mut loader = Loader {
        input,
        types,
        limits,
        parts: Parts {
            namespace: input.namespace.clone(),
            services: BTreeMap::new(),
            templates: BTreeMap::new(),
            triggers: BTreeMap::new(),
            default_triggers: Vec::new(),
            default_triggers_of: BTreeMap::new(),
            subscriptions: Vec::new(),
            secrets: variables::secrets(&input.secret),
            keys: input.data.keys().cloned().collect(),
            broken: BTreeSet::new(),
            kept: BTreeSet::new(),
            limits,
        },
        found: Vec::new(),
        layer: Layer::Program,
        key: "",
        text: "",
        places: HashMap::new(),
    };
    for (name, service_type) in &input.provided {
        let options = Node { kind: Kind::Null, at: Position::default() };
        loader.add_service(name.clone(), service_type, options);
    }
    loader.layer = Layer::Base;
    for (key, text) in input.base.iter().filter(|(key, _)| !input.data.contains_key(*key)) {
        loader.entry(key, text);
    }
    loader.layer = Layer::ConfigMap;
    for (key, text) in &input.data {
        loader.entry(key, text);
    }
    loader.cross_check();
    (Config { parts: Arc::new(loader.parts) }, loader.found)
}

struct Loader<'a> {
    input: &'a ConfigInput,
    types: &'a dyn ServiceTypes,
    limits: Limits,
    parts: Parts,
    found: Vec<Diagnostic>,
    layer: Layer,
    key: &'a str,
    text: &'a str,
    /// Where names first stand, by key of the ConfigMap.
    places: HashMap<(String, String), Position>,
}

/// One condition of a trigger, as it is written.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ConditionSpec {
    /// An expression: the condition holds while it is true. Without it, the condition stands for the event that the
    /// trigger is named after.
    #[schemars(with = "String")]
    when: Located<String>,
    /// Names of templates, applied in order into one notification.
    #[schemars(with = "Vec<String>")]
    send: Vec<Located<String>>,
    /// An expression: sent once for each of its values.
    #[schemars(with = "String")]
    once_per: Located<String>,
    /// What it is for, for people.
    description: String,
    /// How long it must hold before it is sent, such as `5m`.
    #[serde(rename = "for")]
    #[schemars(with = "String")]
    hold: Option<Located<String>>,
    /// Names of templates that are sent when it ends.
    #[schemars(with = "Vec<String>")]
    resolve: Vec<Located<String>>,
    /// After how long it is sent again while it holds, such as `4h`.
    #[schemars(with = "String")]
    repeat_every: Option<Located<String>>,
}

/// One default subscription, as it is written.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct SubscriptionSpec {
    /// To whom: `<service>:<recipient>`, or `<service>` where it needs no recipient.
    #[schemars(with = "Vec<String>")]
    recipients: Vec<Located<String>>,
    /// Of which triggers; absent: the default triggers.
    #[schemars(with = "Vec<String>")]
    triggers: Vec<Located<String>>,
    /// For which labels of the rollout, such as `team=payments,tier!=canary`; absent: all.
    #[schemars(with = "String")]
    selector: Located<String>,
    /// How they are delivered.
    // Whoever delivers reads it; only that the key is known counts here.
    #[allow(dead_code, reason = "only that the key is known counts here")]
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    delivery: serde::de::IgnoredAny,
}

impl<'a> Loader<'a> {
    fn entry(&mut self, key: &'a str, text: &'a str) {
        (self.key, self.text) = (key, text);
        match key.split_once('.') {
            Some(("service", rest)) => self.service(rest),
            Some(("template", rest)) => self.template(rest),
            Some(("trigger", rest)) => self.trigger(rest),
            Some(("defaultTriggers", service)) => self.default_triggers(Some(service)),
            None if key == "defaultTriggers" => self.default_triggers(None),
            None if key == "subscriptions" => self.subscriptions(),
            _ => {}
        }
    }

    fn tell(&mut self, mut diagnostic: Diagnostic) {
        match self.layer {
            Layer::ConfigMap => {
                diagnostic.object.clone_from(&self.input.object);
                diagnostic.file.clone_from(&self.input.file);
            }
            Layer::Base | Layer::Program => "built-in".clone_into(&mut diagnostic.object),
        }
        diagnostic.key = Some(self.key.to_owned());
        if diagnostic.severity == Severity::Error {
            self.parts.broken.insert(self.key.to_owned());
        }
        self.found.push(diagnostic);
    }

    fn error(&mut self, code: &'static str, message: impl Into<String>, at: Position) {
        self.tell(Diagnostic::new(Severity::Error, code, message).at(self.text, at));
    }

    fn warning(&mut self, code: &'static str, message: impl Into<String>, at: Position) {
        self.tell(Diagnostic::new(Severity::Warning, code, message).at(self.text, at));
    }

    /// The key itself is wrong.
    fn key_error(&mut self, code: &'static str, message: impl Into<String>, hint: &str) {
        self.tell(Diagnostic::new(Severity::Error, code, message).hint(hint));
    }

    /// Parses the value; says what is wrong with it.
    fn node(&mut self) -> Option<Node> {
        match yaml::parse_lenient(self.text) {
            Ok((node, twice)) => {
                for error in twice {
                    self.warning(codes::DUPLICATE_KEY, error.message, error.at);
                }
                Some(node)
            }
            Err(error) => {
                let mut diagnostic = Diagnostic::new(Severity::Error, codes::YAML, error.message.clone())
                    .at(self.text, error.at);
                diagnostic.hint = yaml::advice(&error, self.text);
                self.tell(diagnostic);
                None
            }
        }
    }

    fn unknown_field(&mut self, name: &str, at: Position, known: &[&str]) {
        let message = format!("the field `{name}` is not known and is ignored");
        let mut diagnostic =
            Diagnostic::new(Severity::Warning, codes::UNKNOWN_FIELD, message).at(self.text, at);
        diagnostic.hint = Some(match nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known are {}", known.join(", ")),
        });
        self.tell(diagnostic);
    }

    /// Tells the fields that a schema does not have.
    fn unknown_fields(&mut self, node: &Node, schema: Option<serde_json::Value>, besides: &str) {
        let Some(schema) = schema else { return };
        for field in unknown::fields(node, &schema).into_iter().filter(|field| field.name != besides) {
            let known: Vec<&str> = field.known.iter().map(String::as_str).collect();
            self.unknown_field(&field.name, field.at, &known);
        }
    }

    /// Decodes a part of the value; unknown fields are told.
    fn decoded<T: DeserializeOwned>(&mut self, code: &'static str, node: &Node) -> Option<T> {
        match yaml::decode_noting_unknown(node) {
            Ok((value, unknown)) => {
                for field in unknown {
                    self.unknown_field(&field.name, field.at, field.known);
                }
                Some(value)
            }
            Err(YamlError { message, at }) => {
                self.error(code, message, at);
                None
            }
        }
    }

    fn service(&mut self, rest: &str) {
        let parts: Vec<&str> = rest.split('.').collect();
        let (service_type, name) = match parts.as_slice() {
            [kind] => (*kind, *kind),
            [kind, name] => (*kind, *name),
            _ => {
                return self.key_error(
                    codes::KEY,
                    format!("`{}` has too many parts", self.key),
                    "write `service.<type>` or `service.<type>.<name>`; a name holds no dots",
                );
            }
        };
        let Ok(name) = name.parse::<ServiceName>() else {
            return self.key_error(
                codes::KEY,
                format!("`{}` names no service", self.key),
                "write `service.<type>` or `service.<type>.<name>`",
            );
        };
        if !self.types.knows(service_type) {
            let types = self.types.type_names();
            let hint = match nearest(service_type, types.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the types are {}", types.join(", ")),
            };
            return self.key_error(
                codes::SERVICE_TYPE,
                format!("service type '{service_type}' is not supported"),
                &hint,
            );
        }
        let Some(node) = self.node() else { return };
        let mut missing = Vec::new();
        let options = secret::fill_in(node, &self.input.secret, &mut missing);
        for missing in missing {
            let message = format!("the Secret has no key `{}`; the text stays as it is", missing.name);
            let mut diagnostic =
                Diagnostic::new(Severity::Warning, codes::SECRET_KEY, message).at(self.text, missing.at);
            diagnostic.hint = nearest(&missing.name, self.input.secret.keys().map(String::as_str))
                .map(|near| format!("did you mean `${near}`?"));
            self.tell(diagnostic);
        }
        // `delivery` is read by whoever delivers, whatever the service.
        self.unknown_fields(&options, self.types.options_schema(service_type), "delivery");
        match self.types.check_options(service_type, &options) {
            Ok(()) => self.add_service(name, service_type, options),
            Err(error) => self.error(codes::SERVICE_OPTIONS, error.message, error.at),
        }
    }

    fn add_service(&mut self, name: ServiceName, service_type: &str, options: Node) {
        if let Some(other) = self.parts.services.get(&name)
            && other.layer == Layer::ConfigMap
            && self.layer == Layer::ConfigMap
        {
            let message = format!("`{}` configures a service named `{name}` too", other.key);
            self.tell(
                Diagnostic::new(Severity::Warning, codes::DUPLICATE_SERVICE, message)
                    .hint("give one of the two another name"),
            );
        }
        let service = ServiceConfig {
            name: name.clone(),
            service_type: service_type.into(),
            options,
            key: self.key.to_owned(),
            layer: self.layer,
        };
        self.parts.services.insert(name, service);
    }

    fn template(&mut self, name: &str) {
        let Ok(name) = name.parse::<TemplateName>() else {
            return self.key_error(
                codes::KEY,
                format!("`{}` names no template", self.key),
                "write `template.<name>`",
            );
        };
        let Some(node) = self.node() else { return };
        if !matches!(node.kind, Kind::Map(_) | Kind::Null) {
            let message =
                format!("a template is a map with `message` and sections, but this is {}", node.describe());
            return self.error(codes::TEMPLATE, message, node.at);
        }
        let mut template = TemplateConfig {
            name: name.clone(),
            message: None,
            sections: BTreeMap::new(),
            source: self.text.into(),
            layer: self.layer,
        };
        let mut good = true;
        for (key, at, value) in node.entries() {
            let outcome = if key.eq_ignore_ascii_case("message") {
                yaml::decode::<Option<TemplateText>>(value).map(|text| template.message = text)
            } else if let Some(kind) = self.section_of(key) {
                if value.is_null() {
                    continue;
                }
                self.unknown_fields(value, self.types.section_schema(&kind), "");
                self.types.parse_section(&kind, value).map(|section| {
                    for problem in section.problems() {
                        self.warning(codes::TEMPLATE, problem.message, problem.at);
                    }
                    template.sections.insert(kind, section);
                })
            } else {
                let message = format!(
                    "`{key}` is neither `message` nor a service with a section in templates; it is ignored"
                );
                let mut diagnostic =
                    Diagnostic::new(Severity::Warning, codes::UNKNOWN_FIELD, message).at(self.text, *at);
                diagnostic.hint = self.near_section(key);
                self.tell(diagnostic);
                Ok(())
            };
            if let Err(error) = outcome {
                good = false;
                self.error(codes::TEMPLATE, error.message, error.at);
            }
        }
        if good {
            self.parts.templates.insert(name, template);
        }
    }

    /// What an unknown key of a template may mean: a section, or a field of one.
    fn near_section(&self, key: &str) -> Option<String> {
        let sections: Vec<&str> =
            self.types.type_names().into_iter().filter(|kind| self.types.has_section(kind)).collect();
        if let Some(near) = nearest(key, sections.iter().copied().chain(["message"])) {
            return Some(format!("did you mean `{near}`?"));
        }
        let has = |kind: &&&str| {
            let schema = self.types.section_schema(kind);
            schema
                .is_some_and(|schema| schema.pointer("/properties").is_some_and(|all| all.get(key).is_some()))
        };
        let owners: Vec<&str> = sections.iter().filter(has).copied().collect();
        match owners.as_slice() {
            [] if self.types.knows(key) => Some(format!("`{key}` sends the message and has no section")),
            [] => None,
            [one] => Some(format!("it belongs below `{one}:`")),
            several => Some(format!("it belongs below the section of a service: {}", several.join(", "))),
        }
    }

    /// The service type that a template's key names; field names match without regard to case.
    fn section_of(&self, key: &str) -> Option<String> {
        if self.types.has_section(key) {
            return Some(key.to_owned());
        }
        let lower = key.to_lowercase();
        self.types.has_section(&lower).then_some(lower)
    }

    fn trigger(&mut self, name: &str) {
        let Ok(name) = name.parse::<TriggerName>() else {
            return self.key_error(
                codes::KEY,
                format!("`{}` names no trigger", self.key),
                "write `trigger.<name>`",
            );
        };
        let Some(node) = self.node() else { return };
        let items = match &node.kind {
            Kind::List(items) => items.as_slice(),
            Kind::Null => &[],
            _ => {
                let message = format!("a trigger is a list of conditions, but this is {}", node.describe());
                return self.error(codes::TRIGGER, message, node.at);
            }
        };
        let conditions: Vec<Condition> =
            items.iter().enumerate().filter_map(|(index, item)| self.condition(index, item)).collect();
        let trigger = Trigger { name: name.clone(), conditions, source: self.text.into(), layer: self.layer };
        self.parts.triggers.insert(name, trigger);
    }

    fn condition(&mut self, index: usize, node: &Node) -> Option<Condition> {
        let spec: ConditionSpec = self.decoded(codes::TRIGGER, node)?;
        let when = self.expression(codes::CONDITION, &spec.when);
        let once_per = self.expression(codes::ONCE_PER, &spec.once_per);
        let send: Vec<TemplateName> = self.names(codes::TRIGGER, &spec.send);
        let resolve = self.names(codes::TRIGGER, &spec.resolve);
        if send.is_empty() {
            self.warning(
                codes::SEND_NOTHING,
                "this condition names no template in `send`, so it never sends anything",
                node.at,
            );
        }
        let hold = self.duration(spec.hold.as_ref());
        let repeat_every = self.duration(spec.repeat_every.as_ref());
        let timed = hold.flatten().is_some() || repeat_every.flatten().is_some() || !resolve.is_empty();
        if spec.when.value.is_empty() && timed {
            self.warning(
                codes::TIMING,
                "`for`, `resolve` and `repeatEvery` are ignored without a `when`: an event does not last",
                node.at,
            );
        }
        Some(Condition {
            index,
            key: format!("[{index}].{}", condition_hash(&spec.when.value)),
            when: when?,
            send,
            once_per: once_per?,
            description: spec.description,
            // What is to wait must not be sent at once because its time can't be read.
            hold: hold?,
            resolve,
            repeat_every: repeat_every?,
            at: node.at,
        })
    }

    /// The compiled expression; outer `None` if it is wrong, inner if it is empty.
    fn expression(&mut self, code: &'static str, source: &Located<String>) -> Option<Option<Expression>> {
        if source.value.is_empty() {
            return Some(None);
        }
        match Program::compile(&source.value, self.limits) {
            Ok(program) => {
                Some(Some(Expression { program, source: source.value.as_str().into(), at: source.at }))
            }
            Err(error) => {
                let at = source.at.within(error.line, error.column);
                let mut diagnostic = Diagnostic::new(Severity::Error, code, error.message).at(self.text, at);
                diagnostic.hint = error.hint;
                self.tell(diagnostic);
                None
            }
        }
    }

    /// The duration; outer `None` if it is wrong, inner if there is none.
    fn duration(&mut self, text: Option<&Located<String>>) -> Option<Option<i64>> {
        let Some(text) = text.filter(|text| !text.value.is_empty()) else { return Some(None) };
        match herald_value::time::parse_duration(&text.value) {
            Ok(nanos) if nanos > 0 => Some(Some(nanos)),
            Ok(_) => {
                self.error(codes::DURATION, "this duration must be more than nothing", text.at);
                None
            }
            Err(error) => {
                let message = format!("{}; write it like `5m` or `1h30m`", error.message);
                self.error(codes::DURATION, message, text.at);
                None
            }
        }
    }

    fn names<T: std::str::FromStr>(&mut self, code: &'static str, texts: &[Located<String>]) -> Vec<T>
    where
        T::Err: std::fmt::Display,
    {
        let mut names = Vec::with_capacity(texts.len());
        for text in texts {
            match text.value.trim().parse::<T>() {
                Ok(name) => {
                    let name_of = (self.key.to_owned(), text.value.trim().to_owned());
                    self.places.entry(name_of).or_insert(text.at);
                    names.push(name);
                }
                Err(error) => self.error(code, error.to_string(), text.at),
            }
        }
        names
    }

    fn default_triggers(&mut self, service: Option<&str>) {
        let Some(node) = self.node() else { return };
        let Some(texts) = self.decoded::<Vec<Located<String>>>(codes::DEFAULT_TRIGGERS, &node) else {
            return;
        };
        let names = self.names(codes::DEFAULT_TRIGGERS, &texts);
        match service.map(str::parse::<ServiceName>) {
            None => self.parts.default_triggers = names,
            Some(Ok(service)) => {
                self.parts.default_triggers_of.insert(service, names);
            }
            Some(Err(error)) => self.key_error(
                codes::KEY,
                error.to_string(),
                "write `defaultTriggers` or `defaultTriggers.<service>`",
            ),
        }
    }

    fn subscriptions(&mut self) {
        let Some(node) = self.node() else { return };
        let items = match &node.kind {
            Kind::List(items) => items.as_slice(),
            Kind::Null => &[],
            _ => {
                let message = format!("`subscriptions` is a list, but this is {}", node.describe());
                return self.error(codes::SUBSCRIPTION, message, node.at);
            }
        };
        for item in items {
            // `- slack: ops`, with a blank behind the colon, is a map in YAML, and as text it names nobody.
            let recipients = item.get("recipients").map(Node::items).unwrap_or_default();
            if let Some(map) = recipients.iter().find(|recipient| !recipient.entries().is_empty()) {
                let Some((service, _, to)) = map.entries().first() else { continue };
                let to = to.text().unwrap_or("<recipient>");
                self.tell(
                    Diagnostic::new(
                        Severity::Error,
                        codes::SUBSCRIPTION,
                        "a recipient is text, but this is a map",
                    )
                    .hint(format!("write `{service}:{to}`, without a blank behind the colon"))
                    .at(self.text, map.at),
                );
                continue;
            }
            let Some(spec) = self.decoded::<SubscriptionSpec>(codes::SUBSCRIPTION, item) else { continue };
            // A selector that cannot be read must not select everything.
            let selector = match Selector::parse(&spec.selector.value) {
                Ok(selector) => selector,
                Err(message) => {
                    self.error(codes::SELECTOR, message, spec.selector.at);
                    continue;
                }
            };
            let destinations: Vec<Destination> = self.names(codes::SUBSCRIPTION, &spec.recipients);
            let triggers: Vec<TriggerName> = self.names(codes::SUBSCRIPTION, &spec.triggers);
            // Names that are all wrong are not the same as no names.
            if !spec.triggers.is_empty() && triggers.is_empty() {
                continue;
            }
            if destinations.is_empty() {
                self.warning(codes::SUBSCRIPTION, "this subscription has no recipients", item.at);
                continue;
            }
            let triggers = Some(triggers).filter(|triggers| !triggers.is_empty());
            self.parts.subscriptions.push(DefaultSubscription {
                destinations,
                triggers,
                selector,
                at: item.at,
            });
        }
    }

    /// Where a name stands in the value of a key.
    fn place(&self, key: &str, name: &str, otherwise: Position) -> Position {
        self.places.get(&(key.to_owned(), name.to_owned())).copied().unwrap_or(otherwise)
    }

    /// What only the whole configuration can tell: names that lead nowhere.
    fn cross_check(&mut self) {
        let mut told = Vec::new();
        let mut hints = MOST_HINTS;
        let mut services: BTreeMap<&ServiceName, (String, Option<String>)> = BTreeMap::new();
        for trigger in self.parts.triggers.values() {
            for condition in &trigger.conditions {
                for name in condition.send.iter().chain(&condition.resolve) {
                    if self.parts.templates.contains_key(name) {
                        continue;
                    }
                    let key = format!("trigger.{}", trigger.name);
                    let broken = self.parts.broken.contains(&format!("template.{name}"));
                    let message = if broken {
                        format!("the template `{name}` is broken, so this condition sends nothing")
                    } else {
                        format!("there is no template `{name}`, so this condition sends nothing")
                    };
                    let known = self.parts.templates.keys().map(TemplateName::as_str);
                    let hint = if take(&mut hints) { nearest(name.as_str(), known) } else { None }
                        .map(|near| format!("did you mean `{near}`?"));
                    let at = self.place(&key, name.as_str(), condition.at);
                    told.push((
                        trigger.layer,
                        key,
                        &trigger.source,
                        codes::UNKNOWN_TEMPLATE,
                        message,
                        hint,
                        at,
                    ));
                }
            }
        }
        let source: Arc<str> = self.input.data.get("subscriptions").map_or("", String::as_str).into();
        for subscription in &self.parts.subscriptions {
            for name in subscription.triggers.iter().flatten() {
                if !self.parts.triggers.contains_key(name) {
                    let message = format!("there is no trigger `{name}`");
                    let known = self.parts.triggers.keys().map(TriggerName::as_str);
                    let hint = if take(&mut hints) { nearest(name.as_str(), known) } else { None }
                        .map(|near| format!("did you mean `{near}`?"));
                    let key = "subscriptions".to_owned();
                    let at = self.place(&key, name.as_str(), subscription.at);
                    told.push((Layer::ConfigMap, key, &source, codes::UNKNOWN_TRIGGER, message, hint, at));
                }
            }
            for destination in &subscription.destinations {
                let service = &destination.service;
                if !self.parts.services.contains_key(service) {
                    let parts = &self.parts;
                    let (message, hint) = services
                        .entry(service)
                        .or_insert_with(|| unknown_service(parts, service, take(&mut hints)))
                        .clone();
                    let key = "subscriptions".to_owned();
                    let at = self.place(&key, &destination.to_string(), subscription.at);
                    told.push((Layer::ConfigMap, key, &source, codes::UNKNOWN_SERVICE, message, hint, at));
                }
            }
        }
        for (message, at) in reach::problems(&self.parts, self.types) {
            let key = "subscriptions".to_owned();
            told.push((Layer::ConfigMap, key, &source, codes::SUBSCRIPTION, message, None, at));
        }
        let defaults = std::iter::once((String::from("defaultTriggers"), &self.parts.default_triggers))
            .chain(
                self.parts
                    .default_triggers_of
                    .iter()
                    .map(|(s, names)| (format!("defaultTriggers.{s}"), names)),
            );
        let empty: Arc<str> = "".into();
        let sources: BTreeMap<String, Arc<str>> = (self.input.data.iter())
            .filter(|(key, _)| key.starts_with("defaultTriggers"))
            .map(|(key, text)| (key.clone(), text.as_str().into()))
            .collect();
        for (key, names) in defaults {
            for name in names.iter().filter(|name| !self.parts.triggers.contains_key(*name)) {
                let known = self.parts.triggers.keys().map(TriggerName::as_str);
                let hint = if take(&mut hints) { nearest(name.as_str(), known) } else { None }
                    .map(|near| format!("did you mean `{near}`?"));
                let message = format!("there is no trigger `{name}`");
                let at = self.place(&key, name.as_str(), Position::default());
                let source = sources.get(&key).unwrap_or(&empty);
                told.push((Layer::ConfigMap, key.clone(), source, codes::UNKNOWN_TRIGGER, message, hint, at));
            }
        }
        let mut findings = Vec::with_capacity(told.len());
        for (layer, key, source, code, message, hint, at) in told {
            let mut diagnostic = Diagnostic::new(Severity::Warning, code, message).at(source, at);
            diagnostic.hint = hint;
            diagnostic.key = Some(key);
            if layer == Layer::ConfigMap {
                diagnostic.object.clone_from(&self.input.object);
                diagnostic.file.clone_from(&self.input.file);
            } else {
                "built-in".clone_into(&mut diagnostic.object);
            }
            findings.push(diagnostic);
        }
        self.found.extend(findings);
    }
}

/// A look for names that are alike takes time with the number of known ones, so there are not as many as unknown ones.
const MOST_HINTS: usize = 200;
/// More names than this are no help in a sentence.
const MOST_NAMES: usize = 20;

/// Takes one from what is left.
fn take(left: &mut usize) -> bool {
    let any = *left > 0;
    *left = left.saturating_sub(1);
    any
}

/// What to say about a service that a subscription names and that can't be used; with names that are alike, if wanted.
pub(crate) fn unknown_service(
    parts: &Parts,
    service: &ServiceName,
    advise: bool,
) -> (String, Option<String>) {
    let configures = |key: &&String| {
        let rest = key.strip_prefix("service.");
        rest.is_some_and(|rest| rest.rsplit('.').next() == Some(service.as_str()))
    };
    match parts.broken.iter().find(configures) {
        Some(key) => (
            format!("the service `{service}` can't be used, as `{key}` is wrong"),
            Some(format!("see what is said about `{key}`")),
        ),
        None if !advise => (format!("there is no service `{service}`"), None),
        None => {
            let near = nearest(service.as_str(), parts.services.keys().map(ServiceName::as_str));
            let hint = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => {
                    let own = parts.services.values().filter(|known| known.layer == Layer::ConfigMap);
                    let own: Vec<&str> = own.map(|known| known.name.as_str()).collect();
                    match own.as_slice() {
                        [] => format!(
                            "configure it with the key `service.{service}` or `service.<type>.{service}`"
                        ),
                        own if own.len() > MOST_NAMES => {
                            let first: Vec<&str> = own.iter().copied().take(MOST_NAMES).collect();
                            format!("configured are {} and {} more", first.join(", "), own.len() - MOST_NAMES)
                        }
                        own => format!("configured are {}", own.join(", ")),
                    }
                }
            };
            (format!("there is no service `{service}`"), Some(hint))
        }
    }
}
