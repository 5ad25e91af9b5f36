//! One request and its answer.

use std::{
    error::Error,
    sync::PoisonError,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use reqwest::{
    Method, Url,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use tracing::Instrument;

use super::{Call, HttpClient, Kept, guard::Refused};
use crate::failure::{Reason, SendError};

/// More of an answer is not read; it is cut there, and the connection is given up.
pub const LARGEST_ANSWER: usize = 1024 * 1024;

/// How much of an answer an error shows.
const SHOWN: usize = 2000;

/// A request that is being put together.
#[derive(Debug)]
#[must_use]
pub struct Request {
    client: HttpClient,
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Request {
    pub(super) fn new(client: HttpClient, method: &str, url: &str) -> Result<Request, SendError> {
        // Neither message repeats its input: a URL may be a credential.
        let method = Method::from_bytes(method.as_bytes())
            .map_err(|_| SendError::misconfigured("the method is not one that HTTP allows"))?;
        let url = Url::parse(url).map_err(|e| SendError::misconfigured(format!("invalid URL: {e}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(SendError::misconfigured(format!(
                "unsupported protocol scheme \"{}\"",
                url.scheme()
            )));
        }
        Ok(Request { client, method, url, headers: HeaderMap::new(), body: Vec::new() })
    }

    /// Sets a header, in place of an earlier one of the same name.
    pub fn header(mut self, name: &str, value: &str) -> Result<Request, SendError> {
        let invalid = |_| SendError::misconfigured(format!("invalid value of the header {name:?}"));
        let header = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| SendError::misconfigured(format!("invalid name of a header: {name:?}")))?;
        let mut value = HeaderValue::from_bytes(value.as_bytes()).map_err(|e| invalid(e.to_string()))?;
        // Every value may be a credential; sensitive ones are not printed by anything below.
        value.set_sensitive(true);
        self.headers.insert(header, value);
        Ok(self)
    }

    /// Sets `Authorization: Bearer`.
    pub fn bearer(self, token: &str) -> Result<Request, SendError> {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    /// Sets `Authorization: Basic`.
    pub fn basic_auth(self, username: &str, password: &str) -> Result<Request, SendError> {
        use base64::Engine;
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("{username}:{password}"));
        self.header("Authorization", &format!("Basic {pair}"))
    }

    /// Sets the body as it is; there is no `Content-Type` unless a header gives one.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Request {
        self.body = body.into();
        self
    }

    /// Sets a JSON body and its content type.
    pub fn json<T: serde::Serialize + ?Sized>(self, body: &T) -> Result<Request, SendError> {
        let text = serde_json::to_vec(body)
            .map_err(|e| SendError::misconfigured(format!("the request can't be written as JSON: {e}")))?;
        Ok(self.header("Content-Type", "application/json")?.body(text))
    }

    /// Sets a form as body and its content type.
    pub fn form<K: AsRef<str>, V: AsRef<str>>(
        self,
        fields: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Request, SendError> {
        let text = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        Ok(self.header("Content-Type", "application/x-www-form-urlencoded")?.body(text))
    }

    /// Sends the request and reads the answer. An `Err` means that there is no whole answer; every status is `Ok`.
    pub async fn send(self) -> Result<Reply, SendError> {
        let shared = self.client.shared.clone();
        let (method, host) = (self.method.clone(), self.url.host_str().unwrap_or_default().to_string());
        let span = tracing::info_span!(
            "http", service_type = shared.service_type, instance = %shared.instance, %method, %host,
            status = tracing::field::Empty
        );
        let sent = self.body.len();
        let started = Instant::now();
        let result = self.exchange().instrument(span.clone()).await;
        let elapsed = started.elapsed();
        let (outcome, received) = match &result {
            Ok(reply) => (Ok(reply.status), reply.body.len()),
            Err(error) => (Err(error.reason), 0),
        };
        span.in_scope(|| match outcome {
            Ok(status) => {
                span.record("status", status);
                tracing::debug!(status, elapsed_ms = elapsed.as_millis(), sent, received, "answered");
            }
            Err(reason) => tracing::debug!(%reason, elapsed_ms = elapsed.as_millis(), "failed"),
        });
        if let Some(observer) = &shared.observer {
            observer.called(&Call {
                service_type: shared.service_type,
                instance: &shared.instance,
                method: method.as_str(),
                host: &host,
                outcome,
                elapsed,
                sent,
                received,
            });
        }
        result
    }

    async fn exchange(mut self) -> Result<Reply, SendError> {
        let shared = self.client.shared.clone();
        if shared.guard.as_ref().is_some_and(|guard| guard.forbids_host(&self.url)) {
            return Err(SendError::misconfigured(Refused.to_string()));
        }
        if let Some(keeper) = &shared.keeper {
            let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
            let headers = self.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
            let (method, url) = (self.method.to_string(), self.url.to_string());
            let kept = Kept { method, url, headers, body: self.body };
            keeper.lock().unwrap_or_else(PoisonError::into_inner).push(kept);
            return Ok(Reply { status: 200, headers: HeaderMap::new(), body: b"{\"ok\":true}".to_vec() });
        }
        let host = format!(
            "{}:{}",
            self.url.host_str().unwrap_or_default(),
            self.url.port_or_known_default().unwrap_or(0)
        );
        if let Some(intercept) = shared.intercept {
            self.intercept(intercept)?;
        }
        let client = shared.client()?;
        // Held until the answer is read, when the connection is free again. A closed semaphore can't be: none is.
        let _permit = shared.connections(host).acquire_owned().await;
        let mut request = client.request(self.method, self.url).headers(self.headers);
        if !self.body.is_empty() {
            request = request.body(self.body);
        }
        let mut answer = request.send().await.map_err(|error| transport(&error))?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| transport(&error))? {
            let room = LARGEST_ANSWER.saturating_sub(body.len());
            body.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
            if chunk.len() > room {
                break;
            }
        }
        let reply = Reply { status: answer.status().as_u16(), headers: answer.headers().clone(), body };
        drop(answer);
        // The connection's own task puts it back for the next request; without a turn for it, that one would connect.
        tokio::task::yield_now().await;
        Ok(reply)
    }

    fn intercept(&mut self, to: super::Intercept) -> Result<(), SendError> {
        let original = HeaderValue::from_str(self.url.as_str());
        let rewritten = self
            .url
            .set_scheme(to.scheme)
            .and_then(|()| self.url.set_ip_host(to.address.ip()))
            .and_then(|()| self.url.set_port(Some(to.address.port())));
        match (original, rewritten) {
            (Ok(original), Ok(())) => {
                self.headers.insert("x-original-url", original);
                Ok(())
            }
            _ => Err(SendError::misconfigured("the URL can't be intercepted")),
        }
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, cut at [`LARGEST_ANSWER`].
    pub body: Vec<u8>,
}

impl Reply {
    /// Whether the status is 200–299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The status as a status line shows it, such as `500 Internal Server Error`.
    pub fn status_line(&self) -> String {
        let known = reqwest::StatusCode::from_u16(self.status).ok();
        match known.and_then(|status| status.canonical_reason()) {
            Some(words) => format!("{} {words}", self.status),
            None => self.status.to_string(),
        }
    }

    /// A header's value, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body as text, for errors: shortened.
    pub fn text(&self) -> String {
        let mut text = String::from_utf8_lossy(&self.body).into_owned();
        crate::limit::cut(&mut text, SHOWN);
        text
    }

    /// The body as JSON.
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }

    /// The address of a list's next page, in the header `Link`.
    pub fn next_page(&self) -> Option<&str> {
        self.header("link")?.split(',').find_map(|part| {
            let (url, relation) = part.split_once(';')?;
            let url = url.trim().trim_start_matches('<').trim_end_matches('>');
            relation.contains("rel=\"next\"").then_some(url)
        })
    }

    /// The wait that `Retry-After` asks for: seconds, or a date.
    pub fn retry_after(&self) -> Option<Duration> {
        let text = self.header("retry-after")?.trim();
        match text.parse::<u64>() {
            Ok(seconds) => Some(Duration::from_secs(seconds)),
            Err(_) => {
                let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
                Some(Duration::try_from(date.duration_since(Timestamp::now())).unwrap_or_default())
            }
        }
    }

    /// The failure that this answer is, classified by its status and `Retry-After`.
    pub fn failure(&self, message: impl Into<String>) -> SendError {
        SendError::of_status(self.status, self.retry_after(), message)
    }
}

