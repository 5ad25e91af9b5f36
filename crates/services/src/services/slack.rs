//! `slack`: messages by the Web API, in threads and updated in place if a template groups them.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use herald_core::{
    notification::{RenderContext, RenderError, Section},
    yaml::{self, Kind, Node, YamlError},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::slack_limits;
use crate::{
    failure::{Reason, SendError},
    handles::HandleKey,
    http::{HttpClient, Reply},
    schema,
    section::{Field, Merge, TextSection, child},
    service::{Context, Delivery, Receipt, Service, ServiceType, SharedHandles, not_empty},
};

/// The service type.
pub const TYPE: ServiceType = ServiceType {
    name: "slack",
    configurable: true,
    parse_section: Some(parse_section),
    needs_section: false,
    options: schema::of::<Options>,
    section_schema: Some(|| {
        schema::fields(&FIELDS)
            .with("notifyBroadcast", schema::switch("Show replies of a thread in the channel as well."))
            .with(
                "deliveryPolicy",
                schema::words(
                    "What happens to later messages of a thread.",
                    &["Post", "PostAndUpdate", "Update"],
                ),
            )
    }),
    build,
};

#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
struct Options {
    /// Bot token (`xoxb-…`) with the scope `chat:write`.
    token: String,
    /// Name of the sender; needs the scope `chat:write.customize`.
    username: String,
    /// Emoji (`:x:`) or URL of the picture of the sender.
    icon: String,
    /// Address of the API; default `https://slack.com/api/`.
    #[serde(rename = "apiURL")]
    api_url: String,
    /// Show no previews of links.
    disable_unfurl: bool,
    /// Accepted, not used for sending.
    signing_secret: String,
}

fn build(node: &Node, context: &Context) -> Result<Box<dyn Service>, YamlError> {
    let mut options: Options = yaml::decode(node)?;
    context.secret(&options.token);
    context.secret(&options.signing_secret);
    if options.api_url.is_empty() {
        options.api_url = "https://slack.com/api/".into();
    }
    if !options.api_url.ends_with('/') {
        options.api_url.push('/');
    }
    Ok(Box::new(Slack {
        options,
        instance: context.instance.clone(),
        http: context.http(node)?,
        handles: context.handles(),
        threads: (0..THREAD_LOCKS).map(|_| tokio::sync::Mutex::new(())).collect(),
        paused_until: Mutex::new(None),
    }))
}

/// When a message with a grouping key becomes an update of the thread's first one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Policy {
    #[default]
    Post,
    PostAndUpdate,
    Update,
}

#[derive(Debug)]
struct SlackSection {
    texts: TextSection,
    notify_broadcast: bool,
    policy: Policy,
}

pub(crate) const FIELDS: [Field; 5] = [
    Field::text("username"),
    Field::text("icon"),
    Field::json("attachments").checked(|text| array("attachments", text).map(drop)),
    Field::json("blocks").checked(|text| array("blocks", text).map(drop)),
    Field::text("groupingKey").always(),
];

/// Characters of a message's text.
pub(crate) const LONGEST_TEXT: usize = slack_limits::TEXT;

/// What Slack's limits would cut from a rendered section.
pub(crate) fn limits(section: &Value) -> Vec<String> {
    let text = |field: &str| section.get(field).and_then(Value::as_str).unwrap_or_default();
    let (Ok(mut attachments), Ok(mut blocks)) =
        (array("attachments", text("attachments")), array("blocks", text("blocks")))
    else {
        return Vec::new();
    };
    let mut warnings = Vec::new();
    slack_limits::keep(&mut attachments, &mut blocks, &mut warnings);
    warnings
}

fn parse_section(node: &Node) -> Result<Arc<dyn Section>, YamlError> {
    let policy = match child(node, "deliveryPolicy").map(|node| (&node.kind, node.at)) {
        None | Some((Kind::Null, _)) => Policy::Post,
        Some((Kind::Text(text), _)) => match text.as_str() {
            "PostAndUpdate" => Policy::PostAndUpdate,
            "Update" => Policy::Update,
            _ => Policy::Post,
        },
        Some((_, at)) => {
            return Err(YamlError::new("deliveryPolicy must be one of Post, PostAndUpdate and Update", at));
        }
    };
    let notify_broadcast =
        child(node, "notifyBroadcast").map(yaml::decode::<bool>).transpose()?.unwrap_or_default();
    Ok(Arc::new(SlackSection {
        texts: TextSection::read(node, &FIELDS, Merge::Replace)?,
        notify_broadcast,
        policy,
    }))
}

