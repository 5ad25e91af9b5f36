//! Conditions that can never be true, and parts of them that are always the same.

use herald_core::{
    diagnostic::{Diagnostic, Severity, codes},
    names::nearest,
};
use herald_expr::analysis::{Access, Analysis, Compared, Comparison, Step as ExprStep};
use herald_value::Value;

use crate::fields::{self, Found, Kind, Step};

/// What is wrong with a condition; each with the byte of the source at which it stands.
pub(crate) fn check(analysis: &Analysis, source: &str) -> Vec<(usize, Diagnostic)> {
    let mut found = Vec::new();
    match &analysis.constant {
        Some(Value::Bool(false)) => {
            found.push((0, never("this is always false, so the condition never holds".into())));
            return found;
        }
        Some(Value::Bool(true)) | None => {}
        Some(value) => {
            let what = describe(value);
            let message = format!("this is always {what}, which is no boolean, so the condition never holds");
            found.push((0, never(message).hint("compare it with something")));
            return found;
        }
    }
    if let Some(ty) = &analysis.never_boolean {
        let message = format!("this gives {ty} and no boolean, so the condition never holds");
        found.push((0, never(message).hint("compare it with something")));
    }
    if let Some(access) = &analysis.result
        && let Some((kind, list)) = kind_of(access)
        && (list || !matches!(kind, Kind::Bool | Kind::Any))
    {
        let what = if list { "a list" } else { kind.describe() };
        let message = format!("`{access}` is {what} and no boolean, so the condition never holds");
        found.push((0, never(message).hint(format!("compare it with something, such as `{access} == …`"))));
    }
    for compared in &analysis.comparisons {
        found.extend(comparison(compared, source));
    }
    found.extend(contradictions(analysis));
    found
}

fn never(message: String) -> Diagnostic {
    Diagnostic::new(Severity::Error, codes::NEVER_TRUE, message)
}

/// What a path leads to, where that is known.
fn kind_of(access: &Access) -> Option<(Kind, bool)> {
    let mut steps = access.steps.iter().map(|(step, _)| match step {
        ExprStep::Key(key) => Step::Key(key),
        ExprStep::Item => Step::Item,
    });
    let variable = steps.next()?;
    let rest: Vec<Step<'_>> = steps.collect();
    let found = match variable {
        Step::Key("rollout" | "previous") => fields::follow("Rollout", &rest),
        Step::Key("analysisRuns") => match rest.split_first() {
            Some((Step::Item, rest)) => fields::follow("AnalysisRun", rest),
            None => return Some((Kind::Any, true)),
            _ => return None,
        },
        Step::Key("trigger" | "serviceType" | "recipient") => return Some((Kind::Text, false)),
        _ => return None,
    };
    match found {
        Found::Value { kind, list, .. } => Some((kind, list)),
        _ => None,
    }
}

fn describe(value: &Value) -> String {
    match value {
        Value::Nil => "nil".into(),
        Value::Bool(value) => value.to_string(),
        value => match value.as_str() {
            Some(text) => format!("the text '{text}'"),
            None => format!("the number {}", herald_value::gofmt::to_text(value)),
        },
    }
}

/// Whether a value of that kind can equal a constant.
fn fits(kind: &Kind, constant: &Value) -> bool {
    match (kind, constant) {
        (_, Value::Nil) | (Kind::Any | Kind::Scalar, _) => true,
        (Kind::Bool, value) => matches!(value, Value::Bool(_)),
        (Kind::Text | Kind::Words(_), value) => value.as_str().is_some(),
        (Kind::Number, value) => !matches!(value, Value::Bool(_)) && value.as_str().is_none(),
        (Kind::Object, _) => false,
    }
}

