//! `webhook`: one request to any URL.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use herald_core::{
    notification::{RenderContext, RenderError, Section, TemplateText},
    yaml::{self, Kind, Node, YamlError},
};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use super::{
    webhook_envelope::{self, Envelope},
    webhook_signature::Signer,
};
use crate::{
    failure::{Reason, SendError},
    http::{HttpClient, Reply, go_duration},
    schema,
    section::{Field, child, read_field},
    service::{Context, Delivery, Receipt, Service, ServiceType},
};

/// The service type.
pub const TYPE: ServiceType = ServiceType {
    name: "webhook",
    configurable: true,
    parse_section: Some(parse_section),
    needs_section: false,
    options: schema::of::<Options>,
    section_schema: Some(|| {
        schema::map_of(
            schema::fields(&[Field::text("path"), Field::json("body"), Field::text("artifact")]).with(
                "method",
                schema::words(
                    "Method of the request; default GET.",
                    &["GET", "POST", "PUT", "PATCH", "DELETE"],
                ),
            ),
        )
    }),
    build,
};

/// The header with the notice's id; one of the options replaces it.
const IDEMPOTENCY: &str = "Idempotency-Key";

/// What the other side asks for is waited for at once up to this, however short the usual waits are.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
struct Options {
    /// Address; a path of the template is appended.
    url: String,
    /// Headers, later ones of the same name win.
    headers: Vec<Header>,
    /// User and password.
    basic_auth: Option<BasicAuth>,
    /// Shortest wait between tries within one delivery: nanoseconds, or a duration such as `2s`.
    #[serde(deserialize_with = "wait")]
    #[schemars(with = "String")]
    retry_wait_min: Duration,
    /// Longest wait between tries within one delivery.
    #[serde(deserialize_with = "wait")]
    #[schemars(with = "String")]
    retry_wait_max: Duration,
    /// How many more tries within one delivery; 0 means 3, a negative number none.
    retry_max: i64,
    /// Ours, as all below: keys for the headers of Standard Webhooks.
    signing_secret: String,
    /// `cloudevents` or `cdevents`.
    envelope: String,
    /// The source of such events.
    source: String,
}

#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct Header {
    /// Name.
    name: String,
    /// Value.
    value: String,
}

#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct BasicAuth {
    /// User.
    username: String,
    /// Password.
    password: String,
}

/// Integer nanoseconds as the reference wants them, or a duration as its documentation shows it.
fn wait<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let text = text.trim();
    match (text.is_empty(), text.parse::<i64>()) {
        (true, _) => Ok(Duration::ZERO),
        (false, Ok(nanos)) => Ok(Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))),
        (false, Err(_)) => go_duration(text).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "not a duration such as 2s, nor a number of nanoseconds: {text}"
            ))
        }),
    }
}

fn build(node: &Node, context: &Context) -> Result<Box<dyn Service>, YamlError> {
    let mut options: Options = yaml::decode(node)?;
    let missing = |what: &str| YamlError::new(format!("{what} is missing"), node.at);
    if options.url.is_empty() {
        return Err(missing("url"));
    }
    for header in &mut options.headers {
        context.secret(&header.value);
        if header.name.is_empty() {
            return Err(missing("the name of a header"));
        }
        // Secrets from files often end in a newline, which no header may hold.
        let trimmed = header.value.trim_end_matches(['\r', '\n']).len();
        if trimmed < header.value.len() {
            tracing::warn!(instance = %context.instance, header = %header.name, "trailing newline of a header removed");
            header.value.truncate(trimmed);
        }
    }
    if let Some(basic) = &options.basic_auth {
        context.secret(&basic.password);
    }
    if let Some(password) = url::Url::parse(&options.url).ok().as_ref().and_then(url::Url::password) {
        context.secret(password);
    }
    if options.retry_wait_min.is_zero() {
        options.retry_wait_min = Duration::from_secs(1);
    }
    if options.retry_wait_max.is_zero() {
        options.retry_wait_max = Duration::from_secs(5);
    }
    context.secret(&options.signing_secret);
    options.signing_secret.split_whitespace().for_each(|secret| context.secret(secret));
    let fault = |message: String| YamlError::new(message, node.at);
    let signer = Signer::read(&options.signing_secret).map_err(fault)?;
    let envelope = Envelope::read(&options.envelope).map_err(fault)?;
    let http = context.http(node)?;
    Ok(Box::new(Webhook { options, instance: context.instance.clone(), signer, envelope, http }))
}

/// One entry of the section: what one instance sends.
#[derive(Debug)]
struct Entry {
    method: String,
    path: Option<TemplateText>,
    body: Option<TemplateText>,
    /// Ours: what was released, for `envelope: cdevents`.
    artifact: Option<TemplateText>,
}

#[derive(Debug)]
struct WebhookSection(Vec<(String, Entry)>);

fn parse_section(node: &Node) -> Result<Arc<dyn Section>, YamlError> {
    let instances: &[_] = match &node.kind {
        Kind::Null => &[],
        Kind::Map(entries) => entries,
        _ => {
            return Err(YamlError::new(
                "webhook must be a map from the names of webhooks to requests",
                node.at,
            ));
        }
    };
    let entries = instances.iter().map(|(instance, _, node)| {
        if !matches!(node.kind, Kind::Map(_) | Kind::Null) {
            let message = format!(
                "webhook.{instance} must be a map with method, path and body: the name of the \
                 webhook comes between `webhook:` and them"
            );
            return Err(YamlError::new(message, node.at));
        }
        let method = child(node, "method").map(yaml::decode::<String>).transpose()?.unwrap_or_default();
        let path = read_field(node, Field::text("path"))?;
        let body = read_field(node, Field::json("body"))?;
        let artifact = read_field(node, Field::text("artifact"))?;
        Ok((instance.clone(), Entry { method, path, body, artifact }))
    });
    Ok(Arc::new(WebhookSection(entries.collect::<Result<_, YamlError>>()?)))
}

