//! What the tests of cases share.

use std::{collections::BTreeMap, sync::Arc};

use herald_core::{
    notification::{RenderContext, RenderError, Section, ServiceTypes, TemplateText},
    yaml::{self, Node, YamlError},
};
use herald_value::Value;
use serde::Deserialize;

/// Stands for the services: a section is a map of texts, options must be a map.
pub(crate) struct Types;

#[derive(Debug)]
struct Texts(BTreeMap<String, TemplateText>);

impl Section for Texts {
    fn render(
        &self,
        context: &RenderContext<'_>,
        earlier: Option<&serde_json::Value>,
    ) -> Result<serde_json::Value, RenderError> {
        let mut all = earlier.cloned().unwrap_or_else(|| serde_json::json!({}));
        for (key, field) in &self.0 {
            all[key] = context.text(field)?.into();
        }
        Ok(all)
    }
}

impl ServiceTypes for Types {
    fn knows(&self, service_type: &str) -> bool {
        ["slack", "webhook", "email", "grafana", "teams"].contains(&service_type)
    }

    fn has_section(&self, service_type: &str) -> bool {
        ["slack", "webhook", "email", "teams"].contains(&service_type)
    }

    fn parse_section(&self, _: &str, node: &Node) -> Result<Arc<dyn Section>, YamlError> {
        Ok(Arc::new(Texts(yaml::decode(node)?)))
    }

    fn check_options(&self, service_type: &str, options: &Node) -> Result<(), YamlError> {
        #[derive(Deserialize)]
        struct Slack {
            #[allow(dead_code)]
            token: String,
        }
        if service_type == "slack" { yaml::decode::<Slack>(options).map(drop) } else { Ok(()) }
    }
}

pub(crate) fn value(json: &serde_json::Value) -> Value {
    Value::from_json(json.to_string().as_bytes()).unwrap()
}
