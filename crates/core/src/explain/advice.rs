//! What to do about a closed gate.

use super::Asked;
use crate::{
    config::Config,
    decide::{Chain, GateName},
    lifecycle::reasons::{self, Origin},
    names::nearest,
    subscription::PREFIX,
};

/// How many names are listed.
const LISTED: usize = 8;

/// What to write so that somebody is notified.
pub(super) fn subscribe(config: &Config) -> Vec<String> {
    const USUAL: [&str; 3] = ["on-rollout-completed", "on-rollout-aborted", "on-rollout-paused"];
    let usual = USUAL.into_iter().find(|name| config.trigger(name).is_some());
    let trigger = usual.or_else(|| config.triggers().next().map(|trigger| trigger.name.as_str()));
    // The one on the terminal is always there; one of their own says more.
    let service = config
        .services()
        .find(|service| &*service.service_type != "console")
        .or_else(|| config.services().next());
    let (service, recipient) = match service {
        Some(service) => (service.name.as_str(), recipient(&service.service_type)),
        None => ("<service>", "<recipient>"),
    };
    let trigger = trigger.unwrap_or("<trigger>");
    vec![
        "nobody is subscribed: neither an annotation nor a default subscription of the ConfigMap fits"
            .to_owned(),
        format!(
            "to subscribe, write into the object:\n  metadata:\n    annotations:\n      \
             {PREFIX}/subscribe.{trigger}.{service}: \"{recipient}\""
        ),
        format!(
            "or for all objects, into the ConfigMap:\n  subscriptions: |\n    - recipients: [\"{service}{}\"]\n      \
             triggers: [{trigger}]",
            if recipient.is_empty() { String::new() } else { format!(":{recipient}") }
        ),
    ]
}

fn recipient(service_type: &str) -> &'static str {
    match service_type {
        "slack" | "mattermost" | "rocketchat" => "my-channel",
        "console" => "stdout",
        "email" => "me@example.com",
        "webhook" | "grafana" | "newrelic" | "github" => "",
        _ => "my-recipient",
    }
}

/// What to do about a gate that is closed.
pub(super) fn repair(asked: &Asked<'_>, chain: &Chain, gate: GateName) -> Vec<String> {
    let config = asked.config;
    let trigger = chain.trigger.as_str();
    match gate {
        GateName::TriggerConfigured => {
            let known: Vec<&str> = config.triggers().map(|trigger| trigger.name.as_str()).collect();
            missing(asked, &format!("trigger.{trigger}"), trigger, &known, "trigger")
        }
        GateName::ConditionUsable => broken(asked, &format!("trigger.{trigger}")),
        GateName::Happened => happened(trigger),
        GateName::ServiceConfigured => {
            let service = chain.destination.service.as_str();
            let known: Vec<&str> = config.services().map(|service| service.name.as_str()).collect();
            // The instance's key ends with its name.
            let key = format!("service.{service}");
            let dotted = format!(".{service}");
            let keys = asked.loading.iter().filter_map(|diagnostic| diagnostic.key.as_deref());
            let mut own = keys.filter(|key| key.starts_with("service.") && key.ends_with(&dotted));
            let key = own.next().map_or(key, str::to_owned);
            missing(asked, &key, service, &known, "service")
        }
        GateName::TemplatesUsable => templates(asked, chain),
        GateName::PastBaseline => {
            vec!["to be told of what is already so, start with --notify-existing".to_owned()]
        }
        _ => Vec::new(),
    }
}

fn happened(trigger: &str) -> Vec<String> {
    let Some(known) = reasons::of_trigger(trigger) else {
        let triggers = reasons::REASONS.iter().map(|reason| reason.trigger);
        let mut hints = vec!["give the condition a `when`, or name the trigger like an event".to_owned()];
        hints.extend(nearest(trigger, triggers).map(|near| format!("did you mean `{near}`?")));
        return hints;
    };
    let mut hints = vec![format!("{}: {}", known.reason, known.about)];
    if known.origin == Origin::EventOnly {
        hints.push(
            "only a Kubernetes Event shows it; Argo Rollouts may drop it when there are many".to_owned(),
        );
    }
    hints
}

/// A name that the configuration does not have.
fn missing(asked: &Asked<'_>, key: &str, name: &str, known: &[&str], what: &str) -> Vec<String> {
    let mut hints = broken(asked, key);
    if !hints.is_empty() {
        return hints;
    }
    if let Some(near) = nearest(name, known.iter().copied()) {
        hints.push(format!("did you mean `{near}`?"));
        return hints;
    }
    hints.push(format!(
        "write `{key}` into the ConfigMap, or use one of the {what}s that are there: {}",
        list(known)
    ));
    hints
}

fn list(names: &[&str]) -> String {
    let mut shown = names.iter().take(LISTED).copied().collect::<Vec<_>>().join(", ");
    if names.is_empty() {
        shown.push_str("none");
    } else if names.len() > LISTED {
        shown.push_str(&format!(" and {} more", names.len() - LISTED));
    }
    shown
}

/// What loading said about a key.
fn broken(asked: &Asked<'_>, key: &str) -> Vec<String> {
    let about = asked.loading.iter().filter(|diagnostic| diagnostic.key.as_deref() == Some(key));
    let mut hints: Vec<String> = about
        .map(|diagnostic| {
            let at = if diagnostic.at.is_unknown() {
                String::new()
            } else {
                format!(", line {}, column {}", diagnostic.at.line, diagnostic.at.column)
            };
            let help = diagnostic.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
            format!("`{key}`{at}: {}{help} [{}]", diagnostic.message, diagnostic.code)
        })
        .collect();
    if hints.is_empty() && asked.config.broken_keys().any(|broken| broken == key) {
        hints.push(format!("`{key}` is in the ConfigMap, and is broken: `herald lint` says where"));
    }
    hints
}

fn templates(asked: &Asked<'_>, chain: &Chain) -> Vec<String> {
    let trigger = asked.config.trigger(chain.trigger.as_str());
    let condition =
        trigger.and_then(|trigger| trigger.conditions.iter().find(|c| Some(c.index) == chain.condition));
    let Some(condition) = condition else { return Vec::new() };
    let known: Vec<&str> = asked.config.templates().map(|template| template.name.as_str()).collect();
    let names = condition.send.iter().chain(&condition.resolve);
    names
        .filter(|name| asked.config.template(name.as_str()).is_none())
        .flat_map(|name| missing(asked, &format!("template.{name}"), name.as_str(), &known, "template"))
        .collect()
}
