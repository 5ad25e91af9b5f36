//! Functions on strings.

use herald_value::{CallError, IntKind, Value, num};

use super::case;
use super::help::{
    Result, fail, find, lower, printed, rune_lengths, runes, split, string_items, strings, text, text_of,
    title, upper,
};
use crate::function::{Call, Function, Param::*};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("hello", &[], |_| Ok(Value::str("Hello!"))),
    Function::new("abbrev", &[Int, Str], |c| {
        let (width, s) = (c.int(0), c.bytes(1));
        let out = if width < 4 { s.to_vec() } else { abbreviate(s, 0, width)? };
        text(c, out)
    }),
    Function::new("abbrevboth", &[Int, Int, Str], |c| {
        let (left, right, s) = (c.int(0), c.int(1), c.bytes(2));
        let plain = right < 4 || (left > 0 && right < 7);
        let out = if plain { s.to_vec() } else { abbreviate(s, left, right)? };
        text(c, out)
    }),
    Function::new("trunc", &[Int, Str], |c| {
        let (count, s) = (c.int(0), c.bytes(1));
        let len = i64::try_from(s.len()).unwrap_or(i64::MAX);
        let cut = if count < 0 && len.saturating_add(count) > 0 {
            part(s, len + count, len)?
        } else if count >= 0 && len > count {
            part(s, 0, count)?
        } else {
            s
        };
        let out = cut.to_vec();
        text(c, out)
    }),
    Function::new("trim", &[Str], |c| {
        let out = trim_space(c.bytes(0)).to_vec();
        text(c, out)
    }),
    Function::new("upper", &[Str], |c| mapped(c, upper)),
    Function::new("lower", &[Str], |c| mapped(c, lower)),
    Function::new("title", &[Str], |c| {
        let mut before = ' ';
        let out = runes(c.bytes(0)).map(|now| {
            let first = is_separator(std::mem::replace(&mut before, now));
            if first { title(now) } else { now }
        });
        let out: String = out.collect();
        text(c, out)
    }),
    Function::new("untitle", &[Str], |c| {
        let mut gap = true;
        let out: String = runes(c.bytes(0))
            .map(|now| {
                let first = gap && !now.is_whitespace();
                gap = now.is_whitespace();
                if first { lower(now) } else { now }
            })
            .collect();
        text(c, out)
    }),
    Function::new("substr", &[Int, Int, Str], |c| {
        let (start, end, s) = (c.int(0), c.int(1), c.bytes(2));
        let len = i64::try_from(s.len()).unwrap_or(i64::MAX);
        let out = if start < 0 {
            part(s, 0, end)?
        } else if end < 0 || end > len {
            part(s, start, len)?
        } else {
            part(s, start, end)?
        };
        let out = out.to_vec();
        text(c, out)
    }),
    Function::new("repeat", &[Int, Str], |c| {
        let count = non_negative(c.int(0))?;
        c.meter.grow((c.bytes(1).len() as u64).saturating_mul(count as u64))?;
        Ok(Value::str(c.bytes(1).repeat(count)))
    }),
    Function::new("trimall", &[Str, Str], trim_all),
    Function::new("trimAll", &[Str, Str], trim_all),
    Function::new("trimSuffix", &[Str, Str], |c| {
        let (suffix, s) = (c.bytes(0), c.bytes(1));
        let out = s.strip_suffix(suffix).unwrap_or(s).to_vec();
        text(c, out)
    }),
    Function::new("trimPrefix", &[Str, Str], |c| {
        let (prefix, s) = (c.bytes(0), c.bytes(1));
        let out = s.strip_prefix(prefix).unwrap_or(s).to_vec();
        text(c, out)
    }),
    Function::new("nospace", &[Str], |c| {
        let s = c.bytes(0);
        // The original looks at bytes, so characters beyond ASCII come apart, unless there is nothing to remove.
        let kept: String = s.iter().map(|b| char::from(*b)).filter(|b| !b.is_whitespace()).collect();
        let out = if kept.chars().count() == s.len() { s.to_vec() } else { kept.into_bytes() };
        text(c, out)
    }),
    Function::new("initials", &[Str], |c| {
        let mut gap = true;
        // The original looks at bytes here too.
        let first = c.bytes(0).iter().map(|b| char::from(*b)).filter(|now| {
            let first = gap && !now.is_whitespace();
            gap = now.is_whitespace();
            first
        });
        let out: String = first.collect();
        text(c, out)
    }),
    Function::new("swapcase", &[Str], |c| {
        let out = case::swap(c.bytes(0));
        text(c, out)
    }),
    Function::new("snakecase", &[Str], |c| {
        let out = case::separated(c.bytes(0), '_');
        text(c, out)
    }),
    Function::new("kebabcase", &[Str], |c| {
        let out = case::separated(c.bytes(0), '-');
        text(c, out)
    }),
    Function::new("camelcase", &[Str], |c| {
        let out = case::camel(c.bytes(0));
        text(c, out)
    }),
    Function::new("wrap", &[Int, Str], |c| {
        let width = c.int(0);
        wrap(c, width, 1, b"\n", false)
    }),
    Function::new("wrapWith", &[Int, Str, Str], |c| {
        let (width, newline) = (c.int(0), c.bytes(1).to_vec());
        wrap(c, width, 2, if newline.is_empty() { b"\n" } else { &newline }, true)
    }),
    Function::new("contains", &[Str, Str], |c| Ok(Value::Bool(find(c.bytes(1), c.bytes(0), 0).is_some()))),
    Function::new("hasPrefix", &[Str, Str], |c| Ok(Value::Bool(c.bytes(1).starts_with(c.bytes(0))))),
    Function::new("hasSuffix", &[Str, Str], |c| Ok(Value::Bool(c.bytes(1).ends_with(c.bytes(0))))),
    Function::new("quote", &[], |c| joined(c, b" ", |v| num::quote(&text_of(v)).into_bytes())).variadic(Any),
    Function::new("squote", &[], |c| joined(c, b" ", |v| [b"'", printed(v).as_slice(), b"'"].concat()))
        .variadic(Any),
    Function::new("cat", &[], |c| joined(c, b" ", printed)).variadic(Any),
    Function::new("indent", &[Int, Str], |c| indent(c, false)),
    Function::new("nindent", &[Int, Str], |c| indent(c, true)),
    Function::new("replace", &[Str, Str, Str], |c| {
        let (old, new, s) = (c.bytes(0).to_vec(), c.bytes(1).to_vec(), c.bytes(2).to_vec());
        replace(c, &old, &new, &s)
    }),
    Function::new("plural", &[Str, Str, Int], |c| Ok(c.arg(usize::from(c.int(2) != 1)).clone())),
    Function::new("toString", &[Any], |c| {
        let out = text_of(c.arg(0));
        text(c, out)
    }),
    Function::new("toStrings", &[Any], |c| {
        let value = c.arg(0).clone();
        Ok(Value::str_list(string_items(c, &value)?))
    }),
    Function::new("join", &[Str, Any], |c| {
        let value = c.arg(1).clone();
        let items = string_items(c, &value)?;
        c.meter.grow((items.len() as u64).saturating_mul(c.bytes(0).len() as u64))?;
        let out = items.join(c.bytes(0));
        text(c, out)
    }),
    Function::new("sortAlpha", &[Any], |c| {
        let value = c.arg(0).clone();
        let mut items = match value {
            Value::Nil => vec![printed(&value)],
            _ => string_items(c, &value)?,
        };
        items.sort();
        Ok(Value::str_list(items))
    }),
    Function::new("split", &[Str, Str], |c| {
        let parts = split(c.bytes(1), c.bytes(0), None);
        numbered(c, parts)
    }),
    Function::new("splitn", &[Str, Int, Str], |c| {
        let parts = split(c.bytes(2), c.bytes(0), usize::try_from(c.int(1)).ok());
        numbered(c, parts)
    }),
    Function::new("splitList", &[Str, Str], |c| {
        let parts = split(c.bytes(1), c.bytes(0), None);
        strings(c, parts)
    }),
    Function::new("fail", &[Str], |c| fail(c.text(0).into_owned())),
];

