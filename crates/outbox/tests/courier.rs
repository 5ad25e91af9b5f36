//! The courier on a virtual clock: order, isolation, retries, limits, shutdown. Nothing here waits for real time.

#![allow(clippy::unwrap_used, reason = "tests end where something unexpected happens")]

mod common;

use std::time::Duration;

use common::{Bench, failed, notice, second, start};
use herald_outbox::{
    Attempted, BreakerPolicy, Clock, CourierOptions, FailureClass, Filter, Notice, Outbox, Outcome, Rate,
    Report, ServicePolicy,
};

#[tokio::test]
async fn a_lane_keeps_its_order_through_failures_and_others_overtake_it() {
    let script = vec![failed(FailureClass::ServerError), failed(FailureClass::TimedOut)];
    let mut bench = Bench::new(&[("a1", script)]);
    let many: Vec<Notice> = (1..=40).map(|n| notice(&format!("a{n}"), "a", "x")).collect();
    bench.enqueue(many).await;
    bench.enqueue(vec![notice("b1", "b", "x")]).await;
    let (stop, running) = bench.run(CourierOptions::default());
    let mut lane = Vec::new();
    let mut other = None;
    while lane.len() < 42 {
        let (id, attempt, since) = bench.next(Duration::from_millis(250)).await;
        if id == "b1" {
            other = Some(lane.len());
        } else {
            lane.push((id, attempt, since));
        }
    }
    assert!(other.is_some_and(|position| position <= 1), "the other lane waits for nobody");
    let expected: Vec<(String, u32)> = [("a1".to_owned(), 1), ("a1".to_owned(), 2)]
        .into_iter()
        .chain((1..=40).map(|n| (format!("a{n}"), if n == 1 { 3 } else { 1 })))
        .collect();
    let order: Vec<(String, u32)> = lane.iter().map(|(id, attempt, _)| (id.clone(), *attempt)).collect();
    assert_eq!(order, expected);
    // 2 s and 4 s, each between half and all of it.
    let (first, then) = (lane[1].2 - lane[0].2, lane[2].2 - lane[1].2);
    assert!(first >= second(1), "{first:?}");
    assert!(then >= second(2), "{then:?}");
    bench.until("a40", Outcome::Delivered).await;
    stop.notify_one();
    let report = running.await.unwrap();
    assert_eq!((report.delivered, report.failed_attempts, report.waiting), (41, 2, 0));
}

#[tokio::test]
async fn what_is_postponed_is_not_counted_and_blames_nobody() {
    // More often than a breaker bears, or a retry policy.
    let mut bench = Bench::new(&[("a1", vec![Attempted::Postponed; 30])]);
    bench.enqueue(vec![notice("a1", "a", "x"), notice("a2", "a", "x")]).await;
    let (stop, running) = bench.run(CourierOptions::default());
    let mut begun = Vec::new();
    while begun.len() < 32 {
        let (id, attempt, since) = bench.next(Duration::from_millis(100)).await;
        assert_eq!(attempt, 1, "{id}");
        assert!(since < second(40), "{since:?}");
        begun.push(id);
    }
    // The lane keeps its order.
    assert_eq!(begun.last().unwrap(), "a2");
    bench.until("a2", Outcome::Delivered).await;
    let shown = bench.outbox.show("a1").await.unwrap().unwrap();
    assert_eq!((shown.outcome, shown.attempts), (Outcome::Delivered, 1), "{shown:?}");
    stop.notify_one();
    let report = running.await.unwrap();
    assert_eq!((report.delivered, report.failed_attempts), (2, 0));
}

#[tokio::test]
async fn a_hung_lane_stops_nobody_and_ends_by_its_timeout() {
    let mut bench = Bench::new(&[]);
    bench.enqueue(vec![notice("hang", "h", "x"), notice("behind", "h", "x")]).await;
    bench.enqueue((0..50).map(|n| notice(&format!("ok{n}"), &format!("o{n}"), "x")).collect()).await;
    let options = CourierOptions { attempt_timeout: second(10), ..CourierOptions::default() };
    let (stop, running) = bench.run(options);
    for n in 0..50 {
        bench.until(&format!("ok{n}"), Outcome::Delivered).await;
    }
    assert_eq!(bench.outcome("behind").await, Outcome::Pending);
    // Only its own time ends it.
    loop {
        let (id, attempt, since) = bench.next(second(1)).await;
        assert_ne!(id, "behind");
        if (id.as_str(), attempt) == ("hang", 2) {
            assert!(since >= second(11), "{since:?}");
            break;
        }
    }
    let shown = bench.outbox.show("hang").await.unwrap().unwrap();
    assert_eq!(shown.failures[0].reason, "timed_out");
    stop.notify_one();
    while !running.is_finished() {
        bench.clock.advance(second(30));
        tokio::task::yield_now().await;
    }
    assert_eq!(running.await.unwrap().waiting, 2, "what was on its way at the end is not lost");
}

#[tokio::test]
async fn rejected_is_a_dead_letter_at_once_and_can_be_sent_again() {
    let mut bench = Bench::new(&[("a", vec![failed(FailureClass::Rejected)])]);
    bench.enqueue(vec![notice("a", "a", "x"), notice("b", "a", "x")]).await;
    let (stop, running) = bench.run(CourierOptions::default());
    bench.until("b", Outcome::Delivered).await;
    let dead = bench.outbox.show("a").await.unwrap().unwrap();
    assert_eq!(
        (dead.outcome, dead.attempts, dead.reason.as_deref()),
        (Outcome::DeadLetter, 1, Some("rejected"))
    );
    let filter = Filter { outcome: Some(Outcome::DeadLetter), ..Filter::default() };
    assert_eq!(bench.outbox.resend(filter, bench.clock.now()).await.unwrap(), 1);
    bench.until("a", Outcome::Delivered).await;
    assert_eq!(bench.next(second(1)).await.0, "a");
    stop.notify_one();
    assert_eq!(running.await.unwrap().dead_letters, 1);
}

