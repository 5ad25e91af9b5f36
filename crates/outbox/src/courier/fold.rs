//! Groups, written down: as one digest, or released one by one.

use std::panic::{AssertUnwindSafe, catch_unwind};

use jiff::Timestamp;

use super::crew::Crew;
use crate::{Batch, Done, Notice, Outbox, OutboxError, Outcome, Queued, StateEntry, grouping::Flush};

/// The scope of the state in which groups remember until when they collect.
pub(super) const SCOPE: &str = "group";

/// What was written down.
pub(super) enum Folded {
    /// A group: as a digest, or released one by one.
    Flushed(Flush, Option<Vec<Queued>>),
    /// Notices that weren't wanted.
    Muted(Vec<Queued>),
    /// What was stored of a group.
    Forgotten,
}

impl Crew {
    pub(super) async fn flush(self, flush: Flush) -> Folded {
        let (mut queued, mut notices) = (Vec::new(), Vec::new());
        for member in &flush.members {
            // What somebody dropped meanwhile isn't part of it.
            if let Some(notice) = self.load(member.place, &member.id).await {
                queued.push(member.clone());
                notices.push(notice);
            }
        }
        let put_state = flush.next.map(|next| StateEntry {
            scope: SCOPE.to_owned(),
            key: flush.group.as_str().to_owned(),
            value: next.as_millisecond().to_string().into_bytes(),
        });
        let mut batch = Batch { put_state: put_state.into_iter().collect(), ..Batch::default() };
        let digest = if notices.len() > 1 { self.digest(&flush, &notices) } else { None };
        let released = match digest {
            Some(digest) => {
                batch.done =
                    done(&queued, Outcome::Grouped, self.clock.now(), &format!("grouped into {}", digest.id));
                batch.enqueue.push(digest);
                None
            }
            None => {
                for queued in &mut queued {
                    queued.due = queued.due.max(flush.due_after);
                }
                Some(queued)
            }
        };
        if batch != Batch::default() {
            self.write(batch).await;
        }
        Folded::Flushed(flush, released)
    }

    fn digest(&self, flush: &Flush, notices: &[Notice]) -> Option<Notice> {
        let first = notices.first()?;
        let payload =
            catch_unwind(AssertUnwindSafe(|| self.deliverer.digest(notices))).unwrap_or_else(|_| {
                tracing::error!(digest = flush.id, "making a digest panicked, its notices go one by one");
                None
            })?;
        Some(Notice {
            id: flush.id.clone(),
            object: flush.object.clone(),
            trigger: "digest".to_owned(),
            service: first.service.clone(),
            recipient: first.recipient.clone(),
            created: notices.iter().map(|notice| notice.created).min().unwrap_or(first.created),
            due_after: flush.due_after,
            payload,
        })
    }

    pub(super) async fn mute(self, members: Vec<Queued>, by: String) -> Folded {
        let done = done(&members, Outcome::Muted, self.clock.now(), &format!("muted by {by}"));
        self.write(Batch { done, ..Batch::default() }).await;
        Folded::Muted(members)
    }

    pub(super) async fn forget(self, group: String) -> Folded {
        self.write(Batch { delete_state: vec![(SCOPE.to_owned(), group)], ..Batch::default() }).await;
        Folded::Forgotten
    }

    /// A closed store keeps everything as it was: it is folded by the next process.
    async fn write(&self, batch: Batch) {
        while let Err(error) = self.outbox.commit(batch.clone()).await {
            if error == OutboxError::Closed {
                return;
            }
            self.refused("a group can't be written down, trying again", &error, "").await;
        }
    }
}

fn done(members: &[Queued], outcome: Outcome, at: Timestamp, reason: &str) -> Vec<Done> {
    let one = |member: &Queued| Done { id: member.id.clone(), outcome, at, reason: reason.to_owned() };
    members.iter().map(one).collect()
}

/// What an earlier process knew of groups.
pub(super) async fn collecting(outbox: &dyn Outbox) -> Vec<(String, Timestamp)> {
    let stored = match outbox.list_state(SCOPE).await {
        Ok(stored) => stored,
        Err(error) => {
            tracing::warn!(%error, "what is known of groups can't be read, they begin anew");
            return Vec::new();
        }
    };
    let parse = |value: &[u8]| {
        let millis = std::str::from_utf8(value).ok()?.parse().ok()?;
        Timestamp::from_millisecond(millis).ok()
    };
    // What makes no sense is over, which removes it.
    stored.into_iter().map(|(group, value)| (group, parse(&value).unwrap_or(Timestamp::UNIX_EPOCH))).collect()
}
