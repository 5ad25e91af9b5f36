//! Configurations of namespaces beside the controller's: whose a service is, and what keeps them apart.

use std::{collections::BTreeMap, sync::Arc};

use herald_core::config::{CONFIG_MAP, ConfigInput, SECRET};
use herald_services::{
    handles::{HandleKey, Handles},
    service::SharedHandles,
};
use herald_value::Value;

use super::{configuration::Active, report::Reporter};
use crate::input;

/// A tenant's service has at most so many requests at a time.
pub(crate) const CONCURRENCY: usize = 8;

/// The configurations of namespaces.
pub(crate) type Tenants = BTreeMap<String, Arc<Active>>;

/// What the outbox calls a service: with its namespace before it, if it is a tenant's. Lanes, limits and breakers of
/// tenants are their own by that.
pub(crate) fn instance(namespace: Option<&str>, service: &str) -> String {
    namespace.map_or_else(|| service.to_owned(), |namespace| format!("{namespace}/{service}"))
}

/// What a tenant's configuration is called in messages.
pub(crate) fn object(namespace: &str) -> String {
    format!("ConfigMap {namespace}/{CONFIG_MAP}")
}

/// What a tenant's two objects configure.
pub(crate) fn input(
    namespace: &str,
    config_map: &Value,
    secret: Option<&Value>,
    reporter: &Reporter,
) -> ConfigInput {
    let mut input = ConfigInput {
        data: input::config_map_data(config_map),
        object: object(namespace),
        namespace: Some(namespace.to_owned()),
        secret_object: format!("Secret {namespace}/{SECRET}"),
        // The console is the controller's own.
        provided: Vec::new(),
        ..input::base_input()
    };
    if let Some(secret) = secret {
        let (data, wrong) = input::secret_data(secret);
        for problem in wrong {
            reporter.problem(&format!("{}: {problem}", input.secret_object));
        }
        input.secret = data;
    }
    input
}

impl Active {
    /// This one, with other configurations of namespaces beside it.
    pub(crate) fn with_tenants(&self, tenants: Arc<Tenants>) -> Active {
        Active { tenants, ..self.clone() }
    }

    /// The configuration that a service of the outbox belongs to, and the service's name in it. `None` if its tenant
    /// has no configuration any more.
    pub(crate) fn owner<'a>(&'a self, service: &'a str) -> Option<(&'a Active, &'a str)> {
        match service.split_once('/') {
            None => Some((self, service)),
            Some((namespace, name)) => self.tenants.get(namespace).map(|active| (&**active, name)),
        }
    }
}

/// A tenant's view of the messages that services remember: nobody else's threads can be named.
pub(crate) struct ScopedHandles {
    pub(crate) namespace: String,
    pub(crate) all: Arc<SharedHandles>,
}

impl ScopedHandles {
    fn key(&self, key: HandleKey) -> HandleKey {
        HandleKey { instance: instance(Some(&self.namespace), &key.instance), ..key }
    }
}

impl Handles for ScopedHandles {
    fn get(&self, key: &HandleKey) -> Option<String> {
        self.all.0.get(&self.key(key.clone()))
    }

    fn put(&self, key: HandleKey, handle: String) {
        self.all.0.put(self.key(key), handle);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use herald_services::handles::MemoryHandles;
    use herald_value::limits::Limits;

    use super::*;
    use crate::pipeline::configuration::Builder;

    #[test]
    fn messages_of_a_tenant_are_its_own() {
        let all = Arc::new(SharedHandles(Box::new(MemoryHandles::default())));
        let of = |namespace: &str| ScopedHandles { namespace: namespace.into(), all: all.clone() };
        let key = || HandleKey::new("slack", "channel", "key");
        of("red").put(key(), "1".into());
        assert_eq!(of("red").get(&key()).as_deref(), Some("1"));
        assert_eq!(of("blue").get(&key()), None);
        assert_eq!(all.0.get(&key()), None, "the controller's neither");
    }

    #[test]
    fn a_tenants_templates_and_conditions_have_short_rations_and_its_services_few_requests() {
        let builder = Builder::new(Box::new(MemoryHandles::default()));
        let service = "url: https://example.com\ndelivery: {concurrency: 500}".to_owned();
        let data = BTreeMap::from([("service.webhook.hook".to_owned(), service)]);
        let input = ConfigInput { data, ..ConfigInput::default() };
        let reporter = Reporter::quiet();
        let (own, tenant) =
            (builder.build(&input, None, &reporter), builder.build_tenant("red", &input, None, &reporter));
        assert_eq!((own.config.limits(), tenant.config.limits()), (Limits::DEFAULT, Limits::TENANT));
        assert_eq!(
            (own.policies["hook"].concurrency, tenant.policies["hook"].concurrency),
            (500, CONCURRENCY)
        );
    }
}
