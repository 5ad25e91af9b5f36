//! The outbox in JetStream, against real servers.

// Helpers of tests may fail loudly, too.
#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures::TryStreamExt as _;
use herald_outbox::*;
use herald_testkit::nats::{Nats, NatsOptions};
use jiff::Timestamp;
use tokio::sync::{Notify, watch};

const PATIENCE: Duration = Duration::from_secs(180);

fn jetstream() -> NatsOptions {
    NatsOptions { jetstream: true, ..NatsOptions::default() }
}

async fn open(nats: &Nats, role: Role) -> Arc<JetStreamOutbox> {
    let address: NatsAddress = format!("{}?partitions=8", nats.url()).parse().unwrap();
    Arc::new(JetStreamOutbox::open(&address, role).await.unwrap())
}

fn notice(object: usize, number: usize) -> Notice {
    Notice {
        id: format!("web-{object}/{number}"),
        object: ObjectRef {
            namespace: "prod".into(),
            kind: "Rollout".into(),
            name: format!("web-{object}"),
            uid: String::new(),
        },
        trigger: "on-a".into(),
        service: "hook".into(),
        recipient: String::new(),
        created: Timestamp::from_second(1_000_000 + number as i64).unwrap(),
        due_after: Timestamp::UNIX_EPOCH,
        payload: vec![0, b'\n', 255],
    }
}

/// Remembers in which order what arrived.
#[derive(Default)]
struct Receiver {
    arrived: Mutex<BTreeMap<String, Vec<usize>>>,
    refuse: Mutex<BTreeSet<String>>,
    changed: Notify,
    /// Attempts that began.
    begun: AtomicUsize,
    /// As long as it is closed, attempts go on.
    closed: watch::Sender<bool>,
}

impl Receiver {
    fn count(&self) -> usize {
        self.arrived.lock().unwrap().values().map(Vec::len).sum()
    }

    /// Notices that arrived, however often: after a crash some come again.
    fn different(&self) -> usize {
        let arrived = self.arrived.lock().unwrap();
        arrived.values().map(|numbers| numbers.iter().collect::<BTreeSet<_>>().len()).sum()
    }

    async fn wait_for(&self, number: usize) {
        let waiting = async {
            loop {
                let changed = self.changed.notified();
                if self.different() >= number {
                    return;
                }
                changed.await;
            }
        };
        assert!(
            tokio::time::timeout(PATIENCE, waiting).await.is_ok(),
            "{} of {number} arrived",
            self.different()
        );
    }

    fn assert_in_order(&self, objects: usize, each: usize) {
        let arrived = self.arrived.lock().unwrap();
        assert_eq!(arrived.len(), objects);
        for (name, numbers) in arrived.iter() {
            let mut firsts = Vec::new();
            for number in numbers {
                if !firsts.contains(number) {
                    firsts.push(*number);
                }
            }
            assert_eq!(firsts, (0..each).collect::<Vec<_>>(), "{name}: {numbers:?}");
        }
    }
}

#[async_trait]
impl Deliverer for Receiver {
    async fn deliver(&self, notice: &Notice, _attempt: u32) -> Attempted {
        assert_eq!(notice.payload, [0, b'\n', 255]);
        if self.refuse.lock().unwrap().contains(&notice.object.name) {
            return Attempted::failed(FailureClass::Rejected, "no");
        }
        let mut closed = self.closed.subscribe();
        self.begun.fetch_add(1, Ordering::SeqCst);
        closed.wait_for(|closed| !closed).await.unwrap();
        let number = notice.id.split_once('/').unwrap().1.parse().unwrap();
        self.arrived.lock().unwrap().entry(notice.object.name.clone()).or_default().push(number);
        self.changed.notify_waiters();
        Attempted::Delivered { detail: "200".into() }
    }
}

/// A worker with a runtime of its own, so that it can die as a whole.
struct Worker {
    outbox: Arc<JetStreamOutbox>,
    stop: Arc<Notify>,
    running: tokio::task::JoinHandle<Report>,
    runtime: tokio::runtime::Runtime,
}

