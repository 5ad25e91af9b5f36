//! Templates to a notification.

use std::collections::BTreeMap;

use herald_value::Value;

use super::Config;
use crate::{
    names::{Destination, TemplateName},
    notification::{Notification, RenderContext, RenderError},
    variables,
};

impl Config {
    /// Renders templates in order into one notification for a destination: a later message replaces an earlier
    /// one if it is not empty, sections merge by their own rules. Only the section of the destination's service
    /// type is rendered; all of them where that type shows notifications whole.
    pub fn render(
        &self,
        send: &[TemplateName],
        vars: &Value,
        destination: &Destination,
        now: jiff::Timestamp,
    ) -> Result<Notification, RenderError> {
        let service_type = match self.service(destination.service.as_str()) {
            Some(service) => &*service.service_type,
            None => destination.service.as_str(),
        };
        let vars = variables::with(
            vars,
            &[
                ("recipient", Value::str(destination.recipient.as_str())),
                ("serviceType", Value::str(destination.service.as_str())),
            ],
        );
        let mut message = String::new();
        let mut sections: BTreeMap<String, serde_json::Value> = BTreeMap::new();
        for name in send {
            let template = self
                .template(name.as_str())
                .ok_or_else(|| RenderError::Section(format!("there is no usable template `{name}`")))?;
            let context =
                RenderContext { template: name.as_str(), vars: &vars, limits: self.parts.limits, now };
            if let Some(text) = &template.message {
                let rendered = context.text(text).map_err(|error| in_template(error, name))?;
                if !rendered.is_empty() {
                    message = rendered;
                }
            }
            for (kind, section) in &template.sections {
                if kind == service_type || service_type == "console" {
                    let earlier = sections.get(kind);
                    let rendered =
                        section.render(&context, earlier).map_err(|error| in_template(error, name))?;
                    sections.insert(kind.clone(), rendered);
                }
            }
        }
        Ok(Notification { message, sections })
    }
}

fn in_template(error: RenderError, name: &TemplateName) -> RenderError {
    match error {
        RenderError::Template(mut error) => {
            name.as_str().clone_into(&mut error.template);
            RenderError::Template(error)
        }
        RenderError::Section(message) => RenderError::Section(format!("template `{name}`: {message}")),
    }
}
