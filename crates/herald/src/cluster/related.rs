//! The objects that belong to Rollouts that somebody subscribed to.

use std::collections::{BTreeSet, HashMap, HashSet};

use herald_value::Value;

use super::prune;
use crate::pipeline::look::text;

/// The kinds that belong to Rollouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    ReplicaSet,
    AnalysisRun,
    Experiment,
}

struct Owned {
    kind: Kind,
    namespace: String,
    owner: String,
    /// The Rollout's name, where the owner is one.
    rollout: Option<String>,
    object: Value,
}

/// Namespace and name of a Rollout.
pub(super) type Name = (String, String);

/// What a look at a Rollout gets.
#[derive(Default)]
pub(super) struct Belongings<'a> {
    pub(super) replica_sets: Vec<&'a Value>,
    pub(super) analysis_runs: Vec<&'a Value>,
    pub(super) experiments: Vec<&'a Value>,
}

/// All that is known, by uid.
#[derive(Default)]
pub(super) struct Related {
    objects: HashMap<String, Owned>,
    by_owner: HashMap<String, BTreeSet<String>>,
    /// While a list of a kind runs: what was in it so far.
    listed: HashMap<Kind, HashSet<String>>,
}

impl Related {
    /// A list begins.
    pub(super) fn listing(&mut self, kind: Kind) {
        self.listed.insert(kind, HashSet::new());
    }

    /// A list is complete: what was not in it is gone. Gives the Rollouts concerned.
    pub(super) fn synced(&mut self, kind: Kind) -> BTreeSet<Name> {
        let Some(listed) = self.listed.remove(&kind) else { return BTreeSet::new() };
        let gone = self.objects.iter().filter(|(uid, owned)| owned.kind == kind && !listed.contains(*uid));
        let gone: Vec<String> = gone.map(|(uid, _)| uid.clone()).collect();
        gone.iter().filter_map(|uid| self.remove(uid)).collect()
    }

    /// An object is new or different; the Rollout that it belongs to.
    pub(super) fn put(&mut self, kind: Kind, object: &Value) -> Option<Name> {
        let uid = text(object, &["metadata", "uid"]).to_owned();
        let (owner_kind, owner_name, owner) = prune::owner(object)?;
        if !matches!(owner_kind, "Rollout" | "Experiment") {
            return None;
        }
        if let Some(listed) = self.listed.get_mut(&kind) {
            listed.insert(uid.clone());
        }
        let object_kept = match kind {
            Kind::ReplicaSet => prune::replica_set(object),
            Kind::AnalysisRun | Kind::Experiment => prune::without_managers(object),
        };
        let owned = Owned {
            kind,
            namespace: text(object, &["metadata", "namespace"]).to_owned(),
            owner: owner.to_owned(),
            rollout: (owner_kind == "Rollout").then(|| owner_name.to_owned()),
            object: object_kept,
        };
        self.by_owner.entry(owner.to_owned()).or_default().insert(uid.clone());
        self.objects.insert(uid.clone(), owned);
        self.rollout(&uid)
    }

    /// An object is gone; the Rollout that it belonged to.
    pub(super) fn delete(&mut self, object: &Value) -> Option<Name> {
        self.remove(text(object, &["metadata", "uid"]))
    }

    fn remove(&mut self, uid: &str) -> Option<Name> {
        let rollout = self.rollout(uid);
        let owned = self.objects.remove(uid)?;
        if let Some(siblings) = self.by_owner.get_mut(&owned.owner) {
            siblings.remove(uid);
            if siblings.is_empty() {
                self.by_owner.remove(&owned.owner);
            }
        }
        rollout
    }

    /// The Rollout that an object belongs to, maybe through an Experiment.
    fn rollout(&self, uid: &str) -> Option<Name> {
        let owned = self.objects.get(uid)?;
        let root = if owned.rollout.is_some() { owned } else { self.objects.get(&owned.owner)? };
        Some((root.namespace.clone(), root.rollout.clone()?))
    }

