//! What the page knows of Rollouts: the last look at each, handed over by whoever looks.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use herald_core::lifecycle::Subject;
use herald_services::redact::Redactor;
use herald_sources::ObjectKey;
use herald_value::Value;
use herald_web::ui::backend::Rollout;

use super::{configured::Configured, rollouts};
use crate::pipeline::{
    configuration::Active,
    look::{Look, Past, text},
    tenant::Tenants,
};

/// So many looks are kept whole, for explanations and previews; of the rest the line on the list alone.
const WHOLE: usize = 2000;

/// A look that stays.
#[derive(Clone)]
pub(super) struct Kept {
    key: ObjectKey,
    pub(super) rollout: Value,
    replica_sets: Vec<Value>,
    pub(super) analysis_runs: Vec<Value>,
    experiments: Vec<Value>,
    pub(super) workload: Option<Value>,
}

impl Kept {
    fn of(look: &Look<'_>, rollout: &Value) -> Kept {
        let uid = text(rollout, &["metadata", "uid"]);
        let own = |all: &[&Value]| -> Vec<Value> {
            let owned = |object: &&&Value| {
                let owners = object.path(&["metadata", "ownerReferences"]).and_then(Value::as_list);
                owners.unwrap_or_default().iter().any(|owner| text(owner, &["uid"]) == uid)
            };
            all.iter().filter(owned).map(|object| (*object).clone()).collect()
        };
        Kept {
            key: look.key.clone(),
            rollout: rollout.clone(),
            replica_sets: own(&look.replica_sets),
            analysis_runs: own(&look.analysis_runs),
            experiments: own(&look.experiments),
            workload: look.workload.cloned(),
        }
    }

    /// It as a look.
    pub(super) fn look(&self) -> Look<'_> {
        Look {
            key: &self.key,
            rollout: Subject::Present(&self.rollout),
            previous: None,
            replica_sets: self.replica_sets.iter().collect(),
            analysis_runs: self.analysis_runs.iter().collect(),
            experiments: self.experiments.iter().collect(),
            events: Vec::new(),
            workload: self.workload.as_ref(),
            file: None,
            past: Past::default(),
            tenant: None,
        }
    }
}

struct Entry {
    line: Rollout,
    kept: Option<Kept>,
}

/// The last look at each Rollout, and the configuration in force.
#[derive(Default)]
pub(crate) struct Shelf {
    rollouts: Mutex<BTreeMap<(String, String), Entry>>,
    configured: Mutex<Option<Arc<Configured>>>,
    tenants: Mutex<Arc<Tenants>>,
}

impl Shelf {
    /// A Rollout was looked at.
    pub(crate) fn looked(&self, look: &Look<'_>, active: &Active) {
        let key = (look.key.namespace.clone(), look.key.name.clone());
        let mut all = self.rollouts.lock().unwrap_or_else(PoisonError::into_inner);
        let Subject::Present(rollout) = look.rollout else {
            all.remove(&key);
            return;
        };
        let whole = all.get(&key).is_some_and(|entry| entry.kept.is_some())
            || all.len() < WHOLE
            || all.values().filter(|entry| entry.kept.is_some()).count() < WHOLE;
        let entry = Entry {
            line: rollouts::line(rollout, look.workload, &active.config, look.tenant),
            kept: whole.then(|| Kept::of(look, rollout)),
        };
        all.insert(key, entry);
    }

    /// Another configuration is in force.
    pub(crate) fn configured(&self, active: &Active) {
        let fresh = Arc::new(Configured::new(active));
        *self.configured.lock().unwrap_or_else(PoisonError::into_inner) = Some(fresh);
    }

    /// Namespaces have other configurations of their own.
    pub(crate) fn tenants(&self, tenants: &Arc<Tenants>) {
        *self.tenants.lock().unwrap_or_else(PoisonError::into_inner) = tenants.clone();
    }

    /// The configuration of a namespace beside the controller's.
    pub(super) fn tenant(&self, namespace: &str) -> Option<Arc<Active>> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner).get(namespace).cloned()
    }

    /// Knows the secrets that texts about a namespace may hold: the controller's, and its own.
    pub(super) fn redactor(&self, namespace: &str) -> Arc<Redactor> {
        let own = self.configuration().map(|configured| configured.redactor.clone()).unwrap_or_default();
        match self.tenant(namespace) {
            Some(tenant) => own.beside(&tenant.redactor).into(),
            None => own,
        }
    }

    pub(super) fn configuration(&self) -> Option<Arc<Configured>> {
        self.configured.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn lines(&self) -> Vec<Rollout> {
        let all = self.rollouts.lock().unwrap_or_else(PoisonError::into_inner);
        all.values().map(|entry| entry.line.clone()).collect()
    }

    pub(super) fn find(&self, namespace: &str, name: &str) -> Option<(Rollout, Option<Kept>)> {
        let all = self.rollouts.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&(namespace.to_owned(), name.to_owned()))
            .map(|entry| (entry.line.clone(), entry.kept.clone()))
    }
}
