//! Comparing what the controller sent with what was derived.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
};

use herald_value::Value;

use super::{
    Derived,
    recording::{Sent, text},
};
use crate::lifecycle::reasons::{self, Origin};

/// The fields that templates look at, compared in each object.
const FIELDS: &[&[&str]] = &[
    &["metadata", "annotations", "rollout.argoproj.io/revision"],
    &["spec", "replicas"],
    &["status", "currentStepIndex"],
    &["status", "phase"],
    &["status", "stableRS"],
    &["status", "currentPodHash"],
    &["status", "replicas"],
    &["status", "updatedReplicas"],
    &["status", "readyReplicas"],
    &["status", "availableReplicas"],
];

/// The result of a replay.
#[derive(Clone, Debug, Default)]
pub struct ReplayReport {
    /// One for each Rollout.
    pub subjects: Vec<SubjectReport>,
}

/// The comparison for one Rollout.
#[derive(Clone, Debug, Default)]
pub struct SubjectReport {
    /// Its uid.
    pub uid: String,
    /// Its name.
    pub name: String,
    /// Both sides, beside each other.
    pub rows: Vec<Row>,
    /// What differs.
    pub differences: Vec<Difference>,
    /// How many notifications stand in another order inside one reconcile of the controller. That is no difference.
    pub reordered: usize,
}

/// One line of the comparison.
#[derive(Clone, Debug)]
pub struct Row {
    /// The trigger that the controller sent.
    pub sent: Option<String>,
    /// The trigger that was derived.
    pub derived: Option<String>,
    /// A word on it: the id of what was derived, or what differs.
    pub note: String,
}

/// Something that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// How.
    pub kind: DifferenceKind,
    /// The trigger.
    pub trigger: String,
    /// More on it.
    pub detail: String,
    /// Why it is right that this differs, if it is one of the differences that are meant.
    pub meant: Option<&'static str>,
}

/// How the two sides differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DifferenceKind {
    /// The controller sent it, and it wasn't derived.
    Missing,
    /// It was derived, and the controller didn't send it.
    Extra,
    /// Both have it, at another place.
    Order,
    /// Both have it, and the template would see another object.
    Object,
}

impl fmt::Display for DifferenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DifferenceKind::Missing => "missing",
            DifferenceKind::Extra => "extra",
            DifferenceKind::Order => "order",
            DifferenceKind::Object => "object",
        })
    }
}

impl ReplayReport {
    /// Whether nothing differs.
    pub fn is_equal(&self) -> bool {
        self.subjects.iter().all(|subject| subject.differences.is_empty())
    }

    /// The differences that are not meant.
    pub fn unexplained(&self) -> impl Iterator<Item = &Difference> {
        self.subjects.iter().flat_map(|subject| &subject.differences).filter(|d| d.meant.is_none())
    }
}

impl fmt::Display for ReplayReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for subject in &self.subjects {
            writeln!(f, "Rollout {} ({})", subject.name, subject.uid)?;
            writeln!(f, "  {:<34} {:<34} ", "controller", "derived")?;
            for row in &subject.rows {
                let (sent, derived) =
                    (row.sent.as_deref().unwrap_or("-"), row.derived.as_deref().unwrap_or("-"));
                writeln!(f, "{}", format!("  {sent:<34} {derived:<34} {}", row.note).trim_end())?;
            }
            let meant = subject.differences.iter().filter(|d| d.meant.is_some()).count();
            writeln!(f, "  {} differences, {meant} of them meant", subject.differences.len())?;
            for difference in &subject.differences {
                let Difference { kind, trigger, detail, meant } = difference;
                let why = meant.map(|why| format!(" ({why})")).unwrap_or_default();
                writeln!(f, "    {kind}: {trigger} {detail}{why}")?;
            }
        }
        Ok(())
    }
}

/// What the controller sends from its informer, at no fixed place among the others.
const UNORDERED: &str = "on-rollout-added-to-informer";

pub(super) fn compare(sent: &[Sent], derived: &[Derived]) -> ReplayReport {
    let mut subjects: BTreeMap<&str, (Vec<&Sent>, Vec<&Derived>, &str)> = BTreeMap::new();
    for sent in sent {
        let entry = subjects.entry(text(&sent.object, &["metadata", "uid"])).or_default();
        entry.2 = text(&sent.object, &["metadata", "name"]);
        entry.0.push(sent);
    }
    for derived in derived {
        let entry = subjects.entry(&derived.uid).or_default();
        if !derived.name.is_empty() {
            entry.2 = &derived.name;
        }
        entry.1.push(derived);
    }
    let subjects = subjects.into_iter().map(|(uid, (sent, derived, name))| SubjectReport {
        uid: uid.to_owned(),
        name: name.to_owned(),
        ..compare_subject(&sent, &derived)
    });
    ReplayReport { subjects: subjects.collect() }
}

fn trigger(derived: &Derived) -> &str {
    reasons::find(&derived.occurrence.reason).map_or(&*derived.occurrence.reason, |known| known.trigger)
}

