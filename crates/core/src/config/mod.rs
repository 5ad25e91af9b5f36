//! The configuration: services, templates, triggers and default subscriptions, compiled and ready.
//!
//! Loading never fails as a whole. Whatever is wrong with one entry becomes a [`Diagnostic`]; everything that
//! does not depend on that entry works.
//!
//! ```no_run
//! # fn types() -> Box<dyn herald_core::notification::ServiceTypes> { unimplemented!() }
//! use herald_core::config::{Config, ConfigInput};
//! use herald_value::limits::Limits;
//!
//! let mut input = ConfigInput::default();
//! input.data.insert("trigger.on-x".into(), "- when: rollout.spec.replicas > 3\n  send: [x]".into());
//! input.data.insert("template.x".into(), "message: Hello {{.rollout.metadata.name}}".into());
//! let (config, diagnostics) = Config::load(&input, &*types(), Limits::DEFAULT);
//! assert!(config.trigger("on-x").is_some() && diagnostics.is_empty());
//! ```

mod load;
mod reach;
mod render;
mod secret;
mod unknown;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use herald_expr::Program;
use herald_value::{Value, limits::Limits};

pub use load::condition_hash;
pub(crate) use load::{ConditionSpec, SubscriptionSpec};

use crate::{
    diagnostic::Diagnostic,
    names::{Destination, ServiceName, TemplateName, TriggerName},
    notification::{Section, ServiceTypes, TemplateText},
    selector::Selector,
    yaml::{Node, Position},
};

/// The name of the ConfigMap, if nobody says otherwise.
pub const CONFIG_MAP: &str = "argo-rollouts-notification-configmap";
/// The name of the Secret, if nobody says otherwise.
pub const SECRET: &str = "argo-rollouts-notification-secret";

/// What a configuration is made of.
#[derive(Clone, Default)]
pub struct ConfigInput {
    /// The data of the ConfigMap.
    pub data: BTreeMap<String, String>,
    /// The data of the Secret.
    pub secret: BTreeMap<String, Vec<u8>>,
    /// A layer below the ConfigMap, in the same form; a key of the ConfigMap hides it.
    pub base: BTreeMap<String, String>,
    /// How diagnostics call the ConfigMap, such as `ConfigMap argo-rollouts/…`.
    pub object: String,
    /// The file that it came from.
    pub file: Option<String>,
    /// The file that the Secret came from, or its name.
    pub secret_object: String,
    /// The namespace that dedupe keys carry, where each namespace has a configuration of its own.
    pub namespace: Option<String>,
    /// Instances that the program itself provides: name and type.
    pub provided: Vec<(ServiceName, String)>,
}

/// Does not show the Secret's values.
impl fmt::Debug for ConfigInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigInput")
            .field("data", &self.data)
            .field("secret", &self.secret.keys().collect::<Vec<_>>())
            .field("base", &self.base.keys().collect::<Vec<_>>())
            .field("object", &self.object)
            .finish_non_exhaustive()
    }
}

/// Where an entry comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// The layer below.
    Base,
    /// The ConfigMap.
    ConfigMap,
    /// The program.
    Program,
}

/// A configured service instance.
#[derive(Clone)]
pub struct ServiceConfig {
    /// The instance's name.
    pub name: ServiceName,
    /// Its type, such as `slack`.
    pub service_type: Arc<str>,
    /// Its options, secrets filled in. Never print them.
    pub options: Node,
    /// The key of the ConfigMap.
    pub key: String,
    /// Where it comes from.
    pub layer: Layer,
}

/// Does not show the options, which hold secrets.
impl fmt::Debug for ServiceConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServiceConfig").field(&self.service_type).field(&self.name).finish()
    }
}

/// A compiled template of the ConfigMap.
#[derive(Clone, Debug)]
pub struct TemplateConfig {
    /// Its name.
    pub name: TemplateName,
    /// The message.
    pub message: Option<TemplateText>,
    /// The sections, by service type.
    pub sections: BTreeMap<String, Arc<dyn Section>>,
    /// The text of the ConfigMap.
    pub source: Arc<str>,
    /// Where it comes from.
    pub layer: Layer,
}

