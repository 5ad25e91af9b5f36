//! What no input may do: take longer than a second. Nesting of a hundred thousand levels, literals of fifty megabytes,
//! loops over billions, and whatever else multiplies; for both languages, JSON and YAML. One call is left out:
//! `genPrivateKey "rsa"` looks for primes for seconds, as Go does, and there is one of it in a rendering.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use herald_core::yaml;
use herald_expr::Program;
use herald_template::Template;
use herald_value::{Value, limits::Limits};

/// What everything has to end within.
const AT_MOST: Duration = Duration::from_secs(1);

const LEVELS: usize = 100_000;
const LITERAL: usize = 50_000_000;

/// Nearly the longest source that the usual limits let in.
const ALLOWED: usize = 4_000_000;

#[derive(Clone, Copy, Debug)]
enum Kind {
    Template,
    Expression,
    Json,
    Yaml,
}

struct Input {
    kind: Kind,
    name: String,
    source: Box<dyn Fn() -> String>,
}

/// What became of an input.
struct Outcome {
    took: Duration,
    result: std::result::Result<String, String>,
}

impl Input {
    fn run(&self, limits: Limits) -> Outcome {
        let vars = Value::from_json(br#"{"big": 9000000000, "l": [1, 2, 3], "s": "text"}"#);
        let (vars, source) = (vars.unwrap_or_default(), (self.source)());
        let start = Instant::now();
        let result = match self.kind {
            Kind::Template => {
                let mut out = Vec::new();
                Template::parse("t", &source, limits)
                    .and_then(|template| template.render(&vars, limits, &mut out))
                    .map(|()| format!("{} bytes", out.len()))
                    .map_err(|error| error.to_string())
            }
            Kind::Expression => Program::compile(&source, limits)
                .and_then(|program| program.run(&vars, limits))
                .map(|value| format!("a {}", value.go_type()))
                .map_err(|error| error.to_string()),
            Kind::Json => Value::from_json(source.as_bytes())
                .map(|value| format!("a {}", value.go_type()))
                .map_err(|error| error.to_string()),
            Kind::Yaml => {
                yaml::parse(&source).map(|_| "a document".into()).map_err(|error| error.to_string())
            }
        };
        Outcome { took: start.elapsed(), result }
    }
}

fn nested(open: &str, middle: &str, close: &str) -> String {
    format!("{}{middle}{}", open.repeat(LEVELS), close.repeat(LEVELS))
}

/// The inputs. Those of one line are run as they stand.
fn inputs() -> Vec<Input> {
    let mut all = Vec::new();
    let mut add = |kind, name: &str, source: Box<dyn Fn() -> String>| {
        all.push(Input { kind, name: name.into(), source });
    };
    for (kind, name, open, middle, close) in [
        (Kind::Template, "parentheses", "(", "1", ")"),
        (Kind::Template, "not", "(not ", "1", ")"),
        (Kind::Template, "lists", "(list ", "1", ")"),
    ] {
        add(kind, name, Box::new(move || format!("{{{{{}}}}}", nested(open, middle, close))));
    }
    for (kind, name, open, middle, close) in [
        (Kind::Template, "if", "{{if 1}}", "x", "{{end}}"),
        (Kind::Template, "if without end", "{{if 1}}", "", ""),
        (Kind::Template, "range", "{{range .l}}", "x", "{{end}}"),
        (Kind::Template, "with", "{{with .l}}", "x", "{{end}}"),
        (Kind::Template, "define", "{{define `a`}}", "x", "{{end}}"),
        (Kind::Template, "block", "{{block `a` .}}", "x", "{{end}}"),
        (Kind::Template, "else with if in it", "{{if 0}}{{else}}", "x", "{{end}}"),
        (Kind::Template, "else if", "{{if 0}}", "", "{{else if 0}}"),
        (Kind::Expression, "parentheses", "(", "1", ")"),
        (Kind::Expression, "not", "not ", "true", ""),
        (Kind::Expression, "minus", "-", "1", ""),
        (Kind::Expression, "lists", "[", "1", "]"),
        (Kind::Expression, "maps", "{a: ", "1", "}"),
        (Kind::Expression, "indexes", "l[", "1", "]"),
        (Kind::Expression, "predicates", "map(l, ", "1", ")"),
        (Kind::Expression, "calls", "len(", "1", ")"),
        (Kind::Expression, "conditionals", "true ? 1 : ", "1", ""),
        (Kind::Expression, "if", "if true {", "1", "} else {2}"),
        (Kind::Expression, "let", "let a = 1; ", "a", ""),
        (Kind::Json, "lists", "[", "1", "]"),
        (Kind::Json, "maps", "{\"a\":", "1", "}"),
        (Kind::Json, "lists without end", "[", "", ""),
        (Kind::Yaml, "lists", "[", "1", "]"),
        (Kind::Yaml, "maps", "{a: ", "1", "}"),
        (Kind::Yaml, "dashes", "- ", "1", ""),
        (Kind::Yaml, "lists without end", "[", "", ""),
        (Kind::Yaml, "anchors", "&a [*a, ", "1", "]"),
    ] {
        add(kind, name, Box::new(move || nested(open, middle, close)));
    }
    for (kind, name, first, each, last) in [
        (Kind::Template, "fields", "{{.l", ".a", "}}"),
        (Kind::Template, "pipeline", "{{1", " | print", "}}"),
        (Kind::Template, "many defines", "", "{{define `a`}}x{{end}}", ""),
        (Kind::Template, "many variables", "", "{{$v := 1}}", ""),
        (Kind::Expression, "members", "a", ".a", ""),
        (Kind::Expression, "optional members", "a", "?.a", ""),
        (Kind::Expression, "pipeline", "l", " | len()", ""),
        (Kind::Expression, "sum", "1", " + 1", ""),
        (Kind::Expression, "powers", "1", " ** 2", ""),
        (Kind::Expression, "or", "false", " or false", ""),
        (Kind::Expression, "coalesce", "a", " ?? a", ""),
        (Kind::Expression, "comparisons", "1", " < 1", ""),
    ] {
        add(kind, name, Box::new(move || format!("{first}{}{last}", each.repeat(LEVELS))));
    }
    add(
        Kind::Yaml,
        "indented maps",
        Box::new(|| (0..2_000).map(|n| format!("{}a:\n", " ".repeat(n))).collect()),
    );
    for (kind, name, first, each, last) in [
        (Kind::Template, "of text", "", "x", ""),
        (Kind::Template, "string", "{{\"", "x", "\"}}"),
        (Kind::Template, "string without end", "{{\"", "x", ""),
        (Kind::Template, "number", "{{", "9", "}}"),
        (Kind::Template, "name", "{{", "x", "}}"),
        (Kind::Template, "list", "{{list", " 1", "}}"),
        (Kind::Template, "comment", "{{/*", "x", "*/}}"),
        (Kind::Expression, "string", "'", "x", "'"),
        (Kind::Expression, "string without end", "'", "x", ""),
        (Kind::Expression, "number", "", "9", ""),
        (Kind::Expression, "name", "", "x", ""),
        (Kind::Expression, "list", "[", "1,", "1]"),
        (Kind::Expression, "list of texts", "'a' in [", "'x',", "'x']"),
        (Kind::Expression, "comment", "1 /*", "x", "*/"),
        (Kind::Json, "string", "\"", "x", "\""),
        (Kind::Json, "number", "", "9", ""),
        (Kind::Json, "list", "[", "1,", "1]"),
        (Kind::Yaml, "string", "a: \"", "x", "\""),
        (Kind::Yaml, "number", "a: ", "9", ""),
        (Kind::Yaml, "list", "[", "1,", "1]"),
    ] {
        // A ConfigMap holds a mebibyte at most.
        let allowed = if matches!(kind, Kind::Yaml) { ("1 MB", 1_000_000) } else { ("4 MB", ALLOWED) };
        for (size, bytes) in [allowed, ("50 MB", LITERAL)] {
            // Whoever reads JSON limits its size: a list is twelve times as large in memory.
            if matches!((kind, name, bytes), (Kind::Json, "list", LITERAL)) {
                continue;
            }
            let source = move || format!("{first}{}{last}", each.repeat(bytes / each.len()));
            add(kind, &format!("{size} {name}"), Box::new(source));
        }
    }
    let lines = include_str!("hostile.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    for line in lines {
        let (kind, source) = match line.strip_prefix("expr ") {
            Some(source) => (Kind::Expression, source),
            None => (Kind::Template, line),
        };
        all.push(Input { kind, name: source.into(), source: Box::new(move || source.into()) });
    }
    all
}

/// Runs every input, and prints how long it took and what became of it; fails where one took too long.
pub(crate) fn run() -> Result<()> {
    let mut slow = Vec::new();
    for input in inputs() {
        let outcome = input.run(Limits::DEFAULT);
        let result = match &outcome.result {
            Ok(result) => format!("ok: {result}"),
            Err(message) => message.clone(),
        };
        println!(
            "{:7.1} ms  {:10} {:44} {}",
            outcome.took.as_secs_f64() * 1000.0,
            format!("{:?}", input.kind).to_lowercase(),
            input.name.chars().take(44).collect::<String>(),
            result.chars().take(120).collect::<String>(),
        );
        if outcome.took > AT_MOST {
            slow.push(input.name);
        }
    }
    ensure!(slow.is_empty(), "took longer than a second: {}", slow.join(", "));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In a build of tests what counts is that everything ends, and how; the command measures.
    #[test]
    fn every_input_ends() {
        let small = Limits { steps: 100_000, bytes: 1 << 20, source_bytes: 2 << 20, ..Limits::DEFAULT };
        for input in
            inputs().into_iter().filter(|input| matches!(input.kind, Kind::Template | Kind::Expression))
        {
            let outcome = input.run(small);
            assert!(outcome.took < Duration::from_secs(20), "{} took {:?}", input.name, outcome.took);
        }
    }
}
