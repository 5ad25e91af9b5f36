//! A damaged file is put aside, and what can still be read of it goes into a new one: nobody has to be there for it.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, types::Value};

use super::open;
use crate::OutboxError;

/// Rows between those that can be read from both ends are looked up one by one, so many at most.
const MOST_ROWS: i64 = 5_000_000;

/// Table, columns, and the key that its rows are in the order of.
const TABLES: [(&str, &str, &str); 4] = [
    (
        "notice",
        "place, id, lane, \"trigger\", namespace, kind, name, uid, service, recipient, created, due, outcome, attempts, \
         waited, finished, took, reason, answer, payload",
        "place",
    ),
    ("attempt", "rowid, notice, at, took, reason, answer", "rowid"),
    ("state", "scope, key, value", ""),
    ("handle", "instance, recipient, key, value, updated", ""),
];

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

/// Remembers that an operation found damage, for the next start.
pub(super) fn mark(path: &Path) {
    // If it can't be written, the next start finds the damage as this one did.
    let _ = fs::write(beside(path, "-damaged"), b"");
}

/// Whether an earlier process found damage.
pub(super) fn is_marked(path: &Path) -> bool {
    beside(path, "-damaged").exists()
}

/// Whether a file that can't be read as a database was ours: only then the lock of its owner lies beside it.
pub(super) fn was_ours(path: &Path) -> bool {
    beside(path, "-owner").exists()
}

/// Puts the damaged file aside and makes a new one with what can be read of it. The caller owns the place.
pub(super) fn renew(path: &Path) -> Result<(), OutboxError> {
    let failed = |error: std::io::Error| OutboxError::Open {
        path: path.to_path_buf(),
        reason: format!("it is damaged and can't be put aside: {error}"),
    };
    let aside = beside(path, &format!(".damaged-{}", Timestamp::now().as_second()));
    fs::rename(path, &aside).map_err(failed)?;
    // What isn't merged into the file yet goes with it.
    let wal = beside(path, "-wal");
    if wal.exists() {
        fs::rename(&wal, beside(&aside, "-wal")).map_err(failed)?;
    }
    let _ = fs::remove_file(beside(path, "-shm"));
    let mut fresh = open::writer(path)?;
    let saved = copy(&aside, &mut fresh).map_err(|error| open::classify(path, &error))?;
    let _ = fs::remove_file(beside(path, "-damaged"));
    tracing::error!(
        "the state file {} was damaged; {} notices and {} pieces of state were taken over into a new one, the damaged one is \
         kept as {}",
        path.display(),
        saved.notices,
        saved.state,
        aside.display()
    );
    Ok(())
}

struct Saved {
    notices: usize,
    state: usize,
}

/// Copies what can be read. Errors are those of the new file.
fn copy(damaged: &Path, fresh: &mut Connection) -> rusqlite::Result<Saved> {
    let mut saved = Saved { notices: 0, state: 0 };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let Ok(old) = Connection::open_with_flags(damaged, flags) else { return Ok(saved) };
    let transaction = fresh.transaction()?;
    for (table, columns, key) in TABLES {
        let count = columns.split(',').count();
        let marks = vec!["?"; count].join(", ");
        let mut insert =
            transaction.prepare(&format!("INSERT OR IGNORE INTO {table} ({columns}) VALUES ({marks})"))?;
        let order = |way: &str| match key {
            "" => columns.split(',').take(2).map(|c| format!("{c} {way}")).collect::<Vec<_>>().join(", "),
            key => format!("{key} {way}"),
        };
        let mut copied = 0;
        let mut ends = [None, None];
        for (end, way) in ends.iter_mut().zip(["ASC", "DESC"]) {
            let sql = format!("SELECT {columns} FROM {table} ORDER BY {}", order(way));
            let (last, whole) = rows(&old, &sql, &[], count, |row| {
                copied += insert.execute(rusqlite::params_from_iter(row))?;
                Ok(())
            })?;
            *end = last;
            if whole {
                break;
            }
        }
        if let ([Some(first), Some(last)], false) = (ends, key.is_empty()) {
            let sql = format!("SELECT {columns} FROM {table} WHERE {key} = ?1");
            for place in (first + 1..last).take(usize::try_from(MOST_ROWS).unwrap_or(usize::MAX)) {
                rows(&old, &sql, &[place], count, |row| {
                    copied += insert.execute(rusqlite::params_from_iter(row))?;
                    Ok(())
                })?;
            }
        }
        match table {
            "notice" => saved.notices = copied,
            "state" => saved.state = copied,
            _ => {}
        }
    }
    transaction.commit()?;
    Ok(saved)
}

/// Hands over the rows of a query until one can't be read; gives the first column of the last one if that is a number, and
/// whether all were read.
fn rows(
    old: &Connection,
    sql: &str,
    parameters: &[i64],
    count: usize,
    mut take: impl FnMut(Vec<Value>) -> rusqlite::Result<()>,
) -> rusqlite::Result<(Option<i64>, bool)> {
    let mut last = None;
    let Ok(mut statement) = old.prepare_cached(sql) else { return Ok((last, false)) };
    let Ok(mut found) = statement.query(rusqlite::params_from_iter(parameters)) else {
        return Ok((last, false));
    };
    loop {
        match found.next() {
            Ok(Some(row)) => {
                let values: Result<Vec<Value>, _> = (0..count).map(|column| row.get(column)).collect();
                let Ok(values) = values else { return Ok((last, false)) };
                if let Some(Value::Integer(number)) = values.first() {
                    last = Some(*number);
                }
                take(values)?;
            }
            Ok(None) => return Ok((last, true)),
            Err(_) => return Ok((last, false)),
        }
    }
}
