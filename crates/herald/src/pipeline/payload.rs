//! What a notice carries through the outbox.

use herald_core::{explain::Answer, notification::Notification};
use serde::{Deserialize, Serialize};

const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
struct Payload {
    v: u8,
    #[serde(default)]
    notification: Notification,
    /// Why there is no notification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    missing: Option<String>,
    /// Why the notice was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    why: Option<Answer>,
}

/// The notification as bytes, with why it was made.
pub(crate) fn write(notification: &Notification, why: Option<&Answer>) -> Result<Vec<u8>, String> {
    store(&Payload { v: VERSION, notification: notification.clone(), missing: None, why: why.cloned() })
}

/// A notification that could not be made.
pub(crate) fn missing(reason: &str, why: Option<&Answer>) -> Result<Vec<u8>, String> {
    let notification = Notification::default();
    store(&Payload { v: VERSION, notification, missing: Some(reason.to_owned()), why: why.cloned() })
}

/// Why the notice of a payload was made, if it says so.
pub(crate) fn why(bytes: &[u8]) -> Option<Answer> {
    serde_json::from_slice::<Payload>(bytes).ok()?.why
}

fn store(payload: &Payload) -> Result<Vec<u8>, String> {
    serde_json::to_vec(payload).map_err(|e| format!("the notification can't be stored: {e}"))
}

/// The notification of a payload.
pub(crate) fn read(bytes: &[u8]) -> Result<Notification, String> {
    let payload: Payload =
        serde_json::from_slice(bytes).map_err(|e| format!("the stored notification can't be read: {e}"))?;
    if payload.v > VERSION {
        return Err(format!("the stored notification has form {}, this version knows {VERSION}", payload.v));
    }
    match payload.missing {
        Some(reason) => Err(format!("the notification could not be made when it was due: {reason}")),
        None => Ok(payload.notification),
    }
}
