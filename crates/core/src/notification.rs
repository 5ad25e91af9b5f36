//! A notification: what templates make and services deliver.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, OnceLock},
};

use herald_template::{Template, TemplateError};
use herald_value::{Value, limits::Limits};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::yaml::{Located, Node, YamlError};

/// A rendered notification: plain data, so that it can wait in the outbox and be shown.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Notification {
    /// The message, empty if no template had one.
    #[serde(default)]
    pub message: String,
    /// What each service type's own section became, by service type, in the shape of the reference's notification.
    #[serde(flatten)]
    pub sections: BTreeMap<String, serde_json::Value>,
}

impl Notification {
    /// The section of a service type, decoded; `None` if no template had one.
    pub fn section<T: DeserializeOwned>(&self, service_type: &str) -> Option<Result<T, serde_json::Error>> {
        self.sections.get(service_type).map(|section| T::deserialize(section))
    }
}

/// A template field of a section: known to compile since configuration was loaded, and compiled when it is first used.
/// Most of what a configuration holds never is: of the built-in templates a few, in the formats of one or two services.
#[derive(Clone, Debug)]
pub struct TemplateText {
    compiled: Arc<OnceLock<Template>>,
    /// Its source.
    pub source: Arc<str>,
    /// Where the source begins in the ConfigMap's value.
    pub at: crate::yaml::Position,
}

impl<'de> Deserialize<'de> for TemplateText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Located::<String>::deserialize(deserializer)?;
        compile(&text.value).map_err(|error| {
            let message = match &error.hint {
                Some(hint) => format!("{} ({hint})", error.message),
                None => error.message.clone(),
            };
            let at = text.at.within(error.line, error.column);
            serde::de::Error::custom(crate::yaml::message_at(message, at))
        })?;
        Ok(TemplateText { compiled: Arc::default(), source: text.value.into(), at: text.at })
    }
}

impl TemplateText {
    fn template(&self) -> Result<&Template, TemplateError> {
        match self.compiled.get() {
            Some(template) => Ok(template),
            None => compile(&self.source).map(|template| self.compiled.get_or_init(|| template)),
        }
    }
}

fn compile(source: &str) -> Result<Template, TemplateError> {
    Template::parse("", source, Limits::DEFAULT)
}

/// What a section needs in order to render.
#[derive(Clone, Copy, Debug)]
pub struct RenderContext<'a> {
    /// Name of the template of the ConfigMap.
    pub template: &'a str,
    /// All variables, `recipient` and `serviceType` included.
    pub vars: &'a Value,
    /// What one render may use.
    pub limits: Limits,
    /// The moment of rendering.
    pub now: jiff::Timestamp,
}

impl RenderContext<'_> {
    /// Renders one field. Bytes that are not UTF-8 become U+FFFD, as no service can carry them.
    pub fn text(&self, field: &TemplateText) -> Result<String, RenderError> {
        let mut out = Vec::new();
        let rendered =
            field.template().and_then(|template| template.render(self.vars, self.limits, &mut out));
        rendered.map_err(|mut error| {
            // The place in the ConfigMap's value is what people look for.
            if !field.at.is_unknown() {
                let at = field.at.within(error.line, error.column);
                (error.line, error.column) = (at.line, at.column);
            }
            error
        })?;
        Ok(String::from_utf8(out).unwrap_or_else(|e| herald_value::lossy(e.as_bytes()).into_owned()))
    }
}

/// Why a notification could not be rendered.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RenderError {
    /// A template field failed.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The rendered texts are not what the service needs (bad JSON, a missing label, …).
    #[error("{0}")]
    Section(String),
}

/// The compiled section of one template for one service type.
pub trait Section: fmt::Debug + Send + Sync {
    /// Renders this section over what earlier templates of the same notification left (`services.md` 1.3).
    fn render(
        &self,
        context: &RenderContext<'_>,
        earlier: Option<&serde_json::Value>,
    ) -> Result<serde_json::Value, RenderError>;

    /// What can't work whatever the variables are, such as a field without actions that should hold JSON and does
    /// not. The section is used nevertheless: a later template may overwrite that field.
    fn problems(&self) -> Vec<YamlError> {
        Vec::new()
    }
}

/// What the core asks of the services when it loads configuration. The services' crate implements it.
pub trait ServiceTypes: Send + Sync {
    /// Whether there is such a service type, and whether it can be configured.
    fn knows(&self, service_type: &str) -> bool;
    /// The keys of a template that belong to service types with a section of their own.
    fn has_section(&self, service_type: &str) -> bool;
    /// Compiles a template's section.
    fn parse_section(&self, service_type: &str, node: &Node) -> Result<Arc<dyn Section>, YamlError>;
    /// Checks the options of an instance, secrets already filled in.
    fn check_options(&self, service_type: &str, options: &Node) -> Result<(), YamlError>;
    /// Why an instance with these options, which are known to be good, can't deliver to a recipient.
    fn check_recipient(&self, _service_type: &str, _options: &Node, _recipient: &str) -> Result<(), String> {
        Ok(())
    }
    /// What the options of a service type may be, as JSON Schema.
    fn options_schema(&self, _service_type: &str) -> Option<serde_json::Value> {
        None
    }
    /// What the section of a service type may hold, as JSON Schema.
    fn section_schema(&self, _service_type: &str) -> Option<serde_json::Value> {
        None
    }
    /// The names of all service types that can be configured.
    fn type_names(&self) -> Vec<&'static str> {
        Vec::new()
    }
    /// Whether a service type delivers nothing without its section in a template.
    fn needs_section(&self, _service_type: &str) -> bool {
        false
    }
}
