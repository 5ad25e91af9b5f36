//! Replicas on simulated clocks and a simulated API.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use proptest::prelude::*;

use super::{
    Election, ElectionOptions, Elector, Leadership, LeaseError, LeaseHandle, LeaseStore, ShardHandle,
    Sharder, Step, Timing, election::holder,
};

/// Leases as the API server keeps them.
#[derive(Default)]
struct Server {
    leases: BTreeMap<String, Lease>,
    version: u64,
}

impl Server {
    fn put(&mut self, mut lease: Lease) -> Lease {
        self.version += 1;
        lease.metadata.resource_version = Some(self.version.to_string());
        self.leases.insert(lease.metadata.name.clone().unwrap(), lease.clone());
        lease
    }

    fn create(&mut self, lease: Lease) -> Result<Lease, LeaseError> {
        match self.leases.contains_key(lease.metadata.name.as_deref().unwrap()) {
            true => Err(LeaseError::Conflict),
            false => Ok(self.put(lease)),
        }
    }

    fn update(&mut self, lease: Lease) -> Result<Lease, LeaseError> {
        let there = self.leases.get(lease.metadata.name.as_deref().unwrap()).ok_or(LeaseError::NotFound)?;
        match there.metadata.resource_version == lease.metadata.resource_version {
            true => Ok(self.put(lease)),
            false => Err(LeaseError::Conflict),
        }
    }
}

/// xorshift, seeded.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

enum Answer {
    Read(Result<Option<Lease>, LeaseError>),
    Wrote(Result<Lease, LeaseError>, Instant),
}

struct Replica {
    election: Election,
    name: String,
    /// Its clock goes so fast, in thousandths.
    rate: u64,
    waiting: Option<(u64, Step, Instant)>,
    answer: Option<(u64, Answer)>,
    /// Cut off from the API until then.
    cut: u64,
    dead: bool,
    /// Whether no request is lost.
    reliable: bool,
}

const TICK: u64 = 20;

impl Replica {
    fn new(base: Instant, name: &str, rate: u64, at: u64) -> Replica {
        let mut replica = Replica {
            election: Election::new("herald", name, Timing::default(), base),
            name: name.to_owned(),
            rate,
            waiting: None,
            answer: None,
            cut: 0,
            dead: false,
            reliable: false,
        };
        replica.election = Election::new("herald", name, Timing::default(), replica.local(base, at));
        replica
    }

    fn local(&self, base: Instant, at: u64) -> Instant {
        base + Duration::from_micros(at * self.rate)
    }

    fn leads(&self, base: Instant, at: u64) -> bool {
        !self.dead && self.election.leadership(self.local(base, at)).leads()
    }

