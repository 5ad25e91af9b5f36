//! Looking at Rollouts: which versions ask for it, what follows from them, and that it is stored before anything else
//! happens.

use std::collections::HashSet;

use herald_core::lifecycle::Subject;
use herald_outbox::{Batch, OutboxError};
use herald_sources::ObjectKey;
use herald_value::Value;
use jiff::Timestamp;
use tokio::time::Instant;

use super::{GROUP, Session, Why};
use crate::{
    cluster::index::Seen,
    pipeline::{
        assess,
        configuration::Active,
        engine::{Engine, Known, Weighed},
        look::{Look, Past, text},
    },
};

/// A version of an object that is to be looked at.
struct Fresh<'o> {
    object: &'o Value,
    uid: &'o str,
    /// `namespace/name`.
    name: String,
    /// It was never heard of: nothing that belongs to it can have been passed over.
    unheard: bool,
}

/// What followed from a look, but for what is stored.
struct Looked<'o> {
    object: &'o Value,
    name: String,
    next_look: Option<Timestamp>,
    known: Option<Known>,
    recorded: Vec<(String, String)>,
}

impl Session<'_> {
    /// Looks at Rollouts and stores what follows.
    pub(super) async fn look(&mut self, objects: Vec<Value>, why: Why) -> Result<(), OutboxError> {
        let mut rest = objects.as_slice();
        while !rest.is_empty() {
            // A version is judged against what is stored of the one before: two of one object don't share a commit.
            let mut uids = HashSet::new();
            let fresh = |object: &&Value| uids.insert(text(object, &["metadata", "uid"]).to_owned());
            let count = rest.iter().take(GROUP).take_while(fresh).count();
            let (group, after) = rest.split_at_checked(count.max(1)).unwrap_or((rest, &[]));
            self.look_at(group, why).await?;
            rest = after;
        }
        Ok(())
    }

    async fn look_at(&mut self, group: &[Value], why: Why) -> Result<(), OutboxError> {
        let active = self.around.active.borrow().clone();
        let (scope, reporter) = (self.feeds.watched().scope(), self.around.reporter.clone());
        let now = Timestamp::now();
        let engine = Engine { config: &active.config, reporter: &reporter, now, scope: &scope };
        let fresh: Vec<_> = group.iter().filter_map(|object| self.fresh(object, why)).collect();
        let names: Vec<_> = fresh.iter().map(|fresh| fresh.name.clone()).collect();
        let recalled = engine.recall(&*self.around.outbox, &names).await?;
        let mut all = Batch::default();
        let mut looked = Vec::with_capacity(fresh.len());
        for (fresh, known) in fresh.into_iter().zip(recalled) {
            let Weighed { batch, next_look, known, recorded } =
                self.weigh(&engine, &active, &fresh, known).await;
            for notice in &batch.enqueue {
                self.left_over.remove(&notice.id);
            }
            all.enqueue.extend(batch.enqueue);
            all.put_state.extend(batch.put_state);
            all.delete_state.extend(batch.delete_state);
            all.done.extend(batch.done);
            looked.push(Looked { object: fresh.object, name: fresh.name, next_look, known, recorded });
        }
        if all == Batch::default() {
            return Ok(());
        }
        self.store(all, looked, now).await
    }

    /// A version that nobody has looked at.
    fn fresh<'o>(&mut self, object: &'o Value, why: Why) -> Option<Fresh<'o>> {
        let uid = text(object, &["metadata", "uid"]);
        let name = name_of(object);
        let version = text(object, &["metadata", "resourceVersion"]).parse().unwrap_or(0);
        let unheard = !self.index.contains(&name) && !self.feeds.is_selective();
        let is_new = self.index.see(&name, uid, version) == Seen::Look && self.around.scope.contains(uid);
        let is_told = is_new && !(why == Why::Changed && self.is_echo(&name, object));
        is_told.then_some(Fresh { object, uid, name, unheard })
    }

    /// Whether nothing happened but what we wrote ourselves. A page is told of it all the same: it shows what was sent.
    fn is_echo(&self, name: &str, object: &Value) -> bool {
        let Some(records) = &self.records else { return false };
        self.around.health.shelf().is_none()
            && !self.events.contains_key(name)
            && records.is_echo(name, object)
    }

    /// Gathers what is known around a Rollout, and decides.
    async fn weigh(
        &mut self,
        engine: &Engine<'_>,
        active: &Active,
        fresh: &Fresh<'_>,
        known: Option<Known>,
    ) -> Weighed {
        let Fresh { object, uid, name, unheard } = fresh;
        let is_rollouts = self.feeds.watched().is_rollouts();
        let key = ObjectKey {
            kind: text(object, &["kind"]).to_owned(),
            namespace: text(object, &["metadata", "namespace"]).to_owned(),
            name: text(object, &["metadata", "name"]).to_owned(),
        };
        let tenant = active.tenants.get(&key.namespace).map(|tenant| &tenant.config);
        let subscribed = |config| assess::subscribed(config, object);
        let subscribed = subscribed(&active.config) || tenant.is_some_and(subscribed);
        let news = subscribed && !self.index.subscribe(name, subscribed);
        if news && self.synced && !unheard && is_rollouts {
            for (kind, owned) in self.fetch.belongings(&key.namespace, uid).await {
                self.related.put(kind, &owned);
            }
        }
        let workload = if subscribed && is_rollouts { self.fetch.workload(object).await } else { None };
        let belongings = self.related.of(uid);
        let (is_first, notify_existing) = (!self.synced, self.around.notify_existing);
        let baseline = self.around.baseline.of(uid);
        let silent = baseline.is_none() && is_first && !notify_existing;
        let events = self.events.remove(name).unwrap_or_default();
        let look = Look {
            key: &key,
            rollout: Subject::Present(object),
            previous: None,
            replica_sets: belongings.replica_sets,
            analysis_runs: belongings.analysis_runs,
            experiments: belongings.experiments,
            events: events.iter().collect(),
            workload: workload.as_ref(),
            file: None,
            past: Past {
                // What is there at a first look that tells everything has no past.
                since: baseline.filter(|_| !is_first || !notify_existing),
                cluster: true,
                written: self.records.as_ref().and_then(|records| records.written(name)),
                handover: self.around.handover && is_first,
            },
            tenant,
        };
        let weighed = engine.look(&look, known, silent);
        if let Some(shelf) = self.around.health.shelf() {
            shelf.looked(&look, active);
        }
        weighed
    }

    /// One commit for all of it. Only then it counts as looked at, and is written onto the objects.
    async fn store(
        &mut self,
        all: Batch,
        looked: Vec<Looked<'_>>,
        now: Timestamp,
    ) -> Result<(), OutboxError> {
        let instant = Instant::now();
        let new = self.around.health.commit(all).await?;
        for Looked { object, name, next_look, known, mut recorded } in looked {
            let wait = next_look.map(|at| at.duration_since(now).try_into().unwrap_or_default());
            self.index.look_at(&name, wait.and_then(|wait| instant.checked_add(wait)));
            if let (Some(records), Some(known)) = (&mut self.records, &known) {
                recorded.retain(|(id, _)| new.contains(id));
                records.looked(&name, object, known, recorded);
            }
        }
        Ok(())
    }

    /// A Rollout is gone; as it was last.
    pub(super) async fn deleted(&mut self, object: &Value) -> Result<(), OutboxError> {
        self.gone(&name_of(object), Some(object)).await
    }

    /// A Rollout is gone.
    pub(super) async fn gone(&mut self, name: &str, last: Option<&Value>) -> Result<(), OutboxError> {
        let Some((namespace, short)) = name.split_once('/') else { return Ok(()) };
        let (scope, kind) = (self.feeds.watched().scope(), self.feeds.watched().kind().to_owned());
        let active = self.around.active.borrow().clone();
        let engine = Engine {
            config: &active.config,
            reporter: &self.around.reporter,
            now: Timestamp::now(),
            scope: &scope,
        };
        let key = ObjectKey { kind, namespace: namespace.into(), name: short.into() };
        let look = Look {
            key: &key,
            rollout: Subject::Deleted(last),
            previous: None,
            replica_sets: Vec::new(),
            analysis_runs: Vec::new(),
            experiments: Vec::new(),
            events: Vec::new(),
            workload: None,
            file: None,
            past: Past {
                since: self.around.baseline.earliest(),
                cluster: true,
                written: None,
                handover: false,
            },
            tenant: active.tenants.get(namespace).map(|tenant| &tenant.config),
        };
        let known = engine.recall(&*self.around.outbox, &[name.to_owned()]).await?.pop().flatten();
        let weighed = engine.look(&look, known, false);
        if let Some(shelf) = self.around.health.shelf() {
            shelf.looked(&look, &active);
        }
        self.around.outbox.commit(weighed.batch).await?;
        self.index.remove(name);
        self.events.remove(name);
        self.around.health.metrics().deleted(namespace, short);
        if let Some(records) = &mut self.records {
            records.gone(name);
        }
        Ok(())
    }
}

/// `namespace/name`.
fn name_of(object: &Value) -> String {
    format!("{}/{}", text(object, &["metadata", "namespace"]), text(object, &["metadata", "name"]))
}
