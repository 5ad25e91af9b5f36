//! The expr language, over [`herald_value::Value`].
//!
//! ```
//! use herald_expr::Program;
//! use herald_value::{Value, limits::Limits};
//!
//! let condition = Program::compile("rollout.status.phase in ['Degraded', 'Error']", Limits::DEFAULT)?;
//! let vars = Value::from_json(br#"{"rollout": {"status": {"phase": "Degraded"}}}"#).unwrap();
//! assert_eq!(condition.run(&vars, Limits::DEFAULT)?, Value::Bool(true));
//! # Ok::<(), herald_expr::ExprError>(())
//! ```

pub mod analysis;

mod advice;
mod ast;
mod builtin;
mod check;
mod check_call;
mod code;
mod combine;
mod fold;
mod functions;
mod hint;
mod lexer;
mod ops;
mod parser;
mod pattern;
mod power;
mod steps;
mod strings;
mod types;
mod vm;

use std::{fmt, sync::Arc};

use herald_value::{
    Value,
    limits::{Limits, Meter},
};
use jiff::Timestamp;

/// The moment at which an expression failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// While it was compiled, when configuration loads.
    Compile,
    /// While it ran.
    Run,
}

/// Why an expression could not be compiled or run, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} ({line}:{column})")]
pub struct ExprError {
    /// Compile or run.
    pub phase: Phase,
    /// Line in the source, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What failed: a lower-case sentence.
    pub message: String,
    /// The source line, for a caret below it.
    pub source_line: String,
    /// What might help: "did you mean …?".
    pub hint: Option<String>,
    /// Whether a limit ended it.
    pub over_limit: bool,
}

impl ExprError {
    /// The message, the source line with a caret below the place, and the hint.
    pub fn render_caret(&self) -> String {
        let help = self.hint.as_deref();
        herald_value::caret::show(&self.to_string(), self.line, self.column, &self.source_line, help)
    }

    fn new(phase: Phase, source: &str, at: u32, message: String) -> ExprError {
        let at = (at as usize).min(source.len());
        let before = source.get(..at).unwrap_or("");
        let start = before.rfind('\n').map_or(0, |n| n + 1);
        let end = source.get(start..).and_then(|rest| rest.find('\n')).map_or(source.len(), |n| start + n);
        let line = source.get(start..end).unwrap_or("");
        let column = before.get(start..).unwrap_or("").chars().count();
        ExprError {
            phase,
            line: before.matches('\n').count() as u32 + 1,
            column: column as u32 + 1,
            message,
            // A line of megabytes helps nobody.
            source_line: line.chars().take(column + 200).collect(),
            hint: None,
            over_limit: false,
        }
    }
}

/// A part of an expression and what it was.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// The bytes of the source.
    pub range: std::ops::Range<usize>,
    /// The text in the source.
    pub text: String,
    /// Its value.
    pub value: Value,
}

struct Inner {
    source: String,
    code: code::Code,
}

/// A compiled expression. Cheap to clone, usable from many threads at once.
#[derive(Clone)]
pub struct Program {
    inner: Arc<Inner>,
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Program").field(&self.inner.source).finish()
    }
}

impl Program {
    /// Compiles an expression with no declared environment: unknown names are nil when it runs.
    pub fn compile(source: &str, limits: Limits) -> Result<Program, ExprError> {
        if source.len() > limits.source_bytes.min(u32::MAX as usize) {
            let message = format!("the expression is longer than {} bytes", limits.source_bytes);
            let mut error = ExprError::new(Phase::Compile, "", 0, message);
            error.over_limit = true;
            return Err(error);
        }
        let compiled = parser::parse(source, &limits).and_then(|(mut ast, root)| {
            check::check(&mut ast, root, limits.regex_bytes)?;
            fold::fold(&mut ast)?;
            code::compile(&ast, root, limits.regex_bytes)
        });
        match compiled {
            Ok(code) => Ok(Program { inner: Arc::new(Inner { source: source.to_string(), code }) }),
            Err(problem) => {
                let mut error = ExprError::new(Phase::Compile, source, problem.at, problem.message);
                error.hint = problem.hint.or_else(|| advice::compiling(source, problem.at, &error.message));
                error.over_limit = problem.over_limit;
                Err(error)
            }
        }
    }

    /// The text that this was compiled from.
    pub fn source(&self) -> &str {
        &self.inner.source
    }

    /// Runs it. `vars` is a map: name → value (functions and maps of functions included).
    pub fn run(&self, vars: &Value, limits: Limits) -> Result<Value, ExprError> {
        self.execute(vars, limits, None)
    }

    /// Runs it at a moment: what the function `now` gives.
    pub fn run_at(&self, vars: &Value, limits: Limits, now: Timestamp) -> Result<Value, ExprError> {
        self.execute(vars, limits, Some(now))
    }

    fn execute(&self, vars: &Value, limits: Limits, now: Option<Timestamp>) -> Result<Value, ExprError> {
        let mut machine = vm::Machine::new(&self.inner.code, vars, Meter::new(limits), now);
        match machine.run() {
            Ok(()) => Ok(machine.result()),
            Err(failure) => Err(self.failed(*failure, vars)),
        }
    }

    #[cold]
    fn failed(&self, failure: vm::Failure, vars: &Value) -> ExprError {
        let message = failure.error.message;
        let mut error = ExprError::new(Phase::Run, &self.inner.source, failure.place, message);
        let paths = &self.inner.code.paths;
        error.hint = failure.hint.or_else(|| advice::around(&self.inner.source, failure.place, paths, vars));
        error.over_limit = failure.error.over_limit;
        error
    }

    /// What the chains of names and constant indexes in the expression (`rollout.status.phase`, `spec.steps[0]`) are,
    /// for an explanation of its result.
    /// Chains that lead nowhere are nil.
    pub fn explain(&self, vars: &Value) -> Vec<Part> {
        let mut parts: Vec<Part> = Vec::new();
        for path in &self.inner.code.paths {
            let Some(last) = path.names.last() else { continue };
            let value = path
                .names
                .iter()
                .try_fold(vars, |value, name| value.as_map()?.get_bytes(name.text.as_bytes()))
                .cloned()
                .unwrap_or_default();
            let end = last.place as usize + last.text.len();
            let (end, value) = steps::follow(&self.inner.source, end, value);
            let range = path.start as usize..end;
            let Some(text) = self.inner.source.get(range.clone()) else { continue };
            if parts.iter().any(|part| part.text == text) {
                continue;
            }
            parts.push(Part { range, text: text.to_string(), value });
        }
        parts
    }
}
