//! Parsing a time by its layout.

use super::layout::{Element, Offset, next};
use jiff::Timestamp;

use super::{MONTHS, RFC3339, SECONDS_PER_DAY, Time, WEEKDAYS, Zone, days_from_civil, days_in, is_leap};
use crate::CallError;

/// Go's `time.Parse`: without a zone in the text, the time is UTC.
pub fn parse(layout: &str, text: &str) -> Result<Time, CallError> {
    parse_in(layout, text, Zone::Utc)
}

/// A time in RFC 3339, which may have a fraction of a second.
pub fn parse_rfc3339(text: &str) -> Result<Time, CallError> {
    rfc3339_fast(text).map_or_else(|| parse(RFC3339, text), Ok)
}

/// The usual shape `2026-03-01T10:00:00Z`; anything else takes the general way.
fn rfc3339_fast(text: &str) -> Option<Time> {
    let b: &[u8; 20] = text.as_bytes().try_into().ok()?;
    let shape =
        b[4] == b'-' && b[7] == b'-' && b[10] == b'T' && b[13] == b':' && b[16] == b':' && b[19] == b'Z';
    if !shape {
        return None;
    }
    let number = |digits: &[u8]| {
        digits.iter().try_fold(0i64, |n, d| d.is_ascii_digit().then(|| n * 10 + i64::from(d - b'0')))
    };
    let (year, month, day) = (number(&b[0..4])?, number(&b[5..7])?, number(&b[8..10])?);
    let (hour, minute, second) = (number(&b[11..13])?, number(&b[14..16])?, number(&b[17..19])?);
    let valid = (1..=12).contains(&month)
        && (1..=days_in(month, year)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !valid {
        return None;
    }
    let seconds = days_from_civil(year, month, day) * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second;
    Timestamp::from_second(seconds).ok().map(Time::utc)
}

/// Why an element did not match.
enum Bad {
    /// The text does not look like the element.
    Shape,
    /// It does, but the number is too large or too small.
    Range(&'static str),
}

/// What has been read so far.
#[derive(Default)]
struct Read {
    year: i64,
    month: Option<i64>,
    day: Option<i64>,
    year_day: Option<i64>,
    hour: i64,
    minute: i64,
    second: i64,
    nanosecond: i64,
    pm: Option<bool>,
    utc: bool,
    offset: Option<i64>,
    zone_name: String,
}

/// Go's `time.ParseInLocation`: without a zone in the text, the time is in `zone`.
pub fn parse_in(layout: &str, text: &str, zone: Zone) -> Result<Time, CallError> {
    let fail = |rest: &str, element: &str, why: &str| {
        CallError::new(if why.is_empty() {
            format!("parsing time {text:?} as {layout:?}: cannot parse {rest:?} as {element:?}")
        } else {
            format!("parsing time {text:?}: {why}")
        })
    };
    let mut read = Read::default();
    let mut value = text;
    let mut rest = layout;
    while let Some((prefix, element, source, after)) = next(rest) {
        value = skip(value, prefix).map_err(|left| fail(left, prefix, ""))?;
        let hold = value;
        rest = after;
        match read.element(element, &mut value, rest) {
            Ok(()) => {}
            Err(Bad::Shape) => return Err(fail(hold, source, "")),
            Err(Bad::Range(what)) => return Err(fail(value, source, &format!("{what} out of range"))),
        }
    }
    value = skip(value, rest).map_err(|left| fail(left, rest, ""))?;
    if !value.is_empty() {
        return Err(fail(value, "", &format!("extra text: {value:?}")));
    }
    read.finish(zone, |why| fail(value, "", why))
}

/// Takes the text between elements off the value. Any number of blanks matches any number of blanks.
fn skip<'a>(value: &'a str, prefix: &str) -> Result<&'a str, &'a str> {
    let (mut value, mut prefix) = (value, prefix);
    while let Some(first) = prefix.as_bytes().first() {
        if *first == b' ' {
            if !value.is_empty() && !value.starts_with(' ') {
                return Err(value);
            }
            prefix = prefix.trim_start_matches(' ');
            value = value.trim_start_matches(' ');
            continue;
        }
        let expected = prefix.chars().next();
        let len = expected.map_or(1, char::len_utf8);
        if expected != value.chars().next() {
            return Err(value);
        }
        (prefix, value) = (&prefix[len..], &value[len..]);
    }
    Ok(value)
}

fn take<'a>(value: &mut &'a str, len: usize) -> Result<&'a str, Bad> {
    let (head, tail) = value.split_at_checked(len).ok_or(Bad::Shape)?;
    *value = tail;
    Ok(head)
}

