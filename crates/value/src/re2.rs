//! From the syntax of RE2 to that of the `regex` crate. Both come from the same family; this bridges the places where
//! they differ, and refuses what RE2 refuses.

use regex::bytes::{Regex, RegexBuilder};

/// Why an expression can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is none, in the words of RE2 where RE2 would refuse it.
    Invalid(String),
    /// It compiles to more bytes than are allowed.
    TooLarge,
}

/// Compiles an expression as Go would read it, to at most so many bytes.
pub fn compile(source: &str, most_bytes: usize) -> Result<Regex, Refused> {
    let translated = translate(source).map_err(Refused::Invalid)?;
    let built = RegexBuilder::new(&translated).size_limit(most_bytes).dfa_size_limit(most_bytes).build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => Refused::TooLarge,
        other => {
            let text = other.to_string();
            let reason = text.lines().last().unwrap_or_default();
            Refused::Invalid(reason.trim_start_matches("error: ").to_owned())
        }
    })
}

/// The same expression in the syntax of the `regex` crate, or why RE2 would refuse it.
fn translate(source: &str) -> Result<String, String> {
    let mut out = String::with_capacity(source.len() + 16);
    let chars: Vec<char> = source.chars().collect();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        match c {
            '\\' => at = escape(&chars, at, &mut out, false)?,
            '[' => at = class(&chars, at, &mut out)?,
            '{' => match repetition(&chars, at) {
                Some((end, least, most)) => {
                    if least > 1000 || most.is_some_and(|most| most > 1000 || most < least) {
                        return Err(format!("invalid repeat count: `{}`", text(&chars, at, end)));
                    }
                    out.extend(&chars[at..end]);
                    at = no_double(&chars, at, end, &mut out)?;
                }
                // Not a repetition: RE2 takes the brace for itself.
                None => {
                    out.push_str("\\{");
                    at += 1;
                }
            },
            '}' => {
                out.push_str("\\}");
                at += 1;
            }
            '*' | '+' | '?' => {
                out.push(c);
                at = no_double(&chars, at, at + 1, &mut out)?;
            }
            '(' if chars.get(at + 1) == Some(&'?') => at = group(&chars, at, &mut out)?,
            _ => {
                out.push(c);
                at += 1;
            }
        }
    }
    Ok(out)
}

fn text(chars: &[char], from: usize, to: usize) -> String {
    chars.get(from..to).unwrap_or_default().iter().collect()
}

/// After a repetition: takes the `?` of a lazy one, and refuses a second repetition.
fn no_double(chars: &[char], from: usize, end: usize, out: &mut String) -> Result<usize, String> {
    let mut end = end;
    if chars.get(end) == Some(&'?') {
        out.push('?');
        end += 1;
    }
    let again = match chars.get(end) {
        Some('*' | '+' | '?') => true,
        Some('{') => repetition(chars, end).is_some(),
        _ => false,
    };
    if again {
        Err(format!("invalid nested repetition operator: `{}`", text(chars, from, end + 1)))
    } else {
        Ok(end)
    }
}

/// `{2}`, `{2,}` or `{2,3}`: where it ends and what it says.
fn repetition(chars: &[char], at: usize) -> Option<(usize, u32, Option<u32>)> {
    let close = chars.get(at..)?.iter().take(24).position(|c| *c == '}')? + at;
    let inner = text(chars, at + 1, close);
    let number = |s: &str| {
        let plain =
            !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit()) && (s.len() == 1 || !s.starts_with('0'));
        plain.then(|| s.parse().unwrap_or(u32::MAX))
    };
    match inner.split_once(',') {
        None => number(&inner).map(|n| (close + 1, n, Some(n))),
        Some((least, "")) => number(least).map(|n| (close + 1, n, None)),
        Some((least, most)) => Some((close + 1, number(least)?, Some(number(most)?))),
    }
}