fn is_ours(derived: &Derived) -> bool {
    reasons::find(&derived.occurrence.reason).is_some_and(|known| known.origin == Origin::Ours)
}

/// Whether an Event told it.
fn is_heard(derived: &Derived) -> bool {
    let canary = |o: &Value| o.path(&["spec", "strategy", "canary"]).is_some_and(|c| !c.is_nil());
    reasons::find(&derived.occurrence.reason).is_some_and(|known| match known.origin {
        Origin::EventOnly => true,
        _ => known.reason == "SwitchService" && derived.occurrence.object.as_ref().is_some_and(canary),
    })
}

fn version(sent: &Sent) -> &str {
    text(&sent.object, &["metadata", "resourceVersion"])
}

fn compare_subject(sent: &[&Sent], derived: &[&Derived]) -> SubjectReport {
    let mut report = SubjectReport::default();
    let (sent_first, sent): (Vec<&Sent>, Vec<&Sent>) = sent.iter().partition(|s| s.trigger == UNORDERED);
    let (derived_first, derived): (Vec<&Derived>, Vec<&Derived>) =
        derived.iter().partition(|d| trigger(d) == UNORDERED);
    for nth in 0..sent_first.len().max(derived_first.len()) {
        report.pair(sent_first.get(nth).copied(), derived_first.get(nth).copied(), &sent);
    }

    let comparable: Vec<&Derived> = derived.iter().filter(|d| !is_ours(d)).copied().collect();
    let matches = align(&sent, &comparable);
    let mut pairs: Vec<(Option<usize>, Option<usize>)> = Vec::new();
    let (mut s, mut d) = (0, 0);
    for (i, j) in matches.into_iter().chain([(sent.len(), comparable.len())]) {
        pairs.extend((s..i).map(|s| (Some(s), None)));
        pairs.extend((d..j).map(|d| (None, Some(d))));
        if i < sent.len() && j < comparable.len() {
            pairs.push((Some(i), Some(j)));
        }
        (s, d) = (i + 1, j + 1);
    }
    let moved = moved(&sent, &comparable, &mut pairs);
    report.reordered = moved.iter().filter(|(_, in_window)| *in_window).count();
    let out_of_window = moved.iter().filter(|(_, in_window)| !in_window);
    report.differences.extend(out_of_window.filter_map(|(s, _)| {
        let trigger = sent.get(*s)?.trigger.clone();
        Some(Difference { kind: DifferenceKind::Order, trigger, detail: String::new(), meant: None })
    }));

    // What is ours stands where it was derived.
    let mut place = 0;
    for (s, d) in pairs {
        if let Some(d) = d.and_then(|d| comparable.get(d)) {
            while let Some(next) = derived.get(place).filter(|next| is_ours(next)) {
                report.row(None, Some(next), "ours");
                place += 1;
            }
            if derived.get(place).is_some_and(|next| std::ptr::eq(*next, *d)) {
                place += 1;
            }
        }
        let (s, d) = (s.and_then(|s| sent.get(s)).copied(), d.and_then(|d| comparable.get(d)).copied());
        report.pair(s, d, &sent);
    }
    for rest in derived.iter().skip(place).filter(|d| is_ours(d)) {
        report.row(None, Some(rest), "ours");
    }
    report
}

impl SubjectReport {
    fn row(&mut self, sent: Option<&Sent>, derived: Option<&Derived>, note: &str) {
        self.rows.push(Row {
            sent: sent.map(|sent| sent.trigger.clone()),
            derived: derived.map(|derived| trigger(derived).to_owned()),
            note: note.to_owned(),
        });
    }

    fn pair(&mut self, sent: Option<&Sent>, derived: Option<&Derived>, all: &[&Sent]) {
        let meant = match (sent, derived) {
            (Some(sent), None) => meant_to_miss(sent, all),
            (Some(_), Some(derived)) if is_heard(derived) => {
                Some("its Event comes by a watch of its own, when the Rollout has gone on")
            }
            (None, Some(derived))
                if is_heard(derived) && all.iter().all(|sent| sent.trigger != trigger(derived)) =>
            {
                Some("the controller's configuration in the recording has no such trigger")
            }
            (None, Some(derived)) if derived.occurrence.reason == "NewReplicaSetCreated" => Some(
                "the controller lost a conflict after it had created the ReplicaSet, and reports it as found",
            ),
            _ => None,
        };
        let difference = match (sent, derived) {
            (Some(sent), Some(derived)) => {
                let detail = fields(&sent.object, derived.occurrence.object.as_ref());
                (!detail.is_empty()).then(|| (DifferenceKind::Object, sent.trigger.clone(), detail))
            }
            (Some(sent), None) => {
                let detail = format!("at version {}", version(sent));
                Some((DifferenceKind::Missing, sent.trigger.clone(), detail))
            }
            (None, Some(derived)) => {
                let trigger = trigger(derived).to_owned();
                Some((DifferenceKind::Extra, trigger, derived.occurrence.id.clone()))
            }
            (None, None) => None,
        };
        let note =
            difference.as_ref().map_or_else(String::new, |(kind, _, detail)| format!("{kind}: {detail}"));
        self.row(sent, derived, &note);
        self.differences.extend(difference.map(|(kind, trigger, detail)| Difference {
            kind,
            trigger,
            detail,
            meant,
        }));
    }
}

