//! What this process holds of the stream: the notices of the partitions that it has claimed, without their payloads but
//! for those that arrived just now.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    time::{Duration, Instant},
};

use async_nats::Subject;
use bytes::Bytes;

use super::record::{Record, time};
use crate::{LaneKey, Place, Queued};

/// Messages that are known to be done, at most.
const MOST_ENDED: usize = 50_000;

/// A payload that arrived is good for so long: who dropped the notice meanwhile was too late, as for one on its way.
const FRESH: Duration = Duration::from_secs(1);

/// Bytes of payloads that are kept at most.
const MOST_BYTES: usize = 32 << 20;

/// A notice that waits here.
pub(super) struct Entry {
    pub(super) sequence: u64,
    pub(super) partition: u32,
    /// Where it is acknowledged.
    pub(super) reply: Option<Subject>,
    /// Without the payload, unless it is on its way.
    pub(super) record: Record,
    pub(super) on_way: bool,
    lane: LaneKey,
    arrived: Instant,
}

impl Entry {
    fn queued(&self, place: Place) -> Queued {
        let record = &self.record;
        Queued {
            place,
            id: record.id.clone(),
            trigger: record.trigger.clone(),
            lane: self.lane.clone(),
            created: time(record.created),
            due: time(record.due),
            attempts: record.attempts,
            waited: std::time::Duration::from_millis(record.waited),
        }
    }
}

/// By the order of arrival, which within a lane is the order of the stream. A place is this process's own: a partition
/// that is claimed later arrives behind what is held.
#[derive(Default)]
pub(super) struct Held {
    entries: BTreeMap<Place, Entry>,
    by_id: HashMap<String, Place>,
    by_lane: HashMap<LaneKey, BTreeSet<Place>>,
    last: Place,
    /// Partitions that are ours, each with the number of its claim, and until when it holds.
    claims: HashMap<u32, (u64, Instant)>,
    last_claim: u64,
    /// Messages that ended here. One that is read again may have been looked up before it ended.
    ended: BTreeSet<u64>,
    /// Payloads that arrived just now, in the order of their arrival.
    fresh: VecDeque<(Place, Instant, usize)>,
    fresh_bytes: usize,
}

impl Held {
    /// A partition is ours from now on; gives the number of the claim.
    pub(super) fn claim(&mut self, partition: u32, until: Instant) -> u64 {
        self.last_claim += 1;
        self.claims.insert(partition, (self.last_claim, until));
        self.last_claim
    }

    /// A claim holds for longer.
    pub(super) fn renew(&mut self, partition: u32, until: Instant) {
        if let Some(claim) = self.claims.get_mut(&partition) {
            claim.1 = until;
        }
    }

    /// Whether the partition of a notice is ours now: what is not renewed may be another's before that is noticed here.
    pub(super) fn is_ours(&self, place: Place, now: Instant) -> bool {
        let claim = self.entries.get(&place).and_then(|entry| self.claims.get(&entry.partition));
        claim.is_some_and(|claim| now < claim.1)
    }

    /// Lets payloads go that are old, or too many.
    fn forget_payloads(&mut self, now: Instant, most: usize) {
        while let Some((place, arrived, size)) = self.fresh.front().copied() {
            if now.duration_since(arrived) < FRESH && self.fresh_bytes <= most {
                return;
            }
            self.fresh.pop_front();
            self.fresh_bytes = self.fresh_bytes.saturating_sub(size);
            if let Some(entry) = self.entries.get_mut(&place).filter(|entry| !entry.on_way) {
                entry.record.payload = Bytes::new();
            }
        }
    }

