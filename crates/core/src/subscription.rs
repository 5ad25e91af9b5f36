//! Who wants to hear of what: the object's annotations and the default subscriptions.

use std::collections::BTreeSet;

use herald_value::Value;
use serde::Deserialize;

use crate::{
    config::Config,
    diagnostic::{Diagnostic, Severity, codes},
    names::{Destination, Recipient, ServiceName, TriggerName, nearest},
    yaml::{self, Located, Position},
};

/// The prefix of all annotations.
pub const PREFIX: &str = "notifications.argoproj.io";

/// Where a subscription comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The default subscription of that index.
    Default(usize),
    /// An annotation of the object, by its key.
    Annotation(String),
}

/// One destination of one trigger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Of what.
    pub trigger: TriggerName,
    /// To whom.
    pub destination: Destination,
    /// Why.
    pub origin: Origin,
}

/// All subscriptions of an object, and what looks wrong about its annotations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscriptions {
    /// De-duplicated by trigger, service and recipient: default ones first, then annotations by key.
    pub list: Vec<Subscription>,
    /// Annotations that cannot be read, or look like subscriptions and are none.
    pub diagnostics: Vec<Diagnostic>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Spec {
    trigger: Vec<Located<String>>,
    destinations: Vec<DestinationSpec>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct DestinationSpec {
    service: Located<String>,
    recipients: Vec<String>,
}

/// The subscriptions of an object.
pub fn subscriptions(config: &Config, object: &Value) -> Subscriptions {
    let mut collector = Collector { config, seen: BTreeSet::new(), found: Subscriptions::default() };
    let labels = object.path(&["metadata", "labels"]);
    for (index, subscription) in config.subscriptions().iter().enumerate() {
        if !subscription.selector.matches(labels) {
            continue;
        }
        let triggers = subscription.triggers.as_deref().unwrap_or(config.global_default_triggers());
        for destination in &subscription.destinations {
            for trigger in triggers {
                collector.add(trigger, destination, Origin::Default(index));
            }
        }
    }
    let annotations = object.path(&["metadata", "annotations"]).and_then(Value::as_map);
    for (key, value) in annotations.map(|map| map.entries()).unwrap_or_default() {
        if let (Some(key), Some(value)) = (key.to_str(), value.as_str()) {
            collector.annotation(key, value);
        }
    }
    let mut found = collector.found;
    for diagnostic in &mut found.diagnostics {
        let text = |field| object.path(&["metadata", field]).and_then(Value::as_str).unwrap_or_default();
        let kind = object.get("kind").and_then(Value::as_str).unwrap_or("Rollout");
        diagnostic.object = format!("{kind} {}/{}", text("namespace"), text("name"));
    }
    found
}

struct Collector<'a> {
    config: &'a Config,
    seen: BTreeSet<(TriggerName, Destination)>,
    found: Subscriptions,
}