fn comparison(compared: &Compared, source: &str) -> Vec<(usize, Diagnostic)> {
    let Some((kind, list)) = kind_of(&compared.access) else { return Vec::new() };
    let path = compared.access.to_string();
    let negative = matches!(compared.how, Comparison::NotEqual | Comparison::NotIn);
    let always = if negative { "true" } else { "false" };
    let mut found = Vec::new();
    if list && !compared.constants.iter().all(|(value, _)| value.is_nil()) {
        if compared.how != Comparison::Text {
            let message = format!("`{path}` is a list, so this is always {always}");
            let hint =
                format!("compare its elements: `any({path}, # == …)`, or its length: `len({path}) > 0`");
            found.push((compared.at, told(compared, negative, message).hint(hint)));
        }
        return found;
    }
    let ordered = matches!(
        compared.how,
        Comparison::Less | Comparison::LessOrEqual | Comparison::More | Comparison::MoreOrEqual
    );
    let mut wrong = 0;
    for (value, at) in &compared.constants {
        if compared.how == Comparison::Text {
            if !matches!(kind, Kind::Text | Kind::Words(_) | Kind::Any | Kind::Scalar) {
                let message = format!("`{path}` is {}, not text, so this fails", kind.describe());
                found.push((compared.at, told(compared, false, message)));
            }
            continue;
        }
        if !fits(&kind, value) {
            wrong += 1;
            let message = if ordered {
                format!(
                    "`{path}` is {}, which can't be ordered with {}, so this fails and counts as false",
                    kind.describe(),
                    describe(value)
                )
            } else {
                format!(
                    "`{path}` is {}, so it never equals {}: this is always {always}",
                    kind.describe(),
                    describe(value)
                )
            };
            let mut diagnostic = told(compared, negative, message);
            if let (Kind::Number, Some(text)) = (&kind, value.as_str())
                && text.parse::<f64>().is_ok()
            {
                diagnostic = diagnostic.hint(format!("write the number without quotes: `{text}`"));
            } else if let (Kind::Text | Kind::Words(_), None, false) =
                (&kind, value.as_str(), matches!(value, Value::Bool(_)))
            {
                diagnostic =
                    diagnostic.hint(format!("write it as text: `'{}'`", herald_value::gofmt::to_text(value)));
            } else if let (Kind::Bool, Some(text @ ("true" | "false"))) = (&kind, value.as_str()) {
                diagnostic = diagnostic.hint(format!("write it without quotes: `{text}`"));
            } else if let (Kind::Text | Kind::Words(_), Value::Bool(value)) = (&kind, value) {
                let word = if *value { "True" } else { "False" };
                diagnostic = diagnostic.hint(format!("it is text: `'{word}'`"));
            }
            found.push((*at, diagnostic));
            continue;
        }
        if let (Kind::Words(words), Some(text), false) = (&kind, value.as_str(), ordered)
            && !text.is_empty()
            && !words.contains(&text)
        {
            wrong += 1;
            let message = format!("`{path}` is never '{text}'");
            let near = words.iter().copied().find(|word| word.eq_ignore_ascii_case(text));
            let near = near.or_else(|| nearest(text, words.iter().copied())).or_else(|| alias(text, words));
            let hint = match near {
                Some(near) => format!("did you mean '{near}'?"),
                None => format!("it is one of {}", words.join(", ")),
            };
            found.push((*at, told(compared, negative, message).hint(hint)));
        }
    }
    // Of several words some are right: then the comparison can hold, and only those words are useless.
    if compared.how == Comparison::In && wrong < compared.constants.len() {
        for (_, diagnostic) in &mut found {
            diagnostic.severity = Severity::Warning;
        }
    }
    let _ = source;
    found
}

/// A part that decides the whole makes it an error, anything else a warning.
fn told(compared: &Compared, negative: bool, message: String) -> Diagnostic {
    let mut diagnostic = never(message);
    if !compared.decides || negative {
        diagnostic.severity = Severity::Warning;
    }
    diagnostic
}

