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

use herald_value::{Value, limits::Limits};

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

/// A compiled expression. Cheap to clone, usable from many threads at once.
#[derive(Clone, Debug)]
pub struct Program {}

impl Program {
    /// Compiles an expression with no declared environment: unknown names are nil when it runs.
    pub fn compile(source: &str, limits: Limits) -> Result<Program, ExprError> {
        let _ = (source, limits);
        Ok(Program {})
    }

    /// Runs it. `vars` is a map: name → value (functions and maps of functions included).
    pub fn run(&self, vars: &Value, limits: Limits) -> Result<Value, ExprError> {
        let _ = (vars, limits);
        Ok(Value::Nil)
    }
}
