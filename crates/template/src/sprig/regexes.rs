//! Regular expressions with the rules of RE2, as Go has them.

use std::{cell::RefCell, rc::Rc};

use herald_value::{CallError, Value, re2};
use regex::bytes::{Captures, Regex};

use super::help::{Result, strings, text};
use crate::function::{Call, Function, Param::*};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("regexMatch", &[Str, Str], |c| match compiled(c) {
        // The original drops the error.
        Err(error) if !error.over_limit => Ok(Value::Bool(false)),
        Err(error) => Err(error),
        Ok(regex) => Ok(Value::Bool(regex.is_match(c.bytes(1)))),
    }),
    Function::new("mustRegexMatch", &[Str, Str], |c| Ok(Value::Bool(compiled(c)?.is_match(c.bytes(1))))),
    Function::new("regexFind", &[Str, Str], first),
    Function::new("mustRegexFind", &[Str, Str], first),
    Function::new("regexFindAll", &[Str, Str, Int], all),
    Function::new("mustRegexFindAll", &[Str, Str, Int], all),
    Function::new("regexReplaceAll", &[Str, Str, Str], |c| replace(c, true)),
    Function::new("mustRegexReplaceAll", &[Str, Str, Str], |c| replace(c, true)),
    Function::new("regexReplaceAllLiteral", &[Str, Str, Str], |c| replace(c, false)),
    Function::new("mustRegexReplaceAllLiteral", &[Str, Str, Str], |c| replace(c, false)),
    Function::new("regexSplit", &[Str, Str, Int], split),
    Function::new("mustRegexSplit", &[Str, Str, Int], split),
    Function::new("regexQuoteMeta", &[Str], |c| {
        let mut out = Vec::with_capacity(c.bytes(0).len() * 2);
        for byte in c.bytes(0) {
            if br"\.+*?()|[]{}^$".contains(byte) {
                out.push(b'\\');
            }
            out.push(*byte);
        }
        text(c, out)
    }),
];

/// Steps that each part costs which counted repetitions add, as the thousand parts of `(a{100}){10}`.
const REPEATED: u64 = 50;

/// RE2 repeats nothing more often.
const MOST_OF_ONE: u64 = 1000;

/// How many parts counted repetitions add to an expression: those in groups that are repeated multiply, those beside each
/// other add up. What is no expression is told by whoever compiles it.
fn repeated(source: &str) -> u64 {
    let (mut outer, mut here, mut last) = (Vec::new(), 0_u64, 0_u64);
    let mut chars = source.chars();
    while let Some(c) = chars.next() {
        match c {
            '(' => outer.push(std::mem::take(&mut here)),
            ')' => {
                last = here.max(1);
                here = outer.pop().unwrap_or(0).saturating_add(last);
            }
            '{' => {
                // No more digits than any expression may have here.
                let counts: String = chars.clone().take(16).take_while(|c| *c != '}').collect();
                chars = chars.as_str().strip_prefix(counts.as_str()).unwrap_or_default().chars();
                let most = counts
                    .split(',')
                    .filter_map(|count| count.parse().ok())
                    .max()
                    .unwrap_or(1_u64)
                    .clamp(1, MOST_OF_ONE);
                here = here.saturating_add(last.saturating_mul(most - 1));
                last = last.saturating_mul(most);
            }
            '}' => {}
            _ => {
                match c {
                    '\\' => drop(chars.next()),
                    '[' => {
                        // A bracket that comes first is one of the class.
                        let class = chars.as_str().trim_start_matches('^');
                        let class = class.strip_prefix(']').unwrap_or(class);
                        chars = class.split_once(']').map_or("", |(_, rest)| rest).chars();
                    }
                    _ => {}
                }
                (here, last) = (here.saturating_add(1), 1);
            }
        }
    }
    let all = outer.into_iter().fold(here, u64::saturating_add);
    all.saturating_sub(source.len() as u64)
}

