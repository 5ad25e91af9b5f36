//! “Why was I not notified?”: a [`Decision`](crate::decide::Decision) with its reasons, as data for people and programs.
//!
//! Nothing is decided here. [`explain`] tells what [`decide`](crate::decide::decide) found, renders what is due, and
//! adds what is known of deliveries. So an explanation can't say anything else than what the pipeline does.
//!
//! ```
//! use herald_core::explain::{Explanation, Gate};
//! # fn shown(explanation: &Explanation) -> Option<()> {
//! for answer in &explanation.answers {
//!     println!("{} → {}: {}", answer.trigger, answer.to, answer.sentence);
//!     if answer.stopped_by == Some(Gate::NotSentBefore) {
//!         println!("delivered after {} attempts", answer.delivery.as_ref()?.attempts);
//!     }
//! }
//! # Some(()) }
//! ```

mod advice;
mod build;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::build::{Asked, explain, follow};
use crate::{decide::GateName, diagnostic::Severity, subscription::Origin};

/// A question that must be answered with yes, in the order in which they are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gate {
    /// Does an annotation or a default subscription say so?
    Subscribed,
    /// Is there such a trigger?
    TriggerConfigured,
    /// Has it a condition that can be used?
    ConditionUsable,
    /// Did the event happen?
    Happened,
    /// Does `when` hold?
    ConditionTrue,
    /// Does `when` hold no longer, and is there somebody to tell?
    Ended,
    /// Can `oncePer` be computed?
    OncePer,
    /// Was it not sent before?
    NotSentBefore,
    /// Is it more than what was already true at the first look?
    PastBaseline,
    /// Has it held for as long as `for` says?
    HeldLongEnough,
    /// Is it no muted time?
    NotMuted,
    /// Is there such a service?
    ServiceConfigured,
    /// Are there usable templates?
    TemplatesUsable,
    /// Could the templates be rendered?
    Rendered,
    /// Did the other side accept it?
    Delivered,
}

impl Gate {
    /// All of them, in order.
    pub const ALL: [Gate; 15] = [
        Gate::Subscribed,
        Gate::TriggerConfigured,
        Gate::ConditionUsable,
        Gate::Happened,
        Gate::ConditionTrue,
        Gate::Ended,
        Gate::OncePer,
        Gate::NotSentBefore,
        Gate::PastBaseline,
        Gate::HeldLongEnough,
        Gate::NotMuted,
        Gate::ServiceConfigured,
        Gate::TemplatesUsable,
        Gate::Rendered,
        Gate::Delivered,
    ];

    /// Two or three words for it.
    pub fn title(self) -> &'static str {
        match self {
            Gate::Subscribed => "subscribed",
            Gate::TriggerConfigured => "trigger configured",
            Gate::ConditionUsable => "condition usable",
            Gate::Happened => "event happened",
            Gate::ConditionTrue => "condition true",
            Gate::Ended => "condition ended",
            Gate::OncePer => "oncePer computed",
            Gate::NotSentBefore => "not sent before",
            Gate::PastBaseline => "newer than Herald",
            Gate::HeldLongEnough => "held long enough",
            Gate::NotMuted => "not muted",
            Gate::ServiceConfigured => "service configured",
            Gate::TemplatesUsable => "templates usable",
            Gate::Rendered => "rendered",
            Gate::Delivered => "delivered",
        }
    }

    /// The word of the data formats, such as `not-sent-before`.
    pub fn word(self) -> &'static str {
        match self {
            Gate::Subscribed => "subscribed",
            Gate::TriggerConfigured => "trigger-configured",
            Gate::ConditionUsable => "condition-usable",
            Gate::Happened => "happened",
            Gate::ConditionTrue => "condition-true",
            Gate::Ended => "ended",
            Gate::OncePer => "once-per",
            Gate::NotSentBefore => "not-sent-before",
            Gate::PastBaseline => "past-baseline",
            Gate::HeldLongEnough => "held-long-enough",
            Gate::NotMuted => "not-muted",
            Gate::ServiceConfigured => "service-configured",
            Gate::TemplatesUsable => "templates-usable",
            Gate::Rendered => "rendered",
            Gate::Delivered => "delivered",
        }
    }
}

impl From<GateName> for Gate {
    fn from(name: GateName) -> Gate {
        match name {
            GateName::TriggerConfigured => Gate::TriggerConfigured,
            GateName::ConditionUsable => Gate::ConditionUsable,
            GateName::Happened => Gate::Happened,
            GateName::Condition => Gate::ConditionTrue,
            GateName::Ended => Gate::Ended,
            GateName::OncePer => Gate::OncePer,
            GateName::NotSentBefore => Gate::NotSentBefore,
            GateName::PastBaseline => Gate::PastBaseline,
            GateName::HeldLongEnough => Gate::HeldLongEnough,
            GateName::ServiceConfigured => Gate::ServiceConfigured,
            GateName::TemplatesUsable => Gate::TemplatesUsable,
        }
    }
}

/// What became of a subscription and a condition. Ordered by how much it needs somebody's attention.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// There is nothing to tell: the condition is false, or the event did not happen.
    #[default]
    Quiet,
    /// It was sent before, or was already so at the first look.
    Told,
    /// It is to be told once `for` is over.
    Waiting,
    /// It is due, and sent at the next look.
    Due,
    /// It is in the outbox, and not delivered yet.
    Queued,
    /// It was due in a muted time.
    Muted,
    /// Something is wrong, and somebody has to repair it.
    Wrong,
}

