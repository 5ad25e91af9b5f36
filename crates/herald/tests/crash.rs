//! The crash test in small; `cargo xtask crash` is the long one.

// Helpers of tests may fail loudly, too.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use herald_testkit::{
    crash::Crash,
    nats::{Nats, NatsOptions},
};

fn crash(seed: u64) -> Crash {
    let program = env!("CARGO_BIN_EXE_herald").into();
    Crash {
        program,
        kills: 20,
        seed,
        rollouts: 20,
        pace: Duration::from_millis(300),
        outbox: None,
        workers: 0,
    }
}

async fn keeps_its_promises(crash: Crash) {
    let counted = crash.run().await;
    eprint!("{counted}");
    assert!(counted.is_good(), "{counted}");
    assert!(counted.due > 60, "there was hardly any load");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_twenty_times_under_load_nothing_is_lost() {
    keeps_its_promises(crash(7)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_twenty_times_over_jetstream_with_workers_nothing_is_lost() {
    let Some(nats) = Nats::start(&NatsOptions { jetstream: true, ..NatsOptions::default() }).await else {
        return;
    };
    keeps_its_promises(Crash { outbox: Some(nats.url()), workers: 2, ..crash(8) }).await;
}
