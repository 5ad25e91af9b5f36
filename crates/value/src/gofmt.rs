//! Printing like Go's `fmt` package.

use crate::Value;

/// Appends what `%v` prints.
pub fn print(out: &mut Vec<u8>, value: &Value) {
    sprintf(out, b"%v", std::slice::from_ref(value));
}

/// What `%v` prints, as text; bytes that are not UTF-8 become U+FFFD.
pub fn to_text(value: &Value) -> String {
    let mut out = Vec::new();
    print(&mut out, value);
    String::from_utf8(out).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

/// Appends what `fmt.Sprint` gives: blanks only between operands that are both no strings.
pub fn sprint(out: &mut Vec<u8>, args: &[Value]) {
    let _ = (out, args);
}

/// Appends what `fmt.Sprintln` gives: blanks between all operands, and a line feed.
pub fn sprintln(out: &mut Vec<u8>, args: &[Value]) {
    let _ = (out, args);
}

/// Appends what `fmt.Sprintf` gives, error markers included.
pub fn sprintf(out: &mut Vec<u8>, format: &[u8], args: &[Value]) {
    let _ = (out, format, args);
}
