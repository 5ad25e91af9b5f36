//! Grafana: an annotation for each delivery (services.md 2.8). The recipient is a list of tags.

use async_trait::async_trait;
use herald_core::yaml::{self, Node, YamlError};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use url::Url;

use crate::{
    failure::SendError,
    http::{HttpClient, web_url},
    schema,
    service::{Context, Delivery, Receipt, Service, ServiceType},
};

/// The service type.
pub const TYPE: ServiceType = ServiceType {
    name: "grafana",
    configurable: true,
    parse_section: None,
    needs_section: false,
    options: schema::of::<Options>,
    section_schema: None,
    build,
};

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
struct Options {
    /// Address of the API, such as `https://grafana.example.com/api`.
    api_url: String,
    /// API key or token of a service account.
    api_key: String,
}

struct Grafana {
    options: Options,
    http: HttpClient,
}

fn build(node: &Node, context: &Context) -> Result<Box<dyn Service>, YamlError> {
    let options: Options = yaml::decode(node)?;
    context.secret(&options.api_key);
    web_url("apiUrl", &options.api_url, node)?;
    Ok(Box::new(Grafana { options, http: context.http(node)? }))
}

/// The address of the annotations below the API: the path is cleaned, the query stays.
fn annotations_url(api_url: &str) -> Result<Url, SendError> {
    let mut url = Url::parse(api_url)
        .map_err(|e| SendError::misconfigured(format!("the option apiUrl is no valid URL: {e}")))?;
    let path: Vec<&str> = url.path().split('/').filter(|part| !part.is_empty()).collect();
    let path = format!("/{}", [path, vec!["annotations"]].concat().join("/"));
    url.set_path(&path);
    Ok(url)
}

#[async_trait]
impl Service for Grafana {
    async fn send(&self, delivery: &Delivery<'_>) -> Result<Receipt, SendError> {
        let mut receipt = Receipt::default();
        if delivery.message().is_empty() {
            receipt.warnings.push("the message is empty".into());
        }
        let tags: Vec<&str> = delivery.recipient.split('|').collect();
        let body = json!({
            "time": delivery.now.as_second() * 1000,
            "isRegion": false,
            "tags": tags,
            "text": delivery.message(),
        });
        let url = annotations_url(&self.options.api_url)?;
        let reply = self.http.post(url.as_str())?.bearer(&self.options.api_key)?.json(&body)?.send().await?;
        if !reply.is_success() {
            let (url, status) = (&self.options.api_url, reply.status);
            return Err(reply.failure(format!(
                "request to {url} has failed with error code {status} : {}",
                reply.text()
            )));
        }
        receipt.detail = reply.status_line();
        Ok(receipt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_cleaned_and_the_query_stays() {
        for (given, wanted) in [
            ("https://g/api", "https://g/api/annotations"),
            ("https://g", "https://g/annotations"),
            ("https://g/x//api/?o=1", "https://g/x/api/annotations?o=1"),
        ] {
            assert_eq!(annotations_url(given).unwrap().as_str(), wanted);
        }
    }
}
