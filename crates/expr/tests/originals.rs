//! What random expressions showed of the original, which no case file holds. The wanted texts are the original's.

use herald_expr::{Phase, Program};
use herald_value::{gofmt, limits::Limits, vector};

fn run(source: &str) -> Result<String, Phase> {
    let now = "2026-06-01T12:00:00Z".parse().expect("a fixed text");
    let env = br#"{"l": [1, 2, 3], "m": {"a": 1}, "ls": ["b", "a"], "date": "2026-03-01T10:00:00Z"}"#;
    let vars = vector::environment(env, herald_value::Numbers::Kubernetes, Some("argocd"), now)
        .expect("a fixed text");
    Program::compile(source, Limits::DEFAULT)
        .and_then(|program| program.run(&vars, Limits::DEFAULT))
        .map(|value| gofmt::to_text(&value))
        .map_err(|error| error.phase)
}

#[test]
fn like_the_original() {
    for (source, wanted) in [
        // A missing group is a nil list: empty, and equal to nil.
        ("groupBy(l, #)[7]", Ok("[]")),
        ("len(groupBy(l, #)[7])", Ok("0")),
        ("groupBy(l, #)[7] == nil", Ok("true")),
        ("groupBy(l, #)[7] ?? 'none'", Ok("none")),
        ("groupBy(l, #)?.[7]", Ok("<nil>")),
        ("[] == nil", Ok("false")),
        // Helpers take nil for an empty text.
        ("strings.ReplaceAll('abc', 'b', nil)", Ok("ac")),
        // Maps whose keys are of any kind are no JSON.
        ("toJSON(groupBy(l, #))", Err(Phase::Run)),
        ("sort(toPairs(m))", Ok("[]")),
        ("(0.5 - 1) ** (-9223372036854775807 - 1)", Ok("+Inf")),
        ("time.Parse(date).Truncate(int('7'))", Err(Phase::Run)),
        ("filter(filter(l, # > 1), # < 3)", Ok("[2]")),
        ("all(l, # > 0) and all(l, # < 4)", Ok("true")),
        ("any(l, # == 1) or any(l, #.x == 2)", Ok("true")),
        ("sum(map(l, # * 2))", Ok("12")),
    ] {
        assert_eq!(run(source).as_deref(), wanted.as_ref().map(|text| *text), "{source}");
    }
}
