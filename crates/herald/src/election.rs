//! Whether this replica acts, and for which objects: alone, as the leader, or for some shards.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use clap::Args;
use herald_services::http::go_duration;
use herald_sources::{
    kubernetes::{
        Client,
        annotate::{PatchObserver, Target},
    },
    lease::{
        ElectionOptions, Elector, Fence, KubeLeases, Leadership, LeaseHandle, ShardHandle, ShardSet, Sharder,
        Timing, shard_of,
    },
};
use herald_web::metrics::Metrics;
use tokio::sync::watch;

use crate::failure::Failure;

/// The name of the lease, and the beginning of those of shards.
pub(crate) const LEASE: &str = "herald";

/// Flags of the election.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Several replicas")]
pub(crate) struct ElectionArgs {
    /// Act only while holding the lease, so that of several replicas one acts
    #[arg(
        long,
        value_name = "BOOL",
        env = "HERALD_LEADER_ELECT",
        default_value_t = true,
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        action = clap::ArgAction::Set
    )]
    leader_elect: bool,
    /// After so long without renewal another replica takes the lease over
    #[arg(long, value_name = "DURATION", env = "HERALD_LEADER_ELECTION_LEASE_DURATION", default_value = "15s", value_parser = duration)]
    leader_election_lease_duration: Duration,
    /// After so long without renewal the holder stops acting
    #[arg(long, value_name = "DURATION", env = "HERALD_LEADER_ELECTION_RENEW_DEADLINE", default_value = "10s", value_parser = duration)]
    leader_election_renew_deadline: Duration,
    /// Between two renewals, or two looks at the lease
    #[arg(long, value_name = "DURATION", env = "HERALD_LEADER_ELECTION_RETRY_PERIOD", default_value = "2s", value_parser = duration)]
    leader_election_retry_period: Duration,
    /// Spread the objects over all replicas in so many shards, each with a lease; 1 is one leader
    #[arg(long, value_name = "N", env = "HERALD_SHARDS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    shards: u32,
}

fn duration(text: &str) -> Result<Duration, String> {
    go_duration(text).ok_or_else(|| format!("{text:?} is no duration; write one like 15s or 1m30s"))
}

impl ElectionArgs {
    /// What the election is told, or why these flags don't fit together.
    pub(crate) fn options(&self, lease: &str) -> Result<ElectionOptions, Failure> {
        let timing = Timing {
            duration: self.leader_election_lease_duration,
            renew_deadline: self.leader_election_renew_deadline,
            retry: self.leader_election_retry_period,
        };
        timing.check().map_err(|wrong| Failure::bad(format!("--leader-election-…: {wrong}")))?;
        Ok(ElectionOptions { timing, ..ElectionOptions::new(lease) })
    }

    /// Takes part, with leases in this namespace that begin with this name.
    pub(crate) fn join(
        &self,
        client: Client,
        (namespace, lease): (&str, &str),
        metrics: &Arc<Metrics>,
    ) -> Result<Part, Failure> {
        if !self.leader_elect {
            if self.shards > 1 {
                return Err(Failure::bad(
                    "--shards needs --leader-elect: a replica acts for the shards it holds",
                ));
            }
            metrics.lease(lease, true);
            return Ok(Part::Alone);
        }
        let options = self.options(lease)?;
        let store = Arc::new(KubeLeases::new(client, namespace));
        if self.shards > 1 {
            let handle = Sharder::start(store, options, self.shards).map_err(Failure::bad)?;
            count_shards(lease.to_owned(), handle.watch(), metrics.clone());
            return Ok(Part::Shards(handle));
        }
        let handle = Elector::start(store, options).map_err(Failure::bad)?;
        count_lease(lease.to_owned(), handle.watch(), metrics.clone());
        Ok(Part::Leader(handle))
    }
}

fn count_lease(lease: String, mut leadership: watch::Receiver<Leadership>, metrics: Arc<Metrics>) {
    tokio::spawn(async move {
        loop {
            metrics.lease(&lease, leadership.borrow_and_update().leads());
            if leadership.changed().await.is_err() {
                return;
            }
        }
    });
}

