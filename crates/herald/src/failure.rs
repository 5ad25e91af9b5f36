//! How a command fails: a sentence and an exit code.

use std::fmt;

/// What an exit code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// The thing asked about is bad: a delivery was refused, a file is broken.
    Bad,
    /// The command was used wrongly.
    Usage,
    /// The cluster, or something else that is needed, can't be reached.
    Unreachable,
}

impl Code {
    pub(crate) fn number(self) -> u8 {
        match self {
            Code::Bad => 1,
            Code::Usage => 2,
            Code::Unreachable => 3,
        }
    }
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    /// For standard error; empty if everything was said already.
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn bad(message: impl Into<String>) -> Failure {
        Failure { code: Code::Bad, message: message.into() }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Failure { code: Code::Usage, message: message.into() }
    }

    pub(crate) fn unreachable(message: impl Into<String>) -> Failure {
        Failure { code: Code::Unreachable, message: message.into() }
    }

    /// A failure that was told already.
    pub(crate) fn told() -> Failure {
        Failure::bad("")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<herald_outbox::OutboxError> for Failure {
    fn from(error: herald_outbox::OutboxError) -> Self {
        Failure::bad(error.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Failure::bad(format!("can't write the output: {error}"))
    }
}

/// What a command gives.
pub(crate) type Outcome = Result<(), Failure>;
