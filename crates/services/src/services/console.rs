//! `console`: prints the notification, on the command line only.

use std::io::Write;

use async_trait::async_trait;
use herald_core::notification::Notification;
use serde_json::Value;

use crate::{
    failure::{Reason, SendError},
    schema,
    service::{Delivery, Receipt, Service, ServiceType},
};

/// The service type.
pub const TYPE: ServiceType = ServiceType {
    name: "console",
    configurable: false,
    parse_section: None,
    needs_section: false,
    options: schema::nothing,
    section_schema: None,
    build: |_, _| Ok(Box::new(Console)),
};

/// What a github section renders these fields to is not part of the reference's notification.
const UNPRINTED: [&str; 2] = ["repoURL", "revision"];

struct Console;

#[async_trait]
impl Service for Console {
    async fn send(&self, delivery: &Delivery<'_>) -> Result<Receipt, SendError> {
        let mut out = std::io::stdout().lock();
        out.write_all(print(delivery.notification).as_bytes()).and_then(|()| out.flush()).map_err(|e| {
            SendError::new(Reason::Unreachable, format!("can't write to standard output: {e}"))
        })?;
        Ok(Receipt::new("printed"))
    }
}

/// The notification as YAML, as the reference's command line prints it: keys sorted, empty fields left out.
pub fn print(notification: &Notification) -> String {
    let mut root = serde_json::Map::new();
    if !notification.message.is_empty() {
        root.insert("message".into(), Value::String(notification.message.clone()));
    }
    for (service_type, section) in &notification.sections {
        let mut section = section.clone();
        if let (Value::Object(fields), true) = (&mut section, service_type == "github") {
            UNPRINTED.iter().for_each(|field| drop(fields.remove(*field)));
        }
        // A section without any field is still a section: templates that have one are sent differently. Only a
        // webhook's is a list of requests, and may be empty.
        if service_type != "webhook" || section.as_object().is_some_and(|requests| !requests.is_empty()) {
            root.insert(service_type.clone(), section);
        }
    }
    crate::yaml_text::write(&Value::Object(root))
}

/// A value as YAML, in the same way.
pub fn yaml(value: &Value) -> String {
    crate::yaml_text::write(value)
}
