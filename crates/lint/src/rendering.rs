//! Templates rendered over the samples: what fails, what is missing, what is no JSON, what is too long.

use std::collections::BTreeSet;

use herald_core::{
    config::{Condition, Config, Layer, TemplateConfig, Trigger},
    diagnostic::{Diagnostic, Severity, codes},
    lifecycle::reasons,
    notification::{RenderContext, RenderError},
    yaml::{self, Node, Position},
};
use herald_services::{Registry, check::Trouble};
use herald_template::{Template, analysis};
use herald_value::Value;

use crate::{
    fields::{self, Found, Step},
    reads,
    samples::{self, Sample},
};

/// A text with actions in a template of the ConfigMap.
pub(crate) struct Field {
    pub(crate) template: Template,
    pub(crate) at: Position,
}

/// All texts with actions, wherever they stand in a template.
pub(crate) fn fields(node: &Node, registry: &Registry, limits: herald_value::limits::Limits) -> Vec<Field> {
    use herald_core::notification::ServiceTypes as _;
    let mut found = Vec::new();
    for (key, _, value) in node.entries() {
        if key.eq_ignore_ascii_case("message") || registry.has_section(&key.to_lowercase()) {
            texts(value, limits, &mut found);
        }
    }
    found
}

fn texts(node: &Node, limits: herald_value::limits::Limits, found: &mut Vec<Field>) {
    if let Some(text) = node.text().filter(|text| text.contains("{{"))
        && let Ok(template) = Template::parse("", text, limits)
    {
        found.push(Field { template, at: node.at });
    }
    node.items().iter().for_each(|item| texts(item, limits, found));
    node.entries().iter().for_each(|(.., value)| texts(value, limits, found));
}

fn steps(access: &analysis::Access) -> Vec<Step<'_>> {
    let steps = access.steps.iter().map(|(step, ..)| match step {
        analysis::Step::Key(key) => Step::Key(key.as_str()),
        analysis::Step::Item => Step::Item,
    });
    steps.collect()
}

/// Whether the texts read any of these variables.
pub(crate) fn reads_any(fields: &[Field], variables: &[String]) -> bool {
    let is_one = |step: Option<&Step<'_>>| matches!(step, Some(Step::Key(key)) if variables.iter().any(|variable| variable == key));
    fields.iter().any(|field| field.template.accesses().iter().any(|access| is_one(steps(access).first())))
}

/// What the texts read that is not there.
pub(crate) fn unknown_reads(fields: &[Field], source: &str, kinds: &[String]) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let mut told = BTreeSet::new();
    for field in fields {
        for access in field.template.accesses() {
            // Each finding carries its line, which may be long.
            if found.len() >= crate::MOST_OF_A_KIND {
                return found;
            }
            let path = steps(&access);
            let Some((step, diagnostic)) = reads::check(&path, true, kinds) else { continue };
            let Some((_, line, column)) = access.steps.get(step) else { continue };
            let at = field.at.within(*line, *column);
            if told.insert((at, diagnostic.message.clone())) {
                found.push(diagnostic.at(source, at));
            }
        }
    }
    found
}

/// Who sends a template.
struct Sender<'c> {
    trigger: &'c Trigger,
    condition: &'c Condition,
}

