//! A cluster, through the Kubernetes API.

pub mod annotate;
pub mod event_writer;
pub mod limit;
