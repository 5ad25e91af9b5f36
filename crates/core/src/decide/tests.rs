use std::sync::Arc;

use super::*;
use crate::{
    config::ConfigInput,
    notification::{Section, ServiceTypes},
    occurrence::EventType,
    yaml::{Node, YamlError},
};
use herald_value::limits::Limits;

struct Types;

impl ServiceTypes for Types {
    fn knows(&self, _: &str) -> bool {
        true
    }
    fn has_section(&self, _: &str) -> bool {
        false
    }
    fn parse_section(&self, _: &str, node: &Node) -> Result<Arc<dyn Section>, YamlError> {
        Err(YamlError { message: "no sections here".into(), at: node.at })
    }
    fn check_options(&self, _: &str, _: &Node) -> Result<(), YamlError> {
        Ok(())
    }
}

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// Where the clock begins.
const T: i64 = 1_790_000_000;

fn config(condition: &str) -> Config {
    let data = [
        ("service.slack", "token: x"),
        ("template.bad", "message: it is bad"),
        ("template.good", "message: it is good"),
        ("trigger.on-bad", condition),
        ("trigger.on-rollout-aborted", "- send: [bad]"),
        ("subscriptions", "[{recipients: [slack:ops], triggers: [on-bad]}]"),
    ];
    load(&data)
}

fn load(data: &[(&str, &str)]) -> Config {
    let data = data.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
    let (config, found) =
        Config::load(&ConfigInput { data, ..ConfigInput::default() }, &Types, Limits::DEFAULT);
    assert!(found.iter().all(|d| d.severity != crate::diagnostic::Severity::Error), "{found:#?}");
    config
}

/// An object over time. Every look stores what comes out as text and reads it again: a restart.
struct Bench {
    config: Config,
    baseline: Baseline,
    annotations: Vec<(&'static str, &'static str)>,
    state: String,
    held: String,
    last: Decision,
}

impl Bench {
    fn new(condition: &str) -> Bench {
        Bench {
            config: config(condition),
            baseline: Baseline::Notify,
            annotations: Vec::new(),
            state: String::new(),
            held: "{}".into(),
            last: Decision::default(),
        }
    }

    fn decide(&mut self, now: Timestamp, phase: &str, occurrences: &[Occurrence]) -> Vec<String> {
        let annotations = Value::map(self.annotations.iter().map(|(k, v)| (*k, Value::str(*v)))).unwrap();
        let object = Value::map([
            ("metadata", Value::map([("annotations", annotations)]).unwrap()),
            ("status", Value::map([("phase", Value::str(phase)), ("hash", Value::str("h"))]).unwrap()),
        ])
        .unwrap();
        let decision = decide(&Subject {
            config: &self.config,
            object: &object,
            analysis_runs: &Value::Nil,
            previous: None,
            occurrences,
            state: &State::parse(&self.state),
            held: &serde_json::from_str(&self.held).unwrap(),
            now,
            baseline: self.baseline,
        });
        self.state = decision.state.to_text().unwrap_or_default();
        self.held = serde_json::to_string(&decision.held).unwrap();
        let due = decision.due.iter().map(|due| {
            let send: Vec<&str> = due.send.iter().map(TemplateName::as_str).collect();
            let turn = match due.turn {
                Turn::First => "first".into(),
                other => other.to_string(),
            };
            format!("{turn} {} to {}", send.join("+"), due.destination.recipient)
        });
        let due = due.collect();
        self.last = decision;
        due
    }

    /// A look `after` seconds, in `phase`.
    fn look(&mut self, after: i64, phase: &str) -> Vec<String> {
        self.decide(Timestamp::from_second(T + after).unwrap(), phase, &[])
    }

    /// Looks when asked to, with the clock `shift` off, until `until`; gives what was due, with its second.
    fn watch(&mut self, mut from: i64, until: i64, shift: i64, phase: &str) -> Vec<(i64, String)> {
        let mut all = Vec::new();
        for _ in 0..1000 {
            let due = self.look(from + shift, phase);
            all.extend(due.into_iter().map(|due| (from, due)));
            let Some(next) = self.next() else { break };
            assert!(next - shift > from, "the next look must be later");
            from = next - shift;
            if from > until {
                break;
            }
        }
        all
    }

