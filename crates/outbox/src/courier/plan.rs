//! Which notice goes next: a plan without I/O. Time is an argument, results are told to it.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;

use super::{
    rate::{Breaker, BreakerPolicy, Circuit, Limiter, Permission, Rate},
    schedule::{FailureClass, Next, RetryPolicy},
};
use crate::{Grouping, LaneKey, Place, Queued, clock::later};

/// Notices of one lane that are held in memory; more of them wait in the store.
const WINDOW: usize = 16;

/// What one service instance bears.
#[derive(Clone, Debug, PartialEq)]
pub struct ServicePolicy {
    /// Deliveries at a time.
    pub concurrency: usize,
    /// When to try again.
    pub retry: RetryPolicy,
    /// When to leave it in peace.
    pub breaker: BreakerPolicy,
    /// The limit for the instance.
    pub rate: Rate,
    /// The limit for each recipient of it.
    pub recipient_rate: Rate,
    /// What waits for others, and when nothing is wanted; `None` delivers everything at once.
    pub grouping: Option<Arc<Grouping>>,
}

impl Default for ServicePolicy {
    fn default() -> Self {
        ServicePolicy {
            concurrency: 16,
            retry: RetryPolicy::default(),
            breaker: BreakerPolicy::default(),
            rate: Rate::UNLIMITED,
            recipient_rate: Rate::UNLIMITED,
            grouping: None,
        }
    }
}

/// The policy of a service instance, by its name.
pub type Policies = Arc<dyn Fn(&str) -> ServicePolicy + Send + Sync>;

/// After an attempt that was none.
const POSTPONED: Duration = Duration::from_millis(500);

/// How an attempt ended, as far as the plan has to know.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Ended {
    Delivered,
    Failed {
        class: FailureClass,
        retry_after: Option<Duration>,
        jitter: f64,
    },
    /// The notice doesn't wait any more: somebody dropped it.
    Gone,
    /// There was no attempt.
    Postponed,
}

/// What is to be written down about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Delivered,
    Retry {
        due: Timestamp,
        waited: Duration,
    },
    GiveUp,
    Gone,
    /// Nothing is written down.
    Postpone {
        due: Timestamp,
    },
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Start(Queued),
    /// Nothing until this time, or until something is told.
    WaitUntil(Timestamp),
    /// Nothing until something is told.
    Wait,
}

#[derive(Debug, Default)]
struct Lane {
    queue: VecDeque<Queued>,
    /// One of it is on its way, or it is being filled.
    busy: bool,
    /// It stands in its service's turn or in a timer.
    waiting: bool,
    /// More of it is in the store.
    more: bool,
    last: Place,
}

#[derive(Debug)]
struct Service {
    policy: ServicePolicy,
    in_flight: usize,
    breaker: Breaker,
    limiter: Limiter,
    recipients: HashMap<Arc<str>, Limiter>,
    last_refused: Option<(Arc<str>, Timestamp)>,
    /// Objects with lanes that are ready, in turn, so that an object with many lanes takes nobody's place.
    turn: VecDeque<Arc<str>>,
    ready: HashMap<Arc<str>, VecDeque<LaneKey>>,
    /// It stands in the plan's turn.
    in_turn: bool,
    /// A timer brings it back; until then it doesn't join the turn.
    asleep: bool,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Wake {
    Lane(LaneKey),
    Service(Arc<str>),
}

pub(crate) struct Plan {
    policies: Policies,
    concurrency: usize,
    in_flight: usize,
    /// Services that hold as many places as are left; they join again when any delivery ends.
    crowded: Vec<Arc<str>>,
    lanes: HashMap<LaneKey, Lane>,
    services: HashMap<Arc<str>, Service>,
    turn: VecDeque<Arc<str>>,
    timers: BinaryHeap<Reverse<(Timestamp, Wake)>>,
    refills: Vec<(LaneKey, Place)>,
}

impl Plan {
    pub(crate) fn new(policies: Policies, concurrency: usize) -> Self {
        Plan {
            policies,
            concurrency: concurrency.max(1),
            in_flight: 0,
            crowded: Vec::new(),
            lanes: HashMap::new(),
            services: HashMap::new(),
            turn: VecDeque::new(),
            timers: BinaryHeap::new(),
            refills: Vec::new(),
        }
    }

