//! The format language: flags, widths, precisions and argument numbers.

use crate::{
    Value,
    gofmt::printer::{Flags, Printer},
};

/// Go's own bound on widths, precisions and argument numbers.
const TOO_LARGE: i64 = 1_000_000;

struct Args<'a> {
    args: &'a [Value],
    next: usize,
    reordered: bool,
    good: bool,
    after_index: bool,
}

/// Digits at the start of a text, and what follows; a number that is too large counts as absent.
fn number(text: &[u8]) -> (Option<usize>, &[u8]) {
    let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
    let mut value: i64 = 0;
    for byte in text.iter().take(digits) {
        value = value * 10 + i64::from(byte - b'0');
        if value > TOO_LARGE {
            // Go gives up at this digit and reads on from the end of the format.
            return (None, &[]);
        }
    }
    let rest = text.get(digits..).unwrap_or(&[]);
    (if digits == 0 { None } else { usize::try_from(value).ok() }, rest)
}

impl Args<'_> {
    /// Reads `[n]`.
    fn index<'f>(&mut self, text: &'f [u8]) -> &'f [u8] {
        self.after_index = false;
        if text.first() != Some(&b'[') {
            return text;
        }
        self.reordered = true;
        let close = if text.len() < 3 { None } else { text.iter().position(|b| *b == b']') };
        let Some(close) = close else {
            self.good = false;
            return text.get(1..).unwrap_or(&[]);
        };
        let rest = text.get(close + 1..).unwrap_or(&[]);
        let inner = text.get(1..close).unwrap_or(&[]);
        match number(inner) {
            (Some(n), []) if !inner.is_empty() => {
                self.after_index = true;
                match n.checked_sub(1) {
                    Some(n) if n < self.args.len() => self.next = n,
                    _ => self.good = false,
                }
            }
            _ => self.good = false,
        }
        rest
    }

    /// The argument of a `*`.
    fn star(&mut self) -> Option<i64> {
        let arg = self.args.get(self.next)?;
        self.next += 1;
        match arg {
            Value::Int(n, kind) if !(kind.is_unsigned() && *n < 0) => Some(*n),
            Value::Duration(n) => Some(*n),
            _ => None,
        }
        .filter(|n| (-TOO_LARGE..=TOO_LARGE).contains(n))
    }
}

/// Prints a whole format.
pub(super) fn run(printer: &mut Printer<'_>, format: &[u8], args: &[Value]) {
    let mut state = Args { args, next: 0, reordered: false, good: true, after_index: false };
    let mut rest = format;
    while !rest.is_empty() && printer.going() {
        let literal = rest.iter().position(|b| *b == b'%').unwrap_or(rest.len());
        printer.raw(rest.get(..literal).unwrap_or(&[]));
        rest = rest.get(literal..).unwrap_or(&[]);
        if let Some(tail) = rest.strip_prefix(b"%") {
            rest = directive(printer, tail, &mut state);
        }
    }
    if !state.reordered && state.next < args.len() && printer.going() {
        printer.flags = Flags::default();
        printer.raw(b"%!(EXTRA ");
        for (i, arg) in args.iter().skip(state.next).enumerate() {
            if i > 0 {
                printer.raw(b", ");
            }
            if arg.is_nil() {
                printer.raw(b"<nil>");
            } else {
                printer.raw(arg.go_type().as_bytes());
                printer.raw(b"=");
                printer.arg(arg, 'v');
            }
        }
        printer.raw(b")");
    }
}

/// One directive after its percent sign; gives what follows it.
fn directive<'f>(printer: &mut Printer<'_>, text: &'f [u8], args: &mut Args<'_>) -> &'f [u8] {
    printer.flags = Flags::default();
    args.good = true;
    args.after_index = false;
    let mut rest = text;
    while let Some((byte, tail)) = rest.split_first() {
        let flags = &mut printer.flags;
        match byte {
            b'#' => flags.sharp = true,
            b'0' => flags.zero = true,
            b'+' => flags.plus = true,
            b'-' => flags.minus = true,
            b' ' => flags.space = true,
            _ => break,
        }
        rest = tail;
    }
    rest = args.index(rest);
    if let Some(tail) = rest.strip_prefix(b"*") {
        rest = tail;
        match args.star() {
            Some(width) => {
                printer.flags.width = Some(width.unsigned_abs() as usize);
                if width < 0 {
                    printer.flags.minus = true;
                    printer.flags.zero = false;
                }
            }
            None => printer.raw(b"%!(BADWIDTH)"),
        }
        args.after_index = false;
    } else {
        let (width, tail) = number(rest);
        printer.flags.width = width;
        rest = tail;
        if args.after_index && width.is_some() {
            args.good = false;
        }
    }
    if let (Some(b'.'), true) = (rest.first(), rest.len() > 1) {
        rest = rest.get(1..).unwrap_or(&[]);
        if args.after_index {
            args.good = false;
        }
        rest = args.index(rest);
        if let Some(tail) = rest.strip_prefix(b"*") {
            rest = tail;
            match args.star() {
                Some(precision) if precision >= 0 => printer.flags.precision = Some(precision as usize),
                _ => printer.raw(b"%!(BADPREC)"),
            }
            args.after_index = false;
        } else {
            let (precision, tail) = number(rest);
            printer.flags.precision = Some(precision.unwrap_or(0));
            rest = tail;
        }
    }
    if !args.after_index {
        rest = args.index(rest);
    }
    let Some((verb, size)) = decode(rest) else {
        printer.raw(b"%!(NOVERB)");
        return &[];
    };
    let rest = rest.get(size..).unwrap_or(&[]);
    if verb == '%' {
        printer.raw(b"%");
    } else if !args.good {
        printer.marker(verb, "(BADINDEX)");
    } else if let Some(arg) = args.args.get(args.next) {
        args.next += 1;
        if matches!(verb, 'v' | 'w') {
            printer.flags.sharp_v = std::mem::take(&mut printer.flags.sharp);
            printer.flags.plus_v = std::mem::take(&mut printer.flags.plus);
        }
        printer.arg(arg, verb);
    } else {
        printer.marker(verb, "(MISSING)");
    }
    rest
}

/// The first character of a text and its length in bytes.
fn decode(text: &[u8]) -> Option<(char, usize)> {
    let chunk = text.get(..text.len().min(4))?.utf8_chunks().next()?;
    match chunk.valid().chars().next() {
        Some(char) => Some((char, char.len_utf8())),
        None => Some((char::REPLACEMENT_CHARACTER, 1)),
    }
}
