//! GitHub: commit statuses, deployments, checks, comments on pull requests, repository dispatches (services.md 2.5).
//! The recipient only serves the template.

mod api;
mod repository;
mod section;

use async_trait::async_trait;
use herald_core::yaml::{self, Node, YamlError};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use self::{
    api::{Api, Credentials},
    section::{CheckRun, Config, Deployment, Dispatch, PullRequestComment, Status},
};
use crate::{
    failure::{Reason, SendError},
    limit, schema,
    service::{Context, Delivery, Receipt, Service, ServiceType},
};

/// The service type.
pub const TYPE: ServiceType = ServiceType {
    name: "github",
    configurable: true,
    parse_section: Some(section::parse),
    needs_section: true,
    options: schema::of::<Options>,
    section_schema: Some(section::schema),
    build,
};

/// GitHub refuses longer descriptions of statuses.
const LONGEST_DESCRIPTION: usize = 140;

/// GitHub refuses longer comments.
const LONGEST_COMMENT: usize = 65_536;

const DEPLOYMENT_ACCEPT: &str =
    "application/vnd.github.ant-man-preview+json, application/vnd.github.flash-preview+json";

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default)]
struct Options {
    /// Id of the GitHub App.
    #[serde(rename = "appID")]
    app_id: String,
    /// Id of its installation.
    #[serde(rename = "installationID")]
    installation_id: String,
    /// Its private key (PEM).
    #[serde(rename = "privateKey")]
    private_key: String,
    /// Address of GitHub Enterprise, such as `https://git.example.com/api/v3`.
    #[serde(rename = "enterpriseBaseURL")]
    enterprise_base_url: String,
    /// Ours: the API's address, for proxies; goes before `enterpriseBaseURL` and is used as it is.
    #[serde(rename = "apiURL")]
    api_url: String,
    /// Ours: a token instead of an App.
    token: String,
}

struct GitHub {
    api: Api,
}

/// A number as Go reads it from a literal: `0x…`, leading `0` for octal, a trailing `.0` dropped.
fn go_number(name: &str, text: &str, node: &Node) -> Result<i64, YamlError> {
    let trimmed = text.trim().strip_suffix(".0").unwrap_or(text.trim());
    if trimmed.is_empty() {
        return Ok(0);
    }
    herald_value::num::parse_int(trimmed, 0, 64).map_err(|_| YamlError {
        message: format!("{name} must be a number, and {text:?} is none"),
        at: node.at,
    })
}

/// The address of the API, with a slash at its end.
fn api_base(options: &Options) -> String {
    let with_slash = |url: &str| format!("{}/", url.trim_end_matches('/'));
    if !options.api_url.is_empty() {
        return with_slash(&options.api_url);
    }
    if options.enterprise_base_url.is_empty() {
        return "https://api.github.com/".into();
    }
    let base = with_slash(&options.enterprise_base_url);
    let host =
        url::Url::parse(&base).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
    if base.ends_with("/api/v3/") || host.starts_with("api.") || host.contains(".api.") {
        base
    } else {
        format!("{base}api/v3/")
    }
}

fn build(node: &Node, context: &Context) -> Result<Box<dyn Service>, YamlError> {
    let options: Options = yaml::decode(node)?;
    context.secret(&options.private_key);
    context.secret(&options.token);
    let credentials = if options.token.is_empty() {
        let app = go_number("appID", &options.app_id, node)?;
        let installation = go_number("installationID", &options.installation_id, node)?;
        Credentials::app(app, installation, &options.private_key)
            .map_err(|message| YamlError { message, at: node.at })?
    } else {
        Credentials::Token(options.token.clone())
    };
    Ok(Box::new(GitHub { api: Api::new(api_base(&options), credentials, context.http(node)?) }))
}

/// A path segment by segment, each escaped.
fn escaped(path: &str) -> String {
    let escape = |segment: &str| -> String {
        segment
            .bytes()
            .map(|byte| match byte {
                b'A'..=b'Z'
                | b'a'..=b'z'
                | b'0'..=b'9'
                | b'-'
                | b'_'
                | b'.'
                | b'~'
                | b'$'
                | b'&'
                | b'+'
                | b':'
                | b'='
                | b'@' => char::from(byte).to_string(),
                _ => format!("%{byte:02X}"),
            })
            .collect()
    };
    path.split('/').map(escape).collect::<Vec<_>>().join("/")
}

