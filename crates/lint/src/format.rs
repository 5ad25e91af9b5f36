//! Findings for people and for programs.

use std::{collections::BTreeMap, fmt::Write as _};

use herald_core::diagnostic::{Diagnostic, Severity, codes};
use serde_json::{Value, json};

use crate::{Report, pages};

/// For people: each finding with its source line, and a last line that counts them.
pub fn text(report: &Report) -> String {
    let mut out = String::new();
    for finding in &report.findings {
        let _ = writeln!(out, "{finding}");
    }
    if report.left_out > 0 {
        let _ = writeln!(out, "{} more findings were left out\n", report.left_out);
    }
    out
}

/// The last line: how many of each.
pub fn summary(report: &Report) -> String {
    let counts = [(Severity::Error, "error"), (Severity::Warning, "warning"), (Severity::Note, "note")];
    let words: Vec<String> = counts
        .iter()
        .map(|(severity, word)| (report.count(*severity), word))
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}{}", if count == 1 { "" } else { "s" }))
        .collect();
    let objects = format!("{} object{}", report.objects, if report.objects == 1 { "" } else { "s" });
    if words.is_empty() {
        format!("{objects}, no findings")
    } else {
        format!("{objects}, {}", words.join(", "))
    }
}

fn line(finding: &Diagnostic) -> u32 {
    finding.in_file.map_or(1, |at| at.line.max(1))
}

fn column(finding: &Diagnostic) -> u32 {
    finding.in_file.map_or(1, |at| at.column.max(1))
}

fn one(finding: &Diagnostic) -> Value {
    json!({
        "code": finding.code,
        "severity": finding.severity.as_str(),
        "message": finding.message,
        "hint": finding.hint,
        "file": finding.file,
        "line": finding.in_file.map(|at| at.line),
        "column": finding.in_file.map(|at| at.column),
        "object": (!finding.object.is_empty()).then_some(&finding.object),
        "key": finding.key,
    })
}

/// One JSON document: `findings` and `counts`.
pub fn json(report: &Report) -> String {
    let whole = json!({
        "findings": report.findings.iter().map(one).collect::<Vec<_>>(),
        "counts": {
            "error": report.count(Severity::Error),
            "warning": report.count(Severity::Warning),
            "note": report.count(Severity::Note),
        },
        "leftOut": report.left_out,
    });
    format!("{whole:#}\n")
}

/// Workflow commands, which GitHub shows at the lines of a pull request.
pub fn github(report: &Report) -> String {
    let mut out = String::new();
    let data = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    for finding in &report.findings {
        let command = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "notice",
        };
        let mut text = finding.message.clone();
        if let Some(key) = &finding.key {
            text = format!("{key}: {text}");
        }
        if let Some(hint) = &finding.hint {
            let _ = write!(text, "\n{hint}");
        }
        let file = match &finding.file {
            Some(file) => format!("file={},line={},col={},", property(file), line(finding), column(finding)),
            None => String::new(),
        };
        let _ = writeln!(out, "::{command} {file}title={}::{}", finding.code, data(&text));
    }
    out
}

/// SARIF 2.1.0, for code scanning.
pub fn sarif(report: &Report) -> String {
    let used: BTreeMap<&str, &str> = codes::ALL
        .iter()
        .copied()
        .filter(|(code, _)| report.findings.iter().any(|finding| finding.code == *code))
        .collect();
    let rules: Vec<Value> = used
        .iter()
        .map(|(code, about)| {
            json!({
                "id": code,
                "shortDescription": {"text": about},
                "help": {"text": pages::page(code).unwrap_or(about), "markdown": pages::page(code).unwrap_or(about)},
            })
        })
        .collect();
    let results: Vec<Value> = report
        .findings
        .iter()
        .map(|finding| {
            let level = match finding.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
                Severity::Note => "note",
            };
            let mut text = finding.message.clone();
            if let Some(hint) = &finding.hint {
                let _ = write!(text, " ({hint})");
            }
            let uri = finding.file.as_deref().unwrap_or("-");
            json!({
                "ruleId": finding.code,
                "ruleIndex": used.keys().position(|code| *code == finding.code),
                "level": level,
                "message": {"text": text},
                "locations": [{"physicalLocation": {
                    "artifactLocation": {"uri": uri},
                    "region": {"startLine": line(finding), "startColumn": column(finding)},
                }}],
            })
        })
        .collect();
    let whole = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "herald",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    format!("{whole:#}\n")
}

/// JUnit: one test case for each file, which fails by its errors and warnings.
pub fn junit(report: &Report, files: &[(String, String)]) -> String {
    let escape = |text: &str| -> String {
        let allowed = |c: char| !c.is_control() || matches!(c, '\n' | '\t');
        text.chars().filter(|c| allowed(*c)).fold(String::new(), |mut out, c| {
            match c {
                '&' => out.push_str("&amp;"),
                '<' => out.push_str("&lt;"),
                '>' => out.push_str("&gt;"),
                '"' => out.push_str("&quot;"),
                '\n' => out.push_str("&#10;"),
                c => out.push(c),
            }
            out
        })
    };
    let mut cases = String::new();
    let mut failed = 0;
    let none = [String::new()];
    let loose = report.findings.iter().any(|finding| finding.file.is_none());
    let names = files.iter().map(|(name, _)| name).chain(none.iter().filter(|_| loose));
    let mut count = 0;
    for name in names {
        count += 1;
        let about = |finding: &&Diagnostic| {
            finding.severity != Severity::Note && finding.file.as_deref().unwrap_or_default() == name
        };
        let found: Vec<&Diagnostic> = report.findings.iter().filter(about).collect();
        let shown = if name.is_empty() { "configuration" } else { name };
        let _ = write!(cases, "    <testcase classname=\"herald.lint\" name=\"{}\"", escape(shown));
        if found.is_empty() {
            cases.push_str("/>\n");
            continue;
        }
        failed += 1;
        cases.push_str(">\n");
        let all: String = found.iter().map(|finding| finding.to_string()).collect();
        let first = found.first().map(|finding| format!("{}: {}", finding.code, finding.message));
        let first = escape(&first.unwrap_or_default());
        let body = escape(&all).replace("&#10;", "\n");
        let _ = writeln!(
            cases,
            "      <failure message=\"{first}\" type=\"lint\">{body}</failure>\n    </testcase>"
        );
    }
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  <testsuite name=\"herald lint\" tests=\"{count}\" \
         failures=\"{failed}\" errors=\"0\">\n{cases}  </testsuite>\n</testsuites>\n"
    )
}
