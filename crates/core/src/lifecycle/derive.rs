//! The rules: from what was and what is to what happened.

use std::{borrow::Cow, cell::OnceCell, collections::BTreeMap};

use herald_value::Value;
use jiff::Timestamp;

use super::{
    Observation, Observed,
    before::{rewound, shaped},
    cursor::Cursor,
    reasons,
    steps::passage,
    view::{Owned, RolloutView, time},
};
use crate::occurrence::{EventType, Occurrence};

pub(super) type Facts = BTreeMap<String, Value>;

/// How many revisions one look reports at most: the number is a text that anybody can write.
const MAX_REVISIONS: i64 = 20;

pub(super) fn fact(name: &str, value: impl Into<Value>) -> (String, Value) {
    (name.to_owned(), value.into())
}

/// One comparison of a cursor with what is there.
pub(super) struct Derivation<'a> {
    pub(super) earlier: Cursor,
    pub(super) later: RolloutView<'a>,
    pub(super) replica_sets: Vec<Owned<'a>>,
    pub(super) analysis_runs: Vec<Owned<'a>>,
    pub(super) experiments: Vec<Owned<'a>>,
    /// Whether this look only records what is already true.
    pub(super) silent: bool,
    /// Whether this Rollout was never looked at before.
    first: bool,
    pub(super) next: Cursor,
    pub(super) attempt: String,
    /// The revision that the status is about.
    pub(super) revision: i64,
    pub(super) out: Vec<Occurrence>,
    /// What templates see, as it is and as it was: made once for all occurrences of a look.
    now: OnceCell<Value>,
    was: OnceCell<Value>,
}

