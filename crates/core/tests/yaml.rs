//! YAML as the reference reads it; expected values come from services.md 1.2 and the YAML specification.

#![allow(clippy::unwrap_used)] // a test that cannot go on says where

use herald_core::{
    notification::TemplateText,
    yaml::{self, Kind, Located, Position},
};
use herald_value::Value;
use serde::Deserialize;

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
struct Fields {
    api_url: String,
    token: Option<String>,
    port: u16,
    timeout: i64,
    factor: f64,
    insecure: bool,
    names: Vec<String>,
    inner: Option<Inner>,
    labels: std::collections::BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
struct Inner {
    color: Option<Located<String>>,
}

fn decode(text: &str) -> Fields {
    yaml::decode(&yaml::parse(text).unwrap()).unwrap()
}

#[test]
fn field_names_match_without_case_and_maps_keep_theirs() {
    let fields = decode("APIURL: x\nToken: t\nINNER: {Color: red}\nlabels: {On: a, NO: b}\nunknown: 1\n");
    assert_eq!(fields.api_url, "x");
    assert_eq!(fields.token.as_deref(), Some("t"));
    assert_eq!(fields.inner.unwrap().color.unwrap().value, "red");
    assert_eq!(
        fields.labels.into_iter().collect::<Vec<_>>(),
        [("NO".into(), "b".into()), ("On".into(), "a".into())]
    );
}

/// Keys are text, whatever they would be as values: `on:` is not `true`.
#[test]
fn keys_stay_as_written() {
    let keys = ["on", "off", "yes", "NO", "y", "null", "~", "1", "0x10", "1.10", "1e3", "true", "2026-01-01"];
    let text: String = keys.iter().map(|key| format!("{key}: {key}-value\n")).collect();
    let node = yaml::parse(&text).unwrap();
    let seen: Vec<&str> = node.entries().iter().map(|(key, ..)| key.as_str()).collect();
    assert_eq!(seen, keys);
    let value = node.to_value();
    let json = node.to_json();
    for key in keys {
        assert_eq!(value.get(key).and_then(Value::as_str), Some(&*format!("{key}-value")), "{key}");
        assert_eq!(json[key], format!("{key}-value"), "{key}");
    }
    // A manifest is read as Kubernetes' tools read it, YAML 1.1: values do change.
    let labels = yaml::parse("metadata: {labels: {on: on, off: 'off'}}").unwrap().to_json();
    assert_eq!(labels["metadata"]["labels"], serde_json::json!({"on": true, "off": "off"}));
}

#[test]
fn text_stays_as_written() {
    for text in ["12345", "yes", "N", "0123", "1e3", "1.10", "no", "18446744073709551616"] {
        assert_eq!(decode(&format!("token: {text}")).token.as_deref(), Some(text));
    }
}

#[test]
fn json_text_may_be_given_as_yaml() {
    let fields = decode("apiUrl:\n- {b: 1, a: [x, 'y']}\n- 1.0\n");
    assert_eq!(fields.api_url, r#"[{"a":["x","y"],"b":1},1]"#);
}

#[test]
fn quoted_numbers_and_bools_are_accepted() {
    let fields = decode("port: '25'\ntimeout: 1e3\nfactor: '0.5'\ninsecure: 'true'\n");
    assert_eq!((fields.port, fields.timeout, fields.factor, fields.insecure), (25, 1000, 0.5, true));
    assert!(decode("insecure: on").insecure);
}

#[test]
fn null_is_as_good_as_missing() {
    assert_eq!(decode("apiUrl:\ntoken: null\nport: ~\nnames:\ninner:\nlabels: null\n"), Fields::default());
    assert_eq!(yaml::decode::<Fields>(&yaml::parse("").unwrap()).unwrap(), Fields::default());
}

#[test]
fn errors_have_a_place() {
    for (text, at) in [
        ("port: many", (1, 7)),
        ("a: 1\nnames:\n- x\ninner: text\n", (4, 8)),
        ("port: 70000", (1, 7)),
        ("a: [1", (1, 4)),
        ("a: 1\nb: 2\na: 3\n", (3, 1)),
        ("a: *x\n", (1, 4)),
        ("a: !!int x\n", (1, 10)),
        ("insecure: maybe", (1, 11)),
    ] {
        let error = yaml::parse(text).and_then(|node| yaml::decode::<Fields>(&node)).unwrap_err();
        assert_eq!((error.at.line, error.at.column), at, "{text}: {error}");
    }
}

#[test]
fn places_point_into_the_text() {
    let text = "a: plain\nb: 'quoted'\nc: |\n    first\n    second\nd: >-\n  folded\n";
    let node = yaml::parse(text).unwrap();
    let at = |key: &str| node.get(key).map(|n| (n.at.line, n.at.column)).unwrap();
    assert_eq!(at("a"), (1, 4));
    assert_eq!(at("b"), (2, 5));
    assert_eq!(at("c"), (4, 5));
    assert_eq!(at("d"), (7, 3));
    assert_eq!(node.get("c").unwrap().at.within(2, 3), Position { line: 5, column: 7 });
}

#[test]
fn a_template_error_points_into_the_config_map() {
    #[derive(Debug, Deserialize)]
    struct Section {
        #[allow(dead_code)]
        title: TemplateText,
    }
    let node = yaml::parse("other: 1\ntitle: |\n  fine\n  {{ nosuchfunction }}\n").unwrap();
    let error = yaml::decode::<Section>(&node).unwrap_err();
    assert_eq!(error.at.line, 4, "{error}");
    assert!(error.at.column >= 3, "{error:?}");
    assert!(error.message.contains("nosuchfunction") && !error.message.contains('\u{1}'), "{error:?}");
}

#[test]
fn unknown_fields_are_told() {
    let node = yaml::parse("apiUrl: x\ninner:\n  colour: red\nzzz: 1\n").unwrap();
    let (_, unknown) = yaml::decode_noting_unknown::<Fields>(&node).unwrap();
    let seen: Vec<_> = unknown.iter().map(|u| (u.name.as_str(), u.at.line, u.at.column)).collect();
    assert_eq!(seen, [("zzz", 4, 1), ("colour", 3, 3)]);
}

#[test]
fn merge_keys_anchors_and_documents() {
    let text = "base: &b {x: 1, y: 2}\nmore: {<<: *b, y: 3}\nlist: {<<: [{x: 9}, *b], z: 0}\n'<<': text\n";
    let node = yaml::parse(text).unwrap();
    assert_eq!(node.get("more").unwrap().to_json(), serde_json::json!({"x": 1, "y": 3}));
    assert_eq!(node.get("list").unwrap().to_json(), serde_json::json!({"x": 9, "y": 2, "z": 0}));
    assert_eq!(node.get("<<").unwrap().text(), Some("text"));
    let all = yaml::parse_all("a: 1\n---\n# nothing\n---\nb: 2\n...\n").unwrap();
    assert_eq!(all.len(), 2);
}

#[test]
fn of_equal_keys_the_last_stays_where_that_is_allowed() {
    let (node, twice) = yaml::parse_lenient("a: 1\na: 2\n").unwrap();
    assert_eq!(node.get("a").unwrap().text(), Some("2"));
    assert_eq!(twice.len(), 1);
}

#[test]
fn values_have_the_types_of_kubernetes() {
    let node = yaml::parse("i: 5\nf: 1.5\nw: 1e3\nb: yes\nt: '5'\nn: ~\nd: 2024-01-02\nl: [1]\n").unwrap();
    let value = node.to_value();
    assert_eq!(value.get("i"), Some(&Value::int64(5)));
    assert_eq!(value.get("f"), Some(&Value::Float(1.5)));
    assert_eq!(value.get("w"), Some(&Value::int64(1000)));
    assert_eq!(value.get("b"), Some(&Value::Bool(true)));
    assert_eq!(value.get("t"), Some(&Value::str("5")));
    assert_eq!(value.get("n"), Some(&Value::Nil));
    assert_eq!(value.get("d"), Some(&Value::str("2024-01-02")));
}

#[test]
fn hostile_documents_are_refused() {
    let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        laughs += &format!("a{level}: &a{level} [{aliases}]\n");
    }
    assert!(yaml::parse(&laughs).unwrap_err().message.contains("aliases"));
    let mut tower = String::from("a0: &a0 [x]\n");
    for level in 1..1000 {
        tower += &format!("a{level}: &a{level} [*a{}]\n", level - 1);
    }
    assert!(yaml::parse(&tower).is_err());
    assert!(yaml::parse(&"[".repeat(100_000)).is_err());
    assert!(yaml::parse(&"- ".repeat(5_000)).is_err());
    assert!(yaml::parse("a: &a [*a]").is_err());
    assert!(yaml::parse("? [a]\n: b\n").is_err());
    assert!(yaml::parse(&" ".repeat(yaml::MAX_TEXT_BYTES + 1)).is_err());
    assert!(matches!(yaml::parse("").unwrap().kind, Kind::Null));
}
