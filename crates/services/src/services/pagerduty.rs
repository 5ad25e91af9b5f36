//! PagerDuty's REST API: a new incident for each delivery (services.md 2.13). The recipient is a service id.

use std::sync::Arc;

use async_trait::async_trait;
use herald_core::{
    notification::Section,
    yaml::{self, Node, YamlError},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    failure::SendError,
    http::{HttpClient, Reply},
    limit, schema,
    section::{self, Field, Merge},
    service::{Context, Delivery, Receipt, Service, ServiceType, not_empty},
};

/// The service type.
pub const TYPE: ServiceType = ServiceType {
    name: "pagerduty",
    configurable: true,
    parse_section: Some(parse_section),
    needs_section: true,
    options: schema::of::<Options>,
    section_schema: Some(|| schema::fields(FIELDS)),
    build,
};

/// PagerDuty refuses longer titles.
pub(crate) const LONGEST_TITLE: usize = 1024;

const FIELDS: &[Field] =
    &[Field::text("title").always(), Field::text("body"), Field::text("urgency"), Field::text("priorityId")];

fn parse_section(node: &Node) -> Result<Arc<dyn Section>, YamlError> {
    section::texts(node, FIELDS, Merge::Replace)
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct Options {
    /// API token.
    token: String,
    /// E-mail address of a PagerDuty user.
    from: String,
    /// Address of the API.
    #[serde(rename = "apiURL")]
    api_url: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Incident {
    title: String,
    body: String,
    urgency: String,
    priority_id: String,
}

struct PagerDuty {
    options: Options,
    url: String,
    http: HttpClient,
}

fn build(node: &Node, context: &Context) -> Result<Box<dyn Service>, YamlError> {
    let options: Options = yaml::decode(node)?;
    context.secret(&options.token);
    let base = if options.api_url.is_empty() { "https://api.pagerduty.com" } else { &options.api_url };
    let url = format!("{}/incidents", base.trim_end_matches('/'));
    Ok(Box::new(PagerDuty { options, url, http: context.http(node)? }))
}

/// The first of some errors, and how many more there are.
pub(super) fn details(errors: &[String]) -> String {
    let first = errors.first().map_or("", String::as_str);
    match errors.len() {
        0 | 1 => first.to_string(),
        2 => format!("{first} (and 1 more error...)"),
        more => format!("{first} (and {} more errors...)", more - 1),
    }
}

/// The text of a refusal, in the words of the reference.
fn refusal(reply: &Reply) -> String {
    let status = reply.status;
    if !reply.header("content-type").is_some_and(|text| text.starts_with("application/json")) {
        return format!(
            "HTTP response with status code {status} does not contain Content-Type: application/json: {}",
            reply.text()
        );
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Details {
        message: String,
        code: i64,
        errors: Vec<String>,
    }
    #[derive(Deserialize)]
    struct Answer {
        error: Details,
    }
    match reply.json::<Answer>() {
        Ok(Answer { error }) => {
            let mut text = format!(
                "HTTP response failed with status code {status}, message: {} (code: {})",
                error.message, error.code
            );
            if !error.errors.is_empty() {
                text.push_str(&format!(": {}", details(&error.errors)));
            }
            text
        }
        Err(_) => format!(
            "HTTP response failed with status code {status} and no JSON error object was present: {}",
            reply.text()
        ),
    }
}

#[async_trait]
impl Service for PagerDuty {
    async fn send(&self, delivery: &Delivery<'_>) -> Result<Receipt, SendError> {
        let Some(mut incident) = delivery.section::<Incident>(TYPE.name)? else {
            return Err(SendError::misconfigured("no config found for pagerduty"));
        };
        let mut receipt = Receipt::default();
        limit::cut_reported(&mut incident.title, LONGEST_TITLE, "title", &mut receipt.warnings);
        let mut body = json!({
            "type": "incident",
            "title": incident.title,
            "service": {"id": delivery.recipient, "type": "service_reference"},
        });
        if !incident.priority_id.is_empty() {
            body["priority"] = json!({"id": incident.priority_id, "type": "priority"});
        }
        if !incident.urgency.is_empty() {
            body["urgency"] = incident.urgency.into();
        }
        if !incident.body.is_empty() {
            body["body"] = json!({"type": "incident_details", "details": incident.body});
        }
        let mut request = self
            .http
            .post(&self.url)?
            .header("Accept", "application/vnd.pagerduty+json;version=2")?
            .header("Authorization", &format!("Token token={}", self.options.token))?;
        if !self.options.from.is_empty() {
            request = request.header("From", &self.options.from)?;
        }
        let reply = request.json(&json!({ "incident": body }))?.send().await?;
        if !reply.is_success() {
            return Err(reply.failure(refusal(&reply)));
        }
        let answer: Value = reply.json().map_err(|e| {
            reply.failure(format!(
                "the answer is no JSON, so it is not known whether there is an incident: {e}"
            ))
        })?;
        receipt.detail = answer["incident"]["id"].as_str().unwrap_or_default().to_string();
        Ok(receipt)
    }

    fn check_recipient(&self, recipient: &str) -> Result<(), SendError> {
        not_empty(recipient, "a service's id")
    }
}
