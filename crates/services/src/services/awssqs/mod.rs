//! Amazon SQS (services.md 2.2). The recipient is a queue's name; empty: the option `queue`.

mod credentials;
mod sigv4;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use herald_core::{
    notification::{RenderContext, RenderError, Section, TemplateText},
    yaml::{self, Node, YamlError},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;

use self::credentials::Credentials;
use crate::{
    failure::{Reason, SendError},
    http::HttpClient,
    limit, schema,
    section::{Field, child, read_field, template_map},
    service::{Context, Delivery, Receipt, Service, ServiceType},
};

/// The service type.
pub const TYPE: ServiceType = ServiceType {
    name: "awssqs",
    configurable: true,
    parse_section: Some(parse_section),
    needs_section: false,
    options: schema::of::<Options>,
    section_schema: Some(|| {
        schema::fields(&[Field::text("messageGroupId")])
            .with("messageAttributes", schema::templates("Attributes of the message."))
    }),
    build,
};

/// SQS refuses more, attributes included.
const LARGEST_MESSAGE: usize = 256 * 1024;

/// SQS refuses more attributes.
const MOST_ATTRIBUTES: usize = 10;

/// SQS refuses longer ids.
const LONGEST_ID: usize = 128;

#[derive(Debug)]
struct SqsSection {
    group: Option<TemplateText>,
    attributes: Vec<(String, TemplateText)>,
}

fn parse_section(node: &Node) -> Result<Arc<dyn Section>, YamlError> {
    Ok(Arc::new(SqsSection {
        group: read_field(node, Field::text("messageGroupId"))?,
        attributes: template_map(child(node, "messageAttributes"))?,
    }))
}

impl Section for SqsSection {
    fn render(&self, context: &RenderContext<'_>, earlier: Option<&Value>) -> Result<Value, RenderError> {
        let mut out = match earlier {
            Some(Value::Object(earlier)) => earlier.clone(),
            _ => Map::from_iter([("messageAttributes".to_string(), Value::Null)]),
        };
        if !self.attributes.is_empty() {
            let rendered: Result<Map<_, _>, RenderError> = self
                .attributes
                .iter()
                .map(|(name, value)| Ok((name.clone(), context.text(value)?.into())))
                .collect();
            out.insert("messageAttributes".into(), rendered?.into());
        }
        let group = self.group.as_ref().map(|group| context.text(group)).transpose()?.unwrap_or_default();
        if !group.is_empty() {
            out.insert("messageGroupId".into(), group.into());
        }
        Ok(out.into())
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Rendered {
    message_group_id: String,
    message_attributes: Option<HashMap<String, String>>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default)]
struct Options {
    /// Name of the queue, for subscriptions without a recipient.
    queue: String,
    /// AWS region; default that of the environment.
    region: String,
    /// Access key id; default the credentials of the environment.
    key: String,
    /// Secret access key.
    secret: String,
    /// Account of the queue's owner.
    account: String,
    /// Address of the API, such as that of localstack.
    #[serde(rename = "endpointUrl")]
    endpoint_url: String,
    /// Ours: another name of `endpointUrl`, the one that all services share.
    #[serde(rename = "apiURL")]
    api_url: String,
}

struct Sqs {
    options: Options,
    guarded: bool,
    http: HttpClient,
    kept: Mutex<Option<Credentials>>,
    queue_urls: Mutex<HashMap<String, String>>,
}

fn build(node: &Node, context: &Context) -> Result<Box<dyn Service>, YamlError> {
    let mut options: Options = yaml::decode(node)?;
    context.secret(&options.secret);
    if options.endpoint_url.is_empty() {
        options.endpoint_url = std::mem::take(&mut options.api_url);
    }
    if !options.endpoint_url.is_empty() && Url::parse(&options.endpoint_url).is_err() {
        let message = "endpointUrl is not a URL such as https://sqs.eu-west-1.amazonaws.com";
        return Err(YamlError::new(message, node.at));
    }
    Ok(Box::new(Sqs {
        options,
        guarded: context.environment.guarded,
        http: context.http(node)?,
        kept: Mutex::default(),
        queue_urls: Mutex::default(),
    }))
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The domain of a region's endpoints.
fn domain(region: &str) -> &'static str {
    if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" }
}

impl Sqs {
    async fn region(&self) -> Result<String, SendError> {
        let given = Some(self.options.region.clone()).filter(|region| !region.is_empty());
        if let Some(region) = given.or_else(|| env("AWS_DEFAULT_REGION")).or_else(|| env("AWS_REGION")) {
            return Ok(region);
        }
        credentials::profile_value(env, true, "region")
            .await
            .ok_or_else(|| SendError::misconfigured("region is missing: set it, or AWS_REGION"))
    }

    async fn credentials(&self, delivery: &Delivery<'_>, region: &str) -> Result<Credentials, SendError> {
        let Options { key, secret, .. } = &self.options;
        if !key.is_empty() && !secret.is_empty() {
            return Ok(Credentials { key: key.clone(), secret: secret.clone(), ..Credentials::default() });
        }
        // What surrounds the process belongs to the operator.
        if self.guarded {
            return Err(SendError::misconfigured("key and secret are required in a tenant's configuration"));
        }
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(kept) = kept.filter(|kept| kept.are_fresh(delivery.now)) {
            return Ok(kept);
        }
        let found = credentials::find(env, &self.http, region).await?;
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(found.clone());
        Ok(found)
    }

