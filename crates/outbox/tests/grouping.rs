//! Digests and muted times, through the store and the courier, on a virtual clock.

#![allow(clippy::unwrap_used, reason = "tests end where something unexpected happens")]

mod common;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use common::{Between, failed, notice, second, turn};
use herald_outbox::{
    Access, Attempted, Batch, Clock, Courier, CourierOptions, Deliverer, FailureClass, Filter, Notice,
    Outbox, OutboxError, Outcome, Policies, Report, ServicePolicy, SqliteOutbox, VirtualClock,
};
use jiff::Timestamp;
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};

/// Says in a digest which notices it is of. Remembers what it delivered and when.
struct Receiver {
    clock: VirtualClock,
    delivered: Mutex<Vec<(i64, String)>>,
    failures: Mutex<VecDeque<Attempted>>,
    digests: bool,
}

#[async_trait]
impl Deliverer for Receiver {
    async fn deliver(&self, notice: &Notice, _attempt: u32) -> Attempted {
        if let Some(failure) = self.failures.lock().unwrap().pop_front() {
            return failure;
        }
        let what = if notice.payload.is_empty() {
            notice.id.clone()
        } else {
            String::from_utf8(notice.payload.clone()).unwrap()
        };
        let since = self.clock.now().duration_since(monday()).as_secs();
        self.delivered.lock().unwrap().push((since, what));
        Attempted::Delivered { detail: "200".into() }
    }

    fn digest(&self, notices: &[Notice]) -> Option<Vec<u8>> {
        let ids: Vec<&str> = notices.iter().map(|notice| notice.id.as_str()).collect();
        self.digests.then(|| ids.join("+").into_bytes())
    }
}

fn monday() -> Timestamp {
    "2026-11-23T00:00:00Z".parse().unwrap()
}

struct Site {
    outbox: Arc<dyn Outbox>,
    clock: VirtualClock,
    receiver: Arc<Receiver>,
    policies: watch::Sender<Policies>,
    stop: Arc<Notify>,
}

fn policies(rules: &str) -> Policies {
    let grouping = Arc::new(serde_json::from_str(rules).unwrap());
    Arc::new(move |_: &str| ServicePolicy {
        grouping: Some(Arc::clone(&grouping)),
        ..ServicePolicy::default()
    })
}

impl Site {
    fn new(outbox: Arc<dyn Outbox>, start: i64, rules: &str) -> Site {
        let clock = VirtualClock::new(monday() + jiff::SignedDuration::from_secs(start));
        let receiver = Receiver {
            clock: clock.clone(),
            delivered: Mutex::default(),
            failures: Mutex::default(),
            digests: true,
        };
        let policies = watch::Sender::new(policies(rules));
        Site { outbox, clock, receiver: Arc::new(receiver), policies, stop: Arc::new(Notify::new()) }
    }

    fn run(&self) -> JoinHandle<Report> {
        let options = CourierOptions { policies: self.policies.subscribe(), ..CourierOptions::default() };
        let clock = Arc::new(self.clock.clone());
        let courier = Courier::new(self.outbox.clone(), self.receiver.clone(), clock, options);
        let stop = self.stop.clone();
        tokio::spawn(async move { courier.run(async move { stop.notified().await }).await })
    }

    async fn enqueue(&self, ids: &[&str]) {
        let at = |id: &&str| {
            let now = self.clock.now();
            Notice { created: now, due_after: now, ..notice(id, &format!("object-of-{id}"), "x") }
        };
        self.outbox
            .commit(Batch { enqueue: ids.iter().map(at).collect(), ..Batch::default() })
            .await
            .unwrap();
    }

    /// Lets the clock go on to this second in steps; the store's threads get their turns at each.
    async fn until(&self, target: i64, step: u64) {
        loop {
            for _ in 0..40 {
                turn(&*self.outbox).await;
            }
            if self.clock.now() >= monday() + jiff::SignedDuration::from_secs(target) {
                return;
            }
            self.clock.advance(second(step));
        }
    }

    fn delivered(&self) -> Vec<(i64, String)> {
        std::mem::take(&mut *self.receiver.delivered.lock().unwrap())
    }

    async fn standing(&self, id: &str) -> (Outcome, String) {
        let shown = self.outbox.show(id).await.unwrap().unwrap();
        (shown.outcome, shown.reason.unwrap_or_default())
    }
}

fn store(dir: &tempfile::TempDir) -> Arc<SqliteOutbox> {
    Arc::new(SqliteOutbox::open(dir.path().join("state.db"), Access::Owner).unwrap())
}

fn at(second: i64, what: &str) -> (i64, String) {
    (second, what.to_owned())
}

const RULE: &str = r#"[{"groupBy": [], "groupWait": "30s", "groupInterval": "5m"}]"#;

