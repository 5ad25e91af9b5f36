//! The services, one file each.

pub mod console;
pub mod email;
pub mod slack;
pub mod webhook;
