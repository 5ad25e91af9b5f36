//! The list of services, and instances made from it.

use std::sync::Arc;

use herald_core::{
    notification::{Section, ServiceTypes},
    yaml::{Kind, Node, YamlError},
};

use crate::{
    failure::SendError,
    redact::Redactor,
    service::{Context, Delivery, Environment, Receipt, Service, ServiceType},
    services,
};

/// Every service, by name. A new one is a new file and one line here.
pub static SERVICES: &[&ServiceType] = &[
    &services::alertmanager::TYPE,
    &services::awssqs::TYPE,
    &services::console::TYPE,
    &services::discord::TYPE,
    &services::email::TYPE,
    &services::gcppubsub::TYPE,
    &services::github::TYPE,
    &services::gitlab::TYPE,
    &services::googlechat::TYPE,
    &services::grafana::TYPE,
    &services::mattermost::TYPE,
    &services::nats::TYPE,
    &services::newrelic::TYPE,
    &services::opsgenie::TYPE,
    &services::pagerduty::TYPE,
    &services::pagerdutyv2::TYPE,
    &services::pushover::TYPE,
    &services::rocketchat::TYPE,
    &services::slack::TYPE,
    &services::teams::TYPE,
    &services::teams_workflows::TYPE,
    &services::telegram::TYPE,
    &services::webex::TYPE,
    &services::webhook::TYPE,
];

/// The services that a program knows.
#[derive(Clone, Copy, Debug)]
pub struct Registry {
    types: &'static [&'static ServiceType],
}

impl Registry {
    /// All services of [`SERVICES`].
    pub fn standard() -> Registry {
        Registry { types: SERVICES }
    }

    /// The names of all services that a ConfigMap may configure.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.types.iter().filter(|kind| kind.configurable).map(|kind| kind.name)
    }

    /// The service of a name.
    pub fn find(&self, service_type: &str) -> Option<&'static ServiceType> {
        self.types.iter().copied().find(|kind| kind.name == service_type)
    }

    fn known(&self, service_type: &str, node: &Node) -> Result<&'static ServiceType, YamlError> {
        self.find(service_type).ok_or_else(|| YamlError {
            message: format!("service type '{service_type}' is not supported"),
            at: node.at,
        })
    }

    /// Makes an instance from its options, secrets already filled in. Does no I/O.
    pub fn build(
        &self,
        service_type: &str,
        instance: &str,
        options: &Node,
        environment: &Environment,
    ) -> Result<Instance, YamlError> {
        let kind = self.known(service_type, options)?;
        let context =
            Context { service_type: kind.name, instance: instance.into(), environment: environment.clone() };
        let service = (kind.build)(options, &context).map_err(|error| YamlError {
            message: environment.redactor.clean(&error.message),
            at: error.at,
        })?;
        Ok(Instance {
            service_type: kind.name,
            name: context.instance,
            redactor: environment.redactor.clone(),
            service: service.into(),
        })
    }
}

impl ServiceTypes for Registry {
    fn knows(&self, service_type: &str) -> bool {
        self.find(service_type).is_some_and(|kind| kind.configurable)
    }

    fn has_section(&self, service_type: &str) -> bool {
        self.find(service_type).is_some_and(|kind| kind.parse_section.is_some())
    }

    fn parse_section(&self, service_type: &str, node: &Node) -> Result<Arc<dyn Section>, YamlError> {
        match self.known(service_type, node)?.parse_section {
            Some(parse) => match (parse(node)?, &node.kind) {
                (section, Kind::Map(_) | Kind::Null) => Ok(section),
                _ => {
                    let message = format!("{service_type} must be a map, not {}", node.describe());
                    Err(YamlError::new(message, node.at))
                }
            },
            None => Err(YamlError {
                message: format!("service type '{service_type}' has no section in templates"),
                at: node.at,
            }),
        }
    }

    fn check_options(&self, service_type: &str, options: &Node) -> Result<(), YamlError> {
        self.build(service_type, service_type, options, &Environment::default()).map(drop)
    }

    fn check_recipient(&self, service_type: &str, options: &Node, recipient: &str) -> Result<(), String> {
        let environment = Environment::default();
        let built = self.build(service_type, service_type, options, &environment).map_err(|e| e.message)?;
        let checked = built.service.check_recipient(recipient);
        checked.map_err(|error| environment.redactor.clean(&error.message))
    }

    fn options_schema(&self, service_type: &str) -> Option<serde_json::Value> {
        let kind = self.find(service_type).filter(|kind| kind.configurable)?;
        Some((kind.options)().also(crate::schema::of::<crate::http::HttpOptions>()).into_value())
    }

    fn section_schema(&self, service_type: &str) -> Option<serde_json::Value> {
        self.find(service_type)?.section_schema.map(|schema| schema().into_value())
    }

    fn type_names(&self) -> Vec<&'static str> {
        self.names().collect()
    }

    fn needs_section(&self, service_type: &str) -> bool {
        self.find(service_type).is_some_and(|kind| kind.needs_section)
    }
}

/// A configured service under its name. Cheap to clone.
#[derive(Clone)]
pub struct Instance {
    service_type: &'static str,
    name: Arc<str>,
    redactor: Arc<Redactor>,
    service: Arc<dyn Service>,
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Instance").field(&self.service_type).field(&self.name).finish()
    }
}

impl Instance {
    /// The type of the service.
    pub fn service_type(&self) -> &'static str {
        self.service_type
    }

    /// The instance's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sends one notification. A failure names the instance and holds no secret.
    pub async fn send(&self, delivery: &Delivery<'_>) -> Result<Receipt, SendError> {
        let clean = |text: &str| self.redactor.clean(text);
        let sent = match self.service.check_recipient(delivery.recipient) {
            Ok(()) => self.service.send(delivery).await,
            Err(error) => Err(error),
        };
        match sent {
            Ok(receipt) => Ok(Receipt {
                detail: clean(&receipt.detail),
                warnings: receipt.warnings.iter().map(|warning| clean(warning)).collect(),
            }),
            Err(mut error) => {
                error.message = clean(&error.message);
                error.sender = Some((self.service_type, self.name.clone()));
                Err(error)
            }
        }
    }
}
