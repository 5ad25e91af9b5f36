//! Alertmanager: one alert to all targets at once (services.md 2.1). The recipient only serves the template.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use herald_core::{
    notification::{RenderContext, RenderError, Section, TemplateText},
    yaml::{self, Node, YamlError},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;
use url::Url;

use crate::{
    failure::SendError,
    http::HttpClient,
    schema,
    section::{self, Field},
    service::{Context, Delivery, Receipt, Service, ServiceType},
};

/// The service type.
pub const TYPE: ServiceType = ServiceType {
    name: "alertmanager",
    configurable: true,
    parse_section: Some(parse_section),
    needs_section: true,
    options: schema::of::<Options>,
    section_schema: Some(|| {
        schema::fields(&[Field::text("generatorURL")])
            .with("labels", schema::templates("Labels of the alert."))
            .with("annotations", schema::templates("Annotations of the alert."))
    }),
    build,
};

#[derive(Debug)]
struct AlertSection {
    labels: Vec<(String, TemplateText)>,
    annotations: Vec<(String, TemplateText)>,
    generator_url: Option<TemplateText>,
}

fn parse_section(node: &Node) -> Result<Arc<dyn Section>, YamlError> {
    // The default is the reference's and means Argo CD's variables; for a Rollout it is the text `<no value>`.
    let url = Field::text("generatorURL").or("{{.app.spec.source.repoURL}}");
    Ok(Arc::new(AlertSection {
        labels: section::template_map(section::child(node, "labels"))?,
        annotations: section::template_map(section::child(node, "annotations"))?,
        generator_url: section::read_field(node, url)?,
    }))
}

/// Addresses of the form `git@host:owner/repo` as a browser opens them.
fn browsable(url: &str) -> String {
    match url.strip_prefix("git@") {
        Some(rest) => format!("https://{}", rest.replacen(':', "/", 1)),
        None => url.to_string(),
    }
}

/// Whether Go's `url.Parse` would take it: relative ones included, control characters and bad escapes not.
fn is_url(text: &str) -> bool {
    let base = Url::parse("http://base.invalid/");
    !text.chars().any(char::is_control)
        && !text.starts_with(':')
        && base.is_ok_and(|base| base.join(text).is_ok())
}