/// The expression in the first argument.
fn compiled(call: &mut Call<'_>) -> Result<Rc<Regex>> {
    let size = call.meter.limits().regex_bytes;
    let source = call.text(0).into_owned();
    // Compiling takes time and memory that grow with the source, matching with the text.
    call.meter.step((source.len() as u64 + 1).saturating_mul(16))?;
    call.meter.step(call.bytes(1).len() as u64 / 8)?;
    if let Some(regex) = known(&source) {
        return Ok(regex);
    }
    call.meter.step(repeated(&source).saturating_mul(REPEATED))?;
    // Small ones are kept. The limit is asked anew for others.
    match re2::compile(&source, size.min(MOST_KEPT_BYTES)) {
        Ok(regex) => Ok(keep(source, Rc::new(regex))),
        Err(re2::Refused::TooLarge) => {
            re2::compile(&source, size).map(Rc::new).map_err(|refused| refusal(refused, &source, size))
        }
        Err(refused) => Err(refusal(refused, &source, size)),
    }
}

fn refusal(refused: re2::Refused, source: &str, size: usize) -> CallError {
    match refused {
        re2::Refused::Invalid(why) => CallError::new(format!("error parsing regexp: {why}: `{source}`")),
        re2::Refused::TooLarge => CallError::over_limit(format!(
            "the regular expression `{source}` compiles to more than {size} bytes"
        )),
    }
}

/// So many expressions are kept, of so many bytes at most.
const MOST_KEPT: usize = 16;
const MOST_KEPT_BYTES: usize = 128 * 1024;

thread_local! {
    /// What was compiled last, latest first, with its source. Templates give the same few expressions for every object,
    /// and compiling takes a thousand times as long as matching.
    static KEPT: RefCell<Vec<(String, Rc<Regex>)>> = const { RefCell::new(Vec::new()) };
}

fn keep(source: String, regex: Rc<Regex>) -> Rc<Regex> {
    KEPT.with_borrow_mut(|kept| {
        kept.truncate(MOST_KEPT - 1);
        kept.insert(0, (source, regex.clone()));
    });
    regex
}

fn known(source: &str) -> Option<Rc<Regex>> {
    KEPT.with_borrow_mut(|kept| {
        let at = kept.iter().position(|(known, _)| known == source)?;
        kept.get_mut(..=at)?.rotate_right(1);
        kept.first().map(|(_, regex)| regex.clone())
    })
}

/// The places that match, as Go counts them: after a match, an empty one right at its end does not count.
fn places(regex: &Regex, text: &[u8], limit: Option<usize>) -> Vec<(usize, usize)> {
    let found = regex.find_iter(text).map(|m| (m.start(), m.end()));
    found
        .filter(|(start, end)| start < end || !inside_character(text, *start))
        .take(limit.unwrap_or(usize::MAX))
        .collect()
}

/// Whether a place is within a character, where the crate finds empty matches and Go does not.
fn inside_character(text: &[u8], at: usize) -> bool {
    let from = (1..4)
        .filter_map(|back| at.checked_sub(back))
        .find(|from| text.get(*from).is_some_and(|b| b & 0xc0 != 0x80));
    let follows = text.get(at).is_some_and(|b| b & 0xc0 == 0x80);
    follows
        && from.is_some_and(|from| {
            let len = text.get(from..text.len().min(from + 4)).map(|rest| match std::str::from_utf8(rest) {
                Ok(rest) => rest.chars().next().map_or(0, char::len_utf8),
                Err(error) => std::str::from_utf8(&rest[..error.valid_up_to()])
                    .ok()
                    .and_then(|rest| rest.chars().next())
                    .map_or(0, char::len_utf8),
            });
            len.is_some_and(|len| from + len > at)
        })
}

fn first(call: &mut Call<'_>) -> Result<Value> {
    let regex = compiled(call)?;
    let found = regex.find(call.bytes(1)).map(|m| m.as_bytes().to_vec());
    text(call, found.unwrap_or_default())
}

fn all(call: &mut Call<'_>) -> Result<Value> {
    let regex = compiled(call)?;
    let subject = call.bytes(1);
    let found = places(&regex, subject, usize::try_from(call.int(2)).ok());
    let found = found.into_iter().map(|(start, end)| subject[start..end].to_vec()).collect();
    strings(call, found)
}

