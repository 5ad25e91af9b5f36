//! Go's `time.Time` and `time.Duration`.
//!
//! Nothing here reads a clock: whoever needs the present moment passes it in.

mod duration;
mod layout;
mod methods;
mod parse;

use std::fmt;

use jiff::{Timestamp, tz};

use crate::{CallError, Value};

pub use duration::{duration_text, parse_duration, round as round_duration, truncate as truncate_duration};
pub use methods::call_method;
pub use parse::{parse, parse_in, parse_rfc3339};

/// The layout of RFC 3339, as Go names it.
pub const RFC3339: &str = "2006-01-02T15:04:05Z07:00";
/// The layout of RFC 3339 with a fraction of a second where there is one.
pub const RFC3339_NANO: &str = "2006-01-02T15:04:05.999999999Z07:00";

/// Seconds from the first moment of year 1, Go's zero time, to the Unix epoch.
pub(crate) const YEAR_ONE: i64 = -62_135_596_800;
pub(crate) const SECONDS_PER_DAY: i64 = 86_400;

pub(crate) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
pub(crate) const WEEKDAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// A `time.Time`: an instant and the zone it is shown in.
#[derive(Clone, Debug)]
pub struct Time {
    /// The instant.
    pub at: Timestamp,
    /// The zone in which fields and texts are computed.
    pub zone: Zone,
}

/// The location of a [`Time`].
#[derive(Clone, Debug, PartialEq)]
pub enum Zone {
    /// UTC, whose name prints as `UTC`.
    Utc,
    /// A fixed offset in seconds east of UTC, as parsing makes them; the name may be empty.
    Fixed {
        /// Abbreviation, such as `CET`; empty prints as the numeric offset.
        name: Box<str>,
        /// Seconds east of UTC.
        seconds: i32,
    },
    /// A zone of the time zone database.
    Named(tz::TimeZone),
}

impl Zone {
    /// The zone of that name in the bundled database. As in Go the empty name and `UTC` are UTC; `Local` is
    /// UTC too, because a container has no other local time.
    pub fn load(name: &str) -> Result<Zone, CallError> {
        if matches!(name, "" | "UTC" | "Local") {
            return Ok(Zone::Utc);
        }
        let unknown = || CallError::new(format!("unknown time zone {name}"));
        // The database lookup ignores case, Go's does not.
        let zone = tz::TimeZone::get(name).map_err(|_| unknown())?;
        match zone.iana_name() {
            Some(found) if found == name => Ok(Zone::Named(zone)),
            _ => Err(unknown()),
        }
    }

    /// Seconds east of UTC at an instant.
    pub fn offset(&self, at: Timestamp) -> i64 {
        match self {
            Zone::Utc => 0,
            Zone::Fixed { seconds, .. } => i64::from(*seconds),
            Zone::Named(zone) => i64::from(zone.to_offset(at).seconds()),
        }
    }

    /// The abbreviation in force at an instant; empty for an offset without a name.
    pub fn abbreviation(&self, at: Timestamp) -> String {
        match self {
            Zone::Utc => "UTC".into(),
            Zone::Fixed { name, .. } => name.to_string(),
            Zone::Named(zone) => zone.to_offset_info(at).abbreviation().to_string(),
        }
    }

    /// What `Location.String` gives.
    pub fn name(&self) -> String {
        match self {
            Zone::Utc => "UTC".into(),
            Zone::Fixed { name, .. } => name.to_string(),
            Zone::Named(zone) => zone.iana_name().unwrap_or_default().to_string(),
        }
    }
}

/// The same instant shown in the same zone.
impl PartialEq for Time {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at && self.zone == other.zone
    }
}

/// What Go's `Time.String` gives.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format(self, "2006-01-02 15:04:05.999999999 -0700 MST"))
    }
}

/// The calendar and clock fields of a [`Time`] in its zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields {
    /// Year, which may be 0 or negative.
    pub year: i64,
    /// Month from 1.
    pub month: i64,
    /// Day of the month from 1.
    pub day: i64,
    /// Hour.
    pub hour: i64,
    /// Minute.
    pub minute: i64,
    /// Second.
    pub second: i64,
    /// Nanosecond.
    pub nanosecond: i64,
    /// Day of the week, Sunday is 0.
    pub weekday: i64,
    /// Day of the year from 1.
    pub year_day: i64,
    /// Seconds east of UTC.
    pub offset: i64,
}

impl Time {
    /// Go's zero time: the first moment of year 1 in UTC.
    pub fn zero() -> Time {
        Time { at: Timestamp::from_second(YEAR_ONE).unwrap_or(Timestamp::UNIX_EPOCH), zone: Zone::Utc }
    }

    /// An instant shown in UTC.
    pub fn utc(at: Timestamp) -> Time {
        Time { at, zone: Zone::Utc }
    }

    /// Whether it is shown in UTC.
    pub fn is_utc(&self) -> bool {
        matches!(self.zone, Zone::Utc)
    }

    /// Go's `time.Unix`, shown in UTC.
    pub fn unix(seconds: i64, nanoseconds: i64) -> Result<Time, CallError> {
        let seconds = i128::from(seconds) * NANOS + i128::from(nanoseconds);
        Ok(Time::utc(instant(seconds)?))
    }

