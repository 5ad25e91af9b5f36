//! The plan, carried out on tokio.

use std::{
    collections::{HashMap, HashSet},
    future::Future,
    hash::{BuildHasher, RandomState},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use tokio::task::{Id, JoinError, JoinSet};

use super::{
    Attempted, CourierOptions, Deliverer, FailureClass, Observer, Report, ServicePolicy,
    complaints::Complaints,
    crew::Crew,
    flight::{Flight, Landing},
    fold::{self, Folded},
    plan::{Ended, Plan, Policies, Step, Verdict},
};
use crate::{
    Clock, LaneKey, Outbox, OutboxError, Outcome, Place, Queued,
    clock::later,
    grouping::{Admitted, GroupStep, Grouper},
};

/// Notices read from the store at once, and such reads before deliveries get their turn again.
const PAGE: u32 = 1000;
const PAGES: usize = 8;

/// Groups that are written down at a time: each holds its notices in memory.
const FOLDS: usize = 4;

/// After the grace period, results may take so long to be written.
const LAST_WRITES: Duration = Duration::from_secs(5);

/// `until idle` doesn't wait for anything further away.
const PATIENCE: Duration = Duration::from_secs(30);

/// Takes notices out of an outbox to their recipients. One for each outbox.
pub struct Courier {
    outbox: Arc<dyn Outbox>,
    deliverer: Arc<dyn Deliverer>,
    observer: Arc<dyn Observer>,
    clock: Arc<dyn Clock>,
    options: CourierOptions,
}

impl Courier {
    /// A courier that does nothing yet.
    pub fn new(
        outbox: Arc<dyn Outbox>,
        deliverer: Arc<dyn Deliverer>,
        clock: Arc<dyn Clock>,
        options: CourierOptions,
    ) -> Self {
        Courier { outbox, deliverer, observer: Arc::new(()), clock, options }
    }

    /// Tells this observer what happens.
    #[must_use]
    pub fn observed_by(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }

    /// Delivers until `shutdown` is ready; what is on its way then may end within the grace period. What doesn't stays in
    /// the outbox.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Report {
        Run::new(self, None).run(shutdown).await
    }

    /// Delivers what can be delivered now, with up to `attempts` attempts each, then returns. What failed waits on.
    pub async fn run_until_idle(self, attempts: u32) -> Report {
        Run::new(self, Some(attempts.max(1))).run(std::future::pending()).await
    }
}

struct Run {
    courier: Courier,
    plan: Plan,
    grouper: Grouper,
    folds: JoinSet<Folded>,
    /// Attempts of a notice in this run, if it ends by itself.
    once: Option<u32>,
    tried: HashMap<String, u32>,
    /// Lanes that a run which ends by itself leaves alone, because the head isn't due or has failed.
    left: HashSet<LaneKey>,
    cursor: Place,
    complete: bool,
    flights: JoinSet<Flight>,
    on_way: HashMap<Id, Queued>,
    settling: JoinSet<(Queued, Verdict, Result<(), OutboxError>)>,
    /// Notices that are held back, each with its reason, to be written down for whoever looks at them.
    held: Vec<(String, String)>,
    telling: JoinSet<()>,
    crew: Crew,
    report: Report,
    jitter: RandomState,
}

impl Run {
    fn new(courier: Courier, once: Option<u32>) -> Self {
        let policies = courier.options.policies.borrow().clone();
        let grouper = Grouper::new(policies.clone());
        let crew = Crew {
            outbox: courier.outbox.clone(),
            deliverer: courier.deliverer.clone(),
            clock: courier.clock.clone(),
            complaints: Complaints::default(),
        };
        let plan = Plan::new(policies_for(policies, once), courier.options.concurrency);
        Run {
            courier,
            plan,
            grouper,
            folds: JoinSet::new(),
            once,
            tried: HashMap::new(),
            left: HashSet::new(),
            cursor: 0,
            complete: false,
            flights: JoinSet::new(),
            on_way: HashMap::new(),
            settling: JoinSet::new(),
            held: Vec::new(),
            telling: JoinSet::new(),
            crew,
            report: Report::default(),
            jitter: RandomState::new(),
        }
    }

