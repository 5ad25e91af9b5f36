//! An HTTP server that records requests and answers as scripted, broken answers included.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpListener,
    sync::Notify,
    task::JoinHandle,
};

/// A request as it arrived.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// The method.
    pub method: String,
    /// The request target: path and query.
    pub target: String,
    /// The headers in order.
    pub headers: Vec<(String, String)>,
    /// The body, chunks joined.
    pub body: Vec<u8>,
}

impl Recorded {
    /// A header by name, without regard to case; of several the last.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .rev()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The URL that was meant: the header `X-Original-URL`, else the address as the server sees it.
    pub fn url(&self) -> String {
        match self.header("x-original-url") {
            Some(url) => url.to_string(),
            None if self.target.starts_with("http") => self.target.clone(),
            None => format!("http://{}{}", self.header("host").unwrap_or_default(), self.target),
        }
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// What the server does with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Act {
    Reply,
    Hang,
    Close,
    HalfBody,
    Endless(usize),
}

/// A scripted answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    delay: Duration,
    act: Act,
}

impl Answer {
    /// An answer with a status and the body `{}`.
    pub fn status(status: u16) -> Answer {
        Answer { status, headers: Vec::new(), body: b"{}".to_vec(), delay: Duration::ZERO, act: Act::Reply }
    }

    /// 200 with a body.
    pub fn ok(body: impl Into<Vec<u8>>) -> Answer {
        Answer::status(200).body(body)
    }

    /// The connection is closed without an answer.
    pub fn close() -> Answer {
        Answer { act: Act::Close, ..Answer::status(200) }
    }

    /// There is never an answer, but the connection stays open.
    pub fn hang() -> Answer {
        Answer { act: Act::Hang, ..Answer::status(200) }
    }

    /// A body that ends before its announced length.
    pub fn half() -> Answer {
        Answer { act: Act::HalfBody, ..Answer::status(200) }
    }

    /// A body of this many bytes.
    pub fn huge(bytes: usize) -> Answer {
        Answer { act: Act::Endless(bytes), ..Answer::status(200) }
    }

    /// The same with a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Answer {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The same with a body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Answer {
        self.body = body.into();
        self
    }

    /// The same with another status.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Answer {
        self.status = status;
        self
    }

    /// The same after some time.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Answer {
        self.delay = delay;
        self
    }
}

struct State {
    requests: Vec<Recorded>,
    script: VecDeque<Answer>,
    default: Answer,
    at: HashMap<String, Answer>,
    connections: usize,
    open: usize,
    peak: usize,
    most_taken: usize,
}