fn split(call: &mut Call<'_>) -> Result<Value> {
    let regex = compiled(call)?;
    let subject = call.bytes(1).to_vec();
    let limit = usize::try_from(call.int(2)).ok();
    if limit == Some(0) {
        return strings(call, Vec::new());
    }
    if !call.bytes(0).is_empty() && subject.is_empty() {
        return strings(call, vec![Vec::new()]);
    }
    let mut parts = Vec::new();
    let (mut begin, mut end) = (0, 0);
    for (start, stop) in places(&regex, &subject, limit) {
        if limit.is_some_and(|limit| parts.len() + 1 == limit) {
            break;
        }
        end = start;
        // A match of nothing at the very start separates nothing.
        if stop != 0 {
            parts.push(subject[begin..end].to_vec());
        }
        begin = stop;
    }
    if end != subject.len() {
        parts.push(subject[begin..].to_vec());
    }
    strings(call, parts)
}

fn replace(call: &mut Call<'_>, expand: bool) -> Result<Value> {
    let regex = compiled(call)?;
    let subject = call.bytes(1).to_vec();
    let template = call.bytes(2).to_vec();
    let mut out = Vec::with_capacity(subject.len());
    let mut from = 0;
    for found in regex.captures_iter(&subject) {
        let Some(whole) = found.get(0) else { continue };
        if whole.is_empty() && inside_character(&subject, whole.start()) {
            continue;
        }
        let before = out.len();
        out.extend_from_slice(&subject[from..whole.start()]);
        if expand {
            expand_into(&mut out, &template, &found, call)?;
        } else {
            out.extend_from_slice(&template);
        }
        from = whole.end();
        call.meter.step(1)?;
        call.meter.grow((out.len() - before) as u64)?;
    }
    out.extend_from_slice(&subject[from..]);
    call.meter.grow((subject.len() - from) as u64)?;
    Ok(Value::str(out))
}

/// Puts groups in for `$1`, `${1}`, `$name` and `${name}`. A name is as long as it can be, so `$1x` is the group
/// named `1x`; `$$` is a dollar.
fn expand_into(out: &mut Vec<u8>, template: &[u8], found: &Captures<'_>, call: &mut Call<'_>) -> Result<()> {
    let mut rest = template;
    while let Some(dollar) = rest.iter().position(|b| *b == b'$') {
        out.extend_from_slice(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        if let Some(after) = rest.strip_prefix(b"$") {
            out.push(b'$');
            rest = after;
            continue;
        }
        let Some((name, len)) = group_name(rest) else {
            out.push(b'$');
            continue;
        };
        rest = &rest[len..];
        let group = match name.parse::<usize>() {
            Ok(number) if name.len() == 1 || !name.starts_with('0') => found.get(number),
            _ => found.name(&re2::group_name(name)),
        };
        if let Some(group) = group {
            call.meter.step(group.as_bytes().len() as u64 / 16)?;
            out.extend_from_slice(group.as_bytes());
        }
    }
    out.extend_from_slice(rest);
    Ok(())
}

fn group_name(after_dollar: &[u8]) -> Option<(&str, usize)> {
    let (inner, braces) = match after_dollar.strip_prefix(b"{") {
        Some(inner) => (inner, true),
        None => (after_dollar, false),
    };
    let valid = match std::str::from_utf8(inner) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&inner[..error.valid_up_to()]).ok()?,
    };
    let len = valid.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(valid.len());
    let name = &valid[..len];
    if name.is_empty() || (braces && inner.get(len) != Some(&b'}')) {
        return None;
    }
    Some((name, len + if braces { 2 } else { 0 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetitions_multiply_in_groups_and_add_up_beside_each_other() {
        for (source, wanted) in [
            ("", 0),
            ("^[a-z]+(-[a-z0-9]+)*$", 0),
            // 190 parts, less than the 32 bytes they are written with.
            (r"[a-z]{1,63}\.[a-z]{1,63}\.[a-z]{63}", 191 - 35),
            ("(a{100}){10}", 1000 - 12),
            ("((a{10}b){10}c){10,}", (11 * 10 + 1) * 10 - 20),
            ("(a{100}", 100 - 7),
            ("a}{", 0),
            ("[]{9}]{100}", 100 - 11),
            ("a{99999999}", 1000 - 11),
        ] {
            assert_eq!(repeated(source), wanted, "{source}");
        }
        // What is nested without end ends, and what is too much is no less.
        assert_eq!(repeated(&"{".repeat(1_000_000)), 0);
        assert_eq!(
            repeated(&format!("{}a{}", "(".repeat(50), "{1000})".repeat(50))),
            u64::MAX - (50 + 1 + 7 * 50)
        );
    }
}