    async fn run(mut self, shutdown: impl Future<Output = ()> + Send) -> Report {
        let mut shutdown = std::pin::pin!(shutdown);
        let mut changes = self.courier.outbox.changes();
        let _housekeeping = self.housekeeping();
        let collecting = fold::collecting(&*self.courier.outbox).await;
        let collecting = collecting.into_iter().map(|(group, until)| (LaneKey::from_stored(group), until));
        self.grouper.collecting(collecting);
        let clock = self.courier.clock.clone();
        let mut stop_at: Option<Timestamp> = None;
        let mut poll_at = clock.now();
        let mut fetch = true;
        loop {
            let now = clock.now();
            if stop_at.is_none() {
                if now >= poll_at {
                    poll_at = later(now, self.courier.options.poll);
                    fetch = true;
                    self.observe().await;
                }
                if fetch || !self.complete {
                    fetch = false;
                    self.fetch().await;
                }
                self.refill().await;
                self.tell_held();
            }
            let mut wake = if self.complete { poll_at } else { now };
            let mut far = None;
            if stop_at.is_none()
                && let Some(at) = self.fold(clock.now())
            {
                wake = wake.min(at);
                far = Some(at);
            }
            while stop_at.is_none() {
                match self.plan.next(clock.now()) {
                    Step::Start(queued) => self.start(queued),
                    Step::WaitUntil(at) => {
                        wake = wake.min(at);
                        far = Some(far.map_or(at, |other: Timestamp| other.min(at)));
                        break;
                    }
                    Step::Wait => break,
                }
            }
            // A group that isn't written down yet waits in the store as it was.
            let quiet = self.flights.is_empty() && self.settling.is_empty();
            if quiet && stop_at.is_some() {
                break;
            }
            if self.once.is_some() && quiet && self.folds.is_empty() && self.complete {
                let near = far.is_some_and(|at| at <= later(clock.now(), PATIENCE));
                if !near && self.plan.in_flight() == 0 {
                    break;
                }
            }
            if let Some(stop_at) = stop_at {
                wake = stop_at;
                if clock.now() >= stop_at {
                    // Not lost: what was on its way still waits in the store.
                    self.flights.abort_all();
                    wake = later(stop_at, LAST_WRITES);
                    if clock.now() >= wake {
                        self.settling.abort_all();
                    }
                }
            }
            tokio::select! {
                () = &mut shutdown, if stop_at.is_none() => {
                    stop_at = Some(later(clock.now(), self.courier.options.grace));
                }
                Some(ended) = self.flights.join_next_with_id() => {
                    self.landed(ended);
                    while let Some(ended) = self.flights.try_join_next_with_id() {
                        self.landed(ended);
                    }
                }
                Some(settled) = self.settling.join_next() => {
                    self.settled(settled);
                    while let Some(settled) = self.settling.try_join_next() {
                        self.settled(settled);
                    }
                }
                Some(folded) = self.folds.join_next(), if stop_at.is_none() => {
                    self.folded(folded);
                    // A run that ends by itself must see the digest first.
                    fetch = true;
                }
                Ok(()) = changes.changed(), if stop_at.is_none() => fetch = true,
                () = clock.sleep_until(wake), if stop_at.is_none() || clock.now() < wake => {}
            }
        }
        while self.telling.join_next().await.is_some() {}
        self.tell_held();
        while self.telling.join_next().await.is_some() {}
        self.observe().await;
        self.report
    }

    /// Prunes history beside the deliveries, as long as what is given lives.
    fn housekeeping(&self) -> Option<JoinSet<()>> {
        let retention = self.courier.options.retention?;
        if self.once.is_some() {
            return None;
        }
        let (outbox, clock) = (self.courier.outbox.clone(), self.courier.clock.clone());
        let complaints = self.crew.complaints.clone();
        let mut task = JoinSet::new();
        task.spawn(async move {
            loop {
                match outbox.prune(retention, clock.now()).await {
                    Ok(0) => clock.sleep_until(later(clock.now(), Duration::from_secs(60))).await,
                    Ok(_) => tokio::task::yield_now().await,
                    Err(error) => {
                        complaints.about(&*outbox, "history can't be pruned", &error, "");
                        clock.sleep_until(later(clock.now(), Duration::from_secs(60))).await;
                    }
                }
            }
        });
        Some(task)
    }

    async fn observe(&mut self) {
        if let Ok(true) = self.courier.options.policies.has_changed() {
            let policies = self.courier.options.policies.borrow_and_update().clone();
            let again = self.grouper.set_policies(policies.clone());
            self.plan.set_policies(policies_for(policies, self.once));
            let now = self.courier.clock.now();
            for queued in again {
                if let Some(queued) = self.ungrouped(queued, now) {
                    self.grouper.released(&queued);
                    self.plan.release(queued, now);
                }
            }
        }
        match self.courier.outbox.backlog().await {
            Ok((waiting, oldest)) => {
                self.report.waiting = waiting;
                self.courier.observer.backlog(waiting, oldest);
            }
            Err(error) => self.complain("the outbox can't be counted", &error),
        }
        for (service, circuit) in self.plan.circuits() {
            self.courier.observer.circuit(service, circuit);
        }
    }

    fn complain(&self, what: &'static str, error: &OutboxError) {
        self.crew.complaints.about(&*self.courier.outbox, what, error, "");
    }

