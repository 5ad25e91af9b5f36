//! Go's `time.Time` and `time.Duration`.

use crate::{CallError, Value};

/// A `time.Time`: an instant and the zone it is shown in.
#[derive(Clone, Debug)]
pub struct Time {
    /// The instant.
    pub at: jiff::Timestamp,
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
    Named(jiff::tz::TimeZone),
}

/// The same instant shown in the same zone.
impl PartialEq for Time {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at && self.zone == other.zone
    }
}

/// Calls a method of a `time.Time`, `time.Duration`, `time.Month` or `time.Weekday`. `None` if `receiver` has no
/// method of that name.
pub fn call_method(receiver: &Value, name: &str, args: &[Value]) -> Option<Result<Value, CallError>> {
    let _ = (receiver, name, args);
    None
}
