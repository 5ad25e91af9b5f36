//! Numbers and quoted text, like Go's `strconv`.

/// Why a text is no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NumError {
    /// Not a number at all.
    #[error("invalid syntax")]
    Syntax,
    /// A number that does not fit.
    #[error("value out of range")]
    Range,
}

/// Appends a float like `strconv.FormatFloat`: format `e`, `E`, `f`, `g`, `G`, `b`, `x` or `X`; precision -1 is the
/// shortest text that reads back as the same number.
pub fn format_float(out: &mut Vec<u8>, value: f64, format: u8, precision: i32) {
    let _ = (out, value, format, precision);
}

/// Reads a signed integer like `strconv.ParseInt`. Base 0 goes by the prefix and allows underscores.
pub fn parse_int(text: &str, base: u32, bits: u32) -> Result<i64, NumError> {
    let _ = (text, base, bits);
    Err(NumError::Syntax)
}

/// Reads an unsigned integer like `strconv.ParseUint`.
pub fn parse_uint(text: &str, base: u32, bits: u32) -> Result<u64, NumError> {
    let _ = (text, base, bits);
    Err(NumError::Syntax)
}

/// Reads a float like `strconv.ParseFloat`.
pub fn parse_float(text: &str) -> Result<f64, NumError> {
    let _ = text;
    Err(NumError::Syntax)
}

/// Text as a Go string literal, like `strconv.Quote`.
pub fn quote(text: &[u8]) -> String {
    let _ = text;
    String::new()
}

/// The text of a Go string literal, like `strconv.Unquote`.
pub fn unquote(literal: &str) -> Option<Vec<u8>> {
    let _ = literal;
    None
}