    fn next(&self) -> Option<i64> {
        self.last.next_look.map(|at| at.as_second() - T)
    }

    fn stopped(&self) -> Option<(GateName, &str)> {
        let gate = self.last.chains.last()?.stopped_by()?;
        Some((gate.name, &gate.detail))
    }
}

const FOR: &str = "- {when: rollout.status.phase == 'Degraded', for: 5m, send: [bad]}";
const NOTHING: [&str; 0] = [];

#[test]
fn for_waits_to_the_boundary_and_says_so() {
    let mut bench = Bench::new(FOR);
    assert_eq!(bench.look(0, "Degraded"), NOTHING);
    assert_eq!(bench.next(), Some(5 * MINUTE));
    let (name, detail) = bench.stopped().unwrap();
    assert_eq!(name, GateName::HeldLongEnough);
    assert_eq!(detail, "waiting: holds since 2026-09-21T14:13:20Z, due at 2026-09-21T14:18:20Z");

    let almost = Timestamp::from_nanosecond(i128::from(T + 5 * MINUTE) * 1_000_000_000 - 1).unwrap();
    assert_eq!(bench.decide(almost, "Degraded", &[]), NOTHING);
    assert_eq!(bench.look(5 * MINUTE, "Degraded"), ["first bad to ops"]);
    assert_eq!(bench.look(5 * MINUTE, "Degraded"), NOTHING);
    assert_eq!(bench.next(), None, "nothing waits any more");
}

#[test]
fn for_begins_anew_after_a_pause() {
    let mut bench = Bench::new(FOR);
    for (at, phase) in
        [(0, "Degraded"), (4 * MINUTE, "Healthy"), (4 * MINUTE + 1, "Degraded"), (5 * MINUTE, "Degraded")]
    {
        assert_eq!(bench.look(at, phase), NOTHING, "at {at}");
    }
    assert_eq!(bench.look(9 * MINUTE, "Degraded"), NOTHING);
    assert_eq!(bench.look(9 * MINUTE + 1, "Degraded"), ["first bad to ops"]);
    assert_eq!(bench.look(10 * MINUTE, "Healthy"), NOTHING);
    assert_eq!(bench.held, serde_json::to_string(&Held::default()).unwrap(), "nothing to remember");
}

#[test]
fn a_new_value_of_once_per_is_timed_anew() {
    let mut bench = Bench::new(
        "- {when: rollout.status.phase != '', oncePer: rollout.status.phase, for: 5m, send: [bad]}",
    );
    assert_eq!(bench.look(0, "a"), NOTHING);
    assert_eq!(bench.look(4 * MINUTE, "b"), NOTHING);
    assert_eq!(bench.look(5 * MINUTE, "b"), NOTHING);
    assert_eq!(bench.look(9 * MINUTE, "b"), ["first bad to ops"]);
}

#[test]
fn who_subscribes_later_waits_no_longer_than_the_condition() {
    let mut bench = Bench::new(FOR);
    assert_eq!(bench.watch(0, 6 * MINUTE, 0, "Degraded"), [(5 * MINUTE, "first bad to ops".to_owned())]);
    bench.annotations.push(("notifications.argoproj.io/subscribe.on-bad.slack", "dev"));
    assert_eq!(bench.look(7 * MINUTE, "Degraded"), ["first bad to dev"]);
}

#[test]
fn what_was_so_before_the_first_look_stays_quiet_when_its_time_is_up() {
    let condition = "- {when: rollout.status.phase == 'Degraded', for: 5m, repeatEvery: 5m, resolve: [good], send: [bad]}";
    let mut bench = Bench::new(condition);
    bench.baseline = Baseline::Silent;
    assert_eq!(bench.look(0, "Degraded"), NOTHING);
    assert_eq!(bench.stopped().unwrap().0, GateName::PastBaseline);
    bench.baseline = Baseline::Notify;
    for at in [5 * MINUTE, 5 * MINUTE + 1, HOUR] {
        assert_eq!(bench.look(at, "Degraded"), NOTHING, "at {at}");
    }
    assert_eq!(bench.look(HOUR + 1, "Healthy"), NOTHING, "nobody had the first");
    assert_eq!(bench.watch(HOUR + 2, HOUR + 300, 0, "Degraded").len(), 0);
    assert_eq!(bench.look(HOUR + 2 + 5 * MINUTE, "Degraded"), ["first bad to ops"]);
}