    /// Calls an action of the API.
    async fn call(&self, delivery: &Delivery<'_>, action: &str, body: &Value) -> Result<Value, SendError> {
        let region = self.region().await?;
        let credentials = self.credentials(delivery, &region).await?;
        let url = match self.options.endpoint_url.as_str() {
            "" => format!("https://sqs.{region}.{}/", domain(&region)),
            url => url.to_string(),
        };
        let url =
            Url::parse(&url).map_err(|_| SendError::misconfigured(format!("{region:?} is not a region")))?;
        let body = body.to_string();
        let target = format!("AmazonSQS.{action}");
        let headers = [("content-type", "application/x-amz-json-1.0"), ("x-amz-target", target.as_str())];
        let scope = sigv4::Scope { region: &region, service: "sqs", now: delivery.now };
        let signed = sigv4::sign(&scope, &credentials, "POST", &url, &headers, body.as_bytes());
        let mut request = self.http.post(url.as_str())?;
        for (name, value) in headers.into_iter().chain(signed.iter().map(|(n, v)| (*n, v.as_str()))) {
            request = request.header(name, value)?;
        }
        let reply = request.body(body).send().await?;
        let answer: Value = reply.json().unwrap_or_default();
        if reply.is_success() {
            return Ok(answer);
        }
        let code = answer["__type"].as_str().unwrap_or_default().rsplit('#').next().unwrap_or_default();
        let why = answer["message"].as_str().or(answer["Message"].as_str());
        let message = format!(
            "operation error SQS: {action}, https response error StatusCode: {}, {code}: {}",
            reply.status,
            why.map_or_else(|| reply.text(), str::to_string)
        );
        let error = reply.failure(message);
        Err(match code {
            "ThrottlingException" | "RequestThrottled" | "KmsThrottled" | "OverLimit" => {
                error.as_reason(Reason::Throttled)
            }
            // Worth another attempt, with new credentials.
            "ExpiredToken" | "ExpiredTokenException" => {
                *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = None;
                error.as_reason(Reason::ServerError)
            }
            _ => error,
        })
    }

    async fn queue_url(&self, delivery: &Delivery<'_>, queue: &str) -> Result<String, SendError> {
        let known = self.queue_urls.lock().unwrap_or_else(PoisonError::into_inner).get(queue).cloned();
        if let Some(url) = known {
            return Ok(url);
        }
        let mut body = json!({"QueueName": queue});
        if !self.options.account.is_empty() {
            body["QueueOwnerAWSAccountId"] = self.options.account.as_str().into();
        }
        let answer = self.call(delivery, "GetQueueUrl", &body).await?;
        let Some(url) = answer["QueueUrl"].as_str() else {
            return Err(SendError::new(Reason::BadAnswer, "the answer to GetQueueUrl has no QueueUrl"));
        };
        let mut known = self.queue_urls.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(queue.to_string(), url.to_string());
        Ok(url.to_string())
    }
}

/// What SQS takes as an id: up to 128 letters, digits and punctuation.
fn id(text: &str) -> String {
    match text.len() <= LONGEST_ID && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => text.to_string(),
        false => sigv4::hash(text.as_bytes()),
    }
}

/// SQS takes the characters that XML takes; others become U+FFFD.
fn allowed(text: &str) -> String {
    let good = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..);
    text.chars().map(|c| if good(c) { c } else { char::REPLACEMENT_CHARACTER }).collect()
}

#[async_trait]
impl Service for Sqs {
    fn check_recipient(&self, recipient: &str) -> Result<(), SendError> {
        match recipient.is_empty() && self.options.queue.is_empty() {
            true => Err(SendError::misconfigured("neither the recipient nor the option queue names a queue")),
            false => Ok(()),
        }
    }

    async fn send(&self, delivery: &Delivery<'_>) -> Result<Receipt, SendError> {
        let queue = if delivery.recipient.is_empty() { &self.options.queue } else { delivery.recipient };
        let section = delivery.section::<Rendered>(TYPE.name)?.unwrap_or_default();
        let mut receipt = Receipt::default();
        let mut attributes = Map::new();
        let mut room = LARGEST_MESSAGE;
        let mut given: Vec<_> = section.message_attributes.unwrap_or_default().into_iter().collect();
        given.sort();
        // SQS refuses an attribute without value.
        for (name, value) in given.into_iter().filter(|(_, value)| !value.is_empty()) {
            let size = name.len() + "String".len() + value.len();
            if attributes.len() >= MOST_ATTRIBUTES || size > room {
                receipt.warnings.push(format!("attribute {name} left out: SQS takes no more"));
                continue;
            }
            room -= size;
            attributes.insert(name, json!({"DataType": "String", "StringValue": allowed(&value)}));
        }
        let mut message = allowed(delivery.message());
        if limit::cut_bytes(&mut message, room) {
            receipt.warnings.push(format!("message cut at {room} bytes"));
        }
        let mut body = json!({"MessageBody": message});
        if queue.ends_with(".fifo") {
            // A FIFO queue takes no delay for one message, and needs a group.
            body["MessageDeduplicationId"] = id(delivery.notice_id).into();
            let object = delivery.object;
            body["MessageGroupId"] =
                id(&format!("{}/{}/{}", object.kind, object.namespace, object.name)).into();
        } else {
            body["DelaySeconds"] = 10.into();
        }
        if !section.message_group_id.is_empty() {
            body["MessageGroupId"] = section.message_group_id.into();
        }
        if !attributes.is_empty() {
            body["MessageAttributes"] = attributes.into();
        }
        body["QueueUrl"] = self.queue_url(delivery, queue).await?.into();
        let answer = match self.call(delivery, "SendMessage", &body).await {
            Ok(answer) => answer,
            Err(error) => {
                // The queue may have been made anew elsewhere; the next attempt asks for its URL again.
                self.queue_urls.lock().unwrap_or_else(PoisonError::into_inner).remove(queue);
                return Err(error);
            }
        };
        receipt.detail = answer["MessageId"].as_str().unwrap_or_default().to_string();
        Ok(receipt)
    }
}
