//! Opening the file: permissions, ownership, format.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::OutboxError;

/// "HRLD", so that another program's database is never taken for ours.
const APPLICATION_ID: i64 = 0x4852_4c44;

/// Each step takes the format from its index to the next. Steps are only ever added.
const MIGRATIONS: [&str; 3] = [include_str!("v1.sql"), include_str!("v2.sql"), include_str!("v3.sql")];

pub(super) const NEWEST: i64 = MIGRATIONS.len() as i64;

/// How long a writer waits for one in another process.
const BUSY: Duration = Duration::from_secs(10);

/// What a process means to do with the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Deliver from it: one process at a time.
    Owner,
    /// Change single notices (resend, drop) beside an owner.
    Guest,
    /// Look at it.
    ReadOnly,
}

pub(super) fn classify(path: &Path, error: &rusqlite::Error) -> OutboxError {
    let path = path.to_path_buf();
    let reason = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => OutboxError::Damaged { path, reason },
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => OutboxError::Open { path, reason },
        Some(ErrorCode::DiskFull) => OutboxError::Storage {
            path,
            reason: format!("{reason}; free some space, nothing that was accepted is lost"),
        },
        Some(ErrorCode::ReadOnly) => OutboxError::Storage {
            path,
            reason: format!("{reason}; make the file and its directory writable"),
        },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OutboxError::Storage {
            path,
            reason: format!(
                "{reason}; another program holds it locked for more than {} s, such as a backup or a SQLite shell: end it",
                BUSY.as_secs()
            ),
        },
        _ => OutboxError::Storage { path, reason },
    }
}

fn cannot_open(path: &Path, error: &std::io::Error) -> OutboxError {
    OutboxError::Open { path: path.to_path_buf(), reason: error.to_string() }
}

/// Payloads may hold what only the owner is to read. SQLite gives its side files the mode of the main file.
fn create_private(path: &Path) -> Result<(), OutboxError> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(parent).map_err(|error| cannot_open(path, &error))?;
    }
    let mut options = fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path).map_err(|error| cannot_open(path, &error))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let metadata = file.metadata().map_err(|error| cannot_open(path, &error))?;
        if metadata.permissions().mode() & 0o077 != 0 {
            file.set_permissions(fs::Permissions::from_mode(0o600))
                .map_err(|error| cannot_open(path, &error))?;
        }
    }
    drop(file);
    Ok(())
}

/// A second, empty database that the owner keeps locked: the system frees it when the process dies however it dies, and
/// readers of the real file aren't disturbed.
pub(super) fn own(path: &Path) -> Result<Connection, OutboxError> {
    let mut name = path.as_os_str().to_owned();
    name.push("-owner");
    let lock_path = PathBuf::from(name);
    create_private(&lock_path)?;
    let lock = Connection::open(&lock_path).map_err(|error| classify(&lock_path, &error))?;
    lock.busy_timeout(Duration::ZERO).map_err(|error| classify(&lock_path, &error))?;
    match lock.execute_batch("BEGIN EXCLUSIVE") {
        Ok(()) => Ok(lock),
        Err(error)
            if matches!(
                error.sqlite_error_code(),
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
            ) =>
        {
            Err(OutboxError::InUse { path: path.to_path_buf() })
        }
        Err(error) => Err(classify(&lock_path, &error)),
    }
}

/// The writing connection, at the newest format.
pub(super) fn writer(path: &Path) -> Result<Connection, OutboxError> {
    create_private(path)?;
    let failed = |error: rusqlite::Error| classify(path, &error);
    let mut connection = Connection::open(path).map_err(failed)?;
    connection.busy_timeout(BUSY).map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(64);
    verify(&connection, path)?;
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 67108864; \
             PRAGMA temp_store = MEMORY; PRAGMA foreign_keys = ON;",
        )
        .map_err(failed)?;
    migrate(&mut connection, path)?;
    Ok(connection)
}

/// Files up to this size are looked through at each start: that takes a fraction of a second.
const LOOKED_THROUGH: u64 = 64 << 20;

/// Whether a file of moderate size has no damage; larger ones are believed until something can't be read.
pub(super) fn is_sound(connection: &Connection, path: &Path) -> bool {
    let small = fs::metadata(path).is_ok_and(|metadata| metadata.len() <= LOOKED_THROUGH);
    !small
        || connection
            .query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0))
            .is_ok_and(|found| found == "ok")
}

/// Whether a file begins as all databases of SQLite do.
pub(super) fn is_database(path: &Path) -> bool {
    use std::io::Read as _;
    let mut start = [0; 16];
    fs::File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok()
        && &start == b"SQLite format 3\0"
}

/// Whether a file is ours, if there is one.
pub(super) fn inspect(path: &Path) -> Result<(), OutboxError> {
    if !path.exists() {
        return Ok(());
    }
    if path.is_dir() {
        let reason = "it is a directory".to_owned();
        return Err(OutboxError::Open { path: path.to_path_buf(), reason });
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|error| classify(path, &error))?;
    verify(&connection, path).map(drop)
}

/// A reading connection to a file that exists.
pub(super) fn reader(path: &Path) -> Result<Connection, OutboxError> {
    let failed = |error: rusqlite::Error| classify(path, &error);
    if !path.exists() {
        return Err(OutboxError::Open {
            path: path.to_path_buf(),
            reason: "there is no such file".to_owned(),
        });
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(BUSY).map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(32);
    if verify(&connection, path)? == 0 {
        return Err(OutboxError::Foreign { path: path.to_path_buf() });
    }
    Ok(connection)
}

/// The format of the file, 0 if it is empty.
fn verify(connection: &Connection, path: &Path) -> Result<i64, OutboxError> {
    let failed = |error: rusqlite::Error| classify(path, &error);
    let application: i64 =
        connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(failed)?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(failed)?;
    let found = version(connection).map_err(failed)?;
    if application != APPLICATION_ID && (tables != 0 || application != 0) {
        return Err(OutboxError::Foreign { path: path.to_path_buf() });
    }
    if found > NEWEST {
        return Err(OutboxError::Newer { path: path.to_path_buf(), found, known: NEWEST });
    }
    Ok(found)
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), OutboxError> {
    let failed = |error: rusqlite::Error| classify(path, &error);
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(failed)?;
    let from = version(&transaction).map_err(failed)?;
    for (step, script) in MIGRATIONS.iter().enumerate().skip(usize::try_from(from).unwrap_or(0)) {
        transaction.execute_batch(script).map_err(failed)?;
        transaction.pragma_update(None, "user_version", step as i64 + 1).map_err(failed)?;
    }
    if from < NEWEST {
        transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(failed)?;
    }
    transaction.commit().map_err(failed)
}
