//! What the built-in functions do, except those with predicates.

use std::{cmp::Ordering, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use herald_value::{
    AnyMap, CallError, Elem, IntKind, List, Numbers, Str, Value, gofmt, json,
    limits::Meter,
    num,
    time::{self, Time, Zone},
};
use jiff::Timestamp;

use crate::{
    builtin::Builtin,
    ops::{self, Result, fail, find, float, integer, to_int, type_name},
    vm::strings,
};

/// Whether what a function makes counts as elements made.
pub(crate) fn counts(builtin: Builtin) -> bool {
    matches!(builtin, Builtin::Repeat | Builtin::Reverse | Builtin::Concat | Builtin::Flatten | Builtin::Sort)
}

fn text(args: &[Value], i: usize) -> Result<&Str> {
    match args.get(i) {
        Some(Value::Str(text)) => Ok(text),
        other => fail(format!("expected a string, found {}", type_name(other.unwrap_or(&Value::Nil)))),
    }
}

/// The text of an argument, for functions that look at characters.
fn utf8(args: &[Value], i: usize) -> Result<std::borrow::Cow<'_, str>> {
    Ok(text(args, i)?.to_str_lossy())
}

fn items<'v>(value: &'v Value, verb: &str) -> Result<std::borrow::Cow<'v, [Value]>> {
    match value {
        Value::List(list) => Ok(list.items().into()),
        Value::Bytes(bytes) => Ok(bytes.iter().map(|b| ops::byte(*b)).collect()),
        other => fail(format!("cannot {verb} {}", type_name(other))),
    }
}

