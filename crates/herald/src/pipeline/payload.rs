//! What a notice carries through the outbox.

use herald_core::notification::Notification;
use serde::{Deserialize, Serialize};

const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
struct Payload {
    v: u8,
    notification: Notification,
}

/// The notification as bytes.
pub(crate) fn write(notification: &Notification) -> Result<Vec<u8>, String> {
    serde_json::to_vec(&Payload { v: VERSION, notification: notification.clone() })
        .map_err(|e| format!("the notification can't be stored: {e}"))
}

/// The notification of a payload.
pub(crate) fn read(bytes: &[u8]) -> Result<Notification, String> {
    let payload: Payload =
        serde_json::from_slice(bytes).map_err(|e| format!("the stored notification can't be read: {e}"))?;
    if payload.v > VERSION {
        return Err(format!("the stored notification has form {}, this version knows {VERSION}", payload.v));
    }
    Ok(payload.notification)
}