fn mapped(call: &mut Call<'_>, map: fn(char) -> char) -> Result<Value> {
    let out: String = runes(call.bytes(0)).map(map).collect();
    text(call, out)
}

/// A slice of a string; Go's panic where it is out of range.
fn part(s: &[u8], start: i64, end: i64) -> Result<&[u8]> {
    let (from, to) = (usize::try_from(start), usize::try_from(end));
    let found = from.ok().zip(to.ok()).and_then(|(from, to)| s.get(from..to));
    found.ok_or_else(|| {
        CallError::new(format!(
            "runtime error: slice bounds out of range [{start}:{end}] with length {}",
            s.len()
        ))
    })
}

fn non_negative(count: i64) -> Result<usize> {
    usize::try_from(count).map_err(|_| CallError::new("strings: negative Repeat count"))
}

/// Go's `strings.TrimSpace`.
pub(super) fn trim_space(s: &[u8]) -> &[u8] {
    let lengths: Vec<(char, usize)> = runes(s).zip(rune_lengths(s)).collect();
    let start: usize = lengths.iter().take_while(|(c, _)| c.is_whitespace()).map(|(_, len)| len).sum();
    let end: usize = lengths.iter().rev().take_while(|(c, _)| c.is_whitespace()).map(|(_, len)| len).sum();
    s.get(start..s.len().saturating_sub(end)).unwrap_or_default()
}

