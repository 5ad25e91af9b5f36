//! GitHub's API: authentication as an App or with a token, calls, failures.

use std::sync::Mutex;

use jiff::{SignedDuration, Timestamp};
use ring::signature::RsaKeyPair;
use serde_json::{Value, json};
use std::{sync::PoisonError, time::Duration};

use crate::{
    failure::{Reason, SendError},
    http::{HttpClient, Reply},
    jwt,
};

const DEFAULT_ACCEPT: &str = "application/vnd.github.v3+json";

/// Who calls.
pub(super) enum Credentials {
    /// An installation of a GitHub App.
    App { app: i64, installation: i64, key: Box<RsaKeyPair> },
    /// A personal or fine-grained token.
    Token(String),
}

impl Credentials {
    /// An App's credentials; the key is PEM, PKCS#1 or PKCS#8.
    pub(super) fn app(app: i64, installation: i64, pem: &str) -> Result<Credentials, String> {
        let key = jwt::private_key("privateKey", pem)?;
        Ok(Credentials::App { app, installation, key: Box::new(key) })
    }
}

/// The signed claims with which an App asks for an installation's token.
fn claims(app: i64, key: &RsaKeyPair, now: Timestamp) -> Result<String, SendError> {
    // Half a minute back, as clocks differ.
    let issued = now.as_second() - 30;
    let claims = json!({"iss": app.to_string(), "iat": issued, "exp": issued + 120});
    jwt::sign(key, "", &claims).map_err(SendError::misconfigured)
}

struct Kept {
    token: String,
    until: Timestamp,
}

/// The API of one instance.
pub(super) struct Api {
    base: String,
    credentials: Credentials,
    http: HttpClient,
    token: Mutex<Option<Kept>>,
    blocked_until: Mutex<Option<Timestamp>>,
}

impl Api {
    pub(super) fn new(base: String, credentials: Credentials, http: HttpClient) -> Api {
        Api { base, credentials, http, token: Mutex::default(), blocked_until: Mutex::default() }
    }

    /// The token for calls, renewed a minute before it ends.
    async fn token(&self, now: Timestamp) -> Result<String, SendError> {
        let (app, installation, key) = match &self.credentials {
            Credentials::Token(token) => return Ok(token.clone()),
            Credentials::App { app, installation, key } => (*app, *installation, key),
        };
        if let Some(kept) = &*self.token.lock().unwrap_or_else(PoisonError::into_inner)
            && kept.until > now
        {
            return Ok(kept.token.clone());
        }
        let url = format!("{}app/installations/{installation}/access_tokens", self.base);
        let reply = self
            .http
            .post(&url)?
            .header("Accept", DEFAULT_ACCEPT)?
            .bearer(&claims(app, key, now)?)?
            .json(&Value::Null)?
            .send()
            .await?;
        if !reply.is_success() {
            return Err(
                reply.failure(format!("could not get an access token: {}", words("POST", &url, &reply)))
            );
        }
        let answer: Value = reply.json().unwrap_or_default();
        let Some(token) = answer["token"].as_str() else {
            return Err(SendError::new(Reason::BadAnswer, "GitHub's answer to the login has no token"));
        };
        self.http.secret(token);
        let expires = answer["expires_at"].as_str().and_then(|text| text.parse::<Timestamp>().ok());
        let until = expires.map_or(now, |at| at.saturating_sub(SignedDuration::from_secs(60)).unwrap_or(now));
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Kept { token: token.into(), until });
        Ok(token.into())
    }

    /// The pages of a list.
    pub(super) fn pages<'a>(&'a self, path: String, accept: Option<&'a str>) -> Pages<'a> {
        Pages { api: self, next: Some(path), accept, left: MOST_PAGES }
    }

    /// Makes a call below the API's address and gives its answer, null if that is empty.
    pub(super) async fn call(
        &self,
        method: &str,
        path: &str,
        accept: Option<&str>,
        body: Option<&Value>,
    ) -> Result<Value, SendError> {
        let reply = self.exchange(method, path, accept, body).await?;
        Ok(reply.json().unwrap_or_default())
    }

    async fn exchange(
        &self,
        method: &str,
        path: &str,
        accept: Option<&str>,
        body: Option<&Value>,
    ) -> Result<Reply, SendError> {
        let now = Timestamp::now();
        if let Some(until) = *self.blocked_until.lock().unwrap_or_else(PoisonError::into_inner)
            && until > now
        {
            let wait = Duration::try_from(until.duration_since(now)).unwrap_or_default();
            return Err(SendError::throttled(
                format!("GitHub's rate limit is used up until {until}"),
                Some(wait),
            ));
        }
        let token = self.token(now).await?;
        let url = format!("{}{path}", self.base);
        let mut request = self
            .http
            .request(method, &url)?
            .header("Accept", accept.unwrap_or(DEFAULT_ACCEPT))?
            .header("X-GitHub-Api-Version", "2022-11-28")?
            .header("Authorization", &format!("token {token}"))?;
        if let Some(body) = body {
            request = request.json(body)?;
        }
        let reply = request.send().await?;
        if reply.is_success() {
            return Ok(reply);
        }
        if let Some(wait) = rate_limit(&reply, now) {
            let until = SignedDuration::try_from(wait).ok().and_then(|wait| now.checked_add(wait).ok());
            *self.blocked_until.lock().unwrap_or_else(PoisonError::into_inner) = until;
            return Err(SendError::throttled(words(method, &url, &reply), Some(wait)));
        }
        Err(reply.failure(words(method, &url, &reply)))
    }
}

