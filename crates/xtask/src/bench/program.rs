//! Herald and the peer as processes, and what they use.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{sink::micros, world::World};

/// Clock ticks a second in /proc, which are 100 on every Linux that we know.
const TICKS: f64 = 100.0;

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// Herald without a limit of requests.
    Herald,
    /// Herald with the limit that it has by itself, 40 a second.
    HeraldLimited,
    /// The reference's engine without a limit.
    Peer,
    /// The reference's engine with the limit that it has by itself, 40 a second.
    PeerLimited,
}

impl Who {
    /// As it is called in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Who::Herald => "herald",
            Who::HeraldLimited => "herald, 40 requests/s",
            Who::Peer => "peer",
            Who::PeerLimited => "peer, 40 requests/s",
        }
    }

    fn is_herald(self) -> bool {
        matches!(self, Who::Herald | Who::HeraldLimited)
    }
}

/// Where the programs are.
pub(crate) struct Programs {
    /// Herald's release binary.
    pub(crate) herald: PathBuf,
    /// The peer.
    pub(crate) peer: PathBuf,
}

/// A process that is measured. It is killed when it is dropped.
pub(crate) struct Running {
    child: Child,
    who: Who,
    home: tempfile::TempDir,
    port: u16,
    /// Microseconds since 1970.
    pub(crate) began: u64,
}

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Seconds of CPU.
    pub(crate) cpu: f64,
    /// The most memory it had, in MiB.
    pub(crate) peak: f64,
    /// The memory it has, in MiB.
    pub(crate) resident: f64,
}

impl Running {
    /// Starts it cold: nothing is known from before. `existing` tells at the first look what is true then, as the peer does.
    pub(crate) fn start(
        who: Who,
        programs: &Programs,
        world: &World,
        url: &str,
        existing: bool,
    ) -> Result<Running> {
        let home = tempfile::Builder::new().prefix("herald-bench-").tempdir()?;
        let kubeconfig = world.kubeconfig(home.path(), url);
        let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let log = File::create(home.path().join("log"))?;
        let limited = matches!(who, Who::HeraldLimited | Who::PeerLimited);
        let namespace = world.namespace();
        let mut command = Command::new(if who.is_herald() { &programs.herald } else { &programs.peer });
        if who.is_herald() {
            command.arg("run").arg("--kubeconfig").arg(&kubeconfig);
            command.args(["--namespaced", "--leader-elect=false", "--metricsPort", "0", "-n", namespace]);
            command.args(["--healthzPort", &port.to_string(), "--state"]).arg(home.path().join("state.db"));
            if !limited {
                command.args(["--qps", "0"]);
            }
            if existing {
                command.arg("--notify-existing");
            }
        } else {
            command.arg("--kubeconfig").arg(&kubeconfig);
            command.args(["--namespace", namespace, "--watch-namespace", namespace]);
            if !limited {
                command.args(["--qps", "0"]);
            }
        }
        command.env("NO_COLOR", "1").env_remove("RUST_LOG");
        let began = micros();
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} can't be started", who.name()))?;
        Ok(Running { child, who, home, port, began })
    }

    /// Waits until it watches, and has nothing left to do.
    pub(crate) async fn at_rest(&mut self) -> Result<()> {
        let begin = Instant::now();
        let client = reqwest::Client::builder().no_proxy().build()?;
        let ready = format!("http://127.0.0.1:{}/readyz", self.port);
        loop {
            let is_ready = if self.who.is_herald() {
                client.get(&ready).send().await.is_ok_and(|answer| answer.status().is_success())
            } else {
                self.log().contains("synced")
            };
            if is_ready {
                break;
            }
            if begin.elapsed() > Duration::from_secs(300) || self.child.try_wait()?.is_some() {
                bail!("{} is not ready: {}", self.who.name(), self.tail());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.quiet(Duration::from_secs(180)).await
    }

    /// Waits until it hardly uses the CPU for two seconds.
    pub(crate) async fn quiet(&mut self, limit: Duration) -> Result<()> {
        let begin = Instant::now();
        let mut before = self.usage()?.cpu;
        let mut calm = 0;
        while calm < 4 && begin.elapsed() < limit {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let now = self.usage()?.cpu;
            calm = if now - before < 0.02 { calm + 1 } else { 0 };
            before = now;
        }
        Ok(())
    }

    /// What it has used.
    pub(crate) fn usage(&self) -> Result<Usage> {
        let proc = PathBuf::from(format!("/proc/{}", self.child.id()));
        let cpu =
            cpu_seconds(&proc).with_context(|| format!("{} ended: {}", self.who.name(), self.tail()))?;
        let status = fs::read_to_string(proc.join("status"))?;
        let mebibytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
            number.unwrap_or(f64::NAN) / 1024.0
        };
        Ok(Usage { cpu, peak: mebibytes("VmHWM:"), resident: mebibytes("VmRSS:") })
    }

    fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }

    /// The last lines that it printed.
    pub(crate) fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines.get(lines.len().saturating_sub(8)..).unwrap_or_default().join("\n")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The CPU seconds of a process, by its folder in /proc.
pub(crate) fn cpu_seconds(proc: &Path) -> Result<f64> {
    let stat = fs::read_to_string(proc.join("stat"))?;
    // The name is in parentheses and may hold anything.
    let (_, after) = stat.rsplit_once(')').context("a line of /proc/PID/stat")?;
    let ticks = |index: usize| after.split_whitespace().nth(index)?.parse::<f64>().ok();
    let (user, system) = (ticks(11).context("no user time")?, ticks(12).context("no system time")?);
    Ok((user + system) / TICKS)
}
