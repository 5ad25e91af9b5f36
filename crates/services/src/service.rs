//! The contract that every delivery service keeps.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use herald_core::{
    notification::{Notification, Section},
    yaml::{Node, YamlError},
};
use jiff::Timestamp;

use crate::{
    failure::SendError,
    handles::{Handles, MemoryHandles},
    http::{HttpClient, HttpFactory, HttpOptions},
    redact::Redactor,
    schema::Shape,
};

/// Compiles a section of a template.
pub type ParseSection = fn(&Node) -> Result<Arc<dyn Section>, YamlError>;

/// Makes an instance from its options.
pub type Build = fn(&Node, &Context) -> Result<Box<dyn Service>, YamlError>;

/// A kind of service: one constant `TYPE` in each file of `services/`.
pub struct ServiceType {
    /// The name in `service.<type>.<instance>`, and the key of its section in a template.
    pub name: &'static str,
    /// Whether a ConfigMap may configure it. `console` belongs to the command line alone.
    pub configurable: bool,
    /// Compiles its section of a template; `None` if templates have no section for it.
    ///
    /// What the section renders has the shape of the reference's notification, and is what `console` prints:
    /// empty fields are left out, except those that services.md 2.6 lists.
    pub parse_section: Option<ParseSection>,
    /// Whether it delivers nothing without its section.
    pub needs_section: bool,
    /// What its options may be, from the type that they are decoded into.
    pub options: fn() -> Shape,
    /// What its section may hold, from the table of fields that it is read by.
    pub section_schema: Option<fn() -> Shape>,
    /// Makes an instance from its options, secrets already filled in. It must do no I/O, as loading a
    /// configuration calls it only to check the options.
    pub build: Build,
}

impl fmt::Debug for ServiceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServiceType").field(&self.name).finish()
    }
}

/// A configured instance that can send.
#[async_trait]
pub trait Service: Send + Sync {
    /// Sends one notification to one recipient. Bounded in time by the service itself.
    async fn send(&self, delivery: &Delivery<'_>) -> Result<Receipt, SendError>;

    /// Says why nothing can be delivered to a recipient, as far as its form and the options tell it. Asked when a
    /// subscription is read, and before each delivery.
    fn check_recipient(&self, _recipient: &str) -> Result<(), SendError> {
        Ok(())
    }
}

/// The check of services that send to whom the recipient names.
pub(crate) fn not_empty(recipient: &str, what: &str) -> Result<(), SendError> {
    match recipient.trim().is_empty() {
        true => Err(SendError::misconfigured(format!("the recipient is empty: it must name {what}"))),
        false => Ok(()),
    }
}

/// What instances of services share, made once by the program.
#[derive(Clone, Default)]
pub struct Environment {
    /// The maker of HTTP clients.
    pub http: Arc<HttpFactory>,
    /// What services remember of earlier messages.
    pub handles: Arc<SharedHandles>,
    /// The secret values of this configuration.
    pub redactor: Arc<Redactor>,
    /// Whether the configuration comes from a tenant, so that addresses inside the cluster are refused.
    pub guarded: bool,
}

/// The handles of an [`Environment`]: in memory unless the program brings a durable store.
pub struct SharedHandles(pub Box<dyn Handles>);

impl Default for SharedHandles {
    fn default() -> Self {
        SharedHandles(Box::new(MemoryHandles::default()))
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").field("guarded", &self.guarded).finish_non_exhaustive()
    }
}

/// What an instance is built with.
#[derive(Clone, Debug)]
pub struct Context {
    /// The service's type.
    pub service_type: &'static str,
    /// The instance's name; subscriptions and the section below `webhook:` use it.
    pub instance: Arc<str>,
    /// What all instances share.
    pub environment: Environment,
}

impl Context {
    /// The HTTP client of this instance. Reads the common options (services.md 1.5) from the same node; services
    /// for which they are not documented accept them too.
    pub fn http(&self, options: &Node) -> Result<HttpClient, YamlError> {
        let http = HttpOptions::read(options)?;
        let environment = &self.environment;
        environment
            .http
            .client(
                self.service_type,
                &self.instance,
                http,
                environment.guarded,
                environment.redactor.clone(),
            )
            .map_err(|message| YamlError { message, at: options.at })
    }

    /// Keeps a value out of errors and logs from now on: call it for every option that is usually a secret.
    pub fn secret(&self, value: &str) {
        self.environment.redactor.add(value);
    }

    /// The same for a URL that is a credential by itself, such as that of a chat's webhook.
    pub fn secret_url(&self, url: &str) {
        self.environment.redactor.add_url(url);
    }

    /// The handles of earlier messages; their keys name this instance.
    pub fn handles(&self) -> Arc<SharedHandles> {
        self.environment.handles.clone()
    }
}

/// The object that a notice is about.
#[derive(Clone, Copy, Debug, Default)]
pub struct ObjectRef<'a> {
    /// Its kind, such as `Rollout`.
    pub kind: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
}

/// One notification on its way to one recipient.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// The rendered notification.
    pub notification: &'a Notification,
    /// The recipient as the subscription names it, maybe empty.
    pub recipient: &'a str,
    /// The notice's id: the same for every attempt, so usable as idempotency key.
    pub notice_id: &'a str,
    /// The trigger that made it due; empty on the command line.
    pub trigger: &'a str,
    /// The object it is about.
    pub object: ObjectRef<'a>,
    /// The moment of this attempt.
    pub now: Timestamp,
}

impl<'a> Delivery<'a> {
    /// The message.
    pub fn message(&self) -> &'a str {
        &self.notification.message
    }

    /// The section of a service type, decoded; `None` if no template had one.
    pub fn section<T: serde::de::DeserializeOwned>(
        &self,
        service_type: &str,
    ) -> Result<Option<T>, SendError> {
        self.notification.section(service_type).transpose().map_err(|e| {
            SendError::misconfigured(format!("the notification's {service_type} section is invalid: {e}"))
        })
    }
}

/// The record that the other side took a notification.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// What the other side said, shortly: an id, a status.
    pub detail: String,
    /// What was done differently from what the template asked for, such as `text cut at 4096 characters`.
    pub warnings: Vec<String>,
}

impl Receipt {
    /// A receipt without warnings.
    pub fn new(detail: impl Into<String>) -> Self {
        Receipt { detail: detail.into(), warnings: Vec::new() }
    }
}
