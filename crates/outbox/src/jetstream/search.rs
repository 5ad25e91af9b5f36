//! Notices that somebody looks for.

use futures::{StreamExt as _, stream};

use super::{
    JetStreamOutbox,
    record::{Record, token},
    stores::AT_ONCE,
};
use crate::{Filter, OutboxError, Outcome};

/// Notices that one listing looks at where the caller sets no limit.
const MOST: usize = 100_000;

impl JetStreamOutbox {
    /// The matching notices, newest first, payloads as they are stored.
    pub(super) async fn matching(&self, filter: &Filter) -> Result<Vec<Record>, OutboxError> {
        let limit = filter.limit.map_or(MOST, |limit| limit as usize);
        let wants = |outcome: Outcome| filter.outcome.is_none_or(|wanted| wanted == outcome);
        let mut found = Vec::new();
        if let Some(id) = &filter.id {
            found.extend(self.one(id).await?.filter(|record| record.fits(filter)));
            return Ok(found);
        }
        if wants(Outcome::Pending) {
            let waiting = self.stores().waiting().await?.into_iter().map(|(_, record)| record);
            let known = |mut record: Record| async move {
                match self.stores().known(&record.id).await {
                    Ok(Some(known)) if known.outcome() == Outcome::Pending => record.take_progress(known),
                    // Done, but not acknowledged yet.
                    Ok(Some(_)) => return Ok(None),
                    Ok(None) => {}
                    Err(error) => return Err(error),
                }
                Ok(Some(record))
            };
            let fitting = waiting.filter(|record| record.fits(filter));
            let mut records = stream::iter(fitting).map(known).buffered(AT_ONCE);
            while let Some(record) = records.next().await {
                found.extend(record?);
            }
        }
        if wants(Outcome::DeadLetter) {
            for (_, bytes, _) in self.stores().entries(&self.stores().dead, "").await? {
                found.extend(Record::decode(&bytes).ok().filter(|record| record.fits(filter)));
            }
        }
        if !matches!(filter.outcome, Some(Outcome::Pending | Outcome::DeadLetter)) {
            let mut taken = 0;
            self.stores()
                .newest(|record| {
                    let done = !matches!(record.outcome(), Outcome::Pending | Outcome::DeadLetter);
                    if done && record.fits(filter) {
                        found.push(record);
                        taken += 1;
                    }
                    taken >= limit
                })
                .await?;
        }
        found.sort_by_key(|record| std::cmp::Reverse(record.created));
        found.truncate(limit);
        Ok(found)
    }

    pub(super) async fn one(&self, id: &str) -> Result<Option<Record>, OutboxError> {
        let known = self.stores().known(id).await?;
        let found = self.one_known_as(id, known.clone()).await?;
        if found.is_some() || known.is_some() {
            return Ok(found);
        }
        // It may have ended between the two looks.
        let known = self.stores().known(id).await?;
        self.one_known_as(id, known).await
    }

    async fn one_known_as(&self, id: &str, known: Option<Record>) -> Result<Option<Record>, OutboxError> {
        match known.as_ref().map(Record::outcome) {
            Some(Outcome::DeadLetter) => {
                let dead = self.stores().get(&self.stores().dead, &token(id)).await?;
                Ok(dead.and_then(|bytes| Record::decode(&bytes).ok()).or(known))
            }
            Some(Outcome::Pending) | None => {
                let waiting = self.stores().waiting().await?;
                let found = waiting.into_iter().map(|(_, record)| record).find(|record| record.id == id);
                Ok(match (found, known) {
                    (Some(mut record), Some(known)) => {
                        record.take_progress(known);
                        Some(record)
                    }
                    (found, known) => found.or(known),
                })
            }
            Some(_) => Ok(known),
        }
    }
}
