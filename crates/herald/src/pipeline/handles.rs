//! Messages that services remember, kept in the state file: threads and updates in place survive a restart.

use std::sync::Arc;

use herald_outbox::HandleCache;
use herald_services::handles::{HandleKey, Handles};

/// How many messages are remembered.
pub(crate) const MOST: usize = 10_000;

/// The services' view of the outbox's handles.
pub(crate) struct DurableHandles(pub(crate) Arc<HandleCache>);

fn stored(key: HandleKey) -> herald_outbox::HandleKey {
    let HandleKey { instance, recipient, key } = key;
    herald_outbox::HandleKey { instance, recipient, key }
}

impl Handles for DurableHandles {
    fn get(&self, key: &HandleKey) -> Option<String> {
        self.0.get(&stored(key.clone()))
    }

    fn put(&self, key: HandleKey, handle: String) {
        self.0.put(stored(key), handle);
    }
}