impl Section for AlertSection {
    fn render(&self, context: &RenderContext<'_>, earlier: Option<&Value>) -> Result<Value, RenderError> {
        if self.labels.is_empty() {
            return Err(RenderError::Section("at least one label pair required".into()));
        }
        let texts = |pairs: &[(String, TemplateText)]| -> Result<Map<String, Value>, RenderError> {
            pairs.iter().map(|(key, value)| Ok((key.clone(), context.text(value)?.into()))).collect()
        };
        let mut labels = texts(&self.labels)?;
        // Alertmanager takes an empty label for none.
        labels.retain(|_, value| value != "");
        labels.entry("alertname").or_insert(context.template.into());
        let before = |name: &str| earlier.and_then(|earlier| earlier.get(name)).cloned();
        let annotations = if self.annotations.is_empty() {
            before("annotations").unwrap_or_default()
        } else {
            texts(&self.annotations)?.into()
        };
        let url = self.generator_url.as_ref().map(|url| context.text(url)).transpose()?.unwrap_or_default();
        let url = match browsable(&url) {
            url if url.is_empty() => before("generatorURL").unwrap_or_else(|| "".into()),
            url if is_url(&url) => url.into(),
            url => {
                return Err(RenderError::Section(format!(
                    "alertmanager generatorURL is no valid URL: {url}"
                )));
            }
        };
        Ok(json!({
            "labels": labels,
            "annotations": annotations,
            "generatorURL": url,
            "startsAt": context.now.to_string(),
        }))
    }
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
struct Options {
    /// Addresses (`host:port`) of the Alertmanagers; default `127.0.0.1:9093`.
    targets: Vec<String>,
    /// `http` or `https`; default `http`.
    scheme: String,
    /// Path of the API; default `/api/v2/alerts`.
    api_path: String,
    /// User and password.
    basic_auth: Option<BasicAuth>,
    /// Token, unless `basicAuth` is there.
    bearer_token: String,
    /// Seconds that one target may take; default 3.
    timeout: u64,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct BasicAuth {
    /// User.
    username: String,
    /// Password.
    password: String,
}

struct Alertmanager {
    urls: Vec<String>,
    options: Arc<Options>,
    http: HttpClient,
}

fn build(node: &Node, context: &Context) -> Result<Box<dyn Service>, YamlError> {
    let mut options: Options = yaml::decode(node)?;
    context.secret(&options.bearer_token);
    if let Some(basic) = &options.basic_auth {
        context.secret(&basic.password);
    }
    let or = |text: &mut String, default: &str| {
        if text.is_empty() {
            *text = default.into();
        }
    };
    or(&mut options.scheme, "http");
    or(&mut options.api_path, "/api/v2/alerts");
    if options.targets.is_empty() {
        options.targets.push("127.0.0.1:9093".into());
    }
    if !options.api_path.starts_with('/') {
        return Err(YamlError::new("apiPath must begin with a slash", node.at));
    }
    if options.timeout == 0 {
        options.timeout = 3;
    }
    let urls = options
        .targets
        .iter()
        .map(|target| format!("{}://{target}{}", options.scheme, options.api_path))
        .collect();
    Ok(Box::new(Alertmanager { urls, options: Arc::new(options), http: context.http(node)? }))
}

/// Sends the alert to one target.
async fn post(
    http: HttpClient,
    options: Arc<Options>,
    url: String,
    body: Arc<Value>,
) -> Result<(), SendError> {
    let request = http.post(&url)?.json(&*body)?;
    let request = match &options.basic_auth {
        Some(basic) => request.basic_auth(&basic.username, &basic.password)?,
        None if !options.bearer_token.is_empty() => request.bearer(&options.bearer_token)?,
        None => request,
    };
    let timeout = Duration::from_secs(options.timeout);
    let reply = match tokio::time::timeout(timeout, request.send()).await {
        Ok(reply) => reply?,
        Err(_) => {
            let message = format!("request to {url} got no answer within {} s", options.timeout);
            return Err(SendError::new(crate::Reason::TimedOut, message));
        }
    };
    if reply.is_success() {
        return Ok(());
    }
    let status = reply.status;
    Err(reply.failure(format!("request to {url} has failed with error code {status} : {}", reply.text())))
}

#[async_trait]
impl Service for Alertmanager {
    async fn send(&self, delivery: &Delivery<'_>) -> Result<Receipt, SendError> {
        let Some(alert) = delivery.section::<Map<String, Value>>(TYPE.name)? else {
            return Err(SendError::misconfigured("notification alertmanager no config"));
        };
        if alert.get("labels").and_then(Value::as_object).is_none_or(Map::is_empty) {
            return Err(SendError::misconfigured("alertmanager at least one label pair required"));
        }
        let body = Arc::new(json!([alert]));
        let mut calls = JoinSet::new();
        for url in &self.urls {
            calls.spawn(post(self.http.clone(), self.options.clone(), url.clone(), body.clone()));
        }
        let mut failures = Vec::new();
        let mut taken = 0;
        while let Some(ended) = calls.join_next().await {
            match ended {
                Ok(Ok(())) => taken += 1,
                Ok(Err(error)) => failures.push(error),
                Err(error) => failures.push(SendError::new(crate::Reason::Unreachable, error.to_string())),
            }
        }
        let told: Vec<String> = failures.iter().map(|failure| failure.message.clone()).collect();
        if taken > 0 {
            let detail = format!("{taken} of {} targets", self.urls.len());
            return Ok(Receipt { detail, warnings: told });
        }
        // If one target may still take it, another attempt is worth it.
        let worth = failures.iter().position(SendError::is_retryable).unwrap_or(0);
        let mut error = match failures.into_iter().nth(worth) {
            Some(failure) => failure,
            None => SendError::misconfigured("there are no targets"),
        };
        error.message = format!("no events were successfully received by alertmanager: {}", told.join("; "));
        Err(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_addresses_become_browsable() {
        assert_eq!(browsable("git@github.com:o/r.git"), "https://github.com/o/r.git");
        assert_eq!(browsable("https://github.com/o/r"), "https://github.com/o/r");
        assert!(is_url("https://x/y?z") && is_url("<no value>") && !is_url(":x") && !is_url("a\nb"));
    }
}
