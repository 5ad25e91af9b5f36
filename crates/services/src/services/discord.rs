//! Discord: a message by a channel's webhook. Not in the reference. The recipient is a name in `webhooks`.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use herald_core::{
    notification::Section,
    yaml::{self, Node, YamlError},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;

use crate::{
    failure::SendError,
    http::{HttpClient, Reply},
    limit::cut_reported,
    schema,
    section::{self, Field, Merge},
    service::{Context, Delivery, Receipt, Service, ServiceType},
};

/// The service type.
pub const TYPE: ServiceType = ServiceType {
    name: "discord",
    configurable: true,
    parse_section: Some(parse_section),
    needs_section: false,
    options: schema::of::<Options>,
    section_schema: Some(|| schema::fields(FIELDS)),
    build,
};

const LONGEST_CONTENT: usize = 2000;
const LONGEST_USERNAME: usize = 80;
const MOST_EMBEDS: usize = 10;
const MOST_FIELDS: usize = 25;

/// Characters of all texts of all embeds together: 6000, less the marks of what is cut to nothing.
const LONGEST_EMBEDS: usize = 5940;

/// Characters of the texts of an embed, by where they stand.
const LONGEST_TEXTS: &[(&str, usize)] =
    &[("/title", 256), ("/description", 4096), ("/footer/text", 2048), ("/author/name", 256)];

const FIELDS: &[Field] = &[
    Field::text("content"),
    Field::text("username"),
    Field::text("avatarURL"),
    Field::json("embeds").checked(|text| embeds(text).map(drop)),
    Field::json("allowedMentions").checked(|text| mentions(text).map(drop)),
    Field::text("threadId"),
];