/// A trigger: its conditions in order. Broken ones are left out, the others keep their index.
#[derive(Clone, Debug)]
pub struct Trigger {
    /// Its name.
    pub name: TriggerName,
    /// The conditions that can be used.
    pub conditions: Vec<Condition>,
    /// The text of the ConfigMap.
    pub source: Arc<str>,
    /// Where it comes from.
    pub layer: Layer,
}

/// A compiled expression and its source.
#[derive(Clone, Debug)]
pub struct Expression {
    /// The compiled program.
    pub program: Program,
    /// Its source.
    pub source: Arc<str>,
    /// Where the source begins in the ConfigMap's value.
    pub at: Position,
}

/// One condition of a trigger.
#[derive(Clone, Debug)]
pub struct Condition {
    /// Its place in the trigger, from 0.
    pub index: usize,
    /// `[<index>].<hash>`: its part of the dedupe key.
    pub key: String,
    /// The predicate; `None` if it is empty, which means "on the event itself".
    pub when: Option<Expression>,
    /// The templates, in order.
    pub send: Vec<TemplateName>,
    /// What its value distinguishes is sent once each.
    pub once_per: Option<Expression>,
    /// For people.
    pub description: String,
    /// How long it must hold, in nanoseconds. Ours; the reference ignores it.
    pub hold: Option<i64>,
    /// Templates for when it ends. Ours.
    pub resolve: Vec<TemplateName>,
    /// After how long it is sent again while it holds, in nanoseconds. Ours.
    pub repeat_every: Option<i64>,
    /// Where it stands in the ConfigMap's value.
    pub at: Position,
}

impl Condition {
    /// Whether time counts for it: it must hold for a while, is repeated, or tells its end. An event is a moment, so
    /// these fields need a `when`.
    pub fn is_timed(&self) -> bool {
        let any = self.hold.is_some() || self.repeat_every.is_some() || !self.resolve.is_empty();
        self.when.is_some() && any
    }

    /// How long it must hold, in nanoseconds, if that counts.
    pub fn waits(&self) -> Option<i64> {
        self.hold.filter(|_| self.when.is_some())
    }
}

/// A default subscription.
#[derive(Clone, Debug)]
pub struct DefaultSubscription {
    /// To whom.
    pub destinations: Vec<Destination>,
    /// Of which triggers; `None`: the default triggers.
    pub triggers: Option<Vec<TriggerName>>,
    /// For which labels.
    pub selector: Selector,
    /// Where it stands in the ConfigMap's value.
    pub at: Position,
}

/// A configuration. Immutable; a clone shares everything.
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) parts: Arc<Parts>,
}

#[derive(Clone, Debug)]
pub(crate) struct Parts {
    pub(crate) namespace: Option<String>,
    pub(crate) services: BTreeMap<ServiceName, ServiceConfig>,
    pub(crate) templates: BTreeMap<TemplateName, TemplateConfig>,
    pub(crate) triggers: BTreeMap<TriggerName, Trigger>,
    pub(crate) default_triggers: Vec<TriggerName>,
    pub(crate) default_triggers_of: BTreeMap<ServiceName, Vec<TriggerName>>,
    pub(crate) subscriptions: Vec<DefaultSubscription>,
    pub(crate) secrets: Value,
    /// The keys of the ConfigMap.
    pub(crate) keys: BTreeSet<String>,
    /// The keys that are wrong, wholly or in part.
    pub(crate) broken: BTreeSet<String>,
    /// Those of them that an earlier configuration stands in for.
    pub(crate) kept: BTreeSet<String>,
    pub(crate) limits: Limits,
}

impl Parts {
    /// Takes an entry over; says whether there was one to take. One of the layer below stands in only where there is
    /// nothing else: it never was this key's.
    fn keep(&mut self, key: &str, earlier: &Parts) -> bool {
        let own = earlier.keys.contains(key);
        if let Some(name) = key.strip_prefix("template.") {
            let Some((name, template)) = earlier.templates.get_key_value(name) else { return false };
            self.templates.insert(name.clone(), template.clone());
        } else if let Some(name) = key.strip_prefix("trigger.") {
            let Some((name, trigger)) = earlier.triggers.get_key_value(name) else { return false };
            if !own && self.triggers.get(name).is_some_and(|trigger| !trigger.conditions.is_empty()) {
                return false;
            }
            self.triggers.insert(name.clone(), trigger.clone());
        } else if let Some(service) = earlier.services.values().find(|service| service.key == key) {
            // Another key may configure a good service of that name now.
            self.services.entry(service.name.clone()).or_insert_with(|| service.clone());
        } else if !own {
            return false;
        } else if key == "subscriptions" {
            self.subscriptions.clone_from(&earlier.subscriptions);
        } else if key == "defaultTriggers" {
            self.default_triggers.clone_from(&earlier.default_triggers);
        } else if let Some(service) = key.strip_prefix("defaultTriggers.") {
            let Some((name, triggers)) = earlier.default_triggers_of.get_key_value(service) else {
                return false;
            };
            self.default_triggers_of.insert(name.clone(), triggers.clone());
        } else {
            return false;
        }
        true
    }
}

