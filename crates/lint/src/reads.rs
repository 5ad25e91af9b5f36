//! Variables and fields that templates and expressions read and that are not there.

use herald_core::{
    diagnostic::{Diagnostic, Severity, codes},
    names::nearest,
    variables::BUILT_IN,
};

use crate::fields::{self, Found, Step};

/// Those that only templates have.
const IN_TEMPLATES: &[&str] = &["recipient", "serviceType"];

/// What is wrong with a path, and at which of its steps. Of other kinds than Rollouts the fields are not known.
pub(crate) fn check(path: &[Step<'_>], template: bool, kinds: &[String]) -> Option<(usize, Diagnostic)> {
    let (Step::Key(variable), rest) = path.split_first()? else { return None };
    if kinds.iter().any(|kind| kind == variable) {
        return None;
    }
    let known = || {
        let all = std::iter::once("rollout").chain(BUILT_IN.iter().copied());
        all.filter(|name| template || !IN_TEMPLATES.contains(name))
    };
    if !known().any(|name| name == *variable) {
        let message = format!("there is no variable `{variable}`");
        let hint = match *variable {
            "app" | "application" => {
                "`app` is a variable of Argo CD; for Argo Rollouts the object is `rollout`".to_owned()
            }
            "context" | "repo" | "appProject" => {
                format!("`{variable}` is a variable of Argo CD; Argo Rollouts has `rollout`, `analysisRuns`, `time` and `secrets`")
            }
            "metadata" | "spec" | "status" | "apiVersion" | "kind" => format!("write `rollout.{variable}`"),
            "analysisRun" => "write `analysisRuns`, a list".to_owned(),
            "recipient" | "serviceType" => format!("`{variable}` is known in templates only"),
            name => match nearest(name, known()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "the variables are rollout, analysisRuns, time, secrets, event, trigger, previous and diff"
                    .to_owned(),
            },
        };
        return Some((0, Diagnostic::new(Severity::Warning, codes::UNKNOWN_VARIABLE, message).hint(hint)));
    }
    match *variable {
        "rollout" | "previous" => field(variable, "Rollout", rest, 1),
        "analysisRuns" => match rest.split_first() {
            Some((Step::Item, rest)) => field("analysisRuns[]", "AnalysisRun", rest, 2),
            Some((Step::Key(name), _)) => {
                let message = format!("`analysisRuns` is a list, so it has no field `{name}`");
                let hint = if template {
                    format!(
                        "write `{{{{range .analysisRuns}}}}{{{{.{name}}}}}{{{{end}}}}` or `(index .analysisRuns 0).{name}`"
                    )
                } else {
                    format!("write `analysisRuns[0].{name}`, or use `any(analysisRuns, .{name} …)`")
                };
                Some((1, Diagnostic::new(Severity::Warning, codes::UNKNOWN_PATH, message).hint(hint)))
            }
            None => None,
        },
        "time" => match rest.first() {
            Some(Step::Key("Now" | "Parse")) | None | Some(Step::Item) => None,
            Some(Step::Key(name)) => {
                let message = format!("`time` has no function `{name}`");
                let hint = "it has `Now` and `Parse`";
                Some((1, Diagnostic::new(Severity::Warning, codes::UNKNOWN_PATH, message).hint(hint)))
            }
        },
        "event" => known_field("event", rest, &["reason", "type", "id", "message", "time", "facts"]),
        "diff" => known_field("diff", rest, &["images", "weights", "steps", "revision", "phase"]),
        "trigger" | "recipient" | "serviceType" => match rest.first() {
            Some(Step::Key(name)) => {
                let message = format!("`{variable}` is text, so it has no field `{name}`");
                Some((1, Diagnostic::new(Severity::Warning, codes::UNKNOWN_PATH, message)))
            }
            _ => None,
        },
        _ => None,
    }
}

fn known_field(variable: &str, rest: &[Step<'_>], known: &[&str]) -> Option<(usize, Diagnostic)> {
    let Some(Step::Key(name)) = rest.first() else { return None };
    if known.contains(name) {
        return None;
    }
    let message = format!("`{variable}` has no field `{name}`");
    let hint = match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("it has {}", known.join(", ")),
    };
    Some((1, Diagnostic::new(Severity::Warning, codes::UNKNOWN_PATH, message).hint(hint)))
}

fn field(shown: &str, kind: &str, rest: &[Step<'_>], skip: usize) -> Option<(usize, Diagnostic)> {
    let parent = |step: usize| {
        let mut text = shown.to_owned();
        for step in rest.iter().take(step) {
            match step {
                Step::Key(key) => {
                    text.push('.');
                    text.push_str(key);
                }
                Step::Item => text.push_str("[]"),
            }
        }
        text
    };
    let name = |step: usize| match rest.get(step) {
        Some(Step::Key(name)) => *name,
        _ => "[]",
    };
    match fields::follow(kind, rest) {
        Found::Unknown { step, near, known } => {
            let parent = parent(step);
            let message = format!("`{parent}` has no field `{}`", name(step));
            let hint = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None if known.len() <= 12 => format!("it has {}", known.join(", ")),
                None => match elsewhere(name(step)) {
                    Some(place) if kind == "Rollout" => format!("did you mean `{place}`?"),
                    _ => format!("see `kubectl explain {}.{}`", kind.to_lowercase(), parent_path(&parent)),
                },
            };
            let severity = Severity::Warning;
            Some((step + skip, Diagnostic::new(severity, codes::UNKNOWN_PATH, message).hint(hint)))
        }
        Found::NoFields { step, what } => {
            let parent = parent(step);
            let message = format!("`{parent}` is {what}, so it has no field `{}`", name(step));
            let mut diagnostic = Diagnostic::new(Severity::Warning, codes::UNKNOWN_PATH, message);
            if what == "a list" {
                diagnostic = diagnostic
                    .hint(format!("use an element of it, such as `{parent}[0]`, or go through all of them"));
            }
            Some((step + skip, diagnostic))
        }
        Found::Value { .. } | Found::Dark => None,
    }
}

fn parent_path(parent: &str) -> String {
    parent.split_once('.').map_or("", |(_, rest)| rest).replace("[]", "")
}

/// Fields that are often looked for in the wrong place.
fn elsewhere(name: &str) -> Option<&'static str> {
    Some(match name {
        "phase" | "health" => "rollout.status.phase",
        "image" | "containers" | "images" => "rollout.spec.template.spec.containers",
        "revision" => "index .rollout.metadata.annotations \"rollout.argoproj.io/revision\"",
        "name" => "rollout.metadata.name",
        "namespace" => "rollout.metadata.namespace",
        "labels" => "rollout.metadata.labels",
        "annotations" => "rollout.metadata.annotations",
        "steps" => "rollout.spec.strategy.canary.steps",
        "weight" | "weights" => "rollout.status.canary.weights",
        _ => return None,
    })
}
