//! What stays in force where a new configuration is broken (design: configuration is swapped whole, what was good
//! stays in force where the new one is broken).

#![allow(clippy::unwrap_used)] // a test that cannot go on says where

use std::{collections::BTreeMap, sync::Arc};

use herald_core::{
    config::{Config, ConfigInput},
    notification::{Section, ServiceTypes},
    yaml::{Node, YamlError},
};
use herald_value::limits::Limits;

struct Types;

impl ServiceTypes for Types {
    fn knows(&self, service_type: &str) -> bool {
        ["slack", "webhook"].contains(&service_type)
    }
    fn has_section(&self, _: &str) -> bool {
        false
    }
    fn parse_section(&self, _: &str, node: &Node) -> Result<Arc<dyn Section>, YamlError> {
        Err(YamlError { message: "no sections here".into(), at: node.at })
    }
    fn check_options(&self, _: &str, options: &Node) -> Result<(), YamlError> {
        match options.entries().iter().any(|(key, ..)| key == "token") {
            true => Ok(()),
            false => Err(YamlError { message: "a token is missing".into(), at: options.at }),
        }
    }
}

const BASE: [(&str, &str); 2] = [
    ("template.built-in", "message: built in"),
    ("trigger.on-built-in", "- {when: 'true', send: [built-in]}"),
];

const GOOD: [(&str, &str); 6] = [
    ("service.slack", "token: one"),
    ("template.t", "message: good"),
    ("trigger.on-x", "[{when: 'true', send: [t]}, {when: 'false', send: [t]}]"),
    ("subscriptions", "[{recipients: [slack:ops]}]"),
    ("defaultTriggers", "[on-x]"),
    ("defaultTriggers.slack", "[on-x, on-built-in]"),
];

/// Each key as it may be broken.
const BROKEN: [(&str, &str); 6] = [
    ("service.slack", "tokn: two"),
    ("template.t", "message: '{{.x'"),
    ("trigger.on-x", "[{when: '1 +', send: [t]}, {when: '1 == 2', send: [t]}]"),
    ("subscriptions", "[{recipients: [slack:dev], selector: 'a in ('}, {recipients: [slack:other]}]"),
    ("defaultTriggers", "[on-x"),
    ("defaultTriggers.slack", "{on-x: true}"),
];

fn data(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect()
}

fn load(entries: &[(&str, &str)]) -> Config {
    let input = ConfigInput { data: data(entries), base: data(&BASE), ..ConfigInput::default() };
    Config::load(&input, &Types, Limits::DEFAULT).0
}

/// What a configuration does, for comparison.
fn shown(config: &Config) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    all.extend(config.services().map(|s| format!("service {} {}", s.name, s.options.to_json())));
    all.extend(config.templates().map(|t| format!("template {} {}", t.name, t.source)));
    all.extend(config.triggers().map(|t| {
        let when = t.conditions.iter().map(|c| c.when.as_ref().map_or("", |when| &*when.source));
        format!("trigger {} {:?}", t.name, when.collect::<Vec<_>>())
    }));
    all.extend(config.subscriptions().iter().map(|s| format!("subscription {:?}", s.destinations)));
    all.push(format!("defaults {:?}", config.global_default_triggers()));
    all.push(format!("defaults of slack {:?}", config.default_triggers("slack")));
    all
}

fn with(broken: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    let is_broken = |key: &str| broken.iter().any(|(other, _)| *other == key);
    GOOD.iter().filter(|(key, _)| !is_broken(key)).chain(broken).copied().collect()
}

#[test]
fn every_kind_of_entry_stays_good() {
    let good = load(&GOOD);
    assert_eq!(good.broken_keys().count(), 0);
    for entry in BROKEN {
        let broken = load(&with(&[entry]));
        assert_eq!(broken.broken_keys().collect::<Vec<_>>(), [entry.0]);
        assert_ne!(shown(&broken), shown(&good), "{}", entry.0);
        let kept = broken.keeping_good_of(&good);
        assert_eq!(shown(&kept), shown(&good), "{}", entry.0);
        assert_eq!(kept.kept_keys().collect::<Vec<_>>(), [entry.0]);
        // Broken again, in whatever way: the good one is still the last good one.
        let again = load(&with(&[(entry.0, "[")])).keeping_good_of(&kept);
        assert_eq!(shown(&again), shown(&good), "{}", entry.0);
        // Repaired: the new one counts.
        let repaired = load(&GOOD).keeping_good_of(&again);
        assert_eq!((shown(&repaired), repaired.kept_keys().count()), (shown(&good), 0));
    }
    let all = load(&BROKEN).keeping_good_of(&good);
    assert_eq!(shown(&all), shown(&good));
}

#[test]
fn what_never_was_good_is_not_kept() {
    let first = load(&[]);
    for entry in BROKEN {
        let broken = load(&with(&[entry]));
        let alone = shown(&broken);
        // The good parts of a first configuration are not hidden by what was before it.
        assert_eq!(shown(&broken.clone().keeping_good_of(&first)), alone, "{}", entry.0);
        assert_eq!(shown(&broken.clone().keeping_good_of(&broken)), alone, "{}", entry.0);
    }
}

#[test]
fn a_removed_entry_is_gone() {
    let good = load(&GOOD);
    for (key, _) in GOOD {
        let less: Vec<_> =
            GOOD.into_iter().filter(|(other, _)| *other != key).chain([("template.bad", "[")]).collect();
        let kept = load(&less).keeping_good_of(&good);
        assert_ne!(shown(&kept), shown(&good), "{key}");
        assert_eq!(shown(&kept), shown(&load(&less)), "{key}");
    }
}

#[test]
fn the_built_in_entry_stands_in_only_for_nothing() {
    let before = load(&GOOD);
    for entry in [("template.built-in", "message: '{{'"), ("trigger.on-built-in", "- {when: '1 +'}")] {
        let mut entries = GOOD.to_vec();
        entries.push(entry);
        assert_eq!(shown(&load(&entries).keeping_good_of(&before)), shown(&before), "{}", entry.0);
    }
    let mut entries = GOOD.to_vec();
    entries.push(("trigger.on-built-in", "[{when: '1 +', send: [t]}, {when: '2 == 3', send: [t]}]"));
    let kept = load(&entries).keeping_good_of(&before);
    let trigger = kept.trigger("on-built-in").unwrap();
    assert_eq!(&*trigger.conditions[0].when.as_ref().unwrap().source, "2 == 3");
}
