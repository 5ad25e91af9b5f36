//! Pushover: the message as a push to a user or group (services.md 2.15).

use async_trait::async_trait;
use herald_core::yaml::{self, Node, YamlError};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    failure::SendError,
    http::HttpClient,
    limit, schema,
    service::{Context, Delivery, Receipt, Service, ServiceType},
};

/// The service type.
pub const TYPE: ServiceType = ServiceType {
    name: "pushover",
    configurable: true,
    parse_section: None,
    needs_section: false,
    options: schema::of::<Options>,
    section_schema: None,
    build,
};

/// Pushover refuses longer messages.
pub(crate) const LONGEST_MESSAGE: usize = 1024;

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct Options {
    /// Token of the application.
    token: String,
    /// Address of the API.
    #[serde(rename = "apiURL")]
    api_url: String,
}

struct Pushover {
    token: String,
    url: String,
    http: HttpClient,
}

fn build(node: &Node, context: &Context) -> Result<Box<dyn Service>, YamlError> {
    let options: Options = yaml::decode(node)?;
    context.secret(&options.token);
    let base = if options.api_url.is_empty() { "https://api.pushover.net" } else { &options.api_url };
    let url = format!("{}/1/messages.json", base.trim_end_matches('/'));
    Ok(Box::new(Pushover { token: options.token, url, http: context.http(node)? }))
}

/// Checks the form of a token, which the other side would only call invalid.
fn check(what: &str, token: &str) -> Result<(), SendError> {
    if token.is_empty() {
        Err(SendError::misconfigured(format!("pushover: empty {what} token")))
    } else if token.len() != 30 || !token.bytes().all(|b| b.is_ascii_alphanumeric()) {
        Err(SendError::misconfigured(format!("pushover: invalid {what} token")))
    } else {
        Ok(())
    }
}

#[async_trait]
impl Service for Pushover {
    async fn send(&self, delivery: &Delivery<'_>) -> Result<Receipt, SendError> {
        let mut message = delivery.message().to_string();
        if message.is_empty() {
            return Err(SendError::misconfigured("pushover: message empty"));
        }
        let mut receipt = Receipt::default();
        limit::cut_reported(&mut message, LONGEST_MESSAGE, "message", &mut receipt.warnings);
        let form = [
            ("token", self.token.as_str()),
            ("user", delivery.recipient),
            ("message", &message),
            ("priority", "0"),
        ];
        let reply = self.http.post(&self.url)?.form(form)?.send().await?;
        if reply.status >= 500 {
            return Err(reply.failure("pushover: http error"));
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Answer {
            status: i64,
            request: String,
            errors: Vec<String>,
        }
        let answer: Answer = reply
            .json()
            .map_err(|_| reply.failure(format!("pushover: the answer is no JSON: {}", reply.text())))?;
        if answer.status != 1 || !reply.is_success() {
            return Err(reply.failure(format!("Errors:\n{}", answer.errors.join("\n"))));
        }
        receipt.detail = answer.request;
        Ok(receipt)
    }

    fn check_recipient(&self, recipient: &str) -> Result<(), SendError> {
        check("API", &self.token)?;
        check("recipient", recipient)
    }
}