/// `(?P<name>`, `(?<name>` and flags, of which RE2 has only `imsU`.
fn group(chars: &[char], at: usize, out: &mut String) -> Result<usize, String> {
    let rest = &chars[at + 2..];
    let name_at = match rest {
        ['P', '<', ..] => Some(2),
        ['<', '=' | '!', ..] | ['=' | '!' | '>' | '#' | '|', ..] | ['P', ..] => None,
        ['<', ..] => Some(1),
        _ => {
            let len = rest.iter().take_while(|c| **c != ')' && **c != ':').count();
            let flags = rest[..len].iter().all(|c| matches!(c, 'i' | 'm' | 's' | 'U' | '-'));
            if !flags || len == rest.len() {
                return Err(format!("invalid or unsupported Perl syntax: `{}`", text(chars, at, at + 3)));
            }
            out.extend(&chars[at..at + 2 + len + 1]);
            return Ok(at + 2 + len + 1);
        }
    };
    let Some(name_at) = name_at else {
        return Err(format!("invalid or unsupported Perl syntax: `{}`", text(chars, at, at + 3)));
    };
    let name: String = rest[name_at..].iter().take_while(|c| **c != '>').collect();
    let word = |c: char| c == '_' || c.is_ascii_alphanumeric();
    if name.is_empty() || !name.chars().all(word) || name.len() + name_at >= rest.len() {
        return Err(format!("invalid named capture: `{}`", text(chars, at, at + 3 + name_at + name.len())));
    }
    out.push_str(&format!("(?P<{}>", group_name(&name)));
    Ok(at + 2 + name_at + name.len() + 1)
}

/// An escape outside or inside of a class. The classes of Perl are ASCII only in RE2.
fn escape(chars: &[char], at: usize, out: &mut String, in_class: bool) -> Result<usize, String> {
    let Some(&c) = chars.get(at + 1) else {
        return Err("trailing backslash at end of expression: ``".into());
    };
    let invalid = || Err(format!("invalid escape sequence: `\\{c}`"));
    let ascii = match c {
        'd' => Some("[0-9]"),
        'D' => Some("[^0-9]"),
        's' => Some("[\\t\\n\\f\\r ]"),
        'S' => Some("[^\\t\\n\\f\\r ]"),
        'w' => Some("[0-9A-Za-z_]"),
        'W' => Some("[^0-9A-Za-z_]"),
        _ => None,
    };
    if let Some(class) = ascii {
        out.push_str(class);
        return Ok(at + 2);
    }
    match c {
        'b' | 'B' if !in_class => {
            out.push_str(if c == 'b' { "(?-u:\\b)" } else { "(?-u:\\B)" });
            Ok(at + 2)
        }
        'A' | 'z' if !in_class => {
            out.extend(['\\', c]);
            Ok(at + 2)
        }
        'Q' if !in_class => {
            let rest = text(chars, at + 2, chars.len());
            let literal = rest.split("\\E").next().unwrap_or_default();
            out.push_str(&regex::escape(literal));
            let end = at + 2 + literal.chars().count();
            Ok(if end < chars.len() { end + 2 } else { end })
        }
        'a' | 'f' | 'n' | 'r' | 't' | 'v' => {
            out.extend(['\\', c]);
            Ok(at + 2)
        }
        '0' => {
            let digits: String =
                chars[at + 1..].iter().take(3).take_while(|c| ('0'..='7').contains(c)).collect();
            out.push_str(&format!("\\x{{{:x}}}", u32::from_str_radix(&digits, 8).unwrap_or(0)));
            Ok(at + 1 + digits.len())
        }
        '1'..='7' => {
            // A single digit would refer back to a group, which RE2 does not do.
            let digits: String =
                chars[at + 1..].iter().take(3).take_while(|c| ('0'..='7').contains(c)).collect();
            if digits.len() < 2 {
                return invalid();
            }
            out.push_str(&format!("\\x{{{:x}}}", u32::from_str_radix(&digits, 8).unwrap_or(0)));
            Ok(at + 1 + digits.len())
        }
        'x' => {
            let rest = text(chars, at + 2, (at + 12).min(chars.len()));
            let (digits, len) = match rest.strip_prefix('{') {
                Some(inner) => {
                    let Some(end) = inner.find('}') else { return invalid() };
                    (inner[..end].to_string(), end + 2)
                }
                None => (rest.chars().take(2).collect(), 2),
            };
            let hex = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
            if !hex || (len == 2 && digits.len() != 2) {
                return invalid();
            }
            out.push_str(&format!("\\x{{{digits}}}"));
            Ok(at + 2 + len)
        }
        'p' | 'P' => {
            let rest = text(chars, at + 2, (at + 64).min(chars.len()));
            let (name, len) = match rest.strip_prefix('{') {
                Some(inner) => match inner.find('}') {
                    Some(end) => (inner[..end].to_string(), inner[..end].chars().count() + 2),
                    None => return Err(format!("invalid character class range: `\\{c}{rest}`")),
                },
                None => (rest.chars().take(1).collect(), 1),
            };
            let (name, negated) = match name.strip_prefix('^') {
                Some(name) => (name.to_string(), true),
                None => (name, false),
            };
            let known = !name.is_empty() && name.starts_with(|c: char| c.is_ascii_uppercase());
            if !known || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                return Err(format!("invalid character class range: `\\{c}{{{name}}}`"));
            }
            let positive = (c == 'p') != negated;
            if name == "Any" {
                out.push_str(if positive { "[\\x{0}-\\x{10ffff}]" } else { "[^\\x{0}-\\x{10ffff}]" });
            } else {
                out.push_str(&format!("\\{}{{{name}}}", if positive { 'p' } else { 'P' }));
            }
            Ok(at + 2 + len)
        }
        c if c.is_ascii_punctuation() => {
            // `\<` and `\>` are word boundaries in the crate and plain characters here.
            if matches!(c, '<' | '>' | '_' | '!' | '"' | '%' | '\'' | ',' | '/' | ':' | ';' | '=' | '@' | '`')
            {
                out.push(c);
            } else {
                out.extend(['\\', c]);
            }
            Ok(at + 2)
        }
        _ => invalid(),
    }
}

