//! What the operators do.

use std::{
    cmp::Ordering,
    sync::{Arc, LazyLock},
};

use herald_value::{CallError, Elem, IntKind, List, Str, Value, limits::Meter, time::Time};

use crate::{ast::BinaryOp, power::power};

pub(crate) type Result<T> = std::result::Result<T, CallError>;

pub(crate) fn fail<T>(message: String) -> Result<T> {
    Err(CallError::new(message))
}

/// An integer that operators calculate with.
#[inline]
pub(crate) fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Int(_, IntKind::Month | IntKind::Weekday) => None,
        Value::Int(n, _) => Some(*n),
        _ => None,
    }
}

/// A number as a float.
pub(crate) fn float(value: &Value) -> Option<f64> {
    match value {
        Value::Float(x) => Some(*x),
        Value::Int(n, IntKind::Uint | IntKind::Uint64) => Some(*n as u64 as f64),
        other => integer(other).map(|n| n as f64),
    }
}

/// What Go makes of a float that becomes an int on a 64-bit machine.
pub(crate) fn truncate(x: f64) -> i64 {
    if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&x) { x as i64 } else { i64::MIN }
}

pub(crate) fn to_int(value: &Value) -> Result<i64> {
    match (integer(value), value) {
        (Some(n), _) => Ok(n),
        (None, Value::Float(x)) => Ok(truncate(*x)),
        _ => fail(format!("invalid operation: int({})", value.go_type())),
    }
}

#[inline(always)]
pub(crate) fn boolean(value: &Value) -> Result<bool> {
    match value {
        Value::Bool(b) => Ok(*b),
        other => no_bool(other),
    }
}

#[cold]
fn no_bool(value: &Value) -> Result<bool> {
    fail(format!("expected a bool, found {}", type_name(value)))
}

pub(crate) fn type_name(value: &Value) -> String {
    if value.is_nil() { "nil".into() } else { value.go_type() }
}

/// How many bytes of a text are looked through for one step.
pub(crate) const BYTES_A_STEP: u64 = 64;

/// Go's nil slice: an empty list that is equal to nil. It is known by being this very one.
static NIL_LIST: LazyLock<Value> = LazyLock::new(|| Value::list(Vec::new()).unwrap_or_default());

/// What a missing group gives.
pub(crate) fn nil_list() -> Value {
    NIL_LIST.clone()
}

/// The same of strings, as splitting into no parts gives it.
static NIL_STRINGS: LazyLock<Value> = LazyLock::new(|| Value::str_list(Vec::<Str>::new()));

pub(crate) fn nil_strings() -> Value {
    NIL_STRINGS.clone()
}

/// Whether a value is nil, of whatever type.
#[inline]
pub(crate) fn is_nil(value: &Value) -> bool {
    match value {
        Value::Nil => true,
        Value::List(list) if list.items().is_empty() => {
            let is = |nil: &Value| matches!(nil, Value::List(nil) if Arc::ptr_eq(list, nil));
            is(&NIL_LIST) || is(&NIL_STRINGS)
        }
        _ => false,
    }
}

/// Whether two texts are equal.
#[inline]
pub(crate) fn same_text(x: &Str, y: &Str, meter: &mut Meter) -> Result<bool> {
    if x.len() != y.len() {
        return Ok(false);
    }
    meter.step(x.len() as u64 / BYTES_A_STEP)?;
    Ok(x == y)
}

/// Whether two values are equal, as `==` sees it. Values can hold each other many times, so this counts steps.
pub(crate) fn equal(a: &Value, b: &Value, meter: &mut Meter) -> Result<bool> {
    Ok(match (a, b) {
        (Value::Str(x), Value::Str(y)) => return same_text(x, y, meter),
        (Value::Nil, other) | (other, Value::Nil) => is_nil(other),
        (Value::Bool(x), Value::Bool(y)) => x == y,
        (Value::Time(x), Value::Time(y)) => x.at == y.at,
        (Value::Duration(x), Value::Duration(y)) => x == y,
        (Value::List(x), Value::List(y)) => {
            let nested =
                |elem| matches!(elem, Elem::Map | Elem::List | Elem::StrList | Elem::Bytes | Elem::Pair);
            if nested(x.elem()) || nested(y.elem()) {
                return identical(a, b, meter);
            }
            if x.elem() != y.elem() && x.elem() != Elem::Any && y.elem() != Elem::Any {
                return Ok(false);
            }
            return all_pairs(x.items(), y.items(), meter, equal);
        }
        (Value::List(list), Value::Bytes(bytes)) | (Value::Bytes(bytes), Value::List(list)) => {
            let bytes: Vec<Value> = bytes.iter().map(|b| byte(*b)).collect();
            return Ok(list.elem() == Elem::Any && all_pairs(list.items(), &bytes, meter, equal)?);
        }
        (Value::Func(_), _) => false,
        _ => match (integer(a), integer(b)) {
            (Some(x), Some(y)) => x == y,
            _ => match (float(a), float(b)) {
                (Some(x), Some(y)) => x == y,
                _ => return identical(a, b, meter),
            },
        },
    })
}

