//! Times in which nothing is wanted, by the clock on the wall of a place.

use std::collections::BTreeSet;

use jiff::{
    Timestamp,
    civil::{Date, DateTime, Time},
    tz::TimeZone,
};
use serde::Deserialize;

/// How far ahead the end of a muted time is looked for; then it is looked at again.
const HORIZON_DAYS: i64 = 60;

/// A recurring time, as Alertmanager's time intervals: all given parts must hold; a part that is left out always holds.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "Written")]
pub struct MuteTime {
    name: String,
    /// Minutes of the day, from and to. To before from goes over midnight and belongs to the day on which it begins.
    times: Vec<(i16, i16)>,
    /// Monday is 1.
    weekdays: Vec<(i16, i16)>,
    /// Negative ones count from the end of the month.
    days_of_month: Vec<(i16, i16)>,
    months: Vec<(i16, i16)>,
    years: Vec<(i16, i16)>,
    zone: TimeZone,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[derive(Default)]
struct Written {
    name: String,
    times: Vec<WrittenTimes>,
    weekdays: Vec<Word>,
    #[serde(alias = "days_of_month")]
    days_of_month: Vec<Word>,
    months: Vec<Word>,
    years: Vec<Word>,
    location: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenTimes {
    #[serde(alias = "start_time")]
    start_time: String,
    #[serde(alias = "end_time")]
    end_time: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Word {
    Text(String),
    Number(i64),
}

const WEEKDAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

impl TryFrom<Written> for MuteTime {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let location = written.location.as_deref().unwrap_or("UTC");
        let zone = TimeZone::get(location).map_err(|_| {
            format!("muteTimes: location {location:?} is no time zone; write one like Europe/Berlin or UTC")
        })?;
        let times = written.times.iter().map(|times| {
            let (from, to) = (minutes(&times.start_time)?, minutes(&times.end_time)?);
            if from == to || from == 24 * 60 {
                return Err(format!(
                    "muteTimes: from {} to {} is no time at all; leave `times` out for the whole day",
                    times.start_time, times.end_time
                ));
            }
            Ok((from, to))
        });
        Ok(MuteTime {
            name: written.name,
            times: times.collect::<Result<_, _>>()?,
            weekdays: ranges(&written.weekdays, "weekdays", &WEEKDAYS, (1, 7))?,
            days_of_month: ranges(&written.days_of_month, "daysOfMonth", &[], (-31, 31))?,
            months: ranges(&written.months, "months", &MONTHS, (1, 12))?,
            years: ranges(&written.years, "years", &[], (1970, 9998))?,
            zone,
        })
    }
}

/// `HH:MM`, up to 24:00.
fn minutes(text: &str) -> Result<i16, String> {
    let parsed = text.split_once(':').and_then(|(hours, minutes)| {
        let digits = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(hours) || !digits(minutes) {
            return None;
        }
        let (hours, minutes): (i16, i16) = (hours.parse().ok()?, minutes.parse().ok()?);
        let all = hours * 60 + minutes;
        (minutes < 60 && all <= 24 * 60).then_some(all)
    });
    parsed.ok_or_else(|| format!("muteTimes: {text:?} is no time of day; write one like \"22:00\""))
}

fn ranges(
    words: &[Word],
    field: &str,
    names: &[&str],
    (least, most): (i16, i16),
) -> Result<Vec<(i16, i16)>, String> {
    let one = |text: &str| {
        let text = text.trim().to_ascii_lowercase();
        let position = names.iter().position(|name| *name == text);
        let number = match position {
            Some(position) => i16::try_from(position + 1).ok(),
            None => text.parse().ok(),
        };
        number.filter(|number| (least..=most).contains(number) && *number != 0)
    };
    let range = |word: &Word| {
        let text = match word {
            Word::Text(text) => text.clone(),
            Word::Number(number) => number.to_string(),
        };
        let (from, to) = text.split_once(':').unwrap_or((&text, &text));
        match (one(from), one(to)) {
            // 25:-1 is a range, -1:25 is none.
            (Some(from), Some(to)) if (from <= to && (from < 0) == (to < 0)) || (from > 0 && to < 0) => {
                Ok((from, to))
            }
            _ => {
                let example = names.first().map_or_else(
                    || if least < 0 { "1:5 or -1".to_owned() } else { "2026:2027".to_owned() },
                    |first| format!("{first}:{}", names.get(4).unwrap_or(first)),
                );
                Err(format!("muteTimes: {field}: {text:?} is no range; write one like {example}"))
            }
        }
    };
    words.iter().map(range).collect()
}

impl MuteTime {
    /// Its name, for the history.
    pub fn name(&self) -> &str {
        if self.name.is_empty() { "muteTimes" } else { &self.name }
    }