/// A class in brackets. RE2 knows no classes within classes and no operations on them.
fn class(chars: &[char], start: usize, out: &mut String) -> Result<usize, String> {
    let mut at = start + 1;
    out.push('[');
    if chars.get(at) == Some(&'^') {
        out.push('^');
        at += 1;
    }
    let first = at;
    loop {
        let Some(&c) = chars.get(at) else {
            return Err(format!("missing closing ]: `{}`", text(chars, start, chars.len())));
        };
        match c {
            ']' if at > first => {
                out.push(']');
                return Ok(at + 1);
            }
            '[' if chars.get(at + 1) == Some(&':') => {
                let rest = text(chars, at, (at + 16).min(chars.len()));
                // The colon that opens the name does not also close it.
                match rest.get(2..).and_then(|name| name.find(":]")).map(|end| end + 2) {
                    Some(end) => {
                        let name = &rest[2..end];
                        const NAMES: &str = " alnum alpha ascii blank cntrl digit graph lower print punct space upper word xdigit ";
                        if !NAMES.contains(&format!(" {} ", name.trim_start_matches('^'))) {
                            return Err(format!("invalid character class range: `{}`", &rest[..end + 2]));
                        }
                        out.push_str(&rest[..end + 2]);
                        at += end + 2;
                    }
                    None => {
                        out.push_str("\\[");
                        at += 1;
                    }
                }
            }
            '\\' => at = escape(chars, at, out, true)?,
            '[' | ']' | '&' | '~' | '^' => {
                out.extend(['\\', c]);
                at += 1;
            }
            '-' => {
                // Between two ends it makes a range, else it is itself.
                let range = at > first && chars.get(at + 1).is_some_and(|c| *c != ']') && in_range(out);
                out.push_str(if range { "-" } else { "\\-" });
                at += 1;
            }
            _ => {
                out.push(c);
                at += 1;
            }
        }
    }
}

/// Whether what was written last can begin a range: a character, not a class.
fn in_range(out: &str) -> bool {
    !out.ends_with(']') || out.ends_with("\\]")
}

/// The name of a group in the `regex` crate, whose names cannot begin with a digit as RE2's can.
pub fn group_name(name: &str) -> std::borrow::Cow<'_, str> {
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("digit_{name}").into() } else { name.into() }
}
