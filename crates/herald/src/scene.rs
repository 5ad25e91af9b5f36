//! Objects and the configuration for them, from a file or a directory, without watching anything.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;
use herald_core::{
    config::{CONFIG_MAP, Config, ConfigInput, SECRET},
    diagnostic::Diagnostic,
};
use herald_services::Registry;
use herald_sources::{
    Change, ObjectKey, directory,
    kubernetes::{
        client::{ConnectionOptions, connect},
        fetch::{self, FetchError, Fetched},
    },
};
use herald_value::{Value, limits::Limits};

use crate::{
    failure::Failure,
    input::{self, ConfigArgs},
    pipeline::{configuration, report::Reporter, tenant, world::World},
};

/// Which cluster is asked.
#[derive(Args, Clone, Debug)]
pub(crate) struct ClusterArgs {
    /// The kubeconfig file [default: as kubectl]
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// Namespace of the ConfigMap and the Secret in the cluster
    #[arg(long, value_name = "NAME", default_value = "argo-rollouts", env = "HERALD_CONTROLLER_NAMESPACE")]
    pub(crate) controller_namespace: String,
}

/// A configuration, and what is wrong with it.
#[derive(Clone)]
pub(crate) struct Configured {
    pub(crate) config: Config,
    pub(crate) loading: Arc<[Diagnostic]>,
}

impl Configured {
    /// The configuration of an input.
    pub(crate) fn of(input: &ConfigInput) -> Configured {
        // A tenant's is on short rations.
        let limits = if input.namespace.is_some() { Limits::TENANT } else { Limits::DEFAULT };
        let (config, loading) = Config::load(input, &Registry::standard(), limits);
        Configured { config, loading: loading.into() }
    }
}

/// Objects, as they are in files.
#[derive(Default)]
pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) reporter: Reporter,
    /// What the Rollouts' own namespace configures, if it does.
    pub(crate) tenant: Option<ConfigInput>,
}

impl Scene {
    /// What a file or a directory holds; `-` is standard input. Files of a directory that can't be read are told, and
    /// the rest counts.
    pub(crate) fn read(path: &str) -> Result<Scene, Failure> {
        let mut scene = Scene::default();
        let place = Path::new(path);
        if place.is_dir() {
            let mut scan = directory::Directory::new(place).scan();
            for problem in &scan.problems {
                scene.reporter.problem(&problem.to_string());
            }
            scene.world.apply(std::mem::take(&mut scan.changes));
        } else {
            scene.add(path)?;
        }
        Ok(scene)
    }

    /// A Rollout of a cluster with what belongs to it, and the configuration there; with `self_service` that of its own
    /// namespace, too.
    pub(crate) async fn fetch(
        cluster: &ClusterArgs,
        namespace: Option<&str>,
        name: &str,
        self_service: bool,
    ) -> Result<Scene, Failure> {
        let options =
            ConnectionOptions { kubeconfig: cluster.kubeconfig.clone(), context: cluster.context.clone() };
        let connection = connect(&options).await.map_err(|error| {
            Failure::unreachable(format!("there is no file or directory '{name}', and {error}"))
        })?;
        let fail = |error: FetchError| match error {
            FetchError::Missing(_) | FetchError::Name(_) => Failure::bad(error.to_string()),
            _ => Failure::unreachable(error.to_string()),
        };
        let mut scene = Scene::default();
        let client = &connection.client;
        let namespace = namespace.unwrap_or(&connection.namespace);
        let home = &*cluster.controller_namespace;
        let mut fetched = vec![fetch::rollout(client, namespace, name).await.map_err(fail)?];
        for (kind, name) in [("ConfigMap", CONFIG_MAP), ("Secret", SECRET)] {
            fetched.push(fetch::core_object(client, home, kind, name).await.map_err(fail)?);
        }
        for one in fetched {
            for problem in one.problems {
                scene.reporter.problem(&problem);
            }
            scene.world.apply(one.changes);
        }
        if namespace != home {
            let theirs =
                fetch::core_object(client, namespace, "ConfigMap", CONFIG_MAP).await.map_err(fail)?;
            if self_service {
                let secret = fetch::core_object(client, namespace, "Secret", SECRET).await.map_err(fail)?;
                scene.tenant = tenant(namespace, [theirs, secret], &scene.reporter);
            } else if !theirs.changes.is_empty() {
                scene.reporter.problem(&format!(
                    "namespace {namespace} has a ConfigMap {CONFIG_MAP} of its own, which counts where Herald runs with \
                     --self-service-notification-enabled; give that here, too, to have it explained"
                ));
            }
        }
        Ok(scene)
    }

    /// Adds what a file holds.
    pub(crate) fn add(&mut self, file: &str) -> Result<(), Failure> {
        let changes = if file == "-" {
            let mut changes = Vec::new();
            for node in input::documents(file)? {
                changes.extend(
                    upserts(&node.to_value()).map_err(|e| Failure::bad(format!("standard input: {e}")))?,
                );
            }
            changes
        } else {
            directory::file(Path::new(file)).map_err(|problem| Failure::bad(problem.to_string()))?
        };
        self.world.apply(changes);
        Ok(())
    }

    /// The configuration that its objects, or the files of the command line, hold.
    pub(crate) fn configuration(&self, args: &ConfigArgs) -> Result<Configured, Failure> {
        Ok(Configured::of(&configuration::input(args, &self.world, &self.reporter)?))
    }

    /// The Rollouts of a name (`name` or `namespace/name`); all without one.
    pub(crate) fn rollouts(&self, name: Option<&str>) -> Result<Vec<ObjectKey>, Failure> {
        let all = self.world.rollouts();
        let Some(name) = name else { return Ok(all.into_iter().collect()) };
        let (namespace, wanted) = match name.split_once('/') {
            Some((namespace, name)) => (Some(namespace), name),
            None => (None, name),
        };
        let is_it =
            |key: &&ObjectKey| key.name == wanted && namespace.is_none_or(|space| key.namespace == space);
        let found: Vec<ObjectKey> = all.iter().filter(is_it).cloned().collect();
        if !found.is_empty() {
            return Ok(found);
        }
        let near = herald_core::names::nearest(wanted, all.iter().map(|key| key.name.as_str()));
        let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        Err(Failure::bad(format!("there is no Rollout `{name}`{near}")))
    }
}

/// What the two objects of a namespace configure, if there is a ConfigMap.
fn tenant(namespace: &str, fetched: [Fetched; 2], reporter: &Reporter) -> Option<ConfigInput> {
    let [config_map, secret] = fetched.map(|one| {
        for problem in &one.problems {
            reporter.problem(problem);
        }
        one.changes.into_iter().find_map(|change| match change {
            Change::Upsert { object, .. } => Some(object),
            _ => None,
        })
    });
    Some(tenant::input(namespace, &config_map?, secret.as_ref(), reporter))
}

/// An object as a change.
pub(crate) fn upserts(object: &Value) -> Result<Vec<Change>, String> {
    let objects = directory::objects(object)?;
    Ok(objects.into_iter().map(|(key, object)| Change::Upsert { key, object, file: None }).collect())
}