impl Config {
    /// Loads a configuration: what is good, and what is wrong with the rest.
    pub fn load(input: &ConfigInput, types: &dyn ServiceTypes, limits: Limits) -> (Config, Vec<Diagnostic>) {
        load::load(input, types, limits)
    }

    /// This configuration, with each entry that is broken in it taken from `earlier`, where it was good. An entry is a
    /// key of the ConfigMap: it is taken as a whole, so that never half of an old list and half of a new one count.
    #[must_use]
    pub fn keeping_good_of(self, earlier: &Config) -> Config {
        let was_good =
            |key: &&String| !earlier.parts.broken.contains(*key) || earlier.parts.kept.contains(*key);
        let keys: Vec<String> = self.parts.broken.iter().filter(was_good).cloned().collect();
        if keys.is_empty() {
            return self;
        }
        let mut parts = (*self.parts).clone();
        for key in keys {
            if parts.keep(&key, &earlier.parts) {
                parts.kept.insert(key);
            }
        }
        Config { parts: Arc::new(parts) }
    }

    /// The broken keys that an earlier configuration stands in for.
    pub fn kept_keys(&self) -> impl Iterator<Item = &str> {
        self.parts.kept.iter().map(String::as_str)
    }

    /// The service instance of a name.
    pub fn service(&self, name: &str) -> Option<&ServiceConfig> {
        self.parts.services.get(name)
    }

    /// What to say about a service that there is not, or not in a usable form, and what to do about it.
    pub fn unknown_service(&self, service: &ServiceName) -> (String, Option<String>) {
        load::unknown_service(&self.parts, service, true)
    }

    /// All service instances, by name.
    pub fn services(&self) -> impl Iterator<Item = &ServiceConfig> {
        self.parts.services.values()
    }

    /// The template of a name.
    pub fn template(&self, name: &str) -> Option<&TemplateConfig> {
        self.parts.templates.get(name)
    }

    /// All templates, by name.
    pub fn templates(&self) -> impl Iterator<Item = &TemplateConfig> {
        self.parts.templates.values()
    }

    /// The trigger of a name.
    pub fn trigger(&self, name: &str) -> Option<&Trigger> {
        self.parts.triggers.get(name)
    }

    /// All triggers, by name.
    pub fn triggers(&self) -> impl Iterator<Item = &Trigger> {
        self.parts.triggers.values()
    }

    /// The default subscriptions.
    pub fn subscriptions(&self) -> &[DefaultSubscription] {
        &self.parts.subscriptions
    }

    /// The triggers of a subscription that names none.
    pub fn default_triggers(&self, service: &str) -> &[TriggerName] {
        self.parts.default_triggers_of.get(service).unwrap_or(&self.parts.default_triggers)
    }

    /// `defaultTriggers` itself.
    pub fn global_default_triggers(&self) -> &[TriggerName] {
        &self.parts.default_triggers
    }

    /// The Secret's data as the variable `secrets`.
    pub fn secrets(&self) -> &Value {
        &self.parts.secrets
    }

    /// The namespace that dedupe keys carry, if any.
    pub fn namespace(&self) -> Option<&str> {
        self.parts.namespace.as_deref()
    }

    /// The keys of the ConfigMap that are broken, wholly or in part.
    pub fn broken_keys(&self) -> impl Iterator<Item = &str> {
        self.parts.broken.iter().map(String::as_str)
    }

    /// What one run of an expression or template may use.
    pub fn limits(&self) -> Limits {
        self.parts.limits
    }
}