pub(crate) fn call(
    builtin: Builtin,
    args: &[Value],
    meter: &mut Meter,
    now: Option<Timestamp>,
) -> Result<Value> {
    use Builtin::*;
    let first = args.first().unwrap_or(&Value::Nil);
    let size: u64 = args
        .iter()
        .map(|arg| match arg {
            Value::Str(text) => text.len() as u64 / 16,
            Value::List(list) => list.items().len() as u64,
            _ => 1,
        })
        .sum();
    meter.step(1 + size)?;
    Ok(match builtin {
        Len => Value::int(match first {
            Value::Str(text) => text.to_str_lossy().chars().count(),
            Value::List(list) => list.items().len(),
            Value::Map(map) => map.len(),
            Value::AnyMap(map) => map.entries().len(),
            Value::Bytes(bytes) => bytes.len(),
            other => return fail(format!("invalid argument for len (type {})", type_name(other))),
        } as i64),
        Type => Value::str(match first {
            Value::Nil => "nil".to_string(),
            Value::Bool(_) => "bool".into(),
            Value::Int(_, IntKind::Month) => "time.Month".into(),
            Value::Int(_, IntKind::Weekday) => "time.Weekday".into(),
            Value::Int(_, kind) if kind.is_unsigned() => "uint".into(),
            Value::Int(..) => "int".into(),
            Value::Float(_) => "float".into(),
            Value::Str(_) => "string".into(),
            Value::Bytes(_) | Value::List(_) => "array".into(),
            Value::Map(_) | Value::AnyMap(_) => "map".into(),
            Value::Time(_) => "time.Time".into(),
            Value::Duration(_) => "time.Duration".into(),
            Value::Func(_) => "func".into(),
            Value::Object(object) => object.go_type().trim_start_matches('*').into(),
        }),
        Abs => match first {
            Value::Int(n, kind) if integer(first).is_some() && !kind.is_unsigned() => {
                Value::Int(n.wrapping_abs(), *kind)
            }
            Value::Float(x) => Value::Float(if *x < 0.0 { -x } else { *x }),
            other if integer(other).is_some() => other.clone(),
            other => return fail(format!("invalid argument for abs (type {})", type_name(other))),
        },
        Ceil | Floor | Round => match (first, float(first)) {
            (Value::Float(x), _) => Value::Float(match builtin {
                Ceil => x.ceil(),
                Floor => x.floor(),
                _ => x.round(),
            }),
            (_, Some(x)) => Value::Float(x),
            _ => return fail(format!("invalid argument for {} (type {})", builtin.name(), type_name(first))),
        },
        Int => match first {
            Value::Str(text) => match num::parse_int(&text.to_str_lossy(), 10, 64) {
                Ok(n) => Value::int(n),
                Err(_) => return fail(format!("invalid operation: int({})", text.to_str_lossy())),
            },
            Value::Duration(n) | Value::Int(n, _) => Value::int(*n),
            other => Value::int(to_int(other)?),
        },
        Float => match (first, float(first)) {
            (Value::Str(text), _) => match num::parse_float(&text.to_str_lossy()) {
                Ok(x) => Value::Float(x),
                Err(_) => return fail(format!("invalid operation: float({})", text.to_str_lossy())),
            },
            (_, Some(x)) => Value::Float(x),
            _ => return fail(format!("invalid operation: float({})", type_name(first))),
        },
        ToText => printed(first, meter)?,
        Max | Min => extreme(builtin, args, meter, 0)?,
        Mean | Median => {
            let mut all = Vec::new();
            numbers(builtin, args, &mut all, meter)?;
            Value::Float(if builtin == Mean { mean(&all) } else { median(all) })
        }
        ToJson if ops::is_nil(first) => Value::str("null"),
        ToJson => Value::str(json::encode(first, json::Style::PRETTY, meter)?),
        FromJson => {
            let source = text(args, 0)?;
            meter.grow(source.len() as u64 * 8)?;
            json::decode(source.as_bytes(), Numbers::Float).map_err(|e| CallError::new(e.to_string()))?
        }
        ToBase64 => Value::str(STANDARD.encode(text(args, 0)?.as_bytes())),
        FromBase64 => {
            let clean: Vec<u8> =
                text(args, 0)?.as_bytes().iter().copied().filter(|b| !matches!(b, b'\r' | b'\n')).collect();
            Value::str(
                STANDARD.decode(clean).map_err(|e| CallError::new(format!("illegal base64 data: {e}")))?,
            )
        }
        Now => {
            let time = Time::utc(now.unwrap_or_else(Timestamp::now));
            Value::Time(Arc::new(match zone(first) {
                Some(zone) => time.in_zone(zone),
                None => time,
            }))
        }
        Duration => Value::Duration(time::parse_duration(&utf8(args, 0)?)?),
        Timezone => {
            let zone = Zone::load(&utf8(args, 0)?)?;
            time::call_method(&Value::Time(Arc::new(Time::zero().in_zone(zone))), "Location", &[])
                .unwrap_or_else(|| fail("no time zone".into()))?
        }
        Date => date(args)?,
        First | Last => {
            let index = Value::int(if builtin == First { 0 } else { -1 });
            match first {
                Value::AnyMap(_) | Value::List(_) | Value::Str(_) | Value::Bytes(_) => {
                    ops::fetch(first, &index, meter).unwrap_or_default()
                }
                _ => Value::Nil,
            }
        }
        Get => get(first, args.get(1).unwrap_or(&Value::Nil), meter)?,
        Take => {
            let count = match args.get(1) {
                Some(Value::Int(n, kind)) if !kind.is_unsigned() => *n,
                Some(Value::Duration(n)) => *n,
                other => {
                    return fail(format!("cannot take {} elements", type_name(other.unwrap_or(&Value::Nil))));
                }
            };
            if count < 0 {
                return fail("cannot take a negative number of elements".into());
            }
            items(first, "take from")?;
            ops::slice(first, &Value::int(0), &Value::int(count), meter)?
        }
        Keys => list(pairs(first, "get keys from")?.into_iter().map(|(k, _)| k).collect(), meter)?,
        Values => list(pairs(first, "get values from")?.into_iter().map(|(_, v)| v).collect(), meter)?,
        ToPairs => {
            let mut out = Vec::new();
            for (key, value) in pairs(first, "make pairs of")? {
                out.push(Value::list(vec![key, value])?);
            }
            meter.grow(out.len() as u64 * 48)?;
            Value::List(Arc::new(List::new(Elem::Pair, out)?))
        }
        FromPairs => from_pairs(first)?,
        Reverse => list(items(first, "reverse")?.iter().rev().cloned().collect(), meter)?,
        Uniq => {
            let mut out: Vec<Value> = Vec::new();
            for item in items(first, "uniq")?.iter() {
                meter.step(out.len() as u64)?;
                let mut known = false;
                for other in &out {
                    known = ops::equal(item, other, meter)?;
                    if known {
                        break;
                    }
                }
                if !known {
                    out.push(item.clone());
                }
            }
            list(out, meter)?
        }
        Concat => {
            let mut out = Vec::new();
            for arg in args {
                out.extend_from_slice(&items(arg, "concat")?);
            }
            if out.is_empty() { ops::nil_list() } else { list(out, meter)? }
        }
        Flatten => {
            let mut out = Vec::new();
            flatten(&items(first, "flatten")?, &mut out, meter)?;
            list(out, meter)?
        }
        Sort => {
            let sortable = matches!(first, Value::List(list)
                if matches!(list.elem(), Elem::Any | Elem::Str | Elem::Int | Elem::Float));
            let values: Vec<(Value, Value)> = match first {
                Value::List(list) if sortable => {
                    list.items().iter().map(|v| (v.clone(), v.clone())).collect()
                }
                _ => Vec::new(),
            };
            let descending = match args.get(1) {
                Some(order) => descending(order)?,
                None => false,
            };
            if sortable { Value::list(sort_by(values, descending, meter)?)? } else { ops::nil_list() }
        }
        BitNot => Value::int(!bits(args, 0, builtin)?),
        BitAnd | BitOr | BitXor | BitNand | BitShl | BitShr | BitUshr => {
            let (x, y) = (bits(args, 0, builtin)?, bits(args, 1, builtin)?);
            let shift = matches!(builtin, BitShl | BitShr | BitUshr);
            if shift && y < 0 {
                return fail(format!("negative shift count {y}"));
            }
            let by = u32::try_from(y).unwrap_or(u32::MAX);
            Value::int(match builtin {
                BitAnd => x & y,
                BitOr => x | y,
                BitXor => x ^ y,
                BitNand => x & !y,
                BitShl => x.checked_shl(by).unwrap_or(0),
                BitShr => x.checked_shr(by).unwrap_or(if x < 0 { -1 } else { 0 }),
                _ => (x as u64).checked_shr(by).unwrap_or(0) as i64,
            })
        }
        other => crate::strings::call(other, args, meter)?,
    })
}