/// Why it is right that something the controller sent isn't derived.
fn meant_to_miss(missing: &Sent, all: &[&Sent]) -> Option<&'static str> {
    let known = reasons::of_trigger(&missing.trigger);
    let canary = missing.object.path(&["spec", "strategy", "canary"]).is_some_and(|c| !c.is_nil());
    let same = |other: &&&Sent| other.trigger == missing.trigger && version(other) == version(missing);
    if missing.trigger == UNORDERED {
        Some("the controller reports every Rollout again whenever it starts")
    } else if known.is_some_and(|known| known.origin == Origin::EventOnly)
        || missing.trigger == "on-switch-service" && canary
    {
        Some("only its Kubernetes Event shows it, and the controller's client dropped that")
    } else if missing.trigger != "on-scaling-replica-set" && all.iter().filter(same).count() > 1 {
        Some("the controller sent it more than once")
    } else {
        None
    }
}

fn fields(sent: &Value, derived: Option<&Value>) -> String {
    let mut detail = String::new();
    for path in FIELDS {
        let show = |object: Option<&Value>| {
            let value = object.and_then(|o| o.path(path)).filter(|v| !v.is_nil());
            match value {
                Some(Value::Float(x)) => format!("{x:.0}"),
                Some(Value::Int(n, _)) => n.to_string(),
                Some(value) => value.as_str().unwrap_or_default().to_owned(),
                // Typed objects leave out zeros.
                None if path.last().is_some_and(|last| last.ends_with("eplicas")) => "0".to_owned(),
                None => String::new(),
            }
        };
        let (was, is) = (show(Some(sent)), show(derived));
        if was != is {
            let _ = write!(
                detail,
                "{}{}={was}/{is}",
                if detail.is_empty() { "" } else { " " },
                path.last().unwrap_or(&"")
            );
        }
    }
    detail
}

/// The longest common subsequence of the triggers, as pairs of indexes; of equally long ones, one that pairs
/// what belongs to the same version of the object.
fn align(sent: &[&Sent], derived: &[&Derived]) -> Vec<(usize, usize)> {
    let width = derived.len() + 1;
    let mut best = vec![0_u32; (sent.len() + 1) * width];
    let at = |i: usize, j: usize| i * width + j;
    let same = |i: usize, j: usize| match (sent.get(i), derived.get(j)) {
        (Some(s), Some(d)) if s.trigger == trigger(d) => 2 + u32::from(version(s) == d.version),
        _ => 0,
    };
    let get = |best: &[u32], i: usize, j: usize| best.get(at(i, j)).copied().unwrap_or(0);
    for i in (0..sent.len()).rev() {
        for j in (0..derived.len()).rev() {
            let skip = get(&best, i + 1, j).max(get(&best, i, j + 1));
            let value = match same(i, j) {
                0 => skip,
                worth => skip.max(get(&best, i + 1, j + 1) + worth),
            };
            if let Some(slot) = best.get_mut(at(i, j)) {
                *slot = value;
            }
        }
    }
    let (mut i, mut j, mut pairs) = (0, 0, Vec::new());
    while i < sent.len() && j < derived.len() {
        let worth = same(i, j);
        if worth > 0 && get(&best, i, j) == get(&best, i + 1, j + 1) + worth {
            pairs.push((i, j));
            (i, j) = (i + 1, j + 1);
        } else if get(&best, i + 1, j) >= get(&best, i, j + 1) {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs
}

/// Pairs what stands on both sides at different places, nearest first. Tells for each whether the difference
/// stays inside the notifications of one object version, which the controller sends from one reconcile.
fn moved(
    sent: &[&Sent],
    derived: &[&Derived],
    pairs: &mut Vec<(Option<usize>, Option<usize>)>,
) -> Vec<(usize, bool)> {
    /// How far apart, in rows, the two may stand.
    const NEAR: usize = 8;
    let mut moved = Vec::new();
    let mut at = 0;
    while at < pairs.len() {
        let Some(&(Some(s), None)) = pairs.get(at) else {
            at += 1;
            continue;
        };
        let wanted = sent.get(s).map(|s| s.trigger.as_str());
        let other = (1..=NEAR).flat_map(|gap| [at.checked_sub(gap), Some(at + gap)]).flatten().find(|place| {
            matches!(pairs.get(*place), Some(&(None, Some(d))) if derived.get(d).map(|d| trigger(d)) == wanted)
        });
        if let Some(other) = other {
            let d = pairs.get(other).and_then(|pair| pair.1);
            let version_of = |s: usize| sent.get(s).map(|s| version(s));
            let in_window = d.and_then(|d| derived.get(d)).map(|d| d.version.as_str()) == version_of(s);
            moved.push((s, in_window));
            if let Some(pair) = pairs.get_mut(at) {
                pair.1 = d;
            }
            pairs.remove(other);
            at = at.min(other);
        }
        at += 1;
    }
    moved
}
