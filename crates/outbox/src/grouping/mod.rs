//! Which notices wait for each other, and which are not wanted now: a state machine without I/O. Time is an argument.
//!
//! A held notice stays pending in the store until its group is flushed, so a crash loses nothing: groups form again from
//! what waits.

mod mute;
mod options;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use jiff::Timestamp;

pub use self::{
    mute::MuteTime,
    options::{GroupBy, Grouping, GroupingRule, Muted},
};
use crate::{LaneKey, ObjectRef, Place, Queued, clock::later, courier::Policies};

/// The beginning of the id of every digest.
pub(crate) const DIGEST: &str = "digest/";

/// Notices that are held in memory, of all groups; beyond that groups are folded as if they were full.
const MOST: usize = 100_000;

/// What becomes of a notice that waits in the store.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admitted {
    /// It goes on to its lane.
    Pass(Queued),
    /// It is held: its id and why, unless that is known already.
    Held(Option<(String, String)>),
    /// It isn't wanted: by which time it is muted.
    Mute(Queued, String),
}

/// Members of a group that are to be delivered as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flush {
    pub(crate) group: LaneKey,
    /// What the digest speaks of.
    pub(crate) object: ObjectRef,
    /// The id of the digest.
    pub(crate) id: String,
    /// In the order of the queue.
    pub(crate) members: Vec<Queued>,
    /// Not to be delivered before.
    pub(crate) due_after: Timestamp,
    /// The group is not flushed again before; `None` for a group without an interval.
    pub(crate) next: Option<Timestamp>,
}

/// What to do now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum GroupStep {
    /// Fold them, then call [`Grouper::flushed`].
    Flush(Flush),
    /// They aren't wanted: by which time they are muted.
    Mute(Vec<Queued>, String),
    /// Nothing came within the interval: what is stored of the group isn't needed any more.
    Forget(LaneKey),
    /// Nothing until this time, or until something is told.
    Wait(Option<Timestamp>),
}

struct Group {
    rule: Arc<Grouping>,
    number: usize,
    members: Vec<Queued>,
    /// When it is looked at next; `None` while it waits for what was flushed.
    wake: Option<Timestamp>,
    folding: bool,
}

pub(crate) struct Grouper {
    policies: Policies,
    services: HashMap<Arc<str>, Option<Arc<Grouping>>>,
    groups: HashMap<LaneKey, Group>,
    timers: BTreeSet<(Timestamp, LaneKey)>,
    /// Groups that were flushed, until when they collect.
    collecting: HashMap<LaneKey, Timestamp>,
    /// Places that are held or were released: they aren't taken from the store again.
    known: HashSet<Place>,
    /// Flushed, but not yet delivered or given up. A group waits for them, so that nothing overtakes them.
    outstanding: HashMap<LaneKey, HashSet<String>>,
    group_of: HashMap<String, LaneKey>,
}

impl Grouper {
    pub(crate) fn new(policies: Policies) -> Self {
        Grouper {
            policies,
            services: HashMap::new(),
            groups: HashMap::new(),
            timers: BTreeSet::new(),
            collecting: HashMap::new(),
            known: HashSet::new(),
            outstanding: HashMap::new(),
            group_of: HashMap::new(),
        }
    }

    /// What was stored of groups by an earlier process: until when they collect.
    pub(crate) fn collecting(&mut self, stored: impl Iterator<Item = (LaneKey, Timestamp)>) {
        for (group, until) in stored {
            self.timers.insert((until, group.clone()));
            self.collecting.insert(group, until);
        }
    }

    /// New policies; gives what is to be admitted again by them.
    pub(crate) fn set_policies(&mut self, policies: Policies) -> Vec<Queued> {
        self.policies = policies;
        self.services.clear();
        let mut again = Vec::new();
        for group in self.groups.values_mut() {
            again.append(&mut group.members);
        }
        self.groups.retain(|_, group| group.folding);
        for queued in &again {
            self.known.remove(&queued.place);
        }
        again.sort_by_key(|queued| queued.place);
        again
    }