impl Collector<'_> {
    fn add(&mut self, trigger: &TriggerName, destination: &Destination, origin: Origin) {
        if self.seen.insert((trigger.clone(), destination.clone())) {
            let (trigger, destination) = (trigger.clone(), destination.clone());
            self.found.list.push(Subscription { trigger, destination, origin });
        }
    }

    fn tell(&mut self, key: &str, diagnostic: Diagnostic) {
        self.found.diagnostics.push(Diagnostic { key: Some(key.to_owned()), ..diagnostic });
    }

    fn annotation(&mut self, key: &str, value: &str) {
        if key.ends_with("recipients.argocd-notifications.argoproj.io") {
            let message = "this is the annotation of the old argocd-notifications, which is not read";
            let hint = format!("write `{PREFIX}/subscribe.<trigger>.<service>`");
            return self.tell(key, Diagnostic::new(Severity::Warning, codes::NEAR_MISS, message).hint(hint));
        }
        let Some((prefix, name)) = key.split_once('/') else { return };
        if prefix != PREFIX {
            if nearest(prefix, [PREFIX]).is_some() && name.starts_with("subscri") {
                let message = format!("this annotation begins with `{prefix}`, so it is not read");
                self.tell(
                    key,
                    Diagnostic::new(Severity::Warning, codes::NEAR_MISS, message)
                        .hint(format!("write `{PREFIX}/{name}`")),
                );
            }
            return;
        }
        if name == "subscriptions" {
            self.list(key, value);
        } else if let Some(rest) = name.strip_prefix("subscribe.") {
            self.one(key, rest, value);
        } else {
            let (first, rest) = name.split_once(['.', '/']).unwrap_or((name, ""));
            if let Some(near) = nearest(first, ["subscribe", "subscriptions"]) {
                let hint = if !rest.is_empty() {
                    format!("write `{PREFIX}/subscribe.{rest}`")
                } else if near == "subscribe" {
                    format!("write `{PREFIX}/subscribe.<trigger>.<service>`")
                } else {
                    format!("write `{PREFIX}/subscriptions`")
                };
                let message = format!("`{name}` is not read");
                self.tell(key, Diagnostic::new(Severity::Warning, codes::NEAR_MISS, message).hint(hint));
            }
        }
    }

    /// `subscribe.[<trigger>.]<service>: a;b`
    fn one(&mut self, key: &str, rest: &str, value: &str) {
        let (trigger, service) = self.split(rest);
        let Ok(service) = service.parse::<ServiceName>() else {
            let message = "this annotation names no service";
            let hint = format!("write `{PREFIX}/subscribe.<trigger>.<service>`");
            return self
                .tell(key, Diagnostic::new(Severity::Warning, codes::SUBSCRIPTION, message).hint(hint));
        };
        let triggers = match trigger {
            Some(trigger) => match trigger.parse::<TriggerName>() {
                Ok(trigger) => vec![trigger],
                Err(error) => {
                    let diagnostic =
                        Diagnostic::new(Severity::Warning, codes::SUBSCRIPTION, error.to_string());
                    return self.tell(key, diagnostic);
                }
            },
            None => self.config.default_triggers(service.as_str()).to_vec(),
        };
        self.check_names(key, &triggers, &service, trigger.is_some(), None);
        // An empty value is one empty recipient; empty parts of a list are nothing.
        let recipients: Vec<Recipient> = if value.is_empty() {
            vec![Recipient::default()]
        } else {
            let all = value.split(';').map(Recipient::new);
            all.filter(|recipient| !recipient.as_str().is_empty()).collect()
        };
        for trigger in &triggers {
            for recipient in &recipients {
                let destination = Destination { service: service.clone(), recipient: recipient.clone() };
                self.add(trigger, &destination, Origin::Annotation(key.to_owned()));
            }
        }
    }

    /// Trigger names may hold dots: the last part is the service, if such an instance is there, or if all before
    /// it is the name of a trigger. Else, as in the reference, the first two parts count.
    fn split<'r>(&self, rest: &'r str) -> (Option<&'r str>, &'r str) {
        let Some((before, last)) = rest.rsplit_once('.') else { return (None, rest) };
        if self.config.service(last).is_some() || self.config.trigger(before).is_some() {
            return (Some(before), last);
        }
        let mut parts = rest.split('.');
        let first = parts.next().unwrap_or_default();
        (Some(first), parts.next().unwrap_or_default())
    }

    /// `place`: the value of the annotation, and where in it service and triggers stand.
    fn check_names(
        &mut self,
        key: &str,
        triggers: &[TriggerName],
        service: &ServiceName,
        named: bool,
        place: Option<(&str, Position, Option<Position>)>,
    ) {
        if let ([trigger], true) = (triggers, named)
            && self.config.service(service.as_str()).is_none()
            && self.config.service(trigger.as_str()).is_some()
            && self.config.trigger(service.as_str()).is_some()
        {
            let message = format!("`{trigger}` is a service and `{service}` a trigger");
            let hint = format!("write `{PREFIX}/subscribe.{service}.{trigger}`");
            return self
                .tell(key, Diagnostic::new(Severity::Warning, codes::UNKNOWN_TRIGGER, message).hint(hint));
        }
        if self.config.service(service.as_str()).is_none() {
            let (message, hint) = self.config.unknown_service(service);
            let mut diagnostic = Diagnostic::new(Severity::Warning, codes::UNKNOWN_SERVICE, message);
            diagnostic.hint = hint;
            if let Some((value, at, _)) = place {
                diagnostic = diagnostic.at(value, at);
            }
            self.tell(key, diagnostic);
        }
        for trigger in triggers.iter().filter(|_| named) {
            if self.config.trigger(trigger.as_str()).is_none() {
                let message = format!("there is no trigger `{trigger}`");
                let mut diagnostic = Diagnostic::new(Severity::Warning, codes::UNKNOWN_TRIGGER, message);
                let near = nearest(trigger.as_str(), self.config.triggers().map(|t| t.name.as_str()));
                diagnostic.hint = match near {
                    Some(near) => Some(format!("did you mean `{near}`?")),
                    None if trigger.as_str().contains([',', ';']) => Some(format!(
                        "write one annotation for each trigger, or a list in `{PREFIX}/subscriptions`"
                    )),
                    None => None,
                };
                if let Some((value, _, Some(at))) = place {
                    diagnostic = diagnostic.at(value, at);
                }
                self.tell(key, diagnostic);
            }
        }
    }

    /// `subscriptions: <yaml>`
    fn list(&mut self, key: &str, value: &str) {
        let specs = yaml::parse_lenient(value).and_then(|(node, _)| yaml::decode::<Vec<Spec>>(&node));
        let specs = match specs {
            Ok(specs) => specs,
            Err(error) => {
                let diagnostic = Diagnostic::new(Severity::Warning, codes::SUBSCRIPTION, error.message)
                    .hint(
                        "write a list of `{trigger: [..], destinations: [{service: .., recipients: [..]}]}`",
                    )
                    .at(value, error.at);
                return self.tell(key, diagnostic);
            }
        };
        for spec in specs {
            let mut named = Vec::new();
            for text in &spec.trigger {
                match text.value.trim().parse::<TriggerName>() {
                    Ok(trigger) => named.push(trigger),
                    Err(error) => {
                        let error =
                            Diagnostic::new(Severity::Warning, codes::SUBSCRIPTION, error.to_string());
                        self.tell(key, error.at(value, text.at));
                    }
                }
            }
            for destination in spec.destinations {
                let service = match destination.service.value.trim().parse::<ServiceName>() {
                    Ok(service) => service,
                    Err(error) => {
                        let error =
                            Diagnostic::new(Severity::Warning, codes::SUBSCRIPTION, error.to_string());
                        self.tell(key, error.at(value, destination.service.at));
                        continue;
                    }
                };
                let triggers = if spec.trigger.is_empty() {
                    self.config.default_triggers(service.as_str()).to_vec()
                } else {
                    named.clone()
                };
                let place = (value, destination.service.at, spec.trigger.first().map(|text| text.at));
                self.check_names(key, &triggers, &service, !spec.trigger.is_empty(), Some(place));
                // A service that needs no recipient is named without one.
                let recipients = if destination.recipients.is_empty() {
                    vec![Recipient::default()]
                } else {
                    destination.recipients.iter().map(|text| Recipient::new(text)).collect()
                };
                for trigger in &triggers {
                    for recipient in &recipients {
                        let to = Destination { service: service.clone(), recipient: recipient.clone() };
                        self.add(trigger, &to, Origin::Annotation(key.to_owned()));
                    }
                }
            }
        }
    }
}
