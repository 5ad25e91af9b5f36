//! What bounds the courier: concurrency, fairness, grace, a store that fails, clocks that jump, policies that change.

#![allow(clippy::unwrap_used, reason = "tests end where something unexpected happens")]

mod common;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use common::{Bench, Between, failed, notice, second, start, turn};
use herald_outbox::{
    Attempted, Clock, Courier, CourierOptions, Deliverer, FailureClass, Notice, OutboxError, Outcome,
    Policies, ServicePolicy, VirtualClock,
};
use tokio::sync::{Notify, watch};

fn at_service(id: &str, name: &str, service: &str) -> Notice {
    Notice { service: service.into(), ..notice(id, name, "x") }
}

/// The attempts that begin without any time passing.
async fn begun(bench: &mut Bench) -> Vec<String> {
    let mut seen = Vec::new();
    for _ in 0..100 {
        while let Ok((id, ..)) = bench.begun.try_recv() {
            seen.push(id);
        }
        turn(&*bench.outbox).await;
    }
    seen
}

#[tokio::test]
async fn no_more_at_a_time_than_allowed_for_a_service_and_in_all() {
    for (in_all, per_service, expected) in
        [(64, 2, [2, 2]), (4, 2, [2, 1]), (1, 16, [1, 0]), (64, 16, [10, 10])]
    {
        let mut bench = Bench::new(&[]);
        let mut notices: Vec<_> =
            (0..10).map(|n| at_service(&format!("hang-a{n}"), &format!("a{n}"), "a")).collect();
        notices.extend((0..10).map(|n| at_service(&format!("hang-b{n}"), &format!("b{n}"), "b")));
        bench.enqueue(notices).await;
        let policy = ServicePolicy { concurrency: per_service, ..ServicePolicy::default() };
        let options = CourierOptions { concurrency: in_all, ..CourierOptions::default() };
        let (_stop, running) = bench.run(options.with_policy(policy));
        let seen = begun(&mut bench).await;
        let count =
            |service: &str| seen.iter().filter(|id| id.starts_with(&format!("hang-{service}"))).count();
        assert_eq!([count("a"), count("b")], expected, "{in_all} in all, {per_service} for a service");
        running.abort();
    }
}

#[tokio::test]
async fn services_that_hang_leave_a_place_however_many_they_are() {
    let mut bench = Bench::new(&[]);
    // Eight services that never answer, each with more to deliver than it may at a time.
    let mut notices: Vec<_> = (0..160)
        .map(|n| at_service(&format!("hang{n}"), &format!("o{n}"), &format!("sick{}", n % 8)))
        .collect();
    bench.enqueue(std::mem::take(&mut notices)).await;
    let policy = ServicePolicy { concurrency: 16, ..ServicePolicy::default() };
    let options = CourierOptions { concurrency: 64, ..CourierOptions::default() };
    let (_stop, running) = bench.run(options.with_policy(policy));
    let held = begun(&mut bench).await.len();
    assert!((40..64).contains(&held), "{held} of 64 places are held");
    // The healthy one goes on, one after another if need be.
    bench.enqueue((0..20).map(|n| at_service(&format!("well{n}"), "w", "well")).collect()).await;
    for n in 0..20 {
        assert_eq!(bench.next(Duration::from_millis(10)).await.0, format!("well{n}"));
    }
    running.abort();
}

#[tokio::test]
async fn an_object_with_many_recipients_takes_nobodys_place() {
    let mut bench = Bench::new(&[]);
    let mut notices: Vec<_> =
        (0..200).map(|n| notice(&format!("many{n}"), "many", &format!("r{n}"))).collect();
    notices.extend((0..3).map(|n| notice(&format!("few{n}"), &format!("few{n}"), "x")));
    bench.enqueue(notices).await;
    let options = CourierOptions { concurrency: 1, ..CourierOptions::default() };
    let (stop, running) = bench.run(options);
    let mut order = Vec::new();
    for _ in 0..203 {
        order.push(bench.next(Duration::from_millis(10)).await.0);
    }
    for few in ["few0", "few1", "few2"] {
        let position = order.iter().position(|id| id == few).unwrap();
        assert!(position <= 5, "{few} is number {position}");
    }
    stop.notify_one();
    running.await.unwrap();
}

