//! The gates that a subscription and a condition go through, with what each one said.

use herald_expr::Part;
use herald_value::{Value, gofmt};

use crate::{
    names::Destination, names::TriggerName, occurrence::Occurrence, subscription::Origin,
    subscription::Subscription,
};

/// How much of a value is shown.
const SHOWN: usize = 200;

/// A question that must be answered with yes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GateName {
    /// Is there such a trigger?
    TriggerConfigured,
    /// Has it a condition that can be used?
    ConditionUsable,
    /// Did the event happen? (conditions with an empty `when`)
    Happened,
    /// Does `when` hold?
    Condition,
    /// Does `when` hold no longer, and is there somebody to tell? (`resolve`)
    Ended,
    /// Can `oncePer` be computed?
    OncePer,
    /// Was it not sent before, or so long ago that it is sent again? (`repeatEvery`)
    NotSentBefore,
    /// Is it more than what was already true at the first look?
    PastBaseline,
    /// Has it held for as long as it must? (`for`)
    HeldLongEnough,
    /// Is there such a service?
    ServiceConfigured,
    /// Are there usable templates?
    TemplatesUsable,
}

impl GateName {
    /// The question in words.
    pub fn as_str(self) -> &'static str {
        match self {
            GateName::TriggerConfigured => "trigger configured",
            GateName::ConditionUsable => "condition usable",
            GateName::Happened => "event happened",
            GateName::Condition => "condition true",
            GateName::Ended => "condition ended",
            GateName::OncePer => "oncePer computed",
            GateName::NotSentBefore => "not sent before",
            GateName::PastBaseline => "past the baseline",
            GateName::HeldLongEnough => "held long enough",
            GateName::ServiceConfigured => "service configured",
            GateName::TemplatesUsable => "templates usable",
        }
    }
}

/// A part of a condition and what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartValue {
    /// Its text in the condition, such as `rollout.status.phase`.
    pub text: String,
    /// Its value, for people.
    pub value: String,
}

/// A gate and how it was passed, or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// Which.
    pub name: GateName,
    /// Whether it was passed.
    pub passed: bool,
    /// Whether it was closed by a mistake that somebody has to repair, not because there is nothing to tell.
    pub wrong: bool,
    /// Why.
    pub detail: String,
    /// What the parts of the expression were, where it is about one.
    pub values: Vec<PartValue>,
}

/// What became of one subscription and one condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// The trigger.
    pub trigger: TriggerName,
    /// The condition's index; `None` if the trigger has none.
    pub condition: Option<usize>,
    /// To whom.
    pub destination: Destination,
    /// Where the subscription comes from.
    pub origin: Origin,
    /// The id of the occurrence that it was about, if it was about one.
    pub occurrence: Option<String>,
    /// The dedupe key, if it came so far.
    pub key: Option<String>,
    /// The gates in order; only the last one can have been closed.
    pub gates: Vec<Gate>,
}

impl Chain {
    pub(super) fn new(
        subscription: &Subscription,
        condition: Option<usize>,
        occurrence: Option<&Occurrence>,
    ) -> Chain {
        Chain {
            trigger: subscription.trigger.clone(),
            condition,
            destination: subscription.destination.clone(),
            origin: subscription.origin.clone(),
            occurrence: occurrence.map(|occurrence| occurrence.id.clone()),
            key: None,
            gates: Vec::new(),
        }
    }

    /// The gate that stopped it; `None` if it is due.
    pub fn stopped_by(&self) -> Option<&Gate> {
        self.gates.last().filter(|gate| !gate.passed)
    }

    pub(super) fn open(&mut self, name: GateName, detail: impl Into<String>) {
        self.gate(name, true, false, detail.into());
    }

    pub(super) fn closed(&mut self, name: GateName, detail: impl Into<String>) {
        self.gate(name, false, false, detail.into());
    }

    /// Closed by a mistake.
    pub(super) fn broken(&mut self, name: GateName, detail: impl Into<String>) {
        self.gate(name, false, true, detail.into());
    }

    fn gate(&mut self, name: GateName, passed: bool, wrong: bool, detail: String) {
        self.gates.push(Gate { name, passed, wrong, detail, values: Vec::new() });
    }

    /// What the parts of the last gate's expression were.
    pub(super) fn with_values(&mut self, values: &[PartValue]) {
        if let Some(gate) = self.gates.last_mut() {
            gate.values = values.to_vec();
        }
    }
}

/// The parts of an expression for people.
pub(super) fn part_values(parts: Vec<Part>) -> Vec<PartValue> {
    let parts = parts.into_iter().filter(|part| !is_function(&part.value));
    parts
        .map(|part| {
            // A Secret must not get into explanations and logs.
            let secret = part.text.trim_start_matches("$env.").starts_with("secrets");
            let value = if secret { "a secret".to_owned() } else { shown(&part.value) };
            PartValue { text: part.text, value }
        })
        .collect()
}

/// Functions, and maps of them such as `time`, tell nothing.
fn is_function(value: &Value) -> bool {
    match value {
        Value::Func(_) => true,
        Value::Map(map) => {
            !map.entries().is_empty()
                && map.entries().iter().all(|(_, value)| matches!(value, Value::Func(_)))
        }
        _ => false,
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Nil => "nil".into(),
        Value::List(_) => format!("a list of {}", value.as_list().map_or(0, <[Value]>::len)),
        Value::Map(map) => format!("a map of {}", map.entries().len()),
        Value::Bytes(bytes) => format!("{} bytes", bytes.len()),
        Value::AnyMap(_) | Value::Func(_) | Value::Object(_) => value.go_type().to_string(),
        _ => {
            let text = gofmt::to_text(value);
            match text.char_indices().nth(SHOWN) {
                Some((end, _)) => format!("`{}…`", text.get(..end).unwrap_or_default()),
                None => format!("`{text}`"),
            }
        }
    }
}

/// The parts in one sentence.
pub(super) fn sentence(values: &[PartValue]) -> String {
    values.iter().map(|part| format!("`{}` is {}", part.text, part.value)).collect::<Vec<_>>().join(", ")
}
