//! What the page shows, as data, and who knows it.

use async_trait::async_trait;
use herald_core::explain::{Answer, Explanation};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// More rows than this are on no page.
pub const MOST_ROWS: u32 = 200;

/// Why something can't be shown or done, as a sentence.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Fault {
    /// What was asked for can't be done as it was asked.
    #[error("{0}")]
    Asked(String),
    /// It is not known yet: nothing was read so far.
    #[error("{0}")]
    Early(String),
    /// Nobody can help it from the page.
    #[error("{0}")]
    Broken(String),
}

/// Which deliveries are meant. Empty fields match all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Query {
    /// Where they stand: `pending`, `delivered`, `dead-letter`, `dropped`, `muted` or `grouped`.
    pub outcome: String,
    /// The Rollout: a name, or `namespace/name`.
    pub rollout: String,
    /// The trigger.
    pub trigger: String,
    /// The service instance.
    pub service: String,
    /// The recipient.
    pub recipient: String,
    /// At most so many, the newest.
    pub limit: Option<u32>,
}

impl Query {
    /// Whether it matches everything.
    pub fn is_empty(&self) -> bool {
        let texts = [&self.outcome, &self.rollout, &self.trigger, &self.service, &self.recipient];
        texts.iter().all(|text| text.is_empty())
    }

    /// How many rows are wanted.
    pub fn rows(&self) -> u32 {
        self.limit.unwrap_or(50).clamp(1, MOST_ROWS)
    }
}

/// One line of the history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// The notice's id.
    pub id: String,
    /// Namespace of the object.
    pub namespace: String,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The trigger.
    pub trigger: String,
    /// The service instance.
    pub service: String,
    /// The recipient.
    pub recipient: String,
    /// Where it stands.
    pub outcome: String,
    /// When it became due.
    pub created: String,
    /// When it was delivered, given up or dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished: Option<String>,
    /// How long the last attempt took, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<u64>,
    /// Attempts so far.
    pub attempts: u32,
    /// The kind of the last failure, or why it was given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the other side said last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
}

/// An attempt that failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// When it began.
    pub at: String,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// The kind of failure.
    pub reason: String,
    /// What happened.
    pub answer: String,
}

/// What was rendered: the message, and a section for each service type.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Content {
    /// The message.
    pub message: String,
    /// The sections by service type.
    #[serde(flatten)]
    pub sections: Map<String, Value>,
}

/// A delivery with everything that is known of it.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Detail {
    /// Its line.
    #[serde(flatten)]
    pub delivery: Delivery,
    /// The type of its service, if it is configured.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service_type: String,
    /// The attempts that failed, in order.
    pub failures: Vec<Attempt>,
    /// What is delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// Why there is nothing to deliver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// Why it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<Answer>,
    /// What the configuration in force would send.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<Request>,
}

/// What waits, and what was given up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Queue {
    /// How many wait.
    pub waiting: u64,
    /// Since when the oldest does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest: Option<String>,
    /// Dead letters that nobody has dropped or sent again.
    pub dead: u64,
}

/// How a service does, by what is on the last pages of the history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// The instance.
    pub service: String,
    /// Its type; empty if it is not configured any more.
    pub service_type: String,
    /// `good`, `failing`, `idle`, or `broken` if it can't be used as it is configured.
    pub state: String,
    /// Deliveries lately.
    pub delivered: u32,
    /// Notices whose last attempt failed.
    pub failing: u32,
    /// Dead letters among them.
    pub dead: u32,
    /// The median of how long an attempt takes, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub typical_ms: Option<u64>,
    /// When it last took something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_delivered: Option<String>,
    /// What it said last, if it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<String>,
}

/// A step of a Rollout.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// A word or two: `20%`, `pause 5m`, `analysis`.
    pub label: String,
    /// `done`, `current` or `todo`.
    pub state: String,
}

/// A Rollout on the list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `Healthy`, `Progressing`, `Paused`, `Degraded`, or empty.
    pub phase: String,
    /// What its controller says.
    pub message: String,
    /// Its revision.
    pub revision: String,
    /// `canary` or `blueGreen`.
    pub strategy: String,
    /// The weight that its canary has, if it says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<i64>,
    /// Replicas that are ready, of how many.
    pub replicas: (i64, i64),
    /// Its images.
    pub images: Vec<String>,
    /// Its steps.
    pub steps: Vec<Step>,
    /// Whom it tells: trigger, destination, and where that is written.
    pub subscriptions: Vec<Subscription>,
}

