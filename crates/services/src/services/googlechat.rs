//! Google Chat: a text or cards into a space (services.md 2.7). The recipient is a name in `webhooks`.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use herald_core::{
    notification::Section,
    yaml::{self, Kind, Node, YamlError},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;
use uuid::Uuid;

use crate::{
    failure::{Reason, SendError},
    http::HttpClient,
    limit, schema,
    section::{self, Field, Merge},
    service::{Context, Delivery, Receipt, Service, ServiceType},
};

/// The service type.
pub const TYPE: ServiceType = ServiceType {
    name: "googlechat",
    configurable: true,
    parse_section: Some(parse_section),
    needs_section: false,
    options: schema::of::<Options>,
    section_schema: Some(|| schema::fields(FIELDS)),
    build,
};

/// Google Chat refuses longer texts.
pub(crate) const LONGEST_TEXT_BYTES: usize = 32_000;

pub(crate) const FIELDS: &[Field] = &[
    Field::json("cards").always().checked(|text| cards("cards", text).map(drop)),
    Field::json("cardsV2").always().checked(|text| cards("cardsV2", text).map(drop)),
    Field::text("threadKey"),
];

fn parse_section(node: &Node) -> Result<Arc<dyn Section>, YamlError> {
    section::texts(node, FIELDS, Merge::NonEmpty)
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct Options {
    /// URLs of webhooks by the name that subscriptions use as recipient.
    webhooks: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Message {
    cards: String,
    cards_v2: String,
    thread_key: String,
}

struct GoogleChat {
    webhooks: BTreeMap<String, String>,
    http: HttpClient,
}

fn build(node: &Node, context: &Context) -> Result<Box<dyn Service>, YamlError> {
    let options: Options = yaml::decode(node)?;
    options.webhooks.values().for_each(|url| context.secret_url(url));
    Ok(Box::new(GoogleChat { webhooks: options.webhooks, http: context.http(node)? }))
}

/// Fields of cards that hold numbers. In all others a bare number is text, as the API wants it.
const NUMBERS: &[&str] = &[
    "alpha",
    "blue",
    "green",
    "red",
    "cornerRadius",
    "timezoneOffsetDate",
    "columnCount",
    "aspectRatio",
    "grade",
    "weight",
    "multiSelectMaxSelectedItems",
    "multiSelectMinQueryLength",
    "uncollapsibleWidgetsCount",
    "maxLines",
    "characterLimit",
];

/// Fields of cards that hold booleans.
const BOOLEANS: &[&str] = &[
    "allWidgetsAreRequired",
    "persistValues",
    "disabled",
    "enabled",
    "wrapText",
    "fill",
    "collapsible",
    "selected",
    "defaultToCurrentSpace",
    "contentMultiline",
];

/// A card's YAML as JSON, with scalars typed by the field they stand in.
fn typed(field: &str, node: &Node) -> Value {
    match &node.kind {
        Kind::Null => Value::Null,
        Kind::Text(text) => text.as_str().into(),
        Kind::Bool(value, text) => {
            if BOOLEANS.contains(&field) {
                (*value).into()
            } else {
                text.as_str().into()
            }
        }
        Kind::Int(value, text) => {
            if NUMBERS.contains(&field) {
                (*value).into()
            } else {
                text.as_str().into()
            }
        }
        Kind::Float(value, text) => {
            if NUMBERS.contains(&field) {
                (*value).into()
            } else {
                text.as_str().into()
            }
        }
        Kind::List(items) => items.iter().map(|item| typed(field, item)).collect(),
        Kind::Map(entries) => {
            let entries = entries.iter().filter(|(_, _, value)| !matches!(value.kind, Kind::Null));
            Value::Object(entries.map(|(key, _, value)| (key.clone(), typed(key, value))).collect())
        }
    }
}

/// The cards of a rendered field.
fn cards(what: &str, text: &str) -> Result<Vec<Value>, SendError> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let node = yaml::parse(text).map_err(|e| {
        SendError::misconfigured(format!(
            "googlechat {what} is no YAML: line {}, column {}: {e}",
            e.at.line, e.at.column
        ))
    })?;
    match typed("", &node) {
        Value::Null => Ok(Vec::new()),
        Value::Array(cards) => Ok(cards),
        _ => Err(SendError::misconfigured(format!("googlechat {what} must be a list of cards"))),
    }
}

/// The webhook's address with the thread in its query, keys sorted.
fn address(webhook: &str, thread_key: &str) -> Result<String, SendError> {
    if thread_key.is_empty() {
        return Ok(webhook.into());
    }
    let mut url = Url::parse(webhook)
        .map_err(|e| SendError::misconfigured(format!("the webhook's URL is invalid: {e}")))?;
    let mut query: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    query.push(("threadKey".into(), thread_key.into()));
    query.push(("messageReplyOption".into(), "REPLY_MESSAGE_FALLBACK_TO_NEW_THREAD".into()));
    query.sort_by(|a, b| a.0.cmp(&b.0));
    url.query_pairs_mut().clear().extend_pairs(query);
    Ok(url.into())
}

impl GoogleChat {
    fn webhook(&self, recipient: &str) -> Result<&str, SendError> {
        self.webhooks.get(recipient).map(String::as_str).ok_or_else(|| {
            SendError::misconfigured(format!(
                "error creating client to webhook: no Google chat webhook configured for recipient {recipient}"
            ))
        })
    }
}

#[async_trait]
impl Service for GoogleChat {
    fn check_recipient(&self, recipient: &str) -> Result<(), SendError> {
        self.webhook(recipient).map(drop)
    }

    async fn send(&self, delivery: &Delivery<'_>) -> Result<Receipt, SendError> {
        let webhook = self.webhook(delivery.recipient)?;
        let message = delivery.section::<Message>(TYPE.name)?.unwrap_or_default();
        let (v1, v2) = (cards("cards", &message.cards)?, cards("cardsV2", &message.cards_v2)?);
        let mut receipt = Receipt::default();
        let mut body = Map::new();
        if v1.is_empty() && v2.is_empty() {
            let mut text = delivery.message().to_string();
            if limit::cut_bytes(&mut text, LONGEST_TEXT_BYTES) {
                receipt.warnings.push(format!("message cut at {LONGEST_TEXT_BYTES} bytes"));
            }
            body.insert("text".into(), text.into());
        } else {
            body.insert("text".into(), "".into());
        }
        if !v1.is_empty() {
            body.insert("cards".into(), v1.into());
        }
        if !v2.is_empty() {
            let v2 = v2.into_iter().map(|card| json!({"cardId": Uuid::new_v4().to_string(), "card": card}));
            body.insert("cardsV2".into(), v2.collect());
        }
        let url = address(webhook, &message.thread_key)?;
        let reply = self.http.post(&url)?.json(&body)?.send().await?;
        let answer = reply.json::<Value>();
        if let Ok(answer) = &answer
            && let Some(error) = answer.get("error").filter(|error| !error.is_null())
        {
            let text = |name: &str| error[name].as_str().unwrap_or_default();
            let failure = reply.failure(format!(
                "error with message: code={} status={} message={}",
                error["code"],
                text("status"),
                text("message")
            ));
            return Err(if reply.is_success() { failure.as_reason(Reason::Rejected) } else { failure });
        }
        match answer {
            Ok(answer) if reply.is_success() => {
                receipt.detail = answer["name"].as_str().unwrap_or_default().to_string();
                Ok(receipt)
            }
            Ok(_) => Err(reply.failure(format!("status {}: {}", reply.status_line(), reply.text()))),
            Err(error) => Err(reply.failure(format!("the answer is no JSON ({error}): {}", reply.text()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_scalars_take_the_type_of_their_field() {
        let cards = cards("cardsV2", "- {text: 1.0, wrapText: true, label: yes, columnCount: 2}").unwrap();
        assert_eq!(cards, [json!({"text": "1.0", "wrapText": true, "label": "yes", "columnCount": 2})]);
    }

    #[test]
    fn threads_go_into_the_sorted_query() {
        assert_eq!(
            address("https://c/m?key=K&token=T", "a b").unwrap(),
            "https://c/m?key=K&messageReplyOption=REPLY_MESSAGE_FALLBACK_TO_NEW_THREAD&threadKey=a+b&token=T"
        );
    }
}
