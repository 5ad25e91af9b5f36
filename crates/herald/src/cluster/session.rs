//! What a replica does while it acts: objects stream in, are judged, and what is due is stored and delivered.

mod looks;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use herald_outbox::{Filter, Outbox, OutboxError, Outcome as Standing};
use herald_sources::kubernetes::{Client, watch::Heard};
use herald_value::Value;
use jiff::Timestamp;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};

use super::{
    baseline::Baseline,
    configured::Configured,
    feeds::{Feed, Feeds},
    fetch::Fetch,
    index::Index,
    record::Records,
    related::{Kind, Name, Related},
    settling,
    tenants::Tenants,
};
use crate::{
    election::Scope,
    failure::Failure,
    input::ConfigArgs,
    operator::Health,
    pipeline::{
        configuration::{Active, Builder},
        look::text,
        report::Reporter,
    },
};

/// How many looks go into one commit.
const GROUP: usize = 256;

/// Changes of what belongs to Rollouts are collected so long.
const PATIENCE: Duration = Duration::from_millis(30);

/// After a change of the configuration's objects, so long for others to follow.
const SETTLING: Duration = Duration::from_millis(100);

/// How often what is open is compared with the store.
const RECONCILE: Duration = Duration::from_secs(20);

/// Notices are settled: (namespace/name of the object, id).
pub(super) type Settled = (String, String);

/// Why objects are looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    /// They changed.
    Changed,
    /// We want to know: something else changed.
    Asked,
}

/// Everything that a session needs from outside.
pub(super) struct Surroundings<'a> {
    pub(super) client: Client,
    pub(super) outbox: Arc<dyn Outbox>,
    pub(super) builder: &'a Builder,
    pub(super) active: &'a watch::Sender<Arc<Active>>,
    pub(super) reporter: Arc<Reporter>,
    pub(super) health: Arc<Health>,
    pub(super) config_args: &'a ConfigArgs,
    /// The namespace of the configuration.
    pub(super) home: String,
    /// What we act for.
    pub(super) scope: Scope,
    /// What others did before us has to be taken over from the objects.
    pub(super) handover: bool,
    /// When the fleet first looked.
    pub(super) baseline: Baseline,
    /// Tells at the first look what is already true.
    pub(super) notify_existing: bool,
    /// Tells what is wrong with a ConfigMap, with its namespace and uid.
    pub(super) misconfigured: &'a (dyn Fn(&str, &str, &str) + Sync),
}

