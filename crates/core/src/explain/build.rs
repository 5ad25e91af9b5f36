//! From a decision to its explanation.

use std::collections::VecDeque;

use herald_value::Value;
use jiff::Timestamp;

use super::{
    Answer, Delivery, Event, Explanation, Finding, Gate, ObjectName, Part, Passage, Source, Standing, To,
    Verdict, advice,
};
use crate::{
    config::{Condition, Config},
    decide::{self, Chain, Decision, Due, GateName},
    diagnostic::Diagnostic,
    lifecycle::reasons::trigger_of,
    notification::RenderError,
    occurrence::Occurrence,
};

/// What an explanation is about.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// What loading it found wrong.
    pub loading: &'a [Diagnostic],
    /// The object.
    pub object: &'a Value,
    /// What happened to it.
    pub occurrences: &'a [Occurrence],
    /// What was decided.
    pub decision: &'a Decision,
    /// When.
    pub now: Timestamp,
    /// What is known of deliveries for this object, newest first.
    pub deliveries: &'a [Delivery],
    /// Whether what is due is rendered, to see whether it can be. The pipeline does it itself.
    pub render: bool,
}

/// Explains a decision.
pub fn explain(asked: &Asked<'_>) -> Explanation {
    // A chain that nothing stopped stands for the next notice that is due.
    let mut due: VecDeque<&Due> = asked.decision.due.iter().collect();
    let answers: Vec<Answer> = asked
        .decision
        .chains
        .iter()
        .map(|chain| {
            let due = if chain.stopped_by().is_none() { due.pop_front() } else { None };
            answer(asked, chain, due)
        })
        .collect();
    let diagnostics = &asked.decision.diagnostics;
    let findings: Vec<Finding> = diagnostics.iter().map(Finding::of).collect();
    let mut verdict = answers.iter().map(|answer| answer.verdict).max().unwrap_or_default();
    if diagnostics.iter().any(Finding::counts) {
        verdict = Verdict::Wrong;
    }
    let text = |path: &[&str]| asked.object.path(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    let kind = text(&["kind"]);
    Explanation {
        object: ObjectName {
            kind: if kind.is_empty() { "Rollout".to_owned() } else { kind },
            namespace: text(&["metadata", "namespace"]),
            name: text(&["metadata", "name"]),
        },
        configuration: asked.config.namespace().map(str::to_owned),
        at: asked.now.to_string(),
        decision: None,
        verdict,
        happened: asked.occurrences.iter().map(event).collect(),
        advice: if answers.is_empty() { advice::subscribe(asked.config) } else { Vec::new() },
        answers,
        findings,
    }
}

fn event(occurrence: &Occurrence) -> Event {
    Event {
        reason: occurrence.reason.to_string(),
        trigger: trigger_of(&occurrence.reason).into_owned(),
        id: occurrence.id.clone(),
        message: occurrence.message.clone(),
    }
}

fn answer(asked: &Asked<'_>, chain: &Chain, due: Option<&Due>) -> Answer {
    let trigger = asked.config.trigger(chain.trigger.as_str());
    let condition: Option<&Condition> =
        trigger.and_then(|trigger| trigger.conditions.iter().find(|c| Some(c.index) == chain.condition));
    let mut answer = Answer {
        trigger: chain.trigger.to_string(),
        condition: chain.condition,
        conditions: trigger.map_or(0, |trigger| trigger.conditions.len()),
        description: condition.map(|condition| condition.description.clone()).unwrap_or_default(),
        to: To {
            service: chain.destination.service.to_string(),
            recipient: chain.destination.recipient.to_string(),
        },
        from: Source::from(&chain.origin),
        event: chain.occurrence.clone(),
        key: chain.key.clone(),
        verdict: Verdict::Quiet,
        stopped_by: None,
        sentence: String::new(),
        gates: vec![open(Gate::Subscribed, Source::from(&chain.origin).to_string())],
        delivery: None,
    };
    answer.gates.extend(chain.gates.iter().map(|gate| passage(asked, chain, gate)));
    match (chain.stopped_by(), due) {
        (Some(gate), _) => stopped(asked, chain, condition, gate, &mut answer),
        (None, due) => made(asked, due, &mut answer),
    }
    if let Some(last) = answer.gates.last().filter(|passage| !passage.passed) {
        answer.stopped_by = Some(last.gate);
    }
    answer
}

fn open(gate: Gate, detail: impl Into<String>) -> Passage {
    Passage { gate, passed: true, detail: detail.into(), values: Vec::new(), hints: Vec::new() }
}

fn closed(gate: Gate, detail: impl Into<String>) -> Passage {
    Passage { passed: false, ..open(gate, detail) }
}

fn passage(asked: &Asked<'_>, chain: &Chain, gate: &decide::Gate) -> Passage {
    let values: Vec<Part> =
        gate.values.iter().map(|part| Part { text: part.text.clone(), value: part.value.clone() }).collect();
    // The values have a place of their own here.
    let all: Vec<String> = values.iter().map(|part| format!("`{}` is {}", part.text, part.value)).collect();
    let because = format!(": {}", all.join(", "));
    let detail = if values.is_empty() { gate.detail.clone() } else { gate.detail.replacen(&because, "", 1) };
    let hints = if gate.passed { Vec::new() } else { advice::repair(asked, chain, gate.name) };
    Passage { gate: gate.name.into(), passed: gate.passed, detail, values, hints }
}

/// A gate of the decision was closed.
fn stopped(
    asked: &Asked<'_>,
    chain: &Chain,
    condition: Option<&Condition>,
    gate: &decide::Gate,
    answer: &mut Answer,
) {
    answer.verdict = match gate.name {
        _ if gate.wrong => Verdict::Wrong,
        GateName::NotSentBefore | GateName::PastBaseline => Verdict::Told,
        GateName::HeldLongEnough => Verdict::Waiting,
        _ => Verdict::Quiet,
    };
    let detail = answer.gates.last().map(|last| last.detail.clone()).unwrap_or_default();
    answer.sentence = match gate.name {
        GateName::NotSentBefore => sent_before(chain, condition, &detail),
        GateName::PastBaseline => {
            "not sent: it was already so when this object was first seen, and only what is new is told".into()
        }
        GateName::HeldLongEnough => format!("not sent yet: {detail}"),
        GateName::Happened | GateName::Condition if !gate.wrong => format!("nothing to send: {detail}"),
        _ => format!("not sent: {detail}"),
    };
    let earlier = match gate.name {
        GateName::NotSentBefore => notice_of(asked.deliveries, answer),
        GateName::Happened if !gate.wrong => {
            told_before(asked, condition, answer);
            last_notice(asked.deliveries, condition, answer)
        }
        _ => None,
    };
    if let Some(delivery) = earlier {
        delivered(delivery, answer);
    }
}

/// Adds when the record says that somebody was told of an earlier event.
fn told_before(asked: &Asked<'_>, condition: Option<&Condition>, answer: &mut Answer) {
    let Some(condition) = condition else { return };
    let common =
        format!(":{}:{}:{}:{}", answer.trigger, condition.key, answer.to.service, answer.to.recipient);
    // The records of a namespace's own configuration carry its name in front.
    let theirs = match asked.config.namespace() {
        Some(namespace) => format!(":{namespace}{common}"),
        None => {
            let namespace = asked.object.path(&["metadata", "namespace"]).and_then(Value::as_str);
            format!(":{}{common}", namespace.unwrap_or_default())
        }
    };
    let scoped = asked.config.namespace().is_some();
    let suffix = if scoped { theirs.clone() } else { common };
    let told = asked.decision.state.entries();
    let told = told.filter(|(key, _)| key.ends_with(&suffix) && key.ends_with(&theirs) == scoped);
    let last = told.max_by_key(|(_, at)| *at);
    if let (Some((key, at)), Some(gate)) = (last, answer.gates.last_mut()) {
        let event = key.strip_suffix(&suffix).unwrap_or(key);
        let at = Timestamp::from_second(at).map_or_else(|_| at.to_string(), |at| at.to_string());
        gate.hints.push(format!("last told of `{event}`, {at}"));
    }
}

/// It was sent before: when, to whom, and what made it the same.
fn sent_before(chain: &Chain, condition: Option<&Condition>, detail: &str) -> String {
    let once_per = condition.and_then(|condition| condition.once_per.as_ref());
    let same = match (&chain.occurrence, once_per) {
        (_, Some(once_per)) => {
            let value = chain.gates.iter().find(|gate| gate.name == GateName::OncePer);
            let value = value.map(|gate| gate.detail.trim_start_matches("once per ")).unwrap_or_default();
            format!("it is sent once for each `oncePer: {}`, which is {value}", once_per.source)
        }
        (Some(occurrence), None) => format!("it is sent once for each event, and this is `{occurrence}`"),
        (None, None) => "it is sent again only after its condition was false in between".to_owned(),
    };
    format!("not sent again: {detail}; {same}")
}

fn is_for(delivery: &Delivery, answer: &Answer) -> bool {
    delivery.trigger == answer.trigger && delivery.to == answer.to
}

/// The notice that the record speaks of.
fn notice_of<'d>(deliveries: &'d [Delivery], answer: &Answer) -> Option<&'d Delivery> {
    let key = answer.key.as_deref()?;
    deliveries.iter().find(|one| is_for(one, answer) && one.key.as_deref() == Some(key))
}