    /// Takes a notice in, by a claim that still holds; `false` if its message is done: another one of a notice that is
    /// held, or of one that ended here.
    pub(super) fn arrive(
        &mut self,
        sequence: u64,
        (partition, claim): (u32, u64),
        reply: Option<Subject>,
        record: Record,
    ) -> bool {
        if self.claims.get(&partition).is_none_or(|held| held.0 != claim) {
            return true;
        }
        if self.ended.contains(&sequence) {
            return false;
        }
        if let Some(entry) = self.by_id.get(&record.id).and_then(|place| self.entries.get_mut(place)) {
            if entry.sequence != sequence {
                return false;
            }
            // Delivered again by the server, after a claim was lost while it was on its way.
            (entry.reply, entry.partition) = (reply, partition);
            return true;
        }
        self.last += 1;
        let place = self.last;
        let lane = record.notice().lane();
        self.by_id.insert(record.id.clone(), place);
        self.by_lane.entry(lane.clone()).or_default().insert(place);
        let (now, size) = (Instant::now(), record.payload.len());
        self.fresh.push_back((place, now, size));
        self.fresh_bytes += size;
        self.entries
            .insert(place, Entry { sequence, partition, reply, record, on_way: false, lane, arrived: now });
        self.forget_payloads(now, MOST_BYTES);
        true
    }

    pub(super) fn pending(&self, after: Place, limit: u32) -> Vec<Queued> {
        let behind = self.entries.range(after.saturating_add(1)..);
        behind.take(limit as usize).map(|(place, entry)| entry.queued(*place)).collect()
    }

    pub(super) fn pending_in_lane(&self, lane: &LaneKey, after: Place, limit: u32) -> Vec<Queued> {
        let places =
            self.by_lane.get(lane).into_iter().flat_map(|places| places.range(after.saturating_add(1)..));
        let entries = places.filter_map(|place| self.entries.get(place).map(|entry| entry.queued(*place)));
        entries.take(limit as usize).collect()
    }

    pub(super) fn at(&self, place: Place) -> Option<&Entry> {
        self.entries.get(&place)
    }

    /// It goes on its way; gives its sequence and, if it arrived just now, its payload; `None` if it isn't ours any more.
    pub(super) fn start(&mut self, place: Place, now: Instant) -> Option<(u64, Option<Bytes>)> {
        self.forget_payloads(now, MOST_BYTES);
        let entry = self.entries.get_mut(&place)?;
        entry.on_way = true;
        let fresh = now.duration_since(entry.arrived) < FRESH && !entry.record.payload.is_empty();
        let payload = fresh.then(|| entry.record.payload.clone());
        Some((entry.sequence, payload))
    }

    /// The payload of one that is on its way.
    pub(super) fn carry(&mut self, place: Place, payload: Bytes) -> Option<Record> {
        let entry = self.entries.get_mut(&place)?;
        entry.record.payload = payload;
        Some(entry.record.clone())
    }

    pub(super) fn of_id(&self, id: &str) -> Option<(Place, &Entry)> {
        let place = *self.by_id.get(id)?;
        Some((place, self.entries.get(&place)?))
    }

    /// It waits for another attempt.
    pub(super) fn back(&mut self, id: &str, record: &Record) {
        let Some(place) = self.by_id.get(id).copied() else { return };
        if let Some(entry) = self.entries.get_mut(&place) {
            entry.record = record.without_payload();
        }
        self.stay(place);
    }

    /// It isn't on its way any more; what was lost meanwhile is somebody else's.
    pub(super) fn stay(&mut self, place: Place) {
        let Some(entry) = self.entries.get_mut(&place) else { return };
        entry.on_way = false;
        entry.record.payload = Bytes::new();
        if !self.claims.contains_key(&entry.partition) {
            self.remove(place);
        }
    }

    /// It is done, and acknowledged.
    pub(super) fn end(&mut self, place: Place) {
        let Some(entry) = self.remove(place) else { return };
        self.ended.insert(entry.sequence);
        if self.ended.len() > MOST_ENDED {
            self.ended.pop_first();
        }
    }

    pub(super) fn remove(&mut self, place: Place) -> Option<Entry> {
        let entry = self.entries.remove(&place)?;
        self.by_id.remove(&entry.record.id);
        if let Some(places) = self.by_lane.get_mut(&entry.lane) {
            places.remove(&place);
            if places.is_empty() {
                self.by_lane.remove(&entry.lane);
            }
        }
        Some(entry)
    }

