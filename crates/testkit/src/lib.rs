//! What tests share: servers that record what they are sent and answer as a test says. Loopback only.
//!
//! ```
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! use herald_testkit::http::{Answer, Recorder};
//!
//! let recorder = Recorder::start().await;
//! recorder.script([Answer::status(503).header("Retry-After", "7")]);
//! // … something sends to recorder.url("/hook") …
//! assert_eq!(recorder.requests().len(), 0);
//! # });
//! ```

pub mod api_proxy;
pub mod apiserver;
pub mod crash;
pub mod http;
pub mod installed;
pub mod manifests;
pub mod nats;
pub mod smtp;
pub mod tls;
