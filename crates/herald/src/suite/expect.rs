//! Whether a notice is what was expected, and how it differs.

use herald_core::yaml::{Kind, Node};
use regex::Regex;
use serde_json::Value;

/// The words of matchers.
const MATCHERS: &[&str] = &["equals", "contains", "matches", "absent", "not", "length"];

/// How a field differs from what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    /// The path of the field.
    pub(crate) path: String,
    /// What was expected, and what is there, line by line: `-`, `+` or a blank before each.
    pub(crate) lines: Vec<String>,
}

/// Compares a field of a notification with what was expected of it.
pub(crate) fn compare(path: &str, expected: &Node, actual: Option<&Value>, out: &mut Vec<Difference>) {
    match &expected.kind {
        Kind::Map(entries) if is_matcher(entries) => {
            for (word, _, node) in entries {
                matcher(path, word, node, actual, out);
            }
        }
        Kind::Map(entries) => {
            let opened = opened(actual);
            for (key, _, node) in entries {
                let below = format!("{path}.{key}");
                let value = opened.as_ref().and_then(|value| find(value, key));
                compare(&below, node, value.as_ref(), out);
            }
        }
        Kind::List(items) => {
            let opened = opened(actual);
            let list = opened.as_ref().and_then(Value::as_array).map(Vec::as_slice);
            let Some(list) = list else {
                return differ(path, &show_node(expected), actual, out);
            };
            if list.len() != items.len() {
                let wanted = format!("a list of {}", items.len());
                return differ(path, &wanted, Some(&Value::from(list.to_vec())), out);
            }
            for (index, (item, value)) in items.iter().zip(list).enumerate() {
                compare(&format!("{path}[{index}]"), item, Some(value), out);
            }
        }
        _ => equals(path, expected, actual, out),
    }
}

fn is_matcher(entries: &[(String, herald_core::yaml::Position, Node)]) -> bool {
    !entries.is_empty() && entries.iter().all(|(key, ..)| MATCHERS.contains(&key.as_str()))
}

/// JSON in a text is looked into.
fn opened(actual: Option<&Value>) -> Option<Value> {
    match actual? {
        Value::String(text) => Some(serde_json::from_str(text).unwrap_or_else(|_| text.clone().into())),
        other => Some(other.clone()),
    }
}

