//! What the checker knows of a value before the expression runs.

use std::{fmt, rc::Rc};

use herald_value::IntKind;

use crate::builtin::Builtin;

/// The static type of a node.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Ty {
    /// Nothing is known.
    #[default]
    Unknown,
    /// Go's `interface {}`: nothing is known either, but it differs from [`Ty::Unknown`] where kinds count.
    Any,
    Nil,
    Bool,
    Int(IntKind),
    Float,
    Str,
    Bytes,
    /// A slice: its declared element, and what is known of the elements.
    Array(Slice, Rc<Ty>),
    /// A map: whether keys are of any kind, and whether values are lists.
    Map {
        any_key: bool,
        lists: bool,
    },
    Func(Builtin),
    Method(&'static str, &'static [Ty], Rc<Ty>),
    Time,
    Duration,
    Location,
}

/// The declared type of a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slice {
    Any,
    Str,
}

/// Kinds, as Go's reflection has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Invalid,
    Interface,
    Bool,
    Int(IntKind),
    Float,
    Str,
    Slice,
    Map,
    Func,
    Struct,
    Ptr,
}

pub(crate) const INT: Ty = Ty::Int(IntKind::Int);

impl Ty {
    /// A list of which each element is `elem`.
    pub(crate) fn list_of(elem: Ty) -> Ty {
        Ty::Array(Slice::Any, Rc::new(elem))
    }

    /// `[]interface {}`
    pub(crate) fn any_list() -> Ty {
        Ty::list_of(Ty::Any)
    }

    pub(crate) fn is_unknown(&self) -> bool {
        matches!(self, Ty::Unknown | Ty::Any)
    }

    pub(crate) fn is_integer(&self) -> bool {
        matches!(self, Ty::Int(kind) if !matches!(kind, IntKind::Month | IntKind::Weekday))
    }

    pub(crate) fn is_number(&self) -> bool {
        self.is_integer() || *self == Ty::Float
    }

    pub(crate) fn is_array(&self) -> bool {
        self.shape() == Shape::Slice
    }

    pub(crate) fn shape(&self) -> Shape {
        match self {
            Ty::Unknown | Ty::Nil => Shape::Invalid,
            Ty::Any => Shape::Interface,
            Ty::Bool => Shape::Bool,
            Ty::Int(IntKind::Month | IntKind::Weekday) => Shape::Int(IntKind::Int),
            Ty::Int(kind) => Shape::Int(*kind),
            Ty::Float => Shape::Float,
            Ty::Str => Shape::Str,
            Ty::Bytes | Ty::Array(..) => Shape::Slice,
            Ty::Map { .. } => Shape::Map,
            Ty::Func(_) | Ty::Method(..) => Shape::Func,
            Ty::Time => Shape::Struct,
            Ty::Duration => Shape::Int(IntKind::Int64),
            Ty::Location => Shape::Ptr,
        }
    }

    /// What is known of the elements of a list or map.
    pub(crate) fn elem(&self) -> Ty {
        match self {
            Ty::Array(_, elem) => Ty::clone(elem),
            Ty::Bytes => Ty::Int(IntKind::Uint8),
            Ty::Map { lists: true, .. } => Ty::any_list(),
            Ty::Map { .. } => Ty::Any,
            _ => Ty::Unknown,
        }
    }

    /// The element type that the Go type alone declares.
    pub(crate) fn declared_elem(&self) -> Ty {
        match self {
            Ty::Array(Slice::Any, _) => Ty::Any,
            Ty::Array(Slice::Str, _) => Ty::Str,
            other => other.elem(),
        }
    }

    /// This type without what the checker knows beyond Go's type.
    pub(crate) fn declared(&self) -> Ty {
        match self {
            Ty::Array(slice, _) => Ty::Array(*slice, Rc::new(self.declared_elem())),
            other => other.clone(),
        }
    }

    pub(crate) fn assignable_to(&self, to: &Ty) -> bool {
        match (self, to) {
            (Ty::Nil, _) => {
                matches!(to.shape(), Shape::Ptr | Shape::Interface | Shape::Func | Shape::Map | Shape::Slice)
            }
            (Ty::Unknown, _) | (_, Ty::Unknown | Ty::Nil) => false,
            (_, Ty::Any) => true,
            (Ty::Array(a, _), Ty::Array(b, _)) => a == b,
            (a, b) => a == b,
        }
    }

