//! What a scrape reads.

// Helpers of tests may fail loudly, too.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, time::Duration};

use herald_web::metrics::{Attempt, Compat, Lifecycle, Metrics};

/// One line of a scrape.
#[derive(Debug, PartialEq)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

#[derive(Debug, Default)]
struct Scrape {
    types: BTreeMap<String, String>,
    samples: Vec<Sample>,
}

impl Scrape {
    fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let mut found = self.samples.iter().filter(|sample| sample.name == name && sample.labels == labels);
        let value = found.next().map(|sample| sample.value);
        assert!(found.next().is_none(), "{name} {labels:?} comes twice");
        value
    }
}

/// Reads the text strictly: every sample belongs to a described family, and its suffix fits the family's type.
fn parse(text: &str) -> Scrape {
    let mut scrape = Scrape::default();
    assert!(text.ends_with("# EOF\n"), "{text}");
    for line in text.lines().filter(|line| *line != "# EOF") {
        if let Some(rest) = line.strip_prefix("# ") {
            let mut words = rest.splitn(3, ' ');
            let (what, name, rest) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
            match what {
                "TYPE" => assert!(scrape.types.insert(name.into(), rest.into()).is_none(), "{name} twice"),
                "UNIT" => assert!(name.ends_with(&format!("_{rest}")), "{line}"),
                "HELP" => {}
                other => panic!("{other}"),
            }
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series
            .split_once('{')
            .map_or((series, ""), |(name, rest)| (name, rest.strip_suffix('}').unwrap()));
        let mut all = BTreeMap::new();
        for label in labels.split("\",").filter(|label| !label.is_empty()) {
            let (key, value) = label.split_once("=\"").unwrap();
            assert!(key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{key}");
            assert!(all.insert(key.to_owned(), value.trim_end_matches('"').to_owned()).is_none());
        }
        let fits = |suffix: &str, kinds: &[&str]| {
            let family = name.strip_suffix(suffix)?;
            kinds.contains(&scrape.types.get(family)?.as_str()).then_some(())
        };
        let known = fits("", &["gauge", "unknown"])
            .or(fits("_total", &["counter"]))
            .or(fits("_info", &["info"]))
            .or(fits("_bucket", &["histogram"]))
            .or(fits("_sum", &["histogram"]))
            .or(fits("_count", &["histogram"]));
        assert!(known.is_some(), "{line} belongs to no family");
        scrape.samples.push(Sample { name: name.into(), labels: all, value: value.parse().unwrap() });
    }
    scrape
}

fn attempt<'a>(trigger: &'a str, lifecycle: Option<Lifecycle<'a>>) -> Attempt<'a> {
    Attempt { namespace: "shop", name: "web", trigger, service: "slack", lifecycle }
}

const COMPLETED: Lifecycle<'static> = Lifecycle { event_type: "Normal", reason: "RolloutCompleted" };
const ABORTED: Lifecycle<'static> = Lifecycle { event_type: "Warning", reason: "RolloutAborted" };

fn full(compat: Option<Compat>) -> Metrics {
    let metrics = Metrics::new("1.2.3", compat);
    let took = Duration::from_millis(200);
    metrics.attempted(&attempt("on-rollout-completed", Some(COMPLETED)), None, took);
    metrics.attempted(&attempt("on-rollout-completed", Some(COMPLETED)), None, took);
    metrics.attempted(&attempt("on-rollout-aborted", Some(ABORTED)), Some("rejected"), took);
    metrics.dead_letter(&attempt("on-rollout-aborted", Some(ABORTED)), "rejected");
    metrics.attempted(&attempt("on-slow", None), None, took);
    metrics.attempted(&attempt("on-slow", None), Some("timed_out"), took);
    metrics.evaluated("on-slow", true);
    metrics.evaluated("on-slow", false);
    metrics.evaluated("on-slow", false);
    metrics.backlog(3, 1.5);
    metrics.dead_letters(1);
    metrics.problems(2);
    metrics.configured("ConfigMap a/b", 2);
    metrics.configured("ConfigMap c/b", 1);
    metrics.configured("ConfigMap c/b", 0);
    metrics.watch_restarted("rollouts");
    metrics.watched("rollouts", 7);
    metrics.lease("herald", true);
    metrics.patched("written");
    metrics.requested("slack", "200", took, 10, 20);
    metrics
}

#[test]
fn the_references_series_have_its_names_and_labels() {
    let metrics = full(Some(Compat::new("argo_rollouts", true)));
    let scrape = parse(&metrics.text());
    let completed =
        [("namespace", "shop"), ("name", "web"), ("type", "Normal"), ("reason", "RolloutCompleted")];
    let aborted = [("namespace", "shop"), ("name", "web"), ("type", "Warning"), ("reason", "RolloutAborted")];
    assert_eq!(scrape.types["notification_send_success"], "unknown");
    assert_eq!(scrape.value("notification_send_success", &completed), Some(2.0));
    assert_eq!(scrape.value("notification_send_error", &completed), None);
    assert_eq!(scrape.value("notification_send_error", &aborted), Some(1.0));
    let object = [("namespace", "shop"), ("name", "web")];
    assert_eq!(scrape.value("notification_send_count", &object), Some(3.0));
    for (edge, count) in
        [("0.01", 0.0), ("0.15", 0.0), ("0.25", 3.0), ("0.5", 3.0), ("1.0", 3.0), ("+Inf", 3.0)]
    {
        let labels = [("le", edge), ("namespace", "shop"), ("name", "web")];
        assert_eq!(scrape.value("notification_send_bucket", &labels), Some(count), "{edge}");
    }
    let delivered = [("trigger", "on-slow"), ("service", "slack"), ("succeeded", "true")];
    assert_eq!(scrape.value("argo_rollouts_notifications_deliveries_total", &delivered), Some(1.0));
    let failed = [("trigger", "on-slow"), ("service", "slack"), ("succeeded", "false")];
    assert_eq!(scrape.value("argo_rollouts_notifications_deliveries_total", &failed), Some(1.0));
    let evaluations = "argo_rollouts_notifications_trigger_eval_total";
    assert_eq!(scrape.value(evaluations, &[("name", "on-slow"), ("triggered", "false")]), Some(2.0));
    let of_engine = scrape.samples.iter().filter(|s| s.name.contains("notifications_deliveries")).count();
    assert_eq!(of_engine, 2, "the lifecycle's are counted by the others");
}

#[test]
fn series_go_with_the_object_that_they_name() {
    let metrics = full(Some(Compat::new("argo_rollouts", true)));
    let other = Attempt { name: "other", ..attempt("on-rollout-completed", Some(COMPLETED)) };
    metrics.attempted(&other, None, Duration::ZERO);
    metrics.deleted("shop", "web");
    let scrape = parse(&metrics.text());
    let named = |name: &str| {
        scrape.samples.iter().filter(|sample| sample.labels.get("name").is_some_and(|n| n == name)).count()
    };
    assert_eq!(named("web"), 0);
    // One counter; the histogram's sum, count and six buckets.
    assert_eq!(named("other"), 1 + 8);
}

#[test]
fn names_of_objects_can_be_left_out_and_the_references_series_too() {
    let scrape = parse(&full(Some(Compat::new("argocd", false))).text());
    let labels = [("namespace", ""), ("name", ""), ("type", "Normal"), ("reason", "RolloutCompleted")];
    assert_eq!(scrape.value("notification_send_success", &labels), Some(2.0));
    assert!(scrape.types.contains_key("argocd_notifications_deliveries"));
    let scrape = parse(&full(None).text());
    assert!(scrape.types.keys().all(|name| name.starts_with("herald_")), "{:?}", scrape.types);
}

#[test]
fn ours_have_no_names_of_objects() {
    let scrape = parse(&full(None).text());
    let delivered =
        [("trigger", "on-rollout-completed"), ("service", "slack"), ("outcome", "delivered"), ("reason", "")];
    let dead = [
        ("trigger", "on-rollout-aborted"),
        ("service", "slack"),
        ("outcome", "dead-letter"),
        ("reason", "rejected"),
    ];
    let http = [("service_type", "slack")];
    for (name, labels, value) in [
        ("herald_build_info", &[("version", "1.2.3")][..], 1.0),
        ("herald_deliveries_total", &delivered, 2.0),
        ("herald_deliveries_total", &dead, 1.0),
        ("herald_delivery_duration_seconds_count", &[("service", "slack")], 5.0),
        ("herald_outbox_pending", &[], 3.0),
        ("herald_outbox_oldest_seconds", &[], 1.5),
        ("herald_outbox_dead", &[], 1.0),
        ("herald_problems", &[], 2.0),
        ("herald_trigger_evaluations_total", &[("trigger", "on-slow"), ("triggered", "true")], 1.0),
        ("herald_config_last_reload_successful", &[], 0.0),
        ("herald_config_reloads_total", &[], 3.0),
        ("herald_config_errors", &[], 2.0),
        ("herald_watch_restarts_total", &[("resource", "rollouts")], 1.0),
        ("herald_watched_objects", &[("resource", "rollouts")], 7.0),
        ("herald_lease_held", &[("lease", "herald")], 1.0),
        ("herald_annotation_patches_total", &[("outcome", "written")], 1.0),
        ("herald_http_client_requests_total", &[("service_type", "slack"), ("code", "200")], 1.0),
        ("herald_http_client_request_duration_seconds_count", &http, 1.0),
        ("herald_http_client_sent_bytes_total", &http, 10.0),
        ("herald_http_client_received_bytes_total", &http, 20.0),
    ] {
        assert_eq!(scrape.value(name, labels), Some(value), "{name} {labels:?}");
    }
    assert!(!scrape.samples.iter().any(|sample| sample.labels.values().any(|value| value == "web")));
}
