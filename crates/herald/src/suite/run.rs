//! Runs the tests of a file.

use herald_core::{
    config::ConfigInput,
    diagnostic::Severity,
    explain::{Explanation, Verdict},
    yaml::Position,
};
use herald_value::Value;

use super::{
    expect::{self, Difference},
    file::{Expected, Step, Test, TestFile},
};
use crate::{
    failure::Failure,
    input::ConfigArgs,
    pipeline::configuration,
    scene::{self, Configured, Scene},
    simulation::{Made, Outcome, Simulation},
};

/// What became of a test.
pub(crate) struct Ran {
    pub(crate) name: String,
    pub(crate) at: Position,
    pub(crate) steps: Vec<RanStep>,
}

impl Ran {
    pub(crate) fn passed(&self) -> bool {
        self.steps.iter().all(|step| step.problems.is_empty())
    }
}

/// What became of a step.
pub(crate) struct RanStep {
    pub(crate) now: jiff::Timestamp,
    pub(crate) problems: Vec<Problem>,
    /// What was made, each with the expectation that it fulfils whole.
    pub(crate) made: Vec<(Made, Option<usize>)>,
}

/// Why a step is not as expected.
pub(crate) enum Problem {
    /// An expected notice was not made: it, and why not.
    Missing(String, String),
    /// A notice was made that is not expected: it, and its message.
    Unexpected(String, String),
    /// A notice differs: it, where it is expected, and how.
    Different(String, Position, Vec<Difference>),
    /// A notice could not be made.
    Broken(String),
}

/// Runs a file; gives what became of its tests.
pub(crate) fn run(file: &TestFile, args: &ConfigArgs) -> Result<Vec<Ran>, Failure> {
    let configured = configured(file, args)?;
    file.tests.iter().map(|test| one(test, &configured)).collect()
}

/// The configuration of a file. One that is partly wrong is no base for a test.
fn configured(file: &TestFile, args: &ConfigArgs) -> Result<Configured, Failure> {
    let mut scene = Scene::default();
    for path in &file.configuration {
        scene.add(&path.to_string_lossy())?;
    }
    let mut input: ConfigInput = configuration::input(args, &scene.world, &scene.reporter)?;
    for (key, value) in &file.secret {
        input.secret.insert(key.clone(), value.clone().into_bytes());
    }
    if !file.configuration.is_empty() && input.data.is_empty() {
        return Err(Failure::bad(format!(
            "{}: the files of `configuration` have no ConfigMap {}",
            file.path.display(),
            herald_core::config::CONFIG_MAP
        )));
    }
    let configured = Configured::of(&input);
    let errors: Vec<String> = configured
        .loading
        .iter()
        .filter(|diagnostic| diagnostic.severity == Severity::Error)
        .map(ToString::to_string)
        .collect();
    if errors.is_empty() {
        return Ok(configured);
    }
    Err(Failure::bad(format!("{}the configuration of {} is wrong", errors.concat(), file.path.display())))
}

fn one(test: &Test, configured: &Configured) -> Result<Ran, Failure> {
    let mut simulation = Simulation::new(configured.clone());
    let mut rollout: Option<Value> = None;
    let mut steps = Vec::new();
    for step in &test.steps {
        let mut outcome = Outcome::default();
        simulation.pass(step.now, &mut outcome);
        let changes = changes(step, &mut rollout).map_err(|message| {
            Failure::bad(format!("test `{}`, line {}: {message}", test.name, step.holder.line))
        })?;
        if changes.is_empty() {
            simulation.look_again(step.now, &mut outcome);
        } else {
            simulation.change(changes, step.now, step.silent, &mut outcome);
        }
        steps.push(judge(step, outcome));
    }
    Ok(Ran { name: test.name.clone(), at: test.at, steps })
}

/// What a step brings. The last Rollout is kept, so that a patch changes it.
fn changes(step: &Step, rollout: &mut Option<Value>) -> Result<Vec<herald_sources::Change>, String> {
    use herald_sources::Change;
    let mut changes = Vec::new();
    for file in &step.files {
        changes.extend(herald_sources::directory::file(file).map_err(|problem| problem.to_string())?);
    }
    for object in &step.objects {
        changes.extend(scene::upserts(object)?);
    }
    let is_rollout = |change: &Change| matches!(change, Change::Upsert { key, .. } if key.kind == "Rollout");
    let mut place = changes.iter().position(is_rollout);
    if place.is_none()
        && step.patch.is_some()
        && let Some(object) = rollout.as_ref()
    {
        changes.extend(scene::upserts(object)?);
        place = changes.len().checked_sub(1);
    }
    if let Some(patch) = &step.patch {
        let Some(Change::Upsert { object, .. }) = place.and_then(|place| changes.get_mut(place)) else {
            return Err("there is no Rollout that `patch` could change".into());
        };
        *object = merge(object, patch);
    }
    if let Some(Change::Upsert { object, .. }) = place.and_then(|place| changes.get(place)) {
        *rollout = Some(object.clone());
    }
    if step.delete {
        let Some(object) = rollout.take() else { return Err("there is no Rollout to delete".into()) };
        let keys = herald_sources::directory::objects(&object)?;
        changes.extend(keys.into_iter().map(|(key, _)| Change::Delete { key }));
    }
    Ok(changes)
}

