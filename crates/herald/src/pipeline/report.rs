//! Telling people what is wrong: once each, on standard error.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use herald_core::{
    decide::{Chain, GateName},
    diagnostic::{Diagnostic, Severity},
};
use herald_web::metrics::Metrics;

/// Objects with the same problem are counted up to this.
const MOST_OBJECTS: usize = 10_000;

/// What was told already.
#[derive(Default)]
pub(crate) struct Reporter {
    told: Mutex<BTreeSet<String>>,
    /// What objects have in common, and which ones.
    failures: Mutex<BTreeMap<String, BTreeSet<String>>>,
    json: bool,
    metrics: Option<Arc<Metrics>>,
    quiet: bool,
}

impl Reporter {
    /// A reporter that has told nothing, and counts in these metrics.
    pub(crate) fn counting(json: bool, metrics: Arc<Metrics>) -> Reporter {
        Reporter { json, metrics: Some(metrics), ..Reporter::default() }
    }

    /// Counts the conditions that were looked at: once for an object, however many destinations there are.
    pub(crate) fn evaluated(&self, chains: &[Chain]) {
        let Some(metrics) = &self.metrics else { return };
        let mut seen = BTreeSet::new();
        for chain in chains {
            let holds = |name: GateName| chain.gates.iter().find(|gate| gate.name == name);
            let gate = holds(GateName::Condition).or_else(|| holds(GateName::Happened));
            let Some(gate) = gate else { continue };
            if seen.insert((&chain.trigger, chain.condition, &chain.occurrence)) {
                metrics.evaluated(chain.trigger.as_str(), gate.passed);
            }
        }
    }

    /// An object is gone, and with it the series that name it.
    pub(crate) fn deleted(&self, namespace: &str, name: &str) {
        if let Some(metrics) = &self.metrics {
            metrics.deleted(namespace, name);
        }
    }

    /// Counts a configuration that was read, and its parts that can't be used.
    pub(crate) fn configured(&self, object: &str, errors: usize) {
        if let Some(metrics) = &self.metrics {
            metrics.configured(object, errors);
        }
    }

    /// A reporter that counts only.
    pub(crate) fn quiet() -> Reporter {
        Reporter { quiet: true, ..Reporter::default() }
    }

    /// Tells a finding if it is more than a note, and wasn't told before.
    pub(crate) fn diagnostic(&self, diagnostic: &Diagnostic) {
        if diagnostic.severity != Severity::Note {
            self.tell(&diagnostic.to_string());
        }
    }

    /// Tells a problem, if it wasn't told before.
    pub(crate) fn problem(&self, text: &str) {
        self.tell(&format!("error: {text}"));
    }

    /// Tells a failure with the first object that it is about. The same one of other objects is not told again, only
    /// how many there are, at each power of ten.
    pub(crate) fn failure(&self, text: &str, object: &str) {
        let objects = {
            let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            let objects = failures.entry(text.to_owned()).or_default();
            if objects.len() >= MOST_OBJECTS || !objects.insert(object.to_owned()) {
                return;
            }
            objects.len()
        };
        match objects {
            1 => self.tell(&format!("error: {object}: {text}")),
            10 | 100 | 1_000 | 10_000 => {
                let first = text.lines().next().unwrap_or_default();
                self.tell(&format!("error: {objects} objects so far, {object} the latest: {first}"));
            }
            _ => {}
        }
    }

    /// Tells findings about an object: one that many objects have is told once, and counted.
    pub(crate) fn about(&self, diagnostic: &Diagnostic) {
        if diagnostic.severity == Severity::Note {
            return;
        }
        let key = diagnostic.key.as_deref().unwrap_or_default();
        let kind =
            format!("{}[{}]: {} ({key})", diagnostic.severity.as_str(), diagnostic.code, diagnostic.message);
        let objects = {
            let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            let objects = failures.entry(kind.clone()).or_default();
            if objects.len() >= MOST_OBJECTS || !objects.insert(diagnostic.object.clone()) {
                return;
            }
            objects.len()
        };
        match objects {
            1 => self.tell(&diagnostic.to_string()),
            10 | 100 | 1_000 | 10_000 => {
                self.tell(&format!("{kind}: {objects} objects so far, {} the latest", diagnostic.object));
            }
            _ => {}
        }
    }

    fn tell(&self, text: &str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if !told.insert(text.to_owned()) || self.quiet {
            return;
        }
        if self.json {
            tracing::error!("{}", text.trim_end());
        } else {
            eprintln!("{}", text.trim_end());
        }
    }

    /// How many different problems were told.
    pub(crate) fn count(&self) -> usize {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}