/// Follows `a.b[0].c`, into texts with JSON, too; a key with a dot in it goes first.
fn find(value: &Value, path: &str) -> Option<Value> {
    if let Some(found) = value.get(path) {
        return Some(found.clone());
    }
    let mut value = value.clone();
    for part in path.split('.') {
        let (name, indexes) = part.split_once('[').unwrap_or((part, ""));
        if !name.is_empty() {
            value = opened(Some(&value))?.get(name)?.clone();
        }
        for index in indexes.split('[').filter(|index| !index.is_empty()) {
            let index: usize = index.strip_suffix(']')?.parse().ok()?;
            value = opened(Some(&value))?.get(index)?.clone();
        }
    }
    Some(value)
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The last line break of a block is of no interest.
fn plain(text: &str) -> &str {
    text.strip_suffix('\n').unwrap_or(text)
}

fn equals(path: &str, expected: &Node, actual: Option<&Value>, out: &mut Vec<Difference>) {
    let same = match (expected.text(), actual) {
        (None, None | Some(Value::Null)) => true,
        (Some(wanted), Some(value)) => match value {
            Value::Array(_) | Value::Object(_) | Value::Null => false,
            value => plain(wanted) == plain(&text_of(value)),
        },
        _ => false,
    };
    if !same {
        differ(path, &show_node(expected), actual, out);
    }
}

fn matcher(path: &str, word: &str, node: &Node, actual: Option<&Value>, out: &mut Vec<Difference>) {
    let words = |node: &Node| -> Vec<String> {
        match &node.kind {
            Kind::List(items) => items.iter().filter_map(Node::text).map(str::to_owned).collect(),
            _ => node.text().map(str::to_owned).into_iter().collect(),
        }
    };
    match word {
        "equals" => match &node.kind {
            Kind::Map(_) | Kind::List(_) if opened(actual).as_ref() == Some(&node.to_json()) => {}
            Kind::Map(_) | Kind::List(_) => differ(path, &show_node(node), actual, out),
            _ => equals(path, node, actual, out),
        },
        "contains" => {
            let there = |wanted: &String| match actual {
                Some(Value::Array(list)) => list.iter().any(|value| text_of(value) == *wanted),
                Some(Value::Object(map)) => map.contains_key(wanted),
                Some(value) => text_of(value).contains(plain(wanted)),
                None => false,
            };
            for wanted in words(node).iter().filter(|wanted| !there(wanted)) {
                differ(path, &format!("something that contains {wanted:?}"), actual, out);
            }
        }
        "matches" => {
            for pattern in words(node) {
                match Regex::new(&pattern) {
                    Ok(regex) if actual.is_some_and(|value| regex.is_match(plain(&text_of(value)))) => {}
                    Ok(_) => differ(path, &format!("something that matches /{pattern}/"), actual, out),
                    Err(error) => {
                        differ(path, &format!("a regular expression: {error}"), actual, out);
                    }
                }
            }
        }
        "absent" => {
            let wanted = !matches!(node.kind, Kind::Bool(false, _));
            let absent = match actual {
                None | Some(Value::Null) => true,
                Some(Value::String(text)) => text.is_empty(),
                Some(_) => false,
            };
            if wanted != absent {
                differ(path, if wanted { "nothing" } else { "something" }, actual, out);
            }
        }
        "length" => {
            let opened = opened(actual);
            let length = match &opened {
                Some(Value::Array(list)) => Some(list.len()),
                Some(Value::Object(map)) => Some(map.len()),
                Some(Value::String(text)) => Some(text.chars().count()),
                _ => None,
            };
            if length.map(|length| length.to_string()).as_deref() != node.text() {
                differ(path, &format!("something of length {}", node.text().unwrap_or("?")), actual, out);
            }
        }
        // `not`
        _ => {
            let mut inside = Vec::new();
            compare(path, node, actual, &mut inside);
            if inside.is_empty() {
                differ(path, &format!("anything but {}", show_node(node)), actual, out);
            }
        }
    }
}

fn show_node(node: &Node) -> String {
    match node.text() {
        Some(text) => text.to_owned(),
        None if node.is_null() => "nothing".to_owned(),
        None => node.to_json().to_string(),
    }
}

fn differ(path: &str, expected: &str, actual: Option<&Value>, out: &mut Vec<Difference>) {
    let actual = match actual {
        None | Some(Value::Null) => "(there is nothing)".to_owned(),
        Some(value) => text_of(value),
    };
    out.push(Difference {
        path: path.trim_start_matches('.').to_owned(),
        lines: diff(plain(expected), plain(&actual)),
    });
}

/// Lines around a change that are shown.
const AROUND: usize = 2;

/// The lines that differ between two texts, with a few around them.
fn diff(expected: &str, actual: &str) -> Vec<String> {
    let (a, b): (Vec<&str>, Vec<&str>) = (expected.split('\n').collect(), actual.split('\n').collect());
    let head = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let most = a.len().min(b.len()) - head;
    let tail = a.iter().rev().zip(b.iter().rev()).take(most).take_while(|(a, b)| a == b).count();
    let mut lines = Vec::new();
    let part = |list: &[&str], from: usize, to: usize| -> Vec<String> {
        list.get(from..to).unwrap_or_default().iter().map(|line| (*line).to_owned()).collect()
    };
    lines.extend(part(&a, head.saturating_sub(AROUND), head).iter().map(|line| format!("  {line}")));
    lines.extend(part(&a, head, a.len() - tail).iter().map(|line| format!("- {line}")));
    lines.extend(part(&b, head, b.len() - tail).iter().map(|line| format!("+ {line}")));
    let end = a.len() - tail;
    lines.extend(part(&a, end, (end + AROUND).min(a.len())).iter().map(|line| format!("  {line}")));
    lines
}

#[cfg(test)]
mod tests {
    use herald_core::yaml;

    use super::*;

    fn differences(expected: &str, actual: &str) -> Vec<Difference> {
        let node = yaml::parse(expected).unwrap();
        let mut out = Vec::new();
        compare("", &node, Some(&serde_json::from_str(actual).unwrap()), &mut out);
        out
    }

    #[test]
    fn matches() {
        let actual = r#"{"message": "hello web\n", "n": 3, "slack": {"blocks": "[{\"text\": {\"a\": 1}}, 2]", "x.y": ""}}"#;
        for (expected, paths) in [
            ("message: hello web", &[][..]),
            ("message: hello", &["message"]),
            ("message: {contains: [hello, web]}", &[]),
            ("message: {contains: [hello, moon]}", &["message"]),
            ("message: {matches: '^h.*b$', not: {contains: moon}}", &[]),
            ("message: {matches: '^h.*x$'}", &["message"]),
            ("message: {not: {contains: web}}", &["message"]),
            ("message: {absent: true}", &["message"]),
            ("nothing: {absent: true}", &[]),
            ("nothing: {contains: x}", &["nothing"]),
            ("n: 3", &[]),
            ("n: 4", &["n"]),
            ("slack: {'blocks[0].text.a': 1}", &[]),
            ("slack: {'blocks[0].text.a': 2}", &["slack.blocks[0].text.a"]),
            ("slack: {blocks: {'[0].text.a': 1}}", &[]),
            ("slack: {blocks: [{text: {a: 1}}, 2]}", &[]),
            ("slack: {blocks: [{text: {a: 2}}, 2]}", &["slack.blocks[0].text.a"]),
            ("slack: {blocks: [1]}", &["slack.blocks"]),
            ("slack: {blocks: {length: 2}}", &[]),
            ("slack: {blocks: {equals: [{text: {a: 1}}, 2]}}", &[]),
            ("slack: {x.y: {absent: true}}", &[]),
            ("slack: {blocks: {matches: '('}}", &["slack.blocks"]),
        ] {
            let found: Vec<String> = differences(expected, actual).into_iter().map(|d| d.path).collect();
            assert_eq!(found, paths, "{expected}");
        }
    }

    #[test]
    fn shows_the_lines_that_differ() {
        let lines = diff("a\nb\nc\nd\ne", "a\nb\nx\nd\ne");
        assert_eq!(lines, ["  a", "  b", "- c", "+ x", "  d", "  e"]);
        assert_eq!(diff("a", "b"), ["- a", "+ b"]);
    }
}
