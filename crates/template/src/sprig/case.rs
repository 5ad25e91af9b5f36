//! Changing between the ways to write words together.

use std::sync::LazyLock;

use regex::Regex;

use super::help::{is_upper, lower, runes, title, upper};

pub(super) fn swap(bytes: &[u8]) -> String {
    let mut gap = true;
    let is_title = |c: char| matches!(c, '\u{1c5}' | '\u{1c8}' | '\u{1cb}' | '\u{1f2}');
    runes(bytes)
        .map(|c| {
            if is_upper(c) || is_title(c) {
                gap = false;
                lower(c)
            } else if c.is_lowercase() {
                if std::mem::take(&mut gap) { title(c) } else { upper(c) }
            } else {
                gap = c.is_whitespace();
                c
            }
        })
        .collect()
}

fn is_connector(c: char) -> bool {
    c == '-' || c == '_' || c.is_whitespace()
}

/// Upper camel case. Connectors at the start stay, and of several in a row all but one.
pub(super) fn camel(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    let mut rest = runes(bytes);
    let mut last_connector = None;
    let mut before = loop {
        match rest.next() {
            // The original writes the last of nothing but connectors twice.
            None => {
                out.extend(last_connector);
                return out;
            }
            Some(c) if is_connector(c) => {
                out.push(c);
                last_connector = Some(c);
            }
            Some(c) => break c,
        }
    };
    let mut upper_run = is_upper(before);
    before = upper(before);
    for now in rest {
        let mut next = now;
        if is_connector(now) && is_connector(before) {
            out.push(before);
            before = now;
            continue;
        }
        if is_connector(before) {
            upper_run = is_upper(now);
            next = upper(now);
        } else {
            if upper_run {
                if is_upper(now) {
                    next = lower(now);
                } else {
                    upper_run = false;
                }
            }
            out.push(before);
        }
        before = next;
    }
    out.push(before);
    out
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    None,
    Number,
    Upper,
    Letters,
    Connector,
    Punctuation,
    Other,
}

/// A letter, but no Chinese character, each of which is a word of its own.
fn is_letter(c: char) -> bool {
    static LETTER: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^\p{L}").ok());
    let cjk = matches!(c, '\u{4e00}'..='\u{9fcc}' | '\u{3400}'..='\u{4d85}' | '\u{20000}'..='\u{2b81d}');
    if c.is_ascii() { c.is_ascii_alphabetic() } else { !cjk && matches_class(&LETTER, c) }
}

fn is_punctuation(c: char) -> bool {
    static PUNCTUATION: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^\p{P}").ok());
    if c.is_ascii() {
        return c.is_ascii_punctuation() && !"$+<=>^`|~".contains(c);
    }
    matches_class(&PUNCTUATION, c)
}

fn matches_class(class: &LazyLock<Option<Regex>>, c: char) -> bool {
    class.as_ref().is_some_and(|class| class.is_match(c.encode_utf8(&mut [0; 4])))
}

/// Takes the next word off the text.
fn next_word<'a>(text: &mut &'a [char]) -> (Word, &'a [char]) {
    let all = *text;
    let Some(&first) = all.first() else { return (Word::None, &[]) };
    let run = |from: usize, belongs: &dyn Fn(char) -> bool| {
        from + all[from..].iter().take_while(|c| belongs(**c)).count()
    };
    let small = |c: char| is_letter(c) && !is_upper(c);
    let (kind, end) = if is_connector(first) {
        (Word::Connector, run(1, &is_connector))
    } else if is_punctuation(first) {
        (Word::Punctuation, run(1, &is_punctuation))
    } else if is_upper(first) {
        let uppers = run(1, &is_upper);
        let end = match all.get(uppers) {
            // In "HTTPStatus" the S belongs to the next word.
            Some(&c) if uppers > 1 && is_letter(c) => uppers - 1,
            Some(_) if uppers == 1 => run(1, &small),
            _ => uppers,
        };
        (Word::Upper, end)
    } else if is_letter(first) {
        (Word::Letters, run(1, &small))
    } else if first.is_numeric() {
        (Word::Number, run(1, &char::is_numeric))
    } else {
        let other = |c: char| !(is_connector(c) || is_letter(c) || c.is_numeric() || is_punctuation(c));
        (Word::Other, run(1, &other))
    };
    let (word, rest) = all.split_at(end);
    *text = rest;
    (kind, word)
}

/// Lower case words with a connector between them.
pub(super) fn separated(bytes: &[u8], connector: char) -> String {
    let chars: Vec<char> = runes(bytes).collect();
    let mut rest = chars.as_slice();
    let mut out = String::with_capacity(bytes.len() + 8);
    let push = |out: &mut String, kind: Word, word: &[char]| match kind {
        Word::Upper | Word::Connector => {
            out.extend(word.iter().map(|c| if is_connector(*c) { connector } else { lower(*c) }));
        }
        _ => out.extend(word),
    };
    let outside = |kind: Word| matches!(kind, Word::None | Word::Punctuation | Word::Connector);
    let (mut kind, mut word) = next_word(&mut rest);
    while !rest.is_empty() {
        if kind != Word::Connector {
            push(&mut out, kind, word);
        }
        let (before, last) = (kind, word);
        (kind, word) = next_word(&mut rest);
        match before {
            Word::Number => {
                while matches!(kind, Word::Letters | Word::Number) {
                    push(&mut out, kind, word);
                    (kind, word) = next_word(&mut rest);
                }
                if !outside(kind) {
                    out.push(connector);
                }
            }
            Word::Connector => push(&mut out, before, last),
            Word::Punctuation => {}
            _ if kind != Word::Number => {
                if !matches!(kind, Word::Connector | Word::Punctuation) {
                    out.push(connector);
                }
            }
            _ if rest.is_empty() => {}
            _ => {
                let number = word;
                (kind, word) = next_word(&mut rest);
                if kind != Word::Letters {
                    // "Bld4Floor": the number belongs to the word before it.
                    push(&mut out, Word::Number, number);
                    if !matches!(kind, Word::Connector | Word::Punctuation) {
                        out.push(connector);
                    }
                } else {
                    // "HTTP2xx": with small letters after it, the number begins a word.
                    out.push(connector);
                    push(&mut out, Word::Number, number);
                    while matches!(kind, Word::Letters | Word::Number) {
                        push(&mut out, kind, word);
                        (kind, word) = next_word(&mut rest);
                    }
                    if !outside(kind) {
                        out.push(connector);
                    }
                }
            }
        }
    }
    push(&mut out, kind, word);
    out
}
