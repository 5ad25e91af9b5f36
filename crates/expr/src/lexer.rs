//! Source text to tokens, one at a time.

use std::{borrow::Cow, sync::LazyLock};

use regex::Regex;

/// What kind of token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ident,
    Number,
    Str,
    Bytes,
    Op,
    Bracket,
    End,
}

/// One token.
#[derive(Clone, Debug)]
pub(crate) struct Token<'s> {
    pub(crate) kind: Kind,
    /// The text; of strings the content.
    pub(crate) text: Cow<'s, [u8]>,
    /// The byte offset of its first character.
    pub(crate) at: u32,
}

impl Token<'_> {
    pub(crate) fn is(&self, kind: Kind, text: &str) -> bool {
        self.kind == kind && *self.text == *text.as_bytes()
    }

    pub(crate) fn str(&self) -> &str {
        std::str::from_utf8(&self.text).unwrap_or("")
    }

    /// How messages name it.
    pub(crate) fn describe(&self) -> String {
        if self.kind == Kind::End {
            return "end of the expression".into();
        }
        let mut text = String::from_utf8_lossy(&self.text).into_owned();
        if text.chars().count() > 40 {
            text = text.chars().take(40).chain(['…']).collect();
        }
        format!("`{text}`")
    }
}

/// A text that is no token: where and why.
pub(crate) struct LexError {
    pub(crate) at: u32,
    pub(crate) message: String,
}

pub(crate) struct Lexer<'s> {
    source: &'s str,
    pos: usize,
}

static LETTER: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^\p{L}$").ok());
static DIGIT: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^\p{Nd}$").ok());

fn matches(regex: &Option<Regex>, c: char) -> bool {
    let mut buffer = [0; 4];
    regex.as_ref().is_some_and(|r| r.is_match(c.encode_utf8(&mut buffer)))
}

fn is_letter(c: char) -> bool {
    c == '_' || c == '$' || c.is_ascii_alphabetic() || (!c.is_ascii() && matches(&LETTER, c))
}

fn is_word(c: char) -> bool {
    is_letter(c) || c.is_ascii_digit() || (!c.is_ascii() && matches(&DIGIT, c))
}

/// Whether an operator such as `not` may also be the name of a field.
pub(crate) fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(is_letter) && chars.all(is_word)
}

type Result<T> = std::result::Result<T, LexError>;

impl<'s> Lexer<'s> {
    pub(crate) fn new(source: &'s str) -> Self {
        Lexer { source, pos: 0 }
    }

