//! What several themes need: Go's conversions and views of values.

use std::sync::Arc;

use herald_value::{CallError, Elem, IntKind, List, Value, gofmt, num};

use crate::function::Call;

pub(super) type Result<T> = std::result::Result<T, CallError>;

pub(super) fn fail<T>(message: impl Into<String>) -> Result<T> {
    Err(CallError::new(message))
}

/// What Go says when a function looks into a nil interface.
pub(super) fn nil_pointer() -> CallError {
    CallError::new("runtime error: invalid memory address or nil pointer dereference")
}

/// What `%v` prints.
pub(super) fn printed(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    gofmt::print(&mut out, value);
    out
}

/// The text of a value as sprig's `toString` gives it: like `%v`, but bytes are text.
pub(super) fn text_of(value: &Value) -> Vec<u8> {
    match value {
        Value::Str(text) => text.as_bytes().to_vec(),
        Value::Bytes(bytes) => bytes.to_vec(),
        other => printed(other),
    }
}

/// Go's `reflect.Kind`.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Nil => "invalid",
        Value::Bool(_) => "bool",
        Value::Int(_, IntKind::Month | IntKind::Weekday) => "int",
        Value::Int(_, kind) => kind.go_name(),
        Value::Float(_) => "float64",
        Value::Str(_) => "string",
        Value::Bytes(_) | Value::List(_) => "slice",
        Value::Map(_) | Value::AnyMap(_) => "map",
        Value::Time(_) => "struct",
        Value::Duration(_) => "int64",
        Value::Func(_) => "func",
        Value::Object(object) if object.go_type().starts_with('*') => "ptr",
        Value::Object(_) => "struct",
    }
}

/// The elements of any slice; `None` for what is no slice.
pub(super) fn elements(value: &Value) -> Option<Vec<Value>> {
    match value {
        Value::List(list) => Some(list.items().to_vec()),
        Value::Bytes(bytes) => {
            Some(bytes.iter().map(|b| Value::Int(i64::from(*b), IntKind::Uint8)).collect())
        }
        _ => None,
    }
}

/// The elements of an argument that has to be a slice; `what` is what the function does with it.
pub(super) fn slice_arg(call: &mut Call<'_>, index: usize, what: &str) -> Result<Vec<Value>> {
    let value = call.arg(index).clone();
    let items = match &value {
        Value::Nil => return Err(nil_pointer()),
        other => elements(other).ok_or_else(|| CallError::new(format!("Cannot {what} {}", kind(other))))?,
    };
    call.meter.step(items.len() as u64 + 1)?;
    call.meter.grow(items.len() as u64 * 24)?;
    Ok(items)
}

/// A `[]interface {}`.
pub(super) fn list(items: Vec<Value>) -> Result<Value> {
    Ok(Value::list(items)?)
}

/// A `[]int`.
pub(super) fn ints(items: Vec<Value>) -> Result<Value> {
    Ok(Value::List(Arc::new(List::new(Elem::Int, items)?)))
}

/// A `[]string` of bytes that need not be UTF-8.
pub(super) fn strings(call: &mut Call<'_>, items: Vec<Vec<u8>>) -> Result<Value> {
    let size: usize = items.iter().map(|i| i.len() + 32).sum();
    call.meter.step(items.len() as u64)?;
    call.meter.grow(size as u64)?;
    Ok(Value::str_list(items))
}

/// Text as a result, counted by the meter.
pub(super) fn text(call: &mut Call<'_>, bytes: impl Into<Vec<u8>>) -> Result<Value> {
    let bytes = bytes.into();
    call.meter.grow(bytes.len() as u64)?;
    Ok(Value::str(bytes))
}

/// The strings of a list as sprig's `toStrings` gives them: nil elements are left out, one value is a list of one.
pub(super) fn string_items(call: &mut Call<'_>, value: &Value) -> Result<Vec<Vec<u8>>> {
    let items = match elements(value) {
        Some(items) => items,
        None if value.is_nil() => return Ok(Vec::new()),
        None => vec![value.clone()],
    };
    let mut out = Vec::with_capacity(items.len());
    for item in items.iter().filter(|item| !item.is_nil()) {
        let text = text_of(item);
        call.meter.step(1)?;
        call.meter.grow(text.len() as u64 + 24)?;
        out.push(text);
    }
    Ok(out)
}

