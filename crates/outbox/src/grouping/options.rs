//! How grouping and muting are configured.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer, de::Error};

use super::mute::{self, MuteTime};
use crate::{LaneKey, ObjectRef, Queued};

/// What has the same value for all notices of a group, besides service and recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum GroupBy {
    /// The object's namespace.
    Namespace,
    /// The object's kind.
    Kind,
    /// The object's name.
    Name,
    /// The trigger.
    Trigger,
}

/// What becomes of notices that are due in a muted time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Muted {
    /// They wait for its end and are delivered together.
    #[default]
    Digest,
    /// They are not delivered; the history has them.
    Drop,
}

/// What waits for others of its kind, and when nothing is wanted. The first rule that fits a notice is the one.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct Grouping {
    /// The rules.
    pub rules: Vec<GroupingRule>,
}

/// A rule for some notices of a service.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct GroupingRule {
    /// For these triggers; none means all.
    pub triggers: Vec<String>,
    /// For these recipients; none means all.
    pub recipients: Vec<String>,
    /// What a group has in common; nothing means one group for each recipient.
    pub group_by: Option<Vec<GroupBy>>,
    /// How long the first notice of a new group waits for others: 30 s if not given.
    #[serde(deserialize_with = "span")]
    pub group_wait: Option<Duration>,
    /// How long a group that was delivered collects before it is delivered again: 5 min if not given.
    #[serde(deserialize_with = "span")]
    pub group_interval: Option<Duration>,
    /// A group of so many is delivered at once: 500 if not given.
    pub max_size: Option<usize>,
    /// When nothing is wanted.
    pub mute_times: Vec<MuteTime>,
    /// What becomes of what is due then.
    pub muted: Muted,
}

fn span<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let parsed: Option<SignedDuration> = text.parse().ok();
    let span = parsed.and_then(|span| Duration::try_from(span).ok());
    span.map(Some)
        .ok_or_else(|| D::Error::custom(format!("{text:?} is no span of time; write one like 30s or 5m")))
}

impl Grouping {
    /// The rule for a notice and its number.
    pub(super) fn rule(&self, queued: &Queued) -> Option<(usize, &GroupingRule)> {
        let fits = |list: &[String], value: &str| list.is_empty() || list.iter().any(|one| one == value);
        self.rules.iter().enumerate().find(|(_, rule)| {
            fits(&rule.triggers, &queued.trigger) && fits(&rule.recipients, queued.lane.recipient())
        })
    }
}

impl GroupingRule {
    /// Whether notices wait for each other outside of muted times too.
    pub(super) fn groups(&self) -> bool {
        self.group_by.is_some() || self.group_wait.is_some() || self.group_interval.is_some()
    }

    pub(super) fn wait(&self) -> Duration {
        self.group_wait.unwrap_or(Duration::from_secs(30))
    }

    pub(super) fn interval(&self) -> Duration {
        if self.groups() { self.group_interval.unwrap_or(Duration::from_secs(300)) } else { Duration::ZERO }
    }

    pub(super) fn most(&self) -> usize {
        self.max_size.unwrap_or(500).max(2)
    }

    pub(super) fn muted_at(&self, now: Timestamp) -> Option<(Timestamp, &str)> {
        mute::muted(&self.mute_times, now)
    }

    /// What a digest of the notice's group speaks of.
    pub(super) fn object(&self, number: usize, queued: &Queued) -> ObjectRef {
        let mut parts = queued.lane.object().splitn(3, '/');
        let mut part = || parts.next().unwrap_or_default();
        let (namespace, kind, name) = (part(), part(), part());
        let by = self.group_by.as_deref().unwrap_or_default();
        let mut label = format!("group-{number}");
        // The trigger last: it is the only one that may have a slash in it.
        for (field, value) in
            [(GroupBy::Kind, kind), (GroupBy::Name, name), (GroupBy::Trigger, queued.trigger.as_str())]
        {
            if by.contains(&field) {
                label.push('/');
                label.push_str(value);
            }
        }
        let namespace = if by.contains(&GroupBy::Namespace) { namespace } else { "" };
        ObjectRef { namespace: namespace.into(), kind: "Digest".into(), name: label, uid: String::new() }
    }

    /// The group of a notice: the lane that its digests go in.
    pub(super) fn group(&self, number: usize, queued: &Queued) -> LaneKey {
        LaneKey::new(&self.object(number, queued), queued.lane.service(), queued.lane.recipient())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_as_in_alertmanager() {
        let grouping: Grouping = serde_json::from_str(
            r#"[{"triggers": ["on-a"], "groupBy": ["namespace", "trigger"], "groupWait": "30s", "groupInterval": "1h30m",
                 "maxSize": 50, "muted": "drop", "muteTimes": [{"name": "night", "weekdays": ["monday:friday"]}]}]"#,
        )
        .unwrap();
        let rule = &grouping.rules[0];
        assert_eq!((rule.wait(), rule.interval()), (Duration::from_secs(30), Duration::from_secs(5400)));
        assert_eq!((rule.muted, rule.most()), (Muted::Drop, 50));
        for (written, part) in [
            (r#"[{"groupWait": "half a year"}]"#, "is no span of time"),
            (r#"[{"groupWait": "-5s"}]"#, "is no span of time"),
            (r#"[{"groupBy": ["label"]}]"#, "unknown variant `label`"),
            (r#"[{"groupby": []}]"#, "unknown field `groupby`"),
        ] {
            let error = serde_json::from_str::<Grouping>(written).unwrap_err().to_string();
            assert!(error.contains(part), "{written}: {error}");
        }
    }
}