#[tokio::test]
async fn a_panic_is_a_failure_of_that_notice_only() {
    let bench = Bench::new(&[]);
    bench.enqueue(vec![notice("panic", "p", "x"), notice("ok", "o", "x")]).await;
    let report = bench.courier(CourierOptions::default()).run_until_idle(1).await;
    assert_eq!((report.delivered, report.failed_attempts, report.waiting), (1, 1, 1));
    let shown = bench.outbox.show("panic").await.unwrap().unwrap();
    assert_eq!(shown.failures[0].reason, "panicked");
    assert!(shown.failures[0].answer.contains("a fault of the deliverer"), "{:?}", shown.failures);
}

#[tokio::test]
async fn until_idle_leaves_what_fails_and_tries_it_at_once_the_next_time() {
    let down = || failed(FailureClass::Unreachable);
    let mut bench = Bench::new(&[("a", vec![down()]), ("r", vec![failed(FailureClass::Rejected)])]);
    bench
        .enqueue(vec![
            notice("a", "a", "x"),
            notice("behind", "a", "x"),
            notice("r", "r", "x"),
            notice("o", "o", "x"),
        ])
        .await;
    let mut later = notice("later", "l", "x");
    later.due_after = start() + jiff::Span::new().hours(1);
    bench.enqueue(vec![later]).await;
    let report = bench.courier(CourierOptions::default()).run_until_idle(1).await;
    assert_eq!(
        report,
        Report { delivered: 1, failed_attempts: 2, dead_letters: 1, waiting: 3, store_failures: 0 }
    );
    let report = bench.courier(CourierOptions::default()).run_until_idle(1).await;
    assert_eq!(
        report,
        Report { delivered: 2, failed_attempts: 0, dead_letters: 0, waiting: 1, store_failures: 0 }
    );
    while let Ok((id, ..)) = bench.begun.try_recv() {
        assert_ne!(id, "later");
    }
}

#[tokio::test]
async fn retry_after_is_honoured_and_holds_the_recipient() {
    let busy = Attempted::Failed {
        class: FailureClass::Throttled,
        retry_after: Some(second(30)),
        message: "429".into(),
    };
    let mut bench = Bench::new(&[("a", vec![busy])]);
    bench.enqueue(vec![notice("a", "a", "x")]).await;
    let (stop, running) = bench.run(CourierOptions::default());
    assert_eq!(bench.next(second(1)).await.0, "a");
    while bench.outbox.show("a").await.unwrap().unwrap().attempts == 0 {
        tokio::task::yield_now().await;
    }
    bench.enqueue(vec![notice("same", "b", "x"), notice("other", "c", "y")]).await;
    bench.until("other", Outcome::Delivered).await;
    let mut seen = Vec::new();
    while seen.len() < 3 {
        seen.push(bench.next(Duration::from_millis(500)).await);
    }
    assert_eq!(seen[0].0, "other");
    for (id, _, since) in &seen[1..] {
        assert!(*since >= second(30) && *since <= second(45), "{id} {since:?}");
    }
    bench.until("a", Outcome::Delivered).await;
    bench.until("same", Outcome::Delivered).await;
    stop.notify_one();
    running.await.unwrap();
}

#[tokio::test]
async fn a_recipient_gets_one_a_second() {
    let mut bench = Bench::new(&[]);
    bench.enqueue((0..6).map(|n| notice(&format!("n{n}"), &format!("o{n}"), "channel")).collect()).await;
    let policy = ServicePolicy { recipient_rate: Rate::one_per(second(1)), ..ServicePolicy::default() };
    let (stop, running) = bench.run(CourierOptions::default().with_policy(policy));
    for n in 0..6 {
        let (id, _, since) = bench.next(Duration::from_millis(100)).await;
        assert!(since >= second(n), "{id} is number {n}, at {since:?}");
    }
    stop.notify_one();
    running.await.unwrap();
}

#[tokio::test]
async fn a_service_that_is_down_is_probed_and_everything_arrives_when_it_is_back() {
    let ids: Vec<String> = (0..30).map(|n| format!("n{n}")).collect();
    let script: Vec<(&str, Vec<Attempted>)> =
        ids.iter().map(|id| (id.as_str(), vec![failed(FailureClass::Unreachable)])).collect();
    let mut bench = Bench::new(&script);
    bench.enqueue(ids.iter().map(|id| notice(id, id, "x")).collect()).await;
    let breaker = BreakerPolicy { failures: 3, first_pause: second(60), longest_pause: second(60) };
    let policy = ServicePolicy { breaker, concurrency: 1, ..ServicePolicy::default() };
    let (stop, running) = bench.run(CourierOptions::default().with_policy(policy));
    let mut times = Vec::new();
    for _ in 0..5 {
        times.push(bench.next(second(1)).await.2);
    }
    assert!(times[2] < second(30), "three attempts, then it opens: {times:?}");
    assert!(times[3] - times[2] >= second(60), "a probe after the pause: {times:?}");
    assert!(times[4] - times[3] >= second(60), "the probe failed: {times:?}");
    bench.script.results.lock().unwrap().clear();
    for id in &ids {
        while bench.outcome(id).await != Outcome::Delivered {
            bench.clock.advance(second(1));
        }
    }
    stop.notify_one();
    assert_eq!(running.await.unwrap().delivered, 30);
}