fn count_shards(lease: String, mut set: watch::Receiver<ShardSet>, metrics: Arc<Metrics>) {
    tokio::spawn(async move {
        loop {
            let now = set.borrow_and_update().clone();
            for shard in 0..now.total {
                metrics.lease(&format!("{lease}-shard-{shard}"), now.held.contains_key(&shard));
            }
            if set.changed().await.is_err() {
                return;
            }
        }
    });
}

/// Our part among the replicas.
pub(crate) enum Part {
    /// There are no others.
    Alone,
    /// One acts.
    Leader(LeaseHandle),
    /// Each acts for some shards.
    Shards(ShardHandle),
}

/// What we act for, as it was at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All objects; the term is 0 where there is no election.
    All {
        /// How often the lease had changed hands.
        term: i32,
    },
    /// Those of some shards.
    Some(ShardSet),
    /// None.
    None,
}

impl Scope {
    /// Whether an object is ours.
    pub(crate) fn contains(&self, uid: &str) -> bool {
        match self {
            Scope::All { .. } => true,
            Scope::Some(set) => set.contains(uid),
            Scope::None => false,
        }
    }
}

impl Part {
    /// What we act for now.
    pub(crate) fn scope(&self) -> Scope {
        self.watch().scope()
    }

    /// Tells of changes beside whoever uses the part.
    pub(crate) fn watch(&self) -> PartWatch {
        match self {
            Part::Alone => PartWatch::Alone,
            Part::Leader(lease) => PartWatch::Leader(lease.watch()),
            Part::Shards(shards) => PartWatch::Shards(shards.watch()),
        }
    }

    /// Waits until that may have changed; never returns where it can't.
    pub(crate) async fn changed(&mut self) {
        let alive = match self {
            Part::Alone => false,
            Part::Leader(lease) => lease.changed().await,
            Part::Shards(shards) => shards.changed().await,
        };
        if !alive {
            std::future::pending::<()>().await;
        }
    }

    /// Says for an object whether acting is allowed at this very moment; to be asked right before anything is done.
    pub(crate) fn fence(&self) -> Allowed {
        match self {
            Part::Alone => Allowed(Fences::None),
            Part::Leader(lease) => Allowed(Fences::One(lease.fence())),
            Part::Shards(shards) => Allowed(Fences::Each(shards.fences())),
        }
    }

    /// What was noted on the leases under this key.
    pub(crate) fn noted(&self, key: &str) -> Noted {
        match self {
            Part::Alone => Noted::Once(None),
            Part::Leader(lease) => Noted::Once(lease.annotations().borrow().get(key).cloned()),
            Part::Shards(shards) => {
                let set = shards.set();
                let note =
                    |(shard, all): (u32, BTreeMap<String, String>)| Some((shard, all.get(key)?.clone()));
                Noted::ByShard {
                    total: set.total,
                    notes: set.annotations.into_iter().filter_map(note).collect(),
                }
            }
        }
    }

    /// Notes something on the leases that we hold, where nothing is noted under this key.
    pub(crate) async fn note(&self, key: &str, value: &str) {
        let noted = self.noted(key);
        match self {
            Part::Alone => {}
            Part::Leader(lease) => {
                if noted.all().next().is_none() {
                    lease.annotate(key, Some(value)).await;
                }
            }
            Part::Shards(shards) => {
                for shard in shards.set().held.into_keys() {
                    if !matches!(&noted, Noted::ByShard { notes, .. } if notes.contains_key(&shard)) {
                        shards.annotate(shard, key, Some(value)).await;
                    }
                }
            }
        }
    }

    /// Others may take over at once. Stop acting before.
    pub(crate) async fn release(self) {
        match self {
            Part::Alone => {}
            Part::Leader(lease) => lease.release().await,
            Part::Shards(shards) => shards.release().await,
        }
    }
}

/// What is noted on leases under one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Noted {
    /// On the only one, if there is any.
    Once(Option<String>),
    /// On those of shards.
    ByShard {
        /// How many there are.
        total: u32,
        /// Those that have it.
        notes: BTreeMap<u32, String>,
    },
}

impl Noted {
    /// What counts for an object.
    pub(crate) fn about(&self, uid: &str) -> Option<&str> {
        match self {
            Noted::Once(note) => note.as_deref(),
            Noted::ByShard { total, notes } => notes.get(&shard_of(uid, *total)).map(String::as_str),
        }
    }

