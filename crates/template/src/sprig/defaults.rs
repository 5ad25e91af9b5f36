//! Defaults, choices and JSON.

use herald_value::{CallError, Numbers, Value, json};

use super::help::{Result, is_empty, runes};
use crate::function::{Call, Function, Param::*};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("default", &[Any], |c| {
        let given = c.args.get(1).filter(|given| !is_empty(c, given));
        Ok(given.unwrap_or(c.arg(0)).clone())
    })
    .variadic(Any)
    .identity(),
    Function::new("empty", &[Any], |c| Ok(Value::Bool(is_empty(c, c.arg(0))))).identity(),
    Function::new("coalesce", &[], |c| {
        Ok(c.args.iter().find(|v| !is_empty(c, v)).cloned().unwrap_or(Value::Nil))
    })
    .variadic(Any)
    .identity(),
    Function::new("all", &[], |c| Ok(Value::Bool(c.args.iter().all(|v| !is_empty(c, v)))))
        .variadic(Any)
        .identity(),
    Function::new("any", &[], |c| Ok(Value::Bool(c.args.iter().any(|v| !is_empty(c, v)))))
        .variadic(Any)
        .identity(),
    Function::new("ternary", &[Any, Any, Bool], |c| {
        Ok(c.arg(usize::from(c.arg(2).as_bool() != Some(true))).clone())
    })
    .identity(),
    Function::new("fromJson", &[Str], |c| match decode(c) {
        Err(error) if !error.over_limit => Ok(Value::Nil),
        other => other,
    }),
    Function::new("mustFromJson", &[Str], decode),
    Function::new("toJson", &[Any], |c| lenient(c, json::Style::COMPACT)),
    Function::new("toPrettyJson", &[Any], |c| lenient(c, json::Style::PRETTY)),
    Function::new("toRawJson", &[Any], |c| encode(c, json::Style::RAW)),
    Function::new("mustToJson", &[Any], |c| encode(c, json::Style::COMPACT)),
    Function::new("mustToPrettyJson", &[Any], |c| encode(c, json::Style::PRETTY)),
    Function::new("mustToRawJson", &[Any], |c| encode(c, json::Style::RAW)),
];

fn encode(call: &mut Call<'_>, style: json::Style<'_>) -> Result<Value> {
    let value = call.arg(0).clone();
    Ok(Value::str(json::encode(&value, style, call.meter)?))
}

/// What cannot be encoded gives the empty text.
fn lenient(call: &mut Call<'_>, style: json::Style<'_>) -> Result<Value> {
    match encode(call, style) {
        Err(error) if !error.over_limit => Ok(Value::str("")),
        other => other,
    }
}

fn decode(call: &mut Call<'_>) -> Result<Value> {
    call.meter.grow((call.bytes(0).len() as u64).saturating_mul(16))?;
    let text: String = runes(call.bytes(0)).collect();
    let text = with_paired_surrogates(&text);
    json::decode(text.as_bytes(), Numbers::Float).map_err(|e| CallError::new(e.to_string()))
}

/// Go reads half a surrogate pair as U+FFFD where a strict decoder gives up.
fn with_paired_surrogates(text: &str) -> std::borrow::Cow<'_, str> {
    if !text.contains("\\ud") && !text.contains("\\uD") {
        return text.into();
    }
    let unit =
        |at: usize| text.get(at..at + 6)?.strip_prefix("\\u").and_then(|h| u32::from_str_radix(h, 16).ok());
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) {
        let len = match (c, unit(at)) {
            ('\\', Some(0xd800..=0xdbff)) if matches!(unit(at + 6), Some(0xdc00..=0xdfff)) => 12,
            ('\\', Some(0xd800..=0xdfff)) => {
                out.push_str("\\ufffd");
                at += 6;
                continue;
            }
            ('\\', _) => 1 + text[at + 1..].chars().next().map_or(0, char::len_utf8),
            _ => c.len_utf8(),
        };
        out.push_str(&text[at..at + len]);
        at += len;
    }
    out.into()
}
