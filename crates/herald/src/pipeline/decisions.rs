//! The last decisions about each Rollout, so that it can be explained later what was decided then.
//!
//! Only decisions that had something to decide are kept: something happened, or something was due. There are at most
//! [`KEPT`] for each Rollout, each in a slot of its own, so that keeping one writes one small entry.

use herald_core::{
    decide::{Decision, Due},
    explain::{Answer, Explanation, Verdict},
    occurrence::Occurrence,
};
use herald_outbox::{Outbox, OutboxError, StateEntry};

use super::assess::Known;

/// The scope of kept decisions.
const SCOPE: &str = "decision";
/// How many are kept for each Rollout.
pub(crate) const KEPT: u64 = 10;
/// How many answers of one are kept.
const MOST_ANSWERS: usize = 40;

/// Whether there was something to decide.
pub(crate) fn is_notable(occurrences: &[Occurrence], decision: &Decision) -> bool {
    let something = !occurrences.is_empty() || !decision.due.is_empty();
    !decision.chains.is_empty() && (something || !decision.undeliverable.is_empty())
}

/// The entry that keeps a decision, and its number in `known`.
pub(crate) fn keep(explanation: &Explanation, key: &str, known: &mut Known) -> Option<StateEntry> {
    let mut kept = explanation.clone();
    // What just held, or held not, explains nothing.
    kept.answers.retain(|answer| answer.event.is_some() || answer.verdict >= Verdict::Due);
    kept.answers.truncate(MOST_ANSWERS);
    if kept.answers.is_empty() {
        return None;
    }
    kept.findings.clear();
    let number = known.decisions.saturating_add(1);
    kept.decision = Some(number);
    let value = serde_json::to_vec(&kept).ok()?;
    known.decisions = number;
    Some(StateEntry { scope: SCOPE.into(), key: slot(key, number), value })
}

fn slot(key: &str, number: u64) -> String {
    format!("{key}/{}", number % KEPT)
}

/// The entries that go with a Rollout.
pub(crate) fn entries(key: &str, decisions: u64) -> impl Iterator<Item = (String, String)> {
    (1..=decisions.min(KEPT)).map(move |number| (SCOPE.into(), slot(key, number)))
}

/// The decisions that are kept about a Rollout, oldest first.
pub(crate) async fn read(
    outbox: &dyn Outbox,
    key: &str,
    known: Option<&Known>,
) -> Result<Vec<Explanation>, OutboxError> {
    let mut found: Vec<Explanation> = Vec::new();
    for number in 1..=known.map_or(0, |known| known.decisions).min(KEPT) {
        let entry = outbox.get_state(SCOPE, &slot(key, number)).await?;
        found.extend(entry.and_then(|bytes| serde_json::from_slice(&bytes).ok()));
    }
    found.sort_by_key(|explanation| explanation.decision);
    Ok(found)
}

/// Why a notice was made.
pub(crate) fn why<'e>(explanation: &'e Explanation, due: &Due) -> Option<&'e Answer> {
    let event = due.occurrence.as_ref().map(|occurrence| &occurrence.id);
    explanation.answers.iter().find(|answer| {
        answer.key.as_deref() == Some(due.key.as_str())
            && answer.event.as_ref() == event
            && answer.condition == Some(due.condition)
            && answer.trigger == due.trigger.as_str()
    })
}
