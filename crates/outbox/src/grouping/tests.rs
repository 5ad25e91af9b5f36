//! Groups on a virtual clock: expected times are counted by hand from the words of the rules.

use std::time::Duration;

use super::*;
use crate::ServicePolicy;

fn at(second: i64) -> Timestamp {
    // 2026-11-23T00:00:00Z, a Monday.
    Timestamp::from_second(1_795_392_000 + second).unwrap()
}

fn queued(place: Place, created: i64, object: &str, trigger: &str) -> Queued {
    let (namespace, name) = object.split_once('/').unwrap();
    let object = ObjectRef {
        namespace: namespace.into(),
        kind: "Rollout".into(),
        name: name.into(),
        uid: String::new(),
    };
    Queued {
        place,
        id: format!("n{place}"),
        trigger: trigger.into(),
        lane: LaneKey::new(&object, "slack", "deploys"),
        created: at(created),
        due: at(created),
        attempts: 0,
        waited: Duration::ZERO,
    }
}

fn policies(rules: &str) -> Policies {
    let grouping: Arc<Grouping> = Arc::new(serde_json::from_str(rules).unwrap());
    Arc::new(move |_: &str| ServicePolicy { grouping: Some(grouping.clone()), ..ServicePolicy::default() })
}

fn grouper(rules: &str) -> Grouper {
    Grouper::new(policies(rules))
}

fn wait(second: i64) -> GroupStep {
    GroupStep::Wait(Some(at(second)))
}

fn flush(step: GroupStep) -> Flush {
    match step {
        GroupStep::Flush(flush) => flush,
        other => panic!("no flush but {other:?}"),
    }
}

fn places(flush: &Flush) -> Vec<Place> {
    flush.members.iter().map(|queued| queued.place).collect()
}

/// As the digest comes back from the store and is delivered.
fn deliver(grouper: &mut Grouper, flush: &Flush, second: i64) {
    grouper.flushed(flush, None, at(second));
    let mut digest = queued(1000, second, "x/y", "digest");
    digest.id.clone_from(&flush.id);
    digest.lane = flush.group.clone();
    assert!(matches!(grouper.admit(digest.clone(), at(second)), Admitted::Pass(_)));
    grouper.settled(&digest, at(second));
}

const RULE: &str =
    r#"[{"groupBy": ["namespace", "trigger"], "groupWait": "30s", "groupInterval": "5m", "maxSize": 4}]"#;

#[test]
fn wait_then_interval_then_a_new_group() {
    let mut grouper = grouper(RULE);
    assert_eq!(grouper.next(at(0)), GroupStep::Wait(None));
    for (place, second) in [(1, 0), (2, 10), (3, 29)] {
        assert!(matches!(
            grouper.admit(queued(place, second, "prod/web", "t"), at(second)),
            Admitted::Held(_)
        ));
    }
    assert_eq!(grouper.next(at(29)), wait(30));
    let first = flush(grouper.next(at(30)));
    assert_eq!(places(&first), [1, 2, 3]);
    assert_eq!((first.next, first.due_after), (Some(at(330)), at(30)));
    assert_eq!(first.object.name, "group-0/t");
    assert_eq!(first.object.namespace, "prod");
    deliver(&mut grouper, &first, 31);
    // Within the interval it collects, from any object of the group.
    assert!(matches!(grouper.admit(queued(4, 40, "prod/api", "t"), at(40)), Admitted::Held(_)));
    assert_eq!(grouper.next(at(100)), wait(330));
    let second = flush(grouper.next(at(330)));
    assert_eq!((places(&second), second.next), (vec![4], Some(at(630))));
    deliver(&mut grouper, &second, 331);
    // Nothing more within the interval: the group is over, the next one waits anew.
    assert_eq!(grouper.next(at(630)), GroupStep::Forget(second.group));
    assert_eq!(grouper.next(at(630)), GroupStep::Wait(None));
    assert!(matches!(grouper.admit(queued(5, 700, "prod/web", "t"), at(700)), Admitted::Held(_)));
    assert_eq!(grouper.next(at(700)), wait(730));
}

#[test]
fn groups_by_what_was_said_only() {
    let mut grouper = grouper(RULE);
    let all = [(1, "prod/web", "t"), (2, "prod/api", "t"), (3, "test/web", "t"), (4, "prod/web", "u")];
    for (place, object, trigger) in all {
        assert!(matches!(grouper.admit(queued(place, 0, object, trigger), at(0)), Admitted::Held(_)));
    }
    let mut found: Vec<_> = (0..3).map(|_| places(&flush(grouper.next(at(30))))).collect();
    found.sort();
    assert_eq!(found, [vec![1, 2], vec![3], vec![4]]);
}

