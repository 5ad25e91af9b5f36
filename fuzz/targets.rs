//! What every input must survive: no panic, no overflow of the stack, no endless work, no memory without bound. The
//! fuzz targets and the test `crates/xtask/tests/mutations.rs` share these functions.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use herald_core::{
    config::{Config, ConfigInput},
    names::{Destination, Recipient, ServiceName},
    notification::{RenderContext, RenderError, Section, ServiceTypes, TemplateText},
    yaml::{self, Node, YamlError},
};
use herald_expr::Program;
use herald_template::Template;
use herald_value::{
    Numbers, Value, gofmt,
    json::{self, Style},
    limits::{Limits, Meter},
    vector,
};

/// Small, so that inputs which use up a limit are quick; the nesting is the one that programs really get.
pub(crate) const LIMITS: Limits = Limits {
    steps: 100_000,
    bytes: 1024 * 1024,
    depth: Limits::DEFAULT.depth,
    source_bytes: 256 * 1024,
    regex_bytes: 256 * 1024,
};

/// What separates the entries of a configuration, and an entry's key from its text.
pub(crate) const ENTRY: &str = "\n=====\n";

/// Any moment will do, as long as it is the same in every run.
const NOW: jiff::Timestamp = jiff::Timestamp::constant(1_790_000_000, 0);

static VARIABLES: LazyLock<Value> = LazyLock::new(|| {
    let text = include_bytes!("../conformance/vectors/envs/misc.json");
    vector::environment(text, Numbers::Kubernetes, Some("argocd"), NOW).unwrap_or_default()
});

/// Parses and renders a template.
pub(crate) fn template(data: &[u8]) {
    let source = String::from_utf8_lossy(data);
    match Template::parse("fuzz", &source, LIMITS) {
        Ok(template) => {
            let mut out = Vec::new();
            if let Err(error) = template.render_at(&VARIABLES, LIMITS, NOW, &mut out) {
                error.render_caret();
            }
            // What the last step wrote may go past the limit, but not far.
            assert!(out.len() as u64 <= 2 * LIMITS.bytes, "{} bytes of output", out.len());
        }
        Err(error) => drop(error.render_caret()),
    }
}

/// Compiles, runs, explains and prints an expression.
pub(crate) fn expression(data: &[u8]) {
    let source = String::from_utf8_lossy(data);
    match Program::compile(&source, LIMITS) {
        Ok(program) => {
            match program.run_at(&VARIABLES, LIMITS, NOW) {
                Ok(value) => drop(gofmt::to_text(&value)),
                Err(error) => drop(error.render_caret()),
            }
            program.explain(&VARIABLES);
        }
        Err(error) => drop(error.render_caret()),
    }
}

/// Stands for the services, which take minutes to build: a section is a map of texts, options are anything.
pub(crate) struct AnyService;

#[derive(Debug)]
struct Texts(BTreeMap<String, TemplateText>);

impl Section for Texts {
    fn render(
        &self,
        context: &RenderContext<'_>,
        _: Option<&serde_json::Value>,
    ) -> Result<serde_json::Value, RenderError> {
        self.0
            .iter()
            .map(|(key, field)| Ok((key.clone(), serde_json::Value::from(context.text(field)?))))
            .collect()
    }
}

impl ServiceTypes for AnyService {
    fn knows(&self, _: &str) -> bool {
        true
    }

    fn has_section(&self, service_type: &str) -> bool {
        service_type != "message"
    }

    fn parse_section(&self, _: &str, node: &Node) -> Result<Arc<dyn Section>, YamlError> {
        Ok(Arc::new(Texts(yaml::decode(node)?)))
    }

    fn check_options(&self, _: &str, options: &Node) -> Result<(), YamlError> {
        yaml::decode::<BTreeMap<String, String>>(options).map(drop)
    }
}

/// Loads a configuration (keys that begin with `$` belong to the Secret), runs its conditions and renders its templates.
pub(crate) fn config(data: &[u8], types: &dyn ServiceTypes) {
    let text = String::from_utf8_lossy(data);
    let console: ServiceName = "console".parse().expect("a name");
    let mut input =
        ConfigInput { provided: vec![(console.clone(), "console".into())], ..ConfigInput::default() };
    for entry in text.split(ENTRY) {
        let (key, value) = entry.split_once('\n').unwrap_or(("template.a", entry));
        match key.strip_prefix('$') {
            Some(key) => drop(input.secret.insert(key.into(), value.into())),
            None => drop(input.data.insert(key.into(), value.into())),
        }
        if let Ok(node) = yaml::parse(value) {
            node.to_value();
            let _ = yaml::decode::<serde_json::Value>(&node);
        }
    }
    let (config, diagnostics) = Config::load(&input, types, LIMITS);
    for diagnostic in diagnostics {
        diagnostic.to_string();
    }
    for condition in config.triggers().flat_map(|trigger| &trigger.conditions) {
        for expression in [&condition.when, &condition.once_per].into_iter().flatten() {
            let _ = expression.program.run_at(&VARIABLES, LIMITS, NOW);
        }
    }
    let destination = Destination { service: console, recipient: Recipient::new("stdout") };
    for template in config.templates().take(16) {
        let _ = config.render(std::slice::from_ref(&template.name), &VARIABLES, &destination, NOW);
    }
}

/// Decodes JSON, and encodes it again: the result must decode to the same value.
pub(crate) fn json_value(data: &[u8]) {
    for numbers in [Numbers::Kubernetes, Numbers::Float] {
        let Ok(value) = json::decode(data, numbers) else { continue };
        gofmt::to_text(&value);
        vector::encode(&value);
        for style in [Style::COMPACT, Style::PRETTY, Style::RAW] {
            let text = json::encode(&value, style, &mut Meter::new(Limits::DEFAULT)).expect("JSON encodes");
            let again = json::decode(&text, numbers).expect("encoded JSON decodes");
            let text_again =
                json::encode(&again, style, &mut Meter::new(Limits::DEFAULT)).expect("JSON encodes");
            assert_eq!(text, text_again);
        }
    }
}