/// What `strings.Title` takes for the end of a word.
fn is_separator(c: char) -> bool {
    if c.is_ascii() {
        return !(c.is_ascii_alphanumeric() || c == '_');
    }
    !(c.is_alphabetic() || c.is_numeric()) && c.is_whitespace()
}

fn trim_all(call: &mut Call<'_>) -> Result<Value> {
    let set: Vec<char> = runes(call.bytes(0)).collect();
    let s = call.bytes(1);
    let lengths: Vec<(char, usize)> = runes(s).zip(rune_lengths(s)).collect();
    let cost = (set.len() as u64).saturating_mul(lengths.len() as u64) / 16;
    let start: usize = lengths.iter().take_while(|(c, _)| set.contains(c)).map(|(_, len)| len).sum();
    let end: usize = lengths.iter().rev().take_while(|(c, _)| set.contains(c)).map(|(_, len)| len).sum();
    let out = s.get(start..s.len().saturating_sub(end)).unwrap_or_default().to_vec();
    call.meter.step(cost)?;
    text(call, out)
}

/// The non-nil arguments, each as text, with a separator between them.
fn joined(call: &mut Call<'_>, separator: &[u8], show: impl Fn(&Value) -> Vec<u8>) -> Result<Value> {
    let args = call.args;
    let mut out = Vec::new();
    for (at, value) in args.iter().filter(|v| !v.is_nil()).enumerate() {
        if at > 0 {
            out.extend_from_slice(separator);
        }
        let shown = show(value);
        call.meter.step(1)?;
        call.meter.grow(shown.len() as u64 + 1)?;
        out.extend_from_slice(&shown);
    }
    Ok(Value::str(out))
}

fn indent(call: &mut Call<'_>, newline: bool) -> Result<Value> {
    let spaces = non_negative(call.int(0))?;
    let lines = call.bytes(1).iter().filter(|b| **b == b'\n').count() + 1;
    call.meter
        .grow((spaces as u64).saturating_mul(lines as u64).saturating_add(call.bytes(1).len() as u64))?;
    let mut out = Vec::with_capacity(call.bytes(1).len() + spaces.saturating_mul(lines) + 1);
    if newline {
        out.push(b'\n');
    }
    let pad = |out: &mut Vec<u8>| out.extend(std::iter::repeat_n(b' ', spaces));
    pad(&mut out);
    for byte in call.bytes(1) {
        out.push(*byte);
        if *byte == b'\n' {
            pad(&mut out);
        }
    }
    Ok(Value::str(out))
}

