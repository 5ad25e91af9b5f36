use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use kube::core::Status;

use super::*;

type Answer = Result<(), PatchError>;

/// Objects and what is written to them.
#[derive(Default)]
struct Cluster {
    answers: Mutex<Vec<Answer>>,
    patches: Mutex<Vec<(String, Annotations)>>,
    open: AtomicUsize,
    most: AtomicUsize,
    /// A patch takes so long.
    slow: Duration,
    /// Or so many milliseconds from now on.
    slow_now: AtomicU64,
}

#[async_trait]
impl AnnotationWriter for Cluster {
    async fn patch(&self, target: &Target, annotations: &Annotations) -> Answer {
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(open, Ordering::Relaxed);
        self.patches.lock().unwrap().push((target.name.clone(), annotations.clone()));
        let slow = match self.slow_now.load(Ordering::Relaxed) {
            0 => self.slow,
            millis => Duration::from_millis(millis),
        };
        tokio::time::sleep(slow).await;
        self.open.fetch_sub(1, Ordering::Relaxed);
        self.answers.lock().unwrap().pop().unwrap_or(Ok(()))
    }
}

fn target(name: &str) -> Target {
    Target {
        resource: Arc::new(Resource::new("argoproj.io", "v1alpha1", "rollouts", "Rollout")),
        namespace: "shop".into(),
        name: name.into(),
        uid: format!("uid-{name}"),
    }
}

fn text(value: &str) -> Option<String> {
    Some(value.to_owned())
}

fn temporary(retry_after: Option<u64>) -> Answer {
    let retry_after = retry_after.map(Duration::from_secs);
    Err(PatchError::Temporary { message: "busy".into(), retry_after })
}

