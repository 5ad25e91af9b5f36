//! The comparison for people and for programs.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::{Value, json};

use super::{Kind, Line};
use crate::{explain::text::clean, style};

/// How many lines are of which kind.
fn counts(lines: &[Line]) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for line in lines {
        *counts.entry(line.kind.word()).or_default() += 1;
    }
    counts
}

/// For people: what differs, then how much is the same. `all` tells each line.
pub(crate) fn text(lines: &[Line], all: bool) -> String {
    let mut out = String::new();
    let mut rollout = "";
    let told = |line: &&Line| all || matches!(line.kind, Kind::OnlyHerald | Kind::OnlyReference);
    for line in lines.iter().filter(told) {
        if line.rollout != rollout {
            let _ = writeln!(out, "{}", style::bold(&clean(&line.rollout)));
            rollout = &line.rollout;
        }
        let kind = match (line.is_difference(), line.kind) {
            (true, kind) => style::bad(kind.word()),
            (false, Kind::Both) => style::good(line.kind.word()),
            (false, kind) => style::dim(kind.word()),
        };
        let at = line.at.as_deref().map(|at| format!(", {at}")).unwrap_or_default();
        let meant = match line.kind {
            Kind::OnlyHerald | Kind::OnlyReference if line.meant => " (meant)",
            _ => "",
        };
        let _ = writeln!(out, "  {kind}{meant}: {} → {}{at}", clean(&line.trigger), clean(&line.to));
        if !line.why.is_empty() {
            let _ = writeln!(out, "    {}", clean(&line.why));
        }
    }
    if !out.is_empty() {
        out.push('\n');
    }
    let counts = counts(lines);
    let count = |kind: Kind| counts.get(kind.word()).copied().unwrap_or(0);
    let meant = lines
        .iter()
        .filter(|line| line.meant && matches!(line.kind, Kind::OnlyHerald | Kind::OnlyReference))
        .count();
    let differences = lines.iter().filter(|line| line.is_difference()).count();
    let _ = writeln!(
        out,
        "{} the same, {differences} different, {meant} different as is meant",
        count(Kind::Both)
    );
    if count(Kind::Past) > 0 {
        let _ = writeln!(out, "{} records of the past, which tell nothing about now", count(Kind::Past));
    }
    if count(Kind::Event) > 0 {
        let _ = writeln!(
            out,
            "{} notices for events, which the reference does not record, so they can't be compared",
            count(Kind::Event)
        );
    }
    out
}

/// For programs.
pub(crate) fn json(lines: &[Line]) -> Value {
    let differences = lines.iter().filter(|line| line.is_difference()).count();
    json!({"differences": differences, "counts": counts(lines), "lines": lines})
}
