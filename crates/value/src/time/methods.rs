//! Methods that templates and expressions call on times and durations.

use std::cmp::Ordering;

use super::{
    RFC3339_NANO, SECONDS_PER_DAY, Time, Zone, days_from_civil, duration_text, format, month_name,
    round_duration, truncate_duration, weekday_name,
};
use crate::{CallError, IntKind, Object, Value};

type Result<T> = std::result::Result<T, CallError>;

/// Calls a method of a `time.Time`, `time.Duration`, `time.Month` or `time.Weekday`. `None` if `receiver` has no
/// method of that name.
pub fn call_method(receiver: &Value, name: &str, args: &[Value]) -> Option<Result<Value>> {
    let (found, wanted) = match receiver {
        Value::Time(_) => ("time.Time", time_arity(name)?),
        Value::Duration(_) => ("time.Duration", duration_arity(name)?),
        Value::Int(_, IntKind::Month) => ("time.Month", (name == "String").then_some(0)?),
        Value::Int(_, IntKind::Weekday) => ("time.Weekday", (name == "String").then_some(0)?),
        _ => return None,
    };
    if args.len() != wanted {
        return Some(Err(CallError::new(format!(
            "wrong number of args for {name} of {found}: want {wanted} got {}",
            args.len()
        ))));
    }
    Some(match receiver {
        Value::Time(time) => of_time(time, name, args),
        Value::Duration(nanos) => of_duration(*nanos, name, args),
        Value::Int(month, IntKind::Month) => Ok(Value::str(month_name(*month))),
        Value::Int(day, _) => Ok(Value::str(weekday_name(*day))),
        _ => return None,
    })
}

fn time_arity(name: &str) -> Option<usize> {
    Some(match name {
        "Year" | "Month" | "Day" | "Hour" | "Minute" | "Second" | "Nanosecond" | "Weekday" | "YearDay"
        | "Unix" | "UnixMilli" | "UnixMicro" | "UnixNano" | "IsZero" | "IsDST" | "UTC" | "Local"
        | "Location" | "String" | "GoString" | "MarshalJSON" | "MarshalText" | "Date" | "Clock"
        | "ISOWeek" | "Zone" | "ZoneBounds" => 0,
        "Add" | "Sub" | "After" | "Before" | "Equal" | "Compare" | "Format" | "In" | "Truncate" | "Round"
        | "AppendFormat" => match name {
            "AppendFormat" => 2,
            _ => 1,
        },
        "AddDate" => 3,
        _ => return None,
    })
}

fn duration_arity(name: &str) -> Option<usize> {
    Some(match name {
        "Hours" | "Minutes" | "Seconds" | "Milliseconds" | "Microseconds" | "Nanoseconds" | "String"
        | "Abs" => 0,
        "Round" | "Truncate" => 1,
        _ => return None,
    })
}

fn wrong(expected: &str, got: &Value) -> CallError {
    CallError::new(format!("wrong type for value; expected {expected}; got {}", got.go_type()))
}

fn time_arg(args: &[Value]) -> Result<&Time> {
    match args.first() {
        Some(Value::Time(time)) => Ok(time),
        other => Err(wrong("time.Time", other.unwrap_or(&Value::Nil))),
    }
}

/// A duration, or an integer as literals give it.
fn duration_arg(args: &[Value]) -> Result<i64> {
    match args.first() {
        Some(Value::Duration(nanos) | Value::Int(nanos, IntKind::Int)) => Ok(*nanos),
        other => Err(wrong("time.Duration", other.unwrap_or(&Value::Nil))),
    }
}

fn int_arg(args: &[Value], at: usize) -> Result<i64> {
    match args.get(at) {
        Some(Value::Int(n, IntKind::Int)) => Ok(*n),
        other => Err(wrong("int", other.unwrap_or(&Value::Nil))),
    }
}

fn of_time(time: &Time, name: &str, args: &[Value]) -> Result<Value> {
    // What conditions are mostly made of, and what needs no calendar.
    Ok(match name {
        "Add" => time.add(duration_arg(args)?)?.into(),
        "Sub" => Value::Duration(time.sub(time_arg(args)?)),
        "After" => Value::Bool(time.at > time_arg(args)?.at),
        "Before" => Value::Bool(time.at < time_arg(args)?.at),
        "Equal" => Value::Bool(time.at == time_arg(args)?.at),
        _ => return of_date(time, name, args),
    })
}