fn parse_section(node: &Node) -> Result<Arc<dyn Section>, YamlError> {
    section::texts(node, FIELDS, Merge::NonEmpty)
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct Options {
    /// URLs of webhooks by the name that subscriptions use as recipient.
    webhooks: BTreeMap<String, String>,
    /// Name of the sender.
    username: String,
    /// Picture of the sender.
    #[serde(rename = "avatarURL")]
    avatar_url: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Message {
    content: String,
    username: String,
    #[serde(rename = "avatarURL")]
    avatar_url: String,
    embeds: String,
    allowed_mentions: String,
    thread_id: String,
}

struct Discord {
    options: Options,
    http: HttpClient,
}

fn build(node: &Node, context: &Context) -> Result<Box<dyn Service>, YamlError> {
    let options: Options = yaml::decode(node)?;
    options.webhooks.values().for_each(|url| context.secret_url(url));
    Ok(Box::new(Discord { options, http: context.http(node)? }))
}

fn embeds(text: &str) -> Result<Vec<Map<String, Value>>, SendError> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    serde_json::from_str(text)
        .map_err(|e| SendError::misconfigured(format!("embeds must be a JSON array of objects: {e}: {text}")))
}

/// Who may be pinged: nobody, unless the template says so. Names and messages of commits come from anywhere.
fn mentions(text: &str) -> Result<Value, SendError> {
    if text.trim().is_empty() {
        return Ok(json!({"parse": []}));
    }
    serde_json::from_str::<Map<String, Value>>(text)
        .map(Value::Object)
        .map_err(|e| SendError::misconfigured(format!("allowedMentions must be a JSON object: {e}: {text}")))
}

/// Brings embeds within Discord's limits.
fn keep(embeds: &mut Vec<Map<String, Value>>, warnings: &mut Vec<String>) {
    if embeds.len() > MOST_EMBEDS {
        embeds.truncate(MOST_EMBEDS);
        warnings.push(format!("embeds cut at {MOST_EMBEDS}"));
    }
    let mut room = LONGEST_EMBEDS;
    let mut kept = 0;
    for embed in embeds.iter_mut() {
        if room == 0 {
            break;
        }
        kept += 1;
        let mut whole = Value::Object(std::mem::take(embed));
        let mut keep_text = |text: Option<&mut Value>, most: usize, what: &str| {
            if let Some(Value::String(text)) = text {
                cut_reported(text, most.min(room), what, warnings);
                room = room.saturating_sub(text.chars().count());
            }
        };
        for (place, most) in LONGEST_TEXTS {
            keep_text(whole.pointer_mut(place), *most, &format!("{} of an embed", place.trim_matches('/')));
        }
        if let Some(Value::Array(fields)) = whole.get_mut("fields") {
            for field in fields.iter_mut() {
                keep_text(field.get_mut("name"), 256, "name of a field");
                keep_text(field.get_mut("value"), 1024, "value of a field");
            }
            if fields.len() > MOST_FIELDS {
                fields.truncate(MOST_FIELDS);
                warnings.push(format!("fields of an embed cut at {MOST_FIELDS}"));
            }
        }
        if let Value::Object(whole) = whole {
            *embed = whole;
        }
    }
    if kept < embeds.len() {
        embeds.truncate(kept);
        warnings.push(format!("embeds cut at {kept}, as Discord takes no more text"));
    }
}

/// Why an answer is no success.
fn refusal(reply: &Reply) -> SendError {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Answer {
        message: String,
        code: i64,
        retry_after: Option<f64>,
    }
    let answer = reply.json::<Answer>().unwrap_or_default();
    let why = if answer.message.is_empty() { reply.text() } else { answer.message };
    let message = format!("Discord answered {}: {why} (code {})", reply.status_line(), answer.code);
    let mut error = reply.failure(message);
    // The body is exact to the millisecond, the header to the second.
    if let (429, Some(wait)) = (reply.status, answer.retry_after)
        && error.retry_after.is_none()
    {
        error = SendError::throttled(error.message, Duration::try_from_secs_f64(wait.ceil()).ok());
        error.status = Some(reply.status);
    }
    error
}

impl Discord {
    fn webhook(&self, recipient: &str) -> Result<&str, SendError> {
        self.options.webhooks.get(recipient).map(String::as_str).ok_or_else(|| {
            SendError::misconfigured(format!("no Discord webhook configured for recipient {recipient}"))
        })
    }
}

#[async_trait]
impl Service for Discord {
    async fn send(&self, delivery: &Delivery<'_>) -> Result<Receipt, SendError> {
        let webhook = self.webhook(delivery.recipient)?;
        let message = delivery.section::<Message>(TYPE.name)?.unwrap_or_default();
        let mut receipt = Receipt::default();
        let mut embeds = embeds(&message.embeds)?;
        keep(&mut embeds, &mut receipt.warnings);
        let mut content =
            if message.content.is_empty() { delivery.message().to_string() } else { message.content };
        cut_reported(&mut content, LONGEST_CONTENT, "content", &mut receipt.warnings);
        if content.is_empty() && embeds.is_empty() {
            return Err(SendError::misconfigured(
                "the message is empty, and Discord takes none without a text",
            ));
        }
        let mut body = json!({"allowed_mentions": mentions(&message.allowed_mentions)?});
        let or = |own: String, option: &String| if own.is_empty() { option.clone() } else { own };
        let mut username = or(message.username, &self.options.username);
        cut_reported(&mut username, LONGEST_USERNAME, "username", &mut receipt.warnings);
        let avatar = or(message.avatar_url, &self.options.avatar_url);
        for (name, text) in [("content", content), ("username", username), ("avatar_url", avatar)] {
            if !text.is_empty() {
                body[name] = text.into();
            }
        }
        if !embeds.is_empty() {
            body["embeds"] = json!(embeds);
        }
        let mut url = Url::parse(webhook)
            .map_err(|e| SendError::misconfigured(format!("the webhook's URL is invalid: {e}")))?;
        // Otherwise Discord answers before it knows whether it can post.
        url.query_pairs_mut().append_pair("wait", "true");
        if !message.thread_id.is_empty() {
            url.query_pairs_mut().append_pair("thread_id", &message.thread_id);
        }
        let reply = self.http.post(url.as_str())?.json(&body)?.send().await?;
        if !reply.is_success() {
            return Err(refusal(&reply));
        }
        let answer: Value = reply.json().unwrap_or_default();
        receipt.detail = answer["id"].as_str().map_or_else(|| reply.status_line(), str::to_string);
        Ok(receipt)
    }

    fn check_recipient(&self, recipient: &str) -> Result<(), SendError> {
        self.webhook(recipient).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embeds_are_kept_within_the_limits() {
        let mut many: Vec<Map<String, Value>> = (0..12)
            .map(|_| {
                let embed = json!({"title": "t".repeat(300), "description": "d".repeat(2000), "color": 1});
                embed.as_object().cloned().unwrap()
            })
            .collect();
        let mut warnings = Vec::new();
        keep(&mut many, &mut warnings);
        let length = |embed: &Map<String, Value>| -> usize {
            ["title", "description"].iter().map(|key| embed[*key].as_str().unwrap().chars().count()).sum()
        };
        assert_eq!(many.len(), 3);
        assert_eq!(length(&many[0]), 256 + 2000);
        assert!(many.iter().map(length).sum::<usize>() <= 6000);
        assert!(warnings.contains(&"embeds cut at 10".to_string()));
    }
}
