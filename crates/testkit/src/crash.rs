//! `herald run` under load, killed again and again: what was due, and what of it arrived.
//!
//! A closed loop: Rollouts in a directory move on to their next revision as soon as a receiver has accepted the one
//! before, also while the program is dead. So each revision is seen by some life of the program, and each is due at
//! every receiver. Whatever doesn't arrive is lost; whatever is accepted twice was repeated.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinSet,
};

use crate::http::read_request;

/// The receivers: name, trigger, delay of its answer, one in how many requests it refuses for now (0: none).
const RECEIVERS: [(&str, &str, Duration, u64); 3] = [
    ("quick", "on-done", Duration::ZERO, 0),
    ("slow", "on-rollout-completed", Duration::from_millis(30), 0),
    ("flaky", "on-done", Duration::from_millis(2), 20),
];

/// How often some manifest is written with a change that nobody is told of.
const NOISE: Duration = Duration::from_millis(10);

/// After the last kill, what is due may take so long to arrive.
const PATIENCE: Duration = Duration::from_secs(180);

/// What to do.
#[derive(Clone, Debug)]
pub struct Crash {
    /// The program.
    pub program: PathBuf,
    /// How often it is killed.
    pub kills: u32,
    /// Where the random numbers begin.
    pub seed: u64,
    /// Rollouts that move on at once.
    pub rollouts: usize,
    /// A Rollout moves on so often, which is a notice for each of the three receivers. The more at once, the more
    /// acknowledgements are in flight at a kill.
    pub pace: Duration,
    /// The outbox, as `--outbox` takes it; `None` is a state file in a directory of this run.
    pub outbox: Option<String>,
    /// Programs that only deliver, beside the one that watches; they are killed in turn with it.
    pub workers: usize,
}

/// What was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// How often the program was killed.
    pub kills: u32,
    /// Notices that were due: a revision of a Rollout for a receiver.
    pub due: usize,
    /// Of these, accepted at least once.
    pub delivered: usize,
    /// Of these, never accepted.
    pub lost: BTreeSet<String>,
    /// Accepted again, each time counted.
    pub repeated: usize,
    /// Accepted again under another idempotency key, which a receiver that honours it can't tell.
    pub repeated_with_key: BTreeSet<String>,
    /// Accepted twice without a kill in between: no acknowledgement was in flight.
    pub repeated_alive: BTreeSet<String>,
    /// Accepted after a later one of the same Rollout and receiver, for the first time.
    pub disordered: BTreeSet<String>,
    /// Lives that ended by themselves, with what they said.
    pub ended: Vec<String>,
}

impl Counted {
    /// Whether every promise was kept.
    pub fn is_good(&self) -> bool {
        self.lost.is_empty()
            && self.repeated <= self.kills as usize
            && self.repeated_with_key.is_empty()
            && self.repeated_alive.is_empty()
            && self.disordered.is_empty()
            && self.ended.is_empty()
    }
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "kills      {}", self.kills)?;
        writeln!(f, "due        {}", self.due)?;
        writeln!(f, "delivered  {}", self.delivered)?;
        writeln!(f, "lost       {}", self.lost.len())?;
        writeln!(f, "repeated   {} (at most one a kill)", self.repeated)?;
        writeln!(
            f,
            "repeated at a receiver that honours the idempotency key: {}",
            self.repeated_with_key.len()
        )?;
        let faults = [
            ("lost", &self.lost),
            ("repeated under another key", &self.repeated_with_key),
            ("repeated without a kill", &self.repeated_alive),
            ("out of order", &self.disordered),
        ];
        for (what, which) in faults {
            for one in which.iter().take(20) {
                writeln!(f, "  {what}: {one}")?;
            }
        }
        for said in &self.ended {
            writeln!(f, "  ended by itself: {said}")?;
        }
        Ok(())
    }
}

/// Receiver, Rollout and revision.
type Key = (String, String, u32);

/// One accepted request.
struct Accepted {
    key: String,
    life: u32,
}

#[derive(Default)]
struct Ledger {
    accepted: BTreeMap<Key, Vec<Accepted>>,
    /// The newest revision by receiver and Rollout.
    newest: BTreeMap<(String, String), u32>,
    disordered: BTreeSet<Key>,
    life: u32,
    /// The last life that sent something.
    heard_of: Option<u32>,
    /// Connections that are open.
    open: usize,
    random: Random,
}

