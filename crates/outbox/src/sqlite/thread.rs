//! A thread that nothing outlives.

use std::{io, thread::JoinHandle};

/// A thread of the outbox. Whoever drops it waits for its end: what tells the thread to end stands before it in a struct,
/// so that it is dropped first.
pub(super) struct Thread(Option<JoinHandle<()>>);

impl Thread {
    pub(super) fn start(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        std::thread::Builder::new().name(name.to_owned()).spawn(run).map(|handle| Thread(Some(handle)))
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        if let Some(handle) = self.0.take()
            && handle.join().is_err()
        {
            tracing::error!("a thread of the outbox ended unexpectedly");
        }
    }
}
