//! Options that a service takes, and can't do anything with: the reference accepts them, and fails at each delivery.

use herald_core::{
    names::nearest,
    yaml::{Node, Position},
};

/// What each service can't do without, by its type.
const NEEDED: [(&str, &[&str]); 12] = [
    ("slack", &["token"]),
    ("mattermost", &["apiURL", "token"]),
    ("grafana", &["apiUrl", "apiKey"]),
    ("telegram", &["token"]),
    ("webex", &["token"]),
    ("newrelic", &["apiKey"]),
    ("pagerduty", &["token"]),
    ("pagerdutyv2", &["serviceKeys"]),
    ("opsgenie", &["apiKeys"]),
    ("pushover", &["token"]),
    ("rocketchat", &["serverUrl"]),
    ("alertmanager", &["targets"]),
];

/// Options that hold an address.
const ADDRESSES: [(&str, &str); 6] = [
    ("webhook", "url"),
    ("mattermost", "apiURL"),
    ("grafana", "apiUrl"),
    ("slack", "apiURL"),
    ("rocketchat", "serverUrl"),
    ("github", "enterpriseBaseURL"),
];

/// What is wrong, with a hint, and where.
pub(crate) struct Fault {
    pub(crate) message: String,
    pub(crate) hint: String,
    pub(crate) at: Position,
}

fn option<'n>(node: &'n Node, name: &str) -> Option<&'n Node> {
    node.entries().iter().find(|(key, ..)| key.eq_ignore_ascii_case(name)).map(|(_, _, value)| value)
}

/// What is wrong with the options of a service of a type.
pub(crate) fn faults(kind: &str, node: &Node) -> Vec<Fault> {
    let mut found = Vec::new();
    let needed = NEEDED.iter().find(|(name, _)| *name == kind).map_or(&[][..], |(_, needed)| needed);
    for name in needed {
        let given =
            option(node, name).filter(|value| value.text() != Some("") && !value.is_null()).is_some_and(
                |value| value.text().is_some() || !value.entries().is_empty() || !value.items().is_empty(),
            );
        if !given {
            found.push(Fault {
                message: format!("`{name}` is missing: without it every delivery fails"),
                hint: match *name {
                    "token" | "apiKey" => format!("write `{name}: $<a key of the Secret>`"),
                    _ => format!("see docs/services/{kind}.md"),
                },
                at: node.at,
            });
        }
    }
    for (_, name) in ADDRESSES.iter().filter(|(name, _)| *name == kind) {
        let Some(value) = option(node, name) else { continue };
        let Some(text) = value.text().filter(|text| !text.is_empty() && !text.starts_with('$')) else {
            continue;
        };
        let lower = text.to_ascii_lowercase();
        if !lower.starts_with("http://") && !lower.starts_with("https://") {
            found.push(Fault {
                message: format!(
                    "`{name}` is no address of a web server: it begins with neither https:// nor http://"
                ),
                hint: format!("write `https://{}`", text.rsplit("//").next().unwrap_or_default()),
                at: value.at,
            });
        }
    }
    if kind == "alertmanager"
        && let Some(scheme) = option(node, "scheme")
        && let Some(text) =
            scheme.text().filter(|text| !matches!(*text, "http" | "https" | "") && !text.contains('$'))
    {
        found.push(Fault {
            message: format!("there is no scheme `{text}`"),
            hint: "write `http` or `https`".into(),
            at: scheme.at,
        });
    }
    braces(node, &mut found);
    found
}

/// `${name}` is a form of other programs.
fn braces(node: &Node, found: &mut Vec<Fault>) {
    if let Some((_, rest)) = node.text().and_then(|text| text.split_once("${"))
        && let Some((name, _)) = rest.split_once('}')
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
    {
        found.push(Fault {
            message: format!("`${{{name}}}` stays as it is: a key of the Secret is written without braces"),
            hint: format!("write `${name}`"),
            at: node.at,
        });
    }
    node.entries().iter().for_each(|(_, _, value)| braces(value, found));
    node.items().iter().for_each(|item| braces(item, found));
}

/// The methods of HTTP; a server refuses any other, and these too in small letters.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"];

/// Methods of a template's `webhook` section that no server knows. What a template makes of one isn't looked at.
pub(crate) fn methods(template: &Node) -> Vec<Fault> {
    let entries = template.get("webhook").map(Node::entries).unwrap_or_default();
    let methods = entries.iter().filter_map(|(_, _, entry)| entry.get("method"));
    let unknown = methods.filter_map(|method| {
        let text = method.text().filter(|text| !text.is_empty() && !text.contains("{{"))?;
        (!METHODS.contains(&text)).then(|| Fault {
            message: format!("there is no HTTP method `{text}`: the server refuses it"),
            hint: match nearest(&text.to_ascii_uppercase(), METHODS) {
                Some(near) => format!("write `{near}`"),
                None => format!("known are {}", METHODS.join(", ")),
            },
            at: method.at,
        })
    });
    unknown.collect()
}