    /// Whether nothing is wanted at that time.
    pub fn is_active(&self, at: Timestamp) -> bool {
        self.covers(self.zone.to_datetime(at))
    }

    fn covers(&self, local: DateTime) -> bool {
        let (date, time) = (local.date(), local.time());
        let minute = i16::from(time.hour()) * 60 + i16::from(time.minute());
        if self.times.is_empty() {
            return self.holds_on(date);
        }
        self.times.iter().any(|&(from, to)| {
            if from < to {
                (from..to).contains(&minute) && self.holds_on(date)
            } else {
                (minute >= from && self.holds_on(date))
                    || (minute < to && date.yesterday().is_ok_and(|before| self.holds_on(before)))
            }
        })
    }

    fn holds_on(&self, date: Date) -> bool {
        let among = |ranges: &[(i16, i16)], value: i16| {
            ranges.is_empty() || ranges.iter().any(|&(from, to)| (from..=to).contains(&value))
        };
        let length = i16::from(date.days_in_month());
        let day = i16::from(date.day());
        let from_start = |number: i16| if number < 0 { length + 1 + number } else { number };
        among(&self.weekdays, i16::from(date.weekday().to_monday_one_offset()))
            && among(&self.months, i16::from(date.month()))
            && among(&self.years, date.year())
            && (self.days_of_month.is_empty()
                || self
                    .days_of_month
                    .iter()
                    .any(|&(from, to)| (from_start(from)..=from_start(to)).contains(&day)))
    }

