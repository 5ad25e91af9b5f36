//! The schemas accept everything that is accepted, and know nothing that is not read.

// Helpers of tests may fail loudly, too.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, fs, path::Path};

use herald_core::{notification::ServiceTypes as _, schema, yaml};
use herald_services::Registry;
use serde_json::Value;

fn root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The part of JSON Schema that the schemas use; anything else in one fails the test.
fn validate(schema: &Value, value: &Value, path: &str, wrong: &mut Vec<String>) {
    let Some(map) = schema.as_object() else {
        if schema == &Value::Bool(false) {
            wrong.push(format!("{path}: not allowed"));
        }
        return;
    };
    for (key, rule) in map {
        match key.as_str() {
            "$schema" | "title" | "description" => {}
            "type" => {
                let wanted: Vec<&str> = match rule {
                    Value::String(one) => vec![one],
                    Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
                    _ => panic!("{rule}"),
                };
                let is = match value {
                    Value::Null => "null",
                    Value::Bool(_) => "boolean",
                    Value::Number(n) if n.is_i64() || n.is_u64() => "integer",
                    Value::Number(_) => "number",
                    Value::String(_) => "string",
                    Value::Array(_) => "array",
                    Value::Object(_) => "object",
                };
                if !(wanted.contains(&is) || is == "integer" && wanted.contains(&"number")) {
                    wrong.push(format!("{path}: {is}, wanted {wanted:?}"));
                }
            }
            "enum" => {
                if !rule.as_array().unwrap().contains(value) {
                    wrong.push(format!("{path}: none of {rule}"));
                }
            }
            "anyOf" => {
                let tries = rule.as_array().unwrap().iter().map(|choice| {
                    let mut inner = Vec::new();
                    validate(choice, value, path, &mut inner);
                    inner
                });
                let tries: Vec<Vec<String>> = tries.collect();
                if !tries.iter().any(Vec::is_empty) {
                    wrong.extend(tries.into_iter().flatten());
                }
            }
            "properties" | "additionalProperties" => {}
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    validate(rule, item, &format!("{path}[{index}]"), wrong);
                }
            }
            other => panic!("{path}: the schemas have a new rule `{other}`"),
        }
    }
    for (key, inner) in value.as_object().into_iter().flatten() {
        let properties = map.get("properties").and_then(Value::as_object);
        // Field names match without regard to case; the schema has the one that is written in the documentation.
        let known = properties.and_then(|all| {
            all.get(key)
                .or_else(|| all.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, s)| s))
        });
        match (known, map.get("additionalProperties")) {
            (Some(schema), _) | (None, Some(schema)) => {
                validate(schema, inner, &format!("{path}.{key}"), wrong)
            }
            (None, None) => {}
        }
    }
}

fn check(key: &str, value: &Value) -> Vec<String> {
    let schema = schema::of_key(key, &Registry::standard()).unwrap_or_else(|| panic!("no schema for {key}"));
    let mut wrong = Vec::new();
    validate(&schema, value, key, &mut wrong);
    wrong
}

fn yaml_files(dir: &str) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(root().join(dir)).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ext| ext == "yaml") {
            let node = yaml::parse_all_lenient(&fs::read_to_string(&path).unwrap()).0;
            all.extend(node.first().map(|node| (path.display().to_string(), node.to_json())));
        }
    }
    all
}

