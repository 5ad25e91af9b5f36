//! Source text to tokens.

use crate::ast::Pos;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    Eof,
    Text,
    Left,
    Right,
    Space,
    Bool,
    Nil,
    /// A printable ASCII character that stands for itself, such as a comma.
    Char,
    CharConstant,
    Complex,
    Number,
    Str,
    RawStr,
    Field,
    Variable,
    Identifier,
    Dot,
    Pipe,
    LeftParen,
    RightParen,
    Assign,
    Declare,
    Keyword(Keyword),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keyword {
    Block,
    Break,
    Continue,
    Define,
    Else,
    End,
    If,
    Range,
    Template,
    With,
}

impl Keyword {
    fn of(word: &str) -> Option<Keyword> {
        Some(match word {
            "block" => Keyword::Block,
            "break" => Keyword::Break,
            "continue" => Keyword::Continue,
            "define" => Keyword::Define,
            "else" => Keyword::Else,
            "end" => Keyword::End,
            "if" => Keyword::If,
            "range" => Keyword::Range,
            "template" => Keyword::Template,
            "with" => Keyword::With,
            _ => return None,
        })
    }
}

/// A token and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) token: Token,
    pub(crate) start: Pos,
    pub(crate) end: Pos,
}

/// What is wrong, and where.
pub(crate) type LexError = (Pos, String);

pub(crate) struct Lexer<'s> {
    source: &'s str,
    at: usize,
    inside: bool,
    parens: u32,
    /// Where text begins whose left edge was trimmed already.
    text_from: usize,
    /// The text before the action is handed out, the action comes next.
    at_left: bool,
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn is_word(char: char) -> bool {
    char == '_' || char.is_alphanumeric()
}

impl<'s> Lexer<'s> {
    pub(crate) fn new(source: &'s str) -> Self {
        Lexer { source, at: 0, inside: false, parens: 0, text_from: 0, at_left: false }
    }

