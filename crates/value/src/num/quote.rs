//! Go string and character literals.

/// Text as a Go string literal, like `strconv.Quote`.
pub fn quote(text: &[u8]) -> String {
    quoted(text, b'"', false)
}

/// The same in ASCII only, like `strconv.QuoteToASCII`.
pub fn quote_ascii(text: &[u8]) -> String {
    quoted(text, b'"', true)
}

/// A character literal, like `strconv.QuoteRune`; what is no character becomes U+FFFD.
pub fn quote_char(code: i64, ascii: bool) -> String {
    let char = u32::try_from(code).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER);
    let mut buffer = [0; 4];
    quoted(char.encode_utf8(&mut buffer).as_bytes(), b'\'', ascii)
}

fn quoted(text: &[u8], mark: u8, ascii: bool) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push(mark as char);
    append_escaped(&mut out, text, mark, ascii);
    out.push(mark as char);
    out
}

/// Appends the inside of a literal.
fn append_escaped(out: &mut String, text: &[u8], mark: u8, ascii: bool) {
    use std::fmt::Write as _;
    for chunk in text.utf8_chunks() {
        for char in chunk.valid().chars() {
            // Writing into a string cannot fail.
            let _ = match char {
                '\\' => out.write_str("\\\\"),
                c if c == mark as char => write!(out, "\\{c}"),
                ' '..='~' => out.write_char(char),
                '\x07' => out.write_str("\\a"),
                '\x08' => out.write_str("\\b"),
                '\x0c' => out.write_str("\\f"),
                '\n' => out.write_str("\\n"),
                '\r' => out.write_str("\\r"),
                '\t' => out.write_str("\\t"),
                '\x0b' => out.write_str("\\v"),
                c if (c as u32) < 0x20 || c == '\x7f' => write!(out, "\\x{:02x}", c as u32),
                c if !ascii && is_print(c) => out.write_char(c),
                c if (c as u32) < 0x10000 => write!(out, "\\u{:04x}", c as u32),
                c => write!(out, "\\U{:08x}", c as u32),
            };
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
}

/// Whether Go prints a character as it is: letters, marks, numbers, punctuation, symbols and the ASCII blank.
pub(crate) fn is_print(char: char) -> bool {
    match char {
        ' ' => true,
        // Rust escapes exactly what is not printable by the same Unicode classes, and also grapheme extenders,
        // which Go prints.
        '\u{300}'..='\u{36f}' | '\u{fe00}'..='\u{fe0f}' | '\u{20d0}'..='\u{20f0}' => true,
        '\u{ad}' => false,
        c if c.is_whitespace() || c.is_control() => false,
        c => !c.escape_debug().to_string().starts_with("\\u") || is_mark(c),
    }
}

/// The common combining marks outside the ranges above.
fn is_mark(char: char) -> bool {
    matches!(char, '\u{483}'..='\u{489}' | '\u{591}'..='\u{5c7}' | '\u{610}'..='\u{61a}' | '\u{64b}'..='\u{65f}' | '\u{900}'..='\u{903}' | '\u{93a}'..='\u{94f}' | '\u{e31}'..='\u{e4e}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{302a}'..='\u{302f}' | '\u{3099}' | '\u{309a}')
}

/// The text of a Go string literal in `"` or `` ` ``, or of a character literal, like `strconv.Unquote`.
pub fn unquote(literal: &str) -> Option<Vec<u8>> {
    let mark = *literal.as_bytes().first()?;
    let inner = literal.get(1..)?.strip_suffix(mark as char)?;
    match mark {
        b'`' if inner.contains('`') => None,
        b'`' => Some(inner.bytes().filter(|b| *b != b'\r').collect()),
        b'"' | b'\'' => {
            if inner.contains('\n') {
                return None;
            }
            let mut out = Vec::with_capacity(inner.len());
            let mut rest = inner;
            let mut count = 0;
            while !rest.is_empty() {
                let (unit, tail) = unescape(rest, mark)?;
                match unit {
                    Unit::Byte(byte) => out.push(byte),
                    Unit::Char(char) => out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
                }
                rest = tail;
                count += 1;
            }
            (mark == b'"' || count == 1).then_some(out)
        }
        _ => None,
    }
}

/// The number of a Go character literal such as `'a'` or `'\n'`.
pub fn unquote_char(literal: &str) -> Option<i64> {
    let inner = literal.strip_prefix('\'')?.strip_suffix('\'')?;
    let (unit, rest) = unescape(inner, b'\'')?;
    if !rest.is_empty() {
        return None;
    }
    Some(match unit {
        Unit::Byte(byte) => i64::from(byte),
        Unit::Char(char) => i64::from(u32::from(char)),
    })
}

enum Unit {
    Byte(u8),
    Char(char),
}

/// One character or escape at the start of the inside of a literal.
fn unescape(text: &str, mark: u8) -> Option<(Unit, &str)> {
    let mut chars = text.chars();
    let first = chars.next()?;
    if first == mark as char || first == '\n' {
        return None;
    }
    if first != '\\' {
        return Some((Unit::Char(first), chars.as_str()));
    }
    let kind = chars.next()?;
    let rest = chars.as_str();
    let simple = |byte: u8| Some((Unit::Byte(byte), rest));
    let number = |digits: usize, radix: u32| {
        let text = rest.get(..digits)?;
        if !text.bytes().all(|b| (b as char).is_digit(radix)) {
            return None;
        }
        Some((u32::from_str_radix(text, radix).ok()?, rest.get(digits..)?))
    };
    match kind {
        'a' => simple(7),
        'b' => simple(8),
        'f' => simple(12),
        'n' => simple(b'\n'),
        'r' => simple(b'\r'),
        't' => simple(b'\t'),
        'v' => simple(11),
        '\\' => simple(b'\\'),
        '\'' | '"' if kind == mark as char => simple(mark),
        'x' => number(2, 16).map(|(n, rest)| (Unit::Byte(n as u8), rest)),
        'u' => number(4, 16).and_then(|(n, rest)| Some((Unit::Char(char::from_u32(n)?), rest))),
        'U' => number(8, 16).and_then(|(n, rest)| Some((Unit::Char(char::from_u32(n)?), rest))),
        '0'..='7' => {
            let digits = text.get(1..4)?;
            if !digits.bytes().all(|b| (b'0'..=b'7').contains(&b)) {
                return None;
            }
            let n = u8::try_from(u32::from_str_radix(digits, 8).ok()?).ok()?;
            Some((Unit::Byte(n), text.get(4..)?))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_and_reading_back() {
        for (text, want) in [
            (&b"a\"b\\\n"[..], r#""a\"b\\\n""#),
            ("日本\u{200b}".as_bytes(), "\"日本\\u200b\""),
            (b"\xff\x00", r#""\xff\x00""#),
            ("e\u{301}".as_bytes(), "\"e\u{301}\""),
            ("\u{a0}".as_bytes(), r#""\u00a0""#),
        ] {
            assert_eq!(quote(text), want);
            assert_eq!(unquote(want).as_deref(), Some(text));
        }
        assert_eq!(quote_ascii("é".as_bytes()), r#""\u00e9""#);
        assert_eq!(unquote(r#""\101""#).as_deref(), Some(&b"A"[..]));
        assert_eq!(unquote(r#""\q""#), None);
        assert_eq!(unquote_char(r"'\''"), Some(39));
        assert_eq!(unquote_char("'ab'"), None);
    }
}