/// The failure of an exchange without a whole answer.
fn transport(error: &reqwest::Error) -> SendError {
    let text = describe(error);
    let (reason, message) = if text.contains(&Refused.to_string()) {
        (Reason::Misconfigured, Refused.to_string())
    } else if error.is_timeout() {
        (Reason::TimedOut, "no answer in time".to_string())
    } else if error.is_redirect() {
        (Reason::Rejected, format!("redirects lead nowhere: {text}"))
    } else if error.is_builder() {
        (Reason::Misconfigured, text)
    } else if text.contains("certificate") {
        (Reason::Untrusted, format!("the server's certificate is not trusted: {text}"))
    } else if error.is_connect() {
        (Reason::Unreachable, format!("can't connect: {text}"))
    } else if error.is_body() || error.is_decode() {
        (Reason::Unreachable, format!("the answer broke off: {text}"))
    } else {
        (Reason::Unreachable, format!("the connection broke: {text}"))
    };
    SendError::new(reason, message)
}

/// The causes of an error, without the URL: reqwest's own sentence would show it.
pub(super) fn describe(error: &reqwest::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let part = cause.to_string();
        if parts.last() != Some(&part) {
            parts.push(part);
        }
        next = cause.source();
    }
    if parts.is_empty() { "the request failed".into() } else { parts.join(": ") }
}
