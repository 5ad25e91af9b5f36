//! Until when a replica may act.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

/// Until when a replica may act, to be asked right before anything is done: a process that was stopped for a while
/// must not act before it has heard that its lease is gone.
#[derive(Clone, Debug, Default)]
pub struct Fence {
    until: Arc<Mutex<Option<Instant>>>,
}

impl Fence {
    /// Whether acting is allowed now.
    pub fn holds(&self) -> bool {
        let now = tokio::time::Instant::now().into_std();
        self.until().is_some_and(|until| now < until)
    }

    /// Until when acting is allowed, unless it is renewed.
    pub fn until(&self) -> Option<Instant> {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set(&self, until: Option<Instant>) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }
}