fn list(values: Vec<Value>, meter: &mut Meter) -> Result<Value> {
    meter.grow(values.len() as u64 * 24)?;
    Ok(Value::list(values)?)
}

fn printed(value: &Value, meter: &mut Meter) -> Result<Value> {
    let mut out = Vec::new();
    let limit = usize::try_from(meter.limits().bytes).unwrap_or(usize::MAX);
    if !gofmt::print_bounded(&mut out, value, limit) {
        return Err(CallError::over_limit(format!("the text is longer than {limit} bytes")));
    }
    meter.grow(out.len() as u64)?;
    Ok(Value::str(out))
}

fn bits(args: &[Value], i: usize, builtin: Builtin) -> Result<i64> {
    let value = args.get(i).unwrap_or(&Value::Nil);
    match integer(value) {
        Some(n) => Ok(n),
        None => fail(format!("cannot use {} as int to call {}", type_name(value), builtin.name())),
    }
}

fn extreme(builtin: Builtin, args: &[Value], meter: &mut Meter, depth: u32) -> Result<Value> {
    let wanted = if builtin == Builtin::Max { Ordering::Less } else { Ordering::Greater };
    let mut best = Value::Nil;
    for arg in args {
        meter.step(1)?;
        let found = match arg {
            Value::List(list) => extreme(builtin, list.items(), meter, depth + 1)?,
            Value::Bytes(bytes) => {
                let bytes: Vec<Value> = bytes.iter().map(|b| ops::byte(*b)).collect();
                extreme(builtin, &bytes, meter, depth + 1)?
            }
            value if float(value).is_some() => value.clone(),
            value if depth == 0 && args.len() == 1 => return Ok(value.clone()),
            other => {
                return fail(format!("invalid argument for {} (type {})", builtin.name(), type_name(other)));
            }
        };
        if found.is_nil() {
            continue;
        }
        if best.is_nil() || ops::compare(&best, &found, "<")? == Some(wanted) {
            best = found;
        }
    }
    Ok(best)
}

fn numbers(builtin: Builtin, args: &[Value], out: &mut Vec<f64>, meter: &mut Meter) -> Result<()> {
    for arg in args {
        meter.step(1)?;
        match (arg, float(arg)) {
            (Value::List(list), _) => numbers(builtin, list.items(), out, meter)?,
            (Value::Bytes(bytes), _) => out.extend(bytes.iter().map(|b| f64::from(*b))),
            (Value::Duration(n), _) | (Value::Int(n, IntKind::Month | IntKind::Weekday), _) => {
                out.push(*n as f64)
            }
            (_, Some(x)) => out.push(x),
            _ => return fail(format!("invalid argument for {} (type {})", builtin.name(), type_name(arg))),
        }
    }
    Ok(())
}

