//! Layouts: the reference time `Mon Jan 2 15:04:05 MST 2006` as a description of a format.

use super::{MONTHS, Time, WEEKDAYS};

/// One element of a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    LongMonth,
    Month,
    NumMonth,
    ZeroMonth,
    LongWeekday,
    Weekday,
    Day,
    UnderDay,
    ZeroDay,
    UnderYearDay,
    ZeroYearDay,
    Hour,
    Hour12,
    ZeroHour12,
    Minute,
    ZeroMinute,
    Second,
    ZeroSecond,
    LongYear,
    Year,
    UpperPm,
    LowerPm,
    ZoneName,
    Offset(Offset),
    /// `.000` or `,000`: exactly that many digits.
    Fraction {
        digits: usize,
        comma: bool,
    },
    /// `.999` or `,999`: at most that many digits.
    FractionTrimmed {
        digits: usize,
        comma: bool,
    },
}

/// A numeric zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offset {
    /// Prints and reads `Z` for UTC.
    pub(super) iso: bool,
    pub(super) colon: bool,
    pub(super) minutes: bool,
    pub(super) seconds: bool,
}

const OFFSETS: [(&str, Offset); 5] = [
    ("070000", Offset { iso: false, colon: false, minutes: true, seconds: true }),
    ("07:00:00", Offset { iso: false, colon: true, minutes: true, seconds: true }),
    ("0700", Offset { iso: false, colon: false, minutes: true, seconds: false }),
    ("07:00", Offset { iso: false, colon: true, minutes: true, seconds: false }),
    ("07", Offset { iso: false, colon: false, minutes: false, seconds: false }),
];

/// Splits a layout at its first element: text before it, the element with its source, and the rest.
pub(super) fn next(layout: &str) -> Option<(&str, Element, &str, &str)> {
    for at in 0..layout.len() {
        let Some(rest) = layout.get(at..) else { continue };
        if let Some((element, skip, len)) = element_at(rest) {
            let at = at + skip;
            return Some((&layout[..at], element, &layout[at..at + len], &layout[at + len..]));
        }
    }
    None
}

/// The element at the start of a text, with the number of bytes before it that are text, and its length.
fn element_at(rest: &str) -> Option<(Element, usize, usize)> {
    let lower_follows = |at: usize| rest.as_bytes().get(at).is_some_and(u8::is_ascii_lowercase);
    let found = |element, len| Some((element, 0, len));
    match rest.as_bytes().first()? {
        b'J' if rest.starts_with("January") => found(Element::LongMonth, 7),
        b'J' if rest.starts_with("Jan") && !lower_follows(3) => found(Element::Month, 3),
        b'M' if rest.starts_with("Monday") => found(Element::LongWeekday, 6),
        b'M' if rest.starts_with("Mon") && !lower_follows(3) => found(Element::Weekday, 3),
        b'M' if rest.starts_with("MST") => found(Element::ZoneName, 3),
        b'0' => match rest.as_bytes().get(1)? {
            b'1' => found(Element::ZeroMonth, 2),
            b'2' => found(Element::ZeroDay, 2),
            b'3' => found(Element::ZeroHour12, 2),
            b'4' => found(Element::ZeroMinute, 2),
            b'5' => found(Element::ZeroSecond, 2),
            b'6' => found(Element::Year, 2),
            b'0' if rest.starts_with("002") => found(Element::ZeroYearDay, 3),
            _ => None,
        },
        b'1' if rest.starts_with("15") => found(Element::Hour, 2),
        b'1' => found(Element::NumMonth, 1),
        b'2' if rest.starts_with("2006") => found(Element::LongYear, 4),
        b'2' => found(Element::Day, 1),
        b'_' if rest.starts_with("_2006") => Some((Element::LongYear, 1, 4)),
        b'_' if rest.starts_with("_2") => found(Element::UnderDay, 2),
        b'_' if rest.starts_with("__2") => found(Element::UnderYearDay, 3),
        b'3' => found(Element::Hour12, 1),
        b'4' => found(Element::Minute, 1),
        b'5' => found(Element::Second, 1),
        b'P' if rest.starts_with("PM") => found(Element::UpperPm, 2),
        b'p' if rest.starts_with("pm") => found(Element::LowerPm, 2),
        sign @ (b'-' | b'Z') => {
            OFFSETS.iter().find(|(text, _)| rest[1..].starts_with(text)).map(|(text, offset)| {
                (Element::Offset(Offset { iso: *sign == b'Z', ..*offset }), 0, text.len() + 1)
            })
        }
        sign @ (b'.' | b',') => {
            let digit = *rest.as_bytes().get(1)?;
            let digits = rest.bytes().skip(1).take_while(|b| *b == digit).count();
            let comma = *sign == b',';
            if rest.as_bytes().get(1 + digits).is_some_and(u8::is_ascii_digit) {
                return None;
            }
            match digit {
                b'0' => found(Element::Fraction { digits, comma }, 1 + digits),
                b'9' => found(Element::FractionTrimmed { digits, comma }, 1 + digits),
                _ => None,
            }
        }
        _ => None,
    }
}

