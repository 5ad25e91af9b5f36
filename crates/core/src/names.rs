//! Names of triggers, templates and services, recipients and destinations: parsed once, never checked again.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing is there.
    #[error("the name of a {0} is empty")]
    Empty(&'static str),
    /// Names become parts of keys.
    #[error("the name of a {0} must not hold blanks at its ends or line breaks: {1:?}")]
    Blank(&'static str, String),
    /// The part before the first `:` is empty.
    #[error("`{0}` names no service: write `<service>:<recipient>`")]
    NoService(String),
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                if text.trim().is_empty() {
                    return Err(NameError::Empty($what));
                }
                if text.trim() != text || text.contains(['\n', '\r', '\0']) {
                    return Err(NameError::Blank($what, text.to_owned()));
                }
                Ok($name(text.into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

name! {
    /// The name of a trigger, such as `on-rollout-completed`. It may hold dots.
    TriggerName, "trigger"
}
name! {
    /// The name of a template. It may hold dots.
    TemplateName, "template"
}
name! {
    /// The name of a service instance, such as `slack` or `slack-payments`.
    ServiceName, "service"
}

/// To whom a service delivers: a channel, an address; empty for services that need none.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Recipient(String);

impl Recipient {
    /// Any text is a recipient; blanks around it are not part of it.
    pub fn new(text: &str) -> Recipient {
        Recipient(text.trim().to_owned())
    }

    /// The recipient as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A service instance and a recipient.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Destination {
    /// The service instance.
    pub service: ServiceName,
    /// The recipient there.
    pub recipient: Recipient,
}

impl FromStr for Destination {
    type Err = NameError;

    /// Reads `<service>[:<recipient>]`; the recipient may hold more colons.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let (service, recipient) = text.split_once(':').unwrap_or((text, ""));
        let service = service.trim();
        if service.is_empty() {
            return Err(NameError::NoService(text.to_owned()));
        }
        Ok(Destination { service: service.parse()?, recipient: Recipient::new(recipient) })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.recipient.as_str().is_empty() {
            write!(f, "{}", self.service)
        } else {
            write!(f, "{}:{}", self.service, self.recipient)
        }
    }
}

/// The name of the trigger that an event reason fires: `on-` and the reason in kebab case.
pub fn trigger_name(reason: &str) -> String {
    let chars: Vec<char> = reason.chars().collect();
    // First pass: `(.)([A-Z][a-z]+)` → `$1-$2`.
    let mut once = Vec::with_capacity(chars.len() + 8);
    let mut rest = chars.as_slice();
    while let Some((&first, tail)) = rest.split_first() {
        once.push(first);
        rest = tail;
        if let [upper, lower, ..] = tail
            && upper.is_ascii_uppercase()
            && lower.is_ascii_lowercase()
            && first != '\n'
        {
            once.push('-');
            let word = 1 + tail.iter().skip(1).take_while(|c| c.is_ascii_lowercase()).count();
            let (word, after) = tail.split_at(word);
            once.extend_from_slice(word);
            rest = after;
        }
    }
    // Second pass: `([a-z0-9])([A-Z])` → `$1-$2`.
    let mut name = String::from("on-");
    let mut before = ' ';
    for c in once {
        if c.is_ascii_uppercase() && (before.is_ascii_lowercase() || before.is_ascii_digit()) {
            name.push('-');
        }
        name.extend(c.to_lowercase());
        before = c;
    }
    name
}

/// The known name that is most like an unknown one, if one is near.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Names are short; a long text is no misspelling of one.
    if name.len() > 200 {
        return None;
    }
    let allowed = (name.chars().count() / 4).clamp(1, 3);
    let name: Vec<char> = name.to_lowercase().chars().collect();
    known
        .into_iter()
        .filter(|candidate| candidate.len() <= 200)
        .filter_map(|candidate| Some((distance(&name, candidate, allowed)?, candidate)))
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many characters must be changed, added, removed or swapped with their neighbour, if it is not more than allowed.
/// Configurations may have thousands of names, so what is too far away is left early.
fn distance(a: &[char], b: &str, allowed: usize) -> Option<usize> {
    let b: Vec<char> = b.to_lowercase().chars().collect();
    if a.len().abs_diff(b.len()) > allowed {
        return None;
    }
    let mut older: Vec<usize> = Vec::new();
    let mut old: Vec<usize> = (0..=b.len()).collect();
    let mut least = 0;
    for (i, from) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        let mut least_here = i + 1;
        for (j, to) in b.iter().enumerate() {
            let at = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX / 2);
            let mut best = at(&old, j) + usize::from(from != to);
            best = best.min(at(&row, j) + 1).min(at(&old, j + 1) + 1);
            if i > 0 && j > 0 && a.get(i - 1) == Some(to) && b.get(j - 1) == Some(from) {
                best = best.min(at(&older, j - 1) + 1);
            }
            row.push(best);
            least_here = least_here.min(best);
        }
        // A swap reaches back over one row, so both must be too far.
        if least > allowed && least_here > allowed {
            return None;
        }
        least = least_here;
        older = std::mem::replace(&mut old, row);
    }
    old.last().copied().filter(|distance| *distance <= allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_name_triggers() {
        // engine.md 4 and lifecycle.md 1.5
        for (reason, trigger) in [
            ("RolloutCompleted", "on-rollout-completed"),
            ("ScalingReplicaSet", "on-scaling-replica-set"),
            ("AnalysisRunFailed", "on-analysis-run-failed"),
            ("NewReplicaSetCreated", "on-new-replica-set-created"),
            ("SkipSteps", "on-skip-steps"),
            ("PatchingALBIngress", "on-patching-alb-ingress"),
            ("Updated VirtualService", "on-updated -virtual-service"),
            ("CanaryMappingWeightUpdate", "on-canary-mapping-weight-update"),
        ] {
            assert_eq!(trigger_name(reason), trigger);
        }
        for reason in crate::lifecycle::reasons::REASONS {
            assert_eq!(trigger_name(reason.reason), reason.trigger);
        }
    }

    #[test]
    fn destinations_split_at_the_first_colon() {
        let at = |text: &str| {
            text.parse::<Destination>().map(|d| (d.service.to_string(), d.recipient.to_string()))
        };
        assert_eq!(at("webhook:http://x:80"), Ok(("webhook".into(), "http://x:80".into())));
        assert_eq!(at("grafana"), Ok(("grafana".into(), String::new())));
        assert_eq!(at(" slack : ops "), Ok(("slack".into(), "ops".into())));
        assert!(at(":x").is_err() && at("").is_err());
    }

    #[test]
    fn near_names() {
        let known = ["on-rollout-completed", "on-rollout-aborted", "slack"];
        assert_eq!(nearest("on-rollout-complete", known), Some("on-rollout-completed"));
        assert_eq!(nearest("slcak", known), Some("slack"));
        assert_eq!(nearest("slak", known), Some("slack"));
        assert_eq!(nearest("email", known), None);
        // A swap at the end, where a row before it is already too far.
        assert_eq!(nearest("ba", ["ab"]), Some("ab"));
        assert_eq!(nearest("badcfehg", ["abcdefgh"]), None);
        assert_eq!(nearest("abcdefhg", ["abcdefgh"]), Some("abcdefgh"));
        let far = |a: &str, b, allowed| distance(&a.chars().collect::<Vec<_>>(), b, allowed);
        assert_eq!(
            (far("kitten", "sitting", 3), far("", "ab", 3), far("ab", "", 3)),
            (Some(3), Some(2), Some(2))
        );
        assert_eq!((far("kitten", "sitting", 2), far("", "ab", 1), far("ab", "ba", 0)), (None, None, None));
    }
}
