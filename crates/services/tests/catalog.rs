//! The built-in catalog: it loads without a remark, and whatever the object looks like, every medium gets what it takes.

use std::{collections::BTreeMap, fs, path::PathBuf};

use herald_core::{
    catalog,
    config::{Config, ConfigInput},
    names::{Destination, Recipient},
    notification::Notification,
    occurrence::{EventType, Occurrence},
    variables::{Extras, variables},
};
use herald_services::Registry;
use herald_value::{Value, limits::Limits};
use serde_json::{Value as Json, json};

const NOW: jiff::Timestamp = jiff::Timestamp::constant(1_790_000_000, 0);

fn load() -> Config {
    let input = ConfigInput { data: catalog::data(), ..ConfigInput::default() };
    let (config, diagnostics) = Config::load(&input, &Registry::standard(), Limits::DEFAULT);
    assert!(diagnostics.is_empty(), "{diagnostics:#?}");
    config
}

fn value(json: &Json) -> Value {
    Value::from_json(json.to_string().as_bytes()).expect("JSON")
}

/// Renders everything that a trigger sends, for every medium, and checks it.
fn check(
    config: &Config,
    trigger: &str,
    object: &Json,
    runs: &Json,
    event: Option<&Occurrence>,
    about: &str,
) {
    let extras = Extras { trigger: Some(trigger), event, ..Extras::default() };
    let vars = variables(&value(object), &value(runs), &Value::Nil, NOW, &extras);
    let send = &config.trigger(trigger).unwrap_or_else(|| panic!("no trigger {trigger}")).conditions[0].send;
    let rendered = |service: &str| -> Notification {
        let destination =
            Destination { service: service.parse().expect("a name"), recipient: Recipient::new("someone") };
        config
            .render(send, &vars, &destination, NOW)
            .unwrap_or_else(|e| panic!("{about}: {trigger} for {service}: {e}"))
    };
    let text = |notification: &Notification, service: &str, key: &str| -> String {
        notification.sections[service][key]
            .as_str()
            .unwrap_or_else(|| panic!("{about}: {service}.{key}"))
            .to_owned()
    };
    let faults = |what: &str, faults: Result<(), String>| {
        faults.unwrap_or_else(|fault| panic!("{about}: {trigger}, {what}: {fault}"));
    };

    let slack = rendered("slack");
    assert!(!slack.message.trim().is_empty() && slack.message.len() < 40_000, "{about}");
    faults("slack", slack_blocks(&text(&slack, "slack", "blocks")));
    let teams = rendered("teams-workflows");
    faults("adaptive card", adaptive_card(&text(&teams, "teams-workflows", "adaptiveCard")));
    let email = rendered("email");
    faults("html", html(&text(&email, "email", "html")));
    let subject = text(&email, "email", "subject");
    assert!(
        !subject.trim().is_empty() && !subject.contains('\n') && subject.len() <= 250,
        "{about}: {subject:?}"
    );
    assert!(!text(&email, "email", "body").trim().is_empty(), "{about}");
    for text in [&slack.message, &subject, &text(&email, "email", "html"), &text(&email, "email", "body")] {
        assert!(
            !text.contains("<no value>") && !text.contains("&lt;no value&gt;"),
            "{about}: {trigger}: {text}"
        );
        assert!(!text.contains("%!"), "{about}: {trigger}: {text}");
    }
}

type Check = Result<(), String>;

fn want(holds: bool, fault: impl FnOnce() -> String) -> Check {
    if holds { Ok(()) } else { Err(fault()) }
}

fn characters(text: &Json) -> usize {
    text.as_str().map_or(0, |text| text.chars().count())
}

