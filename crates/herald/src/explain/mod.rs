//! Explanations of the Rollouts of a file or a directory, with what a state file knows of them.

pub(crate) mod text;

use std::{collections::BTreeSet, path::Path};

use herald_core::{
    config::Config,
    diagnostic::{Severity, codes},
    explain::{Answer, Delivery, Explanation, Finding, Source, Standing, To, Verdict, follow},
    notification::ServiceTypes as _,
};
use herald_outbox::{Access, Filter, HistoryEntry, Outbox, Outcome, SqliteOutbox};
use herald_services::Registry;
use herald_sources::ObjectKey;
use jiff::Timestamp;

use crate::{
    failure::Failure,
    pipeline::{
        assess::{Known, assess, has_service},
        decisions,
        engine::SCOPE,
        look::Look,
        payload,
    },
    scene::Configured,
};

/// How many of a Rollout's deliveries are looked at.
const DELIVERIES: u32 = 100;

/// What is stored about Rollouts, if anything is.
pub(crate) struct Stored {
    outbox: Option<SqliteOutbox>,
}

/// What is stored about one Rollout.
#[derive(Default)]
pub(crate) struct Past {
    known: Option<Known>,
    /// Newest first.
    deliveries: Vec<Delivery>,
    /// Oldest first.
    pub(crate) decisions: Vec<Explanation>,
}

impl Stored {
    /// Nothing.
    pub(crate) fn nothing() -> Stored {
        Stored { outbox: None }
    }

    /// What a state file knows; nothing if there is no such file.
    pub(crate) fn open(file: &Path) -> Result<Stored, Failure> {
        let outbox = file.exists().then(|| SqliteOutbox::open(file, Access::ReadOnly)).transpose()?;
        Ok(Stored { outbox })
    }

    /// Whether there is a state file.
    pub(crate) fn is_there(&self) -> bool {
        self.outbox.is_some()
    }

    /// What is stored about a Rollout.
    pub(crate) async fn of(&self, key: &ObjectKey) -> Result<Past, Failure> {
        match &self.outbox {
            Some(outbox) => past(outbox, key).await,
            None => Ok(Past::default()),
        }
    }
}

/// What an outbox knows of a Rollout.
pub(crate) async fn past(outbox: &dyn Outbox, key: &ObjectKey) -> Result<Past, Failure> {
    let name = format!("{}/{}", key.namespace, key.name);
    let known = outbox.get_state(SCOPE, &name).await?;
    let known: Option<Known> = known.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let filter = Filter {
        namespace: Some(key.namespace.clone()),
        kind: Some(key.kind.clone()),
        name: Some(key.name.clone()),
        limit: Some(DELIVERIES),
        ..Filter::default()
    };
    let mut deliveries = Vec::new();
    for entry in outbox.list(filter).await? {
        // Lists come without what the notices carry.
        let whole = outbox.show(&entry.notice.id).await?.unwrap_or(entry);
        deliveries.push(delivery(&whole));
    }
    let decisions = decisions::read(outbox, &name, known.as_ref()).await?;
    Ok(Past { known, deliveries, decisions })
}

/// A line of the history, for explanations.
pub(crate) fn delivery(entry: &HistoryEntry) -> Delivery {
    let notice = &entry.notice;
    Delivery {
        id: notice.id.clone(),
        key: payload::why(&notice.payload).and_then(|answer| answer.key),
        trigger: notice.trigger.clone(),
        to: To { service: notice.service.clone(), recipient: notice.recipient.clone() },
        stands: match entry.outcome {
            Outcome::Pending => Standing::Pending,
            Outcome::Delivered => Standing::Delivered,
            Outcome::DeadLetter => Standing::DeadLetter,
            Outcome::Dropped => Standing::Dropped,
            Outcome::Muted => Standing::Muted,
            Outcome::Grouped => Standing::Grouped,
        },
        created: notice.created.to_string(),
        finished: entry.finished.map(|at| at.to_string()),
        attempts: entry.attempts,
        reason: entry.reason.clone(),
        answer: entry.answer.clone(),
    }
}

/// The explanation of a look, as the pipeline would decide it now; two, where the Rollout's own namespace has a
/// configuration, too.
pub(crate) fn present(
    configured: &Configured,
    tenant: Option<&Configured>,
    look: Look<'_>,
    past: Past,
    now: Timestamp,
) -> Vec<Explanation> {
    let Past { known, deliveries, decisions } = past;
    let look = Look { tenant: tenant.map(|tenant| &tenant.config), ..look };
    let Some(assessed) = assess(&configured.config, &look, known, false, now) else { return Vec::new() };
    let own = of_configuration(&deliveries, None);
    let mut first = assessed.explain(&configured.config, &configured.loading, &own, now, true);
    let second = tenant.and_then(|tenant| {
        let own = of_configuration(&deliveries, tenant.config.namespace());
        let mut second = assessed.explain_tenant(&tenant.config, &tenant.loading, &own, now)?;
        leave_to_each_other(&configured.config, &mut first, &tenant.config, &mut second);
        unreachable(&tenant.config, &mut second);
        Some(second)
    });
    unreachable(&configured.config, &mut first);
    let mut all: Vec<Explanation> = [first].into_iter().chain(second).collect();
    // Where only one of them has something to say, the other one's silence would be misunderstood.
    let says = |one: &Explanation| !one.answers.is_empty() || one.is_wrong();
    match all.iter().any(says) {
        true => all.retain(says),
        false => all.truncate(1),
    }
    all.iter_mut().for_each(|explanation| tell_last_time(explanation, &decisions));
    all
}

