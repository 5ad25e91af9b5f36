//! The objects that a source told of, and which Rollouts a change is about.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use herald_core::lifecycle::Subject;
use herald_sources::{Change, ObjectKey};
use herald_value::Value;

use super::{
    look::{Look, Past, text},
    owners,
};

const UID: &[&str] = &["metadata", "uid"];

struct Held {
    object: Value,
    previous: Option<Value>,
    file: Option<PathBuf>,
}

/// All objects of a source.
#[derive(Default)]
pub(crate) struct World {
    objects: BTreeMap<ObjectKey, Held>,
    deleted: BTreeMap<ObjectKey, Value>,
}

/// What changes are about.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    /// The Rollouts to look at.
    pub(crate) rollouts: BTreeSet<ObjectKey>,
    /// Whether a ConfigMap or Secret is among them.
    pub(crate) configuration: bool,
}

impl World {
    /// Takes changes over.
    pub(crate) fn apply(&mut self, changes: Vec<Change>) -> Touched {
        let mut touched = Touched::default();
        for change in changes {
            match change {
                Change::Upsert { key, object, file } => {
                    let object = owners::linked(&object, &key, |owner| self.uid(owner)).unwrap_or(object);
                    self.touch(&key, &object, &mut touched);
                    let previous = self.objects.remove(&key).map(|held| held.object);
                    self.deleted.remove(&key);
                    let uid = text(&object, UID).to_owned();
                    let known = previous.as_ref().is_some_and(|previous| text(previous, UID) == uid);
                    let owner = (!known && owners::OWNERS.contains(&&*key.kind)).then(|| key.clone());
                    self.objects.insert(key, Held { object, previous, file });
                    if let Some(owner) = owner {
                        self.link(&owner, &uid);
                    }
                }
                Change::Delete { key } => {
                    if let Some(held) = self.objects.remove(&key) {
                        self.touch(&key, &held.object, &mut touched);
                        if key.kind == "Rollout" {
                            self.deleted.insert(key, held.object);
                        }
                    }
                }
            }
        }
        touched
    }

    fn uid(&self, key: &ObjectKey) -> Option<String> {
        self.objects.get(key).map(|held| text(&held.object, UID).to_owned())
    }

    /// What came before its owner is linked to it.
    fn link(&mut self, owner: &ObjectKey, uid: &str) {
        for (key, held) in &mut self.objects {
            if key.namespace == owner.namespace && owners::OWNED.contains(&&*key.kind) {
                let find = |wanted: &ObjectKey| (wanted == owner).then(|| uid.to_owned());
                if let Some(linked) = owners::linked(&held.object, key, find) {
                    held.object = linked;
                }
            }
        }
    }

    /// What happened before a look is not told again by the next one.
    pub(crate) fn looked(&mut self, key: &ObjectKey) {
        self.deleted.remove(key);
        if let Some(held) = self.objects.get_mut(key) {
            held.previous = None;
        }
    }

    fn touch(&self, key: &ObjectKey, object: &Value, touched: &mut Touched) {
        match key.kind.as_str() {
            "Rollout" => drop(touched.rollouts.insert(key.clone())),
            "ConfigMap" | "Secret" => touched.configuration = true,
            "Event" => {
                let about = about(object);
                if text(about, &["kind"]) == "Rollout" {
                    let (namespace, name) = (key.namespace.clone(), text(about, &["name"]).to_owned());
                    touched.rollouts.insert(ObjectKey { kind: "Rollout".into(), namespace, name });
                }
            }
            _ => {
                let owners = object.path(&["metadata", "ownerReferences"]).and_then(Value::as_list);
                let owners: Vec<&str> =
                    owners.unwrap_or_default().iter().map(|owner| text(owner, &["uid"])).collect();
                for (rollout, held) in self.of("Rollout", &key.namespace) {
                    let reference = ["spec", "workloadRef", "name"];
                    if owners.contains(&text(&held.object, UID)) || text(&held.object, &reference) == key.name
                    {
                        touched.rollouts.insert(rollout.clone());
                    }
                }
            }
        }
    }

    fn of<'a>(
        &'a self,
        kind: &'a str,
        namespace: &'a str,
    ) -> impl Iterator<Item = (&'a ObjectKey, &'a Held)> {
        let from = ObjectKey { kind: kind.into(), namespace: namespace.into(), name: String::new() };
        self.objects.range(from..).take_while(move |(key, _)| key.kind == kind && key.namespace == namespace)
    }

    /// All Rollouts.
    pub(crate) fn rollouts(&self) -> BTreeSet<ObjectKey> {
        self.objects.keys().filter(|key| key.kind == "Rollout").cloned().collect()
    }

    /// The objects of a kind and name, of any namespace, with the file they came from.
    pub(crate) fn named<'a>(
        &'a self,
        kind: &'a str,
        name: &'a str,
    ) -> impl Iterator<Item = (&'a ObjectKey, &'a Value, Option<&'a Path>)> {
        self.objects
            .iter()
            .filter(move |(key, _)| key.kind == kind && key.name == name)
            .map(|(key, held)| (key, &held.object, held.file.as_deref()))
    }

    /// A look at a Rollout.
    pub(crate) fn look<'a>(&'a self, key: &'a ObjectKey) -> Look<'a> {
        let held = self.objects.get(key);
        let last = self.deleted.get(key);
        let all = |kind: &'static str| self.of(kind, &key.namespace).map(|(_, held)| &held.object).collect();
        let named = |event: &&Value| text(about(event), &["name"]) == key.name;
        let events = self.of("Event", &key.namespace).map(|(_, held)| &held.object);
        let mut events: Vec<&Value> = events.filter(named).collect();
        events.sort_by_key(|event| text(event, &["lastTimestamp"]));
        let workload = held.and_then(|held| {
            let reference = held.object.path(&["spec", "workloadRef"])?;
            let wanted = ObjectKey {
                kind: text(reference, &["kind"]).into(),
                namespace: key.namespace.clone(),
                name: text(reference, &["name"]).into(),
            };
            self.objects.get(&wanted).map(|held| &held.object)
        });
        Look {
            key,
            rollout: held.map_or(Subject::Deleted(last), |held| Subject::Present(&held.object)),
            previous: held.and_then(|held| held.previous.as_ref()),
            replica_sets: all("ReplicaSet"),
            analysis_runs: all("AnalysisRun"),
            experiments: all("Experiment"),
            events,
            workload,
            file: held.and_then(|held| held.file.as_deref()),
            past: Past::default(),
            tenant: None,
        }
    }
}

/// What an Event is about: a field that the two versions of Events call differently.
fn about(event: &Value) -> &Value {
    event.get("involvedObject").or_else(|| event.get("regarding")).unwrap_or(&Value::Nil)
}