const TWO_TO_63: f64 = (1u64 << 63) as f64;

/// Go's conversion of a float64 to an int64, as amd64 does it: what does not fit becomes the least integer.
pub(super) fn float_to_int(x: f64) -> i64 {
    if x.is_nan() || !(-TWO_TO_63..TWO_TO_63).contains(&x) { i64::MIN } else { x as i64 }
}

/// Lenient conversion to an integer: what is no number is 0, and a leading 0 means octal.
pub(super) fn to_int(value: &Value) -> i64 {
    match value {
        Value::Int(n, _) => *n,
        Value::Float(x) => float_to_int(*x),
        Value::Bool(b) => i64::from(*b),
        Value::Str(text) => {
            text.to_str().and_then(|t| num::parse_int(without_zero_decimals(t), 0, 0).ok()).unwrap_or(0)
        }
        _ => 0,
    }
}

/// `5.00` is `5`.
fn without_zero_decimals(text: &str) -> &str {
    let trimmed = text.trim_end_matches('0');
    match trimmed.strip_suffix('.') {
        Some(whole) if trimmed.len() < text.len() => whole,
        _ => text,
    }
}

/// Lenient conversion to a float: what is no number is 0.
pub(super) fn to_float(value: &Value) -> f64 {
    match value {
        Value::Int(n, IntKind::Uint | IntKind::Uint64) => *n as u64 as f64,
        Value::Int(n, _) => *n as f64,
        Value::Float(x) => *x,
        Value::Bool(b) => f64::from(u8::from(*b)),
        Value::Str(text) => text.to_str().and_then(|t| num::parse_float(t).ok()).unwrap_or(0.0),
        _ => 0.0,
    }
}

/// Whether sprig takes the value for unset.
pub(super) fn is_empty(call: &Call<'_>, value: &Value) -> bool {
    match value {
        Value::Nil => true,
        Value::Bool(b) => !b,
        Value::Int(n, _) | Value::Duration(n) => *n == 0,
        Value::Float(x) => *x == 0.0,
        Value::Str(text) => text.is_empty(),
        Value::Bytes(bytes) => bytes.is_empty(),
        Value::List(list) => list.items().is_empty(),
        Value::Map(_) => call.current(value).as_map().is_none_or(herald_value::Map::is_empty),
        Value::AnyMap(map) => map.entries().is_empty(),
        Value::Time(_) | Value::Func(_) | Value::Object(_) => false,
    }
}

/// Go's `reflect.DeepEqual`: the same types and the same content.
pub(super) fn deep_equal(call: &mut Call<'_>, a: &Value, b: &Value) -> Result<bool> {
    equal(call, a, b, 0)
}

fn equal(call: &mut Call<'_>, a: &Value, b: &Value, level: u16) -> Result<bool> {
    // A map can be put into itself, so the depth of the values is no bound here.
    if level > herald_value::MAX_DEPTH {
        return Err(herald_value::TooDeep.into());
    }
    call.meter.step(1)?;
    Ok(match (a, b) {
        (Value::List(x), Value::List(y)) => {
            x.elem() == y.elem()
                && x.items().len() == y.items().len()
                && all_equal(call, x.items().iter().zip(y.items()), level)?
        }
        (Value::Map(_), Value::Map(_)) => {
            let (a, b) = (call.current(a), call.current(b));
            let (Some(x), Some(y)) = (a.as_map(), b.as_map()) else { return Ok(false) };
            x.elem() == y.elem()
                && x.len() == y.len()
                && x.entries().iter().zip(y.entries()).all(|(x, y)| x.0 == y.0)
                && all_equal(
                    call,
                    x.entries().iter().map(|e| &e.1).zip(y.entries().iter().map(|e| &e.1)),
                    level,
                )?
        }
        (Value::Func(_), _) => false,
        _ => a == b,
    })
}

