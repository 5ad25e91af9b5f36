//! A proxy in front of a real API server that shows the faults a healthy one can't be made to show: storms of 410,
//! conflicts, a watch cut in the middle of an object, stale lists, slow answers, lost ones. Everything else passes.
//!
//! ```no_run
//! # async fn example(server: &herald_testkit::apiserver::ApiServer) {
//! use herald_testkit::api_proxy::{ApiProxy, Fault, Rule};
//!
//! let proxy = ApiProxy::start(&server.url()).await;
//! proxy.add(Rule::on("list", "rollouts", Fault::gone()).times(3));
//! // … a client of proxy.url() …
//! assert_eq!(proxy.count("list", "rollouts"), 0);
//! # }
//! ```

mod body;
mod rules;

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use reqwest::Client;
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use self::rules::Asked;
pub use self::rules::{Fault, Rule};

type Body = UnsyncBoxBody<Bytes, io::Error>;

#[derive(Default)]
struct State {
    rules: VecDeque<Rule>,
    counts: BTreeMap<(String, String), usize>,
    faulted: usize,
    connections: usize,
    /// The first answer to each list, by its path without what continues or repeats it.
    lists: BTreeMap<String, (StatusCode, HeaderMap, Bytes)>,
}

struct Shared {
    upstream: String,
    client: Client,
    state: Mutex<State>,
    /// Counts up when every open connection is to be closed.
    cut: watch::Sender<u64>,
}

/// The proxy. It ends when it is dropped.
pub struct ApiProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl ApiProxy {
    /// Starts one on a free port of loopback in front of `upstream`. It speaks TLS as the server of [`crate::tls`], and
    /// passes on who asks.
    ///
    /// # Panics
    /// If no port is free.
    pub async fn start(upstream: &str) -> ApiProxy {
        let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
        let ca = reqwest::Certificate::from_pem(crate::tls::CA_PEM.as_bytes()).expect("a certificate");
        let client = Client::builder().tls_certs_only([ca]).no_proxy().build().expect("a client");
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            upstream: upstream.trim_end_matches('/').into(),
            client,
            state: Mutex::default(),
            cut: watch::Sender::new(0),
        });
        let task = tokio::spawn(accept(listener, shared.clone()));
        ApiProxy { address, shared, task }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Adds a fault. The first rule that fits a request is used.
    pub fn add(&self, rule: Rule) {
        lock(&self.shared.state).rules.push_back(rule);
    }

    /// Takes all faults away.
    pub fn heal(&self) {
        lock(&self.shared.state).rules.clear();
    }

    /// Closes every open connection, watches included.
    pub fn cut_connections(&self) {
        self.shared.cut.send_modify(|number| *number += 1);
    }

    /// Requests so far of a verb (`list`, `watch`, `get`, `create`, `update`, `patch`, `delete`) for a resource
    /// (`rollouts`, `rollouts/status`).
    pub fn count(&self, verb: &str, resource: &str) -> usize {
        lock(&self.shared.state).counts.get(&(verb.into(), resource.into())).copied().unwrap_or(0)
    }

    /// All such counts.
    pub fn counts(&self) -> BTreeMap<(String, String), usize> {
        lock(&self.shared.state).counts.clone()
    }

    /// How many requests met a fault.
    pub fn faulted(&self) -> usize {
        lock(&self.shared.state).faulted
    }

    /// Connections that were ever opened.
    pub fn connections(&self) -> usize {
        lock(&self.shared.state).connections
    }
}

impl Drop for ApiProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let acceptor = crate::tls::acceptor();
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        lock(&shared.state).connections += 1;
        let (acceptor, shared) = (acceptor.clone(), shared.clone());
        connections.spawn(async move {
            let mut cut = shared.cut.subscribe();
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(move |request| answer(shared.clone(), request));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                // A client that goes away, and a fault that closes the connection, are ordinary events here.
                _ = connection => {}
                _ = cut.changed() => {}
            }
        });
        // Finished ones are let go.
        while connections.try_join_next().is_some() {}
    }
}

/// An error closes the connection without an answer.
async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> io::Result<Response<Body>> {
    let asked = Asked::of(&request);
    let fault = {
        let mut state = lock(&shared.state);
        *state.counts.entry((asked.verb.clone(), asked.resource.clone())).or_default() += 1;
        let fault = rules::take(&mut state.rules, &asked);
        state.faulted += usize::from(fault.is_some());
        fault
    };
    match fault {
        Some(Fault::Status { code, reason, retry_after }) => Ok(refusal(code, &reason, retry_after)),
        Some(Fault::WatchError { code, reason }) => {
            let event = format!("{{\"type\":\"ERROR\",\"object\":{}}}\n", rules::status(code, &reason));
            Ok(whole(StatusCode::OK, HeaderMap::new(), event.into()))
        }
        Some(Fault::Drop) => Err(io::ErrorKind::ConnectionAborted.into()),
        Some(Fault::LoseAnswer) => {
            forward(&shared, &asked, request).await?.into_body().collect().await?;
            Err(io::ErrorKind::ConnectionAborted.into())
        }
        Some(Fault::Delay(time)) => {
            tokio::time::sleep(time).await;
            forward(&shared, &asked, request).await
        }
        Some(Fault::Stale) => {
            let old = lock(&shared.state).lists.get(&asked.list).cloned();
            match old {
                Some((status, headers, body)) => Ok(whole(status, headers, body)),
                None => forward(&shared, &asked, request).await,
            }
        }
        Some(Fault::CutAfter(objects)) => {
            let answer = forward(&shared, &asked, request).await?;
            Ok(answer.map(|body| body::cut_after(body, objects)))
        }
        None => forward(&shared, &asked, request).await,
    }
}

async fn forward(shared: &Shared, asked: &Asked, request: Request<Incoming>) -> io::Result<Response<Body>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let mut headers = parts.headers;
    for name in [header::HOST, header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
        headers.remove(name);
    }
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let answer = shared
        .client
        .request(parts.method, format!("{}{target}", shared.upstream))
        .headers(headers)
        .body(body)
        .send()
        .await
        .map_err(io::Error::other)?;
    let status = answer.status();
    let mut headers = answer.headers().clone();
    for name in [header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
        headers.remove(name);
    }
    if asked.verb == "list" && status.is_success() {
        let body = answer.bytes().await.map_err(io::Error::other)?;
        let entry = (status, headers.clone(), body.clone());
        lock(&shared.state).lists.entry(asked.list.clone()).or_insert(entry);
        return Ok(whole(status, headers, body));
    }
    let mut passed = Response::new(body::stream(answer));
    *passed.status_mut() = status;
    *passed.headers_mut() = headers;
    Ok(passed)
}

/// A Status object, as the API server answers what it refuses.
fn refusal(code: u16, reason: &str, retry_after: Option<Duration>) -> Response<Body> {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    if let Some(time) = retry_after {
        headers.insert(header::RETRY_AFTER, time.as_secs().into());
    }
    let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    whole(code, headers, rules::status(code.as_u16(), reason).into())
}

fn whole(status: StatusCode, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let mut answer = Response::new(Full::new(body).map_err(io::Error::other).boxed_unsync());
    *answer.status_mut() = status;
    *answer.headers_mut() = headers;
    answer
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
