//! Writes YAML the way the reference's command line does, so that what users compare stays the same.

use std::cmp::Ordering;

use herald_core::yaml::{self, Kind};
use serde_json::Value;

/// Longer lines are folded at the next space.
const WIDTH: usize = 80;

/// A value as a YAML document, keys sorted.
pub(crate) fn write(value: &Value) -> String {
    let mut writer = Writer { out: String::new(), column: 0 };
    writer.node(value, 0);
    writer.line_end();
    writer.out
}

struct Writer {
    out: String,
    column: usize,
}

impl Writer {
    fn put(&mut self, text: &str) {
        for c in text.chars() {
            self.out.push(c);
            self.column = if c == '\n' { 0 } else { self.column + 1 };
        }
    }

    fn line_end(&mut self) {
        if self.column > 0 {
            self.put("\n");
        }
    }

    fn line(&mut self, indent: usize) {
        self.line_end();
        self.put(&" ".repeat(indent));
    }

    /// Writes a node whose container is indented by `indent`; the cursor stands where it may begin.
    fn node(&mut self, value: &Value, indent: usize) {
        match value {
            Value::Object(map) if map.is_empty() => self.put("{}"),
            Value::Array(items) if items.is_empty() => self.put("[]"),
            Value::Object(map) => {
                let mut entries: Vec<(&String, &Value)> = map.iter().collect();
                entries.sort_by(|(a, _), (b, _)| natural(a, b));
                for (n, (key, value)) in entries.into_iter().enumerate() {
                    if n > 0 {
                        self.line(indent);
                    }
                    self.text(key, indent, true);
                    self.put(":");
                    match value {
                        Value::Object(map) if !map.is_empty() => {
                            self.line(indent + 2);
                            self.node(value, indent + 2);
                        }
                        // Lists are not indented below their key.
                        Value::Array(items) if !items.is_empty() => {
                            self.line(indent);
                            self.node(value, indent);
                        }
                        _ => {
                            self.put(" ");
                            self.node(value, indent);
                        }
                    }
                }
            }
            Value::Array(items) => {
                for (n, item) in items.iter().enumerate() {
                    if n > 0 {
                        self.line(indent);
                    }
                    self.put("- ");
                    let inner =
                        if matches!(item, Value::Object(_) | Value::Array(_)) { indent + 2 } else { indent };
                    self.node(item, inner);
                }
            }
            Value::String(text) => self.text(text, indent, false),
            Value::Null => self.put("null"),
            Value::Bool(value) => self.put(if *value { "true" } else { "false" }),
            Value::Number(number) => self.put(&number.to_string()),
        }
    }

    fn text(&mut self, text: &str, indent: usize, key: bool) {
        let shape = Shape::of(text);
        let indent = indent + 2;
        if text.contains('\n') {
            if key || !shape.block {
                self.double(text, indent, key);
            } else {
                self.literal(text, indent);
            }
        } else if !reads_as_text(text) || !shape.single {
            self.double(text, indent, key);
        } else if shape.plain {
            self.folded(text, indent, key, false);
        } else {
            self.put("'");
            self.folded(&text.replace('\'', "''"), indent, key, true);
            self.put("'");
        }
    }

    /// Plain and single quoted text: a single space beyond the width becomes a line end.
    fn folded(&mut self, text: &str, indent: usize, key: bool, quoted: bool) {
        let chars: Vec<char> = text.chars().collect();
        let at = |n: usize| chars.get(n).copied();
        let mut after_space = false;
        for (n, &c) in chars.iter().enumerate() {
            let edge = quoted && (n == 0 || n + 1 == chars.len());
            if c == ' ' && !key && !after_space && !edge && self.column > WIDTH && at(n + 1) != Some(' ') {
                self.line(indent);
            } else {
                self.put(c.encode_utf8(&mut [0; 4]));
            }
            after_space = c == ' ';
        }
    }

