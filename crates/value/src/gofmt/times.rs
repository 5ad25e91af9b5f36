//! Times under verbs that are not for text.

use super::printer::{ADDRESS, Printer};
use crate::{
    IntKind, Value,
    time::{self, Time, Zone},
};

/// A time as Go source, which is what `%#v` prints.
pub(super) fn time_source(time: &Time) -> String {
    let fields = time.fields();
    let zone = match &time.zone {
        Zone::Utc => "time.UTC".to_owned(),
        zone => format!("time.Location({:?})", zone.name()),
    };
    format!(
        "time.Date({}, time.{}, {}, {}, {}, {}, {}, {zone})",
        fields.year,
        time::month_name(fields.month),
        fields.day,
        fields.hour,
        fields.minute,
        fields.second,
        time.nanosecond()
    )
}

impl Printer<'_> {
    /// Under a verb that is not for text a time is the struct that Go keeps it in.
    pub(super) fn time_fields(&mut self, time: &Time, verb: char) {
        const SECONDS_FROM_YEAR_1_TO_1970: i64 = 62_135_596_800;
        self.raw(b"{");
        self.value(&Value::Int(time.nanosecond(), IntKind::Uint64), verb);
        self.raw(b" ");
        let seconds = time.unix_seconds().wrapping_add(SECONDS_FROM_YEAR_1_TO_1970);
        self.value(&Value::Int(seconds, IntKind::Int64), verb);
        self.raw(b" ");
        // The location: a pointer, nil for UTC.
        let pointer = if time.is_utc() { 0 } else { ADDRESS };
        match verb {
            'v' if pointer == 0 => self.pad(b"<nil>"),
            'v' => self.raw(format!("0x{pointer:x}").as_bytes()),
            'b' | 'o' | 'd' | 'x' | 'X' => {
                self.integer(&Value::Int(pointer as i64, IntKind::Uint64), pointer, false, verb)
            }
            _ => {
                self.marker(verb, "(*time.Location=");
                match pointer {
                    0 => self.pad(b"<nil>"),
                    _ => self.raw(format!("0x{pointer:x}").as_bytes()),
                }
                self.raw(b")");
            }
        }
        self.raw(b"}");
    }
}