#[tokio::test]
async fn a_new_policy_comes_into_force_while_it_runs() {
    let mut bench = Bench::new(&[]);
    bench.enqueue((0..10).map(|n| notice(&format!("hang{n}"), &format!("o{n}"), "x")).collect()).await;
    let with = |concurrency| -> Policies {
        Arc::new(move |_: &str| ServicePolicy { concurrency, ..ServicePolicy::default() })
    };
    let (sender, policies) = watch::channel(with(1));
    let options = CourierOptions { policies, attempt_timeout: second(3600), ..CourierOptions::default() };
    let (_stop, running) = bench.run(options);
    assert_eq!(begun(&mut bench).await.len(), 1);
    sender.send(with(4)).unwrap();
    bench.clock.advance(second(2));
    assert_eq!(begun(&mut bench).await.len(), 3);
    // Fewer: what is on its way isn't cut off, but nothing new begins.
    sender.send(with(1)).unwrap();
    bench.clock.advance(second(2));
    assert_eq!(begun(&mut bench).await.len(), 0);
    running.abort();
}

/// Takes its time, by the clock.
struct Slow(VirtualClock, Duration, Notify);

#[async_trait]
impl Deliverer for Slow {
    async fn deliver(&self, _notice: &Notice, _attempt: u32) -> Attempted {
        let until = self.0.now() + jiff::SignedDuration::try_from(self.1).unwrap();
        self.2.notify_one();
        self.0.sleep_until(until).await;
        Attempted::Delivered { detail: "late".into() }
    }
}

#[tokio::test]
async fn the_grace_at_a_shutdown_is_enough_or_nothing_is_lost() {
    for (takes, grace, expected) in [(10, 20, Outcome::Delivered), (30, 20, Outcome::Pending)] {
        let bench = Bench::new(&[]);
        bench.enqueue(vec![notice("a", "a", "x"), notice("behind", "a", "x")]).await;
        let slow = Arc::new(Slow(bench.clock.clone(), second(takes), Notify::new()));
        let options = CourierOptions { grace: second(grace), ..CourierOptions::default() };
        let courier =
            Courier::new(bench.outbox.clone(), slow.clone(), Arc::new(bench.clock.clone()), options);
        let stop = Arc::new(Notify::new());
        let stopped = stop.clone();
        let running = tokio::spawn(async move { courier.run(async move { stopped.notified().await }).await });
        slow.2.notified().await;
        stop.notify_one();
        for _ in 0..takes + grace {
            // The store's answers come in real time: each second of the clock gives them their turns.
            for _ in 0..10 {
                turn(&*bench.outbox).await;
            }
            if running.is_finished() {
                break;
            }
            bench.clock.advance(second(1));
        }
        running.await.unwrap();
        assert_eq!(bench.outcome("a").await, expected);
        assert_eq!(bench.outcome("behind").await, Outcome::Pending, "nothing new begins after the shutdown");
    }
}

fn broken() -> OutboxError {
    OutboxError::Storage { path: "state.db".into(), reason: "disk I/O error".into() }
}

/// Every operation of the store fails now and then: all arrives, in order, and the store's faults cost no attempt.
#[tokio::test]
async fn a_store_that_fails_now_and_then_loses_nothing_and_keeps_the_order() {
    for operation in ["pending", "pending_in_lane", "load", "delivered", "backlog", "prune", "commit"] {
        let mut bench = Bench::new(&[]);
        // Far more than a lane holds in memory.
        let lane: Vec<String> = (0..100).map(|n| format!("n{n:03}")).collect();
        bench.enqueue(lane.iter().map(|id| notice(id, "a", "x")).collect()).await;
        let failures = Arc::new(AtomicU32::new(0));
        let counted = failures.clone();
        let outbox = Between::failing(bench.outbox.clone(), move |name| {
            // Three failures, then one success, again and again.
            let fails = name == operation && counted.fetch_add(1, Ordering::Relaxed) % 4 != 3;
            if fails { Err(broken()) } else { Ok(()) }
        });
        let courier = Courier::new(
            Arc::new(outbox),
            bench.script.clone(),
            Arc::new(bench.clock.clone()),
            CourierOptions::default(),
        );
        let stop = Arc::new(Notify::new());
        let stopped = stop.clone();
        let running = tokio::spawn(async move { courier.run(async move { stopped.notified().await }).await });
        let mut seen = Vec::new();
        while seen.len() < lane.len() {
            let (id, attempt, _) = bench.next(Duration::from_millis(500)).await;
            assert_eq!(attempt, 1, "{operation} {id}");
            seen.push(id);
        }
        assert_eq!(seen, lane, "{operation}");
        while bench.outcome("n099").await != Outcome::Delivered {
            bench.clock.advance(second(1));
            tokio::task::yield_now().await;
        }
        stop.notify_one();
        let report = running.await.unwrap();
        assert_eq!((report.delivered, report.failed_attempts), (100, 0), "{operation}");
        let seen = failures.load(Ordering::Relaxed);
        assert!(operation == "commit" || seen > 0, "{operation} was never asked for");
    }
}

