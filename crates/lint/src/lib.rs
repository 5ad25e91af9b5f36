//! What is wrong with a configuration and with the manifests that subscribe to it.
//!
//! Loading finds most of it ([`herald_core::config::Config::load`], codes up to HD022), and what it finds is found here
//! by the same call. This crate adds what takes samples and the schema of a Rollout: fields that are not there,
//! conditions that never hold, templates that render to nothing useful. It knows files, so each finding has its line there.
//!
//! ```
//! let file = ("notifications.yaml".to_owned(), "kind: ConfigMap
//! metadata: {name: argo-rollouts-notification-configmap}
//! data:
//!   template.done: |
//!     message: '{{.rollout.metadata.nam}} is done'
//! ".to_owned());
//! let report = herald_lint::lint(&[file], &herald_lint::Options::default());
//! assert_eq!((report.findings[0].code, report.findings[0].in_file.unwrap().line), ("HD024", 5));
//! ```

mod compat;
mod conditions;
mod fields;
pub mod format;
mod manifest;
mod options;
pub mod pages;
mod place;
mod reads;
mod rendering;
pub mod samples;

use std::collections::{BTreeMap, BTreeSet};

use herald_core::{
    catalog,
    config::{Config, ConfigInput, Layer},
    diagnostic::{Diagnostic, Severity, codes},
    lifecycle::reasons,
    names::nearest,
    notification::ServiceTypes as _,
    subscription,
    yaml::{self, Node, Position},
};
use herald_expr::analysis::{Step as ExprStep, analyse, line_and_column};
use herald_services::Registry;
use herald_value::limits::Limits;

use crate::{
    fields::Step,
    manifest::{ConfigMap, Manifests, Object, put},
    place::Text,
};

/// What to look for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Also tell where the reference behaves otherwise.
    pub compat: bool,
    /// Variables of other kinds that are watched beside Rollouts, such as `deployment`: the kinds in lower case.
    pub kinds: Vec<String>,
    /// What else is wrong with a configuration, told by whoever reads the keys that this crate doesn't know.
    pub more: Option<fn(&Config, &ConfigInput) -> Vec<Diagnostic>>,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The findings, by file and place.
    pub findings: Vec<Diagnostic>,
    /// Findings that were left out because there were too many.
    pub left_out: usize,
    /// How many objects were looked at.
    pub objects: usize,
}

impl Report {
    /// How many findings have a severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }

    /// Makes errors of all warnings.
    pub fn deny_warnings(&mut self) {
        for finding in &mut self.findings {
            if finding.severity == Severity::Warning {
                finding.severity = Severity::Error;
            }
        }
    }
}

/// Where the controller and its configuration are, unless somebody chose otherwise.
const HOME: &str = "argo-rollouts";

/// More findings than this help nobody.
const MOST_FINDINGS: usize = 500;
/// Findings of one code and key.
const MOST_OF_A_KIND: usize = 50;

/// Templates and conditions run for a dozen samples, so each run may use less than one in earnest.
const LIMITS: Limits = Limits { steps: 500_000, bytes: 4 * 1024 * 1024, ..Limits::DEFAULT };

