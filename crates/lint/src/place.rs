//! From a place in the value of a key to the place in the file that people edit.

use herald_core::yaml::Position;

/// A file's text, with quick access to its lines.
#[derive(Debug)]
pub(crate) struct Text {
    pub(crate) name: String,
    pub(crate) text: String,
    starts: Vec<usize>,
}

/// How a scalar is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Literal,
    Folded,
    Double,
    Single,
    Plain,
}

impl Text {
    pub(crate) fn new(name: &str, text: &str) -> Text {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Text { name: name.to_owned(), text: text.to_owned(), starts }
    }

    /// A line, from 1.
    pub(crate) fn line(&self, line: u32) -> &str {
        let Some(start) = (line as usize).checked_sub(1).and_then(|i| self.starts.get(i)) else { return "" };
        self.text.get(*start..).and_then(|rest| rest.lines().next()).unwrap_or("")
    }

    fn offset(&self, at: Position) -> Option<usize> {
        let start = *self.starts.get((at.line as usize).checked_sub(1)?)?;
        let rest = self.text.get(start..)?;
        let column = (at.column as usize).saturating_sub(1);
        Some(start + rest.char_indices().nth(column).map_or(rest.len(), |(offset, _)| offset))
    }

    fn style(&self, value_at: Position) -> Style {
        let before = value_at
            .column
            .checked_sub(2)
            .and_then(|column| self.line(value_at.line).chars().nth(column as usize));
        match before {
            Some('"') => return Style::Double,
            Some('\'') => return Style::Single,
            _ => {}
        }
        let mut line = value_at.line.saturating_sub(1);
        while line > 0 && self.line(line).trim().is_empty() {
            line -= 1;
        }
        let above = self.line(line);
        let above = above.split(" #").next().unwrap_or(above).trim_end();
        let head = above.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-'));
        // The text of a block scalar stands alone on its lines.
        let first = self.line(value_at.line);
        let alone = first.chars().take((value_at.column as usize).saturating_sub(1)).all(|c| c == ' ');
        match head.chars().last() {
            Some('|') if alone => Style::Literal,
            Some('>') if alone => Style::Folded,
            _ => Style::Plain,
        }
    }

    /// Where a place of a value, which begins at `value_at`, stands in the file.
    pub(crate) fn of_value(&self, value_at: Position, value: &str, at: Position) -> Position {
        let style = self.style(value_at);
        if style == Style::Literal {
            return value_at.within(at.line, at.column);
        }
        match self.offset(value_at).and_then(|start| self.text.get(start..)) {
            Some(raw) => align(raw, value_at, value, at, style).unwrap_or(value_at),
            None => value_at,
        }
    }
}

struct Raw<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    at: Position,
}

impl Raw<'_> {
    fn next(&mut self) -> Option<char> {
        let c = self.rest.next()?;
        if c == '\n' {
            self.at = Position { line: self.at.line.saturating_add(1), column: 1 };
        } else {
            self.at.column = self.at.column.saturating_add(1);
        }
        Some(c)
    }

    fn peek(&mut self) -> Option<char> {
        self.rest.peek().copied()
    }

    /// Skips a line break and the blanks around it.
    fn skip_break(&mut self) {
        while self.peek().is_some_and(|c| matches!(c, ' ' | '\t' | '\r' | '\n')) {
            self.next();
        }
    }

    /// Whether only blanks are left on this line.
    fn ends_line(&self) -> bool {
        let mut ahead = self.rest.clone();
        loop {
            match ahead.next() {
                Some(' ' | '\t' | '\r') => {}
                Some('\n') => return true,
                _ => return false,
            }
        }
    }
}

/// Walks the text as written and the value side by side.
fn align(raw: &str, start: Position, value: &str, target: Position, style: Style) -> Option<Position> {
    let mut raw = Raw { rest: raw.chars().peekable(), at: start };
    let mut here = Position { line: 1, column: 1 };
    for c in value.chars() {
        // An escaped line break is nothing.
        if style == Style::Double {
            while raw.peek() == Some('\\') && raw.rest.clone().nth(1) == Some('\n') {
                raw.next();
                raw.skip_break();
            }
        }
        let blank = matches!(c, ' ' | '\n');
        if !blank && raw.peek().is_some_and(|r| matches!(r, '\n' | '\r')) {
            raw.skip_break();
        }
        if here >= target {
            return Some(raw.at);
        }
        match raw.peek()? {
            '\\' if style == Style::Double => {
                raw.next();
                let digits = match raw.next()? {
                    'x' => 2,
                    'u' => 4,
                    'U' => 8,
                    _ => 0,
                };
                for _ in 0..digits {
                    raw.next();
                }
            }
            ' ' | '\t' | '\r' | '\n' if blank => {
                if raw.ends_line() {
                    if c == ' ' || raw.peek() != Some('\n') {
                        raw.skip_break();
                    } else {
                        raw.next();
                    }
                } else {
                    raw.next();
                }
            }
            '\'' if style == Style::Single => {
                raw.next();
                raw.next();
            }
            found if found == c => drop(raw.next()),
            // Indentation of a folded scalar, or a surprise.
            ' ' => {
                raw.skip_break();
                raw.next();
            }
            _ => return None,
        }
        here = if c == '\n' {
            Position { line: here.line + 1, column: 1 }
        } else {
            Position { column: here.column + 1, ..here }
        };
    }
    Some(raw.at)
}

#[cfg(test)]
mod tests {
    use herald_core::yaml;

    use super::*;

    fn place(text: &str, line: u32, column: u32) -> (u32, u32) {
        let node = yaml::parse(text).unwrap();
        let value = node.get("k").unwrap();
        let file = Text::new("f", text);
        let at = file.of_value(value.at, value.text().unwrap(), Position { line, column });
        (at.line, at.column)
    }

    #[test]
    fn places_in_values_are_places_in_the_file() {
        assert_eq!(place("k: |\n  ab\n  cd\n", 2, 2), (3, 4));
        assert_eq!(place("k: \"ab\\ncd\"\n", 2, 2), (1, 10));
        assert_eq!(place("k: \"a\\\"b\\u0041c\"\n", 1, 5), (1, 15));
        assert_eq!(place("k: 'it''s x'\n", 1, 6), (1, 11));
        assert_eq!(place("k: plain\n  more\n", 1, 7), (2, 3));
        assert_eq!(place("k: >\n  ab\n  cd\n", 1, 4), (3, 3));
        assert_eq!(place("k: >-\n  ab\n\n  cd\n", 2, 2), (4, 4));
    }
}
