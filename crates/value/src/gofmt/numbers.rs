//! Numbers under a verb and its flags.

use super::printer::Printer;
use crate::{Value, num, num::Complex};

impl Printer<'_> {
    pub(super) fn digits(&mut self, n: u64, base: u64, signed: bool, verb: char) {
        let negative = signed && (n as i64) < 0;
        let mut left = if negative { n.wrapping_neg() } else { n };
        let mut wanted = 0;
        if let Some(precision) = self.flags.precision {
            wanted = precision;
            if precision == 0 && left == 0 {
                let zero = std::mem::take(&mut self.flags.zero);
                self.fill(self.flags.width.unwrap_or(0));
                self.flags.zero = zero;
                return;
            }
        } else if let (true, false, Some(width)) = (self.flags.zero, self.flags.minus, self.flags.width) {
            wanted = width.saturating_sub(usize::from(negative || self.flags.plus || self.flags.space));
        }
        if !self.room(wanted) {
            return;
        }
        let table: &[u8; 16] = if verb == 'X' { b"0123456789ABCDEF" } else { b"0123456789abcdef" };
        // From the right to the left, turned round at the end.
        let mut text = Vec::with_capacity(wanted.max(24));
        loop {
            text.push(table[(left % base) as usize & 15]);
            left /= base;
            if left == 0 {
                break;
            }
        }
        if text.len() < wanted {
            text.resize(wanted, b'0');
        }
        if self.flags.sharp {
            match base {
                2 => text.extend_from_slice(b"b0"),
                8 if text.last() != Some(&b'0') => text.push(b'0'),
                16 => text.extend_from_slice(if verb == 'X' { b"X0" } else { b"x0" }),
                _ => {}
            }
        }
        if verb == 'O' {
            text.extend_from_slice(b"o0");
        }
        if negative {
            text.push(b'-');
        } else if self.flags.plus {
            text.push(b'+');
        } else if self.flags.space {
            text.push(b' ');
        }
        text.reverse();
        self.pad_blank(&text);
    }

    pub(super) fn unicode(&mut self, n: u64) {
        let digits = self.flags.precision.unwrap_or(4).max(4);
        if !self.room(digits) {
            return;
        }
        let hex = format!("{n:X}");
        let mut text = Vec::with_capacity(digits + 12);
        text.extend_from_slice(b"U+");
        text.resize(2 + digits.saturating_sub(hex.len()), b'0');
        text.extend_from_slice(hex.as_bytes());
        if self.flags.sharp
            && let Some(char) = u32::try_from(n).ok().and_then(char::from_u32).filter(|c| num::is_print(*c))
        {
            text.extend_from_slice(format!(" '{char}'").as_bytes());
        }
        self.pad_blank(&text);
    }

    pub(super) fn float(&mut self, value: &Value, x: f64, verb: char) {
        let (letter, precision) = match verb {
            'v' => (b'g', -1),
            'b' | 'g' | 'G' | 'x' | 'X' => (verb as u8, -1),
            'f' | 'e' | 'E' => (verb as u8, 6),
            'F' => (b'f', 6),
            _ => return self.bad_verb(value, verb),
        };
        self.number(x, letter, precision);
    }

    pub(super) fn complex(&mut self, value: &Value, complex: &Complex, verb: char) {
        if !matches!(verb, 'v' | 'b' | 'g' | 'G' | 'x' | 'X' | 'f' | 'F' | 'e' | 'E') {
            return self.bad_verb(value, verb);
        }
        let plus = self.flags.plus;
        self.raw(b"(");
        self.float(value, complex.re, verb);
        self.flags.plus = true;
        self.float(value, complex.im, verb);
        self.flags.plus = plus;
        self.raw(b"i)");
    }

    fn number(&mut self, x: f64, letter: u8, precision: i32) {
        let precision = self.flags.precision.map_or(precision, |p| p as i32);
        if !self.room(precision.max(0) as usize) {
            return;
        }
        let mut text = vec![b'+'];
        num::format_float(&mut text, x, letter, precision);
        if matches!(text.get(1), Some(b'-' | b'+')) {
            text.remove(0);
        }
        if let (true, false, Some(sign @ b'+')) = (self.flags.space, self.flags.plus, text.first_mut()) {
            *sign = b' ';
        }
        if !x.is_finite() {
            if x.is_nan() && !self.flags.space && !self.flags.plus {
                text.remove(0);
            }
            return self.pad_blank(&text);
        }
        if self.flags.sharp && letter != b'b' {
            text = with_point(&text, letter, precision);
        }
        if self.flags.plus || text.first() != Some(&b'+') {
            let width = self.flags.width.unwrap_or(0);
            if self.flags.zero && !self.flags.minus && width > text.len() {
                self.raw(text.get(..1).unwrap_or(&[]));
                self.fill(width - text.len());
                self.raw(text.get(1..).unwrap_or(&[]));
            } else {
                self.pad(&text);
            }
        } else {
            self.pad(text.get(1..).unwrap_or(&[]));
        }
    }
}

/// What `#` does to a float: always a point, and trailing zeros for `%g`.
fn with_point(text: &[u8], letter: u8, precision: i32) -> Vec<u8> {
    let mut digits = match letter {
        b'g' | b'G' | b'x' if precision == -1 => 6,
        b'g' | b'G' | b'x' => precision,
        _ => 0,
    };
    let hex = matches!(letter, b'x' | b'X');
    let is_tail = |b: &u8| matches!(b, b'p' | b'P') || (!hex && matches!(b, b'e' | b'E'));
    let at = text.iter().position(is_tail).unwrap_or(text.len());
    let (number, tail) = text.split_at(at);
    let (mut point, mut nonzero) = (false, false);
    for byte in number.iter().skip(1) {
        if *byte == b'.' {
            point = true;
        } else {
            nonzero |= *byte != b'0';
            digits -= i32::from(nonzero);
        }
    }
    let mut out = number.to_vec();
    if !point {
        if number.len() == 2 && number.get(1) == Some(&b'0') {
            digits -= 1;
        }
        out.push(b'.');
    }
    out.extend(std::iter::repeat_n(b'0', digits.max(0) as usize));
    out.extend_from_slice(tail);
    out
}