/// One delivery's view of a repository.
struct Target<'a> {
    api: &'a Api,
    repo: String,
    revision: String,
    description: String,
}

impl Target<'_> {
    async fn status(&self, status: &Status) -> Result<(), SendError> {
        let body = json!({
            "state": status.state,
            "target_url": status.target_url,
            "description": self.description,
            "context": status.label,
        });
        let path = format!("repos/{}/statuses/{}", self.repo, escaped(&self.revision));
        let answer = self.api.call("POST", &path, None, Some(&body)).await;
        answer.map(drop).map_err(|error| {
            if error.status != Some(422) {
                return error;
            }
            let limit =
                format!("too many commit statuses for sha {} and context {}", self.revision, status.label);
            let SendError { message, status, .. } = error;
            // GitHub takes a thousand statuses a commit and context, and then no more: nothing is gained by
            // repeating, and nothing is wrong. Other reasons for a 422 are faults; an answer without any reason is
            // taken for the limit, as the reference takes all of them.
            let lower = message.to_lowercase();
            let mut told = if lower.contains("maximum number of statuses") || lower.ends_with(": 422  []") {
                SendError::settled(format!("{limit}: {message}"))
            } else {
                SendError::rejected(format!(
                    "{message} (not the limit \"{limit}\", though it has that status)"
                ))
            };
            told.status = status;
            told
        })
    }

    async fn deployment(&self, deployment: &Deployment) -> Result<(), SendError> {
        let query = [("environment", &deployment.environment), ("ref", &self.revision)];
        let query = query.into_iter().filter(|(_, value)| !value.is_empty());
        // In a statement of its own: the serializer can't be held over an await.
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        let mark = if query.is_empty() { "" } else { "?" };
        let path = format!("repos/{}/deployments", self.repo);
        let found = self.api.call("GET", &format!("{path}{mark}{query}"), None, None).await?;
        let id = match found.get(0).map(|first| &first["id"]) {
            Some(id) => id.clone(),
            None => {
                let reference =
                    if deployment.reference.is_empty() { &self.revision } else { &deployment.reference };
                let body = json!({
                    "ref": reference,
                    "auto_merge": deployment.auto_merge,
                    "required_contexts": deployment.required_contexts,
                    "environment": deployment.environment,
                    "transient_environment": deployment.transient_environment,
                });
                self.api.call("POST", &path, Some(DEPLOYMENT_ACCEPT), Some(&body)).await?["id"].clone()
            }
        };
        if !id.is_number() {
            return Err(SendError::new(
                Reason::BadAnswer,
                "job scheduled on GitHub side; try again later: GitHub named no deployment, auto-merge may have begun",
            ));
        }
        let body = json!({
            "state": deployment.state,
            "log_url": deployment.log_url,
            "description": self.description,
            "environment": deployment.environment,
            "environment_url": deployment.environment_url,
        });
        self.api
            .call("POST", &format!("{path}/{id}/statuses"), Some(DEPLOYMENT_ACCEPT), Some(&body))
            .await
            .map(drop)
    }

    async fn comment(
        &self,
        comment: &PullRequestComment,
        warnings: &mut Vec<String>,
    ) -> Result<(), SendError> {
        const ACCEPT: Option<&str> = Some("application/vnd.github.groot-preview+json");
        let marker = section::marker(&comment.comment_tag);
        // The rendered content has the marker already, but it must outlive the cut.
        let end = marker.as_ref().map_or_else(String::new, |marker| format!("\n{marker}"));
        let mut body = comment.content.strip_suffix(&end).unwrap_or(&comment.content).to_string();
        let room = LONGEST_COMMENT - marker.as_ref().map_or(0, |marker| marker.chars().count() + 1);
        limit::cut_reported(&mut body, room, "comment", warnings);
        body.push_str(&end);
        let body = json!({ "body": body });
        let path = format!("repos/{}/commits/{}/pulls", self.repo, escaped(&self.revision));
        let mut requests = Vec::new();
        let mut page = self.api.pages(path, ACCEPT);
        while let Some(found) = page.next().await? {
            requests.extend(found);
        }
        for request in requests {
            let comments = format!("repos/{}/issues/{}/comments", self.repo, request["number"]);
            let earlier = match &marker {
                Some(marker) => self.find_comment(&comments, marker).await?,
                None => None,
            };
            match earlier {
                Some(id) => {
                    let path = format!("repos/{}/issues/comments/{id}", self.repo);
                    self.api.call("PATCH", &path, None, Some(&body)).await?;
                }
                None => {
                    self.api.call("POST", &comments, None, Some(&body)).await?;
                }
            }
        }
        Ok(())
    }

    /// The id of the first comment with the marker.
    async fn find_comment(&self, comments: &str, marker: &str) -> Result<Option<Value>, SendError> {
        let mut page = self.api.pages(comments.to_string(), None);
        while let Some(found) = page.next().await? {
            let has_marker =
                |comment: &&Value| comment["body"].as_str().is_some_and(|body| body.contains(marker));
            if let Some(comment) = found.iter().find(has_marker) {
                return Ok(Some(comment["id"].clone()));
            }
        }
        Ok(None)
    }

    async fn check_run(&self, check: &CheckRun) -> Result<(), SendError> {
        let mut status = check.status.as_str();
        if status.is_empty() && !check.conclusion.is_empty() {
            status = "completed";
        }
        if (status == "completed" || !check.completed_at.is_empty()) && check.conclusion.is_empty() {
            return Err(SendError::misconfigured(
                "github checkrun: conclusion is required when status is completed or completed_at is set",
            ));
        }
        let mut body = json!({
            "name": check.name,
            "head_sha": self.revision,
            "details_url": check.details_url,
            "external_id": "argocd-notifications",
        });
        for (name, time) in [("started_at", &check.started_at), ("completed_at", &check.completed_at)] {
            if time.is_empty() {
                continue;
            }
            if herald_value::time::parse_rfc3339(time).is_err() {
                return Err(SendError::misconfigured(format!(
                    "github checkrun: {name} is {time:?}; it must be a time such as 2006-01-02T15:04:05Z"
                )));
            }
            body[name] = time.as_str().into();
        }
        for (name, value) in [("status", status), ("conclusion", &check.conclusion)] {
            if !value.is_empty() {
                body[name] = value.into();
            }
        }
        if let Some(output) = &check.output {
            body["output"] = json!({"title": output.title, "summary": output.summary, "text": output.text});
        }
        const ACCEPT: Option<&str> = Some("application/vnd.github.antiope-preview+json");
        self.api.call("POST", &format!("repos/{}/check-runs", self.repo), ACCEPT, Some(&body)).await.map(drop)
    }

    async fn dispatch(&self, dispatch: &Dispatch) -> Result<(), SendError> {
        let payload = section::payload(&dispatch.client_payload)?;
        let body = json!({"event_type": dispatch.event_type, "client_payload": payload});
        self.api.call("POST", &format!("repos/{}/dispatches", self.repo), None, Some(&body)).await.map(drop)
    }
}

