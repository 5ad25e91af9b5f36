//! What the pages show is so: configurations have no faults, command lines are understood, and those that need nothing but
//! this repository run.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;

/// Pages whose blocks of this language have a test of their own.
const ELSEWHERE: &[(&str, &str)] = &[
    ("docs/cluster.md", "yaml"),  // a file of flags
    ("docs/delivery.md", "yaml"), // delivery_page.rs
    ("docs/testing.md", "yaml"),  // suite.rs
];

/// Folders that have a test of their own, or are written by the program.
const FOLDERS: &[&str] = &["cli", "diagnostics", "services"];

/// A secret for each reference of the pages.
const SECRET: &str =
    "kind: Secret\nmetadata: {name: argo-rollouts-notification-secret}\nstringData: {slack-token: x}\n";

/// A block of a page.
struct Block {
    page: String,
    line: usize,
    language: String,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn pages() -> Vec<PathBuf> {
    let mut pages =
        vec![root().join("README.md"), root().join("CONTRIBUTING.md"), root().join("SECURITY.md")];
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() && !FOLDERS.contains(&name.as_str()) {
                folders.push(path);
            } else if name.ends_with(".md") {
                pages.push(path);
            }
        }
    }
    pages.sort();
    pages
}

fn blocks(language: &[&str]) -> Vec<Block> {
    let mut blocks = Vec::new();
    for path in pages() {
        let page = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        let mut open: Option<(usize, Block)> = None;
        for (at, line) in text.lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            match (&mut open, line.trim_start().strip_prefix("```")) {
                (None, Some(language)) => {
                    let block = Block {
                        page: page.clone(),
                        line: at + 2,
                        language: language.into(),
                        text: String::new(),
                    };
                    open = Some((indent, block));
                }
                (Some(_), Some(_)) => blocks.extend(open.take().map(|(_, block)| block)),
                (Some((indent, block)), None) => {
                    block.text.push_str(line.get(*indent..).unwrap_or_default());
                    block.text.push('\n');
                }
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{page}: a block does not end");
    }
    blocks.retain(|block| {
        language.contains(&block.language.as_str())
            && !ELSEWHERE.contains(&(block.page.as_str(), block.language.as_str()))
    });
    blocks
}

fn herald(args: &[String], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_herald"))
        .args(args)
        .current_dir(root())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may end without reading.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// A fragment as the manifests that it is a part of.
fn whole(fragment: &str) -> String {
    let indented = || fragment.lines().map(|line| format!("  {line}\n")).collect::<String>();
    let map = "kind: ConfigMap\nmetadata: {name: argo-rollouts-notification-configmap}\n";
    if fragment.contains("kind:") {
        fragment.to_owned()
    } else if fragment.starts_with("data:") {
        format!(
            "{map}{}",
            fragment.replace("---\nmetadata:\n", "---\nkind: Rollout\nmetadata:\n  name: checkout\n")
        )
    } else if fragment.starts_with("metadata:") {
        format!("kind: Rollout\n{}", fragment.replace("metadata:\n", "metadata:\n  name: checkout\n"))
    } else {
        format!("{map}data:\n{}", indented())
    }
}

/// Words of a line of a shell, without comments and what comes after a pipe or a redirection.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            (None, '#' | '>' | '|') if word.is_none() => return words,
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[test]
fn configurations_on_the_pages_have_no_faults() {
    let blocks = blocks(&["yaml"]);
    assert!(blocks.len() >= 6, "{}", blocks.len());
    for block in blocks {
        let place = format!("{}:{}", block.page, block.line);
        let mut text = whole(&block.text);
        if !text.contains("kind: Secret") {
            text = format!("{text}---\n{SECRET}");
        }
        let args = ["lint", "-", "--format", "json"].map(str::to_owned);
        let output = herald(&args, &text);
        let report: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{place}: {}", String::from_utf8_lossy(&output.stderr)));
        for finding in report["findings"].as_array().unwrap() {
            // A fragment may name what is elsewhere.
            let message = finding["message"].as_str().unwrap();
            let elsewhere = message.starts_with("there is no ") || message.contains("nothing answers");
            assert!(elsewhere || finding["severity"] != "error", "{place}: {finding}\n{text}");
        }
        // The test can fail: a field that there is not is found.
        let broken = text.replacen("- when:", "- whenn:", 1);
        if broken != text {
            let output = herald(&args, &broken);
            assert!(String::from_utf8_lossy(&output.stdout).contains("whenn"), "{place}");
        }
    }
}

#[test]
fn command_lines_on_the_pages_are_understood() {
    let mut understood = 0;
    let mut ran = 0;
    for block in blocks(&["sh", "console"]) {
        for (at, line) in block.text.replace("\\\n", " ").lines().enumerate() {
            let place = format!("{}:{}: {line}", block.page, block.line + at);
            let line = line.rsplit("| ").next().unwrap_or(line);
            let line = line.strip_prefix("cargo run --release -- ").map(|rest| format!("herald {rest}"));
            let line = line.unwrap_or_else(|| block.text.lines().nth(at).unwrap_or_default().to_owned());
            let Some(start) = line.find("herald ").filter(|at| *at == 0 || line[..*at].ends_with("| "))
            else {
                continue;
            };
            let args = words(&line[start..]).split_off(1);
            // Help is given once everything before it was understood.
            let asked: Vec<String> = args.iter().cloned().chain(["--help".to_owned()]).collect();
            let output = herald(&asked, "");
            let told = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{place}\n{told}");
            understood += 1;
            let own = args.iter().any(|arg| arg.starts_with("examples/"));
            if own && matches!(args[0].as_str(), "eval" | "template" | "trigger" | "test" | "lint") {
                let output = herald(&args, "");
                let told = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{place}\n{told}");
                assert!(!output.stdout.is_empty(), "{place}");
                ran += 1;
            }
        }
    }
    assert!(understood >= 20, "only {understood} command lines found: is the search broken?");
    assert!(ran >= 5, "only {ran} of them ran");
}
