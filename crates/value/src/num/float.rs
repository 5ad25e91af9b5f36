//! Floats as text, and back.

use super::{NumError, underscores_ok};

/// Appends a float like `strconv.FormatFloat`: format `e`, `E`, `f`, `g`, `G`, `b`, `x` or `X`; precision -1 is the
/// shortest text that reads back as the same number.
pub fn format_float(out: &mut Vec<u8>, value: f64, format: u8, precision: i32) {
    if value.is_nan() {
        out.extend_from_slice(b"NaN");
        return;
    }
    if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"+Inf" } else { b"-Inf" });
        return;
    }
    if value.is_sign_negative() {
        out.push(b'-');
    }
    let value = value.abs();
    match format {
        b'f' | b'F' if precision < 0 => {
            let text = value.to_string();
            let decimals = text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
            let text = match decimals {
                0 => text,
                _ => of_equals(value, text, |value| format!("{value:.decimals$}")),
            };
            out.extend_from_slice(text.as_bytes());
        }
        b'f' | b'F' => {
            let (exact, zeros) = split_precision(precision as usize);
            write(out, format_args!("{value:.exact$}"));
            out.resize(out.len() + zeros, b'0');
        }
        b'e' | b'E' => {
            let digits = Digits::new(value, if precision < 0 { None } else { Some(precision as usize + 1) });
            exponential(out, &digits, format);
        }
        b'g' | b'G' => general(out, value, format, precision),
        b'b' => {
            let (mantissa, exponent) = parts(value);
            write(out, format_args!("{mantissa}p{exponent:+}"));
        }
        b'x' | b'X' => hexadecimal(out, value, format, precision),
        _ => out.extend_from_slice(&[b'%', format]),
    }
}

fn write(out: &mut Vec<u8>, args: std::fmt::Arguments<'_>) {
    // Writing into a vector cannot fail.
    let _ = std::io::Write::write_fmt(out, args);
}

/// No float has more decimals than this, so the rest is zeros.
const MOST_DECIMALS: usize = 1100;

/// Decimals to compute, and zeros to append.
fn split_precision(precision: usize) -> (usize, usize) {
    (precision.min(MOST_DECIMALS), precision.saturating_sub(MOST_DECIMALS))
}

/// Decimal digits `d.ddd` times ten to the exponent.
struct Digits {
    digits: Vec<u8>,
    exponent: i32,
}

/// Of two shortest texts that are equally near to the number, the one with the even last digit, as Go has it. Only long
/// texts can be such.
fn of_equals(value: f64, shortest: String, rounded: impl Fn(f64) -> String) -> String {
    if shortest.len() < 16 {
        return shortest;
    }
    let rounded = rounded(value);
    if rounded != shortest && rounded.parse() == Ok(value) { rounded } else { shortest }
}

impl Digits {
    /// Rounded to that many significant digits, or the shortest that reads back.
    fn new(value: f64, significant: Option<usize>) -> Digits {
        let mut text = Vec::with_capacity(32);
        let mut zeros = 0;
        match significant {
            None => {
                let shortest = format!("{value:e}");
                let more = shortest.find('e').unwrap_or(0).saturating_sub(2);
                text = of_equals(value, shortest, |value| format!("{value:.more$e}")).into_bytes();
            }
            Some(n) => {
                let (exact, more) = split_precision(n.saturating_sub(1));
                zeros = more;
                write(&mut text, format_args!("{value:.exact$e}"));
            }
        }
        let at = text.iter().position(|b| *b == b'e').unwrap_or(text.len());
        let exponent =
            std::str::from_utf8(text.get(at + 1..).unwrap_or(b"")).ok().and_then(|e| e.parse().ok());
        text.truncate(at);
        text.retain(|b| *b != b'.');
        text.resize(text.len() + zeros, b'0');
        Digits { digits: text, exponent: exponent.unwrap_or(0) }
    }
}

fn exponential(out: &mut Vec<u8>, digits: &Digits, letter: u8) {
    if let [first, rest @ ..] = digits.digits.as_slice() {
        out.push(*first);
        if !rest.is_empty() {
            out.push(b'.');
            out.extend_from_slice(rest);
        }
    }
    out.push(letter);
    out.push(if digits.exponent < 0 { b'-' } else { b'+' });
    write(out, format_args!("{:02}", digits.exponent.unsigned_abs()));
}

