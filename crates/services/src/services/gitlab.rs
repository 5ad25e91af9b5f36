//! GitLab: commit statuses and notes on merge requests. Not in the reference. The recipient only serves the template.

use std::sync::Arc;

use async_trait::async_trait;
use herald_core::{
    notification::{RenderContext, RenderError, Section},
    yaml::{self, Kind, Node, YamlError},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;

use crate::{
    failure::SendError,
    http::{HttpClient, Reply, web_url},
    limit, schema,
    section::{self, Field, Merge, TextSection},
    service::{Context, Delivery, Receipt, Service, ServiceType},
};

/// The service type.
pub const TYPE: ServiceType = ServiceType {
    name: "gitlab",
    configurable: true,
    parse_section: Some(parse_section),
    needs_section: true,
    options: schema::of::<Options>,
    section_schema: Some(|| schema::parts(schema::fields(WHERE), PARTS)),
    build,
};

/// GitLab refuses longer descriptions.
const LONGEST_DESCRIPTION: usize = 255;

/// GitLab refuses longer notes.
const LONGEST_NOTE: usize = 1_000_000;

/// No list is followed for ever.
const MOST_PAGES: usize = 100;

const STATES: [&str; 6] = ["pending", "running", "success", "failed", "canceled", "skipped"];

const WHERE: &[Field] = &[Field::text("project"), Field::text("revision")];

const PARTS: &[(&str, &[Field])] = &[
    (
        "status",
        &[
            Field::text("state"),
            Field::text("name"),
            Field::text("targetURL"),
            Field::text("description"),
            Field::text("ref"),
        ],
    ),
    ("mergeRequestNote", &[Field::text("content"), Field::text("tag")]),
];

#[derive(Debug)]
struct GitLabSection {
    place: TextSection,
    parts: Vec<(&'static str, TextSection)>,
}

fn parse_section(node: &Node) -> Result<Arc<dyn Section>, YamlError> {
    let mut parts = Vec::new();
    for (name, fields) in PARTS {
        if let Some(part) = section::child(node, name).filter(|part| !matches!(part.kind, Kind::Null)) {
            parts.push((*name, TextSection::read(part, fields, Merge::Replace)?));
        }
    }
    Ok(Arc::new(GitLabSection { place: TextSection::read(node, WHERE, Merge::NonEmpty)?, parts }))
}

impl Section for GitLabSection {
    fn render(&self, context: &RenderContext<'_>, earlier: Option<&Value>) -> Result<Value, RenderError> {
        let mut out: Map<String, Value> = earlier.and_then(Value::as_object).cloned().unwrap_or_default();
        out.extend(self.place.render_fields(context, earlier)?);
        for (name, part) in &self.parts {
            out.insert((*name).into(), part.render_fields(context, None)?.into());
        }
        Ok(out.into())
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Config {
    project: String,
    revision: String,
    status: Option<Status>,
    merge_request_note: Option<Note>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    state: String,
    name: String,
    #[serde(rename = "targetURL")]
    target_url: String,
    description: String,
    #[serde(rename = "ref")]
    reference: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Note {
    content: String,
    tag: String,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct Options {
    /// Access token with the scope `api`.
    token: String,
    /// Address of the API; default `https://gitlab.com/api/v4`.
    #[serde(rename = "apiURL")]
    api_url: String,
}

struct GitLab {
    token: String,
    base: Url,
    http: HttpClient,
}

fn build(node: &Node, context: &Context) -> Result<Box<dyn Service>, YamlError> {
    let options: Options = yaml::decode(node)?;
    context.secret(&options.token);
    let base = if options.api_url.is_empty() { "https://gitlab.com/api/v4" } else { &options.api_url };
    web_url("apiURL", base, node)?;
    let base = Url::parse(base).map_err(|e| YamlError::new(format!("apiURL is not a URL: {e}"), node.at))?;
    Ok(Box::new(GitLab { token: options.token, base, http: context.http(node)? }))
}

/// Why an answer is no success: GitLab's reason is a text, or texts by field.
fn refusal(method: &str, url: &Url, reply: &Reply) -> SendError {
    let answer: Value = reply.json().unwrap_or_default();
    let why = match (&answer["message"], &answer["error"]) {
        (Value::String(text), _) | (Value::Null, Value::String(text)) => text.clone(),
        (Value::Null, _) => reply.text(),
        (reasons, _) => reasons.to_string(),
    };
    reply.failure(format!("{method} {url}: {} {why}", reply.status))
}

impl GitLab {
    /// The address below a project; segments are escaped, also the slashes of a project's path.
    fn url(&self, project: &str, segments: &[&str]) -> Result<Url, SendError> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| SendError::misconfigured("apiURL can have no path"))?
            .pop_if_empty()
            .extend(["projects", project].iter().chain(segments));
        Ok(url)
    }

    async fn call(&self, method: &str, url: &Url, body: Option<&Value>) -> Result<Reply, SendError> {
        let mut request = self.http.request(method, url.as_str())?;
        if !self.token.is_empty() {
            request = request.header("PRIVATE-TOKEN", &self.token)?;
        }
        if let Some(body) = body {
            request = request.json(body)?;
        }
        let reply = request.send().await?;
        if reply.is_success() { Ok(reply) } else { Err(refusal(method, url, &reply)) }
    }

    /// The items of a list, page by page.
    async fn list(&self, first: Url) -> Result<Vec<Value>, SendError> {
        let mut next = Some(first);
        let mut items = Vec::new();
        for _ in 0..MOST_PAGES {
            let Some(url) = next.take() else { break };
            let reply = self.call("GET", &url, None).await?;
            // Only addresses of this API are followed: the token goes there.
            next = reply
                .next_page()
                .filter(|url| url.starts_with(self.base.as_str()))
                .and_then(|url| Url::parse(url).ok());
            items.extend(reply.json::<Vec<Value>>().unwrap_or_default());
        }
        Ok(items)
    }

    async fn status(
        &self,
        config: &Config,
        status: &Status,
        message: &str,
        receipt: &mut Receipt,
    ) -> Result<(), SendError> {
        if !STATES.contains(&status.state.as_str()) {
            return Err(SendError::misconfigured(format!(
                "gitlab status: state is {:?}; it can be {}",
                status.state,
                STATES.join(", ")
            )));
        }
        let mut description =
            if status.description.is_empty() { message.to_string() } else { status.description.clone() };
        limit::cut_reported(&mut description, LONGEST_DESCRIPTION, "description", &mut receipt.warnings);
        let mut body = json!({"state": status.state});
        for (name, text) in [
            ("name", &status.name),
            ("target_url", &status.target_url),
            ("description", &description),
            ("ref", &status.reference),
        ] {
            if !text.is_empty() {
                body[name] = text.as_str().into();
            }
        }
        let url = self.url(&config.project, &["statuses", &config.revision])?;
        match self.call("POST", &url, Some(&body)).await {
            Ok(_) => Ok(()),
            // What a repeated attempt is told when the first one did arrive.
            Err(error) if error.status == Some(400) && error.message.contains("Cannot transition status") => {
                receipt.warnings.push("the commit has that status already".into());
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn note(&self, config: &Config, note: &Note, receipt: &mut Receipt) -> Result<(), SendError> {
        let marker = (!note.tag.is_empty()).then(|| format!("<!-- herald {} -->", note.tag));
        let end = marker.as_ref().map_or_else(String::new, |marker| format!("\n{marker}"));
        let mut text = note.content.clone();
        let room = LONGEST_NOTE.saturating_sub(end.chars().count());
        limit::cut_reported(&mut text, room, "note", &mut receipt.warnings);
        text.push_str(&end);
        let body = json!({"body": text});
        let requests =
            self.url(&config.project, &["repository", "commits", &config.revision, "merge_requests"])?;
        let requests = self.list(requests).await?;
        let mut noted = 0;
        for request in requests.iter().filter(|request| request["state"] != "closed") {
            let iid = request["iid"].to_string();
            let notes = self.url(&config.project, &["merge_requests", &iid, "notes"])?;
            let earlier = match &marker {
                None => None,
                Some(marker) => {
                    let found = self.list(notes.clone()).await?;
                    found.into_iter().find(|note| note["body"].as_str().is_some_and(|b| b.contains(marker)))
                }
            };
            match earlier {
                Some(earlier) => {
                    let id = earlier["id"].to_string();
                    let url = self.url(&config.project, &["merge_requests", &iid, "notes", &id])?;
                    self.call("PUT", &url, Some(&body)).await?;
                }
                None => drop(self.call("POST", &notes, Some(&body)).await?),
            }
            noted += 1;
        }
        if noted == 0 {
            receipt.warnings.push("no open or merged merge request has this commit".into());
        }
        Ok(())
    }
}

#[async_trait]
impl Service for GitLab {
    async fn send(&self, delivery: &Delivery<'_>) -> Result<Receipt, SendError> {
        let Some(config) = delivery.section::<Config>(TYPE.name)? else {
            return Err(SendError::misconfigured("the template has no section gitlab"));
        };
        for (name, text) in [("project", &config.project), ("revision", &config.revision)] {
            if text.is_empty() || text == "<no value>" {
                return Err(SendError::misconfigured(format!(
                    "gitlab {name} is empty: set it in the template"
                )));
            }
        }
        let mut receipt = Receipt::new(config.project.clone());
        if let Some(status) = &config.status {
            self.status(&config, status, delivery.message(), &mut receipt).await?;
        }
        if let Some(note) = &config.merge_request_note {
            self.note(&config, note, &mut receipt).await?;
        }
        Ok(receipt)
    }
}