#[test]
fn resolve_goes_once_to_those_who_had_the_first() {
    let mut bench = Bench::new("- {when: rollout.status.phase == 'Degraded', resolve: [good], send: [bad]}");
    assert_eq!(bench.look(0, "Healthy"), NOTHING, "it never was bad");
    assert_eq!(bench.look(1, "Degraded"), ["first bad to ops"]);
    // This one comes when it is over.
    assert_eq!(bench.look(2, "Healthy"), ["ended good to ops"]);
    let gates: Vec<GateName> = bench.last.chains[0].gates.iter().map(|gate| gate.name).collect();
    assert!(gates.contains(&GateName::Ended) && bench.stopped().is_none());
    assert_eq!(bench.look(3, "Healthy"), NOTHING);
    bench.annotations.push(("notifications.argoproj.io/subscribe.on-bad.slack", "dev"));
    assert_eq!(bench.look(4, "Healthy"), NOTHING);
    assert_eq!(bench.look(5, "Degraded"), ["first bad to ops", "first bad to dev"]);
    bench.annotations.clear();
    assert_eq!(bench.look(6, "Healthy"), ["ended good to ops"], "dev does not want to hear of it any more");
}

#[test]
fn what_did_not_last_is_not_resolved() {
    let mut bench =
        Bench::new("- {when: rollout.status.phase == 'Degraded', for: 5m, resolve: [good], send: [bad]}");
    assert_eq!(bench.look(0, "Degraded"), NOTHING);
    assert_eq!(bench.look(MINUTE, "Healthy"), NOTHING);
    assert_eq!(bench.watch(2 * MINUTE, 8 * MINUTE, 0, "Degraded").len(), 1);
    assert_eq!(bench.look(9 * MINUTE, "Healthy"), ["ended good to ops"]);
}

#[test]
fn who_was_told_by_the_reference_gets_the_end_from_us() {
    let mut bench = Bench::new("- {when: rollout.status.phase == 'Degraded', resolve: [good], send: [bad]}");
    // The annotation as the reference writes it; the hash is of the text of `when` (engine.md 1).
    let key = "on-bad:[0].znepfVmnAvPuvsSa8G4jaiZ4500:slack:ops";
    bench.state = format!("{{\"{key}\":{T}}}");
    assert_eq!(bench.look(10, "Degraded"), NOTHING);
    assert_eq!(bench.look(20, "Healthy"), ["ended good to ops"]);
    bench.state = format!("{{\"{key}\":{T}}}");
    assert_eq!(bench.look(30, "Healthy"), ["ended good to ops"], "also if it ended meanwhile");
}

#[test]
fn repeats_while_it_holds() {
    let mut bench = Bench::new("- {when: rollout.status.phase == 'Degraded', repeatEvery: 1h, send: [bad]}");
    let all = bench.watch(0, 150 * MINUTE, 0, "Degraded");
    let wanted = [(0, "first bad to ops"), (HOUR, "again-1 bad to ops"), (2 * HOUR, "again-2 bad to ops")];
    assert_eq!(all, wanted.map(|(at, what)| (at, what.to_owned())));
    assert_eq!(
        State::parse(&bench.state).entries().next().unwrap().1,
        T + 2 * HOUR,
        "the record has the last time"
    );
    assert_eq!(bench.look(151 * MINUTE, "Healthy"), NOTHING);
    assert_eq!(bench.look(200 * MINUTE, "Degraded"), ["first bad to ops"]);
    assert_eq!(bench.look(259 * MINUTE, "Degraded"), NOTHING);
}

#[test]
fn once_per_is_not_told_again_in_another_episode() {
    let condition = "- {when: rollout.status.phase == 'Degraded', oncePer: rollout.status.hash, repeatEvery: 1h, resolve: [good], send: [bad]}";
    let mut bench = Bench::new(condition);
    assert_eq!(bench.look(0, "Degraded"), ["first bad to ops"]);
    assert_eq!(bench.look(10, "Healthy"), ["ended good to ops"]);
    assert_eq!(bench.watch(20, 3 * HOUR, 0, "Degraded").len(), 0);
    assert_eq!(bench.look(3 * HOUR + 1, "Healthy"), NOTHING);
}