#[tokio::test]
async fn groups_are_delivered_as_one_and_history_shows_it() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(store(&dir), 0, RULE);
    let running = site.run();
    site.enqueue(&["a", "b"]).await;
    site.until(10, 10).await;
    site.enqueue(&["c"]).await;
    site.until(20, 10).await;
    assert_eq!(site.delivered(), []);
    // Whoever looks meanwhile is told why it waits.
    let (outcome, reason) = site.standing("b").await;
    assert_eq!(outcome, Outcome::Pending);
    assert!(
        reason.starts_with("waits for others of its group, until ") && reason.ends_with(":30Z"),
        "{reason}"
    );
    site.until(30, 10).await;
    assert_eq!(site.delivered(), [at(30, "a+b+c")]);
    // One alone within the interval goes as it is, at the interval's end; then two more, at the next one's.
    site.enqueue(&["d"]).await;
    site.until(340, 10).await;
    site.enqueue(&["e", "f"]).await;
    site.until(640, 10).await;
    assert_eq!(site.delivered(), [at(330, "d"), at(630, "e+f")]);
    for id in ["a", "b", "c"] {
        let (outcome, reason) = site.standing(id).await;
        assert_eq!((outcome, reason.as_str()), (Outcome::Grouped, "grouped into digest/a/1"));
    }
    assert_eq!(site.standing("d").await.0, Outcome::Delivered);
    let digest = site.outbox.show("digest/a/1").await.unwrap().unwrap();
    assert_eq!((digest.outcome, digest.notice.trigger.as_str()), (Outcome::Delivered, "digest"));
    let filter = Filter { outcome: Some(Outcome::Grouped), ..Filter::default() };
    assert_eq!(site.outbox.list(filter).await.unwrap().len(), 5);
    // A member that is sent again is a new notice for its group, which is still collecting.
    let filter = Filter { id: Some("a".into()), ..Filter::default() };
    assert_eq!(site.outbox.resend(filter, site.clock.now()).await.unwrap(), 1);
    site.until(930, 10).await;
    assert_eq!(site.delivered(), [at(930, "a")]);
    // Nothing more: the group is forgotten in the store too.
    assert_eq!(site.outbox.list_state("group").await.unwrap().len(), 1);
    site.until(1240, 10).await;
    assert_eq!(site.outbox.list_state("group").await.unwrap(), []);
    site.stop.notify_one();
    assert_eq!(running.await.unwrap().waiting, 0);
}

#[tokio::test]
async fn a_restart_keeps_what_is_held_and_the_interval() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = store(&dir);
    let site = Site::new(outbox.clone(), 0, RULE);
    let running = site.run();
    site.enqueue(&["a", "b"]).await;
    site.until(40, 10).await;
    site.enqueue(&["c", "d"]).await;
    site.until(60, 10).await;
    assert_eq!(site.delivered(), [at(30, "a+b")]);
    // As after a crash: nobody says goodbye.
    running.abort();
    let _ = running.await;
    let site = Site::new(outbox, 100, RULE);
    let running = site.run();
    site.until(320, 10).await;
    assert_eq!(site.delivered(), []);
    site.until(330, 10).await;
    assert_eq!(site.delivered(), [at(330, "c+d")]);
    site.stop.notify_one();
    running.await.unwrap();
}

/// Muted from 22:00 to 07:00 in Berlin, which is 21:00 to 06:00 UTC on that day.
fn night(more: &str) -> String {
    format!(
        r#"[{{"muteTimes": [{{"name": "night", "times": [{{"startTime": "22:00", "endTime": "07:00"}}],
            "location": "Europe/Berlin"}}]{more}}}]"#
    )
}

const HOUR: i64 = 3600;

#[tokio::test]
async fn a_night_ends_with_a_digest_or_is_dropped() {
    for (more, expected) in [("", Outcome::Grouped), (r#", "muted": "drop""#, Outcome::Muted)] {
        let dir = tempfile::tempdir().unwrap();
        let site = Site::new(store(&dir), 20 * HOUR + 3000, &night(more));
        let running = site.run();
        site.enqueue(&["evening"]).await;
        site.until(21 * HOUR, 600).await;
        assert_eq!(site.delivered().len(), 1);
        site.enqueue(&["n1"]).await;
        site.until(25 * HOUR, 1200).await;
        site.enqueue(&["n2", "n3"]).await;
        site.until(30 * HOUR - 1200, 1200).await;
        assert_eq!(site.delivered(), []);
        if more.is_empty() {
            let (outcome, reason) = site.standing("n1").await;
            assert_eq!(outcome, Outcome::Pending);
            assert!(
                reason.starts_with("muted by night, until ") && reason.ends_with("06:00:00Z"),
                "{reason}"
            );
        }
        site.until(30 * HOUR, 1200).await;
        let morning = if more.is_empty() { vec![at(30 * HOUR, "n1+n2+n3")] } else { Vec::new() };
        assert_eq!(site.delivered(), morning);
        for id in ["n1", "n2", "n3"] {
            let (outcome, reason) = site.standing(id).await;
            assert_eq!(outcome, expected);
            assert_eq!(reason, if more.is_empty() { "grouped into digest/n1/2" } else { "muted by night" });
        }
        site.enqueue(&["day"]).await;
        site.until(30 * HOUR + 10, 10).await;
        assert_eq!(site.delivered(), [at(30 * HOUR, "day")]);
        site.stop.notify_one();
        assert_eq!(running.await.unwrap().waiting, 0);
    }
}

#[tokio::test]
async fn nothing_overtakes_a_digest_that_fails() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(store(&dir), 0, RULE);
    site.receiver.failures.lock().unwrap().extend(std::iter::repeat_n(failed(FailureClass::TimedOut), 9));
    let running = site.run();
    site.enqueue(&["a", "b"]).await;
    site.until(40, 10).await;
    site.enqueue(&["c"]).await;
    // Nine failures take at least 1 + 2 + … + 256 s, so longer than the interval.
    site.until(2000, 20).await;
    let what: Vec<String> = site.delivered().into_iter().map(|(_, what)| what).collect();
    assert_eq!(what, ["a+b", "c"]);
    site.stop.notify_one();
    running.await.unwrap();
}

