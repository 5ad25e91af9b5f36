//! Where the reference (Argo Rollouts and its notification engine) behaves otherwise.

use std::collections::BTreeMap;

use herald_core::{
    config::{Config, Layer},
    diagnostic::{Diagnostic, Severity, codes},
    lifecycle::reasons::{self, Origin},
    subscription::Subscription,
    yaml::{self, Kind, Node},
};
use herald_expr::analysis::{Step, analyse, line_and_column};
use herald_value::limits::Limits;

use crate::manifest::Entry;

/// Options that only Herald has, whatever the service.
const OURS: &[&str] =
    &["proxyURL", "caBundle", "clientCertificate", "clientKey", "requestTimeout", "connectTimeout"];

fn differs(message: String) -> Diagnostic {
    Diagnostic::new(Severity::Warning, codes::COMPAT, message)
}

/// What differs in the ConfigMap, by key.
pub(crate) fn config_map(
    config: &Config,
    entries: &BTreeMap<String, Entry>,
    secret: bool,
) -> Vec<(String, Diagnostic)> {
    let mut found = Vec::new();
    for key in config.broken_keys() {
        found.push((
            key.to_owned(),
            differs(format!(
                "the reference rejects the whole ConfigMap because of `{key}`, and sends nothing any more"
            )),
        ));
    }
    for trigger in config.triggers().filter(|trigger| trigger.layer == Layer::ConfigMap) {
        let key = format!("trigger.{}", trigger.name);
        let event = reasons::of_trigger(trigger.name.as_str());
        if let Some(reason) = event.filter(|reason| reason.origin == Origin::Ours) {
            let message =
                format!("the reference has no event `{}`, so this trigger never fires there", reason.reason);
            found.push((key.clone(), differs(message)));
        }
        for condition in &trigger.conditions {
            let mut tell = |message: String| {
                found.push((key.clone(), differs(message).at(&trigger.source, condition.at)));
            };
            for (used, field) in [
                (condition.hold.is_some(), "for"),
                (!condition.resolve.is_empty(), "resolve"),
                (condition.repeat_every.is_some(), "repeatEvery"),
            ] {
                if used {
                    tell(format!("the reference ignores `{field}`"));
                }
            }
            if event.is_some() && condition.when.is_some() {
                tell(
                    "the reference sends this twice: for the event, and when the condition becomes true"
                        .to_owned(),
                );
            }
            if condition.when.is_none() && condition.once_per.is_some() {
                tell("the reference ignores `oncePer` where there is no `when`".to_owned());
            }
            for expression in [&condition.when, &condition.once_per].into_iter().flatten() {
                let Ok(analysis) = analyse(&expression.source, Limits::DEFAULT) else { continue };
                for access in &analysis.accesses {
                    let Some((Step::Key(name), at)) = access.steps.first() else { continue };
                    if let Some(message) = our_variable(name) {
                        let (line, column) = line_and_column(&expression.source, *at);
                        let at = expression.at.within(line, column);
                        found.push((key.clone(), differs(message).at(&trigger.source, at)));
                    }
                }
            }
            for name in condition.send.iter().chain(&condition.resolve) {
                if config.template(name.as_str()).is_some_and(|template| template.layer == Layer::Base) {
                    let message = format!(
                        "the reference has no template `{name}`: it is one of Herald's built-in ones"
                    );
                    found.push((
                        key.clone(),
                        differs(message)
                            .hint("copy it from `herald catalog`")
                            .at(&trigger.source, condition.at),
                    ));
                }
            }
        }
    }
    for (key, entry) in entries {
        let Ok((node, _)) = yaml::parse_lenient(&entry.value) else { continue };
        if key.starts_with("template.") {
            template(key, &node, &entry.value, &mut found);
        } else if let Some(kind) = key.strip_prefix("service.") {
            service(key, kind.split('.').next().unwrap_or_default(), &node, &entry.value, &mut found);
        } else if key == "subscriptions" {
            for subscription in node.items() {
                for recipient in subscription.get("recipients").map(Node::items).unwrap_or_default() {
                    let text = recipient.text().unwrap_or_default();
                    if text.matches(':').count() > 1 {
                        let message = format!(
                            "the reference splits `{text}` at each colon and keeps the second part only"
                        );
                        found.push((key.clone(), differs(message).at(&entry.value, recipient.at)));
                    }
                }
            }
        }
    }
    let triggers = config.subscriptions().iter().flat_map(|s| s.triggers.iter().flatten());
    for name in triggers.chain(config.global_default_triggers()) {
        if config.trigger(name.as_str()).is_some_and(|trigger| trigger.layer == Layer::Base) {
            let key = if entries.contains_key("subscriptions") { "subscriptions" } else { "defaultTriggers" };
            found.push((key.to_owned(), built_in(name.as_str())));
        }
    }
    let _ = secret;
    found
}