impl Section for WebhookSection {
    fn render(&self, context: &RenderContext<'_>, earlier: Option<&Value>) -> Result<Value, RenderError> {
        let mut out = earlier.and_then(Value::as_object).cloned().unwrap_or_else(Map::new);
        let render = |field: &Option<TemplateText>| {
            field.as_ref().map(|field| context.text(field)).transpose().map(Option::unwrap_or_default)
        };
        for (instance, entry) in &self.0 {
            let (path, body) = (render(&entry.path)?, render(&entry.body)?);
            let mut request = json!({"method": entry.method, "path": path, "body": body});
            let artifact = render(&entry.artifact)?;
            if !artifact.is_empty() {
                request["artifact"] = artifact.into();
            }
            out.insert(instance.clone(), request);
        }
        Ok(Value::Object(out))
    }
}

/// What a rendered entry asks for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Rendered {
    method: String,
    path: String,
    body: String,
    artifact: String,
}

struct Webhook {
    options: Options,
    instance: Arc<str>,
    signer: Signer,
    envelope: Envelope,
    http: HttpClient,
}

impl Webhook {
    fn request(&self, delivery: &Delivery<'_>) -> Result<Rendered, SendError> {
        let mut entries: BTreeMap<String, Rendered> = delivery.section("webhook")?.unwrap_or_default();
        let mut rendered = entries
            .remove(&*self.instance)
            .unwrap_or_else(|| Rendered { body: delivery.message().to_string(), ..Rendered::default() });
        if rendered.method.is_empty() {
            // Events are posted; the reference's default fits a plain request only.
            rendered.method = if self.envelope == Envelope::None { "GET" } else { "POST" }.into();
        }
        if self.envelope != Envelope::None {
            let source = &self.options.source;
            let event =
                webhook_envelope::event(self.envelope, delivery, source, &rendered.artifact, &rendered.body);
            rendered.body = event.to_string();
        }
        // Joined as plain text, because a query in the URL has always ended up before the path.
        rendered.path = match rendered.path.as_str() {
            "" => self.options.url.clone(),
            path => format!("{}/{}", self.options.url.trim_end_matches('/'), path.trim_start_matches('/')),
        };
        Ok(rendered)
    }

    async fn attempt(&self, request: &Rendered, delivery: &Delivery<'_>) -> Result<Reply, SendError> {
        let mut http = self.http.request(&request.method, &request.path)?;
        if self.envelope != Envelope::None {
            http = http.header("Content-Type", webhook_envelope::CONTENT_TYPE)?;
        }
        let id = delivery.notice_id;
        if !id.is_empty() {
            // The same for every attempt: whoever honours it takes a notice once, even if our acknowledgement was lost.
            http = http.header(IDEMPOTENCY, id)?;
        }
        for Header { name, value } in &self.options.headers {
            // The connection decides about the host.
            if !name.eq_ignore_ascii_case("host") {
                http = http.header(name, value)?;
            }
        }
        if let Some(basic) = &self.options.basic_auth {
            http = http.basic_auth(&basic.username, &basic.password)?;
        }
        for (name, value) in self.signer.headers(delivery.notice_id, delivery.now, request.body.as_bytes()) {
            http = http.header(name, &value)?;
        }
        http.body(request.body.as_str()).send().await
    }

    /// How long to wait before the next attempt, or `None` if it is the courier's turn to decide.
    fn pause(&self, attempt: u32, result: &Result<Reply, SendError>) -> Option<Duration> {
        let allowed = match self.options.retry_max {
            0 => 3,
            max => u32::try_from(max).unwrap_or(0),
        };
        if attempt > allowed {
            return None;
        }
        let usual = self
            .options
            .retry_wait_min
            .saturating_mul(2u32.saturating_pow(attempt.saturating_sub(1)))
            .min(self.options.retry_wait_max);
        match result {
            Ok(reply) if reply.status == 429 || reply.status == 503 => match reply.retry_after() {
                // A longer wait is the courier's: it holds up this lane only, and survives a restart.
                Some(asked) => (asked <= self.options.retry_wait_max.max(LONGEST_PAUSE)).then_some(asked),
                None => Some(usual),
            },
            Ok(reply) => (reply.status >= 500 && reply.status != 501).then_some(usual),
            Err(error) => matches!(error.reason, Reason::Unreachable | Reason::TimedOut).then_some(usual),
        }
    }
}

#[async_trait]
impl Service for Webhook {
    async fn send(&self, delivery: &Delivery<'_>) -> Result<Receipt, SendError> {
        let request = self.request(delivery)?;
        let mut attempts = 1;
        let result = loop {
            let result = self.attempt(&request, delivery).await;
            match self.pause(attempts, &result) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => break result,
            }
            attempts += 1;
        };
        let (method, url) = (&request.method, &request.path);
        let gave_up = format!("{method} {url} giving up after {attempts} attempt(s)");
        match result {
            Ok(reply) if reply.is_success() => Ok(Receipt::new(reply.status_line())),
            Ok(reply) if Reason::of_status(reply.status, reply.retry_after()).is_retryable() => {
                Err(reply.failure(format!("{gave_up}: {} : {}", reply.status_line(), reply.text())))
            }
            Ok(reply) => Err(reply.failure(format!(
                "{method} {url} has failed with error code {} : {}",
                reply.status,
                reply.text()
            ))),
            Err(mut error) => {
                if error.is_retryable() {
                    error.message = format!("{gave_up}: {}", error.message);
                }
                Err(error)
            }
        }
    }
}
