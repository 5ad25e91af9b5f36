//! `herald test` on the example suite, on every snippet of the documentation, and on tests that fail.

#![allow(clippy::unwrap_used)] // a test that cannot go on says where

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn herald(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_herald"))
        .args(arguments)
        .current_dir(dir)
        .env_remove("RUST_LOG")
        .env("NO_COLOR", "1")
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn the_example_suite_passes() {
    let output = herald(&root(), &["test", "examples"]);
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains("4 passed\n"), "{}", text(&output));
}

/// The blocks of a page that name a file, as files.
fn write_snippets(page: &Path, dir: &Path) -> usize {
    let page = std::fs::read_to_string(page).unwrap();
    let mut count = 0;
    for block in page.split("```yaml\n# file: ").skip(1) {
        let (name, rest) = block.split_once('\n').unwrap();
        let (body, _) = rest.split_once("\n```").unwrap();
        std::fs::write(dir.join(name), body.to_owned() + "\n").unwrap();
        count += 1;
    }
    count
}

#[test]
fn the_snippets_of_the_documentation_pass() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(write_snippets(&root().join("docs/testing.md"), dir.path()), 4);
    let output = herald(dir.path(), &["test", "."]);
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains("5 passed\n"), "{}", text(&output));
    // What the page says about a test that fails is what is said.
    let broken = std::fs::read_to_string(dir.path().join("first_test.yaml")).unwrap();
    std::fs::write(dir.path().join("first_test.yaml"), broken.replace("phase: Degraded", "phase: Healthy"))
        .unwrap();
    let output = herald(dir.path(), &["test", "first_test.yaml"]);
    let page = std::fs::read_to_string(root().join("docs/testing.md")).unwrap();
    let shown = page.split_once("```text\n").unwrap().1.split_once("```").unwrap().0;
    assert!(text(&output).contains(shown), "{}", text(&output));
    assert_eq!(output.status.code(), Some(1));
}

/// `testdata/suite`: `<name>_test.yaml` fails as `<name>.out` says, and is `<name>.updated` after `--update`.
#[test]
fn what_differs_is_shown_and_updated() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/suite");
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(&data).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
    }
    let read = |name: &str| std::fs::read_to_string(data.join(name)).unwrap();
    for name in ["differences", "matchers"] {
        let file = format!("{name}_test.yaml");
        let output = herald(dir.path(), &["test", &file]);
        assert_eq!(text(&output), read(&format!("{name}.out")), "{name}");
        assert_eq!(output.status.code(), Some(1), "{name}");
        herald(dir.path(), &["test", &file, "--update"]);
        let updated = std::fs::read_to_string(dir.path().join(&file)).unwrap();
        assert_eq!(updated, read(&format!("{name}.updated")), "{name}");
        // What was written holds, and is not written again.
        let again = herald(dir.path(), &["test", &file, "--update"]);
        assert!(again.status.success(), "{name}: {}", text(&again));
        assert_eq!(std::fs::read_to_string(dir.path().join(&file)).unwrap(), updated, "{name}");
    }
    let junit = herald(&data, &["test", "differences_test.yaml", "--format", "junit"]);
    assert_eq!(String::from_utf8_lossy(&junit.stdout), read("differences.xml"));
}

#[test]
fn mistakes_in_test_files_are_named_with_their_place() {
    let dir = tempfile::tempdir().unwrap();
    for (source, words) in [
        ("tests: []", "there are no tests"),
        (
            "tests:\n- name: x\n  rolout: {}",
            "line 3, column 3: a test has no `rolout`; did you mean `rollout`?",
        ),
        ("tests:\n- rollout: {}", "a test needs a `name`"),
        ("tests:\n- name: x\n  expect: []", "the first step needs a `rollout`"),
        ("tests:\n- name: x\n  rollout: {}\n  expect: none", "`expect` is a list"),
        ("tests:\n- name: x\n  rollout: {}\n  expect: [{to: a}]", "an expected notice needs a `trigger`"),
        ("tests:\n- name: x\n  steps: [{rollout: {}}]", "expects nothing"),
        ("tests:\n- name: x\n  at: soon\n  rollout: {}", "`soon` is no time"),
        ("tests:\n- name: x\n  rollout: nowhere.yaml\n  expect: []", "nowhere.yaml"),
        ("tests: [", "line 1"),
        (
            "configuration: first.yaml\ntests: [{name: x, rollout: {}, expect: []}]",
            "the configuration of bad_test.yaml is wrong",
        ),
    ] {
        std::fs::write(dir.path().join("bad_test.yaml"), source).unwrap();
        let configuration = "kind: ConfigMap\nmetadata: {name: argo-rollouts-notification-configmap}\n\
                             data: {trigger.x: '- when: ('}";
        std::fs::write(dir.path().join("first.yaml"), configuration).unwrap();
        let output = herald(dir.path(), &["test", "bad_test.yaml"]);
        assert_eq!(output.status.code(), Some(1), "{source}: {}", text(&output));
        assert!(text(&output).contains(words), "{source}: {}", text(&output));
    }
}
