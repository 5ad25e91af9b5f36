//! `console`: prints the notification, on the command line only.

use std::io::Write;

use async_trait::async_trait;
use herald_core::notification::Notification;
use serde_json::Value;

use crate::{
    failure::{Reason, SendError},
    service::{Delivery, Receipt, Service, ServiceType},
};

/// The service type.
pub const TYPE: ServiceType = ServiceType {
    name: "console",
    configurable: false,
    parse_section: None,
    build: |_, _| Ok(Box::new(Console)),
};

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
        // A section without any field is still a section: templates that have one are sent differently.
        root.insert(service_type.clone(), section.clone());
    }
    crate::yaml_text::write(&Value::Object(root))
}

/// A value as YAML, in the same way.
pub fn yaml(value: &Value) -> String {
    crate::yaml_text::write(value)
}