fn mean(all: &[f64]) -> f64 {
    if all.is_empty() { 0.0 } else { all.iter().sum::<f64>() / all.len() as f64 }
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(|a, b| a.partial_cmp(b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan())));
    let middle = all.len() / 2;
    match (all.len(), all.get(middle), all.get(middle.wrapping_sub(1))) {
        (n, Some(x), _) if n % 2 == 1 => *x,
        (_, Some(x), Some(y)) => (y + x) / 2.0,
        _ => 0.0,
    }
}

fn zone(value: &Value) -> Option<Zone> {
    match value {
        Value::Object(object) if object.go_type() == "*time.Location" => Zone::load(&object.print()).ok(),
        _ => None,
    }
}

fn date(args: &[Value]) -> Result<Value> {
    let (zone, args) = match args.first().and_then(zone) {
        Some(zone) => (Some(zone), args.get(1..).unwrap_or_default()),
        None => (None, args),
    };
    let source = utf8(args, 0)?;
    let parse = |layout: &str, zone: Option<&Zone>| match zone {
        Some(zone) => time::parse_in(layout, &source, zone.clone()),
        None => time::parse(layout, &source),
    };
    let made = |time: Time| Value::Time(Arc::new(time));
    match args.len() {
        2 => return parse(&utf8(args, 1)?, zone.as_ref()).map(made),
        3 => {
            let named = Zone::load(&utf8(args, 2)?)?;
            return parse(&utf8(args, 1)?, Some(&named)).map(made);
        }
        _ => {}
    }
    for layout in [
        "2006-01-02",
        "15:04:05",
        "2006-01-02 15:04:05",
        time::RFC3339,
        "02 Jan 06 15:04 MST",
        "Monday, 02-Jan-06 15:04:05 MST",
        "Mon, 02 Jan 2006 15:04:05 MST",
    ] {
        if let Ok(time) = parse(layout, zone.as_ref()) {
            return Ok(made(time));
        }
    }
    fail(format!("invalid date {source}"))
}

fn get(from: &Value, key: &Value, meter: &mut Meter) -> Result<Value> {
    match from {
        Value::List(_) | Value::Str(_) | Value::Bytes(_) => {
            to_int(key)?;
            Ok(ops::fetch(from, key, meter).unwrap_or_default())
        }
        Value::Map(map) => match key {
            Value::Str(key) => Ok(map.get_bytes(key.as_bytes()).cloned().unwrap_or_default()),
            Value::Nil => Ok(map.get("").cloned().unwrap_or_default()),
            _ => ops::fetch(from, key, meter),
        },
        Value::AnyMap(map) => {
            ops::hashable(key)?;
            meter.step(map.entries().len() as u64)?;
            Ok(map.entries().iter().find(|(k, _)| k == key).map(|(_, v)| v.clone()).unwrap_or_default())
        }
        Value::Time(_) if !matches!(key, Value::Str(_)) => fail("a time has only named members".into()),
        other => Ok(ops::fetch(other, key, meter).unwrap_or_default()),
    }
}

fn pairs(value: &Value, verb: &str) -> Result<Vec<(Value, Value)>> {
    match value {
        Value::Map(map) => {
            Ok(map.entries().iter().map(|(k, v)| (Value::Str(k.clone()), v.clone())).collect())
        }
        Value::AnyMap(map) => Ok(map.entries().to_vec()),
        other => fail(format!("cannot {verb} {}", type_name(other))),
    }
}

fn from_pairs(value: &Value) -> Result<Value> {
    let mut known = std::collections::HashMap::new();
    let mut entries: Vec<(Value, Value)> = Vec::new();
    for pair in items(value, "make a map of")?.iter() {
        let parts = items(pair, "take as a pair")?;
        let [key, value] = &*parts else {
            return fail(format!("a pair has two elements, not {}", parts.len()));
        };
        ops::hashable(key)?;
        let at = *known.entry(key_code(key, entries.len())).or_insert(entries.len());
        match entries.get_mut(at) {
            Some(entry) => entry.1 = value.clone(),
            None => entries.push((key.clone(), value.clone())),
        }
    }
    Ok(Value::AnyMap(Arc::new(AnyMap::new(Elem::Any, entries)?)))
}

