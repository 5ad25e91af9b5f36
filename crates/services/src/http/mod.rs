//! The one outbound HTTP client. No service builds one of its own, so that timeouts, limits, proxies,
//! certificates, redaction and metrics are the same everywhere.

mod exchange;
mod guard;
mod options;

use std::{
    collections::HashMap,
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
    time::Duration,
};

pub use exchange::{LARGEST_ANSWER, Reply, Request};
pub use guard::Range;
pub(crate) use options::web_url;
pub use options::{HttpOptions, go_duration};
use reqwest::{Client, redirect};
use tokio::sync::Semaphore;

use self::{
    guard::{Guard, Refused},
    options::Checked,
};
use crate::{
    failure::{Reason, SendError},
    redact::Redactor,
};

const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);

/// One finished call, for metrics.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Type of the service.
    pub service_type: &'static str,
    /// Name of the instance.
    pub instance: &'a str,
    /// The method.
    pub method: &'a str,
    /// The host that was asked, without the rest of the address, which may be a credential.
    pub host: &'a str,
    /// The status, or why there is none.
    pub outcome: Result<u16, Reason>,
    /// From the start of the request to the end of the answer.
    pub elapsed: Duration,
    /// Bytes of the request's body.
    pub sent: usize,
    /// Bytes of the answer's body that were read.
    pub received: usize,
}

/// Is told of every call.
pub trait Observer: Send + Sync {
    /// A call has ended.
    fn called(&self, call: &Call<'_>);
}

/// Where all requests go in tests.
#[derive(Clone, Copy, Debug)]
struct Intercept {
    address: SocketAddr,
    scheme: &'static str,
}

/// A request that was kept in place of being sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The method, or `SMTP`.
    pub method: String,
    /// The address.
    pub url: String,
    /// The headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Where requests are kept.
pub type Keeper = Arc<Mutex<Vec<Kept>>>;

/// Makes the HTTP clients, one for each instance, and keeps them over a reload that doesn't change their options.
#[derive(Default)]
pub struct HttpFactory {
    intercept: Option<Intercept>,
    observer: Option<Arc<dyn Observer>>,
    guard: Guard,
    keeper: Option<Keeper>,
    kept: Mutex<HashMap<Identity, Weak<Shared>>>,
}

impl fmt::Debug for HttpFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HttpFactory")
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Identity {
    service_type: &'static str,
    instance: Arc<str>,
    options: HttpOptions,
    guarded: bool,
}

impl HttpFactory {
    /// Sends every request to one address, by plain HTTP, with the URL that was meant in the header
    /// `X-Original-URL`: for tests of services whose hosts are fixed.
    #[must_use]
    pub fn with_intercept(mut self, address: SocketAddr) -> Self {
        self.intercept = Some(Intercept { address, scheme: "http" });
        self
    }

    /// The same by HTTPS, so that the server's certificate is checked.
    #[must_use]
    pub fn with_tls_intercept(mut self, address: SocketAddr) -> Self {
        self.intercept = Some(Intercept { address, scheme: "https" });
        self
    }

    /// Sends nothing: requests are kept, and answered with an empty success. For previews.
    #[must_use]
    pub fn keeping(keeper: Keeper) -> Self {
        HttpFactory { keeper: Some(keeper), ..HttpFactory::default() }
    }

    /// Keeps what would be sent by another protocol; whether requests are kept at all.
    pub(crate) fn keep(&self, kept: impl FnOnce() -> Kept) -> bool {
        let Some(keeper) = &self.keeper else { return false };
        keeper.lock().unwrap_or_else(PoisonError::into_inner).push(kept());
        true
    }

    /// Tells an observer of every call.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Ranges that configurations of tenants may reach although they are not public.
    #[must_use]
    pub fn with_allowed(mut self, ranges: &[Range]) -> Self {
        self.guard = Guard::new(ranges);
        self
    }

    /// Resolves a name for a service that speaks another protocol, under the same guard.
    pub(crate) async fn resolve(
        &self,
        host: &str,
        port: u16,
        guarded: bool,
    ) -> Result<Vec<SocketAddr>, SendError> {
        if self.keeper.is_some() {
            return Err(SendError::misconfigured("nothing is sent"));
        }
        let lookup = tokio::net::lookup_host((host, port));
        let found = match tokio::time::timeout(LOOKUP_TIMEOUT, lookup).await {
            Ok(found) => found
                .map_err(|e| SendError::new(Reason::Unreachable, format!("can't resolve {host}: {e}")))?,
            Err(_) => {
                return Err(SendError::new(Reason::TimedOut, format!("{host} was not resolved in time")));
            }
        };
        let found: Vec<SocketAddr> =
            found.filter(|address| !guarded || self.guard.permits(address.ip())).collect();
        if found.is_empty() { Err(SendError::misconfigured(Refused.to_string())) } else { Ok(found) }
    }

