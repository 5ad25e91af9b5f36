//! The crash test in small; `cargo xtask crash` is the long one.

// Helpers of tests may fail loudly, too.
#![allow(clippy::unwrap_used)]

use herald_testkit::crash::Crash;

#[tokio::test(flavor = "multi_thread")]
async fn killed_twenty_times_under_load_nothing_is_lost() {
    let program = env!("CARGO_BIN_EXE_herald").into();
    let pace = std::time::Duration::from_millis(300);
    let crash = Crash { program, kills: 20, seed: 7, rollouts: 20, pace, outbox: None, workers: 0 };
    let counted = crash.run().await;
    eprint!("{counted}");
    assert!(counted.is_good(), "{counted}");
    assert!(counted.due > 60, "there was hardly any load");
}
