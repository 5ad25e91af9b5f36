//! The API below `/api/v1`, as `openapi.json` describes it.

use std::sync::Arc;

use axum::{
    Extension, Json, Router,
    extract::{
        Path, Query as Params, State,
        rejection::{JsonRejection, QueryRejection},
    },
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Ui,
    backend::{Ask, Fault, Query},
    guard::{CSRF_HEADER, Visitor, may_change},
    problem,
};

/// The description, as it is served.
const DOCUMENT: &str = include_str!("../../assets/openapi.json");
/// More ids at once are refused.
const MOST_IDS: usize = 200;

/// The routes.
const PATHS: [&str; 12] = [
    "/openapi.json",
    "/deliveries",
    "/deliveries/{id}",
    "/resend",
    "/drop",
    "/queue",
    "/services",
    "/rollouts",
    "/rollouts/{namespace}/{name}",
    "/configuration",
    "/preview",
    "/events",
];

pub(super) fn router() -> Router<Arc<Ui>> {
    let route = |path: &str| match path {
        "/openapi.json" => get(document),
        "/deliveries" => get(deliveries),
        "/deliveries/{id}" => get(delivery),
        "/resend" => post(resend),
        "/drop" => post(drop_notices),
        "/queue" => get(queue),
        "/services" => get(services),
        "/rollouts" => get(rollouts),
        "/rollouts/{namespace}/{name}" => get(rollout),
        "/configuration" => get(configuration),
        "/preview" => post(preview),
        _ => get(events),
    };
    let router = PATHS.into_iter().fold(Router::new(), |router, path| router.route(path, route(path)));
    router
        .fallback(|| async { problem(StatusCode::NOT_FOUND, "there is no such path") })
        .method_not_allowed_fallback(|| async {
            problem(StatusCode::METHOD_NOT_ALLOWED, "this path does not know this method")
        })
}

fn answer<T: Serialize>(found: Result<T, Fault>) -> Response {
    match found {
        Ok(found) => Json(found).into_response(),
        Err(Fault::Asked(text)) => problem(StatusCode::BAD_REQUEST, &text),
        Err(Fault::Early(text)) => problem(StatusCode::NOT_FOUND, &text),
        Err(Fault::Broken(text)) => problem(StatusCode::INTERNAL_SERVER_ERROR, &text),
    }
}

fn answer_one<T: Serialize>(found: Result<Option<T>, Fault>, what: &str) -> Response {
    match found {
        Ok(None) => problem(StatusCode::NOT_FOUND, &format!("there is no such {what}")),
        Ok(Some(found)) => answer(Ok(found)),
        Err(fault) => answer::<T>(Err(fault)),
    }
}

async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT).into_response()
}

async fn deliveries(State(ui): State<Arc<Ui>>, query: Result<Params<Query>, QueryRejection>) -> Response {
    match query {
        Ok(Params(query)) => {
            answer(ui.backend.deliveries(&query).await.map(|found| json!({"deliveries": found})))
        }
        Err(refusal) => problem(StatusCode::BAD_REQUEST, &refusal.body_text()),
    }
}

async fn delivery(State(ui): State<Arc<Ui>>, Path(id): Path<String>) -> Response {
    answer_one(ui.backend.delivery(&id).await, "delivery")
}

async fn queue(State(ui): State<Arc<Ui>>) -> Response {
    answer(ui.backend.queue().await)
}

async fn services(State(ui): State<Arc<Ui>>) -> Response {
    answer(ui.backend.services().await.map(|found| json!({"services": found})))
}

async fn rollouts(State(ui): State<Arc<Ui>>) -> Response {
    answer(ui.backend.rollouts().await.map(|found| json!({"rollouts": found})))
}

async fn rollout(State(ui): State<Arc<Ui>>, Path((namespace, name)): Path<(String, String)>) -> Response {
    answer_one(ui.backend.rollout(&namespace, &name).await, "Rollout")
}

async fn configuration(State(ui): State<Arc<Ui>>) -> Response {
    answer(ui.backend.configuration().await)
}

async fn preview(State(ui): State<Arc<Ui>>, ask: Result<Json<Ask>, JsonRejection>) -> Response {
    let Json(ask) = match ask {
        Ok(ask) => ask,
        Err(refusal) => return problem(refusal.status(), &refusal.body_text()),
    };
    let Ok(_turn) = ui.previews.acquire().await else {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "the page is ending");
    };
    answer(ui.backend.preview(ask).await)
}

async fn events(State(ui): State<Arc<Ui>>) -> Response {
    ui.feed.listen().into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ids {
    ids: Vec<String>,
}

/// The ids of a request that may change something.
#[expect(clippy::result_large_err, reason = "a refusal is a whole answer, and there is one for a request")]
fn ids(
    visitor: &Visitor,
    headers: &HeaderMap,
    body: Result<Json<Ids>, JsonRejection>,
) -> Result<Vec<String>, Response> {
    let csrf = headers.get(CSRF_HEADER).and_then(|value| value.to_str().ok());
    may_change(visitor, csrf)?;
    let Json(Ids { ids }) = body.map_err(|refusal| problem(refusal.status(), &refusal.body_text()))?;
    match ids.len() {
        0 => Err(problem(StatusCode::BAD_REQUEST, "say which deliveries are meant")),
        count if count > MOST_IDS => {
            Err(problem(StatusCode::BAD_REQUEST, &format!("at most {MOST_IDS} ids at a time")))
        }
        _ => Ok(ids),
    }
}

async fn resend(
    State(ui): State<Arc<Ui>>,
    Extension(visitor): Extension<Visitor>,
    headers: HeaderMap,
    body: Result<Json<Ids>, JsonRejection>,
) -> Response {
    match ids(&visitor, &headers, body) {
        Ok(ids) => answer(ui.backend.resend(&ids).await.map(|count| json!({"count": count}))),
        Err(refusal) => refusal,
    }
}

async fn drop_notices(
    State(ui): State<Arc<Ui>>,
    Extension(visitor): Extension<Visitor>,
    headers: HeaderMap,
    body: Result<Json<Ids>, JsonRejection>,
) -> Response {
    match ids(&visitor, &headers, body) {
        Ok(ids) => answer(ui.backend.drop_notices(&ids).await.map(|count| json!({"count": count}))),
        Err(refusal) => refusal,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_document_describes_exactly_the_routes() {
        let document: serde_json::Value = serde_json::from_str(DOCUMENT).unwrap();
        assert_eq!(document["openapi"], "3.1.0");
        let described: BTreeSet<&str> = document["paths"]
            .as_object()
            .unwrap()
            .keys()
            .map(|path| path.strip_prefix("/api/v1").unwrap())
            .collect();
        assert_eq!(described, PATHS.into_iter().collect());
    }
}