    async fn fetch(&mut self) {
        for _ in 0..PAGES {
            let page = match self.courier.outbox.pending(self.cursor, PAGE).await {
                Ok(page) => page,
                Err(error) => {
                    self.report.store_failures += 1;
                    self.complain("the outbox can't be read, trying again soon", &error);
                    self.complete = true;
                    return;
                }
            };
            self.complete = page.len() < PAGE as usize;
            let now = self.courier.clock.now();
            for queued in page {
                self.cursor = self.cursor.max(queued.place);
                if let Some(queued) = self.admit(queued, now)
                    && let Some(queued) = self.ungrouped(queued, now)
                {
                    self.plan.offer(queued, now);
                }
            }
            if self.complete {
                return;
            }
        }
    }

    async fn refill(&mut self) {
        for (lane, after) in self.plan.refills() {
            let found = match self.courier.outbox.pending_in_lane(&lane, after, Plan::refill_size()).await {
                Ok(found) => found,
                Err(error) => {
                    self.complain("a lane can't be read, it starts over", &error);
                    // Everything behind the cursor is read again; places that are known already change nothing.
                    self.cursor = 0;
                    Vec::new()
                }
            };
            let now = self.courier.clock.now();
            let full = found.len() >= Plan::refill_size() as usize;
            let seen = found.last().map_or(after, |queued| queued.place);
            let mut wanted = Vec::new();
            for queued in found {
                let Some(queued) = self.admit(queued, now) else { break };
                wanted.extend(self.ungrouped(queued, now));
            }
            self.plan.refilled(&lane, wanted, seen, full, now);
        }
    }

    /// A run that ends by itself tries what failed in earlier runs at once, and leaves what isn't due, with all behind it.
    fn admit(&mut self, mut queued: Queued, now: Timestamp) -> Option<Queued> {
        // Due from the start, by a clock that was ahead of ours.
        if queued.attempts == 0 && queued.due <= queued.created {
            queued.due = queued.due.min(now);
        }
        if self.once.is_none() {
            return Some(queued);
        }
        if queued.attempts > 0 && !self.tried.contains_key(&queued.id) {
            queued.due = queued.due.min(now);
        }
        if queued.due > now || self.left.contains(&queued.lane) {
            self.left.insert(queued.lane);
            return None;
        }
        Some(queued)
    }

    /// Writes down why notices are held back, beside the deliveries: nothing depends on it.
    fn tell_held(&mut self) {
        while self.telling.try_join_next().is_some() {}
        if self.held.is_empty() || !self.telling.is_empty() {
            return;
        }
        let (outbox, held) = (self.courier.outbox.clone(), std::mem::take(&mut self.held));
        self.telling.spawn(async move {
            if let Err(error) = outbox.held(held).await {
                tracing::debug!(%error, "why notices are held back is not written down");
            }
        });
    }

    /// What isn't held back for a digest or muted.
    fn ungrouped(&mut self, queued: Queued, now: Timestamp) -> Option<Queued> {
        match self.grouper.admit(queued, now) {
            Admitted::Pass(queued) => Some(queued),
            Admitted::Held(why) => {
                self.held.extend(why);
                None
            }
            Admitted::Mute(queued, by) => {
                self.folds.spawn(self.crew.clone().mute(vec![queued], by));
                None
            }
        }
    }

    /// Starts writing down the groups whose time has come; gives when to look again.
    fn fold(&mut self, now: Timestamp) -> Option<Timestamp> {
        while self.folds.len() < FOLDS {
            match self.grouper.next(now) {
                GroupStep::Flush(flush) => self.folds.spawn(self.crew.clone().flush(flush)),
                GroupStep::Mute(members, by) => self.folds.spawn(self.crew.clone().mute(members, by)),
                GroupStep::Forget(group) => {
                    self.folds.spawn(self.crew.clone().forget(group.as_str().to_owned()))
                }
                GroupStep::Wait(at) => return at,
            };
        }
        None
    }

    fn folded(&mut self, folded: Result<Folded, JoinError>) {
        let now = self.courier.clock.now();
        let observer = &self.courier.observer;
        let (outcome, count) = match folded {
            Ok(Folded::Flushed(flush, released)) => {
                self.grouper.flushed(&flush, released.as_deref(), now);
                let count = if released.is_none() { flush.members.len() } else { 0 };
                for queued in released.into_iter().flatten() {
                    self.plan.release(queued, now);
                }
                (Outcome::Grouped, count)
            }
            Ok(Folded::Muted(members)) => {
                self.grouper.muted(&members);
                (Outcome::Muted, members.len())
            }
            Ok(Folded::Forgotten) => return,
            Err(error) => {
                tracing::error!(%error, "a group is not written down, it is delivered after the next start");
                return;
            }
        };
        if count > 0 && catch_unwind(AssertUnwindSafe(|| observer.done(outcome, count))).is_err() {
            tracing::error!("the courier's observer panicked");
        }
    }