/// The samples for which a template is rendered, and whether they are those of an event that sends it.
fn relevant<'s>(
    config: &Config,
    template: &TemplateConfig,
    all: &'s [Sample],
) -> (Vec<(&'s Sample, Option<String>)>, bool) {
    let senders = config.triggers().flat_map(|trigger| {
        let sends = |c: &&Condition| c.send.contains(&template.name) || c.resolve.contains(&template.name);
        trigger.conditions.iter().filter(sends).map(move |condition| Sender { trigger, condition })
    });
    let mut chosen: Vec<(&Sample, Option<String>)> = Vec::new();
    for Sender { trigger, condition } in senders.take(8) {
        let name = trigger.name.as_str();
        let event = reasons::of_trigger(name).is_some();
        let tagged = all.iter().filter(|sample| sample.events.iter().any(|event| event == name));
        let tagged: Vec<&Sample> = match &condition.when {
            None => tagged.collect(),
            Some(when) => {
                let from: Vec<&Sample> = if event { tagged.collect() } else { all.iter().collect() };
                let holds = |sample: &&Sample| {
                    let vars = sample.variables(Some(name), config.secrets(), "an event");
                    let result = when.program.run_at(&vars, config.limits(), samples::moment());
                    matches!(result, Ok(Value::Bool(true)))
                };
                from.into_iter().filter(holds).collect()
            }
        };
        chosen.extend(tagged.into_iter().map(|sample| (sample, Some(name.to_owned()))));
    }
    if chosen.is_empty() {
        return (all.iter().map(|sample| (sample, None)).collect(), false);
    }
    chosen.sort_by(|a, b| a.0.name.cmp(&b.0.name));
    chosen.dedup_by(|a, b| a.0.name == b.0.name);
    (chosen, true)
}

/// The samples, with a text for each label, annotation and secret that the template asks for.
fn provided(fields: &[Field], config: &Config) -> (Vec<Sample>, Value) {
    let mut all = samples::samples().to_vec();
    let mut secrets: Vec<(String, Value)> = Vec::new();
    if let Some(map) = config.secrets().as_map() {
        secrets.extend(map.entries().iter().map(|(k, v)| (k.to_str_lossy().into_owned(), v.clone())));
    }
    for access in fields.iter().flat_map(|field| field.template.accesses()) {
        let path = steps(&access);
        let keys: Option<Vec<&str>> = path
            .iter()
            .map(|step| match step {
                Step::Key(key) => Some(*key),
                Step::Item => None,
            })
            .collect();
        match (path.split_first(), keys.as_deref()) {
            (Some((Step::Key("rollout"), rest)), Some([_, keys @ ..])) => {
                if let Found::Value { own: true, .. } = fields::follow("Rollout", rest) {
                    for sample in &mut all {
                        samples::provide(&mut sample.rollout, keys);
                    }
                }
            }
            (Some((Step::Key("analysisRuns"), [Step::Item, rest @ ..])), _) => {
                let keys: Option<Vec<&str>> = rest
                    .iter()
                    .map(|step| match step {
                        Step::Key(key) => Some(*key),
                        Step::Item => None,
                    })
                    .collect();
                if let (Some(keys), Found::Value { own: true, .. }) =
                    (keys, fields::follow("AnalysisRun", rest))
                {
                    let runs = all.iter_mut().filter_map(|sample| sample.analysis_runs.as_array_mut());
                    runs.flatten().for_each(|run| samples::provide(run, &keys));
                }
            }
            (Some((Step::Key("secrets"), _)), Some([_, key]))
                if !secrets.iter().any(|(known, _)| known == key) =>
            {
                secrets.push(((*key).to_owned(), Value::bytes(b"value")));
            }
            _ => {}
        }
    }
    let secrets = Value::map(secrets.iter().map(|(k, v)| (k.as_str(), v.clone()))).unwrap_or_default();
    (all, secrets)
}

/// What one part of a template became for one sample.
struct Outcome<'s> {
    sample: &'s Sample,
    rendered: Result<serde_json::Value, RenderError>,
    awkward: Result<serde_json::Value, RenderError>,
}

