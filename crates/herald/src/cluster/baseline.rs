//! Since when what happens is told. What was there before is recorded at the first look, and not told.

use jiff::Timestamp;

use crate::election::Noted;

/// When objects were first looked at, by whoever did.
pub(super) struct Baseline {
    /// By us: what our store knows.
    own: Option<Timestamp>,
    /// By any replica: what is noted on the leases.
    noted: Noted,
}

impl Baseline {
    /// From what the store and the leases say.
    pub(super) fn new(own: Option<Timestamp>, noted: Noted) -> Baseline {
        Baseline { own, noted }
    }

    /// When somebody first looked at what an object belongs to; `None` if nobody has: it is looked at in silence.
    ///
    /// With shards the store's word is not enough: it may be about others than those that we hold now.
    pub(super) fn of(&self, uid: &str) -> Option<Timestamp> {
        let noted = self.noted.about(uid).and_then(|text| text.parse().ok());
        let own = self.own.filter(|_| !self.noted.is_by_shard());
        own.into_iter().chain(noted).min()
    }

    /// The earliest of all.
    pub(super) fn earliest(&self) -> Option<Timestamp> {
        self.noted.all().filter_map(|text| text.parse().ok()).chain(self.own).min()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn at(text: &str) -> Option<Timestamp> {
        Some(text.parse().unwrap())
    }

    const EARLY: &str = "2026-01-01T00:00:00Z";
    const LATE: &str = "2026-02-02T00:00:00Z";

    #[test]
    fn of_store_and_lease_the_earlier_one_counts() {
        assert_eq!(Baseline::new(None, Noted::Once(None)).of("a"), None);
        assert_eq!(Baseline::new(at(LATE), Noted::Once(None)).of("a"), at(LATE));
        assert_eq!(Baseline::new(at(LATE), Noted::Once(Some(EARLY.into()))).of("a"), at(EARLY));
        assert_eq!(Baseline::new(None, Noted::Once(Some("soon".into()))).of("a"), None);
    }

    #[test]
    fn a_shard_that_nobody_acted_for_is_looked_at_in_silence() {
        // "a" belongs to shard 5 of 8, "foobar" to shard 4.
        let notes = BTreeMap::from([(5, EARLY.to_owned())]);
        let baseline = Baseline::new(at(LATE), Noted::ByShard { total: 8, notes });
        assert_eq!(baseline.of("a"), at(EARLY));
        assert_eq!(baseline.of("foobar"), None);
        assert_eq!(baseline.earliest(), at(EARLY));
    }
}
