//! Values under a verb and its flags.

use crate::{Elem, IntKind, Value, num, num::Complex, time};

/// The flags of one directive.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flags {
    pub(super) sharp: bool,
    pub(super) zero: bool,
    pub(super) plus: bool,
    pub(super) minus: bool,
    pub(super) space: bool,
    pub(super) plus_v: bool,
    pub(super) sharp_v: bool,
    pub(super) width: Option<usize>,
    pub(super) precision: Option<usize>,
}

/// Prints into a buffer, up to a limit.
pub(super) struct Printer<'o> {
    pub(super) out: &'o mut Vec<u8>,
    limit: usize,
    over: bool,
    /// The flags in force.
    pub(super) flags: Flags,
    /// Inside an error marker texts of methods are not used.
    erroring: bool,
}

/// Stands for an address; Go prints a different one in every run.
pub(super) const ADDRESS: u64 = 0xc0_0000_0000;

impl<'o> Printer<'o> {
    pub(super) fn new(out: &'o mut Vec<u8>, limit: usize) -> Self {
        Printer { out, limit, over: false, flags: Flags::default(), erroring: false }
    }

    /// Whether everything was printed.
    pub(super) fn complete(&self) -> bool {
        !self.over
    }

    /// Whether the limit is not reached yet.
    pub(super) fn going(&self) -> bool {
        !self.over
    }

    pub(super) fn room(&mut self, bytes: usize) -> bool {
        if self.over || self.out.len().saturating_add(bytes) > self.limit {
            self.over = true;
        }
        !self.over
    }