/// Repeatable random numbers (splitmix64).
#[derive(Clone, Copy, Debug, Default)]
pub struct Random(pub u64);

impl Random {
    /// The next one below a bound.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound.max(1)
    }
}

fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How far a run is.
pub struct Progress(Arc<Mutex<Ledger>>);

impl Progress {
    /// Notices that were accepted.
    pub fn accepted(&self) -> usize {
        lock(&self.0).accepted.len()
    }
}

impl Crash {
    /// Runs it.
    ///
    /// # Panics
    /// If the scene can't be set up: no port, no disk, no program.
    pub async fn run(&self) -> Counted {
        self.run_while(&[], async |_| {}).await.0
    }

    /// Runs it, and something else beside the load, after the kills. The programs have these arguments more, each its own.
    /// Gives also what each program said.
    ///
    /// # Panics
    /// If the scene can't be set up: no port, no disk, no program.
    pub async fn run_while(
        &self,
        more: &[Vec<String>],
        fault: impl AsyncFnOnce(Progress),
    ) -> (Counted, Vec<String>) {
        let home = tempfile::tempdir().expect("a directory");
        let scene = Scene { manifests: home.path().join("manifests"), new: home.path().join("new") };
        std::fs::create_dir(&scene.manifests).expect("a directory");
        let ledger = Arc::new(Mutex::new(Ledger { random: Random(self.seed ^ 1), ..Ledger::default() }));
        let (tell, told) = mpsc::unbounded_channel();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let sink = tokio::spawn(listen(listener, ledger.clone(), tell));
        scene.write("config.yaml", &configuration(&format!("http://{address}")));
        let (stop, stopped) = watch::channel(false);
        let mover = tokio::spawn(move_on(scene.clone(), (self.rollouts, self.pace), told, stopped));

        let mut counted = Counted { kills: self.kills, ..Counted::default() };
        let log = |number: usize| home.path().join(format!("log-{number}"));
        let start = |number: usize| {
            let more = more.get(number).map_or(&[][..], |more| more);
            self.start(number, more, &scene.manifests, &home.path().join("state.db"), &log(number))
        };
        let mut lives: Vec<Child> = (0..=self.workers).map(start).collect();
        self.kill_some(&mut lives, &ledger, &mut counted, (&start, &log)).await;
        fault(Progress(ledger.clone())).await;
        stop.send_replace(true);
        let revisions = mover.await.expect("a result");
        let due: BTreeSet<Key> = revisions
            .iter()
            .flat_map(|(name, newest)| (1..=*newest).map(move |revision| (name, revision)))
            .flat_map(|(name, revision)| RECEIVERS.map(|to| (to.0.to_owned(), name.clone(), revision)))
            .collect();
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until && due.iter().any(|key| !lock(&ledger).accepted.contains_key(key)) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        for (number, life) in lives.iter_mut().enumerate() {
            if let Ok(Some(status)) = life.try_wait() {
                counted.ended.push(format!("{status}: {}", last_lines(&log(number))));
            }
            life.kill().expect("a process");
            life.wait().expect("a process");
        }
        sink.abort();
        count(&mut counted, &due, &lock(&ledger));
        let said: Vec<String> =
            (0..lives.len()).map(|number| std::fs::read_to_string(log(number)).unwrap_or_default()).collect();
        if !counted.is_good()
            && let Ok((_, path)) = tempfile::NamedTempFile::new().and_then(|file| Ok(file.keep()?))
            && std::fs::write(&path, said.join("\n")).is_ok()
        {
            eprintln!("what the program said: {}", path.display());
        }
        (counted, said)
    }