/// A list that comes in pages. The reference reads the first page only, and so doubles comments further down.
pub(super) struct Pages<'a> {
    api: &'a Api,
    next: Option<String>,
    accept: Option<&'a str>,
    left: usize,
}

/// No list is followed for ever.
const MOST_PAGES: usize = 100;

impl Pages<'_> {
    /// The next page, or `None` after the last one.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Value>>, SendError> {
        let Some(path) = self.next.take().filter(|_| self.left > 0) else { return Ok(None) };
        self.left -= 1;
        let reply = self.api.exchange("GET", &path, self.accept, None).await?;
        // Only addresses of this API are followed: the token goes there.
        self.next =
            reply.next_page().and_then(|url| url.strip_prefix(self.api.base.as_str())).map(String::from);
        let items = match reply.json().unwrap_or_default() {
            Value::Array(items) => items,
            _ => Vec::new(),
        };
        Ok(Some(items))
    }
}

/// How long to wait, if an answer is a primary or secondary rate limit.
fn rate_limit(reply: &Reply, now: Timestamp) -> Option<Duration> {
    if !matches!(reply.status, 403 | 429) {
        return None;
    }
    if let Some(wait) = reply.retry_after() {
        return Some(wait);
    }
    if reply.header("x-ratelimit-remaining") == Some("0") {
        let reset = reply.header("x-ratelimit-reset")?.parse::<i64>().ok()?;
        return Some(Duration::from_secs(u64::try_from(reset - now.as_second()).unwrap_or(0)));
    }
    reply.text().contains("secondary rate limit").then(|| Duration::from_secs(60))
}

/// A failed call in the words of the reference.
fn words(method: &str, url: &str, reply: &Reply) -> String {
    let answer: Value = reply.json().unwrap_or_default();
    let message = answer["message"].as_str().unwrap_or_default();
    let errors = match &answer["errors"] {
        Value::Array(errors) => errors
            .iter()
            .map(|error| {
                let text = |name: &str| error[name].as_str().unwrap_or_default();
                format!(
                    "{{Resource:{} Field:{} Code:{} Message:{}}}",
                    text("resource"),
                    text("field"),
                    text("code"),
                    error.as_str().unwrap_or(text("message"))
                )
            })
            .collect::<Vec<_>>()
            .join(" "),
        _ => String::new(),
    };
    format!("{method} {url}: {} {message} [{errors}]", reply.status)
}
