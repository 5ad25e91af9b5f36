//! `herald eval`

use std::{
    collections::HashMap,
    io::{BufRead as _, Read as _, Write as _},
    path::PathBuf,
};

use base64::Engine as _;
use clap::Args;
use herald_core::{
    variables::{self, Extras},
    yaml::Node,
};
use herald_expr::Program;
use herald_template::Template;
use herald_value::{Numbers, Value, gofmt, limits::Limits, vector};
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use crate::{
    failure::{Failure, Outcome},
    input, output,
};

/// Arguments of `eval`.
#[derive(Args, Debug)]
#[command(
    group = clap::ArgGroup::new("what").required(true).args(["expr", "template", "jsonl"]),
    after_help = "Example:\n  herald eval --expr 'rollout.status.phase == \"Degraded\"' --object rollout.yaml\n  \
                  herald eval --template '{{.rollout.metadata.name | upper}}' --object rollout.yaml\n  \
                  herald eval --jsonl --env-dir vectors < cases.jsonl\n\nA Kubernetes object is the variable \
                  `rollout`; the keys of any other file are the variables themselves."
)]
pub(crate) struct EvalArgs {
    /// An expression, as in a trigger's `when`
    #[arg(long, value_name = "SRC")]
    expr: Option<String>,
    /// A template, as in a ConfigMap
    #[arg(long, value_name = "SRC")]
    template: Option<String>,
    /// File with the object
    #[arg(long, value_name = "FILE")]
    object: Option<String>,
    /// Read one case a line from standard input, write one result a line
    #[arg(long, conflicts_with = "object")]
    jsonl: bool,
    /// The folder of the files that `env_ref` names
    #[arg(long, value_name = "DIR", requires = "jsonl", default_value = ".")]
    env_dir: PathBuf,
}

pub(crate) fn run(args: &EvalArgs) -> Outcome {
    if args.jsonl {
        return cases(&args.env_dir);
    }
    let vars = vars(args.object.as_deref())?;
    if let Some(source) = &args.expr {
        let value = Program::compile(source, Limits::DEFAULT)
            .and_then(|program| program.run(&vars, Limits::DEFAULT))
            .map_err(|error| Failure::bad(error.render_caret()))?;
        return output::print(&format!("{}\n", gofmt::to_text(&value)));
    }
    let source = args.template.as_deref().unwrap_or_default();
    let mut out = Vec::new();
    Template::parse("template", source, Limits::DEFAULT)
        .and_then(|template| template.render(&vars, Limits::DEFAULT, &mut out))
        .map_err(|error| Failure::bad(error.render_caret()))?;
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(&out)?;
    if out.last() != Some(&b'\n') {
        stdout.write_all(b"\n")?;
    }
    Ok(stdout.flush()?)
}

fn vars(file: Option<&str>) -> Result<Value, Failure> {
    let documents = file.map_or_else(|| Ok(Vec::new()), input::documents)?;
    let first = documents.first().map(Node::to_value).unwrap_or_default();
    let is_object = first.get("kind").is_some() && first.get("metadata").is_some();
    let (rollout, runs) = match file {
        Some(file) if is_object => {
            let resource = input::resource(file)?;
            (resource.object, resource.analysis_runs)
        }
        _ => (Value::Nil, Value::Nil),
    };
    let now = jiff::Timestamp::now();
    let base = variables::variables(&rollout, &runs, &Value::Nil, now, &Extras::default());
    if is_object {
        return Ok(base);
    }
    let of = |value: &Value| value.as_map().map(|map| map.entries().to_vec()).unwrap_or_default();
    let all = of(&base).into_iter().filter(|(_, value)| !value.is_nil()).chain(of(&first));
    Value::map(all).map_err(|e| Failure::bad(e.to_string()))
}

/// A line of input. Fields that it doesn't know are ignored.
#[derive(Deserialize)]
struct Case {
    #[serde(default)]
    id: Json,
    kind: String,
    src: String,
    env: Option<Json>,
    env_ref: Option<String>,
    nums: Option<String>,
    helpers: Option<String>,
}

/// Longer lines are refused.
const LONGEST_LINE: u64 = 64 * 1024 * 1024;

/// A program of a user may recurse as deep as its limits allow.
const STACK: usize = 256 * 1024 * 1024;

fn cases(env_dir: &std::path::Path) -> Outcome {
    let dir = env_dir.to_owned();
    let worker = std::thread::Builder::new().stack_size(STACK).spawn(move || -> Outcome {
        let mut input = std::io::BufReader::with_capacity(1 << 20, std::io::stdin().lock());
        let mut out = std::io::BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
        let mut environments = HashMap::new();
        let mut line = Vec::new();
        loop {
            line.clear();
            // Whoever asks line by line gets each answer before the next question.
            if input.buffer().is_empty() {
                out.flush()?;
            }
            if (&mut input).take(LONGEST_LINE).read_until(b'\n', &mut line)? == 0 {
                return Ok(out.flush()?);
            }
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let run = std::panic::AssertUnwindSafe(|| case(&line, &dir, &mut environments));
            let answer = std::panic::catch_unwind(run)
                .unwrap_or_else(|_| failed(Json::Null, "the evaluation failed by itself", "run"));
            out.write_all(one_line(&answer).as_bytes())?;
            out.write_all(b"\n")?;
        }
    })?;
    worker.join().unwrap_or_else(|_| Err(Failure::bad("the evaluation ended unexpectedly")))
}

