//! The Rollouts that are there: a few dozen bytes each, as the objects themselves are not kept.

use std::collections::{BTreeMap, HashMap};

use tokio::time::Instant;

/// One Rollout.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry {
    /// A hash of its uid.
    uid: u64,
    /// The resourceVersion that was looked at last.
    version: u64,
    /// The list that it was last in.
    round: u32,
    /// Whether somebody subscribed to it.
    pub(super) subscribed: bool,
}

/// What to do with a version of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// An older one than what was looked at: nothing.
    Older,
    /// Look at it.
    Look,
}

/// All of them, by `namespace/name`.
#[derive(Default)]
pub(super) struct Index {
    entries: HashMap<Box<str>, Entry>,
    round: u32,
    timers: BTreeMap<(Instant, Box<str>), ()>,
    due: HashMap<Box<str>, Instant>,
}

impl Index {
    /// A list begins.
    pub(super) fn listing(&mut self) {
        self.round = self.round.wrapping_add(1);
    }

    /// A version of an object came.
    pub(super) fn see(&mut self, name: &str, uid: &str, version: u64) -> Seen {
        let uid = herald_sources::lease::fnv1a64(uid.as_bytes());
        let entry = match self.entries.get_mut(name) {
            Some(entry) => entry,
            None => self.entries.entry(name.into()).or_default(),
        };
        let older = entry.uid == uid && version < entry.version;
        entry.round = self.round;
        if older {
            return Seen::Older;
        }
        entry.uid = uid;
        entry.version = version;
        Seen::Look
    }

    /// Whether somebody subscribed to it, as it was known; notes whether somebody does now.
    pub(super) fn subscribe(&mut self, name: &str, now: bool) -> bool {
        self.entries.get_mut(name).is_some_and(|entry| std::mem::replace(&mut entry.subscribed, now))
    }

    /// Whether somebody subscribed to it.
    pub(super) fn subscribed(&self, name: &str) -> bool {
        self.entries.get(name).is_some_and(|entry| entry.subscribed)
    }

    /// Whether it is there.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// It is gone.
    pub(super) fn remove(&mut self, name: &str) {
        self.entries.remove(name);
        self.look_at(name, None);
    }

    /// A list is complete: what was not in it is gone.
    pub(super) fn missing(&self) -> Vec<String> {
        let missing = self.entries.iter().filter(|(_, entry)| entry.round != self.round);
        missing.map(|(name, _)| name.to_string()).collect()
    }

    /// Look again at this time, even if nothing changes; `None` forgets that.
    pub(super) fn look_at(&mut self, name: &str, at: Option<Instant>) {
        if let Some(old) = self.due.remove(name) {
            self.timers.remove(&(old, name.into()));
        }
        if let Some(at) = at {
            self.due.insert(name.into(), at);
            self.timers.insert((at, name.into()), ());
        }
    }

    /// The earliest time to look again.
    pub(super) fn next(&self) -> Option<Instant> {
        self.timers.first_key_value().map(|((at, _), ())| *at)
    }

    /// Whose time has come.
    pub(super) fn due(&mut self, now: Instant) -> Vec<String> {
        let mut due = Vec::new();
        while let Some(((at, _), ())) = self.timers.first_key_value() {
            if *at > now {
                break;
            }
            if let Some(((_, name), ())) = self.timers.pop_first() {
                self.due.remove(&name);
                due.push(name.into());
            }
        }
        due
    }

    /// Those of a namespace.
    pub(super) fn of(&self, namespace: &str) -> Vec<String> {
        let names = self.entries.keys().map(|name| &**name);
        let within = names.filter(|name| name.split_once('/').is_some_and(|(own, _)| own == namespace));
        within.map(str::to_owned).collect()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn older_versions_are_passed_over_and_equal_ones_are_not() {
        let mut index = Index::default();
        assert_eq!(index.see("shop/web", "u1", 7), Seen::Look);
        assert_eq!(index.see("shop/web", "u1", 6), Seen::Older);
        assert_eq!(index.see("shop/web", "u1", 7), Seen::Look);
        // Another object of the name starts anew.
        assert_eq!(index.see("shop/web", "u2", 3), Seen::Look);
        index.listing();
        assert_eq!(index.see("shop/web", "u2", 2), Seen::Older);
        index.see("shop/api", "u3", 1);
        index.listing();
        index.see("shop/api", "u3", 1);
        assert_eq!(index.missing(), ["shop/web"]);
    }

    #[tokio::test(start_paused = true)]
    async fn timers_come_in_order_and_the_last_word_counts() {
        let mut index = Index::default();
        let now = Instant::now();
        index.look_at("a", Some(now + Duration::from_secs(5)));
        index.look_at("b", Some(now + Duration::from_secs(1)));
        index.look_at("a", Some(now + Duration::from_secs(2)));
        assert_eq!(index.next(), Some(now + Duration::from_secs(1)));
        assert_eq!(index.due(now + Duration::from_secs(3)), ["b", "a"]);
        assert_eq!(index.next(), None);
    }
}