/// The deliveries of a namespace's configuration, or of the controller's, with the names that services have there.
fn of_configuration(deliveries: &[Delivery], namespace: Option<&str>) -> Vec<Delivery> {
    let own = |one: &Delivery| match (one.to.service.split_once('/'), namespace) {
        (None, None) => Some(one.clone()),
        (Some((space, service)), Some(namespace)) if space == namespace => {
            let to = To { service: service.to_owned(), ..one.to.clone() };
            Some(Delivery { to, ..one.clone() })
        }
        _ => None,
    };
    deliveries.iter().filter_map(own).collect()
}

/// A subscription is meant for the configuration that has its trigger and its service, as the pipeline sees it. What neither
/// has is said once.
fn leave_to_each_other(config: &Config, first: &mut Explanation, tenant: &Config, second: &mut Explanation) {
    let has = |config: &Config, answer: &Answer| {
        config.trigger(&answer.trigger).is_some() && has_service(config, &answer.to.service)
    };
    first.retain(|answer| has(config, answer) || !has(tenant, answer), |_, _| true);
    second.retain(|answer| has(tenant, answer), |_, _| true);
}

/// Adds what became of events of which only the kept decisions know.
fn tell_last_time(explanation: &mut Explanation, decisions: &[Explanation]) {
    let configuration = explanation.configuration.clone();
    // An event is a moment; the decisions that were kept tell what became of the last one.
    for answer in
        explanation.answers.iter_mut().filter(|answer| answer.event.is_none() && answer.delivery.is_none())
    {
        let same = |other: &&Answer| {
            other.event.is_some()
                && (&other.trigger, other.condition, &other.to)
                    == (&answer.trigger, answer.condition, &answer.to)
        };
        let mut ours = decisions.iter().rev().filter(|decision| decision.configuration == configuration);
        let last = ours.find_map(|decision| {
            let found = decision.answers.iter().rfind(same)?;
            Some((decision.decision.unwrap_or_default(), &decision.at, found))
        });
        if let (Some((number, at, found)), Some(gate)) = (last, answer.gates.last_mut())
            && !gate.passed
        {
            let what = found.event.as_deref().unwrap_or_default();
            let became = match found.stopped_by {
                None => "a notice was made of it".to_owned(),
                Some(_) => found.sentence.clone(),
            };
            gate.hints.push(format!("the last time, {at}, it was `{what}`: {became} (--at {number})"));
        }
    }
}

/// An earlier decision, with what became of it.
pub(crate) fn earlier(past: Past, number: u64) -> Result<Explanation, Failure> {
    let kept: Vec<String> =
        past.decisions.iter().filter_map(|one| one.decision).map(|number| number.to_string()).collect();
    let found = past.decisions.into_iter().find(|one| one.decision == Some(number));
    let mut explanation = found.ok_or_else(|| {
        let kept = if kept.is_empty() { "none is".to_owned() } else { format!("kept are {}", kept.join(", ")) };
        Failure::bad(format!(
            "decision {number} is not kept; {kept}. The last {} in which something happened or was due are kept for \
             each Rollout",
            decisions::KEPT
        ))
    })?;
    let deliveries = of_configuration(&past.deliveries, explanation.configuration.as_deref());
    follow(&mut explanation, &deliveries);
    Ok(explanation)
}

/// Recipients of annotations that a service can't deliver to, told before anything is due.
fn unreachable(config: &Config, explanation: &mut Explanation) {
    let registry = Registry::standard();
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for answer in &explanation.answers {
        let Source::Annotation(key) = &answer.from else { continue };
        let Some(service) = config.service(&answer.to.service) else { continue };
        if !seen.insert((key, &answer.to.service, &answer.to.recipient)) {
            continue;
        }
        let recipient = &answer.to.recipient;
        if let Err(why) = registry.check_recipient(&service.service_type, &service.options, recipient) {
            found.push(Finding {
                severity: Severity::Warning.as_str().to_owned(),
                code: codes::SUBSCRIPTION.to_owned(),
                key: key.clone(),
                message: format!("`{}` can't deliver to `{recipient}`: {why}", service.name),
                hint: None,
            });
        }
    }
    if !found.is_empty() {
        explanation.verdict = Verdict::Wrong;
        explanation.findings.extend(found);
    }
}
