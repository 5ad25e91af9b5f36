//! The cases of `conformance/engine`: a configuration and a sequence of objects → what is due, what is recorded,
//! what is wrong. Expected values come from the specification of the reference.

#![allow(clippy::unwrap_used)] // a test that cannot go on says where

mod common;

use std::{collections::BTreeMap, path::Path};

use herald_core::{
    config::{Config, ConfigInput},
    decide::{Baseline, Decision, Held, Subject, decide},
    explain::{Asked, Explanation, Gate, Verdict, explain},
    occurrence::{EventType, Occurrence},
    state::State,
    variables, yaml,
};
use herald_value::{Value, limits::Limits};
use proptest::prelude::*;
use serde::Deserialize;

use common::{Types, value};

#[derive(Deserialize)]
struct Case {
    #[allow(dead_code)]
    about: String,
    #[serde(default)]
    configmap: BTreeMap<String, String>,
    #[serde(default)]
    secret: BTreeMap<String, String>,
    #[serde(default)]
    base: BTreeMap<String, String>,
    #[serde(default)]
    namespace: Option<String>,
    /// `<code> <key> <line>:<column>` of each diagnostic of loading.
    #[serde(default)]
    diagnostics: Vec<String>,
    /// Instance → options, secrets filled in.
    #[serde(default)]
    options: BTreeMap<String, serde_json::Value>,
    #[serde(default)]
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    now: i64,
    #[serde(default)]
    silent: bool,
    /// The annotation to begin with; else that of the step before.
    #[serde(default)]
    state: Option<String>,
    object: serde_json::Value,
    #[serde(default)]
    occurrences: Vec<Event>,
    /// `<trigger>[<condition>] <destination>` of each notice.
    due: Vec<String>,
    /// Their dedupe keys.
    #[serde(default)]
    keys: Option<Vec<String>>,
    /// Their messages.
    #[serde(default)]
    messages: Option<Vec<String>>,
    /// Their sections.
    #[serde(default)]
    sections: Option<Vec<serde_json::Value>>,
    /// The annotation afterwards: key → seconds.
    #[serde(default)]
    recorded: Option<BTreeMap<String, i64>>,
    /// `<code>` of each diagnostic of the object's annotations.
    #[serde(default)]
    warnings: Vec<String>,
    /// `<trigger> <destination>: <gate>` of what was stopped.
    #[serde(default)]
    stopped: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Event {
    reason: String,
    id: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    object: Option<serde_json::Value>,
}

/// The explanation of a decision says exactly what was decided.
fn explained(subject: &Subject<'_>, decision: &Decision) -> Explanation {
    let explanation = explain(&Asked {
        config: subject.config,
        loading: &[],
        object: subject.object,
        occurrences: subject.occurrences,
        decision,
        now: subject.now,
        deliveries: &[],
        render: true,
    });
    let told: Vec<(String, Option<usize>, String, Option<String>)> = explanation
        .answers
        .iter()
        .filter(|answer| answer.verdict == Verdict::Due || answer.stopped_by == Some(Gate::Rendered))
        .map(|answer| {
            let to = format!("{}:{}", answer.to.service, answer.to.recipient);
            (answer.trigger.clone(), answer.condition, to, answer.key.clone())
        })
        .collect();
    let due: Vec<(String, Option<usize>, String, Option<String>)> = decision
        .due
        .iter()
        .map(|due| {
            let to = format!("{}:{}", due.destination.service, due.destination.recipient);
            (due.trigger.to_string(), Some(due.condition), to, Some(due.key.clone()))
        })
        .collect();
    assert_eq!(told, due, "explained and decided");
    for (answer, chain) in explanation.answers.iter().zip(&decision.chains) {
        let stopped = chain.stopped_by().map(|gate| Gate::from(gate.name));
        assert!(answer.stopped_by == stopped || answer.stopped_by == Some(Gate::Rendered), "{answer:?}");
        assert!(!answer.sentence.is_empty(), "{answer:?}");
    }
    explanation
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

fn run(name: &str, case: Case) {
    let input = ConfigInput {
        data: case.configmap,
        secret: case.secret.into_iter().map(|(k, v)| (k, v.into_bytes())).collect(),
        base: case.base,
        object: "ConfigMap test".into(),
        namespace: case.namespace,
        ..ConfigInput::default()
    };
    let (config, diagnostics) = Config::load(&input, &Types, Limits::DEFAULT);
    let seen = diagnostics
        .iter()
        .map(|d| format!("{} {} {}:{}", d.code, d.key.as_deref().unwrap_or("-"), d.at.line, d.at.column))
        .collect();
    assert_eq!(sorted(seen), sorted(case.diagnostics), "{name}: diagnostics\n{diagnostics:#?}");
    for (instance, wanted) in case.options {
        let service = config.service(&instance).unwrap_or_else(|| panic!("{name}: no service {instance}"));
        assert_eq!(service.options.to_json(), wanted, "{name}: options of {instance}");
    }

    let mut state = State::default();
    let mut held = Held::default();
    for (number, step) in case.steps.into_iter().enumerate() {
        let place = format!("{name}, step {}", number + 1);
        if let Some(text) = &step.state {
            state = State::parse(text);
        }
        let object = variables::shape_rollout(&value(&step.object), None);
        let occurrences: Vec<Occurrence> = step
            .occurrences
            .into_iter()
            .map(|event| Occurrence {
                reason: event.reason.into(),
                event_type: EventType::Normal,
                id: event.id,
                time: None,
                message: event.message,
                facts: BTreeMap::new(),
                object: event.object.as_ref().map(value),
            })
            .collect();
        let now = jiff::Timestamp::from_second(step.now).unwrap();
        let subject = Subject {
            config: &config,
            object: &object,
            analysis_runs: &Value::Nil,
            previous: None,
            occurrences: &occurrences,
            state: &state,
            held: &held,
            now,
            baseline: if step.silent { Baseline::Silent } else { Baseline::Notify },
        };
        let decision = decide(&subject);
        explained(&subject, &decision);
        let due: Vec<String> = decision
            .due
            .iter()
            .map(|due| format!("{}[{}] {}", due.trigger, due.condition, due.destination))
            .collect();
        assert_eq!(due, step.due, "{place}: due\n{:#?}", decision.chains);
        if let Some(wanted) = step.keys {
            let keys: Vec<String> = decision.due.iter().map(|due| due.key.clone()).collect();
            assert_eq!(keys, wanted, "{place}: keys");
        }
        let render = |due: &herald_core::decide::Due| {
            config
                .render(&due.send, &due.vars, &due.destination, now)
                .unwrap_or_else(|e| panic!("{place}: {e}"))
        };
        if let Some(wanted) = step.messages {
            let messages: Vec<String> = decision.due.iter().map(|due| render(due).message).collect();
            assert_eq!(messages, wanted, "{place}: messages");
        }
        if let Some(wanted) = step.sections {
            let sections: Vec<serde_json::Value> =
                decision.due.iter().map(|due| serde_json::to_value(render(due).sections).unwrap()).collect();
            assert_eq!(sections, wanted, "{place}: sections");
        }
        if let Some(wanted) = step.recorded {
            let recorded: BTreeMap<String, i64> =
                decision.state.entries().map(|(key, at)| (key.to_owned(), at)).collect();
            assert_eq!(recorded, wanted, "{place}: recorded");
        }
        let warnings = decision.diagnostics.iter().map(|d| d.code.to_owned()).collect();
        assert_eq!(sorted(warnings), sorted(step.warnings), "{place}: {:#?}", decision.diagnostics);
        let stopped: Vec<String> = decision
            .chains
            .iter()
            .filter_map(|chain| {
                let gate = chain.stopped_by()?;
                Some(format!("{} {}: {}", chain.trigger, chain.destination, gate.name.as_str()))
            })
            .collect();
        assert_eq!(stopped.len() + due.len(), decision.chains.len(), "{place}: a chain is due or stopped");
        if let Some(wanted) = step.stopped {
            assert_eq!(sorted(stopped), sorted(wanted), "{place}: stopped");
        }
        state = decision.state;
        held = decision.held;
    }
}

#[test]
fn cases() {
    let dir = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../conformance/engine"));
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "yaml"));
    files.sort();
    assert!(files.len() >= 10, "there are only {} cases", files.len());
    let mut failed = Vec::new();
    for path in files {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let node = yaml::parse(&text).unwrap_or_else(|e| panic!("{name}:{}: {e}", e.at.line));
        let (case, unknown): (Case, _) =
            yaml::decode_noting_unknown(&node).unwrap_or_else(|e| panic!("{name}:{}: {e}", e.at.line));
        // A misspelled expectation would never fail.
        assert!(unknown.is_empty(), "{name}: {unknown:?}");
        // All cases run, so that one failure does not hide the next.
        if std::panic::catch_unwind(|| run(&name, case)).is_err() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "these cases failed: {failed:?}");
}