    /// A partition isn't ours any more: what isn't on its way is somebody else's.
    pub(super) fn lose(&mut self, partition: u32) {
        self.claims.remove(&partition);
        let lost: Vec<Place> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.partition == partition && !entry.on_way)
            .map(|(place, _)| *place)
            .collect();
        for place in lost {
            self.remove(place);
        }
    }

    /// How many of a partition are on their way.
    pub(super) fn on_way(&self, partition: u32) -> usize {
        self.entries.values().filter(|entry| entry.partition == partition && entry.on_way).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Notice, ObjectRef};

    fn record(id: &str, name: &str) -> Record {
        Record::of(&Notice {
            id: id.into(),
            object: ObjectRef { name: name.into(), ..ObjectRef::default() },
            trigger: "t".into(),
            service: "s".into(),
            recipient: "r".into(),
            created: time(1),
            due_after: time(1),
            payload: b"x".to_vec(),
        })
    }

    #[test]
    fn a_claim_that_is_lost_leaves_what_is_on_its_way() {
        let mut held = Held::default();
        let now = Instant::now();
        let until = now + std::time::Duration::from_secs(1);
        let claim = held.claim(0, until);
        for (sequence, id, name) in [(1, "a", "web"), (2, "b", "web"), (3, "c", "api")] {
            assert!(held.arrive(sequence, (0, claim), None, record(id, name)));
        }
        assert!(!held.arrive(9, (0, claim), None, record("a", "web")), "another message of the same notice");
        let lane = held.pending(0, 10)[0].lane.clone();
        assert_eq!(held.pending_in_lane(&lane, 1, 10).len(), 1);
        assert_eq!(held.start(1, now).map(|started| started.0), Some(1));
        held.lose(0);
        assert_eq!(held.start(2, now), None);
        assert!(held.arrive(2, (0, claim), None, record("b", "web")), "too late");
        assert_eq!((held.pending(0, 10).len(), held.on_way(0)), (1, 1));
        // Claimed again: the same message is the same notice, the rest comes behind.
        let claim = held.claim(0, until);
        assert!(held.is_ours(1, now) && !held.is_ours(1, until), "only until its claim runs out");
        assert!(held.arrive(1, (0, claim), None, record("a", "web")));
        assert!(held.arrive(2, (0, claim), None, record("b", "web")));
        let ids: Vec<String> = held.pending(0, 10).into_iter().map(|queued| queued.id).collect();
        assert_eq!(ids, ["a", "b"]);
        // Looked up before it ended, taken in after: it is done.
        held.end(1);
        assert!(!held.arrive(1, (0, claim), None, record("a", "web")));
    }

    #[test]
    fn a_payload_is_kept_for_a_moment_and_not_too_many() {
        let (mut held, now) = (Held::default(), Instant::now());
        let claim = held.claim(0, now + FRESH);
        for number in 1..=3 {
            held.arrive(number, (0, claim), None, record(&number.to_string(), "web"));
        }
        assert_eq!(held.start(1, now), Some((1, Some(Bytes::from_static(b"x")))));
        held.stay(1);
        assert_eq!(held.start(1, now), Some((1, None)), "after an attempt it is read again");
        held.forget_payloads(now, 1);
        assert_eq!((held.start(2, now), held.fresh_bytes), (Some((2, None)), 1), "too many bytes");
        assert_eq!(held.start(3, now + 2 * FRESH), Some((3, None)), "too old");
        assert_eq!((held.fresh.len(), held.fresh_bytes), (0, 0));
    }

    #[test]
    fn what_failed_after_its_claim_was_lost_is_somebody_elses() {
        let mut held = Held::default();
        let claim = held.claim(0, Instant::now());
        held.arrive(1, (0, claim), None, record("a", "web"));
        held.start(1, Instant::now());
        held.lose(0);
        held.back("a", &record("a", "web"));
        assert_eq!((held.pending(0, 10).len(), held.start(1, Instant::now())), (0, None));
    }
}
