//! The SQLite outbox: atomic batches, dedupe, crashes, damaged and foreign files, several processes' handles.

#![allow(clippy::unwrap_used, reason = "tests end where something unexpected happens")]

use std::{fs, path::Path, sync::Arc, time::Duration};

use herald_outbox::{
    Access, Attempt, Batch, Done, Filter, HandleKey, Notice, ObjectRef, Outbox, OutboxError, Outcome,
    Receipt, Retention, SqliteOutbox, StateEntry,
};
use jiff::Timestamp;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn notice(id: &str, name: &str) -> Notice {
    Notice {
        id: id.into(),
        object: ObjectRef {
            namespace: "prod".into(),
            kind: "Rollout".into(),
            name: name.into(),
            uid: "u".into(),
        },
        trigger: "on-rollout-completed".into(),
        service: "slack".into(),
        recipient: "deploys".into(),
        created: at(0),
        due_after: at(0),
        payload: format!("payload of {id}").into_bytes(),
    }
}

fn enqueue(ids: &[&str]) -> Batch {
    Batch { enqueue: ids.iter().map(|id| notice(id, "web")).collect(), ..Batch::default() }
}

fn receipt(second: i64) -> Receipt {
    Receipt { at: at(second), took: Duration::from_millis(5), detail: "ok".into() }
}

fn attempt(reason: &str) -> Attempt {
    Attempt {
        at: at(1),
        took: Duration::from_millis(9),
        reason: reason.into(),
        answer: format!("it was {reason}"),
    }
}

fn owner(path: &Path) -> SqliteOutbox {
    SqliteOutbox::open(path, Access::Owner).unwrap()
}

fn error(path: &Path, access: Access) -> OutboxError {
    SqliteOutbox::open(path, access).err().expect("it must not open")
}

async fn ids(outbox: &SqliteOutbox) -> Vec<String> {
    outbox.pending(0, 100_000).await.unwrap().into_iter().map(|queued| queued.id).collect()
}

#[tokio::test]
async fn enqueued_twice_is_once_even_after_delivery() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = owner(&dir.path().join("state.db"));
    assert_eq!(outbox.commit(enqueue(&["a", "b", "a"])).await.unwrap(), ["a", "b"]);
    assert_eq!(outbox.commit(enqueue(&["b", "c"])).await.unwrap(), ["c"]);
    outbox.delivered("a", receipt(1)).await.unwrap();
    outbox.give_up("b", "rejected", attempt("rejected")).await.unwrap();
    assert!(outbox.commit(enqueue(&["a", "b", "c"])).await.unwrap().is_empty());
    assert_eq!(ids(&outbox).await, ["c"]);
}

#[tokio::test]
async fn notices_and_state_happen_together_and_survive() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/er/state.db");
    let state = |value: &str| StateEntry { scope: "cursor".into(), key: "web".into(), value: value.into() };
    let handle = HandleKey { instance: "slack".into(), recipient: "deploys".into(), key: "web/7".into() };
    let outbox = owner(&path);
    let batch = Batch { put_state: vec![state("1")], ..enqueue(&["a"]) };
    outbox.commit(batch).await.unwrap();
    outbox.put_handle(&handle, "{\"ts\":\"1.2\"}".into(), at(0)).await.unwrap();
    drop(outbox);

    let outbox = owner(&path);
    assert_eq!(ids(&outbox).await, ["a"]);
    assert_eq!(outbox.list_state("cursor").await.unwrap(), [("web".to_owned(), b"1".to_vec())]);
    assert_eq!(outbox.get_handle(&handle).await.unwrap().unwrap(), "{\"ts\":\"1.2\"}");
    let place = outbox.pending(0, 1).await.unwrap()[0].place;
    assert_eq!(outbox.load(place).await.unwrap().unwrap(), notice("a", "web"));
    let gone = Batch { delete_state: vec![("cursor".into(), "web".into())], ..Batch::default() };
    outbox.commit(gone).await.unwrap();
    assert_eq!(outbox.get_state("cursor", "web").await.unwrap(), None);
    outbox.delete_handle(&handle).await.unwrap();
    assert_eq!(outbox.get_handle(&handle).await.unwrap(), None);
    assert!(outbox.check().await.unwrap().is_empty());
}

