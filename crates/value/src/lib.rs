//! One value type for everything that Herald looks at.
//!
//! Kubernetes objects, template data and expression results are all [`Value`]s. The type follows the
//! semantics of Go's dynamic values, because users bring templates and conditions that were written
//! for Go: integers know their Go kind, strings are byte strings that need not be UTF-8, maps iterate
//! in sorted order. A clone costs at most one reference count.
//!
//! ```
//! use herald_value::Value;
//!
//! let rollout = Value::from_json(br#"{"status": {"phase": "Healthy", "currentStepIndex": 2}}"#)?;
//! assert_eq!(rollout.path(&["status", "phase"]).and_then(Value::as_str), Some("Healthy"));
//! assert_eq!(rollout.path(&["status", "currentStepIndex"]).and_then(Value::as_i64), Some(2));
//! assert_eq!(herald_value::gofmt::to_text(&rollout), "map[status:map[currentStepIndex:2 phase:Healthy]]");
//! # Ok::<(), herald_value::DecodeError>(())
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`gofmt`] | printing like Go's `fmt`: `%v` and every other verb |
//! | [`num`] | printing and parsing of numbers like Go's `strconv` |
//! | [`json`] | decoding JSON in one pass, and encoding like Go's `encoding/json` |
//! | [`time`] | Go's `time.Time` and `time.Duration`: layouts, zones, methods |
//! | [`limits`] | budgets for programs that work on values |
//! | [`caret`] | errors shown with their source line |
//! | [`re2`] | regular expressions with the rules of RE2 |
//! | [`vector`] | case files of the two languages: environments and results |
//!
//! Containers nest at most [`MAX_DEPTH`] deep. Constructing a deeper one is an error, so everything
//! that walks a value may recurse without fear for the stack.

pub mod caret;
pub mod gofmt;
pub mod json;
pub mod limits;
pub mod num;
pub mod re2;
pub mod time;
pub mod vector;

mod collections;
mod text;

use std::{fmt, sync::Arc};

pub use collections::{AnyMap, Elem, Hint, List, MAX_DEPTH, Map, TooDeep};
pub use json::{DecodeError, Numbers};
pub use text::{Str, lossy};

use crate::time::Time;

/// A Go integer type. It decides how a value prints with `%T`, `%v` and `%q`, and whether two values
/// of an expression have the same type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IntKind {
    /// `int`: literals of both languages, `len`, most sprig results.
    Int,
    /// `int8`
    Int8,
    /// `int16`
    Int16,
    /// `int32` (also `rune`)
    Int32,
    /// `int64`: the integers of Kubernetes objects.
    Int64,
    /// `uint`
    Uint,
    /// `uint8` (also `byte`)
    Uint8,
    /// `uint16`
    Uint16,
    /// `uint32`
    Uint32,
    /// `uint64`; the payload holds its bits.
    Uint64,
    /// `time.Month`, prints as its English name.
    Month,
    /// `time.Weekday`, prints as its English name.
    Weekday,
}

impl IntKind {
    /// The name that Go's `%T` prints.
    pub fn go_name(self) -> &'static str {
        match self {
            IntKind::Int => "int",
            IntKind::Int8 => "int8",
            IntKind::Int16 => "int16",
            IntKind::Int32 => "int32",
            IntKind::Int64 => "int64",
            IntKind::Uint => "uint",
            IntKind::Uint8 => "uint8",
            IntKind::Uint16 => "uint16",
            IntKind::Uint32 => "uint32",
            IntKind::Uint64 => "uint64",
            IntKind::Month => "time.Month",
            IntKind::Weekday => "time.Weekday",
        }
    }

    /// Whether the Go type is unsigned.
    pub fn is_unsigned(self) -> bool {
        matches!(self, IntKind::Uint | IntKind::Uint8 | IntKind::Uint16 | IntKind::Uint32 | IntKind::Uint64)
    }
}

/// A dynamic value with Go's semantics.
#[derive(Clone, Default)]
pub enum Value {
    /// Go's untyped `nil`.
    #[default]
    Nil,
    /// `bool`
    Bool(bool),
    /// Any Go integer. Unsigned kinds keep their bits in the `i64`.
    Int(i64, IntKind),
    /// `float64`
    Float(f64),
    /// `string`: bytes, usually but not always UTF-8.
    Str(Str),
    /// `[]byte`
    Bytes(Arc<[u8]>),
    /// A slice: `[]interface {}`, `[]string`, …; see [`Elem`].
    List(Arc<List>),
    /// A map with string keys, in sorted order.
    Map(Arc<Map>),
    /// A map with keys of any kind (`map[interface {}]…`), as expr's `groupBy` makes them.
    AnyMap(Arc<AnyMap>),
    /// `time.Time`
    Time(Arc<Time>),
    /// `time.Duration`, nanoseconds.
    Duration(i64),
    /// A function, such as `time.Now`.
    Func(Arc<Func>),
    /// A Go struct or pointer that only its own methods and fields can look into (a semantic version,
    /// a time zone, a certificate).
    Object(Arc<dyn Object>),
}

