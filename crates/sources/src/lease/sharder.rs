//! Shards: a lease each, spread over the replicas that are alive.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use super::{
    Election, ElectionOptions, Fence, Leadership, LeaseError, LeaseStore, Step, Timing, elector::now,
    shard_of, spread,
};

/// The label of the leases of a group of replicas: those of the shards, and one for each replica.
pub const MEMBER_LABEL: &str = "herald.dev/lease-group";

/// More shards than this are no use.
const MOST_SHARDS: u32 = 256;

/// Leases of replicas that died are deleted after so many lease durations.
const FORGET: u32 = 4;

/// Messages to the task that wait.
const MOST_ORDERS: usize = 64;

/// Which shards this replica acts for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardSet {
    /// How many there are.
    pub total: u32,
    /// Ours, each with its term: how often it had changed hands.
    pub held: BTreeMap<u32, i32>,
    /// Replicas that are alive, this one included.
    pub replicas: usize,
    /// What is noted on the leases, by shard.
    pub annotations: BTreeMap<u32, BTreeMap<String, String>>,
}

impl ShardSet {
    /// Whether an object is ours.
    pub fn contains(&self, uid: &str) -> bool {
        self.held.contains_key(&shard_of(uid, self.total))
    }
}

/// Whether acting for an object is allowed at this moment, by the fences of all shards.
pub fn holds(fences: &[Fence], uid: &str) -> bool {
    let shards = u32::try_from(fences.len()).unwrap_or(1);
    fences.get(shard_of(uid, shards) as usize).is_some_and(Fence::holds)
}

impl Drop for ShardHandle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

enum Order {
    Drained(u32),
    Annotate(u32, String, Option<String>),
}

/// Takes part in the spreading of shards.
#[derive(Debug)]
pub struct Sharder;

/// Our part in it. Dropped without [`ShardHandle::release`] the leases run out by themselves.
pub struct ShardHandle {
    set: watch::Receiver<ShardSet>,
    fences: Arc<[Fence]>,
    orders: mpsc::Sender<Order>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Sharder {
    /// Takes part in spreading so many shards.
    pub fn start(
        store: Arc<dyn LeaseStore>,
        options: ElectionOptions,
        shards: u32,
    ) -> Result<ShardHandle, String> {
        options.timing.check()?;
        if shards == 0 || shards > MOST_SHARDS {
            return Err(format!("the number of shards is {shards}; it must be from 1 to {MOST_SHARDS}"));
        }
        let labels = BTreeMap::from([(MEMBER_LABEL.to_owned(), options.name.clone())]);
        let election = |name: &str, timing: Timing| {
            Election::new(name, &options.identity, timing, now()).labelled(labels.clone())
        };
        let all = (0..shards).map(|i| election(&format!("{}-shard-{i}", options.name), options.timing));
        let members = format!("{}-member-", options.name);
        // Saying that we are alive is less urgent than saying that a shard is ours.
        let relaxed = Timing { retry: options.timing.duration / 4, ..options.timing };
        let suffix: String =
            options.identity.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let member = election(&format!("{members}{}", suffix.to_lowercase()), relaxed);
        let fences: Arc<[Fence]> = (0..shards).map(|_| Fence::default()).collect();
        let (set, seen) = watch::channel(ShardSet { total: shards, ..ShardSet::default() });
        let (orders, taken) = mpsc::channel(MOST_ORDERS);
        let (stop, stopped) = watch::channel(false);
        let runner = Runner {
            selector: format!("{MEMBER_LABEL}={}", options.name),
            identity: options.identity.clone(),
            timing: options.timing,
            store,
            shards: all.collect(),
            draining: BTreeMap::new(),
            member,
            members,
            others: BTreeMap::new(),
            listed: false,
            set,
            fences: fences.clone(),
        };
        let task = tokio::spawn(runner.run(taken, stopped));
        Ok(ShardHandle { set: seen, fences, orders, stop, task })
    }
}

impl ShardHandle {
    /// Which shards are ours.
    pub fn set(&self) -> ShardSet {
        self.set.borrow().clone()
    }

    /// Tells of each change of it.
    pub fn watch(&self) -> watch::Receiver<ShardSet> {
        self.set.clone()
    }

    /// To be asked right before anything is done for a shard.
    pub fn fence(&self, shard: u32) -> Fence {
        self.fences.get(shard as usize).cloned().unwrap_or_default()
    }

