//! Objects and the configuration for them, from a file or a directory, without watching anything.

use std::{path::Path, sync::Arc};

use herald_core::{
    config::{Config, ConfigInput},
    diagnostic::Diagnostic,
};
use herald_services::Registry;
use herald_sources::{Change, ObjectKey, directory};
use herald_value::{Value, limits::Limits};

use crate::{
    failure::Failure,
    input::{self, ConfigArgs},
    pipeline::{configuration, report::Reporter, world::World},
};

/// A configuration, and what is wrong with it.
#[derive(Clone)]
pub(crate) struct Configured {
    pub(crate) config: Config,
    pub(crate) loading: Arc<[Diagnostic]>,
}

impl Configured {
    /// The configuration of an input.
    pub(crate) fn of(input: &ConfigInput) -> Configured {
        let (config, loading) = Config::load(input, &Registry::standard(), Limits::DEFAULT);
        Configured { config, loading: loading.into() }
    }
}

/// Objects, as they are in files.
#[derive(Default)]
pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) reporter: Reporter,
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

/// An object as a change.
pub(crate) fn upserts(object: &Value) -> Result<Vec<Change>, String> {
    let objects = directory::objects(object)?;
    Ok(objects.into_iter().map(|(key, object)| Change::Upsert { key, object, file: None }).collect())
}
