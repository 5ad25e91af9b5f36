//! What a template can call: functions with declared parameters, so that arguments are checked once and in one
//! place, the way Go's reflection does it.
//!
//! ```
//! use herald_template::function::{Call, Function, Param};
//! use herald_value::{CallError, Value};
//!
//! fn shout(call: &mut Call<'_>) -> Result<Value, CallError> {
//!     let text = call.bytes(0).to_ascii_uppercase();
//!     call.meter.grow(text.len() as u64)?;
//!     Ok(Value::str(text))
//! }
//! const SHOUT: Function = Function::new("shout", &[Param::Str], shout);
//! assert_eq!(SHOUT.name, "shout");
//! ```

use std::sync::Arc;

use herald_value::{CallError, List, Map, Value, limits::Meter};

use crate::overlay::Overlay;

/// The Go type that a parameter is declared with. The interpreter refuses every other argument before it calls the
/// function, so a body can rely on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Param {
    /// `interface{}`: anything; a missing key and a null arrive as [`Value::Nil`].
    Any,
    /// `string`
    Str,
    /// `int`: only a Go `int` (constants, `len`, `int`), never an int64.
    Int,
    /// `int64`: only int64, or an integer constant.
    Int64,
    /// `float64`: only a float64, or a number constant.
    Float,
    /// `bool`
    Bool,
    /// `[]byte`; may be [`Value::Nil`].
    Bytes,
    /// `[]interface {}` exactly; may be [`Value::Nil`], Go's nil slice.
    List,
    /// `[]string` exactly; may be [`Value::Nil`].
    StrList,
    /// `map[string]interface {}` exactly; may be [`Value::Nil`], Go's nil map.
    Map,
    /// `time.Time`
    Time,
    /// `time.Duration`, or an integer constant.
    Duration,
    /// A [`Value::Object`] of this Go type.
    Object(&'static str),
}

impl Param {
    /// Go's name of the type.
    pub fn go_name(self) -> &'static str {
        match self {
            Param::Any => "interface {}",
            Param::Str => "string",
            Param::Int => "int",
            Param::Int64 => "int64",
            Param::Float => "float64",
            Param::Bool => "bool",
            Param::Bytes => "[]uint8",
            Param::List => "[]interface {}",
            Param::StrList => "[]string",
            Param::Map => "map[string]interface {}",
            Param::Time => "time.Time",
            Param::Duration => "time.Duration",
            Param::Object(name) => name,
        }
    }

    /// Whether Go accepts an untyped nil for this type.
    pub(crate) fn nilable(self) -> bool {
        match self {
            Param::Any | Param::Bytes | Param::List | Param::StrList | Param::Map => true,
            Param::Object(name) => name.starts_with('*'),
            _ => false,
        }
    }
}

/// The body of a [`Function`].
pub type Body = fn(&mut Call<'_>) -> Result<Value, CallError>;

/// A function that templates can call by name.
#[derive(Clone, Copy, Debug)]
pub struct Function {
    /// Its name in templates.
    pub name: &'static str,
    /// The fixed parameters.
    pub params: &'static [Param],
    /// The type of each further argument, where any number may follow.
    pub variadic: Option<Param>,
    /// What it does.
    pub body: Body,
    /// Whether it cares which map an argument is, not only what is in it (`set`, `get`, `list`, `default`, …).
    /// Such a body gets its arguments as they are and must read maps through [`Call::current`]; every other
    /// function gets arguments with all changes of this rendering already applied.
    pub identity: bool,
}

impl Function {
    /// A function with exactly these parameters.
    pub const fn new(name: &'static str, params: &'static [Param], body: Body) -> Function {
        Function { name, params, variadic: None, body, identity: false }
    }

    /// The same with any number of further arguments.
    pub const fn variadic(mut self, tail: Param) -> Function {
        self.variadic = Some(tail);
        self
    }

    /// The same, caring for the identity of maps; see [`Function::identity`].
    pub const fn identity(mut self) -> Function {
        self.identity = true;
        self
    }
}

/// One call of a function.
pub struct Call<'a> {
    /// The checked arguments: at least as many as there are fixed parameters.
    pub args: &'a [Value],
    /// The budget. Use [`Meter::grow`] before memory is taken that depends on the arguments.
    pub meter: &'a mut Meter,
    pub(crate) overlay: &'a mut Overlay,
    pub(crate) now: Option<jiff::Timestamp>,
}

static NIL: Value = Value::Nil;

impl Call<'_> {
    /// An argument; nil if there are fewer.
    pub fn arg(&self, index: usize) -> &Value {
        self.args.get(index).unwrap_or(&NIL)
    }

    /// The bytes of a [`Param::Str`] or [`Param::Bytes`] argument.
    pub fn bytes(&self, index: usize) -> &[u8] {
        match self.arg(index) {
            Value::Str(text) => text.as_bytes(),
            Value::Bytes(bytes) => bytes,
            _ => &[],
        }
    }

    /// The text of a [`Param::Str`] argument, with U+FFFD where it is not UTF-8.
    pub fn text(&self, index: usize) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(self.bytes(index))
    }

    /// The number of a [`Param::Int`], [`Param::Int64`] or [`Param::Duration`] argument.
    pub fn int(&self, index: usize) -> i64 {
        match self.arg(index) {
            Value::Int(n, _) | Value::Duration(n) => *n,
            _ => 0,
        }
    }

    /// The instant of this rendering.
    pub fn now(&self) -> jiff::Timestamp {
        self.now.unwrap_or_else(jiff::Timestamp::now)
    }

    /// The value with the changes made to it during this rendering (to itself, not to what is inside it).
    pub fn current(&self, value: &Value) -> Value {
        match value {
            Value::Map(map) => Value::Map(self.overlay.current(map)),
            other => other.clone(),
        }
    }

    /// The current content of a [`Param::Map`] argument; `None` for a nil map.
    pub fn map(&self, index: usize) -> Option<Arc<Map>> {
        match self.arg(index) {
            Value::Map(map) => Some(self.overlay.current(map)),
            _ => None,
        }
    }

    /// The elements of a [`Param::List`] or [`Param::StrList`] argument.
    pub fn items(&self, index: usize) -> &[Value] {
        match self.arg(index) {
            Value::List(list) => List::items(list),
            _ => &[],
        }
    }

    /// Changes a map in place, as Go does: every name of the same map sees the new content until the rendering ends.
    /// An error for a nil map, as in Go.
    pub fn replace(&mut self, map: &Value, content: Map) -> Result<(), CallError> {
        match map {
            Value::Map(map) => {
                self.meter.grow(content.len() as u64 * 16 + 64)?;
                self.overlay.replace(map, content);
                Ok(())
            }
            _ => Err(CallError::new("assignment to entry in nil map")),
        }
    }

    /// The value with all changes of this rendering applied at every level, for printing and encoding.
    pub fn resolved(&mut self, value: &Value) -> Result<Value, CallError> {
        self.overlay.resolve(value, self.meter)
    }
}
