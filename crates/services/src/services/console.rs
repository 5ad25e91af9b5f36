//! console: being built.

use async_trait::async_trait;

use crate::service::{Delivery, Receipt, Service, ServiceType};

/// The service type.
pub const TYPE: ServiceType = ServiceType {
    name: "console",
    configurable: true,
    parse_section: None,
    build: |_, _| Ok(Box::new(Todo)),
};

struct Todo;

#[async_trait]
impl Service for Todo {
    async fn send(&self, _: &Delivery<'_>) -> Result<Receipt, crate::SendError> {
        Ok(Receipt::default())
    }
}

/// The notification as YAML.
pub fn print(_: &herald_core::notification::Notification) -> String {
    String::new()
}
