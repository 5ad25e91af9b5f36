//! `docs/triggers.md` says what `lifecycle::reasons` and the catalog say. To write it anew:
//! `HERALD_WRITE_DOCS=1 cargo test -p herald-core --test triggers_page`.

#![allow(clippy::unwrap_used)]

use std::{fmt::Write as _, fs};

use herald_core::{
    catalog,
    lifecycle::reasons::{COMMON_FACTS, Origin, REASONS, Reason},
};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/triggers.md");

const TOP: &str = "# Triggers

Every trigger on this page works by its name alone: subscribe to it, and nothing needs to be configured.

```yaml
metadata:
  annotations:
    notifications.argoproj.io/subscribe.on-rollout-completed.slack: my-channel
```

**Once per occurrence.** A trigger fires for something that happened: revision 7 was completed, step 2 of 5 was
finished. Herald derives it from the objects in the cluster, gives it an id that stays the same whoever looks and
when, and tells it once to each recipient: not again after a restart, and later if Herald was away when it happened.
What was already there when Herald first saw the cluster is not told. A `oncePer` of your own replaces the id.

**What conditions and templates see:**

- `.rollout`: for most triggers the object as it was just *before* the change, as in Argo Rollouts. So at
  `on-rollout-step-completed` for step 2 `.rollout.status.currentStepIndex` is 1, at `on-rollout-paused` the phase is
  still `Progressing`, and at `on-rollout-completed` `.rollout.status.stableRS` is the version before. At
  `on-rollout-updated` and `on-new-replica-set-created` the specification is the new one and the status the old one.
  Triggers that are Herald's own about a state (healthy, degraded, invalid, weight, restart) see the object as it is.
- `.event`: what happened. `.event.reason`, `.event.type` (`Normal` or `Warning`), `.event.message`, `.event.time`
  (may be missing), `.event.id`, and `.event.facts` with the facts listed below. FACTS
- `.trigger`: the trigger's name. `.previous` and `.diff`: the object at the last look, and what changed since
  (images, weights, steps, revision, phase), where that is known.
- `.analysisRuns`: the AnalysisRuns of the present version and revision, newest first.

*Since* names the version of Argo Rollouts from which on it sends the same; 1.6 stands for 1.6 or older. Herald
needs no particular version.

";

fn row(reason: &Reason, since: bool) -> String {
    let facts: Vec<String> = reason.facts.iter().map(|fact| format!("`{fact}`")).collect();
    let since = if since { format!(" {} |", reason.since) } else { String::new() };
    let often = if reason.often.is_empty() { String::new() } else { format!(" {} |", reason.often) };
    let kind = reason.event_type.as_str();
    format!("| `{}` | {} |{often} {kind} |{since} {} |\n", reason.trigger, reason.about, facts.join(", "))
}

fn table(title: &str, text: &str, head: &str, origin: Origin, since: bool) -> String {
    let columns = head.matches('|').count() - 1;
    let mut table = format!("## {title}\n\n{text}\n\n{head}\n|{}\n", "---|".repeat(columns));
    for reason in REASONS.iter().filter(|reason| reason.origin == origin) {
        table.push_str(&row(reason, since));
    }
    table.push('\n');
    table
}

fn page() -> String {
    let common: Vec<String> = COMMON_FACTS.iter().map(|fact| format!("`{fact}`")).collect();
    let common = format!("Every event may have {} as well.", common.join(", "));
    let mut page = TOP.replace("FACTS", &common);
    page += &table(
        "As in Argo Rollouts",
        "The same names and the same moments. Herald sees them in the objects.",
        "| trigger | when | how often, and when not | type | since | facts |",
        Origin::Derived,
        true,
    );
    page += &table(
        "Herald's own",
        "Argo Rollouts sends none of these.",
        "| trigger | when | how often, and when not | type | facts |",
        Origin::Ours,
        false,
    );
    page.push_str(
        "## Herald's own, about time\n\nThese are conditions of the built-in configuration (`herald catalog`) with a \
         `for`. A trigger of the same name in your ConfigMap replaces them.\n\n| trigger | when | holds for |\n\
         |---|---|---|\n",
    );
    for (trigger, description, hold) in catalog::state_triggers() {
        let _ = writeln!(page, "| `{trigger}` | {description} | {hold} |");
    }
    page.push('\n');
    page += &table(
        "From Kubernetes Events alone",
        "No object shows these, so Herald reads the Events of Argo Rollouts. Its client drops Events beyond 25 for one \
         rollout, and then one may be missing. Argo Rollouts sends one for each try. Here the same reason and text is \
         told once, and again only after it was silent for ten minutes (one minute for what is no error; half an hour \
         for `on-canary-mapping-weight-update` and `on-target-group-verified`, which come whenever the controller looks).",
        "| trigger | when | type | since | facts |",
        Origin::EventOnly,
        true,
    );
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

#[test]
fn the_page_is_up_to_date() {
    if std::env::var_os("HERALD_WRITE_DOCS").is_some() {
        fs::write(PATH, page()).unwrap();
    }
    let written = fs::read_to_string(PATH).unwrap();
    assert!(written == page(), "docs/triggers.md is not up to date; see the top of {}", file!());
}
