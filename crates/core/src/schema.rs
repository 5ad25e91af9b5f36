//! JSON Schema (draft 2020-12) of what a ConfigMap holds, from the types that it is decoded into.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use crate::{
    config::{ConditionSpec, SubscriptionSpec},
    notification::ServiceTypes,
};

/// The dialect.
pub const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The schema of a type, as kind as decoding is: text takes any scalar, numbers and booleans may stand in quotes, null
/// is as good as missing.
pub fn of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = Value::from(settings.into_generator().into_root_schema_for::<T>());
    widen(&mut schema);
    if let Some(map) = schema.as_object_mut() {
        map.remove("title");
        map.entry("properties").or_insert_with(|| json!({}));
    }
    schema
}

fn widen(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                if key != "enum" {
                    widen(value);
                }
            }
            // Each option has a default, which is most often nothing.
            for key in ["default", "format", "minimum", "maximum"] {
                map.remove(key);
            }
            let mut types: Vec<&str> = match map.get("type") {
                Some(Value::String(one)) => vec![one],
                Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
                _ => return,
            };
            if types.contains(&"string") {
                types.extend(["number", "boolean"]);
            }
            if types.contains(&"integer") || types.contains(&"boolean") {
                types.push("string");
            }
            types.push("null");
            types.sort_unstable();
            types.dedup();
            let types = json!(types);
            map.insert("type".to_owned(), types);
        }
        Value::Array(items) => items.iter_mut().for_each(widen),
        _ => {}
    }
}

/// Nothing but what is described is allowed, at every level. Types of ours nest a few levels deep.
fn strict(mut schema: Value) -> Value {
    match &mut schema {
        Value::Object(map) => {
            if map.contains_key("properties") && !map.contains_key("additionalProperties") {
                map.insert("additionalProperties".to_owned(), Value::Bool(false));
            }
            for below in map.values_mut() {
                *below = strict(below.take());
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|below| *below = strict(below.take())),
        _ => {}
    }
    schema
}

fn whole(name: &str, about: &str, schema: Value) -> Value {
    let mut out = Map::new();
    out.insert("$schema".to_owned(), json!(DIALECT));
    out.insert("title".to_owned(), json!(name));
    out.insert("description".to_owned(), json!(about));
    if let Value::Object(map) = schema {
        out.extend(map.into_iter().filter(|(key, _)| key != "description"));
    }
    Value::Object(out)
}

fn list(items: Value) -> Value {
    json!({"type": ["array", "null"], "items": items})
}

/// The keys that have a schema: `trigger`, `template`, `subscriptions`, `defaultTriggers`, and each `service.<type>` and
/// `template.<type>`, which is that service's section of a template.
pub fn keys(types: &dyn ServiceTypes) -> Vec<String> {
    let mut keys: Vec<String> =
        ["trigger", "template", "subscriptions", "defaultTriggers"].map(str::to_owned).into();
    for kind in types.type_names() {
        keys.push(format!("service.{kind}"));
        if types.has_section(kind) {
            keys.push(format!("template.{kind}"));
        }
    }
    keys
}

/// The schema of a key's value, given as the key itself (`trigger.on-x`, `service.slack.team`) or in the form of [`keys`].
pub fn of_key(key: &str, types: &dyn ServiceTypes) -> Option<Value> {
    let (first, rest) = key.split_once('.').unwrap_or((key, ""));
    Some(match first {
        "trigger" => {
            whole("trigger", "Conditions, each with what it sends.", list(strict(of::<ConditionSpec>())))
        }
        "subscriptions" if rest.is_empty() => whole(
            "subscriptions",
            "Who hears of what without any annotation.",
            list(strict(of::<SubscriptionSpec>())),
        ),
        "defaultTriggers" => whole(
            "defaultTriggers",
            "Triggers of subscriptions that name none.",
            list(json!({"type": "string", "description": "Name of a trigger."})),
        ),
        "service" => {
            let kind = rest.split('.').next().unwrap_or_default();
            let mut schema = types.options_schema(kind)?;
            if let Some(Value::Object(properties)) = schema.get_mut("properties") {
                properties.insert("delivery".to_owned(), delivery());
            }
            whole(
                &format!("service.{kind}"),
                &format!("Options of a service of the type {kind}."),
                strict(schema),
            )
        }
        "template" if types.has_section(rest) => {
            let schema = types.section_schema(rest)?;
            whole(
                &format!("template.{rest}"),
                &format!("The section `{rest}` of a template."),
                strict(schema),
            )
        }
        "template" => {
            let mut properties = Map::new();
            let message = "What is sent, and what services without a section of their own say. A template.";
            properties.insert(
                "message".to_owned(),
                json!({"type": ["boolean", "null", "number", "string"], "description": message}),
            );
            for kind in types.type_names() {
                if let Some(section) = types.section_schema(kind) {
                    properties.insert(kind.to_owned(), strict(section));
                }
            }
            let schema = json!({"type": ["null", "object"], "properties": properties});
            whole("template", "A notification: a message, and what services say besides.", strict(schema))
        }
        _ => return None,
    })
}

fn delivery() -> Value {
    json!({"type": ["null", "object"], "description": "How notices are delivered: retries, rates, grouping, muted times."})
}
