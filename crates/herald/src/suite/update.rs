//! `--update`: writes what is there into a test file. Expectations that are fulfilled stay as they were written, and
//! so does everything else.

use serde_json::{Map, Value};

use super::{
    file::{Step, TestFile},
    run::{Ran, RanStep, destination},
};

/// The file's text with the expectations of what did not fit replaced; `None` if there is nothing to replace.
pub(crate) fn updated(file: &TestFile, ran: &[Ran]) -> Option<String> {
    let mut lines: Vec<String> = file.text.lines().map(str::to_owned).collect();
    // From the end, so that the places before stay.
    let mut steps: Vec<(&Step, &RanStep)> =
        file.tests.iter().zip(ran).flat_map(|(test, ran)| test.steps.iter().zip(&ran.steps)).collect();
    steps.retain(|(step, ran)| is_different(step, ran));
    if steps.is_empty() {
        return None;
    }
    steps.sort_by_key(|(step, _)| std::cmp::Reverse(step.expect_at.unwrap_or(step.holder)));
    for (step, ran) in steps {
        let indent = (step.holder.column as usize).saturating_sub(1);
        let (from, to) = extent(step, &lines, indent);
        let mut new = written(step, ran, &lines, indent);
        // The first key of a list's item stands behind the dash.
        if step.expect_at == Some(step.holder)
            && let (Some(line), Some(first)) = (lines.get(from), new.first_mut())
        {
            let lead: String = line.chars().take(indent).collect();
            *first = format!("{lead}{}", first.trim_start());
        }
        lines.splice(from..to, new);
    }
    Some(lines.join("\n") + "\n")
}

/// Broken notices can't be written down.
fn is_different(step: &Step, ran: &RanStep) -> bool {
    match &step.expect {
        Some(expect) => {
            ran.made.len() != expect.len() || ran.made.iter().any(|(_, fulfils)| fulfils.is_none())
        }
        None => step.is_all,
    }
}

fn indent_of(line: &str) -> usize {
    line.chars().take_while(|c| *c == ' ').count()
}

fn is_blank(line: &str) -> bool {
    let text = line.trim_start();
    text.is_empty() || text.starts_with('#')
}

/// The end of what stands below a key with that indentation: the first line behind it.
fn end(lines: &[String], from: usize, indent: usize, items: bool) -> usize {
    let mut end = from + 1;
    for (index, line) in lines.iter().enumerate().skip(from + 1) {
        let item =
            items && indent_of(line) == indent && (line.trim_start().starts_with("- ") || line.trim() == "-");
        if is_blank(line) {
            continue;
        }
        if indent_of(line) <= indent && !item {
            break;
        }
        end = index + 1;
    }
    end
}

/// The lines of `expect`, or the place behind the step where it is missing.
fn extent(step: &Step, lines: &[String], indent: usize) -> (usize, usize) {
    match step.expect_at {
        Some(at) => {
            let from = (at.line as usize).saturating_sub(1);
            (from, end(lines, from, indent, true))
        }
        None => {
            let from = (step.holder.line as usize).saturating_sub(1);
            // Everything that is indented like the step's keys belongs to it.
            let end = end(lines, from, indent.saturating_sub(1), false);
            (end, end)
        }
    }
}

fn written(step: &Step, ran: &RanStep, lines: &[String], indent: usize) -> Vec<String> {
    let pad = " ".repeat(indent);
    if ran.made.is_empty() {
        return vec![format!("{pad}expect: []")];
    }
    let mut out = vec![format!("{pad}expect:")];
    for (made, fulfils) in &ran.made {
        if let Some(kept) = fulfils.and_then(|number| kept(step, number, lines)) {
            out.extend(kept);
            continue;
        }
        out.push(format!("{pad}- trigger: {}", made.notice.trigger));
        out.push(format!("{pad}  to: {}", scalar(&destination(made))));
        let mut fields = Map::new();
        if let Ok(Value::Object(notification)) = serde_json::to_value(&made.notification) {
            fields.extend(
                notification.into_iter().filter_map(|(field, value)| Some((field, readable(value)?))),
            );
        }
        if !fields.is_empty() {
            let text = herald_services::services::console::yaml(&Value::Object(fields));
            out.extend(text.lines().map(|line| format!("{pad}  {line}").trim_end().to_owned()));
        }
    }
    out
}

/// The lines of an expectation that is fulfilled, if it has lines of its own.
fn kept(step: &Step, number: usize, lines: &[String]) -> Option<Vec<String>> {
    let expect = step.expect.as_ref()?;
    let from = (expect.get(number)?.at.line as usize).checked_sub(1)?;
    let first = lines.get(from)?;
    let others = expect.iter().enumerate().filter(|(index, _)| *index != number);
    let alone = others.map(|(_, other)| other.at.line as usize).all(|line| line != from + 1);
    if !first.trim_start().starts_with("- ") || !alone {
        return None;
    }
    let to = end(lines, from, indent_of(first), false);
    lines.get(from..to).map(<[String]>::to_vec)
}

fn scalar(text: &str) -> String {
    herald_services::services::console::yaml(&Value::from(text)).trim_end().to_owned()
}

/// JSON in a text as what it is, which is easier to read and to change. What is empty is left out.
fn readable(value: Value) -> Option<Value> {
    match value {
        Value::Object(map) => {
            let map: Map<String, Value> =
                map.into_iter().filter_map(|(key, value)| Some((key, readable(value)?))).collect();
            (!map.is_empty()).then_some(Value::Object(map))
        }
        Value::String(text) => match serde_json::from_str(&text) {
            Ok(json @ (Value::Object(_) | Value::Array(_))) => Some(json),
            _ => (!text.is_empty()).then_some(Value::String(text)),
        },
        Value::Null | Value::Bool(false) => None,
        other => Some(other),
    }
}