impl Verdict {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Quiet => "quiet",
            Verdict::Told => "told",
            Verdict::Waiting => "waiting",
            Verdict::Due => "due",
            Verdict::Queued => "queued",
            Verdict::Muted => "muted",
            Verdict::Wrong => "wrong",
        }
    }
}

/// The explanation of a decision about one object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The object.
    pub object: ObjectName,
    /// The namespace by whose own configuration it was decided; `None` for the controller's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration: Option<String>,
    /// When it was decided.
    pub at: String,
    /// Its number in the history; `None` for the present.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<u64>,
    /// The most urgent verdict of all.
    pub verdict: Verdict,
    /// What happened since the look before, in order.
    #[serde(default)]
    pub happened: Vec<Event>,
    /// One for each subscription and condition, and for each event that happened.
    pub answers: Vec<Answer>,
    /// What looks wrong about the object's annotations and the configuration that it needs.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// What to write, where nobody is subscribed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub advice: Vec<String>,
}

impl Explanation {
    /// Whether somebody has to repair something.
    pub fn is_wrong(&self) -> bool {
        self.verdict == Verdict::Wrong
    }

    /// Keeps some of the answers and findings. The verdict is that of what is left.
    pub fn retain(
        &mut self,
        answers: impl FnMut(&Answer) -> bool,
        findings: impl FnMut(&Finding, &[Answer]) -> bool,
    ) {
        let mut findings = findings;
        self.answers.retain(answers);
        self.findings.retain(|finding| findings(finding, &self.answers));
        let wrong = self.findings.iter().any(|finding| finding.severity != Severity::Note.as_str());
        let worst = self.answers.iter().map(|answer| answer.verdict).max().unwrap_or_default();
        self.verdict = if wrong { Verdict::Wrong } else { worst };
    }
}

/// Which object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectName {
    /// Its kind.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.kind)?;
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its reason, such as `RolloutCompleted`.
    pub reason: String,
    /// The trigger that it fires.
    pub trigger: String,
    /// Its id.
    pub id: String,
    /// A sentence.
    pub message: String,
}

/// To whom.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct To {
    /// The service instance.
    pub service: String,
    /// The recipient; empty for services that need none.
    pub recipient: String,
}

impl fmt::Display for To {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.service)?;
        if self.recipient.is_empty() { Ok(()) } else { write!(f, ":{}", self.recipient) }
    }
}

/// Where a subscription comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// The default subscription of that index, from 0.
    Default(usize),
    /// An annotation of the object.
    Annotation(String),
}

impl From<&Origin> for Source {
    fn from(origin: &Origin) -> Source {
        match origin {
            Origin::Default(index) => Source::Default(*index),
            Origin::Annotation(key) => Source::Annotation(key.clone()),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Default(index) => write!(f, "default subscription {} of the ConfigMap", index + 1),
            Source::Annotation(key) => write!(f, "annotation {key}"),
        }
    }
}

/// What became of one subscription and one condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// The trigger.
    pub trigger: String,
    /// The condition's index in it, from 0; `None` if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<usize>,
    /// How many conditions the trigger has.
    #[serde(default)]
    pub conditions: usize,
    /// What its author says of the condition.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// To whom.
    pub to: To,
    /// Where the subscription comes from.
    pub from: Source,
    /// The id of the event that it is about, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// What the record calls it, if it came so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What became of it.
    pub verdict: Verdict,
    /// The first gate that stopped it; `None` if none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_by: Option<Gate>,
    /// What became of it, in one sentence.
    pub sentence: String,
    /// The gates in order, up to the one that stopped it.
    pub gates: Vec<Passage>,
    /// The notice that was made of it, if one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
}

/// A gate and how it was passed, or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passage {
    /// Which.
    pub gate: Gate,
    /// Whether it was passed.
    pub passed: bool,
    /// Why.
    pub detail: String,
    /// What the parts of the expression were.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<Part>,
    /// What to do about it, or what else is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
}

/// A part of an expression and its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its text, such as `rollout.status.phase`.
    pub text: String,
    /// Its value, for people.
    pub value: String,
}

/// Something that looks wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// `error`, `warning` or `note`.
    pub severity: String,
    /// The code of the diagnostic.
    pub code: String,
    /// The annotation or the key of the ConfigMap.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Finding {
    fn of(diagnostic: &crate::diagnostic::Diagnostic) -> Finding {
        Finding {
            severity: diagnostic.severity.as_str().to_owned(),
            code: diagnostic.code.to_owned(),
            key: diagnostic.key.clone().unwrap_or_default(),
            message: diagnostic.message.clone(),
            hint: diagnostic.hint.clone(),
        }
    }

    /// Whether it is more than a note.
    fn counts(diagnostic: &crate::diagnostic::Diagnostic) -> bool {
        diagnostic.severity != Severity::Note
    }
}

/// A notice and how far it came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// The notice's id.
    pub id: String,
    /// What the record calls it, if the notice says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The trigger.
    pub trigger: String,
    /// To whom.
    pub to: To,
    /// Where it stands.
    pub stands: Standing,
    /// When it became due.
    pub created: String,
    /// When it was delivered, given up or dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<String>,
    /// Attempts so far.
    pub attempts: u32,
    /// The kind of the last failure, or why it was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the other side said last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
}

/// Where a notice stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It waits for its first or another attempt.
    #[default]
    Pending,
    /// It was accepted by the other side.
    Delivered,
    /// It was given up.
    DeadLetter,
    /// A person dropped it.
    Dropped,
    /// It was due in a muted time.
    Muted,
    /// It was delivered as part of a digest.
    Grouped,
}
