//! Delivery services: one file for each integration, over one outbound HTTP client.
//!
//! A service is a [`ServiceType`]: a name, how its section of a template is read, and how its options become a
//! [`Service`] that can send. The one list of them is [`registry::SERVICES`]; a new service is a new file in
//! `services/` and a line there.
//!
//! ```
//! use herald_services::{Environment, Registry};
//!
//! let registry = Registry::standard();
//! let options = herald_core::yaml::parse("url: https://example.com/hook")?;
//! let instance = registry.build("webhook", "hook", &options, &Environment::default())?;
//! assert_eq!((instance.service_type(), instance.name()), ("webhook", "hook"));
//! # Ok::<(), herald_core::yaml::YamlError>(())
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`check`] | what a service would refuse of a rendered notification |
//! | [`service`] | the contract: types, deliveries, receipts |
//! | [`failure`] | why a delivery failed, as a closed list, and what to do about it |
//! | [`http`] | the one outbound HTTP client |
//! | [`schema`] | what options and sections may be, as JSON Schema |
//! | [`section`] | what sections of templates share: fields, defaults, merging |
//! | [`handles`] | what a service must remember of earlier messages (threads) |
//! | [`limit`] | cutting texts to what the other side takes |
//! | [`redact`] | keeping secrets out of errors and logs |

pub mod check;
pub mod failure;
pub mod handles;
pub mod http;
mod jwt;
pub mod limit;
pub mod redact;
pub mod registry;
pub mod schema;
pub mod section;
pub mod service;
pub mod services;
mod yaml_text;

pub use failure::{Reason, SendError};
pub use registry::{Instance, Registry};
pub use service::{Context, Delivery, Environment, ObjectRef, Receipt, Service, ServiceType};
