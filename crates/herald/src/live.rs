//! What commands read of a cluster: the configuration there, and all Rollouts.

use std::collections::BTreeSet;

use herald_core::config::{CONFIG_MAP, SECRET};
use herald_sources::{
    Change,
    kubernetes::{
        client::{ConnectionOptions, connect},
        fetch::{self, FetchError, Fetched},
        watch::Resource,
    },
};
use herald_value::{
    Value,
    json::{Style, encode},
    limits::{Limits, Meter},
};
use serde_json::Value as Json;

use crate::{
    cluster::CONFIG_LABEL,
    failure::Failure,
    pipeline::{report::Reporter, world::World},
    scene::{ClusterArgs, Scene},
};

fn argo(plural: &str, kind: &str) -> Resource {
    Resource::new("argoproj.io", "v1alpha1", plural, kind)
}

/// Objects of a cluster, and what could not be read.
struct Live(Vec<Fetched>);

impl Live {
    /// The configuration, and the Rollouts of a namespace or of all; of the other kinds what may be read.
    async fn read(
        cluster: &ClusterArgs,
        namespace: Option<&str>,
        others: &[Resource],
    ) -> Result<Live, Failure> {
        let options =
            ConnectionOptions { kubeconfig: cluster.kubeconfig.clone(), context: cluster.context.clone() };
        let connection = connect(&options).await.map_err(|error| Failure::unreachable(error.to_string()))?;
        let client = &connection.client;
        let fail = |error: FetchError| match error {
            FetchError::Missing(_) | FetchError::Name(_) => Failure::bad(error.to_string()),
            _ => Failure::unreachable(error.to_string()),
        };
        let mut all = Vec::new();
        for (kind, name) in [("ConfigMap", CONFIG_MAP), ("Secret", SECRET)] {
            let space = &cluster.controller_namespace;
            all.push(fetch::core_object(client, space, kind, name).await.map_err(fail)?);
        }
        if all.iter().all(|fetched| fetched.changes.is_empty()) {
            return Err(Failure::bad(format!(
                "namespace {} has no ConfigMap {CONFIG_MAP} that can be read; name its namespace with \
                 --controller-namespace",
                cluster.controller_namespace
            )));
        }
        let rollouts =
            fetch::all(client, &argo("rollouts", "Rollout"), namespace).await.map_err(|error| {
                let hint = if namespace.is_none() { "; for one namespace give -n NAME" } else { "" };
                Failure::unreachable(format!("{error}{hint}"))
            })?;
        all.push(rollouts);
        for resource in others {
            let found = fetch::all(client, resource, namespace)
                .await
                .unwrap_or_else(|error| Fetched { problems: vec![error.to_string()], ..Fetched::default() });
            all.push(found);
        }
        Ok(Live(all))
    }
}

/// Everything that comparing takes.
pub(crate) async fn scene(cluster: &ClusterArgs, namespace: Option<&str>) -> Result<Scene, Failure> {
    let others = [
        Resource::new("apps", "v1", "replicasets", "ReplicaSet"),
        argo("analysisruns", "AnalysisRun"),
        argo("experiments", "Experiment"),
    ];
    let (mut world, reporter) = (World::default(), Reporter::default());
    for fetched in Live::read(cluster, namespace, &others).await?.0 {
        for problem in &fetched.problems {
            reporter.problem(problem);
        }
        world.apply(fetched.changes);
    }
    Ok(Scene { world, reporter, tenant: None })
}

/// The configuration and the Rollouts as manifests: name and text of each.
pub(crate) async fn manifests(
    cluster: &ClusterArgs,
    namespace: Option<&str>,
) -> Result<Vec<(String, String)>, Failure> {
    let mut files = Vec::new();
    let Live(mut all) = Live::read(cluster, namespace, &[]).await?;
    all.extend(more(cluster, namespace).await?);
    let mut seen = BTreeSet::new();
    for fetched in all {
        for problem in &fetched.problems {
            eprintln!("warning: {problem}");
        }
        for change in fetched.changes {
            let Change::Upsert { key, object, .. } = change else { continue };
            let Some(object) = json(&object) else { continue };
            let name = format!("{}/{}/{}", key.kind.to_lowercase(), key.namespace, key.name);
            if !seen.insert(name.clone()) {
                continue;
            }
            files.push((name, herald_services::services::console::yaml(&manifest(object, &key.kind))));
        }
    }
    Ok(files)
}

/// What else configures: ConfigMaps by their label, and those of other namespaces with their Secrets. Whoever may not list
/// those is told.
async fn more(cluster: &ClusterArgs, namespace: Option<&str>) -> Result<Vec<Fetched>, Failure> {
    let options =
        ConnectionOptions { kubeconfig: cluster.kubeconfig.clone(), context: cluster.context.clone() };
    let connection = connect(&options).await.map_err(|error| Failure::unreachable(error.to_string()))?;
    let core = |plural, kind| Resource::new("", "v1", plural, kind);
    let home = Some(cluster.controller_namespace.as_str());
    let label = format!("labelSelector={}", CONFIG_LABEL.replace('=', "%3D"));
    let named = |name: &str| format!("fieldSelector=metadata.name%3D{name}");
    let mut found = Vec::new();
    for (resource, space, selector) in [
        (core("configmaps", "ConfigMap"), home, label),
        (core("configmaps", "ConfigMap"), namespace, named(CONFIG_MAP)),
        (core("secrets", "Secret"), namespace, named(SECRET)),
    ] {
        let fetched = fetch::selected(&connection.client, &resource, space, &selector).await;
        found.push(fetched.unwrap_or_else(|error| Fetched {
            problems: vec![format!("{error}; what it configures is not checked")],
            ..Fetched::default()
        }));
    }
    Ok(found)
}

fn json(object: &Value) -> Option<Json> {
    let text = encode(object, Style::RAW, &mut Meter::new(Limits::DEFAULT)).ok()?;
    serde_json::from_slice(&text).ok()
}

/// An object as somebody would have written it.
fn manifest(mut object: Json, kind: &str) -> Json {
    let version = if kind == "Rollout" { "argoproj.io/v1alpha1" } else { "v1" };
    if object["apiVersion"].is_null() {
        object["apiVersion"] = version.into();
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Json::as_object_mut) {
            annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        }
    }
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    object
}
