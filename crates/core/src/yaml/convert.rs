//! Nodes to values and to JSON, with the types that Kubernetes' own YAML reader gives them.

use std::sync::Arc;

use herald_value::{Elem, List, Map, Str, Value};

use super::{Kind, Node};

/// What JSON makes of a float: one without a fraction prints, and is read back, as an integer.
fn whole(value: f64) -> Option<i64> {
    // 2^63 is not an i64, but every whole float below it is.
    (value.fract() == 0.0 && (-9.223_372_036_854_776e18..9.223_372_036_854_776e18).contains(&value))
        .then_some(value as i64)
}

impl Node {
    /// The value that an object in Kubernetes would have: integers int64, other numbers float64.
    pub fn to_value(&self) -> Value {
        match &self.kind {
            Kind::Null => Value::Nil,
            Kind::Bool(value, _) => Value::Bool(*value),
            Kind::Int(value, _) => Value::int64(*value),
            Kind::Float(value, text) => match whole(*value) {
                Some(value) => Value::int64(value),
                None if value.is_finite() => Value::Float(*value),
                None => Value::str(text.as_str()),
            },
            Kind::Text(text) => Value::str(text.as_str()),
            Kind::List(items) => {
                let items = items.iter().map(Node::to_value).collect();
                // Nodes nest less deep than values may.
                List::new(Elem::Any, items).map_or(Value::Nil, |list| Value::List(Arc::new(list)))
            }
            Kind::Map(entries) => {
                let entries =
                    entries.iter().map(|(key, _, node)| (Str::from(key.as_str()), node.to_value())).collect();
                Map::new(Elem::Any, entries).map_or(Value::Nil, |map| Value::Map(Arc::new(map)))
            }
        }
    }

    /// The JSON that it stands for.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match &self.kind {
            Kind::Null => Json::Null,
            Kind::Bool(value, _) => Json::Bool(*value),
            Kind::Int(value, _) => Json::from(*value),
            Kind::Float(value, text) => match (whole(*value), text.parse::<u64>()) {
                (Some(value), _) => Json::from(value),
                (None, Ok(value)) => Json::from(value),
                (None, Err(_)) => serde_json::Number::from_f64(*value)
                    .map_or_else(|| Json::from(text.as_str()), Json::Number),
            },
            Kind::Text(text) => Json::from(text.as_str()),
            Kind::List(items) => Json::Array(items.iter().map(Node::to_json).collect()),
            Kind::Map(entries) => {
                Json::Object(entries.iter().map(|(key, _, node)| (key.clone(), node.to_json())).collect())
            }
        }
    }
}