    /// Moments of a day, and of the clock changes behind a time, at which it may begin or end.
    fn edges(&self, date: Date, found: &mut BTreeSet<Timestamp>) {
        let ends = self.times.iter().flat_map(|&(from, to)| [from, to]);
        for minute in ends.chain([0]) {
            let minute = minute % (24 * 60);
            let time = Time::new((minute / 60) as i8, (minute % 60) as i8, 0, 0).unwrap_or(Time::MIN);
            // A time that the clock shows twice is an edge twice; one that it skips is none, but does no harm.
            let moment = self.zone.to_ambiguous_zoned(date.to_datetime(time));
            found.extend(moment.clone().earlier().ok().map(|zoned| zoned.timestamp()));
            found.extend(moment.later().ok().map(|zoned| zoned.timestamp()));
        }
    }
}

/// Until when nothing is wanted, and by which of the times; `None` if it is wanted now.
pub(super) fn muted(times: &[MuteTime], at: Timestamp) -> Option<(Timestamp, &str)> {
    let by = times.iter().find(|time| time.is_active(at))?;
    let mut edges = BTreeSet::new();
    for days in 0..=HORIZON_DAYS {
        for time in times {
            let today = time.zone.to_datetime(at).date();
            if let Ok(date) = today.checked_add(jiff::Span::new().days(days)) {
                time.edges(date, &mut edges);
            }
            if days == 0 {
                edges.extend(time.zone.following(at).take(2).map(|change| change.timestamp()));
            }
        }
        // A later day's edges may lie before this day's in another zone by less than two days.
        let safe =
            at.checked_add(jiff::SignedDuration::from_hours(24 * (days - 2))).unwrap_or(Timestamp::MAX);
        let end = edges.iter().find(|edge| **edge > at && !times.iter().any(|time| time.is_active(**edge)));
        if let Some(end) = end
            && (*end <= safe || days >= 3)
        {
            return Some((*end, by.name()));
        }
        edges.retain(|edge| *edge > safe);
    }
    let horizon = at.checked_add(jiff::SignedDuration::from_hours(24 * HORIZON_DAYS));
    Some((horizon.unwrap_or(Timestamp::MAX), by.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(text: &str) -> Vec<MuteTime> {
        serde_json::from_str(text).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// (mute times, time, until when it is muted). Calendar facts: 2026-11-23 is a Monday; Berlin's clocks go back on
    /// 2026-10-25 at 01:00 UTC and forward on 2026-03-29 at 01:00 UTC; 2028 is a leap year.
    #[test]
    fn when_and_until_when() {
        let night = r#"[{"name": "night", "times": [{"startTime": "22:00", "endTime": "06:00"}], "location": "Europe/Berlin"}]"#;
        let weekend = r#"[{"weekdays": ["saturday", "sunday"], "location": "Europe/Berlin"}]"#;
        let friday_night =
            r#"[{"times": [{"start_time": "20:00", "end_time": "08:00"}], "weekdays": ["friday"]}]"#;
        let both = r#"[{"times": [{"startTime": "18:00", "endTime": "24:00"}]}, {"times": [{"startTime": "00:00", "endTime": "07:30"}], "location": "UTC"}]"#;
        let last_days = r#"[{"daysOfMonth": ["-2:-1"], "months": ["february"]}]"#;
        let repeated =
            r#"[{"times": [{"startTime": "01:00", "endTime": "02:30"}], "location": "Europe/Berlin"}]"#;
        let ny =
            r#"[{"times": [{"startTime": "09:00", "endTime": "17:00"}], "location": "America/New_York"}]"#;
        let table = [
            (night, "2026-11-23T20:59:59Z", None),
            (night, "2026-11-23T21:00:00Z", Some("2026-11-24T05:00:00Z")),
            (night, "2026-11-24T04:59:59Z", Some("2026-11-24T05:00:00Z")),
            (night, "2026-11-24T05:00:00Z", None),
            // Summer time: the same wall clock is an hour earlier; the night of the change is an hour longer, or shorter.
            (night, "2026-07-01T20:00:00Z", Some("2026-07-02T04:00:00Z")),
            (night, "2026-10-24T20:00:00Z", Some("2026-10-25T05:00:00Z")),
            (night, "2026-03-28T21:00:00Z", Some("2026-03-29T04:00:00Z")),
            (weekend, "2026-11-20T22:59:00Z", None),
            (weekend, "2026-11-20T23:00:00Z", Some("2026-11-22T23:00:00Z")),
            (friday_night, "2026-11-20T20:00:00Z", Some("2026-11-21T08:00:00Z")),
            (friday_night, "2026-11-21T07:00:00Z", Some("2026-11-21T08:00:00Z")),
            (friday_night, "2026-11-21T20:00:00Z", None),
            (both, "2026-11-23T18:00:00Z", Some("2026-11-24T07:30:00Z")),
            (both, "2026-11-23T12:00:00Z", None),
            (last_days, "2028-02-28T00:00:00Z", Some("2028-03-01T00:00:00Z")),
            (last_days, "2027-02-26T12:00:00Z", None),
            (last_days, "2027-02-27T00:00:00Z", Some("2027-03-01T00:00:00Z")),
            // The clock shows 02:00 to 03:00 twice: muted, wanted, muted again.
            (repeated, "2026-10-25T00:10:00Z", Some("2026-10-25T00:30:00Z")),
            (repeated, "2026-10-25T00:45:00Z", None),
            (repeated, "2026-10-25T01:10:00Z", Some("2026-10-25T01:30:00Z")),
            // And never on this day: the end falls into what is skipped.
            (repeated, "2026-03-29T00:30:00Z", Some("2026-03-29T01:00:00Z")),
            (ny, "2026-11-23T15:00:00Z", Some("2026-11-23T22:00:00Z")),
        ];
        for (written, now, until) in table {
            let times = times(written);
            let found = muted(&times, at(now)).map(|(until, _)| until);
            assert_eq!(found, until.map(at), "{written} at {now}");
        }
        assert_eq!(muted(&times(night), at("2026-11-23T23:00:00Z")).unwrap().1, "night");
    }

    #[test]
    fn a_time_without_end_is_looked_at_again() {
        let always = times("[{}]");
        let (until, _) = muted(&always, at("2026-11-23T00:00:00Z")).unwrap();
        assert_eq!(until, at("2027-01-22T00:00:00Z"));
        let ended = times(r#"[{"years": ["2026"]}]"#);
        assert_eq!(muted(&ended, at("2026-12-24T00:00:00Z")).unwrap().0, at("2027-01-01T00:00:00Z"));
        assert!(muted(&always, Timestamp::MAX).is_some() && muted(&always, Timestamp::MIN).is_some());
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (written, part) in [
            (r#"[{"location": "Europe/Berlim"}]"#, "is no time zone"),
            (r#"[{"times": [{"startTime": "8:00", "endTime": "09:00"}]}]"#, "\"8:00\" is no time of day"),
            (r#"[{"times": [{"startTime": "08:00", "endTime": "24:01"}]}]"#, "is no time of day"),
            (r#"[{"times": [{"startTime": "08:00", "endTime": "08:00"}]}]"#, "is no time at all"),
            (r#"[{"weekdays": ["friday:monday"]}]"#, "write one like monday:friday"),
            (r#"[{"weekdays": ["fri"]}]"#, "weekdays: \"fri\" is no range"),
            (r#"[{"daysOfMonth": [0]}]"#, "daysOfMonth: \"0\" is no range"),
            (r#"[{"daysOfMonth": ["-1:25"]}]"#, "is no range"),
            (r#"[{"months": [13]}]"#, "is no range"),
            (r#"[{"wekdays": []}]"#, "unknown field `wekdays`"),
        ] {
            let error = serde_json::from_str::<Vec<MuteTime>>(written).unwrap_err().to_string();
            assert!(error.contains(part), "{written}: {error}");
        }
    }
}