/// A number of exactly these digits, a sign allowed, as Go's helper reads years and fractions.
fn integer(text: &str) -> Result<i64, Bad> {
    let (sign, digits) = match text.as_bytes().first() {
        Some(b'-') => (-1, &text[1..]),
        Some(b'+') => (1, &text[1..]),
        _ => (1, text),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Bad::Shape);
    }
    digits.parse::<i64>().map(|n| sign * n).map_err(|_| Bad::Shape)
}

/// One or two digits; `fixed` asks for two.
fn number(value: &mut &str, fixed: bool) -> Result<i64, Bad> {
    digits(value, if fixed { 2 } else { 1 }, 2)
}

fn digits(value: &mut &str, at_least: usize, at_most: usize) -> Result<i64, Bad> {
    let len = value.bytes().take(at_most).take_while(u8::is_ascii_digit).count();
    if len < at_least {
        return Err(Bad::Shape);
    }
    integer(take(value, len)?)
}

fn in_range(number: i64, below: i64, what: &'static str) -> Result<i64, Bad> {
    if (0..below).contains(&number) { Ok(number) } else { Err(Bad::Range(what)) }
}

/// The index of the first name that the value starts with, whatever the case.
fn lookup(value: &mut &str, names: &[&str], len: Option<usize>) -> Result<i64, Bad> {
    for (at, name) in (0i64..).zip(names) {
        let name = &name[..len.unwrap_or(name.len())];
        if value.get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(name)) {
            *value = &value[name.len()..];
            return Ok(at);
        }
    }
    Err(Bad::Shape)
}

/// A point or comma and the digits after it, of which nine count.
fn nanoseconds(text: &str) -> Result<i64, Bad> {
    let mut bytes = text.bytes();
    if !matches!(bytes.next(), Some(b'.' | b',')) {
        return Err(Bad::Shape);
    }
    let digits = text[1..].get(..9).unwrap_or(&text[1..]);
    let missing = 9 - u32::try_from(digits.len().min(9)).unwrap_or(9);
    let value = integer(digits)?;
    if value < 0 {
        return Err(Bad::Range("fractional second"));
    }
    Ok(value * 10i64.pow(missing))
}

fn fraction_len(value: &str) -> usize {
    match value.as_bytes() {
        [b'.' | b',', rest @ ..] => match rest.iter().take_while(|b| b.is_ascii_digit()).count() {
            0 => 0,
            digits => digits + 1,
        },
        _ => 0,
    }
}

