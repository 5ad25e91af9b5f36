//! Budgets. Programs come from people who are not the operator, so none of them may run or grow without bound.

use crate::CallError;

/// What one run of a template or an expression may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Steps: nodes of a template, instructions of an expression, elements that a function makes or visits.
    pub steps: u64,
    /// Bytes that a run may produce: output, and text and lists built on the way.
    pub bytes: u64,
    /// Nested template calls and nested source constructs.
    pub depth: u32,
    /// Bytes of one source text.
    pub source_bytes: usize,
    /// Bytes of a compiled regular expression.
    pub regex_bytes: usize,
}

impl Limits {
    /// Enough for any notification that a service would accept, and a fraction of a second at most.
    pub const DEFAULT: Limits = Limits {
        steps: 10_000_000,
        bytes: 64 * 1024 * 1024,
        depth: 200,
        source_bytes: 4 * 1024 * 1024,
        regex_bytes: 4 * 1024 * 1024,
    };

    /// For configurations of tenants: plenty for a notification, and too little to hold up anybody else's.
    pub const TENANT: Limits = Limits {
        steps: 500_000,
        bytes: 4 * 1024 * 1024,
        depth: 100,
        source_bytes: 256 * 1024,
        regex_bytes: 512 * 1024,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Limits::DEFAULT
    }
}

/// What is left of the [`Limits`] during one run.
#[derive(Clone, Debug)]
pub struct Meter {
    limits: Limits,
    steps: u64,
    bytes: u64,
}

impl Meter {
    /// A full budget.
    pub fn new(limits: Limits) -> Meter {
        Meter { limits, steps: limits.steps, bytes: limits.bytes }
    }

    /// The limits that this run started with.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How many bytes are left.
    pub fn bytes_left(&self) -> u64 {
        self.bytes
    }

    /// Uses up steps.
    #[inline]
    pub fn step(&mut self, count: u64) -> Result<(), CallError> {
        match self.steps.checked_sub(count) {
            Some(left) => {
                self.steps = left;
                Ok(())
            }
            None => Err(CallError::over_limit(format!("took more than {} steps", self.limits.steps))),
        }
    }

    /// Uses up bytes. Call it before the memory is taken.
    #[inline]
    pub fn grow(&mut self, bytes: u64) -> Result<(), CallError> {
        match self.bytes.checked_sub(bytes) {
            Some(left) => {
                self.bytes = left;
                Ok(())
            }
            None => Err(CallError::over_limit(format!("made more than {} bytes", self.limits.bytes))),
        }
    }
}