fn built_in(trigger: &str) -> Diagnostic {
    differs(format!("the reference has no trigger `{trigger}`: it is one of Herald's built-in ones"))
        .hint(format!("copy it from `herald catalog trigger.{trigger}`"))
}

fn our_variable(name: &str) -> Option<String> {
    matches!(name, "event" | "trigger" | "previous" | "diff")
        .then(|| format!("the reference has no variable `{name}`: it is nil there"))
}

fn template(key: &str, node: &Node, source: &str, found: &mut Vec<(String, Diagnostic)>) {
    let registry = herald_services::Registry::standard();
    for field in crate::rendering::fields(node, &registry, Limits::DEFAULT) {
        for access in field.template.accesses() {
            let Some((herald_template::analysis::Step::Key(name), line, column)) = access.steps.first()
            else {
                continue;
            };
            if let Some(message) = our_variable(name) {
                found.push((key.to_owned(), differs(message).at(source, field.at.within(*line, *column))));
            }
        }
    }
    for (section, _, value) in node.entries() {
        for (field, _, value) in value.entries() {
            let json = matches!(
                (section.as_str(), field.as_str()),
                (_, "attachments" | "blocks" | "facts" | "sections" | "potentialAction" | "adaptiveCard")
            );
            if json && matches!(value.kind, Kind::List(_) | Kind::Map(_)) {
                let message = format!(
                    "the reference wants `{section}.{field}` as JSON text and rejects {}",
                    value.describe()
                );
                found.push((
                    key.to_owned(),
                    differs(message).hint("write `|` behind the colon, and JSON below").at(source, value.at),
                ));
            }
            if (section.as_str(), field.as_str()) == ("email", "html") {
                let message = "the reference ignores `email.html`".to_owned();
                found.push((
                    key.to_owned(),
                    differs(message)
                        .hint("its option `html: true` sends `body` as HTML")
                        .at(source, value.at),
                ));
            }
        }
    }
}

fn service(key: &str, kind: &str, node: &Node, source: &str, found: &mut Vec<(String, Diagnostic)>) {
    let mut tell = |message: String, node: &Node| {
        found.push((key.to_owned(), differs(message).at(source, node.at)));
    };
    for (option, _, value) in node.entries() {
        if OURS.contains(&option.as_str()) && !(kind == "email" && option == "insecure_skip_verify") {
            tell(format!("the reference ignores `{option}`"), value);
        }
        let quoted = matches!(&value.kind, Kind::Text(text) if matches!(text.as_str(), "true" | "false") || text.parse::<f64>().is_ok());
        let typed = matches!(
            option.as_str(),
            "port"
                | "insecureSkipVerify"
                | "html"
                | "insecure_skip_verify"
                | "timeout"
                | "disableUnfurl"
                | "retryMax"
                | "maxIdleConns"
                | "maxIdleConnsPerHost"
                | "maxConnsPerHost"
        );
        if quoted && typed {
            let text = value.text().unwrap_or_default();
            tell(
                format!(
                    "the reference rejects the whole ConfigMap because `{option}` stands in quotes: write `{text}`"
                ),
                value,
            );
        }
        match (kind, option.as_str(), value.text().unwrap_or_default()) {
            ("webhook", "retryWaitMin" | "retryWaitMax", text) if text.parse::<i64>().is_err() => {
                tell(
                    format!("the reference wants `{option}` in nanoseconds and rejects the whole ConfigMap"),
                    value,
                );
            }
            ("slack", "apiURL", text)
                if !text.is_empty() && !text.ends_with('/') && !text.starts_with('$') =>
            {
                tell(
                    "the reference appends method names without a slash: end this URL with `/`".to_owned(),
                    value,
                );
            }
            ("teams-workflows", "recipientUrls", _) => {
                for (name, _, url) in value.entries() {
                    let text = url.text().unwrap_or_default().to_lowercase();
                    if text.contains("logic.azure.com") && !text.contains("/powerautomate/") {
                        tell(
                            format!(
                                "the reference refuses the URL of `{name}`: it does not know logic.azure.com"
                            ),
                            url,
                        );
                    }
                }
            }
            _ => {}
        }
    }
}

/// What differs about a subscription by annotation.
pub(crate) fn subscription(config: &Config, subscription: &Subscription, key: &str) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    if config.trigger(subscription.trigger.as_str()).is_some_and(|trigger| trigger.layer == Layer::Base) {
        found.push(built_in(subscription.trigger.as_str()));
    }
    if key.contains("/subscribe.") && subscription.trigger.as_str().contains('.') {
        found.push(differs(format!(
            "the reference takes the first two parts of the key, so it reads another trigger than `{}`",
            subscription.trigger
        )));
    }
    found
}
