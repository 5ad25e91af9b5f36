//! The functions of the language itself.

use herald_value::{CallError, IntKind, Value, gofmt, limits::Meter, num::Complex};

use crate::{escape, exec::Ev, overlay::Overlay};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Builtin {
    And,
    Or,
    Not,
    Call,
    Eq,
    Ge,
    Gt,
    Html,
    Index,
    Js,
    Le,
    Len,
    Lt,
    Ne,
    Print,
    Printf,
    Println,
    Urlquery,
}

impl Builtin {
    pub(crate) const ALL: &[(&str, Builtin)] = &[
        ("and", Builtin::And),
        ("or", Builtin::Or),
        ("not", Builtin::Not),
        ("call", Builtin::Call),
        ("eq", Builtin::Eq),
        ("ge", Builtin::Ge),
        ("gt", Builtin::Gt),
        ("html", Builtin::Html),
        ("index", Builtin::Index),
        ("js", Builtin::Js),
        ("le", Builtin::Le),
        ("len", Builtin::Len),
        ("lt", Builtin::Lt),
        ("ne", Builtin::Ne),
        ("print", Builtin::Print),
        ("printf", Builtin::Printf),
        ("println", Builtin::Println),
        ("urlquery", Builtin::Urlquery),
    ];

    pub(crate) fn name(self) -> &'static str {
        Builtin::ALL.iter().find(|(_, b)| *b == self).map_or("", |(name, _)| name)
    }

    /// How many arguments it takes: at least, and at most.
    pub(crate) fn arity(self) -> (usize, Option<usize>) {
        match self {
            Builtin::Not | Builtin::Len => (1, Some(1)),
            Builtin::Ge | Builtin::Gt | Builtin::Le | Builtin::Lt | Builtin::Ne => (2, Some(2)),
            Builtin::And | Builtin::Or | Builtin::Call | Builtin::Eq | Builtin::Index | Builtin::Printf => {
                (1, None)
            }
            Builtin::Html | Builtin::Js | Builtin::Print | Builtin::Println | Builtin::Urlquery => (0, None),
        }
    }
}

/// What a builtin may touch besides its arguments.
pub(crate) struct Context<'a> {
    pub(crate) meter: &'a mut Meter,
    pub(crate) overlay: &'a Overlay,
}

type Result<T> = std::result::Result<T, CallError>;

fn fail<T>(message: impl Into<String>) -> Result<T> {
    Err(CallError::new(message))
}

/// Calls a builtin; `and` and `or` are evaluated by the interpreter, because they need not evaluate all arguments.
pub(crate) fn call<'d>(builtin: Builtin, args: &[Ev<'d>], mut context: Context<'_>) -> Result<Ev<'d>> {
    let at = |i: usize| args.get(i).unwrap_or(&Ev::Missing);
    let rest = args.get(1..).unwrap_or(&[]);
    let truth = |b: bool| Ok(Ev::Own(Value::Bool(b)));
    match builtin {
        Builtin::And | Builtin::Or => Ok(args.last().cloned().unwrap_or(Ev::Missing)),
        Builtin::Not => truth(!is_true(at(0), context.overlay)),
        Builtin::Call => call_value(args),
        Builtin::Eq => truth(equal(at(0), rest)?),
        Builtin::Ne => truth(!equal(at(0), rest)?),
        Builtin::Lt => truth(less(at(0), at(1))?),
        Builtin::Le => truth(less(at(0), at(1))? || equal(at(0), rest)?),
        Builtin::Gt => truth(!(less(at(0), at(1))? || equal(at(0), rest)?)),
        Builtin::Ge => truth(!less(at(0), at(1))?),
        Builtin::Len => length(at(0), context.overlay),
        Builtin::Index => index(args, context.overlay),
        Builtin::Html => escaped(args, context, escape::html),
        Builtin::Js => escaped(args, context, escape::js),
        Builtin::Urlquery => escaped(args, context, escape::query),
        Builtin::Print => text(args, context, gofmt::sprint_bounded),
        Builtin::Println => text(args, context, gofmt::sprintln_bounded),
        Builtin::Printf => {
            let values = plain(args, &mut context)?;
            let (format, rest) = match values.split_first() {
                Some((Value::Str(format), rest)) => (format.clone(), rest),
                _ => return fail("wrong type for value; expected string"),
            };
            bounded(context.meter, |out, limit| gofmt::sprintf_bounded(out, format.as_bytes(), rest, limit))
        }
    }
}

