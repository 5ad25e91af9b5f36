//! Opsgenie: an alert for a team (services.md 2.12). The recipient is a key of `apiKeys` and the team's id.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use herald_core::{
    notification::{RenderContext, RenderError, Section, TemplateText},
    yaml::{self, Kind, Node, YamlError},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    failure::SendError,
    http::{HttpClient, Reply},
    limit, schema,
    section::{self, Field, Merge, TextSection},
    service::{Context, Delivery, Receipt, Service, ServiceType},
};

/// The service type.
pub const TYPE: ServiceType = ServiceType {
    name: "opsgenie",
    configurable: true,
    parse_section: Some(parse_section),
    needs_section: false,
    options: schema::of::<Options>,
    section_schema: Some(|| {
        schema::fields(FIELDS)
            .with("details", schema::templates("Details of the alert."))
            .with("visibleTo", schema::list_of(schema::fields(RESPONDER_FIELDS)))
            .with("actions", schema::list_of_templates("Actions of the alert."))
            .with("tags", schema::list_of_templates("Tags of the alert."))
    }),
    build,
};

/// Opsgenie refuses longer texts: field, characters.
pub(crate) const LONGEST: &[(&str, usize)] = &[
    ("message", 130),
    ("alias", 512),
    ("description", 15_000),
    ("note", 25_000),
    ("entity", 512),
    ("user", 100),
];

const FIELDS: &[Field] = &[
    Field::text("description").always(),
    Field::text("priority"),
    Field::text("alias"),
    Field::text("note"),
    Field::text("entity"),
    Field::text("user"),
];

const RESPONDER_FIELDS: &[Field] =
    &[Field::text("id"), Field::text("type").always(), Field::text("name"), Field::text("username").always()];

#[derive(Debug)]
struct AlertSection {
    texts: TextSection,
    details: Option<Vec<(String, TemplateText)>>,
    visible_to: Option<Vec<TextSection>>,
    actions: Option<Vec<TemplateText>>,
    tags: Option<Vec<TemplateText>>,
}

fn list<T>(
    node: &Node,
    key: &str,
    read: impl Fn(&Node) -> Result<T, YamlError>,
) -> Result<Option<Vec<T>>, YamlError> {
    match section::child(node, key) {
        None => Ok(None),
        Some(node) => match &node.kind {
            Kind::Null => Ok(None),
            Kind::List(items) => items.iter().map(read).collect::<Result<_, _>>().map(Some),
            _ => Err(YamlError { message: format!("{key}: expected a list"), at: node.at }),
        },
    }
}

fn parse_section(node: &Node) -> Result<Arc<dyn Section>, YamlError> {
    let details = section::child(node, "details").filter(|node| !matches!(node.kind, Kind::Null));
    Ok(Arc::new(AlertSection {
        texts: TextSection::read(node, FIELDS, Merge::Replace)?,
        details: details.map(|node| section::template_map(Some(node))).transpose()?,
        visible_to: list(node, "visibleTo", |item| {
            TextSection::read(item, RESPONDER_FIELDS, Merge::Replace)
        })?,
        actions: list(node, "actions", yaml::decode)?,
        tags: list(node, "tags", yaml::decode)?,
    }))
}

