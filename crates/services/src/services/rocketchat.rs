//! Rocket.Chat: a message to a channel, a person or a room (services.md 2.15).

use std::sync::Arc;

use async_trait::async_trait;
use herald_core::{
    notification::Section,
    yaml::{self, Node, YamlError},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;
use url::Url;

use crate::{
    failure::{Reason, SendError},
    http::{HttpClient, Reply, web_url},
    schema,
    section::{self, Field, Merge},
    service::{Context, Delivery, Receipt, Service, ServiceType, not_empty},
};

/// The service type.
pub const TYPE: ServiceType = ServiceType {
    name: "rocketchat",
    configurable: true,
    parse_section: Some(parse_section),
    needs_section: false,
    options: schema::of::<Options>,
    section_schema: Some(|| schema::fields(FIELDS)),
    build,
};

pub(crate) const FIELDS: &[Field] = &[Field::json("attachments").checked(|text| attachments(text).map(drop))];

fn parse_section(node: &Node) -> Result<Arc<dyn Section>, YamlError> {
    section::texts(node, FIELDS, Merge::Replace)
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
struct Options {
    /// Address of the server.
    server_url: String,
    /// User name or e-mail address.
    email: String,
    /// Password.
    password: String,
    /// Name of the sender.
    alias: String,
    /// Emoji (`:x:`) as picture of the sender.
    icon: String,
    /// URL of the picture of the sender.
    avatar: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Message {
    attachments: String,
}

/// A session, kept because the server allows only a few logins a minute.
#[derive(Clone)]
struct Session {
    token: String,
    user: String,
}

struct RocketChat {
    options: Options,
    http: HttpClient,
    session: Mutex<Option<Session>>,
}

fn build(node: &Node, context: &Context) -> Result<Box<dyn Service>, YamlError> {
    let options: Options = yaml::decode(node)?;
    context.secret(&options.password);
    web_url("serverUrl", &options.server_url, node)?;
    Ok(Box::new(RocketChat { options, http: context.http(node)?, session: Mutex::default() }))
}

fn is_emoji(icon: &str) -> bool {
    icon.len() > 2 && icon.starts_with(':') && icon.ends_with(':')
}

fn is_image(avatar: &str) -> bool {
    Url::parse(avatar).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

/// The attachments, passed through, with the two fields that the reference always writes.
fn attachments(text: &str) -> Result<Vec<Map<String, Value>>, SendError> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let list = serde_json::from_str::<Option<Vec<Option<Map<String, Value>>>>>(text).map_err(|e| {
        SendError::misconfigured(format!(
            "failed to unmarshal attachments '{text}' : {e}; it must be a JSON array of objects"
        ))
    })?;
    let mut list: Vec<_> = list.into_iter().flatten().map(Option::unwrap_or_default).collect();
    for attachment in &mut list {
        attachment.entry("collapsed").or_insert(json!(false));
        let fields = attachment.get_mut("fields").and_then(Value::as_array_mut).into_iter().flatten();
        for field in fields.filter_map(Value::as_object_mut) {
            field.entry("short").or_insert(json!(false));
        }
    }
    Ok(list)
}

/// Why an answer is no success, in the words of the reference.
fn refusal(reply: &Reply) -> SendError {
    let answer: Value = match reply.json() {
        Ok(answer) => answer,
        Err(_) if reply.status == 200 => {
            return reply.failure("got false response: the answer is no JSON");
        }
        Err(_) => return reply.failure(format!("Request error: {}", reply.status_line())),
    };
    let text = |name: &str| answer[name].as_str().unwrap_or_default();
    let words = if !text("error").is_empty() {
        text("error").to_string()
    } else if !text("status").is_empty() || !text("message").is_empty() {
        format!("status: {}, message: {}", text("status"), text("message"))
    } else {
        "got false response".to_string()
    };
    let failure = reply.failure(words);
    if reply.is_success() { failure.as_reason(Reason::Rejected) } else { failure }
}

impl RocketChat {
    fn url(&self, path: &str) -> Result<String, SendError> {
        let given = self.options.server_url.trim();
        let url = Url::parse(given)
            .map_err(|e| SendError::misconfigured(format!("the option serverUrl is no valid URL: {e}")))?;
        let (base, below) = (&url[..url::Position::BeforePath], url.path());
        // A path is taken as it is given, its last slash included; one that isn't given is none.
        let below = if below == "/" && !given.ends_with('/') { "" } else { below };
        Ok(format!("{base}{below}/api/v1/{path}"))
    }

    /// The session, logging in if there is none; `stale` is one that was refused.
    async fn session(&self, stale: Option<&Session>) -> Result<Session, SendError> {
        let mut kept = self.session.lock().await;
        if let Some(session) = &*kept
            && stale.is_none_or(|stale| stale.token != session.token)
        {
            return Ok(session.clone());
        }
        *kept = None;
        let form = [("user", &self.options.email), ("password", &self.options.password)];
        let reply = self.http.post(&self.url("login")?)?.form(form)?.send().await?;
        let answer: Value = reply.json().unwrap_or_default();
        if answer["status"] != "success" {
            return Err(refusal(&reply));
        }
        let text = |name: &str| answer["data"][name].as_str().unwrap_or_default().to_string();
        let session = Session { token: text("authToken"), user: text("userId") };
        self.http.secret(&session.token);
        *kept = Some(session.clone());
        Ok(session)
    }

    async fn post(&self, session: &Session, body: &Value) -> Result<Reply, SendError> {
        self.http
            .post(&self.url("chat.postMessage")?)?
            .header("X-Auth-Token", &session.token)?
            .header("X-User-Id", &session.user)?
            .json(body)?
            .send()
            .await
    }
}

#[async_trait]
impl Service for RocketChat {
    async fn send(&self, delivery: &Delivery<'_>) -> Result<Receipt, SendError> {
        let message = delivery.section::<Message>(TYPE.name)?.unwrap_or_default();
        let attachments = attachments(&message.attachments)?;
        let mut receipt = Receipt::default();
        let Options { alias, icon, avatar, .. } = &self.options;
        let to = if delivery.recipient.starts_with(['#', '@']) { "channel" } else { "roomId" };
        let mut body = json!({ to: delivery.recipient });
        let mut set = |name: &str, value: &str| {
            if !value.is_empty() {
                body[name] = value.into();
            }
        };
        set("text", delivery.message());
        set("alias", alias);
        if is_emoji(icon) {
            set("emoji", icon);
        } else if !icon.is_empty() {
            receipt
                .warnings
                .push(format!("the option icon is no emoji of the form :name:, so left out: {icon}"));
        }
        if is_image(avatar) {
            set("avatar", avatar);
        } else if !avatar.is_empty() {
            receipt
                .warnings
                .push(format!("the option avatar is no http or https URL, so left out: {avatar}"));
        }
        if !attachments.is_empty() {
            body["attachments"] = json!(attachments);
        }
        let session = self.session(None).await?;
        let mut reply = self.post(&session, &body).await?;
        if reply.status == 401 {
            let session = self.session(Some(&session)).await?;
            reply = self.post(&session, &body).await?;
        }
        if reply.json::<Value>().is_ok_and(|answer| answer["success"] == true) {
            receipt.detail = reply.status_line();
            return Ok(receipt);
        }
        let mut error = refusal(&reply);
        // The reference can't read such an answer and tells the status alone; here both are told.
        if !reply.is_success() && reply.json::<Value>().is_ok_and(|answer| answer["message"].is_string()) {
            error.message = format!("Request error: {}: {}", reply.status_line(), error.message);
        }
        Err(error)
    }

    fn check_recipient(&self, recipient: &str) -> Result<(), SendError> {
        not_empty(recipient, "a #channel, a @user or a room's id")
    }
}