fn general(out: &mut Vec<u8>, value: f64, format: u8, precision: i32) {
    let shortest = precision < 0;
    let significant = if precision == 0 { 1 } else { precision };
    let mut digits = Digits::new(value, if shortest { None } else { Some(significant as usize) });
    while digits.digits.len() > 1 && digits.digits.last() == Some(&b'0') {
        digits.digits.pop();
    }
    let count = digits.digits.len() as i32;
    let point = digits.exponent + 1;
    let mut threshold = significant;
    if threshold > count && count >= point {
        threshold = count;
    }
    if shortest {
        threshold = 6;
    }
    let exponent = point - 1;
    if exponent < -4 || exponent >= threshold {
        exponential(out, &digits, if format == b'g' { b'e' } else { b'E' });
        return;
    }
    if point <= 0 {
        out.extend_from_slice(b"0.");
        out.extend(std::iter::repeat_n(b'0', (-point) as usize));
        out.extend_from_slice(&digits.digits);
    } else {
        for i in 0..point.max(count) {
            if i == point {
                out.push(b'.');
            }
            out.push(digits.digits.get(i as usize).copied().unwrap_or(b'0'));
        }
    }
}

/// Integer mantissa and binary exponent.
fn parts(value: f64) -> (u64, i32) {
    let bits = value.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i32;
    let fraction = bits & ((1 << 52) - 1);
    if exponent == 0 { (fraction, -1074) } else { (fraction | 1 << 52, exponent - 1075) }
}

fn hexadecimal(out: &mut Vec<u8>, value: f64, format: u8, precision: i32) {
    let (mut mantissa, mut exponent) = parts(value);
    if mantissa == 0 {
        exponent = 0;
    } else {
        let shift = mantissa.leading_zeros() as i32 - 11;
        mantissa <<= shift;
        exponent = exponent - shift + 52;
    }
    // 60 fraction bits below a leading one.
    mantissa <<= 8;
    if (0..15).contains(&precision) {
        let shift = precision as u32 * 4;
        let extra = (mantissa << shift) & ((1 << 60) - 1);
        let mut kept = mantissa >> (60 - shift);
        if extra | (kept & 1) > 1 << 59 {
            kept += 1;
        }
        mantissa = kept << (60 - shift);
        if mantissa & (1 << 61) != 0 {
            mantissa >>= 1;
            exponent += 1;
        }
    }
    let table: &[u8; 16] = if format == b'x' { b"0123456789abcdef" } else { b"0123456789ABCDEF" };
    out.extend_from_slice(&[b'0', format, b'0' + ((mantissa >> 60) & 1) as u8]);
    mantissa <<= 4;
    if precision < 0 && mantissa != 0 || precision > 0 {
        out.push(b'.');
        let mut left = if precision < 0 { i32::MAX } else { precision };
        while left > 0 && (precision >= 0 || mantissa != 0) {
            out.push(table[((mantissa >> 60) & 15) as usize]);
            mantissa <<= 4;
            left -= 1;
        }
    }
    out.push(if format == b'x' { b'p' } else { b'P' });
    out.push(if exponent < 0 { b'-' } else { b'+' });
    write(out, format_args!("{:02}", exponent.unsigned_abs()));
}

/// Reads a float like `strconv.ParseFloat`: decimal, hexadecimal with `p` exponent, `Inf`, `NaN` and
/// underscores between digits.
pub fn parse_float(text: &str) -> Result<f64, NumError> {
    let (negative, rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let sign = if negative { -1.0 } else { 1.0 };
    if rest.eq_ignore_ascii_case("inf") || rest.eq_ignore_ascii_case("infinity") {
        return Ok(sign * f64::INFINITY);
    }
    if text.eq_ignore_ascii_case("nan") {
        return Ok(f64::NAN);
    }
    if let [b'0', b'x' | b'X', digits @ ..] = rest.as_bytes() {
        if digits.contains(&b'_') && !underscores_ok(rest.as_bytes()) {
            return Err(NumError::Syntax);
        }
        return parse_hex(digits).map(|x| sign * x);
    }
    let plain =
        rest.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-' | b'_'));
    if !plain || !rest.bytes().any(|b| b.is_ascii_digit()) {
        return Err(NumError::Syntax);
    }
    let parsed = if rest.contains('_') {
        if !underscores_ok(rest.as_bytes()) {
            return Err(NumError::Syntax);
        }
        rest.replace('_', "").parse()
    } else {
        rest.parse()
    };
    let value: f64 = parsed.map_err(|_| NumError::Syntax)?;
    if value.is_infinite() { Err(NumError::Range) } else { Ok(sign * value) }
}

fn parse_hex(text: &[u8]) -> Result<f64, NumError> {
    let (mut mantissa, mut exponent, mut digits, mut point, mut lost) = (0_u64, 0_i64, 0, false, false);
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b'_' => {}
            b'.' if !point => point = true,
            byte => {
                let Some(digit) = (*byte as char).to_digit(16) else { break };
                digits += 1;
                if mantissa >> 58 == 0 {
                    mantissa = mantissa << 4 | u64::from(digit);
                    exponent -= if point { 4 } else { 0 };
                } else {
                    lost |= digit != 0;
                    exponent += if point { 0 } else { 4 };
                }
            }
        }
        at += 1;
    }
    let Some([b'p' | b'P', power @ ..]) = text.get(at..) else { return Err(NumError::Syntax) };
    let power = std::str::from_utf8(power).map_err(|_| NumError::Syntax)?.replace('_', "");
    let (minus, power) = match power.as_bytes().first() {
        Some(b'-') => (true, &power[1..]),
        Some(b'+') => (false, &power[1..]),
        _ => (false, power.as_str()),
    };
    if digits == 0 || power.is_empty() || !power.bytes().all(|b| b.is_ascii_digit()) {
        return Err(NumError::Syntax);
    }
    let power = power.parse::<i64>().unwrap_or(100_000).min(100_000);
    exponent += if minus { -power } else { power };
    // The bit that was lost only matters for rounding a tie.
    let mantissa = mantissa | u64::from(lost);
    let value = scale(mantissa, exponent);
    if value.is_infinite() { Err(NumError::Range) } else { Ok(value) }
}

