//! What is stored of a notice: one line of JSON, then the payload as it is.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Attempt, Filter, HistoryEntry, Notice, ObjectRef, Outcome};

/// The newest form; a record of a later one is left alone.
const VERSION: u8 = 1;

/// Failed attempts that are kept.
const MOST_FAILURES: usize = 200;

/// A notice and how far it came. Times are milliseconds since 1970 (UTC).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Record {
    v: u8,
    pub(super) id: String,
    namespace: String,
    kind: String,
    name: String,
    uid: String,
    pub(super) trigger: String,
    service: String,
    recipient: String,
    pub(super) created: i64,
    pub(super) due: i64,
    #[serde(skip_serializing_if = "is_default")]
    outcome: i64,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) attempts: u32,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) waited: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    took: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failures: Vec<Failure>,
    #[serde(skip)]
    pub(super) payload: Bytes,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Failure {
    at: i64,
    took: u64,
    reason: String,
    answer: String,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

pub(super) fn time(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH)
}

pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

impl Record {
    pub(super) fn of(notice: &Notice) -> Record {
        let object = &notice.object;
        Record {
            v: VERSION,
            id: notice.id.clone(),
            namespace: object.namespace.clone(),
            kind: object.kind.clone(),
            name: object.name.clone(),
            uid: object.uid.clone(),
            trigger: notice.trigger.clone(),
            service: notice.service.clone(),
            recipient: notice.recipient.clone(),
            created: notice.created.as_millisecond(),
            due: notice.due_after.as_millisecond(),
            payload: Bytes::from(notice.payload.clone()),
            ..Record::default()
        }
    }

    pub(super) fn encode(&self) -> Bytes {
        // Texts and numbers only: it can always be written.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line.extend_from_slice(&self.payload);
        line.into()
    }

    pub(super) fn decode(bytes: &Bytes) -> Result<Record, String> {
        let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
        let line = bytes.get(..end).unwrap_or_default();
        let mut record: Record = serde_json::from_slice(line)
            .map_err(|error| format!("a stored notice can't be read: {error}"))?;
        if record.v > VERSION {
            return Err(format!("a stored notice has form {}, this version knows {VERSION}", record.v));
        }
        record.payload = bytes.slice((end + 1).min(bytes.len())..);
        Ok(record)
    }

    pub(super) fn notice(&self) -> Notice {
        Notice {
            id: self.id.clone(),
            object: ObjectRef {
                namespace: self.namespace.clone(),
                kind: self.kind.clone(),
                name: self.name.clone(),
                uid: self.uid.clone(),
            },
            trigger: self.trigger.clone(),
            service: self.service.clone(),
            recipient: self.recipient.clone(),
            created: time(self.created),
            due_after: time(self.due),
            payload: self.payload.to_vec(),
        }
    }

    pub(super) fn outcome(&self) -> Outcome {
        Outcome::of_code(self.outcome).unwrap_or(Outcome::Pending)
    }

    /// It is done.
    pub(super) fn end(&mut self, outcome: Outcome, at: Timestamp) {
        self.outcome = outcome.code();
        self.finished = Some(at.as_millisecond());
    }

    pub(super) fn said(&mut self, took: Duration, reason: Option<&str>, answer: &str) {
        self.took = Some(millis(took));
        self.reason = reason.map(str::to_owned);
        self.answer = Some(answer.to_owned());
        self.attempts = self.attempts.saturating_add(1);
    }

    pub(super) fn because(&mut self, reason: &str) {
        self.reason = Some(reason.to_owned());
    }

    pub(super) fn failed(&mut self, attempt: &Attempt) {
        self.said(attempt.took, Some(&attempt.reason), &attempt.answer);
        self.failures.push(Failure {
            at: attempt.at.as_millisecond(),
            took: millis(attempt.took),
            reason: attempt.reason.clone(),
            answer: attempt.answer.clone(),
        });
        let excess = self.failures.len().saturating_sub(MOST_FAILURES);
        self.failures.drain(..excess);
    }

    /// It waits again, from the beginning.
    pub(super) fn again(&mut self, now: Timestamp) {
        (self.outcome, self.attempts, self.waited) = (Outcome::Pending.code(), 0, 0);
        self.finished = None;
        self.due = now.as_millisecond();
    }