/// Slack's limits, from its reference of blocks.
fn slack_blocks(text: &str) -> Check {
    let blocks: Vec<Json> = serde_json::from_str(text).map_err(|e| format!("{e}: {text}"))?;
    want((1..=50).contains(&blocks.len()), || format!("{} blocks", blocks.len()))?;
    let text_of = |object: &Json, most: usize| -> Check {
        want(["mrkdwn", "plain_text"].contains(&object["type"].as_str().unwrap_or("")), || {
            format!("text object {object}")
        })?;
        let length = characters(&object["text"]);
        want((1..=most).contains(&length), || format!("{length} of at most {most} characters: {object}"))
    };
    for block in &blocks {
        match block["type"].as_str() {
            Some("section") => {
                want(block.get("text").is_some() || block.get("fields").is_some(), || {
                    "empty section".into()
                })?;
                if let Some(text) = block.get("text") {
                    text_of(text, 3000)?;
                }
                if let Some(fields) = block.get("fields") {
                    let fields = fields.as_array().ok_or("fields is no list")?;
                    want((1..=10).contains(&fields.len()), || format!("{} fields", fields.len()))?;
                    fields.iter().try_for_each(|field| text_of(field, 2000))?;
                }
            }
            Some("context") => {
                let elements = block["elements"].as_array().ok_or("elements is no list")?;
                want((1..=10).contains(&elements.len()), || format!("{} elements", elements.len()))?;
                elements.iter().try_for_each(|element| text_of(element, 2000))?;
            }
            Some("header") => text_of(&block["text"], 150)?,
            Some("divider") => {}
            other => return Err(format!("block of type {other:?}")),
        }
    }
    Ok(())
}

/// Elements of Adaptive Cards 1.4 that the catalog uses: type, required keys, other keys.
const ELEMENTS: &[(&str, &[&str], &[&str])] = &[
    (
        "TextBlock",
        &["text"],
        &["size", "weight", "wrap", "isSubtle", "color", "spacing", "separator", "maxLines"],
    ),
    ("Container", &["items"], &["style", "bleed", "spacing", "separator"]),
    ("FactSet", &["facts"], &["spacing", "separator"]),
];

fn adaptive_card(text: &str) -> Check {
    let card: Json = serde_json::from_str(text).map_err(|e| format!("{e}: {text}"))?;
    want(card["type"] == "AdaptiveCard" && card["version"] == "1.4", || format!("head of {card}"))?;
    // The limit of a Teams message.
    want(text.len() < 28 * 1024, || format!("{} bytes", text.len()))?;
    let body = card["body"].as_array().ok_or("body is no list")?;
    want(!body.is_empty(), || "empty body".into())?;
    body.iter().try_for_each(element)
}

fn element(element: &Json) -> Check {
    let kind = element["type"].as_str().unwrap_or("");
    let (_, required, others) = ELEMENTS
        .iter()
        .find(|(name, ..)| *name == kind)
        .ok_or_else(|| format!("element of type {kind:?}"))?;
    for key in *required {
        want(element.get(key).is_some(), || format!("{kind} without {key}"))?;
    }
    for (key, value) in element.as_object().into_iter().flatten() {
        let known = key == "type" || required.contains(&key.as_str()) || others.contains(&key.as_str());
        want(known, || format!("{kind} has no {key}"))?;
        let right = match key.as_str() {
            "size" => {
                ["Default", "Small", "Medium", "Large", "ExtraLarge"].contains(&value.as_str().unwrap_or(""))
            }
            "weight" => ["Default", "Lighter", "Bolder"].contains(&value.as_str().unwrap_or("")),
            "style" => ["default", "emphasis", "good", "attention", "warning", "accent"]
                .contains(&value.as_str().unwrap_or("")),
            "wrap" | "isSubtle" | "bleed" | "separator" => value.is_boolean(),
            "text" => value.as_str().is_some_and(|text| !text.is_empty()),
            _ => true,
        };
        want(right, || format!("{kind}.{key} is {value}"))?;
    }
    for fact in element["facts"].as_array().into_iter().flatten() {
        want(fact["title"].is_string() && fact["value"].is_string(), || format!("fact {fact}"))?;
    }
    element["items"].as_array().into_iter().flatten().try_for_each(self::element)
}