/// A session.
pub(super) struct Session<'a> {
    around: Surroundings<'a>,
    feeds: Feeds,
    hearing: mpsc::Receiver<(Feed, Heard)>,
    settled: mpsc::UnboundedReceiver<Settled>,
    records: Option<Records>,
    /// What became of what the records wait for is being asked.
    reconciling: JoinSet<Result<Vec<Settled>, OutboxError>>,
    configured: Configured,
    tenants: Tenants,
    index: Index,
    related: Related,
    /// Events that were not looked at yet.
    events: HashMap<String, Vec<Value>>,
    /// Rollouts to fetch and look at.
    dirty: BTreeSet<String>,
    /// Feeds whose first list is not complete.
    waiting_for: HashSet<Feed>,
    /// Notices of another time, until a look finds them due again.
    left_over: HashSet<String>,
    fetch: Fetch,
    configure_at: Option<Instant>,
    configure_tenants_at: Option<Instant>,
    look_at_dirty: Option<Instant>,
    is_configured: bool,
    synced: bool,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        around: Surroundings<'a>,
        (feeds, hearing): (Feeds, mpsc::Receiver<(Feed, Heard)>),
        settled: mpsc::UnboundedReceiver<Settled>,
        records: Option<Records>,
    ) -> Session<'a> {
        let fetch = Fetch::new(around.client.clone(), feeds.watched().resource());
        Session {
            around,
            feeds,
            hearing,
            settled,
            records,
            reconciling: JoinSet::new(),
            configured: Configured::default(),
            tenants: Tenants::default(),
            index: Index::default(),
            related: Related::default(),
            events: HashMap::new(),
            dirty: BTreeSet::new(),
            waiting_for: HashSet::new(),
            left_over: HashSet::new(),
            fetch,
            configure_at: None,
            configure_tenants_at: None,
            look_at_dirty: None,
            is_configured: false,
            synced: false,
        }
    }

    /// Runs until `end`; `configured` is called once there is a configuration, `first` once everything was looked at.
    pub(super) async fn run(
        &mut self,
        end: impl Future<Output = ()>,
        mut configured: impl FnMut(),
        mut first: impl FnMut(),
    ) -> Result<(), Failure> {
        self.take_stock().await?;
        for feed in [Feed::ConfigMap, Feed::Secret, Feed::MoreConfig] {
            self.begin(feed);
        }
        if self.feeds.is_self_service() {
            self.begin(Feed::TenantConfigMap);
            self.begin(Feed::TenantSecret);
        }
        let mut end = std::pin::pin!(end);
        let mut reconcile = tokio::time::interval(RECONCILE);
        let mut batch = Vec::new();
        loop {
            let times = [self.configure_at, self.configure_tenants_at, self.look_at_dirty, self.index.next()];
            let wake = times.into_iter().flatten().min();
            let sleep = async {
                match wake {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = &mut end => return Ok(()),
                count = self.hearing.recv_many(&mut batch, GROUP) => {
                    if count == 0 {
                        return Ok(());
                    }
                    let result = self.hear(&mut batch).await;
                    self.told(result);
                    if self.is_configured {
                        configured();
                    }
                    if self.synced {
                        first();
                    }
                }
                Some(settled) = self.settled.recv() => self.settle([settled]),
                _ = reconcile.tick() => self.reconcile(),
                Some(Ok(ended)) = self.reconciling.join_next() => {
                    let result = ended.map(|ended| self.settle(ended));
                    self.told(result);
                }
                () = sleep => {
                    let now = Instant::now();
                    if self.configure_at.is_some_and(|at| at <= now) {
                        self.configure_at = None;
                        self.configure()?;
                        if self.synced {
                            // A new configuration may have something to say about what didn't change.
                            self.feeds.again.notify_one();
                        }
                    }
                    if self.configure_tenants_at.is_some_and(|at| at <= now) {
                        self.configure_tenants();
                    }
                    let due = self.index.due(now);
                    self.dirty.extend(due);
                    let result = self.look_at_dirty().await;
                    self.told(result);
                }
            }
        }
    }

    /// What can't be stored now is looked at again: nothing was recorded of it.
    fn told(&mut self, result: Result<(), OutboxError>) {
        if let Err(error) = result {
            if self.around.outbox.trouble().is_none() {
                self.around.reporter.problem(&error.to_string());
            }
            self.feeds.again.notify_one();
        }
    }

    fn begin(&mut self, feed: Feed) {
        self.waiting_for.insert(feed);
        self.feeds.open(feed);
    }

    fn configure(&mut self) -> Result<(), Failure> {
        let around = &self.around;
        let input = self.configured.input(around.config_args, &around.home, &around.reporter)?;
        let earlier = around.active.borrow().clone();
        let active = around.builder.build(&input, Some(&*earlier), &around.reporter);
        if let Some(uid) = self.configured.uid() {
            for problem in &active.problems {
                (around.misconfigured)(&around.home, uid, problem);
            }
        }
        if let Some(shelf) = around.health.shelf() {
            shelf.configured(&active);
        }
        around.active.send_replace(Arc::new(active));
        Ok(())
    }

    /// The configurations of namespaces that changed, and only those.
    fn configure_tenants(&mut self) {
        self.configure_tenants_at = None;
        let around = &self.around;
        let before = around.active.borrow().clone();
        let (tenants, changed) =
            self.tenants.configure(around.builder, &before.tenants, &around.reporter, around.misconfigured);
        if let Some(shelf) = around.health.shelf() {
            shelf.tenants(&tenants);
        }
        around.active.send_replace(Arc::new(before.with_tenants(tenants)));
        if self.synced {
            // They may have something to say about what didn't change.
            for namespace in changed {
                self.dirty.extend(self.index.of(&namespace));
            }
        }
    }

    async fn hear(&mut self, batch: &mut Vec<(Feed, Heard)>) -> Result<(), OutboxError> {
        let mut rollouts = Vec::new();
        for (feed, heard) in batch.drain(..) {
            // A ConfigMap that can't be read is not an empty one: nothing begins without it.
            let synced = match heard {
                Heard::Synced { whole } => whole || feed != Feed::ConfigMap,
                _ => false,
            };
            match feed {
                Feed::ConfigMap | Feed::Secret | Feed::MoreConfig => {
                    if self.configured.hear(feed, heard) {
                        self.configure_at = Some(Instant::now() + SETTLING);
                    }
                }
                Feed::TenantConfigMap | Feed::TenantSecret => {
                    if self.tenants.hear(feed, heard, &self.around.home) {
                        self.configure_tenants_at.get_or_insert(Instant::now() + SETTLING);
                    }
                }
                Feed::Owned(kind) => self.hear_owned(kind, heard),
                Feed::Events => self.hear_event(heard),
                Feed::Rollouts => match heard {
                    Heard::Listing => self.index.listing(),
                    Heard::Listed(objects) => {
                        self.look(std::mem::take(&mut rollouts), Why::Changed).await?;
                        self.look(objects, Why::Asked).await?;
                    }
                    Heard::Changed(object) => rollouts.push(object),
                    Heard::Deleted(object) => {
                        self.look(std::mem::take(&mut rollouts), Why::Changed).await?;
                        self.deleted(&object).await?;
                    }
                    Heard::Synced { whole } => {
                        self.look(std::mem::take(&mut rollouts), Why::Changed).await?;
                        if whole {
                            self.complete().await?;
                        }
                    }
                },
            }
            if synced && self.waiting_for.remove(&feed) {
                self.advance(feed).await;
            }
        }
        self.look(rollouts, Why::Changed).await
    }

    /// One thing after another: the configuration, what belongs to Rollouts, then the Rollouts themselves.
    async fn advance(&mut self, feed: Feed) {
        if !self.waiting_for.is_empty() {
            return;
        }
        match feed {
            Feed::ConfigMap
            | Feed::Secret
            | Feed::MoreConfig
            | Feed::TenantConfigMap
            | Feed::TenantSecret => {
                self.configure_at = None;
                if let Err(failure) = self.configure() {
                    self.around.reporter.problem(&failure.message);
                }
                self.configure_tenants();
                self.is_configured = true;
                if !self.feeds.watched().is_rollouts() {
                    // Nothing belongs to them that templates would look at.
                    return self.begin(Feed::Rollouts);
                }
                for kind in [Kind::ReplicaSet, Kind::AnalysisRun, Kind::Experiment] {
                    self.begin(Feed::Owned(kind));
                }
            }
            Feed::Owned(_) => self.begin(Feed::Rollouts),
            Feed::Rollouts => {
                self.related.keep(|(namespace, name)| self.index.subscribed(&format!("{namespace}/{name}")));
                self.synced = true;
                if self.feeds.watched().is_rollouts() {
                    self.feeds.open(Feed::Events);
                }
            }
            Feed::Events => {}
        }
    }

    fn hear_owned(&mut self, kind: Kind, heard: Heard) {
        match heard {
            Heard::Listing => self.related.listing(kind),
            Heard::Listed(objects) => {
                for object in &objects {
                    let concerned = self.put(kind, object);
                    self.concern(concerned);
                }
            }
            Heard::Synced { whole: true } => {
                for name in self.related.synced(kind) {
                    self.concern(Some(name));
                }
            }
            Heard::Synced { whole: false } => {}
            Heard::Changed(object) => {
                let concerned = self.put(kind, &object);
                self.concern(concerned);
            }
            Heard::Deleted(object) => {
                let concerned = self.related.delete(&object);
                self.concern(concerned);
            }
        }
    }

    /// Keeps an object, unless its Rollout has no subscription.
    fn put(&mut self, kind: Kind, object: &Value) -> Option<Name> {
        let name = self.related.put(kind, object);
        match &name {
            Some((namespace, rollout)) if self.synced => {
                // What belongs to a Rollout that is not known yet is kept: it is about to be heard of.
                let key = format!("{namespace}/{rollout}");
                if !self.index.subscribed(&key) && (self.index.contains(&key) || self.feeds.is_selective()) {
                    self.related.delete(object);
                    return None;
                }
            }
            _ => {}
        }
        name
    }

    fn hear_event(&mut self, heard: Heard) {
        let events = match heard {
            Heard::Listed(events) => events,
            Heard::Changed(event) => vec![event],
            _ => return,
        };
        for event in events {
            let about = event.get("involvedObject").or_else(|| event.get("regarding"));
            let Some(about) = about else { continue };
            let name = (text(about, &["namespace"]).to_owned(), text(about, &["name"]).to_owned());
            let key = format!("{}/{}", name.0, name.1);
            if self.index.subscribed(&key) {
                self.events.entry(key).or_default().push(event);
                self.concern(Some(name));
            }
        }
    }

    /// Something that belongs to a Rollout changed.
    fn concern(&mut self, name: Option<Name>) {
        let Some((namespace, name)) = name else { return };
        let key = format!("{namespace}/{name}");
        if self.synced && self.index.subscribed(&key) {
            self.dirty.insert(key);
            self.look_at_dirty.get_or_insert(Instant::now() + PATIENCE);
        }
    }

    /// Fetches the Rollouts that something happened around, and looks at them.
    async fn look_at_dirty(&mut self) -> Result<(), OutboxError> {
        self.look_at_dirty = None;
        while let Some(key) = self.dirty.pop_first() {
            let mut group = vec![key];
            while group.len() < GROUP
                && let Some(key) = self.dirty.pop_first()
            {
                group.push(key);
            }
            let found = self.fetch.rollouts(&group).await;
            for key in found.later {
                self.dirty.insert(key);
                self.look_at_dirty.get_or_insert(Instant::now() + Duration::from_secs(1));
            }
            self.look(found.objects, Why::Asked).await?;
            if self.look_at_dirty.is_some() {
                break;
            }
        }
        Ok(())
    }

    /// A list of the Rollouts is complete: what is not in it is gone, and so is what a former run knew.
    async fn complete(&mut self) -> Result<(), OutboxError> {
        let mut missing = self.index.missing();
        if !self.synced {
            for name in self.around.outbox.state_keys(&self.feeds.watched().scope()).await? {
                if !self.index.contains(&name) {
                    missing.push(name);
                }
            }
        }
        for name in missing {
            self.gone(&name, None).await?;
        }
        if !self.left_over.is_empty() {
            self.drop_left_over().await?;
        }
        self.around.health.metrics().watched(&self.feeds.watched().resource().plural, self.index.len());
        Ok(())
    }

    /// What a former session had not delivered. Where others acted since, they may have delivered it.
    async fn take_stock(&mut self) -> Result<(), OutboxError> {
        // What is about another kind is for whoever watches that.
        let kind = Some(self.feeds.watched().kind().to_owned());
        let filter = Filter { outcome: Some(Standing::Pending), kind, ..Filter::default() };
        let waiting = self.around.outbox.list(filter).await?;
        for entry in &waiting {
            let (object, id) = (&entry.notice.object, &entry.notice.id);
            if let Some(records) = &mut self.records {
                records.hold(format!("{}/{}", object.namespace, object.name), id.clone());
            }
            if self.around.handover {
                self.left_over.insert(id.clone());
            }
        }
        Ok(())
    }

    /// What no look found due again was seen to by others: their record on the object says so.
    async fn drop_left_over(&mut self) -> Result<(), OutboxError> {
        for id in std::mem::take(&mut self.left_over) {
            let filter = Filter { id: Some(id), outcome: Some(Standing::Pending), ..Filter::default() };
            self.around.outbox.drop_notices(filter, Timestamp::now()).await?;
        }
        Ok(())
    }

    /// Asks what became of all that records wait for, and doesn't wait for the answer: thousands may wait for a receiver
    /// that hangs, and nothing else should.
    fn reconcile(&mut self) {
        if let Some(records) = &self.records
            && self.reconciling.is_empty()
        {
            self.reconciling.spawn(settling::ended(self.around.outbox.clone(), records.waiting()));
        }
    }

    fn settle(&mut self, settled: impl IntoIterator<Item = Settled>) {
        if let Some(records) = &mut self.records {
            for (name, id) in settled {
                records.settled(&name, &id);
            }
        }
    }

    /// After the end: what the courier still delivered is written.
    pub(super) fn settle_all(&mut self) {
        while let Ok(settled) = self.settled.try_recv() {
            self.settle([settled]);
        }
    }
}