/// The recording server. It ends when it is dropped.
pub struct Recorder {
    address: SocketAddr,
    tls: bool,
    state: Arc<Mutex<State>>,
    arrived: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Recorder {
    /// Starts one on a free port.
    ///
    /// # Panics
    /// If no port is free.
    pub async fn start() -> Recorder {
        Recorder::listen(false).await
    }

    /// Starts one that speaks TLS with the certificates of [`crate::tls`].
    ///
    /// # Panics
    /// If no port is free.
    pub async fn start_tls() -> Recorder {
        Recorder::listen(true).await
    }

    async fn listen(tls: bool) -> Recorder {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(Mutex::new(State {
            requests: Vec::new(),
            script: VecDeque::new(),
            at: HashMap::new(),
            default: Answer::status(200),
            connections: 0,
            open: 0,
            peak: 0,
            most_taken: 0,
        }));
        let arrived = Arc::new(Notify::new());
        let task = tokio::spawn({
            let (state, arrived) = (state.clone(), arrived.clone());
            let acceptor = tls.then(crate::tls::acceptor);
            async move {
                let mut connections = tokio::task::JoinSet::new();
                loop {
                    let Ok((stream, _)) = listener.accept().await else { continue };
                    {
                        let mut state = lock(&state);
                        state.connections += 1;
                        state.open += 1;
                        state.peak = state.peak.max(state.open);
                    }
                    let (state, arrived, acceptor) = (state.clone(), arrived.clone(), acceptor.clone());
                    connections.spawn(async move {
                        // A client that goes away in the middle is an ordinary event here.
                        let _ = match acceptor {
                            None => serve(stream, &state, &arrived).await,
                            Some(acceptor) => match acceptor.accept(stream).await {
                                Ok(stream) => serve(stream, &state, &arrived).await,
                                Err(error) => Err(error),
                            },
                        };
                        lock(&state).open -= 1;
                    });
                }
            }
        });
        Recorder { address, tls, state, arrived, task }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A URL on it.
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", if self.tls { "https" } else { "http" }, self.address)
    }

    /// Adds answers for the next requests, in order of arrival.
    pub fn script(&self, answers: impl IntoIterator<Item = Answer>) {
        lock(&self.state).script.extend(answers);
    }

    /// Sets the answer when the script is at its end; at first 200 with `{}`.
    pub fn otherwise(&self, answer: Answer) {
        lock(&self.state).default = answer;
    }

    /// Sets the answer to all requests for a target, whatever the script says.
    pub fn answer_at(&self, target: &str, answer: Answer) {
        lock(&self.state).at.insert(target.to_owned(), answer);
    }

    /// What arrived so far.
    pub fn requests(&self) -> Vec<Recorded> {
        lock(&self.state).requests.clone()
    }

    /// Forgets what arrived.
    pub fn clear(&self) {
        lock(&self.state).requests.clear();
    }

    /// Connections that were ever opened, and the most that were open at once.
    pub fn connections(&self) -> (usize, usize) {
        let state = lock(&self.state);
        (state.connections, state.peak)
    }

    /// Bytes that went out of the longest of the huge answers: what was read of it, and what buffers hold.
    pub fn most_taken(&self) -> usize {
        lock(&self.state).most_taken
    }

    /// Waits until a number of requests has arrived; `None` if that takes longer than `limit`.
    pub async fn wait_for(&self, number: usize, limit: Duration) -> Option<Vec<Recorded>> {
        tokio::time::timeout(limit, async {
            loop {
                let notified = self.arrived.notified();
                let requests = self.requests();
                if requests.len() >= number {
                    return requests;
                }
                notified.await;
            }
        })
        .await
        .ok()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    state: &Mutex<State>,
    arrived: &Notify,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read_request(&mut stream).await? {
        let head = request.method == "HEAD";
        let answer = {
            let mut state = lock(state);
            let at = state.at.get(&request.target).cloned();
            state.requests.push(request);
            at.or_else(|| state.script.pop_front()).unwrap_or_else(|| state.default.clone())
        };
        arrived.notify_waiters();
        tokio::time::sleep(answer.delay).await;
        let length = match answer.act {
            Act::Close => return Ok(()),
            Act::Hang => std::future::pending().await,
            Act::HalfBody => answer.body.len() + 100,
            Act::Endless(bytes) => bytes,
            Act::Reply => answer.body.len(),
        };
        let mut text = format!("HTTP/1.1 {} Scripted\r\n", answer.status);
        for (name, value) in &answer.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        let bodiless = head || answer.status == 204 || answer.status == 304;
        if answer.status != 204 {
            text.push_str(&format!("Content-Length: {length}\r\n"));
        }
        text.push_str("\r\n");
        stream.write_all(text.as_bytes()).await?;
        if let Act::Endless(bytes) = answer.act {
            let block = vec![b'x'; 64 * 1024];
            let mut left = bytes;
            while left > 0 {
                let part = block.get(..left.min(block.len())).unwrap_or(&block);
                stream.write_all(part).await?;
                left -= part.len();
                let mut state = lock(state);
                state.most_taken = state.most_taken.max(bytes - left);
            }
        } else if !bodiless {
            stream.write_all(&answer.body).await?;
        }
        stream.flush().await?;
        if answer.act == Act::HalfBody {
            return Ok(());
        }
    }
    Ok(())
}

pub(crate) async fn read_request(
    stream: &mut (impl AsyncBufReadExt + Unpin),
) -> std::io::Result<Option<Recorded>> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let mut request = Recorded {
        method: words.next().unwrap_or_default().into(),
        target: words.next().unwrap_or_default().into(),
        ..Recorded::default()
    };
    loop {
        let mut raw = Vec::new();
        stream.read_until(b'\n', &mut raw).await?;
        let line = String::from_utf8_lossy(&raw);
        match line.trim_end().split_once(':') {
            Some((name, value)) => request.headers.push((name.into(), value.trim().into())),
            None => break,
        }
    }
    if request.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        loop {
            let mut size = String::new();
            stream.read_line(&mut size).await?;
            let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
            let mut chunk = vec![0; size + 2];
            stream.read_exact(&mut chunk).await?;
            chunk.truncate(size);
            request.body.extend(chunk);
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = request.header("content-length").and_then(|value| value.parse().ok()) {
        request.body = vec![0; length];
        stream.read_exact(&mut request.body).await?;
    }
    Ok(Some(request))
}
