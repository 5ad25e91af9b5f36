//! Notices a second through JetStream, enqueued and acknowledged, beside what the server itself can do.
//!
//! `cargo run --release -p herald-outbox --example jetstream [NOTICES] [CALLERS] [TURNS] [default|synced|both]`
//!
//! The server is a real `nats-server` of its own, found as the tests find it: once as it is by default, which writes at
//! once and syncs its files every two minutes, and once with each write synced before it is confirmed.

mod shared;

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use async_nats::jetstream::{
    self,
    consumer::{AckPolicy, pull},
    stream::{self, RetentionPolicy},
};
use async_trait::async_trait;
use futures::StreamExt as _;
use herald_outbox::{
    Attempted, Batch, Courier, CourierOptions, Deliverer, JetStreamOutbox, NatsAddress, Notice, Outbox,
    Policies, Role, ServicePolicy, SystemClock,
};
use herald_testkit::nats::{Nats, NatsOptions};
use tokio::sync::{Notify, watch};

type Failed = Box<dyn Error + Send + Sync>;

/// Longer than any turn that goes on at all.
const PATIENCE: Duration = Duration::from_secs(300);

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let mut arguments = std::env::args().skip(1);
    let notices: usize = arguments.next().map_or(Ok(50_000), |text| text.parse())?;
    let callers: usize = arguments.next().map_or(Ok(256), |text| text.parse::<usize>())?.max(1);
    let turns: usize = arguments.next().map_or(Ok(1), |text| text.parse())?;
    let which = arguments.next().unwrap_or_else(|| "both".into());
    for (name, by_default) in [("default", true), ("synced", false)] {
        if which != "both" && which != name {
            continue;
        }
        let mut ratios = Vec::new();
        // Side by side, as the machine may have other things to do: a turn is compared with its own limit.
        for _ in 0..turns {
            // The outbox's turn first on one server, the bare stream on another: neither finds the other's files.
            let rate = outbox(&server(by_default).await?, notices, callers).await?;
            let raw = raw(&server(by_default).await?, notices, callers).await?;
            println!(
                "JetStream, {name}, {callers} callers: {rate:.0} notices a second, enqueued and acknowledged; raw stream: \
                 {raw:.0} messages a second, published and acknowledged; ratio {:.3}",
                rate / raw
            );
            ratios.push(rate / raw);
        }
        ratios.sort_by(f64::total_cmp);
        if let Some(median) = ratios.get(ratios.len() / 2) {
            println!("{name}: median of {turns} ratios {median:.3}");
        }
    }
    Ok(())
}

async fn server(sync_by_default: bool) -> Result<Nats, Failed> {
    let options = NatsOptions { jetstream: true, sync_by_default, ..NatsOptions::default() };
    Ok(Nats::start(&options).await.ok_or("no nats-server: `./test` installs it")?)
}

/// Publishes with so many callers while the courier delivers to nobody, as many at a time; gives the rate.
async fn outbox(nats: &Nats, notices: usize, callers: usize) -> Result<f64, Failed> {
    let address: NatsAddress = nats.url().parse()?;
    let outbox = Arc::new(JetStreamOutbox::open(&address, Role::Worker).await?);
    // Claims are made before the clock runs: a worker makes them once.
    run(&outbox, callers, callers, "warm").await?;
    let began = Instant::now();
    run(&outbox, notices, callers, "timed").await?;
    let rate = notices as f64 / began.elapsed().as_secs_f64();
    outbox.close().await;
    Ok(rate)
}

/// Accepts everything, and tells when that was enough.
struct Nobody {
    missing: AtomicUsize,
    enough: Notify,
}

#[async_trait]
impl Deliverer for Nobody {
    async fn deliver(&self, _: &Notice, _: u32) -> Attempted {
        if self.missing.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.enough.notify_one();
        }
        Attempted::Delivered { detail: String::new() }
    }
}

async fn run(outbox: &Arc<JetStreamOutbox>, notices: usize, callers: usize, run: &str) -> Result<(), Failed> {
    let mut publishing = tokio::task::JoinSet::<Result<(), Failed>>::new();
    for caller in 0..callers {
        let (outbox, run) = (outbox.clone(), run.to_owned());
        let share = notices / callers + usize::from(caller < notices % callers);
        publishing.spawn(async move {
            for n in 0..share {
                let notice = shared::notice(format!("{run}/{caller}/{n}"), "");
                outbox.commit(Batch { enqueue: vec![notice], ..Batch::default() }).await?;
            }
            Ok(())
        });
    }
    let policies: Policies =
        Arc::new(move |_: &str| ServicePolicy { concurrency: callers, ..ServicePolicy::default() });
    let options = CourierOptions { policies: watch::channel(policies).1, ..CourierOptions::default() };
    let nobody = Arc::new(Nobody { missing: AtomicUsize::new(notices), enough: Notify::new() });
    let courier = Courier::new(outbox.clone(), nobody.clone(), Arc::new(SystemClock::default()), options);
    // It ends once what was delivered is written down.
    let delivering = courier.run(async move { nobody.enough.notified().await });
    let publishing = async {
        while let Some(ended) = publishing.join_next().await {
            ended??;
        }
        Ok::<(), Failed>(())
    };
    let both = async { tokio::join!(delivering, publishing) };
    let (report, published) = tokio::time::timeout(PATIENCE, both).await?;
    published?;
    match report.delivered {
        delivered if delivered >= notices as u64 => Ok(()),
        delivered => Err(format!("{delivered} of {notices} were delivered").into()),
    }
}

/// One work-queue stream, one consumer, each message published and acknowledged, `callers` on their way at once: what no
/// outbox on JetStream can beat.
async fn raw(nats: &Nats, messages: usize, callers: usize) -> Result<f64, Failed> {
    let context = jetstream::new(async_nats::connect(nats.url()).await?);
    let config = stream::Config {
        name: "raw".into(),
        subjects: vec!["raw".into()],
        retention: RetentionPolicy::WorkQueue,
        ..stream::Config::default()
    };
    let stream = context.create_stream(config).await?;
    let config = pull::Config {
        durable_name: Some("raw".into()),
        ack_policy: AckPolicy::Explicit,
        max_ack_pending: 100_000,
        ..pull::Config::default()
    };
    let consumer = stream.create_consumer(config).await?;
    let payload = bytes::Bytes::from(vec![b'x'; 1024]);
    let began = Instant::now();
    let publishing = futures::stream::iter(0..messages)
        .map(|_| async {
            context.publish("raw", payload.clone()).await?.await?;
            Ok::<(), Failed>(())
        })
        .buffer_unordered(callers)
        .for_each(|published| async { drop(published) });
    let acknowledging = async {
        let acks = consumer.stream().max_messages_per_batch(500).messages().await?.take(messages).map(
            |message| async {
                message?.double_ack().await?;
                Ok::<(), Failed>(())
            },
        );
        let mut acks = acks.buffer_unordered(callers);
        while let Some(done) = acks.next().await {
            done?;
        }
        Ok::<(), Failed>(())
    };
    let both = async { tokio::join!(publishing, acknowledging).1 };
    tokio::time::timeout(PATIENCE, both).await??;
    Ok(messages as f64 / began.elapsed().as_secs_f64())
}