/// The arguments as `interface{}` values with all changes applied.
fn plain(args: &[Ev<'_>], context: &mut Context<'_>) -> Result<Vec<Value>> {
    args.iter()
        .map(|arg| arg.get().map_or(Ok(Value::Nil), |value| context.overlay.resolve(value, context.meter)))
        .collect()
}

fn bounded<'d>(meter: &mut Meter, print: impl FnOnce(&mut Vec<u8>, usize) -> bool) -> Result<Ev<'d>> {
    let mut out = Vec::new();
    let limit = usize::try_from(meter.bytes_left()).unwrap_or(usize::MAX);
    if !print(&mut out, limit) {
        meter.grow(u64::MAX)?;
    }
    meter.grow(out.len() as u64)?;
    Ok(Ev::Own(Value::str(out)))
}

fn text<'d>(
    args: &[Ev<'d>],
    mut context: Context<'_>,
    print: fn(&mut Vec<u8>, &[Value], usize) -> bool,
) -> Result<Ev<'d>> {
    let values = plain(args, &mut context)?;
    bounded(context.meter, |out, limit| print(out, &values, limit))
}

fn escaped<'d>(args: &[Ev<'d>], mut context: Context<'_>, escape: fn(&mut Vec<u8>, &[u8])) -> Result<Ev<'d>> {
    let mut values = plain(args, &mut context)?;
    for value in &mut values {
        if value.is_nil() {
            *value = Value::str("<no value>");
        }
    }
    let mut text = Vec::new();
    let limit = usize::try_from(context.meter.bytes_left() / 8).unwrap_or(usize::MAX);
    if !gofmt::sprint_bounded(&mut text, &values, limit) {
        context.meter.grow(u64::MAX)?;
    }
    let mut out = Vec::with_capacity(text.len() + text.len() / 8);
    escape(&mut out, &text);
    context.meter.grow((text.len() + out.len()) as u64)?;
    Ok(Ev::Own(Value::str(out)))
}

/// Go's idea of truth: anything that is not zero or empty.
pub(crate) fn is_true(value: &Ev<'_>, overlay: &Overlay) -> bool {
    match value.get() {
        None | Some(Value::Nil) => false,
        Some(Value::Bool(b)) => *b,
        Some(Value::Int(n, _) | Value::Duration(n)) => *n != 0,
        Some(Value::Float(x)) => *x != 0.0,
        Some(Value::Str(text)) => !text.is_empty(),
        Some(Value::Bytes(bytes)) => !bytes.is_empty(),
        Some(Value::List(list)) => !list.items().is_empty(),
        Some(Value::Map(map)) => !overlay.current(map).is_empty(),
        Some(Value::AnyMap(map)) => !map.entries().is_empty(),
        Some(Value::Object(object)) => {
            object.as_any().downcast_ref::<Complex>().is_none_or(|c| c.re != 0.0 || c.im != 0.0)
        }
        Some(Value::Time(_) | Value::Func(_)) => true,
    }
}

fn length<'d>(value: &Ev<'d>, overlay: &Overlay) -> Result<Ev<'d>> {
    let length = match value.get() {
        None | Some(Value::Nil) => return fail("len of nil"),
        Some(Value::Str(text)) => text.len(),
        Some(Value::Bytes(bytes)) => bytes.len(),
        Some(Value::List(list)) => list.items().len(),
        Some(Value::Map(map)) => overlay.current(map).len(),
        Some(Value::AnyMap(map)) => map.entries().len(),
        Some(other) => return fail(format!("len of type {}", other.go_type())),
    };
    Ok(Ev::Own(Value::int(length as i64)))
}