#[test]
fn acceptance_data_of_services_is_valid() {
    let registry = Registry::standard();
    let (mut options, mut templates, mut wrong) = (0, 0, Vec::new());
    for (file, json) in yaml_files("conformance/services") {
        for case in json["cases"].as_array().into_iter().flatten() {
            let id = case["id"].as_str().unwrap_or_default();
            let kind = case["type"].as_str().unwrap_or_default();
            // What the case expects to be refused need not be valid.
            let refused = case["result"].as_str().is_some_and(|text| text.contains("cannot unmarshal"))
                && case["better"].is_null();
            // The option that only the reference's documentation knows.
            let refused = refused || id == "pd-1";
            if registry.options_schema(kind).is_some() && case["options"].is_object() && !refused {
                options += 1;
                wrong.extend(
                    check(&format!("service.{kind}"), &case["options"])
                        .into_iter()
                        .map(|w| format!("{file} {id}: {w}")),
                );
            }
            if let Some(text) = case["template"].as_str()
                && let Ok((node, _)) = yaml::parse_lenient(text)
                && !refused
            {
                templates += 1;
                wrong.extend(
                    check("template", &node.to_json()).into_iter().map(|w| format!("{file} {id}: {w}")),
                );
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(options >= 60 && templates >= 40, "{options} options, {templates} templates");
}

#[test]
fn configurations_of_the_engine_s_cases_are_valid() {
    let (mut values, mut wrong) = (0, Vec::new());
    for (file, json) in yaml_files("conformance/engine") {
        // Broken on purpose.
        if ["isolation", "conditions", "merge", "secrets"]
            .iter()
            .any(|name| file.ends_with(&format!("{name}.yaml")))
        {
            continue;
        }
        for (key, value) in json["configmap"].as_object().into_iter().flatten() {
            let Ok((node, _)) = yaml::parse_lenient(value.as_str().unwrap_or_default()) else { continue };
            values += 1;
            wrong.extend(check(key, &node.to_json()).into_iter().map(|w| format!("{file}: {w}")));
        }
    }
    for (key, value) in herald_core::catalog::data() {
        values += 1;
        wrong.extend(
            check(&key, &yaml::parse(&value).unwrap().to_json()).into_iter().map(|w| format!("catalog: {w}")),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(values >= 100, "{values}");
}

#[test]
fn every_key_has_a_described_schema() {
    let registry = Registry::standard();
    let keys = schema::keys(&registry);
    assert!(keys.len() > 40, "{keys:?}");
    for key in &keys {
        let schema = schema::of_key(key, &registry).unwrap();
        assert_eq!(schema["$schema"], schema::DIALECT, "{key}");
        assert!(schema["description"].as_str().is_some_and(|text| text.len() > 10), "{key}");
        let properties = schema["properties"].as_object().or(schema["items"]["properties"].as_object());
        for (name, property) in properties.into_iter().flatten() {
            let described = property["description"].is_string()
                || key == "template"
                || property["properties"].is_object()
                || property["items"].is_object();
            assert!(described, "{key}: {name} has no description");
        }
    }
}

#[test]
fn mistakes_are_not_valid() {
    let bad = |key: &str, text: &str| !check(key, &yaml::parse(text).unwrap().to_json()).is_empty();
    for (key, text) in [
        ("trigger", "send: [x]"),
        ("trigger", "- sned: [x]"),
        ("trigger", "- send: x"),
        ("subscriptions", "- recipients: [a]\n  trigger: [b]"),
        ("defaultTriggers", "on-x"),
        ("service.slack", "tokn: x"),
        ("service.email", "port: [25]"),
        ("service.webhook", "headers: [{nam: x}]"),
        ("template", "slak: {}"),
        ("template", "slack: {atachments: '[]'}"),
        ("template.github", "status: {sate: x}"),
    ] {
        assert!(bad(key, text), "{key}: {text}");
    }
}

/// A schema that knew a field which decoding does not read would hide a mistake.
#[test]
fn options_are_those_that_are_decoded() {
    let registry = Registry::standard();
    let names: BTreeSet<&str> = registry.names().collect();
    assert!(names.len() >= 21);
    for kind in names {
        let schema = registry.options_schema(kind).unwrap();
        let known = schema["properties"].as_object().unwrap();
        assert!(known.contains_key("proxyURL") && known.len() > 11, "{kind}");
        assert_eq!(registry.has_section(kind), registry.section_schema(kind).is_some(), "{kind}");
    }
}