/// Everything that rendering over the samples shows about one template of the ConfigMap.
pub(crate) fn check(
    config: &Config,
    template: &TemplateConfig,
    fields: &[Field],
    services: &BTreeSet<String>,
    already: bool,
) -> Vec<Diagnostic> {
    if template.layer != Layer::ConfigMap {
        return Vec::new();
    }
    let source = &*template.source;
    let Ok((node, _)) = yaml::parse_lenient(source) else { return Vec::new() };
    let (all, secrets) = provided(fields, config);
    let (chosen, exact) = relevant(config, template, &all);
    let mut found = Vec::new();
    let parts = std::iter::once(None).chain(template.sections.keys().map(Some));
    for part in parts {
        let outcomes: Vec<Outcome<'_>> = chosen
            .iter()
            .map(|(sample, trigger)| {
                let spoiled = sample.awkward();
                let plain = sample.variables(trigger.as_deref(), &secrets, "something happened");
                let bad = spoiled.variables(trigger.as_deref(), &secrets, Sample::awkward_event());
                Outcome {
                    sample,
                    rendered: render(config, template, part, plain),
                    awkward: render(config, template, part, bad),
                }
            })
            .collect();
        failures(&outcomes, template, exact, source, &mut found);
        if let Some(kind) = part.filter(|kind| foreign_defaults(kind).is_some()) {
            // The defaults stand nowhere in the file.
            for diagnostic in found.iter_mut().filter(|d| d.code == codes::RENDER_FAILS && d.hint.is_none()) {
                let hint = foreign_defaults(kind).unwrap_or_default().to_owned();
                let (from, _) = span(&node, Some(kind));
                *diagnostic = Diagnostic { hint: Some(hint), ..diagnostic.clone() }.at(source, from);
            }
        }
        if !already {
            missing(&outcomes, fields, &node, part.map(String::as_str), source, &secrets, &mut found);
        }
        let types: Vec<&str> = match part {
            Some(kind) => vec![kind.as_str()],
            None => services.iter().map(String::as_str).collect(),
        };
        for kind in types {
            troubles(&outcomes, kind, part.is_none(), &node, source, &mut found);
        }
    }
    found
}

fn render(
    config: &Config,
    template: &TemplateConfig,
    part: Option<&String>,
    vars: Value,
) -> Result<serde_json::Value, RenderError> {
    let service = part.map_or("slack", String::as_str);
    let mut entries: Vec<(herald_value::Str, Value)> =
        vars.as_map().map(|map| map.entries().to_vec()).unwrap_or_default();
    entries.push((herald_value::Str::from("recipient"), Value::str("recipient")));
    entries.push((herald_value::Str::from("serviceType"), Value::str(service)));
    let vars = Value::map(entries).unwrap_or(vars);
    let context = RenderContext {
        template: template.name.as_str(),
        vars: &vars,
        limits: config.limits(),
        now: samples::moment(),
    };
    match part {
        None => match &template.message {
            Some(text) => context.text(text).map(serde_json::Value::String),
            None => Ok(serde_json::Value::Null),
        },
        Some(kind) => match template.sections.get(kind) {
            Some(section) => section.render(&context, None),
            None => Ok(serde_json::Value::Null),
        },
    }
}

