//! One file for each command.

pub(crate) mod catalog;
pub(crate) mod complete_words;
pub(crate) mod completion;
pub(crate) mod deliver;
pub(crate) mod deliveries;
pub(crate) mod eval;
pub(crate) mod explain;
pub(crate) mod lint;
pub(crate) mod man;
pub(crate) mod outbox;
pub(crate) mod replay;
pub(crate) mod run;
pub(crate) mod schema;
pub(crate) mod shadow;
pub(crate) mod template;
pub(crate) mod test;
pub(crate) mod trigger;
pub(crate) mod ui;
pub(crate) mod version;
