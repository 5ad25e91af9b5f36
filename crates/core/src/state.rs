//! The record of what was sent, in the form of the reference's annotation, so that objects can move between
//! the two systems without being notified twice.

use std::collections::BTreeMap;

/// The annotation that holds the record.
pub const ANNOTATION: &str = "notified.notifications.argoproj.io";
/// How many entries are kept; the oldest go first.
pub const MAX_ENTRIES: usize = 100;

/// Dedupe key → Unix seconds when it was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State(BTreeMap<String, i64>);

impl State {
    /// Reads the annotation's text. What cannot be read counts as empty, as in the reference.
    pub fn parse(text: &str) -> State {
        let mut state = State(serde_json::from_str(text).unwrap_or_default());
        state.trim();
        state
    }

    /// Reads the annotation of an object.
    pub fn of(object: &herald_value::Value) -> State {
        let text =
            object.path(&["metadata", "annotations", ANNOTATION]).and_then(herald_value::Value::as_str);
        text.map_or_else(State::default, State::parse)
    }

    /// The annotation's text; `None` if it is to be removed.
    pub fn to_text(&self) -> Option<String> {
        if self.0.is_empty() { None } else { serde_json::to_string(&self.0).ok() }
    }

    /// When something was sent.
    pub fn sent_at(&self, key: &str) -> Option<i64> {
        self.0.get(key).copied()
    }

    /// Records that something is sent; says whether it was not recorded before.
    pub fn record(&mut self, key: &str, now: jiff::Timestamp) -> bool {
        let new = !self.0.contains_key(key);
        if new {
            self.0.insert(key.to_owned(), now.as_second());
            self.trim();
        }
        new
    }

    /// Records that something is sent again.
    pub fn renew(&mut self, key: &str, now: jiff::Timestamp) {
        self.forget(key);
        self.record(key, now);
    }

    /// Forgets something; says whether it was recorded.
    pub fn forget(&mut self, key: &str) -> bool {
        self.0.remove(key).is_some()
    }

    /// Takes over what another record knows; of the same key the later time stays.
    pub fn merge(&mut self, other: &State) {
        for (key, time) in &other.0 {
            let entry = self.0.entry(key.clone()).or_insert(*time);
            *entry = (*entry).max(*time);
        }
        self.trim();
    }

    /// The entries that another record does not have, or has with another time.
    pub fn without(mut self, other: &State) -> State {
        self.0.retain(|key, time| other.0.get(key) != Some(time));
        self
    }

    /// All entries, by key.
    pub fn entries(&self) -> impl Iterator<Item = (&str, i64)> {
        self.0.iter().map(|(key, time)| (key.as_str(), *time))
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is recorded.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn trim(&mut self) {
        let Some(surplus) = self.0.len().checked_sub(MAX_ENTRIES).filter(|n| *n > 0) else { return };
        let mut by_age: Vec<(i64, String)> = self.0.iter().map(|(key, time)| (*time, key.clone())).collect();
        by_age.sort_unstable();
        for (_, key) in by_age.into_iter().take(surplus) {
            self.0.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> jiff::Timestamp {
        jiff::Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn reads_and_writes_the_reference_s_form() {
        let text = r#"{"7f6c:on-x:[0].2jmj7l5rSw0yVb_vlWAYkK_YBwk:slack:ops":1700000000}"#;
        let state = State::parse(text);
        assert_eq!(state.len(), 1);
        assert_eq!(state.to_text().as_deref(), Some(text));
        for text in ["", "x", "[1]", "{\"a\": \"b\"}", "null"] {
            assert_eq!(State::parse(text).to_text(), None, "{text}");
        }
    }

    #[test]
    fn keeps_the_newest_hundred() {
        let mut state = State::default();
        for i in 0..150 {
            assert!(state.record(&format!("k{i}"), at(i)));
        }
        assert_eq!(state.len(), MAX_ENTRIES);
        assert_eq!((state.sent_at("k49"), state.sent_at("k50")), (None, Some(50)));
        assert!(!state.record("k149", at(999)));
        assert_eq!(state.sent_at("k149"), Some(149));
        assert!(state.forget("k149") && !state.forget("k149"));
    }

    #[test]
    fn merges() {
        let mut a = State::parse(r#"{"x":1,"y":5}"#);
        a.merge(&State::parse(r#"{"x":3,"z":2}"#));
        assert_eq!(a.to_text().as_deref(), Some(r#"{"x":3,"y":5,"z":2}"#));
    }
}