impl Read {
    fn element(&mut self, element: Element, value: &mut &str, rest: &str) -> Result<(), Bad> {
        match element {
            Element::Year => {
                let year = integer(take(value, 2)?)?;
                self.year = if year >= 69 { year + 1900 } else { year + 2000 };
            }
            Element::LongYear => {
                if !value.starts_with(|c: char| c.is_ascii_digit()) {
                    return Err(Bad::Shape);
                }
                self.year = integer(take(value, 4)?)?;
            }
            Element::Month => self.month = Some(lookup(value, &MONTHS, Some(3))? + 1),
            Element::LongMonth => self.month = Some(lookup(value, &MONTHS, None)? + 1),
            Element::NumMonth | Element::ZeroMonth => {
                let month = number(value, element == Element::ZeroMonth)?;
                if !(1..=12).contains(&month) {
                    return Err(Bad::Range("month"));
                }
                self.month = Some(month);
            }
            // The day of the week is read, but what it says does not count.
            Element::Weekday => drop(lookup(value, &WEEKDAYS, Some(3))?),
            Element::LongWeekday => drop(lookup(value, &WEEKDAYS, None)?),
            Element::Day | Element::UnderDay | Element::ZeroDay => {
                if element == Element::UnderDay {
                    *value = value.strip_prefix(' ').unwrap_or(value);
                }
                self.day = Some(number(value, element == Element::ZeroDay)?);
            }
            Element::UnderYearDay | Element::ZeroYearDay => {
                if element == Element::UnderYearDay {
                    *value = value.strip_prefix(' ').unwrap_or(value);
                    *value = value.strip_prefix(' ').unwrap_or(value);
                }
                let at_least = if element == Element::ZeroYearDay { 3 } else { 1 };
                self.year_day = Some(digits(value, at_least, 3)?);
            }
            Element::Hour => self.hour = in_range(number(value, false)?, 24, "hour")?,
            Element::Hour12 | Element::ZeroHour12 => {
                self.hour = in_range(number(value, element == Element::ZeroHour12)?, 13, "hour")?;
            }
            Element::Minute | Element::ZeroMinute => {
                self.minute = in_range(number(value, element == Element::ZeroMinute)?, 60, "minute")?;
            }
            Element::Second | Element::ZeroSecond => {
                self.second = in_range(number(value, element == Element::ZeroSecond)?, 60, "second")?;
                // A fraction is accepted after seconds although the layout has none.
                let planned = matches!(
                    next(rest),
                    Some((_, Element::Fraction { .. } | Element::FractionTrimmed { .. }, _, _))
                );
                let len = fraction_len(value);
                if !planned && len > 0 {
                    self.nanosecond = nanoseconds(take(value, len)?)?;
                }
            }
            Element::UpperPm => self.pm = Some(half_day(take(value, 2)?, ["AM", "PM"])?),
            Element::LowerPm => self.pm = Some(half_day(take(value, 2)?, ["am", "pm"])?),
            Element::Offset(kind) => self.offset(kind, value)?,
            Element::ZoneName => {
                if let Some(after) = value.strip_prefix("UTC") {
                    self.utc = true;
                    *value = after;
                } else {
                    let len = zone_name_len(value.as_bytes()).ok_or(Bad::Shape)?;
                    self.zone_name = take(value, len)?.to_string();
                }
            }
            Element::Fraction { digits, .. } => self.nanosecond = nanoseconds(take(value, digits + 1)?)?,
            Element::FractionTrimmed { .. } => {
                let len = fraction_len(value);
                if len > 0 {
                    self.nanosecond = nanoseconds(take(value, len)?)?;
                }
            }
        }
        Ok(())
    }

    fn offset(&mut self, kind: Offset, value: &mut &str) -> Result<(), Bad> {
        if kind.iso && value.starts_with('Z') {
            self.utc = true;
            *value = &value[1..];
            return Ok(());
        }
        let all = *value;
        let sign = take(value, 1)?;
        let mut part = |wanted: bool, colon: bool| -> Result<i64, Bad> {
            if !wanted {
                return Ok(0);
            }
            if colon && take(value, 1)? != ":" {
                return Err(Bad::Shape);
            }
            integer(take(value, 2)?).and_then(|n| if n < 0 { Err(Bad::Shape) } else { Ok(n) })
        };
        let hours = part(true, false)?;
        let minutes = part(kind.minutes, kind.colon)?;
        let seconds = part(kind.seconds, kind.colon)?;
        if all.as_bytes().get(1).is_some_and(|b| !b.is_ascii_digit()) {
            return Err(Bad::Shape);
        }
        for (number, most, what) in [
            (hours, 24, "time zone offset hour"),
            (minutes, 60, "time zone offset minute"),
            (seconds, 60, "time zone offset second"),
        ] {
            if number > most {
                return Err(Bad::Range(what));
            }
        }
        let offset = (hours * 60 + minutes) * 60 + seconds;
        self.offset = Some(match sign {
            "+" => offset,
            "-" => -offset,
            _ => return Err(Bad::Shape),
        });
        Ok(())
    }