/// Looks at files: each a name and a text.
pub fn lint(files: &[(String, String)], options: &Options) -> Report {
    let manifests = Manifests::read(files);
    let mut findings = manifests.found.clone();
    let registry = Registry::standard();
    let none = ConfigMap::default();
    let configured = !manifests.config_maps.is_empty();
    let maps: Vec<&ConfigMap> = if configured { manifests.config_maps.iter().collect() } else { vec![&none] };
    let mut configs = Vec::new();
    for map in maps {
        let secret = manifests.secret_of(&map.namespace);
        let mut linter = Linter { manifests: &manifests, map, secret, registry, options, found: Vec::new() };
        let config = linter.config_map();
        findings.extend(linter.found);
        configs.push((map, config));
    }
    for object in &manifests.objects {
        // A subscription is answered by the namespace's own configuration or by the controller's: only what both
        // complain of is wrong.
        let own = configs.iter().find(|(map, _)| map.namespace == object.namespace);
        let home = configs.iter().find(|(map, _)| map.namespace == HOME).or(configs.first());
        let look = |config| subscriber(&manifests, object, config, configured, options);
        let Some((_, config)) = own.or(home) else { continue };
        let mut found = look(config);
        if let Some((_, config)) = home.filter(|(map, _)| map.namespace != object.namespace)
            && own.is_some()
            && !found.is_empty()
        {
            let others = look(config);
            found.retain(|one| {
                others.iter().any(|other| other.code == one.code && other.in_file == one.in_file)
            });
        }
        findings.extend(found);
    }
    let objects = manifests.config_maps.len() + manifests.secrets.len() + manifests.objects.len();
    if objects == 0 && !findings.iter().any(|finding| finding.severity == Severity::Error) {
        let mut nothing =
            Diagnostic::new(Severity::Error, codes::MANIFEST, "there is no Kubernetes object in here")
                .hint("give files with the ConfigMap, the Secret and the Rollouts");
        nothing.file = files.first().map(|(name, _)| name.clone());
        findings.push(nothing);
    }
    finish(findings, objects)
}

fn finish(mut findings: Vec<Diagnostic>, objects: usize) -> Report {
    for finding in &mut findings {
        if let Some(severity) = severity(finding) {
            finding.severity = severity;
        }
    }
    findings.sort_by(|a, b| {
        let place = |d: &Diagnostic| (d.file.clone(), d.in_file, d.key.clone(), d.at, d.code);
        place(a).cmp(&place(b)).then_with(|| a.message.cmp(&b.message))
    });
    findings.dedup_by(|a, b| {
        a.code == b.code && a.message == b.message && a.in_file == b.in_file && a.file == b.file
    });
    let mut of_a_kind: BTreeMap<(&'static str, Option<String>), usize> = BTreeMap::new();
    let before = findings.len();
    findings.retain(|finding| {
        let count = of_a_kind.entry((finding.code, finding.key.clone())).or_default();
        *count += 1;
        *count <= MOST_OF_A_KIND
    });
    findings.truncate(MOST_FINDINGS);
    Report { left_out: before - findings.len(), findings, objects }
}

/// What is used though it can't do anything is an error for somebody who checks a configuration before it is in force.
fn severity(finding: &Diagnostic) -> Option<Severity> {
    let useless = matches!(
        finding.code,
        codes::UNKNOWN_TEMPLATE
            | codes::UNKNOWN_TRIGGER
            | codes::UNKNOWN_SERVICE
            | codes::NEAR_MISS
            | codes::SUBSCRIPTION
            | codes::NEVER_FIRES
            | codes::UNKNOWN_VARIABLE
            | codes::UNKNOWN_PATH
    );
    (useless && finding.severity == Severity::Warning).then_some(Severity::Error)
}

struct Linter<'m> {
    manifests: &'m Manifests,
    map: &'m ConfigMap,
    secret: Option<BTreeMap<String, Vec<u8>>>,
    registry: Registry,
    options: &'m Options,
    found: Vec<Diagnostic>,
}