    pub(crate) fn comparable_to(&self, other: &Ty) -> bool {
        self.is_unknown()
            || other.is_unknown()
            || *self == Ty::Nil
            || *other == Ty::Nil
            || self.is_number() && other.is_number()
            || self.is_array() && other.is_array()
            || self.assignable_to(other)
    }

    /// Whether at least one side is unknown and the other one, if known, passes `check`.
    pub(crate) fn maybe(&self, other: &Ty, check: impl Fn(&Ty) -> bool) -> bool {
        match (self.is_unknown(), other.is_unknown()) {
            (true, true) => true,
            (true, false) => check(other),
            (false, true) => check(self),
            (false, false) => false,
        }
    }
}

impl fmt::Display for Ty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ty::Unknown => "unknown",
            Ty::Any => "interface {}",
            Ty::Nil => "nil",
            Ty::Bool => "bool",
            Ty::Int(kind) => kind.go_name(),
            Ty::Float => "float64",
            Ty::Str => "string",
            Ty::Bytes => "[]uint8",
            Ty::Array(Slice::Any, _) => "[]interface {}",
            Ty::Array(Slice::Str, _) => "[]string",
            Ty::Map { any_key: false, .. } => "map[string]interface {}",
            Ty::Map { lists: true, .. } => "map[interface {}][]interface {}",
            Ty::Map { .. } => "map[interface {}]interface {}",
            Ty::Func(_) | Ty::Method(..) => "function",
            Ty::Time => "time.Time",
            Ty::Duration => "time.Duration",
            Ty::Location => "*time.Location",
        })
    }
}

/// The method of a type: what it takes and gives. `Err` if it gives more values than an expression can take.
pub(crate) fn method(ty: &Ty, name: &str) -> Option<Ty> {
    let make = |name, params, out| Some(Ty::Method(name, params, Rc::new(out)));
    let int64 = Ty::Int(IntKind::Int64);
    match ty {
        Ty::Time => match name {
            "Year" | "Day" | "Hour" | "Minute" | "Second" | "Nanosecond" | "YearDay" => {
                make("time", &[], INT)
            }
            "Month" => make("time", &[], Ty::Int(IntKind::Month)),
            "Weekday" => make("time", &[], Ty::Int(IntKind::Weekday)),
            "Unix" | "UnixMilli" | "UnixMicro" | "UnixNano" => make("time", &[], int64),
            "IsZero" | "IsDST" => make("time", &[], Ty::Bool),
            "UTC" | "Local" | "ZoneBounds" => make("time", &[], Ty::Time),
            "Location" => make("time", &[], Ty::Location),
            "String" | "GoString" | "Zone" => make("time", &[], Ty::Str),
            "MarshalJSON" | "MarshalText" => make("time", &[], Ty::Bytes),
            "ISOWeek" => make("time", &[], INT),
            // These give three values, which no expression can take.
            "Date" | "Clock" => make("three values", &[], Ty::Nil),
            "Add" | "Truncate" | "Round" => make("time", &[Ty::Duration], Ty::Time),
            "Sub" => make("time", &[Ty::Time], Ty::Duration),
            "After" | "Before" | "Equal" => make("time", &[Ty::Time], Ty::Bool),
            "Compare" => make("time", &[Ty::Time], INT),
            "Format" => make("time", &[Ty::Str], Ty::Str),
            "In" => make("time", &[Ty::Location], Ty::Time),
            "AppendFormat" => make("time", &[Ty::Bytes, Ty::Str], Ty::Bytes),
            "AddDate" => make("time", &[INT, INT, INT], Ty::Time),
            _ => None,
        },
        Ty::Duration => match name {
            "Hours" | "Minutes" | "Seconds" => make("duration", &[], Ty::Float),
            "Milliseconds" | "Microseconds" | "Nanoseconds" => make("duration", &[], int64),
            "String" => make("duration", &[], Ty::Str),
            "Abs" => make("duration", &[], Ty::Duration),
            "Round" | "Truncate" => make("duration", &[Ty::Duration], Ty::Duration),
            _ => None,
        },
        Ty::Int(IntKind::Month | IntKind::Weekday) | Ty::Location if name == "String" => {
            make("other", &[], Ty::Str)
        }
        _ => None,
    }
}
