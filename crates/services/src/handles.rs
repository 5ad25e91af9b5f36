//! Handles of messages that were sent: what a service needs to answer in a thread or to update a message.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

/// What a handle belongs to. The instance is part of it: two workspaces may have channels of the same name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HandleKey {
    /// Instance of the service.
    pub instance: String,
    /// The recipient as the subscription names it.
    pub recipient: String,
    /// What the service distinguishes itself: a grouping key, or a word for something else it remembers.
    pub key: String,
}

impl HandleKey {
    /// A key of an instance.
    pub fn new(instance: &str, recipient: &str, key: impl Into<String>) -> Self {
        HandleKey { instance: instance.into(), recipient: recipient.into(), key: key.into() }
    }
}

/// A store of handles. Losing one costs a thread, not a notification, so failures stay inside the store.
pub trait Handles: Send + Sync {
    /// The handle of a key.
    fn get(&self, key: &HandleKey) -> Option<String>;
    /// Remembers a handle.
    fn put(&self, key: HandleKey, handle: String);
}

/// Handles in memory, for the last [`MemoryHandles::CAPACITY`] keys.
#[derive(Debug, Default)]
pub struct MemoryHandles {
    inner: Mutex<(HashMap<HandleKey, String>, VecDeque<HandleKey>)>,
}

impl MemoryHandles {
    /// How many keys are kept; the oldest go first.
    pub const CAPACITY: usize = 10_000;
}

impl Handles for MemoryHandles {
    fn get(&self, key: &HandleKey) -> Option<String> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).0.get(key).cloned()
    }

    fn put(&self, key: HandleKey, handle: String) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let (map, order) = &mut *inner;
        if map.insert(key.clone(), handle).is_none() {
            order.push_back(key);
        }
        while map.len() > Self::CAPACITY {
            let Some(oldest) = order.pop_front() else { break };
            map.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_are_apart_and_memory_is_bounded() {
        let handles = MemoryHandles::default();
        handles.put(HandleKey::new("a", "chan", "g"), "1".into());
        assert_eq!(handles.get(&HandleKey::new("b", "chan", "g")), None);
        assert_eq!(handles.get(&HandleKey::new("a", "chan", "g")).as_deref(), Some("1"));
        for n in 0..MemoryHandles::CAPACITY {
            handles.put(HandleKey::new("b", "chan", n.to_string()), "x".into());
        }
        assert_eq!(handles.get(&HandleKey::new("a", "chan", "g")), None);
        assert_eq!(handles.inner.lock().unwrap().0.len(), MemoryHandles::CAPACITY);
    }
}