#[test]
fn a_clock_that_jumps_makes_nothing_early_lost_or_double() {
    for jump in [DAY, -DAY, 30 * DAY, -30 * DAY] {
        // After a minute of waiting the clock jumps; four minutes are left.
        let mut bench = Bench::new(FOR);
        assert_eq!(bench.look(0, "Degraded"), NOTHING);
        assert_eq!(bench.look(MINUTE, "Degraded"), NOTHING);
        let all = bench.watch(MINUTE + 1, HOUR, jump, "Degraded");
        // What passed since the last look is not known, so it does not count.
        assert_eq!(all, [(5 * MINUTE + 1, "first bad to ops".to_owned())], "jump {jump}");
        // Back again: it was told, once.
        assert_eq!(bench.watch(HOUR, 2 * HOUR, 0, "Degraded").len(), 0, "jump {jump}");

        let mut bench =
            Bench::new("- {when: rollout.status.phase == 'Degraded', repeatEvery: 1h, send: [bad]}");
        let mut all = bench.watch(0, 10 * MINUTE, 0, "Degraded");
        all.extend(bench.watch(10 * MINUTE + 1, 90 * MINUTE, jump, "Degraded"));
        let wanted = [(0, "first bad to ops".to_owned()), (HOUR + 1, "again-1 bad to ops".to_owned())];
        assert_eq!(all, wanted, "jump {jump}");

        let mut bench =
            Bench::new("- {when: rollout.status.phase == 'Degraded', resolve: [good], send: [bad]}");
        assert_eq!(bench.look(0, "Degraded"), ["first bad to ops"]);
        assert_eq!(bench.look(jump, "Degraded"), NOTHING, "jump {jump}");
        assert_eq!(bench.look(1, "Healthy"), ["ended good to ops"], "jump {jump}");
    }
}

#[test]
fn looks_that_are_always_late_count() {
    // A job that runs once an hour.
    let mut bench = Bench::new(FOR);
    let due: Vec<usize> = (0..6).map(|hour| bench.look(hour * HOUR, "Degraded").len()).collect();
    assert_eq!(due, [0, 0, 1, 0, 0, 0]);
}

#[test]
fn a_long_wait_is_looked_at_meanwhile() {
    let mut bench = Bench::new("- {when: rollout.status.phase == 'Degraded', for: 72h, send: [bad]}");
    assert_eq!(bench.look(0, "Degraded"), NOTHING);
    assert_eq!(bench.next(), Some(10 * MINUTE));
    assert_eq!(bench.look(DAY, "Degraded"), NOTHING);
    assert_eq!(bench.watch(DAY + 1, 10 * DAY, 0, "Degraded"), [(4 * DAY, "first bad to ops".to_owned())]);
}

#[test]
fn hostile_records_are_harmless() {
    for held in [
        format!(
            "{{\"seen\":{},\"next\":{},\"c\":{{\"on-bad:[0].x\":{{\"since\":{}}}}}}}",
            i64::MIN,
            i64::MAX,
            i64::MAX
        ),
        format!("{{\"seen\":{},\"next\":{},\"late\":true}}", i64::MAX, i64::MIN),
        "{\"c\":{\"on-bad:[0].znepfVmnAvPuvsSa8G4jaiZ4500\":{\"since\":-9223372036854775808}}}".to_owned(),
        "{\"c\":{\"on-bad:[0].znepfVmnAvPuvsSa8G4jaiZ4500\":{\"since\":9223372036854775807}}}".to_owned(),
    ] {
        let mut bench = Bench::new(FOR);
        bench.held = held;
        let first = bench.look(0, "Degraded").len();
        bench.look(5 * MINUTE, "Degraded");
        bench.look(10 * MINUTE, "Degraded");
        assert!(first <= 1);
        assert!(State::parse(&bench.state).len() <= 1);
    }
}

fn happened(reason: &'static str, id: &str) -> Occurrence {
    Occurrence {
        reason: reason.into(),
        event_type: EventType::Warning,
        id: id.into(),
        time: None,
        message: String::new(),
        facts: BTreeMap::new(),
        object: None,
    }
}

