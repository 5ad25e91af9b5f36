//! What is due, and why: a pure function from (configuration, object, state, clock) to notices. No I/O, no
//! async, no clock.

pub mod catalog;
pub mod config;
pub mod decide;
pub mod diagnostic;
pub mod explain;
pub mod lifecycle;
pub mod names;
pub mod notification;
pub mod occurrence;
pub mod replay;
pub mod schema;
pub mod selector;
pub mod state;
pub mod subscription;
pub mod variables;
pub mod yaml;