    /// All notes.
    pub(crate) fn all(&self) -> impl Iterator<Item = &str> {
        let (one, many) = match self {
            Noted::Once(note) => (note.as_deref(), None),
            Noted::ByShard { notes, .. } => (None, Some(notes.values().map(String::as_str))),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    /// Whether each shard has its own.
    pub(crate) fn is_by_shard(&self) -> bool {
        matches!(self, Noted::ByShard { .. })
    }
}

/// Tells of changes of what we act for.
pub(crate) enum PartWatch {
    /// There are none.
    Alone,
    /// Of the lease.
    Leader(watch::Receiver<Leadership>),
    /// Of the shards' leases.
    Shards(watch::Receiver<ShardSet>),
}

impl PartWatch {
    /// What we act for now.
    pub(crate) fn scope(&self) -> Scope {
        match self {
            PartWatch::Alone => Scope::All { term: 0 },
            PartWatch::Leader(lease) => match *lease.borrow() {
                Leadership::Leading { term } => Scope::All { term },
                Leadership::Standby => Scope::None,
            },
            PartWatch::Shards(shards) => match shards.borrow().clone() {
                set if set.held.is_empty() => Scope::None,
                set => Scope::Some(set),
            },
        }
    }

    /// Waits until that may have changed; never returns where it can't.
    pub(crate) async fn changed(&mut self) {
        let alive = match self {
            PartWatch::Alone => false,
            PartWatch::Leader(lease) => lease.changed().await.is_ok(),
            PartWatch::Shards(shards) => shards.changed().await.is_ok(),
        };
        if !alive {
            std::future::pending::<()>().await;
        }
    }
}

#[derive(Clone)]
enum Fences {
    None,
    One(Fence),
    Each(Arc<[Fence]>),
}

/// Says whether acting for an object is allowed at this very moment. Cheap to clone and to ask.
#[derive(Clone)]
pub(crate) struct Allowed(Fences);

impl Allowed {
    /// Whether acting for this object is allowed now.
    pub(crate) fn holds(&self, uid: &str) -> bool {
        match &self.0 {
            Fences::None => true,
            Fences::One(fence) => fence.holds(),
            Fences::Each(fences) => herald_sources::lease::holds(fences, uid),
        }
    }
}

/// Counts patches of annotations.
pub(crate) struct Patches(pub(crate) Arc<Metrics>);

impl PatchObserver for Patches {
    fn patched(&self, _target: &Target, outcome: &'static str, _took: Duration) {
        self.0.patched(outcome);
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        election: ElectionArgs,
    }

    fn parse(flags: &[&str]) -> Result<ElectionArgs, String> {
        let all = ["x"].iter().chain(flags).copied();
        Program::try_parse_from(all).map(|program| program.election).map_err(|e| e.to_string())
    }

    #[test]
    fn the_times_are_the_reference_s_and_are_checked_together() {
        let args = parse(&[]).unwrap();
        assert_eq!(args.options(LEASE).unwrap().timing, Timing::default());
        assert!(args.leader_elect && args.shards == 1);
        let args = parse(&["--leader-elect=false", "--leader-election-lease-duration=1m"]).unwrap();
        assert!(!args.leader_elect);
        assert_eq!(args.options(LEASE).unwrap().timing.duration, Duration::from_secs(60));
        let args = parse(&["--leader-election-renew-deadline=15s"]).unwrap();
        assert!(args.options(LEASE).unwrap_err().message.contains("longer than the renew deadline"));
        assert!(parse(&["--leader-election-retry-period=soon"]).unwrap_err().contains("is no duration"));
        assert!(parse(&["--shards=0"]).is_err());
    }

    #[test]
    fn what_is_ours_follows_from_the_shards() {
        let set = ShardSet { total: 2, held: BTreeMap::from([(1, 0)]), ..ShardSet::default() };
        // FNV-1a of "a" is in the upper half.
        assert!(Scope::Some(set.clone()).contains("a"));
        let other = ShardSet { held: BTreeMap::from([(0, 0)]), ..set };
        assert!(!Scope::Some(other).contains("a"));
        assert!(Scope::All { term: 3 }.contains("a") && !Scope::None.contains("a"));
    }
}