fn of_date(time: &Time, name: &str, args: &[Value]) -> Result<Value> {
    let fields = time.fields();
    Ok(match name {
        "Year" => Value::int(fields.year),
        "Month" => Value::Int(fields.month, IntKind::Month),
        "Day" => Value::int(fields.day),
        "Hour" => Value::int(fields.hour),
        "Minute" => Value::int(fields.minute),
        "Second" => Value::int(fields.second),
        "Nanosecond" => Value::int(fields.nanosecond),
        "Weekday" => Value::Int(fields.weekday, IntKind::Weekday),
        "YearDay" => Value::int(fields.year_day),
        "Unix" => Value::int64(time.unix_seconds()),
        // These wrap around far from the epoch, as Go's do.
        "UnixMilli" => Value::int64(time.unix_nanos().div_euclid(1_000_000) as i64),
        "UnixMicro" => Value::int64(time.unix_nanos().div_euclid(1_000) as i64),
        "UnixNano" => Value::int64(time.unix_nanos() as i64),
        "IsZero" => Value::Bool(time.is_zero()),
        "IsDST" => Value::Bool(match &time.zone {
            Zone::Named(zone) => zone.to_offset_info(time.at).dst().is_dst(),
            Zone::Utc | Zone::Fixed { .. } => false,
        }),
        "UTC" | "Local" => time.in_zone(Zone::Utc).into(),
        "Location" => Value::Object(std::sync::Arc::new(Location(time.zone.clone()))),
        "String" => Value::str(time.to_string()),
        "GoString" => Value::str(go_string(time)),
        "MarshalText" => Value::bytes(format(time, RFC3339_NANO).as_bytes()),
        "MarshalJSON" => Value::bytes(format!("\"{}\"", format(time, RFC3339_NANO)).as_bytes()),
        "Date" | "Clock" | "ISOWeek" | "Zone" | "ZoneBounds" => {
            let count = if matches!(name, "Date" | "Clock") { 3 } else { 2 };
            return Err(CallError::new(format!(
                "can't call method/function \"{name}\" with {count} results"
            )));
        }
        "Compare" => Value::int(match time.at.cmp(&time_arg(args)?.at) {
            Ordering::Less => -1,
            Ordering::Equal => 0,
            Ordering::Greater => 1,
        }),
        "Format" => Value::str(format(time, &str_arg(args, 0)?)),
        "AppendFormat" => match args.first() {
            Some(Value::Bytes(bytes)) => {
                let mut bytes = bytes.to_vec();
                bytes.extend_from_slice(format(time, &str_arg(args, 1)?).as_bytes());
                Value::bytes(&bytes)
            }
            other => return Err(wrong("[]uint8", other.unwrap_or(&Value::Nil))),
        },
        "In" => match args.first() {
            Some(Value::Object(object)) if object.as_any().is::<Location>() => {
                let zone = object.as_any().downcast_ref::<Location>().map(|l| l.0.clone());
                time.in_zone(zone.unwrap_or(Zone::Utc)).into()
            }
            other => return Err(wrong("*time.Location", other.unwrap_or(&Value::Nil))),
        },
        "Truncate" | "Round" => {
            let unit = duration_arg(args)?;
            if unit <= 0 {
                return Ok(time.clone().into());
            }
            let rest = i64::try_from(time.since_zero().rem_euclid(i128::from(unit))).unwrap_or_default();
            let down = name == "Truncate" || rest < unit - rest;
            time.add(if down { -rest } else { unit - rest })?.into()
        }
        "AddDate" => {
            let (years, months, days) = (int_arg(args, 0)?, int_arg(args, 1)?, int_arg(args, 2)?);
            let date = (
                fields.year.saturating_add(years),
                fields.month.saturating_add(months),
                fields.day.saturating_add(days),
            );
            let clock = (fields.hour, fields.minute, fields.second);
            Time::date(date, clock, fields.nanosecond, time.zone.clone())?.into()
        }
        _ => return Err(CallError::new(format!("time.Time has no method {name}"))),
    })
}

fn str_arg(args: &[Value], at: usize) -> Result<String> {
    match args.get(at) {
        Some(Value::Str(text)) => Ok(text.to_str_lossy().into_owned()),
        other => Err(wrong("string", other.unwrap_or(&Value::Nil))),
    }
}

fn of_duration(nanos: i64, name: &str, args: &[Value]) -> Result<Value> {
    // Whole units and the rest apart, which keeps the digits that one division would lose.
    let float = |unit: i64| Value::Float((nanos / unit) as f64 + (nanos % unit) as f64 / unit as f64);
    Ok(match name {
        "Hours" => float(3_600_000_000_000),
        "Minutes" => float(60_000_000_000),
        "Seconds" => float(1_000_000_000),
        "Milliseconds" => Value::int64(nanos / 1_000_000),
        "Microseconds" => Value::int64(nanos / 1_000),
        "Nanoseconds" => Value::int64(nanos),
        "String" => Value::str(duration_text(nanos)),
        "Abs" => Value::Duration(nanos.saturating_abs()),
        "Round" => Value::Duration(round_duration(nanos, duration_arg(args)?)),
        "Truncate" => Value::Duration(truncate_duration(nanos, duration_arg(args)?)),
        _ => return Err(CallError::new(format!("time.Duration has no method {name}"))),
    })
}

fn go_string(time: &Time) -> String {
    let f = time.fields();
    let location = match &time.zone {
        Zone::Utc => "time.UTC".into(),
        other => format!("time.Location({:?})", other.name()),
    };
    format!(
        "time.Date({}, time.{}, {}, {}, {}, {}, {}, {location})",
        f.year,
        month_name(f.month),
        f.day,
        f.hour,
        f.minute,
        f.second,
        f.nanosecond
    )
}

/// A `*time.Location`, which the method `Location` gives and `In` takes.
#[derive(Debug)]
struct Location(Zone);

impl Object for Location {
    fn go_type(&self) -> &'static str {
        "*time.Location"
    }

    fn print(&self) -> String {
        self.0.name()
    }

    fn member(&self, name: &str) -> Option<Value> {
        (name == "String").then(|| Value::str(self.print()))
    }

    fn call(&self, name: &str, _args: &[Value]) -> Option<Result<Value>> {
        self.member(name).map(Ok)
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

/// The year and week of ISO 8601.
impl Time {
    /// Go's `ISOWeek`: year and week number.
    pub fn iso_week(&self) -> (i64, i64) {
        let fields = self.fields();
        let local = (self.unix_seconds() + fields.offset).div_euclid(SECONDS_PER_DAY);
        // A week belongs to the year of its Thursday.
        let thursday = local + 3 - (fields.weekday + 6) % 7;
        let mut year = fields.year;
        if thursday < days_from_civil(year, 1, 1) {
            year -= 1;
        } else if thursday >= days_from_civil(year + 1, 1, 1) {
            year += 1;
        }
        (year, (thursday - days_from_civil(year, 1, 1)) / 7 + 1)
    }
}