#[async_trait]
impl Service for GitHub {
    async fn send(&self, delivery: &Delivery<'_>) -> Result<Receipt, SendError> {
        let Some(config) = delivery.section::<Config>(TYPE.name)? else {
            return Err(SendError::misconfigured("config is empty: the template has no section github"));
        };
        let mut description = delivery.message().to_string();
        limit::cut_with(&mut description, LONGEST_DESCRIPTION, "...");
        let target = Target {
            api: &self.api,
            repo: repository::owner_and_name(&config.repo_url)?,
            revision: config.revision,
            description,
        };
        let mut receipt = Receipt::default();
        if let Some(status) = &config.status {
            target.status(status).await?;
        }
        if let Some(deployment) = &config.deployment {
            target.deployment(deployment).await?;
        }
        if let Some(comment) = &config.pull_request_comment {
            target.comment(comment, &mut receipt.warnings).await?;
        }
        if let Some(check) = &config.check_run {
            target.check_run(check).await?;
        }
        if let Some(dispatch) = &config.repository_dispatch {
            target.dispatch(dispatch).await?;
        }
        receipt.detail = target.repo;
        Ok(receipt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_s_address_of_an_enterprise() {
        for (given, wanted) in [
            ("", "https://api.github.com/"),
            ("https://git.example.com", "https://git.example.com/api/v3/"),
            ("https://git.example.com/api/v3", "https://git.example.com/api/v3/"),
            ("https://api.git.example.com", "https://api.git.example.com/"),
            ("https://x.api.example.com/", "https://x.api.example.com/"),
        ] {
            let options = Options { enterprise_base_url: given.into(), ..Options::default() };
            assert_eq!(api_base(&options), wanted);
        }
    }
}
