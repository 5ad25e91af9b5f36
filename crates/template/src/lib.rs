//! Go's `text/template` with the sprig functions, over [`herald_value::Value`].
//!
//! ```
//! use herald_template::Template;
//! use herald_value::{Value, limits::Limits};
//!
//! let template = Template::parse("hello", "{{ .rollout.name | upper }} is {{ .rollout.phase }}", Limits::DEFAULT)?;
//! let vars = Value::from_json(br#"{"rollout": {"name": "web", "phase": "Healthy"}}"#).unwrap();
//! let mut out = Vec::new();
//! template.render(&vars, Limits::DEFAULT, &mut out)?;
//! assert_eq!(out, b"WEB is Healthy");
//! # Ok::<(), herald_template::TemplateError>(())
//! ```

pub mod analysis;
pub mod function;

mod advice;
mod ast;
mod builtin;
mod constant;
mod escape;
mod exec;
mod functions;
mod hint;
mod lex;
mod overlay;
mod parse;
mod sprig;

use std::sync::Arc;

use herald_value::{Value, limits::Limits};

pub use functions::names as function_names;

/// The moment at which a template failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// While it was parsed, when configuration loads.
    Parse,
    /// While it was rendered.
    Exec,
}

/// Why a template could not be parsed or rendered, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("template `{template}`:{line}:{column}: {message}")]
pub struct TemplateError {
    /// Parse or exec.
    pub phase: Phase,
    /// The name of the template.
    pub template: String,
    /// Line in the template's source, from 1.
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

impl TemplateError {
    /// The error as a person wants to read it: the message, the source line with a caret, and the hint.
    pub fn render_caret(&self) -> String {
        let help = self.hint.as_deref();
        herald_value::caret::show(&self.to_string(), self.line, self.column, &self.source_line, help)
    }

    fn at(
        name: &str,
        source: &str,
        phase: Phase,
        pos: ast::Pos,
        error: herald_value::CallError,
    ) -> TemplateError {
        let before = source.get(..pos as usize).unwrap_or(source);
        let start = before.rfind('\n').map_or(0, |i| i + 1);
        let line = source.get(start..).unwrap_or("").lines().next().unwrap_or("");
        let column = before.get(start..).unwrap_or("").chars().count();
        TemplateError {
            phase,
            template: if name.is_empty() { "template".into() } else { name.into() },
            line: before.bytes().filter(|b| *b == b'\n').count() as u32 + 1,
            column: column as u32 + 1,
            message: error.message,
            source_line: line.chars().take(column + 200).collect(),
            hint: None,
            over_limit: error.over_limit,
        }
    }
}

/// A compiled template. Cheap to clone, usable from many threads at once.
#[derive(Clone, Debug)]
pub struct Template {
    program: Arc<ast::Program>,
}

impl Template {
    /// Compiles a template.
    pub fn parse(name: &str, source: &str, limits: Limits) -> Result<Template, TemplateError> {
        let limit = limits.source_bytes.min(u32::MAX as usize / 2);
        let error = |pos, error| TemplateError::at(name, source, Phase::Parse, pos, error);
        if source.len() > limit {
            let message =
                format!("the source has {} bytes, more than the {limit} that are allowed", source.len());
            return Err(error(0, herald_value::CallError::over_limit(message)));
        }
        match parse::parse(name, source, &limits) {
            Ok(program) => Ok(Template { program: Arc::new(program) }),
            Err((pos, message)) => {
                let mut error = error(pos, herald_value::CallError::new(message));
                error.hint = advice::on(source, pos, &error.message);
                // Then the word is text of the message, no misspelt function.
                if error.hint.as_deref() == Some(advice::NOT_CLOSED)
                    && let Some(end) = error.message.find("; did you mean")
                {
                    error.message.truncate(end);
                }
                Err(error)
            }
        }
    }

    /// Renders into a buffer. On an error the buffer holds what was rendered so far.
    ///
    /// Functions such as `now` and `ago` read the clock; [`Template::render_at`] gives them the instant instead.
    pub fn render(&self, vars: &Value, limits: Limits, out: &mut Vec<u8>) -> Result<(), TemplateError> {
        self.run(vars, limits, None, out)
    }

    /// Renders as of an instant.
    pub fn render_at(
        &self,
        vars: &Value,
        limits: Limits,
        now: jiff::Timestamp,
        out: &mut Vec<u8>,
    ) -> Result<(), TemplateError> {
        self.run(vars, limits, Some(now), out)
    }

    fn run(
        &self,
        vars: &Value,
        limits: Limits,
        now: Option<jiff::Timestamp>,
        out: &mut Vec<u8>,
    ) -> Result<(), TemplateError> {
        exec::render(&self.program, vars, limits, now, out).map_err(|failure| {
            let program = &self.program;
            let mut error =
                TemplateError::at(&program.name, &program.source, Phase::Exec, failure.pos, failure.error);
            error.hint = failure.hint.or_else(|| advice::on(&program.source, failure.pos, &error.message));
            error
        })
    }
}

/// All functions besides those of the language itself.
fn sprig_functions() -> impl Iterator<Item = &'static function::Function> {
    sprig::TABLES.iter().flat_map(|table| table.iter())
}
