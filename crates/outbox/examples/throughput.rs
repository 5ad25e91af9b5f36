//! Notices a second, enqueued and acknowledged with full durability, beside what the raw store can do.
//!
//! `cargo run --release -p herald-outbox --example throughput [NOTICES] [CALLERS] [FILE]`

use std::{error::Error, path::PathBuf, sync::Arc, time::Instant};

use herald_outbox::{Access, Batch, Notice, ObjectRef, Outbox, Receipt, SqliteOutbox};
use jiff::Timestamp;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let notices: usize = arguments.next().map_or(Ok(20_000), |text| text.parse())?;
    let callers: usize = arguments.next().map_or(Ok(256), |text| text.parse())?;
    let dir = tempfile::tempdir()?;
    let path = arguments.next().map_or_else(|| dir.path().join("state.db"), PathBuf::from);

    let outbox = Arc::new(SqliteOutbox::open(&path, Access::Owner)?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let began = Instant::now();
    let done = runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for caller in 0..callers {
            let outbox = outbox.clone();
            let share = notices / callers + usize::from(caller < notices % callers);
            tasks.spawn(async move {
                for n in 0..share {
                    let notice = notice(format!("{caller}/{n}"));
                    let id = notice.id.clone();
                    outbox.commit(Batch { enqueue: vec![notice], ..Batch::default() }).await?;
                    let receipt = Receipt {
                        at: Timestamp::UNIX_EPOCH,
                        took: Default::default(),
                        detail: String::new(),
                    };
                    outbox.delivered(&id, receipt).await?;
                }
                Ok::<usize, herald_outbox::OutboxError>(share)
            });
        }
        let mut done = 0;
        while let Some(share) = tasks.join_next().await {
            done += share??;
        }
        Ok::<usize, Box<dyn Error>>(done)
    })?;
    let rate = done as f64 / began.elapsed().as_secs_f64();
    println!("outbox, {callers} callers: {rate:.0} notices a second, enqueued and acknowledged");

    let raw = raw(&dir.path().join("raw.db"), 1)?;
    println!("raw store, a commit for each row: {raw:.0} rows a second");
    let raw = self::raw(&dir.path().join("raw-grouped.db"), callers)?;
    println!("raw store, {callers} rows a commit: {raw:.0} rows a second");
    Ok(())
}

fn notice(id: String) -> Notice {
    let object =
        ObjectRef { namespace: "prod".into(), kind: "Rollout".into(), name: id.clone(), uid: id.clone() };
    Notice {
        id,
        object,
        trigger: "on-rollout-completed".into(),
        service: "slack".into(),
        recipient: "deploys".into(),
        created: Timestamp::UNIX_EPOCH,
        due_after: Timestamp::UNIX_EPOCH,
        payload: vec![b'x'; 1024],
    }
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