#[tokio::test]
async fn history_is_found_by_every_filter_and_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = owner(&dir.path().join("state.db"));
    let mut other = notice("other", "api");
    other.namespace_and_more();
    let batch = Batch { enqueue: vec![notice("a", "web"), notice("b", "web"), other], ..Batch::default() };
    outbox.commit(batch).await.unwrap();
    outbox.retry("a", at(5), Duration::from_secs(4), attempt("timed_out")).await.unwrap();
    outbox.give_up("a", "rejected", attempt("rejected")).await.unwrap();
    outbox.delivered("b", receipt(3)).await.unwrap();

    let every = |id: &str| Filter { id: Some(id.into()), ..Filter::default() };
    let f = Filter::default;
    for (filter, expected) in [
        (f(), vec!["other", "b", "a"]),
        (Filter { limit: Some(1), ..f() }, vec!["other"]),
        (Filter { outcome: Some(Outcome::DeadLetter), ..f() }, vec!["a"]),
        (Filter { outcome: Some(Outcome::Delivered), ..f() }, vec!["b"]),
        (Filter { outcome: Some(Outcome::Pending), ..f() }, vec!["other"]),
        (Filter { namespace: Some("prod".into()), name: Some("web".into()), ..f() }, vec!["b", "a"]),
        (Filter { kind: Some("AnalysisRun".into()), ..f() }, vec!["other"]),
        (Filter { trigger: Some("mine".into()), ..f() }, vec!["other"]),
        (Filter { service: Some("email".into()), ..f() }, vec!["other"]),
        (Filter { recipient: Some("ops".into()), ..f() }, vec!["other"]),
        (Filter { since: Some(at(50)), ..f() }, vec!["other"]),
        (Filter { until: Some(at(50)), ..f() }, vec!["b", "a"]),
    ] {
        if filter.limit.is_none() {
            assert_eq!(outbox.count(filter.clone()).await.unwrap(), expected.len() as u64, "{filter:?}");
        }
        let found: Vec<String> =
            outbox.list(filter.clone()).await.unwrap().into_iter().map(|e| e.notice.id).collect();
        assert_eq!(found, expected, "{filter:?}");
    }
    let shown = outbox.show("a").await.unwrap().unwrap();
    assert_eq!((shown.outcome, shown.attempts, shown.finished), (Outcome::DeadLetter, 2, Some(at(1))));
    assert_eq!(shown.failures, [attempt("timed_out"), attempt("rejected")]);
    assert_eq!(shown.notice.payload, b"payload of a");
    assert!(outbox.show("none").await.unwrap().is_none());

    assert_eq!(outbox.resend(every("a"), at(60)).await.unwrap(), 1);
    assert_eq!(ids(&outbox).await, ["other", "a"], "at the end, from the beginning");
    let again = outbox.pending(0, 9).await.unwrap().pop().unwrap();
    assert_eq!((again.due, again.attempts, again.waited), (at(60), 0, Duration::ZERO));
    assert_eq!(outbox.commit(enqueue(&["later"])).await.unwrap(), ["later"]);
    assert_eq!(ids(&outbox).await, ["other", "a", "later"]);
    assert_eq!(outbox.drop_notices(f(), at(61)).await.unwrap(), 3, "what was delivered stays so");
    assert!(ids(&outbox).await.is_empty());
}

trait Other {
    fn namespace_and_more(&mut self);
}

impl Other for Notice {
    fn namespace_and_more(&mut self) {
        self.object.namespace = "test".into();
        self.object.kind = "AnalysisRun".into();
        self.trigger = "mine".into();
        self.service = "email".into();
        self.recipient = "ops".into();
        self.created = at(100);
    }
}

/// A crash cuts the write-ahead log anywhere: what was acknowledged before the cut is there, each batch whole or not at all.
#[tokio::test]
async fn a_copy_cut_anywhere_holds_whole_batches() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let outbox = owner(&path);
    let mut acknowledged = Vec::new();
    let wal = dir.path().join("state.db-wal");
    for round in 0..20 {
        let id = format!("n{round}");
        let key =
            StateEntry { scope: "s".into(), key: "count".into(), value: (round + 1).to_string().into() };
        outbox.commit(Batch { put_state: vec![key], ..enqueue(&[&id]) }).await.unwrap();
        acknowledged.push((fs::metadata(&wal).unwrap().len(), round + 1));
    }
    let (main, log) = (fs::read(&path).unwrap(), fs::read(&wal).unwrap());
    let mut seen = 0;
    for (case, cut) in (0..log.len()).step_by(1777).chain([log.len()]).enumerate() {
        let copy = dir.path().join(format!("copy{case}.db"));
        fs::write(&copy, &main).unwrap();
        fs::write(dir.path().join(format!("copy{case}.db-wal")), &log[..cut]).unwrap();
        let least =
            acknowledged.iter().filter(|(length, _)| *length <= cut as u64).map(|(_, count)| *count).max();
        // Before the format itself was written there is an empty file, which is made anew.
        let copy = owner(&copy);
        let count = ids(&copy).await.len();
        let state = copy.get_state("s", "count").await.unwrap();
        let state = state.map_or(0, |value| String::from_utf8(value).unwrap().parse().unwrap());
        assert_eq!(count, state, "notices and state disagree after a cut at {cut}");
        assert!(count >= least.unwrap_or(0), "lost at {cut}: {count} of {least:?}");
        assert!(copy.check().await.unwrap().is_empty());
        seen = seen.max(count);
    }
    assert_eq!(seen, 20);
}