/// A function as a value.
pub struct Func {
    /// The name for error messages, such as `time.Parse`.
    pub name: &'static str,
    /// The number of arguments it takes; `None`: any number.
    pub arity: Option<usize>,
    /// What it does.
    pub body: Box<FuncBody>,
}

/// The body of a [`Func`].
pub type FuncBody = dyn Fn(&[Value]) -> Result<Value, CallError> + Send + Sync;

/// Behaviour of a [`Value::Object`].
pub trait Object: Send + Sync + fmt::Debug {
    /// The name that Go's `%T` prints, such as `*semver.Version`.
    fn go_type(&self) -> &'static str;
    /// What `%v` and `%s` print.
    fn print(&self) -> String;
    /// The value of an exported field or of a method without arguments; `None` if there is no such name.
    fn member(&self, name: &str) -> Option<Value>;
    /// Calls a method; `None` if there is no such method.
    fn call(&self, name: &str, args: &[Value]) -> Option<Result<Value, CallError>>;
    /// Its fields where it is a pointer to a struct: what `%d` and other verbs that are not for text print.
    fn fields(&self) -> Option<Vec<Value>> {
        None
    }
    /// Lets a function find the concrete type behind its argument.
    fn as_any(&self) -> &dyn std::any::Any;
}

/// Why a function, a method or a conversion failed. The message is a lower-case sentence without a place;
/// whoever runs the program adds template or trigger, line and column.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CallError {
    /// What failed.
    pub message: String,
    /// Whether a limit of [`limits::Limits`] ended it, rather than its input.
    pub over_limit: bool,
}

impl CallError {
    /// An ordinary failure.
    pub fn new(message: impl Into<String>) -> Self {
        CallError { message: message.into(), over_limit: false }
    }

    /// A failure because a limit was reached.
    pub fn over_limit(message: impl Into<String>) -> Self {
        CallError { message: message.into(), over_limit: true }
    }
}

impl From<TooDeep> for CallError {
    fn from(error: TooDeep) -> Self {
        CallError::over_limit(error.to_string())
    }
}

impl Value {
    /// Decodes JSON text. Integers become int64, other numbers float64, as Kubernetes does it.
    pub fn from_json(text: &[u8]) -> Result<Value, DecodeError> {
        json::decode(text, Numbers::Kubernetes)
    }

    /// A Go `int`.
    pub fn int(value: i64) -> Value {
        Value::Int(value, IntKind::Int)
    }

    /// A Go `int64`.
    pub fn int64(value: i64) -> Value {
        Value::Int(value, IntKind::Int64)
    }

    /// A string.
    pub fn str(text: impl Into<Str>) -> Value {
        Value::Str(text.into())
    }

    /// A `[]byte`.
    pub fn bytes(bytes: &[u8]) -> Value {
        Value::Bytes(Arc::from(bytes))
    }

    /// A `[]interface {}`.
    pub fn list(items: Vec<Value>) -> Result<Value, TooDeep> {
        Ok(Value::List(Arc::new(List::new(Elem::Any, items)?)))
    }

    /// A `[]string`.
    pub fn str_list<S: Into<Str>>(items: impl IntoIterator<Item = S>) -> Value {
        let items = items.into_iter().map(Value::str).collect();
        Value::List(Arc::new(List::flat(Elem::Str, items)))
    }

    /// A `map[string]interface {}`. Of equal keys the last one stays.
    pub fn map<K: Into<Str>>(entries: impl IntoIterator<Item = (K, Value)>) -> Result<Value, TooDeep> {
        let entries = entries.into_iter().map(|(k, v)| (k.into(), v)).collect();
        Ok(Value::Map(Arc::new(Map::new(Elem::Any, entries)?)))
    }

    /// A function value.
    pub fn func(
        name: &'static str,
        arity: Option<usize>,
        body: impl Fn(&[Value]) -> Result<Value, CallError> + Send + Sync + 'static,
    ) -> Value {
        Value::Func(Arc::new(Func { name, arity, body: Box::new(body) }))
    }