fn place(index: &Ev<'_>, length: usize) -> Result<usize> {
    let number = match index.get() {
        None | Some(Value::Nil) => return fail("cannot index a list with nil"),
        Some(Value::Int(n, kind)) if kind.is_unsigned() => usize::try_from(*n as u64).ok(),
        Some(Value::Int(n, _) | Value::Duration(n)) => usize::try_from(*n).ok(),
        Some(other) => return fail(format!("cannot index a list with type {}", other.go_type())),
    };
    match number {
        Some(n) if n < length => Ok(n),
        _ => {
            let shown = index.get().map(gofmt::to_text).unwrap_or_default();
            fail(format!("index out of range: {shown} (the length is {length})"))
        }
    }
}

fn byte<'d>(bytes: &[u8], at: usize) -> Ev<'d> {
    Ev::Own(Value::Int(i64::from(bytes.get(at).copied().unwrap_or(0)), IntKind::Uint8))
}

fn index<'d>(args: &[Ev<'d>], overlay: &Overlay) -> Result<Ev<'d>> {
    let Some((first, indexes)) = args.split_first() else { return fail("index needs a list or map") };
    let mut item = first.clone();
    if matches!(item.get(), None | Some(Value::Nil)) {
        return fail("index of untyped nil");
    }
    for index in indexes {
        let next = match item.get() {
            None | Some(Value::Nil) => return fail("index of nil pointer"),
            Some(Value::Str(text)) => byte(text.as_bytes(), place(index, text.len())?),
            Some(Value::Bytes(bytes)) => byte(bytes, place(index, bytes.len())?),
            Some(Value::List(list)) => {
                let at = place(index, list.items().len())?;
                item.child(|value| match value {
                    Value::List(list) => list.items().get(at),
                    _ => None,
                })
            }
            Some(Value::Map(map)) => {
                let key = match index.get() {
                    Some(Value::Str(key)) => key.clone(),
                    None | Some(Value::Nil) => return fail("value is nil; should be of type string"),
                    Some(other) => {
                        return fail(format!("value has type {}; should be string", other.go_type()));
                    }
                };
                let found = if overlay.is_empty() {
                    item.child(|value| match value {
                        Value::Map(map) => map.get_bytes(key.as_bytes()),
                        _ => None,
                    })
                } else {
                    overlay.current(map).get_bytes(key.as_bytes()).map_or(Ev::Missing, |v| Ev::Own(v.clone()))
                };
                match found {
                    Ev::Missing => Ev::Own(map.elem().zero().clone()),
                    found => found,
                }
            }
            Some(Value::AnyMap(map)) => {
                let key = index.get().cloned().unwrap_or(Value::Nil);
                let found = map.entries().iter().find(|(k, _)| *k == key);
                Ev::Own(found.map_or_else(|| map.elem().zero(), |(_, v)| v).clone())
            }
            Some(other) => return fail(format!("can't index item of type {}", other.go_type())),
        };
        item = next;
    }
    Ok(item)
}

fn call_value<'d>(args: &[Ev<'d>]) -> Result<Ev<'d>> {
    let Some((callee, rest)) = args.split_first() else { return fail("call needs a function") };
    let function = match callee.get() {
        None | Some(Value::Nil) => return fail("call of nil"),
        Some(Value::Func(function)) => function,
        Some(other) => return fail(format!("non-function of type {}", other.go_type())),
    };
    if let Some(arity) = function.arity
        && arity != rest.len()
    {
        return fail(format!("wrong number of args for {}: got {} want {arity}", function.name, rest.len()));
    }
    let values: Vec<Value> = rest.iter().map(|arg| arg.get().cloned().unwrap_or(Value::Nil)).collect();
    (function.body)(&values).map(Ev::Own)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Basic {
    Bool,
    Complex,
    Int,
    Float,
    String,
    Uint,
    Invalid,
}

