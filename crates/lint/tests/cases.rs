//! Runs the cases of `conformance/lint`: one folder for each mistake, with the findings that it must give as a person
//! sees them, and forms that are valid. `UPDATE=1` writes what is found.

// Helpers of tests may fail loudly, too.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use herald_core::diagnostic::{Severity, codes};
use herald_lint::{Options, format, lint, pages};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn folders(under: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(root().join(under))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    found.sort();
    found
}

fn manifests(dir: &Path) -> Vec<(String, String)> {
    let mut paths: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let manifest =
        |path: &&PathBuf| path.extension().is_some_and(|ext| ["yaml", "json"].iter().any(|e| ext == *e));
    let read = |path: &PathBuf| {
        (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read_to_string(path).unwrap())
    };
    paths.iter().filter(manifest).map(read).collect()
}

#[test]
fn mistakes() {
    let folders = folders("conformance/lint");
    assert!(folders.len() >= 60, "{} cases", folders.len());
    // A new service changes no case.
    let registry = herald_services::Registry::standard();
    let types: Vec<&str> = registry.names().filter(|name| *name != "console").collect();
    let types = types.join(", ");
    let mut wrong = Vec::new();
    for dir in &folders {
        let name = dir.file_name().unwrap().to_string_lossy().into_owned();
        // A case about the reference's behaviour says so by its name.
        let options = Options { compat: name.starts_with("compat-"), ..Options::default() };
        let found = format::text(&lint(&manifests(dir), &options)).replace(&types, "<every type>");
        let golden = dir.join("findings.txt");
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&golden, &found).unwrap();
        }
        let wanted = fs::read_to_string(&golden).unwrap_or_default();
        if wanted != found || found.is_empty() {
            wrong.push(format!("=== {name}\n--- wanted\n{wanted}--- found\n{found}"));
        }
    }
    assert!(wrong.is_empty(), "{}\n{} of {} cases", wrong.join("\n"), wrong.len(), folders.len());
}

#[test]
fn every_code_has_a_page_and_each_page_an_example_that_gives_it() {
    let all: Vec<&str> = codes::ALL.iter().map(|(code, _)| *code).collect();
    let with_page: Vec<&str> = pages::ALL.iter().map(|(code, _)| *code).collect();
    assert_eq!(all, with_page);
    let files = fs::read_dir(root().join("docs/diagnostics")).unwrap().count();
    assert_eq!(files, all.len(), "pages without a code");
    for (code, page) in pages::ALL {
        assert!(page.starts_with(&format!("# {code}: ")), "{code}");
        let example = pages::example(page).unwrap_or_else(|| panic!("{code} has no example"));
        let report = lint(
            &[("example.yaml".into(), example.into())],
            &Options { compat: *code == codes::COMPAT, ..Options::default() },
        );
        assert!(report.findings.iter().any(|f| f.code == *code), "{code}: {:#?}", report.findings);
    }
}

#[test]
fn every_code_is_in_a_case() {
    let golden: String = folders("conformance/lint")
        .iter()
        .map(|dir| fs::read_to_string(dir.join("findings.txt")).unwrap_or_default())
        .collect();
    for (code, about) in codes::ALL {
        assert!(golden.contains(&format!("[{code}]")), "no case gives {code}: {about}");
    }
}

/// Notes are no complaint; everything else is.
fn complaints(files: &[(String, String)]) -> String {
    let mut report = lint(files, &Options::default());
    report.findings.retain(|finding| finding.severity != Severity::Note);
    format::text(&report)
}

#[test]
fn valid_forms_give_nothing() {
    let mut wrong = String::new();
    for entry in fs::read_dir(root().join("conformance/lint-valid")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        wrong.push_str(&complaints(&[(name, fs::read_to_string(&path).unwrap())]));
    }
    wrong.push_str(&complaints(&manifests(&root().join("examples/quickstart"))));
    assert_eq!(wrong, "");
}

#[test]
fn the_published_form_and_the_catalogue_give_nothing() {
    let text = fs::read_to_string(root().join("conformance/engine/published-form.yaml")).unwrap();
    let case = herald_core::yaml::parse(&text).unwrap().to_json();
    let mut configmap = serde_json::json!({"kind": "ConfigMap", "apiVersion": "v1",
        "metadata": {"name": "argo-rollouts-notification-configmap"}, "data": case["configmap"]});
    assert_eq!(complaints(&[("published.json".into(), format!("{configmap:#}"))]), "");
    configmap["data"] = serde_json::to_value(herald_core::catalog::data()).unwrap();
    assert_eq!(complaints(&[("catalog.json".into(), format!("{configmap:#}"))]), "");
}