fn any_key() -> impl Strategy<Value = String> {
    prop_oneof![
        "(service|template|trigger|defaultTriggers|subscriptions)(\\.[a-z]{0,3}){0,4}",
        Just("service.slack".to_owned()),
        Just("template.x".to_owned()),
        Just("trigger.x".to_owned()),
        Just("subscriptions".to_owned()),
        Just("defaultTriggers".to_owned()),
    ]
}

fn any_text() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "- when: ",
        "send: ",
        "[x]",
        "\n",
        "  ",
        "message: ",
        "{{",
        "}}",
        ".rollout",
        "$token",
        "'",
        "\"",
        "recipients: ",
        "- ",
        "&a ",
        "*a",
        "<<: ",
        "|",
        "slack:x",
        "selector: ",
        "a in (b)",
        ",",
        ":",
        "#",
        "null",
        "oncePer: ",
        "for: 5m",
        "{",
        "}",
        "[",
        "]",
        "é",
        "\t",
        "---",
        "!!str ",
    ]);
    prop_oneof![".{0,60}", prop::collection::vec(words, 0..14).prop_map(|words| words.concat())]
}

proptest! {
    #[test]
    fn loading_never_panics(
        data in prop::collection::btree_map(any_key(), any_text(), 0..5),
        annotations in prop::collection::btree_map(
            "(notifications.argoproj.io/subscri(be\\.|ptions)[a-z.]{0,6}|notified.notifications.argoproj.io)",
            any_text(),
            0..4,
        ),
    ) {
        let input = ConfigInput {
            data,
            secret: BTreeMap::from([("token".to_owned(), b"\xff: '".to_vec())]),
            ..ConfigInput::default()
        };
        let (config, diagnostics) = Config::load(&input, &Types, Limits::DEFAULT);
        for diagnostic in diagnostics {
            prop_assert!(diagnostic.to_string().contains(diagnostic.code));
        }
        let object = value(&serde_json::json!({"metadata": {"name": "x", "annotations": annotations}}));
        let object = variables::shape_rollout(&object, None);
        let state = State::of(&object);
        let held = Held::default();
        let subject = Subject {
            config: &config,
            object: &object,
            analysis_runs: &Value::Nil,
            previous: None,
            occurrences: &[],
            state: &state,
            held: &held,
            now: jiff::Timestamp::UNIX_EPOCH,
            baseline: Baseline::Notify,
        };
        let first = decide(&subject);
        explained(&subject, &first);
        // What was told once is recorded: the same again tells nothing.
        let again = decide(&Subject { state: &first.state, ..subject });
        prop_assert!(again.due.is_empty());
    }
}
