//! The services, one file each.

pub mod alertmanager;
pub mod awssqs;
pub mod console;
pub mod discord;
pub mod email;
pub mod gcppubsub;
pub mod github;
pub mod gitlab;
pub mod googlechat;
pub mod grafana;
pub mod mattermost;
pub mod nats;
pub mod newrelic;
pub mod opsgenie;
pub mod pagerduty;
pub mod pagerdutyv2;
pub mod pushover;
pub mod rocketchat;
pub mod slack;
mod slack_limits;
pub mod teams;
pub mod teams_workflows;
pub mod telegram;
pub mod webex;
pub mod webhook;
mod webhook_envelope;
mod webhook_signature;