impl Linter<'_> {
    /// Tells a finding in the value of a key, or about the key itself.
    fn tell(&mut self, key: &str, mut diagnostic: Diagnostic) {
        self.map.object.clone_into(&mut diagnostic.object);
        diagnostic.key = Some(key.to_owned());
        locate(&mut diagnostic, self.map, &self.manifests.files);
        self.found.push(diagnostic);
    }

    fn config_map(&mut self) -> Config {
        let data = self.map.entries.iter().map(|(key, entry)| (key.clone(), entry.value.clone())).collect();
        let provided = "console".parse().map(|name| vec![(name, "console".to_owned())]).unwrap_or_default();
        let input = ConfigInput {
            data,
            secret: self.secret.clone().unwrap_or_default(),
            base: catalog::data(),
            object: self.map.object.clone(),
            provided,
            ..ConfigInput::default()
        };
        let (config, diagnostics) = Config::load(&input, &self.registry, LIMITS);
        // Without a Secret nobody can tell which keys it has.
        let secretless = self.secret.is_none();
        let idle = |d: &Diagnostic| secretless && d.code == codes::SECRET_KEY;
        // Nor what the options become by it, and whether such a service can be used.
        let open: BTreeSet<String> = diagnostics
            .iter()
            .filter(|d| self.secret.is_none() && d.code == codes::SERVICE_OPTIONS)
            .filter_map(|d| d.key.clone().filter(|key| self.waits_for_secret(key, &d.message)))
            .collect();
        for diagnostic in diagnostics {
            let waits = match diagnostic.code {
                codes::SERVICE_OPTIONS => diagnostic.key.as_ref().is_some_and(|key| open.contains(key)),
                codes::UNKNOWN_SERVICE => {
                    open.iter().any(|key| diagnostic.message.contains(&format!("`{key}`")))
                }
                _ => false,
            };
            if diagnostic.object != "built-in" && !idle(&diagnostic) && !waits {
                let key = diagnostic.key.clone().unwrap_or_default();
                self.tell(&key, diagnostic);
            }
        }
        for diagnostic in self.options.more.map(|more| more(&config, &input)).unwrap_or_default() {
            let key = diagnostic.key.clone().unwrap_or_default();
            self.tell(&key, diagnostic);
        }
        self.keys();
        self.services(&config);
        self.triggers(&config);
        self.templates(&config);
        if self.options.compat {
            for (key, diagnostic) in compat::config_map(&config, &self.map.entries, self.secret.is_some()) {
                self.tell(&key, diagnostic);
            }
        }
        config
    }

    /// Whether a finding is about an option that comes from the Secret.
    fn waits_for_secret(&self, key: &str, message: &str) -> bool {
        let Some(entry) = self.map.entries.get(key) else { return false };
        let Ok((node, _)) = yaml::parse_lenient(&entry.value) else { return false };
        node.entries().iter().any(|(option, _, value)| {
            value.text().is_some_and(|text| text.contains('$')) && message.contains(option.as_str())
        })
    }

    /// Keys that nobody reads.
    fn keys(&mut self) {
        let map = self.map;
        for key in map.entries.keys() {
            let prefix = key.split(['.', '-', '_']).next().unwrap_or_default();
            let known = ["service", "template", "trigger"];
            let message = || format!("the key `{key}` is not read");
            let finding = match key.as_str() {
                "subscriptions" | "defaultTriggers" => None,
                _ if known.iter().any(|word| key.starts_with(&format!("{word}."))) => None,
                _ if key.starts_with("defaultTriggers.") => None,
                "context" => Some((message(), "`context` belongs to Argo CD; a Rollout's template has no such variable".to_owned())),
                "config.yaml" | "notifiers.yaml" => Some((
                    message(),
                    "this is the form of the old argocd-notifications; write `service.<type>`, `template.<name>` and `trigger.<name>`".to_owned(),
                )),
                _ => {
                    let rest = key.get(prefix.len() + 1..).unwrap_or_default();
                    let words = ["subscriptions", "defaultTriggers", "service", "template", "trigger"];
                    let lower = prefix.to_lowercase();
                    let near = words.iter().copied().find(|word| word.eq_ignore_ascii_case(prefix) || format!("{word}s") == lower);
                    match near.or_else(|| nearest(prefix, words)) {
                        Some(word @ ("service" | "template" | "trigger")) if !rest.is_empty() => {
                            Some((message(), format!("did you mean `{word}.{rest}`?")))
                        }
                        Some(word @ ("service" | "template" | "trigger")) => {
                            Some((message(), format!("write `{word}.<name>`")))
                        }
                        Some(word) if rest.is_empty() || word == "defaultTriggers" => {
                            let rest = if rest.is_empty() { String::new() } else { format!(".{rest}") };
                            Some((message(), format!("did you mean `{word}{rest}`?")))
                        }
                        Some(word) => Some((message(), format!("did you mean `{word}`?"))),
                        None if prefix == "notifiers" || prefix == "notifier" => {
                            Some((message(), format!("did you mean `service.{rest}`?")))
                        }
                        None => None,
                    }
                }
            };
            if let Some((message, hint)) = finding {
                let diagnostic = Diagnostic::new(Severity::Warning, codes::IGNORED_KEY, message).hint(hint);
                self.tell(key, diagnostic);
            }
        }
    }

    fn services(&mut self, config: &Config) {
        let map = self.map;
        for (key, entry) in &map.entries {
            let Some(rest) = key.strip_prefix("service.") else { continue };
            let kind = rest.split('.').next().unwrap_or_default();
            if kind == "teams" {
                self.tell(
                    key,
                    Diagnostic::new(
                        Severity::Warning,
                        codes::DEPRECATED,
                        "Microsoft retires Office 365 connectors: `teams` stops delivering",
                    )
                    .hint("create a workflow in Teams and use `service.teams-workflows` with its URL"),
                );
            }
            let Ok((node, _)) = yaml::parse_lenient(&entry.value) else { continue };
            if kind == "opsgenie" {
                self.tell(
                    key,
                    Diagnostic::new(
                        Severity::Note,
                        codes::DEPRECATED,
                        "Atlassian ends Opsgenie in April 2027",
                    )
                    .hint("plan another service"),
                );
            }
            let told = self
                .found
                .iter()
                .any(|finding| finding.key.as_deref() == Some(key) && finding.code == codes::SERVICE_OPTIONS);
            for fault in options::faults(kind, &node).into_iter().filter(|_| !told) {
                self.tell(
                    key,
                    Diagnostic::new(Severity::Warning, codes::SERVICE_OPTIONS, fault.message)
                        .hint(fault.hint)
                        .at(&entry.value, fault.at),
                );
            }
            let mut credentials = Vec::new();
            credential(&node, &mut credentials);
            for (what, at) in credentials {
                let message = format!("{what} stands in the ConfigMap, where everybody can read it");
                self.tell(
                    key,
                    Diagnostic::new(Severity::Warning, codes::CREDENTIAL, message)
                        .hint("put it into the Secret `argo-rollouts-notification-secret` and write `$<its key>` here")
                        .at(&entry.value, at),
                );
            }
        }
        let _ = config;
    }

    fn triggers(&mut self, config: &Config) {
        let triggers: Vec<_> =
            config.triggers().filter(|trigger| trigger.layer == Layer::ConfigMap).cloned().collect();
        for trigger in triggers {
            let key = format!("trigger.{}", trigger.name);
            let event = reasons::of_trigger(trigger.name.as_str()).is_some();
            for condition in &trigger.conditions {
                if condition.when.is_none() && !event {
                    let message = format!(
                        "this condition has no `when`, and no event is called `{}`, so it never fires",
                        trigger.name
                    );
                    let near =
                        nearest(trigger.name.as_str(), reasons::REASONS.iter().map(|reason| reason.trigger));
                    let hint = match near {
                        Some(near) => format!("did you mean `trigger.{near}`?"),
                        None => "give it a `when`, or the name of an event, such as `on-rollout-completed`"
                            .to_owned(),
                    };
                    let diagnostic = Diagnostic::new(Severity::Warning, codes::NEVER_FIRES, message)
                        .hint(hint)
                        .at(&trigger.source, condition.at);
                    self.tell(&key, diagnostic);
                }
                for (expression, predicate) in [(&condition.when, true), (&condition.once_per, false)] {
                    let Some(expression) = expression else { continue };
                    for (at, diagnostic) in in_expression(&expression.source, predicate, &self.options.kinds)
                    {
                        let (line, column) = line_and_column(&expression.source, at);
                        self.tell(&key, diagnostic.at(&trigger.source, expression.at.within(line, column)));
                    }
                }
            }
        }
    }

    fn templates(&mut self, config: &Config) {
        let services: BTreeSet<String> = config
            .services()
            .filter(|service| service.layer == Layer::ConfigMap)
            .map(|service| service.service_type.to_string())
            .collect();
        let templates: Vec<_> =
            config.templates().filter(|template| template.layer == Layer::ConfigMap).cloned().collect();
        for template in templates {
            let key = format!("template.{}", template.name);
            let Ok((node, _)) = yaml::parse_lenient(&template.source) else { continue };
            let fields = rendering::fields(&node, &self.registry, config.limits());
            let kinds = &self.options.kinds;
            let unknown = rendering::unknown_reads(&fields, &template.source, kinds);
            // The samples are Rollouts.
            let rendered = match rendering::reads_any(&fields, kinds) {
                true => Vec::new(),
                false => rendering::check(config, &template, &fields, &services, !unknown.is_empty()),
            };
            let any = !unknown.is_empty();
            for diagnostic in unknown {
                self.tell(&key, diagnostic);
            }
            for diagnostic in rendered {
                // What fails because a field is unknown was told with its place.
                if !(any && matches!(diagnostic.code, codes::RENDER_FAILS | codes::NO_VALUE)) {
                    self.tell(&key, diagnostic);
                }
            }
            if node.entries().is_empty() {
                let message = format!("the template `{}` is empty: what it sends has no text", template.name);
                self.tell(
                    &key,
                    Diagnostic::new(Severity::Warning, codes::TEMPLATE, message).hint("give it a `message`"),
                );
            }
            for fault in options::methods(&node) {
                self.tell(
                    &key,
                    Diagnostic::new(Severity::Warning, codes::TEMPLATE, fault.message)
                        .hint(fault.hint)
                        .at(&template.source, fault.at),
                );
            }
            self.documented(&key, &node, &template.source);
        }
    }

    /// Mistakes that the reference's own documentation shows.
    fn documented(&mut self, key: &str, node: &Node, source: &str) {
        if let Some((_, at, value)) =
            node.entries().iter().find(|(name, ..)| name.eq_ignore_ascii_case("webhook"))
        {
            let names: Vec<String> = (self.map.entries.keys())
                .filter_map(|key| key.strip_prefix("service.webhook"))
                .map(|rest| rest.strip_prefix('.').unwrap_or("webhook").to_owned())
                .collect();
            for (name, name_at, _) in value.entries() {
                if names.is_empty() || names.contains(name) {
                    continue;
                }
                let direct = matches!(name.as_str(), "method" | "path" | "body");
                let message = if direct {
                    format!("`webhook` wants the name of a webhook before `{name}`")
                } else {
                    format!("there is no webhook `{name}`, so this part is never sent")
                };
                let hint = match nearest(name, names.iter().map(String::as_str)) {
                    Some(near) if !direct => format!("did you mean `{near}`?"),
                    _ => format!("configured are {}", names.join(", ")),
                };
                let diagnostic = Diagnostic::new(Severity::Error, codes::UNKNOWN_SERVICE, message).hint(hint);
                self.tell(key, diagnostic.at(source, *name_at));
            }
            let _ = at;
        }
    }
}

