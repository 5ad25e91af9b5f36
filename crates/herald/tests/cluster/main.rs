//! `herald run` on a real API server. There are no controllers: the tests write the status that controllers would write.
//! Without a server (see `herald_testkit::apiserver`) every test is skipped, and one line says so.

// Helpers of tests may fail loudly, too.
#![allow(clippy::unwrap_used)]

mod baseline;
mod commands;
mod configuration;
mod explain;
mod faults;
mod high_availability;
mod installation;
mod load;
mod other_kinds;
mod restarts;
mod scene;
mod self_service;
mod state;
mod stock;