    /// The fences of all shards, for [`holds`].
    pub fn fences(&self) -> Arc<[Fence]> {
        self.fences.clone()
    }

    /// Whether acting for an object is allowed at this moment.
    pub fn holds(&self, uid: &str) -> bool {
        holds(&self.fences, uid)
    }

    /// Waits for the next change; false once it has ended.
    pub async fn changed(&mut self) -> bool {
        self.set.changed().await.is_ok()
    }

    /// A shard that left the set is not acted for any more, so another replica may have it at once. Without this it
    /// goes over a little later.
    pub async fn drained(&self, shard: u32) {
        let _ = self.orders.send(Order::Drained(shard)).await;
    }

    /// Notes something on the lease of a shard of ours, with the next renewal; takes it away with `None`.
    pub async fn annotate(&self, shard: u32, key: &str, value: Option<&str>) {
        let _ = self.orders.send(Order::Annotate(shard, key.to_owned(), value.map(str::to_owned))).await;
    }

    /// Gives all shards back, so that other replicas take over at once. Stop acting before.
    pub async fn release(mut self) {
        self.stop.send_replace(true);
        let _ = (&mut self.task).await;
    }
}

struct Other {
    election: Election,
    version: Option<String>,
    /// Since when it is not alive.
    dead: Option<Instant>,
}

struct Runner {
    selector: String,
    identity: String,
    timing: Timing,
    store: Arc<dyn LeaseStore>,
    shards: Vec<Election>,
    /// Shards that are given up, and until when we wait for what is on its way.
    draining: BTreeMap<u32, Instant>,
    member: Election,
    /// How the names of the leases of replicas begin.
    members: String,
    others: BTreeMap<String, Other>,
    listed: bool,
    set: watch::Sender<ShardSet>,
    fences: Arc<[Fence]>,
}

/// How a write ended, and when it was sent.
type Wrote = (Result<Lease, LeaseError>, Instant);

impl Runner {
    async fn run(mut self, mut orders: mpsc::Receiver<Order>, mut stopped: watch::Receiver<bool>) {
        let mut open = true;
        'rounds: loop {
            tokio::select! {
                () = self.round() => {}
                _ = stopped.wait_for(|stopped| *stopped) => break,
            }
            let mut wake = self.wake();
            // What is told meanwhile doesn't make a round of its own.
            loop {
                self.publish();
                let until = self.expiry().map_or(wake, |expiry| expiry.min(wake));
                tokio::select! {
                    () = tokio::time::sleep_until(until.into()) => if now() >= wake { continue 'rounds },
                    order = orders.recv(), if open => match order {
                        None => open = false,
                        Some(Order::Annotate(shard, key, value)) => {
                            if let Some(election) = self.shards.get_mut(shard as usize) {
                                election.annotate(&key, value.as_deref());
                                wake = now();
                            }
                        }
                        Some(Order::Drained(shard)) => {
                            if let Some(until) = self.draining.get_mut(&shard) {
                                *until = now();
                                wake = now();
                            }
                        }
                    },
                    _ = stopped.wait_for(|stopped| *stopped) => break 'rounds,
                }
            }
        }
        self.release().await;
    }

    /// Looks, renews, takes and gives.
    async fn round(&mut self) {
        let own: Vec<usize> = (0..self.shards.len()).filter(|index| self.is_own(*index)).collect();
        let (store, selector) = (self.store.clone(), self.selector.clone());
        let (limit, listing) = (self.timing.request(), async move { store.list(&selector).await });
        let renewals = self.writes(&own);
        let member = self.member_write();
        let work = futures::future::join3(tokio::time::timeout(limit, listing), join_all(renewals), member);
        let (listed, renewed, member) = self.meanwhile(work).await;
        self.wrote(renewed);
        if let Some((wrote, sent)) = member {
            self.member.wrote(wrote, sent, now());
        }
        match listed {
            Ok(Ok(leases)) => self.observe(leases),
            Ok(Err(error)) => tracing::warn!("the leases of the shards can't be read: {error}; trying again"),
            Err(_) => tracing::warn!("the leases of the shards can't be read within {limit:?}; trying again"),
        }
        self.publish();
        if self.listed {
            self.plan().await;
        }
        self.publish();
    }