    fn double(&mut self, text: &str, indent: usize, key: bool) {
        self.put("\"");
        let chars: Vec<char> = text.chars().collect();
        let mut after_space = false;
        for (n, &c) in chars.iter().enumerate() {
            let inner = n > 0 && n + 1 < chars.len();
            if c == ' ' && !key && !after_space && inner && self.column > WIDTH {
                self.line(indent);
                if chars.get(n + 1) == Some(&' ') {
                    self.put("\\");
                }
                after_space = true;
                continue;
            }
            after_space = c == ' ';
            match c {
                '"' => self.put("\\\""),
                '\\' => self.put("\\\\"),
                '\0' => self.put("\\0"),
                '\x07' => self.put("\\a"),
                '\x08' => self.put("\\b"),
                '\t' => self.put("\\t"),
                '\n' => self.put("\\n"),
                '\x0b' => self.put("\\v"),
                '\x0c' => self.put("\\f"),
                '\r' => self.put("\\r"),
                '\x1b' => self.put("\\e"),
                '\u{85}' => self.put("\\N"),
                '\u{2028}' => self.put("\\L"),
                '\u{2029}' => self.put("\\P"),
                _ if is_printable(c) => self.put(c.encode_utf8(&mut [0; 4])),
                _ => {
                    let code = u32::from(c);
                    let escape = match code {
                        0..=0xff => format!("\\x{code:02X}"),
                        0x100..=0xffff => format!("\\u{code:04X}"),
                        _ => format!("\\U{code:08X}"),
                    };
                    self.put(&escape);
                }
            }
        }
        self.put("\"");
    }

    fn literal(&mut self, text: &str, indent: usize) {
        self.put("|");
        if text.starts_with([' ', '\n']) {
            self.put("2");
        }
        let body = text.strip_suffix('\n');
        match body {
            None => self.put("-"),
            Some(body) if body.is_empty() || body.ends_with('\n') => self.put("+"),
            Some(_) => {}
        }
        self.put("\n");
        for line in body.unwrap_or(text).split('\n') {
            if !line.is_empty() {
                self.put(&" ".repeat(indent));
                self.put(line);
            }
            // Not `line_end`: empty lines count.
            self.out.push('\n');
            self.column = 0;
        }
    }
}

/// In which styles a text can stand.
struct Shape {
    plain: bool,
    single: bool,
    block: bool,
}

impl Shape {
    fn of(text: &str) -> Shape {
        let chars: Vec<char> = text.chars().collect();
        let at = |n: usize| chars.get(n).copied();
        let blank = |c: Option<char>| matches!(c, None | Some(' ' | '\t' | '\n'));
        let (mut indicator, mut special, mut space_break, mut break_space) = (false, false, false, false);
        indicator |= text.starts_with("---") || text.starts_with("...");
        for (n, &c) in chars.iter().enumerate() {
            let before = n.checked_sub(1).and_then(at);
            indicator |= match c {
                '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@'
                | '`'
                    if n == 0 =>
                {
                    true
                }
                '?' | '-' if n == 0 => blank(at(n + 1)),
                ':' => blank(at(n + 1)),
                '#' => blank(before),
                _ => false,
            };
            special |= !is_printable(c) && c != '\n';
            space_break |= c == '\n' && before == Some(' ');
            break_space |= c == ' ' && before == Some('\n');
        }
        let edge = |c: Option<&char>| matches!(c, Some(' ' | '\n'));
        let (first, last) = (chars.first(), chars.last());
        Shape {
            plain: !indicator && !special && !text.contains('\n') && !edge(first) && !edge(last),
            single: !special && !space_break && !break_space,
            block: !special && !space_break && last != Some(&' '),
        }
    }
}

/// What the reference's writer thinks printable; characters beyond the basic plane are not.
fn is_printable(c: char) -> bool {
    matches!(c, ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}')
        && !matches!(c, '\u{feff}' | '\u{2028}' | '\u{2029}')
}

/// Whether a text without quotes would be read as text again.
fn reads_as_text(text: &str) -> bool {
    let simple = |c: char| c.is_ascii_alphanumeric() || "+-._~<:".contains(c);
    if text.is_empty() || matches!(text, "~" | "<<") {
        return false;
    }
    if !text.chars().all(|c| simple(c) || c == ' ') || text.starts_with("- ") || text.contains(": ") {
        return true;
    }
    if is_time(text) {
        return false;
    }
    match yaml::parse(text) {
        Ok(node) => matches!(node.kind, Kind::Text(_) | Kind::Map(_) | Kind::List(_)),
        Err(_) => true,
    }
}