    /// What belongs to a Rollout.
    pub(super) fn of(&self, uid: &str) -> Belongings<'_> {
        let mut found = Belongings::default();
        self.collect(uid, &mut found);
        found
    }

    fn collect<'a>(&'a self, uid: &str, found: &mut Belongings<'a>) {
        for owned in self.by_owner.get(uid).into_iter().flatten() {
            let Some(held) = self.objects.get(owned) else { continue };
            match held.kind {
                Kind::ReplicaSet => found.replica_sets.push(&held.object),
                Kind::AnalysisRun => found.analysis_runs.push(&held.object),
                Kind::Experiment => {
                    found.experiments.push(&held.object);
                    // Experiments own no Experiments, so this goes one level down.
                    for below in self.by_owner.get(owned).into_iter().flatten() {
                        match self.objects.get(below) {
                            Some(held) if held.kind == Kind::AnalysisRun => {
                                found.analysis_runs.push(&held.object);
                            }
                            Some(held) if held.kind == Kind::ReplicaSet => {
                                found.replica_sets.push(&held.object);
                            }
                            _ => {}
                        }
                    }
                }
            }
        }
    }

    /// Forgets what belongs to Rollouts that nobody subscribed to.
    pub(super) fn keep(&mut self, subscribed: impl Fn(&Name) -> bool) {
        let unwanted =
            self.objects.keys().filter(|uid| !self.rollout(uid).is_some_and(|name| subscribed(&name)));
        let unwanted: Vec<String> = unwanted.cloned().collect();
        for uid in unwanted {
            self.remove(&uid);
        }
        self.objects.shrink_to_fit();
        self.by_owner.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use herald_value::json::{Numbers, decode};

    use super::*;

    fn object(uid: &str, owner: &str, kind: &str) -> Value {
        let text = format!(
            r#"{{"metadata":{{"uid":"{uid}","namespace":"shop","name":"{uid}","managedFields":[{{"a":1}}],
                "ownerReferences":[{{"kind":"{kind}","name":"{owner}","uid":"{owner}","controller":true}}]}}}}"#
        );
        decode(text.as_bytes(), Numbers::Kubernetes).unwrap()
    }

    #[test]
    fn what_belongs_to_a_rollout_is_found_through_experiments_too() {
        let mut related = Related::default();
        let web = ("shop".to_owned(), "web".to_owned());
        assert_eq!(related.put(Kind::ReplicaSet, &object("rs", "web", "Rollout")), Some(web.clone()));
        assert_eq!(related.put(Kind::AnalysisRun, &object("ar", "ex", "Experiment")), None);
        assert_eq!(related.put(Kind::Experiment, &object("ex", "web", "Rollout")), Some(web.clone()));
        assert_eq!(related.put(Kind::AnalysisRun, &object("ar", "ex", "Experiment")), Some(web.clone()));
        assert_eq!(related.put(Kind::ReplicaSet, &object("other", "dep", "Deployment")), None);
        let found = related.of("web");
        assert_eq!((found.replica_sets.len(), found.analysis_runs.len(), found.experiments.len()), (1, 1, 1));
        assert!(found.experiments[0].path(&["metadata", "managedFields"]).is_none());
        assert_eq!(related.delete(&object("rs", "web", "Rollout")), Some(web.clone()));
        assert!(related.of("web").replica_sets.is_empty());
        related.keep(|name| *name != web);
        assert!(related.objects.is_empty() && related.by_owner.is_empty());
    }

    #[test]
    fn what_a_new_list_does_not_have_is_gone() {
        let mut related = Related::default();
        related.put(Kind::ReplicaSet, &object("a", "web", "Rollout"));
        related.put(Kind::ReplicaSet, &object("b", "api", "Rollout"));
        related.put(Kind::Experiment, &object("e", "api", "Rollout"));
        related.listing(Kind::ReplicaSet);
        related.put(Kind::ReplicaSet, &object("a", "web", "Rollout"));
        assert_eq!(related.synced(Kind::ReplicaSet), BTreeSet::from([("shop".to_owned(), "api".to_owned())]));
        assert_eq!((related.of("web").replica_sets.len(), related.of("api").experiments.len()), (1, 1));
    }
}