    /// Waits, without acting longer than allowed.
    async fn meanwhile<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            let Some(expiry) = self.expiry() else { return work.await };
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep_until(expiry.into()) => self.publish(),
            }
        }
    }

    fn is_own(&self, index: usize) -> bool {
        self.shards.get(index).is_some_and(|election| election.holder(now()) == Some(&self.identity))
    }

    /// The writes that are due for some shards.
    fn writes(&mut self, wanted: &[usize]) -> Vec<impl Future<Output = (usize, Wrote)> + use<>> {
        let limit = self.timing.request();
        let mut writes = Vec::new();
        for index in wanted.iter().copied() {
            let Some(election) = self.shards.get_mut(index) else { continue };
            let step = election.step(now(), Timestamp::now());
            let store = self.store.clone();
            if matches!(step, Step::Create(_) | Step::Update(_)) {
                writes.push(async move { (index, write(store, step, limit).await) });
            }
        }
        writes
    }

    fn member_write(&mut self) -> impl Future<Output = Option<Wrote>> + use<> {
        let step = self.member.step(now(), Timestamp::now());
        let (store, limit) = (self.store.clone(), self.timing.request());
        async move {
            match step {
                Step::Create(_) | Step::Update(_) => Some(write(store, step, limit).await),
                Step::Read | Step::Wait(_) => None,
            }
        }
    }

    fn wrote(&mut self, all: Vec<(usize, Wrote)>) {
        for (index, (wrote, sent)) in all {
            if let Some(election) = self.shards.get_mut(index) {
                election.wrote(wrote, sent, now());
            }
        }
    }

    fn observe(&mut self, leases: Vec<Lease>) {
        self.listed = true;
        let at = now();
        let mut found: BTreeMap<String, Lease> =
            leases.into_iter().filter_map(|lease| Some((lease.metadata.name.clone()?, lease))).collect();
        for election in self.shards.iter_mut().chain([&mut self.member]) {
            let lease = found.remove(election.name());
            // What we lead we know better, unless a write failed.
            if !election.leadership(at).leads() || election.is_stale() {
                election.read(Ok(lease), at);
            }
        }
        found.retain(|name, _| name.starts_with(&self.members));
        self.others.retain(|name, _| found.contains_key(name));
        for (name, lease) in found {
            let version = lease.metadata.resource_version.clone();
            let other = self.others.entry(name.clone()).or_insert_with(|| {
                let election = Election::new(&name, &self.identity, self.timing, at);
                Other { election, version: None, dead: None }
            });
            other.version = version;
            other.election.read(Ok(Some(lease)), at);
            match other.election.holder(at) {
                Some(_) => other.dead = None,
                None => drop(other.dead.get_or_insert(at)),
            }
        }
    }

    fn alive(&self) -> BTreeSet<String> {
        let at = now();
        let others = self.others.values().filter_map(|other| other.election.holder(at));
        others.chain([self.identity.as_str()]).map(str::to_owned).collect()
    }

    /// Takes and gives.
    async fn plan(&mut self) {
        let at = now();
        let holders: Vec<Option<String>> =
            self.shards.iter().map(|election| election.holder(at).map(str::to_owned)).collect();
        let plan = spread(&holders, &self.alive(), &self.identity);
        // Those that are on their way out count as ours until they are out.
        let surplus = plan.give.len().saturating_sub(self.draining.len());
        let chosen: Vec<u32> =
            plan.give.into_iter().filter(|shard| !self.draining.contains_key(shard)).take(surplus).collect();
        for shard in chosen {
            tracing::info!(shard, "giving the shard up for another replica");
            self.draining.insert(shard, at + self.timing.retry * 2);
        }
        self.publish();
        self.give_back(|until| at >= until).await;
        let wanted: Vec<usize> = plan.take.into_iter().map(|shard| shard as usize).collect();
        let writes = self.writes(&wanted);
        let taken = self.meanwhile(join_all(writes)).await;
        self.wrote(taken);
        self.sweep(at).await;
    }

    /// Gives back the shards that are drained.
    async fn give_back(&mut self, ready: impl Fn(Instant) -> bool) {
        let drained: Vec<u32> =
            self.draining.iter().filter(|(_, until)| ready(**until)).map(|(shard, _)| *shard).collect();
        let limit = self.timing.request();
        for shard in drained {
            self.draining.remove(&shard);
            let Some(election) = self.shards.get_mut(shard as usize) else { continue };
            let Some(lease) = election.release(Timestamp::now()) else { continue };
            // Not acting any more comes first.
            self.publish();
            let store = self.store.clone();
            let wrote = self.meanwhile(write(store, Step::Update(Box::new(lease)), limit)).await;
            self.wrote(vec![(shard as usize, wrote)]);
        }
    }

    /// Deletes the leases of replicas that are dead for long.
    async fn sweep(&mut self, at: Instant) {
        let long = self.timing.duration * FORGET;
        let gone = self.others.iter().find(|(_, other)| other.dead.is_some_and(|dead| at >= dead + long));
        if let Some((name, version)) = gone.map(|(name, other)| (name.clone(), other.version.clone())) {
            let _ = self.meanwhile(self.store.delete(&name, version.as_deref())).await;
            self.others.remove(&name);
        }
    }

    /// When to look again.
    fn wake(&self) -> Instant {
        let at = now();
        let regular = at + self.timing.retry;
        let soon = at + self.timing.retry / 10;
        let unsure =
            self.shards.iter().any(|election| election.is_stale() && election.leadership(at).leads());
        let runs_out = self.shards.iter().filter_map(|election| election.runs_out(at));
        let drained = self.draining.values().copied();
        let next = runs_out.chain(drained).min().unwrap_or(regular).clamp(soon, regular);
        if unsure { soon } else { next }
    }

    /// When the first of our leases is to be given up unless it is renewed.
    fn expiry(&self) -> Option<Instant> {
        let at = now();
        let held = self.shards.iter().filter(|election| election.leadership(at).leads());
        held.filter_map(Election::valid_until).min()
    }

    fn publish(&self) {
        let at = now();
        let mut held = BTreeMap::new();
        let mut annotations = BTreeMap::new();
        for ((shard, election), fence) in (0..).zip(&self.shards).zip(self.fences.iter()) {
            match election.leadership(at) {
                Leadership::Leading { term } => {
                    // While it drains what is on its way may end.
                    fence.set(election.valid_until());
                    if !self.draining.contains_key(&shard) {
                        held.insert(shard, term);
                    }
                }
                Leadership::Standby => fence.set(None),
            }
            if let Some(noted) = election.annotations().filter(|noted| !noted.is_empty()) {
                annotations.insert(shard, noted.clone());
            }
        }
        let total = u32::try_from(self.shards.len()).unwrap_or(0);
        let set = ShardSet { total, held, replicas: self.alive().len(), annotations };
        self.set.send_if_modified(|old| {
            if old.held != set.held {
                tracing::info!(held = ?set.held.keys().collect::<Vec<_>>(), replicas = set.replicas, "shards");
            }
            std::mem::replace(old, set.clone()) != set
        });
    }

    async fn release(mut self) {
        for fence in self.fences.iter() {
            fence.set(None);
        }
        self.set.send_modify(|set| set.held.clear());
        let limit = self.timing.request().min(self.timing.retry * 2);
        let wall = Timestamp::now();
        let own: Vec<usize> = (0..self.shards.len()).filter(|index| self.is_own(*index)).collect();
        let store = &self.store;
        let back = own.into_iter().filter_map(|index| {
            let election = self.shards.get_mut(index)?;
            let lease = election.release(wall)?;
            let name = election.name().to_owned();
            let mut election = election.clone();
            Some(async move {
                if let Err(LeaseError::Conflict) = store.update(lease).await {
                    // A renewal that was cut off had been written.
                    election.read(store.get(&name).await, now());
                    if let Some(lease) = election.release(wall) {
                        let _ = store.update(lease).await;
                    }
                }
            })
        });
        let back: Vec<_> = back.collect();
        let member = self.member.name().to_owned();
        let work = async {
            join_all(back).await;
            let _ = store.delete(&member, None).await;
        };
        // Otherwise they run out by themselves.
        let _ = tokio::time::timeout(limit, work).await;
    }
}

async fn write(store: Arc<dyn LeaseStore>, step: Step, limit: Duration) -> Wrote {
    let sent = now();
    let write = async {
        match step {
            Step::Create(lease) => store.create(*lease).await,
            Step::Update(lease) => store.update(*lease).await,
            Step::Read | Step::Wait(_) => Err(LeaseError::NotFound),
        }
    };
    let late = |_| Err(LeaseError::Failed(format!("no answer within {limit:?}")));
    (tokio::time::timeout(limit, write).await.unwrap_or_else(late), sent)
}