#[tokio::test(start_paused = true)]
async fn what_nobody_waits_for_goes_behind_and_a_few_at_a_time() {
    let cluster = Arc::new(Cluster { slow: Duration::from_secs(1), ..Cluster::default() });
    let patcher = StatePatcher::start(cluster.clone(), PatchOptions::default());
    let wanted = || [("a".to_owned(), text("1"))];
    for i in 0..100 {
        patcher.wish_at_leisure(target(&format!("old-{i:02}")), wanted());
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(cluster.most.load(Ordering::Relaxed), LEISURE);
    // One of those that wait is wanted now.
    patcher.wish(target("old-99"), wanted());
    for i in 0..11 {
        patcher.wish(target(&format!("new-{i:02}")), wanted());
    }
    let before = cluster.patches.lock().unwrap().len();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let after = cluster.patches.lock().unwrap().clone();
    let names: Vec<&str> = after[before..].iter().map(|(name, _)| name.as_str()).collect();
    let urgent = |name: &&&str| name.starts_with("new") || **name == "old-99";
    assert_eq!(names.iter().filter(urgent).count(), 12, "{names:?}");
    assert_eq!(patcher.flush(Duration::from_secs(60)).await, 0);
    assert_eq!(cluster.patches.lock().unwrap().len(), 111);
}

#[tokio::test(start_paused = true)]
async fn a_burst_is_one_patch_and_the_last_wish_counts() {
    let cluster = Arc::new(Cluster { slow: Duration::from_secs(1), ..Cluster::default() });
    let patcher = StatePatcher::start(cluster.clone(), PatchOptions::default());
    for i in 0..100 {
        patcher.wish(target("web"), [("a".into(), text(&i.to_string()))]);
    }
    patcher.wish(target("web"), [("b".into(), None)]);
    tokio::time::sleep(Duration::from_millis(500)).await;
    // On its way: what is wanted now goes into another one, after it.
    patcher.wish(target("web"), [("a".into(), text("later"))]);
    assert_eq!(patcher.flush(Duration::from_secs(60)).await, 0);
    let patches = cluster.patches.lock().unwrap().clone();
    let first = Annotations::from([("a".into(), text("99")), ("b".into(), None)]);
    let second = Annotations::from([("a".into(), text("later"))]);
    assert_eq!(patches, [("web".to_owned(), first), ("web".to_owned(), second)]);
    assert_eq!(cluster.most.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn failures_are_tried_again_without_undoing_newer_wishes() {
    let cluster = Arc::new(Cluster {
        slow: Duration::from_secs(1),
        answers: Mutex::new(vec![Ok(()), temporary(Some(5)), temporary(None)]),
        ..Cluster::default()
    });
    let patcher = StatePatcher::start(cluster.clone(), PatchOptions::default());
    patcher.wish(target("web"), [("a".into(), text("1")), ("b".into(), text("1"))]);
    tokio::time::sleep(Duration::from_millis(700)).await;
    patcher.wish(target("web"), [("a".into(), text("2"))]);
    let start = now();
    patcher.waiting().wait_for(|waiting| *waiting == 0).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(60));
    let took = now().saturating_duration_since(start);
    assert!(took >= Duration::from_secs(5), "{took:?}");
    let patches = cluster.patches.lock().unwrap().clone();
    assert_eq!(patches.len(), 3);
    let last = Annotations::from([("a".into(), text("2")), ("b".into(), text("1"))]);
    assert_eq!(patches[2].1, last);
}

#[tokio::test(start_paused = true)]
async fn gives_up_on_what_is_gone_and_after_many_attempts() {
    let cluster =
        Arc::new(Cluster { answers: Mutex::new(vec![Err(PatchError::Gone)]), ..Cluster::default() });
    let patcher = StatePatcher::start(cluster.clone(), PatchOptions::default());
    patcher.wish(target("web"), [("a".into(), text("1"))]);
    patcher.waiting().wait_for(|waiting| *waiting == 0).await.unwrap();
    assert_eq!(cluster.patches.lock().unwrap().len(), 1);
    cluster.answers.lock().unwrap().extend((0..50).map(|_| temporary(None)));
    patcher.wish(target("web"), [("a".into(), text("1"))]);
    patcher.waiting().wait_for(|waiting| *waiting == 0).await.unwrap();
    assert_eq!(cluster.patches.lock().unwrap().len(), 1 + 12);
}

#[tokio::test(start_paused = true)]
async fn never_more_at_a_time_than_allowed_and_only_what_is_ours() {
    let cluster = Arc::new(Cluster { slow: Duration::from_millis(100), ..Cluster::default() });
    let ours = Arc::new(AtomicBool::new(true));
    let asked = ours.clone();
    let options =
        PatchOptions { allowed: Arc::new(move |_| asked.load(Ordering::Relaxed)), ..PatchOptions::default() };
    let patcher = StatePatcher::start(cluster.clone(), options);
    for i in 0..100 {
        patcher.wish(target(&format!("web-{i}")), [("a".into(), text("1"))]);
    }
    assert_eq!(patcher.flush(Duration::from_secs(60)).await, 0);
    assert_eq!(cluster.patches.lock().unwrap().len(), 100);
    assert_eq!(cluster.most.load(Ordering::Relaxed), 8);
    ours.store(false, Ordering::Relaxed);
    patcher.wish(target("web"), [("a".into(), text("1"))]);
    assert_eq!(patcher.flush(Duration::from_secs(60)).await, 0);
    assert_eq!(cluster.patches.lock().unwrap().len(), 100);
}

#[tokio::test(start_paused = true)]
async fn records_that_trail_give_way_to_deliveries_and_to_a_slow_server() {
    let cluster = Arc::new(Cluster { slow: Duration::from_millis(100), ..Cluster::default() });
    let busy = Arc::new(AtomicBool::new(true));
    let asked = busy.clone();
    let trailing: Busy = Arc::new(move || asked.load(Ordering::Relaxed));
    let options = PatchOptions { trailing: Some(trailing), ..PatchOptions::default() };
    let patcher = StatePatcher::start(cluster.clone(), options);
    let wish = |range: std::ops::Range<u32>| {
        for i in range {
            patcher.wish(target(&format!("web-{i}")), [("a".into(), text("1"))]);
        }
    };
    wish(0..10);
    let start = now();
    patcher.waiting().wait_for(|waiting| *waiting == 0).await.unwrap();
    assert_eq!(cluster.most.load(Ordering::Relaxed), 1, "one at a time beside deliveries");
    let took = now().saturating_duration_since(start);
    assert!(took > Duration::from_secs(8), "{took:?}: ten patches, and most of the time none");
    // As slow as at its best: all places are used.
    busy.store(false, Ordering::Relaxed);
    wish(10..110);
    patcher.waiting().wait_for(|waiting| *waiting == 0).await.unwrap();
    assert_eq!(cluster.most.load(Ordering::Relaxed), 8);
    // Far slower than at its best: each place rests after its patch.
    cluster.slow_now.store(1_000, Ordering::Relaxed);
    wish(110..126);
    let start = now();
    patcher.waiting().wait_for(|waiting| *waiting == 0).await.unwrap();
    let took = now().saturating_duration_since(start);
    assert!(took > Duration::from_millis(3_000), "{took:?}: two rounds with a rest of a second");
    // At the end nobody rests.
    wish(126..142);
    let start = now();
    assert_eq!(patcher.flush(Duration::from_secs(60)).await, 0);
    let took = now().saturating_duration_since(start);
    assert!(took < Duration::from_millis(2_500), "{took:?}");
}

#[test]
fn the_patch_holds_the_uid_and_nothing_else_of_the_object() {
    let annotations = Annotations::from([("a".into(), text("1")), ("b".into(), None)]);
    let wanted = r#"{"metadata":{"annotations":{"a":"1","b":null},"uid":"uid-web"}}"#;
    assert_eq!(body(&target("web"), &annotations).to_string(), wanted);
}

#[test]
fn failures_are_told_apart() {
    let api = |code: u16, message: &str| {
        let status = Status { code, message: message.into(), ..Status::failure(message, "") };
        failure(kube::Error::Api(Box::new(status)))
    };
    assert_eq!(api(404, "not found"), PatchError::Gone);
    let immutable = "Rollout \"web\" is invalid: metadata.uid: Invalid value: \"x\": field is immutable";
    assert_eq!(api(422, immutable), PatchError::Gone);
    assert_eq!(
        api(409, "Precondition failed: UID in precondition: a, UID in object meta: b"),
        PatchError::Gone
    );
    assert_eq!(
        api(422, "metadata.annotations: Too long"),
        PatchError::Refused("metadata.annotations: Too long".into())
    );
    for code in [403, 409, 429, 500, 503] {
        assert!(matches!(api(code, "x"), PatchError::Temporary { .. }), "{code}");
    }
}