    fn tick(&mut self, base: Instant, at: u64, server: &mut Server, random: &mut Random) {
        let now = self.local(base, at);
        if let Some((when, step, sent)) = self.waiting.take_if(|(when, ..)| at >= *when) {
            // Now and then a request or its answer is lost.
            let cut = at < self.cut;
            let mut passes = || !cut && (self.reliable || random.below(20) > 0);
            let (reaches, returns) = (passes(), passes());
            let lost = || LeaseError::Failed("lost".into());
            let answer = match step {
                Step::Read if reaches && returns => Answer::Read(Ok(server.leases.get("herald").cloned())),
                Step::Read => Answer::Read(Err(lost())),
                Step::Wait(_) => unreachable!(),
                Step::Create(_) | Step::Update(_) if !reaches => Answer::Wrote(Err(lost()), sent),
                Step::Create(lease) => Answer::Wrote(server.create(*lease), sent),
                Step::Update(lease) => Answer::Wrote(server.update(*lease), sent),
            };
            let answer = match answer {
                Answer::Wrote(Ok(_), sent) if !returns => Answer::Wrote(Err(lost()), sent),
                answer => answer,
            };
            let slow = if cut || !reaches || !returns { 6000 } else { random.below(300) };
            self.answer = Some((when + slow, answer));
        }
        if let Some((_, answer)) = self.answer.take_if(|(when, _)| at >= *when) {
            match answer {
                Answer::Read(read) => self.election.read(read, now),
                Answer::Wrote(wrote, sent) => self.election.wrote(wrote, sent, now),
            }
        }
        if self.waiting.is_none() && self.answer.is_none() {
            let step = self.election.step(now, Timestamp::UNIX_EPOCH + Duration::from_millis(at));
            if !matches!(step, Step::Wait(_)) {
                self.waiting = Some((at + random.below(300), step, now));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Three replicas whose clocks go up to a tenth wrong, with lost requests, partitions and kills.
    #[test]
    fn never_two_leaders_and_soon_one(seed in 1_u64.., rates in prop::collection::vec(900_u64..1100, 3)) {
        let (base, mut random, mut server) = (Instant::now(), Random(seed), Server::default());
        let mut replicas: Vec<Replica> = rates
            .iter()
            .enumerate()
            .map(|(i, rate)| Replica::new(base, &format!("r{i}"), *rate, 0))
            .collect();
        let (mut born, mut terms) = (3, BTreeMap::new());
        let (chaos, calm) = (300_000, 360_000);
        let mut at = 0;
        while at < calm {
            at += TICK;
            if at < chaos && random.below(500) == 0 {
                let chosen = usize::try_from(random.below(3)).unwrap();
                if random.below(2) == 0 {
                    replicas[chosen].cut = at + random.below(40_000);
                } else {
                    replicas[chosen] = Replica::new(base, &format!("r{born}"), rates[chosen], at);
                    born += 1;
                }
            }
            if at == chaos {
                for replica in &mut replicas {
                    (replica.cut, replica.reliable) = (0, true);
                }
            }
            for replica in &mut replicas {
                if !replica.dead {
                    replica.tick(base, at, &mut server, &mut random);
                }
            }
            let leaders: Vec<&Replica> = replicas.iter().filter(|replica| replica.leads(base, at)).collect();
            prop_assert!(leaders.len() <= 1, "two leaders after {at} ms");
            for leader in &leaders {
                if let Leadership::Leading { term } = leader.election.leadership(leader.local(base, at)) {
                    let first = terms.entry(term).or_insert_with(|| leader.name.clone());
                    prop_assert_eq!(&*first, &leader.name, "a term belongs to one");
                }
            }
            // A request that was lost before, then the duration and a retry on the slowest clock, and a request.
            prop_assert!(at < chaos + 27_000 || leaders.len() == 1, "nobody leads after {at} ms");
        }
        prop_assert!(!terms.is_empty());
    }
}

#[test]
fn a_killed_leader_is_replaced_within_the_duration_and_a_retry() {
    for seed in 1..40 {
        let (base, mut server) = (Instant::now(), Server::default());
        let mut random = Random(seed * 7919);
        let mut replicas: Vec<Replica> =
            (0..3).map(|i| Replica::new(base, &format!("r{i}"), 1000, 0)).collect();
        replicas.iter_mut().for_each(|replica| replica.reliable = true);
        let (mut killed, mut at) = (None, 0);
        loop {
            at += TICK;
            for replica in replicas.iter_mut().filter(|replica| !replica.dead) {
                replica.tick(base, at, &mut server, &mut random);
            }
            let leader = replicas.iter().position(|replica| replica.leads(base, at));
            match (leader, killed) {
                (Some(leader), None) if at > 5000 + seed * 100 => {
                    replicas[leader].dead = true;
                    killed = Some(at);
                }
                (Some(_), Some(since)) => {
                    // A request takes up to 0.6 s: one that looks, one that takes.
                    assert!(at - since <= 15_000 + 2_000 + 1_300, "{} ms, seed {seed}", at - since);
                    break;
                }
                _ => assert!(at < 60_000),
            }
        }
    }
}

/// A replica's way to the server.
#[derive(Clone)]
pub(super) struct Link {
    server: Arc<Mutex<Server>>,
    up: Arc<AtomicBool>,
}

impl Link {
    fn new(server: &Arc<Mutex<Server>>) -> Link {
        Link { server: server.clone(), up: Arc::new(AtomicBool::new(true)) }
    }

    fn cut(&self) {
        self.up.store(false, Ordering::Relaxed);
    }

    fn mend(&self) {
        self.up.store(true, Ordering::Relaxed);
    }

    async fn way(&self) {
        tokio::time::sleep(Duration::from_millis(5)).await;
        if !self.up.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl LeaseStore for Link {
    async fn get(&self, name: &str) -> Result<Option<Lease>, LeaseError> {
        self.way().await;
        Ok(self.server.lock().unwrap().leases.get(name).cloned())
    }

    async fn create(&self, lease: Lease) -> Result<Lease, LeaseError> {
        self.way().await;
        self.server.lock().unwrap().create(lease)
    }

    async fn update(&self, lease: Lease) -> Result<Lease, LeaseError> {
        self.way().await;
        self.server.lock().unwrap().update(lease)
    }

    async fn list(&self, selector: &str) -> Result<Vec<Lease>, LeaseError> {
        self.way().await;
        let (key, value) = selector.split_once('=').unwrap();
        let server = self.server.lock().unwrap();
        let has = |lease: &&Lease| {
            let labels = lease.metadata.labels.as_ref();
            labels.and_then(|labels| labels.get(key)).is_some_and(|found| found == value)
        };
        Ok(server.leases.values().filter(has).cloned().collect())
    }

    async fn delete(&self, name: &str, version: Option<&str>) -> Result<(), LeaseError> {
        self.way().await;
        let mut server = self.server.lock().unwrap();
        let there = server.leases.get(name).ok_or(LeaseError::NotFound)?;
        if version.is_some() && version != there.metadata.resource_version.as_deref() {
            return Err(LeaseError::Conflict);
        }
        server.leases.remove(name);
        Ok(())
    }
}

fn options(identity: &str) -> ElectionOptions {
    ElectionOptions { name: "herald".into(), identity: identity.into(), timing: Timing::default() }
}

fn elect(link: &Link, identity: &str) -> LeaseHandle {
    Elector::start(Arc::new(link.clone()), options(identity)).unwrap()
}

async fn leads(handle: &LeaseHandle) -> Duration {
    let start = tokio::time::Instant::now();
    handle.watch().wait_for(|leadership| leadership.leads()).await.unwrap();
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_released_lease_is_taken_at_the_next_look() {
    let server = Arc::default();
    let link = Link::new(&server);
    let first = elect(&link, "a");
    assert!(leads(&first).await < Duration::from_secs(1));
    assert_eq!(first.leadership(), Leadership::Leading { term: 0 });
    let second = elect(&link, "b");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(first.fence().holds() && !second.fence().holds());
    let fence = first.fence();
    first.release().await;
    assert!(!fence.holds());
    {
        let server = server.lock().unwrap();
        let spec = server.leases["herald"].spec.clone().unwrap();
        assert_eq!((spec.holder_identity.as_deref(), spec.lease_duration_seconds), (Some(""), Some(1)));
    }
    assert!(leads(&second).await <= Duration::from_secs(3));
    assert_eq!(second.leadership(), Leadership::Leading { term: 1 });
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_stops_before_another_one_begins_and_follows_later() {
    let server = Arc::default();
    let (near, far) = (Link::new(&server), Link::new(&server));
    let first = elect(&near, "a");
    leads(&first).await;
    let second = elect(&far, "b");
    tokio::time::sleep(Duration::from_secs(10)).await;
    near.cut();
    let cut = tokio::time::Instant::now();
    first.watch().wait_for(|leadership| !leadership.leads()).await.unwrap();
    let (stopped, fence) = (cut.elapsed(), first.fence());
    assert!(!fence.holds() && !second.fence().holds());
    assert!(stopped <= Duration::from_secs(10), "{stopped:?}");
    leads(&second).await;
    let taken = cut.elapsed();
    assert!(taken > stopped && taken <= Duration::from_secs(17), "{taken:?}");
    near.mend();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(second.leadership().leads() && !first.leadership().leads());
    second.release().await;
    assert!(leads(&first).await <= Duration::from_secs(3));
    assert_eq!(first.leadership(), Leadership::Leading { term: 2 });
}

#[tokio::test(start_paused = true)]
async fn notes_on_the_lease_stay_over_leaders_and_others_notes_are_kept() {
    let server: Arc<Mutex<Server>> = Arc::default();
    let link = Link::new(&server);
    let first = elect(&link, "a");
    leads(&first).await;
    {
        let mut server = server.lock().unwrap();
        let mut lease = server.leases["herald"].clone();
        lease.metadata.annotations = Some(BTreeMap::from([("theirs".into(), "x".into())]));
        server.put(lease);
    }
    assert!(first.annotate("herald.dev/baseline", Some("2026-01-01T00:00:00Z")).await);
    let second = elect(&link, "b");
    first.release().await;
    leads(&second).await;
    let noted = second.annotations().borrow().clone();
    assert_eq!(noted["herald.dev/baseline"], "2026-01-01T00:00:00Z");
    assert_eq!(noted["theirs"], "x");
    assert!(second.annotate("herald.dev/baseline", None).await);
    assert!(
        !server.lock().unwrap().leases["herald"]
            .metadata
            .annotations
            .clone()
            .unwrap()
            .contains_key("herald.dev/baseline")
    );
}

fn shard(link: &Link, identity: &str) -> ShardHandle {
    Sharder::start(Arc::new(link.clone()), options(identity), 8).unwrap()
}

fn counts(handles: &[&ShardHandle]) -> Vec<usize> {
    let mut counts: Vec<usize> = handles.iter().map(|handle| handle.set().held.len()).collect();
    counts.sort_unstable();
    counts
}

/// Nobody acts for the same shard as another one.
fn alone(handles: &[&ShardHandle]) {
    for shard in 0..8 {
        let holders = handles.iter().filter(|handle| handle.fence(shard).holds()).count();
        assert!(holders <= 1, "shard {shard} has {holders}");
    }
}

async fn after(seconds: u64, handles: &[&ShardHandle]) {
    for _ in 0..seconds * 20 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        alone(handles);
    }
}

#[tokio::test(start_paused = true)]
async fn shards_are_spread_and_move_when_a_replica_dies() {
    let server = Arc::default();
    let links: Vec<Link> = (0..3).map(|_| Link::new(&server)).collect();
    let a = shard(&links[0], "a");
    after(5, &[&a]).await;
    assert_eq!(a.set().held.len(), 8);
    let b = shard(&links[1], "b");
    let c = shard(&links[2], "c");
    after(30, &[&a, &b, &c]).await;
    assert_eq!(counts(&[&a, &b, &c]), [2, 3, 3]);
    assert_eq!(a.set().replicas, 3);
    // At rest nothing moves.
    let before = (a.set(), b.set(), c.set());
    after(120, &[&a, &b, &c]).await;
    assert_eq!((a.set(), b.set(), c.set()), before);
    // One is killed: its leases run out.
    links[1].cut();
    drop(b);
    after(15 + 3, &[&a, &c]).await;
    assert_eq!(counts(&[&a, &c]), [4, 4]);
    // What the others had stays with them.
    for shard in before.0.held.keys() {
        assert_eq!(a.set().held.get(shard), before.0.held.get(shard));
    }
    // One ends in order: its shards go over at the next look.
    c.release().await;
    after(3, &[&a]).await;
    assert_eq!(a.set().held.len(), 8);
    // The dead one's lease is deleted in the end.
    after(90, &[&a]).await;
    let members = server.lock().unwrap().leases.keys().filter(|name| name.contains("member")).count();
    assert_eq!(members, 1);
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_is_cut_off_stops_before_its_shards_move() {
    let server = Arc::default();
    let links: Vec<Link> = (0..3).map(|_| Link::new(&server)).collect();
    let handles: Vec<ShardHandle> =
        links.iter().zip(["a", "b", "c"]).map(|(link, identity)| shard(link, identity)).collect();
    let all: Vec<&ShardHandle> = handles.iter().collect();
    after(30, &all).await;
    links[0].cut();
    after(10, &all).await;
    assert!(handles[0].set().held.is_empty());
    after(8, &all).await;
    assert_eq!(counts(&all), [0, 4, 4]);
    links[0].mend();
    after(40, &all).await;
    assert_eq!(counts(&all), [2, 3, 3]);
}

#[test]
fn a_lease_that_vanished_is_created_by_its_holder_first() {
    let (base, mut server) = (Instant::now(), Server::default());
    let at = |seconds: u64| base + Duration::from_secs(seconds);
    let wall = Timestamp::UNIX_EPOCH;
    let mut leader = Election::new("herald", "a", Timing::default(), base);
    leader.read(Ok(None), base);
    let Step::Create(lease) = leader.step(base, wall) else { panic!() };
    leader.wrote(server.create(*lease), base, base);
    let mut follower = Election::new("herald", "b", Timing::default(), base);
    follower.read(Ok(server.leases.get("herald").cloned()), base);
    server.leases.clear();
    follower.read(Ok(None), at(2));
    assert!(matches!(follower.step(at(3), wall), Step::Wait(_)));
    let Step::Update(lease) = leader.step(at(2), wall) else { panic!() };
    leader.wrote(server.update(*lease), at(2), at(2));
    assert_eq!(leader.step(at(2), wall), Step::Read);
    leader.read(Ok(None), at(2));
    let Step::Create(lease) = leader.step(at(2), wall) else { panic!() };
    assert_eq!(holder(&lease), "a");
    leader.wrote(server.create(*lease), at(2), at(2));
    assert!(leader.leadership(at(11)).leads());
    // If it never does, another one does when the duration is over.
    server.leases.clear();
    follower.read(Ok(None), at(14));
    assert!(matches!(follower.step(at(15), wall), Step::Create(_)));
}