/// The last notice of a condition.
fn last_notice<'d>(
    deliveries: &'d [Delivery],
    condition: Option<&Condition>,
    answer: &Answer,
) -> Option<&'d Delivery> {
    let part = format!(":{}:", condition?.key);
    let of_condition = |one: &&Delivery| one.key.as_deref().is_none_or(|key| key.contains(&part));
    deliveries.iter().filter(|one| is_for(one, answer)).find(of_condition)
}

/// Adds to a decision of the past what became of its notices.
pub fn follow(explanation: &mut Explanation, deliveries: &[Delivery]) {
    for answer in explanation.answers.iter_mut().filter(|answer| answer.delivery.is_none()) {
        if let Some(delivery) = notice_of(deliveries, answer) {
            delivered(delivery, answer);
            answer.stopped_by = answer.gates.last().filter(|last| !last.passed).map(|last| last.gate);
        } else if answer.verdict == Verdict::Due {
            answer.sentence = "a notice was made of it, and the history does not have it any more".to_owned();
        }
    }
    let worst = explanation.answers.iter().map(|answer| answer.verdict).max().unwrap_or_default();
    explanation.verdict = if explanation.findings.is_empty() { worst } else { explanation.verdict };
}

/// What became of the notice. Where the record stopped another one, or the event was over, the chain goes on with
/// the notice that was made then.
fn delivered(delivery: &Delivery, answer: &mut Answer) {
    answer.delivery = Some(delivery.clone());
    let stopped = answer.gates.last().is_some_and(|last| !last.passed);
    if let Some(last) = answer.gates.last_mut() {
        last.hints.push(format!("notice {}, made {}", delivery.id, delivery.created));
    }
    let attempts = match delivery.attempts {
        1 => "1 attempt".to_owned(),
        many => format!("{many} attempts"),
    };
    let said = delivery.answer.as_deref().or(delivery.reason.as_deref()).unwrap_or_default();
    let said = if said.is_empty() { String::new() } else { format!("; last answer: {said}") };
    let finished = delivery.finished.as_deref().unwrap_or("at an unknown time");
    let (verdict, passage) = match delivery.stands {
        Standing::Delivered | Standing::Grouped => {
            let text = match (delivery.stands, delivery.reason.as_deref()) {
                (Standing::Grouped, into) => {
                    format!("delivered {finished} as part of {}", into.unwrap_or("a digest"))
                }
                _ => format!("delivered {finished} after {attempts}{said}"),
            };
            if stopped {
                // It stays stopped where it was: there is nothing to repair.
                answer.gates.last_mut().into_iter().for_each(|last| last.hints.push(text.clone()));
                return;
            }
            answer.sentence = format!("sent: {text}");
            answer.verdict = Verdict::Told;
            answer.gates.push(open(Gate::Delivered, text));
            return;
        }
        Standing::Muted => {
            let by = delivery.reason.as_deref().unwrap_or("a mute time");
            (Verdict::Muted, closed(Gate::NotMuted, format!("muted by {by}")))
        }
        Standing::Pending if delivery.attempts == 0 => {
            let text = format!("in the outbox since {}, not attempted yet", delivery.created);
            (Verdict::Queued, closed(Gate::Delivered, text))
        }
        Standing::Pending => {
            let text = format!("in the outbox since {}: {attempts} failed{said}", delivery.created);
            (Verdict::Queued, closed(Gate::Delivered, text))
        }
        Standing::DeadLetter => {
            let why = delivery.reason.as_deref().filter(|_| delivery.answer.is_some());
            let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
            let mut passage =
                closed(Gate::Delivered, format!("given up {finished} after {attempts}{why}{said}"));
            passage.hints.push(format!(
                "repair it, then send it again: herald deliveries resend --id {}",
                delivery.id
            ));
            (Verdict::Wrong, passage)
        }
        Standing::Dropped => {
            (Verdict::Told, closed(Gate::Delivered, format!("somebody dropped it {finished}")))
        }
    };
    answer.verdict = verdict;
    answer.sentence = format!("not delivered: {}", passage.detail);
    if let Some(last) = answer.gates.last_mut().filter(|_| stopped) {
        last.passed = true;
        last.detail = format!("a notice was made before ({})", last.detail);
    }
    answer.gates.push(passage);
}

