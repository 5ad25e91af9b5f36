//! Dates and durations.

use herald_value::{IntKind, Value, time};

use super::help::{Result, fail, text};
use crate::function::{Call, Function, Param::*};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("now", &[], |c| Ok(time::Time::utc(c.now()).into())),
    Function::new("date", &[Str, Any], |c| shown(c, 0, 1, None)),
    Function::new("dateInZone", &[Str, Any, Str], |c| shown(c, 0, 1, Some(2))),
    Function::new("date_in_zone", &[Str, Any, Str], |c| shown(c, 0, 1, Some(2))),
    Function::new("htmlDate", &[Any], |c| html_date(c, None)),
    Function::new("htmlDateInZone", &[Any, Str], |c| html_date(c, Some(1))),
    Function::new("dateModify", &[Str, Time], |c| modified(c, false)),
    Function::new("date_modify", &[Str, Time], |c| modified(c, false)),
    Function::new("mustDateModify", &[Str, Time], |c| modified(c, true)),
    Function::new("must_date_modify", &[Str, Time], |c| modified(c, true)),
    Function::new("ago", &[Any], |c| {
        let then = match c.arg(0) {
            Value::Time(then) => (**then).clone(),
            Value::Int(n, IntKind::Int | IntKind::Int64) => time::Time::unix(*n, 0)?,
            _ => time::Time::utc(c.now()),
        };
        let since = time::Time::utc(c.now()).sub(&then);
        text(c, time::duration_text(time::round_duration(since, 1_000_000_000)))
    }),
    Function::new("toDate", &[Str, Str], |c| {
        Ok(time::parse(&c.text(0), &c.text(1)).unwrap_or_else(|_| time::Time::zero()).into())
    }),
    Function::new("mustToDate", &[Str, Str], |c| Ok(time::parse(&c.text(0), &c.text(1))?.into())),
    Function::new("unixEpoch", &[Time], |c| match c.arg(0) {
        Value::Time(at) => Ok(Value::str(at.unix_seconds().to_string())),
        _ => fail("not a time"),
    }),
    Function::new("duration", &[Any], |c| {
        let seconds = match c.arg(0) {
            Value::Str(s) => s.to_str().map_or(0, number),
            Value::Int(n, IntKind::Int64) => *n,
            _ => 0,
        };
        text(c, time::duration_text(seconds.wrapping_mul(1_000_000_000)))
    }),
    Function::new("durationRound", &[Any], |c| {
        let nanos = match c.arg(0) {
            Value::Str(s) => s.to_str().and_then(|s| time::parse_duration(s).ok()).unwrap_or(0),
            Value::Int(n, IntKind::Int64) => *n,
            Value::Time(then) => time::Time::utc(c.now()).sub(then),
            _ => 0,
        };
        text(c, rounded(nanos.unsigned_abs()))
    }),
];

/// Go's `strconv.ParseInt` with its error dropped, which leaves the limit where a number does not fit.
fn number(text: &str) -> i64 {
    match herald_value::num::parse_int(text, 10, 64) {
        Ok(n) => n,
        Err(herald_value::num::NumError::Range) if text.starts_with('-') => i64::MIN,
        Err(herald_value::num::NumError::Range) => i64::MAX,
        Err(herald_value::num::NumError::Syntax) => 0,
    }
}

/// The largest unit that the duration is longer than.
fn rounded(nanos: u64) -> String {
    const HOUR: u64 = 3_600_000_000_000;
    let units = [
        (HOUR * 24 * 365, "y"),
        (HOUR * 24 * 30, "mo"),
        (HOUR * 24, "d"),
        (HOUR, "h"),
        (HOUR / 60, "m"),
        (HOUR / 3600, "s"),
    ];
    units
        .iter()
        .find(|(size, _)| nanos > *size)
        .map_or_else(|| "0s".into(), |(size, name)| format!("{}{name}", nanos / size))
}

/// A time or seconds since the epoch; anything else is the present.
fn moment(call: &Call<'_>, index: usize) -> Result<time::Time> {
    match call.arg(index) {
        Value::Time(at) => Ok((**at).clone()),
        Value::Int(n, IntKind::Int | IntKind::Int64 | IntKind::Int32) => time::Time::unix(*n, 0),
        _ => Ok(time::Time::utc(call.now())),
    }
}

/// An unknown zone is UTC, as in the original.
fn in_zone(call: &Call<'_>, at: time::Time, zone: Option<usize>) -> time::Time {
    let zone = zone.and_then(|index| time::Zone::load(&call.text(index)).ok());
    at.in_zone(zone.unwrap_or(time::Zone::Utc))
}

fn shown(call: &mut Call<'_>, layout: usize, at: usize, zone: Option<usize>) -> Result<Value> {
    let at = in_zone(call, moment(call, at)?, zone);
    call.meter.grow((call.bytes(layout).len() as u64).saturating_mul(6))?;
    Ok(Value::str(time::format(&at, &call.text(layout))))
}

fn html_date(call: &mut Call<'_>, zone: Option<usize>) -> Result<Value> {
    let at = in_zone(call, moment(call, 0)?, zone);
    text(call, time::format(&at, "2006-01-02"))
}

fn modified(call: &mut Call<'_>, must: bool) -> Result<Value> {
    let Value::Time(at) = call.arg(1) else { return fail("not a time") };
    match time::parse_duration(&call.text(0)) {
        Ok(nanos) => Ok(at.add(nanos)?.into()),
        Err(error) if must => Err(error),
        Err(_) => Ok(call.arg(1).clone()),
    }
}
