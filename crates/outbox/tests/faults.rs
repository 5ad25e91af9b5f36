//! What the machine does to a process: killed at any moment, a full disk, a disk for reading only, a file that another
//! process holds. Each case runs in a child: this test binary, started again with a role.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "tests end where something unexpected happens")]

mod common;

use std::{
    collections::{HashMap, HashSet},
    fs,
    hash::{BuildHasher, RandomState},
    io::{BufRead, BufReader, Lines, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use common::{Between, notice};
use herald_outbox::{
    Access, Attempted, Batch, Courier, CourierOptions, Deliverer, Filter, Notice, Outbox, OutboxError,
    Outcome, SqliteOutbox, SystemClock,
};

const ROLE: &str = "HERALD_OUTBOX_TEST_ROLE";
const DIR: &str = "HERALD_OUTBOX_TEST_DIR";
const ROUND: &str = "HERALD_OUTBOX_TEST_ROUND";

/// The command that runs the test `role` of this binary in a role.
fn child(program: &[&str], role: &str, dir: &Path) -> Command {
    let this = std::env::current_exe().unwrap();
    let mut command = match program {
        [] => Command::new(this),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(this);
            command
        }
    };
    command.args(["--exact", "role", "--nocapture", "--test-threads=1"]);
    command.env(ROLE, role).env(DIR, dir).stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// Not a test by itself: what the other tests start.
#[test]
fn role() {
    let Ok(played) = std::env::var(ROLE) else { return };
    let dir = PathBuf::from(std::env::var(DIR).unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match played.as_str() {
        "load" => runtime.block_on(load(dir)),
        "lock" => lock(&dir),
        "disk" => runtime.block_on(disk(&dir)),
        other => panic!("no role {other}"),
    }
}

/// Writes down each delivery before it says so, as a receiver does.
struct Sink {
    file: PathBuf,
    round: String,
}

#[async_trait]
impl Deliverer for Sink {
    async fn deliver(&self, notice: &Notice, _attempt: u32) -> Attempted {
        let mut file = fs::OpenOptions::new().create(true).append(true).open(&self.file).unwrap();
        // One write: it is there whole or not at all when the process dies.
        file.write_all(format!("{} {}\n", self.round, notice.id).as_bytes()).unwrap();
        Attempted::Delivered { detail: String::new() }
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("\n{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// Enqueues and delivers as fast as it can, saying what is durable, until it is killed.
async fn load(dir: PathBuf) {
    let round = std::env::var(ROUND).unwrap();
    let inner = Arc::new(SqliteOutbox::open(dir.join("state.db"), Access::Owner).unwrap());
    let outbox = Arc::new(Between {
        inner,
        before: Box::new(|_| Ok(())),
        after: Box::new(|operation, id| say(&format!("{operation} {id}"))),
    });
    let sink = Arc::new(Sink { file: dir.join("sink"), round: round.clone() });
    let courier =
        Courier::new(outbox.clone(), sink, Arc::new(SystemClock::default()), CourierOptions::default());
    let running = tokio::spawn(courier.run(std::future::pending()));
    for n in 0.. {
        let batch =
            (0..n % 4).map(|part| notice(&format!("{round}-{n}-{part}"), &format!("o{}", n % 7), "x"));
        outbox.commit(Batch { enqueue: batch.collect(), ..Batch::default() }).await.unwrap();
    }
    running.abort();
}

/// Killed at random moments: everything that was durable arrives; what was acknowledged never comes again.
#[test]
fn killed_at_any_moment_nothing_is_lost_and_nothing_acknowledged_comes_again() {
    let dir = tempfile::tempdir().unwrap();
    let random = RandomState::new();
    let (mut due, mut acknowledged) = (HashSet::new(), HashMap::new());
    let rounds = 24_u64;
    for round in 0..rounds {
        let mut process = child(&[], "load", dir.path()).env(ROUND, round.to_string()).spawn().unwrap();
        let stop_after = random.hash_one(round) % 300;
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut seen = 0;
        while let Some(Ok(line)) = lines.next() {
            match line.split_once(' ') {
                Some(("commit", id)) => due.insert(id.to_owned()),
                Some(("delivered", id)) => acknowledged.insert(id.to_owned(), round).is_none(),
                _ => continue,
            };
            seen += 1;
            if seen == stop_after + 1 {
                process.kill().unwrap();
            }
        }
        process.wait().unwrap();
        assert!(seen > stop_after, "the child ended by itself in round {round}");
    }
    let outbox = Arc::new(SqliteOutbox::open(dir.path().join("state.db"), Access::Owner).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let sink = Arc::new(Sink { file: dir.path().join("sink"), round: rounds.to_string() });
    runtime.block_on(async {
        assert!(outbox.check().await.unwrap().is_empty());
        let clock = Arc::new(SystemClock::default());
        let report =
            Courier::new(outbox.clone(), sink, clock, CourierOptions::default()).run_until_idle(3).await;
        assert_eq!((report.waiting, report.store_failures), (0, 0));
    });
    let mut delivered: HashMap<String, u32> = HashMap::new();
    for line in fs::read_to_string(dir.path().join("sink")).unwrap().lines() {
        let (round, id) = line.split_once(' ').unwrap();
        let round: u64 = round.parse().unwrap();
        *delivered.entry(id.to_owned()).or_default() += 1;
        if let Some(acknowledged) = acknowledged.get(id) {
            assert!(
                round <= *acknowledged,
                "{id} came again in round {round}, acknowledged in {acknowledged}"
            );
        }
    }
    let lost: Vec<_> = due.iter().filter(|id| !delivered.contains_key(*id)).collect();
    let repeated = delivered.values().filter(|count| **count > 1).count();
    println!(
        "killed {rounds} times: {} due, {} delivered, {} lost, {repeated} repeated",
        due.len(),
        delivered.len(),
        lost.len()
    );
    assert!(lost.is_empty(), "{lost:?}");
    assert!(due.len() > 100, "too little happened to tell: {}", due.len());
    // Repeated is only what was on its way at a kill: one for each of the seven lanes.
    assert!(repeated as u64 <= 7 * rounds);
    // In a lane everything goes in order, and the last of it stands at the end.
    let history = runtime.block_on(outbox.list(Filter::default())).unwrap();
    assert!(history.iter().all(|entry| entry.outcome == Outcome::Delivered));
    assert_eq!(history.len(), delivered.len());
}

/// Holds the file locked until it is told to end.
fn lock(dir: &Path) {
    let db = rusqlite::Connection::open(dir.join("state.db")).unwrap();
    db.execute_batch("BEGIN IMMEDIATE").unwrap();
    say("locked");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    db.execute_batch("ROLLBACK").unwrap();
}

/// Gives the rest of what it says: a child whose output nobody takes would fail for that.
fn wait_for(process: &mut Child, word: &str) -> Lines<BufReader<ChildStdout>> {
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.is_ok_and(|line| line == word)), "the child never said {word}");
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_another_process_holds_for_long_is_said_and_recovered_from() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = SqliteOutbox::open(dir.path().join("state.db"), Access::Owner).unwrap();
    let batch = |id: &str| Batch { enqueue: vec![notice(id, "a", "x")], ..Batch::default() };
    outbox.commit(batch("before")).await.unwrap();
    let mut process = child(&[], "lock", dir.path()).spawn().unwrap();
    let _rest = wait_for(&mut process, "locked");
    // Reading goes on; writing gives up after a while, with a reason.
    assert_eq!(outbox.pending(0, 10).await.unwrap().len(), 1);
    let text = outbox.commit(batch("during")).await.unwrap_err().to_string();
    assert!(text.contains("state.db") && text.contains("another program holds it locked"), "{text}");
    // A shorter time nobody notices.
    let outbox = Arc::new(outbox);
    let waiting = tokio::spawn({
        let (outbox, batch) = (outbox.clone(), batch("after"));
        async move { outbox.commit(batch).await }
    });
    tokio::task::yield_now().await;
    process.stdin.take().unwrap().write_all(b"end\n").unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), ["after"]);
    process.wait().unwrap();
    let ids: Vec<_> = outbox.pending(0, 10).await.unwrap().into_iter().map(|queued| queued.id).collect();
    assert_eq!(ids, ["before", "after"]);
}

fn mount(arguments: &[&str], dir: &Path) {
    assert!(Command::new("mount").args(arguments).arg(dir).status().unwrap().success(), "{arguments:?}");
}

/// In a mount namespace of its own: a disk of 8 MB that gets full, has room again, and then is for reading only.
async fn disk(dir: &Path) {
    mount(&["-t", "tmpfs", "-o", "size=8m", "none"], dir);
    let path = dir.join("state.db");
    let ballast = dir.join("ballast");
    fs::write(&ballast, vec![0; 6 << 20]).unwrap();
    let outbox = Arc::new(SqliteOutbox::open(&path, Access::Owner).unwrap());
    let full = |id: String| {
        let payload = vec![b'x'; 20_000];
        Batch { enqueue: vec![Notice { payload, ..notice(&id, &id, "x") }], ..Batch::default() }
    };
    let mut accepted = Vec::new();
    let refused = loop {
        let id = format!("n{}", accepted.len());
        match outbox.commit(full(id.clone())).await {
            Ok(_) => accepted.push(id),
            Err(error) => break error.to_string(),
        }
        assert!(accepted.len() < 1000, "the disk never gets full");
    };
    assert!(refused.contains("state.db") && refused.contains("free some space"), "{refused}");
    let waiting = |outbox: Arc<SqliteOutbox>| async move {
        let found = outbox.pending(0, 10_000).await.unwrap();
        found.into_iter().map(|queued| queued.id).collect::<Vec<_>>()
    };
    assert_eq!(waiting(outbox.clone()).await, accepted, "what was accepted is there, what was refused isn't");

    // Deliveries go on; that they arrived is written down when there is room again, and nothing is delivered twice.
    let sink = Arc::new(Sink { file: PathBuf::from(std::env::var(ROUND).unwrap()), round: "0".into() });
    let courier = Courier::new(
        outbox.clone(),
        sink.clone(),
        Arc::new(SystemClock::default()),
        CourierOptions::default(),
    );
    let running = tokio::spawn(courier.run_until_idle(1));
    let delivered = || fs::read_to_string(&sink.file).unwrap_or_default().lines().count();
    while delivered() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    fs::remove_file(&ballast).unwrap();
    let report = running.await.unwrap();
    assert_eq!((report.delivered, delivered()), (accepted.len() as u64, accepted.len()));
    outbox.commit(full("again".into())).await.unwrap();
    assert_eq!(waiting(outbox.clone()).await, ["again"]);
    assert!(outbox.check().await.unwrap().is_empty());
    drop(outbox);

    mount(&["-o", "remount,ro"], dir);
    let error = SqliteOutbox::open(&path, Access::Owner).err().unwrap();
    assert!(!matches!(error, OutboxError::Damaged { .. }), "{error}");
    let text = error.to_string();
    // Which words SQLite finds depends on what stands in its log.
    let told = text.to_lowercase().contains("read-only") || text.contains("unable to open");
    assert!(text.contains("state.db") && told, "{text}");
    mount(&["-o", "remount,rw"], dir);
    let outbox = Arc::new(SqliteOutbox::open(&path, Access::Owner).unwrap());
    assert_eq!(waiting(outbox).await, ["again"]);
    say("disk is done");
}

#[test]
fn a_full_disk_and_one_for_reading_only() {
    let unshare = ["unshare", "--user", "--map-root-user", "--mount"];
    let root = ["unshare", "--mount"];
    let works = |program: &[&str]| {
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).args(["mount", "-t", "tmpfs", "none", "/mnt"]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    let Some(program) = [&root[..], &unshare[..]].into_iter().find(|program| works(program)) else {
        eprintln!("SKIPPED: no disk can be mounted here, neither as root nor in a namespace");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let sink = tempfile::NamedTempFile::new().unwrap();
    let output = child(program, "disk", dir.path()).env(ROUND, sink.path()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("disk is done"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
