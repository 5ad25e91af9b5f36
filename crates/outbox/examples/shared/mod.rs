//! What the measurements share.

use herald_outbox::{Notice, ObjectRef};
use jiff::Timestamp;

/// A notice of a usual size, each about an object of its own.
pub(crate) fn notice(id: String, recipient: &str) -> Notice {
    let object =
        ObjectRef { namespace: "prod".into(), kind: "Rollout".into(), name: id.clone(), uid: id.clone() };
    Notice {
        id,
        object,
        trigger: "on-rollout-completed".into(),
        service: "slack".into(),
        recipient: recipient.into(),
        created: Timestamp::UNIX_EPOCH,
        due_after: Timestamp::UNIX_EPOCH,
        payload: vec![b'x'; 1024],
    }
}
