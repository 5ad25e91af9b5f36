//! Numbers and quoted text, like Go's `strconv`.

mod float;
mod quote;

pub use float::{format_float, parse_float};
pub use quote::{quote, quote_ascii, quote_char, unquote, unquote_char};

pub(crate) use quote::is_print;

/// A Go `complex128`. Only templates can write such constants; as a value it is a [`crate::Object`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Complex {
    /// The real part.
    pub re: f64,
    /// The imaginary part.
    pub im: f64,
}

impl crate::Object for Complex {
    fn go_type(&self) -> &'static str {
        "complex128"
    }

    fn print(&self) -> String {
        crate::gofmt::to_text(&crate::Value::Object(std::sync::Arc::new(*self)))
    }

    fn member(&self, _: &str) -> Option<crate::Value> {
        None
    }

    fn call(&self, _: &str, _: &[crate::Value]) -> Option<Result<crate::Value, crate::CallError>> {
        None
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

/// Why a text is no number. It displays as the reason in Go's message,
/// `strconv.ParseInt: parsing "x": invalid syntax`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NumError {
    /// Not a number at all.
    #[error("invalid syntax")]
    Syntax,
    /// A number that does not fit.
    #[error("value out of range")]
    Range,
}

/// Reads a signed integer like `strconv.ParseInt`. Base 0 goes by the prefix and allows underscores.
pub fn parse_int(text: &str, base: u32, bits: u32) -> Result<i64, NumError> {
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let magnitude = parse_uint(digits, base, 64)?;
    let bits = if bits == 0 { 64 } else { bits.min(64) };
    let limit = 1_u64 << (bits - 1);
    match negative {
        false if magnitude < limit => Ok(magnitude as i64),
        true if magnitude <= limit => Ok((magnitude as i64).wrapping_neg()),
        _ => Err(NumError::Range),
    }
}

/// Reads an unsigned integer like `strconv.ParseUint`.
pub fn parse_uint(text: &str, base: u32, bits: u32) -> Result<u64, NumError> {
    let bytes = text.as_bytes();
    let by_prefix = base == 0;
    let (base, digits) = match (base, bytes) {
        (0, [b'0', b'x' | b'X', rest @ ..]) if !rest.is_empty() => (16, rest),
        (0, [b'0', b'b' | b'B', rest @ ..]) if !rest.is_empty() => (2, rest),
        (0, [b'0', b'o' | b'O', rest @ ..]) if !rest.is_empty() => (8, rest),
        (0, [b'0', rest @ ..]) if !rest.is_empty() => (8, rest),
        (0, rest) => (10, rest),
        (2..=36, rest) => (base, rest),
        _ => return Err(NumError::Syntax),
    };
    if digits.is_empty() || (by_prefix && !underscores_ok(bytes)) {
        return Err(NumError::Syntax);
    }
    let bits = if bits == 0 { 64 } else { bits.min(64) };
    let max = if bits == 64 { u64::MAX } else { (1 << bits) - 1 };
    let mut value = Some(0_u64);
    for &byte in digits {
        if byte == b'_' && by_prefix {
            continue;
        }
        let digit = (byte as char).to_digit(36).filter(|d| *d < base).ok_or(NumError::Syntax)?;
        // Goes on after an overflow, because a later character may still make it a syntax error.
        value = value
            .and_then(|v| v.checked_mul(u64::from(base)))
            .and_then(|v| v.checked_add(u64::from(digit)))
            .filter(|v| *v <= max);
    }
    value.ok_or(NumError::Range)
}

/// Whether underscores only stand between digits, or between a base prefix and a digit.
pub(crate) fn underscores_ok(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
    // `b`: begin, `0`: digit or prefix, `_`: underscore, `!`: anything else.
    let mut last = b'^';
    let mut rest = text;
    let mut hex = false;
    if let [b'0', prefix, tail @ ..] = text
        && matches!(prefix.to_ascii_lowercase(), b'b' | b'o' | b'x')
    {
        last = b'0';
        hex = prefix.eq_ignore_ascii_case(&b'x');
        rest = tail;
    }
    for byte in rest {
        if byte.is_ascii_digit() || (hex && byte.is_ascii_hexdigit()) {
            last = b'0';
        } else if *byte == b'_' {
            if last != b'0' {
                return false;
            }
            last = b'_';
        } else {
            if last == b'_' {
                return false;
            }
            last = b'!';
        }
    }
    last != b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_follow_the_prefix_and_report_why_they_fail() {
        for (text, base, want) in [
            ("42", 10, Ok(42)),
            ("-0x1F", 0, Ok(-31)),
            ("010", 0, Ok(8)),
            ("0b1_01", 0, Ok(5)),
            ("1_000", 0, Ok(1000)),
            ("1__0", 0, Err(NumError::Syntax)),
            ("1_0", 10, Err(NumError::Syntax)),
            ("08", 0, Err(NumError::Syntax)),
            ("", 10, Err(NumError::Syntax)),
            ("9223372036854775808", 10, Err(NumError::Range)),
            ("-9223372036854775808", 10, Ok(i64::MIN)),
            ("99999999999999999999x", 10, Err(NumError::Syntax)),
        ] {
            assert_eq!(parse_int(text, base, 64), want, "{text}");
        }
    }
}
