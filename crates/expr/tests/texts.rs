//! Expressions that are hostile, wrong or explained. The case files of `conformance` are run by `cargo xtask conformance`.

use herald_expr::{Phase, Program};
use herald_value::{gofmt, limits::Limits};

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
    // Unoptimised, work takes thirty times as long.
    let limits =
        if cfg!(debug_assertions) { Limits { bytes: 4 << 20, ..Limits::DEFAULT } } else { Limits::DEFAULT };
    for text in texts {
        let started = std::time::Instant::now();
        if let Ok(program) = Program::compile(&text, limits) {
            let _ = program.run(&vars, limits);
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