/// Whether every element is closed in order, every attribute quoted and no `<` or `&` stands bare.
fn html(text: &str) -> Check {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = text.trim_start().strip_prefix("<!doctype html>").ok_or("no doctype")?;
    while let Some(at) = rest.find(['<', '&']) {
        let tail = &rest[at..];
        if tail.starts_with('&') {
            let end =
                tail.find(';').filter(|end| *end < 10).ok_or_else(|| format!("bare & in {:.60}", tail))?;
            rest = &tail[end + 1..];
            continue;
        }
        let end = tail.find('>').ok_or("an element without end")?;
        let tag = &tail[1..end];
        rest = &tail[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            want(open.pop() == Some(name), || {
                format!("</{name}> closes another element, before {rest:.60}")
            })?;
            continue;
        }
        let name = tag.split_whitespace().next().unwrap_or("");
        let known = [
            "html", "head", "meta", "title", "body", "table", "tr", "td", "th", "h1", "p", "br", "div",
            "span",
        ];
        want(known.contains(&name), || format!("<{name}>"))?;
        want(tag.matches('"').count() % 2 == 0 && !tag.contains('<'), || format!("quotes of <{tag}>"))?;
        if !["br", "meta"].contains(&name) {
            open.push(name);
        }
    }
    want(open.is_empty(), || format!("not closed: {open:?}"))
}

fn occurrence(message: &str, facts: &Json, event_type: EventType) -> Occurrence {
    let facts: BTreeMap<String, Value> =
        facts.as_object().into_iter().flatten().map(|(key, fact)| (key.clone(), value(fact))).collect();
    Occurrence {
        reason: "RolloutPaused".into(),
        event_type,
        id: "id".into(),
        time: None,
        message: message.into(),
        facts,
        object: None,
    }
}

#[test]
fn the_checks_find_faults() {
    let long = "x".repeat(3001);
    for blocks in [
        json!([]),
        json!([{"type": "section"}]),
        json!([{"type": "section", "text": {"type": "mrkdwn", "text": long}}]),
        json!([{"type": "section", "fields": vec![json!({"type": "mrkdwn", "text": "x"}); 11]}]),
        json!([{"type": "header", "text": {"type": "plain_text", "text": "x".repeat(151)}}]),
        json!(vec![json!({"type": "divider"}); 51]),
    ] {
        assert!(slack_blocks(&blocks.to_string()).is_err(), "{blocks}");
    }
    for body in [
        json!([{"type": "TextBlock"}]),
        json!([{"type": "Textblock", "text": "x"}]),
        json!([{"type": "TextBlock", "text": "x", "size": "Huge"}]),
        json!([{"type": "FactSet", "facts": [{"title": "x", "value": 1}]}]),
        json!([{"type": "Container", "items": [{"type": "TextBlock"}]}]),
    ] {
        let card = json!({"type": "AdaptiveCard", "version": "1.4", "body": body});
        assert!(adaptive_card(&card.to_string()).is_err(), "{card}");
    }
    for text in ["<p>", "<p></td>", "a & b", "<script></script>", "<td style=\"x></td>"] {
        assert!(html(&format!("<!doctype html>{text}")).is_err(), "{text}");
    }
}