    /// What an earlier worker knew of a notice that waits.
    pub(super) fn take_progress(&mut self, known: Record) {
        let Record { due, attempts, waited, took, reason, answer, failures, .. } = known;
        (self.due, self.attempts, self.waited) = (due, attempts, waited);
        (self.took, self.reason, self.answer, self.failures) = (took, reason, answer, failures);
    }

    /// The same, held back for a reason.
    pub(super) fn held_back(self, reason: String) -> Record {
        Record { reason: Some(reason), ..self }
    }

    pub(super) fn without_payload(&self) -> Record {
        Record { payload: Bytes::new(), ..self.clone() }
    }

    pub(super) fn entry(&self, whole: bool) -> HistoryEntry {
        let mut notice = self.notice();
        let mut failures = Vec::new();
        if whole {
            failures.extend(self.failures.iter().map(|failure| Attempt {
                at: time(failure.at),
                took: Duration::from_millis(failure.took),
                reason: failure.reason.clone(),
                answer: failure.answer.clone(),
            }));
        } else {
            notice.payload.clear();
        }
        HistoryEntry {
            notice,
            outcome: self.outcome(),
            finished: self.finished.map(time),
            took: self.took.map(Duration::from_millis),
            attempts: self.attempts,
            reason: self.reason.clone(),
            answer: self.answer.clone(),
            failures,
        }
    }

    pub(super) fn fits(&self, filter: &Filter) -> bool {
        let same =
            |wanted: &Option<String>, value: &str| wanted.as_ref().is_none_or(|wanted| wanted == value);
        same(&filter.id, &self.id)
            && same(&filter.namespace, &self.namespace)
            && same(&filter.kind, &self.kind)
            && same(&filter.name, &self.name)
            && same(&filter.trigger, &self.trigger)
            && same(&filter.service, &self.service)
            && same(&filter.recipient, &self.recipient)
            && filter.outcome.is_none_or(|wanted| wanted == self.outcome())
            && filter.since.is_none_or(|since| time(self.created) >= since)
            && filter.until.is_none_or(|until| time(self.created) < until)
    }
}

/// The part of a subject or key that holds any text: what NATS doesn't take is written `=XX`.
pub(super) fn token(text: &str) -> String {
    if text.is_empty() {
        return "=".into();
    }
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'/' => out.push(char::from(byte)),
            _ => out.push_str(&format!("={byte:02X}")),
        }
    }
    out
}

/// The text of a [`token`].
pub(super) fn text(token: &str) -> String {
    let mut out = Vec::with_capacity(token.len());
    let mut rest = token.as_bytes();
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        let code = (*byte == b'=').then(|| behind.get(..2)).flatten();
        let code = code.and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok());
        match code {
            Some(code) => {
                out.push(code);
                rest = behind.get(2..).unwrap_or_default();
            }
            None if *byte == b'=' => {}
            None => out.push(*byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The same in every process and version (FNV-1a).
pub(crate) fn stable_hash<'a>(parts: impl IntoIterator<Item = &'a str>) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        for byte in part.bytes().chain([0]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_is_a_token() {
        for sample in ["", "prod/web", "a.b>c*d e", "ü=3D\u{1f}", "="] {
            let token = token(sample);
            assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_=/".contains(&b)), "{token}");
            assert_eq!(text(&token), sample, "{token}");
        }
    }

    #[test]
    fn a_record_keeps_everything() {
        let notice = Notice {
            id: "n".into(),
            object: ObjectRef {
                namespace: "a".into(),
                kind: "Rollout".into(),
                name: "b".into(),
                uid: "u".into(),
            },
            trigger: "t".into(),
            service: "s".into(),
            recipient: "r".into(),
            created: time(5),
            due_after: time(7),
            payload: b"line\nline\xff".to_vec(),
        };
        let mut record = Record::of(&notice);
        record.failed(&Attempt {
            at: time(8),
            took: Duration::from_millis(2),
            reason: "x".into(),
            answer: "y".into(),
        });
        let read = Record::decode(&record.encode()).unwrap();
        assert_eq!(read, record);
        assert_eq!(read.notice(), notice);
        assert_eq!((read.entry(true).failures.len(), read.entry(false).notice.payload.len()), (1, 0));
        assert!(Record::decode(&Bytes::from_static(b"{\"v\":9}\n")).unwrap_err().contains("form 9"));
    }
}
