//! Several notices as one: what was held back for each other, or for the end of a muted time.

use std::fmt::Write as _;

use herald_core::{
    config::Config,
    names::{Destination, Recipient, TemplateName},
    notification::{Notification, ServiceTypes as _},
};
use herald_outbox::Notice;
use herald_services::Registry;
use herald_value::Value;
use jiff::Timestamp;
use serde_json::json;

use super::payload;

/// The template that a ConfigMap may have for it.
const TEMPLATE: &str = "digest";

/// Lines of a digest; the rest is counted.
const MOST: usize = 40;

/// The payload of a digest; `None` where the service can't say several things at once, so that each goes by itself.
pub(crate) fn payload(config: &Config, notices: &[Notice], now: Timestamp) -> Option<Vec<u8>> {
    let first = notices.first()?;
    let notifications: Vec<Notification> =
        notices.iter().map(|notice| payload::read(&notice.payload)).collect::<Result<_, _>>().ok()?;
    let notification = match own(config, first, notices, &notifications, now) {
        Some(notification) => notification,
        None => plain(config, first, notices, &notifications)?,
    };
    payload::write(&notification, None).ok()
}

/// By the ConfigMap's own template.
fn own(
    config: &Config,
    first: &Notice,
    notices: &[Notice],
    notifications: &[Notification],
    now: Timestamp,
) -> Option<Notification> {
    let name: TemplateName = TEMPLATE.parse().ok()?;
    config.template(TEMPLATE)?;
    let destination =
        Destination { service: service(first).parse().ok()?, recipient: Recipient::new(&first.recipient) };
    let list: Vec<serde_json::Value> = notices
        .iter()
        .zip(notifications)
        .map(|(notice, notification)| {
            json!({
                "namespace": notice.object.namespace, "kind": notice.object.kind, "name": notice.object.name,
                "trigger": notice.trigger, "message": notification.message,
                "createdAt": notice.created.to_string(),
            })
        })
        .collect();
    let vars = json!({"digest": {"count": list.len(), "notices": list}, "context": {}});
    let vars = Value::from_json(vars.to_string().as_bytes()).ok()?;
    match config.render(&[name], &vars, &destination, now) {
        Ok(notification) => Some(notification),
        Err(error) => {
            tracing::error!(%error, "the template `{TEMPLATE}` can't be rendered, a plain digest is sent");
            None
        }
    }
}

/// The service's name in its configuration.
fn service(notice: &Notice) -> &str {
    notice.service.split_once('/').map_or(&notice.service, |(_, name)| name)
}

fn plain(
    config: &Config,
    first: &Notice,
    notices: &[Notice],
    notifications: &[Notification],
) -> Option<Notification> {
    let service_type = &*config.service(service(first))?.service_type;
    let speaks = |notification: &Notification| {
        // A request of a webhook's own making can't be merged with another.
        let own = notification.sections.get("webhook").and_then(|section| section.get(service(first)));
        !notification.message.trim().is_empty() && own.is_none()
    };
    if Registry::standard().needs_section(service_type) || !notifications.iter().all(speaks) {
        return None;
    }
    let title = format!("{} notifications", notices.len());
    let mut message = format!("{title}\n");
    for (notice, notification) in notices.iter().zip(notifications).take(MOST) {
        let line =
            notification.message.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
        let object = &notice.object;
        match line.contains(&object.name) {
            true => drop(write!(message, "\n• {line}")),
            false => drop(write!(message, "\n• {}/{}: {line}", object.namespace, object.name)),
        }
    }
    if notices.len() > MOST {
        let _ = write!(message, "\n… and {} more", notices.len() - MOST);
    }
    let mut notification = Notification { message, ..Notification::default() };
    if service_type == "email" {
        notification.sections.insert("email".into(), json!({"subject": title}));
    }
    Some(notification)
}

#[cfg(test)]
mod tests {
    use herald_core::config::ConfigInput;
    use herald_outbox::ObjectRef;
    use herald_value::limits::Limits;

    use super::*;

    fn config(template: Option<&str>) -> Config {
        let mut input = ConfigInput::default();
        for (key, text) in [
            ("service.slack", "token: x"),
            ("service.webhook.hook", "url: http://x"),
            ("service.email", "host: x\nport: 25\nfrom: a@b.c"),
        ] {
            input.data.insert(key.into(), text.into());
        }
        if let Some(text) = template {
            input.data.insert("template.digest".into(), text.into());
        }
        let (config, found) = Config::load(&input, &Registry::standard(), Limits::DEFAULT);
        assert!(found.is_empty(), "{found:#?}");
        config
    }

    fn notice(number: usize, service: &str, notification: &Notification) -> Notice {
        let object = ObjectRef {
            namespace: "shop".into(),
            kind: "Rollout".into(),
            name: format!("web-{number}"),
            uid: String::new(),
        };
        Notice {
            id: number.to_string(),
            object,
            trigger: "on-a".into(),
            service: service.into(),
            recipient: "deploys".into(),
            created: Timestamp::UNIX_EPOCH,
            due_after: Timestamp::UNIX_EPOCH,
            payload: payload::write(notification, None).unwrap(),
        }
    }

    fn say(message: &str) -> Notification {
        Notification { message: message.into(), ..Notification::default() }
    }

    fn digest(config: &Config, notices: &[Notice]) -> Option<Notification> {
        super::payload(config, notices, Timestamp::UNIX_EPOCH).map(|bytes| payload::read(&bytes).unwrap())
    }

    #[test]
    fn each_notice_is_a_line() {
        let config = config(None);
        let notices = [notice(1, "slack", &say("\nweb-1 is done\nmore")), notice(2, "slack", &say("done"))];
        let found = digest(&config, &notices).unwrap();
        assert_eq!(found.message, "2 notifications\n\n• web-1 is done\n• shop/web-2: done");
        let many: Vec<Notice> = (0..50).map(|n| notice(n, "email", &say("x"))).collect();
        let found = digest(&config, &many).unwrap();
        assert!(found.message.ends_with("\n… and 10 more"), "{}", found.message);
        assert_eq!(found.sections["email"]["subject"], "50 notifications");
    }

    #[test]
    fn what_cannot_be_merged_goes_one_by_one() {
        let config = config(None);
        let mut own = say("x");
        own.sections.insert("webhook".into(), json!({"hook": {"method": "POST", "path": "", "body": "{}"}}));
        assert_eq!(digest(&config, &[notice(1, "hook", &own), notice(2, "hook", &own)]), None);
        assert_eq!(digest(&config, &[notice(1, "slack", &say("")), notice(2, "slack", &say("x"))]), None);
        assert_eq!(digest(&config, &[notice(1, "gone", &say("x")), notice(2, "gone", &say("x"))]), None);
    }

    #[test]
    fn a_template_of_the_configmap_says_it_its_way() {
        let config = config(Some(
            "message: \"{{.digest.count}} for {{.recipient}}:{{range .digest.notices}} {{.name}}={{.message}}{{end}}\"",
        ));
        let notices = [notice(1, "slack", &say("a")), notice(2, "slack", &say("b"))];
        assert_eq!(digest(&config, &notices).unwrap().message, "2 for deploys: web-1=a web-2=b");
    }
}
