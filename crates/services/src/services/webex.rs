//! Webex: a markdown message to a room or a person (services.md 2.15).

use async_trait::async_trait;
use herald_core::yaml::{self, Node, YamlError};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    failure::SendError,
    http::HttpClient,
    limit, schema,
    service::{Context, Delivery, Receipt, Service, ServiceType, not_empty},
};

/// The service type.
pub const TYPE: ServiceType = ServiceType {
    name: "webex",
    configurable: true,
    parse_section: None,
    needs_section: false,
    options: schema::of::<Options>,
    section_schema: None,
    build,
};

/// Webex refuses longer messages.
pub(crate) const LONGEST_BYTES: usize = 7439;

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct Options {
    /// Token of the bot.
    token: String,
    /// Address of the API; default `https://webexapis.com`.
    #[serde(rename = "apiURL")]
    api_url: String,
}

struct Webex {
    token: String,
    url: String,
    http: HttpClient,
}

fn build(node: &Node, context: &Context) -> Result<Box<dyn Service>, YamlError> {
    let options: Options = yaml::decode(node)?;
    context.secret(&options.token);
    let base = if options.api_url.is_empty() { "https://webexapis.com" } else { &options.api_url };
    let url = format!("{}/v1/messages", base.strip_suffix('/').unwrap_or(base));
    Ok(Box::new(Webex { token: options.token, url, http: context.http(node)? }))
}

/// Whether a recipient is an e-mail address: no blanks, something around an `@`, a dot inside what follows it.
fn is_person(recipient: &str) -> bool {
    let inner_dot =
        |domain: &str| domain.char_indices().any(|(at, c)| c == '.' && at > 0 && at + 1 < domain.len());
    !recipient.contains(char::is_whitespace)
        && recipient.match_indices('@').any(|(at, _)| at > 0 && inner_dot(&recipient[at + 1..]))
}

#[async_trait]
impl Service for Webex {
    async fn send(&self, delivery: &Delivery<'_>) -> Result<Receipt, SendError> {
        let mut receipt = Receipt::default();
        let mut markdown = delivery.message().to_string();
        if limit::cut_bytes(&mut markdown, LONGEST_BYTES) {
            receipt.warnings.push(format!("message cut at {LONGEST_BYTES} bytes"));
        }
        let to = if is_person(delivery.recipient) { "toPersonEmail" } else { "roomId" };
        let mut body = Map::from_iter([(to.to_string(), Value::from(delivery.recipient))]);
        if !markdown.is_empty() {
            body.insert("markdown".into(), markdown.into());
        }
        let reply = self.http.post(&self.url)?.bearer(&self.token)?.json(&body)?.send().await?;
        if !reply.is_success() {
            let (url, status) = (&self.url, reply.status);
            return Err(reply.failure(format!(
                "request to {url} has failed with error code {status} : {}",
                reply.text()
            )));
        }
        receipt.detail = reply.status_line();
        Ok(receipt)
    }

    fn check_recipient(&self, recipient: &str) -> Result<(), SendError> {
        not_empty(recipient, "a room's id or a person's e-mail address")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_have_addresses_and_rooms_have_ids() {
        for person in ["a@b.c", "first.last@example.co.uk", "a@b@c.d"] {
            assert!(is_person(person), "{person}");
        }
        for room in ["Y2lz", "a@b", "@b.c", "a b@c.d", "a@.c", "a@c."] {
            assert!(!is_person(room), "{room}");
        }
    }
}
