//! A Rollout as a line: its phase, its steps, whom it tells.

use herald_core::{config::Config, explain::Source, subscription::subscriptions, variables::shape_rollout};
use herald_value::Value;
use herald_web::ui::backend::{Rollout, Step, Subscription};

use crate::pipeline::look::text;

/// More steps or subscriptions than that help nobody.
const MOST: usize = 100;

/// The line of a Rollout, by the controller's configuration and that of its own namespace.
pub(super) fn line(
    rollout: &Value,
    workload: Option<&Value>,
    config: &Config,
    tenant: Option<&Config>,
) -> Rollout {
    let shaped = shape_rollout(rollout, workload);
    let number = |path: &[&str]| rollout.path(path).and_then(Value::as_i64);
    let canary = rollout.path(&["spec", "strategy", "canary"]);
    let strategy = if canary.is_some() {
        "canary"
    } else if rollout.path(&["spec", "strategy", "blueGreen"]).is_some() {
        "blueGreen"
    } else {
        ""
    };
    let containers = shaped.path(&["spec", "template", "spec", "containers"]).and_then(Value::as_list);
    let mut told = subscriptions(config, &shaped).list;
    for one in tenant.map(|tenant| subscriptions(tenant, &shaped).list).unwrap_or_default() {
        // Annotations count for both.
        if !told.iter().any(|other| (&other.trigger, &other.destination) == (&one.trigger, &one.destination))
        {
            told.push(one);
        }
    }
    Rollout {
        namespace: text(rollout, &["metadata", "namespace"]).to_owned(),
        name: text(rollout, &["metadata", "name"]).to_owned(),
        phase: text(rollout, &["status", "phase"]).to_owned(),
        message: text(rollout, &["status", "message"]).to_owned(),
        revision: text(rollout, &["metadata", "annotations", "rollout.argoproj.io/revision"]).to_owned(),
        strategy: strategy.to_owned(),
        weight: number(&["status", "canary", "weights", "canary", "weight"]),
        replicas: (
            number(&["status", "readyReplicas"]).unwrap_or(0),
            number(&["spec", "replicas"]).or(number(&["status", "replicas"])).unwrap_or(0),
        ),
        images: containers
            .unwrap_or_default()
            .iter()
            .take(MOST)
            .map(|container| text(container, &["image"]).to_owned())
            .filter(|image| !image.is_empty())
            .collect(),
        steps: steps(rollout),
        subscriptions: told
            .iter()
            .take(MOST)
            .map(|one| Subscription {
                trigger: one.trigger.to_string(),
                to: one.destination.to_string(),
                from: Source::from(&one.origin).to_string(),
            })
            .collect(),
    }
}

fn steps(rollout: &Value) -> Vec<Step> {
    if rollout.path(&["spec", "strategy", "blueGreen"]).is_some() {
        return blue_green(rollout);
    }
    let all =
        rollout.path(&["spec", "strategy", "canary", "steps"]).and_then(Value::as_list).unwrap_or_default();
    let hash = |field: &str| text(rollout, &["status", field]);
    let updating = !hash("stableRS").is_empty() && hash("stableRS") != hash("currentPodHash");
    let index = rollout.path(&["status", "currentStepIndex"]).and_then(Value::as_i64);
    let index = index.and_then(|index| usize::try_from(index).ok()).unwrap_or(0);
    all.iter()
        .take(MOST)
        .enumerate()
        .map(|(at, step)| Step {
            label: label(step),
            state: match at {
                _ if !updating || at < index => "done",
                _ if at == index => "current",
                _ => "todo",
            }
            .to_owned(),
        })
        .collect()
}

fn label(step: &Value) -> String {
    if let Some(weight) = step.get("setWeight").and_then(Value::as_i64) {
        return format!("{weight}%");
    }
    if let Some(pause) = step.get("pause") {
        let duration = pause.get("duration").filter(|duration| !duration.is_nil());
        return match duration {
            Some(duration) => format!("pause {}", herald_value::gofmt::to_text(duration)),
            None => "pause".into(),
        };
    }
    let named = |field: &str, word: &str| step.get(field).map(|_| word.to_owned());
    named("analysis", "analysis")
        .or_else(|| named("experiment", "experiment"))
        .or_else(|| named("setCanaryScale", "scale"))
        .or_else(|| named("setHeaderRoute", "header route"))
        .or_else(|| named("setMirrorRoute", "mirror route"))
        .or_else(|| named("plugin", "plugin"))
        .unwrap_or_else(|| "step".into())
}

fn blue_green(rollout: &Value) -> Vec<Step> {
    let field = |path: &[&str]| text(rollout, path);
    let current = field(&["status", "currentPodHash"]);
    let active = field(&["status", "blueGreen", "activeSelector"]);
    let stable = field(&["status", "stableRS"]);
    let paused = rollout
        .path(&["status", "pauseConditions"])
        .and_then(Value::as_list)
        .is_some_and(|all| !all.is_empty());
    let at = match () {
        () if !current.is_empty() && current == stable => 3,
        () if !current.is_empty() && current == active => 2,
        () if paused => 1,
        () => 0,
    };
    ["preview", "promotion", "active"]
        .iter()
        .enumerate()
        .map(|(index, label)| {
            let state = match index {
                index if index < at => "done",
                index if index == at => "current",
                _ => "todo",
            };
            Step { label: (*label).to_owned(), state: state.to_owned() }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use herald_core::config::ConfigInput;
    use herald_services::Registry;
    use herald_value::{
        json::{Numbers, decode},
        limits::Limits,
    };

    use super::*;

    #[test]
    fn subscriptions_are_those_of_both_configurations_and_each_once() {
        let config = |recipient: &str| {
            let default = format!("- recipients: [hook:{recipient}]\n  triggers: [on-a]\n");
            let data = [("subscriptions".to_owned(), default)].into();
            let input = ConfigInput { data, ..ConfigInput::default() };
            Config::load(&input, &Registry::standard(), Limits::DEFAULT).0
        };
        let rollout = r#"{"metadata":{"annotations":{"notifications.argoproj.io/subscribe.on-b.hook":"c"}}}"#;
        let rollout = decode(rollout.as_bytes(), Numbers::Kubernetes).unwrap();
        let line = line(&rollout, None, &config("controller"), Some(&config("team")));
        let mut told: Vec<String> =
            line.subscriptions.iter().map(|one| format!("{} {}", one.trigger, one.to)).collect();
        told.sort();
        assert_eq!(told, ["on-a hook:controller", "on-a hook:team", "on-b hook:c"]);
    }
}