/// Words of other tools for the same.
fn alias(text: &str, words: &[&'static str]) -> Option<&'static str> {
    let wanted = match text.to_lowercase().as_str() {
        "completed" | "complete" | "succeeded" | "success" | "synced" | "ok" => ["Healthy", "Successful"],
        "failed" | "failure" | "aborted" | "error" | "unhealthy" | "missing" => ["Degraded", "Failed"],
        "suspended" | "waiting" => ["Paused", "Paused"],
        "running" | "updating" | "inprogress" => ["Progressing", "Running"],
        _ => return None,
    };
    words.iter().copied().find(|word| wanted.contains(word))
}

/// Two parts of one `and` that can't both hold.
fn contradictions(analysis: &Analysis) -> Vec<(usize, Diagnostic)> {
    let mut found = Vec::new();
    let parts: Vec<&Compared> = analysis.comparisons.iter().filter(|part| part.decides).take(64).collect();
    for (index, first) in parts.iter().enumerate() {
        for second in parts
            .iter()
            .skip(index + 1)
            .filter(|second| second.access == without_places(&first.access, &second.access))
        {
            if !possible(first, second) {
                let message = format!(
                    "`{}` can't be this and what is asked before at the same time, so the condition never holds",
                    second.access
                );
                found.push((second.at, never(message).hint("use `or`, or `in [...]`, if either will do")));
            }
        }
    }
    found
}

/// The first access with the places of the second, so that they compare by their steps.
fn without_places(first: &Access, second: &Access) -> Access {
    let same = first.steps.len() == second.steps.len()
        && first.steps.iter().zip(&second.steps).all(|((a, _), (b, _))| a == b)
        && !first.steps.iter().any(|(step, _)| *step == ExprStep::Item);
    if same { second.clone() } else { Access { steps: Vec::new() } }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Bool(_) | Value::Nil => None,
        value if value.as_str().is_some() => None,
        value => herald_value::gofmt::to_text(value).parse().ok(),
    }
}

/// Whether some value satisfies both.
fn possible(first: &Compared, second: &Compared) -> bool {
    let wanted = |part: &Compared| -> Option<Vec<Value>> {
        matches!(part.how, Comparison::Equal | Comparison::In)
            .then(|| part.constants.iter().map(|(value, _)| value.clone()).collect())
    };
    match (wanted(first), wanted(second)) {
        (Some(values), _) => values.iter().any(|value| holds(second, value)),
        (_, Some(values)) => values.iter().any(|value| holds(first, value)),
        (None, None) => match (range(first), range(second)) {
            (Some((low, low_in, high, high_in)), Some((low2, low2_in, high2, high2_in))) => {
                let (low, low_in) =
                    if low2 > low || (low2 == low && !low2_in) { (low2, low2_in) } else { (low, low_in) };
                let (high, high_in) = if high2 < high || (high2 == high && !high2_in) {
                    (high2, high2_in)
                } else {
                    (high, high_in)
                };
                low < high || (low == high && low_in && high_in)
            }
            _ => true,
        },
    }
}

/// Whether a value satisfies a comparison; yes where that can't be told.
fn holds(part: &Compared, value: &Value) -> bool {
    let equal = |constant: &Value| match (number(constant), number(value)) {
        (Some(a), Some(b)) => a == b,
        _ => constant == value,
    };
    let any = part.constants.iter().any(|(constant, _)| equal(constant));
    match part.how {
        Comparison::Equal | Comparison::In => any,
        Comparison::NotEqual | Comparison::NotIn => !any,
        Comparison::Text => true,
        _ => match (number(value), range(part)) {
            (Some(value), Some((low, low_in, high, high_in))) => {
                (value > low || (low_in && value == low)) && (value < high || (high_in && value == high))
            }
            _ => true,
        },
    }
}

fn range(part: &Compared) -> Option<(f64, bool, f64, bool)> {
    let bound = number(&part.constants.first()?.0)?;
    Some(match part.how {
        Comparison::Less => (f64::NEG_INFINITY, false, bound, false),
        Comparison::LessOrEqual => (f64::NEG_INFINITY, false, bound, true),
        Comparison::More => (bound, false, f64::INFINITY, false),
        Comparison::MoreOrEqual => (bound, true, f64::INFINITY, false),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use herald_value::limits::Limits;

    use super::*;

    fn messages(source: &str) -> Vec<String> {
        let analysis = herald_expr::analysis::analyse(source, Limits::DEFAULT).unwrap();
        check(&analysis, source).into_iter().map(|(_, d)| d.message).collect()
    }

    #[test]
    fn conditions_that_never_hold() {
        for source in [
            "false",
            "1 > 2",
            "'x'",
            "rollout.status.phase",
            "rollout.status.phase == 'Complete'",
            "rollout.status.phase == 'healthy'",
            "rollout.spec.replicas == '3'",
            "rollout.spec.replicas > '3'",
            "rollout.status.conditions == 'Healthy'",
            "rollout.status.phase == 'Healthy' and rollout.status.phase == 'Degraded'",
            "rollout.spec.replicas > 5 and rollout.spec.replicas < 3",
            "rollout.status.abort == 'true'",
            "any(rollout.status.conditions, .status == true)",
            "rollout.status.observedGeneration == 7",
        ] {
            assert_eq!(messages(source).len(), 1, "{source}: {:?}", messages(source));
        }
    }

    #[test]
    fn conditions_that_may_hold() {
        for source in [
            "true",
            "rollout.status.phase == 'Healthy'",
            "rollout.status.phase in ['Degraded', 'Paused']",
            "rollout.status.phase == 'Healthy' or rollout.status.phase == 'Degraded'",
            "rollout.spec.replicas > 3 and rollout.spec.replicas < 5",
            "rollout.status.abort",
            "rollout.status.canary.currentStepAnalysisRunStatus.status == 'Failed'",
            "rollout.status.currentStepIndex != nil",
            "time.Now().Sub(time.Parse(rollout.status.abortedAt)).Minutes() >= 5",
            "any(rollout.status.conditions, {.type == 'Paused' and .status == 'True'})",
            "len(rollout.spec.strategy.canary.steps) == rollout.status.currentStepIndex",
        ] {
            assert_eq!(messages(source), Vec::<String>::new(), "{source}");
        }
    }
}
