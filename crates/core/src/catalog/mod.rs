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

/// A trigger that nothing fires: it holds, or it doesn't.
struct StateTrigger {
    trigger: &'static str,
    description: &'static str,
    when: &'static str,
    once_per: &'static str,
    /// How long it must hold.
    hold: &'static str,
    template: &'static str,
    head: &'static str,
}

const STATES: &[StateTrigger] = &[StateTrigger {
    trigger: "on-rollout-stuck-in-pause",
    description: "The rollout has waited for a person for half an hour; a pause step with a duration is no such wait.",
    when: "rollout.status.phase == 'Paused' && get(get(get(rollout.spec.strategy.canary ?? {}, 'steps') ?? [], \
           rollout.status.currentStepIndex ?? 0) ?? {}, 'pause')?.duration == nil",
    // The condition tells one pause from the next, also where a person set `spec.paused`.
    once_per: "find(rollout.status.conditions ?? [], .type == 'Paused')?.lastTransitionTime ?? ''",
    hold: "30m",
    template: "rollout-stuck-in-pause",
    head: include_str!("heads/rollout-stuck-in-pause.tmpl"),
}];

/// The trigger of the one message that follows a rollout from its beginning to its end.
pub const LIVE: &str = "on-rollout-live";

/// The number of the condition of [`LIVE`] that tells the end.
pub const LIVE_END: usize = 1;

/// The template of [`LIVE`] and its head.
const LIVE_TEMPLATE: (&str, &str) = ("rollout-live", include_str!("heads/rollout-live.tmpl"));

/// What a built-in template says, in a line: its first title, with `…` where the rollout's own words stand.
pub fn preview(template: &str) -> Option<String> {
    let states = STATES.iter().map(|state| (state.template, state.head));
    let events = NOTIFICATIONS.iter().map(|(name, _, head)| (*name, *head));
    let mut all = events.chain(states).chain([ANY_EVENT, LIVE_TEMPLATE]);
    let (_, head) = all.find(|(name, _)| *name == template)?;
    let quoted = |before: &str| {
        let (_, rest) = head.split_once(before)?;
        let rest = rest.split_once('"')?.1;
        rest.split_once('"').map(|(text, _)| text)
    };
    let title = quoted("$title = ")?.replace("%s", "…").replace("%d", "…").replace("%v", "…");
    Some(match quoted("$emoji = ") {
        Some(emoji) => format!("{emoji} {title}"),
        None => title,
    })
}

/// One message for each revision, edited in place by services that can.
const LIVE_GROUP: &str = concat!(
    "groupingKey: '{{if kindIs \"map\" .rollout}}live-",
    "{{with .rollout.metadata}}{{if kindIs \"map\" .}}{{.uid}}{{end}}{{end}}-",
    "{{with .rollout.status}}{{if kindIs \"map\" .}}{{.currentPodHash}}{{end}}{{end}}{{end}}'\n",
    "  deliveryPolicy: Update\n"
);

/// Whether it has come to an end, and what makes another update of it worth sending.
const LIVE_ENDED: &str =
    "(rollout.status.phase ?? '') in ['Healthy', 'Degraded'] || (rollout.status.abort ?? false)";
const LIVE_SHOWN: &str = "join([rollout.status.currentPodHash, rollout.status.phase ?? '', string(rollout.status.currentStepIndex ?? 0), \
    string(rollout.status.abort ?? false), join(map(analysisRuns ?? [], (.metadata?.name ?? '') + '=' + (.status?.phase ?? '')), ',')], '/')";

/// The triggers of the catalog that are no occurrences: name, what they say, how long it must hold.
pub fn state_triggers() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    STATES.iter().map(|state| (state.trigger, state.description, state.hold))
}

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
    let (template, head) = LIVE_TEMPLATE;
    let composed = compose(head).replacen("slack:\n", &format!("slack:\n  {LIVE_GROUP}"), 1);
    data.insert(format!("template.{template}"), format!("{composed}mattermost:\n  {LIVE_GROUP}"));
    data.insert(format!("trigger.{LIVE}"), live());
    for state in STATES {
        let StateTrigger { trigger, description, when, once_per, hold, template, head } = state;
        data.insert(format!("template.{template}"), compose(head));
        let condition = format!(
            "- description: \"{description}\"\n  when: {when}\n  oncePer: {once_per}\n  for: {hold}\n  send: [{template}]\n"
        );
        data.insert(format!("trigger.{trigger}"), condition);
    }
    data
}

