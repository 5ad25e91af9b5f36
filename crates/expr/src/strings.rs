//! The built-in functions of strings.

use herald_value::{CallError, Str, Value, limits::Meter};

use crate::{
    builtin::Builtin,
    functions::{char_width, split},
    ops::{self, Result, fail, find, to_int, type_name},
};

fn text(args: &[Value], i: usize) -> Result<&Str> {
    match args.get(i) {
        Some(Value::Str(text)) => Ok(text),
        other => fail(format!("expected a string, found {}", type_name(other.unwrap_or(&Value::Nil)))),
    }
}

pub(crate) fn call(builtin: Builtin, args: &[Value], meter: &mut Meter) -> Result<Value> {
    use Builtin::*;
    if builtin == Join {
        return join(args, meter);
    }
    let source = text(args, 0)?.as_bytes();
    meter.grow(source.len() as u64)?;
    let lossy = || std::string::String::from_utf8_lossy(source);
    let second = || match args.get(1) {
        Some(_) => text(args, 1).map(Str::as_bytes),
        None => Ok(&b" "[..]),
    };
    Ok(match builtin {
        Trim if args.len() == 1 => {
            let start = source.len() - lossy().trim_start().len().min(source.len());
            match std::str::from_utf8(source) {
                Ok(text) => Value::str(text.trim()),
                Err(_) => Value::str(source.get(start..).unwrap_or_default().trim_ascii()),
            }
        }
        Trim => {
            let set: Vec<char> = text(args, 1)?.to_str_lossy().chars().collect();
            Value::str(lossy().trim_matches(|c| set.contains(&c)))
        }
        TrimPrefix => Value::str(source.strip_prefix(second()?).unwrap_or(source)),
        TrimSuffix => Value::str(source.strip_suffix(second()?).unwrap_or(source)),
        Upper => {
            Value::str(lossy().chars().map(|c| one(c, c.to_uppercase())).collect::<std::string::String>())
        }
        Lower => {
            Value::str(lossy().chars().map(|c| one(c, c.to_lowercase())).collect::<std::string::String>())
        }
        Split | SplitAfter => {
            let limit = match args.get(2) {
                Some(limit) => to_int(limit)?,
                None => -1,
            };
            split(source, text(args, 1)?.as_bytes(), builtin == SplitAfter, limit, meter)?
        }
        Replace => {
            let limit = match args.get(3) {
                Some(limit) => to_int(limit)?,
                None => -1,
            };
            replace(source, text(args, 1)?.as_bytes(), text(args, 2)?.as_bytes(), limit, meter)?
        }
        Repeat => {
            let count = to_int(args.get(1).unwrap_or(&Value::Nil))?;
            if count < 0 {
                return fail(format!("invalid argument for repeat (expected positive integer, got {count})"));
            }
            let length = (source.len() as u64).saturating_mul(count as u64);
            if count > 1_000_000 || length >= 1_000_000 {
                return Err(CallError::over_limit(
                    "memory budget exceeded: repeat makes a million bytes or more",
                ));
            }
            meter.grow(length)?;
            Value::str(source.repeat(count as usize))
        }
        IndexOf => Value::int(find(source, text(args, 1)?.as_bytes()).map_or(-1, |at| at as i64)),
        LastIndexOf => {
            let at = memchr::memmem::rfind(source, text(args, 1)?.as_bytes());
            Value::int(at.map_or(-1, |at| at as i64))
        }
        HasPrefix => Value::Bool(source.starts_with(text(args, 1)?.as_bytes())),
        HasSuffix => Value::Bool(source.ends_with(text(args, 1)?.as_bytes())),
        _ => return fail(format!("unknown builtin {}", builtin.name())),
    })
}

/// Go maps character by character: a case that is several characters does not apply.
fn one(c: char, mut mapped: impl Iterator<Item = char>) -> char {
    match (mapped.next(), mapped.next()) {
        (Some(only), None) => only,
        _ => c,
    }
}

fn join(args: &[Value], meter: &mut Meter) -> Result<Value> {
    let glue = match args.get(1) {
        Some(_) => text(args, 1)?.as_bytes(),
        None => b"",
    };
    let Some(Value::List(list)) = args.first() else {
        return fail(format!(
            "invalid argument for join (type {})",
            type_name(args.first().unwrap_or(&Value::Nil))
        ));
    };
    if !matches!(list.elem(), herald_value::Elem::Any | herald_value::Elem::Str) {
        return fail(format!("invalid argument for join (type []{})", list.elem().go_name()));
    }
    let mut out = Vec::new();
    for i in 0..list.items().len() {
        let part = text(list.items(), i)?.as_bytes();
        meter.grow((part.len() + glue.len()) as u64)?;
        if i > 0 {
            out.extend_from_slice(glue);
        }
        out.extend_from_slice(part);
    }
    Ok(Value::str(out))
}

fn replace(source: &[u8], from: &[u8], to: &[u8], limit: i64, meter: &mut Meter) -> Result<Value> {
    let mut out = Vec::with_capacity(source.len());
    let mut rest = source;
    let mut left = if limit < 0 { u64::MAX } else { limit as u64 };
    if from.is_empty() {
        // Before each character and at the end.
        while left > 0 {
            meter.grow(to.len() as u64)?;
            out.extend_from_slice(to);
            left -= 1;
            if rest.is_empty() {
                break;
            }
            let (part, tail) = rest.split_at(char_width(rest).min(rest.len()));
            out.extend_from_slice(part);
            rest = tail;
        }
        out.extend_from_slice(rest);
        return Ok(Value::str(out));
    }
    while left > 0 {
        let Some(at) = ops::find(rest, from) else { break };
        meter.grow(to.len() as u64)?;
        out.extend_from_slice(rest.get(..at).unwrap_or_default());
        out.extend_from_slice(to);
        rest = rest.get(at + from.len()..).unwrap_or_default();
        left -= 1;
    }
    out.extend_from_slice(rest);
    Ok(Value::str(out))
}
