//! Single objects, and all of a namespace.

use std::time::Duration;

use herald_value::{
    Value,
    json::{Numbers, decode},
};
use kube::Client;

use super::watch::Resource;

/// The answer to a question for one object.
#[derive(Debug)]
pub enum Got {
    /// It.
    Object(Value),
    /// There is none of that name.
    Gone,
    /// No answer: why.
    Failed(String),
}

/// An answer of the API server; `Err(None)` if there is no such thing.
pub(super) async fn ask(client: &Client, path: &str, timeout: Duration) -> Result<Value, Option<String>> {
    let request = http::Request::get(path).body(Vec::new()).map_err(|e| Some(e.to_string()))?;
    let answer = tokio::time::timeout(timeout, client.request_text(request)).await;
    let text =
        answer.map_err(|_| Some(format!("no answer within {timeout:?}")))?.map_err(|error| match &error {
            kube::Error::Api(status) if status.code == 404 => None,
            kube::Error::Api(status) => Some(status.message.clone()),
            _ => Some(error.to_string()),
        })?;
    decode(text.as_bytes(), Numbers::Kubernetes).map_err(|e| Some(format!("the answer is no JSON: {e}")))
}

/// What a Rollout's `workloadRef` names, if it is of a kind that has a pod template.
pub fn workload(rollout: &Value) -> Option<(Resource, String)> {
    let text = |field: &str| rollout.path(&["spec", "workloadRef", field]).and_then(Value::as_str);
    let plural = match text("kind")? {
        "Deployment" => "deployments",
        "ReplicaSet" => "replicasets",
        "StatefulSet" => "statefulsets",
        "PodTemplate" => "podtemplates",
        _ => return None,
    };
    let version = text("apiVersion").unwrap_or_default();
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    Some((Resource::new(group, version, plural, text("kind")?), text("name")?.to_owned()))
}

/// One object.
pub async fn one(
    client: &Client,
    resource: &Resource,
    namespace: &str,
    name: &str,
    timeout: Duration,
) -> Got {
    let namespace = (!namespace.is_empty()).then_some(namespace);
    match ask(client, &format!("{}/{name}", resource.path(namespace)), timeout).await {
        Ok(object) => Got::Object(object),
        Err(None) => Got::Gone,
        Err(Some(why)) => Got::Failed(why),
    }
}

/// All objects of a kind in a namespace.
pub async fn all(
    client: &Client,
    resource: &Resource,
    namespace: &str,
    timeout: Duration,
) -> Result<Vec<Value>, String> {
    match ask(client, &resource.path(Some(namespace)), timeout).await {
        Ok(list) => Ok(list.get("items").and_then(Value::as_list).map(<[Value]>::to_vec).unwrap_or_default()),
        // A kind that the cluster doesn't know has no objects.
        Err(None) => Ok(Vec::new()),
        Err(Some(why)) => Err(why),
    }
}
