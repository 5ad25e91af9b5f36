//! What options and sections may be, as JSON Schema (draft 2020-12).
//!
//! Options come from the types that they are decoded into, sections from the tables of fields that they are read by:
//! neither is written down twice.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use crate::section::Field;

/// A schema that is being put together.
#[derive(Clone, Debug)]
pub struct Shape(Value);

impl Shape {
    /// The schema.
    pub fn into_value(self) -> Value {
        self.0
    }

    fn properties(&mut self) -> Option<&mut Map<String, Value>> {
        self.0.get_mut("properties")?.as_object_mut()
    }

    /// With one more property.
    #[must_use]
    pub fn with(mut self, name: &str, shape: Shape) -> Shape {
        if let Some(properties) = self.properties() {
            properties.insert(name.to_owned(), shape.0);
        }
        self
    }

    /// With the properties of another schema.
    #[must_use]
    pub fn also(mut self, other: Shape) -> Shape {
        let more = other.0.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
        if let Some(properties) = self.properties() {
            for (name, schema) in more {
                properties.entry(name).or_insert(schema);
            }
        }
        self
    }

    /// With the properties of another schema in one of its own.
    #[must_use]
    pub fn within(mut self, name: &str, other: Shape) -> Shape {
        if let Some(inner) = self.properties().and_then(|properties| properties.get_mut(name)) {
            *inner = Shape(inner.take()).also(other).0;
        }
        self
    }
}

/// The schema of a type.
pub fn of<T: JsonSchema>() -> Shape {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = Value::from(settings.into_generator().into_root_schema_for::<T>());
    kind(&mut schema);
    if let Some(map) = schema.as_object_mut() {
        map.remove("title");
        map.entry("properties").or_insert_with(|| json!({}));
    }
    Shape(schema)
}

/// A service without options.
pub fn nothing() -> Shape {
    fields(&[])
}

/// What is decoded is kinder than the types say: text takes any scalar, numbers and booleans may stand in quotes, and
/// null is as good as missing.
fn kind(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                // Every option has a default, which is most often nothing.
                if key != "enum" {
                    kind(value);
                }
            }
            for key in ["default", "format", "minimum", "maximum"] {
                map.remove(key);
            }
            let types: Vec<String> = match map.get("type") {
                Some(Value::String(one)) => vec![one.clone()],
                Some(Value::Array(all)) => all.iter().filter_map(|t| t.as_str().map(str::to_owned)).collect(),
                _ => Vec::new(),
            };
            let mut wider: Vec<&str> = types.iter().map(String::as_str).collect();
            if wider.contains(&"string") {
                wider.extend(["number", "boolean"]);
            }
            if wider.contains(&"integer") || wider.contains(&"boolean") {
                wider.push("string");
            }
            if !wider.is_empty() {
                wider.push("null");
                wider.sort_unstable();
                wider.dedup();
                map.insert("type".to_owned(), json!(wider));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(kind),
        _ => {}
    }
}

/// A section of template fields.
pub fn fields(fields: &[Field]) -> Shape {
    let property = |field: &Field| {
        let mut about = if field.about.is_empty() {
            "A template.".to_owned()
        } else {
            format!("{} A template.", field.about)
        };
        if field.json {
            about.push_str(" Renders to JSON; a YAML list or map is taken as well.");
        }
        if !field.default.is_empty() {
            about.push_str(&format!(" Default: `{}`.", field.default));
        }
        let types = if field.json {
            json!(["array", "boolean", "null", "number", "object", "string"])
        } else {
            json!(["boolean", "null", "number", "string"])
        };
        (field.name.to_owned(), json!({"type": types, "description": about}))
    };
    let properties: Map<String, Value> = fields.iter().map(property).collect();
    Shape(json!({"type": ["null", "object"], "properties": properties}))
}

/// A section with parts that consist of template fields.
pub fn parts(mut shape: Shape, parts: &[(&str, &[Field])]) -> Shape {
    for (name, part) in parts {
        shape = shape.with(name, fields(part));
    }
    shape
}

/// A map with keys of the user's own.
pub fn map_of(shape: Shape) -> Shape {
    Shape(json!({"type": ["null", "object"], "additionalProperties": shape.0}))
}

/// A list.
pub fn list_of(shape: Shape) -> Shape {
    Shape(json!({"type": ["array", "null"], "items": shape.0}))
}

fn template() -> Value {
    json!({"type": ["boolean", "null", "number", "string"], "description": "A template."})
}

/// A map of templates.
pub fn templates(about: &str) -> Shape {
    Shape(json!({"type": ["null", "object"], "description": about, "additionalProperties": template()}))
}

/// A list of templates.
pub fn list_of_templates(about: &str) -> Shape {
    Shape(json!({"type": ["array", "null"], "description": about, "items": template()}))
}

/// One of some words; other words are taken as the first.
pub fn words(about: &str, words: &[&str]) -> Shape {
    Shape(json!({"description": about, "anyOf": [{"enum": words}, {"type": ["null", "string"]}]}))
}

/// A boolean.
pub fn switch(about: &str) -> Shape {
    Shape(json!({"type": ["boolean", "null", "string"], "description": about}))
}