#[test]
fn a_full_group_goes_at_once_and_what_waited_long_enough_too() {
    let mut grouper = grouper(RULE);
    for place in 1..=9 {
        assert!(matches!(grouper.admit(queued(place, 0, "prod/web", "t"), at(0)), Admitted::Held(_)));
    }
    let mut sizes = Vec::new();
    for _ in 0..2 {
        let full = flush(grouper.next(at(0)));
        sizes.push(places(&full));
        grouper.flushed(&full, None, at(0));
    }
    assert_eq!(sizes, [vec![1, 2, 3, 4], vec![5, 6, 7, 8]]);
    // The ninth waits for both digests, so that it can't overtake them.
    assert_eq!(grouper.next(at(299)), wait(300));
    assert_eq!(grouper.next(at(1000)), GroupStep::Wait(None));

    // After a restart: it became due long ago, so it has waited enough.
    let mut grouper = self::grouper(RULE);
    assert!(matches!(grouper.admit(queued(1, 0, "prod/web", "t"), at(500)), Admitted::Held(_)));
    assert_eq!(places(&flush(grouper.next(at(500)))), [1]);
    // But not if the earlier process delivered the group just before.
    let mut grouper = self::grouper(RULE);
    let group = flush({
        let mut earlier = self::grouper(RULE);
        earlier.admit(queued(1, 0, "prod/web", "t"), at(30));
        earlier.next(at(30))
    })
    .group;
    grouper.collecting([(group.clone(), at(330)), (LaneKey::from_stored("old".into()), at(1))].into_iter());
    assert_eq!(grouper.next(at(40)), GroupStep::Forget(LaneKey::from_stored("old".into())));
    assert!(matches!(grouper.admit(queued(2, 35, "prod/web", "t"), at(40)), Admitted::Held(_)));
    assert_eq!(grouper.next(at(40)), wait(330));
    assert_eq!(flush(grouper.next(at(330))).group, group);
}

#[test]
fn nothing_overtakes_what_was_flushed_before() {
    let mut grouper = grouper(RULE);
    let first = queued(1, 0, "prod/web", "t");
    grouper.admit(first.clone(), at(0));
    let alone = flush(grouper.next(at(30)));
    // One notice is no digest: it is released as it is.
    grouper.flushed(&alone, Some(std::slice::from_ref(&first)), at(30));
    grouper.admit(queued(2, 40, "prod/web", "t"), at(40));
    assert!(matches!(grouper.admit(first.clone(), at(40)), Admitted::Held(_)), "read again from the store");
    assert_eq!(grouper.next(at(330)), GroupStep::Wait(None), "the first is not delivered yet");
    assert_eq!(grouper.next(at(5000)), GroupStep::Wait(None));
    grouper.settled(&first, at(5000));
    assert_eq!(places(&flush(grouper.next(at(5000)))), [2]);

    // What failed before a restart is not grouped again, and is waited for as well.
    let mut grouper = self::grouper(RULE);
    let failed = Queued { attempts: 2, ..first };
    assert_eq!(grouper.admit(failed.clone(), at(50)), Admitted::Pass(failed.clone()));
    grouper.admit(queued(2, 0, "prod/web", "t"), at(50));
    assert_eq!(grouper.next(at(50)), GroupStep::Wait(None));
    grouper.settled(&failed, at(60));
    assert_eq!(places(&flush(grouper.next(at(60)))), [2]);
}

/// Muted from 22:00 to 06:00 UTC.
fn night(more: &str) -> String {
    format!(
        r#"[{{"muteTimes": [{{"name": "night", "times": [{{"startTime": "22:00", "endTime": "06:00"}}]}}]{more}}}]"#
    )
}

const HOUR: i64 = 3600;