fn all_pairs(
    x: &[Value],
    y: &[Value],
    meter: &mut Meter,
    same: fn(&Value, &Value, &mut Meter) -> Result<bool>,
) -> Result<bool> {
    if x.len() != y.len() {
        return Ok(false);
    }
    meter.step(x.len() as u64)?;
    for (x, y) in x.iter().zip(y) {
        if !same(x, y, meter)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Go's `reflect.DeepEqual`: the same types all the way down.
fn identical(a: &Value, b: &Value, meter: &mut Meter) -> Result<bool> {
    match (a, b) {
        (Value::List(x), Value::List(y)) => {
            Ok(x.elem() == y.elem()
                && (Arc::ptr_eq(x, y) || all_pairs(x.items(), y.items(), meter, identical)?))
        }
        (Value::Map(x), Value::Map(y)) => {
            if Arc::ptr_eq(x, y) {
                return Ok(true);
            }
            if x.elem() != y.elem() || x.len() != y.len() {
                return Ok(false);
            }
            meter.step(x.len() as u64)?;
            for ((kx, vx), (ky, vy)) in x.entries().iter().zip(y.entries()) {
                if kx != ky || !identical(vx, vy, meter)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Value::AnyMap(x), Value::AnyMap(y)) => {
            if Arc::ptr_eq(x, y) {
                return Ok(true);
            }
            if x.elem() != y.elem() || x.entries().len() != y.entries().len() {
                return Ok(false);
            }
            for (key, value) in x.entries() {
                meter.step(1 + y.entries().len() as u64)?;
                match y.entries().iter().find(|(k, _)| k == key) {
                    Some((_, other)) if identical(value, other, meter)? => {}
                    _ => return Ok(false),
                }
            }
            Ok(true)
        }
        // Containers of other kinds differ; what is left is scalar.
        _ => Ok(a == b),
    }
}

pub(crate) fn byte(b: u8) -> Value {
    Value::Int(i64::from(b), IntKind::Uint8)
}

/// The order of two values; `Ok(None)` if one of them is no number.
pub(crate) fn compare(a: &Value, b: &Value, symbol: &str) -> Result<Option<Ordering>> {
    match (a, b) {
        (Value::Str(x), Value::Str(y)) => return Ok(Some(x.cmp(y))),
        (Value::Time(x), Value::Time(y)) => return Ok(Some(x.at.cmp(&y.at))),
        (Value::Duration(x), Value::Duration(y)) => return Ok(Some(x.cmp(y))),
        _ => {}
    }
    if let (Some(x), Some(y)) = (integer(a), integer(b)) {
        return Ok(Some(x.cmp(&y)));
    }
    match (float(a), float(b)) {
        (Some(x), Some(y)) => Ok(x.partial_cmp(&y)),
        _ => mismatch(a, symbol, b),
    }
}

fn mismatch<T>(a: &Value, symbol: &str, b: &Value) -> Result<T> {
    fail(format!("invalid operation: {} {symbol} {}", a.go_type(), b.go_type()))
}

pub(crate) fn binary(op: BinaryOp, a: &Value, b: &Value, meter: &mut Meter) -> Result<Value> {
    use BinaryOp::*;
    let symbol = op.symbol();
    if let (true, Value::Str(x), Value::Str(y)) = (op.is_comparison(), a, b) {
        meter.step(x.len().min(y.len()) as u64 / BYTES_A_STEP)?;
    }
    Ok(match op {
        Equal => Value::Bool(equal(a, b, meter)?),
        NotEqual => Value::Bool(!equal(a, b, meter)?),
        Less => Value::Bool(compare(a, b, symbol)? == Some(Ordering::Less)),
        More => Value::Bool(compare(a, b, symbol)? == Some(Ordering::Greater)),
        LessOrEqual => Value::Bool(matches!(compare(a, b, symbol)?, Some(Ordering::Less | Ordering::Equal))),
        MoreOrEqual => {
            Value::Bool(matches!(compare(a, b, symbol)?, Some(Ordering::Greater | Ordering::Equal)))
        }
        In => Value::Bool(contains(a, b, meter)?),
        Contains | StartsWith | EndsWith => {
            let (x, y) = match (a, b) {
                (Value::Nil, _) | (_, Value::Nil) => return Ok(Value::Bool(false)),
                (Value::Str(x), Value::Str(y)) => (x.as_bytes(), y.as_bytes()),
                (Value::Str(_), other) | (other, _) => {
                    return fail(format!("{symbol} needs strings, found {}", type_name(other)));
                }
            };
            meter.step(x.len() as u64 / BYTES_A_STEP)?;
            Value::Bool(match op {
                StartsWith => x.starts_with(y),
                EndsWith => x.ends_with(y),
                _ => find(x, y).is_some(),
            })
        }
        Range => range(to_int(a)?, to_int(b)?, meter)?,
        Add | Subtract | Multiply | Divide | Modulo | Power => arithmetic(op, a, b, meter)?,
        Or | And | Coalesce | Matches => return mismatch(a, symbol, b),
    })
}

/// The first place of `needle`.
pub(crate) fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    memchr::memmem::find(text, needle)
}

fn range(from: i64, to: i64, meter: &mut Meter) -> Result<Value> {
    let size = to.wrapping_sub(from).wrapping_add(1).max(0) as u64;
    meter.step(size)?;
    meter.grow(size.saturating_mul(24))?;
    let items = (0..size as i64).map(|i| Value::int(from.wrapping_add(i))).collect();
    Ok(Value::List(Arc::new(List::new(Elem::Int, items)?)))
}

fn arithmetic(op: BinaryOp, a: &Value, b: &Value, meter: &mut Meter) -> Result<Value> {
    use BinaryOp::*;
    if let (Some(x), Some(y)) = (integer(a), integer(b)) {
        return Ok(match op {
            Add => Value::int(x.wrapping_add(y)),
            Subtract => Value::int(x.wrapping_sub(y)),
            Multiply => Value::int(x.wrapping_mul(y)),
            Divide => Value::Float(x as f64 / y as f64),
            Modulo if y == 0 => return fail("integer divide by zero".into()),
            Modulo => Value::int(x.wrapping_rem(y)),
            _ => Value::Float(power(x as f64, y as f64)),
        });
    }
    if let (Some(x), Some(y)) = (float(a), float(b)) {
        return Ok(Value::Float(match op {
            Add => x + y,
            Subtract => x - y,
            Multiply => x * y,
            Divide => x / y,
            Power => power(x, y),
            _ => return mismatch(a, op.symbol(), b),
        }));
    }
    Ok(match (op, a, b) {
        (Add, Value::Str(x), Value::Str(y)) => {
            meter.grow((x.len() + y.len()) as u64)?;
            Value::str([x.as_bytes(), y.as_bytes()].concat())
        }
        (Add, Value::Time(time), Value::Duration(d)) | (Add, Value::Duration(d), Value::Time(time)) => {
            Value::Time(Arc::new(time.add(*d)?))
        }
        (Add, Value::Duration(x), Value::Duration(y)) => Value::Duration(x.wrapping_add(*y)),
        (Subtract, Value::Time(x), Value::Time(y)) => Value::Duration(x.sub(y)),
        (Subtract, Value::Time(time), Value::Duration(d)) => {
            Value::Time(Arc::new(time.add(d.wrapping_neg())?))
        }
        (Subtract, Value::Duration(x), Value::Duration(y)) => Value::Duration(x.wrapping_sub(*y)),
        (Multiply, Value::Duration(x), Value::Duration(y)) => Value::Duration(x.wrapping_mul(*y)),
        (Multiply, Value::Duration(d), n) | (Multiply, n, Value::Duration(d)) => match (integer(n), n) {
            (Some(n), _) => Value::Duration(d.wrapping_mul(n)),
            (None, Value::Float(x)) => Value::Float(*d as f64 * x),
            _ => return mismatch(a, "*", b),
        },
        (Power, ..) => {
            let wrong = if float(a).is_none() { a } else { b };
            return fail(format!("invalid operation: float({})", wrong.go_type()));
        }
        _ => return mismatch(a, op.symbol(), b),
    })
}

pub(crate) fn contains(needle: &Value, within: &Value, meter: &mut Meter) -> Result<bool> {
    match within {
        Value::Nil => Ok(false),
        Value::List(list) => {
            meter.step(list.items().len() as u64)?;
            for item in list.items() {
                if equal(item, needle, meter)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        Value::Bytes(bytes) => Ok(integer(needle).is_some_and(|n| bytes.iter().any(|b| i64::from(*b) == n))
            || matches!(needle, Value::Float(x) if bytes.iter().any(|b| f64::from(*b) == *x))),
        Value::Map(map) => match needle {
            Value::Str(key) => Ok(map.get_bytes(key.as_bytes()).is_some()),
            Value::Nil => Ok(map.get("").is_some()),
            other => fail(format!("a map with string keys has no key of type {}", type_name(other))),
        },
        Value::AnyMap(map) => {
            hashable(needle)?;
            meter.step(map.entries().len() as u64)?;
            Ok(map.entries().iter().any(|(key, _)| key == needle))
        }
        Value::Time(_) if matches!(needle, Value::Str(_)) => Ok(false),
        other => fail(format!("operator \"in\" not defined on {}", other.go_type())),
    }
}

/// Lists and maps can't be keys.
pub(crate) fn hashable(key: &Value) -> Result<()> {
    match key {
        Value::List(_) | Value::Map(_) | Value::AnyMap(_) | Value::Bytes(_) | Value::Func(_) => {
            fail(format!("a {} cannot be a key", key.go_type()))
        }
        _ => Ok(()),
    }
}

pub(crate) fn negate(value: &Value) -> Result<Value> {
    match (integer(value), value) {
        (_, Value::Float(x)) => Ok(Value::Float(-x)),
        (Some(n), Value::Int(_, kind)) => Ok(Value::Int(
            match kind {
                IntKind::Uint8 => i64::from((n as u8).wrapping_neg()),
                IntKind::Uint16 => i64::from((n as u16).wrapping_neg()),
                IntKind::Uint32 => i64::from((n as u32).wrapping_neg()),
                IntKind::Int8 => i64::from((n as i8).wrapping_neg()),
                IntKind::Int16 => i64::from((n as i16).wrapping_neg()),
                IntKind::Int32 => i64::from((n as i32).wrapping_neg()),
                _ => n.wrapping_neg(),
            },
            *kind,
        )),
        _ => fail(format!("invalid operation: - {}", value.go_type())),
    }
}

pub(crate) fn slice(value: &Value, from: &Value, to: &Value, meter: &mut Meter) -> Result<Value> {
    let length = match value {
        Value::List(list) => list.items().len(),
        Value::Str(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        other => return fail(format!("cannot slice {}", type_name(other))),
    };
    if is_nil(value) {
        return Ok(value.clone());
    }
    let bound = |n: i64| (if n < 0 { length as i64 + n } else { n }).max(0) as usize;
    let (from, to) = (bound(to_int(from)?), bound(to_int(to)?).min(length));
    let from = from.min(to);
    meter.step((to - from) as u64)?;
    meter.grow(((to - from) as u64).saturating_mul(24))?;
    Ok(match value {
        Value::List(list) => Value::List(Arc::new(List::new(
            list.elem(),
            list.items().get(from..to).unwrap_or_default().to_vec(),
        )?)),
        Value::Str(text) => Value::str(text.as_bytes().get(from..to).unwrap_or_default()),
        Value::Bytes(bytes) => Value::bytes(bytes.get(from..to).unwrap_or_default()),
        _ => Value::Nil,
    })
}

/// The value of a member that is there without making anything: of a list or a map.
pub(crate) fn borrowed<'v>(from: &'v Value, key: &Value) -> Option<&'v Value> {
    match (from, key) {
        (Value::Map(map), Value::Str(key)) => map.get_bytes(key.as_bytes()),
        (Value::List(list), key) => {
            let index = integer(key)?;
            let index = if index < 0 { list.items().len() as i64 + index } else { index };
            list.items().get(usize::try_from(index).ok()?)
        }
        _ => None,
    }
}

pub(crate) fn fetch(from: &Value, key: &Value, meter: &mut Meter) -> Result<Value> {
    if let Some(found) = borrowed(from, key) {
        return Ok(found.clone());
    }
    let name = || herald_value::gofmt::to_text(key);
    let index = |length: usize| {
        let index = to_int(key)?;
        let index = if index < 0 { length as i64 + index } else { index };
        match usize::try_from(index) {
            Ok(i) if i < length => Ok(i),
            _ => fail(format!("index out of range: {index} (array length is {length})")),
        }
    };
    match from {
        Value::Nil => fail(format!("cannot fetch {} from nil", name())),
        Value::List(list) => {
            let i = index(list.items().len())?;
            Ok(list.items().get(i).cloned().unwrap_or_default())
        }
        Value::Str(text) => Ok(byte(text.as_bytes().get(index(text.len())?).copied().unwrap_or(0))),
        Value::Bytes(bytes) => Ok(byte(bytes.get(index(bytes.len())?).copied().unwrap_or(0))),
        Value::Map(map) => match key {
            Value::Str(_) => Ok(map.elem().zero().clone()),
            Value::Nil => Ok(map.get("").unwrap_or_else(|| map.elem().zero()).clone()),
            other => fail(format!("a map with string keys has no key of type {}", type_name(other))),
        },
        Value::AnyMap(map) => {
            hashable(key)?;
            meter.step(map.entries().len() as u64)?;
            let found = map.entries().iter().find(|(k, _)| k == key).map(|(_, v)| v.clone());
            Ok(match found {
                Some(found) => found,
                None if map.elem() == Elem::List => nil_list(),
                None => map.elem().zero().clone(),
            })
        }
        Value::Time(_)
        | Value::Duration(_)
        | Value::Int(_, IntKind::Month | IntKind::Weekday)
        | Value::Object(_)
            if has_method(from, key) =>
        {
            let (receiver, method) = (from.clone(), key.clone());
            Ok(Value::func("method", None, move |args| {
                call_method(&receiver, method.as_str().unwrap_or(""), args)
                    .unwrap_or_else(|| fail("no such method".into()))
            }))
        }
        other => fail(format!("cannot fetch {} from {}", name(), other.go_type())),
    }
}

fn has_method(from: &Value, key: &Value) -> bool {
    let Some(name) = key.as_str() else { return false };
    match from {
        Value::Object(object) => object.member(name).is_some() || object.call(name, &[]).is_some(),
        other => herald_value::time::call_method(other, name, &[]).is_some(),
    }
}

/// Calls a method that belongs to a value's type; `None` if there is none of that name.
pub(crate) fn call_method(receiver: &Value, name: &str, args: &[Value]) -> Option<Result<Value>> {
    match (receiver, name) {
        // Of several results an expression takes the first one.
        (Value::Time(time), "ISOWeek") if args.is_empty() => Some(Ok(Value::int(time.iso_week().0))),
        (Value::Time(time), "Zone") if args.is_empty() => {
            Some(Ok(Value::str(time.zone.abbreviation(time.at))))
        }
        (Value::Time(time), "Date") if args.is_empty() => Some(Ok(Value::int(time.fields().year))),
        (Value::Time(time), "Clock") if args.is_empty() => Some(Ok(Value::int(time.fields().hour))),
        // An int is no duration, as Go sees it.
        (Value::Time(_) | Value::Duration(_), "Add" | "Round" | "Truncate")
            if matches!(args, [Value::Int(..) | Value::Float(_)]) =>
        {
            let given = args.first().map(type_name).unwrap_or_default();
            Some(fail(format!("{name} needs a time.Duration, found {given}")))
        }
        // Go puts the zero value of the parameter in the place of nil.
        (Value::Time(_) | Value::Duration(_), _) if args.iter().any(Value::is_nil) => {
            let zero = |at: usize| match (name, at) {
                ("Add" | "Round" | "Truncate", _) => Value::Duration(0),
                ("Sub" | "After" | "Before" | "Equal" | "Compare", _) => Time::zero().into(),
                ("AddDate", _) => Value::int(0),
                ("AppendFormat", 0) => Value::bytes(b""),
                ("Format" | "AppendFormat", _) => Value::str(""),
                _ => Value::Nil,
            };
            let given = args.iter().enumerate();
            let args: Vec<Value> =
                given.map(|(at, arg)| if arg.is_nil() { zero(at) } else { arg.clone() }).collect();
            herald_value::time::call_method(receiver, name, &args)
        }
        (Value::Object(object), _) => object.call(name, args),
        _ => herald_value::time::call_method(receiver, name, args),
    }
}