    fn rest(&self) -> &'s str {
        self.source.get(self.at..).unwrap_or("")
    }

    /// How far the source was read.
    pub(crate) fn position(&self) -> Pos {
        self.at as Pos
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn byte(&self, offset: usize) -> u8 {
        self.source.as_bytes().get(self.at + offset).copied().unwrap_or(0)
    }

    fn item(&self, token: Token, start: usize) -> Item {
        Item { token, start: start as Pos, end: self.at as Pos }
    }

    pub(crate) fn next(&mut self) -> Result<Item, LexError> {
        if self.inside { self.in_action() } else { self.outside() }
    }

    fn outside(&mut self) -> Result<Item, LexError> {
        loop {
            if !self.at_left {
                let start = self.text_from;
                let found = self.rest().find("{{");
                self.at = found.map_or(self.source.len(), |i| self.at + i);
                let mut end = self.at;
                if found.is_some() {
                    self.at_left = true;
                    if self.byte(2) == b'-' && is_space(self.byte(3)) {
                        let text = self.source.get(start..end).unwrap_or("");
                        end = start + text.trim_end_matches([' ', '\t', '\r', '\n']).len();
                    }
                }
                if end > start {
                    self.text_from = self.at;
                    return Ok(Item { token: Token::Text, start: start as Pos, end: end as Pos });
                }
                if found.is_none() {
                    return Ok(self.item(Token::Eof, self.at));
                }
            }
            self.at_left = false;
            let start = self.at;
            let trimmed = self.byte(2) == b'-' && is_space(self.byte(3));
            self.at += if trimmed { 4 } else { 2 };
            if !self.rest().starts_with("/*") {
                self.inside = true;
                self.parens = 0;
                return Ok(Item { token: Token::Left, start: start as Pos, end: self.at as Pos });
            }
            let Some(close) = self.rest().find("*/") else {
                return Err((start as Pos, "this comment is not closed with */".into()));
            };
            self.at += close + 2;
            if self.closing().is_none() {
                return Err((self.at as Pos, "a comment must end right before the closing }}".into()));
            }
            self.close();
        }
    }

    /// Length of a closing delimiter here, with its trim marker.
    fn closing(&self) -> Option<usize> {
        let rest = self.rest().as_bytes();
        match rest {
            [b'}', b'}', ..] => Some(2),
            [space, b'-', b'}', b'}', ..] if is_space(*space) => Some(4),
            _ => None,
        }
    }

    /// Leaves the action.
    fn close(&mut self) -> Item {
        let start = self.at;
        let length = self.closing().unwrap_or(0);
        self.at += length;
        let item = self.item(Token::Right, start);
        if length == 4 {
            let rest = self.rest();
            self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
        }
        self.inside = false;
        self.text_from = self.at;
        item
    }

    fn in_action(&mut self) -> Result<Item, LexError> {
        let start = self.at;
        if self.closing().is_some() {
            if self.parens > 0 {
                return Err((start as Pos, "a left parenthesis is not closed".into()));
            }
            return Ok(self.close());
        }
        let Some(char) = self.peek() else {
            return Err((start as Pos, "this action is not closed with }}".into()));
        };
        self.at += char.len_utf8();
        let token = match char {
            ' ' | '\t' | '\r' | '\n' => {
                while is_space(self.byte(0)) && self.closing().is_none() {
                    self.at += 1;
                }
                Token::Space
            }
            '=' => Token::Assign,
            ':' => {
                if self.byte(0) != b'=' {
                    return Err((start as Pos, "expected :=".into()));
                }
                self.at += 1;
                Token::Declare
            }
            '|' => Token::Pipe,
            '"' => self.quoted(b'"', start, "this quoted text is not closed")?,
            '\'' => self.quoted(b'\'', start, "this character constant is not closed")?,
            '`' => match self.rest().find('`') {
                Some(close) => {
                    self.at += close + 1;
                    Token::RawStr
                }
                None => return Err((start as Pos, "this raw text is not closed with a backquote".into())),
            },
            '$' => self.word_after(start, Token::Variable, Token::Variable)?,
            '.' if !self.byte(0).is_ascii_digit() => self.word_after(start, Token::Dot, Token::Field)?,
            '.' | '+' | '-' | '0'..='9' => {
                self.at = start;
                self.number()?
            }
            '(' => {
                self.parens += 1;
                Token::LeftParen
            }
            ')' => {
                self.parens = self
                    .parens
                    .checked_sub(1)
                    .ok_or((start as Pos, "unexpected right parenthesis".into()))?;
                Token::RightParen
            }
            c if is_word(c) => {
                self.word();
                self.terminated()?;
                let word = self.source.get(start..self.at).unwrap_or("");
                match (Keyword::of(word), word) {
                    (Some(keyword), _) => Token::Keyword(keyword),
                    (None, "true" | "false") => Token::Bool,
                    (None, "nil") => Token::Nil,
                    _ => Token::Identifier,
                }
            }
            '!'..='~' => Token::Char,
            c => return Err((start as Pos, format!("unexpected character {c:?} in an action"))),
        };
        Ok(self.item(token, start))
    }

    fn quoted(&mut self, mark: u8, start: usize, message: &str) -> Result<Token, LexError> {
        loop {
            match self.byte(0) {
                b'\\' if self.at + 1 < self.source.len() && self.byte(1) != b'\n' => {
                    self.at += 1;
                    self.at += self.peek().map_or(0, char::len_utf8);
                }
                byte if byte == mark => {
                    self.at += 1;
                    return Ok(if mark == b'"' { Token::Str } else { Token::CharConstant });
                }
                b'\n' | b'\\' => return Err((start as Pos, message.into())),
                _ if self.at >= self.source.len() => return Err((start as Pos, message.into())),
                _ => self.at += 1,
            }
        }
    }

    fn word(&mut self) {
        let rest = self.rest();
        self.at += rest.find(|c| !is_word(c)).unwrap_or(rest.len());
    }

    fn word_after(&mut self, start: usize, alone: Token, with_name: Token) -> Result<Token, LexError> {
        if self.terminator() {
            return Ok(alone);
        }
        self.word();
        self.terminated()?;
        Ok(if self.at == start + 1 { alone } else { with_name })
    }

    fn terminator(&self) -> bool {
        match self.peek() {
            None | Some(' ' | '\t' | '\r' | '\n' | '.' | ',' | '|' | ':' | ')' | '(') => true,
            _ => self.rest().starts_with("}}"),
        }
    }

    fn terminated(&self) -> Result<(), LexError> {
        match self.peek() {
            Some(char) if !self.terminator() => {
                let hint =
                    if char == '-' { "; a key with a dash needs index: (index .m \"dash-key\")" } else { "" };
                Err((self.at as Pos, format!("bad character {char:?}{hint}")))
            }
            _ => Ok(()),
        }
    }

    fn accept(&mut self, set: &[u8]) -> bool {
        let found = self.at < self.source.len() && set.contains(&self.byte(0));
        self.at += usize::from(found);
        found
    }

    fn run(&mut self, set: &[u8]) {
        while self.accept(set) {}
    }

    fn number(&mut self) -> Result<Token, LexError> {
        let start = self.at;
        let bad = |lexer: &Self| {
            let end = lexer.at + lexer.peek().map_or(0, char::len_utf8);
            let text = lexer.source.get(start..end).unwrap_or("");
            (start as Pos, format!("bad number syntax: {text:?}"))
        };
        if !self.scan_number() {
            return Err(bad(self));
        }
        if matches!(self.byte(0), b'+' | b'-') {
            if !self.scan_number() || self.source.as_bytes().get(self.at - 1) != Some(&b'i') {
                return Err(bad(self));
            }
            return Ok(Token::Complex);
        }
        Ok(Token::Number)
    }

    fn scan_number(&mut self) -> bool {
        self.accept(b"+-");
        let mut digits: &[u8] = b"0123456789_";
        let mut exponent: &[u8] = b"eE";
        if self.accept(b"0") {
            if self.accept(b"xX") {
                digits = b"0123456789abcdefABCDEF_";
                exponent = b"pP";
            } else if self.accept(b"oO") {
                digits = b"01234567_";
                exponent = b"";
            } else if self.accept(b"bB") {
                digits = b"01_";
                exponent = b"";
            }
        }
        self.run(digits);
        if self.accept(b".") {
            self.run(digits);
        }
        if self.accept(exponent) {
            self.accept(b"+-");
            self.run(b"0123456789_");
        }
        self.accept(b"i");
        !self.peek().is_some_and(is_word)
    }
}