impl<'a> Derivation<'a> {
    pub(super) fn new(
        earlier: Cursor,
        later: RolloutView<'a>,
        seen: &Observation<'a>,
        first: bool,
        silent: bool,
    ) -> Derivation<'a> {
        let uid = later.uid;
        Derivation {
            next: earlier.clone(),
            earlier,
            replica_sets: Owned::of(seen.replica_sets, uid),
            analysis_runs: Owned::of(seen.analysis_runs, uid),
            experiments: Owned::of(seen.experiments, uid),
            later,
            silent,
            first,
            attempt: String::new(),
            revision: 0,
            out: Vec::new(),
            now: OnceCell::new(),
            was: OnceCell::new(),
        }
    }

    /// Whether something was there before this Rollout was first looked at.
    pub(super) fn is_old(&self, created: &str) -> bool {
        self.silent || self.next.horizon.as_deref().is_some_and(|horizon| created <= horizon)
    }

    pub(super) fn is_after_horizon(&self, moment: Timestamp) -> bool {
        self.next.horizon.as_deref().and_then(time).is_none_or(|horizon| moment > horizon)
    }

    /// The object with the status that was last seen.
    pub(super) fn before(&self) -> Value {
        if self.first {
            return self.now();
        }
        self.was.get_or_init(|| self.shape(&rewound(self.later.raw, &self.earlier.status))).clone()
    }

    fn now(&self) -> Value {
        self.now.get_or_init(|| self.shape(self.later.raw)).clone()
    }

    pub(super) fn shape(&self, object: &Value) -> Value {
        let template = self
            .replica_sets
            .iter()
            .filter(|_| self.later.has_workload_ref())
            .find(|rs| rs.revision() == self.later.revision)
            .and_then(|rs| rs.raw.path(&["spec", "template"]));
        shaped(object, template)
    }

    pub(super) fn make(
        &self,
        reason: &str,
        id: &str,
        time: Option<Timestamp>,
        message: String,
        mut facts: Facts,
        object: Option<Value>,
    ) -> Occurrence {
        let known = reasons::find(reason);
        facts.entry("revision".to_owned()).or_insert_with(|| Value::int64(self.later.revision));
        let images = |hash: Option<&str>| {
            let found = self.replica_sets.iter().find(|rs| hash.is_some() && rs.hash() == hash)?;
            Some(Value::str_list(found.images()))
        };
        let current = self.later.hash;
        if let Some(images) = images(current) {
            facts.insert("images".to_owned(), images);
        }
        if let Some(images) = images(self.previous_hash()) {
            facts.insert("previousImages".to_owned(), images);
        }
        let uid = self.later.uid;
        Occurrence {
            reason: known.map_or_else(|| Cow::Owned(reason.to_owned()), |known| Cow::Borrowed(known.reason)),
            event_type: known.map_or(EventType::Normal, |known| known.event_type),
            id: if id.is_empty() { format!("{reason}/{uid}") } else { format!("{reason}/{uid}/{id}") },
            time,
            message,
            facts,
            object: Some(object.unwrap_or_else(|| self.now())),
        }
    }

    /// The pod hash of what ran before the current one: the stable version, or where that is not known, the
    /// ReplicaSet of the revision below.
    fn previous_hash(&self) -> Option<&str> {
        let current = self.later.hash;
        let stable = [self.earlier.status.stable.as_deref(), self.later.stable];
        let revision = self.revision_of(current);
        let below =
            self.replica_sets.iter().filter(|rs| revision.is_some_and(|revision| rs.revision() < revision));
        let older = below.max_by_key(|rs| rs.revision()).and_then(|rs| rs.hash());
        stable.into_iter().chain([older]).flatten().find(|hash| Some(*hash) != current)
    }

    pub(super) fn emit(
        &mut self,
        reason: &str,
        id: &str,
        time: Option<Timestamp>,
        message: impl Into<String>,
        facts: Facts,
        object: Option<Value>,
    ) {
        let occurrence = self.make(reason, id, time, message.into(), facts, object);
        self.out.push(occurrence);
    }

    pub(super) fn emit_before(
        &mut self,
        reason: &str,
        id: &str,
        time: Option<Timestamp>,
        message: String,
        facts: Facts,
    ) {
        let object = self.before();
        self.emit(reason, id, time, message, facts, Some(object));
    }

    pub(super) fn run(mut self) -> Observed {
        let stale = self.later.resource_version < self.earlier.resource_version;
        if self.silent {
            self.revision = self.revision_of_status(true);
            self.attempt = self.name_attempt();
            let paused = !self.later.pauses.is_empty() || self.later.controller_pause;
            self.next.paused_step = paused.then(|| self.later.clamped_index());
            self.next.retried = self.later.progressing.as_ref().is_some_and(|c| c.reason == "RolloutRetry");
            self.new_replica_sets();
            self.analyses();
            self.experiments();
        } else if stale {
            // An older version from a slow cache: what it says was already looked at.
            self.related_only();
        } else {
            self.compare();
        }
        if !stale {
            self.next.take(&self.later, std::mem::take(&mut self.attempt));
        }
        self.prune();
        Observed { cursor: Some(self.next), occurrences: self.out }
    }

    fn prune(&mut self) {
        let (sets, runs, experiments, name) =
            (&self.replica_sets, &self.analysis_runs, &self.experiments, self.later.name);
        let named = self.later.named_runs();
        self.next.prune(&|key| {
            let run = key.strip_prefix("x/").map_or(key, |rest| rest.split('/').next().unwrap_or(rest));
            let is =
                |full: &str| full.strip_prefix(name).is_some_and(|rest| rest.trim_start_matches('-') == run);
            sets.iter().any(|rs| super::related::key(rs.uid) == key)
                || runs.iter().chain(experiments).any(|owned| is(owned.name))
                || named.iter().any(|entry| is(entry.name))
        });
    }

    fn related_only(&mut self) {
        let created = self.new_replica_sets();
        self.out.extend(created.into_iter().map(|(_, occurrence)| occurrence));
        self.scalings();
        let due = self.analyses();
        self.out.extend(due.into_iter().map(|due| due.occurrence));
        self.experiments();
    }

    fn compare(&mut self) {
        let passage = passage(&self.earlier, &self.later, &self.replica_sets);
        self.revision = self.revision_of_status(passage.new_attempt);
        self.attempt = self.name_attempt();
        if passage.new_attempt {
            self.next.paused_step = None;
        }
        let promoted =
            self.later.stable.is_some() && self.later.stable != self.earlier.status.stable.as_deref();
        // The update that was running finished, and another one began since.
        let other_began = promoted
            && self.later.hash != self.later.stable
            && self.later.stable == self.earlier.status.hash.as_deref();

        self.created();
        if other_began {
            self.completed(self.later.stable);
        }
        self.updated();
        self.rolled_back();
        self.switched("preview");
        if passage.skip_all {
            self.skip_steps();
        }
        self.not_completed(promoted);
        self.missed_abort();
        self.asked_for();
        let due = self.analyses();
        self.traffic();
        self.scalings();
        self.experiments();
        let late = self.passed(&passage, due);
        self.aborted();
        self.states();
        self.switched("active");
        if passage.round_trip && self.earlier.status.hash.as_deref() != self.later.hash {
            // It could only go back anew because the update that was running had become stable.
            let hash = self.earlier.status.hash.clone();
            self.completed(hash.as_deref());
        }
        if promoted && !other_began || passage.round_trip {
            self.completed(self.later.stable);
        }
        if let Some(resumed) = late {
            self.out.push(resumed);
        }
        self.settled();
    }

    /// The revision that the status is about.
    fn revision_of_status(&self, new: bool) -> i64 {
        let later = &self.later;
        if later.hash.is_none() || later.is_reconciled() {
            return later.revision;
        }
        let known =
            self.earlier_revision().filter(|_| !new && later.hash == self.earlier.status.hash.as_deref());
        // The annotation runs ahead of a status that says that all is done.
        let guess = if later.completed().is_some_and(|c| c.is) {
            later.revision.saturating_sub(1)
        } else {
            later.revision
        };
        known.or_else(|| self.revision_of(later.hash)).unwrap_or(guess.max(1))
    }

    /// The revision that the status was about.
    fn earlier_revision(&self) -> Option<i64> {
        self.earlier.attempt.split(':').next().and_then(|revision| revision.parse().ok())
    }

    /// The revision of the ReplicaSet with that pod hash.
    fn revision_of(&self, hash: Option<&str>) -> Option<i64> {
        let of = self.replica_sets.iter().find(|rs| rs.hash().is_some() && rs.hash() == hash)?;
        Some(of.revision().min(self.later.revision))
    }

    /// The first revision since the last look that the ReplicaSet with that pod hash had before its present one.
    fn revision_before(&self, hash: Option<&str>) -> Option<i64> {
        let of = self.replica_sets.iter().find(|rs| rs.hash().is_some() && rs.hash() == hash)?;
        let since = self.earlier_revision().unwrap_or(0);
        of.other_revisions().find(|revision| *revision >= since)
    }

    /// The name of the present run through the steps.
    fn name_attempt(&self) -> String {
        let later = &self.later;
        if later.hash.is_none() {
            return String::new();
        }
        let kept = || self.earlier.attempt.splitn(3, ':').nth(2).unwrap_or("0");
        let clock = later.started_at.or(later.aborted_at).unwrap_or_else(kept);
        format!("{}:{}:{clock}", self.revision, later.step_hash.unwrap_or_default())
    }

    fn created(&mut self) {
        if !self.first {
            return;
        }
        let message =
            format!("Rollout resource added to informer: {}/{}", self.later.namespace, self.later.name);
        let created = time(self.later.created);
        self.emit("RolloutAddedToInformer", "", created, message, Facts::new(), None);
    }

    fn updated(&mut self) {
        let (from, to) = (self.earlier.revision, self.later.revision);
        let mut created = self.new_replica_sets();
        // No more than that many, as the number is a text that anybody can write.
        let first = if to > from {
            Some((from + 1).max(to.saturating_sub(MAX_REVISIONS - 1)))
        } else {
            // All ReplicaSets were lost, and counting began anew.
            let anew = to < from && to > 0 && self.later.hash != self.earlier.status.hash.as_deref();
            anew.then_some(to)
        };
        for revision in first.into_iter().flat_map(|first| first..=to) {
            let of = self.replica_sets.iter().find(|rs| rs.revision() == revision).copied();
            let new = of.filter(|rs| !rs.had_other_revisions());
            let time = new
                .and_then(|rs| rs.created_at())
                .or_else(|| (revision == to).then(|| self.later.revision_written_at()).flatten());
            let id = revision.to_string();
            let facts = || Facts::from([fact("revision", Value::int64(revision))]);
            let message = format!("Rollout updated to revision {revision}");
            self.emit_before("RolloutUpdated", &id, time, message, facts());
            let (now, rest): (Vec<_>, Vec<_>) = created.into_iter().partition(|(r, _)| *r <= revision);
            created = rest;
            self.out.extend(now.into_iter().map(|(_, occurrence)| occurrence));
        }
        self.out.extend(created.into_iter().map(|(_, occurrence)| occurrence));
    }

    /// Tells when the status begins to be about a version that was there before.
    fn rolled_back(&mut self) {
        let (was, now) = (self.earlier.status.clone(), self.later.hash);
        let Some(stable) = was.stable.as_deref() else { return };
        let back = if was.hash.as_deref() == now {
            // There and back again, unseen.
            self.earlier_revision().is_some_and(|earlier| self.revision > earlier)
                && self.earlier.completed != self.later.completed()
        } else {
            let of = |hash: Option<&str>| {
                self.replica_sets.iter().find(|rs| rs.hash().is_some() && rs.hash() == hash)
            };
            let older = |(now, stable): (&Owned<'_>, &Owned<'_>)| now.created < stable.created;
            now == Some(stable) || of(now).zip(of(Some(stable))).is_some_and(older)
        };
        if back {
            let revision = self.revision;
            let message = format!("Rollout goes back to an earlier version as revision {revision}");
            let facts = Facts::from([fact("revision", Value::int64(revision))]);
            let time = self.later.progress_time();
            self.emit_before("RolloutRollback", &revision.to_string(), time, message, facts);
        }
    }

    fn switched(&mut self, role: &str) {
        let (from, to) = match role {
            "preview" => (self.earlier.preview.clone(), self.later.preview),
            _ => (self.earlier.active.clone(), self.later.active),
        };
        let Some(to) = to.filter(|to| from.as_deref() != Some(to)) else { return };
        let from = from.unwrap_or_default();
        let service = self
            .later
            .raw
            .path(&["spec", "strategy", "blueGreen", &format!("{role}Service")])
            .and_then(Value::as_str)
            .unwrap_or(role);
        let message = format!("Switched selector for service '{service}' from '{from}' to '{to}'");
        let facts = Facts::from([
            fact("service", service),
            fact("role", role),
            fact("from", from.as_str()),
            fact("to", to),
        ]);
        let id = format!("{role}/{from}/{to}/{}", self.revision);
        let time = self.later.progress_time();
        self.emit_before("SwitchService", &id, time, message, facts);
    }

    fn skip_steps(&mut self) {
        let id = format!("{}:{}", self.later.revision, self.later.step_hash.unwrap_or_default());
        let time = self.later.progress_time();
        let back = self.later.hash == self.later.stable;
        let message = match back {
            true => "Rollback to stable ReplicaSets",
            false => "Rollback to active ReplicaSets within RollbackWindow",
        };
        self.emit_before("SkipSteps", &id, time, message.to_owned(), Facts::new());
    }

    fn not_completed(&mut self, promoted: bool) {
        let (was, now) = (self.earlier.completed.clone(), self.later.completed());
        let Some(now) = now else { return };
        match (&was, now.is) {
            (Some(was), false) if !was.is && was.since == now.since => return,
            (_, false) => {}
            // It was False between: there was an update.
            (Some(was), true) if was.is && was.since != now.since => {}
            (None, true) if self.later.canary && promoted => {}
            _ => return,
        }
        // An update that was taken back is told by the revision before.
        let taken_back = now.is && !promoted && self.earlier.completed.is_some();
        let revision = if taken_back { self.revision.saturating_sub(1) } else { self.revision };
        let id = revision.to_string();
        let at = if now.is { None } else { time(&now.since) };
        let message = format!("Rollout not completed, started update to revision {revision}");
        self.emit_before("RolloutNotCompleted", &id, at, message, Facts::new());
    }

    fn completed(&mut self, stable: Option<&str>) {
        let current = stable == self.later.hash;
        // An unfinished update that was taken back leads to a version that became stable as an earlier revision.
        let taken_back = matches!(self.later.completion, Some("FastRolledBack"));
        let was = || self.earlier_revision().filter(|_| stable == self.earlier.status.hash.as_deref());
        let known = match current {
            true if taken_back => was().or_else(|| self.revision_before(stable)),
            true => Some(self.revision),
            false => was().or_else(|| self.revision_of(stable)),
        };
        let revision = known.unwrap_or(self.later.revision);
        // Without its ReplicaSet the hash alone tells which update it was.
        let id =
            known.map_or_else(|| format!("hash/{}", stable.unwrap_or_default()), |known| known.to_string());
        let at = self.later.completed().filter(|c| c.is && current).and_then(|c| time(&c.since));
        let message =
            format!("Rollout completed update to revision {revision} ({})", stable.unwrap_or_default());
        let mut facts = Facts::from([fact("revision", Value::int64(revision))]);
        facts.extend(stable.map(|hash| fact("hash", hash)));
        facts.extend(self.earlier.status.stable.as_deref().map(|hash| fact("previousHash", hash)));
        facts.extend(self.later.completion.map(|how| fact("completion", how)));
        self.emit_before("RolloutCompleted", &id, at, message, facts);
    }

    /// An abort and a retry that nobody saw: the attempt's clock moved although nothing was changed.
    fn missed_abort(&mut self) {
        let (was, now) = (&self.earlier, &self.later);
        let same = was.revision == now.revision
            && was.status.hash.as_deref() == now.hash
            && was.status.step_hash.as_deref() == now.step_hash
            && now.hash.is_some();
        let clock = was.started_at.is_some()
            && now.started_at.is_some()
            && was.started_at.as_deref() != now.started_at;
        if !same || !clock || was.status.aborted_at.is_some() || now.aborted_at.is_some() {
            return;
        }
        let id = format!("inferred/{}", was.attempt);
        let message = format!("Rollout aborted update to revision {}", now.revision);
        let at = now.started_at.and_then(time);
        self.emit_before("RolloutAborted", &id, None, message, Facts::new());
        let message = format!("Rollout retries the update to revision {}", self.later.revision);
        self.emit("RolloutRetry", &id, at, message, Facts::new(), None);
    }

    fn asked_for(&mut self) {
        let missed = self.later.completion == Some("FastPromoted")
            && self.later.stable == self.later.hash
            && self.earlier.status.stable.as_deref() != self.later.stable;
        if !self.earlier.status.promote_full && (self.later.promote_full || missed) {
            let id = self.attempt.clone();
            self.emit_before(
                "RolloutPromoteFull",
                &id,
                None,
                "Full promotion requested".into(),
                Facts::new(),
            );
        }
    }

    fn traffic(&mut self) {
        let (was, now) = (self.earlier.weights.clone(), self.later.weights());
        let Some(now) = now.filter(|now| was.as_ref() != Some(now)) else { return };
        let weight = self.later.canary_weight().unwrap_or(0);
        let message = format!("Traffic weight updated to {weight}");
        // An abort takes the weight back to what it was in the same attempt.
        let aborted = self.later.aborted_at.unwrap_or_default();
        let id = format!("{}/{}/{aborted}/{now}", self.attempt, self.later.clamped_index());
        let time = self.later.progress_time();
        let facts = Facts::from([fact("weight", Value::int64(weight))]);
        self.emit_before("TrafficWeightUpdated", &id, time, message, facts);
    }

    fn aborted(&mut self) {
        let was = self.earlier.status.aborted_at.clone();
        let now = self.later.aborted_at;
        if let Some(at) = now.filter(|now| was.as_deref() != Some(now)) {
            self.next.retried = false;
            let of = self.later.progressing.as_ref().filter(|c| c.reason == "RolloutAborted");
            let message = of.map_or_else(
                || format!("Rollout aborted update to revision {}", self.later.revision),
                |condition| condition.message.to_owned(),
            );
            let facts = Facts::from([fact("cause", message.as_str())]);
            self.emit_before("RolloutAborted", at, time(at), message, facts);
        }
        let Some(abort) = now.map(str::to_owned).or(was) else { return };
        let says = self.later.progressing.as_ref().filter(|c| c.reason == "RolloutRetry");
        let gone = now.is_none()
            && self.later.revision == self.earlier.revision
            && self.later.hash == self.earlier.status.hash.as_deref()
            && !self.earlier.status.promote_full
            && !self.later.promote_full;
        if !self.next.retried && (says.is_some() || gone) {
            self.next.retried = true;
            let at = says.map_or(self.later.started_at, |c| Some(c.updated)).and_then(time);
            let message = format!("Rollout retries the update to revision {}", self.later.revision);
            self.emit_before("RolloutRetry", &abort, at, message, Facts::new());
        }
        if now.is_none() {
            self.next.retried = false;
        }
    }
}