    /// Go's `time.Date`: fields outside their usual range carry over.
    pub fn date(
        ymd: (i64, i64, i64),
        hms: (i64, i64, i64),
        nanosecond: i64,
        zone: Zone,
    ) -> Result<Time, CallError> {
        let (year, month, day) = ymd;
        let months = i128::from(month) - 1;
        let year = i128::from(year) + months.div_euclid(12);
        let month = months.rem_euclid(12) + 1;
        let (Ok(year), Ok(month)) = (i64::try_from(year), i64::try_from(month)) else {
            return Err(out_of_range());
        };
        if !(-100_000..=100_000).contains(&year) {
            return Err(out_of_range());
        }
        let days = i128::from(days_from_civil(year, month, 1)) + i128::from(day) - 1;
        let local = days * i128::from(SECONDS_PER_DAY)
            + i128::from(hms.0) * 3600
            + i128::from(hms.1) * 60
            + i128::from(hms.2);
        let local = local * NANOS + i128::from(nanosecond);
        let guess = zone.offset(instant(local)?);
        // The offset holds for the wall clock; what counts is the one in force at the resulting instant.
        let offset = if guess == 0 { 0 } else { zone.offset(instant(local - i128::from(guess) * NANOS)?) };
        Ok(Time { at: instant(local - i128::from(offset) * NANOS)?, zone })
    }

    /// Seconds since the Unix epoch, rounded down.
    pub fn unix_seconds(&self) -> i64 {
        self.at.as_second() - i64::from(self.at.subsec_nanosecond() < 0)
    }

    /// Nanoseconds since the Unix epoch.
    pub fn unix_nanos(&self) -> i128 {
        self.at.as_nanosecond()
    }

    /// Nanoseconds within the second.
    pub fn nanosecond(&self) -> i64 {
        i64::from(self.at.subsec_nanosecond()).rem_euclid(1_000_000_000)
    }

    /// The calendar and clock fields in the time's zone.
    pub fn fields(&self) -> Fields {
        let offset = self.zone.offset(self.at);
        let local = self.unix_seconds() + offset;
        let days = local.div_euclid(SECONDS_PER_DAY);
        let rest = local.rem_euclid(SECONDS_PER_DAY);
        let (year, month, day) = civil_from_days(days);
        Fields {
            year,
            month,
            day,
            hour: rest / 3600,
            minute: rest / 60 % 60,
            second: rest % 60,
            nanosecond: self.nanosecond(),
            weekday: (days + 4).rem_euclid(7),
            year_day: days - days_from_civil(year, 1, 1) + 1,
            offset,
        }
    }

    /// This time moved by a duration in nanoseconds.
    pub fn add(&self, nanos: i64) -> Result<Time, CallError> {
        Ok(Time { at: instant(self.unix_nanos() + i128::from(nanos))?, zone: self.zone.clone() })
    }

    /// The duration since another time in nanoseconds; it saturates as Go's does.
    pub fn sub(&self, other: &Time) -> i64 {
        let nanos = self.unix_nanos() - other.unix_nanos();
        i64::try_from(nanos).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX })
    }

    /// The same instant shown in another zone.
    pub fn in_zone(&self, zone: Zone) -> Time {
        Time { at: self.at, zone }
    }

    /// Whether this is Go's zero time.
    pub fn is_zero(&self) -> bool {
        self.unix_nanos() == i128::from(YEAR_ONE) * NANOS
    }

    /// Nanoseconds since Go's zero time, the origin that rounding counts from.
    pub(crate) fn since_zero(&self) -> i128 {
        self.unix_nanos() - i128::from(YEAR_ONE) * NANOS
    }
}

/// What Go's `Time.Format` gives.
pub fn format(time: &Time, layout: &str) -> String {
    layout::format(time, layout)
}

/// The English name of a month from 1, or what Go prints for another number.
pub fn month_name(month: i64) -> String {
    name_of(&MONTHS, month.checked_sub(1), || format!("%!Month({})", month as u64))
}

/// The English name of a day of the week, Sunday is 0, or what Go prints for another number.
pub fn weekday_name(day: i64) -> String {
    name_of(&WEEKDAYS, Some(day), || format!("%!Weekday({})", day as u64))
}

fn name_of(names: &[&str], at: Option<i64>, other: impl Fn() -> String) -> String {
    at.and_then(|at| usize::try_from(at).ok())
        .and_then(|at| names.get(at))
        .map_or_else(other, |name| (*name).to_string())
}

const NANOS: i128 = 1_000_000_000;

fn out_of_range() -> CallError {
    CallError::new("time is outside the years -9999 to 9999")
}

fn instant(nanos: i128) -> Result<Timestamp, CallError> {
    // Dividing 128 bits takes ten times as long, and few times are more than 292 years from the epoch.
    if let Ok(nanos) = i64::try_from(nanos)
        && let Ok(at) = Timestamp::new(nanos / 1_000_000_000, (nanos % 1_000_000_000) as i32)
    {
        return Ok(at);
    }
    Timestamp::from_nanosecond(nanos).map_err(|_| out_of_range())
}

pub(crate) fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

pub(crate) fn days_in(month: i64, year: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since the Unix epoch of a date in the proleptic Gregorian calendar.
pub(crate) fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    // Years are counted from March, so that the leap day is the last one.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

impl From<Time> for Value {
    fn from(time: Time) -> Value {
        Value::Time(std::sync::Arc::new(time))
    }
}
