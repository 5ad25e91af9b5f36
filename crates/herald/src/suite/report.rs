//! What became of tests: for people, for programs, and for CI.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::run::{Problem, Ran};
use crate::{explain::text::clean, style};

/// A file and its tests, or why they could not be run.
pub(crate) struct FileReport {
    pub(crate) name: String,
    pub(crate) tests: Result<Vec<Ran>, String>,
}

impl FileReport {
    /// Tests that passed, and that didn't.
    fn counts(&self) -> (usize, usize) {
        match &self.tests {
            Ok(tests) => {
                let passed = tests.iter().filter(|test| test.passed()).count();
                (passed, tests.len() - passed)
            }
            Err(_) => (0, 1),
        }
    }
}

/// Tests that passed, and that didn't.
pub(crate) fn counts(files: &[FileReport]) -> (usize, usize) {
    files.iter().map(FileReport::counts).fold((0, 0), |(p, f), (passed, failed)| (p + passed, f + failed))
}

/// For people.
pub(crate) fn text(files: &[FileReport]) -> String {
    let mut out = String::new();
    for file in files {
        let _ = writeln!(out, "{}", style::bold(&clean(&file.name)));
        match &file.tests {
            Err(message) => {
                for line in message.lines() {
                    let _ = writeln!(out, "  {} {}", style::bad("✗"), clean(line));
                }
            }
            Ok(tests) => {
                for test in tests {
                    let mark = if test.passed() { style::good("✓") } else { style::bad("✗") };
                    let _ = writeln!(out, "  {mark} {}", clean(&test.name));
                    for line in problems(&file.name, test) {
                        let _ = writeln!(out, "      {}", painted(&line));
                    }
                }
            }
        }
    }
    let (passed, failed) = counts(files);
    let failed = if failed == 0 { String::new() } else { style::bad(&format!(", {failed} failed")) };
    let _ = writeln!(out, "\n{passed} passed{failed}");
    out
}

fn painted(line: &str) -> String {
    let line = clean(line);
    match line.trim_start() {
        text if text.starts_with("- ") => style::bad(&line),
        text if text.starts_with("+ ") => style::good(&line),
        _ => line,
    }
}

/// The problems of a test, line by line.
fn problems(file: &str, test: &Ran) -> Vec<String> {
    let mut lines = Vec::new();
    let many = test.steps.len() > 1;
    for (number, step) in test.steps.iter().enumerate().filter(|(_, step)| !step.problems.is_empty()) {
        let indent = if many {
            lines.push(format!("step {}, at {}", number + 1, step.now));
            "  "
        } else {
            ""
        };
        for problem in &step.problems {
            match problem {
                Problem::Missing(name, why) => {
                    lines.push(format!("{indent}missing: {name}"));
                    lines.extend(why.lines().map(|line| format!("{indent}  {line}")));
                }
                Problem::Unexpected(name, message) => {
                    let message =
                        if message.is_empty() { String::new() } else { format!(", “{message}”") };
                    lines.push(format!("{indent}not expected: {name}{message}"));
                }
                Problem::Broken(text) => {
                    lines.push(format!("{indent}broken: {}", text.lines().next().unwrap_or_default()));
                    lines.extend(text.lines().skip(1).map(|line| format!("{indent}  {line}")));
                }
                Problem::Different(name, at, differences) => {
                    lines.push(format!("{indent}different: {name} ({file}:{})", at.line));
                    for difference in differences {
                        lines.push(format!("{indent}  {}", difference.path));
                        lines.extend(difference.lines.iter().map(|line| format!("{indent}    {line}")));
                    }
                }
            }
        }
    }
    lines
}

/// For programs.
pub(crate) fn json(files: &[FileReport]) -> Value {
    let (passed, failed) = counts(files);
    let files: Vec<Value> = files
        .iter()
        .map(|file| match &file.tests {
            Err(message) => json!({"file": file.name, "error": message, "tests": []}),
            Ok(tests) => json!({
                "file": file.name,
                "tests": tests.iter().map(|test| json!({
                    "name": test.name,
                    "line": test.at.line,
                    "passed": test.passed(),
                    "problems": problems(&file.name, test).join("\n"),
                    "notices": test.steps.iter().flat_map(|step| &step.made).map(|(made, _)| json!({
                        "at": made.at.to_string(),
                        "trigger": made.notice.trigger,
                        "to": super::run::destination(made),
                        "notification": made.notification,
                    })).collect::<Vec<_>>(),
                })).collect::<Vec<_>>(),
            }),
        })
        .collect();
    json!({"passed": passed, "failed": failed, "files": files})
}

/// For CI.
pub(crate) fn junit(files: &[FileReport]) -> String {
    let (passed, failed) = counts(files);
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(out, "<testsuites name=\"herald\" tests=\"{}\" failures=\"{failed}\">", passed + failed);
    for file in files {
        let (passed, failed) = file.counts();
        let name = xml(&file.name);
        let _ = writeln!(
            out,
            "  <testsuite name=\"{name}\" tests=\"{}\" failures=\"{failed}\">",
            passed + failed
        );
        match &file.tests {
            Err(message) => {
                let _ = writeln!(out, "    <testcase name=\"configuration\" classname=\"{name}\">");
                let _ = writeln!(out, "      <failure message=\"can't be run\">{}</failure>", xml(message));
                out.push_str("    </testcase>\n");
            }
            Ok(tests) => {
                for test in tests {
                    let head = format!(
                        "    <testcase name=\"{}\" classname=\"{name}\" file=\"{name}\" line=\"{}\"",
                        xml(&test.name),
                        test.at.line
                    );
                    if test.passed() {
                        let _ = writeln!(out, "{head}/>");
                        continue;
                    }
                    let lines = problems(&file.name, test);
                    let first = lines.iter().find(|line| !line.starts_with("step ")).cloned();
                    let _ = writeln!(out, "{head}>");
                    let _ = writeln!(
                        out,
                        "      <failure message=\"{}\">{}</failure>",
                        xml(first.unwrap_or_default().trim()),
                        xml(&lines.join("\n"))
                    );
                    out.push_str("    </testcase>\n");
                }
            }
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

/// Text in XML, which has no place for most control characters.
fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() && c != '\n' && c != '\t' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
