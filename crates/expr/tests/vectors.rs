//! All case files of the expr language: result, type, printed text, and the moment of each failure.

use std::{collections::BTreeMap, path::Path};

use herald_expr::{Phase, Program};
use herald_value::{gofmt, limits::Limits, vector};
use serde_json::Value as Json;

/// Cases that differ on purpose, each with its reason.
const DIFFERENCES: &[(&str, &str)] = &[];

#[test]
fn case_files() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors"));
    if !folder.exists() {
        eprintln!("SKIPPED: no case files at {}", folder.display());
        return;
    }
    // After every moment in the environments.
    let now = "2026-06-01T12:00:00Z".parse().unwrap();
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut failures = Vec::new();
    for file in ["own/expr.jsonl", "upstream/expr.jsonl"] {
        let text = std::fs::read_to_string(folder.join(file)).unwrap();
        for line in text.lines() {
            let case = vector::Case::parse(line).unwrap();
            let referred = case.env_ref.as_ref().map(|name| std::fs::read(folder.join(name)).unwrap());
            let vars = case.environment(referred.as_deref(), now).unwrap();
            let outcome = Program::compile(&case.src, Limits::DEFAULT)
                .and_then(|program| program.run_at(&vars, Limits::DEFAULT, now));
            let wrong = match (&outcome, case.ok) {
                (Ok(value), true) => {
                    let out = vector::encode(value);
                    let text = gofmt::to_text(value);
                    if !same(&out, case.out.as_ref().unwrap_or(&Json::Null)) {
                        Some(format!("gave {out}, want {}", case.out.unwrap_or_default()))
                    } else if case.gotype.as_ref().is_some_and(|want| *want != value.go_type()) {
                        Some(format!("is a {}, want {}", value.go_type(), case.gotype.unwrap_or_default()))
                    } else if case.text.as_ref().is_some_and(|want| *want != text) {
                        Some(format!("prints {text:?}, want {:?}", case.text.unwrap_or_default()))
                    } else {
                        None
                    }
                }
                (Ok(value), false) => Some(format!("gave {value:?}, want an error: {:?}", case.err)),
                (Err(error), true) => Some(format!("failed ({:?}): {error}", error.phase)),
                (Err(error), false) => {
                    let want =
                        if case.phase.as_deref() == Some("compile") { Phase::Compile } else { Phase::Run };
                    (error.phase != want).then(|| {
                        format!("failed in {:?} ({error}), want {want:?}: {:?}", error.phase, case.err)
                    })
                }
            };
            let count = counts.entry(case.group.clone()).or_default();
            let wrong = wrong.filter(|_| !DIFFERENCES.iter().any(|(id, _)| *id == case.id));
            match wrong {
                None => count.0 += 1,
                Some(wrong) => {
                    count.1 += 1;
                    failures.push(format!("{} {}: {:?} {wrong}", case.id, case.group, case.src));
                }
            }
        }
    }
    for (group, (passed, failed)) in &counts {
        eprintln!("{group}: {passed} passed, {failed} failed");
    }
    assert!(failures.is_empty(), "{} cases differ:\n{}", failures.len(), failures.join("\n"));
}

/// Equal JSON, where floats are floats.
fn same(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Number(x), Json::Number(y)) => {
            x.is_f64() == y.is_f64() && x.as_f64() == y.as_f64() && x.as_i64() == y.as_i64()
        }
        (Json::Array(x), Json::Array(y)) => x.len() == y.len() && x.iter().zip(y).all(|(x, y)| same(x, y)),
        (Json::Object(x), Json::Object(y)) => {
            x.len() == y.len() && x.iter().all(|(k, v)| y.get(k).is_some_and(|w| same(v, w)))
        }
        _ => a == b,
    }
}

