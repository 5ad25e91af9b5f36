//! NATS away for a while, with the real programs: one that watches and delivers, two that deliver.
//!
//! `HERALD_NATS_AWAY` is for how many seconds: 60 by hand, few in CI; more than six, so that every claim runs out.

// Helpers of tests may fail loudly, too.
#![allow(clippy::unwrap_used)]

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use herald_testkit::{
    crash::{Crash, Progress},
    nats::{Nats, NatsOptions},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const PATIENCE: Duration = Duration::from_secs(60);

fn seconds() -> u64 {
    std::env::var("HERALD_NATS_AWAY").ok().and_then(|text| text.parse().ok()).unwrap_or(12)
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// What `/readyz` says; nothing while nobody listens.
async fn readyz(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}

/// What a program said but for single deliveries.
fn without_deliveries(said: &str) -> String {
    let of_one = |line: &&str| line.contains("delivery_id=");
    let lines = said.lines().filter(|line| !of_one(line));
    lines.map(|line| format!("{line}\n")).collect()
}

/// Waits until so many notices were accepted.
async fn accepted(progress: &Progress, number: usize) {
    let began = Instant::now();
    while progress.accepted() < number {
        assert!(began.elapsed() < PATIENCE, "{} of {number} were accepted", progress.accepted());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until all say so; gives how long it took.
async fn all_say(ports: &[u16], status: &str, words: &str) -> Duration {
    let began = Instant::now();
    for port in ports {
        loop {
            let said = readyz(*port).await;
            if said.as_ref().is_some_and(|said| said.starts_with(status) && said.contains(words)) {
                break;
            }
            assert!(began.elapsed() < PATIENCE, "{port} never said {words}: {said:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_away_for_a_while_everything_due_arrives_once_and_one_line_says_why() {
    let Some(mut nats) = Nats::start(&NatsOptions { jetstream: true, ..NatsOptions::default() }).await else {
        return;
    };
    let away = Duration::from_secs(seconds());
    let ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
    let more: Vec<Vec<String>> =
        ports.iter().map(|port| vec!["--healthzPort".to_owned(), port.to_string()]).collect();
    let crash = Crash {
        program: env!("CARGO_BIN_EXE_herald").into(),
        kills: 0,
        seed: 1,
        // So many that there are new revisions to the end of the time, as each moves on once.
        rollouts: 40 + 8 * usize::try_from(away.as_secs()).unwrap(),
        pace: Duration::from_millis(100),
        outbox: Some(nats.url()),
        workers: 2,
    };
    let (counted, said) = crash
        .run_while(&more, async |progress| {
            all_say(&ports, "HTTP/1.1 200", "ok").await;
            accepted(&progress, 3 * crash.rollouts + 20).await;
            nats.kill(0);
            let began = Instant::now();
            let known = all_say(&ports, "HTTP/1.1 503", "is away since").await;
            assert!(known < Duration::from_secs(5), "known after {known:?}");
            tokio::time::sleep(away.saturating_sub(began.elapsed())).await;
            all_say(&ports, "HTTP/1.1 503", "no connection").await;
            nats.restart(0).await;
            let back = all_say(&ports, "HTTP/1.1 200", "ok").await;
            eprintln!("away {:?}, known after {known:?}, ready {back:?} after its return", began.elapsed());
            accepted(&progress, progress.accepted() + 100).await;
        })
        .await;
    eprint!("{counted}");
    let said: Vec<String> = said.iter().map(|said| without_deliveries(said)).collect();
    eprintln!("{}", said.join("---\n"));
    // Without a kill nothing is repeated: what was accepted while NATS was away is written down before it is looked at again.
    assert!(counted.is_good(), "{counted}");
    assert!(counted.due > 300, "there was hardly any load");
    for said in said {
        assert_eq!(said.matches("is away (").count(), 1, "{said}");
        assert_eq!(said.matches("is back after").count(), 1, "{said}");
        assert!(said.lines().count() < 7, "{said}");
    }
}
