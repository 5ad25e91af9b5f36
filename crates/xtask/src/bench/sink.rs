//! The receiver: a process of its own that answers at once and remembers what came, and when. It parses no more than it has
//! to, so that it is never what is measured.

use std::{
    collections::{BTreeMap, HashMap},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

/// The paths that are sick, with what is wrong with them.
pub(crate) const SICK: [&str; 4] = ["slow", "busy", "failing", "hung"];

/// How long the slow one thinks.
const SLOW: Duration = Duration::from_secs(30);

/// What came.
#[derive(Default, Deserialize, Serialize)]
pub(crate) struct Arrived {
    /// TCP connections that carried at least one delivery.
    pub(crate) connections: usize,
    /// By path: the bodies and the microseconds since 1970 when they had been read.
    pub(crate) paths: BTreeMap<String, Vec<(String, u64)>>,
}

/// Microseconds since 1970: the one clock that all processes of a machine share.
pub(crate) fn micros() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Serves until it is killed; prints its port first.
pub(crate) async fn serve() -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("{}", listener.local_addr()?.port());
    let arrived = Arc::new(Mutex::new(Arrived::default()));
    loop {
        let (stream, _) = listener.accept().await?;
        let arrived = arrived.clone();
        tokio::spawn(async move {
            // A connection that ends in the middle is the other side's matter.
            let _ = connection(stream, &arrived).await;
        });
    }
}

async fn connection(stream: TcpStream, arrived: &Mutex<Arrived>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (reading, mut writing) = stream.into_split();
    let mut reading = BufReader::new(reading);
    let (mut line, mut first) = (String::new(), true);
    loop {
        line.clear();
        if reading.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let path = line.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
        let mut length = 0;
        loop {
            line.clear();
            reading.read_line(&mut line).await?;
            let Some((name, value)) = line.split_once(':') else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        let mut body = vec![0; length];
        reading.read_exact(&mut body).await?;
        let at = micros();
        let lock = || arrived.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut status, mut answer) = ("200 OK", String::new());
        match path.as_str() {
            "arrived" => answer = serde_json::to_string(&*lock())?,
            "count" => answer = lock().paths.values().map(Vec::len).sum::<usize>().to_string(),
            "forget" => *lock() = Arrived::default(),
            _ => {
                {
                    let mut arrived = lock();
                    arrived.connections += usize::from(std::mem::take(&mut first));
                    let body = String::from_utf8_lossy(&body).into_owned();
                    arrived.paths.entry(path.clone()).or_default().push((body, at));
                }
                match path.as_str() {
                    "slow" => tokio::time::sleep(SLOW).await,
                    "busy" => status = "429 Too Many Requests",
                    "failing" => status = "500 Internal Server Error",
                    "hung" => std::future::pending().await,
                    _ => {}
                }
            }
        }
        let text = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{answer}", answer.len());
        writing.write_all(text.as_bytes()).await?;
    }
}

/// The receiver's process, as the benchmark sees it.
pub(crate) struct Sink {
    child: Child,
    port: u16,
    client: reqwest::Client,
}

impl Sink {
    /// Starts this program once more.
    pub(crate) fn start() -> Result<Sink> {
        // The peer leaves a connection open for each delivery.
        let mut child = Command::new("sh")
            .args(["-c", "ulimit -n $(ulimit -Hn); exec \"$0\" bench sink"])
            .arg(std::env::current_exe()?)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let output = child.stdout.as_mut().context("the sink prints nothing")?;
        std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line)?;
        let port = line.trim().parse().context("the sink's port")?;
        Ok(Sink { child, port, client: reqwest::Client::builder().no_proxy().build()? })
    }

    /// The address of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    async fn ask(&self, path: &str) -> Result<String> {
        Ok(self.client.get(self.url(path)).send().await?.text().await?)
    }

    /// Begins anew.
    pub(crate) async fn forget(&self) -> Result<()> {
        self.ask("forget").await.map(drop)
    }

    /// What came since.
    pub(crate) async fn arrived(&self) -> Result<Arrived> {
        Ok(serde_json::from_str(&self.ask("arrived").await?)?)
    }

    /// Waits until so many deliveries have come.
    pub(crate) async fn wait_for(&self, count: usize, limit: Duration) -> Result<()> {
        let begin = std::time::Instant::now();
        loop {
            let now: usize = self.ask("count").await?.parse()?;
            if now >= count {
                return Ok(());
            }
            if begin.elapsed() > limit {
                bail!("{now} of {count} deliveries within {} s", limit.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Arrived {
    /// When each body came first at a path, and how many came again.
    pub(crate) fn firsts(&self, path: &str) -> (HashMap<&str, u64>, usize) {
        let (mut firsts, mut again) = (HashMap::new(), 0);
        for (body, at) in self.paths.get(path).into_iter().flatten() {
            if firsts.insert(body.as_str(), *at).is_some() {
                again += 1;
            }
        }
        (firsts, again)
    }

    /// The first and the last arrival at a path.
    pub(crate) fn span(&self, path: &str) -> Option<(u64, u64)> {
        let times = || self.paths.get(path).into_iter().flatten().map(|(_, at)| *at);
        Some((times().min()?, times().max()?))
    }
}
