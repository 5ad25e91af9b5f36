//! Regular expressions with RE2's rules, over the `regex` crate.

use regex::bytes::{Regex, RegexBuilder};

/// Compiles a pattern as Go would read it.
pub(crate) fn compile(pattern: &str, size_limit: usize) -> Result<Regex, String> {
    let translated = translate(pattern)
        .map_err(|reason| format!("the regular expression {pattern:?} is not valid: {reason}"))?;
    RegexBuilder::new(&translated).size_limit(size_limit).dfa_size_limit(size_limit).build().map_err(|e| {
        match e {
            regex::Error::CompiledTooBig(limit) => {
                format!("the regular expression needs more than {limit} bytes")
            }
            other => {
                let text = other.to_string();
                let reason = text.lines().last().unwrap_or("").trim_start_matches("error: ").to_string();
                format!("the regular expression {pattern:?} is not valid: {reason}")
            }
        }
    })
}

fn class(c: char) -> Option<&'static str> {
    Some(match c {
        'd' => "0-9",
        's' => r"\t\n\x0C\r ",
        'w' => "0-9A-Za-z_",
        _ => return None,
    })
}

/// Whether `rest`, after an opening brace, is a repetition, and how long it is and its largest count.
fn repetition(rest: &str) -> Option<(usize, u32)> {
    let end = rest.find('}')?;
    let body = rest.get(..end)?;
    let (low, high) = body.split_once(',').unwrap_or((body, ""));
    let number = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    if !number(low) || !(high.is_empty() || number(high)) {
        return None;
    }
    let parse = |s: &str| s.parse().unwrap_or(u32::MAX);
    Some((end + 1, parse(low).max(if high.is_empty() { 0 } else { parse(high) })))
}

fn translate(pattern: &str) -> Result<String, &'static str> {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern;
    let mut repeated = false;
    while let Some(c) = rest.chars().next() {
        rest = rest.get(c.len_utf8()..).unwrap_or("");
        let was_repeated = std::mem::take(&mut repeated);
        match c {
            '\\' => rest = escape(rest, &mut out, false)?,
            '[' => rest = set(rest, &mut out)?,
            '*' | '+' | '?' => {
                if was_repeated {
                    return Err("a repetition of a repetition");
                }
                out.push(c);
                if let Some(after) = rest.strip_prefix('?') {
                    out.push('?');
                    rest = after;
                }
                repeated = true;
            }
            '{' => match repetition(rest) {
                Some((_, count)) if count > 1000 => return Err("a repetition of more than 1000"),
                Some((length, _)) => {
                    if was_repeated {
                        return Err("a repetition of a repetition");
                    }
                    out.push('{');
                    out.push_str(rest.get(..length).unwrap_or(""));
                    rest = rest.get(length..).unwrap_or("");
                    if let Some(after) = rest.strip_prefix('?') {
                        out.push('?');
                        rest = after;
                    }
                    repeated = true;
                }
                None => out.push_str(r"\{"),
            },
            '}' => out.push_str(r"\}"),
            ']' => out.push_str(r"\]"),
            '(' if rest.starts_with('?') && !rest.starts_with("?P<") && !rest.starts_with("?<") => {
                let flags: &str = rest.get(1..).and_then(|r| r.split([':', ')']).next()).unwrap_or("");
                if !flags.bytes().all(|b| b"imsU-".contains(&b)) {
                    return Err("an unknown group or flag");
                }
                out.push('(');
            }
            '(' if rest.starts_with("?<=") || rest.starts_with("?<!") => return Err("a look-behind"),
            other => out.push(other),
        }
    }
    Ok(out)
}

/// Translates what follows a backslash; gives what is left.
fn escape<'p>(rest: &'p str, out: &mut String, in_set: bool) -> Result<&'p str, &'static str> {
    let Some(c) = rest.chars().next() else { return Err("a trailing backslash") };
    let after = rest.get(c.len_utf8()..).unwrap_or("");
    match c {
        'd' | 's' | 'w' => {
            let body = class(c).unwrap_or("");
            out.push_str(&if in_set { body.to_string() } else { format!("[{body}]") });
        }
        'D' | 'S' | 'W' => out.push_str(&format!("[^{}]", class(c.to_ascii_lowercase()).unwrap_or(""))),
        'b' | 'B' if !in_set => out.push_str(&format!("(?-u:\\{c})")),
        'A' | 'z' if !in_set => out.extend(['\\', c]),
        'Q' if !in_set => {
            let (literal, left) = after.split_once(r"\E").unwrap_or((after, ""));
            out.push_str(&regex::escape(literal));
            return Ok(left);
        }
        'a' | 'f' | 'n' | 'r' | 't' | 'v' | 'x' | 'p' | 'P' => out.extend(['\\', c]),
        '0'..='7' => {
            let digits: String = rest.chars().take(3).take_while(|c| c.is_digit(8)).collect();
            if c != '0' && digits.len() < 2 {
                return Err("a back reference");
            }
            let code = u32::from_str_radix(&digits, 8).unwrap_or(0);
            out.push_str(&format!("\\x{{{code:x}}}"));
            return Ok(rest.get(digits.len()..).unwrap_or(""));
        }
        c if c.is_ascii_punctuation() => out.push_str(&regex::escape(&c.to_string())),
        _ => return Err("an unknown escape"),
    }
    Ok(after)
}

/// Translates a set after its opening bracket; gives what is left. In Go `[`, `&&` and `~~` mean nothing in it.
fn set<'p>(rest: &'p str, out: &mut String) -> Result<&'p str, &'static str> {
    out.push('[');
    let mut rest = rest;
    if let Some(after) = rest.strip_prefix('^') {
        out.push('^');
        rest = after;
    }
    let mut first = true;
    loop {
        let Some(c) = rest.chars().next() else { return Err("a set that is not closed") };
        let after = rest.get(c.len_utf8()..).unwrap_or("");
        match c {
            ']' if !first => {
                out.push(']');
                return Ok(after);
            }
            '[' if after.starts_with(':') && after.get(1..).is_some_and(|a| a.contains(":]")) => {
                let end = after.find(":]").unwrap_or(0) + 2;
                out.push('[');
                out.push_str(after.get(..end).unwrap_or(""));
                rest = after.get(end..).unwrap_or("");
                first = false;
                continue;
            }
            '\\' => {
                rest = escape(after, out, true)?;
                first = false;
                continue;
            }
            '[' | ']' | '&' | '~' | '^' => out.extend(['\\', c]),
            '-' if first || after.starts_with(']') => out.push_str(r"\-"),
            other => out.push(other),
        }
        first = false;
        rest = after;
    }
}
