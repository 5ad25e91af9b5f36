//! Who of several replicas acts: one leader by a Lease, or shards with a Lease each.
//!
//! The decisions ([`Election`], [`spread`]) are pure: they are told what was read and what time it is, and say what to
//! do. [`Elector`] and [`Sharder`] carry them out on a [`LeaseStore`], which [`KubeLeases`] is for the Kubernetes API.
//!
//! Nobody compares wall clocks. A lease is taken over once its record has not changed for its duration, counted from
//! when the taker saw it; a holder stops acting when its last renewal, counted from when it was sent, is older than the
//! renew deadline. The deadline is shorter than the duration, so the holder stops before anybody can take over.
//!
//! ```no_run
//! # async fn example(client: kube::Client) -> Result<(), String> {
//! use std::sync::Arc;
//! use herald_sources::lease::{ElectionOptions, Elector, KubeLeases, Leadership};
//!
//! let store = Arc::new(KubeLeases::new(client, "argo-rollouts"));
//! let mut lease = Elector::start(store, ElectionOptions::new("herald"))?;
//! let fence = lease.fence();
//! while lease.changed().await {
//!     if let Leadership::Leading { term } = lease.leadership() {
//!         println!("leading in term {term}: {}", fence.holds());
//!     }
//! }
//! lease.release().await;
//! # Ok(())
//! # }
//! ```

mod election;
mod elector;
mod fence;
mod hash;
mod sharder;
#[cfg(test)]
mod simulation;
mod spread;
mod store;

pub use self::{
    election::{Decision, Election, Seen, Step, decide},
    elector::{Elector, LeaseHandle},
    fence::Fence,
    hash::{fnv1a64, shard_of},
    sharder::{MEMBER_LABEL, ShardHandle, ShardSet, Sharder, holds},
    spread::{Spread, spread},
    store::{KubeLeases, LeaseError, LeaseStore},
};

use std::time::Duration;

/// Whether this replica acts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Leadership {
    /// Another one does, or nobody knows.
    #[default]
    Standby,
    /// This one does.
    Leading {
        /// How often the lease had changed hands: grows with each change.
        term: i32,
    },
}

impl Leadership {
    /// Whether this replica acts.
    pub fn leads(self) -> bool {
        matches!(self, Leadership::Leading { .. })
    }
}

/// The times of an election.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// A lease that was not renewed for so long may be taken over.
    pub duration: Duration,
    /// A holder that could not renew for so long stops acting.
    pub renew_deadline: Duration,
    /// Between two looks at the lease, or two renewals.
    pub retry: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

impl Timing {
    /// What is wrong with these times, and what to do.
    pub fn check(&self) -> Result<(), String> {
        if self.duration < Duration::from_secs(1) || self.duration.subsec_nanos() != 0 {
            return Err(format!(
                "the lease duration is {:?}; it must be whole seconds, at least 1",
                self.duration
            ));
        }
        if self.duration <= self.renew_deadline {
            return Err(format!(
                "the lease duration ({:?}) must be longer than the renew deadline ({:?})",
                self.duration, self.renew_deadline
            ));
        }
        // As the reference checks it, with room for its jitter.
        if self.retry.is_zero() || self.renew_deadline < self.retry.mul_f64(1.2) {
            return Err(format!(
                "the renew deadline ({:?}) must be at least 1.2 times the retry period ({:?}), which must not be 0",
                self.renew_deadline, self.retry
            ));
        }
        Ok(())
    }

    /// No request may take longer.
    pub(crate) fn request(&self) -> Duration {
        self.renew_deadline.mul_f64(0.6)
    }
}

/// What an [`Elector`] or [`Sharder`] is told.
#[derive(Clone, Debug)]
pub struct ElectionOptions {
    /// The lease's name; shards add `-shard-<i>`, members `-member-<identity>`.
    pub name: String,
    /// Who we are: different for each process.
    pub identity: String,
    /// The times.
    pub timing: Timing,
}

impl ElectionOptions {
    /// The usual times, and an identity of this host and process start.
    pub fn new(name: &str) -> ElectionOptions {
        ElectionOptions { name: name.to_owned(), identity: identity(), timing: Timing::default() }
    }
}

/// The host's name and something that no other process has, as the reference does it.
pub fn identity() -> String {
    use std::hash::{BuildHasher as _, RandomState};
    let host = std::env::var("POD_NAME").or_else(|_| std::env::var("HOSTNAME")).ok();
    let host = host.or_else(|| std::fs::read_to_string("/etc/hostname").ok());
    let host = host.unwrap_or_default().trim().to_lowercase();
    let host: String = host.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(40).collect();
    let host = if host.is_empty() { "herald".to_owned() } else { host };
    // The hasher is seeded by the operating system.
    let random = RandomState::new().hash_one(jiff::Timestamp::now().as_nanosecond());
    format!("{}_{random:016x}", host.trim_matches('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_checked() {
        assert!(Timing::default().check().is_ok());
        let seconds = Duration::from_secs;
        for (duration, renew_deadline, retry, wrong) in [
            (15, 15, 2, "must be longer than the renew deadline"),
            (0, 0, 2, "at least 1"),
            (15, 2, 2, "1.2 times the retry period"),
            (15, 10, 0, "must not be 0"),
        ] {
            let timing = Timing {
                duration: seconds(duration),
                renew_deadline: seconds(renew_deadline),
                retry: seconds(retry),
            };
            assert!(timing.check().unwrap_err().contains(wrong), "{timing:?}");
        }
    }

    #[test]
    fn no_two_processes_are_the_same() {
        assert_ne!(identity(), identity());
    }
}