fn basic(value: Option<&Value>) -> Basic {
    match value {
        Some(Value::Bool(_)) => Basic::Bool,
        Some(Value::Int(_, kind)) if kind.is_unsigned() => Basic::Uint,
        Some(Value::Int(..) | Value::Duration(_)) => Basic::Int,
        Some(Value::Float(_)) => Basic::Float,
        Some(Value::Str(_)) => Basic::String,
        Some(Value::Object(object)) if object.as_any().is::<Complex>() => Basic::Complex,
        _ => Basic::Invalid,
    }
}

fn integer(value: &Value) -> i64 {
    match value {
        Value::Int(n, _) | Value::Duration(n) => *n,
        _ => 0,
    }
}

fn solid<'a>(value: &'a Ev<'_>) -> Option<&'a Value> {
    value.get().filter(|value| !value.is_nil())
}

fn incompatible<T>(a: &Value, b: &Value) -> Result<T> {
    fail(format!("incompatible types for comparison: {} and {}", a.go_type(), b.go_type()))
}

fn equal(first: &Ev<'_>, others: &[Ev<'_>]) -> Result<bool> {
    if others.is_empty() {
        return fail("missing argument for comparison");
    }
    let a = solid(first);
    for other in others {
        let b = solid(other);
        if pair_equal(a, b)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn pair_equal(a: Option<&Value>, b: Option<&Value>) -> Result<bool> {
    let (kind, other) = (basic(a), basic(b));
    let (Some(a), Some(b)) = (a, b) else {
        // Nothing equals nothing, and a nil map or list, which has no value of its own here.
        return Ok(a.is_none() && b.is_none());
    };
    if kind != other {
        return match (kind, other) {
            (Basic::Int, Basic::Uint) => Ok(integer(a) >= 0 && integer(a) == integer(b)),
            (Basic::Uint, Basic::Int) => Ok(integer(b) >= 0 && integer(a) == integer(b)),
            _ => incompatible(a, b),
        };
    }
    match (a, b) {
        (Value::Object(x), Value::Object(y)) if kind == Basic::Complex => {
            Ok(x.as_any().downcast_ref::<Complex>() == y.as_any().downcast_ref::<Complex>())
        }
        _ if kind == Basic::Int || kind == Basic::Uint => Ok(integer(a) == integer(b)),
        (Value::Bool(_) | Value::Float(_) | Value::Str(_), _) => Ok(a == b),
        (Value::Time(_), Value::Time(_)) | (Value::Object(_), Value::Object(_)) => Ok(a == b),
        _ => fail(format!("values of type {} cannot be compared with {}", a.go_type(), b.go_type())),
    }
}

fn less(first: &Ev<'_>, second: &Ev<'_>) -> Result<bool> {
    let invalid = || fail("invalid type for comparison");
    let (Some(a), Some(b)) = (solid(first), solid(second)) else { return invalid() };
    match (basic(Some(a)), basic(Some(b))) {
        (Basic::Invalid, _) | (_, Basic::Invalid) => invalid(),
        (Basic::Int, Basic::Uint) => Ok(integer(a) < 0 || (integer(a) as u64) < integer(b) as u64),
        (Basic::Uint, Basic::Int) => Ok(integer(b) >= 0 && (integer(a) as u64) < integer(b) as u64),
        (kind, other) if kind != other => incompatible(a, b),
        (Basic::Int, _) => Ok(integer(a) < integer(b)),
        (Basic::Uint, _) => Ok((integer(a) as u64) < integer(b) as u64),
        _ => match (a, b) {
            (Value::Float(x), Value::Float(y)) => Ok(x < y),
            (Value::Str(x), Value::Str(y)) => Ok(x < y),
            _ => invalid(),
        },
    }
}
