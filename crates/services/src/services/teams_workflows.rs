//! Microsoft Teams by Power Automate workflows: an Adaptive Card (services.md 2.18). The recipient is a name in
//! `recipientUrls`.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use herald_core::{
    notification::Section,
    yaml::{self, Node, YamlError},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;

use super::teams::objects;
use crate::{
    failure::SendError,
    http::HttpClient,
    schema,
    section::{self, Field, Merge},
    service::{Context, Delivery, Receipt, Service, ServiceType},
};

/// The service type.
pub const TYPE: ServiceType = ServiceType {
    name: "teams-workflows",
    configurable: true,
    parse_section: Some(parse_section),
    needs_section: false,
    options: schema::of::<Options>,
    section_schema: Some(|| schema::fields(FIELDS)),
    build,
};

/// Teams refuses larger cards.
pub(crate) const LARGEST_CARD_BYTES: usize = 28 * 1024;

pub(crate) const FIELDS: &[Field] = &[
    Field::text("template"),
    Field::text("title"),
    Field::text("summary"),
    Field::text("text"),
    Field::text("themeColor"),
    Field::json("facts").checked(|text| objects(TYPE.name, "facts", text).map(drop)),
    Field::json("sections").checked(|text| objects(TYPE.name, "sections", text).map(drop)),
    Field::json("potentialAction").checked(|text| objects(TYPE.name, "potential action", text).map(drop)),
    Field::json("adaptiveCard").checked(|text| given(text).map(drop)),
];