impl Section for AlertSection {
    fn render(&self, context: &RenderContext<'_>, earlier: Option<&Value>) -> Result<Value, RenderError> {
        let mut out = self.texts.render_fields(context, earlier)?;
        let mut put = |name: &str, value: Option<Value>| {
            // A key of the later template replaces the earlier one's, also with an empty list.
            let value = value.or_else(|| earlier.and_then(|earlier| earlier.get(name)).cloned());
            let empty = |value: &Value| match value {
                Value::Array(items) => items.is_empty(),
                Value::Object(map) => map.is_empty(),
                _ => false,
            };
            if let Some(value) = value.filter(|value| !empty(value)) {
                out.insert(name.into(), value);
            }
        };
        let texts = |list: &Option<Vec<TemplateText>>| -> Result<Option<Value>, RenderError> {
            let Some(list) = list else { return Ok(None) };
            Ok(Some(list.iter().map(|item| context.text(item).map(Value::from)).collect::<Result<_, _>>()?))
        };
        put("actions", texts(&self.actions)?);
        put("tags", texts(&self.tags)?);
        let details = self.details.as_ref().map(|details| {
            let pairs = details.iter().map(|(key, value)| Ok((key.clone(), context.text(value)?.into())));
            pairs.collect::<Result<Map<_, _>, RenderError>>().map(Value::Object)
        });
        put("details", details.transpose()?);
        let visible = self.visible_to.as_ref().map(|list| {
            let items = list.iter().map(|item| item.render_fields(context, None).map(Value::Object));
            items.collect::<Result<Value, RenderError>>()
        });
        put("visibleTo", visible.transpose()?);
        Ok(out.into())
    }
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct Options {
    /// Address of the API; default `api.opsgenie.com`.
    #[serde(rename = "apiUrl")]
    api_url: String,
    /// API keys by the name that subscriptions use as recipient.
    #[serde(rename = "apiKeys")]
    api_keys: BTreeMap<String, String>,
    /// Ours: the alert's source.
    source: String,
}

struct Opsgenie {
    url: String,
    source: String,
    api_keys: BTreeMap<String, String>,
    http: HttpClient,
}

fn build(node: &Node, context: &Context) -> Result<Box<dyn Service>, YamlError> {
    let options: Options = yaml::decode(node)?;
    options.api_keys.values().for_each(|key| context.secret(key));
    let source = if options.source.is_empty() { "Argo CD".to_string() } else { options.source };
    let url = alerts_url(&options.api_url);
    Ok(Box::new(Opsgenie { url, source, api_keys: options.api_keys, http: context.http(node)? }))
}

/// The address for new alerts. A bare host without `api` in its name is plain HTTP, as in the reference.
fn alerts_url(api_url: &str) -> String {
    let host = if api_url.is_empty() { "api.opsgenie.com" } else { api_url.trim_end_matches('/') };
    if host.contains("://") {
        format!("{host}/v2/alerts")
    } else {
        format!("{}://{host}/v2/alerts", if host.contains("api") { "https" } else { "http" })
    }
}

/// The text of a refusal, in the words of the reference.
fn refusal(reply: &Reply) -> SendError {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Answer {
        message: String,
        took: f64,
        request_id: String,
    }
    let answer = reply.json::<Answer>().unwrap_or_default();
    reply.failure(format!(
        "Error occurred with Status code: {}, Message: {}, Took: {:.6}, RequestId: {}",
        reply.status, answer.message, answer.took, answer.request_id
    ))
}

impl Opsgenie {
    fn key(&self, recipient: &str) -> Result<&str, SendError> {
        let key = self.api_keys.get(recipient).filter(|key| !key.is_empty());
        key.map(String::as_str).ok_or_else(|| {
            SendError::misconfigured(format!("no API key configured for recipient {recipient}"))
        })
    }
}

#[async_trait]
impl Service for Opsgenie {
    fn check_recipient(&self, recipient: &str) -> Result<(), SendError> {
        self.key(recipient).map(drop)
    }

    async fn send(&self, delivery: &Delivery<'_>) -> Result<Receipt, SendError> {
        let recipient = delivery.recipient;
        let key = self.key(recipient)?;
        let section = delivery.section::<Map<String, Value>>(TYPE.name)?;
        if section.as_ref().is_some_and(|alert| alert.get("description").is_none_or(|text| text == "")) {
            return Err(SendError::misconfigured("opsgenie notification description is missing"));
        }
        if delivery.message().is_empty() {
            return Err(SendError::misconfigured("message can not be empty"));
        }
        let mut body = section.unwrap_or_default();
        body.insert("message".into(), delivery.message().into());
        body.insert("responders".into(), json!([{"type": "team", "id": recipient, "username": ""}]));
        body.insert("source".into(), self.source.as_str().into());
        for list in ["actions", "tags"] {
            if let Some(Value::Array(items)) = body.get_mut(list) {
                items.retain(|item| item != "");
            }
        }
        let mut receipt = Receipt::default();
        for (field, longest) in LONGEST {
            if let Some(Value::String(text)) = body.get_mut(*field) {
                limit::cut_reported(text, *longest, field, &mut receipt.warnings);
            }
        }
        body.retain(|_, value| match value {
            Value::Array(list) => !list.is_empty(),
            Value::Object(map) => !map.is_empty(),
            Value::String(text) => !text.is_empty(),
            _ => true,
        });
        let reply = self
            .http
            .post(&self.url)?
            .header("Accept", "application/json")?
            .header("Authorization", &format!("GenieKey {key}"))?
            .json(&body)?
            .header("Content-Type", "application/json; charset=utf-8")?
            .send()
            .await?;
        if !reply.is_success() {
            return Err(refusal(&reply));
        }
        let answer: Value = reply.json().map_err(|e| reply.failure(format!("the answer is no JSON: {e}")))?;
        receipt.detail = answer["requestId"].as_str().unwrap_or_default().to_string();
        Ok(receipt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_may_have_a_scheme() {
        for (given, wanted) in [
            ("", "https://api.opsgenie.com/v2/alerts"),
            ("api.eu.opsgenie.com", "https://api.eu.opsgenie.com/v2/alerts"),
            ("127.0.0.1:8080", "http://127.0.0.1:8080/v2/alerts"),
            ("https://api.eu.opsgenie.com/", "https://api.eu.opsgenie.com/v2/alerts"),
        ] {
            assert_eq!(alerts_url(given), wanted);
        }
    }
}