    fn finish(mut self, zone: Zone, fail: impl Fn(&str) -> CallError) -> Result<Time, CallError> {
        match self.pm {
            Some(true) if self.hour < 12 => self.hour += 12,
            Some(false) if self.hour == 12 => self.hour = 0,
            _ => {}
        }
        if let Some(year_day) = self.year_day {
            if !(1..=if is_leap(self.year) { 366 } else { 365 }).contains(&year_day) {
                return Err(fail("day-of-year out of range"));
            }
            let (mut month, mut day) = (1, year_day);
            while day > days_in(month, self.year) {
                day -= days_in(month, self.year);
                month += 1;
            }
            if self.month.is_some_and(|m| m != month) {
                return Err(fail("day-of-year does not match month"));
            }
            if self.day.is_some_and(|d| d != day) {
                return Err(fail("day-of-year does not match day"));
            }
            (self.month, self.day) = (Some(month), Some(day));
        }
        let (month, day) = (self.month.unwrap_or(1), self.day.unwrap_or(1));
        if !(1..=days_in(month, self.year)).contains(&day) {
            return Err(fail("day out of range"));
        }
        let date = |zone: Zone| {
            let clock = (self.hour, self.minute, self.second);
            Time::date((self.year, month, day), clock, self.nanosecond, zone)
        };
        if self.utc {
            return date(Zone::Utc);
        }
        if let Some(offset) = self.offset {
            // A text that agrees with the given zone is in that zone; any other gets a zone of its own.
            let seconds = i32::try_from(offset).unwrap_or_default();
            let fixed = date(Zone::Fixed { name: self.zone_name.as_str().into(), seconds })?;
            let same_name = self.zone_name.is_empty() || zone.abbreviation(fixed.at) == self.zone_name;
            return Ok(if zone.offset(fixed.at) == offset && same_name {
                fixed.in_zone(zone)
            } else {
                fixed
            });
        }
        if !self.zone_name.is_empty() {
            let here = date(zone.clone())?;
            if zone.abbreviation(here.at) == self.zone_name {
                return Ok(here);
            }
            // The offset behind an abbreviation is not known, except for those of the form GMT+3: Go keeps the
            // clock as if it were UTC and notes the name.
            let hours = self.zone_name.strip_prefix("GMT").and_then(|h| integer(h).ok()).unwrap_or_default();
            let seconds = i32::try_from(hours * 3600).unwrap_or_default();
            return Ok(
                date(Zone::Utc)?.in_zone(Zone::Fixed { name: self.zone_name.as_str().into(), seconds })
            );
        }
        date(zone)
    }
}

fn half_day(text: &str, names: [&str; 2]) -> Result<bool, Bad> {
    names.iter().position(|name| *name == text).map(|at| at == 1).ok_or(Bad::Shape)
}

/// How many bytes look like the abbreviation of a zone.
fn zone_name_len(value: &[u8]) -> Option<usize> {
    match value {
        [b'C', b'h', b'S', b'T', ..] | [b'M', b'e', b'S', b'T', ..] => return Some(4),
        [b'G', b'M', b'T', rest @ ..] => return Some(3 + signed_offset_len(rest).unwrap_or(0)),
        [b'+' | b'-', _, _, ..] => return signed_offset_len(value),
        _ => {}
    }
    match value.iter().take(6).take_while(|b| b.is_ascii_uppercase()).count() {
        3 => Some(3),
        4 if value[3] == b'T' || value.starts_with(b"WITA") => Some(4),
        5 if value[4] == b'T' => Some(5),
        _ => None,
    }
}

fn signed_offset_len(value: &[u8]) -> Option<usize> {
    let [b'+' | b'-', rest @ ..] = value else { return None };
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    let hours =
        rest[..digits].iter().fold(0u32, |n, d| n.saturating_mul(10).saturating_add(u32::from(d - b'0')));
    (digits > 0 && hours <= 23).then_some(digits + 1)
}
