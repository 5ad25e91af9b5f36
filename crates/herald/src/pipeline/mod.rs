//! The way of a change: what a source tells → what happened (`core::lifecycle`) → what is due (`core::decide`) →
//! rendered notices → one commit of notices, cursor and record → the courier → a service.
//!
//! Nothing here knows which source there is: a [`look::Look`] is one Rollout with what belongs to it.

pub(crate) mod assess;
pub(crate) mod configuration;
pub(crate) mod console;
pub(crate) mod decisions;
pub(crate) mod deliver;
pub(crate) mod delivery;
pub(crate) mod digest;
pub(crate) mod engine;
pub(crate) mod handles;
pub(crate) mod live;
pub(crate) mod look;
pub(crate) mod owners;
pub(crate) mod payload;
pub(crate) mod report;
pub(crate) mod tenant;
pub(crate) mod world;