/// Results that can't be written are written later: nothing is delivered twice, nothing behind it overtakes.
#[tokio::test]
async fn a_store_that_is_full_for_a_while_delays_but_repeats_nothing() {
    let mut bench = Bench::new(&[]);
    bench.enqueue(vec![notice("a1", "a", "x"), notice("a2", "a", "x"), notice("b1", "b", "x")]).await;
    let full = Arc::new(AtomicBool::new(true));
    let is_full = full.clone();
    let outbox = Between::failing(bench.outbox.clone(), move |name| {
        let writes = matches!(name, "delivered" | "retry" | "give_up" | "commit" | "prune");
        if writes && is_full.load(Ordering::Relaxed) { Err(broken()) } else { Ok(()) }
    });
    let clock = Arc::new(bench.clock.clone());
    let courier = Courier::new(Arc::new(outbox), bench.script.clone(), clock, CourierOptions::default());
    let stop = Arc::new(Notify::new());
    let stopped = stop.clone();
    let running = tokio::spawn(async move { courier.run(async move { stopped.notified().await }).await });
    let mut seen = begun(&mut bench).await;
    for _ in 0..60 {
        bench.clock.advance(second(10));
        tokio::task::yield_now().await;
    }
    seen.extend(begun(&mut bench).await);
    seen.sort();
    assert_eq!(seen, ["a1", "b1"]);
    full.store(false, Ordering::Relaxed);
    assert_eq!(bench.next(second(1)).await.0, "a2");
    bench.until("a2", Outcome::Delivered).await;
    stop.notify_one();
    assert_eq!(running.await.unwrap().delivered, 3);
    assert!(begun(&mut bench).await.is_empty());
}

/// The clock is set by a day between two runs: back, nothing waits longer than twice the longest delay; forward, nothing is
/// given up for it.
#[tokio::test]
async fn a_clock_that_jumps_by_a_day_loses_and_delays_nothing() {
    for (jump, patience) in [(-86_400_i64, 2 * 3600), (86_400, 0)] {
        let mut bench = Bench::new(&[("failed", vec![failed(FailureClass::Unreachable); 2])]);
        bench.enqueue(vec![notice("failed", "a", "x")]).await;
        let report = bench.courier(CourierOptions::default()).run_until_idle(1).await;
        assert_eq!(report.failed_attempts, 1);
        // Written by the old clock, not attempted yet.
        bench.enqueue(vec![notice("fresh", "b", "x")]).await;
        while bench.begun.try_recv().is_ok() {}

        let jumped = start() + jiff::SignedDuration::from_secs(jump);
        bench.clock = VirtualClock::new(jumped);
        let (stop, running) = bench.run(CourierOptions::default());
        let mut times = HashMap::new();
        for _ in 0..200_000 {
            for id in begun(&mut bench).await {
                let since = bench.clock.now().duration_since(jumped).as_secs();
                times.entry(id).or_insert(since);
            }
            if times.len() == 2 {
                break;
            }
            bench.clock.advance(second(600));
        }
        assert_eq!(times["fresh"], 0, "by {jump}");
        assert!(times["failed"] <= patience, "by {jump}: after {} s", times["failed"]);
        while bench.outcome("failed").await != Outcome::Delivered {
            bench.clock.advance(second(1));
            tokio::task::yield_now().await;
        }
        stop.notify_one();
        assert_eq!(running.await.unwrap().dead_letters, 0);
    }
}
