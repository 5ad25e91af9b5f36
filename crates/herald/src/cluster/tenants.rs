//! Configurations of namespaces beside the controller's (self-service).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use herald_sources::kubernetes::watch::Heard;
use herald_value::Value;

use super::feeds::Feed;
use crate::pipeline::{configuration::Builder, look::text, report::Reporter, tenant};

/// The objects of one kind, by namespace.
#[derive(Default)]
struct Objects {
    held: BTreeMap<String, Value>,
    /// What a list that runs has shown so far.
    listed: BTreeSet<String>,
}

/// The objects that tenants configure with.
#[derive(Default)]
pub(super) struct Tenants {
    config_maps: Objects,
    secrets: Objects,
    /// Namespaces whose configuration is another one than that in force.
    changed: BTreeSet<String>,
}

impl Tenants {
    /// Takes over what was heard; whether a namespace's configuration changed.
    pub(super) fn hear(&mut self, feed: Feed, heard: Heard, home: &str) -> bool {
        let objects = if feed == Feed::TenantSecret { &mut self.secrets } else { &mut self.config_maps };
        let namespace = |object: &Value| text(object, &["metadata", "namespace"]).to_owned();
        match heard {
            Heard::Listing => objects.listed.clear(),
            Heard::Listed(all) => {
                for object in all.into_iter().filter(|object| namespace(object) != home) {
                    objects.listed.insert(namespace(&object));
                    self.changed.extend(objects.put(namespace(&object), object));
                }
            }
            // What can't be read now stays as it was.
            Heard::Synced { whole: false } => {}
            Heard::Synced { whole: true } => {
                let listed = std::mem::take(&mut objects.listed);
                let gone: Vec<String> =
                    objects.held.keys().filter(|name| !listed.contains(*name)).cloned().collect();
                objects.held.retain(|name, _| listed.contains(name));
                self.changed.extend(gone);
            }
            Heard::Changed(object) => {
                if namespace(&object) != home {
                    self.changed.extend(objects.put(namespace(&object), object));
                }
            }
            Heard::Deleted(object) => {
                if objects.held.remove(&namespace(&object)).is_some() {
                    self.changed.insert(namespace(&object));
                }
            }
        }
        !self.changed.is_empty()
    }

    /// Builds what changed; gives all of them, and the namespaces that have another configuration now.
    ///
    /// `told` hears what is wrong with a namespace's ConfigMap, with its uid.
    pub(super) fn configure(
        &mut self,
        builder: &Builder,
        earlier: &tenant::Tenants,
        reporter: &Reporter,
        told: &dyn Fn(&str, &str, &str),
    ) -> (Arc<tenant::Tenants>, BTreeSet<String>) {
        let mut all = earlier.clone();
        // What an earlier session left may be gone by now.
        all.retain(|namespace, _| self.config_maps.held.contains_key(namespace));
        let changed = std::mem::take(&mut self.changed);
        for namespace in &changed {
            // A Secret alone configures nothing.
            let Some(config_map) = self.config_maps.held.get(namespace) else {
                all.remove(namespace);
                reporter.configured(&tenant::object(namespace), 0);
                continue;
            };
            let secret = self.secrets.held.get(namespace);
            let input = tenant::input(namespace, config_map, secret, reporter);
            let active =
                builder.build_tenant(namespace, &input, all.get(namespace).map(|active| &**active), reporter);
            for problem in &active.problems {
                told(namespace, text(config_map, &["metadata", "uid"]), &active.redactor.clean(problem));
            }
            all.insert(namespace.clone(), Arc::new(active));
        }
        (Arc::new(all), changed)
    }
}

impl Objects {
    /// Keeps an object; its namespace, if its content is another one.
    fn put(&mut self, namespace: String, object: Value) -> Option<String> {
        let content = super::configured::content;
        let same = self.held.get(&namespace).is_some_and(|old| content(old) == content(&object));
        self.held.insert(namespace.clone(), super::prune::without_managers(&object));
        (!same).then_some(namespace)
    }
}

#[cfg(test)]
mod tests {
    use herald_value::json::{Numbers, decode};

    use super::*;

    fn config_map(namespace: &str, value: &str) -> Value {
        let text = format!(
            r#"{{"metadata":{{"namespace":"{namespace}","name":"x"}},"data":{{"template.a":"message: {value}"}}}}"#
        );
        decode(text.as_bytes(), Numbers::Kubernetes).unwrap()
    }

    #[test]
    fn only_namespaces_that_changed_are_built_anew() {
        let mut tenants = Tenants::default();
        let mut hear = |heard| {
            tenants.hear(Feed::TenantConfigMap, heard, "argo-rollouts");
            std::mem::take(&mut tenants.changed).into_iter().collect::<Vec<_>>()
        };
        assert!(hear(Heard::Listing).is_empty());
        let list = ["shop", "bank", "argo-rollouts"].map(|name| config_map(name, "1"));
        assert_eq!(hear(Heard::Listed(list.to_vec())), ["bank", "shop"]);
        assert!(hear(Heard::Synced { whole: true }).is_empty());
        assert_eq!(hear(Heard::Changed(config_map("shop", "2"))), ["shop"]);
        assert!(hear(Heard::Changed(config_map("shop", "2"))).is_empty());
        assert!(hear(Heard::Changed(config_map("argo-rollouts", "3"))).is_empty());
        // A list that is cut off says nothing of what is not in it.
        assert!(hear(Heard::Listing).is_empty());
        assert!(hear(Heard::Synced { whole: false }).is_empty());
        assert!(hear(Heard::Listing).is_empty());
        assert!(hear(Heard::Listed(vec![config_map("shop", "2")])).is_empty());
        assert_eq!(hear(Heard::Synced { whole: true }), ["bank"]);
        assert_eq!(hear(Heard::Deleted(config_map("shop", "2"))), ["shop"]);
    }
}
