//! Mattermost: a post in a channel (services.md 2.9). The recipient is a channel's id.
//!
//! Threads and updates in place are ours, with the words of the slack section.

use std::sync::Arc;

use async_trait::async_trait;
use herald_core::{
    notification::{RenderContext, RenderError, Section},
    yaml::{self, Node, YamlError},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    failure::SendError,
    handles::HandleKey,
    http::{HttpClient, Reply, web_url},
    limit, schema,
    section::{Field, Merge, TextSection},
    service::{Context, Delivery, Receipt, Service, ServiceType, SharedHandles, not_empty},
};

/// The service type.
pub const TYPE: ServiceType = ServiceType {
    name: "mattermost",
    configurable: true,
    parse_section: Some(parse_section),
    needs_section: false,
    options: schema::of::<Options>,
    section_schema: Some(|| {
        schema::fields(FIELDS).with(
            "deliveryPolicy",
            schema::words(
                "What happens to later messages of a thread.",
                &["Post", "PostAndUpdate", "Update"],
            ),
        )
    }),
    build,
};

/// Mattermost refuses longer posts.
pub(crate) const LONGEST_MESSAGE: usize = 16383;

pub(crate) const FIELDS: &[Field] =
    &[Field::json("attachments").checked(|text| attachments(text).map(drop)), Field::text("groupingKey")];

/// What happens to the later messages of a thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum DeliveryPolicy {
    #[default]
    Post,
    PostAndUpdate,
    Update,
}

#[derive(Debug)]
struct PostSection {
    texts: TextSection,
    policy: DeliveryPolicy,
}

fn parse_section(node: &Node) -> Result<Arc<dyn Section>, YamlError> {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Raw {
        delivery_policy: String,
    }
    let raw: Raw = yaml::decode(node)?;
    let policy = match raw.delivery_policy.as_str() {
        "PostAndUpdate" => DeliveryPolicy::PostAndUpdate,
        "Update" => DeliveryPolicy::Update,
        _ => DeliveryPolicy::Post,
    };
    Ok(Arc::new(PostSection { texts: TextSection::read(node, FIELDS, Merge::Replace)?, policy }))
}

impl Section for PostSection {
    fn render(&self, context: &RenderContext<'_>, earlier: Option<&Value>) -> Result<Value, RenderError> {
        let mut out = self.texts.render_fields(context, earlier)?;
        if self.policy != DeliveryPolicy::Post {
            out.insert("deliveryPolicy".into(), json!(self.policy));
        }
        Ok(out.into())
    }

    fn problems(&self) -> Vec<YamlError> {
        self.texts.problems_of_fields()
    }
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct Options {
    /// Address of the server.
    #[serde(rename = "apiURL")]
    api_url: String,
    /// Access token of a bot.
    token: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Post {
    attachments: String,
    grouping_key: String,
    delivery_policy: DeliveryPolicy,
}

struct Mattermost {
    posts: String,
    token: String,
    instance: Arc<str>,
    handles: Arc<SharedHandles>,
    http: HttpClient,
}

fn build(node: &Node, context: &Context) -> Result<Box<dyn Service>, YamlError> {
    let options: Options = yaml::decode(node)?;
    context.secret(&options.token);
    web_url("apiURL", &options.api_url, node)?;
    Ok(Box::new(Mattermost {
        posts: format!("{}/api/v4/posts", options.api_url.trim_end_matches('/')),
        token: options.token,
        instance: context.instance.clone(),
        handles: context.handles(),
        http: context.http(node)?,
    }))
}

/// The attachments, which must be a JSON array or null.
fn attachments(text: &str) -> Result<Value, SendError> {
    if text.is_empty() {
        return Ok(json!([]));
    }
    serde_json::from_str::<Option<Vec<Value>>>(text).map(|list| json!(list)).map_err(|e| {
        SendError::misconfigured(format!(
            "failed to unmarshal attachments '{text}' : {e}; it must be a JSON array"
        ))
    })
}

impl Mattermost {
    async fn call(&self, method: &str, url: &str, body: &Value) -> Result<Reply, SendError> {
        let reply = self.http.request(method, url)?.bearer(&self.token)?.json(body)?.send().await?;
        if reply.is_success() {
            return Ok(reply);
        }
        let status = reply.status;
        Err(reply.failure(format!("request to {url} has failed with error code {status} : {}", reply.text())))
    }
}

#[async_trait]
impl Service for Mattermost {
    async fn send(&self, delivery: &Delivery<'_>) -> Result<Receipt, SendError> {
        let post = delivery.section::<Post>(TYPE.name)?.unwrap_or_default();
        let mut receipt = Receipt::default();
        let mut message = delivery.message().to_string();
        limit::cut_reported(&mut message, LONGEST_MESSAGE, "message", &mut receipt.warnings);
        let props = json!({"attachments": attachments(&post.attachments)?});

        let key = HandleKey::new(&self.instance, delivery.recipient, &post.grouping_key);
        let first = if post.grouping_key.is_empty() { None } else { self.handles.0.get(&key) };
        if first.is_none() || post.delivery_policy != DeliveryPolicy::Update {
            let mut body = json!({"channel_id": delivery.recipient, "message": message, "props": props});
            if let Some(root) = &first {
                body["root_id"] = root.as_str().into();
            }
            let reply = self.call("POST", &self.posts, &body).await?;
            let id = reply.json::<Value>().ok().and_then(|answer| Some(answer["id"].as_str()?.to_string()));
            if let Some(id) = &id
                && first.is_none()
                && !post.grouping_key.is_empty()
            {
                self.handles.0.put(key, id.clone());
            }
            receipt.detail = id.unwrap_or_else(|| reply.status_line());
        }
        if let Some(first) = first
            && post.delivery_policy != DeliveryPolicy::Post
        {
            let url = format!("{}/{first}/patch", self.posts);
            self.call("PUT", &url, &json!({"message": message, "props": props})).await?;
            receipt.detail = first;
        }
        Ok(receipt)
    }

    fn check_recipient(&self, recipient: &str) -> Result<(), SendError> {
        not_empty(recipient, "a channel's id")
    }
}
