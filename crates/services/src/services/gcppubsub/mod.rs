//! Google Cloud Pub/Sub (services.md 2.4). The recipient is a topic's id; empty: the option `topic`.

mod token;

use std::sync::Arc;

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use herald_core::{
    notification::{RenderContext, RenderError, Section, TemplateText},
    yaml::{self, Node, YamlError},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;

use self::token::{Access, Account};
use crate::{
    failure::{Reason, SendError},
    http::HttpClient,
    limit, schema,
    section::{child, template_map},
    service::{Context, Delivery, Receipt, Service, ServiceType},
};

/// The service type.
pub const TYPE: ServiceType = ServiceType {
    name: "gcppubsub",
    configurable: true,
    parse_section: Some(parse_section),
    needs_section: false,
    options: schema::of::<Options>,
    section_schema: Some(|| {
        schema::fields(&[]).with("attributes", schema::templates("Attributes of the message."))
    }),
    build,
};

const DETECT: &str = "*detect-project-id*";

/// Pub/Sub refuses larger messages.
const LARGEST_MESSAGE: usize = 10_000_000;

/// Pub/Sub refuses longer values of attributes.
const LONGEST_VALUE: usize = 1024;

#[derive(Debug)]
struct PubSubSection(Vec<(String, TemplateText)>);

fn parse_section(node: &Node) -> Result<Arc<dyn Section>, YamlError> {
    Ok(Arc::new(PubSubSection(template_map(child(node, "attributes"))?)))
}

impl Section for PubSubSection {
    fn render(&self, context: &RenderContext<'_>, earlier: Option<&Value>) -> Result<Value, RenderError> {
        if self.0.is_empty() {
            return Ok(earlier.cloned().unwrap_or_else(|| json!({})));
        }
        let rendered: Result<Map<String, Value>, RenderError> =
            self.0.iter().map(|(name, value)| Ok((name.clone(), context.text(value)?.into()))).collect();
        Ok(json!({"attributes": rendered?}))
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Rendered {
    attributes: Map<String, Value>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default)]
struct Options {
    /// Project; `*detect-project-id*` asks the environment.
    project: String,
    /// Topic, for subscriptions without a recipient.
    topic: String,
    /// Path of a service account's key file; default the credentials of the environment.
    #[serde(rename = "keyFile")]
    key_file: String,
    /// Ours: the service account's key itself, so that it can come from the Secret.
    key: String,
    /// Address of the API.
    #[serde(rename = "apiURL")]
    api_url: String,
}

struct PubSub {
    options: Options,
    access: Access,
    http: HttpClient,
}

fn build(node: &Node, context: &Context) -> Result<Box<dyn Service>, YamlError> {
    let options: Options = yaml::decode(node)?;
    let fault = |message: &str| YamlError::new(message, node.at);
    if options.project.is_empty() {
        return Err(fault(&format!("project is missing; {DETECT} asks the environment for it")));
    }
    let account = match options.key.trim() {
        "" => None,
        // The names of secrets that are not there stay as they are; the error then comes with the delivery.
        name if name.starts_with('$') => None,
        text => Some(Account::read("key", text).map_err(|message| fault(&message))?),
    };
    context.secret(&options.key);
    let access = Access::new(env, account, options.key_file.clone(), context.environment.guarded);
    Ok(Box::new(PubSub { options, access, http: context.http(node)? }))
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl PubSub {
    async fn url(&self, delivery: &Delivery<'_>, base: &str) -> Result<Url, SendError> {
        let topic = if delivery.recipient.is_empty() { &self.options.topic } else { delivery.recipient };
        let project = match self.options.project.as_str() {
            DETECT => self.access.project(&self.http).await?,
            project => project.to_string(),
        };
        let invalid =
            || SendError::misconfigured("apiURL is not a URL such as https://pubsub.googleapis.com");
        let mut url = Url::parse(base).map_err(|_| invalid())?;
        let publish = format!("{topic}:publish");
        url.path_segments_mut().map_err(|()| invalid())?.pop_if_empty().extend([
            "v1",
            "projects",
            project.as_str(),
            "topics",
            publish.as_str(),
        ]);
        Ok(url)
    }
}

/// The code of a status as Google's libraries write it: `NOT_FOUND` is `NotFound`.
fn code(status: &str) -> String {
    status
        .split('_')
        .filter_map(|word| {
            let mut chars = word.chars();
            chars.next().map(|first| format!("{first}{}", chars.as_str().to_lowercase()))
        })
        .collect()
}

#[async_trait]
impl Service for PubSub {
    fn check_recipient(&self, recipient: &str) -> Result<(), SendError> {
        match recipient.is_empty() && self.options.topic.is_empty() {
            true => Err(SendError::misconfigured("neither the recipient nor the option topic names a topic")),
            false => Ok(()),
        }
    }

    async fn send(&self, delivery: &Delivery<'_>) -> Result<Receipt, SendError> {
        let mut receipt = Receipt::default();
        let mut message = delivery.message().to_string();
        if limit::cut_bytes(&mut message, LARGEST_MESSAGE) {
            receipt.warnings.push(format!("message cut at {LARGEST_MESSAGE} bytes"));
        }
        let mut item = json!({"data": STANDARD.encode(message)});
        let mut attributes = delivery.section::<Rendered>(TYPE.name)?.unwrap_or_default().attributes;
        for (name, value) in &mut attributes {
            if let Value::String(text) = value
                && limit::cut_bytes(text, LONGEST_VALUE)
            {
                receipt.warnings.push(format!("attribute {name} cut at {LONGEST_VALUE} bytes"));
            }
        }
        if !attributes.is_empty() {
            item["attributes"] = attributes.into();
        }
        let emulator = env("PUBSUB_EMULATOR_HOST").filter(|_| self.options.api_url.is_empty());
        let base = match (&emulator, self.options.api_url.as_str()) {
            (Some(host), _) => format!("http://{host}"),
            (None, "") => "https://pubsub.googleapis.com".to_string(),
            (None, url) => url.to_string(),
        };
        let url = self.url(delivery, &base).await?;
        let mut request = self.http.post(url.as_str())?;
        // The emulator knows no credentials.
        if emulator.is_none() {
            request = request.bearer(&self.access.token(&self.http, delivery.now).await?)?;
        }
        let reply = request.json(&json!({"messages": [item]}))?.send().await?;
        let answer: Value = reply.json().unwrap_or_default();
        if !reply.is_success() {
            if reply.status == 401 {
                self.access.forget();
            }
            let error = &answer["error"];
            let why = error["message"].as_str().map_or_else(|| reply.text(), str::to_string);
            return Err(reply.failure(format!(
                "rpc error: code = {} desc = {why}",
                code(error["status"].as_str().unwrap_or("UNKNOWN"))
            )));
        }
        let Some(id) = answer["messageIds"][0].as_str() else {
            return Err(SendError::new(Reason::BadAnswer, "the answer to publish has no message id"));
        };
        receipt.detail = id.to_string();
        Ok(receipt)
    }
}