#[test]
fn poor_and_hostile_objects_render() {
    let config = load();
    let hostile = "<b>\"x\" & 'y'</b> {{ .z }} %s ☃ \u{1F389}\n".repeat(100);
    let objects = [
        json!({}),
        json!(null),
        json!({"metadata": {"name": "r"}}),
        json!({"metadata": {"name": "r", "annotations": null}, "spec": null, "status": null}),
        json!({"metadata": null, "spec": {"strategy": null}, "status": {"currentStepIndex": null}}),
        json!({"metadata": {"name": "r"}, "spec": {"strategy": {"canary": null}, "template": null}}),
        json!({"metadata": {"name": "r"}, "spec": {"strategy": {"canary": {"steps": null}}}, "status": {"currentStepIndex": 9}}),
        json!({"metadata": {"name": "r"}, "spec": {"strategy": {"canary": {"steps": [null, {}]}},
            "template": {"spec": {"containers": [{}, {"image": null}]}}}, "status": {"currentStepIndex": 1}}),
        json!({"metadata": {"name": "r"}, "spec": {"template": {"spec": {"containers": null}}}}),
        json!({"metadata": {"name": hostile, "namespace": hostile, "annotations": {"rollout.argoproj.io/revision": hostile}},
            "spec": {"strategy": {"canary": {"steps": vec![json!({"setWeight": 5}); 100]}},
                "template": {"spec": {"containers": vec![json!({"image": hostile}); 50]}}},
            "status": {"phase": hostile, "message": hostile, "currentStepIndex": 500}}),
        json!({"metadata": {"name": "r"}, "spec": {"strategy": {"blueGreen": {}}}, "status": {"currentStepIndex": -3}}),
    ];
    let run =
        |text: &str| json!({"metadata": {"name": text}, "status": {"phase": "Failed", "message": text}});
    let all_runs = [
        json!(null),
        json!([]),
        json!([{}]),
        json!([{"metadata": null, "status": null}]),
        json!(vec![run(&hostile); 20]),
    ];
    let events = [
        None,
        Some(occurrence("", &json!({}), EventType::Normal)),
        Some(occurrence(
            &hostile,
            &json!({"cause": hostile, "images": [hostile, "a:2"], "previousImages": ["a:1"], "step": 700, "stepText": hostile}),
            EventType::Warning,
        )),
        Some(occurrence(
            "m",
            &json!({"cause": null, "images": null, "step": null, "stepText": null}),
            EventType::Normal,
        )),
    ];
    let triggers: Vec<String> = config.triggers().map(|trigger| trigger.name.to_string()).collect();
    for (i, object) in objects.iter().enumerate() {
        for (r, runs) in all_runs.iter().enumerate() {
            for (e, event) in events.iter().enumerate() {
                // Most triggers share one template, so a few of them show it all.
                for trigger in
                    triggers.iter().filter(|trigger| (i, r, e) == (0, 0, 0) || is_own(&config, trigger))
                {
                    let about = format!("object {i}, runs {r}, event {e}");
                    check(&config, trigger, object, runs, event.as_ref(), &about);
                }
            }
        }
    }
}

fn is_own(config: &Config, trigger: &str) -> bool {
    let send = config.trigger(trigger).map(|trigger| trigger.conditions[0].send[0].as_str().to_owned());
    send.is_some_and(|name| name != "rollout-event")
}

#[test]
fn recorded_objects_render() {
    let traces = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/traces"));
    if !traces.exists() {
        eprintln!("SKIPPED: no {}", traces.display());
        return;
    }
    let config = load();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for set in ["a", "b"] {
        for scenario in fs::read_dir(traces.join(set)).expect("a set of recordings") {
            let path = scenario.expect("a recording").path().join("stream.jsonl");
            let Ok(stream) = fs::read_to_string(&path) else { continue };
            for line in stream.lines() {
                let line: Json = serde_json::from_str(line).expect("a line is JSON");
                let Some(trigger) = line["trigger"].as_str().filter(|name| config.trigger(name).is_some())
                else {
                    continue;
                };
                let count = seen.entry(trigger.to_owned()).or_default();
                *count += 1;
                if *count > 12 {
                    continue;
                }
                let runs: Vec<Json> = line["analysisRuns"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|run| json!({"metadata": {"name": run[0]}, "status": {"phase": run[1]}}))
                    .collect();
                check(&config, trigger, &line["object"], &json!(runs), None, &path.display().to_string());
            }
        }
    }
    assert!(seen.len() >= 20, "{seen:?}");
}