/// The trigger of the message that follows a rollout.
fn live() -> String {
    let hash = "(rollout.status.currentPodHash ?? '') != ''";
    let (template, _) = LIVE_TEMPLATE;
    format!(
        "- description: \"One message that follows the rollout: progress.\"\n  when: {hash} && !({LIVE_ENDED})\n  \
         oncePer: {LIVE_SHOWN}\n  send: [{template}]\n- description: \"One message that follows the rollout: its end.\"\n  \
         when: {hash} && ({LIVE_ENDED})\n  oncePer: {LIVE_SHOWN}\n  send: [{template}]\n"
    )
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use herald_expr::Program;
    use herald_value::{Value, limits::Limits};
    use jiff::Timestamp;

    use super::*;
    use crate::{
        config::{Config, ConfigInput},
        notification::{RenderContext, RenderError, Section, ServiceTypes},
        yaml::{Node, YamlError},
    };

    #[test]
    fn stuck_in_pause_holds_while_a_person_is_waited_for() {
        let state = &STATES[0];
        let run = |source: &str, rollout: &str| {
            let vars = Value::from_json(format!("{{\"rollout\": {rollout}}}").as_bytes()).unwrap();
            Program::compile(source, Limits::DEFAULT).unwrap().run(&vars, Limits::DEFAULT).unwrap()
        };
        let canary = |status: &str| {
            format!(
                r#"{{"spec":{{"strategy":{{"canary":{{"steps":[{{"setWeight":20}},{{"pause":{{}}}},{{"pause":{{"duration":"2h"}}}}]}}}}}},
                "status":{status}}}"#
            )
        };
        for (holds, rollout) in [
            (true, canary(r#"{"phase":"Paused","currentStepIndex":1}"#)),
            (false, canary(r#"{"phase":"Paused","currentStepIndex":2}"#)),
            (true, canary(r#"{"phase":"Paused","currentStepIndex":3}"#)),
            (false, canary(r#"{"phase":"Progressing","currentStepIndex":1}"#)),
            (false, canary("{}")),
            (true, r#"{"spec":{"strategy":{"blueGreen":{}}},"status":{"phase":"Paused"}}"#.to_owned()),
        ] {
            assert_eq!(run(state.when, &rollout), Value::Bool(holds), "{rollout}");
        }
        let paused = canary(
            r#"{"conditions":[{"type":"Healthy"},{"type":"Paused","lastTransitionTime":"2026-01-01T00:00:00Z"}]}"#,
        );
        assert_eq!(run(state.once_per, &paused), Value::str("2026-01-01T00:00:00Z"));
        assert_eq!(run(state.once_per, &canary("{}")), Value::str(""));
    }

    /// Sections of services are theirs to test.
    struct MessageOnly;

    #[derive(Debug)]
    struct Nothing;

    impl Section for Nothing {
        fn render(
            &self,
            _: &RenderContext<'_>,
            _: Option<&serde_json::Value>,
        ) -> Result<serde_json::Value, RenderError> {
            Ok(serde_json::Value::Null)
        }
    }

    impl ServiceTypes for MessageOnly {
        fn knows(&self, _: &str) -> bool {
            true
        }

        fn has_section(&self, _: &str) -> bool {
            true
        }

        fn parse_section(&self, _: &str, _: &Node) -> Result<Arc<dyn Section>, YamlError> {
            Ok(Arc::new(Nothing))
        }

        fn check_options(&self, _: &str, _: &Node) -> Result<(), YamlError> {
            Ok(())
        }
    }

    #[test]
    fn the_catalog_loads_without_a_word_and_says_since_when() {
        let input = ConfigInput { base: data(), ..ConfigInput::default() };
        let (config, diagnostics) = Config::load(&input, &MessageOnly, Limits::DEFAULT);
        assert!(diagnostics.is_empty(), "{diagnostics:#?}");
        let condition = &config.trigger("on-rollout-stuck-in-pause").unwrap().conditions[0];
        assert_eq!(condition.hold, Some(30 * 60 * 1_000_000_000));
        let rollout = Value::from_json(
            br#"{"metadata":{"name":"web"},"status":{"pauseConditions":[{"startTime":"2026-01-01T00:00:00Z"}]}}"#,
        );
        let rollout = crate::lifecycle::shaped(&rollout.unwrap(), None);
        let now = Timestamp::UNIX_EPOCH;
        let vars = crate::variables::variables(&rollout, &Value::Nil, &Value::Nil, now, &Default::default());
        let text = config.render(&condition.send, &vars, &"console".parse().unwrap(), now).unwrap().message;
        let start = "\u{23f3} web has been paused since 2026-01-01T00:00:00Z\nIt waits for someone to promote or abort it.";
        assert!(text.starts_with(start), "{text}");
    }
}
