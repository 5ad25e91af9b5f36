//! `herald run DIR`

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use herald_outbox::{
    Batch, Clock, Courier, CourierOptions, Filter, HandleCache, Outbox, OutboxError, Outcome as Standing,
    Report, StateEntry, SystemClock,
};
use herald_sources::{ObjectKey, directory::Directory};
use tokio::sync::{Notify, watch};

use super::{RunArgs, interrupted, shared};
use crate::{
    failure::{Failure, Outcome},
    input::{self, ConfigArgs},
    operator::{Health, Requests},
    pipeline::{
        configuration::{self, Active, Builder},
        deliver::Services,
        delivery,
        engine::{Engine, Known, SCOPE, Weighed},
        handles::{self, DurableHandles},
        report::Reporter,
        world::World,
    },
    traces::Traces,
};

/// How often the directory is looked at.
const PERIOD: Duration = Duration::from_millis(200);

/// How many objects' results go into one commit.
const GROUP: usize = 64;

/// Attempts of each notice with `--once`.
const ATTEMPTS: u32 = 3;

/// The scope and key of when the directory was first recorded.
const BASELINE: (&str, &str) = ("meta", "baseline");

/// Runs it: until it is interrupted, or once.
pub(super) async fn run(args: &RunArgs, dir: &Path, config: &ConfigArgs, json: bool) -> Outcome {
    let runner = Runner::start(args, dir, config, json).await?;
    let outbox = runner.outbox.clone();
    tokio::select! {
        result = runner.run() => result,
        damage = outbox.damaged() => Err(damage.into()),
    }
}

struct Runner<'a> {
    args: &'a RunArgs,
    dir: &'a Path,
    config_args: &'a ConfigArgs,
    directory: Directory,
    world: World,
    outbox: Arc<dyn Outbox>,
    clock: Arc<dyn Clock>,
    handles: Arc<HandleCache>,
    builder: Builder,
    active: watch::Sender<Arc<Active>>,
    reporter: Arc<Reporter>,
    health: Arc<Health>,
    /// Rollouts to look at.
    waiting: BTreeSet<ObjectKey>,
    /// Rollouts to look at later even if they don't change.
    timers: BTreeMap<ObjectKey, Instant>,
    /// Whether objects of former runs were compared with what is there.
    swept: bool,
}