impl Section for SlackSection {
    fn render(&self, context: &RenderContext<'_>, earlier: Option<&Value>) -> Result<Value, RenderError> {
        let mut out = self.texts.render_fields(context, earlier)?;
        out.insert("notifyBroadcast".into(), Value::Bool(self.notify_broadcast));
        let policy = match self.policy {
            Policy::Post => "Post",
            Policy::PostAndUpdate => "PostAndUpdate",
            Policy::Update => "Update",
        };
        out.insert("deliveryPolicy".into(), Value::from(policy));
        Ok(Value::Object(out))
    }

    fn problems(&self) -> Vec<YamlError> {
        self.texts.problems_of_fields()
    }
}

/// The rendered section.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Rendered {
    username: String,
    icon: String,
    attachments: String,
    blocks: String,
    grouping_key: String,
    notify_broadcast: bool,
    delivery_policy: Policy,
}

/// What is remembered of a thread: its first message. Updates need the channel's id, posts take its name.
#[derive(Debug, Serialize, Deserialize)]
struct Thread {
    channel: String,
    ts: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Answer {
    ok: bool,
    error: String,
    channel: String,
    ts: String,
}

/// Different threads rarely share a lock, and the memory is bounded.
const THREAD_LOCKS: usize = 64;

struct Slack {
    options: Options,
    instance: Arc<str>,
    http: HttpClient,
    handles: Arc<SharedHandles>,
    // Two first messages of one thread at once would make two threads.
    threads: Vec<tokio::sync::Mutex<()>>,
    paused_until: Mutex<Option<Instant>>,
}

type Form = Vec<(&'static str, String)>;

impl Slack {
    /// The fields that posts and updates have in common.
    fn form(
        &self,
        delivery: &Delivery<'_>,
        section: Option<&Rendered>,
        receipt: &mut Receipt,
    ) -> Result<Form, SendError> {
        let warnings = &mut receipt.warnings;
        let mut text = delivery.message().to_string();
        crate::limit::cut_reported(&mut text, slack_limits::TEXT, "text", warnings);
        let mut form: Form = vec![("token", self.options.token.clone()), ("text", text)];
        let of = |own: Option<&String>, option: &String| {
            own.filter(|own| !own.is_empty()).unwrap_or(option).clone()
        };
        let username = of(section.map(|section| &section.username), &self.options.username);
        if !username.is_empty() {
            form.push(("username", username));
        }
        let icon = of(section.map(|section| &section.icon), &self.options.icon);
        match icon.as_str() {
            "" => {}
            emoji if emoji.len() > 2 && emoji.starts_with(':') && emoji.ends_with(':') => {
                form.push(("icon_emoji", icon))
            }
            url if is_web_url(url) => form.push(("icon_url", icon)),
            _ => warnings.push("the icon is neither an :emoji: nor an http(s) URL, so it is left out".into()),
        }
        if let Some(section) = section {
            let mut attachments = array("attachments", &section.attachments)?;
            let mut blocks = array("blocks", &section.blocks)?;
            slack_limits::keep(&mut attachments, &mut blocks, warnings);
            form.push(("attachments", Value::Array(attachments).to_string()));
            form.push(("blocks", Value::Array(blocks).to_string()));
        }
        if self.options.disable_unfurl {
            form.extend([("unfurl_links", "false".to_string()), ("unfurl_media", "false".to_string())]);
        }
        Ok(form)
    }

    async fn call(&self, method: &str, form: Form) -> Result<Answer, SendError> {
        if let Some(wait) = self.pause() {
            return Err(SendError::throttled("Slack asked for patience", Some(wait)));
        }
        let reply = self.http.post(&format!("{}{method}", self.options.api_url))?.form(form)?.send().await?;
        if reply.status == 429 {
            return Err(self.throttled(&reply, "slack rate limit exceeded"));
        }
        if reply.status != 200 {
            return Err(reply.failure(format!("slack server error: {}", reply.status_line())));
        }
        let answer: Answer = reply.json().map_err(|e| {
            SendError::new(Reason::BadAnswer, format!("{method} answered something else than JSON: {e}"))
        })?;
        match answer.error.as_str() {
            _ if answer.ok => Ok(answer),
            "" => Ok(answer),
            "ratelimited" | "rate_limited" | "message_limit_exceeded" => {
                Err(self.throttled(&reply, &answer.error))
            }
            "internal_error" | "fatal_error" | "service_unavailable" | "request_timeout" => {
                Err(SendError::new(Reason::ServerError, answer.error))
            }
            _ => Err(SendError::rejected(answer.error)),
        }
    }

    /// What is left of the wait that Slack asked this instance for.
    fn pause(&self) -> Option<Duration> {
        let until = *self.paused_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.and_then(|until| until.checked_duration_since(Instant::now())).filter(|wait| !wait.is_zero())
    }

    fn throttled(&self, reply: &Reply, message: &str) -> SendError {
        let error = reply.failure(message).as_reason(Reason::Throttled);
        if let Some(wait) = error.retry_after {
            *self.paused_until.lock().unwrap_or_else(PoisonError::into_inner) =
                Instant::now().checked_add(wait);
        }
        error
    }

    async fn post(
        &self,
        form: &Form,
        delivery: &Delivery<'_>,
        section: Option<&Rendered>,
        thread: Option<&Thread>,
    ) -> Result<Answer, SendError> {
        let mut form = form.clone();
        form.push(("channel", delivery.recipient.to_string()));
        if let Some(thread) = thread {
            form.push(("thread_ts", thread.ts.clone()));
        }
        if section.is_some_and(|section| section.notify_broadcast) {
            form.push(("reply_broadcast", "true".into()));
        }
        self.call("chat.postMessage", form).await
    }

    async fn update(&self, form: &Form, thread: &Thread) -> Result<Answer, SendError> {
        let mut form = form.clone();
        form.extend([("channel", thread.channel.clone()), ("ts", thread.ts.clone())]);
        self.call("chat.update", form).await
    }

    /// Sends a message of a thread.
    async fn grouped(
        &self,
        form: &Form,
        delivery: &Delivery<'_>,
        section: &Rendered,
    ) -> Result<Answer, SendError> {
        let key =
            HandleKey::new(&self.instance, delivery.recipient, format!("thread:{}", section.grouping_key));
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let lock =
            usize::try_from(hasher.finish() % THREAD_LOCKS as u64).ok().and_then(|n| self.threads.get(n));
        let _turn = match lock {
            Some(lock) => Some(lock.lock().await),
            None => None,
        };
        let known = self.handles.0.get(&key).and_then(|text| serde_json::from_str::<Thread>(&text).ok());
        let Some(thread) = known else {
            let answer = self.post(form, delivery, Some(section), None).await?;
            let thread = Thread { channel: answer.channel.clone(), ts: answer.ts.clone() };
            if let (false, Ok(text)) = (thread.ts.is_empty(), serde_json::to_string(&thread)) {
                self.handles.0.put(key, text);
            }
            return Ok(answer);
        };
        match section.delivery_policy {
            Policy::Post => self.post(form, delivery, Some(section), Some(&thread)).await,
            Policy::Update => self.update(form, &thread).await,
            Policy::PostAndUpdate => {
                // A reply whose update failed is not posted again by the next attempt.
                let posted = HandleKey::new(
                    &self.instance,
                    delivery.recipient,
                    format!("posted:{}", delivery.notice_id),
                );
                if self.handles.0.get(&posted).is_none_or(|state| state != "posted") {
                    self.post(form, delivery, Some(section), Some(&thread)).await?;
                }
                let updated = self.update(form, &thread).await;
                match &updated {
                    Err(_) => self.handles.0.put(posted, "posted".into()),
                    Ok(_) if self.handles.0.get(&posted).is_some() => {
                        self.handles.0.put(posted, "done".into())
                    }
                    Ok(_) => {}
                }
                updated
            }
        }
    }
}

#[async_trait]
impl Service for Slack {
    async fn send(&self, delivery: &Delivery<'_>) -> Result<Receipt, SendError> {
        if self.options.token.is_empty() {
            return Err(SendError::misconfigured("token is missing"));
        }
        let section: Option<Rendered> = delivery.section("slack")?;
        let mut receipt = Receipt::default();
        let form = self.form(delivery, section.as_ref(), &mut receipt)?;
        let answer = match &section {
            Some(section) if !section.grouping_key.is_empty() => {
                self.grouped(&form, delivery, section).await?
            }
            section => self.post(&form, delivery, section.as_ref(), None).await?,
        };
        receipt.detail = format!("{} {}", answer.channel, answer.ts).trim().to_string();
        Ok(receipt)
    }

    fn check_recipient(&self, recipient: &str) -> Result<(), SendError> {
        not_empty(recipient, "a channel or a user's id")
    }
}

fn is_web_url(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

/// The JSON array of `attachments` or `blocks`. An empty object counts as none, and `{"blocks": [...]}` is what Block
/// Kit Builder copies.
fn array(what: &str, text: &str) -> Result<Vec<Value>, SendError> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let bad = |why: String| SendError::misconfigured(format!("failed to unmarshal {what} '{text}' : {why}"));
    match serde_json::from_str(text).map_err(|e| bad(e.to_string()))? {
        Value::Array(items) => Ok(items),
        Value::Null => Ok(Vec::new()),
        Value::Object(map) if map.is_empty() => Ok(Vec::new()),
        Value::Object(mut map) => match map.remove(what) {
            Some(Value::Array(items)) => Ok(items),
            _ => Err(bad("it must be a JSON array".into())),
        },
        _ => Err(bad("it must be a JSON array".into())),
    }
}
