//! Statements, one function each. They run inside the caller's transaction.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Result, Row, ToSql, params};

use crate::{
    Attempt, Batch, Done, Filter, HandleKey, HistoryEntry, LaneKey, Notice, ObjectRef, Outcome, Place,
    Queued, Receipt, Retention,
};

/// Rows that one statement reads at most where the caller sets no limit.
const MOST: u32 = 100_000;

fn millis(time: Timestamp) -> i64 {
    time.as_millisecond()
}

fn time(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn span(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn duration(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

pub(super) fn commit(db: &Connection, batch: &Batch) -> Result<Vec<String>> {
    let mut new = Vec::new();
    let mut insert = db.prepare_cached(
        "INSERT INTO notice (id, lane, \"trigger\", namespace, kind, name, uid, service, recipient, created, due, payload) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) ON CONFLICT (id) DO NOTHING",
    )?;
    for notice in &batch.enqueue {
        let object = &notice.object;
        let added = insert.execute(params![
            notice.id,
            notice.lane().as_str(),
            notice.trigger,
            object.namespace,
            object.kind,
            object.name,
            object.uid,
            notice.service,
            notice.recipient,
            millis(notice.created),
            millis(notice.due_after),
            notice.payload,
        ])?;
        if added > 0 {
            new.push(notice.id.clone());
        }
    }
    let mut put =
        db.prepare_cached("INSERT OR REPLACE INTO state (scope, key, value) VALUES (?1, ?2, ?3)")?;
    for entry in &batch.put_state {
        put.execute(params![entry.scope, entry.key, entry.value])?;
    }
    let mut delete = db.prepare_cached("DELETE FROM state WHERE scope = ?1 AND key = ?2")?;
    for (scope, key) in &batch.delete_state {
        delete.execute(params![scope, key])?;
    }
    let mut done = db.prepare_cached(
        "UPDATE notice SET outcome = ?2, finished = ?3, reason = ?4 WHERE id = ?1 AND outcome = 0",
    )?;
    for Done { id, outcome, at, reason } in &batch.done {
        done.execute(params![id, outcome.code(), millis(*at), reason])?;
    }
    Ok(new)
}

const QUEUED: &str = "SELECT place, id, lane, created, due, attempts, waited, \"trigger\" FROM notice";

fn queued(row: &Row<'_>) -> Result<Queued> {
    Ok(Queued {
        place: row.get(0)?,
        id: row.get(1)?,
        lane: LaneKey::from_stored(row.get(2)?),
        created: time(row.get(3)?),
        due: time(row.get(4)?),
        attempts: row.get(5)?,
        waited: duration(row.get(6)?),
        trigger: row.get(7)?,
    })
}

pub(super) fn pending(db: &Connection, after: Place, limit: u32) -> Result<Vec<Queued>> {
    db.prepare_cached(&format!("{QUEUED} WHERE outcome = 0 AND place > ?1 ORDER BY place LIMIT ?2"))?
        .query_map(params![after, limit], queued)?
        .collect()
}

pub(super) fn pending_in_lane(
    db: &Connection,
    lane: &LaneKey,
    after: Place,
    limit: u32,
) -> Result<Vec<Queued>> {
    db.prepare_cached(&format!(
        "{QUEUED} WHERE outcome = 0 AND lane = ?1 AND place > ?2 ORDER BY place LIMIT ?3"
    ))?
    .query_map(params![lane.as_str(), after, limit], queued)?
    .collect()
}

/// Columns of [`entry`]; the payload is left out of lists because it is most of a row.
fn entry_columns(payload: bool) -> String {
    let payload = if payload { "payload" } else { "x''" };
    format!(
        "SELECT id, \"trigger\", namespace, kind, name, uid, service, recipient, created, due, outcome, attempts, finished, \
         took, reason, answer, {payload}, place FROM notice"
    )
}

fn entry(row: &Row<'_>) -> Result<HistoryEntry> {
    let notice = Notice {
        id: row.get(0)?,
        trigger: row.get(1)?,
        object: ObjectRef { namespace: row.get(2)?, kind: row.get(3)?, name: row.get(4)?, uid: row.get(5)? },
        service: row.get(6)?,
        recipient: row.get(7)?,
        created: time(row.get(8)?),
        due_after: time(row.get(9)?),
        payload: row.get(16)?,
    };
    Ok(HistoryEntry {
        notice,
        outcome: Outcome::of_code(row.get(10)?).unwrap_or(Outcome::Pending),
        attempts: row.get(11)?,
        finished: row.get::<_, Option<i64>>(12)?.map(time),
        took: row.get::<_, Option<i64>>(13)?.map(duration),
        reason: row.get(14)?,
        answer: row.get(15)?,
        failures: Vec::new(),
    })
}

pub(super) fn load(db: &Connection, place: Place) -> Result<Option<Notice>> {
    db.prepare_cached(&format!("{} WHERE place = ?1 AND outcome = 0", entry_columns(true)))?
        .query_row([place], entry)
        .optional()
        .map(|found| found.map(|entry| entry.notice))
}

pub(super) fn ended(db: &Connection, ids: Vec<String>) -> Result<Vec<String>> {
    let mut waits = db.prepare_cached("SELECT 1 FROM notice WHERE id = ?1 AND outcome = 0")?;
    let mut ended = Vec::new();
    for id in ids {
        if !waits.exists([&id])? {
            ended.push(id);
        }
    }
    Ok(ended)
}

pub(super) fn show(db: &Connection, id: &str) -> Result<Option<HistoryEntry>> {
    let found = db
        .prepare_cached(&format!("{} WHERE id = ?1", entry_columns(true)))?
        .query_row([id], entry)
        .optional()?;
    let Some(mut found) = found else { return Ok(None) };
    found.failures = db
        .prepare_cached("SELECT at, took, reason, answer FROM attempt WHERE notice = ?1 ORDER BY rowid")?
        .query_map([id], |row| {
            Ok(Attempt {
                at: time(row.get(0)?),
                took: duration(row.get(1)?),
                reason: row.get(2)?,
                answer: row.get(3)?,
            })
        })?
        .collect::<Result<_>>()?;
    Ok(Some(found))
}

pub(super) fn delivered(db: &Connection, id: &str, receipt: &Receipt) -> Result<()> {
    db.prepare_cached(
        "UPDATE notice SET outcome = 1, finished = ?2, took = ?3, answer = ?4, reason = NULL, attempts = attempts + 1 \
         WHERE id = ?1 AND outcome <> 1",
    )?
    .execute(params![id, millis(receipt.at), span(receipt.took), receipt.detail])?;
    Ok(())
}

fn record(db: &Connection, id: &str, attempt: &Attempt) -> Result<()> {
    db.prepare_cached("INSERT INTO attempt (notice, at, took, reason, answer) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![id, millis(attempt.at), span(attempt.took), attempt.reason, attempt.answer])?;
    Ok(())
}

pub(super) fn retry(
    db: &Connection,
    id: &str,
    due: Timestamp,
    waited: Duration,
    attempt: &Attempt,
) -> Result<()> {
    let changed = db
        .prepare_cached(
            "UPDATE notice SET due = ?2, waited = ?3, attempts = attempts + 1, reason = ?4, answer = ?5, took = ?6 \
             WHERE id = ?1 AND outcome = 0",
        )?
        .execute(params![
            id,
            millis(due),
            span(waited),
            attempt.reason,
            attempt.answer,
            span(attempt.took)
        ])?;
    // Dropped meanwhile by a person: there is nothing to remember any more.
    if changed > 0 { record(db, id, attempt) } else { Ok(()) }
}

pub(super) fn give_up(db: &Connection, id: &str, reason: &str, attempt: &Attempt) -> Result<()> {
    let changed = db
        .prepare_cached(
            "UPDATE notice SET outcome = 2, finished = ?2, attempts = attempts + 1, reason = ?3, answer = ?4, took = ?5 \
             WHERE id = ?1 AND outcome = 0",
        )?
        .execute(params![id, millis(attempt.at), reason, attempt.answer, span(attempt.took)])?;
    if changed > 0 { record(db, id, attempt) } else { Ok(()) }
}

pub(super) fn held(db: &Connection, reasons: &[(String, String)]) -> Result<()> {
    let mut update = db.prepare_cached(
        "UPDATE notice SET reason = ?2 WHERE id = ?1 AND outcome = 0 AND attempts = 0 AND reason IS NOT ?2",
    )?;
    for (id, reason) in reasons {
        update.execute([id, reason])?;
    }
    Ok(())
}

/// The condition of a filter and its parameters.
fn condition(filter: &Filter) -> (String, Vec<Box<dyn ToSql>>) {
    let mut parts: Vec<String> = Vec::new();
    let mut values: Vec<Box<dyn ToSql>> = Vec::new();
    let texts = [
        ("id", &filter.id),
        ("namespace", &filter.namespace),
        ("kind", &filter.kind),
        ("name", &filter.name),
        ("\"trigger\"", &filter.trigger),
        ("service", &filter.service),
        ("recipient", &filter.recipient),
    ];
    for (column, wanted) in texts {
        if let Some(wanted) = wanted {
            parts.push(format!("{column} = ?"));
            values.push(Box::new(wanted.clone()));
        }
    }
    if let Some(outcome) = filter.outcome {
        // Written out, so that SQLite can use the partial indexes.
        parts.push(format!("outcome = {}", outcome.code()));
    }
    for (comparison, bound) in [("created >= ?", filter.since), ("created < ?", filter.until)] {
        if let Some(bound) = bound {
            parts.push(comparison.to_owned());
            values.push(Box::new(millis(bound)));
        }
    }
    let text = if parts.is_empty() { String::new() } else { format!(" WHERE {}", parts.join(" AND ")) };
    (text, values)
}

/// The limit of a filter; none is -1.
fn limit(filter: &Filter) -> i64 {
    filter.limit.map_or(-1, i64::from)
}

/// First the places and nothing else, for which an index has all that filters ask for: at worst that index is walked, never
/// the rows with their payloads.
pub(super) fn list(db: &Connection, filter: &Filter) -> Result<Vec<HistoryEntry>> {
    let (condition, values) = condition(filter);
    let limit = filter.limit.unwrap_or(MOST);
    let sql = format!(
        "{} WHERE place IN (SELECT place FROM notice{condition} ORDER BY place DESC LIMIT {limit}) ORDER BY place DESC",
        entry_columns(false)
    );
    db.prepare(&sql)?.query_map(rusqlite::params_from_iter(values), entry)?.collect()
}

pub(super) fn count(db: &Connection, filter: &Filter) -> Result<u64> {
    let (condition, values) = condition(filter);
    let count: i64 = db
        .prepare(&format!("SELECT count(*) FROM notice{condition}"))?
        .query_row(rusqlite::params_from_iter(values), |row| row.get(0))?;
    Ok(u64::try_from(count).unwrap_or(0))
}

fn places(db: &Connection, filter: &Filter) -> Result<Vec<Place>> {
    let (condition, values) = condition(filter);
    let sql = format!(
        "SELECT place FROM (SELECT place FROM notice{condition} ORDER BY place DESC LIMIT {}) ORDER BY place",
        limit(filter)
    );
    db.prepare(&sql)?.query_map(rusqlite::params_from_iter(values), |row| row.get(0))?.collect()
}

pub(super) fn resend(db: &Connection, filter: &Filter, now: Timestamp) -> Result<usize> {
    let places = places(db, filter)?;
    // A new place, not only a new time: whoever holds the old place finds nothing there, whoever looks behind the last
    // place finds it.
    let mut next: Place = db.query_row(
        "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'notice'), 0)",
        [],
        |row| row.get(0),
    )?;
    let mut update = db.prepare_cached(
        "UPDATE notice SET place = ?2, outcome = 0, due = ?3, attempts = 0, waited = 0, finished = NULL WHERE place = ?1",
    )?;
    for place in &places {
        next += 1;
        update.execute(params![place, next, millis(now)])?;
    }
    db.execute("UPDATE sqlite_sequence SET seq = ?1 WHERE name = 'notice'", [next])?;
    Ok(places.len())
}

pub(super) fn drop_notices(db: &Connection, filter: &Filter, now: Timestamp) -> Result<usize> {
    let mut update = db.prepare_cached(
        "UPDATE notice SET outcome = 3, finished = ?2 WHERE place = ?1 AND outcome IN (0, 2)",
    )?;
    let mut dropped = 0;
    for place in places(db, filter)? {
        dropped += update.execute(params![place, millis(now)])?;
    }
    Ok(dropped)
}

pub(super) fn get_state(db: &Connection, scope: &str, key: &str) -> Result<Option<Vec<u8>>> {
    db.prepare_cached("SELECT value FROM state WHERE scope = ?1 AND key = ?2")?
        .query_row([scope, key], |row| row.get(0))
        .optional()
}

pub(super) fn state_keys(db: &Connection, scope: &str) -> Result<Vec<String>> {
    db.prepare_cached("SELECT key FROM state WHERE scope = ?1 ORDER BY key")?
        .query_map([scope], |row| row.get(0))?
        .collect()
}

pub(super) fn list_state(db: &Connection, scope: &str) -> Result<Vec<(String, Vec<u8>)>> {
    db.prepare_cached("SELECT key, value FROM state WHERE scope = ?1 ORDER BY key")?
        .query_map([scope], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

pub(super) fn get_handle(db: &Connection, key: &HandleKey) -> Result<Option<String>> {
    db.prepare_cached("SELECT value FROM handle WHERE instance = ?1 AND recipient = ?2 AND key = ?3")?
        .query_row([&key.instance, &key.recipient, &key.key], |row| row.get(0))
        .optional()
}

pub(super) fn put_handle(db: &Connection, key: &HandleKey, json: &str, now: Timestamp) -> Result<()> {
    db.prepare_cached("INSERT OR REPLACE INTO handle VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(params![
        key.instance,
        key.recipient,
        key.key,
        json,
        millis(now)
    ])?;
    Ok(())
}

pub(super) fn handles(db: &Connection, limit: u32) -> Result<Vec<(HandleKey, String)>> {
    db.prepare_cached("SELECT instance, recipient, key, value FROM handle ORDER BY updated DESC LIMIT ?1")?
        .query_map([limit], |row| {
            let key = HandleKey { instance: row.get(0)?, recipient: row.get(1)?, key: row.get(2)? };
            Ok((key, row.get(3)?))
        })?
        .collect()
}

pub(super) fn delete_handle(db: &Connection, key: &HandleKey) -> Result<()> {
    db.prepare_cached("DELETE FROM handle WHERE instance = ?1 AND recipient = ?2 AND key = ?3")?
        .execute([&key.instance, &key.recipient, &key.key])?;
    Ok(())
}

pub(super) fn backlog(db: &Connection) -> Result<(u64, Option<Timestamp>)> {
    let count: i64 = db
        .prepare_cached("SELECT count(*) FROM notice WHERE outcome = 0")?
        .query_row([], |row| row.get(0))?;
    let oldest: Option<i64> = db
        .prepare_cached("SELECT created FROM notice WHERE outcome = 0 ORDER BY place LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok((u64::try_from(count).unwrap_or(0), oldest.map(time)))
}

fn used_bytes(db: &Connection) -> Result<u64> {
    let pragma = |name: &str| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let pages = pragma("page_count")? - pragma("freelist_count")?;
    Ok(u64::try_from(pages * pragma("page_size")?).unwrap_or(0))
}

pub(super) fn prune(db: &Connection, retention: Retention, now: Timestamp) -> Result<usize> {
    let cutoff = millis(now).saturating_sub(span(retention.age));
    let too_big = used_bytes(db)? > retention.bytes;
    let oldest: Vec<(Place, String, i64)> = db
        .prepare_cached(
            "SELECT place, id, coalesce(finished, created) FROM notice WHERE outcome IN (1, 3, 4, 5) ORDER BY place LIMIT ?1",
        )?
        .query_map([retention.step], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_>>()?;
    let mut forget = db.prepare_cached("DELETE FROM notice WHERE place = ?1")?;
    let mut forget_attempts = db.prepare_cached("DELETE FROM attempt WHERE notice = ?1")?;
    let mut forgotten = 0;
    for (place, id, finished) in oldest {
        if too_big || finished < cutoff {
            forget_attempts.execute([&id])?;
            forgotten += forget.execute([place])?;
        }
    }
    Ok(forgotten)
}

pub(super) fn check(db: &Connection) -> Result<Vec<String>> {
    let found: Vec<String> =
        db.prepare("PRAGMA integrity_check(20)")?.query_map([], |row| row.get(0))?.collect::<Result<_>>()?;
    let mut findings: Vec<String> = found.into_iter().filter(|line| line != "ok").collect();
    let strays: i64 = db.query_row(
        "SELECT count(*) FROM attempt WHERE notice NOT IN (SELECT id FROM notice)",
        [],
        |row| row.get(0),
    )?;
    if strays > 0 {
        findings.push(format!("{strays} attempts belong to no notice"));
    }
    let unknown: i64 =
        db.query_row("SELECT count(*) FROM notice WHERE outcome NOT IN (0, 1, 2, 3, 4, 5)", [], |row| {
            row.get(0)
        })?;
    if unknown > 0 {
        findings.push(format!("{unknown} notices have an unknown outcome"));
    }
    Ok(findings)
}