    fn grouping(&mut self, service: &str) -> Option<Arc<Grouping>> {
        if let Some(known) = self.services.get(service) {
            return known.clone();
        }
        let grouping = (self.policies)(service).grouping.filter(|grouping| !grouping.rules.is_empty());
        self.services.insert(service.into(), grouping.clone());
        grouping
    }

    pub(crate) fn admit(&mut self, queued: Queued, now: Timestamp) -> Admitted {
        if self.known.contains(&queued.place) {
            return Admitted::Held(None);
        }
        let Some(grouping) = self.grouping(queued.lane.service()) else { return Admitted::Pass(queued) };
        if queued.id.starts_with(DIGEST) {
            self.watch(queued.lane.clone(), queued.id.clone());
            return Admitted::Pass(queued);
        }
        let Some((number, rule)) = grouping.rule(&queued) else { return Admitted::Pass(queued) };
        let key = rule.group(number, &queued);
        if queued.attempts > 0 {
            self.watch(key, queued.id.clone());
            return Admitted::Pass(queued);
        }
        let collects = self.groups.contains_key(&key) || self.outstanding.contains_key(&key);
        let (ready, why) = if rule.groups() {
            // A clock that was ahead when it was written makes nobody wait longer than the rule says.
            let ready = match self.collecting.get(&key) {
                Some(until) if *until > now => (*until).min(later(now, rule.interval())),
                _ => later(queued.created.min(now), rule.wait()).max(queued.due),
            };
            (ready, "waits for others of its group".to_owned())
        } else {
            match rule.muted_at(now) {
                Some((_, by)) if rule.muted == Muted::Drop => {
                    let by = by.to_owned();
                    return Admitted::Mute(queued, by);
                }
                Some((until, by)) => (until, format!("muted by {by}")),
                None if collects => (now, "waits for its group".to_owned()),
                None => return Admitted::Pass(queued),
            }
        };
        let most = rule.most();
        self.known.insert(queued.place);
        let group = self.groups.entry(key.clone()).or_insert_with(|| Group {
            rule: grouping.clone(),
            number,
            members: Vec::new(),
            wake: None,
            folding: false,
        });
        let first = group.members.is_empty();
        let id = queued.id.clone();
        group.members.push(queued);
        // By the newest rule, even if the group began under an older one.
        (group.rule, group.number) = (grouping.clone(), number);
        let full = group.members.len() >= most || (self.known.len() >= MOST && group.members.len() > 1);
        if full {
            self.arm(&key, now);
        } else if first && !group.folding {
            self.arm(&key, ready);
        }
        let until = self.groups.get(&key).and_then(|group| group.wake).filter(|until| *until > now);
        let why = until.map_or_else(|| why.clone(), |until| format!("{why}, until {until:.0}"));
        Admitted::Held(Some((id, why)))
    }

    fn watch(&mut self, group: LaneKey, id: String) {
        self.group_of.insert(id.clone(), group.clone());
        self.outstanding.entry(group).or_default().insert(id);
    }

    fn arm(&mut self, key: &LaneKey, at: Timestamp) {
        if let Some(group) = self.groups.get_mut(key) {
            if let Some(before) = group.wake.replace(at) {
                self.timers.remove(&(before, key.clone()));
            }
            self.timers.insert((at, key.clone()));
        }
    }

    /// What to do now. Call it again until it says to wait.
    pub(crate) fn next(&mut self, now: Timestamp) -> GroupStep {
        loop {
            match self.timers.first() {
                Some((at, _)) if *at <= now => {}
                other => return GroupStep::Wait(other.map(|(at, _)| *at)),
            }
            let Some((_, key)) = self.timers.pop_first() else { return GroupStep::Wait(None) };
            if let Some(step) = self.tick(key, now) {
                return step;
            }
        }
    }

