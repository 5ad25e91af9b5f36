//! Leases, annotations and Events on a real API server. Skipped, loudly, where there is none.

// Helpers of tests may fail loudly, too.
#![allow(clippy::unwrap_used)]

use std::{sync::Arc, time::Duration};

use herald_sources::{
    kubernetes::{
        annotate::{
            AnnotationWriter as _, Annotations, KubeAnnotations, PatchError, PatchOptions, StatePatcher,
            Target,
        },
        event_writer::{About, EventWriter, Happening, KubeEvents},
        limit::RequestLimit,
        watch::Resource,
    },
    lease::{
        ElectionOptions, Elector, KubeLeases, Leadership, LeaseHandle, LeaseStore as _, ShardHandle, Sharder,
        Timing,
    },
};
use herald_testkit::apiserver::{Api, ApiServer};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use tokio::time::Instant;

const PATIENCE: Duration = Duration::from_secs(60);

async fn client(server: &ApiServer, namespace: &str) -> Client {
    let dir = tempfile::tempdir().unwrap();
    let kubeconfig = Kubeconfig::read_from(server.kubeconfig(dir.path(), namespace)).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

fn options(identity: &str) -> ElectionOptions {
    let timing = Timing {
        duration: Duration::from_secs(3),
        renew_deadline: Duration::from_secs(2),
        retry: Duration::from_millis(500),
    };
    ElectionOptions { identity: identity.into(), timing, ..ElectionOptions::new("herald") }
}

fn rollout(name: &str) -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": name, "annotations": {"theirs": "0"}},
        "spec": {"replicas": 1},
    })
}

fn target(rollout: &Value) -> Target {
    let text = |field: &str| rollout["metadata"][field].as_str().unwrap().to_owned();
    Target {
        resource: Arc::new(Resource::new("argoproj.io", "v1alpha1", "rollouts", "Rollout")),
        namespace: text("namespace"),
        name: text("name"),
        uid: text("uid"),
    }
}

fn annotations(key: &str, value: Option<&str>) -> Annotations {
    Annotations::from([(key.to_owned(), value.map(str::to_owned))])
}

async fn leads(handle: &LeaseHandle) -> Leadership {
    let mut watch = handle.watch();
    let leading = tokio::time::timeout(PATIENCE, watch.wait_for(|leadership| leadership.leads())).await;
    *leading.unwrap().unwrap()
}

#[tokio::test]
async fn one_leader_that_hands_over_at_once_and_is_replaced_when_it_dies() {
    let Some(server) = ApiServer::shared().await else { return };
    let namespace = server.namespace("lease").await;
    let store = Arc::new(KubeLeases::new(client(server, &namespace).await, &namespace));
    let first = Elector::start(store.clone(), options("a")).unwrap();
    assert_eq!(leads(&first).await, Leadership::Leading { term: 0 });
    assert!(first.annotate("herald.dev/baseline", Some("x")).await);
    let second = Elector::start(store.clone(), options("b")).unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(first.fence().holds() && !second.fence().holds());
    first.release().await;
    let lease = store.get("herald").await.unwrap().unwrap();
    let holder = lease.spec.unwrap().holder_identity.unwrap_or_default();
    assert!(holder.is_empty() || holder == "b", "{holder}");
    assert_eq!(leads(&second).await, Leadership::Leading { term: 1 });
    assert_eq!(second.annotations().borrow()["herald.dev/baseline"], "x");
    // Killed: it gives nothing back.
    let third = Elector::start(store.clone(), options("c")).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(second);
    let died = Instant::now();
    assert_eq!(leads(&third).await, Leadership::Leading { term: 2 });
    eprintln!("a dead leader was replaced after {:?}", died.elapsed());
    // It may have been renewed up to a retry before.
    assert!(died.elapsed() >= Duration::from_secs(2));
}