#[tokio::test]
async fn ten_thousand_from_many_callers() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let outbox = Arc::new(owner(&path));
    let mut tasks = tokio::task::JoinSet::new();
    for caller in 0..100 {
        let outbox = outbox.clone();
        tasks.spawn(async move {
            for n in 0..100 {
                let id = format!("{caller}-{n}");
                assert_eq!(outbox.commit(enqueue(&[&id])).await.unwrap(), [id.as_str()]);
                if n % 2 == 0 {
                    outbox.delivered(&id, receipt(1)).await.unwrap();
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert_eq!(outbox.backlog().await.unwrap(), (5000, Some(at(0))));
    drop(outbox);
    assert_eq!(ids(&owner(&path)).await.len(), 5000);
}

#[tokio::test]
async fn one_owner_while_others_look_and_change_single_notices() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let outbox = owner(&path);
    outbox.commit(enqueue(&["a"])).await.unwrap();
    let text = error(&path, Access::Owner).to_string();
    assert!(text.contains("in use by another Herald process") && text.contains("state.db"), "{text}");

    let reader = SqliteOutbox::open(&path, Access::ReadOnly).unwrap();
    assert_eq!(reader.list(Filter::default()).await.unwrap().len(), 1);
    assert!(matches!(reader.commit(enqueue(&["b"])).await, Err(OutboxError::ReadOnly { .. })));
    let guest = SqliteOutbox::open(&path, Access::Guest).unwrap();
    outbox.delivered("a", receipt(1)).await.unwrap();
    assert_eq!(guest.resend(Filter::default(), at(9)).await.unwrap(), 1);
    assert_eq!(ids(&outbox).await, ["a"]);
    drop(outbox);
    owner(&path);
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_of_the_file_reads_it() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let outbox = owner(&path);
    outbox.commit(enqueue(&["a"])).await.unwrap();
    for entry in fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.file_name());
    }
}

#[tokio::test]
async fn only_the_owner_opens_a_folder_that_is_made_for_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let made = dir.path().join("made");
    let mode = || fs::metadata(&made).unwrap().permissions().mode() & 0o777;
    drop(owner(&made.join("state.db")));
    assert_eq!(mode(), 0o700);
    // One that is there is somebody's choice.
    fs::set_permissions(&made, fs::Permissions::from_mode(0o750)).unwrap();
    drop(owner(&made.join("state.db")));
    assert_eq!(mode(), 0o750);
}

#[tokio::test]
async fn files_that_are_not_ours_are_refused_with_a_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);

    fs::write(
        path("text"),
        "this is a text file, long enough to be no header of any database at all\n".repeat(90),
    )
    .unwrap();
    for access in [Access::Owner, Access::Guest, Access::ReadOnly] {
        let text = error(&path("text"), access).to_string();
        assert!(text.contains("text is not a state file of Herald"), "{text}");
    }

    let other = rusqlite::Connection::open(path("other")).unwrap();
    other.execute_batch("CREATE TABLE mine (x)").unwrap();
    drop(other);
    assert!(error(&path("other"), Access::Owner).to_string().contains("not a state file of Herald"));
    assert!(!path("other-owner").exists());

    drop(owner(&path("newer")));
    let newer = rusqlite::Connection::open(path("newer")).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    drop(newer);
    let text = error(&path("newer"), Access::Owner).to_string();
    assert!(text.contains("format 99") && text.contains("install the newer version"), "{text}");

    assert!(matches!(error(&path("none"), Access::ReadOnly), OutboxError::Open { .. }));
    assert!(matches!(error(dir.path(), Access::Owner), OutboxError::Open { .. }));
}

