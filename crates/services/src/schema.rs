//! What options and sections may be, as JSON Schema (draft 2020-12).
//!
//! Options come from the types that they are decoded into, sections from the tables of fields that they are read by:
//! neither is written down twice.

use schemars::JsonSchema;
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
    Shape(herald_core::schema::of::<T>())
}

/// A service without options.
pub fn nothing() -> Shape {
    fields(&[])
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
