//! Telling people what is wrong: once each, on standard error.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use herald_core::diagnostic::{Diagnostic, Severity};

/// What was told already.
#[derive(Default)]
pub(crate) struct Reporter {
    told: Mutex<BTreeSet<String>>,
    json: bool,
}

impl Reporter {
    /// A reporter that has told nothing.
    pub(crate) fn new(json: bool) -> Reporter {
        Reporter { json, ..Reporter::default() }
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

    fn tell(&self, text: &str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if !told.insert(text.to_owned()) {
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