/// Nothing stopped it: it is rendered as the pipeline does it.
fn made(asked: &Asked<'_>, due: Option<&Due>, answer: &mut Answer) {
    let Some(due) = due else { return };
    answer.verdict = Verdict::Due;
    if !asked.render {
        // The pipeline is at it. This is kept, and read long after.
        answer.sentence = format!("due: a notice to {} was made", answer.to);
        return;
    }
    answer.sentence = format!("due: it is sent to {} at the next look", answer.to);
    match asked.config.render(&due.send, &due.vars, &due.destination, asked.now) {
        Ok(notification) => {
            let first = notification.message.lines().find(|line| !line.trim().is_empty());
            let what = match first {
                Some(line) => format!("“{}”", line.trim().chars().take(100).collect::<String>()),
                None if notification.sections.is_empty() => "an empty message".to_owned(),
                None => {
                    let kinds: Vec<&str> = notification.sections.keys().map(String::as_str).collect();
                    format!("no message, but {}", kinds.join(", "))
                }
            };
            answer.gates.push(open(Gate::Rendered, what));
        }
        Err(error) => {
            answer.gates.push(closed(Gate::Rendered, told(&error)));
            answer.verdict = Verdict::Wrong;
            let first = told(&error);
            let first = first.lines().next().unwrap_or_default();
            answer.sentence = format!("not sent: its template fails: {first}");
        }
    }
}

fn told(error: &RenderError) -> String {
    match error {
        RenderError::Template(error) => error.render_caret().trim_end().to_owned(),
        other => other.to_string(),
    }
}