#[tokio::test]
async fn without_digests_each_goes_by_itself_and_a_dropped_one_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let mut site = Site::new(store(&dir), 0, RULE);
    Arc::get_mut(&mut site.receiver).unwrap().digests = false;
    let running = site.run();
    site.enqueue(&["a", "b", "c"]).await;
    site.until(10, 10).await;
    let filter = Filter { id: Some("b".into()), ..Filter::default() };
    assert_eq!(site.outbox.drop_notices(filter, site.clock.now()).await.unwrap(), 1);
    site.until(60, 10).await;
    let mut delivered = site.delivered();
    delivered.sort();
    assert_eq!(delivered, [at(30, "a"), at(30, "c")]);
    assert_eq!(site.standing("b").await.0, Outcome::Dropped);
    site.stop.notify_one();
    running.await.unwrap();
}

#[tokio::test]
async fn a_new_rule_lets_go_what_the_old_one_held() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(store(&dir), 0, r#"[{"groupWait": "24h"}]"#);
    let running = site.run();
    site.enqueue(&["a", "b"]).await;
    site.until(60, 10).await;
    assert_eq!(site.delivered(), []);
    site.policies.send(policies("[]")).unwrap();
    site.until(70, 10).await;
    let mut delivered: Vec<String> = site.delivered().into_iter().map(|(_, what)| what).collect();
    delivered.sort();
    assert_eq!(delivered, ["a", "b"]);
    site.stop.notify_one();
    running.await.unwrap();
}

/// More in one lane than it holds in memory, half of it held back: refills must neither repeat nor skip, and folding goes on
/// through a store that fails.
#[tokio::test]
async fn held_and_passing_notices_share_a_lane() {
    let dir = tempfile::tempdir().unwrap();
    let count = std::sync::atomic::AtomicU32::new(0);
    let outbox = Between::failing(store(&dir), move |operation| {
        let fails = matches!(operation, "commit" | "pending_in_lane" | "load")
            && count.fetch_add(1, std::sync::atomic::Ordering::Relaxed).is_multiple_of(3);
        let broken = || OutboxError::Storage { path: "state.db".into(), reason: "disk I/O error".into() };
        if fails { Err(broken()) } else { Ok(()) }
    });
    let site = Site::new(Arc::new(outbox), 0, r#"[{"triggers": ["held"], "groupWait": "10m"}]"#);
    let mut batch = Batch::default();
    for n in 0..120 {
        // In blocks that are longer than what a lane reads at once.
        let trigger = if n / 20 % 2 == 0 { "held" } else { "passes" };
        let now = site.clock.now();
        batch.enqueue.push(Notice {
            trigger: trigger.into(),
            created: now,
            due_after: now,
            ..notice(&format!("n{n:03}"), "one", "x")
        });
    }
    while site.outbox.commit(batch.clone()).await.is_err() {}
    let running = site.run();
    site.until(900, 5).await;
    let passed: Vec<String> = (0..120).filter(|n| n / 20 % 2 == 1).map(|n| format!("n{n:03}")).collect();
    let held: Vec<String> = (0..120).filter(|n| n / 20 % 2 == 0).map(|n| format!("n{n:03}")).collect();
    let (digests, singles): (Vec<_>, Vec<_>) =
        site.delivered().into_iter().partition(|(_, what)| what.contains('+'));
    // What is held back holds nobody up.
    assert!(singles.iter().all(|(since, _)| *since < 600), "{singles:?}");
    assert_eq!(singles.into_iter().map(|(_, what)| what).collect::<Vec<_>>(), passed);
    assert_eq!(digests.into_iter().map(|(_, what)| what).collect::<Vec<_>>(), [held.join("+")]);
    site.stop.notify_one();
    for _ in 0..100 {
        site.clock.advance(Duration::from_secs(1));
        tokio::task::yield_now().await;
    }
    let report = running.await.unwrap();
    assert_eq!((report.waiting, report.failed_attempts), (0, 0));
}