#[test]
fn an_event_that_cannot_be_told_is_not_lost() {
    for (service, template, reason) in [
        ("service.other", "template.bad", "there is no usable service `slack`"),
        ("service.slack", "template.other", "there is no usable template `bad`"),
    ] {
        let mut bench = Bench::new(FOR);
        bench.config = load(&[
            (service, "token: x"),
            (template, "message: it is bad"),
            ("trigger.on-rollout-aborted", "- send: [bad]"),
            ("trigger.on-bad", "- {when: rollout.status.phase == 'Degraded', send: [bad]}"),
            ("subscriptions", "[{recipients: [slack:ops], triggers: [on-rollout-aborted, on-bad]}]"),
        ]);
        let now = Timestamp::from_second(T).unwrap();
        assert_eq!(bench.decide(now, "Degraded", &[happened("RolloutAborted", "a1")]), NOTHING);
        // The condition still holds at the next look, so it is not among them.
        let [lost] = &bench.last.undeliverable[..] else { panic!("{:#?}", bench.last) };
        assert_eq!((lost.due.trigger.as_str(), lost.reason.as_str()), ("on-rollout-aborted", reason));
        assert!(!lost.due.comes_again() && lost.due.key.starts_with("a1:"));
        assert_eq!(bench.state, "", "what was not sent is not recorded");
    }
}

#[test]
fn an_end_that_cannot_be_told_is_not_lost() {
    let condition = "- {when: rollout.status.phase == 'Degraded', resolve: [good], send: [bad]}";
    let mut bench = Bench::new(condition);
    assert_eq!(bench.look(0, "Degraded").len(), 1);
    bench.config = load(&[
        ("service.slack", "token: x"),
        ("template.bad", "message: it is bad"),
        ("trigger.on-bad", condition),
        ("subscriptions", "[{recipients: [slack:ops], triggers: [on-bad]}]"),
    ]);
    assert_eq!(bench.look(1, "Healthy"), NOTHING);
    assert_eq!(bench.last.undeliverable.len(), 1);
    assert_eq!(bench.last.undeliverable[0].due.turn, Turn::Ended);
}

#[test]
fn what_is_taken_back_is_due_again() {
    let mut bench = Bench::new("- {when: rollout.status.phase == 'Degraded', resolve: [good], send: [bad]}");
    assert_eq!(bench.look(0, "Degraded").len(), 1);
    let due = bench.last.due[0].clone();
    bench.last.take_back(&due);
    bench.state = bench.last.state.to_text().unwrap_or_default();
    bench.held = serde_json::to_string(&bench.last.held).unwrap();
    assert_eq!(bench.look(1, "Degraded"), ["first bad to ops"]);
}

#[test]
fn an_event_does_not_last() {
    let mut bench = Bench::new(FOR);
    bench.config = load(&[
        ("service.slack", "token: x"),
        ("template.bad", "message: it is bad"),
        ("trigger.on-rollout-aborted", FOR),
        ("subscriptions", "[{recipients: [slack:ops], triggers: [on-rollout-aborted]}]"),
    ]);
    let at = |second| Timestamp::from_second(T + second).unwrap();
    assert_eq!(bench.decide(at(0), "Degraded", &[happened("RolloutAborted", "a1")]), NOTHING);
    assert_eq!(bench.stopped().unwrap().0, GateName::HeldLongEnough);
    assert_eq!(bench.decide(at(300), "Degraded", &[]), ["first bad to ops"]);
}

#[test]
fn the_condition_shows_what_its_parts_were() {
    let mut bench = Bench::new(
        "- {when: rollout.status.phase == 'Degraded' && rollout.spec.x == nil && secrets.token == nil && time.Now() != nil, send: [bad]}",
    );
    assert_eq!(bench.look(0, "Healthy"), NOTHING);
    let gate = bench.last.chains[0].stopped_by().unwrap();
    assert_eq!(gate.name, GateName::Condition);
    let values: Vec<(&str, &str)> = gate.values.iter().map(|v| (&*v.text, &*v.value)).collect();
    let wanted =
        [("rollout.status.phase", "`Healthy`"), ("rollout.spec.x", "nil"), ("secrets.token", "a secret")];
    assert_eq!(values, wanted);
    assert!(gate.detail.contains(" is false: `rollout.status.phase` is `Healthy`, "), "{}", gate.detail);
}
