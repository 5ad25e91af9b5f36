//! One live message for each rollout: posted once, then edited. An update that waits is replaced by a later one, so that
//! no channel's limit is hit; where a service can't edit, only the first and the last are sent.

use std::collections::BTreeMap;

use herald_core::{
    catalog::{LIVE, LIVE_END},
    config::Config,
    decide::Due,
};
use herald_outbox::{Batch, Done, Outcome};
use herald_value::Value;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::tenant;

/// The services that edit what they posted.
const EDIT: [&str; 2] = ["slack", "mattermost"];

/// What was sent last, by destination.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Live(BTreeMap<String, Told>);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Told {
    /// The revision, by its hash.
    hash: String,
    /// The notice.
    id: String,
}

impl Live {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a notice is to be sent; other triggers' always are.
    pub(crate) fn wanted(&self, config: &Config, due: &Due, object: Option<&Value>) -> bool {
        if due.trigger.as_str() != LIVE || due.condition == LIVE_END {
            return true;
        }
        let service = config.service(due.destination.service.as_str());
        let edits = service.is_some_and(|service| EDIT.contains(&&*service.service_type));
        edits || self.0.get(&place(config, due)).is_none_or(|told| told.hash != hash(object))
    }

    /// A notice is sent: the one before it, if it still waits, is not wanted any more.
    pub(crate) fn sent(
        &mut self,
        config: &Config,
        due: &Due,
        object: Option<&Value>,
        id: &str,
        batch: &mut Batch,
        now: Timestamp,
    ) {
        if due.trigger.as_str() != LIVE {
            return;
        }
        let told = Told { hash: hash(object), id: id.to_owned() };
        let same = told.hash.clone();
        if let Some(before) = self.0.insert(place(config, due), told)
            && before.hash == same
            && before.id != id
        {
            let reason = format!("replaced by the later update {id}");
            batch.done.push(Done { id: before.id, outcome: Outcome::Grouped, at: now, reason });
        }
    }
}

fn place(config: &Config, due: &Due) -> String {
    tenant::instance(config.namespace(), &due.destination.to_string())
}

fn hash(object: Option<&Value>) -> String {
    object
        .map(|object| super::look::text(object, &["status", "currentPodHash"]).to_owned())
        .unwrap_or_default()
}