    /// New policies for what comes from now on.
    pub(crate) fn set_policies(&mut self, policies: Policies) {
        self.policies = policies;
        for (name, service) in &mut self.services {
            let policy = (self.policies)(name);
            if policy != service.policy {
                service.breaker = Breaker::new(policy.breaker);
                service.limiter = Limiter::new(policy.rate);
                service.recipients.clear();
                service.policy = policy;
                service.asleep = false;
            }
        }
        let names: Vec<Arc<str>> = self.services.keys().cloned().collect();
        for name in names {
            self.join_turn(&name);
        }
    }

    /// A notice that waits in the store. Places only grow within a lane; what is known already changes nothing.
    pub(crate) fn offer(&mut self, queued: Queued, now: Timestamp) {
        let key = queued.lane.clone();
        let lane = self.lanes.entry(key.clone()).or_default();
        if queued.place <= lane.last {
            return;
        }
        if lane.more || lane.queue.len() >= WINDOW {
            lane.more = true;
            return;
        }
        lane.last = queued.place;
        lane.queue.push_back(queued);
        self.schedule(&key, now);
    }

    /// A notice that was held back: its place may lie behind others of its lane that went meanwhile.
    pub(crate) fn release(&mut self, queued: Queued, now: Timestamp) {
        let key = queued.lane.clone();
        self.lanes.entry(key.clone()).or_default().queue.push_back(queued);
        self.schedule(&key, now);
    }

    /// Lanes that want more from the store: ask for what is behind the place, then call [`Plan::refilled`].
    pub(crate) fn refills(&mut self) -> Vec<(LaneKey, Place)> {
        std::mem::take(&mut self.refills)
    }

    pub(crate) fn refill_size() -> u32 {
        WINDOW as u32
    }

    pub(crate) fn refilled(
        &mut self,
        key: &LaneKey,
        found: Vec<Queued>,
        seen: Place,
        more: bool,
        now: Timestamp,
    ) {
        if let Some(lane) = self.lanes.get_mut(key) {
            lane.busy = false;
            lane.more = more;
            for queued in found {
                if queued.place > lane.last {
                    lane.last = queued.place;
                    lane.queue.push_back(queued);
                }
            }
            // Of what was found, some is held back and comes by another way.
            lane.last = lane.last.max(seen);
        }
        self.schedule(key, now);
    }

    /// Puts a lane where it belongs: into its service's turn, a timer, the list of refills, or out.
    fn schedule(&mut self, key: &LaneKey, now: Timestamp) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        if lane.busy || lane.waiting {
            return;
        }
        let Some(head) = lane.queue.front() else {
            if lane.more {
                lane.busy = true;
                self.refills.push((key.clone(), lane.last));
            } else {
                self.lanes.remove(key);
            }
            return;
        };
        lane.waiting = true;
        if head.due > now {
            // A time far beyond any delay comes from a clock that was wrong when it was written.
            let policy = self.service(key.service()).policy.retry;
            let longest = policy.longest.max(policy.longest_retry_after).saturating_mul(2);
            let attempted = self.lanes.get(key).and_then(|lane| lane.queue.front());
            let due = match attempted {
                Some(head) if head.attempts > 0 => head.due.min(later(now, longest)),
                Some(head) => head.due,
                None => now,
            };
            self.timers.push(Reverse((due, Wake::Lane(key.clone()))));
        } else {
            self.make_ready(key.clone());
        }
    }

    fn service(&mut self, name: &str) -> &mut Service {
        let policies = &self.policies;
        self.services.entry(name.into()).or_insert_with(|| {
            let policy = policies(name);
            Service {
                in_flight: 0,
                breaker: Breaker::new(policy.breaker),
                limiter: Limiter::new(policy.rate),
                policy,
                recipients: HashMap::new(),
                last_refused: None,
                turn: VecDeque::new(),
                ready: HashMap::new(),
                in_turn: false,
                asleep: false,
            }
        })
    }

    fn make_ready(&mut self, key: LaneKey) {
        let service = self.service(key.service());
        let object: Arc<str> = key.object().into();
        let name: Arc<str> = key.service().into();
        let lanes = service.ready.entry(object.clone()).or_default();
        if lanes.is_empty() {
            service.turn.push_back(object);
        }
        lanes.push_back(key);
        self.join_turn(&name);
    }

    fn join_turn(&mut self, name: &Arc<str>) {
        if let Some(service) = self.services.get_mut(name)
            && !service.in_turn
            && !service.asleep
            && !service.turn.is_empty()
        {
            service.in_turn = true;
            self.turn.push_back(name.clone());
        }
    }

