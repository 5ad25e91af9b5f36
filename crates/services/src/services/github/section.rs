//! The github section of a template: sub-objects, each of them optional.

use std::sync::Arc;

use herald_core::{
    notification::{RenderContext, RenderError, Section},
    yaml::{self, Kind, Node, YamlError},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    failure::SendError,
    schema,
    section::{self, Field, Merge, TextSection},
};

/// The rendered section.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Config {
    #[serde(rename = "repoURL")]
    pub(super) repo_url: String,
    pub(super) revision: String,
    pub(super) status: Option<Status>,
    pub(super) deployment: Option<Deployment>,
    pub(super) pull_request_comment: Option<PullRequestComment>,
    pub(super) check_run: Option<CheckRun>,
    pub(super) repository_dispatch: Option<Dispatch>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Status {
    pub(super) state: String,
    pub(super) label: String,
    #[serde(rename = "targetURL")]
    pub(super) target_url: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Deployment {
    pub(super) state: String,
    pub(super) environment: String,
    #[serde(rename = "environmentURL")]
    pub(super) environment_url: String,
    #[serde(rename = "logURL")]
    pub(super) log_url: String,
    pub(super) reference: String,
    pub(super) required_contexts: Option<Vec<String>>,
    pub(super) auto_merge: bool,
    pub(super) transient_environment: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PullRequestComment {
    pub(super) content: String,
    pub(super) comment_tag: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct CheckRun {
    pub(super) name: String,
    pub(super) details_url: String,
    pub(super) status: String,
    pub(super) conclusion: String,
    pub(super) started_at: String,
    pub(super) completed_at: String,
    pub(super) output: Option<Output>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Output {
    pub(super) title: String,
    pub(super) summary: String,
    pub(super) text: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Dispatch {
    pub(super) event_type: String,
    pub(super) client_payload: String,
}

/// Sub-objects that consist of template fields.
const PARTS: &[(&str, &[Field])] = &[
    ("status", &[Field::text("state"), Field::text("label"), Field::text("targetURL")]),
    (
        "deployment",
        &[
            Field::text("state"),
            Field::text("environment"),
            Field::text("environmentURL"),
            Field::text("logURL"),
            Field::text("reference"),
        ],
    ),
    ("pullRequestComment", &[Field::text("content"), Field::text("commentTag")]),
    (
        "checkRun",
        &[
            Field::text("name"),
            Field::text("details_url"),
            Field::text("status"),
            Field::text("conclusion"),
            Field::text("started_at"),
            Field::text("completed_at"),
        ],
    ),
    (
        "repositoryDispatch",
        &[Field::text("event_type"), Field::json("client_payload").checked(|text| payload(text).map(drop))],
    ),
];

const OUTPUT: &[Field] = &[Field::text("title"), Field::text("summary"), Field::text("text")];

// The defaults are the reference's and mean Argo CD's variables: a Rollout's template has to set these fields.
const WHERE: &[(&str, Field)] = &[
    ("repoURL", Field::text("repoURLPath").or("{{.app.spec.source.repoURL}}")),
    ("revision", Field::text("revisionPath").or("{{.app.status.operationState.syncResult.revision}}")),
];

/// What a deployment has beside its template fields.
#[derive(Clone, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", default)]
struct Switches {
    /// Contexts that must have passed.
    required_contexts: Option<Vec<String>>,
    /// Whether GitHub merges the default branch first.
    auto_merge: Option<bool>,
    /// Whether the environment will go away.
    transient_environment: bool,
}

/// What the comment of a tag ends with, so that a later one finds it.
pub(super) fn marker(tag: &str) -> Option<String> {
    (!tag.is_empty()).then(|| format!("<!-- argocd-notifications {tag} -->"))
}

#[derive(Debug)]
struct GitHubSection {
    places: Vec<(&'static str, TextSection, &'static str)>,
    parts: Vec<(&'static str, TextSection)>,
    output: Option<TextSection>,
    switches: Option<Switches>,
    /// Where repository and revision come from, unrendered, as a look at the notification shows it.
    sources: Vec<(&'static str, String)>,
}

/// What the section may hold.
pub(super) fn schema() -> schema::Shape {
    let places: Vec<Field> = WHERE.iter().map(|(_, field)| *field).collect();
    let switches = schema::of::<Switches>();
    schema::parts(schema::fields(&places), PARTS)
        .within("deployment", switches)
        .within("checkRun", schema::fields(&[]).with("output", schema::fields(OUTPUT)))
}

fn part<'n>(node: &'n Node, name: &str) -> Option<&'n Node> {
    section::child(node, name).filter(|part| !matches!(part.kind, Kind::Null))
}

/// The JSON of a dispatch.
pub(super) fn payload(text: &str) -> Result<Value, SendError> {
    serde_json::from_str(text).map_err(|e| {
        SendError::misconfigured(format!(
            "github repositoryDispatch: client_payload must render to JSON: {e}: {text}"
        ))
    })
}

/// Compiles the section.
pub(super) fn parse(node: &Node) -> Result<Arc<dyn Section>, YamlError> {
    let places = WHERE.iter().map(|(name, field)| {
        Ok((*name, TextSection::read(node, std::slice::from_ref(field), Merge::Replace)?, field.name))
    });
    let places = places.collect::<Result<_, YamlError>>()?;
    let sources = WHERE.iter().map(|(_, field)| {
        let source =
            section::read_field(node, *field)?.map_or_else(String::new, |text| text.source.to_string());
        Ok((field.name, source))
    });
    let sources = sources.collect::<Result<_, YamlError>>()?;
    let mut parts = Vec::new();
    for (name, fields) in PARTS {
        if let Some(found) = part(node, name) {
            parts.push((*name, TextSection::read(found, fields, Merge::Replace)?));
        }
    }
    let output = part(node, "checkRun").and_then(|check| part(check, "output"));
    Ok(Arc::new(GitHubSection {
        places,
        parts,
        output: output.map(|output| TextSection::read(output, OUTPUT, Merge::Replace)).transpose()?,
        switches: part(node, "deployment").map(yaml::decode).transpose()?,
        sources,
    }))
}

impl Section for GitHubSection {
    fn render(&self, context: &RenderContext<'_>, earlier: Option<&Value>) -> Result<Value, RenderError> {
        let mut out: Map<String, Value> = earlier.and_then(Value::as_object).cloned().unwrap_or_default();
        for (name, source) in &self.sources {
            out.entry(*name).or_insert_with(|| source.as_str().into());
        }
        for (name, section, field) in &self.places {
            let text = section.render_fields(context, None)?.remove(*field).unwrap_or_else(|| "".into());
            out.insert((*name).into(), text);
        }
        for (name, section) in &self.parts {
            let before = out.get(*name).cloned();
            // Every text of the part is the later template's, also an empty one; only a check's output outlives it.
            let mut fields = section.render_fields(context, None)?;
            if let Some(output) = before.as_ref().and_then(|before| before.get("output")) {
                fields.insert("output".into(), output.clone());
            }
            if *name == "deployment"
                && let Some(switches) = &self.switches
            {
                fields.insert("requiredContexts".into(), json!(switches.required_contexts));
                fields.insert("autoMerge".into(), switches.auto_merge.unwrap_or(true).into());
                fields.insert("transientEnvironment".into(), switches.transient_environment.into());
            }
            if *name == "pullRequestComment" {
                let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
                if let Some(marker) = marker(text("commentTag")) {
                    let content = format!("{}\n{marker}", text("content"));
                    fields.insert("content".into(), content.into());
                }
            }
            if *name == "checkRun"
                && let Some(output) = &self.output
            {
                fields.insert("output".into(), output.render_fields(context, None)?.into());
            }
            out.insert((*name).into(), fields.into());
        }
        Ok(out.into())
    }

    fn problems(&self) -> Vec<YamlError> {
        self.parts.iter().flat_map(|(_, part)| part.problems_of_fields()).collect()
    }
}
