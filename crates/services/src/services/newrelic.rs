//! New Relic: a deployment marker (services.md 2.11). The recipient is an application id.

use std::sync::Arc;

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
    schema,
    section::{self, Field, Merge},
    service::{Context, Delivery, Receipt, Service, ServiceType, not_empty},
};

/// The service type.
pub const TYPE: ServiceType = ServiceType {
    name: "newrelic",
    configurable: true,
    parse_section: Some(parse_section),
    needs_section: true,
    options: schema::of::<Options>,
    section_schema: Some(|| schema::fields(FIELDS)),
    build,
};

// The defaults are the reference's and mean Argo CD's variables: a Rollout's template has to set these fields.
const FIELDS: &[Field] = &[
    Field::text("revision").or("{{.app.status.operationState.syncResult.revision}}").always(),
    Field::text("changelog").or("{{(call .repo.GetCommitMetadata .app.status.sync.revision).Message}}"),
    Field::text("description"),
    Field::text("user").or("{{(call .repo.GetCommitMetadata .app.status.sync.revision).Author}}"),
];

fn parse_section(node: &Node) -> Result<Arc<dyn Section>, YamlError> {
    section::texts(node, FIELDS, Merge::Replace)
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct Options {
    /// API key.
    #[serde(rename = "apiKey")]
    api_key: String,
    /// Address of the API; default `https://api.newrelic.com`.
    #[serde(rename = "apiURL")]
    api_url: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Marker {
    revision: String,
    changelog: String,
    description: String,
    user: String,
}

struct NewRelic {
    api_key: String,
    base: String,
    http: HttpClient,
}

fn build(node: &Node, context: &Context) -> Result<Box<dyn Service>, YamlError> {
    let options: Options = yaml::decode(node)?;
    context.secret(&options.api_key);
    let base = if options.api_url.is_empty() { "https://api.newrelic.com" } else { &options.api_url };
    let base = base.strip_suffix('/').unwrap_or(base).to_string();
    Ok(Box::new(NewRelic { api_key: options.api_key, base, http: context.http(node)? }))
}

#[async_trait]
impl Service for NewRelic {
    async fn send(&self, delivery: &Delivery<'_>) -> Result<Receipt, SendError> {
        if self.api_key.is_empty() {
            return Err(SendError::misconfigured("apiKey is missing"));
        }
        let Some(marker) = delivery.section::<Marker>(TYPE.name)? else {
            return Err(SendError::misconfigured("config is missing: the template has no section newrelic"));
        };
        let description =
            if marker.description.is_empty() { delivery.message() } else { &marker.description };
        let mut deployment =
            Map::from_iter([("revision".to_string(), Value::from(marker.revision.as_str()))]);
        for (name, value) in
            [("changelog", marker.changelog.as_str()), ("description", description), ("user", &marker.user)]
        {
            if !value.is_empty() {
                deployment.insert(name.into(), value.into());
            }
        }
        let url = format!("{}/v2/applications/{}/deployments.json", self.base, delivery.recipient);
        let request = self.http.post(&url)?.header("X-Api-Key", &self.api_key)?;
        let reply = request.json(&json!({ "deployment": deployment }))?.send().await?;
        if !reply.is_success() {
            return Err(reply.failure(format!("error with status {}: {}", reply.status, reply.text())));
        }
        Ok(Receipt::new(reply.status_line()))
    }

    fn check_recipient(&self, recipient: &str) -> Result<(), SendError> {
        not_empty(recipient, "an application's id")
    }
}
