//! One receiver hangs, another answers in 5 ms: how long a notice for the healthy one takes from being due to being
//! accepted, alone and beside the other, at 500 notices a second.
//!
//! `cargo run --release -p herald-outbox --example isolation [SECONDS] [NOTICES A SECOND]`

use std::{error::Error, sync::Arc, time::Duration};

use async_trait::async_trait;
use herald_outbox::{
    Access, Attempted, Batch, Courier, CourierOptions, Deliverer, Notice, ObjectRef, Outbox, SqliteOutbox,
    SystemClock,
};
use jiff::Timestamp;
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};

struct Receivers {
    answered: mpsc::UnboundedSender<(usize, Instant)>,
}

#[async_trait]
impl Deliverer for Receivers {
    async fn deliver(&self, notice: &Notice, _attempt: u32) -> Attempted {
        if notice.service == "hangs" {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
        if let Ok(number) = notice.id.parse() {
            // The other end is gone only when the measurement is over.
            let _ = self.answered.send((number, Instant::now()));
        }
        Attempted::Delivered { detail: "200".into() }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let seconds: usize = arguments.next().map_or(Ok(20), |text| text.parse())?;
    let rate: usize = arguments.next().map_or(Ok(500), |text| text.parse())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    // In short turns, so that whatever else the machine and its disk do meets both alike.
    for _ in 0..seconds.div_ceil(2) {
        alone.extend(runtime.block_on(measure(2 * rate, rate, false))?);
        beside.extend(runtime.block_on(measure(2 * rate, rate, true))?);
    }
    let first = report("alone", &mut alone);
    let second = report("beside a receiver that hangs", &mut beside);
    println!("ratio of the p99: {:.2}", second / first);
    Ok(())
}

fn report(name: &str, times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    let at = |percent: usize| {
        times.get(times.len() * percent / 100).map_or(0.0, |time: &Duration| time.as_secs_f64() * 1e3)
    };
    println!("{name}: {} notices, p50 {:.1} ms, p99 {:.1} ms", times.len(), at(50), at(99));
    at(99)
}

/// Enqueues at a steady pace, counted from when each one should be due: a store that falls behind is seen as late.
async fn measure(notices: usize, rate: usize, beside: bool) -> Result<Vec<Duration>, Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let outbox = Arc::new(SqliteOutbox::open(dir.path().join("state.db"), Access::Owner)?);
    let (answered, mut answers) = mpsc::unbounded_channel();
    let options = CourierOptions { grace: Duration::ZERO, ..CourierOptions::default() };
    let courier = Courier::new(
        outbox.clone(),
        Arc::new(Receivers { answered }),
        Arc::new(SystemClock::default()),
        options,
    );
    let stop = Arc::new(Notify::new());
    let stopped = stop.clone();
    let running = tokio::spawn(async move { courier.run(async move { stopped.notified().await }).await });

    let began = Instant::now() + Duration::from_millis(200);
    let due = move |number: usize| began + Duration::from_secs_f64(number as f64 / rate as f64);
    let mut producers = tokio::task::JoinSet::new();
    for number in 0..notices {
        tokio::time::sleep_until(due(number)).await;
        let outbox = outbox.clone();
        producers.spawn(async move {
            let mut enqueue = vec![notice(&number.to_string(), number, "answers")];
            if beside {
                enqueue.push(notice(&format!("h{number}"), number, "hangs"));
            }
            outbox.commit(Batch { enqueue, ..Batch::default() }).await
        });
        while let Some(done) = producers.try_join_next() {
            done??;
        }
    }
    while let Some(done) = producers.join_next().await {
        done??;
    }
    let mut times = Vec::with_capacity(notices);
    while times.len() < notices {
        let Some((number, at)) = answers.recv().await else { break };
        times.push(at.duration_since(due(number)));
    }
    stop.notify_one();
    running.await?;
    Ok(times)
}

fn notice(id: &str, number: usize, service: &str) -> Notice {
    let object = ObjectRef {
        namespace: "prod".into(),
        kind: "Rollout".into(),
        name: format!("web-{}", number % 200),
        uid: String::new(),
    };
    Notice {
        id: id.into(),
        object,
        trigger: "on-rollout-completed".into(),
        service: service.into(),
        recipient: "deploys".into(),
        created: Timestamp::now(),
        due_after: Timestamp::UNIX_EPOCH,
        payload: vec![b'x'; 1024],
    }
}
