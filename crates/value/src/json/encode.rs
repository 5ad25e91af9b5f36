//! Encoding the way Go's `encoding/json` does.

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{CallError, IntKind, Value, gofmt, limits::Meter, num, time};

/// How JSON is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style<'a> {
    /// Whether `<`, `>` and `&` are written as `\u003c` and so on, as Go does by default.
    pub escape_html: bool,
    /// What each level is indented by; `None` for one line without blanks.
    pub indent: Option<&'a str>,
}

impl Style<'_> {
    /// Go's `json.Marshal`.
    pub const COMPACT: Style<'static> = Style { escape_html: true, indent: None };
    /// Go's `json.MarshalIndent` with two blanks.
    pub const PRETTY: Style<'static> = Style { escape_html: true, indent: Some("  ") };
    /// Go's encoder with `SetEscapeHTML(false)`.
    pub const RAW: Style<'static> = Style { escape_html: false, indent: None };
}

/// Encodes a value. Fails for what Go cannot encode: infinite numbers, functions.
pub fn encode(value: &Value, style: Style<'_>, meter: &mut Meter) -> Result<Vec<u8>, CallError> {
    let mut writer = Writer { out: Vec::new(), counted: 0, style, level: 0, meter };
    writer.value(value)?;
    writer.count()?;
    Ok(writer.out)
}

struct Writer<'a> {
    out: Vec<u8>,
    /// How much of the output the meter knows about.
    counted: usize,
    style: Style<'a>,
    level: usize,
    meter: &'a mut Meter,
}

impl Writer<'_> {
    fn count(&mut self) -> Result<(), CallError> {
        let new = self.out.len() - self.counted;
        self.counted = self.out.len();
        self.meter.grow(new as u64)
    }

    fn value(&mut self, value: &Value) -> Result<(), CallError> {
        self.meter.step(1)?;
        match value {
            Value::Nil => self.out.extend_from_slice(b"null"),
            Value::Bool(b) => self.out.extend_from_slice(if *b { b"true" } else { b"false" }),
            Value::Int(n, IntKind::Uint | IntKind::Uint64) => self.display(*n as u64),
            Value::Int(n, _) | Value::Duration(n) => self.display(*n),
            Value::Float(x) => self.float(*x)?,
            Value::Str(text) => self.string(text.as_bytes()),
            Value::Bytes(bytes) => {
                self.meter.grow(bytes.len() as u64)?;
                self.out.push(b'"');
                self.out.extend_from_slice(STANDARD.encode(bytes).as_bytes());
                self.out.push(b'"');
            }
            Value::List(list) => {
                self.container(b"[]", list.items(), |this, item| this.value(item))?;
            }
            Value::Map(map) => {
                self.container(b"{}", map.entries(), |this, (key, item)| {
                    this.string(key.as_bytes());
                    this.colon();
                    this.value(item)
                })?;
            }
            Value::AnyMap(_) => {
                return Err(CallError::new(format!("json: unsupported type: {}", value.go_type())));
            }
            Value::Time(at) => {
                let text = time::format(at, time::RFC3339_NANO);
                self.string(text.as_bytes());
            }
            Value::Object(object) => match object.call("MarshalJSON", &[]) {
                Some(text) => match text? {
                    Value::Bytes(bytes) => self.out.extend_from_slice(&bytes),
                    other => self.value(&other)?,
                },
                None => self.string(object.print().as_bytes()),
            },
            Value::Func(_) => {
                return Err(CallError::new(format!("json: unsupported type: {}", value.go_type())));
            }
        }
        self.count()
    }

    fn display(&mut self, number: impl std::fmt::Display) {
        self.out.extend_from_slice(number.to_string().as_bytes());
    }

    fn float(&mut self, x: f64) -> Result<(), CallError> {
        if !x.is_finite() {
            return Err(CallError::new(format!(
                "json: unsupported value: {}",
                gofmt::to_text(&Value::Float(x))
            )));
        }
        let size = x.abs();
        let exponent = size != 0.0 && !(1e-6..1e21).contains(&size);
        let start = self.out.len();
        num::format_float(&mut self.out, x, if exponent { b'e' } else { b'f' }, -1);
        // Go's JSON drops the zero of a two-digit negative exponent: 1e-7.
        if exponent && self.out.len() > start + 3 {
            let zero = self.out.len() - 2;
            if self.out[zero - 2..=zero] == *b"e-0" {
                self.out.remove(zero);
            }
        }
        Ok(())
    }

    fn colon(&mut self) {
        self.out.push(b':');
        if self.style.indent.is_some() {
            self.out.push(b' ');
        }
    }

    fn container<T>(
        &mut self,
        brackets: &[u8; 2],
        items: &[T],
        mut write: impl FnMut(&mut Self, &T) -> Result<(), CallError>,
    ) -> Result<(), CallError> {
        self.out.push(brackets[0]);
        if !items.is_empty() {
            self.level += 1;
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    self.out.push(b',');
                }
                self.line();
                write(self, item)?;
            }
            self.level -= 1;
            self.line();
        }
        self.out.push(brackets[1]);
        Ok(())
    }

    fn line(&mut self) {
        if let Some(indent) = self.style.indent {
            self.out.push(b'\n');
            for _ in 0..self.level {
                self.out.extend_from_slice(indent.as_bytes());
            }
        }
    }

    fn string(&mut self, bytes: &[u8]) {
        self.out.push(b'"');
        for chunk in bytes.utf8_chunks() {
            for c in chunk.valid().chars() {
                self.character(c);
            }
            // Go writes one replacement for each byte that is not UTF-8.
            for _ in chunk.invalid() {
                self.out.extend_from_slice(b"\\ufffd");
            }
        }
        self.out.push(b'"');
    }

    fn character(&mut self, c: char) {
        let short = match c {
            '"' => b'"',
            '\\' => b'\\',
            '\n' => b'n',
            '\r' => b'r',
            '\t' => b't',
            '\u{8}' => b'b',
            '\u{c}' => b'f',
            '\0'..='\u{1f}' | '\u{2028}' | '\u{2029}' => {
                return self.display(format_args!("\\u{:04x}", u32::from(c)));
            }
            '<' | '>' | '&' if self.style.escape_html => {
                return self.display(format_args!("\\u{:04x}", u32::from(c)));
            }
            _ => {
                let mut buffer = [0; 4];
                return self.out.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
            }
        };
        self.out.extend_from_slice(&[b'\\', short]);
    }
}
