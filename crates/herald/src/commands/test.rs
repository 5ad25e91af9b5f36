//! `herald test`

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::{
    failure::{Failure, Outcome},
    input::{self, ConfigArgs},
    output, style,
    suite::{
        file::TestFile,
        report::{self, FileReport},
        run, update,
    },
};

/// How test files in directories end.
const ENDINGS: [&str; 4] = ["_test.yaml", "_test.yml", ".test.yaml", ".test.yml"];

/// Arguments of `test`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  herald test examples/suite\n  herald test notifications_test.yaml --update\n  herald test . --format junit > report.xml\n\nNothing is sent. Exits with 1 if a test fails."
)]
pub(crate) struct TestArgs {
    /// Test files, or directories with files that end with _test.yaml
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Write what is there into the test files where it is not what was expected
    #[arg(long)]
    update: bool,
    /// Format
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Shape,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shape {
    /// For people
    Text,
    /// For CI
    Junit,
    /// For programs
    Json,
}

pub(crate) fn run(args: &TestArgs, config: &ConfigArgs) -> Outcome {
    let mut paths = Vec::new();
    for path in &args.files {
        if path.is_dir() {
            let before = paths.len();
            collect(path, 0, &mut paths)?;
            if paths.len() == before {
                return Err(Failure::bad(format!(
                    "{} holds no test file; their names end with {}",
                    path.display(),
                    ENDINGS[0]
                )));
            }
        } else {
            paths.push(path.clone());
        }
    }
    let mut reports = Vec::new();
    for path in paths {
        reports.push(one(&path, args, config));
    }
    match args.format {
        Shape::Text => style::print(&report::text(&reports))?,
        Shape::Json => output::print(&format!("{:#}\n", report::json(&reports)))?,
        Shape::Junit => output::print(&report::junit(&reports))?,
    }
    if report::counts(&reports).1 == 0 { Ok(()) } else { Err(Failure::told()) }
}

fn one(path: &Path, args: &TestArgs, config: &ConfigArgs) -> FileReport {
    let name = path.display().to_string();
    let report = |tests| FileReport { name: name.clone(), tests };
    let (file, ran) = match load(path, config) {
        Ok(both) => both,
        Err(failure) => return report(Err(failure.message)),
    };
    let Some(new) = args.update.then(|| update::updated(&file, &ran)).flatten() else {
        return report(Ok(ran));
    };
    if let Err(error) = std::fs::write(path, new) {
        return report(Err(format!("can't write {name}: {error}")));
    }
    eprintln!("{name}: updated");
    // What can't be written down, such as a template that fails, still fails.
    report(load(path, config).map(|(_, ran)| ran).map_err(|failure| failure.message))
}

fn load(path: &Path, config: &ConfigArgs) -> Result<(TestFile, Vec<run::Ran>), Failure> {
    let text = input::text(&path.to_string_lossy())?;
    let file = TestFile::parse(path, text).map_err(|mistake| {
        let at = mistake.at;
        Failure::bad(format!("line {}, column {}: {}", at.line, at.column, mistake.message))
    })?;
    let ran = run::run(&file, config)?;
    Ok((file, ran))
}

/// How deep directories are looked into.
const DEEPEST: usize = 20;

/// The test files of a directory, by name.
fn collect(dir: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let fail = |error: std::io::Error| Failure::bad(format!("can't read {}: {error}", dir.display()));
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(fail)? {
        entries.push(entry.map_err(fail)?.path());
    }
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        if path.is_dir() && depth < DEEPEST {
            collect(&path, depth + 1, found)?;
        } else if ENDINGS.iter().any(|ending| name.ends_with(ending)) {
            found.push(path);
        }
    }
    Ok(())
}