    /// Appends bytes as they are.
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        if self.room(bytes.len()) {
            self.out.extend_from_slice(bytes);
        }
    }

    pub(super) fn fill(&mut self, count: usize) {
        if self.room(count) {
            let byte = if self.flags.zero && !self.flags.minus { b'0' } else { b' ' };
            self.out.resize(self.out.len() + count, byte);
        }
    }

    /// Appends text, padded to the width.
    pub(super) fn pad(&mut self, text: &[u8]) {
        let missing = match self.flags.width {
            None | Some(0) => 0,
            Some(width) => width.saturating_sub(char_count(text)),
        };
        if !self.flags.minus && missing > 0 {
            self.fill(missing);
        }
        self.raw(text);
        if self.flags.minus && missing > 0 {
            self.fill(missing);
        }
    }

    pub(super) fn pad_blank(&mut self, text: &[u8]) {
        let zero = std::mem::take(&mut self.flags.zero);
        self.pad(text);
        self.flags.zero = zero;
    }

    /// `%!verb` and what comes after it.
    pub(super) fn marker(&mut self, verb: char, rest: &str) {
        self.raw(b"%!");
        self.raw(verb.encode_utf8(&mut [0; 4]).as_bytes());
        self.raw(rest.as_bytes());
    }

    pub(super) fn bad_verb(&mut self, value: &Value, verb: char) {
        self.marker(verb, "(");
        if value.is_nil() {
            self.raw(b"<nil>");
        } else {
            self.raw(value.go_type().as_bytes());
            self.raw(b"=");
            let outer = std::mem::replace(&mut self.erroring, true);
            self.value(value, 'v');
            self.erroring = outer;
        }
        self.raw(b")");
    }

    /// An operand.
    pub(super) fn arg(&mut self, value: &Value, verb: char) {
        match (value, verb) {
            (Value::Nil, 'T' | 'v') => self.pad(b"<nil>"),
            (_, 'T') => {
                let name = value.go_type();
                self.text(name.as_bytes());
            }
            _ => self.value(value, verb),
        }
    }

    pub(super) fn value(&mut self, value: &Value, verb: char) {
        if !self.going() {
            return;
        }
        if verb == 'w' {
            return self.bad_verb(value, verb);
        }
        if verb == 'p' && !is_pointer(value) {
            return self.bad_verb(value, verb);
        }
        match value {
            Value::Nil => self.bad_verb(value, verb),
            Value::Bool(b) => match verb {
                't' | 'v' => self.pad(if *b { b"true" } else { b"false" }),
                _ => self.bad_verb(value, verb),
            },
            Value::Int(n, kind @ (IntKind::Month | IntKind::Weekday)) if self.stringable(verb) => {
                let name =
                    if *kind == IntKind::Month { time::month_name(*n) } else { time::weekday_name(*n) };
                self.string(value, name.as_bytes(), verb);
            }
            Value::Int(n, kind) => self.integer(value, *n as u64, !kind.is_unsigned(), verb),
            Value::Duration(ns) if self.stringable(verb) => {
                let text = time::duration_text(*ns);
                self.string(value, text.as_bytes(), verb);
            }
            Value::Duration(ns) => self.integer(value, *ns as u64, true, verb),
            Value::Float(x) => self.float(value, *x, verb),
            Value::Str(text) => self.string(value, text.as_bytes(), verb),
            Value::Bytes(bytes) => self.bytes(value, bytes, verb),
            Value::List(list) => self.list(list.elem(), list.items(), verb),
            Value::Map(map) => {
                self.open_map(value);
                for (i, (key, item)) in map.entries().iter().enumerate() {
                    if !self.going() {
                        return;
                    }
                    self.separator(i);
                    // The key has no Value of its own, but prints like a string.
                    self.key(key.as_bytes(), verb);
                    self.raw(b":");
                    self.element(item, map.elem(), verb);
                }
                self.raw(if self.flags.sharp_v { b"}" } else { b"]" });
            }
            Value::AnyMap(map) => {
                self.open_map(value);
                for (i, (key, item)) in super::sorted_entries(map).into_iter().enumerate() {
                    if !self.going() {
                        return;
                    }
                    self.separator(i);
                    self.element(key, Elem::Any, verb);
                    self.raw(b":");
                    self.element(item, map.elem(), verb);
                }
                self.raw(if self.flags.sharp_v { b"}" } else { b"]" });
            }
            Value::Time(time) if self.flags.sharp_v => self.raw(super::times::time_source(time).as_bytes()),
            Value::Time(time) if self.stringable(verb) => {
                self.string(value, time.to_string().as_bytes(), verb)
            }
            Value::Time(_) if verb == 'p' => self.bad_verb(value, verb),
            Value::Time(time) => self.time_fields(time, verb),
            Value::Func(_) => match verb {
                'v' | 'p' if !self.flags.sharp_v => self.raw(b"0xc000000000"),
                'v' => {
                    self.raw(format!("({})(0x{ADDRESS:x})", value.go_type()).as_bytes());
                }
                'b' | 'o' | 'd' | 'x' | 'X' => self.integer(value, ADDRESS, false, verb),
                _ => self.bad_verb(value, verb),
            },
            Value::Object(object) => match object.as_any().downcast_ref::<Complex>() {
                Some(complex) => self.complex(value, complex, verb),
                None if matches!(verb, 'v' | 's' | 'q' | 'x' | 'X') => {
                    let text = object.print();
                    self.string(value, text.as_bytes(), verb);
                }
                None => match object.fields() {
                    Some(fields) if verb != 'p' => {
                        self.raw(b"&{");
                        for (i, field) in fields.iter().enumerate() {
                            self.separator(i);
                            self.value(field, verb);
                        }
                        self.raw(b"}");
                    }
                    _ => self.bad_verb(value, verb),
                },
            },
        }
    }

    /// Whether Go would use a `String` method.
    fn stringable(&self, verb: char) -> bool {
        !self.erroring && !self.flags.sharp_v && matches!(verb, 'v' | 's' | 'x' | 'X' | 'q')
    }

    fn separator(&mut self, index: usize) {
        if index > 0 {
            self.raw(if self.flags.sharp_v { b", " } else { b" " });
        }
    }

    fn open_map(&mut self, value: &Value) {
        if self.flags.sharp_v {
            self.raw(value.go_type().as_bytes());
            self.raw(b"{");
        } else {
            self.raw(b"map[");
        }
    }

    fn list(&mut self, elem: Elem, items: &[Value], verb: char) {
        if self.flags.sharp_v {
            self.raw(format!("[]{}", elem.go_name()).as_bytes());
            self.raw(b"{");
        } else {
            self.raw(b"[");
        }
        for (i, item) in items.iter().enumerate() {
            if !self.going() {
                return;
            }
            self.separator(i);
            self.element(item, elem, verb);
        }
        self.raw(if self.flags.sharp_v { b"}" } else { b"]" });
    }

    /// Something inside a list or map.
    fn element(&mut self, value: &Value, elem: Elem, verb: char) {
        if !value.is_nil() {
            return self.value(value, verb);
        }
        match elem {
            Elem::Map | Elem::List | Elem::StrList | Elem::Bytes if self.flags.sharp_v => {
                self.raw(elem.go_name().as_bytes());
                self.raw(b"(nil)");
            }
            Elem::Map => self.raw(b"map[]"),
            Elem::List | Elem::StrList => self.raw(b"[]"),
            Elem::Bytes => self.bytes(&Value::bytes(b""), b"", verb),
            _ if self.flags.sharp_v => self.raw(b"interface {}(nil)"),
            _ => self.raw(b"<nil>"),
        }
    }

    fn text(&mut self, text: &[u8]) {
        let text = truncated(text, self.flags.precision);
        self.pad(text);
    }

    fn key(&mut self, text: &[u8], verb: char) {
        if !self.string_verb(text, verb) {
            self.bad_verb(&Value::str(text), verb);
        }
    }

    fn string(&mut self, value: &Value, text: &[u8], verb: char) {
        if !self.string_verb(text, verb) {
            self.bad_verb(value, verb);
        }
    }

    fn string_verb(&mut self, text: &[u8], verb: char) -> bool {
        match verb {
            'v' if self.flags.sharp_v => self.quoted(text),
            'v' | 's' => self.text(text),
            'x' | 'X' => self.hex(text, verb == 'X'),
            'q' => self.quoted(text),
            _ => return false,
        }
        true
    }

    fn quoted(&mut self, text: &[u8]) {
        let text = truncated(text, self.flags.precision);
        if !self.room(text.len()) {
            return;
        }
        if self.flags.sharp && can_backquote(text) {
            let mut quoted = Vec::with_capacity(text.len() + 2);
            quoted.push(b'`');
            quoted.extend_from_slice(text);
            quoted.push(b'`');
            self.pad(&quoted);
        } else if self.flags.plus {
            self.pad(num::quote_ascii(text).as_bytes());
        } else {
            self.pad(num::quote(text).as_bytes());
        }
    }

    fn hex(&mut self, text: &[u8], upper: bool) {
        let text = text.get(..self.flags.precision.unwrap_or(usize::MAX).min(text.len())).unwrap_or(text);
        let mut length = text.len() * 2;
        if text.is_empty() {
            if let Some(width) = self.flags.width {
                self.fill(width);
            }
            return;
        }
        if self.flags.space {
            length = length * if self.flags.sharp { 2 } else { 1 } + text.len() - 1;
        } else if self.flags.sharp {
            length += 2;
        }
        let missing = self.flags.width.unwrap_or(0).saturating_sub(length);
        if !self.flags.minus {
            self.fill(missing);
        }
        if self.room(length) {
            let digits: &[u8; 16] = if upper { b"0123456789ABCDEF" } else { b"0123456789abcdef" };
            let prefix = [b'0', if upper { b'X' } else { b'x' }];
            for (i, byte) in text.iter().enumerate() {
                if self.flags.space && i > 0 {
                    self.out.push(b' ');
                }
                if self.flags.sharp && (i == 0 || self.flags.space) {
                    self.out.extend_from_slice(&prefix);
                }
                self.out.extend_from_slice(&[digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]);
            }
        }
        if self.flags.minus {
            self.fill(missing);
        }
    }

    fn bytes(&mut self, value: &Value, bytes: &[u8], verb: char) {
        match verb {
            'v' | 'd' => {
                self.raw(if self.flags.sharp_v { b"[]byte{" } else { b"[" });
                for (i, byte) in bytes.iter().enumerate() {
                    if !self.going() {
                        return;
                    }
                    self.separator(i);
                    if self.flags.sharp_v {
                        self.raw(format!("0x{byte:x}").as_bytes());
                    } else {
                        self.integer(value, u64::from(*byte), false, 'd');
                    }
                }
                self.raw(if self.flags.sharp_v { b"}" } else { b"]" });
            }
            's' => self.text(bytes),
            'x' | 'X' => self.hex(bytes, verb == 'X'),
            'q' => self.quoted(bytes),
            'p' => self.raw(b"0xc000000000"),
            _ => {
                self.raw(b"[");
                for (i, byte) in bytes.iter().enumerate() {
                    if !self.going() {
                        return;
                    }
                    self.separator(i);
                    self.value(&Value::Int(i64::from(*byte), IntKind::Uint8), verb);
                }
                self.raw(b"]");
            }
        }
    }

    pub(super) fn integer(&mut self, value: &Value, n: u64, signed: bool, verb: char) {
        match verb {
            'v' if self.flags.sharp_v && !signed => {
                let sharp = std::mem::replace(&mut self.flags.sharp, true);
                self.digits(n, 16, signed, 'v');
                self.flags.sharp = sharp;
            }
            'v' | 'd' => self.digits(n, 10, signed, verb),
            'b' => self.digits(n, 2, signed, verb),
            'o' | 'O' => self.digits(n, 8, signed, verb),
            'x' | 'X' => self.digits(n, 16, signed, verb),
            'c' => {
                let char =
                    u32::try_from(n).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER);
                self.pad(char.encode_utf8(&mut [0; 4]).as_bytes());
            }
            'q' => {
                let code = i64::try_from(n).unwrap_or(-1);
                self.pad(num::quote_char(code, self.flags.plus).as_bytes());
            }
            'U' => self.unicode(n),
            'p' => self.raw(b"0xc000000000"),
            _ => self.bad_verb(value, verb),
        }
    }
}

fn is_pointer(value: &Value) -> bool {
    match value {
        Value::Bytes(_) | Value::List(_) | Value::Map(_) | Value::AnyMap(_) | Value::Func(_) => true,
        Value::Object(object) => object.go_type().starts_with('*'),
        _ => false,
    }
}

fn can_backquote(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| {
        text.chars().all(|c| c != '\u{feff}' && c != '`' && c != '\x7f' && (c >= ' ' || c == '\t'))
    })
}

/// Go counts each byte that is not UTF-8 as one character.
fn char_count(text: &[u8]) -> usize {
    if text.is_ascii() {
        return text.len();
    }
    text.utf8_chunks().map(|chunk| chunk.valid().chars().count() + chunk.invalid().len()).sum()
}

fn truncated(text: &[u8], precision: Option<usize>) -> &[u8] {
    let Some(mut left) = precision else { return text };
    let mut end = 0;
    for chunk in text.utf8_chunks() {
        for size in chunk.valid().chars().map(char::len_utf8).chain(chunk.invalid().iter().map(|_| 1)) {
            if left == 0 {
                return text.get(..end).unwrap_or(text);
            }
            left -= 1;
            end += size;
        }
    }
    text
}