#[tokio::test]
async fn a_damaged_page_is_reported_with_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let outbox = owner(&path);
    for n in 0..200 {
        outbox.commit(enqueue(&[&format!("{n}")])).await.unwrap();
    }
    drop(outbox);
    let mut bytes = fs::read(&path).unwrap();
    let length = bytes.len();
    assert!(length > 16 * 4096);
    for byte in &mut bytes[8192..length - 4096] {
        *byte = 0xAA;
    }
    fs::write(&path, bytes).unwrap();
    // Opening may already notice; if not, checking and reading do.
    let text = match SqliteOutbox::open(&path, Access::ReadOnly) {
        Err(error) => error.to_string(),
        Ok(outbox) => match outbox.check().await {
            Err(error) => error.to_string(),
            Ok(findings) => {
                assert!(!findings.is_empty());
                outbox.pending(0, 1000).await.unwrap_err().to_string()
            }
        },
    };
    assert!(text.contains("state.db") && text.contains("is damaged"), "{text}");
}

/// Nobody has to be there: the next start puts the file aside, and delivers what can be read of it.
#[tokio::test]
async fn what_can_be_read_of_a_damaged_file_is_taken_over() {
    for (damage, least) in [((4096 * 20, 4096 * 40), 100), ((0, 4096), 0), ((4096, 4096 * 2), 0)] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let outbox = owner(&path);
        for n in 0..400 {
            let mut one = notice(&format!("{n}"), "web");
            one.payload = vec![b'x'; 600];
            let entry = StateEntry { scope: "s".into(), key: format!("{n}"), value: vec![1] };
            let batch = Batch { enqueue: vec![one], put_state: vec![entry], ..Batch::default() };
            outbox.commit(batch).await.unwrap();
        }
        drop(outbox);
        let mut bytes = fs::read(&path).unwrap();
        bytes[damage.0..damage.1].fill(0xAA);
        fs::write(&path, bytes).unwrap();
        // Opening may notice by itself; else an operation does, and the owner ends.
        if let Ok(outbox) = SqliteOutbox::open(&path, Access::Owner)
            && outbox.pending(0, 1000).await.is_err()
        {
            let told = outbox.damaged().await.to_string();
            assert!(told.contains("the next start"), "{told}");
            assert!(outbox.commit(enqueue(&["refused"])).await.is_err());
        }
        let outbox = owner(&path);
        assert!(outbox.check().await.unwrap().is_empty());
        let kept = ids(&outbox).await;
        assert!(
            kept.len() >= least && !kept.contains(&"refused".to_owned()),
            "{damage:?}: {} are left",
            kept.len()
        );
        outbox.commit(enqueue(&["new"])).await.unwrap();
        assert_eq!(ids(&outbox).await.last().unwrap(), "new");
        let aside = fs::read_dir(dir.path()).unwrap().flatten();
        let names: Vec<String> = aside.map(|entry| entry.file_name().into_string().unwrap()).collect();
        assert!(names.iter().any(|name| name.starts_with("state.db.damaged-")), "{names:?}");
        assert!(!names.contains(&"state.db-damaged".to_owned()), "{names:?}");
    }
}

/// A file that never was ours is left as it is.
#[tokio::test]
async fn somebody_elses_file_is_not_put_aside() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("letters.txt");
    fs::write(&path, "x".repeat(9000)).unwrap();
    assert!(SqliteOutbox::open(&path, Access::Owner).is_err());
    assert_eq!(fs::read_to_string(&path).unwrap().len(), 9000);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn history_is_pruned_in_small_steps_and_dead_letters_stay() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = owner(&dir.path().join("state.db"));
    let names: Vec<String> = (0..1000).map(|n| format!("{n}")).collect();
    let batch = Batch { enqueue: names.iter().map(|id| notice(id, "web")).collect(), ..Batch::default() };
    outbox.commit(batch).await.unwrap();
    outbox.give_up("0", "rejected", attempt("rejected")).await.unwrap();
    for id in &names[1..900] {
        outbox.delivered(id, receipt(if id.len() < 3 { 10 } else { 1000 })).await.unwrap();
    }
    let retention = Retention { age: Duration::from_secs(100), bytes: u64::MAX, step: 30 };
    assert_eq!(outbox.prune(retention, at(100)).await.unwrap(), 0);
    let mut steps = Vec::new();
    loop {
        let forgotten = outbox.prune(retention, at(200)).await.unwrap();
        assert!(forgotten <= 30);
        if forgotten == 0 {
            break;
        }
        steps.push(forgotten);
    }
    assert_eq!(steps.iter().sum::<usize>(), 99, "the old ones: 1 to 99");
    // By size everything that is finished goes, nothing that waits or is a dead letter.
    let small = Retention { bytes: 1, ..retention };
    while outbox.prune(small, at(200)).await.unwrap() > 0 {}
    let left = outbox.list(Filter::default()).await.unwrap();
    assert_eq!(left.len(), 101);
    assert!(left.iter().all(|e| e.outcome == Outcome::Pending || e.notice.id == "0"));
}