    /// Whether this is nil.
    pub fn is_nil(&self) -> bool {
        matches!(self, Value::Nil)
    }

    /// The text of a string that is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(text) => text.to_str(),
            _ => None,
        }
    }

    /// The boolean, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(b) => Some(*b),
            _ => None,
        }
    }

    /// The integer, if it is one that fits.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Value::Int(n, IntKind::Uint | IntKind::Uint64) if *n < 0 => None,
            Value::Int(n, _) => Some(*n),
            _ => None,
        }
    }

    /// The map with string keys, if it is one.
    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The elements, if it is a list.
    pub fn as_list(&self) -> Option<&[Value]> {
        match self {
            Value::List(list) => Some(list.items()),
            _ => None,
        }
    }

    /// The value below a key of a map with string keys.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.as_map()?.get(key)
    }

    /// The value below a chain of keys; `None` where a key is missing or a value is no map.
    pub fn path(&self, keys: &[&str]) -> Option<&Value> {
        keys.iter().try_fold(self, |value, key| value.get(key))
    }

    /// The name that Go's `%T` prints for this value.
    pub fn go_type(&self) -> String {
        match self {
            Value::Nil => "<nil>".into(),
            Value::Bool(_) => "bool".into(),
            Value::Int(_, kind) => kind.go_name().into(),
            Value::Float(_) => "float64".into(),
            Value::Str(_) => "string".into(),
            Value::Bytes(_) => "[]uint8".into(),
            Value::List(list) => format!("[]{}", list.elem().go_name()),
            Value::Map(map) => format!("map[string]{}", map.elem().go_name()),
            Value::AnyMap(map) => format!("map[interface {{}}]{}", map.elem().go_name()),
            Value::Time(_) => "time.Time".into(),
            Value::Duration(_) => "time.Duration".into(),
            Value::Func(_) => "func(...interface {}) (interface {}, error)".into(),
            Value::Object(object) => object.go_type().into(),
        }
    }

    /// How many containers are nested in this value: 0 for a scalar.
    pub(crate) fn depth(&self) -> u16 {
        match self {
            Value::List(list) => list.depth(),
            Value::Map(map) => map.depth(),
            Value::AnyMap(map) => map.depth(),
            _ => 0,
        }
    }
}

/// Structural equality for tests and for noticing changes: same kinds, same content. The languages have
/// their own rules for `==`. NaN differs from itself, functions and objects are equal if they are the same one.
impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Value::Nil, Value::Nil) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Int(a, ka), Value::Int(b, kb)) => a == b && ka == kb,
            (Value::Float(a), Value::Float(b)) => a == b,
            (Value::Str(a), Value::Str(b)) => a == b,
            (Value::Bytes(a), Value::Bytes(b)) => a == b,
            (Value::List(a), Value::List(b)) => Arc::ptr_eq(a, b) || a == b,
            (Value::Map(a), Value::Map(b)) => Arc::ptr_eq(a, b) || a == b,
            (Value::AnyMap(a), Value::AnyMap(b)) => Arc::ptr_eq(a, b) || a == b,
            (Value::Time(a), Value::Time(b)) => a == b,
            (Value::Duration(a), Value::Duration(b)) => a == b,
            (Value::Func(a), Value::Func(b)) => Arc::ptr_eq(a, b),
            (Value::Object(a), Value::Object(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Nil => f.write_str("nil"),
            Value::Bool(b) => write!(f, "{b}"),
            Value::Int(n, IntKind::Int64) => write!(f, "{n}"),
            Value::Int(n, kind) => write!(f, "{}({n})", kind.go_name()),
            Value::Float(x) => write!(f, "{x:?}"),
            Value::Str(s) => write!(f, "{s:?}"),
            Value::Bytes(b) => write!(f, "bytes({:?})", String::from_utf8_lossy(b)),
            Value::List(list) => f.debug_list().entries(list.items()).finish(),
            Value::Map(map) => f.debug_map().entries(map.entries().iter().map(|(k, v)| (k, v))).finish(),
            Value::AnyMap(map) => f.debug_map().entries(map.entries().iter().map(|(k, v)| (k, v))).finish(),
            Value::Time(t) => write!(f, "{t:?}"),
            Value::Duration(ns) => write!(f, "duration({ns})"),
            Value::Func(func) => write!(f, "func {}", func.name),
            Value::Object(object) => write!(f, "{object:?}"),
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Value::Float(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Value::str(value)
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Value::str(value)
    }
}