/// No text panics, overflows the stack, hangs or takes memory without bound.
#[test]
fn hostile_texts() {
    let vars = herald_value::Value::from_json(br#"{"l": [1, 2, 3]}"#).unwrap();
    let many = 100_000;
    let mut texts: Vec<String> = Vec::new();
    for open in [
        "(", "[", "{a:", "-", "not ", "l[", "map(l, ", "f(", "1 ? ", "1 + (", "if ", "let a = ", "a?.b(",
        "#", "1 < (",
    ] {
        texts.push(open.repeat(many));
    }
    for (open, middle, close) in
        [("(", "1", ")"), ("[", "1", "]"), ("{a:", "1", "}"), ("f(", "1", ")"), ("a[", "1", "]")]
    {
        texts.push(format!("{}{middle}{}", open.repeat(many), close.repeat(many)));
    }
    for part in [
        ".a", "[0]", " + 1", " or a", " ?? a", " | len()", " < 1", "?.a", " ? 1 : 2", "; 1", " ** 2",
        " in [1]",
    ] {
        texts.push(format!("a{}", part.repeat(many)));
        texts.push(format!("a{}", part.repeat(1_500)));
        texts.push(format!("a{}", part.repeat(150)));
    }
    texts.push(format!("'{}'", "x".repeat(50_000_000)));
    texts.push(format!("[{}]", "1,".repeat(2_000_000)));
    let mut shared = "a".to_string();
    for _ in 0..60 {
        shared = format!("(1 < {shared} < 3)");
    }
    texts.push(shared);
    for text in [
        "1..999999999",
        "-9223372036854775807..9223372036854775807",
        "repeat('x', 999999999)",
        "map(1..99999, map(1..99999, map(1..9999, #)))",
        "count(1..900000, count(1..900000, true) > 899999) > 899999",
        "'x' matches '((a{1000}){1000}){1000}'",
        "reduce(1..900000, #acc + string(#acc), 'x')",
        "reduce(1..900000, [#acc, #acc], 1)",
        "reduce(1..900000, #acc + #acc, 'x')",
        "string(reduce(1..60, [#acc, #acc], 1))",
        "toJSON(reduce(1..60, [#acc, #acc], 1))",
        "flatten(reduce(1..60, [#acc, #acc], 1))",
        "max(reduce(1..60, [#acc, #acc], 1))",
        "reduce(1..60, [#acc, #acc], 1) == reduce(1..60, [#acc, #acc], 1)",
        "uniq(1..900000)",
        "replace(repeat('a', 999999), '', repeat('b', 999999))",
        "split(repeat('a', 999999), '')",
    ] {
        texts.push(text.to_string());
    }
    for text in texts {
        let started = std::time::Instant::now();
        if let Ok(program) = Program::compile(&text, Limits::DEFAULT) {
            let _ = program.run(&vars, Limits::DEFAULT);
        }
        let start: String = text.chars().take(60).collect();
        assert!(started.elapsed().as_secs() < 20, "{start} took {:?}", started.elapsed());
    }
}

/// Errors say where, and what was probably meant.
#[test]
fn places_and_hints() {
    let vars =
        herald_value::Value::from_json(br#"{"rollout": {"status": {"currentStepIndex": 2}}, "strings": {}}"#)
            .unwrap();
    let error = |source: &str| {
        Program::compile(source, Limits::DEFAULT)
            .and_then(|program| program.run(&vars, Limits::DEFAULT))
            .unwrap_err()
    };
    let wrong = error("true and\n  rollout.status.currentStepIdx.x == 1");
    assert_eq!((wrong.line, wrong.column, wrong.phase), (2, 33, Phase::Run));
    assert_eq!(
        wrong.hint.as_deref(),
        Some("`status` has no field `currentStepIdx`; did you mean `currentStepIndex`?")
    );
    assert!(wrong.render_caret().contains(&format!("\n  | {}^", " ".repeat(32))));
    assert_eq!(error("lenn(rollout)").hint.as_deref(), Some("did you mean `len`?"));
    let wrong = error("'é' == 1");
    assert_eq!((wrong.line, wrong.column, wrong.phase), (1, 5, Phase::Compile));
    assert!(error("1..99999999").over_limit);
}

/// An explanation names the chains of a condition and their values.
#[test]
fn explained() {
    let vars = herald_value::Value::from_json(br#"{"a": {"b": 2}}"#).unwrap();
    let program = Program::compile("a.b > 1 and a?.c == nil and zzz == nil", Limits::DEFAULT).unwrap();
    let parts: Vec<(String, String)> =
        program.explain(&vars).into_iter().map(|part| (part.text, gofmt::to_text(&part.value))).collect();
    assert!(parts.contains(&("a.b".into(), "2".into())), "{parts:?}");
    assert!(parts.contains(&("zzz".into(), "<nil>".into())), "{parts:?}");
}
