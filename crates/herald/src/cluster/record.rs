//! What is written onto Rollouts: the record of what was sent, once it was accepted, and with several replicas what
//! the next leader has to know.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use herald_core::state::{ANNOTATION, State};
use herald_sources::kubernetes::{
    annotate::{StatePatcher, Target},
    watch::Resource,
};
use herald_value::Value;

use super::echo::fingerprint;
use crate::pipeline::{
    engine::{CURSOR, Known},
    look::text,
};

struct Open {
    namespace: String,
    name: String,
    uid: String,
    /// Notices that wait for their receivers, with their keys in the record.
    waiting: BTreeMap<String, String>,
    /// The record with them.
    sent: String,
    /// The record as it stands on the object.
    noticed: String,
    cursor: Option<String>,
    /// Of the object without the record, as it was looked at.
    fingerprint: u64,
}

/// What we wrote onto an object.
struct Written {
    /// The record.
    text: String,
    fingerprint: u64,
}

/// The records that differ from what stands on the objects.
pub(super) struct Records {
    patcher: Arc<StatePatcher>,
    resource: Arc<Resource>,
    /// Whether the cursor is written, too.
    with_cursor: bool,
    open: HashMap<String, Open>,
    /// What we wrote last, until it is seen.
    written: HashMap<String, Written>,
    /// Notices of a former session that still wait. Under which key they are recorded is not known, so nothing is
    /// written onto their objects until they are settled.
    held: HashMap<String, BTreeSet<String>>,
    /// How many notices wait for their receivers.
    deliveries: Arc<AtomicUsize>,
}

impl Records {
    pub(super) fn new(
        patcher: Arc<StatePatcher>,
        resource: Arc<Resource>,
        with_cursor: bool,
        deliveries: Arc<AtomicUsize>,
    ) -> Records {
        Records {
            patcher,
            deliveries,
            resource,
            with_cursor,
            open: HashMap::new(),
            written: HashMap::new(),
            held: HashMap::new(),
        }
    }

    /// A notice of a former session still waits.
    pub(super) fn hold(&mut self, name: String, id: String) {
        self.held.entry(name).or_default().insert(id);
    }

    /// What we wrote last, if it was not seen yet.
    pub(super) fn written(&self, name: &str) -> Option<&str> {
        self.written.get(name).map(|written| written.text.as_str())
    }

    /// Whether a version of an object is the one that was looked at, with nothing new but what we wrote.
    pub(super) fn is_echo(&self, name: &str, object: &Value) -> bool {
        self.written.get(name).is_some_and(|written| {
            written.text == text(object, &["metadata", "annotations", ANNOTATION])
                && written.fingerprint == fingerprint(object)
        })
    }

    /// A look was committed; `notices` are those that it made due, with their keys.
    ///
    /// The object carries a cursor, which may be this one already.
    pub(super) fn looked(
        &mut self,
        name: &str,
        object: &Value,
        known: &Known,
        notices: Vec<(String, String)>,
    ) {
        let uid = text(object, &["metadata", "uid"]);
        if self.written.get(name).is_some_and(|written| written.text == known.noticed) {
            self.written.remove(name);
        }
        let open = self.open.entry(name.to_owned()).or_insert_with(|| Open {
            namespace: known.namespace.clone(),
            name: known.name.clone(),
            uid: uid.to_owned(),
            waiting: BTreeMap::new(),
            sent: String::new(),
            noticed: String::new(),
            cursor: None,
            fingerprint: 0,
        });
        uid.clone_into(&mut open.uid);
        open.sent.clone_from(&known.sent);
        open.noticed.clone_from(&known.noticed);
        let cursor = if self.with_cursor { known.for_the_next_leader() } else { None };
        open.cursor = cursor.filter(|cursor| cursor != text(object, &["metadata", "annotations", CURSOR]));
        if open.sent != open.noticed {
            open.fingerprint = fingerprint(object);
        }
        let before = open.waiting.len();
        open.waiting.extend(notices);
        self.deliveries.fetch_add(open.waiting.len() - before, Ordering::Relaxed);
        // Nothing was told: nobody waits for this.
        self.write(name, true);
    }

    /// A notice was accepted, or given up: there is nothing to wait for.
    pub(super) fn settled(&mut self, name: &str, id: &str) {
        let held = self.held.get_mut(name).is_some_and(|ids| ids.remove(id));
        if self.held.get(name).is_some_and(BTreeSet::is_empty) {
            self.held.remove(name);
        }
        let waited = self.open.get_mut(name).is_some_and(|open| open.waiting.remove(id).is_some());
        if waited {
            self.deliveries.fetch_sub(1, Ordering::Relaxed);
        }
        if held || waited {
            self.write(name, false);
        }
    }

    /// The notices that are waited for, with the names of their objects.
    pub(super) fn waiting(&self) -> Vec<(String, String)> {
        let ids = |(name, open): (&String, &Open)| {
            open.waiting.keys().map(|id| (name.clone(), id.clone())).collect::<Vec<_>>()
        };
        let held = self.held.iter().flat_map(|(name, ids)| ids.iter().map(|id| (name.clone(), id.clone())));
        self.open.iter().flat_map(ids).chain(held).collect()
    }

    /// The object is gone.
    pub(super) fn gone(&mut self, name: &str) {
        if let Some(open) = self.open.remove(name) {
            self.deliveries.fetch_sub(open.waiting.len(), Ordering::Relaxed);
        }
        self.written.remove(name);
        self.held.remove(name);
    }

    fn write(&mut self, name: &str, leisurely: bool) {
        let Some(open) = self.open.get(name).filter(|_| !self.held.contains_key(name)) else { return };
        let mut state = State::parse(&open.sent);
        let noticed = State::parse(&open.noticed);
        // What waits is written once it was accepted.
        for key in open.waiting.values() {
            if noticed.sent_at(key) != state.sent_at(key) {
                state.forget(key);
            }
        }
        let text = state.to_text().unwrap_or_default();
        let last = self.written.get(name).map_or(&open.noticed, |written| &written.text);
        let cursor = open.cursor.clone().filter(|_| open.waiting.is_empty());
        if text != *last || cursor.is_some() {
            let mut annotations = Vec::new();
            if text != *last {
                annotations.push((ANNOTATION.to_owned(), (!text.is_empty()).then(|| text.clone())));
                let fingerprint = open.fingerprint;
                self.written.insert(name.to_owned(), Written { text, fingerprint });
            }
            annotations.extend(cursor.map(|cursor| (CURSOR.to_owned(), Some(cursor))));
            let target = Target {
                resource: self.resource.clone(),
                namespace: open.namespace.clone(),
                name: open.name.clone(),
                uid: open.uid.clone(),
            };
            match leisurely {
                true => self.patcher.wish_at_leisure(target, annotations),
                false => self.patcher.wish(target, annotations),
            }
        }
        if open.waiting.is_empty() {
            self.open.remove(name);
        }
    }
}