fn all_equal<'v>(
    call: &mut Call<'_>,
    pairs: impl Iterator<Item = (&'v Value, &'v Value)>,
    level: u16,
) -> Result<bool> {
    for (a, b) in pairs {
        if !equal(call, a, b, level + 1)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The characters of a Go string; each byte that is not UTF-8 counts as one U+FFFD.
pub(super) fn runes(bytes: &[u8]) -> impl Iterator<Item = char> {
    bytes.utf8_chunks().flat_map(|chunk| {
        chunk.valid().chars().chain(std::iter::repeat_n(char::REPLACEMENT_CHARACTER, chunk.invalid().len()))
    })
}

/// Lengths in bytes of the characters of a Go string, each byte that is not UTF-8 being one.
pub(super) fn rune_lengths(bytes: &[u8]) -> impl Iterator<Item = usize> {
    bytes.utf8_chunks().flat_map(|chunk| {
        chunk.valid().chars().map(char::len_utf8).chain(std::iter::repeat_n(1, chunk.invalid().len()))
    })
}

/// Where `needle` first occurs, at or after `from`.
pub(super) fn find(haystack: &[u8], needle: &[u8], from: usize) -> Option<usize> {
    // Linear in the haystack, whatever the needle: comparing at each place takes hours for two megabytes of one letter.
    memchr::memmem::find(haystack.get(from..)?, needle).map(|at| at + from)
}

/// Go's `strings.SplitN`; `None` for no limit.
pub(super) fn split(bytes: &[u8], separator: &[u8], limit: Option<usize>) -> Vec<Vec<u8>> {
    let limit = limit.unwrap_or(usize::MAX);
    let mut parts = Vec::new();
    if limit == 0 {
        return parts;
    }
    let mut from = 0;
    if separator.is_empty() {
        for len in rune_lengths(bytes) {
            if parts.len() + 1 == limit {
                break;
            }
            parts.push(bytes[from..from + len].to_vec());
            from += len;
        }
        if from < bytes.len() {
            parts.push(bytes[from..].to_vec());
        }
        return parts;
    }
    while parts.len() + 1 < limit
        && let Some(at) = find(bytes, separator, from)
    {
        parts.push(bytes[from..at].to_vec());
        from = at + separator.len();
    }
    parts.push(bytes[from..].to_vec());
    parts
}

/// Go's `unicode.ToUpper`, which always gives one character.
pub(super) fn upper(c: char) -> char {
    match c {
        '\u{1f80}'..='\u{1faf}' if u32::from(c) & 8 == 0 => char::from_u32(u32::from(c) + 8).unwrap_or(c),
        '\u{1fb3}' | '\u{1fc3}' | '\u{1ff3}' => char::from_u32(u32::from(c) + 9).unwrap_or(c),
        _ => {
            let mut all = c.to_uppercase();
            match (all.next(), all.next()) {
                (Some(one), None) => one,
                _ => c,
            }
        }
    }
}

/// Go's `unicode.ToLower`.
pub(super) fn lower(c: char) -> char {
    let mut all = c.to_lowercase();
    match (all.next(), all.next()) {
        (Some(one), None) => one,
        _ if c == '\u{130}' => 'i',
        _ => c,
    }
}

/// Go's `unicode.ToTitle`: like upper case but for the digraphs.
pub(super) fn title(c: char) -> char {
    match c {
        '\u{1c4}'..='\u{1c6}' => '\u{1c5}',
        '\u{1c7}'..='\u{1c9}' => '\u{1c8}',
        '\u{1ca}'..='\u{1cc}' => '\u{1cb}',
        '\u{1f1}'..='\u{1f3}' => '\u{1f2}',
        '\u{10d0}'..='\u{10ff}' => c,
        _ => upper(c),
    }
}

/// Go's `unicode.IsUpper`, the category Lu.
pub(super) fn is_upper(c: char) -> bool {
    c.is_uppercase()
        && !matches!(c, '\u{2160}'..='\u{216f}' | '\u{24b6}'..='\u{24cf}' | '\u{1f130}'..='\u{1f189}')
}
