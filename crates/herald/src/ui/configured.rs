//! The configuration in force as the page shows it: secrets masked, with what looks wrong.

use std::sync::{Arc, OnceLock};

use herald_core::{
    config::{CONFIG_MAP, ConfigInput, SECRET},
    diagnostic::Diagnostic,
};
use herald_services::redact::{MASK, Redactor};
use herald_web::ui::backend::{Configuration, Entry, Finding};
use serde_json::{Value as Json, json};

use crate::{pipeline::configuration::Active, scene};

/// A configuration with what is known about it.
pub(super) struct Configured {
    pub(super) input: Arc<ConfigInput>,
    pub(super) core: scene::Configured,
    pub(super) redactor: Arc<Redactor>,
    shown: OnceLock<Configuration>,
}

impl Configured {
    pub(super) fn new(active: &Active) -> Configured {
        // What is wrong about it is asked for here; what stays in force where it is broken comes from the pipeline.
        let loading = scene::Configured::of(&active.input).loading;
        Configured {
            input: active.input.clone(),
            core: scene::Configured { config: active.config.clone(), loading },
            redactor: active.redactor.clone(),
            shown: OnceLock::new(),
        }
    }

    /// It as it is shown; made once.
    pub(super) fn shown(&self) -> &Configuration {
        self.shown.get_or_init(|| self.show())
    }

    fn show(&self) -> Configuration {
        let input = &*self.input;
        let built_in =
            input.base.iter().filter(|(key, _)| !input.data.contains_key(*key)).map(|entry| (entry, true));
        let own = input.data.iter().map(|entry| (entry, false));
        let entries = own.chain(built_in).map(|((key, text), built_in)| Entry {
            key: key.clone(),
            group: group(key).to_owned(),
            built_in,
            source: self.masked(key, text),
        });
        Configuration {
            object: self.input.object.clone(),
            file: input.file.clone(),
            entries: entries.collect(),
            findings: self.findings(input),
        }
    }

    /// A text without secrets: not even those that stand in it openly.
    pub(super) fn masked(&self, key: &str, text: &str) -> String {
        let clean = self.redactor.clean(text);
        if !key.starts_with("service.") {
            return clean;
        }
        clean.split('\n').map(mask_line).collect::<Vec<_>>().join("\n")
    }

    /// What looks wrong about a ConfigMap.
    pub(super) fn findings(&self, input: &ConfigInput) -> Vec<Finding> {
        let secret: serde_json::Map<String, Json> =
            input.secret.keys().map(|key| (key.clone(), Json::from("placeholder"))).collect();
        let object = |kind: &str, name: &str, field: &str, data: Json| {
            json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, field: data}).to_string()
        };
        let files = [
            ("configmap.json".to_owned(), object("ConfigMap", CONFIG_MAP, "data", json!(input.data))),
            ("secret.json".to_owned(), object("Secret", SECRET, "stringData", Json::Object(secret))),
        ];
        let report = herald_lint::lint(&files, &herald_lint::Options::default());
        report.findings.iter().map(|finding| self.finding(finding)).collect()
    }

    fn finding(&self, diagnostic: &Diagnostic) -> Finding {
        let known = !diagnostic.at.is_unknown();
        Finding {
            severity: diagnostic.severity.as_str().to_owned(),
            code: diagnostic.code.to_owned(),
            message: self.redactor.clean(&diagnostic.message),
            hint: diagnostic.hint.as_ref().map(|hint| self.redactor.clean(hint)),
            key: diagnostic.key.clone().unwrap_or_default(),
            line: if known { diagnostic.at.line } else { 0 },
            column: if known { diagnostic.at.column } else { 0 },
        }
    }
}

fn group(key: &str) -> &'static str {
    match key.split('.').next() {
        Some("trigger") => "trigger",
        Some("template") => "template",
        Some("service") => "service",
        _ => "other",
    }
}

/// Keys whose values are credentials by themselves.
const TELLING: [&str; 7] = ["token", "password", "secret", "apikey", "privatekey", "signature", "credential"];

/// A line of options without the credential that stands in it, unless it only names one.
fn mask_line(line: &str) -> String {
    let Some((key, value)) = line.split_once(':') else { return line.to_owned() };
    let word: String = key.to_ascii_lowercase().chars().filter(char::is_ascii_alphanumeric).collect();
    let value = value.trim();
    let names =
        value.is_empty() || value.starts_with('$') || value.starts_with("\"$") || value.starts_with("'$");
    match TELLING.iter().any(|telling| word.contains(telling)) && !names {
        true => format!("{key}: {MASK}"),
        false => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_credentials_are_masked_and_names_of_secrets_are_not() {
        assert_eq!(mask_line("token: xoxb-1"), "token: ***");
        assert_eq!(mask_line("  apiKey: 'x'"), "  apiKey: ***");
        assert_eq!(mask_line("token: $slack-token"), "token: $slack-token");
        assert_eq!(mask_line("url: http://x"), "url: http://x");
        assert_eq!(mask_line("- no value"), "- no value");
    }
}