#[test]
fn garbage_is_answered_soon() {
    let started = std::time::Instant::now();
    // The first are about a megabyte; the others, which hold thousands of real mistakes, as much as a debug build can read
    // in seconds. Twice as many take twice as long: it was measured with 7,500 and 15,000 triggers.
    let mut texts = vec![
        "{{".repeat(500_000),
        "[".repeat(1 << 20),
        "- ".repeat(500_000),
        "\u{0}\u{1}\u{ff}".repeat(200_000),
        "a: b: c: d\n".repeat(100_000),
        "&a [*a, *a]\n".repeat(80_000),
        "\"\\".repeat(500_000),
        "x: |\n".repeat(60_000),
    ];
    let head = "kind: ConfigMap\nmetadata: {name: argo-rollouts-notification-configmap}\ndata:\n";
    texts.push(format!("{head}{}", "  trigger.a: |\n    - when: x\n".repeat(10_000)));
    texts.push(format!("{head}  template.a: |\n{}", "    message: '{{.rollout.x.y}}'\n".repeat(8_000)));
    texts.push(format!("{head}  template.a: |\n    message: '{}'\n", "{{.rollout.nope}}".repeat(10_000)));
    texts.push(format!("{head}  template.a: |\n    message: \"{}\"\n", "{{.app.nope}}\\n".repeat(10_000)));
    texts.push(format!(
        "{head}  trigger.a: |\n    - when: {}\n      send: [x]\n",
        "a.b == 1 and ".repeat(80_000)
    ));
    texts.push(format!(
        "{head}  subscriptions: |\n{}",
        "    - recipients: [slack:x]\n      triggers: [y]\n".repeat(6_000)
    ));
    texts.push(format!(
        "{head}{}",
        (0..6_000).map(|n| format!("  trigger.t{n}: '- send: [x{n}]'\n")).collect::<String>()
    ));
    for text in &texts {
        let one = std::time::Instant::now();
        let report =
            lint(&[("garbage".into(), text.clone())], &Options { compat: true, ..Options::default() });
        let shown = format::text(&report);
        // A debug build is an order of magnitude slower than what people run.
        assert!(one.elapsed().as_secs() < 30, "{:?} for {:?}…", one.elapsed(), &text[..60]);
        assert!(shown.len() < 4 << 20, "{} bytes of findings", shown.len());
        eprintln!(
            "{:?} {} findings: {:?}…",
            one.elapsed(),
            report.findings.len(),
            &text.chars().take(40).collect::<String>()
        );
    }
    eprintln!("{:?}", started.elapsed());
}

#[test]
fn formats_are_well_formed() {
    let files =
        [("a,b:c.yaml".to_owned(), pages::example(pages::page("HD024").unwrap()).unwrap().to_owned())];
    let report = lint(&files, &Options::default());
    let json: serde_json::Value = serde_json::from_str(&format::json(&report)).unwrap();
    assert_eq!(json["findings"][0]["code"], "HD024");
    assert_eq!(json["counts"]["error"], 1);
    let sarif: serde_json::Value = serde_json::from_str(&format::sarif(&report)).unwrap();
    let result = &sarif["runs"][0]["results"][0];
    assert_eq!(result["ruleId"], "HD024");
    assert_eq!(result["locations"][0]["physicalLocation"]["region"]["startLine"], 7);
    assert!(format::github(&report).starts_with("::error file=a%2Cb%3Ac.yaml,line=7,col="));
    let junit = format::junit(&report, &files);
    assert!(junit.contains("failures=\"1\"") && junit.contains("<failure message=\"HD024: "), "{junit}");
}

/// What `docs/other-kinds.md` shows: the kind that is named is known, and nothing else.
#[test]
fn kinds_beside_rollouts_are_known_where_they_are_named() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/other-kinds.md");
    let page = std::fs::read_to_string(page).unwrap();
    let shown = page.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let secret = "---\nkind: Secret\nmetadata: {name: argo-rollouts-notification-secret}\nstringData: {slack-token: x}\n";
    let told = |kinds: &[&str]| -> Vec<&str> {
        let kinds = kinds.iter().map(|kind| (*kind).to_owned()).collect();
        let files = [("shown".to_owned(), format!("{shown}{secret}"))];
        lint(&files, &Options { kinds, ..Options::default() })
            .findings
            .iter()
            .map(|found| found.code)
            .collect()
    };
    assert_eq!(told(&["deployment"]), [""; 0]);
    assert!(told(&["application"]).contains(&codes::UNKNOWN_VARIABLE));
}