/// JSON on one line for every reader: some also end lines at these characters.
fn one_line(answer: &Json) -> String {
    let text = answer.to_string();
    if !text.contains(['\u{85}', '\u{2028}', '\u{2029}']) {
        return text;
    }
    text.replace('\u{85}', "\\u0085").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
}

fn failed(id: Json, err: impl Into<String>, phase: &str) -> Json {
    json!({"id": id, "ok": false, "err": err.into(), "phase": phase})
}

type Environments = HashMap<(String, bool, Option<String>), Result<Value, String>>;

fn case(line: &[u8], dir: &std::path::Path, environments: &mut Environments) -> Json {
    if line.trim_ascii_start().first() != Some(&b'{') {
        let wanted = "the line is no case: a case is a JSON object with `kind` and `src`";
        return failed(Json::Null, wanted, "input");
    }
    let case: Case = match serde_json::from_slice(line) {
        Ok(case) => case,
        Err(error) => {
            let id = serde_json::from_slice::<Map<String, Json>>(line).ok();
            let id = id.and_then(|mut all| all.remove("id")).unwrap_or_default();
            return failed(id, format!("the line is no case: {error}"), "input");
        }
    };
    let floats = case.nums.as_deref() == Some("json");
    let numbers = if floats { Numbers::Float } else { Numbers::Kubernetes };
    let now = jiff::Timestamp::now();
    let read = |text: &[u8]| {
        vector::environment(text, numbers, case.helpers.as_deref(), now).map_err(|e| e.to_string())
    };
    let env = match (&case.env, &case.env_ref) {
        (Some(env), _) if !env.is_null() => read(env.to_string().as_bytes()),
        (_, Some(path)) => environments
            .entry((path.clone(), floats, case.helpers.clone()))
            .or_insert_with(|| {
                let file = below(dir, path)?;
                let text = std::fs::read(&file).map_err(|e| format!("can't read {}: {e}", file.display()))?;
                read(&text)
            })
            .clone(),
        _ => read(b"{}"),
    };
    let env = match env {
        Ok(env) => env,
        Err(error) => return failed(case.id, error, "input"),
    };
    match case.kind.as_str() {
        "template" => template(case.id, &case.src, &env),
        "expr" => expression(case.id, &case.src, &env),
        other => failed(case.id, format!("kind `{other}` is neither `template` nor `expr`"), "input"),
    }
}

/// The file of an `env_ref`. Cases may come from someone else, so they name files of the folder only.
fn below(dir: &std::path::Path, path: &str) -> Result<PathBuf, String> {
    let inside = |part| matches!(part, std::path::Component::Normal(_) | std::path::Component::CurDir);
    if std::path::Path::new(path).components().all(inside) {
        Ok(dir.join(path))
    } else {
        Err(format!("`env_ref` {path:?} leads out of the folder; name a file of --env-dir"))
    }
}

fn template(id: Json, source: &str, env: &Value) -> Json {
    let mut out = Vec::new();
    let rendered = Template::parse("t", source, Limits::DEFAULT)
        .and_then(|template| template.render(env, Limits::DEFAULT, &mut out));
    match rendered {
        Ok(()) => match String::from_utf8(out) {
            Ok(text) => json!({"id": id, "ok": true, "out": text}),
            Err(error) => {
                let encoded = base64::engine::general_purpose::STANDARD.encode(error.as_bytes());
                let text = herald_value::lossy(error.as_bytes());
                json!({"id": id, "ok": true, "out": text, "out_b64": encoded})
            }
        },
        Err(error) => {
            let phase = match error.phase {
                herald_template::Phase::Parse => "parse",
                herald_template::Phase::Exec => "exec",
            };
            failed(id, error.to_string(), phase)
        }
    }
}

fn expression(id: Json, source: &str, env: &Value) -> Json {
    let result = Program::compile(source, Limits::DEFAULT).and_then(|p| p.run(env, Limits::DEFAULT));
    match result {
        Ok(value) => json!({
            "id": id, "ok": true, "out": vector::encode(&value), "gotype": value.go_type(), "str": gofmt::to_text(&value),
        }),
        Err(error) => {
            let phase = match error.phase {
                herald_expr::Phase::Compile => "compile",
                herald_expr::Phase::Run => "run",
            };
            failed(id, error.to_string(), phase)
        }
    }
}