#[test]
fn a_muted_night_ends_with_one_digest() {
    let mut grouper = grouper(&night(""));
    let day = queued(1, 21 * HOUR, "prod/web", "t");
    assert_eq!(grouper.admit(day.clone(), at(21 * HOUR)), Admitted::Pass(day), "no grouping by day");
    for place in 2..=5 {
        let now = (21 + place) * HOUR;
        assert!(matches!(grouper.admit(queued(place, now, "prod/web", "t"), at(now)), Admitted::Held(_)));
        assert_eq!(grouper.next(at(now)), wait(30 * HOUR));
    }
    let morning = flush(grouper.next(at(30 * HOUR)));
    assert_eq!((places(&morning), morning.next), (vec![2, 3, 4, 5], None));
    // What comes before the digest went out joins it behind.
    assert!(matches!(grouper.admit(queued(6, 30 * HOUR, "prod/web", "t"), at(30 * HOUR)), Admitted::Held(_)));
    deliver(&mut grouper, &morning, 30 * HOUR + 5);
    let after = flush(grouper.next(at(30 * HOUR + 5)));
    assert_eq!(places(&after), [6]);
    deliver(&mut grouper, &after, 30 * HOUR + 6);
    let next = queued(7, 31 * HOUR, "prod/web", "t");
    assert_eq!(grouper.admit(next.clone(), at(31 * HOUR)), Admitted::Pass(next));
    assert_eq!(grouper.next(at(32 * HOUR)), GroupStep::Wait(None));
}

#[test]
fn muted_may_mean_dropped() {
    let mut grouper = grouper(&night(r#", "muted": "drop""#));
    let late = queued(1, 23 * HOUR, "prod/web", "t");
    assert_eq!(grouper.admit(late.clone(), at(23 * HOUR)), Admitted::Mute(late, "night".into()));
    // Grouped and held before the night began, due in it.
    let mut grouper = self::grouper(&night(r#", "muted": "drop", "groupWait": "2m""#));
    grouper.admit(queued(1, 22 * HOUR - 60, "prod/web", "t"), at(22 * HOUR - 60));
    match grouper.next(at(22 * HOUR + 60)) {
        GroupStep::Mute(members, by) => assert_eq!((members.len(), by.as_str()), (1, "night")),
        other => panic!("{other:?}"),
    }
    assert_eq!(grouper.next(at(40 * HOUR)), GroupStep::Wait(None));
}

#[test]
fn a_long_night_is_folded_before_memory_is() {
    let mut grouper = grouper(&night(r#", "maxSize": 10"#));
    for place in 1..=25 {
        grouper.admit(queued(place, 23 * HOUR, "prod/web", "t"), at(23 * HOUR));
        while let GroupStep::Flush(full) = grouper.next(at(23 * HOUR)) {
            assert_eq!(full.members.len(), 10);
            assert_eq!(full.due_after, at(30 * HOUR), "folded now, delivered in the morning");
            deliver(&mut grouper, &full, 23 * HOUR);
        }
    }
    let rest = flush(grouper.next(at(30 * HOUR)));
    assert_eq!(places(&rest), [21, 22, 23, 24, 25]);
}

#[test]
fn rules_fit_by_trigger_and_recipient_and_change_while_it_runs() {
    let mut grouper = grouper(r#"[{"triggers": ["t"], "recipients": ["deploys"], "groupWait": "1m"}]"#);
    let other = queued(1, 0, "prod/web", "u");
    assert_eq!(grouper.admit(other.clone(), at(0)), Admitted::Pass(other));
    for place in [3, 2] {
        assert!(matches!(grouper.admit(queued(place, 0, "prod/web", "t"), at(0)), Admitted::Held(_)));
    }
    let again = grouper.set_policies(policies(r#"[{"triggers": ["u"]}]"#));
    assert_eq!(again.iter().map(|queued| queued.place).collect::<Vec<_>>(), [2, 3]);
    for queued in again {
        assert!(matches!(grouper.admit(queued, at(1)), Admitted::Pass(_)));
    }
    assert_eq!(grouper.next(at(10_000)), GroupStep::Wait(None));
}

#[test]
fn a_clock_that_was_ahead_delays_nothing() {
    let mut grouper = grouper(RULE);
    let mut ahead = queued(1, 86_400, "prod/web", "t");
    ahead.due = at(0);
    grouper.admit(ahead, at(0));
    assert_eq!(grouper.next(at(0)), wait(30));
    let first = flush(grouper.next(at(30)));
    deliver(&mut grouper, &first, 30);
    // Then the clock goes back by a day: the interval is counted from there.
    grouper.admit(queued(2, -86_000, "prod/web", "t"), at(-86_000));
    assert_eq!(grouper.next(at(-86_000)), wait(-85_700));
}