fn parse_section(node: &Node) -> Result<Arc<dyn Section>, YamlError> {
    section::texts(node, FIELDS, Merge::NonEmpty)
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct Options {
    /// URLs of workflows by the name that subscriptions use as recipient.
    #[serde(rename = "recipientUrls")]
    recipient_urls: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Card {
    title: String,
    text: String,
    theme_color: String,
    facts: String,
    sections: String,
    potential_action: String,
    adaptive_card: String,
}

struct TeamsWorkflows {
    recipient_urls: BTreeMap<String, String>,
    http: HttpClient,
}

fn build(node: &Node, context: &Context) -> Result<Box<dyn Service>, YamlError> {
    let options: Options = yaml::decode(node)?;
    options.recipient_urls.values().for_each(|url| context.secret_url(url));
    Ok(Box::new(TeamsWorkflows { recipient_urls: options.recipient_urls, http: context.http(node)? }))
}

/// Checks a workflow's URL; the error never shows it, as its query is a credential. Unlike the reference it takes
/// any host, because Power Automate has many more than the reference knows.
fn check_url(recipient: &str, text: &str) -> Result<(), SendError> {
    let refuse = |why: &str| {
        Err(SendError::misconfigured(format!("invalid webhook URL for recipient {recipient}: {why}")))
    };
    if text.is_empty() {
        return refuse("webhook URL cannot be empty");
    }
    let (scheme, rest) = match text.split_once(':') {
        Some((scheme, rest)) if !scheme.contains('/') => (scheme.to_ascii_lowercase(), rest),
        _ => (String::new(), text),
    };
    let valid_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    if text.contains(':')
        && text.split_once(':').is_some_and(|(before, _)| !before.contains('/'))
        && !valid_scheme
    {
        return refuse("invalid webhook URL format: missing protocol scheme");
    }
    let authority =
        rest.strip_prefix("//").map_or("", |rest| rest.split(['/', '?', '#']).next().unwrap_or(""));
    let host = authority.rsplit('@').next().unwrap_or("");
    let local = host.starts_with("127.") || host == "localhost" || host.starts_with("localhost:");
    if scheme != "https" && !local {
        return refuse("webhook URL must use HTTPS scheme");
    }
    if scheme != "https" && scheme != "http" {
        return refuse("webhook URL must use HTTP or HTTPS scheme");
    }
    if host.is_empty() {
        return refuse("webhook URL must have a valid host");
    }
    match Url::parse(text) {
        Ok(_) => Ok(()),
        Err(error) => refuse(&format!("invalid webhook URL format: {error}")),
    }
}

/// A fact's value as text: numbers as written, null as nothing, the rest as JSON.
fn fact_text(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// The set of the facts that qualify, if any does.
fn fact_set<'a>(facts: impl Iterator<Item = &'a Map<String, Value>>) -> Option<Value> {
    let facts: Vec<Value> = facts
        .filter_map(|fact| {
            let title = fact.get("name")?.as_str()?;
            Some(json!({"title": title, "value": fact_text(fact.get("value"))}))
        })
        .collect();
    (!facts.is_empty()).then(|| json!({"type": "FactSet", "facts": facts}))
}

/// The action of a connector card's potential action, if it opens a URL.
fn action(potential: &Map<String, Value>) -> Option<Value> {
    if potential.get("@type")?.as_str()? != "OpenUri" {
        return None;
    }
    let targets = potential.get("targets")?.as_array()?;
    let target = targets.iter().find(|target| target["os"] == "default").or_else(|| targets.first())?;
    let uri = target.get("uri")?.as_str().filter(|uri| !uri.is_empty())?;
    let mut action = json!({"type": "Action.OpenUrl", "url": uri});
    if let Some(name) = potential.get("name").and_then(Value::as_str).filter(|name| !name.is_empty()) {
        action["title"] = name.into();
    }
    Some(action)
}

/// A card made of the fields.
fn composed(card: &Card, message: &str) -> Result<Value, SendError> {
    let failed = |error: SendError| {
        SendError::misconfigured(format!(
            "failed to generate message payload for teams-workflows: {}",
            error.message
        ))
    };
    let read = |what: &str, text: &str| objects(TYPE.name, what, text).map_err(failed);
    let mut body = Vec::new();
    if !card.title.is_empty() {
        let mut title = json!({
            "type": "TextBlock", "text": card.title, "size": "Large", "weight": "Bolder", "wrap": true
        });
        if !card.theme_color.is_empty() {
            title["color"] = card.theme_color.as_str().into();
        }
        body.push(title);
    }
    let text = if card.text.is_empty() { message } else { &card.text };
    if !text.is_empty() {
        body.push(json!({"type": "TextBlock", "text": text, "wrap": true}));
    }
    body.extend(fact_set(read("facts", &card.facts)?.iter().flatten()));
    for section in read("sections", &card.sections)?.iter().flatten() {
        let facts = section.get("facts").and_then(Value::as_array).into_iter().flatten();
        body.extend(fact_set(facts.filter_map(Value::as_object)));
    }
    let actions: Vec<Value> =
        read("potential action", &card.potential_action)?.iter().flatten().filter_map(action).collect();
    let mut whole = json!({"type": "AdaptiveCard", "version": "1.4", "body": body});
    if !actions.is_empty() {
        whole["actions"] = actions.into();
    }
    Ok(whole)
}

/// A card that the template gives as a whole.
fn given(text: &str) -> Result<Value, SendError> {
    serde_json::from_str(text.trim()).map_err(|e| {
        SendError::misconfigured(format!(
            "failed to generate message payload for teams-workflows: teams-workflows adaptiveCard unmarshalling \
             error {e}: {text}"
        ))
    })
}

/// Why a text is no Adaptive Card, though it is JSON.
pub(crate) fn card_problem(text: &str) -> Option<String> {
    let card = given(text).ok()?;
    match card.as_object() {
        None => Some("an Adaptive Card is a JSON object".into()),
        Some(card) if card.get("type").and_then(Value::as_str) != Some("AdaptiveCard") => {
            Some("an Adaptive Card has `\"type\": \"AdaptiveCard\"`".into())
        }
        Some(_) => None,
    }
}

impl TeamsWorkflows {
    fn url(&self, recipient: &str) -> Result<&str, SendError> {
        let url = self.recipient_urls.get(recipient).ok_or_else(|| {
            SendError::misconfigured(format!(
                "no teams-workflows webhook configured for recipient {recipient}"
            ))
        })?;
        check_url(recipient, url)?;
        Ok(url)
    }
}

#[async_trait]
impl Service for TeamsWorkflows {
    fn check_recipient(&self, recipient: &str) -> Result<(), SendError> {
        self.url(recipient).map(drop)
    }

    async fn send(&self, delivery: &Delivery<'_>) -> Result<Receipt, SendError> {
        let url = self.url(delivery.recipient)?;
        let card = delivery.section::<Card>(TYPE.name)?.unwrap_or_default();
        let content = if card.adaptive_card.is_empty() {
            composed(&card, delivery.message())?
        } else {
            given(&card.adaptive_card)?
        };
        let mut receipt = Receipt::default();
        let envelope = |content: &Value| {
            json!({"type": "message", "attachments": [
                {"contentType": "application/vnd.microsoft.card.adaptive", "content": content}
            ]})
        };
        let mut body = envelope(&content);
        let size = body.to_string().len();
        if size > LARGEST_CARD_BYTES {
            // Half a card is no card: what remains is a plain one with the words.
            let mut text = delivery.message().to_string();
            crate::limit::cut_bytes(&mut text, LARGEST_CARD_BYTES / 4);
            body = envelope(&composed(&Card { title: card.title, ..Card::default() }, &text)?);
            receipt
                .warnings
                .push(format!("card of {size} bytes replaced by its text; Teams takes {LARGEST_CARD_BYTES}"));
        }
        let reply = self.http.post(url)?.json(&body)?.send().await?;
        if !reply.is_success() {
            let mut details = reply.text();
            if details.is_empty() {
                details = "no error details provided".into();
            }
            return Err(reply.failure(format!(
                "teams workflows webhook post error (status {}): {details}",
                reply.status
            )));
        }
        receipt.detail = reply.status_line();
        Ok(receipt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_checked_in_the_reference_s_order() {
        let table = [
            ("https://api.powerautomate.com/webhook/abc123", ""),
            ("http://localhost:8080/powerautomate/webhook", ""),
            ("https://prod-1.westeurope.logic.azure.com/workflows/x?sig=1", ""),
            ("", "webhook URL cannot be empty"),
            ("://invalid", "invalid webhook URL format"),
            ("/webhook", "webhook URL must use HTTPS scheme"),
            ("http://api.powerautomate.com/webhook", "webhook URL must use HTTPS scheme"),
            ("ftp://api.powerautomate.com/webhook", "webhook URL must use HTTPS scheme"),
            ("https:///webhook", "webhook URL must have a valid host"),
        ];
        for (url, wanted) in table {
            match check_url("ch", url) {
                Ok(()) => assert_eq!(wanted, "", "{url}"),
                Err(error) => assert!(!wanted.is_empty() && error.message.contains(wanted), "{url}: {error}"),
            }
        }
    }
}
