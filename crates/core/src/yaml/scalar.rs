//! What a plain scalar is: the rules of YAML 1.1 as the reference's Go library has them.

use super::Kind;

/// Resolves a plain scalar.
pub(super) fn resolve(text: &str) -> Kind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Kind::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Kind::Bool(true, text.to_owned());
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Kind::Bool(false, text.to_owned());
        }
        ".nan" | ".NaN" | ".NAN" => return Kind::Float(f64::NAN, text.to_owned()),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return Kind::Float(f64::INFINITY, text.to_owned());
        }
        "-.inf" | "-.Inf" | "-.INF" => return Kind::Float(f64::NEG_INFINITY, text.to_owned()),
        _ => {}
    }
    number(text).unwrap_or_else(|| Kind::Text(text.to_owned()))
}

/// Reads an integer or a decimal number; `None` for anything else.
pub(super) fn number(text: &str) -> Option<Kind> {
    let first = text.chars().next()?;
    if !(first.is_ascii_digit() || matches!(first, '+' | '-' | '.')) {
        return None;
    }
    // Longer than any number that means something; keeps odd input cheap.
    if text.len() > 400 {
        return None;
    }
    let plain: String = text.chars().filter(|c| *c != '_').collect();
    if let Some(value) = integer(&plain) {
        return Some(match i64::try_from(value) {
            Ok(value) => Kind::Int(value, text.to_owned()),
            Err(_) => Kind::Float(value as f64, text.to_owned()),
        });
    }
    if is_decimal(&plain) {
        return plain.parse::<f64>().ok().map(|value| Kind::Float(value, text.to_owned()));
    }
    None
}

/// An integer with Go's prefixes, a leading `0` meaning octal. Within int64 and uint64 only.
fn integer(plain: &str) -> Option<i128> {
    let (negative, digits) = match plain.as_bytes().first()? {
        b'-' => (true, &plain[1..]),
        b'+' => (false, &plain[1..]),
        _ => (false, plain),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    let value = i128::from_str_radix(digits, radix).ok()?;
    let value = if negative { -value } else { value };
    (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&value).then_some(value)
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_decimal(plain: &str) -> bool {
    let unsigned = plain.strip_prefix(['-', '+']).unwrap_or(plain);
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], Some(&unsigned[at + 1..])),
        None => (unsigned, None),
    };
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let mantissa_ok = match mantissa.split_once('.') {
        Some(("", fraction)) => digits(fraction),
        Some((whole, fraction)) => digits(whole) && (fraction.is_empty() || digits(fraction)),
        None => digits(mantissa),
    };
    mantissa_ok && exponent.is_none_or(|e| digits(e.strip_prefix(['-', '+']).unwrap_or(e)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_1_1_scalars() {
        // services.md 1.2: what the reference makes of them.
        for (text, wanted) in [
            ("12345", 12345),
            ("0123", 83),
            ("0x1F", 31),
            ("0o17", 15),
            ("0b101", 5),
            ("1_000", 1000),
            ("-5", -5),
            ("+7", 7),
        ] {
            assert_eq!(resolve(text), Kind::Int(wanted, text.to_owned()), "{text}");
        }
        for (text, wanted) in [("1e3", 1000.0), ("1.10", 1.1), ("08", 8.0), (".5", 0.5), ("1.", 1.0)] {
            assert_eq!(resolve(text), Kind::Float(wanted, text.to_owned()), "{text}");
        }
        for text in ["yes", "on", "Y", "TRUE"] {
            assert_eq!(resolve(text), Kind::Bool(true, text.to_owned()), "{text}");
        }
        for text in ["no", "N", "off"] {
            assert_eq!(resolve(text), Kind::Bool(false, text.to_owned()), "{text}");
        }
        for text in ["v1", "1.2.3", "+", "-", ".", "0x", "2024-01-01", "1e", "tRue", "0x-5"] {
            assert_eq!(resolve(text), Kind::Text(text.to_owned()), "{text}");
        }
        assert_eq!(resolve("~"), Kind::Null);
        assert!(matches!(resolve("18446744073709551615"), Kind::Float(..)));
    }
}