/// Mantissa times two to the exponent, rounded once to the nearest even.
fn scale(mantissa: u64, exponent: i64) -> f64 {
    if mantissa == 0 {
        return 0.0;
    }
    let top = 63 - i64::from(mantissa.leading_zeros()) + exponent;
    if top > 1023 {
        return f64::INFINITY;
    }
    // The exponent of the last bit that is kept.
    let last = (top - 52).max(-1074);
    let drop = last - exponent;
    let kept = if drop <= 0 {
        mantissa << (-drop).min(63)
    } else if drop > 64 {
        0
    } else {
        let wide = u128::from(mantissa);
        let low = wide & ((1 << drop) - 1);
        let half = 1_u128 << (drop - 1);
        let kept = (wide >> drop) as u64;
        kept + u64::from(low > half || (low == half && kept & 1 == 1))
    };
    let mut value = kept as f64;
    let mut power = last;
    // In steps, since two to the last exponent need not be a normal number.
    while power < 0 {
        let step = power.max(-1000);
        value *= 2_f64.powi(step as i32);
        power -= step;
    }
    while power > 0 {
        let step = power.min(1000);
        value *= 2_f64.powi(step as i32);
        power -= step;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(value: f64, format: u8, precision: i32) -> String {
        let mut out = Vec::new();
        format_float(&mut out, value, format, precision);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_format() {
        for (value, letter, precision, want) in [
            (1e6, b'g', -1, "1e+06"),
            (123456.0, b'g', -1, "123456"),
            (100.0, b'g', -1, "100"),
            (900_719_925_474_105.2, b'g', -1, "9.007199254741052e+14"),
            (900_719_925_474_105.2, b'f', -1, "900719925474105.2"),
            (1e23, b'f', -1, "100000000000000000000000"),
            (1e20, b'g', -1, "1e+20"),
            (1e21, b'g', -1, "1e+21"),
            (0.0001, b'g', -1, "0.0001"),
            (0.00001, b'g', -1, "1e-05"),
            (-2.5, b'e', -1, "-2.5e+00"),
            (1.0, b'x', -1, "0x1p+00"),
            (1.5, b'x', -1, "0x1.8p+00"),
            (3.125, b'x', 1, "0x1.9p+01"),
            (1.0, b'b', -1, "4503599627370496p-52"),
            (2.34567, b'g', 3, "2.35"),
            (1234567.0, b'g', 3, "1.23e+06"),
            (0.0, b'g', -1, "0"),
        ] {
            assert_eq!(format(value, letter, precision), want, "{value} {}", letter as char);
        }
    }

    #[test]
    fn texts_that_are_floats_and_texts_that_are_not() {
        for (text, want) in [
            ("1e3", Ok(1000.0)),
            (".5", Ok(0.5)),
            ("5.", Ok(5.0)),
            ("0x1p-2", Ok(0.25)),
            ("0x1.8p1", Ok(3.0)),
            ("0x_1p0", Ok(1.0)),
            ("1_0", Ok(10.0)),
            ("1__0", Err(NumError::Syntax)),
            ("1e400", Err(NumError::Range)),
            ("+Inf", Ok(f64::INFINITY)),
            ("", Err(NumError::Syntax)),
            (".", Err(NumError::Syntax)),
            ("e3", Err(NumError::Syntax)),
            ("0x1p-1074", Ok(5e-324)),
        ] {
            assert_eq!(parse_float(text), want, "{text}");
        }
    }
}