    pub(crate) fn client(
        &self,
        service_type: &'static str,
        instance: &Arc<str>,
        options: HttpOptions,
        guarded: bool,
        redactor: Arc<Redactor>,
    ) -> Result<HttpClient, String> {
        for secret in [&options.client_key, &options.proxy_url] {
            redactor.add(secret);
        }
        let identity = Identity { service_type, instance: instance.clone(), options, guarded };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, shared| shared.strong_count() > 0);
        if let Some(shared) = kept.get(&identity).and_then(Weak::upgrade) {
            return Ok(HttpClient { shared, redactor });
        }
        let shared = Arc::new(Shared {
            service_type,
            instance: instance.clone(),
            checked: identity.options.check()?,
            guard: guarded.then(|| self.guard.clone()),
            intercept: self.intercept,
            keeper: self.keeper.clone(),
            observer: self.observer.clone(),
            client: OnceLock::new(),
            hosts: Mutex::default(),
        });
        kept.insert(identity, Arc::downgrade(&shared));
        Ok(HttpClient { shared, redactor })
    }
}

/// The HTTP client of one instance. Cheap to clone; connections are kept and shared.
#[derive(Clone)]
pub struct HttpClient {
    shared: Arc<Shared>,
    redactor: Arc<Redactor>,
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HttpClient").field(&self.shared.instance).finish()
    }
}

struct Shared {
    service_type: &'static str,
    instance: Arc<str>,
    checked: Checked,
    guard: Option<Guard>,
    intercept: Option<Intercept>,
    keeper: Option<Keeper>,
    observer: Option<Arc<dyn Observer>>,
    // Made on first use: reading the system's certificates is too slow for a check of options.
    client: OnceLock<Result<Client, String>>,
    hosts: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl HttpClient {
    /// Begins a request. The method is sent as written.
    pub fn request(&self, method: &str, url: &str) -> Result<Request, SendError> {
        Request::new(self.clone(), method, url)
    }

    /// Begins a POST.
    pub fn post(&self, url: &str) -> Result<Request, SendError> {
        self.request("POST", url)
    }

    /// Begins a GET.
    pub fn get(&self, url: &str) -> Result<Request, SendError> {
        self.request("GET", url)
    }

    /// Keeps a value out of errors and logs from now on, such as a token that an answer brought.
    pub fn secret(&self, value: &str) {
        self.redactor.add(value);
    }
}

impl Shared {
    fn client(&self) -> Result<&Client, SendError> {
        self.client
            .get_or_init(|| {
                // Fails only if there is a provider already, which is as good.
                let _ = rustls::crypto::ring::default_provider().install_default();
                // A machine without certificates can still send by plain HTTP and to its own CA.
                self.builder()
                    .build()
                    .or_else(|_| self.builder().tls_certs_only(self.checked.roots.iter().cloned()).build())
                    .map_err(|error| exchange::describe(&error))
            })
            .as_ref()
            .map_err(|error| SendError::misconfigured(format!("the HTTP client can't be made: {error}")))
    }

    fn builder(&self) -> reqwest::ClientBuilder {
        let checked = &self.checked;
        let mut builder = Client::builder()
            .user_agent(concat!("herald/", env!("CARGO_PKG_VERSION")))
            .timeout(checked.total_timeout)
            .connect_timeout(checked.connect_timeout)
            .pool_idle_timeout(checked.idle_timeout)
            .pool_max_idle_per_host(checked.max_idle)
            .tcp_keepalive(Duration::from_secs(30))
            .tls_danger_accept_invalid_certs(checked.insecure)
            .tls_certs_merge(checked.roots.iter().cloned());
        if let Some(identity) = &checked.identity {
            builder = builder.identity(identity.clone());
        }
        match (&self.guard, &checked.proxy) {
            // A proxy would resolve names out of the guard's sight.
            (Some(guard), _) => {
                let on_redirect = guard.clone();
                let policy = redirect::Policy::custom(move |attempt| {
                    if on_redirect.forbids_host(attempt.url()) {
                        attempt.error(Refused)
                    } else if attempt.previous().len() > 10 {
                        attempt.error("stopped after 10 redirects")
                    } else {
                        attempt.follow()
                    }
                });
                builder = builder.no_proxy().dns_resolver(Arc::new(guard.clone())).redirect(policy);
            }
            (None, Some(proxy)) => builder = builder.proxy(proxy.clone()),
            (None, None) => {}
        }
        if self.intercept.is_some() {
            builder = builder.no_proxy();
        }
        builder
    }

    /// The requests to a host that may be under way at once. Some fewer than its connections, as a finished one can
    /// be slow to come back, and the next request then opens another.
    fn connections(&self, host: String) -> Arc<Semaphore> {
        let limit = self.checked.max_conns;
        let permits = limit.saturating_sub(limit.div_ceil(4)).clamp(1, Semaphore::MAX_PERMITS);
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.entry(host).or_insert_with(|| Arc::new(Semaphore::new(permits))).clone()
    }
}