    fn start(&mut self, queued: Queued) {
        let (place, attempt) = (queued.place, queued.attempts.saturating_add(1));
        let timeout = self.courier.options.attempt_timeout;
        let flight = self.crew.clone().fly(queued.id.clone(), place, attempt, timeout);
        let handle = self.flights.spawn(flight);
        self.on_way.insert(handle.id(), queued);
    }

    fn landed(&mut self, ended: Result<(Id, Flight), JoinError>) {
        let (id, flight) = match ended {
            Ok((id, flight)) => (id, flight),
            Err(error) => {
                // Only at the end of the grace period.
                let attempted = (!error.is_cancelled()).then(|| {
                    Attempted::failed(FailureClass::Panicked, "the delivery ended without a result")
                });
                let began = self.courier.clock.now();
                (error.id(), Flight { notice: None, attempted, began, took: Duration::ZERO, recorded: false })
            }
        };
        let Some(queued) = self.on_way.remove(&id) else { return };
        let now = self.courier.clock.now();
        let observer = &self.courier.observer;
        let (ended, reason, answer) = match flight.attempted {
            None => (Ended::Gone, "", String::new()),
            Some(Attempted::Postponed) => (Ended::Postponed, "", String::new()),
            Some(Attempted::Delivered { detail }) => (Ended::Delivered, "delivered", detail),
            Some(Attempted::Failed { class, retry_after, message }) => {
                let jitter =
                    (self.jitter.hash_one((&queued.id, queued.attempts)) >> 11) as f64 / (1u64 << 53) as f64;
                (Ended::Failed { class, retry_after, jitter }, class.label(), message)
            }
        };
        let verdict = self.plan.ended(&queued, ended, now);
        if let Some(notice) = &flight.notice
            && !matches!(ended, Ended::Gone | Ended::Postponed)
        {
            let told = catch_unwind(AssertUnwindSafe(|| {
                observer.attempted(notice, reason, flight.took);
                if verdict == Verdict::GiveUp {
                    observer.given_up(notice, reason, &answer);
                }
            }));
            if told.is_err() {
                tracing::error!("the courier's observer panicked");
            }
        }
        match verdict {
            Verdict::Delivered => self.report.delivered += 1,
            Verdict::Retry { .. } => self.report.failed_attempts += 1,
            Verdict::GiveUp => {
                self.report.failed_attempts += 1;
                self.report.dead_letters += 1;
            }
            Verdict::Gone | Verdict::Postpone { .. } => {}
        }
        let postponed = matches!(verdict, Verdict::Postpone { .. });
        if postponed || flight.recorded && verdict == Verdict::Delivered {
            return self.settled(Ok((queued, verdict, Ok(()))));
        }
        let Flight { began, took, .. } = flight;
        let landing = Landing { queued, verdict, began, took, reason: reason.to_owned(), answer };
        self.settling.spawn(self.crew.clone().land(landing));
    }

    fn settled(&mut self, settled: Result<(Queued, Verdict, Result<(), OutboxError>), JoinError>) {
        let now = self.courier.clock.now();
        match settled {
            Ok((queued, verdict, written)) => {
                if let Err(error) = written {
                    tracing::error!(%error, notice = queued.id, "a result is lost, it will be attempted again");
                }
                let mut leave = false;
                if let (Some(attempts), Verdict::Retry { due, .. }) = (self.once, verdict) {
                    let tried = self.tried.entry(queued.id.clone()).or_default();
                    *tried += 1;
                    leave = *tried >= attempts || due > later(now, PATIENCE);
                }
                // A run that ends by itself doesn't wait for a turn to act.
                leave |= self.once.is_some() && matches!(verdict, Verdict::Postpone { .. });
                if leave {
                    self.left.insert(queued.lane.clone());
                }
                if !matches!(verdict, Verdict::Retry { .. } | Verdict::Postpone { .. }) {
                    self.grouper.settled(&queued, now);
                }
                self.plan.settled(&queued, verdict, leave, now);
            }
            Err(error) => tracing::error!(%error, "a result is lost, it will be attempted again"),
        }
    }
}

/// A run that ends by itself never waits for a service that is down: each notice has its few attempts.
fn policies_for(policies: Policies, once: Option<u32>) -> Policies {
    if once.is_none() {
        return policies;
    }
    Arc::new(move |service: &str| {
        let mut policy: ServicePolicy = policies(service);
        policy.breaker.failures = u32::MAX;
        policy
    })
}