/// What looks like a token or a password, by its well-known form or the name of its option.
fn credential(node: &Node, found: &mut Vec<(String, Position)>) {
    for (key, _, value) in node.entries() {
        let text = value.text().unwrap_or_default();
        let name = key.to_lowercase();
        let secret_name = matches!(
            name.as_str(),
            "token"
                | "password"
                | "apikey"
                | "privatekey"
                | "nkey"
                | "signingsecret"
                | "bearertoken"
                | "clientkey"
        );
        let known = ["xoxb-", "xoxp-", "xoxa-", "ghp_", "github_pat_", "glpat-", "AKIA", "-----BEGIN"];
        let looks = known.iter().any(|start| text.starts_with(start));
        if (looks || (secret_name && !text.is_empty() && !text.contains('$') && !text.starts_with('<')))
            && value.entries().is_empty()
        {
            found.push((format!("the value of `{key}`"), value.at));
        }
        credential(value, found);
    }
    node.items().iter().for_each(|item| credential(item, found));
}

/// What is wrong with an expression; each with its byte in the source.
fn in_expression(source: &str, predicate: bool, kinds: &[String]) -> Vec<(usize, Diagnostic)> {
    let Ok(analysis) = analyse(source, Limits::DEFAULT) else { return Vec::new() };
    let mut found = Vec::new();
    for access in &analysis.accesses {
        if found.len() >= MOST_OF_A_KIND {
            break;
        }
        let path: Vec<Step<'_>> = access
            .steps
            .iter()
            .map(|(step, _)| match step {
                ExprStep::Key(key) => Step::Key(key.as_str()),
                ExprStep::Item => Step::Item,
            })
            .collect();
        if let Some((step, diagnostic)) = reads::check(&path, false, kinds)
            && let Some((_, at)) = access.steps.get(step)
        {
            found.push((*at, diagnostic));
        }
    }
    for (name, at) in &analysis.unknown_functions {
        let message = format!("there is no function `{name}`");
        let mut diagnostic = Diagnostic::new(Severity::Warning, codes::UNKNOWN_VARIABLE, message);
        let operators = ["contains", "startsWith", "endsWith", "matches"];
        diagnostic.hint = match nearest(name, operators) {
            Some(near) => Some(format!("`{near}` is an operator: `rollout.metadata.name {near} 'x'`")),
            None => nearest(name, herald_expr::analysis::function_names().iter().copied())
                .map(|near| format!("did you mean `{near}`?")),
        };
        found.push((*at, diagnostic));
    }
    if predicate {
        found.extend(conditions::check(&analysis, source));
    }
    found
}

