//! The configuration in force: built beside the old one, then swapped whole.

use std::{collections::BTreeMap, sync::Arc};

use herald_core::{
    config::{CONFIG_MAP, Config, ConfigInput, SECRET},
    diagnostic::{Diagnostic, Severity},
};
use herald_services::{
    Environment, Instance, Registry,
    handles::Handles,
    http::{HttpFactory, Observer, Range},
    redact::Redactor,
    service::SharedHandles,
};
use herald_value::limits::Limits;

use super::{
    delivery,
    report::Reporter,
    tenant::{self, ScopedHandles, Tenants},
    world::World,
};
use crate::{
    failure::Failure,
    input::{self, ConfigArgs},
};

/// A configuration with its services ready to send.
#[derive(Clone)]
pub(crate) struct Active {
    pub(crate) config: Config,
    pub(crate) services: BTreeMap<String, Instance>,
    /// How each service is delivered.
    pub(crate) policies: delivery::Table,
    /// What is wrong with it, a sentence each.
    pub(crate) problems: Vec<String>,
    /// Knows the secrets.
    pub(crate) redactor: Arc<Redactor>,
    /// What it was made of.
    pub(crate) input: Arc<ConfigInput>,
    /// Those of namespaces that have their own.
    pub(crate) tenants: Arc<Tenants>,
}

/// Builds configurations.
pub(crate) struct Builder {
    http: Arc<HttpFactory>,
    handles: Arc<SharedHandles>,
}

impl Builder {
    /// A builder; connections and handles stay over all configurations that it makes.
    pub(crate) fn new(handles: Box<dyn Handles>) -> Builder {
        Builder { http: Arc::default(), handles: Arc::new(SharedHandles(handles)) }
    }

    /// Tells this observer of every request to a service; configurations of tenants may reach these ranges although
    /// they are not public.
    pub(crate) fn observed_by(mut self, observer: Arc<dyn Observer>, allowed: &[Range]) -> Builder {
        self.http = Arc::new(HttpFactory::default().with_observer(observer).with_allowed(allowed));
        self
    }

    /// The configuration of an input, with what was good in `earlier` where the new one is broken.
    pub(crate) fn build(&self, input: &ConfigInput, earlier: Option<&Active>, reporter: &Reporter) -> Active {
        let environment = Environment {
            http: self.http.clone(),
            handles: self.handles.clone(),
            ..input::environment(input)
        };
        let tenants = earlier.map(|earlier| earlier.tenants.clone()).unwrap_or_default();
        Active { tenants, ..make(input, earlier, &environment, Limits::DEFAULT, reporter) }
    }

    /// The configuration of a tenant: kept away from what is not public, and on short rations.
    pub(crate) fn build_tenant(
        &self,
        namespace: &str,
        input: &ConfigInput,
        earlier: Option<&Active>,
        reporter: &Reporter,
    ) -> Active {
        let handles = ScopedHandles { namespace: namespace.to_owned(), all: self.handles.clone() };
        let environment = Environment {
            http: self.http.clone(),
            handles: Arc::new(SharedHandles(Box::new(handles))),
            guarded: true,
            ..input::environment(input)
        };
        let mut active = make(input, earlier, &environment, Limits::TENANT, reporter);
        for policy in active.policies.values_mut() {
            policy.concurrency = policy.concurrency.min(tenant::CONCURRENCY);
        }
        active
    }
}

fn make(
    input: &ConfigInput,
    earlier: Option<&Active>,
    environment: &Environment,
    limits: Limits,
    reporter: &Reporter,
) -> Active {
    let registry = Registry::standard();
    let (config, diagnostics) = Config::load(input, &registry, limits);
    let mut errors = diagnostics.iter().filter(|found| found.severity == Severity::Error).count();
    for diagnostic in &diagnostics {
        reporter.diagnostic(diagnostic);
    }
    let config = match earlier {
        Some(earlier) => config.keeping_good_of(&earlier.config),
        None => config,
    };
    let (mut services, mut problems) = (BTreeMap::new(), Vec::new());
    for service in config.services() {
        let name = service.name.as_str();
        match registry.build(&service.service_type, name, &service.options, environment) {
            Ok(instance) => drop(services.insert(name.to_owned(), instance)),
            Err(error) => {
                errors += 1;
                let problem = format!("{}, key {}: {error}", input.object, service.key);
                reporter.problem(&problem);
                problems.push(problem);
            }
        }
    }
    let redactor = environment.redactor.clone();
    problems.extend(
        diagnostics.iter().filter(|found| found.severity == Severity::Error).map(ToString::to_string),
    );
    reporter.configured(&input.object, errors);
    let none = delivery::Table::new();
    let earlier = earlier.map_or(&none, |earlier| &earlier.policies);
    let (policies, diagnostics) = delivery::table(&config, input, earlier);
    for diagnostic in &diagnostics {
        reporter.diagnostic(diagnostic);
    }
    let input = Arc::new(input.clone());
    Active { config, services, policies, problems, redactor, input, tenants: Arc::default() }
}

/// What the objects of a source, or the files of the command line, configure.
pub(crate) fn input(args: &ConfigArgs, world: &World, reporter: &Reporter) -> Result<ConfigInput, Failure> {
    let mut input = args.input()?;
    let wanted = args.namespace.as_deref();
    let choose = |kind: &'static str, name: &'static str| {
        let mut found: Vec<_> = world
            .named(kind, name)
            .filter(|(key, ..)| wanted.is_none_or(|wanted| key.namespace == wanted))
            .collect();
        found.sort_by_key(|(key, ..)| key.namespace != "argo-rollouts");
        if let [(first, ..), (other, ..), ..] = &found[..] {
            reporter.problem(&format!(
                "there are several objects {kind} {name}: the one of namespace {} is used, that of {} is not; \
                 choose with --namespace",
                first.namespace, other.namespace
            ));
        }
        found.into_iter().next()
    };
    if args.config_map.is_none()
        && let Some((key, object, file)) = choose("ConfigMap", CONFIG_MAP)
    {
        input.data = input::config_map_data(object);
        input.object = key.to_string();
        input.file = file.map(|file| file.display().to_string());
    }
    if args.secret.is_none()
        && let Some((key, object, file)) = choose("Secret", SECRET)
    {
        let (data, wrong) = input::secret_data(object);
        for problem in wrong {
            let file = file.map(|file| format!("{}: ", file.display())).unwrap_or_default();
            reporter.problem(&format!("{file}{key}: {problem}"));
        }
        input.secret = data;
        input.secret_object = key.to_string();
    }
    Ok(input)
}

/// Tells what looks wrong about an object.
pub(crate) fn tell(found: Vec<Diagnostic>, look: &super::look::Look<'_>, reporter: &Reporter) {
    for diagnostic in found {
        reporter.about(&input::placed(diagnostic, &look.key.to_string(), look.file));
    }
}
