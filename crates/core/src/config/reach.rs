//! Default subscriptions that can't deliver, as far as the configuration alone tells it.

use std::collections::BTreeSet;

use super::{DefaultSubscription, Parts};
use crate::{names::Destination, notification::ServiceTypes, yaml::Position};

/// What is wrong, and where the subscription stands.
pub(super) fn problems(parts: &Parts, types: &dyn ServiceTypes) -> Vec<(String, Position)> {
    let mut found = Vec::new();
    for subscription in &parts.subscriptions {
        for destination in &subscription.destinations {
            let Some(service) = parts.services.get(&destination.service) else { continue };
            let kind = &*service.service_type;
            let recipient = destination.recipient.as_str();
            if let Err(why) = types.check_recipient(kind, &service.options, recipient) {
                let message = format!("`{}` can't deliver to `{recipient}`: {why}", destination.service);
                found.push((message, subscription.at));
            }
            if types.needs_section(kind) {
                let lacking = without_section(parts, subscription, destination, kind);
                found.extend(lacking.into_iter().map(|message| (message, subscription.at)));
            }
        }
    }
    found
}

/// The conditions that send to a destination without a section for its service.
fn without_section(
    parts: &Parts,
    subscription: &DefaultSubscription,
    destination: &Destination,
    kind: &str,
) -> BTreeSet<String> {
    let names = subscription.triggers.as_deref().unwrap_or(&parts.default_triggers);
    let mut out = BTreeSet::new();
    for trigger in names.iter().filter_map(|name| parts.triggers.get(name)) {
        for condition in &trigger.conditions {
            let mut templates = condition.send.iter().filter_map(|name| parts.templates.get(name)).peekable();
            if templates.peek().is_some() && !templates.any(|template| template.sections.contains_key(kind)) {
                out.insert(format!(
                    "`{}` sends nothing for the trigger `{}`, as none of its templates has a section `{kind}`",
                    destination.service, trigger.name
                ));
            }
        }
    }
    out
}
