//! What commands ask a cluster for once: one Rollout and what belongs to it, or all objects of a few kinds.

use std::time::Duration;

use herald_value::Value;
use kube::Client;

use super::{get, watch::Resource};
use crate::{Change, directory};

/// No request takes longer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Objects that are asked for at a time.
const PAGE: usize = 500;

/// Why something could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// A name that no object can have.
    #[error("`{0}` is no name of an object: names have small letters, digits, `-` and `.`")]
    Name(String),
    /// There is no such object.
    #[error("there is no {0}")]
    Missing(String),
    /// The API server said no, or nothing.
    #[error("can't read {what}: {error}")]
    Api {
        /// What was asked for.
        what: String,
        /// What the API server said.
        error: String,
    },
}

/// Objects, and what could not be read beside them.
#[derive(Debug, Default)]
pub struct Fetched {
    /// The objects.
    pub changes: Vec<Change>,
    /// One sentence for each kind that could not be read.
    pub problems: Vec<String>,
}

/// A Rollout with its ReplicaSets, AnalysisRuns, Experiments, Events and the workload that it refers to.
pub async fn rollout(client: &Client, namespace: &str, name: &str) -> Result<Fetched, FetchError> {
    check(namespace)?;
    check(name)?;
    let argo = format!("/apis/argoproj.io/v1alpha1/namespaces/{namespace}");
    let apps = format!("/apis/apps/v1/namespaces/{namespace}");
    let what = format!("Rollout {namespace}/{name}");
    let mut fetched = Fetched::default();
    let rollout = get(client, &format!("{argo}/rollouts/{name}"), "Rollout", &what).await?;
    let rollout = rollout.ok_or(FetchError::Missing(what))?;
    let workload = get::workload(&rollout);
    fetched.add(&rollout);
    let events = format!(
        "/api/v1/namespaces/{namespace}/events?fieldSelector=involvedObject.kind%3DRollout%2CinvolvedObject.name%3D{name}"
    );
    let others = [
        ("ReplicaSet", format!("{apps}/replicasets")),
        ("AnalysisRun", format!("{argo}/analysisruns")),
        ("Experiment", format!("{argo}/experiments")),
        ("Event", events),
    ];
    for (kind, path) in others {
        fetched.try_add(client, kind, &path).await;
    }
    if let Some((resource, name)) = workload {
        check(&name)?;
        let path = format!("{}/{name}", resource.path(Some(namespace)));
        fetched.try_add(client, &resource.kind, &path).await;
    }
    Ok(fetched)
}

/// An object of the core API by kind (`ConfigMap`, `Secret`) and name, if it is there and may be read.
pub async fn core_object(
    client: &Client,
    namespace: &str,
    kind: &str,
    name: &str,
) -> Result<Fetched, FetchError> {
    check(namespace)?;
    check(name)?;
    let mut fetched = Fetched::default();
    let path = format!("/api/v1/namespaces/{namespace}/{}s/{name}", kind.to_lowercase());
    fetched.try_add(client, kind, &path).await;
    Ok(fetched)
}

/// All objects of a kind, of a namespace or of all.
pub async fn all(
    client: &Client,
    resource: &Resource,
    namespace: Option<&str>,
) -> Result<Fetched, FetchError> {
    selected(client, resource, namespace, "").await
}

/// Objects of a kind, of a namespace or of all, that a selector chooses: a part of a query, such as
/// `labelSelector=a%3Db`; empty for all.
pub async fn selected(
    client: &Client,
    resource: &Resource,
    namespace: Option<&str>,
    selector: &str,
) -> Result<Fetched, FetchError> {
    namespace.map_or(Ok(()), check)?;
    let selector = if selector.is_empty() { String::new() } else { format!("&{selector}") };
    let what = match namespace {
        Some(namespace) => format!("{resource} of namespace {namespace}"),
        None => format!("{resource} of all namespaces"),
    };
    let path = resource.path(namespace);
    let (mut fetched, mut next) = (Fetched::default(), String::new());
    loop {
        let page = format!("{path}?limit={PAGE}{selector}{next}");
        let Some(list) = get(client, &page, &resource.kind, &what).await? else { return Ok(fetched) };
        fetched.add(&list);
        match list.path(&["metadata", "continue"]).and_then(Value::as_str) {
            Some(token) if !token.is_empty() => next = format!("&continue={token}"),
            _ => return Ok(fetched),
        }
    }
}

impl Fetched {
    fn add(&mut self, object: &Value) {
        match directory::objects(object) {
            Ok(objects) => self.changes.extend(objects.into_iter().map(|(key, object)| Change::Upsert {
                key,
                object,
                file: None,
            })),
            Err(problem) => self.problems.push(problem),
        }
    }

    /// What is missing leaves a gap, and no more.
    async fn try_add(&mut self, client: &Client, kind: &str, path: &str) {
        match get(client, path, kind, &format!("{kind} objects")).await {
            Ok(Some(object)) => self.add(&object),
            Ok(None) => {}
            Err(error) => self.problems.push(error.to_string()),
        }
    }
}

fn check(name: &str) -> Result<(), FetchError> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    if name.is_empty() || name.len() > 253 || !name.chars().all(fits) {
        return Err(FetchError::Name(name.to_owned()));
    }
    Ok(())
}

/// An object, or a list of a kind.
async fn get(client: &Client, path: &str, kind: &str, what: &str) -> Result<Option<Value>, FetchError> {
    match get::ask(client, path, TIMEOUT).await {
        Ok(object) => Ok(Some(named(object, kind))),
        Err(None) => Ok(None),
        Err(Some(error)) => Err(FetchError::Api { what: what.to_owned(), error }),
    }
}

/// The items of a list don't say what they are.
fn named(object: Value, kind: &str) -> Value {
    let with_kind = |object: &Value| {
        let map = object.as_map().and_then(|map| map.with("kind".into(), Value::str(kind)).ok());
        map.map_or_else(|| object.clone(), |map| Value::Map(map.into()))
    };
    let Some(items) = object.get("items").and_then(Value::as_list) else { return with_kind(&object) };
    let items = Value::list(items.iter().map(with_kind).collect());
    let list = items.ok().and_then(|items| object.as_map()?.with("items".into(), items).ok());
    list.map_or_else(|| object.clone(), |map| Value::Map(map.into()))
}
