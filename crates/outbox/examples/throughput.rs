//! Notices a second, enqueued and acknowledged with full durability, beside what the raw store can do.
//!
//! `cargo run --release -p herald-outbox --example throughput [NOTICES] [CALLERS] [HISTORY]`
//!
//! With HISTORY, such as 1000000, a second store holds that many delivered notices before; both are measured in short
//! turns, so that whatever else the machine does meets both alike. The files are made in `$TMPDIR`.

mod shared;

use std::{error::Error, sync::Arc, time::Instant};

use herald_outbox::{Access, Batch, Filter, Outbox, Outcome, Receipt, Retention, SqliteOutbox};
use jiff::Timestamp;

/// Turns of each store.
const TURNS: usize = 10;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let notices: usize = arguments.next().map_or(Ok(20_000), |text| text.parse())?;
    let callers: usize = arguments.next().map_or(Ok(256), |text| text.parse::<usize>())?.max(1);
    let history: usize = arguments.next().map_or(Ok(0), |text| text.parse())?;
    let dir = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;

    let mut stores = vec![("outbox", dir.path().join("state.db"))];
    if history > 0 {
        let path = dir.path().join("long.db");
        let began = Instant::now();
        fill(&path, history)?;
        println!("{history} notices of history, made in {:.0} s", began.elapsed().as_secs_f64());
        stores.push(("outbox with that history", path));
    }
    let outboxes: Vec<Arc<SqliteOutbox>> = stores
        .iter()
        .map(|(_, path)| SqliteOutbox::open(path, Access::Owner).map(Arc::new))
        .collect::<Result<_, _>>()?;
    let mut rates = vec![Vec::new(); stores.len()];
    for turn in 0..TURNS {
        for (outbox, rates) in outboxes.iter().zip(&mut rates) {
            rates.push(runtime.block_on(turns(outbox, notices / TURNS, callers, turn))?);
        }
    }
    let mut medians = Vec::new();
    for ((name, _), rates) in stores.iter().zip(&mut rates) {
        rates.sort_unstable_by(f64::total_cmp);
        let median = rates.get(rates.len() / 2).copied().unwrap_or_default();
        println!("{name}, {callers} callers: {median:.0} notices a second, enqueued and acknowledged");
        medians.push(median);
    }
    if let [without, with] = medians[..] {
        println!("with history: {:.1} % slower", (1.0 - with / without) * 100.0);
    }
    if let Some(outbox) = outboxes.last() {
        runtime.block_on(reads(outbox))?;
    }

    let raw = raw(&dir.path().join("raw.db"), 1)?;
    println!("raw store, a commit for each row: {raw:.0} rows a second");
    let raw = self::raw(&dir.path().join("raw-grouped.db"), callers)?;
    println!("raw store, {callers} rows a commit: {raw:.0} rows a second");
    Ok(())
}

/// Enqueues and acknowledges; gives the rate.
async fn turns(
    outbox: &Arc<SqliteOutbox>,
    notices: usize,
    callers: usize,
    turn: usize,
) -> Result<f64, Box<dyn Error>> {
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for caller in 0..callers {
        let outbox = outbox.clone();
        let share = notices / callers + usize::from(caller < notices % callers);
        tasks.spawn(async move {
            for n in 0..share {
                let notice = shared::notice(format!("{turn}/{caller}/{n}"), "deploys");
                let id = notice.id.clone();
                outbox.commit(Batch { enqueue: vec![notice], ..Batch::default() }).await?;
                let receipt =
                    Receipt { at: Timestamp::UNIX_EPOCH, took: Default::default(), detail: String::new() };
                outbox.delivered(&id, receipt).await?;
            }
            Ok::<(), herald_outbox::OutboxError>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(notices as f64 / began.elapsed().as_secs_f64())
}

/// How long the other operations take on the longest store.
async fn reads(outbox: &SqliteOutbox) -> Result<(), Box<dyn Error>> {
    let newest = Filter { limit: Some(50), ..Filter::default() };
    let one = Filter { namespace: Some("prod".into()), name: Some("web-77".into()), ..newest.clone() };
    let dead = Filter { outcome: Some(Outcome::DeadLetter), ..newest.clone() };
    let rare = Filter { service: Some("email".into()), ..newest.clone() };
    let dropped = Filter { outcome: Some(Outcome::Dropped), trigger: Some("mine".into()), ..newest.clone() };
    let old = Filter { until: Some(Timestamp::UNIX_EPOCH), ..newest.clone() };
    for (name, filter) in [
        ("the newest 50", newest),
        ("50 of one object", one),
        ("dead letters", dead.clone()),
        ("a service that has none", rare),
        ("an outcome and a trigger that have none", dropped),
        ("what is older than all", old),
    ] {
        let began = Instant::now();
        let found = outbox.list(filter).await?.len();
        println!("list {name}: {found} in {:.1} ms", began.elapsed().as_secs_f64() * 1e3);
    }
    let began = Instant::now();
    let dead = outbox.count(dead).await?;
    println!("dead letters: {dead}, counted in {:.1} ms", began.elapsed().as_secs_f64() * 1e3);
    let began = Instant::now();
    let (waiting, _) = outbox.backlog().await?;
    println!("backlog: {waiting} in {:.1} ms", began.elapsed().as_secs_f64() * 1e3);
    let began = Instant::now();
    let pruned = outbox.prune(Retention::default(), Timestamp::now()).await?;
    println!("a step of pruning: {pruned} in {:.1} ms", began.elapsed().as_secs_f64() * 1e3);
    Ok(())
}

/// A store with a long history, made by one statement.
fn fill(path: &std::path::Path, rows: usize) -> Result<(), Box<dyn Error>> {
    drop(SqliteOutbox::open(path, Access::Owner)?);
    let db = rusqlite::Connection::open(path)?;
    db.pragma_update(None, "synchronous", "OFF")?;
    db.execute(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
         INSERT INTO notice (id, lane, \"trigger\", namespace, kind, name, uid, service, recipient, created, due, outcome,
                             attempts, finished, took, answer, payload)
         SELECT 'history-' || i, 'prod/Rollout/web-' || (i % 1000), 'on-rollout-completed', 'prod', 'Rollout',
                'web-' || (i % 1000), 'u', 'slack', 'deploys', ?2, ?2, 1, 1, ?2, 5, 'ok', zeroblob(1024)
         FROM n",
        rusqlite::params![i64::try_from(rows)?, Timestamp::now().as_millisecond()],
    )?;
    Ok(())
}

/// One table, one row, the same durability: what no outbox on SQLite can beat.
fn raw(path: &std::path::Path, group: usize) -> rusqlite::Result<f64> {
    let mut db = rusqlite::Connection::open(path)?;
    db.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE t (id INTEGER PRIMARY KEY, v BLOB)")?;
    let (began, payload, mut rows) = (Instant::now(), vec![b'x'; 1024], 0);
    while began.elapsed().as_secs_f64() < 2.0 {
        let transaction = db.transaction()?;
        {
            let mut insert = transaction.prepare_cached("INSERT INTO t (v) VALUES (?1)")?;
            for _ in 0..group.max(1) {
                insert.execute([&payload])?;
                rows += 1;
            }
        }
        transaction.commit()?;
    }
    Ok(f64::from(rows) / began.elapsed().as_secs_f64())
}
