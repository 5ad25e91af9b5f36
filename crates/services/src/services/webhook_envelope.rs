//! The envelopes of a webhook: CloudEvents 1.0 and CDEvents 0.4.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::service::Delivery;

/// What a webhook's body is put into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Envelope {
    /// Nothing.
    #[default]
    None,
    /// CloudEvents, structured mode.
    CloudEvents,
    /// CDEvents, in a CloudEvent of structured mode.
    CdEvents,
}

/// The content type of an event.
pub(super) const CONTENT_TYPE: &str = "application/cloudevents+json";

/// The version of CDEvents.
const CDEVENTS: &str = "0.4.1";

impl Envelope {
    /// The option's value, without regard to case.
    pub(super) fn read(text: &str) -> Result<Envelope, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "" | "none" => Ok(Envelope::None),
            "cloudevents" => Ok(Envelope::CloudEvents),
            "cdevents" => Ok(Envelope::CdEvents),
            _ => Err(format!("envelope is {text:?}; it can be cloudevents or cdevents")),
        }
    }
}

/// The type of a trigger's event in CDEvents: one of its own vocabulary, or a custom one.
fn cdevent(trigger: &str) -> String {
    match trigger.strip_prefix("on-").unwrap_or(trigger) {
        "rollout-completed" => "dev.cdevents.service.upgraded.0.2.0".into(),
        "rollout-aborted" => "dev.cdevents.service.rolledback.0.2.0".into(),
        other => {
            let letters = other.chars().filter(char::is_ascii_alphabetic);
            let word: String = letters.map(|c| c.to_ascii_lowercase()).collect();
            let word = if word.is_empty() { "notified" } else { &word };
            format!("dev.cdeventsx.argorollouts-rollout.{word}.0.1.0")
        }
    }
}

/// A body that is JSON as it is, any other as text.
fn data(body: &str) -> (Value, &'static str) {
    match serde_json::from_str::<Value>(body) {
        Ok(json) => (json, "application/json"),
        Err(_) => (body.into(), "text/plain"),
    }
}

/// The event of a delivery; `source` is the option, maybe empty, `artifact` what was released, maybe empty.
pub(super) fn event(
    envelope: Envelope,
    delivery: &Delivery<'_>,
    source: &str,
    artifact: &str,
    body: &str,
) -> Value {
    let object = delivery.object;
    let subject = match (object.namespace, object.name) {
        ("", name) => name.to_string(),
        (namespace, name) => format!("{namespace}/{name}"),
    };
    let source = if source.is_empty() { "/herald" } else { source };
    let time = delivery.now.to_string();
    let (content, content_type) = data(body);
    let trigger = delivery.trigger.strip_prefix("on-").unwrap_or(delivery.trigger);
    let name = if trigger.is_empty() { "notification" } else { trigger };
    let mut event = json!({
        "specversion": "1.0",
        "id": delivery.notice_id,
        "source": source,
        "type": format!("io.argoproj.rollouts.{name}"),
        "time": time,
        "datacontenttype": content_type,
        "data": content,
    });
    if !subject.is_empty() {
        event["subject"] = subject.as_str().into();
    }
    if envelope == Envelope::CdEvents {
        let kind = cdevent(delivery.trigger);
        let artifact = match artifact {
            "" => format!("pkg:generic/{}", object.name),
            artifact => artifact.to_string(),
        };
        event["type"] = kind.as_str().into();
        event["datacontenttype"] = "application/json".into();
        event["data"] = json!({
            "context": {
                "version": CDEVENTS, "id": delivery.notice_id, "source": source, "type": kind, "timestamp": time,
            },
            "subject": {
                "id": subject,
                "source": source,
                "type": "service",
                "content": {"environment": {"id": object.namespace, "source": source}, "artifactId": artifact},
            },
            "customData": content,
            "customDataContentType": content_type,
        });
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn triggers_have_types() {
        assert_eq!(cdevent("on-rollout-completed"), "dev.cdevents.service.upgraded.0.2.0");
        assert_eq!(
            cdevent("on-rollout-step-completed"),
            "dev.cdeventsx.argorollouts-rollout.rolloutstepcompleted.0.1.0"
        );
        assert_eq!(cdevent(""), "dev.cdeventsx.argorollouts-rollout.notified.0.1.0");
    }

    #[test]
    fn names_of_envelopes() {
        assert_eq!(Envelope::read("CloudEvents"), Ok(Envelope::CloudEvents));
        assert_eq!(Envelope::read(""), Ok(Envelope::None));
        assert!(Envelope::read("soap").is_err());
    }
}