impl Worker {
    async fn start(nats: &Nats, receiver: &Arc<Receiver>) -> Worker {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let address: NatsAddress = format!("{}?partitions=8", nats.url()).parse().unwrap();
        let opening =
            runtime.spawn(async move { JetStreamOutbox::open(&address, Role::Worker).await.unwrap() });
        let outbox = Arc::new(opening.await.unwrap());
        let options = CourierOptions { poll: Duration::from_millis(200), ..CourierOptions::default() };
        let clock = Arc::new(SystemClock::default());
        let courier = Courier::new(outbox.clone(), receiver.clone(), clock, options);
        let stop = Arc::new(Notify::new());
        let stopped = stop.clone();
        let running = runtime.spawn(courier.run(async move { stopped.notified().await }));
        Worker { outbox, stop, running, runtime }
    }

    async fn end(self) {
        self.stop.notify_one();
        self.running.await.unwrap();
        self.outbox.close().await;
        self.runtime.shutdown_background();
    }

    /// As a power cut would: nobody says goodbye.
    fn die(self) {
        self.runtime.shutdown_background();
    }
}

async fn publish(outbox: &JetStreamOutbox, objects: usize, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let enqueue = (0..objects).map(|object| notice(object, number)).collect();
        outbox.commit(Batch { enqueue, ..Batch::default() }).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_is_found_again() {
    let Some(nats) = Nats::start(&jetstream()).await else { return };
    let outbox = open(&nats, Role::Publisher).await;
    let entry = |scope: &str, key: &str, value: &str| StateEntry {
        scope: scope.into(),
        key: key.into(),
        value: value.as_bytes().to_vec(),
    };
    let batch = Batch {
        enqueue: vec![notice(1, 0), notice(1, 1)],
        put_state: vec![
            entry("rollout", "prod/web.1", "a"),
            entry("rollout", "ü*", "b"),
            entry("meta", "x", "c"),
        ],
        ..Batch::default()
    };
    assert_eq!(outbox.commit(batch.clone()).await.unwrap(), ["web-1/0", "web-1/1"]);
    assert_eq!(outbox.commit(batch).await.unwrap(), Vec::<String>::new(), "the same again is known");
    assert_eq!(outbox.get_state("rollout", "ü*").await.unwrap().unwrap(), b"b");
    let listed = outbox.list_state("rollout").await.unwrap();
    assert_eq!(listed, [("prod/web.1".into(), b"a".to_vec()), ("ü*".into(), b"b".to_vec())]);
    let delete_state = vec![("rollout".to_owned(), "ü*".to_owned())];
    outbox.commit(Batch { delete_state, ..Batch::default() }).await.unwrap();
    assert_eq!(outbox.list_state("rollout").await.unwrap().len(), 1);

    let key = HandleKey { instance: "slack".into(), recipient: "#a.b".into(), key: "k".into() };
    outbox.put_handle(&key, "{}".into(), Timestamp::UNIX_EPOCH).await.unwrap();
    assert_eq!(outbox.handles(10).await.unwrap(), [(key.clone(), "{}".to_owned())]);
    outbox.delete_handle(&key).await.unwrap();
    assert_eq!(outbox.get_handle(&key).await.unwrap(), None);

    let ids =
        |entries: Vec<HistoryEntry>| entries.into_iter().map(|entry| entry.notice.id).collect::<Vec<_>>();
    assert_eq!(ids(outbox.list(Filter::default()).await.unwrap()), ["web-1/1", "web-1/0"]);
    assert_eq!(outbox.backlog().await.unwrap(), (2, Some(Timestamp::from_second(1_000_000).unwrap())));
    let one = Filter { id: Some("web-1/0".into()), ..Filter::default() };
    assert_eq!(outbox.drop_notices(one, Timestamp::UNIX_EPOCH).await.unwrap(), 1);
    assert_eq!(outbox.show("web-1/0").await.unwrap().unwrap().outcome, Outcome::Dropped);
    let asked = ["web-1/1", "web-1/0", "never"].map(str::to_owned).to_vec();
    assert_eq!(outbox.ended(asked).await.unwrap(), ["web-1/0", "never"]);
    assert_eq!(outbox.backlog().await.unwrap().0, 1);
    assert_eq!(outbox.check().await.unwrap(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_share_what_waits_and_lanes_keep_their_order() {
    let Some(nats) = Nats::start(&jetstream()).await else { return };
    let receiver = Arc::new(Receiver::default());
    let outbox = open(&nats, Role::Publisher).await;
    let first = Worker::start(&nats, &receiver).await;
    publish(&outbox, 20, 0..10).await;
    // A second one takes half of it over, in the middle.
    let second = Worker::start(&nats, &receiver).await;
    publish(&outbox, 20, 10..40).await;
    receiver.wait_for(800).await;
    receiver.assert_in_order(20, 40);
    assert_eq!(receiver.count(), 800, "nothing twice without a crash");
    second.end().await;
    publish(&outbox, 20, 40..45).await;
    receiver.wait_for(900).await;
    first.end().await;
    receiver.assert_in_order(20, 45);
    assert_eq!(outbox.backlog().await.unwrap().0, 0);
    let delivered = Filter { outcome: Some(Outcome::Delivered), limit: Some(5), ..Filter::default() };
    assert_eq!(outbox.list(delivered).await.unwrap().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_worker_held_goes_to_another() {
    let Some(nats) = Nats::start(&jetstream()).await else { return };
    let receiver = Arc::new(Receiver::default());
    let outbox = open(&nats, Role::Publisher).await;
    let first = Worker::start(&nats, &receiver).await;
    publish(&outbox, 10, 0..20).await;
    receiver.wait_for(50).await;
    first.die();
    let second = Worker::start(&nats, &receiver).await;
    publish(&outbox, 10, 20..30).await;
    receiver.wait_for(300).await;
    second.end().await;
    receiver.assert_in_order(10, 30);
    assert_eq!(outbox.backlog().await.unwrap().0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_forgot_is_known_by_its_history() {
    let Some(nats) = Nats::start(&jetstream()).await else { return };
    let receiver = Arc::new(Receiver::default());
    let outbox = open(&nats, Role::Publisher).await;
    publish(&outbox, 20, 0..20).await;
    let client = async_nats::connect(nats.url()).await.unwrap();
    let context = async_nats::jetstream::new(client);
    let stream = context.get_stream("herald-due").await.unwrap();
    let mut stored = Vec::new();
    for sequence in 1..=400 {
        stored.push(stream.direct_get(sequence).await.unwrap());
    }
    let worker = Worker::start(&nats, &receiver).await;
    receiver.wait_for(400).await;
    until("written down", async || outbox.backlog().await.unwrap().0 == 0).await;
    // The same again, without the ids by which the server itself would tell.
    for message in stored {
        context.publish(message.subject, message.payload).await.unwrap().await.unwrap();
    }
    publish(&outbox, 20, 20..21).await;
    receiver.wait_for(420).await;
    until("told apart", async || outbox.backlog().await.unwrap().0 == 0).await;
    worker.end().await;
    assert_eq!(receiver.count(), 420);
    receiver.assert_in_order(20, 21);
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_kept_and_sent_again() {
    let Some(nats) = Nats::start(&jetstream()).await else { return };
    let receiver = Arc::new(Receiver::default());
    receiver.refuse.lock().unwrap().insert("web-0".into());
    let worker = Worker::start(&nats, &receiver).await;
    let outbox = open(&nats, Role::Publisher).await;
    publish(&outbox, 2, 0..1).await;
    let dead = Filter { outcome: Some(Outcome::DeadLetter), ..Filter::default() };
    let found = async {
        while outbox.list(dead.clone()).await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, found).await.unwrap();
    let shown = outbox.show("web-0/0").await.unwrap().unwrap();
    assert_eq!((shown.attempts, shown.failures.len(), shown.notice.payload.len()), (1, 1, 3));
    receiver.refuse.lock().unwrap().clear();
    assert_eq!(outbox.resend(dead.clone(), Timestamp::now()).await.unwrap(), 1);
    receiver.wait_for(2).await;
    worker.end().await;
    assert_eq!(outbox.list(dead).await.unwrap(), []);
    assert_eq!(outbox.show("web-0/0").await.unwrap().unwrap().outcome, Outcome::Delivered);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_away_is_waited_for() {
    let Some(mut nats) = Nats::start(&jetstream()).await else { return };
    let receiver = Arc::new(Receiver::default());
    let worker = Worker::start(&nats, &receiver).await;
    let outbox = open(&nats, Role::Publisher).await;
    publish(&outbox, 5, 0..10).await;
    receiver.wait_for(50).await;
    nats.kill(0);
    let batch = || Batch { enqueue: vec![notice(0, 10)], ..Batch::default() };
    let error = outbox.commit(batch()).await.unwrap_err().to_string();
    assert!(error.contains("the outbox at nats://127.0.0.1"), "{error}");
    nats.restart(0).await;
    let back = async { while outbox.commit(batch()).await.is_err() {} };
    tokio::time::timeout(PATIENCE, back).await.unwrap();
    publish(&outbox, 5, 10..20).await;
    receiver.wait_for(100).await;
    worker.end().await;
    receiver.assert_in_order(5, 20);
}

/// Waits until something holds, asked again and again.
async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "never: {what}");
}

/// The consumers of partitions that were made since: how many of each worker.
async fn consumers(nats: &Nats, since: Timestamp) -> BTreeMap<String, usize> {
    let client = async_nats::connect(nats.url()).await.unwrap();
    let stream = async_nats::jetstream::new(client).get_stream("herald-due").await.unwrap();
    let mut found = BTreeMap::new();
    for info in stream.consumers().try_collect::<Vec<_>>().await.unwrap() {
        if info.created.unix_timestamp_nanos() >= since.as_nanosecond() {
            *found.entry(info.name.rsplit_once('-').unwrap().1.to_owned()).or_default() += 1;
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_on_its_way_while_the_server_is_away_is_not_sent_again_by_another_worker() {
    let Some(mut nats) = Nats::start(&jetstream()).await else { return };
    let receiver = Arc::new(Receiver::default());
    receiver.closed.send_replace(true);
    let (first, second) = (Worker::start(&nats, &receiver).await, Worker::start(&nats, &receiver).await);
    until("each has half", async || consumers(&nats, Timestamp::UNIX_EPOCH).await.values().eq(&[4, 4])).await;
    let outbox = open(&nats, Role::Publisher).await;
    publish(&outbox, 20, 0..2).await;
    until("one of each lane", async || receiver.begun.load(Ordering::SeqCst) == 20).await;

    nats.kill(0);
    let all = [&first.outbox, &second.outbox, &outbox];
    until("known", async || all.iter().all(|outbox| outbox.trouble().is_some())).await;
    let text = outbox.trouble().unwrap();
    assert!(text.contains("nats://127.0.0.1") && text.contains("is away since"), "{text}");
    // Until every claim has run out.
    tokio::time::sleep(Duration::from_secs(7)).await;
    let back = Timestamp::now();
    nats.restart(0).await;
    until("claimed again", async || consumers(&nats, back).await.values().sum::<usize>() == 8).await;
    until("known to be back", async || all.iter().all(|outbox| outbox.trouble().is_none())).await;
    receiver.closed.send_replace(false);
    receiver.wait_for(40).await;
    until("written down", async || outbox.backlog().await.unwrap().0 == 0).await;
    assert_eq!((receiver.count(), receiver.begun.load(Ordering::SeqCst)), (40, 40), "once each");
    receiver.assert_in_order(20, 2);
    first.end().await;
    second.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_killed_loses_nothing() {
    let Some(mut nats) = Nats::cluster(3, &jetstream()).await else { return };
    let receiver = Arc::new(Receiver::default());
    let address: NatsAddress = format!("{}?partitions=4", nats.url()).parse().unwrap();
    let opened = async {
        loop {
            // A cluster that has just started elects its leader first.
            if let Ok(outbox) = JetStreamOutbox::open(&address, Role::Publisher).await {
                return outbox;
            }
        }
    };
    let outbox = tokio::time::timeout(PATIENCE, opened).await.unwrap();
    let worker = Worker::start(&nats, &receiver).await;
    publish(&outbox, 5, 0..10).await;
    receiver.wait_for(20).await;
    nats.kill(outbox_leader(&nats).await);
    for number in 10..20 {
        for object in 0..5 {
            let batch = || Batch { enqueue: vec![notice(object, number)], ..Batch::default() };
            let stored = async { while outbox.commit(batch()).await.is_err() {} };
            tokio::time::timeout(PATIENCE, stored).await.unwrap();
        }
    }
    receiver.wait_for(100).await;
    worker.end().await;
    receiver.assert_in_order(5, 20);
}

/// The node that leads the stream.
async fn outbox_leader(nats: &Nats) -> usize {
    let client =
        async_nats::connect(nats.url().split(',').map(str::to_owned).collect::<Vec<_>>()).await.unwrap();
    let stream = async_nats::jetstream::new(client).get_stream("herald-due").await.unwrap();
    let leader = stream.cached_info().cluster.clone().unwrap().leader.unwrap();
    leader.trim_start_matches('n').parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_and_passwords_let_in_and_keep_out() {
    let config = "authorization { user: herald, password: \"s3cret\" }".to_owned();
    let Some(nats) =
        Nats::start(&NatsOptions { jetstream: true, tls: true, config, ..NatsOptions::default() }).await
    else {
        return;
    };
    let host = nats.url().replace("nats://", "");
    let ca = nats.ca_file();
    let open = |entry: &str| {
        let text = format!("tls://{entry}{host}?ca={}", ca.display());
        async move { JetStreamOutbox::open(&text.parse().unwrap(), Role::Publisher).await }
    };
    assert!(open("herald:s3cret@").await.is_ok());
    let error = open("herald:wr0ng@").await.map(drop).unwrap_err().to_string();
    assert!(error.contains("lets us in") && !error.contains("wr0ng"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nkeys_let_in_and_keep_out() {
    let (ours, other) = (nkeys::KeyPair::new_user(), nkeys::KeyPair::new_user());
    let config = format!("authorization {{ users: [{{ nkey: {} }}] }}", ours.public_key());
    let Some(nats) = Nats::start(&NatsOptions { config, ..jetstream() }).await else { return };
    let file = nats.home().join("user.nk");
    let url = format!("{}?nkey={}", nats.url(), file.display());
    std::fs::write(&file, ours.seed().unwrap()).unwrap();
    JetStreamOutbox::open(&url.parse().unwrap(), Role::Publisher).await.unwrap();
    std::fs::write(&file, other.seed().unwrap()).unwrap();
    let error = JetStreamOutbox::open(&url.parse().unwrap(), Role::Publisher).await.map(drop).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("lets us in") && !text.contains(&other.seed().unwrap()), "{text}");
    std::fs::remove_file(&file).unwrap();
    let error = JetStreamOutbox::open(&url.parse().unwrap(), Role::Publisher).await.map(drop).unwrap_err();
    assert!(error.to_string().contains("user.nk"), "{error}");
}

/// What operators, accounts and users are given: claims, signed by the one above.
fn jwt(signer: &nkeys::KeyPair, subject: &nkeys::KeyPair, nats: serde_json::Value) -> String {
    use base64::Engine as _;
    let part = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
    let head = part(br#"{"typ":"JWT","alg":"ed25519-nkey"}"#);
    let claims = serde_json::json!({
        "jti": "HERALD", "iat": 1_700_000_000, "iss": signer.public_key(), "sub": subject.public_key(), "name": "herald",
        "nats": nats,
    });
    let signed = format!("{head}.{}", part(claims.to_string().as_bytes()));
    let signature = part(&signer.sign(signed.as_bytes()).unwrap());
    format!("{signed}.{signature}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_credentials_lets_in_and_keeps_out() {
    let (operator, account, user) =
        (nkeys::KeyPair::new_operator(), nkeys::KeyPair::new_account(), nkeys::KeyPair::new_user());
    let plain = serde_json::json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
    });
    let mut limits = plain.clone();
    for name in ["mem_storage", "disk_storage", "streams", "consumer"] {
        limits[name] = (-1).into();
    }
    let of_operator = jwt(&operator, &operator, serde_json::json!({"type": "operator", "version": 2}));
    let an_account = serde_json::json!({"type": "account", "version": 2, "limits": limits});
    let of_account = jwt(&operator, &account, an_account);
    // JetStream wants an account for the server itself.
    let system = nkeys::KeyPair::new_account();
    let of_system =
        jwt(&operator, &system, serde_json::json!({"type": "account", "version": 2, "limits": plain}));
    let of_user = serde_json::json!({"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1});
    let config = format!(
        "operator: {of_operator}\nsystem_account: {1}\nresolver: MEMORY\nresolver_preload: {{ {0}: {of_account}, {1}: {of_system} }}",
        account.public_key(),
        system.public_key()
    );
    let Some(nats) = Nats::start(&NatsOptions { config, ..jetstream() }).await else { return };
    let file = nats.home().join("herald.creds");
    let url: NatsAddress = format!("{}?creds={}", nats.url(), file.display()).parse().unwrap();
    let write = |jwt: String| {
        let text = format!(
            "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            user.seed().unwrap()
        );
        std::fs::write(&file, text).unwrap();
    };
    write(jwt(&account, &user, of_user.clone()));
    let outbox = JetStreamOutbox::open(&url, Role::Publisher).await.unwrap();
    outbox.commit(Batch { enqueue: vec![notice(0, 1)], ..Batch::default() }).await.unwrap();
    // By an account that the operator doesn't know.
    write(jwt(&nkeys::KeyPair::new_account(), &user, of_user));
    let text = JetStreamOutbox::open(&url, Role::Publisher).await.map(drop).unwrap_err().to_string();
    assert!(text.contains("lets us in") && !text.contains(&user.seed().unwrap()), "{text}");
}