/// A JSON merge patch: maps are merged, null removes, all else replaces.
fn merge(object: &Value, patch: &Value) -> Value {
    let Some(entries) = patch.as_map().map(|map| map.entries()) else { return patch.clone() };
    let empty = Value::map::<&str>([]).unwrap_or_default();
    let mut merged = if object.as_map().is_some() { object.clone() } else { empty };
    for (key, value) in entries {
        let Some(map) = merged.as_map() else { break };
        let changed = if value.is_nil() {
            map.without(key.as_bytes())
        } else {
            let below = merge(map.get_bytes(key.as_bytes()).unwrap_or(&Value::Nil), value);
            match map.with(key.clone(), below) {
                Ok(changed) => changed,
                // Nested too deep for any object.
                Err(_) => continue,
            }
        };
        merged = Value::Map(changed.into());
    }
    merged
}

/// Compares what was made with what was expected.
fn judge(step: &Step, outcome: Outcome) -> RanStep {
    let mut problems: Vec<Problem> = Vec::new();
    for broken in outcome.broken {
        if !problems.iter().any(|problem| matches!(problem, Problem::Broken(told) if *told == broken)) {
            problems.push(Problem::Broken(broken));
        }
    }
    let mut made: Vec<(Made, Option<usize>)> = outcome.made.into_iter().map(|made| (made, None)).collect();
    let Some(expect) = &step.expect else {
        if step.is_all {
            problems
                .push(Problem::Broken("it expects nothing: write `expect`, or let --update write it".into()));
        }
        return RanStep { now: step.now, problems, made };
    };
    // Which notice stands for which expectation: of those for the same destination, one that fits whole goes first.
    let mut taken: Vec<bool> = made.iter().map(|_| false).collect();
    let fits = |expected: &Expected, made: &Made| {
        made.notice.trigger == expected.trigger
            && (destination(made) == expected.to || made.notice.service == expected.to)
    };
    let mut open: Vec<usize> = Vec::new();
    for (number, expected) in expect.iter().enumerate() {
        let whole = made.iter().enumerate().position(|(index, (one, _))| {
            taken.get(index) == Some(&false) && fits(expected, one) && differences(expected, one).is_empty()
        });
        match whole.and_then(|index| Some((taken.get_mut(index)?, made.get_mut(index)?))) {
            Some((taken, (_, fulfils))) => (*taken, *fulfils) = (true, Some(number)),
            None => open.push(number),
        }
    }
    for expected in open.into_iter().filter_map(|number| expect.get(number)) {
        let name = format!("{} → {}", expected.trigger, expected.to);
        let near = made
            .iter()
            .enumerate()
            .position(|(index, (one, _))| taken.get(index) == Some(&false) && fits(expected, one));
        match near.and_then(|index| Some((taken.get_mut(index)?, made.get(index)?))) {
            Some((taken, (one, _))) => {
                *taken = true;
                problems.push(Problem::Different(name, expected.at, differences(expected, one)));
            }
            None => problems.push(Problem::Missing(name, why_not(expected, &outcome.explanations))),
        }
    }
    for ((one, _), _) in made.iter().zip(&taken).filter(|(_, taken)| !**taken) {
        let first = one.notification.message.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let name = format!("{} → {}", one.notice.trigger, destination(one));
        problems.push(Problem::Unexpected(name, first.trim().to_owned()));
    }
    RanStep { now: step.now, problems, made }
}

/// To whom, as tests write it.
pub(crate) fn destination(made: &Made) -> String {
    let notice = &made.notice;
    match notice.recipient.as_str() {
        "" => notice.service.clone(),
        recipient => format!("{}:{recipient}", notice.service),
    }
}

fn differences(expected: &Expected, made: &Made) -> Vec<Difference> {
    let json = serde_json::to_value(&made.notification).unwrap_or_default();
    let mut out = Vec::new();
    for (field, node) in &expected.fields {
        expect::compare(field, node, json.get(field), &mut out);
    }
    out
}

/// Why an expected notice was not made: what the decision says.
fn why_not(expected: &Expected, explanations: &[Explanation]) -> String {
    let answers = explanations.iter().rev().flat_map(|explanation| &explanation.answers);
    let mut of_trigger = answers.filter(|answer| answer.trigger == expected.trigger).peekable();
    if of_trigger.peek().is_none() {
        let triggers = explanations.iter().flat_map(|one| &one.answers).map(|answer| answer.trigger.as_str());
        let near = herald_core::names::nearest(&expected.trigger, triggers);
        let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        return format!("nobody is subscribed to `{}`{near}", expected.trigger);
    }
    let mut others: Vec<String> = Vec::new();
    let mut best: Option<(Verdict, &str)> = None;
    for answer in of_trigger {
        let to = answer.to.to_string();
        if to == expected.to || answer.to.service == expected.to {
            // What is wrong tells more than what is quiet.
            if best.is_none_or(|(verdict, _)| answer.verdict > verdict) {
                best = Some((answer.verdict, &answer.sentence));
            }
        } else if !others.contains(&to) {
            others.push(to);
        }
    }
    match best {
        Some((Verdict::Due, _)) => "it was made once, and is expected more often".to_owned(),
        Some((_, sentence)) => sentence.to_owned(),
        None => format!(
            "`{}` is not subscribed to `{}`; subscribed are {}",
            expected.to,
            expected.trigger,
            others.join(", ")
        ),
    }
}
