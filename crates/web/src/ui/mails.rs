//! HTML of mails, for the frames that show them. A frame has a policy of its own, stricter in all but styles: nothing
//! runs in it, nothing is loaded, no link leads anywhere.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use sha2::{Digest as _, Sha256};

use super::Ui;

/// How many are kept, and how large each may be.
const KEPT: usize = 32;
const LARGEST: usize = 256 * 1024;

/// The last mails that were drawn.
#[derive(Default)]
pub(super) struct Mails(Mutex<VecDeque<(String, Arc<str>)>>);

impl Mails {
    /// Keeps a mail; gives the path that shows it.
    pub(super) fn keep(&self, html: &str) -> Option<String> {
        if html.len() > LARGEST {
            return None;
        }
        let id: String =
            Sha256::digest(html.as_bytes()).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(known, _)| *known != id);
        all.push_back((id.clone(), html.into()));
        if all.len() > KEPT {
            all.pop_front();
        }
        Some(format!("/preview/mail/{id}"))
    }

    fn find(&self, id: &str) -> Option<Arc<str>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().find(|(known, _)| known == id).map(|(_, html)| html.clone())
    }
}

pub(super) async fn show(State(ui): State<Arc<Ui>>, Path(id): Path<String>) -> Response {
    let Some(html) = ui.mails.find(&id) else {
        return (StatusCode::NOT_FOUND, "this preview is gone; draw it again").into_response();
    };
    let policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox; base-uri 'none'; \
                  form-action 'none'; frame-ancestors 'self'";
    let said = [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::X_FRAME_OPTIONS, "SAMEORIGIN"),
    ];
    (said, html.to_string()).into_response()
}
