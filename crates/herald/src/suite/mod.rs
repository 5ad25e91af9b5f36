//! Tests of a configuration: given these objects, these notices are expected. `docs/testing.md` describes the format.

pub(crate) mod expect;
pub(crate) mod file;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod update;