    fn wake(&mut self, now: Timestamp) {
        while let Some(Reverse((at, _))) = self.timers.peek()
            && *at <= now
        {
            match self.timers.pop() {
                Some(Reverse((_, Wake::Lane(key)))) => self.make_ready(key),
                Some(Reverse((_, Wake::Service(name)))) => {
                    if let Some(service) = self.services.get_mut(&name) {
                        service.asleep = false;
                    }
                    self.join_turn(&name);
                }
                None => return,
            }
        }
    }

    /// What to do now. After [`Step::Start`] call it again, until it says to wait.
    pub(crate) fn next(&mut self, now: Timestamp) -> Step {
        self.wake(now);
        while self.in_flight < self.concurrency {
            let Some(name) = self.turn.pop_front() else { break };
            let Some(service) = self.services.get_mut(&name) else { continue };
            service.in_turn = false;
            if service.in_flight >= service.policy.concurrency.max(1) {
                continue; // joins again when one of its deliveries ends
            }
            // Not more than are left: then services that hang never take the last places, however many they are.
            if service.in_flight >= self.concurrency - self.in_flight {
                self.crowded.push(name);
                continue;
            }
            match service.breaker.permission(now) {
                Permission::Go => {}
                Permission::Later => continue, // joins again when the probe is back
                Permission::At(at) => {
                    service.asleep = true;
                    self.timers.push(Reverse((at, Wake::Service(name))));
                    continue;
                }
            }
            let free_at = service.limiter.free_at();
            if free_at > now {
                service.asleep = true;
                self.timers.push(Reverse((free_at, Wake::Service(name))));
                continue;
            }
            let Some(key) = service.next_lane() else { continue };
            let rate = service.policy.recipient_rate;
            let recipient: Arc<str> = key.recipient().into();
            let limiter = service.recipients.entry(recipient).or_insert_with(|| Limiter::new(rate));
            let free_at = limiter.free_at();
            if free_at > now {
                self.timers.push(Reverse((free_at, Wake::Lane(key))));
                self.join_turn(&name);
                continue;
            }
            let head = self.lanes.get_mut(&key).and_then(|lane| {
                lane.waiting = false;
                let head = lane.queue.front().cloned();
                lane.busy |= head.is_some();
                head
            });
            let Some(head) = head else {
                self.join_turn(&name); // the lane was shelved meanwhile
                continue;
            };
            limiter.take(now);
            service.limiter.take(now);
            service.breaker.start();
            service.in_flight += 1;
            self.in_flight += 1;
            self.join_turn(&name);
            return Step::Start(head);
        }
        if self.in_flight >= self.concurrency {
            return Step::Wait;
        }
        match self.timers.peek() {
            Some(Reverse((at, _))) => Step::WaitUntil(*at),
            None => Step::Wait,
        }
    }

    /// An attempt ended. The lane stays busy until [`Plan::settled`], so that nothing overtakes what isn't written down.
    pub(crate) fn ended(&mut self, queued: &Queued, ended: Ended, now: Timestamp) -> Verdict {
        let recipient: Arc<str> = queued.lane.recipient().into();
        let service = self.service(queued.lane.service());
        let limiter = service.recipients.get_mut(&recipient);
        let (class, retry_after, jitter) = match ended {
            Ended::Delivered => {
                service.breaker.answered();
                service.limiter.accepted();
                if let Some(limiter) = limiter {
                    limiter.accepted();
                }
                return Verdict::Delivered;
            }
            Ended::Gone => {
                service.breaker.unknown(now);
                return Verdict::Gone;
            }
            Ended::Postponed => {
                service.breaker.unknown(now);
                return Verdict::Postpone { due: later(now, POSTPONED) };
            }
            Ended::Failed { class, retry_after, jitter } => (class, retry_after, jitter),
        };
        match class {
            _ if class.blames_service() => service.breaker.failed(now),
            FailureClass::Panicked | FailureClass::Misconfigured => service.breaker.unknown(now),
            _ => service.breaker.answered(),
        }
        let next = service.policy.retry.next(
            class,
            queued.attempts.saturating_add(1),
            queued.waited,
            retry_after,
            jitter,
        );
        if class == FailureClass::Throttled {
            let asked = retry_after.unwrap_or(service.policy.retry.first);
            let wait = asked.min(service.policy.retry.longest_retry_after);
            if let Some(limiter) = limiter {
                limiter.refused(now, wait);
            }
            // A second recipient while the first is refused: it's the whole instance that asks for patience.
            match &service.last_refused {
                Some((other, until)) if *other != recipient && *until > now => {
                    service.limiter.refused(now, wait);
                }
                _ => {}
            }
            service.last_refused = Some((recipient, later(now, wait)));
        }
        match next {
            Next::After(delay) => {
                Verdict::Retry { due: later(now, delay), waited: queued.waited.saturating_add(delay) }
            }
            Next::GiveUp => Verdict::GiveUp,
        }
    }

