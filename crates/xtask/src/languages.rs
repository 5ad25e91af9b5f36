//! The real conditions and templates beside the originals, in one run.

use std::{
    fs,
    hint::black_box,
    time::{Duration, Instant},
};

use anyhow::Result;
use herald_expr::Program;
use herald_template::Template;
use herald_value::{limits::Limits, vector::Case};
use serde_json::{Map, Value as Json};

use crate::{
    cases::{self, Environments, Kind, Outcome},
    oracle,
};

const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(3);

/// Nanoseconds a call in the least disturbed of several rounds, as the oracle measures it.
fn best(mut f: impl FnMut()) -> f64 {
    (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            let mut calls = 0_u32;
            while start.elapsed() < ROUND {
                for _ in 0..16 {
                    f();
                }
                calls += 16;
            }
            start.elapsed().as_nanos() as f64 / f64::from(calls)
        })
        .fold(f64::INFINITY, f64::min)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Whether a group holds what people really write, as opposed to a systematic case.
fn is_real(group: &str) -> bool {
    ["k8s_", "cond_", "catalog_", "engine_docs"].iter().any(|start| group.starts_with(start))
}

/// Prints medians over the real templates and conditions, and the cases that are the least faster than the originals.
pub(crate) fn run(show: usize) -> Result<()> {
    println!(
        "{:10} {:>6} {:>14} {:>14} {:>8}   {:>14} {:>14} {:>8}",
        "", "cases", "Go run ns", "Herald run ns", "faster", "Go compile ns", "Herald", "faster"
    );
    for kind in [Kind::Template, Kind::Expr] {
        let (mut run, mut compile, mut goes, mut ours) =
            (Vec::new(), Vec::new(), [vec![], vec![]], [vec![], vec![]]);
        let mut each = Vec::new();
        for file in cases::files().into_iter().filter(|file| file.kind == kind) {
            let text = fs::read_to_string(&file.path)?;
            let mut environments = Environments::new(&file.env_dir);
            let mut asked: Vec<Map<String, Json>> = Vec::new();
            let mut real = Vec::new();
            for line in text.lines() {
                let mut question: Map<String, Json> = serde_json::from_str(line)?;
                // First the group: cases of others may not have their results yet.
                if !question.get("group").and_then(Json::as_str).is_some_and(is_real) {
                    continue;
                }
                let case = Case::parse(line)?;
                if !case.ok {
                    continue;
                }
                question.insert("kind".into(), kind.name().into());
                asked.push(question);
                real.push((environments.of(&case)?, case));
            }
            if asked.is_empty() {
                continue;
            }
            let answers = oracle::ask(&file.env_dir, &asked, true)?;
            for ((env, case), answer) in real.iter().zip(answers) {
                let (Some(go_run), Some(go_compile)) =
                    (answer["run_ns"].as_f64(), answer["compile_ns"].as_f64())
                else {
                    continue;
                };
                if matches!(cases::run(kind, &case.src, env), Outcome::Failure(..)) || go_run == 0.0 {
                    continue;
                }
                let (our_run, our_compile) = measure(kind, &case.src, env);
                run.push(go_run / our_run);
                each.push((go_run / our_run, go_run, our_run, case.src.clone()));
                compile.push(go_compile / our_compile);
                goes[0].push(go_run);
                goes[1].push(go_compile);
                ours[0].push(our_run);
                ours[1].push(our_compile);
            }
        }
        let cases = run.len();
        let [go_run, go_compile] = goes.map(median);
        let [our_run, our_compile] = ours.map(median);
        println!(
            "{:10} {cases:6} {go_run:14.0} {our_run:14.0} {:7.1}x   {go_compile:14.0} {our_compile:14.0} {:7.1}x",
            kind.name(),
            median(run),
            median(compile),
        );
        each.sort_by(|a, b| a.0.total_cmp(&b.0));
        for (faster, go, ours, source) in each.iter().take(show) {
            println!(
                "  {faster:5.1}x {go:8.0} {ours:8.0}  {:?}",
                source.chars().take(120).collect::<String>()
            );
        }
    }
    Ok(())
}

fn measure(kind: Kind, source: &str, env: &herald_value::Value) -> (f64, f64) {
    match kind {
        Kind::Template => {
            let Ok(template) = Template::parse("t", source, Limits::DEFAULT) else {
                return (f64::NAN, f64::NAN);
            };
            let mut out = Vec::new();
            let run = best(|| {
                out.clear();
                let _ = template.render(black_box(env), Limits::DEFAULT, &mut out);
            });
            (run, best(|| drop(Template::parse("t", black_box(source), Limits::DEFAULT))))
        }
        Kind::Expr => {
            let Ok(program) = Program::compile(source, Limits::DEFAULT) else { return (f64::NAN, f64::NAN) };
            let run = best(|| drop(black_box(program.run(black_box(env), Limits::DEFAULT))));
            (run, best(|| drop(Program::compile(black_box(source), Limits::DEFAULT))))
        }
    }
}