#[tokio::test]
async fn what_is_muted_or_grouped_is_history_and_only_what_waits_can_be() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = owner(&dir.path().join("state.db"));
    outbox.commit(enqueue(&["a", "b", "c"])).await.unwrap();
    outbox.delivered("c", receipt(1)).await.unwrap();
    let done = |id: &str, outcome, reason: &str| Done {
        id: id.into(),
        outcome,
        at: at(50),
        reason: reason.to_owned(),
    };
    let batch = Batch {
        done: vec![
            done("a", Outcome::Grouped, "grouped into d"),
            done("b", Outcome::Muted, "muted by night"),
            done("c", Outcome::Muted, "muted by night"),
        ],
        ..enqueue(&["d"])
    };
    outbox.commit(batch).await.unwrap();
    assert_eq!(ids(&outbox).await, ["d"]);
    let asked = ["a", "b", "c", "d", "never"].map(str::to_owned).to_vec();
    assert_eq!(outbox.ended(asked).await.unwrap(), ["a", "b", "c", "never"]);
    for (id, outcome, reason) in [
        ("a", Outcome::Grouped, Some("grouped into d")),
        ("b", Outcome::Muted, Some("muted by night")),
        ("c", Outcome::Delivered, None),
    ] {
        let shown = outbox.show(id).await.unwrap().unwrap();
        assert_eq!((shown.outcome, shown.reason.as_deref()), (outcome, reason));
    }
    assert!(outbox.check().await.unwrap().is_empty());
    let retention = Retention { age: Duration::from_secs(100), bytes: u64::MAX, step: 30 };
    assert_eq!(outbox.prune(retention, at(200)).await.unwrap(), 3);
}

/// A file of the first format, with a notice in it, is brought to the newest one.
#[tokio::test]
async fn an_older_file_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let old = rusqlite::Connection::open(&path).unwrap();
    old.execute_batch(include_str!("../src/sqlite/v1.sql")).unwrap();
    old.execute_batch(
        "PRAGMA application_id = 0x48524c44; PRAGMA user_version = 1;
         INSERT INTO notice (id, lane, \"trigger\", namespace, kind, name, uid, service, recipient, created, due, payload)
         VALUES ('old', 'lane', 't', 'prod', 'Rollout', 'web', 'u', 'slack', 'deploys', 1, 1, x'00')",
    )
    .unwrap();
    drop(old);
    let outbox = owner(&path);
    assert_eq!(ids(&outbox).await, ["old"]);
    assert!(outbox.check().await.unwrap().is_empty());
    drop(outbox);
    let indexes: i64 = rusqlite::Connection::open(&path)
        .unwrap()
        .query_row(
            "SELECT count(*) FROM sqlite_schema WHERE name IN ('notice_done', 'notice_object', 'notice_filter')",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(indexes, 3);
}

/// Pages are moved into the main file while notices come, so that the log beside it stays small.
#[tokio::test]
async fn the_log_beside_the_file_does_not_grow_with_what_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let outbox = owner(&path);
    let log = || std::fs::metadata(dir.path().join("state.db-wal")).unwrap().len() >> 20;
    let mut most = 0;
    for round in 0..100 {
        let notices = (0..50).map(|n| {
            let mut one = notice(&format!("{round}-{n}"), "web");
            one.payload = vec![b'x'; 16 << 10];
            one
        });
        outbox.commit(Batch { enqueue: notices.collect(), ..Batch::default() }).await.unwrap();
        most = most.max(log());
    }
    let file = std::fs::metadata(&path).unwrap().len() >> 20;
    assert!(most < 40 && file > 40, "80 MB were written; {most} MB of log, {file} MB of file");
}

/// Looking for something rare in a long history walks an index, not rows with their payloads.
#[tokio::test]
async fn whatever_is_filtered_no_row_is_read_in_vain() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    drop(owner(&path));
    let db = rusqlite::Connection::open(&path).unwrap();
    for condition in [
        "service = 'x'",
        "recipient = 'x' AND outcome = 3",
        "\"trigger\" = 'x'",
        "name = 'x'",
        "kind = 'x'",
        "created >= 1 AND created < 2",
        "outcome = 1",
        "outcome = 5",
    ] {
        let sql = format!(
            "EXPLAIN QUERY PLAN SELECT place FROM notice WHERE {condition} ORDER BY place DESC LIMIT 9"
        );
        let plan: Vec<String> =
            db.prepare(&sql).unwrap().query_map([], |row| row.get(3)).unwrap().map(Result::unwrap).collect();
        assert!(plan.len() == 1 && plan[0].contains("COVERING INDEX notice_filter"), "{condition}: {plan:?}");
    }
}