async fn evenly(handles: &[&ShardHandle]) {
    let limit = Instant::now() + PATIENCE;
    loop {
        let counts: Vec<usize> = handles.iter().map(|handle| handle.set().held.len()).collect();
        let even = counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1;
        if even && counts.iter().sum::<usize>() == 8 {
            return;
        }
        assert!(Instant::now() < limit, "{counts:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn shards_are_spread_and_move() {
    let Some(server) = ApiServer::shared().await else { return };
    let namespace = server.namespace("shards").await;
    let store = Arc::new(KubeLeases::new(client(server, &namespace).await, &namespace));
    let start = |identity: &str| Sharder::start(store.clone(), options(identity), 8).unwrap();
    let (a, b, c) = (start("a_1"), start("b_2"), start("c_3"));
    evenly(&[&a, &b, &c]).await;
    drop(b);
    let died = Instant::now();
    evenly(&[&a, &c]).await;
    eprintln!("a dead replica's shards moved within {:?}", died.elapsed());
    c.release().await;
    let ended = Instant::now();
    evenly(&[&a]).await;
    eprintln!("a released replica's shards moved within {:?}", ended.elapsed());
}

#[tokio::test]
async fn annotations_are_written_alone_and_to_this_object_only() {
    let Some(server) = ApiServer::shared().await else { return };
    let namespace = server.namespace("annotate").await;
    let (api, path) = (server.api(), Api::rollouts(&namespace));
    let object = Api::done(api.create(&path, &rollout("web")).await);
    let limit = Arc::new(RequestLimit::new(40.0, 80));
    let writer = Arc::new(KubeAnnotations::new(client(server, &namespace).await, limit));
    let patcher = StatePatcher::start(writer.clone(), PatchOptions::default());

    // Others write at the same time: nothing of theirs is ever reverted.
    let others = async {
        for i in 1..=100 {
            let patch = json!({"metadata": {"annotations": {"theirs": i.to_string()}}});
            let now = Api::done(api.merge(&format!("{path}/web"), &patch).await);
            assert_eq!(now["metadata"]["annotations"]["theirs"], i.to_string());
        }
    };
    let ours = async {
        for i in 1..=100 {
            patcher.wish(target(&object), annotations("ours", Some(&i.to_string())));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(patcher.flush(PATIENCE).await, 0);
    };
    tokio::join!(others, ours);
    let now = Api::done(api.get(&format!("{path}/web")).await);
    assert_eq!(now["metadata"]["annotations"], json!({"theirs": "100", "ours": "100"}));
    let managers: Vec<&str> = now["metadata"]["managedFields"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["fieldsV1"].to_string().contains("f:ours"))
        .filter_map(|entry| entry["manager"].as_str())
        .collect();
    assert_eq!(managers, ["herald"]);

    // Taking it away leaves theirs.
    writer.patch(&target(&object), &annotations("ours", None)).await.unwrap();
    let now = Api::done(api.get(&format!("{path}/web")).await);
    assert_eq!(now["metadata"]["annotations"], json!({"theirs": "100"}));

    // A new object of the same name is another one.
    Api::done(api.delete(&format!("{path}/web")).await);
    let gone = writer.patch(&target(&object), &annotations("ours", Some("x"))).await;
    assert_eq!(gone, Err(PatchError::Gone));
    let again = Api::done(api.create(&path, &rollout("web")).await);
    let other = writer.patch(&target(&object), &annotations("ours", Some("x"))).await;
    assert_eq!(other, Err(PatchError::Gone));
    let now = Api::done(api.get(&format!("{path}/web")).await);
    assert_eq!(now["metadata"]["uid"], again["metadata"]["uid"]);
    assert_eq!(now["metadata"]["annotations"], json!({"theirs": "0"}));
}

#[tokio::test]
async fn events_are_found_as_kubectl_describe_looks_for_them() {
    let Some(server) = ApiServer::shared().await else { return };
    let namespace = server.namespace("events").await;
    let (api, path) = (server.api(), Api::rollouts(&namespace));
    let object = Api::done(api.create(&path, &rollout("web")).await);
    let uid = object["metadata"]["uid"].as_str().unwrap().to_owned();
    let limit = Arc::new(RequestLimit::new(40.0, 80));
    let store = KubeEvents::new(client(server, &namespace).await, limit);
    let writer = EventWriter::start(Arc::new(store), "herald-0", Arc::new(str::to_owned));
    let about = About {
        api_version: "argoproj.io/v1alpha1".into(),
        kind: "Rollout".into(),
        namespace: namespace.clone(),
        name: "web".into(),
        uid: uid.clone(),
    };
    for _ in 0..3 {
        writer.tell(Happening::given_up(about.clone(), "on-rollout-completed", "slack", "ops", "rejected"));
    }
    let fields = format!(
        "{}?fieldSelector=involvedObject.name=web,involvedObject.namespace={namespace},\
         involvedObject.kind=Rollout,involvedObject.uid={uid}",
        Api::core(&namespace, "events")
    );
    let limit = Instant::now() + PATIENCE;
    let event = loop {
        let (_, list) = api.get(&fields).await;
        match list["items"].as_array().map(Vec::as_slice) {
            Some([event]) if event["count"] == 3 => break event.clone(),
            Some([_, _, ..]) => panic!("several events: {list}"),
            _ => assert!(Instant::now() < limit, "{list}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(event["type"], "Warning");
    assert_eq!(event["reason"], "NotificationGivenUp");
    assert_eq!(event["source"]["component"], "herald");
    let message = "Notification of trigger on-rollout-completed to slack:ops was given up: rejected";
    assert_eq!(event["message"], message);
}