    /// Kills one after the other at random moments, and starts it again.
    async fn kill_some(
        &self,
        lives: &mut [Child],
        ledger: &Mutex<Ledger>,
        counted: &mut Counted,
        (start, log): (&impl Fn(usize) -> Child, &impl Fn(usize) -> PathBuf),
    ) {
        let mut random = Random(self.seed);
        for kill in 0..self.kills as usize {
            // Some die while they start, most at work.
            if random.below(4) > 0 {
                let life = lock(ledger).life;
                let until = Instant::now() + Duration::from_secs(10);
                while Instant::now() < until && lock(ledger).heard_of != Some(life) {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
            tokio::time::sleep(Duration::from_millis(random.below(600))).await;
            let number = kill % lives.len();
            if let Some(life) = lives.get_mut(number) {
                if let Ok(Some(status)) = life.try_wait() {
                    counted.ended.push(format!("{status}: {}", last_lines(&log(number))));
                }
                // SIGKILL: no handler runs, nothing is flushed.
                life.kill().expect("a process");
                life.wait().expect("a process");
                quiet(ledger, self.workers == 0).await;
                lock(ledger).life += 1;
                *life = start(number);
            }
        }
    }

    fn start(&self, number: usize, more: &[String], manifests: &Path, state: &Path, log: &Path) -> Child {
        let mut command = Command::new(&self.program);
        command.arg(if number == 0 { "run" } else { "deliver" }).arg(manifests).args(more);
        if number == 0 {
            command.arg("--notify-existing");
        }
        match &self.outbox {
            Some(url) => command.args(["--outbox", url]),
            None => command.arg("--state").arg(state),
        };
        let log = || std::fs::File::options().create(true).append(true).open(log).expect("a file");
        command.env_remove("RUST_LOG").stdin(Stdio::null()).stdout(log()).stderr(log());
        command.spawn().unwrap_or_else(|error| panic!("{}: {error}", self.program.display()))
    }
}

#[derive(Clone)]
struct Scene {
    manifests: PathBuf,
    new: PathBuf,
}

impl Scene {
    /// Whole or not at all, as editors and `git` write.
    fn write(&self, name: &str, text: &str) {
        std::fs::write(&self.new, text).expect("a file");
        std::fs::rename(&self.new, self.manifests.join(name)).expect("a file");
    }
}

/// Writes the next revision of a Rollout once its present one was accepted; gives the newest ones.
async fn move_on(
    scene: Scene,
    (rollouts, pace): (usize, Duration),
    mut told: mpsc::UnboundedReceiver<Key>,
    mut stopped: watch::Receiver<bool>,
) -> BTreeMap<String, u32> {
    let mut revisions: BTreeMap<String, u32> = BTreeMap::new();
    for number in 0..rollouts {
        let name = format!("web-{number}");
        scene.write(&format!("{name}.yaml"), &rollout(&name, 1, 1));
        revisions.insert(name, 1);
    }
    let mut random = Random(3);
    let mut accepted: VecDeque<String> = VecDeque::new();
    let (mut pace, mut noise) = (tokio::time::interval(pace), tokio::time::interval(NOISE));
    loop {
        tokio::select! {
            Some((receiver, name, revision)) = told.recv() => {
                if receiver == RECEIVERS[0].0 && revisions.get(&name) == Some(&revision) && !accepted.contains(&name) {
                    accepted.push_back(name);
                }
            }
            _ = pace.tick() => {
                let Some(name) = accepted.pop_front() else { continue };
                let Some(current) = revisions.get_mut(&name) else { continue };
                *current += 1;
                scene.write(&format!("{name}.yaml"), &rollout(&name, *current, 1));
            }
            _ = noise.tick() => {
                let (replicas, which) = (random.below(1000), random.below(rollouts as u64));
                if let Some((name, current)) = revisions.iter().nth(usize::try_from(which).unwrap_or(0)) {
                    scene.write(&format!("{name}.yaml"), &rollout(name, *current, replicas));
                }
            }
            _ = stopped.wait_for(|stopped| *stopped) => return revisions,
        }
    }
}

/// Waits until nothing of a killed process is on its way any more.
async fn quiet(ledger: &Mutex<Ledger>, alone: bool) {
    while alone && lock(ledger).open > 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn last_lines(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(3).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

fn count(counted: &mut Counted, due: &BTreeSet<Key>, ledger: &Ledger) {
    let words = |(receiver, name, revision): &Key| format!("{name} revision {revision} to {receiver}");
    counted.due = due.len();
    counted.lost = due.iter().filter(|key| !ledger.accepted.contains_key(*key)).map(words).collect();
    counted.delivered = due.len() - counted.lost.len();
    counted.disordered = ledger.disordered.iter().map(words).collect();
    for (key, times) in &ledger.accepted {
        counted.repeated += times.len() - 1;
        let keys: BTreeSet<&str> = times.iter().map(|one| one.key.as_str()).collect();
        if keys.len() > 1 || keys.contains("") {
            counted.repeated_with_key.insert(words(key));
        }
        let lives: BTreeSet<u32> = times.iter().map(|one| one.life).collect();
        if lives.len() < times.len() {
            counted.repeated_alive.insert(words(key));
        }
    }
}

/// The receivers, at three paths.
async fn listen(listener: TcpListener, ledger: Arc<Mutex<Ledger>>, tell: mpsc::UnboundedSender<Key>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (ledger, tell) = (ledger.clone(), tell.clone());
        lock(&ledger).open += 1;
        connections.spawn(async move {
            // A client that is killed in the middle is what this is about.
            let _ = serve(BufReader::new(stream), &ledger, &tell).await;
            lock(&ledger).open -= 1;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(
    mut stream: impl AsyncBufReadExt + AsyncWrite + Unpin,
    ledger: &Mutex<Ledger>,
    tell: &mpsc::UnboundedSender<Key>,
) -> std::io::Result<()> {
    while let Some(request) = read_request(&mut stream).await? {
        let life = {
            let mut ledger = lock(ledger);
            ledger.heard_of = Some(ledger.life);
            ledger.life
        };
        let Some(receiver) = RECEIVERS.iter().find(|to| request.target == format!("/{}", to.0)) else {
            break;
        };
        tokio::time::sleep(receiver.2).await;
        let refused = receiver.3 > 0 && lock(ledger).random.below(receiver.3) == 0;
        let text = request.text();
        let status = match text.split_once(" web:") {
            Some((name, revision)) if !refused => {
                let key: Key = (receiver.0.to_owned(), name.to_owned(), revision.parse().unwrap_or(0));
                let idempotency = request.header("idempotency-key").unwrap_or_default().to_owned();
                lock(ledger).accept(key.clone(), Accepted { key: idempotency, life });
                // The other end is gone only when the run is over.
                let _ = tell.send(key);
                "200 OK"
            }
            Some(_) => "503 Service Unavailable",
            None => "400 Bad Request",
        };
        stream.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n{{}}").as_bytes()).await?;
        stream.flush().await?;
    }
    Ok(())
}

impl Ledger {
    fn accept(&mut self, key: Key, accepted: Accepted) {
        let newest = self.newest.entry((key.0.clone(), key.1.clone())).or_default();
        if key.2 > *newest {
            *newest = key.2;
        } else if !self.accepted.contains_key(&key) {
            self.disordered.insert(key.clone());
        }
        self.accepted.entry(key).or_default().push(accepted);
    }
}

fn configuration(url: &str) -> String {
    let services: String = RECEIVERS
        .iter()
        .map(|to| format!("  service.webhook.{0}: |\n    url: {url}/{0}\n    retryMax: -1\n", to.0))
        .collect();
    let requests: String = RECEIVERS
        .iter()
        .map(|to| {
            // The status of an event's object is that of the moment before, as in the reference.
            let body =
                "{{.rollout.metadata.name}} {{(index .rollout.spec.template.spec.containers 0).image}}";
            format!("      {}: {{method: POST, body: \"{body}\"}}\n", to.0)
        })
        .collect();
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: argo-rollouts-notification-configmap, namespace: \
         argo-rollouts}}\ndata:\n{services}  template.done: |\n    webhook:\n{requests}  trigger.on-done: |\n    - when: \
         rollout.status.phase == 'Healthy'\n      oncePer: rollout.status.currentPodHash\n      send: [done]\n  \
         trigger.on-rollout-completed: |\n    - send: [done]\n"
    )
}

/// A Rollout whose revision is done.
fn rollout(name: &str, revision: u32, replicas: u64) -> String {
    let subscriptions: String = RECEIVERS
        .iter()
        .map(|to| format!("    notifications.argoproj.io/subscribe.{}.{}: \"\"\n", to.1, to.0))
        .collect();
    format!(
        "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata:\n  name: {name}\n  namespace: shop\n  uid: \
         uid-{name}\n  generation: {revision}\n  creationTimestamp: \"2026-01-01T00:00:00Z\"\n  annotations:\n    \
         rollout.argoproj.io/revision: \"{revision}\"\n{subscriptions}spec:\n  replicas: {replicas}\n  template: {{spec: \
         {{containers: [{{name: web, image: \"web:{revision}\"}}]}}}}\nstatus: {{phase: Healthy, observedGeneration: \
         \"{revision}\", currentPodHash: h{revision}, stableRS: h{revision}}}\n"
    )
}
