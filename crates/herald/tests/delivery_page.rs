//! What `docs/delivery.md` shows is taken without a word.

// Helpers of tests may fail loudly, too.
#![allow(clippy::unwrap_used)]

use std::process::Command;

#[test]
fn the_snippets_load() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/delivery.md");
    let page = std::fs::read_to_string(page).unwrap();
    let snippets: Vec<&str> =
        page.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(snippets.len() >= 5);
    for snippet in snippets {
        let home = tempfile::tempdir().unwrap();
        let indented: String = snippet.lines().map(|line| format!("  {line}\n")).collect();
        // A subscription needs its service.
        let service =
            if snippet.contains("service.slack:") { "" } else { "  service.slack: |\n    token: x\n" };
        let text = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: argo-rollouts-notification-configmap, namespace: \
             argo-rollouts}}\ndata:\n{service}{indented}---\napiVersion: v1\nkind: Secret\nmetadata: {{name: \
             argo-rollouts-notification-secret, namespace: argo-rollouts}}\nstringData: {{slack-token: x, mattermost-token: y}}\n"
        );
        std::fs::write(home.path().join("config.yaml"), &text).unwrap();
        let run = |text: &str| {
            std::fs::write(home.path().join("config.yaml"), text).unwrap();
            let mut command = Command::new(env!("CARGO_BIN_EXE_herald"));
            command.arg("run").arg(home.path()).arg("--once").arg("--state").arg(home.path().join("s.db"));
            let output = command.output().unwrap();
            (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
        };
        let (good, said) = run(&text);
        assert!(good, "{snippet}\n{said}");
        let wrong: String = text
            .lines()
            .map(|line| match line.trim() == "delivery:" {
                true => {
                    format!("{line}\n{}  nonsense: 1\n", " ".repeat(line.len() - line.trim_start().len()))
                }
                false => format!("{line}\n"),
            })
            .collect();
        let (good, said) = run(&wrong);
        assert!(!good && said.contains("nonsense"), "a mistake is told: {said}");
    }
}
