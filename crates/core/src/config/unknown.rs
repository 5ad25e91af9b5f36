//! Fields that a schema does not have.

use serde_json::Value;

use crate::yaml::{Node, Position};

/// A field that nobody reads.
pub(super) struct Unknown {
    pub(super) name: String,
    pub(super) at: Position,
    pub(super) known: Vec<String>,
}

/// The unknown fields of a node, parts included. Field names match without regard to case.
pub(super) fn fields(node: &Node, schema: &Value) -> Vec<Unknown> {
    let mut found = Vec::new();
    walk(node, schema, &mut found);
    found
}

/// More than this help nobody.
const MOST: usize = 100;

fn walk(node: &Node, schema: &Value, found: &mut Vec<Unknown>) {
    if let Some(choices) = schema.get("anyOf").and_then(Value::as_array) {
        if let Some(object) = choices.iter().find(|choice| choice.get("properties").is_some()) {
            walk(node, object, found);
        }
        return;
    }
    if let Some(items) = schema.get("items") {
        node.items().iter().for_each(|item| walk(item, items, found));
    }
    if let Some(values) = schema.get("additionalProperties").filter(|values| values.is_object()) {
        node.entries().iter().for_each(|(.., value)| walk(value, values, found));
        return;
    }
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    for (key, at, value) in node.entries() {
        match properties.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)) {
            Some((_, schema)) => walk(value, schema, found),
            None if found.len() < MOST => found.push(Unknown {
                name: key.clone(),
                at: *at,
                known: properties.keys().cloned().collect(),
            }),
            None => {}
        }
    }
}