/// Puts a finding about a key of the ConfigMap at its place in the file.
fn locate(diagnostic: &mut Diagnostic, map: &ConfigMap, files: &[Text]) {
    let Some(entry) = diagnostic.key.as_ref().and_then(|key| map.entries.get(key)) else { return };
    let Some(text) = files.get(entry.file) else { return };
    let at = if diagnostic.at.is_unknown() {
        entry.key_at
    } else {
        text.of_value(entry.value_at, &entry.value, diagnostic.at)
    };
    put(diagnostic, text, at);
}

/// What is wrong with the subscriptions of an object.
fn subscriber(
    manifests: &Manifests,
    object: &Object,
    config: &Config,
    configured: bool,
    options: &Options,
) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let Some(text) = manifests.files.get(object.file) else { return found };
    let shown = if object.namespace.is_empty() {
        format!("{} {}", object.kind, object.name)
    } else {
        format!("{} {}/{}", object.kind, object.namespace, object.name)
    };
    let annotations = |node: &Node| -> Vec<(String, Position, Node)> {
        let meta = node.get("metadata").and_then(|meta| meta.get("annotations"));
        meta.map(|annotations| annotations.entries().to_vec()).unwrap_or_default()
    };
    let subscribes = |key: &str| {
        key.split_once('/')
            .is_some_and(|(prefix, name)| prefix == subscription::PREFIX && name.starts_with("subscri"))
    };
    let misplaced = |entries: Vec<(String, Position, Node)>, place: &str, hint: &str| -> Vec<Diagnostic> {
        let wrong = entries.into_iter().filter(|(key, ..)| subscribes(key));
        wrong
            .map(|(key, at, _)| {
                let message = format!("this annotation stands {place}, where nobody reads it");
                let mut diagnostic =
                    Diagnostic::new(Severity::Error, codes::NEAR_MISS, message).hint(hint.to_owned());
                diagnostic.key = Some(key);
                shown.clone_into(&mut diagnostic.object);
                put(&mut diagnostic, text, at);
                diagnostic
            })
            .collect()
    };
    if object.kind != "Rollout" {
        // Applications and their projects subscribe to Argo CD's notifications by the same annotations.
        if !matches!(object.kind.as_str(), "Application" | "AppProject" | "ApplicationSet") {
            let place = format!("on a {}", object.kind);
            found.extend(misplaced(
                annotations(&object.node),
                &place,
                "move it to the Rollout's own `metadata.annotations`",
            ));
        }
        return found;
    }
    let template = object.node.get("spec").and_then(|spec| spec.get("template"));
    let hint = "move it to `metadata.annotations` of the Rollout itself";
    found.extend(misplaced(template.map(annotations).unwrap_or_default(), "on the pod template", hint));
    let labels = object.node.get("metadata").and_then(|meta| meta.get("labels"));
    let labels = labels.map(|labels| labels.entries().to_vec()).unwrap_or_default();
    found.extend(misplaced(labels, "among the labels", hint));

    let value = object.node.to_value();
    let entries = annotations(&object.node);
    let subscriptions = subscription::subscriptions(config, &value);
    let place = |diagnostic: &mut Diagnostic| {
        shown.clone_into(&mut diagnostic.object);
        let key = diagnostic.key.clone().unwrap_or_default();
        if let Some((_, at, value)) = entries.iter().find(|(name, ..)| *name == key) {
            let at = if diagnostic.at.is_unknown() {
                *at
            } else {
                text.of_value(value.at, value.text().unwrap_or_default(), diagnostic.at)
            };
            put(diagnostic, text, at);
        }
    };
    for mut diagnostic in subscriptions.diagnostics {
        // Without the ConfigMap only what is misspelled can be told.
        let near = diagnostic.hint.as_deref().is_some_and(|hint| hint.starts_with("did you mean"));
        let unknown = matches!(diagnostic.code, codes::UNKNOWN_SERVICE | codes::UNKNOWN_TRIGGER);
        if unknown && !configured && (!near || diagnostic.code == codes::UNKNOWN_SERVICE) {
            continue;
        }
        place(&mut diagnostic);
        found.push(diagnostic);
    }
    for (key, at, value) in &entries {
        if subscribes(key) && value.text().is_none() && !value.is_null() {
            let message = format!("the value of an annotation is text, but this is {}", value.describe());
            let mut diagnostic =
                Diagnostic::new(Severity::Error, codes::MANIFEST, message).hint("write `|` behind the colon");
            diagnostic.key = Some(key.clone());
            shown.clone_into(&mut diagnostic.object);
            put(&mut diagnostic, text, *at);
            found.push(diagnostic);
        }
    }
    let registry = Registry::standard();
    for subscription in &subscriptions.list {
        let subscription::Origin::Annotation(key) = &subscription.origin else { continue };
        let mut told = Vec::new();
        if let Some(service) = config.service(subscription.destination.service.as_str()) {
            let recipient = subscription.destination.recipient.as_str();
            if let Err(why) = registry.check_recipient(&service.service_type, &service.options, recipient) {
                let message = format!("`{}` can't deliver to `{recipient}`: {why}", service.name);
                told.push(Diagnostic::new(Severity::Error, codes::SUBSCRIPTION, message));
            }
        }
        if let Some(trigger) = config.trigger(subscription.trigger.as_str())
            && trigger.layer == Layer::ConfigMap
            && trigger.conditions.is_empty()
        {
            let message = format!(
                "the trigger `{}` has no condition that can be used, so nothing answers this",
                trigger.name
            );
            told.push(Diagnostic::new(Severity::Error, codes::NEVER_FIRES, message));
        }
        if options.compat {
            told.extend(compat::subscription(config, subscription, key));
        }
        for mut diagnostic in told {
            diagnostic.key = Some(key.clone());
            place(&mut diagnostic);
            found.push(diagnostic);
        }
    }
    // A subscription that names no trigger needs default ones.
    for (key, _, _) in &entries {
        let Some(service) = key.strip_prefix("notifications.argoproj.io/subscribe.") else { continue };
        if configured && !service.contains('.') && config.default_triggers(service).is_empty() {
            let message = format!(
                "this annotation names no trigger, and there are no `defaultTriggers` for `{service}`"
            );
            let mut diagnostic =
                Diagnostic::new(Severity::Error, codes::SUBSCRIPTION, message).hint(format!(
                    "write `{}/subscribe.<trigger>.{service}`, or configure `defaultTriggers`",
                    subscription::PREFIX
                ));
            diagnostic.key = Some(key.clone());
            place(&mut diagnostic);
            found.push(diagnostic);
        }
    }
    found
}