/// A subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// The trigger.
    pub trigger: String,
    /// The destination.
    pub to: String,
    /// The annotation, or the default subscription.
    pub from: String,
}

/// A Rollout with its explanation.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RolloutDetail {
    /// Its line.
    #[serde(flatten)]
    pub rollout: Rollout,
    /// What is decided about it now: by the controller's configuration, and by that of its own namespace.
    pub explanations: Vec<Explanation>,
    /// Earlier decisions, newest first.
    pub decisions: Vec<Explanation>,
}

/// Something that looks wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// `error`, `warning` or `note`.
    pub severity: String,
    /// The code of the diagnostic.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The key of the ConfigMap.
    pub key: String,
    /// The line in the key's value, from 1; 0 if unknown.
    pub line: u32,
    /// The column.
    pub column: u32,
}

/// An entry of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Its key in the ConfigMap.
    pub key: String,
    /// `trigger`, `template`, `service` or `other`.
    pub group: String,
    /// Whether the built-in catalog has it, not the ConfigMap.
    pub built_in: bool,
    /// Its text, secrets masked.
    pub source: String,
}

/// The configuration in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    /// The ConfigMap.
    pub object: String,
    /// The file it came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Its entries.
    pub entries: Vec<Entry>,
    /// What looks wrong.
    pub findings: Vec<Finding>,
}

/// What a preview can be made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choices {
    /// Templates: name and source.
    pub templates: Vec<Template>,
    /// Objects: a word such as `live:shop/checkout` or `sample:canary-paused`.
    pub objects: Vec<String>,
}

/// A template.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Template {
    /// Its name.
    pub name: String,
    /// Its text.
    pub source: String,
    /// Whether it is of the catalog.
    pub built_in: bool,
}

/// What to preview.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ask {
    /// The template's name.
    pub template: String,
    /// Its text; empty for that of the configuration.
    pub source: String,
    /// One of [`Choices::objects`], or `paste`.
    pub object: String,
    /// The pasted object, as YAML or JSON.
    pub pasted: String,
}

/// A request as it would be sent, secrets masked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The address.
    pub url: String,
    /// The headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

/// What a service would show.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct View {
    /// The service type.
    pub service_type: String,
    /// What was rendered for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// What would be sent.
    pub requests: Vec<Request>,
    /// Why there is nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What the service would cut or refuse.
    pub warnings: Vec<String>,
}

/// A preview.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Preview {
    /// For each service.
    pub views: Vec<View>,
    /// What looks wrong about the template.
    pub findings: Vec<Finding>,
    /// Why there is no preview at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Whoever knows what the page shows. Nothing that it gives holds a secret.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// The matching deliveries, newest first.
    async fn deliveries(&self, query: &Query) -> Result<Vec<Delivery>, Fault>;
    /// One delivery.
    async fn delivery(&self, id: &str) -> Result<Option<Detail>, Fault>;
    /// What waits.
    async fn queue(&self) -> Result<Queue, Fault>;
    /// How the services do.
    async fn services(&self) -> Result<Vec<Health>, Fault>;
    /// All Rollouts.
    async fn rollouts(&self) -> Result<Vec<Rollout>, Fault>;
    /// One Rollout.
    async fn rollout(&self, namespace: &str, name: &str) -> Result<Option<RolloutDetail>, Fault>;
    /// The configuration in force.
    async fn configuration(&self) -> Result<Configuration, Fault>;
    /// What can be previewed.
    async fn choices(&self) -> Result<Choices, Fault>;
    /// A preview.
    async fn preview(&self, ask: Ask) -> Result<Preview, Fault>;
    /// Queues deliveries again; gives how many.
    async fn resend(&self, ids: &[String]) -> Result<usize, Fault>;
    /// Drops deliveries that wait or are dead letters; gives how many.
    async fn drop_notices(&self, ids: &[String]) -> Result<usize, Fault>;
}