fn names(outcomes: &[&Outcome<'_>]) -> String {
    let names: Vec<&str> = outcomes.iter().take(3).map(|o| o.sample.name.as_str()).collect();
    match outcomes.len() {
        0..=3 => names.join(", "),
        more => format!("{} and {} more", names.join(", "), more - 3),
    }
}

fn failures(
    outcomes: &[Outcome<'_>],
    template: &TemplateConfig,
    exact: bool,
    source: &str,
    found: &mut Vec<Diagnostic>,
) {
    let failed: Vec<&Outcome<'_>> = outcomes.iter().filter(|o| o.rendered.is_err()).collect();
    let Some(Err(error)) = failed.first().map(|o| &o.rendered) else { return };
    let all = failed.len() == outcomes.len();
    // A template that nobody sends, or one for a state, needs not work for every rollout.
    if !all && !exact {
        return;
    }
    let severity = if all { Severity::Error } else { Severity::Note };
    let which = if all {
        "every sample rollout".to_owned()
    } else {
        format!("the sample rollouts {}", names(&failed))
    };
    let diagnostic = match error {
        RenderError::Template(error) => {
            let message = format!("`{}` fails for {which}: {}", template.name, error.message);
            let mut diagnostic = Diagnostic::new(severity, codes::RENDER_FAILS, message)
                .at(source, Position { line: error.line, column: error.column });
            diagnostic.hint.clone_from(&error.hint);
            diagnostic
        }
        RenderError::Section(why) => Diagnostic::new(
            severity,
            codes::RENDER_FAILS,
            format!("`{}` fails for {which}: {why}", template.name),
        )
        .at(source, Position { line: 1, column: 1 }),
    };
    if diagnostic.hint.is_none() && !all {
        found.push(diagnostic.hint("guard it: `{{with …}}`, `{{if …}}` or `default`"));
    } else {
        found.push(diagnostic);
    }
}

/// `<no value>` in what is rendered.
#[allow(clippy::too_many_arguments, reason = "what was rendered, and where it stands")]
fn missing(
    outcomes: &[Outcome<'_>],
    fields: &[Field],
    node: &Node,
    part: Option<&str>,
    source: &str,
    secrets: &Value,
    found: &mut Vec<Diagnostic>,
) {
    let lacks =
        |o: &&Outcome<'_>| o.rendered.as_ref().is_ok_and(|json| json.to_string().contains("<no value>"));
    let lacking: Vec<&Outcome<'_>> = outcomes.iter().filter(lacks).collect();
    if lacking.is_empty() || lacking.len() < outcomes.len() {
        return;
    }
    let (from, to) = span(node, part);
    let all: Vec<Value> =
        outcomes.iter().map(|o| o.sample.variables(Some("on-rollout-completed"), secrets, "x")).collect();
    let inside = |field: &&Field| field.at >= from && to.is_none_or(|to| field.at < to);
    for field in fields.iter().filter(inside) {
        for access in field.template.accesses().into_iter().filter(|access| !access.tested) {
            let there = |vars: &Value| leads_somewhere(vars, &access.steps);
            if all.iter().any(there) || access.steps.iter().any(|(s, ..)| *s == analysis::Step::Item) {
                continue;
            }
            let Some((_, line, column)) = access.steps.last() else { continue };
            if matches!(&access.steps[..], [(analysis::Step::Key(name), ..)] if ["recipient", "serviceType"].contains(&name.as_str()))
            {
                continue;
            }
            let path: Vec<String> = access.steps.iter().map(|(step, ..)| step.to_string()).collect();
            let message = format!(
                "`.{}` is there in none of the sample rollouts, so this prints `<no value>`",
                path.join(".")
            );
            found.push(
                Diagnostic::new(Severity::Warning, codes::NO_VALUE, message)
                    .hint("guard it: `{{with …}}…{{end}}`, or `{{… | default \"-\"}}`")
                    .at(source, field.at.within(*line, *column)),
            );
            return;
        }
    }
    // A default of the reference's own, which means Argo CD's variables, prints it without a place.
    let message = match part {
        Some(kind) => format!("`{kind}` prints `<no value>` for every sample rollout"),
        None => "`message` prints `<no value>` for every sample rollout".to_owned(),
    };
    let mut diagnostic = Diagnostic::new(Severity::Warning, codes::NO_VALUE, message).at(source, from);
    diagnostic.hint = part
        .map(|kind| foreign_defaults(kind).unwrap_or("see which variables and fields it reads").to_owned());
    found.push(diagnostic);
}

/// Services whose defaults mean Argo CD's variables.
fn foreign_defaults(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "github" => "set `repoURLPath` and `revisionPath`: their defaults read Argo CD's `app`",
        "newrelic" => {
            "set `revision`, `changelog` and `user`: their defaults read Argo CD's `app` and `repo`"
        }
        "alertmanager" => "set `generatorURL`: its default reads Argo CD's `app`",
        _ => return None,
    })
}

/// From where to where a part of a template stands.
fn span(node: &Node, part: Option<&str>) -> (Position, Option<Position>) {
    let wanted = part.unwrap_or("message");
    let mut entries = node.entries().iter().skip_while(|(key, ..)| !key.eq_ignore_ascii_case(wanted));
    let from = entries.next().map_or(node.at, |(_, at, _)| *at);
    (from, entries.next().map(|(_, at, _)| *at))
}

fn leads_somewhere(vars: &Value, steps: &[(analysis::Step, u32, u32)]) -> bool {
    let mut at = vars;
    for (step, ..) in steps {
        let next = match step {
            analysis::Step::Key(key) => at.get(key),
            analysis::Step::Item => at.as_list().and_then(<[Value]>::first),
        };
        match next {
            Some(value) if !value.is_nil() => at = value,
            _ => return false,
        }
    }
    true
}

/// What a service makes of the rendered texts.
fn troubles(
    outcomes: &[Outcome<'_>],
    kind: &str,
    message: bool,
    node: &Node,
    source: &str,
    found: &mut Vec<Diagnostic>,
) {
    let checked = |rendered: &Result<serde_json::Value, RenderError>| -> Vec<Trouble> {
        let Ok(rendered) = rendered else { return Vec::new() };
        if message {
            herald_services::check::message(kind, rendered.as_str().unwrap_or_default())
        } else {
            herald_services::check::section(kind, rendered)
        }
    };
    let place = |field: &str| {
        let mut at = node;
        let mut place = node.at;
        let parent = if message { None } else { Some(kind) };
        if kind == "webhook" && !message {
            let entries = node.get("webhook").map(Node::entries).unwrap_or_default();
            let mut bodies = entries.iter().flat_map(|(.., entry)| entry.entries());
            let body = bodies.find(|(key, _, value)| {
                key.eq_ignore_ascii_case(field) && value.text().is_some_and(|text| text.contains("{{"))
            });
            return body.map_or((place, false), |(_, at, _)| (*at, true));
        }
        for key in parent.into_iter().chain(field.split('.')) {
            match at.entries().iter().find(|(name, ..)| name.eq_ignore_ascii_case(key)) {
                Some((_, key_at, value)) => (at, place) = (value, *key_at),
                None => break,
            }
        }
        // A text without actions was checked when it was loaded.
        (place, at.text().is_some_and(|text| text.contains("{{")))
    };
    let mut told = BTreeSet::new();
    let plain: Vec<Vec<Trouble>> = outcomes.iter().map(|o| checked(&o.rendered)).collect();
    for (outcome, troubles) in outcomes.iter().zip(&plain) {
        for trouble in troubles {
            let (at, actions) = place(trouble.field);
            if trouble.json && !actions || !told.insert((trouble.field, trouble.json)) {
                continue;
            }
            let shown = if message { trouble.field.to_owned() } else { format!("{kind}.{}", trouble.field) };
            let (code, severity, text) = if trouble.json {
                let text = format!(
                    "`{shown}` renders to something that can't be sent, for the sample rollout {}: {}",
                    outcome.sample.name, trouble.message
                );
                (codes::RENDERED_JSON, Severity::Error, text)
            } else {
                let text =
                    format!("`{shown}` for the sample rollout {}: {}", outcome.sample.name, trouble.message);
                (codes::TOO_LONG, Severity::Warning, text)
            };
            let mut diagnostic = Diagnostic::new(severity, code, text).at(source, at);
            diagnostic.hint.clone_from(&trouble.hint);
            found.push(diagnostic);
        }
    }
    for (outcome, troubles) in outcomes.iter().zip(&plain) {
        for trouble in checked(&outcome.awkward).iter().filter(|trouble| trouble.json) {
            let (at, actions) = place(trouble.field);
            let known = troubles.iter().any(|known| known.field == trouble.field);
            if known || !actions || !told.insert((trouble.field, true)) {
                continue;
            }
            let shown = if message { trouble.field.to_owned() } else { format!("{kind}.{}", trouble.field) };
            let text = format!(
                "`{shown}` breaks as soon as a text in it has quotes or line breaks (sample rollout {}): {}",
                outcome.sample.name, trouble.message
            );
            found.push(
                Diagnostic::new(Severity::Warning, codes::JSON_ESCAPE, text)
                    .hint("write `{{ .x | toJson }}` without quotes around it, in place of `\"{{ .x }}\"`")
                    .at(source, at),
            );
        }
    }
}
