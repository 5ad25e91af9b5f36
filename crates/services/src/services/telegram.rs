//! Telegram: the message to a chat or a public channel (services.md 2.15).

use async_trait::async_trait;
use herald_core::yaml::{self, Node, YamlError};
use schemars::JsonSchema;
use serde::Deserialize;
use std::time::Duration;

use crate::{
    failure::{Reason, SendError},
    http::{HttpClient, Reply},
    limit, schema,
    service::{Context, Delivery, Receipt, Service, ServiceType, not_empty},
};

/// The service type.
pub const TYPE: ServiceType = ServiceType {
    name: "telegram",
    configurable: true,
    parse_section: None,
    needs_section: false,
    options: schema::of::<Options>,
    section_schema: None,
    build,
};

/// Telegram refuses longer texts.
pub(crate) const LONGEST_TEXT: usize = 4096;

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct Options {
    /// Token of the bot.
    token: String,
    /// Address of the API.
    #[serde(rename = "apiURL")]
    api_url: String,
}

struct Telegram {
    url: String,
    http: HttpClient,
}

fn build(node: &Node, context: &Context) -> Result<Box<dyn Service>, YamlError> {
    let options: Options = yaml::decode(node)?;
    context.secret(&options.token);
    let base = if options.api_url.is_empty() { "https://api.telegram.org" } else { &options.api_url };
    let url = format!("{}/bot{}/sendMessage", base.trim_end_matches('/'), options.token);
    Ok(Box::new(Telegram { url, http: context.http(node)? }))
}

/// The chat, and the thread in it if one is named.
fn chat(recipient: &str) -> Result<(String, Option<i64>), SendError> {
    let number = |text: &str, function: &str| {
        text.parse::<i64>().map_err(|e| {
            use std::num::IntErrorKind::{NegOverflow, PosOverflow};
            let range = matches!(e.kind(), NegOverflow | PosOverflow);
            let why = if range { "value out of range" } else { "invalid syntax" };
            SendError::misconfigured(format!(
                "the recipient `{recipient}` is no chat: strconv.{function}: parsing {text:?}: {why}"
            ))
        })
    };
    let mut parts = recipient.split('|');
    let first = parts.next().unwrap_or_default();
    let all_digits = !first.is_empty() && first.bytes().all(|b| b.is_ascii_digit());
    if recipient.starts_with('-') || all_digits {
        let id = number(first, "ParseInt")?;
        let thread = parts.next().map(|part| number(part, "Atoi")).transpose()?.filter(|thread| *thread != 0);
        return Ok((id.to_string(), thread));
    }
    Ok((format!("@{}", recipient.strip_prefix('@').unwrap_or(recipient)), None))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer {
    ok: bool,
    description: String,
    result: serde_json::Value,
    parameters: Parameters,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Parameters {
    retry_after: Option<u64>,
}

fn read(reply: &Reply) -> Result<Answer, SendError> {
    reply.json().map_err(|_| reply.failure(format!("the answer is no JSON: {}", reply.text())))
}

fn refused(reply: &Reply, answer: Answer) -> SendError {
    let why = match answer.description.as_str() {
        "" => format!("the Bot API gave no reason: {} {}", reply.status_line(), reply.text()),
        why => why.to_string(),
    };
    match answer.parameters.retry_after {
        Some(seconds) => SendError::throttled(why, Some(Duration::from_secs(seconds))),
        // A proxy's page may come with 200; the API's own refusal names its reason.
        None if reply.is_success() => SendError::new(Reason::Rejected, why),
        None => reply.failure(why),
    }
}

#[async_trait]
impl Service for Telegram {
    async fn send(&self, delivery: &Delivery<'_>) -> Result<Receipt, SendError> {
        let (chat_id, thread) = chat(delivery.recipient)?;
        let mut receipt = Receipt::default();
        let mut text = delivery.message().to_string();
        limit::cut_reported(&mut text, LONGEST_TEXT, "message", &mut receipt.warnings);
        let mut form = vec![("chat_id", chat_id), ("parse_mode", "Markdown".to_string())];
        if !text.is_empty() {
            form.push(("text", text));
        }
        if let Some(thread) = thread {
            form.push(("message_thread_id", thread.to_string()));
        }
        let reply = self.http.post(&self.url)?.form(form.iter().map(|(k, v)| (*k, v)))?.send().await?;
        let mut answer = read(&reply)?;
        let unreadable_markdown = reply.status == 400 && answer.description.contains("can't parse entities");
        if unreadable_markdown {
            // Names with `_` or `*` are no Markdown; the words matter more than their weight.
            form.retain(|(name, _)| *name != "parse_mode");
            receipt.warnings.push("sent without formatting, as it is no valid Markdown".into());
            let reply = self.http.post(&self.url)?.form(form.iter().map(|(k, v)| (*k, v)))?.send().await?;
            answer = read(&reply)?;
            if !answer.ok {
                return Err(refused(&reply, answer));
            }
        } else if !answer.ok {
            return Err(refused(&reply, answer));
        }
        receipt.detail = answer.result["message_id"].to_string();
        Ok(receipt)
    }

    fn check_recipient(&self, recipient: &str) -> Result<(), SendError> {
        not_empty(recipient, "a chat's id or a public channel")?;
        chat(recipient).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipients_name_chats_threads_and_channels() {
        let table = [
            ("mychan", "@mychan", None),
            ("@mychan", "@mychan", None),
            ("-100123", "-100123", None),
            ("-100123|7", "-100123", Some(7)),
            ("-100123|7|8", "-100123", Some(7)),
            ("12345", "12345", None),
        ];
        for (recipient, id, thread) in table {
            assert_eq!(chat(recipient).unwrap(), (id.to_string(), thread), "{recipient}");
        }
        for bad in ["-abc", "-42|seven"] {
            assert!(chat(bad).unwrap_err().message.contains("invalid syntax"), "{bad}");
        }
    }
}
