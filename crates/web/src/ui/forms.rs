//! What forms of the page send: logins, resending, dropping.

use std::sync::Arc;

use axum::{
    Extension, Form,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Redirect, Response},
};
use serde::Deserialize;

use super::{
    Ui,
    backend::MOST_ROWS,
    guard::{COOKIE, Visitor, is_good, may_change},
    pages,
};

#[derive(Deserialize)]
pub(super) struct Login {
    #[serde(default)]
    token: String,
}

pub(super) async fn login(
    State(ui): State<Arc<Ui>>,
    headers: HeaderMap,
    Form(login): Form<Login>,
) -> Response {
    match is_good(&ui.access, login.token.trim()).await {
        Ok(true) => {}
        Ok(false) => {
            let text = "This is not the token.";
            return (StatusCode::UNAUTHORIZED, pages::login::form(ui.access.tokens.is_some(), Some(text)))
                .into_response();
        }
        Err(why) => {
            let text = format!("The token can't be checked: {why}");
            return (StatusCode::SERVICE_UNAVAILABLE, pages::login::form(true, Some(&text))).into_response();
        }
    }
    let Some(secret) = ui.sessions.open() else {
        return (StatusCode::INTERNAL_SERVER_ERROR, "there is no randomness for a session").into_response();
    };
    // Behind a proxy with TLS the origin tells it.
    let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
    let secure = if origin.is_some_and(|origin| origin.starts_with("https:")) { "; Secure" } else { "" };
    with_cookie(&format!("{COOKIE}={secret}; Path=/; HttpOnly; SameSite=Strict; Max-Age=43200{secure}"))
}

pub(super) async fn logout(State(ui): State<Arc<Ui>>, headers: HeaderMap) -> Response {
    ui.sessions.close(&headers);
    with_cookie(&format!("{COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0"))
}

fn with_cookie(cookie: &str) -> Response {
    let mut answer = Redirect::to("/").into_response();
    if let Ok(value) = HeaderValue::from_str(cookie) {
        answer.headers_mut().insert(header::SET_COOKIE, value);
    }
    answer
}

#[derive(Deserialize)]
pub(super) struct Change {
    #[serde(default)]
    id: String,
    #[serde(default)]
    what: String,
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    back: String,
}

pub(super) async fn change(
    State(ui): State<Arc<Ui>>,
    Extension(visitor): Extension<Visitor>,
    Form(change): Form<Change>,
) -> Response {
    if let Err(refusal) = may_change(&visitor, Some(&change.csrf)) {
        return refusal;
    }
    // No id has a blank in it.
    let ids: Vec<String> = change.id.split_whitespace().map(str::to_owned).collect();
    if ids.is_empty() || ids.len() > MOST_ROWS as usize {
        return (StatusCode::BAD_REQUEST, pages::plain("Refused", "say which deliveries are meant"))
            .into_response();
    }
    let done = match change.what.as_str() {
        "resend" => ui.backend.resend(&ids).await,
        "drop" => ui.backend.drop_notices(&ids).await,
        _ => return (StatusCode::BAD_REQUEST, pages::plain("Refused", "unknown change")).into_response(),
    };
    match done {
        Ok(_) => {
            // Only a path of our own.
            let own = change.back.starts_with('/')
                && !change.back.starts_with("//")
                && !change.back.contains(['\\', '\r', '\n']);
            Redirect::to(if own { &change.back } else { "/" }).into_response()
        }
        Err(fault) => pages::broken(&fault),
    }
}
