//! What can go wrong with the store, each with what to do about it.

use std::path::PathBuf;

/// A failure of the outbox's store. Nothing that was committed before is lost by it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutboxError {
    /// The file can't be opened or made.
    #[error("can't open the state file {}: {reason}; choose another one with --state FILE", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The file isn't a state file.
    #[error("{} is not a state file of Herald; choose another one with --state FILE", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file is damaged.
    #[error(
        "the state file {0} is damaged ({reason}); the next start of `herald run` puts it aside and takes over what can be \
         read, unless you restore it from a backup or move it away before (`mv {0} {0}.damaged`)",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        reason: String,
    },
    /// The file was written by a newer version.
    #[error(
        "the state file {} has format {found}, this version of Herald knows formats up to {known}; \
         install the newer version again, or choose another file with --state FILE",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format that is known.
        known: i64,
    },
    /// Another process delivers from this file.
    #[error(
        "the state file {} is in use by another Herald process; stop that one first, or choose another file with --state FILE",
        path.display()
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file was opened for reading only.
    #[error("the state file {} is open for reading only", path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// Reading or writing failed for now: disk full, locked for too long.
    #[error("the state file {}: {reason}", path.display())]
    Storage {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        reason: String,
    },
    /// The address of a NATS server can't be used.
    #[error("the address of the outbox: {reason}")]
    Address {
        /// Why.
        reason: String,
    },
    /// A NATS server can't be reached, or refuses.
    #[error("the outbox at {address}: {reason}")]
    Nats {
        /// The servers.
        address: String,
        /// What happened.
        reason: String,
    },
    /// The store was closed.
    #[error("the outbox is closed")]
    Closed,
}
