//! The built-in triggers and templates, usable with no ConfigMap at all.
//!
//! Each notification is composed of four kinds of text: `prelude.tmpl` reads the rollout into variables, a file of
//! `heads/` says what happened, `fields.tmpl` lists the facts, and a file of `formats/` lays them out for one medium.
//! The result has the form of a user's own ConfigMap, so it is loaded, printed and overridden like one.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::lifecycle::reasons::REASONS;

const PRELUDE: &str = include_str!("prelude.tmpl");
const FIELDS: &str = include_str!("fields.tmpl");

/// Template name, the trigger that sends it, what happened.
const NOTIFICATIONS: &[(&str, &str, &str)] = &[
    ("rollout-completed", "on-rollout-completed", include_str!("heads/rollout-completed.tmpl")),
    ("rollout-updated", "on-rollout-updated", include_str!("heads/rollout-updated.tmpl")),
    (
        "rollout-step-completed",
        "on-rollout-step-completed",
        include_str!("heads/rollout-step-completed.tmpl"),
    ),
    ("rollout-paused", "on-rollout-paused", include_str!("heads/rollout-paused.tmpl")),
    ("rollout-aborted", "on-rollout-aborted", include_str!("heads/rollout-aborted.tmpl")),
    ("scaling-replicaset", "on-scaling-replica-set", include_str!("heads/scaling-replicaset.tmpl")),
    ("analysis-run-running", "on-analysis-run-running", include_str!("heads/analysis-run-running.tmpl")),
    ("analysis-run-failed", "on-analysis-run-failed", include_str!("heads/analysis-run-failed.tmpl")),
    ("analysis-run-error", "on-analysis-run-error", include_str!("heads/analysis-run-error.tmpl")),
];

/// The template for every reason that has none of its own.
const ANY_EVENT: (&str, &str) = ("rollout-event", include_str!("heads/rollout-event.tmpl"));

/// Where each format goes in a template: parent key, key, layout.
const FORMATS: &[(Option<&str>, &str, &str)] = &[
    (None, "message", include_str!("formats/message.tmpl")),
    (Some("slack"), "blocks", include_str!("formats/slack-blocks.tmpl")),
    (Some("email"), "subject", include_str!("formats/email-subject.tmpl")),
    (None, "body", include_str!("formats/email-body.tmpl")),
    (None, "html", include_str!("formats/email-html.tmpl")),
    (Some("teams-workflows"), "adaptiveCard", include_str!("formats/adaptive-card.tmpl")),
];

/// The catalog in the form of a ConfigMap's data.
pub fn data() -> BTreeMap<String, String> {
    let mut data = BTreeMap::new();
    for (template, trigger, head) in NOTIFICATIONS {
        data.insert(format!("template.{template}"), compose(head));
        data.insert(format!("trigger.{trigger}"), condition(trigger, template));
    }
    let (template, head) = ANY_EVENT;
    data.insert(format!("template.{template}"), compose(head));
    for reason in REASONS {
        data.entry(format!("trigger.{}", reason.trigger))
            .or_insert_with(|| condition(reason.trigger, template));
    }
    data
}

/// A trigger's value: its one condition, which holds when the event itself happens.
fn condition(trigger: &str, template: &str) -> String {
    let about = REASONS.iter().find(|reason| reason.trigger == trigger).map_or("", |reason| reason.about);
    format!("- description: \"{about}\"\n  send: [{template}]\n")
}

/// A template's value: each format as a block scalar of prelude, head, fields and layout.
fn compose(head: &str) -> String {
    let mut out = String::new();
    let mut below = false;
    for (parent, key, layout) in FORMATS {
        if let Some(parent) = parent {
            let _ = writeln!(out, "{parent}:");
            below = true;
        }
        let indent = if below { "  " } else { "" };
        let _ = writeln!(out, "{indent}{key}: |-");
        for line in [PRELUDE, head, FIELDS, layout].iter().flat_map(|part| part.lines()) {
            let _ = writeln!(out, "{indent}  {line}");
        }
    }
    out
}