    fn tick(&mut self, key: LaneKey, now: Timestamp) -> Option<GroupStep> {
        let busy = self.outstanding.contains_key(&key);
        let Some(group) = self.groups.get_mut(&key).filter(|group| !group.members.is_empty()) else {
            return match self.collecting.get(&key) {
                Some(until) if *until <= now => {
                    self.collecting.remove(&key);
                    Some(GroupStep::Forget(key))
                }
                _ => None,
            };
        };
        let grouping = group.rule.clone();
        let rule = grouping.rules.get(group.number)?;
        let full = group.members.len() >= rule.most() || self.known.len() >= MOST;
        if group.wake.is_some_and(|wake| wake > now) {
            return None; // the timer of the interval, while its members wait for the end of a muted time
        }
        group.wake = None;
        if group.folding || (busy && !full) {
            return None; // looked at again when that is done
        }
        let muted = rule.muted_at(now);
        match muted {
            Some((_, by)) if rule.muted == Muted::Drop => {
                let members = std::mem::take(&mut group.members);
                self.groups.remove(&key);
                if let Some(until) = self.collecting.get(&key) {
                    self.timers.insert((*until, key));
                }
                return Some(GroupStep::Mute(members, by.to_owned()));
            }
            Some((until, _)) if !full => {
                self.arm(&key, until);
                return None;
            }
            _ => {}
        }
        group.members.sort_by_key(|queued| queued.place);
        let rest = group.members.split_off(rule.most().min(group.members.len()));
        let members = std::mem::replace(&mut group.members, rest);
        let first = members.first()?;
        let id = format!("{DIGEST}{}/{}", first.id, first.place);
        let object = rule.object(group.number, first);
        group.folding = true;
        let interval = rule.interval();
        let next = (!interval.is_zero()).then(|| later(now, interval));
        if let Some(until) = next {
            self.collecting.insert(key.clone(), until);
            self.timers.insert((until, key.clone()));
        }
        self.watch(key.clone(), id.clone());
        let due_after = muted.map_or(now, |(until, _)| until);
        Some(GroupStep::Flush(Flush { group: key, object, id, members, due_after, next }))
    }

    /// A flush is durable: as a digest, or with these members released to their lanes one by one.
    pub(crate) fn flushed(&mut self, flush: &Flush, released: Option<&[Queued]>, now: Timestamp) {
        for member in &flush.members {
            self.known.remove(&member.place);
        }
        if let Some(released) = released {
            for queued in released {
                self.known.insert(queued.place);
                self.watch(flush.group.clone(), queued.id.clone());
            }
            self.done(&flush.id, now);
        }
        if let Some(group) = self.groups.get_mut(&flush.group) {
            group.folding = false;
        }
        self.go_on(&flush.group, now);
    }

    /// It went on to its lane by another way than from the store.
    pub(crate) fn released(&mut self, queued: &Queued) {
        self.known.insert(queued.place);
    }

    /// Members that were muted are written down.
    pub(crate) fn muted(&mut self, members: &[Queued]) {
        for member in members {
            self.known.remove(&member.place);
        }
    }

    /// A notice is delivered, given up or gone, and that is written down.
    pub(crate) fn settled(&mut self, queued: &Queued, now: Timestamp) {
        self.known.remove(&queued.place);
        self.done(&queued.id, now);
    }

    fn done(&mut self, id: &str, now: Timestamp) {
        let Some(key) = self.group_of.remove(id) else { return };
        if let Some(ids) = self.outstanding.get_mut(&key) {
            ids.remove(id);
            if ids.is_empty() {
                self.outstanding.remove(&key);
                self.go_on(&key, now);
            }
        }
    }

    /// A group that waited for what was flushed is looked at again.
    fn go_on(&mut self, key: &LaneKey, now: Timestamp) {
        let Some(group) = self.groups.get(key) else { return };
        if group.folding {
            return;
        }
        if group.members.is_empty() {
            self.groups.remove(key);
        } else if group.wake.is_none() {
            let full =
                group.rule.rules.get(group.number).is_some_and(|rule| group.members.len() >= rule.most());
            let at = self.collecting.get(key).copied().filter(|until| *until > now && !full).unwrap_or(now);
            self.arm(key, at);
        }
    }
}

#[cfg(test)]
mod tests;
