//! The cases of `conformance/explain`: for each gate a scenario whose explanation names that gate.

#![allow(clippy::unwrap_used)] // a test that cannot go on says where

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use herald_core::{
    config::{Config, ConfigInput},
    decide::{Baseline, Held, Subject, decide},
    explain::{Asked, Delivery, Explanation, Gate, Verdict, explain},
    occurrence::{EventType, Occurrence},
    state::State,
    variables, yaml,
};
use herald_value::{Value, limits::Limits};
use serde::Deserialize;

use common::{Types, value};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    #[allow(dead_code)]
    about: String,
    configmap: BTreeMap<String, String>,
    /// Earlier looks, which leave their record.
    #[serde(default)]
    before: Vec<Look>,
    look: Look,
    #[serde(default)]
    deliveries: Vec<Delivery>,
    /// The gate that is named, `none` if nothing stopped it.
    gate: String,
    verdict: Verdict,
    /// Words of the sentence.
    #[serde(default)]
    sentence: String,
    /// Words of the hints of that gate, or of the advice.
    #[serde(default)]
    hints: Vec<String>,
    /// What the parts of the expression are.
    #[serde(default)]
    values: BTreeMap<String, String>,
    /// Codes of findings about annotations.
    #[serde(default)]
    findings: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Look {
    now: i64,
    object: serde_json::Value,
    #[serde(default)]
    silent: bool,
    #[serde(default)]
    occurrences: Vec<BTreeMap<String, String>>,
}

fn explained(case: &Case) -> Explanation {
    let input = ConfigInput {
        data: case.configmap.clone(),
        object: "ConfigMap test".into(),
        ..ConfigInput::default()
    };
    let (config, loading) = Config::load(&input, &Types, Limits::DEFAULT);
    let (mut state, mut held) = (State::default(), Held::default());
    let mut last = None;
    for look in case.before.iter().chain([&case.look]) {
        let object = variables::shape_rollout(&value(&look.object), None);
        let occurrences: Vec<Occurrence> = look
            .occurrences
            .iter()
            .map(|event| Occurrence {
                reason: event["reason"].clone().into(),
                event_type: EventType::Normal,
                id: event["id"].clone(),
                time: None,
                message: String::new(),
                facts: BTreeMap::new(),
                object: None,
            })
            .collect();
        state.merge(&State::of(&object));
        let now = jiff::Timestamp::from_second(look.now).unwrap();
        let decision = decide(&Subject {
            config: &config,
            object: &object,
            analysis_runs: &Value::Nil,
            previous: None,
            occurrences: &occurrences,
            state: &state,
            held: &held,
            now,
            baseline: if look.silent { Baseline::Silent } else { Baseline::Notify },
        });
        let asked = Asked {
            config: &config,
            loading: &loading,
            object: &object,
            occurrences: &occurrences,
            decision: &decision,
            now,
            deliveries: &case.deliveries,
            render: true,
        };
        // What the pipeline keeps is read long after: it foretells nothing.
        let kept = explain(&Asked { render: false, deliveries: &[], ..asked });
        for answer in kept.answers.iter().filter(|answer| answer.verdict == Verdict::Due) {
            assert_eq!(answer.sentence, format!("due: a notice to {} was made", answer.to));
        }
        last = Some(explain(&asked));
        (state, held) = (decision.state, decision.held);
    }
    last.unwrap()
}

fn check(name: &str, case: &Case) -> String {
    let explanation = explained(case);
    let contains = |texts: &[String], words: &str| {
        assert!(texts.iter().any(|text| text.contains(words)), "{name}: {words:?} is not in {texts:#?}");
    };
    assert_eq!(explanation.verdict, case.verdict, "{name}: {explanation:#?}");
    let codes: Vec<&str> = explanation.findings.iter().map(|finding| finding.code.as_str()).collect();
    assert_eq!(codes, case.findings, "{name}");
    // It can be stored, and read again.
    let json = serde_json::to_string(&explanation).unwrap();
    assert_eq!(serde_json::from_str::<Explanation>(&json).unwrap(), explanation, "{name}");
    let Some(answer) = explanation.answers.first() else {
        let hints = explanation.findings.iter().filter_map(|finding| finding.hint.clone());
        let texts: Vec<String> = explanation.advice.iter().cloned().chain(hints).collect();
        case.hints.iter().for_each(|words| contains(&texts, words));
        assert_eq!(case.gate, Gate::Subscribed.word(), "{name}: nobody is subscribed");
        return case.gate.clone();
    };
    assert_eq!(explanation.answers.len(), 1, "{name}: one answer to one question");
    let named = answer.stopped_by.map_or("none", Gate::word);
    assert_eq!(named, case.gate, "{name}: {answer:#?}");
    contains(std::slice::from_ref(&answer.sentence), &case.sentence);
    let hints: Vec<String> = answer.gates.iter().flat_map(|passage| passage.hints.clone()).collect();
    case.hints.iter().for_each(|words| contains(&hints, words));
    let values: BTreeMap<String, String> = answer
        .gates
        .iter()
        .flat_map(|passage| &passage.values)
        .map(|part| (part.text.clone(), part.value.clone()))
        .collect();
    assert_eq!(values, case.values, "{name}");
    case.gate.clone()
}

#[test]
fn for_each_gate_a_scenario_names_it() {
    let dir = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../conformance/explain"));
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut named = BTreeSet::new();
    let mut failed = Vec::new();
    for path in files {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let node = yaml::parse(&text).unwrap_or_else(|e| panic!("{name}:{}: {e}", e.at.line));
        let case: Case = yaml::decode(&node).unwrap_or_else(|e| panic!("{name}:{}: {e}", e.at.line));
        match std::panic::catch_unwind(|| check(&name, &case)) {
            Ok(gate) => drop(named.insert(gate)),
            Err(_) => failed.push(name),
        }
    }
    assert!(failed.is_empty(), "these cases failed: {failed:?}");
    // An end that nobody is to be told of is a condition that is false, so this gate never stops anything.
    let all = Gate::ALL.into_iter().filter(|gate| *gate != Gate::Ended);
    let missing: Vec<&str> = all.map(Gate::word).filter(|gate| !named.contains(*gate)).collect();
    assert!(missing.is_empty(), "no scenario names {missing:?}");
}

#[test]
fn words_are_those_of_the_data() {
    for gate in Gate::ALL {
        assert_eq!(serde_json::to_value(gate).unwrap(), gate.word());
    }
}
