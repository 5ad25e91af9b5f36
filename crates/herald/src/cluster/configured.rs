//! The configuration of a cluster: a ConfigMap, a Secret, and further ConfigMaps by label.

use std::collections::{BTreeMap, HashMap};

use herald_core::config::ConfigInput;
use herald_sources::kubernetes::watch::Heard;
use herald_value::Value;

use super::feeds::Feed;
use crate::{
    input::{self, ConfigArgs},
    pipeline::{look::text, report::Reporter},
};

/// The objects of the configuration.
#[derive(Default)]
pub(super) struct Configured {
    config_map: Option<Value>,
    secret: Option<Value>,
    more: BTreeMap<String, Value>,
    /// What a list that runs has shown so far.
    listed: HashMap<&'static str, Vec<Value>>,
}

fn feed_name(feed: Feed) -> Option<&'static str> {
    match feed {
        Feed::ConfigMap => Some("ConfigMap"),
        Feed::Secret => Some("Secret"),
        Feed::MoreConfig => Some("more"),
        _ => None,
    }
}

impl Configured {
    /// Takes over what was heard; whether the configuration is another one now.
    pub(super) fn hear(&mut self, feed: Feed, heard: Heard) -> bool {
        let Some(name) = feed_name(feed) else { return false };
        match heard {
            Heard::Listing => {
                self.listed.insert(name, Vec::new());
                false
            }
            Heard::Listed(objects) => {
                self.listed.entry(name).or_default().extend(objects);
                false
            }
            // What can't be read now stays as it was.
            Heard::Synced { whole: false } => false,
            Heard::Synced { whole: true } => {
                let listed = self.listed.remove(name).unwrap_or_default();
                match feed {
                    Feed::ConfigMap => replaced(&mut self.config_map, listed.into_iter().next()),
                    Feed::Secret => replaced(&mut self.secret, listed.into_iter().next()),
                    _ => {
                        let more: BTreeMap<_, _> = listed
                            .into_iter()
                            .map(|o| (text(&o, &["metadata", "name"]).to_owned(), o))
                            .collect();
                        let changed = differ(self.more.values(), more.values());
                        self.more = more;
                        changed
                    }
                }
            }
            Heard::Changed(object) => match feed {
                Feed::ConfigMap => replaced(&mut self.config_map, Some(object)),
                Feed::Secret => replaced(&mut self.secret, Some(object)),
                _ => {
                    let name = text(&object, &["metadata", "name"]).to_owned();
                    let old = self.more.insert(name, object.clone());
                    old.is_none_or(|old| content(&old) != content(&object))
                }
            },
            Heard::Deleted(object) => match feed {
                Feed::ConfigMap => replaced(&mut self.config_map, None),
                Feed::Secret => replaced(&mut self.secret, None),
                _ => self.more.remove(text(&object, &["metadata", "name"])).is_some(),
            },
        }
    }

    /// What is to be loaded. Keys of the ConfigMap itself go before those of further ones.
    pub(super) fn input(
        &self,
        args: &ConfigArgs,
        home: &str,
        reporter: &Reporter,
    ) -> Result<ConfigInput, crate::failure::Failure> {
        let mut input = args.input()?;
        if args.config_map.is_none() {
            input.object = format!("ConfigMap {home}/{}", herald_core::config::CONFIG_MAP);
            for (name, object) in &self.more {
                for (key, value) in input::config_map_data(object) {
                    if let Some(other) = input.data.insert(key.clone(), value) {
                        drop(other);
                        reporter.problem(&format!(
                            "key {key} is in several ConfigMaps with the label herald.dev/config=true: \
                             that of {home}/{name} is used; give one of them another name"
                        ));
                    }
                }
            }
            if let Some(object) = &self.config_map {
                input.data.extend(input::config_map_data(object));
            }
        }
        if args.secret.is_none()
            && let Some(object) = &self.secret
        {
            let (data, wrong) = input::secret_data(object);
            for problem in wrong {
                reporter.problem(&format!("Secret {home}/{}: {problem}", herald_core::config::SECRET));
            }
            input.secret = data;
            input.secret_object = format!("Secret {home}/{}", herald_core::config::SECRET);
        }
        Ok(input)
    }

    /// The uid of the ConfigMap, to tell about it.
    pub(super) fn uid(&self) -> Option<&str> {
        self.config_map.as_ref().map(|object| text(object, &["metadata", "uid"]))
    }
}

pub(super) fn content(object: &Value) -> [Option<&Value>; 3] {
    [object.get("data"), object.get("binaryData"), object.get("stringData")]
}

fn replaced(held: &mut Option<Value>, new: Option<Value>) -> bool {
    let changed = held.as_ref().map(content) != new.as_ref().map(content);
    *held = new;
    changed
}

fn differ<'a>(old: impl Iterator<Item = &'a Value>, new: impl Iterator<Item = &'a Value>) -> bool {
    old.map(content).ne(new.map(content))
}
