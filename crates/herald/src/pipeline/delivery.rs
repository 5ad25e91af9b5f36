//! How notices of a service are delivered: the key `delivery` in the options of a service and in `subscriptions`,
//! which the reference ignores. See `docs/delivery.md`.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use herald_core::{
    config::{Config, ConfigInput, ServiceConfig},
    diagnostic::{Diagnostic, Severity, codes},
    names::nearest,
    yaml::{self, Kind, Located, Node, YamlError},
};
use herald_outbox::{Grouping, GroupingRule, Policies, Rate, RetryPolicy, ServicePolicy};
use herald_services::http::go_duration;
use serde::{Deserialize, de::DeserializeOwned};
use tokio::sync::watch;

use super::configuration::Active;

/// The key.
const KEY: &str = "delivery";

/// Parts of the key that are about a service only.
const SERVICE: [&str; 4] = ["retry", "rate", "recipientRate", "concurrency"];

/// The keys of a grouping rule without what it is for.
const RULE: [&str; 6] = ["groupBy", "groupWait", "groupInterval", "maxSize", "muteTimes", "muted"];

/// The policies of all service instances.
pub(crate) type Table = BTreeMap<String, ServicePolicy>;

/// Options of a service.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Written {
    retry: Retry,
    rate: Option<Limit>,
    recipient_rate: Option<Limit>,
    concurrency: Option<Located<u32>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Retry {
    first: Option<Located<String>>,
    longest: Option<Located<String>>,
    longest_retry_after: Option<Located<String>>,
    give_up_after: Option<Located<String>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Limit {
    every: Located<String>,
    burst: Option<Located<u32>>,
}

/// The policies that a configuration asks for. Where a part of it is wrong, `earlier` stays in force for the service,
/// or the defaults.
pub(crate) fn table(config: &Config, input: &ConfigInput, earlier: &Table) -> (Table, Vec<Diagnostic>) {
    let mut found = Vec::new();
    let mut table = Table::new();
    let subscribed = subscribed(config, input, &mut found);
    for service in config.services() {
        let name = service.name.as_str();
        let mut policy = default_of(&service.service_type);
        let mut rules: Vec<GroupingRule> =
            subscribed.iter().filter(|(to, _)| to == name).map(|(_, rule)| rule.clone()).collect();
        let own = match service.options.get(KEY) {
            Some(node) => written(node, &mut policy),
            None => Ok(Vec::new()),
        };
        match own {
            Ok(own) => {
                rules.extend(own);
                policy.grouping = (!rules.is_empty()).then(|| Arc::new(Grouping { rules }));
            }
            Err(error) => {
                found.push(told(input, &service.key, codes::SERVICE_OPTIONS, error, service));
                policy = earlier.get(name).cloned().unwrap_or_else(|| default_of(&service.service_type));
            }
        }
        table.insert(name.to_owned(), policy);
    }
    (table, found)
}

/// What is wrong with it, before it is in force.
pub(crate) fn check(config: &Config, input: &ConfigInput) -> Vec<Diagnostic> {
    let (_, mut found) = table(config, input, &Table::new());
    for diagnostic in &mut found {
        diagnostic.hint = None;
    }
    found
}

fn told(
    input: &ConfigInput,
    key: &str,
    code: &'static str,
    error: YamlError,
    service: &ServiceConfig,
) -> Diagnostic {
    at_key(input, key, code, &error).hint(format!("service `{}` is delivered as before", service.name))
}

fn at_key(input: &ConfigInput, key: &str, code: &'static str, error: &YamlError) -> Diagnostic {
    let source = input.data.get(key).map_or("", String::as_str);
    let mut diagnostic =
        Diagnostic::new(Severity::Error, code, format!("{KEY}: {}", error.message)).at(source, error.at);
    diagnostic.object.clone_from(&input.object);
    diagnostic.file.clone_from(&input.file);
    diagnostic.key = Some(key.to_owned());
    diagnostic
}

/// What a service bears if nobody says otherwise.
fn default_of(service_type: &str) -> ServicePolicy {
    let recipient_rate = match service_type {
        // What Slack allows for a channel, and a few at once.
        "slack" => Rate { interval: Duration::from_secs(1), burst: 3 },
        _ => Rate::UNLIMITED,
    };
    ServicePolicy { recipient_rate, ..ServicePolicy::default() }
}

/// Reads the key of a service into its policy; gives its grouping rules.
fn written(node: &Node, policy: &mut ServicePolicy) -> Result<Vec<GroupingRule>, YamlError> {
    let mut rest = Vec::new();
    let mut own = Vec::new();
    let mut rules = Vec::new();
    if !matches!(node.kind, Kind::Map(_) | Kind::Null) {
        return Err(YamlError::new(format!("it must be a map, not {}", node.describe()), node.at));
    }
    for entry in node.entries() {
        match entry.0.as_str() {
            "rules" => rules = decode::<Vec<GroupingRule>>(&entry.2)?,
            key if RULE.contains(&key) => own.push(entry.clone()),
            key if SERVICE.contains(&key) => rest.push(entry.clone()),
            key => {
                let known: Vec<&str> = SERVICE.iter().chain(&["rules"]).chain(RULE.iter()).copied().collect();
                let meant = match nearest(key, known.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("known are {}", known.join(", ")),
                };
                return Err(YamlError::new(format!("`{key}` is not known; {meant}"), entry.1));
            }
        }
    }
    if !own.is_empty() {
        rules.push(decode(&Node { kind: Kind::Map(own), at: node.at })?);
    }
    let written: Written = decode(&Node { kind: Kind::Map(rest), at: node.at })?;
    let retry = &mut policy.retry;
    let Retry { first, longest, longest_retry_after, give_up_after } = &written.retry;
    let RetryPolicy { first: f, longest: l, longest_retry_after: a, give_up_after: g, .. } = retry;
    for (text, span) in [(first, f), (longest, l), (longest_retry_after, a), (give_up_after, g)] {
        if let Some(text) = text {
            *span = duration(text)?;
        }
    }
    if let Some(rate) = &written.rate {
        policy.rate = limit(rate)?;
    }
    if let Some(rate) = &written.recipient_rate {
        policy.recipient_rate = limit(rate)?;
    }
    if let Some(most) = &written.concurrency {
        if most.value == 0 {
            return Err(YamlError::new("concurrency must be 1 or more", most.at));
        }
        policy.concurrency = usize::try_from(most.value).unwrap_or(usize::MAX);
    }
    Ok(rules)
}

fn decode<T: DeserializeOwned>(node: &Node) -> Result<T, YamlError> {
    let (value, unknown) = yaml::decode_noting_unknown(node)?;
    match unknown.first() {
        None => Ok(value),
        Some(field) => Err(YamlError::new(
            format!("`{}` is not known; known are {}", field.name, field.known.join(", ")),
            field.at,
        )),
    }
}

fn duration(text: &Located<String>) -> Result<Duration, YamlError> {
    go_duration(&text.value).ok_or_else(|| {
        YamlError::new(format!("{:?} is no duration; write one like 30s, 5m or 24h", text.value), text.at)
    })
}

fn limit(written: &Limit) -> Result<Rate, YamlError> {
    let interval = duration(&written.every)?;
    let burst = written.burst.as_ref().map_or(1, |burst| burst.value.max(1));
    Ok(Rate { interval, burst })
}

/// The grouping rules of subscriptions, with their service.
fn subscribed(
    config: &Config,
    input: &ConfigInput,
    found: &mut Vec<Diagnostic>,
) -> Vec<(String, GroupingRule)> {
    const SUBSCRIPTIONS: &str = "subscriptions";
    let Some(text) = input.data.get(SUBSCRIPTIONS) else { return Vec::new() };
    // That it is no YAML is told where it is loaded.
    let Ok((list, _)) = yaml::parse_lenient(text) else { return Vec::new() };
    let mut rules = Vec::new();
    for item in list.items() {
        let Some(node) = item.get(KEY).filter(|node| !node.is_null()) else { continue };
        let rule: GroupingRule = match decode(node).and_then(|rule| only_how(node).map(|()| rule)) {
            Ok(rule) => rule,
            Err(error) => {
                found.push(at_key(input, SUBSCRIPTIONS, codes::SUBSCRIPTION, &error));
                continue;
            }
        };
        let named = |key: &str| -> Vec<String> {
            let items = item.get(key).map(Node::items).unwrap_or_default();
            items.iter().filter_map(|item| item.text().map(str::to_owned)).collect()
        };
        let triggers = named("triggers");
        for recipient in named("recipients") {
            let (service, to) = recipient.split_once(':').unwrap_or((&recipient, ""));
            let triggers = match triggers.is_empty() {
                true => config.default_triggers(service).iter().map(ToString::to_string).collect(),
                false => triggers.clone(),
            };
            let recipients = vec![to.to_owned()];
            rules.push((service.to_owned(), GroupingRule { triggers, recipients, ..rule.clone() }));
        }
    }
    rules
}

/// A subscription says itself what it is for.
fn only_how(node: &Node) -> Result<(), YamlError> {
    match node.entries().iter().find(|(key, ..)| !RULE.contains(&key.as_str())) {
        None => Ok(()),
        Some((key, at, _)) => Err(YamlError::new(
            format!("`{key}` has no place in a subscription's {KEY}; known are {}", RULE.join(", ")),
            *at,
        )),
    }
}

/// The policies of the configuration in force, as the courier wants them: told anew whenever it is swapped.
pub(crate) fn policies(mut active: watch::Receiver<Arc<Active>>) -> watch::Receiver<Policies> {
    let of = |active: &Arc<Active>| -> Policies {
        let active = active.clone();
        Arc::new(move |service: &str| {
            let policy = active.owner(service).and_then(|(owner, name)| owner.policies.get(name));
            policy.cloned().unwrap_or_default()
        })
    };
    let (sender, receiver) = watch::channel(of(&active.borrow_and_update()));
    tokio::spawn(async move {
        while active.changed().await.is_ok() {
            let policies = of(&active.borrow_and_update());
            if sender.send(policies).is_err() {
                return;
            }
        }
    });
    receiver
}

/// The place of a key, for tests and explanations.
#[cfg(test)]
fn line(error: &Diagnostic) -> yaml::Position {
    error.at
}

#[cfg(test)]
mod tests {
    use herald_services::Registry;
    use herald_value::limits::Limits;

    use super::*;

    fn load(service: &str, subscriptions: &str, earlier: &Table) -> (Table, Vec<Diagnostic>) {
        let mut input = ConfigInput { object: "ConfigMap a/b".into(), ..ConfigInput::default() };
        input.data.insert("service.slack".into(), format!("token: x\n{service}"));
        input.data.insert("service.webhook.hook".into(), "url: http://x".into());
        input.data.insert("subscriptions".into(), subscriptions.into());
        let (config, found) = Config::load(&input, &Registry::standard(), Limits::DEFAULT);
        assert!(found.iter().all(|one| one.code == codes::UNKNOWN_TRIGGER), "{found:#?}");
        table(&config, &input, earlier)
    }

    const SERVICE: &str = "delivery:\n  retry: {first: 1s, longest: 10m, giveUpAfter: 48h}\n  rate: {every: 100ms, burst: 5}\n  \
        recipientRate: {every: 2s}\n  concurrency: 4\n  rules:\n    - triggers: [on-a]\n      groupWait: 10s\n  groupBy: [namespace]\n  \
        muteTimes:\n    - name: night\n      times: [{startTime: '22:00', endTime: '07:00'}]\n      location: Europe/Berlin\n  muted: drop\n";

    #[test]
    fn a_service_says_how_it_is_delivered() {
        let (table, found) = load(SERVICE, "", &Table::new());
        assert!(found.is_empty(), "{found:#?}");
        let policy = &table["slack"];
        assert_eq!(policy.retry.first, Duration::from_secs(1));
        assert_eq!(policy.retry.longest, Duration::from_secs(600));
        assert_eq!(policy.retry.give_up_after, Duration::from_secs(48 * 3600));
        assert_eq!(policy.rate, Rate { interval: Duration::from_millis(100), burst: 5 });
        assert_eq!(policy.recipient_rate, Rate::one_per(Duration::from_secs(2)));
        assert_eq!(policy.concurrency, 4);
        let rules = &policy.grouping.as_ref().unwrap().rules;
        assert_eq!(rules.len(), 2);
        assert_eq!(
            (rules[0].triggers.as_slice(), rules[0].group_wait),
            (&["on-a".to_owned()][..], Some(Duration::from_secs(10)))
        );
        assert_eq!((rules[1].mute_times.len(), rules[1].muted), (1, herald_outbox::Muted::Drop));
        assert_eq!(table["hook"], ServicePolicy::default());
    }

    #[test]
    fn the_defaults_retry_for_a_day_and_spare_slacks_channels() {
        let (table, found) = load("", "", &Table::new());
        assert!(found.is_empty());
        assert_eq!(table["slack"].retry.give_up_after, Duration::from_secs(24 * 3600));
        assert_eq!(table["slack"].recipient_rate.interval, Duration::from_secs(1));
        assert_eq!(table["hook"].recipient_rate, Rate::UNLIMITED);
    }

    #[test]
    fn a_subscription_says_it_for_its_recipients() {
        let text = "- recipients: ['slack:deploys', hook]\n  triggers: [on-a, on-b]\n  delivery:\n    groupWait: 1m\n    groupBy: [trigger]\n";
        let (table, found) = load("delivery: {groupWait: 5s}\n", text, &Table::new());
        assert!(found.is_empty(), "{found:#?}");
        let rules = &table["slack"].grouping.as_ref().unwrap().rules;
        assert_eq!(rules.len(), 2, "the subscription's comes first");
        assert_eq!(
            (rules[0].recipients.as_slice(), rules[0].triggers.len()),
            (&["deploys".to_owned()][..], 2)
        );
        assert_eq!(rules[1].group_wait, Some(Duration::from_secs(5)));
        assert_eq!(table["hook"].grouping.as_ref().unwrap().rules[0].recipients, [""]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_leaves_what_was_good() {
        let (earlier, _) = load(SERVICE, "", &Table::new());
        let subscription =
            |text: &str| format!("- recipients: ['slack:x']\n  triggers: [on-a]\n  delivery:\n    {text}\n");
        for (service, subscriptions, line_of, part) in [
            ("delivery:\n  retry: {first: soon}\n", String::new(), 3, "\"soon\" is no duration"),
            ("delivery:\n  retires: {}\n", String::new(), 3, "retires"),
            ("delivery:\n  concurrency: 0\n", String::new(), 3, "1 or more"),
            ("delivery: [x]\n", String::new(), 2, "must be a map"),
            ("delivery:\n  muteTimes: [{location: Atlantis}]\n", String::new(), 3, "is no time zone"),
            ("", subscription("groupWait: never"), 4, "is no span of time"),
            ("", subscription("retry: {}"), 4, "`retry` is not known"),
        ] {
            let (table, found) = load(service, &subscriptions, &earlier);
            assert_eq!(found.len(), 1, "{service}{subscriptions}: {found:#?}");
            assert!(found[0].message.contains(part), "{}", found[0].message);
            assert_eq!(line(&found[0]).line, line_of, "{:?}", found[0]);
            assert!(!service.is_empty() || table["slack"].concurrency == 16);
            assert!(service.is_empty() || table["slack"] == earlier["slack"]);
        }
    }
}
