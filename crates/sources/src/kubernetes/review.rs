//! Whose token it is, and what its owner may do: the API server is asked.

use std::time::Duration;

use kube::Client;
use serde_json::{Value, json};

/// No question takes longer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Who a token belongs to, as the API server says.
#[derive(Clone, Debug, PartialEq)]
pub struct User(Value);

impl User {
    /// The name.
    pub fn name(&self) -> &str {
        self.0.get("username").and_then(Value::as_str).unwrap_or_default()
    }
}

/// Something that somebody may want to do.
#[derive(Clone, Debug)]
pub struct Action<'a> {
    /// Such as `patch`.
    pub verb: &'a str,
    /// The group of the objects.
    pub group: &'a str,
    /// Their plural name.
    pub resource: &'a str,
    /// One namespace, or all.
    pub namespace: Option<&'a str>,
}

/// Whose token it is; `None` if it is nobody's. An error says why nobody can tell.
pub async fn token(client: &Client, token: &str) -> Result<Option<User>, String> {
    let review = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token},
    });
    let answer = ask(client, "/apis/authentication.k8s.io/v1/tokenreviews", &review).await?;
    let status = answer.get("status");
    let is_good =
        status.and_then(|status| status.get("authenticated")).and_then(Value::as_bool) == Some(true);
    Ok(status.and_then(|status| status.get("user")).filter(|_| is_good).cloned().map(User))
}

/// Whether somebody may do something.
pub async fn may(client: &Client, user: &User, action: &Action<'_>) -> Result<bool, String> {
    let of = |key: &str| user.0.get(key).cloned().unwrap_or(Value::Null);
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": of("username"), "uid": of("uid"), "groups": of("groups"), "extra": of("extra"),
            "resourceAttributes": {
                "verb": action.verb, "group": action.group, "resource": action.resource,
                "namespace": action.namespace.unwrap_or_default(),
            },
        },
    });
    let answer = ask(client, "/apis/authorization.k8s.io/v1/subjectaccessreviews", &review).await?;
    Ok(answer.pointer("/status/allowed").and_then(Value::as_bool) == Some(true))
}

async fn ask(client: &Client, path: &str, review: &Value) -> Result<Value, String> {
    let request = http::Request::post(path)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(review.to_string().into_bytes())
        .map_err(|error| error.to_string())?;
    match tokio::time::timeout(TIMEOUT, client.request::<Value>(request)).await {
        Err(_) => Err(format!("no answer within {TIMEOUT:?}")),
        // The answer may repeat the request: only what the server says about it is told.
        Ok(Err(kube::Error::Api(status))) => Err(status.message.clone()),
        Ok(answer) => answer.map_err(|_| "the API server can't be reached, or its answer is no JSON".into()),
    }
}
