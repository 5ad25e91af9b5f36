//! Go's `time.Duration`: nanoseconds in an `i64`.

use crate::CallError;

const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;

/// What Go's `Duration.String` gives, such as `1h15m30.918s`.
pub fn duration_text(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let total = nanos.unsigned_abs();
    if total == 0 {
        return "0s".into();
    }
    if total < SECOND {
        let (unit, name) = match total {
            n if n < MICROSECOND => (1, "ns"),
            n if n < MILLISECOND => (MICROSECOND, "µs"),
            _ => (MILLISECOND, "ms"),
        };
        return format!("{sign}{}{}{name}", total / unit, fraction(total % unit, unit));
    }
    let seconds = total / SECOND;
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let last = format!("{}{}s", seconds % 60, fraction(total % SECOND, SECOND));
    match (hours, minutes) {
        (0, 0) => format!("{sign}{last}"),
        (0, _) => format!("{sign}{minutes}m{last}"),
        _ => format!("{sign}{hours}h{minutes}m{last}"),
    }
}

fn fraction(rest: u64, unit: u64) -> String {
    if rest == 0 {
        return String::new();
    }
    let digits = unit.ilog10() as usize;
    format!(".{}", format!("{rest:0digits$}").trim_end_matches('0'))
}

/// Go's `time.ParseDuration`.
pub fn parse_duration(text: &str) -> Result<i64, CallError> {
    let invalid = || CallError::new(format!("time: invalid duration {text:?}"));
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let limit = 1u64 << 63;
    let mut total = 0u64;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        rest = after;
        let mut part = "";
        if let Some(after) = rest.strip_prefix('.') {
            (part, rest) = digits(after);
        }
        if whole.is_empty() && part.is_empty() {
            return Err(invalid());
        }
        let end = rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len());
        let (unit, after) = rest.split_at(end);
        rest = after;
        if unit.is_empty() {
            return Err(CallError::new(format!("time: missing unit in duration {text:?}")));
        }
        let size = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => MICROSECOND,
            "ms" => MILLISECOND,
            "s" => SECOND,
            "m" => 60 * SECOND,
            "h" => 3600 * SECOND,
            _ => return Err(CallError::new(format!("time: unknown unit {unit:?} in duration {text:?}"))),
        };
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
        let amount = whole.checked_mul(size).filter(|n| *n <= limit).ok_or_else(invalid)?;
        let amount = amount + part_of(part, size);
        total = total.checked_add(amount).filter(|n| *n <= limit).ok_or_else(invalid)?;
    }
    if negative {
        return Ok((total as i64).wrapping_neg());
    }
    i64::try_from(total).map_err(|_| invalid())
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// The part of a unit that decimal digits after the point stand for, in the floating point arithmetic that
/// Go uses for it.
fn part_of(decimals: &str, size: u64) -> u64 {
    let (mut value, mut scale) = (0u64, 1f64);
    for digit in decimals.bytes() {
        let next = value.checked_mul(10).and_then(|v| v.checked_add(u64::from(digit - b'0')));
        match next.filter(|n| *n < 1 << 63) {
            Some(next) => (value, scale) = (next, scale * 10.0),
            None => break,
        }
    }
    (value as f64 * (size as f64 / scale)) as u64
}

/// Go's `Duration.Truncate`.
pub fn truncate(nanos: i64, unit: i64) -> i64 {
    if unit <= 0 { nanos } else { nanos - nanos % unit }
}

/// Go's `Duration.Round`: halves go away from zero, and the result saturates.
pub fn round(nanos: i64, unit: i64) -> i64 {
    if unit <= 0 {
        return nanos;
    }
    let rest = (nanos % unit).abs();
    let down = truncate(nanos, unit);
    if rest < unit - rest {
        return down;
    }
    if nanos < 0 { down.saturating_sub(unit) } else { down.saturating_add(unit) }
}
