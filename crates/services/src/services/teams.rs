//! Microsoft Teams by Office 365 connectors (services.md 2.17). The recipient is a name in `recipientUrls`.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use herald_core::{
    notification::Section,
    yaml::{self, Node, YamlError},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    failure::SendError,
    http::HttpClient,
    limit, schema,
    section::{self, Field, Merge},
    service::{Context, Delivery, Receipt, Service, ServiceType},
};

/// The service type.
pub const TYPE: ServiceType = ServiceType {
    name: "teams",
    configurable: true,
    parse_section: Some(parse_section),
    needs_section: false,
    options: schema::of::<Options>,
    section_schema: Some(|| schema::fields(FIELDS)),
    build,
};

/// Teams refuses larger cards.
const LARGEST_CARD_BYTES: usize = 28 * 1024;

pub(crate) const FIELDS: &[Field] = &[
    Field::text("template"),
    Field::text("title"),
    Field::text("summary"),
    Field::text("text"),
    Field::text("themeColor"),
    Field::json("facts").checked(|text| objects(TYPE.name, "facts", text).map(drop)),
    Field::json("sections").checked(|text| objects(TYPE.name, "sections", text).map(drop)),
    Field::json("potentialAction").checked(|text| objects(TYPE.name, "potential action", text).map(drop)),
];

fn parse_section(node: &Node) -> Result<Arc<dyn Section>, YamlError> {
    section::texts(node, FIELDS, Merge::NonEmpty)
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct Options {
    /// URLs of connectors by the name that subscriptions use as recipient.
    #[serde(rename = "recipientUrls")]
    recipient_urls: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Card {
    template: String,
    title: String,
    summary: String,
    text: String,
    theme_color: String,
    facts: String,
    sections: String,
    potential_action: String,
}

struct Teams {
    recipient_urls: BTreeMap<String, String>,
    http: HttpClient,
}

fn build(node: &Node, context: &Context) -> Result<Box<dyn Service>, YamlError> {
    let options: Options = yaml::decode(node)?;
    options.recipient_urls.values().for_each(|url| context.secret_url(url));
    Ok(Box::new(Teams { recipient_urls: options.recipient_urls, http: context.http(node)? }))
}

/// A field of JSON text that holds objects; empty and `null` are none. A `null` may stand for an object.
pub(super) fn objects(
    service: &str,
    what: &str,
    text: &str,
) -> Result<Vec<Option<Map<String, Value>>>, SendError> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    serde_json::from_str::<Option<Vec<_>>>(text).map(Option::unwrap_or_default).map_err(|e| {
        SendError::misconfigured(format!(
            "{service} {what} unmarshalling error {e}: the rendered text must be a JSON array of objects: {text}"
        ))
    })
}

/// The card as the connector takes it.
fn body(card: &Card, message: &str) -> Result<Value, SendError> {
    let mut sections = objects(TYPE.name, "sections", &card.sections)?;
    let facts = objects(TYPE.name, "facts", &card.facts)?;
    if !facts.is_empty() {
        sections.push(Some(Map::from_iter([("facts".to_string(), json!(facts))])));
    }
    let actions = objects(TYPE.name, "potential action", &card.potential_action)?;
    let mut body = json!({
        "@type": "MessageCard",
        // Without the `@` that the format asks for: connectors take it, and the reference sends it so.
        "context": "https://schema.org/extensions",
        "title": card.title,
        "summary": card.summary,
        "text": if card.text.is_empty() { message } else { &card.text },
    });
    if !card.theme_color.is_empty() {
        body["themeColor"] = card.theme_color.as_str().into();
    }
    if !actions.is_empty() {
        body["potentialAction"] = json!(actions);
    }
    if !sections.is_empty() {
        body["sections"] = json!(sections);
    }
    Ok(body)
}

/// The card within Teams' limit: what is too large is left out from its end, and its text is cut at last.
fn fitting(card: &Card, message: &str, warnings: &mut Vec<String>) -> Result<Value, SendError> {
    let mut whole = body(card, message)?;
    let mut size = whole.to_string().len();
    if size <= LARGEST_CARD_BYTES {
        return Ok(whole);
    }
    warnings.push(format!("card of {size} bytes cut; Teams takes {LARGEST_CARD_BYTES}"));
    while size > LARGEST_CARD_BYTES {
        let Some(sections) = whole.get_mut("sections").and_then(Value::as_array_mut) else { break };
        if sections.pop().is_none() {
            break;
        }
        size = whole.to_string().len();
    }
    if size > LARGEST_CARD_BYTES
        && let Some(Value::String(text)) = whole.get_mut("text")
    {
        // JSON writes some characters as six, and the rest of the card needs room.
        limit::cut_bytes(text, LARGEST_CARD_BYTES / 7);
    }
    Ok(whole)
}

impl Teams {
    fn url(&self, recipient: &str) -> Result<&str, SendError> {
        self.recipient_urls.get(recipient).map(String::as_str).ok_or_else(|| {
            SendError::misconfigured(format!("no teams webhook configured for recipient {recipient}"))
        })
    }
}

#[async_trait]
impl Service for Teams {
    fn check_recipient(&self, recipient: &str) -> Result<(), SendError> {
        self.url(recipient).map(drop)
    }

    async fn send(&self, delivery: &Delivery<'_>) -> Result<Receipt, SendError> {
        let url = self.url(delivery.recipient)?;
        let card = delivery.section::<Card>(TYPE.name)?.unwrap_or_default();
        let mut receipt = Receipt::default();
        let request = self.http.post(url)?;
        let request = if card.template.is_empty() {
            request.json(&fitting(&card, delivery.message(), &mut receipt.warnings)?)?
        } else {
            request.header("Content-Type", "application/json")?.body(card.template)
        };
        let reply = request.send().await?;
        // A connector answers 200 with an error's text, so only its own "1" means success.
        if !reply.is_success() || reply.text() != "1" {
            return Err(reply.failure(format!("teams webhook post error: {}", reply.text())));
        }
        receipt.detail = reply.status_line();
        Ok(receipt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_cards_are_cut() {
        let fact = json!({"name": "n", "value": "v".repeat(10_000)});
        let sections = json!([{"facts": [fact]}, {"facts": [fact]}, {"facts": [fact]}]).to_string();
        let card = Card { sections, text: "t".into(), ..Card::default() };
        let mut warnings = Vec::new();
        let cut = fitting(&card, "", &mut warnings).unwrap();
        assert_eq!((cut["sections"].as_array().unwrap().len(), warnings.len()), (2, 1));
        let cut = fitting(&Card::default(), &"\u{1}".repeat(20_000), &mut warnings).unwrap();
        assert!(cut.to_string().len() <= LARGEST_CARD_BYTES, "{}", cut.to_string().len());
        assert_eq!(fitting(&card_of("x"), "", &mut Vec::new()).unwrap()["text"], "x");
    }

    fn card_of(text: &str) -> Card {
        Card { text: text.into(), ..Card::default() }
    }
}
