//! One subscription and one condition, through the gates.

use herald_value::{Value, time::duration_text};
use jiff::Timestamp;

use super::{
    Answer, Baseline, Chain, Decider, Due, Evaluated, GateName, StateChange, Turn, Undeliverable,
    condition_name, dedupe_key,
    held::{Told, moment},
};
use crate::{
    config::{Condition, Trigger},
    lifecycle::reasons,
    names::{Destination, TemplateName},
    occurrence::Occurrence,
    subscription::Subscription,
};

/// What is weighed.
struct Weighed<'w> {
    trigger: &'w Trigger,
    evaluated: &'w Evaluated<'w>,
    to: &'w Destination,
    occurrence: Option<&'w Occurrence>,
    /// The episode's name, where `for`, `resolve` or `repeatEvery` count.
    timed: Option<String>,
}

impl Weighed<'_> {
    fn condition(&self) -> &Condition {
        self.evaluated.condition
    }
}

/// How the gates about the condition and the record were passed.
struct Wanted {
    key: String,
    turn: Turn,
}

impl Decider<'_> {
    /// Leads one subscription and one condition through the gates.
    pub(super) fn weigh(
        &mut self,
        trigger: &Trigger,
        evaluated: &Evaluated<'_>,
        subscription: &Subscription,
        occurrence: Option<&Occurrence>,
        vars: &Value,
    ) {
        let condition = evaluated.condition;
        let timed = condition.is_timed() && occurrence.is_none();
        let weighed = Weighed {
            trigger,
            evaluated,
            to: &subscription.destination,
            occurrence,
            timed: timed.then(|| condition_name(self.subject.config, &trigger.name, condition)),
        };
        let mut chain = Chain::new(subscription, Some(condition.index), occurrence);
        if let Some(Wanted { key, turn }) = self.wanted(&mut chain, &weighed) {
            let send = if turn == Turn::Ended { &condition.resolve } else { &condition.send };
            let due = Due {
                trigger: trigger.name.clone(),
                condition: condition.index,
                send: send.clone(),
                destination: subscription.destination.clone(),
                key,
                turn,
                occurrence: occurrence.cloned(),
                vars: vars.clone(),
                origin: subscription.origin.clone(),
            };
            match self.possible(&mut chain, &due) {
                Ok(()) => {
                    self.note(&weighed, &due);
                    self.decision.due.push(due);
                }
                // What still holds at the next look is weighed again then.
                Err(reason) if !due.send.is_empty() && !due.comes_again() => {
                    self.decision.undeliverable.push(Undeliverable { due, reason });
                }
                Err(_) => {}
            }
        }
        self.decision.chains.push(chain);
    }

    fn record(&mut self, key: &str) {
        if self.decision.state.record(key, self.subject.now) {
            self.decision.changes.push(StateChange::Recorded(key.to_owned()));
        }
    }

    fn told(&mut self, weighed: &Weighed<'_>, told: Told) {
        let episode = weighed.timed.as_ref().and_then(|name| self.held.conditions.get_mut(name));
        let Some(episode) = episode else { return };
        let again = weighed.condition().repeat_every.filter(|_| !told.silent);
        let again = again.map(|every| told.at.saturating_add(micros(every)));
        episode.told.insert(weighed.to.to_string(), told);
        if let Some(again) = again {
            self.held.ask(again);
        }
    }

    /// Notes that it is sent.
    fn note(&mut self, weighed: &Weighed<'_>, due: &Due) {
        let (key, now) = (&due.key, self.now);
        match due.turn {
            Turn::First => {
                self.record(key);
                self.told(weighed, Told { key: key.clone(), at: now, repeats: 0, silent: false });
            }
            Turn::Again(repeats) => {
                self.decision.state.renew(key, self.subject.now);
                self.decision.changes.push(StateChange::Recorded(key.clone()));
                self.told(weighed, Told { key: key.clone(), at: now, repeats, silent: false });
            }
            Turn::Ended => {}
        }
        if due.occurrence.is_some() {
            self.told.insert((due.trigger.clone(), due.condition, due.destination.clone()));
        }
    }

    /// The gates about the condition, the record and the time.
    fn wanted(&mut self, chain: &mut Chain, weighed: &Weighed<'_>) -> Option<Wanted> {
        chain.open(GateName::TriggerConfigured, format!("trigger `{}`", weighed.trigger.name));
        let evaluated = weighed.evaluated;
        match &evaluated.holds {
            Answer::Yes(detail) => {
                let event = weighed.condition().when.is_none();
                chain.open(if event { GateName::Happened } else { GateName::Condition }, detail.clone());
                chain.with_values(&evaluated.values);
            }
            Answer::No(detail) => return self.holds_not(chain, weighed, detail, false),
            Answer::Failed(detail) => return self.holds_not(chain, weighed, detail, true),
        }
        let once_per = match &evaluated.once_per {
            None => weighed.occurrence.map(|occurrence| occurrence.id.clone()),
            Some(Ok(value)) => {
                chain.open(GateName::OncePer, format!("once per `{value}`"));
                Some(value.clone())
            }
            Some(Err(detail)) => {
                chain.broken(GateName::OncePer, detail.clone());
                return None;
            }
        };
        let config = self.subject.config;
        let key =
            dedupe_key(config, once_per.as_deref(), &weighed.trigger.name, weighed.condition(), weighed.to);
        chain.key = Some(key.clone());
        let turn = match self.decision.state.sent_at(&key) {
            Some(at) => self.again(chain, weighed, &key, at)?,
            None => self.first(chain, weighed, &key)?,
        };
        Some(Wanted { key, turn })
    }

    /// The condition does not hold (any more).
    fn holds_not(
        &mut self,
        chain: &mut Chain,
        weighed: &Weighed<'_>,
        detail: &str,
        failed: bool,
    ) -> Option<Wanted> {
        let (condition, to) = (weighed.condition(), weighed.to);
        let plain_key = dedupe_key(self.subject.config, None, &weighed.trigger.name, condition, to);
        let mut forgotten = false;
        if weighed.occurrence.is_none() && condition.once_per.is_none() {
            forgotten = self.decision.state.forget(&plain_key);
            if forgotten {
                self.decision.changes.push(StateChange::Forgotten(plain_key.clone()));
            }
        }
        if let Some(key) = self.had_the_first(weighed, forgotten, plain_key) {
            chain.key = Some(key.clone());
            chain.open(GateName::Ended, format!("{detail}; {to} was told of it"));
            chain.with_values(&weighed.evaluated.values);
            return Some(Wanted { key, turn: Turn::Ended });
        }
        if condition.when.is_some() {
            if failed {
                chain.broken(GateName::Condition, detail);
            } else {
                chain.closed(GateName::Condition, detail);
            }
            chain.with_values(&weighed.evaluated.values);
        } else if reasons::of_trigger(weighed.trigger.name.as_str()).is_none() {
            chain.broken(GateName::Happened, "`when` is empty, and no event has this trigger's name");
        } else {
            chain.closed(GateName::Happened, detail);
        }
        None
    }

    /// The key under which somebody was told of what has ended, if it is to be resolved.
    fn had_the_first(&self, weighed: &Weighed<'_>, forgotten: bool, plain_key: String) -> Option<String> {
        let name = weighed.timed.as_ref()?;
        if weighed.condition().resolve.is_empty() || self.subject.baseline == Baseline::Silent {
            return None;
        }
        let just_now = (weighed.trigger.name.clone(), weighed.condition().index, weighed.to.clone());
        if self.told.contains(&just_now) {
            return Some(plain_key);
        }
        match self.ended.get(name) {
            Some(episode) => {
                let told = episode.told.get(&weighed.to.to_string()).filter(|told| !told.silent)?;
                Some(told.key.clone())
            }
            // Whoever wrote the record has told it.
            None => forgotten.then_some(plain_key),
        }
    }

    /// It was sent before: only `repeatEvery` sends it again.
    fn again(&mut self, chain: &mut Chain, weighed: &Weighed<'_>, key: &str, sent: i64) -> Option<Turn> {
        let mut detail = format!(
            "sent to {} at {}",
            weighed.to,
            Timestamp::from_second(sent).map_or_else(|_| sent.to_string(), |at| at.to_string())
        );
        let now = self.now;
        let condition = weighed.condition();
        let episode = weighed.timed.as_ref().and_then(|name| self.held.conditions.get_mut(name));
        if let Some(episode) = episode {
            // Not by this episode's account: by another system, or in an earlier episode with the same `oncePer`,
            // which is not to be told again.
            let silent = episode.new && condition.once_per.is_some();
            let told = episode.told.entry(weighed.to.to_string()).or_insert_with(|| Told {
                key: key.to_owned(),
                at: sent.saturating_mul(1_000_000).min(now),
                repeats: 0,
                silent,
            });
            if let Some(every) = condition.repeat_every.filter(|_| !told.silent) {
                let due = told.at.saturating_add(micros(every));
                if now >= due {
                    let turn = Turn::Again(told.repeats.saturating_add(1));
                    chain.open(
                        GateName::NotSentBefore,
                        format!("{detail}; it is sent every {}", duration_text(every)),
                    );
                    return Some(turn);
                }
                detail = format!("{detail}; it is sent again at {}", moment(due));
                self.held.ask(due);
            }
        }
        chain.closed(GateName::NotSentBefore, detail);
        None
    }

    /// It was not sent before.
    fn first(&mut self, chain: &mut Chain, weighed: &Weighed<'_>, key: &str) -> Option<Turn> {
        let condition = weighed.condition();
        let now = self.now;
        // The occurrence has told it already; the state is only noted, so that it is not told again.
        let just_now = (weighed.trigger.name.clone(), condition.index, weighed.to.clone());
        if weighed.occurrence.is_none() && self.told.contains(&just_now) {
            self.record(key);
            self.told(weighed, Told { key: key.to_owned(), at: now, repeats: 0, silent: false });
            chain.closed(GateName::NotSentBefore, format!("sent to {} for the event just now", weighed.to));
            return None;
        }
        chain.open(GateName::NotSentBefore, "nothing is recorded");

        // What was true before anybody looked stays quiet, also once its service is configured or its time is up.
        if self.subject.baseline == Baseline::Silent {
            self.record(key);
            self.told(weighed, Told { key: key.to_owned(), at: now, repeats: 0, silent: true });
            chain.closed(GateName::PastBaseline, "this was already so when the object was first seen");
            return None;
        }

        let since = weighed.timed.as_ref().and_then(|name| self.held.conditions.get(name)).map(|e| e.since);
        if let (Some(hold), Some(since)) = (condition.waits(), since) {
            let due = since.saturating_add(micros(hold));
            if now < due {
                self.held.ask(due);
                let detail = format!("waiting: holds since {}, due at {}", moment(since), moment(due));
                chain.closed(GateName::HeldLongEnough, detail);
                return None;
            }
            let detail = format!("holds since {}, which is {} or more", moment(since), duration_text(hold));
            chain.open(GateName::HeldLongEnough, detail);
        }
        Some(Turn::First)
    }

    /// The gates about what it takes to make the notice; gives what is missing.
    fn possible(&mut self, chain: &mut Chain, due: &Due) -> Result<(), String> {
        let config = self.subject.config;
        match config.service(due.destination.service.as_str()) {
            Some(service) => {
                let detail = format!("service `{}` of type {}", service.name, service.service_type);
                chain.open(GateName::ServiceConfigured, detail);
            }
            None => {
                let detail = format!("there is no usable service `{}`", due.destination.service);
                chain.broken(GateName::ServiceConfigured, detail.clone());
                return Err(detail);
            }
        }
        let missing = due.send.iter().find(|name| config.template(name.as_str()).is_none());
        let detail = match missing {
            Some(name) => format!("there is no usable template `{name}`"),
            None if due.send.is_empty() => "the condition names no template in `send`".to_owned(),
            None => {
                let names: Vec<&str> = due.send.iter().map(TemplateName::as_str).collect();
                chain.open(GateName::TemplatesUsable, format!("templates {}", names.join(", ")));
                return Ok(());
            }
        };
        chain.broken(GateName::TemplatesUsable, detail.clone());
        Err(detail)
    }
}

fn micros(nanos: i64) -> i64 {
    // Rounded up: nothing comes early.
    nanos.saturating_add(999) / 1000
}
