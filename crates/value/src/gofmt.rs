//! Printing like Go's `fmt` package.

use crate::Value;

/// Appends what `%v` prints.
pub fn print(out: &mut Vec<u8>, value: &Value) {
    let _ = (out, value);
}

/// What `%v` prints, as text; bytes that are not UTF-8 become U+FFFD.
pub fn to_text(value: &Value) -> String {
    let mut out = Vec::new();
    print(&mut out, value);
    String::from_utf8(out).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}