impl<'a> Runner<'a> {
    async fn start(
        args: &'a RunArgs,
        dir: &'a Path,
        config_args: &'a ConfigArgs,
        json: bool,
    ) -> Result<Runner<'a>, Failure> {
        if !dir.is_dir() {
            let what = if dir.exists() { "is no directory" } else { "does not exist" };
            return Err(Failure::bad(format!(
                "{} {what}; name the directory with the manifests",
                dir.display()
            )));
        }
        let outbox = args.open(|| input::state_file(args.state.as_deref(), dir)).await?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let handles = Arc::new(HandleCache::start(outbox.clone(), clock.clone(), handles::MOST).await?);
        let metrics = args.metrics.metrics();
        let reporter = Arc::new(Reporter::counting(json, metrics.clone()));
        let traces = Traces::from_env(&metrics);
        let builder = Builder::new(Box::new(DurableHandles(handles.clone())))
            .observed_by(Arc::new(Requests(metrics.clone(), traces.clone())), &[]);
        let empty = builder.build(&input::base_input(), None, &reporter);
        Ok(Runner {
            args,
            dir,
            config_args,
            directory: Directory::new(dir),
            world: World::default(),
            health: Health::new(outbox.clone(), reporter.clone(), metrics, traces),
            outbox,
            clock,
            handles,
            builder,
            active: watch::Sender::new(Arc::new(empty)),
            reporter,
            waiting: BTreeSet::new(),
            timers: BTreeMap::new(),
            swept: false,
        })
    }

    async fn run(mut self) -> Outcome {
        let first = self.outbox.get_state(BASELINE.0, BASELINE.1).await?.is_none();
        let silent = first && !self.args.once && !self.args.notify_existing;
        self.health
            .serve(&[self.args.healthz_port.unwrap_or(0), self.args.metrics_port.unwrap_or(0)])
            .await?;
        self.health.count_dead_letters();
        self.health.show_on(self.args.ui.serve(self.outbox.clone(), None).await?);
        self.scan()?;
        // Even a directory without a ConfigMap has a configuration: the catalog.
        self.configure()?;
        self.waiting = self.world.rollouts();
        self.look(silent).await?;
        if first {
            let value = jiff::Timestamp::now().to_string().into_bytes();
            let entry = StateEntry { scope: BASELINE.0.into(), key: BASELINE.1.into(), value };
            self.outbox.commit(Batch { put_state: vec![entry], ..Batch::default() }).await?;
        }
        self.health.is_ready();
        if self.args.once { self.once().await } else { self.watch().await }
    }

    fn courier(&self) -> Courier {
        let services = Services { active: self.active.subscribe(), allowed: None };
        let services = self.health.traces().around(services);
        let options = CourierOptions {
            policies: delivery::policies(self.active.subscribe()),
            ..CourierOptions::default()
        };
        Courier::new(self.outbox.clone(), Arc::new(services), self.clock.clone(), options)
            .observed_by(self.health.clone())
    }

    /// Delivers what waits, without another look at the directory.
    async fn deliver_once(&self) -> Result<Report, Failure> {
        let report = match self.args.outbox.is_shared() {
            false => self.courier().run_until_idle(ATTEMPTS).await,
            true if self.args.publish_only => {
                Report { waiting: self.outbox.backlog().await?.0, ..Report::default() }
            }
            true => {
                let stop = Arc::new(Notify::new());
                let stopped = stop.clone();
                let courier = tokio::spawn(self.courier().run(async move { stopped.notified().await }));
                let done = shared::drained(&*self.outbox, ATTEMPTS).await;
                stop.notify_one();
                let report = courier.await.map_err(|e| Failure::bad(format!("the courier failed: {e}")))?;
                done?;
                report
            }
        };
        Ok(report)
    }

    async fn once(self) -> Outcome {
        let report = tokio::select! {
            report = self.deliver_once() => report?,
            () = interrupted() => {
                self.handles.flush().await?;
                self.outbox.close().await;
                return Err(Failure::bad("interrupted; what was not delivered is delivered by the next run"));
            }
        };
        self.handles.flush().await?;
        self.health.traces().flush().await;
        let problems = self.reporter.count();
        if self.args.publish_only {
            self.outbox.close().await;
            let rest =
                if problems > 0 { format!(", {problems} problems, told above") } else { String::new() };
            eprintln!("{} wait for `herald deliver`{rest}", report.waiting);
            return if problems == 0 { Ok(()) } else { Err(Failure::told()) };
        }
        let mut parts = Vec::new();
        if report.dead_letters > 0 {
            parts.push(format!(
                "{} given up (`herald deliveries list --outcome dead-letter`)",
                report.dead_letters
            ));
        }
        if report.waiting > 0 {
            parts.push(format!("{} not delivered yet (the next run tries again)", report.waiting));
            let pending = Filter { outcome: Some(Standing::Pending), limit: Some(20), ..Filter::default() };
            for entry in self.outbox.list(pending).await? {
                let notice = &entry.notice;
                let why = entry.answer.as_deref().or(entry.reason.as_deref()).unwrap_or("not attempted");
                eprintln!(
                    "error: {}/{}, trigger {}, to {}:{}: {why}",
                    notice.object.namespace,
                    notice.object.name,
                    notice.trigger,
                    notice.service,
                    notice.recipient
                );
            }
        }
        if problems > 0 {
            parts.push(format!("{problems} problems, told above"));
        }
        self.outbox.close().await;
        eprintln!(
            "{} delivered{}",
            report.delivered,
            parts.iter().map(|p| format!(", {p}")).collect::<String>()
        );
        if parts.is_empty() { Ok(()) } else { Err(Failure::told()) }
    }

    async fn watch(mut self) -> Outcome {
        self.directory.be_patient();
        let stop = Arc::new(Notify::new());
        let courier = self.courier();
        let stopped = stop.clone();
        let courier = (!self.args.publish_only)
            .then(|| tokio::spawn(courier.run(async move { stopped.notified().await })));
        tracing::info!(directory = %self.dir.display(), "watching");
        let mut interrupt = std::pin::pin!(interrupted());
        loop {
            tokio::select! {
                () = &mut interrupt => break,
                () = tokio::time::sleep(PERIOD) => {}
            }
            self.scan()?;
            let now = Instant::now();
            self.waiting.extend(self.timers.iter().filter(|(_, at)| **at <= now).map(|(key, _)| key.clone()));
            // What can't be stored now is looked at again: nothing was recorded of it.
            if let Err(error) = self.look(false).await
                && self.outbox.trouble().is_none()
            {
                self.reporter.problem(&error.to_string());
            }
        }
        tracing::info!("ending: what is on its way is finished");
        stop.notify_one();
        let report = match courier {
            Some(courier) => courier.await.map_err(|e| Failure::bad(format!("the courier failed: {e}")))?,
            None => Report::default(),
        };
        self.handles.flush().await?;
        self.outbox.close().await;
        self.health.traces().flush().await;
        tracing::info!(delivered = report.delivered, waiting = report.waiting, "ended");
        Ok(())
    }

    /// Looks at the directory.
    fn scan(&mut self) -> Result<(), Failure> {
        let scan = self.directory.scan();
        for problem in &scan.problems {
            self.reporter.problem(&problem.to_string());
        }
        let touched = self.world.apply(scan.changes);
        self.waiting.extend(touched.rollouts);
        if touched.configuration {
            self.configure()?;
            // A new configuration may have something to say about what didn't change.
            self.waiting.extend(self.world.rollouts());
        }
        Ok(())
    }

    fn configure(&mut self) -> Result<(), Failure> {
        let input = configuration::input(self.config_args, &self.world, &self.reporter)?;
        let earlier = self.active.borrow().clone();
        let active = self.builder.build(&input, Some(&*earlier), &self.reporter);
        if let Some(shelf) = self.health.shelf() {
            shelf.configured(&active);
        }
        self.active.send_replace(Arc::new(active));
        Ok(())
    }

    /// Looks at the Rollouts that wait for it, and stores what is found.
    async fn look(&mut self, silent: bool) -> Result<(), OutboxError> {
        self.sweep().await?;
        while !self.waiting.is_empty() {
            let group: Vec<ObjectKey> = self.waiting.iter().take(GROUP).cloned().collect();
            let active = self.active.borrow().clone();
            let engine = Engine {
                config: &active.config,
                reporter: &self.reporter,
                now: jiff::Timestamp::now(),
                scope: SCOPE,
            };
            let mut all = Batch::default();
            let mut next = Vec::with_capacity(group.len());
            let names: Vec<String> =
                group.iter().map(|key| format!("{}/{}", key.namespace, key.name)).collect();
            for (key, known) in group.iter().zip(engine.recall(&*self.outbox, &names).await?) {
                let look = self.world.look(key);
                let Weighed { batch, next_look, .. } = engine.look(&look, known, silent);
                if let Some(shelf) = self.health.shelf() {
                    shelf.looked(&look, &active);
                }
                all.enqueue.extend(batch.enqueue);
                all.put_state.extend(batch.put_state);
                all.delete_state.extend(batch.delete_state);
                all.done.extend(batch.done);
                next.push(next_look);
            }
            let (now, instant) = (engine.now, Instant::now());
            self.health.commit(all).await?;
            for (key, next_look) in group.into_iter().zip(next) {
                // Waiting goes by a clock that does not jump.
                let wait = next_look.map(|at| Duration::try_from(at.duration_since(now)).unwrap_or_default());
                match wait.and_then(|wait| instant.checked_add(wait)) {
                    Some(at) => drop(self.timers.insert(key.clone(), at)),
                    None => drop(self.timers.remove(&key)),
                }
                self.world.looked(&key);
                self.waiting.remove(&key);
            }
        }
        Ok(())
    }

    /// Rollouts of a former run that are not there any more were deleted meanwhile. Files that can't be read may
    /// still hold them.
    async fn sweep(&mut self) -> Result<(), OutboxError> {
        if self.swept || self.directory.broken_files() > 0 {
            return Ok(());
        }
        let there = self.world.rollouts();
        for (_, value) in self.outbox.list_state(SCOPE).await? {
            let Ok(known) = serde_json::from_slice::<Known>(&value) else { continue };
            let key = ObjectKey { kind: "Rollout".into(), namespace: known.namespace, name: known.name };
            if !there.contains(&key) {
                self.waiting.insert(key);
            }
        }
        self.swept = true;
        Ok(())
    }
}