/// Dates, times, and the numbers to the base 60 of old YAML.
fn is_time(text: &str) -> bool {
    let digits =
        |part: &str, max: usize| (1..=max).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    let mut date = text.splitn(3, '-');
    if let (Some(year), Some(month), Some(rest)) = (date.next(), date.next(), date.next()) {
        let day = rest.split(['T', 't', ' ']).next().unwrap_or_default();
        return year.len() == 4 && digits(year, 4) && digits(month, 2) && digits(day, 2);
    }
    let mut parts = text.trim_start_matches(['+', '-']).split(':');
    let first = parts.next().unwrap_or_default();
    let rest: Vec<&str> = parts.collect();
    !rest.is_empty()
        && digits(first, usize::MAX)
        && rest.iter().all(|part| digits(part.split('.').next().unwrap_or_default(), 2))
}

/// Letters after everything else, digits as numbers.
fn natural(a: &str, b: &str) -> Ordering {
    let (left, right): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let Some(n) = left.iter().zip(&right).position(|(a, b)| a != b) else {
        return left.len().cmp(&right.len());
    };
    let number = |chars: &[char]| {
        let start = chars
            .get(..n)
            .unwrap_or_default()
            .iter()
            .rposition(|c| !c.is_ascii_digit())
            .map_or(0, |at| at + 1);
        let digits: String = chars.iter().skip(start).take_while(|c| c.is_ascii_digit()).collect();
        (digits.trim_start_matches('0').len(), digits.trim_start_matches('0').to_string(), digits.len())
    };
    match (left.get(n), right.get(n)) {
        (Some(a), Some(b)) if a.is_alphabetic() || b.is_alphabetic() => {
            a.is_alphabetic().cmp(&b.is_alphabetic()).then(a.cmp(b))
        }
        (Some(a), Some(b)) if a.is_ascii_digit() && b.is_ascii_digit() => number(&left).cmp(&number(&right)),
        (a, b) => a.cmp(&b),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn scalars_are_quoted_as_the_reference_does() {
        let table = [
            ("plain text", "plain text"),
            ("a: b", "'a: b'"),
            ("", "\"\""),
            ("true", "\"true\""),
            ("yes", "\"yes\""),
            ("y", "\"y\""),
            ("12", "\"12\""),
            ("1.5", "\"1.5\""),
            ("0123456789abcdef", "0123456789abcdef"),
            ("2024-01-02", "\"2024-01-02\""),
            ("12:30", "\"12:30\""),
            ("null", "\"null\""),
            ("- x", "'- x'"),
            ("#18be52", "'#18be52'"),
            ("[{\"a\":1}]", "'[{\"a\":1}]'"),
            ("it's", "it's"),
            ("'quoted'", "'''quoted'''"),
            ("a #b", "'a #b'"),
            (" lead", "' lead'"),
            ("tab\there", "\"tab\\there\""),
            ("rocket 🚀", "\"rocket \\U0001F680\""),
            ("ü", "ü"),
            ("http://x/y", "http://x/y"),
            ("<now> & running.", "<now> & running."),
        ];
        for (text, expected) in table {
            assert_eq!(write(&json!(text)), format!("{expected}\n"), "{text:?}");
        }
    }

    #[test]
    fn collections_and_long_texts() {
        let value = json!({"b": ["x", {"k": "v", "a": []}], "a": {"x10": "1", "x9": {}}, "lit": "one\n two\n", "strip": "a\nb"});
        let expected = "a:\n  x9: {}\n  x10: \"1\"\nb:\n- x\n- a: []\n  k: v\nlit: |\n  one\n   two\nstrip: |-\n  a\n  b\n";
        assert_eq!(write(&value), expected);
        // The space after the 15th word is the first one beyond column 80.
        let long = format!("message: {}\n  end\n", ["word"; 15].join(" "));
        assert_eq!(write(&json!({"message": format!("{} end", ["word"; 15].join(" "))})), long);
    }
}
