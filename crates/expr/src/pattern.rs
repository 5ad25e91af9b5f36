//! Regular expressions of `matches`.

use herald_value::{CallError, re2};
use regex::bytes::Regex;

/// Compiles a pattern as Go would read it, to at most so many bytes.
pub(crate) fn compile(pattern: &str, most_bytes: usize) -> Result<Regex, CallError> {
    re2::compile(pattern, most_bytes).map_err(|refused| match refused {
        re2::Refused::Invalid(why) => {
            CallError::new(format!("the regular expression {pattern:?} is not valid: {why}"))
        }
        re2::Refused::TooLarge => {
            CallError::over_limit(format!("the regular expression needs more than {most_bytes} bytes"))
        }
    })
}
