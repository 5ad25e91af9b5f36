//! From the courier to a service.

use std::sync::Arc;

use async_trait::async_trait;
use herald_outbox::{Attempted, Deliverer, FailureClass, Notice};
use herald_services::{Delivery, ObjectRef, Reason};
use tokio::sync::watch;

use super::{configuration::Active, console, digest, payload};
use crate::election::Allowed;

/// Delivers with the services of the configuration in force.
pub(crate) struct Services {
    pub(crate) active: watch::Receiver<Arc<Active>>,
    /// Whether this replica may act for an object, asked right before a request.
    pub(crate) allowed: Option<Allowed>,
}

#[async_trait]
impl Deliverer for Services {
    fn digest(&self, notices: &[Notice]) -> Option<Vec<u8>> {
        let active = self.active.borrow().clone();
        let first = notices.first()?;
        let (owner, _) = active.owner(&first.service)?;
        digest::payload(&owner.config, notices, jiff::Timestamp::now())
    }

    async fn deliver(&self, notice: &Notice, _attempt: u32) -> Attempted {
        if self.allowed.as_ref().is_some_and(|allowed| !allowed.holds(&notice.object.uid)) {
            return Attempted::Postponed;
        }
        let active = self.active.borrow().clone();
        let notification = match payload::read(&notice.payload) {
            Ok(notification) => notification,
            Err(message) => return Attempted::failed(FailureClass::Misconfigured, message),
        };
        let found = active.owner(&notice.service).and_then(|(owner, name)| owner.services.get(name));
        let Some(instance) = found else {
            let message = format!("service `{}` is not configured any more", notice.service);
            return Attempted::failed(FailureClass::Misconfigured, message);
        };
        if instance.service_type() == "console" {
            return match console::print(notice, &notification) {
                Ok(()) => Attempted::Delivered { detail: "printed".into() },
                Err(e) => Attempted::failed(
                    FailureClass::Unreachable,
                    format!("can't write to standard output: {e}"),
                ),
            };
        }
        let delivery = Delivery {
            notification: &notification,
            recipient: &notice.recipient,
            notice_id: &notice.id,
            trigger: &notice.trigger,
            object: ObjectRef {
                kind: &notice.object.kind,
                namespace: &notice.object.namespace,
                name: &notice.object.name,
            },
            now: jiff::Timestamp::now(),
        };
        let object = format!("{}/{}", notice.object.namespace, notice.object.name);
        match instance.send(&delivery).await {
            Ok(receipt) => {
                for warning in &receipt.warnings {
                    tracing::warn!(rollout = object, service = notice.service, "{warning}");
                }
                tracing::info!(
                    rollout = object,
                    trigger = notice.trigger,
                    service = notice.service,
                    recipient = notice.recipient,
                    delivery_id = notice.id,
                    "delivered"
                );
                Attempted::Delivered { detail: receipt.detail }
            }
            Err(error) if error.reason == Reason::Settled => {
                tracing::warn!(
                    rollout = object,
                    delivery_id = notice.id,
                    "not delivered, and settled: {error}"
                );
                Attempted::Delivered { detail: error.to_string() }
            }
            Err(error) => {
                tracing::error!(
                    rollout = object,
                    trigger = notice.trigger,
                    service = notice.service,
                    recipient = notice.recipient,
                    delivery_id = notice.id,
                    "delivery failed: {error}"
                );
                Attempted::Failed {
                    class: class(error.reason),
                    retry_after: error.retry_after,
                    message: error.to_string(),
                }
            }
        }
    }
}

/// What a service's failure is to the courier.
fn class(reason: Reason) -> FailureClass {
    match reason {
        Reason::Rejected | Reason::Settled => FailureClass::Rejected,
        Reason::Throttled => FailureClass::Throttled,
        Reason::Unreachable | Reason::Untrusted => FailureClass::Unreachable,
        Reason::TimedOut => FailureClass::TimedOut,
        Reason::ServerError | Reason::BadAnswer => FailureClass::ServerError,
        Reason::Misconfigured => FailureClass::Misconfigured,
    }
}