    fn rest(&self) -> &'s str {
        self.source.get(self.pos..).unwrap_or("")
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.pos += c.len_utf8();
        Some(c)
    }

    fn accept(&mut self, valid: &str) -> bool {
        match self.peek() {
            Some(c) if valid.contains(c) => {
                self.pos += c.len_utf8();
                true
            }
            _ => false,
        }
    }

    fn accept_run(&mut self, valid: &str) {
        while self.accept(valid) {}
    }

    fn fail<T>(&self, message: impl Into<String>) -> Result<T> {
        Err(LexError { at: self.pos.saturating_sub(1) as u32, message: message.into() })
    }

    fn token(&self, kind: Kind, start: usize) -> Token<'s> {
        let text = self.source.get(start..self.pos).unwrap_or("");
        self.token_of(kind, start, Cow::Borrowed(text.as_bytes()))
    }

    fn token_of(&self, kind: Kind, start: usize, text: Cow<'s, [u8]>) -> Token<'s> {
        Token { kind, text, at: start as u32 }
    }

    pub(crate) fn next(&mut self) -> Result<Token<'s>> {
        loop {
            let start = self.pos;
            let Some(c) = self.bump() else {
                let last = self.source.chars().next_back().map_or(0, char::len_utf8);
                let at = start - last.min(start);
                return Ok(Token { kind: Kind::End, text: Cow::Borrowed(b""), at: at as u32 });
            };
            return Ok(match c {
                c if c.is_whitespace() => continue,
                '\'' | '"' => {
                    self.scan_string(c)?;
                    let text = self.unescape(start, false)?;
                    self.token_of(Kind::Str, start, text)
                }
                '`' => self.raw_string(start)?,
                'b' | 'B' if matches!(self.peek(), Some('\'' | '"')) => {
                    let quote = self.bump().unwrap_or('"');
                    self.scan_string(quote)?;
                    let text = self.unescape(start + 1, true)?;
                    self.token_of(Kind::Bytes, start, text)
                }
                '0'..='9' => {
                    self.pos = start;
                    self.number(start)?
                }
                '?' => {
                    self.accept(".?");
                    self.token(Kind::Op, start)
                }
                '/' => {
                    if self.accept("/") {
                        match self.rest().find('\n') {
                            Some(at) => self.pos += at + 1,
                            None => self.pos = self.source.len(),
                        }
                        continue;
                    }
                    if self.accept("*") {
                        match self.rest().find("*/") {
                            Some(at) => self.pos += at + 2,
                            None => {
                                self.pos = self.source.len();
                                return self.fail("unclosed comment");
                            }
                        }
                        continue;
                    }
                    self.token(Kind::Op, start)
                }
                '#' => {
                    self.accept("#");
                    self.token(Kind::Op, start)
                }
                '|' => {
                    self.accept("|");
                    self.token(Kind::Op, start)
                }
                ':' => {
                    self.accept(":");
                    self.token(Kind::Op, start)
                }
                '(' | '[' | '{' | ')' | ']' | '}' => self.token(Kind::Bracket, start),
                ',' | ';' | '%' | '+' | '-' | '^' => self.token(Kind::Op, start),
                '&' | '!' | '=' | '*' | '<' | '>' => {
                    self.accept("&=*");
                    self.token(Kind::Op, start)
                }
                '.' => {
                    if self.peek().is_some_and(|c| c.is_ascii_digit()) {
                        self.number(start)?
                    } else {
                        self.accept(".");
                        self.token(Kind::Op, start)
                    }
                }
                c if is_word(c) => {
                    while self.peek().is_some_and(is_word) {
                        self.bump();
                    }
                    let after_pointer = self.source.get(..start).is_some_and(|s| s.ends_with('#'));
                    let kind = match self.source.get(start..self.pos).unwrap_or("") {
                        "not" | "in" | "or" | "and" | "matches" | "contains" | "startsWith" | "endsWith"
                        | "let" | "if" | "else"
                            if !after_pointer =>
                        {
                            Kind::Op
                        }
                        _ => Kind::Ident,
                    };
                    self.token(kind, start)
                }
                other => {
                    self.pos = start + 1;
                    return self.fail(format!(
                        "unrecognized character {:?} (U+{:04X})",
                        other,
                        u32::from(other)
                    ));
                }
            });
        }
    }

    fn number(&mut self, start: usize) -> Result<Token<'s>> {
        let mut digits = "0123456789_";
        if self.accept("0") {
            if self.accept("xX") {
                digits = "0123456789abcdefABCDEF_";
            } else if self.accept("oO") {
                digits = "01234567_";
            } else if self.accept("bB") {
                digits = "01_";
            }
        }
        self.accept_run(digits);
        let end = self.pos;
        if self.accept(".") {
            // `1..3` is a range of integers.
            if self.peek() == Some('.') {
                self.pos = end;
                return Ok(self.token(Kind::Number, start));
            }
            self.accept_run(digits);
        }
        if self.accept("eE") {
            self.accept("+-");
            self.accept_run(digits);
        }
        if self.peek().is_some_and(is_word) {
            self.bump();
            let text = self.source.get(start..self.pos).unwrap_or("");
            return self.fail(format!("bad number syntax: {text:?}"));
        }
        Ok(self.token(Kind::Number, start))
    }

    /// Goes past the closing quote and refuses escapes that mean nothing.
    fn scan_string(&mut self, quote: char) -> Result<()> {
        loop {
            match self.bump() {
                None | Some('\n') => return self.fail("literal not terminated"),
                Some(c) if c == quote => return Ok(()),
                Some('\\') => self.scan_escape(quote)?,
                Some(_) => {}
            }
        }
    }

    fn scan_escape(&mut self, quote: char) -> Result<()> {
        let digits = |this: &mut Self, base: u32, count: usize| {
            for _ in 0..count {
                match this.peek() {
                    Some(c) if c.is_digit(base) => this.pos += 1,
                    _ => {
                        this.pos += 1;
                        return this.fail("invalid char escape");
                    }
                }
            }
            Ok(())
        };
        match self.bump() {
            Some('a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\') => Ok(()),
            Some(c) if c == quote => Ok(()),
            Some('0'..='7') => digits(self, 8, 2),
            Some('x') => digits(self, 16, 2),
            Some('u') if self.peek() == Some('{') => {
                self.bump();
                let mut count = 0;
                while self.peek().is_some_and(|c| c.is_ascii_hexdigit()) {
                    count += 1;
                    self.bump();
                }
                if self.bump() == Some('}') && (1..=6).contains(&count) {
                    return Ok(());
                }
                self.fail("invalid char escape")
            }
            Some('u') => digits(self, 16, 4),
            Some('U') => digits(self, 16, 8),
            _ => self.fail("invalid char escape"),
        }
    }

    /// The content of the quoted text from `start` (its opening quote) to here.
    fn unescape(&self, start: usize, bytes: bool) -> Result<Cow<'s, [u8]>> {
        let text = self.source.get(start + 1..self.pos - 1).unwrap_or("");
        if !text.contains(['\\', '\r']) {
            return Ok(Cow::Borrowed(text.as_bytes()));
        }
        let mut out = Vec::with_capacity(text.len());
        let mut buffer = [0; 4];
        let mut rest = text;
        let wrong = || self.fail("unable to unescape string");
        while let Some(c) = rest.chars().next() {
            rest = &rest[c.len_utf8()..];
            if c == '\r' {
                rest = rest.strip_prefix('\n').unwrap_or(rest);
                out.push(b'\n');
                continue;
            }
            if c != '\\' {
                out.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
                continue;
            }
            let Some(escape) = rest.chars().next() else { return wrong() };
            rest = &rest[escape.len_utf8()..];
            let (radix, count) = match escape {
                'a' => (0, 7),
                'b' => (0, 8),
                'f' => (0, 12),
                'n' => (0, 10),
                'r' => (0, 13),
                't' => (0, 9),
                'v' => (0, 11),
                '\\' | '\'' | '"' => (0, escape as usize),
                'x' => (16, 2),
                'u' | 'U' if bytes => return wrong(),
                'u' if rest.starts_with('{') => {
                    let Some(end) = rest.find('}') else { return wrong() };
                    let code = u32::from_str_radix(&rest[1..end], 16).unwrap_or(u32::MAX);
                    rest = &rest[end + 1..];
                    let Some(c) = code_char(code) else { return wrong() };
                    out.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
                    continue;
                }
                'u' => (16, 4),
                'U' => (16, 8),
                '0'..='3' => {
                    rest = &text[text.len() - rest.len() - 1..];
                    (8, 3)
                }
                _ => return wrong(),
            };
            if radix == 0 {
                out.push(count as u8);
                continue;
            }
            let Some(code) = rest.get(..count).and_then(|t| u32::from_str_radix(t, radix).ok()) else {
                return wrong();
            };
            rest = &rest[count..];
            match u8::try_from(code) {
                Ok(byte) if bytes => out.push(byte),
                _ => {
                    let Some(c) = code_char(code) else { return wrong() };
                    out.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
                }
            }
        }
        Ok(Cow::Owned(out))
    }

    fn raw_string(&mut self, start: usize) -> Result<Token<'s>> {
        let mut text: Option<String> = None;
        let mut from = self.pos;
        loop {
            let Some(at) = self.rest().find('`') else {
                self.pos = self.source.len();
                return self.fail("literal not terminated");
            };
            let part = self.source.get(from..self.pos + at).unwrap_or("");
            self.pos += at + 1;
            if self.peek() == Some('`') {
                // Two stand for one.
                let text = text.get_or_insert_default();
                text.push_str(part);
                text.push('`');
                self.pos += 1;
                from = self.pos;
                continue;
            }
            let text = match text {
                None => Cow::Borrowed(part.as_bytes()),
                Some(mut text) => {
                    text.push_str(part);
                    Cow::Owned(text.into_bytes())
                }
            };
            return Ok(self.token_of(Kind::Str, start, text));
        }
    }
}

/// The character of a code; surrogates become U+FFFD, as Go writes them.
fn code_char(code: u32) -> Option<char> {
    match code {
        0xD800..=0xDFFF => Some('\u{FFFD}'),
        _ => char::from_u32(code),
    }
}
