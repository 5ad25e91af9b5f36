//! The scenes on a cluster.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use herald_testkit::apiserver::Api;
use serde_json::json;
use tokio::task::JoinSet;

use super::{
    program::{Programs, Running, Usage, Who},
    relay::Relay,
    report::Figures,
    sink::{Arrived, SICK, Sink, micros},
    world::World,
};

/// Requests at a time of the bare client, as many as Herald has deliveries at a time.
const FLOOR: usize = 64;

/// After the last change, so long for what is still on its way.
const LATE: Duration = Duration::from_secs(15);

/// What the scenes are played on.
pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) sink: Sink,
    pub(crate) programs: Programs,
    /// How long idle lasts.
    pub(crate) idle: Duration,
    /// How long changes go on.
    pub(crate) steady: Duration,
}

/// A word that no run before has used: triggers with it are other triggers, so nothing has been sent for them.
fn fresh() -> String {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    format!("run{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// Changes of Rollouts' statuses at a steady pace.
struct Changes {
    rate: usize,
    lasting: Duration,
    rollouts: usize,
    run: String,
}

/// When a change was asked for, and when the API server had answered; by the text that is delivered for it.
type Made = BTreeMap<String, (u64, u64)>;

impl Stage {
    /// The configuration: one trigger `told` with this condition and more keys.
    async fn configure(&self, when: &str, body: &str, more: &[(String, String)]) -> Result<()> {
        let mut data = BTreeMap::new();
        data.insert("service.webhook.hook".to_owned(), format!("url: {}\n", self.sink.url("hook")));
        data.insert("trigger.told".to_owned(), format!("- {when}\n  send: [told]\n"));
        let mut sections = String::new();
        for service in ["hook"].into_iter().chain(SICK) {
            sections += &format!("  {service}:\n    method: POST\n    body: \"{body}\"\n");
        }
        data.insert("template.told".to_owned(), format!("webhook:\n{sections}"));
        data.extend(more.iter().cloned());
        self.world.configure(&data).await
    }

    /// All Rollouts have a true trigger when the program starts.
    pub(crate) async fn storm(&self, who: Who, size: usize) -> Result<Figures> {
        let run = fresh();
        let when = format!("when: rollout.metadata.labels.tier == 'load' && '{run}' != ''");
        let body = "{{.rollout.metadata.name}} of {{.rollout.metadata.namespace}} runs {{(index .rollout.spec.template.spec.containers 0).image}}";
        self.configure(&when, body, &[]).await?;
        self.sink.forget().await?;
        let before = self.world.requests().await?;
        let mut program = Running::start(who, &self.programs, &self.world, &self.world.url(), true)?;
        let limit = Duration::from_secs(30 + size as u64 / 10);
        let waited = self.sink.wait_for(size, limit).await;
        waited.with_context(|| format!("{}: {}", who.name(), program.tail()))?;
        let limited = matches!(who, Who::HeraldLimited | Who::PeerLimited);
        if !limited {
            // The records trail behind: what is not written yet is yet to be paid for.
            let begin = Instant::now();
            while self.world.requests().await? - before < size as f64
                && begin.elapsed() < Duration::from_secs(300)
            {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            program.quiet(Duration::from_secs(120)).await?;
        }
        let usage = program.usage()?;
        let requests = self.world.requests().await? - before;
        let arrived = self.sink.arrived().await?;
        let (first, last) = arrived.span("hook").context("nothing arrived")?;
        let (firsts, again) = arrived.firsts("hook");
        if firsts.len() < size {
            bail!("{}: {} of {size} arrived", who.name(), firsts.len());
        }
        let seconds = seconds(program.began, last);
        let mut figures = Figures::default();
        figures.put("deliveries/s", size as f64 / seconds);
        figures.put("seconds to the last", seconds);
        figures.put("seconds to the first", self::seconds(program.began, first));
        figures.put("repeated", again as f64);
        figures.put("connections", arrived.connections as f64);
        if !limited {
            figures.put("CPU seconds", usage.cpu);
            figures.put("peak MiB", usage.peak);
            figures.put("MiB afterwards", usage.resident);
            figures.put("API requests", requests);
        }
        Ok(figures)
    }

    /// The same requests by a bare HTTP client; and with the Rollouts listed before, which nobody can do without.
    pub(crate) async fn floor(&self, size: usize) -> Result<Figures> {
        let client = reqwest::Client::builder().no_proxy().build()?;
        let image = "argoproj/rollouts-demo:purple";
        let texts: Vec<String> = (0..size)
            .map(|n| format!("{} of {} runs {image}", World::name(n), self.world.namespace()))
            .collect();
        self.sink.forget().await?;
        let begin = micros();
        self.world.list().await?;
        let listed = micros();
        let mut tasks = JoinSet::new();
        let texts = std::sync::Arc::new(texts);
        for sender in 0..FLOOR {
            let (client, url, texts) = (client.clone(), self.sink.url("hook"), texts.clone());
            tasks.spawn(async move {
                for text in texts.iter().skip(sender).step_by(FLOOR) {
                    client.post(&url).body(text.clone()).send().await?.bytes().await?;
                }
                Ok::<(), reqwest::Error>(())
            });
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        let end = micros();
        let mut figures = Figures::default();
        figures.put("deliveries/s", size as f64 / seconds(listed, end));
        figures.put("deliveries/s with the list", size as f64 / seconds(begin, end));
        figures.put("seconds of the list", seconds(begin, listed));
        Ok(figures)
    }

    /// Rollouts are watched, and nothing happens.
    pub(crate) async fn idle(&self, who: Who, size: usize) -> Result<Figures> {
        let when = format!("when: rollout.metadata.labels.tier == '{}'", fresh());
        self.configure(&when, "never", &[]).await?;
        let relay = Relay::start(&self.world.url()).await?;
        let mut program = Running::start(who, &self.programs, &self.world, &relay.url(), false)?;
        program.at_rest().await?;
        let (begin, to_start) = (program.usage()?, relay.bytes());
        tokio::time::sleep(self.idle).await;
        let end = program.usage()?;
        let mut figures = Figures::default();
        figures.put("MiB", end.resident);
        figures.put("peak MiB", end.peak);
        figures.put("bytes/Rollout", end.resident * 1024.0 * 1024.0 / size as f64);
        figures.put("CPU %", (end.cpu - begin.cpu) / self.idle.as_secs_f64() * 100.0);
        figures.put("CPU seconds to start", begin.cpu);
        figures.put("KiB from the API to start", to_start as f64 / 1024.0);
        figures.put("KiB from the API idle", (relay.bytes() - to_start) as f64 / 1024.0);
        Ok(figures)
    }

    /// From the start of the process to the first delivery.
    pub(crate) async fn start(&self, who: Who) -> Result<Figures> {
        let when = format!("when: rollout.metadata.labels.tier == 'load' && '{}' != ''", fresh());
        self.configure(&when, "{{.rollout.metadata.name}}", &[]).await?;
        self.sink.forget().await?;
        let program = Running::start(who, &self.programs, &self.world, &self.world.url(), true)?;
        self.sink.wait_for(1, Duration::from_secs(60)).await?;
        let (first, _) = self.sink.arrived().await?.span("hook").context("nothing arrived")?;
        let mut figures = Figures::default();
        figures.put("ms to the first", seconds(program.began, first) * 1e3);
        Ok(figures)
    }

    /// Changes at a steady pace, one delivery each.
    pub(crate) async fn steady(&self, who: Who, rate: usize, rollouts: usize) -> Result<Figures> {
        let run = fresh();
        self.configure(&changed(&run), CHANGED, &[]).await?;
        let mut program = Running::start(who, &self.programs, &self.world, &self.world.url(), false)?;
        program.at_rest().await?;
        let before = program.usage()?;
        let changes = Changes { rate, lasting: self.steady, rollouts, run };
        let (made, arrived) = self.change(&changes).await?;
        let mut figures = latencies(&made, &arrived);
        used(&mut figures, before, program.usage()?);
        Ok(figures)
    }

    /// A healthy receiver beside sick ones, or alone.
    pub(crate) async fn sick(&self, who: Who, beside: bool) -> Result<Figures> {
        let run = fresh();
        let mut more = Vec::new();
        if beside {
            for path in SICK {
                more.push((format!("service.webhook.{path}"), format!("url: {}\n", self.sink.url(path))));
            }
            let subscription = format!("- recipients: [{}]\n  triggers: [told]\n", SICK.join(", "));
            more.push(("subscriptions".to_owned(), subscription));
        }
        self.configure(&changed(&run), CHANGED, &more).await?;
        let mut program = Running::start(who, &self.programs, &self.world, &self.world.url(), false)?;
        program.at_rest().await?;
        let changes = Changes { rate: 50, lasting: self.steady, rollouts: 200, run };
        let (made, arrived) = self.change(&changes).await?;
        let mut figures = latencies(&made, &arrived);
        figures.put("connections", arrived.connections as f64);
        Ok(figures)
    }

    /// A large configuration is replaced while Rollouts change.
    pub(crate) async fn config(&self, who: Who) -> Result<Figures> {
        let run = fresh();
        let more: Vec<(String, String)> = (0..499)
            .flat_map(|n| {
                let when = format!(
                    "- when: rollout.status?.phase == 'Never{n}' && rollout.spec.replicas > {n}\n  send: [other-{n}]\n"
                );
                let text = format!(
                    "message: \"{{{{.rollout.metadata.name}}}} {n} {{{{range .rollout.status.conditions}}}}{{{{.type}}}}{{{{end}}}}\"\n"
                );
                [(format!("trigger.other-{n}"), when), (format!("template.other-{n}"), text)]
            })
            .collect();
        self.configure(&changed(&run), CHANGED, &more).await?;
        let mut program = Running::start(who, &self.programs, &self.world, &self.world.url(), false)?;
        program.at_rest().await?;
        let quarter = self.steady / 2;
        let changes = |run: &str| Changes { rate: 50, lasting: quarter, rollouts: 200, run: run.to_owned() };
        let (made, arrived) = self.change(&changes(&run)).await?;
        let alone = latencies(&made, &arrived);
        // The pace goes on over the change of the configuration.
        let replaced = async {
            tokio::time::sleep(quarter / 3).await;
            let body = format!("{CHANGED} new");
            self.configure(&changed(&run), &body, &more).await?;
            Ok::<u64, anyhow::Error>(micros())
        };
        let changes = Changes { run: format!("{run}b"), ..changes(&run) };
        let (changed, replaced) = tokio::join!(self.change(&changes), replaced);
        let ((made, mut arrived), replaced) = (changed?, replaced?);
        let first = arrived.paths.get("hook").into_iter().flatten();
        let first = first.filter(|(body, _)| body.ends_with(" new")).map(|(_, at)| *at).min();
        for (body, _) in arrived.paths.get_mut("hook").into_iter().flatten() {
            body.truncate(body.trim_end_matches(" new").len());
        }
        let beside = latencies(&made, &arrived);
        let mut figures = Figures::default();
        if let Some(first) = first {
            figures.put("ms until in force", seconds(replaced, first) * 1e3);
        }
        for (name, from) in [("alone", alone), ("beside", beside)] {
            for figure in ["p50 ms", "max ms"] {
                figures.put(&format!("{figure} {name}"), from.get(figure).unwrap_or(f64::NAN));
            }
        }
        Ok(figures)
    }

    /// Makes changes, and waits for what they cause.
    async fn change(&self, changes: &Changes) -> Result<(Made, Arrived)> {
        self.sink.forget().await?;
        let count = (changes.lasting.as_secs_f64() * changes.rate as f64) as usize;
        let api = self.world.api();
        let mut tasks = JoinSet::new();
        let mut tick = tokio::time::interval(Duration::from_secs_f64(1.0 / changes.rate as f64));
        let mut made = Made::new();
        for number in 0..count {
            tick.tick().await;
            let (name, hash) = (World::name(number % changes.rollouts), format!("{}x{number}", changes.run));
            let (api, namespace) = (api.clone(), self.world.namespace().to_owned());
            // Some triggers ask for the run's beginning only.
            let phase = format!("Told-{}", changes.run.trim_end_matches('b'));
            tasks.spawn(async move {
                let path = format!("{}/{name}/status", Api::rollouts(&namespace));
                let status = json!({"status": {"phase": phase, "currentPodHash": hash}});
                let asked = micros();
                let answer = api.merge(&path, &status).await;
                let answered = micros();
                Api::done(answer);
                (format!("{name} {hash}"), (asked, answered))
            });
            while let Some(done) = tasks.try_join_next() {
                made.extend([done?]);
            }
        }
        while let Some(done) = tasks.join_next().await {
            made.extend([done?]);
        }
        // Not all need to arrive; what does not is counted.
        let deadline = tokio::time::Instant::now() + LATE;
        let arrived = loop {
            let arrived = self.sink.arrived().await?;
            let all = arrived.paths.get("hook").is_some_and(|came| came.len() >= count);
            if all || tokio::time::Instant::now() > deadline {
                break arrived;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        };
        Ok((made, arrived))
    }
}

const CHANGED: &str = "{{.rollout.metadata.name}} {{.rollout.status.currentPodHash}}";

fn changed(run: &str) -> String {
    format!("when: rollout.status?.phase == 'Told-{run}'\n  oncePer: rollout.status.currentPodHash")
}

fn seconds(from: u64, to: u64) -> f64 {
    to.saturating_sub(from) as f64 / 1e6
}

fn used(figures: &mut Figures, before: Usage, after: Usage) {
    figures.put("CPU seconds", after.cpu - before.cpu);
    figures.put("peak MiB", after.peak);
}

/// From the API server's answer to the delivery. A delivery may be faster than that answer; then it took no time.
fn latencies(made: &Made, arrived: &Arrived) -> Figures {
    let (firsts, again) = arrived.firsts("hook");
    let mut times: Vec<f64> = Vec::new();
    let mut since_asked: Vec<f64> = Vec::new();
    for (text, (asked, answered)) in made {
        if let Some(at) = firsts.get(text.as_str()) {
            times.push(seconds(*answered, *at) * 1e3);
            since_asked.push(seconds(*asked, *at) * 1e3);
        }
    }
    let mut figures = Figures::default();
    figures.put("changes", made.len() as f64);
    figures.put("lost", (made.len() - times.len()) as f64);
    figures.put("repeated", again as f64);
    for (name, part) in [("p50 ms", 0.5), ("p99 ms", 0.99), ("p99.9 ms", 0.999), ("max ms", 1.0)] {
        figures.put(name, quantile(&mut times, part));
    }
    figures.put("p50 ms since asked", quantile(&mut since_asked, 0.5));
    let mut writes: Vec<f64> =
        made.values().map(|(asked, answered)| seconds(*asked, *answered) * 1e3).collect();
    figures.put("p50 ms of the write", quantile(&mut writes, 0.5));
    figures
}

fn quantile(times: &mut [f64], part: f64) -> f64 {
    times.sort_unstable_by(f64::total_cmp);
    let index = ((times.len() as f64 * part) as usize).min(times.len().saturating_sub(1));
    times.get(index).copied().unwrap_or(f64::NAN)
}
