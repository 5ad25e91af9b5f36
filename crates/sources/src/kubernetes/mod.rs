//! A cluster, through the Kubernetes API.

pub mod annotate;
mod backoff;
pub mod client;
pub mod discover;
pub mod event_writer;
pub mod fetch;
pub mod get;
pub mod limit;
pub mod review;
pub mod watch;

pub use kube::Client;
