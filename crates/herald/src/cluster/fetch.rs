//! Asking for single objects, where watching them is not worth it.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use herald_sources::kubernetes::{
    Client,
    get::{self, Got},
    watch::Resource,
};
use herald_value::Value;

use super::{prune, related::Kind};
use crate::pipeline::look::text;

/// Requests at a time.
const AT_A_TIME: usize = 8;

/// No request takes longer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Asks the API server.
pub(super) struct Fetch {
    client: Client,
    watched: Resource,
}

/// What was found.
#[derive(Default)]
pub(super) struct Found {
    pub(super) objects: Vec<Value>,
    /// To be asked for again.
    pub(super) later: Vec<String>,
}

/// The kinds that belong to Rollouts.
pub(super) fn owned() -> [(Kind, Resource); 3] {
    [
        (Kind::ReplicaSet, Resource::new("apps", "v1", "replicasets", "ReplicaSet")),
        (Kind::AnalysisRun, Resource::new("argoproj.io", "v1alpha1", "analysisruns", "AnalysisRun")),
        (Kind::Experiment, Resource::new("argoproj.io", "v1alpha1", "experiments", "Experiment")),
    ]
}

impl Fetch {
    /// For objects of the kind that is watched.
    pub(super) fn new(client: Client, watched: Resource) -> Fetch {
        Fetch { client, watched }
    }

    /// Those that are watched, by `namespace/name`. What is gone is not among them: its deletion is heard elsewhere.
    pub(super) async fn rollouts(&self, names: &[String]) -> Found {
        let asked = names.iter().filter_map(|name| name.split_once('/').map(|split| (name, split)));
        let answers = stream::iter(asked)
            .map(|(name, (namespace, short))| async move {
                (name, self.one(&self.watched, namespace, short).await)
            })
            .buffer_unordered(AT_A_TIME)
            .collect::<Vec<_>>()
            .await;
        let mut found = Found::default();
        for (name, answer) in answers {
            match answer {
                Got::Object(object) => found.objects.push(object),
                Got::Gone => {}
                Got::Failed(why) => {
                    tracing::debug!("can't fetch {name}: {why}");
                    found.later.push(name.clone());
                }
            }
        }
        found
    }

    async fn one(&self, resource: &Resource, namespace: &str, name: &str) -> Got {
        get::one(&self.client, resource, namespace, name, TIMEOUT).await
    }

    /// What a Rollout's `workloadRef` names.
    pub(super) async fn workload(&self, rollout: &Value) -> Option<Value> {
        let (resource, name) = get::workload(rollout)?;
        let namespace = text(rollout, &["metadata", "namespace"]);
        match self.one(&resource, namespace, &name).await {
            Got::Object(object) => Some(prune::without_managers(&object)),
            Got::Gone => None,
            Got::Failed(why) => {
                tracing::warn!(
                    rollout = format!("{namespace}/{}", text(rollout, &["metadata", "name"])),
                    "can't read what workloadRef names, templates see no pod template: {why}"
                );
                None
            }
        }
    }

    /// What belongs to a Rollout that was subscribed to only now.
    pub(super) async fn belongings(&self, namespace: &str, uid: &str) -> Vec<(Kind, Value)> {
        let mut found = Vec::new();
        let mut owners = vec![uid.to_owned()];
        let mut all = Vec::new();
        for (kind, resource) in owned() {
            match get::all(&self.client, &resource, namespace, TIMEOUT).await {
                Ok(objects) => all.extend(objects.into_iter().map(|object| (kind, object))),
                Err(why) => tracing::warn!("can't list {resource} in {namespace}: {why}"),
            }
        }
        let experiments = all.iter().filter(|(kind, object)| {
            *kind == Kind::Experiment && prune::owner(object).is_some_and(|(_, _, owner)| owner == uid)
        });
        owners.extend(experiments.map(|(_, object)| text(object, &["metadata", "uid"]).to_owned()));
        for (kind, object) in all {
            let ours = prune::owner(&object).is_some_and(|(_, _, owner)| owners.iter().any(|o| o == owner));
            if ours {
                found.push((kind, object));
            }
        }
        found
    }
}