fn padded(out: &mut String, number: i64, width: usize) {
    if number < 0 {
        out.push('-');
    }
    out.push_str(&format!("{:0width$}", number.unsigned_abs()));
}

fn name(names: &[&'static str], at: i64) -> &'static str {
    usize::try_from(at).ok().and_then(|at| names.get(at)).copied().unwrap_or_default()
}

fn short(name: &str) -> &str {
    name.get(..3).unwrap_or(name)
}

pub(super) fn format(time: &Time, layout: &str) -> String {
    let fields = time.fields();
    let mut out = String::with_capacity(layout.len() + 10);
    let mut rest = layout;
    while let Some((prefix, element, _, after)) = next(rest) {
        out.push_str(prefix);
        rest = after;
        let hour12 = if fields.hour % 12 == 0 { 12 } else { fields.hour % 12 };
        match element {
            Element::LongMonth => out.push_str(name(&MONTHS, fields.month - 1)),
            Element::Month => out.push_str(short(name(&MONTHS, fields.month - 1))),
            Element::NumMonth => padded(&mut out, fields.month, 0),
            Element::ZeroMonth => padded(&mut out, fields.month, 2),
            Element::LongWeekday => out.push_str(name(&WEEKDAYS, fields.weekday)),
            Element::Weekday => out.push_str(short(name(&WEEKDAYS, fields.weekday))),
            Element::Day => padded(&mut out, fields.day, 0),
            Element::UnderDay => out.push_str(&format!("{:2}", fields.day)),
            Element::ZeroDay => padded(&mut out, fields.day, 2),
            Element::UnderYearDay => out.push_str(&format!("{:3}", fields.year_day)),
            Element::ZeroYearDay => padded(&mut out, fields.year_day, 3),
            Element::Hour => padded(&mut out, fields.hour, 2),
            Element::Hour12 => padded(&mut out, hour12, 0),
            Element::ZeroHour12 => padded(&mut out, hour12, 2),
            Element::Minute => padded(&mut out, fields.minute, 0),
            Element::ZeroMinute => padded(&mut out, fields.minute, 2),
            Element::Second => padded(&mut out, fields.second, 0),
            Element::ZeroSecond => padded(&mut out, fields.second, 2),
            Element::LongYear => padded(&mut out, fields.year, 4),
            Element::Year => padded(&mut out, fields.year.max(0) % 100, 2),
            Element::UpperPm => out.push_str(if fields.hour >= 12 { "PM" } else { "AM" }),
            Element::LowerPm => out.push_str(if fields.hour >= 12 { "pm" } else { "am" }),
            Element::ZoneName => match time.zone.abbreviation(time.at) {
                name if name.is_empty() => offset_text(&mut out, fields.offset, OFFSETS[2].1),
                name => out.push_str(&name),
            },
            Element::Offset(kind) => offset_text(&mut out, fields.offset, kind),
            Element::Fraction { digits, comma } => {
                out.push(if comma { ',' } else { '.' });
                out.push_str(&fraction(fields.nanosecond, digits));
            }
            Element::FractionTrimmed { digits, comma } => {
                let text = fraction(fields.nanosecond, digits);
                let text = text.trim_end_matches('0');
                if !text.is_empty() {
                    out.push(if comma { ',' } else { '.' });
                    out.push_str(text);
                }
            }
        }
    }
    out.push_str(rest);
    out
}

/// The first digits of a nanosecond; digits beyond the ninth are zeros.
fn fraction(nanosecond: i64, digits: usize) -> String {
    let mut text = format!("{nanosecond:09}");
    if digits <= 9 {
        text.truncate(digits);
    } else {
        text.extend(std::iter::repeat_n('0', digits - 9));
    }
    text
}

fn offset_text(out: &mut String, offset: i64, kind: Offset) {
    if kind.iso && offset == 0 {
        out.push('Z');
        return;
    }
    // Go takes the sign from the offset in whole minutes.
    out.push(if offset / 60 < 0 { '-' } else { '+' });
    let total = offset.abs();
    padded(out, total / 3600, 2);
    if kind.minutes {
        if kind.colon {
            out.push(':');
        }
        padded(out, total / 60 % 60, 2);
    }
    if kind.seconds {
        if kind.colon {
            out.push(':');
        }
        padded(out, total % 60, 2);
    }
}
