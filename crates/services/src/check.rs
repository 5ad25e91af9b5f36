//! What a service would refuse, cut or leave out of a rendered notification, told without sending it.

use serde_json::Value;

use crate::{
    section::Field,
    services::{
        googlechat, mattermost, opsgenie, pagerduty, pagerdutyv2, pushover, rocketchat, slack, teams,
        teams_workflows, telegram, webex,
    },
};

/// One thing that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The field of the section, or `message`.
    pub field: &'static str,
    /// Whether the text has the wrong form, so that nothing is sent; else it is too long, and is cut.
    pub json: bool,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Trouble {
    fn long(field: &'static str, message: String) -> Trouble {
        Trouble { field, json: false, message, hint: None }
    }
}

/// How long a message may be: characters, or bytes.
fn longest(service_type: &str) -> Option<(usize, bool)> {
    Some(match service_type {
        "slack" => (slack::LONGEST_TEXT, false),
        "telegram" => (telegram::LONGEST_TEXT, false),
        "pushover" => (pushover::LONGEST_MESSAGE, false),
        "mattermost" => (mattermost::LONGEST_MESSAGE, false),
        "webex" => (webex::LONGEST_BYTES, true),
        "googlechat" => (googlechat::LONGEST_TEXT_BYTES, true),
        _ => return None,
    })
}

/// What is wrong with a message for a service.
pub fn message(service_type: &str, text: &str) -> Vec<Trouble> {
    let Some((most, bytes)) = longest(service_type) else { return Vec::new() };
    let length = if bytes { text.len() } else { text.chars().count() };
    let unit = if bytes { "bytes" } else { "characters" };
    if length <= most {
        return Vec::new();
    }
    vec![Trouble::long(
        "message",
        format!("{length} {unit}; {service_type} takes {most}, and the rest is cut"),
    )]
}

/// What is wrong with a rendered section.
pub fn section(service_type: &str, section: &Value) -> Vec<Trouble> {
    let mut found = Vec::new();
    let text = |field: &str| section.get(field).and_then(Value::as_str).unwrap_or_default();
    let fields: &[Field] = match service_type {
        "slack" => &slack::FIELDS,
        "teams" => teams::FIELDS,
        "teams-workflows" => teams_workflows::FIELDS,
        "googlechat" => googlechat::FIELDS,
        "mattermost" => mattermost::FIELDS,
        "rocketchat" => rocketchat::FIELDS,
        _ => &[],
    };
    for field in fields {
        let rendered = text(field.name);
        if let Some(check) = field.check
            && !rendered.is_empty()
            && let Err(error) = check(rendered)
        {
            // Cards of Google Chat may be YAML, so what JSON would say about them tells nothing.
            found.push(match service_type {
                "googlechat" => Trouble { field: field.name, json: true, message: error.message, hint: None },
                _ => bad_json(field.name, rendered, &error.message),
            });
        }
    }
    let long = |field: &'static str, most: usize| {
        let length = text(field).chars().count();
        (length > most).then(|| {
            Trouble::long(
                field,
                format!("{length} characters; {service_type} takes {most}, and the rest is cut"),
            )
        })
    };
    match service_type {
        "slack" if found.is_empty() => {
            found.extend(slack::limits(section).into_iter().map(|warning| Trouble::long("blocks", warning)));
        }
        "teams-workflows" | "teams" => {
            let whole = section.to_string().len();
            if whole > teams_workflows::LARGEST_CARD_BYTES {
                let most = teams_workflows::LARGEST_CARD_BYTES;
                let field = if text("adaptiveCard").is_empty() { "text" } else { "adaptiveCard" };
                found.push(Trouble::long(field, format!("about {whole} bytes; Teams takes {most}")));
            }
            if service_type == "teams-workflows" && !text("adaptiveCard").is_empty() && found.is_empty() {
                found.extend(teams_workflows::card_problem(text("adaptiveCard")).map(|message| Trouble {
                    field: "adaptiveCard",
                    json: true,
                    message,
                    hint: None,
                }));
            }
        }
        "pagerduty" => found.extend(long("title", pagerduty::LONGEST_TITLE)),
        "pagerdutyv2" => found.extend(long("summary", pagerdutyv2::LONGEST_SUMMARY)),
        "opsgenie" => {
            for (field, most) in opsgenie::LONGEST {
                found.extend(long(field, *most));
            }
        }
        "email" => {
            let subject = text("subject").trim_end();
            if subject.contains(['\n', '\r']) {
                let message = "the subject has more than one line, and becomes one".to_owned();
                found.push(Trouble {
                    hint: Some("write `subject: >-` or trim the blanks: `{{- … -}}`".into()),
                    ..Trouble::long("subject", message)
                });
            } else if subject.chars().count() > 255 {
                let length = subject.chars().count();
                found.push(Trouble::long(
                    "subject",
                    format!("{length} characters; many mail programs cut at 255 or before"),
                ));
            }
        }
        "github" => {
            let payload = section
                .pointer("/repositoryDispatch/client_payload")
                .and_then(Value::as_str)
                .unwrap_or_default();
            if !payload.trim().is_empty()
                && let Err(error) = serde_json::from_str::<Value>(payload)
            {
                found.push(bad_json("repositoryDispatch.client_payload", payload, &error.to_string()));
            }
        }
        "webhook" => {
            for body in section.as_object().into_iter().flat_map(|entries| entries.values()) {
                let body = body.get("body").and_then(Value::as_str).unwrap_or_default().trim();
                // A body that looks like JSON is meant to be JSON; anything else is anybody's guess.
                if body.starts_with(['{', '['])
                    && body.ends_with(['}', ']'])
                    && let Err(error) = serde_json::from_str::<Value>(body)
                {
                    found.push(bad_json("body", body, &error.to_string()));
                }
            }
        }
        _ => {}
    }
    found
}

fn bad_json(field: &'static str, rendered: &str, why: &str) -> Trouble {
    let hint = |line: &str, before: &str| {
        if line.trim_start().starts_with([',', ']', '}']) && before.trim_end().ends_with(',') {
            Some("a comma too many stands before this".to_owned())
        } else if line.contains("<no value>") {
            Some("a value is missing: guard it with `{{with …}}` or `default`".to_owned())
        } else {
            None
        }
    };
    match serde_json::from_str::<Value>(rendered) {
        Err(error) if error.line() > 0 => {
            let line = rendered.lines().nth(error.line() - 1).unwrap_or_default();
            let before = rendered
                .lines()
                .take(error.line() - 1)
                .filter(|l| !l.trim().is_empty())
                .last()
                .unwrap_or_default();
            let reason = error.to_string();
            let reason = reason.split(" at line").next().unwrap_or(&reason);
            let shown: String = line.trim().chars().take(120).collect();
            let message = format!(
                "{reason} at line {}, column {} of the rendered text: {shown}",
                error.line(),
                error.column()
            );
            Trouble { field, json: true, message, hint: hint(line, before) }
        }
        _ => {
            let why = why.rsplit(" : ").next().unwrap_or(why);
            Trouble { field, json: true, message: why.chars().take(200).collect(), hint: None }
        }
    }
}
