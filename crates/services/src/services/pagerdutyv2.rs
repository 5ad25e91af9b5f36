//! PagerDuty's Events API v2 (services.md 2.14). The recipient is a name in `serviceKeys`.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use herald_core::{
    notification::Section,
    yaml::{self, Node, YamlError},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use crate::{
    failure::SendError,
    http::{HttpClient, Reply},
    limit, schema,
    section::{self, Field, Merge},
    service::{Context, Delivery, Receipt, Service, ServiceType},
};

/// The service type.
pub const TYPE: ServiceType = ServiceType {
    name: "pagerdutyv2",
    configurable: true,
    parse_section: Some(parse_section),
    needs_section: true,
    options: schema::of::<Options>,
    section_schema: Some(|| schema::fields(FIELDS)),
    build,
};

/// PagerDuty refuses longer summaries.
pub(crate) const LONGEST_SUMMARY: usize = 1024;

/// PagerDuty refuses longer keys.
const LONGEST_KEY: usize = 255;

const FIELDS: &[Field] = &[
    Field::text("summary").always(),
    Field::text("severity").always(),
    Field::text("source").always(),
    Field::text("component"),
    Field::text("group"),
    Field::text("class"),
    Field::text("url").always(),
    Field::text("dedupKey"),
    Field::text("eventAction"),
];

fn parse_section(node: &Node) -> Result<Arc<dyn Section>, YamlError> {
    section::texts(node, FIELDS, Merge::Replace)
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct Options {
    /// Integration keys by the name that subscriptions use as recipient.
    #[serde(rename = "serviceKeys")]
    service_keys: BTreeMap<String, String>,
    /// Address of the API.
    #[serde(rename = "apiURL")]
    api_url: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Event {
    summary: String,
    severity: String,
    source: String,
    component: String,
    group: String,
    class: String,
    url: String,
    dedup_key: String,
    /// Ours: `acknowledge` or `resolve` instead of `trigger`.
    event_action: String,
}

struct PagerDutyV2 {
    service_keys: BTreeMap<String, String>,
    url: String,
    http: HttpClient,
}

impl PagerDutyV2 {
    fn key(&self, recipient: &str) -> Result<&str, SendError> {
        let key = self.service_keys.get(recipient).filter(|key| !key.is_empty());
        key.map(String::as_str).ok_or_else(|| {
            SendError::misconfigured(format!("no API key configured for recipient {recipient}"))
        })
    }
}

fn build(node: &Node, context: &Context) -> Result<Box<dyn Service>, YamlError> {
    let options: Options = yaml::decode(node)?;
    options.service_keys.values().for_each(|key| context.secret(key));
    let base = if options.api_url.is_empty() { "https://events.pagerduty.com" } else { &options.api_url };
    let url = format!("{}/v2/enqueue", base.trim_end_matches('/'));
    Ok(Box::new(PagerDutyV2 { service_keys: options.service_keys, url, http: context.http(node)? }))
}

/// The text of a refusal, in the words of the reference.
fn refusal(reply: &Reply) -> String {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Answer {
        status: String,
        message: String,
        errors: Vec<String>,
    }
    let code = reply.status;
    let Ok(answer) = reply.json::<Answer>() else {
        return format!("HTTP response with status code: {code}, the body is no JSON: {}", reply.text());
    };
    let mut text = format!(
        "HTTP response failed with status code {code}, status: {}, message: {}",
        answer.status, answer.message
    );
    if !answer.errors.is_empty() {
        text.push_str(&format!(": {}", super::pagerduty::details(&answer.errors)));
    }
    text
}

#[async_trait]
impl Service for PagerDutyV2 {
    fn check_recipient(&self, recipient: &str) -> Result<(), SendError> {
        self.key(recipient).map(drop)
    }

    async fn send(&self, delivery: &Delivery<'_>) -> Result<Receipt, SendError> {
        let key = self.key(delivery.recipient)?;
        let Some(mut event) = delivery.section::<Event>(TYPE.name)? else {
            return Err(SendError::misconfigured("no config found for pagerdutyv2"));
        };
        let mut receipt = Receipt::default();
        limit::cut_reported(&mut event.summary, LONGEST_SUMMARY, "summary", &mut receipt.warnings);
        limit::cut_reported(&mut event.dedup_key, LONGEST_KEY, "dedupKey", &mut receipt.warnings);
        let action = match event.event_action.as_str() {
            "" => "trigger",
            action @ ("trigger" | "acknowledge" | "resolve") => action,
            other => {
                return Err(SendError::misconfigured(format!(
                    "eventAction is {other:?}; it can be trigger, acknowledge or resolve"
                )));
            }
        };
        if action != "trigger" && event.dedup_key.is_empty() {
            let message = format!("eventAction {action} needs the dedupKey of the event that it is about");
            return Err(SendError::misconfigured(message));
        }
        let mut payload =
            json!({"summary": event.summary, "source": event.source, "severity": event.severity});
        for (name, value) in [("component", event.component), ("group", event.group), ("class", event.class)]
        {
            if !value.is_empty() {
                payload[name] = value.into();
            }
        }
        // Without a key of the template the notice's id, so that a repeated attempt can't open two incidents.
        let dedup_key = if event.dedup_key.is_empty() { delivery.notice_id } else { &event.dedup_key };
        let mut body =
            json!({"routing_key": key, "event_action": action, "client": "ArgoCD", "payload": payload});
        if !dedup_key.is_empty() {
            body["dedup_key"] = dedup_key.into();
        }
        if !event.url.is_empty() {
            body["client_url"] = event.url.into();
        }
        let reply = self.http.post(&self.url)?.json(&body)?.send().await?;
        if !reply.is_success() {
            return Err(reply.failure(refusal(&reply)));
        }
        receipt.detail = dedup_key.to_string();
        Ok(receipt)
    }
}
