//! The compiled form of a template.

use herald_value::{Hint, Str, Value};

use crate::{builtin::Builtin, function::Function};

/// A byte offset in the source.
pub(crate) type Pos = u32;
/// A variable name, by its place in the program's list of names.
pub(crate) type VarId = u32;

/// Everything that one source text defines.
#[derive(Debug, Default)]
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) source: String,
    pub(crate) templates: Vec<Definition>,
    pub(crate) main: usize,
    pub(crate) variables: Vec<Box<str>>,
}

/// A named template.
#[derive(Debug)]
pub(crate) struct Definition {
    pub(crate) name: Box<str>,
    pub(crate) body: Vec<Node>,
}

#[derive(Debug)]
pub(crate) enum Node {
    /// A range of the source.
    Text(Pos, Pos),
    Action(Pipe),
    If(Box<Branch>),
    With(Box<Branch>),
    Range(Box<Range>),
    Template(Box<Invocation>),
    Break,
    Continue,
}

/// `if` or `with`, its `else if`s, and its `else`.
#[derive(Debug)]
pub(crate) struct Branch {
    pub(crate) arms: Vec<(Pipe, Vec<Node>)>,
    pub(crate) otherwise: Vec<Node>,
}

#[derive(Debug)]
pub(crate) struct Range {
    pub(crate) pipe: Pipe,
    pub(crate) body: Vec<Node>,
    pub(crate) otherwise: Vec<Node>,
}

/// `{{template "name" pipe}}`
#[derive(Debug)]
pub(crate) struct Invocation {
    pub(crate) pos: Pos,
    pub(crate) name: Box<str>,
    /// `None` if there is no such template, which only matters when it runs.
    pub(crate) target: Option<usize>,
    pub(crate) pipe: Option<Pipe>,
}

#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) pos: Pos,
    /// `=` rather than `:=`.
    pub(crate) assign: bool,
    pub(crate) variables: Box<[VarId]>,
    pub(crate) commands: Box<[Command]>,
}

/// An operand and its arguments.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) first: Operand,
    pub(crate) args: Box<[Operand]>,
}

/// The name of a field.
#[derive(Debug)]
pub(crate) struct Name {
    pub(crate) text: Str,
    pub(crate) hint: Hint,
}

impl Name {
    /// A field as the source writes it, with its dot.
    pub(crate) fn new(field: &str) -> Name {
        Name { text: Str::from(field.get(1..).unwrap_or("")), hint: Hint::default() }
    }
}

#[derive(Debug)]
pub(crate) struct Operand {
    pub(crate) pos: Pos,
    pub(crate) end: Pos,
    pub(crate) kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Dot,
    Nil,
    Bool(Value),
    Number(Box<Number>),
    Str(Value),
    Field(Box<[Name]>),
    Variable(VarId, Box<[Name]>),
    Chain(Box<Operand>, Box<[Name]>),
    Pipe(Box<Pipe>),
    Builtin(Builtin),
    Function(&'static Function),
}

/// A numeric constant and what it can stand for.
#[derive(Debug)]
pub(crate) struct Number {
    pub(crate) int: Option<i64>,
    pub(crate) float: Option<f64>,
    /// What it is where any type will do; `None` if it overflows an int.
    pub(crate) ideal: Option<Value>,
}
