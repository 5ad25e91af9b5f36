//! Alerts and the dashboard name series that `src/metrics.rs` serves, with the suffix of their kind.

// Helpers of tests may fail loudly, too.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

fn read(path: &str) -> String {
    std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The names that a scrape has: those of the registrations, with what the kind of the field adds.
fn served() -> BTreeSet<String> {
    let source = read("src/metrics.rs");
    let fields = source.split_once("pub struct Metrics {").unwrap().1.split_once("\n}").unwrap().0;
    let mut all = BTreeSet::new();
    for registration in source.split("all.register").skip(1) {
        let registration = registration.split(");").next().unwrap();
        let name = registration.split('"').nth(1).unwrap();
        let unit = match (registration.contains("Unit::Seconds"), registration.contains("Unit::Bytes")) {
            (true, _) => "_seconds",
            (_, true) => "_bytes",
            _ => "",
        };
        let kind = match registration.split_once("self.") {
            Some((_, rest)) => {
                let field = rest.split('.').next().unwrap();
                let declared = format!("    {field}: ");
                fields.split_once(&declared).unwrap().1.split('\n').next().unwrap()
            }
            None => "Info",
        };
        let suffixes: &[&str] = match kind {
            kind if kind.contains("Counter") => &["_total"],
            kind if kind.contains("Durations") => &["_bucket", "_sum", "_count"],
            "Info" => &["_info"],
            _ => &[""],
        };
        all.extend(suffixes.iter().map(|suffix| format!("herald_{name}{unit}{suffix}")));
    }
    all
}

fn named(text: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c: char| !word(c));
    words.filter(|word| word.starts_with("herald_")).map(str::to_owned).collect()
}

#[test]
fn what_is_alerted_on_and_drawn_is_served() {
    let served = served();
    assert!(served.contains("herald_deliveries_total"), "{served:?}");
    for file in ["chart/herald/rules.yaml", "components/monitoring/dashboard.json", "rules-test.yaml"] {
        let named = named(&read(&format!("../../deploy/{file}")));
        assert!(named.len() >= 5, "{file} names only {named:?}");
        let unknown: Vec<_> = named.difference(&served).collect();
        assert!(unknown.is_empty(), "deploy/{file} names series that nobody serves: {unknown:?}");
    }
}

#[test]
fn every_series_is_on_the_page() {
    let page = read("../../docs/metrics.md");
    let page = named(&page);
    for name in served() {
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        let name = family.unwrap_or(&name);
        assert!(page.contains(name), "docs/metrics.md says nothing about {name}");
    }
}
