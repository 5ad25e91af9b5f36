//! Something that happened to an object once.

use std::{borrow::Cow, collections::BTreeMap};

use herald_value::Value;

/// Whether an occurrence is bad news, as Kubernetes Events say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventType {
    /// `Normal`
    Normal,
    /// `Warning`
    Warning,
}

impl EventType {
    /// The word that Kubernetes uses.
    pub fn as_str(self) -> &'static str {
        match self {
            EventType::Normal => "Normal",
            EventType::Warning => "Warning",
        }
    }
}

/// Something that happened to an object once: "the rollout completed revision 7".
#[derive(Clone, Debug, PartialEq)]
pub struct Occurrence {
    /// What happened; it names the trigger.
    pub reason: Cow<'static, str>,
    /// Whether it is bad news.
    pub event_type: EventType,
    /// The same for the same occurrence, whoever derives it and when.
    pub id: String,
    /// When it happened, if that is known.
    pub time: Option<jiff::Timestamp>,
    /// A sentence for people.
    pub message: String,
    /// Details: step number, images, cause, weights, …
    pub facts: BTreeMap<String, Value>,
    /// What `.rollout` must be for it, if not the object as it is now.
    pub object: Option<Value>,
}
