//! Numeric constants.

use std::sync::Arc;

use herald_value::{Value, num, num::Complex};

use crate::{ast::Number, lex::Token};

/// Reads a constant.
pub(crate) fn number(text: &str, token: Token) -> Result<Number, String> {
    let illegal = || format!("illegal number syntax: {text:?}");
    if token == Token::CharConstant {
        let code = num::unquote_char(text).ok_or_else(|| format!("malformed character constant: {text}"))?;
        return Ok(Number { int: Some(code), float: Some(code as f64), ideal: Some(Value::int(code)) });
    }
    if token == Token::Complex {
        let inner = text.strip_suffix('i').ok_or_else(illegal)?;
        // The sign between the parts is the last one that does not belong to an exponent.
        let bytes = inner.as_bytes();
        let exponent = |i: usize| matches!(bytes.get(i.wrapping_sub(1)), Some(b'e' | b'E' | b'p' | b'P'));
        let is_sign = |i: &usize| matches!(bytes.get(*i), Some(b'+' | b'-')) && !exponent(*i);
        let middle = (1..bytes.len()).rev().find(is_sign).ok_or_else(illegal)?;
        let (re, im) = inner.split_at(middle);
        let part = |text: &str| num::parse_float(text).map_err(|_| illegal());
        return Ok(complex(part(re)?, part(im)?));
    }
    if let Some(imaginary) = text.strip_suffix('i')
        && let Ok(im) = num::parse_float(imaginary)
    {
        return Ok(complex(0.0, im));
    }
    let int = num::parse_int(text, 0, 64).ok();
    let uint = num::parse_uint(text, 0, 64).ok();
    if int.is_some() || uint.is_some() {
        let float = int.map(|n| n as f64).or(uint.map(|n| n as f64));
        return Ok(Number { int, float, ideal: int.map(Value::int) });
    }
    let Ok(float) = num::parse_float(text) else { return Err(illegal()) };
    if !text.contains(['.', 'e', 'E', 'p', 'P']) {
        return Err(format!("integer overflow: {text:?}"));
    }
    let hex = text.len() > 2
        && text.starts_with('0')
        && matches!(text.as_bytes().get(1), Some(b'x' | b'X'))
        && !text.contains(['p', 'P']);
    let int = whole(float);
    let ideal = if hex { int.map(Value::int) } else { Some(Value::Float(float)) };
    Ok(Number { int, float: Some(float), ideal })
}

fn whole(float: f64) -> Option<i64> {
    (float == float.trunc() && (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&float))
        .then_some(float as i64)
}

fn complex(re: f64, im: f64) -> Number {
    let float = (im == 0.0).then_some(re);
    Number { int: float.and_then(whole), float, ideal: Some(Value::Object(Arc::new(Complex { re, im }))) }
}
