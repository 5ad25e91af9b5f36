//! YAML the way the reference reads it: YAML 1.1 scalars, Go's lenient decoding, a place for every node.
//!
//! ```
//! use herald_core::yaml::{self, Located};
//!
//! #[derive(serde::Deserialize)]
//! #[serde(rename_all = "camelCase")]
//! struct Options {
//!     #[serde(default)]
//!     api_url: Option<Located<String>>,
//!     #[serde(default)]
//!     port: u16,
//! }
//!
//! let node = yaml::parse("# SMTP\nAPIURL: http://127.0.0.1\nport: '25'\nother: 1\n")?;
//! let options: Options = yaml::decode(&node)?;
//! let url = options.api_url.unwrap();
//! assert_eq!((url.value.as_str(), url.at.line, url.at.column), ("http://127.0.0.1", 2, 9));
//! assert_eq!(options.port, 25);
//! # Ok::<(), yaml::YamlError>(())
//! ```

mod convert;
mod decode;
mod parse;
mod scalar;

use serde::{Deserialize, de::DeserializeOwned};

pub use parse::{MAX_DEPTH, MAX_EXPANSION, MAX_TEXT_BYTES};

/// A place in a text, both from 1; the column counts characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
}

impl Position {
    /// The place of a line and column (both from 1) of a text that begins here. Exact for block scalars and for
    /// anything on one line; good enough to find it in the rest.
    pub fn within(self, line: u32, column: u32) -> Position {
        Position {
            line: self.line.saturating_add(line.saturating_sub(1)),
            column: self.column.saturating_add(column.saturating_sub(1)),
        }
    }

    /// Whether no place is known.
    pub fn is_unknown(self) -> bool {
        self.line == 0
    }
}

/// A parsed YAML (or JSON) value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Where its first character stands. For a block scalar that is the first line of its text, behind the
    /// indentation; for a quoted one, behind the quote.
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

impl Node {
    /// The text of a scalar as written; `None` for null, lists and maps.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Bool(_, text) | Kind::Int(_, text) | Kind::Float(_, text) | Kind::Text(text) => Some(text),
            Kind::Null | Kind::List(_) | Kind::Map(_) => None,
        }
    }

    /// The value of a map's key, spelled exactly so.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|(k, ..)| k == key).map(|(.., value)| value)
    }

    /// The entries of a map; none for anything else.
    pub fn entries(&self) -> &[(String, Position, Node)] {
        match &self.kind {
            Kind::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a list; none for anything else.
    pub fn items(&self) -> &[Node] {
        match &self.kind {
            Kind::List(items) => items,
            _ => &[],
        }
    }

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        matches!(self.kind, Kind::Null)
    }

    /// What it is, in words, for messages.
    pub fn describe(&self) -> &'static str {
        match &self.kind {
            Kind::Null => "nothing",
            Kind::Bool(..) => "a boolean",
            Kind::Int(..) | Kind::Float(..) => "a number",
            Kind::Text(_) => "text",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a map",
        }
    }
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

impl YamlError {
    /// An error at a place.
    pub fn new(message: impl Into<String>, at: Position) -> YamlError {
        YamlError { message: message.into(), at }
    }
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
        decode::located(deserializer)
    }
}

/// A field that the type it was decoded into does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownField {
    /// Its name as written.
    pub name: String,
    /// Where the name stands.
    pub at: Position,
    /// The names that would have been known there.
    pub known: &'static [&'static str],
}

/// Parses one document. A key that comes twice in a map is an error.
pub fn parse(text: &str) -> Result<Node, YamlError> {
    let mut twice = Vec::new();
    let node = parse::first(text, &mut twice)?;
    twice.into_iter().next().map_or(Ok(node), Err)
}

/// Parses one document the way the reference loads its configuration: of equal keys the last one stays, and
/// each is told in the second part.
pub fn parse_lenient(text: &str) -> Result<(Node, Vec<YamlError>), YamlError> {
    let mut twice = Vec::new();
    let node = parse::first(text, &mut twice)?;
    Ok((node, twice))
}

/// Parses all documents of a text, empty ones left out. A key that comes twice in a map is an error.
pub fn parse_all(text: &str) -> Result<Vec<Node>, YamlError> {
    let mut twice = Vec::new();
    let nodes = parse::all(text, &mut twice)?;
    twice.into_iter().next().map_or(Ok(nodes), Err)
}

/// Parses all documents of a text as far as it goes: the documents, keys that come twice, and what ended it.
pub fn parse_all_lenient(text: &str) -> (Vec<Node>, Vec<YamlError>, Option<YamlError>) {
    let mut twice = Vec::new();
    let mut nodes = Vec::new();
    let error = parse::each(text, &mut twice, &mut nodes).err();
    (nodes, twice, error)
}

/// What to do about a text that is no YAML, as far as the line at which it ended tells.
pub fn advice(error: &YamlError, text: &str) -> Option<String> {
    let lines = || text.lines().take(error.at.line as usize).skip((error.at.line as usize).saturating_sub(2));
    for line in lines().collect::<Vec<_>>().into_iter().rev() {
        let indent = line.len() - line.trim_start().len();
        if line.get(..indent).is_some_and(|blank| blank.contains('\t')) {
            return Some("YAML takes no tabs for indentation; use blanks".into());
        }
        let value =
            line.split_once(": ").map_or(line.trim_start_matches(['-', ' ']), |(_, value)| value.trim());
        if value.starts_with("{{") {
            return Some("put the text into quotes: a value that begins with `{{` is a map in YAML".into());
        }
        if value.starts_with(['@', '`', '%']) {
            return Some(
                "put the text into quotes: it begins with a character that means something in YAML".into(),
            );
        }
        if !value.starts_with(['"', '\'', '|', '>', '[', '{']) && value.contains(": ") {
            return Some("put the text into quotes: `: ` in it makes it a map".into());
        }
    }
    None
}

/// Decodes a node into a type with Go's rules: field names match without regard to case, unknown fields are
/// ignored, null is as good as missing. More is accepted than Go does: a text field takes any scalar as written
/// and a list or map as compact JSON, a bool or number field takes a quoted one. Maps keep their keys' case.
///
/// A struct with `#[serde(flatten)]` loses the first of these rules.
pub fn decode<T: DeserializeOwned>(node: &Node) -> Result<T, YamlError> {
    decode::decode(node, None)
}

/// [`decode`], and the fields that the type does not know.
pub fn decode_noting_unknown<T: DeserializeOwned>(node: &Node) -> Result<(T, Vec<UnknownField>), YamlError> {
    let unknown = std::cell::RefCell::new(Vec::new());
    let value = decode::decode(node, Some(&unknown))?;
    Ok((value, unknown.into_inner()))
}

/// Makes the message of a custom serde error point to a place of its own, rather than to the node that was
/// being decoded.
pub(crate) fn message_at(message: impl std::fmt::Display, at: Position) -> String {
    decode::mark(message, at)
}
