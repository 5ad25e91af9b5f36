//! Beside the reference, without sending: what Herald would have done, compared with what the reference recorded in
//! the annotation `notified.notifications.argoproj.io`.
//!
//! The reference records what it sends for conditions on the state. What it sends for an event leaves no record, so
//! that is told, and not compared.

pub(crate) mod recording;
pub(crate) mod report;
pub(crate) mod snapshot;

use serde::Serialize;

/// How the two stand to each other about one notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// The reference recorded it, and Herald would not have sent it.
    OnlyReference,
    /// Herald would have sent it, and the reference did not record it.
    OnlyHerald,
    /// Both.
    Both,
    /// A record of the past, about which nothing can be said now.
    Past,
    /// An event, which the reference does not record.
    Event,
}

impl Kind {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Kind::OnlyReference => "only the reference",
            Kind::OnlyHerald => "only Herald",
            Kind::Both => "both",
            Kind::Past => "past",
            Kind::Event => "event",
        }
    }
}

/// One line of the comparison.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Line {
    pub(crate) kind: Kind,
    /// Namespace and name of the Rollout.
    pub(crate) rollout: String,
    pub(crate) trigger: String,
    pub(crate) to: String,
    /// The key of the record.
    pub(crate) key: String,
    /// When the reference sent it, or Herald would have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) at: Option<String>,
    /// Why they differ.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) why: String,
    /// Whether it is meant that they differ.
    pub(crate) meant: bool,
}

impl Line {
    /// Whether the two differ in a way that is not meant.
    pub(crate) fn is_difference(&self) -> bool {
        matches!(self.kind, Kind::OnlyHerald | Kind::OnlyReference) && !self.meant
    }
}

/// A key of the record, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecordKey<'k> {
    /// What `oncePer` said; empty without one.
    pub(crate) once_per: &'k str,
    pub(crate) trigger: &'k str,
    /// `[<index>].<hash>`
    pub(crate) condition: &'k str,
    pub(crate) service: &'k str,
    pub(crate) recipient: &'k str,
}

impl<'k> RecordKey<'k> {
    /// `[<oncePer>:][<namespace>:]<trigger>:[<index>].<hash>:<service>:<recipient>`
    pub(crate) fn parse(key: &'k str) -> Option<RecordKey<'k>> {
        let at = key.match_indices(":[").map(|(at, _)| at).find(|at| {
            let rest = key.get(at + 2..).unwrap_or_default();
            rest.split_once("].")
                .is_some_and(|(index, _)| !index.is_empty() && index.chars().all(|c| c.is_ascii_digit()))
        })?;
        let (before, rest) = (key.get(..at)?, key.get(at + 1..)?);
        let (condition, to) = rest.split_once(':')?;
        let (service, recipient) = to.split_once(':').unwrap_or((to, ""));
        let (once_per, trigger) = before.rsplit_once(':').unwrap_or(("", before));
        Some(RecordKey { once_per, trigger, condition, service, recipient })
    }

    pub(crate) fn to(&self) -> String {
        if self.recipient.is_empty() {
            self.service.to_owned()
        } else {
            format!("{}:{}", self.service, self.recipient)
        }
    }
}

/// A time of the record.
pub(crate) fn second(at: i64) -> String {
    jiff::Timestamp::from_second(at).map_or_else(|_| at.to_string(), |at| at.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_taken_apart() {
        for (key, wanted) in [
            ("on-x:[0].abc:slack:ops", Some(("", "on-x", "[0].abc", "slack", "ops"))),
            ("7f6c:on-x:[12].a_-c:slack:a:b", Some(("7f6c", "on-x", "[12].a_-c", "slack", "a:b"))),
            ("a:b:on-x:[0].abc:hook:", Some(("a:b", "on-x", "[0].abc", "hook", ""))),
            ("x:[y]:on-x:[0].abc:hook:", Some(("x:[y]", "on-x", "[0].abc", "hook", ""))),
            ("on-x", None),
            ("", None),
        ] {
            let parsed = RecordKey::parse(key);
            let got = parsed.as_ref().map(|k| (k.once_per, k.trigger, k.condition, k.service, k.recipient));
            assert_eq!(got, wanted, "{key}");
        }
    }
}