/// Bytes that are equal for keys that Go takes as equal: the same type and value.
pub(crate) fn key_code(key: &Value, unique: usize) -> Vec<u8> {
    let mut code = key.go_type().into_bytes();
    code.push(0);
    match key {
        Value::Bool(b) => code.push(u8::from(*b)),
        Value::Int(n, _) | Value::Duration(n) => code.extend(n.to_le_bytes()),
        // NaN differs from itself.
        Value::Float(x) if x.is_nan() => code.extend(unique.to_le_bytes()),
        Value::Float(x) => code.extend((x + 0.0).to_bits().to_le_bytes()),
        Value::Str(text) => code.extend_from_slice(text.as_bytes()),
        Value::Time(time) => code.extend(format!("{time:?}").into_bytes()),
        Value::Object(object) => code.extend(object.print().into_bytes()),
        _ => {}
    }
    code
}

fn flatten(from: &[Value], out: &mut Vec<Value>, meter: &mut Meter) -> Result<()> {
    for value in from {
        meter.step(1)?;
        match value {
            Value::List(list) => flatten(list.items(), out, meter)?,
            Value::Bytes(bytes) => out.extend(bytes.iter().map(|b| ops::byte(*b))),
            other => {
                meter.grow(24)?;
                out.push(other.clone());
            }
        }
    }
    Ok(())
}

pub(crate) fn descending(order: &Value) -> Result<bool> {
    match order {
        Value::Str(text) if *text == "asc" => Ok(false),
        Value::Str(text) if *text == "desc" => Ok(true),
        Value::Str(text) => fail(format!("invalid order {}, expected asc or desc", text.to_str_lossy())),
        other => fail(format!("the order must be a string, found {}", type_name(other))),
    }
}

/// The second ones of the pairs, in the order of the first ones.
pub(crate) fn sort_by(
    mut pairs: Vec<(Value, Value)>,
    descending: bool,
    meter: &mut Meter,
) -> Result<Vec<Value>> {
    let count = pairs.len() as u64;
    meter.step(count.saturating_mul(u64::from(64 - count.leading_zeros())))?;
    meter.grow(count * 24)?;
    let mut problem = None;
    pairs.sort_by(|(a, _), (b, _)| {
        let (a, b) = if descending { (b, a) } else { (a, b) };
        match ops::compare(a, b, "<") {
            Ok(order) => order.unwrap_or(Ordering::Equal),
            Err(error) => {
                problem.get_or_insert(error);
                Ordering::Equal
            }
        }
    });
    match problem {
        Some(error) => Err(error),
        None => Ok(pairs.into_iter().map(|(_, value)| value).collect()),
    }
}

/// Cuts a text at each `separator`; `after` keeps the separators, `limit` is Go's `n`.
pub(crate) fn split(
    source: &[u8],
    separator: &[u8],
    after: bool,
    limit: i64,
    meter: &mut Meter,
) -> Result<Value> {
    let mut parts: Vec<Value> = Vec::new();
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    if limit == 0 {
        return Ok(ops::nil_strings());
    }
    meter.grow(source.len() as u64 * if separator.is_empty() { 24 } else { 2 })?;
    let mut rest = source;
    if separator.is_empty() {
        while !rest.is_empty() {
            let width = if parts.len() + 1 == most { rest.len() } else { char_width(rest) };
            let (part, left) = rest.split_at(width.min(rest.len()));
            parts.push(Value::str(part));
            rest = left;
        }
        return strings(parts);
    }
    while parts.len() + 1 < most {
        let Some(at) = find(rest, separator) else { break };
        let end = if after { at + separator.len() } else { at };
        parts.push(Value::str(rest.get(..end).unwrap_or_default()));
        rest = rest.get(at + separator.len()..).unwrap_or_default();
    }
    parts.push(Value::str(rest));
    strings(parts)
}

/// The bytes of the first character.
pub(crate) fn char_width(bytes: &[u8]) -> usize {
    let start = bytes.get(..bytes.len().min(4)).unwrap_or_default();
    match std::str::from_utf8(start) {
        Ok(text) => text.chars().next().map_or(1, char::len_utf8),
        Err(e) if e.valid_up_to() > 0 => {
            std::str::from_utf8(start.get(..e.valid_up_to()).unwrap_or_default())
                .ok()
                .and_then(|text| text.chars().next())
                .map_or(1, char::len_utf8)
        }
        Err(_) => 1,
    }
}