/// Go's `strings.ReplaceAll`: the empty text is found around every character.
fn replace(call: &mut Call<'_>, old: &[u8], new: &[u8], s: &[u8]) -> Result<Value> {
    let mut out = Vec::new();
    let mut grow = |out: &mut Vec<u8>, bytes: &[u8]| -> Result<()> {
        call.meter.grow(bytes.len() as u64)?;
        out.extend_from_slice(bytes);
        Ok(())
    };
    let mut from = 0;
    if old.is_empty() {
        for len in rune_lengths(s) {
            grow(&mut out, new)?;
            grow(&mut out, &s[from..from + len])?;
            from += len;
        }
        grow(&mut out, new)?;
    } else {
        while let Some(at) = find(s, old, from) {
            grow(&mut out, &s[from..at])?;
            grow(&mut out, new)?;
            from = at + old.len();
        }
        grow(&mut out, &s[from..])?;
    }
    Ok(Value::str(out))
}

/// A map of the parts: `_0`, `_1` and so on.
fn numbered(call: &mut Call<'_>, parts: Vec<Vec<u8>>) -> Result<Value> {
    let size: usize = parts.iter().map(|p| p.len() + 64).sum();
    call.meter.step(parts.len() as u64)?;
    call.meter.grow(size as u64)?;
    let entries =
        parts.into_iter().enumerate().map(|(i, part)| (format!("_{i}").into(), Value::str(part))).collect();
    Ok(Value::Map(std::sync::Arc::new(herald_value::Map::new(herald_value::Elem::Str, entries)?)))
}

/// Shortens to `width` bytes with `...` where something was left out, beginning at `offset`.
fn abbreviate(s: &[u8], offset: i64, width: i64) -> Result<Vec<u8>> {
    let len = i64::try_from(s.len()).unwrap_or(i64::MAX);
    if s.is_empty() || width < 4 {
        return Ok(Vec::new());
    }
    if len <= width {
        return Ok(s.to_vec());
    }
    let room = width - 3;
    let mut offset = offset.min(len);
    if len.saturating_sub(offset) < room {
        offset = len - room;
    }
    if offset <= 4 {
        return Ok([part(s, 0, room)?, b"..."].concat());
    }
    if width < 7 {
        return Ok(Vec::new());
    }
    let tail = if offset + room < len {
        abbreviate(part(s, offset, len)?, 0, room)?
    } else {
        part(s, len - room, len)?.to_vec()
    };
    Ok([b"...", tail.as_slice()].concat())
}

/// Breaks one line at blanks. A longer word is cut (`long`) or left whole.
fn wrap(call: &mut Call<'_>, width: i64, at: usize, newline: &[u8], long: bool) -> Result<Value> {
    let s = call.bytes(at).to_vec();
    let width = usize::try_from(width.max(1)).unwrap_or(1);
    let mut out = Vec::with_capacity(s.len());
    let mut line = |out: &mut Vec<u8>, bytes: &[u8], newline: &[u8]| -> Result<()> {
        call.meter.step(1)?;
        call.meter.grow((bytes.len() + newline.len()) as u64)?;
        out.extend_from_slice(bytes);
        out.extend_from_slice(newline);
        Ok(())
    };
    let mut from = 0;
    while s.len() - from > width {
        if s[from] == b' ' {
            from += 1;
            continue;
        }
        let window = &s[from..from + width + 1];
        if let Some(blank) = window.iter().rposition(|b| *b == b' ') {
            line(&mut out, &s[from..from + blank], newline)?;
            from += blank + 1;
        } else if long {
            line(&mut out, &s[from..from + width], newline)?;
            from += width;
        } else {
            match find(&s, b" ", from + width) {
                None => {
                    line(&mut out, &s[from..], b"")?;
                    from = s.len();
                }
                Some(blank) => {
                    line(&mut out, &s[from..blank], newline)?;
                    from = blank + 1;
                }
            }
        }
    }
    line(&mut out, &s[from..], b"")?;
    Ok(Value::str(out))
}

/// The number of an `int` result.
pub(super) fn int_value(n: i64) -> Value {
    Value::Int(n, IntKind::Int)
}
