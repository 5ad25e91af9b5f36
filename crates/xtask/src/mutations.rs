//! A plain fuzzer that every machine can run: seeds, changed at random in the same order each time. It needs no
//! nightly compiler and no instrumentation, so it stands beside the targets of `fuzz/` as an ordinary test.
//!
//! `HERALD_MUTATION_SECONDS` sets how long each target runs, `HERALD_MUTATION_SEED` where it starts.

#[path = "../../../fuzz/targets.rs"]
mod targets;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use crate::{fuzz::random::Random, seeds};

/// What no input may take. Unoptimized builds on busy machines are slower than the second that counts.
const SLOW: Duration = Duration::from_secs(10);

const TOKENS: &[&str] = &[
    "{{",
    "}}",
    "{{-",
    "-}}",
    "{{end}}",
    "{{else}}",
    "{{range .}}",
    "{{with .}}",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "|",
    ".",
    "..",
    "$",
    "#",
    "\"",
    "'",
    "`",
    "\\",
    "\n",
    "\t",
    "\r\n",
    "\u{0}",
    "é",
    "🎉",
    "\u{feff}",
    "0",
    "-1",
    "9223372036854775807",
    "-9223372036854775808",
    "1e308",
    "1e999999999",
    "0x1p-1074",
    "NaN",
    "nil",
    "null",
    "~",
    "%!",
    "%*d",
    "%99999999d",
    "?.",
    "??",
    "?:",
    "not ",
    " in ",
    " let x = 1; ",
    "<<: *a",
    "&a",
    "*a",
    "!!binary ",
    "---\n",
    "- ",
    ": ",
    "|-\n  ",
    "=====",
    "repeat",
    "until",
    "regexMatch",
    "(?i)",
    "a{1000}{1000}",
    "printf",
    "template.a\n",
    "trigger.a\n",
    "service.webhook.a\n",
    "subscriptions\n",
    "$key",
];

fn change(random: &mut Random, text: &mut Vec<u8>, other: &[u8]) {
    let at = random.below(text.len() + 1);
    let end = (at + 1 + random.below(40)).min(text.len());
    match random.below(8) {
        0 if at < text.len() => text[at] = random.below(256) as u8,
        1 if at < text.len() => text[at] ^= 1 << random.below(8),
        2 => drop(text.drain(at..end)),
        3 => {
            let piece = text[at..end].to_vec();
            let to = random.below(text.len() + 1);
            text.splice(to..to, piece);
        }
        4 => {
            let piece = text[at..end].to_vec();
            let times = 1 << random.below(14);
            let room = (32 * 1024 / piece.len().max(1)).min(times);
            text.splice(at..at, piece.repeat(room));
        }
        5 => {
            let from = random.below(other.len() + 1);
            let to = (from + random.below(80)).min(other.len());
            text.splice(at..end, other[from..to].iter().copied());
        }
        6 => {
            let most = if random.one_in(8) { 14 } else { 2 };
            let times = 1 << random.below(most);
            text.splice(at..at, random.pick(TOKENS).repeat(times).into_bytes());
        }
        _ => drop(text.splice(at..end, random.pick(TOKENS).bytes())),
    }
}

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// An overflow of the stack ends the process at once; then this file still holds the input.
fn kept(target: &str) -> PathBuf {
    std::env::temp_dir().join(format!("herald-mutation-{target}"))
}

fn survives(target: &str, check: fn(&[u8])) {
    let seeds = seeds::of(target).expect("the seeds");
    let start = Instant::now();
    let span = Duration::from_secs(variable("HERALD_MUTATION_SECONDS", 5));
    let mut slowest = (Duration::ZERO, Vec::new());
    let mut rounds = variable("HERALD_MUTATION_SEED", 1);
    let first = rounds;
    while start.elapsed() < span {
        let mut random = Random::new(rounds);
        rounds += 1;
        let mut text = seeds[random.below(seeds.len())].clone().into_bytes();
        let other = seeds[random.below(seeds.len())].as_bytes();
        for _ in 0..=random.below(4) {
            change(&mut random, &mut text, other);
        }
        std::fs::write(kept(target), &text).expect("the input is kept");
        let begin = Instant::now();
        if let Err(panic) = std::panic::catch_unwind(|| check(&text)) {
            eprintln!("round {} fails with the input {:?}", rounds - 1, String::from_utf8_lossy(&text));
            std::panic::resume_unwind(panic);
        }
        if begin.elapsed() > slowest.0 {
            slowest = (begin.elapsed(), text);
        }
    }
    let shown = String::from_utf8_lossy(&slowest.1[..slowest.1.len().min(500)]).into_owned();
    eprintln!("{target}: {} inputs, the slowest {:?}: {shown:?}", rounds - first, slowest.0);
    assert!(slowest.0 < SLOW, "{target}: {:?} for {shown:?}", slowest.0);
}

#[test]
fn templates_survive_mutations() {
    survives("template", targets::template);
}

#[test]
fn expressions_survive_mutations() {
    survives("expr", targets::expression);
}

#[test]
fn configurations_survive_mutations() {
    survives("config", |data| targets::config(data, &targets::AnyService));
}

#[test]
fn json_survives_mutations() {
    survives("json_value", targets::json_value);
}

#[test]
fn the_seeds_are_there() {
    for target in seeds::TARGETS {
        assert!(seeds::of(target).expect("the seeds").len() > 20, "{target}");
    }
}