    /// It is written down: the lane may go on, or is left alone for the rest of this plan's life.
    pub(crate) fn settled(&mut self, queued: &Queued, verdict: Verdict, leave: bool, now: Timestamp) {
        self.in_flight = self.in_flight.saturating_sub(1);
        for name in std::mem::take(&mut self.crowded) {
            self.join_turn(&name);
        }
        let name: Arc<str> = queued.lane.service().into();
        if let Some(service) = self.services.get_mut(&name) {
            service.in_flight = service.in_flight.saturating_sub(1);
            if service.recipients.len() > 64 && service.in_flight == 0 {
                service.recipients.retain(|_, limiter| !limiter.is_at_rest(now));
            }
        }
        if let Some(lane) = self.lanes.get_mut(&queued.lane) {
            lane.busy = false;
            match verdict {
                Verdict::Retry { due, waited } => {
                    if let Some(head) = lane.queue.front_mut() {
                        head.attempts = head.attempts.saturating_add(1);
                        head.due = due;
                        head.waited = waited;
                    }
                }
                Verdict::Postpone { due } => {
                    if let Some(head) = lane.queue.front_mut() {
                        head.due = due;
                    }
                }
                Verdict::Delivered | Verdict::GiveUp | Verdict::Gone => {
                    lane.queue.pop_front();
                }
            }
        }
        if leave && let Some(lane) = self.lanes.get_mut(&queued.lane) {
            lane.queue.clear();
            lane.busy = true;
            lane.more = true;
        }
        self.schedule(&queued.lane, now);
        self.join_turn(&name);
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(crate) fn circuits(&self) -> impl Iterator<Item = (&Arc<str>, Circuit)> {
        self.services.iter().map(|(name, service)| (name, service.breaker.circuit()))
    }
}

impl Service {
    /// The next lane of the object whose turn it is; the object then goes to the end.
    fn next_lane(&mut self) -> Option<LaneKey> {
        while let Some(object) = self.turn.pop_front() {
            let Some(lanes) = self.ready.get_mut(&object) else { continue };
            let lane = lanes.pop_front();
            if lanes.is_empty() {
                self.ready.remove(&object);
            } else {
                self.turn.push_back(object);
            }
            if lane.is_some() {
                return lane;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ObjectRef;

    fn queued(place: Place) -> Queued {
        let now = Timestamp::UNIX_EPOCH;
        Queued {
            place,
            id: place.to_string(),
            trigger: "t".into(),
            lane: LaneKey::new(&ObjectRef::default(), "s", "r"),
            created: now,
            due: now,
            attempts: 0,
            waited: Duration::ZERO,
        }
    }

    /// What a refill saw but didn't give (it is held back elsewhere) must not come by the ordinary way, nor what it gave.
    #[test]
    fn a_refill_moves_the_lane_behind_all_that_it_saw() {
        let now = Timestamp::UNIX_EPOCH;
        let policies: Policies = Arc::new(|_: &str| ServicePolicy::default());
        let mut plan = Plan::new(policies, 4);
        let lane = queued(1).lane;
        for place in 1..=20 {
            plan.offer(queued(place), now);
        }
        for place in 1..=16 {
            let Step::Start(head) = plan.next(now) else { panic!("place {place} is to go") };
            assert_eq!(head.place, place);
            assert_eq!(plan.ended(&head, Ended::Delivered, now), Verdict::Delivered);
            plan.settled(&head, Verdict::Delivered, false, now);
        }
        assert_eq!(plan.refills(), [(lane.clone(), 16)]);
        // 17 and 18 are given, 19 and 20 are held back, and there is more in the store.
        plan.refilled(&lane, vec![queued(17), queued(18)], 20, true, now);
        for place in [17, 18] {
            let Step::Start(head) = plan.next(now) else { panic!("place {place} is to go") };
            assert_eq!(head.place, place);
            plan.ended(&head, Ended::Delivered, now);
            plan.settled(&head, Verdict::Delivered, false, now);
        }
        assert_eq!(plan.refills(), [(lane.clone(), 20)], "the next refill begins behind what was seen");
        // Nothing twice: what is known comes again and changes nothing.
        plan.refilled(&lane, vec![queued(18), queued(21)], 21, false, now);
        let Step::Start(head) = plan.next(now) else { panic!("21 is to go") };
        assert_eq!(head.place, 21);
    }
}
