//! The words of the templates that people copy from Argo Rollouts' documentation, over the recordings: what the real
//! controller's object prints must be what the derived one prints.

#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, fs, path::PathBuf};

use herald_core::replay::{self, Recording, Restart};
use herald_template::Template;
use herald_value::{Value, limits::Limits};

/// What the stock templates read: steps and replica counts.
const STEP: &str = "{{add .rollout.status.currentStepIndex 1}}/{{len .rollout.spec.strategy.canary.steps}}";
const REPLICAS: &str = "{{.rollout.spec.replicas}} {{.rollout.status.updatedReplicas}}";

fn render(template: &str, rollout: &Value) -> String {
    let vars = Value::map([("rollout", rollout.clone())]).unwrap();
    let mut out = Vec::new();
    let template = Template::parse("stock", template, Limits::DEFAULT).unwrap();
    match template.render_at(&vars, Limits::DEFAULT, jiff::Timestamp::UNIX_EPOCH, &mut out) {
        Ok(()) => String::from_utf8(out).unwrap(),
        Err(error) => format!("error: {}", error.message),
    }
}

fn uid(rollout: &Value) -> String {
    rollout.path(&["metadata", "uid"]).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// For each Rollout and trigger, what a template printed, in order.
fn printed<'a>(told: impl Iterator<Item = (&'a str, &'a Value)>) -> BTreeMap<(String, String), Vec<String>> {
    let mut out: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for (trigger, rollout) in told {
        let template = if trigger == "on-rollout-step-completed" { STEP } else { REPLICAS };
        out.entry((uid(rollout), trigger.to_owned())).or_default().push(render(template, rollout));
    }
    out
}

#[test]
fn stock_templates_print_what_the_real_controller_printed() {
    let traces = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/traces"));
    let triggers =
        ["on-rollout-step-completed", "on-rollout-completed", "on-rollout-updated", "on-rollout-paused"];
    // In these the reference sent some of them twice; the list of differences names them.
    let doubled = ["b/subscriptions"];
    let mut steps = 0;
    for set in ["a", "b"] {
        let Ok(folders) = fs::read_dir(traces.join(set)) else {
            eprintln!("SKIPPED: no recordings at {}", traces.display());
            return;
        };
        for folder in folders.flatten() {
            let name = format!("{set}/{}", folder.file_name().to_string_lossy());
            if doubled.contains(&name.as_str()) {
                continue;
            }
            let text = fs::read_to_string(folder.path().join("stream.jsonl")).unwrap();
            let recording = Recording::read(text.lines()).unwrap();
            let derived = replay::derive(&recording, Restart::Never);
            let sent = recording.sent.iter().map(|sent| (sent.trigger.as_str(), &sent.object));
            let theirs = printed(sent.filter(|(trigger, _)| triggers.contains(trigger)));
            let names: Vec<_> = derived
                .iter()
                .map(|d| {
                    (herald_core::names::trigger_name(&d.occurrence.reason), d.occurrence.object.as_ref())
                })
                .collect();
            let ours = names.iter().filter_map(|(trigger, object)| Some((trigger.as_str(), (*object)?)));
            let ours = printed(ours.filter(|(trigger, _)| triggers.contains(trigger)));
            assert_eq!(ours, theirs, "{name}");
            steps += ours
                .iter()
                .filter(|((_, trigger), _)| trigger == "on-rollout-step-completed")
                .map(|(_, printed)| printed.len())
                .sum::<usize>();
        }
    }
    assert!(steps > 150, "only {steps} steps were compared");
}
