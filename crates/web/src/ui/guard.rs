//! Who may read, who may change, and what every answer says to browsers.
//!
//! - The header `Host` must be one that we know, so that a page elsewhere can't reach us by a name of its own that
//!   resolves to our address.
//! - Reading is open where the options say so; otherwise it needs a bearer token, in the header `Authorization` or in
//!   a session that a login made.
//! - Changing always needs the token. A browser's session must also send the session's CSRF token, and the request
//!   must come from our own page.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse as _, Redirect, Response},
};
use sha2::{Digest as _, Sha256};

use super::{Ui, pages, problem};

/// How long a login lasts.
const SESSION: Duration = Duration::from_secs(12 * 3600);
/// More logins than this forget the oldest.
const MOST_SESSIONS: usize = 1000;
/// The name of the session's cookie.
pub(super) const COOKIE: &str = "herald_session";
/// The header of the CSRF token.
pub(super) const CSRF_HEADER: &str = "x-csrf-token";
/// The longest token that is looked at.
const LONGEST_TOKEN: usize = 16 * 1024;

/// Says whether a token is one that may use the page.
#[async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// Whether it is; an error says why nobody can tell.
    async fn knows(&self, token: &str) -> Result<bool, String>;
}

/// One token, known from the start.
pub struct StaticToken([u8; 32]);

impl StaticToken {
    /// A token; `None` if it is too short to be one.
    pub fn new(token: &str) -> Option<StaticToken> {
        let token = token.trim();
        (token.len() >= 16).then(|| StaticToken(digest(token)))
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// Compares without telling by its duration where the difference is.
fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    a.iter().zip(b).fold(0, |different, (a, b)| different | (a ^ b)) == 0
}

#[async_trait]
impl Authenticator for StaticToken {
    async fn knows(&self, token: &str) -> Result<bool, String> {
        Ok(same(&self.0, &digest(token)))
    }
}

/// Who may do what.
#[derive(Clone)]
pub struct Access {
    /// Hosts by which the page is reached, such as `herald.example.com`, with a port if it is not the usual one.
    pub hosts: Vec<String>,
    /// Whether anybody who reaches the page may read it.
    pub open: bool,
    /// Who knows tokens; `None` if nobody may change anything.
    pub tokens: Option<Arc<dyn Authenticator>>,
}

impl Access {
    /// What an address means: loopback is open to read, everything else needs a token.
    pub fn of(address: SocketAddr, hosts: Vec<String>, tokens: Option<Arc<dyn Authenticator>>) -> Access {
        let mut hosts: Vec<String> = hosts.into_iter().map(|host| host.to_ascii_lowercase()).collect();
        let port = address.port();
        let ip = address.ip();
        if ip.is_loopback() {
            hosts.push(format!("localhost:{port}"));
            hosts.push(format!("127.0.0.1:{port}"));
            hosts.push(format!("[::1]:{port}"));
        }
        if !ip.is_unspecified() {
            hosts.push(address.to_string());
        }
        Access { hosts, open: ip.is_loopback(), tokens }
    }

    fn knows_host(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        self.hosts.contains(&host)
    }
}

struct Session {
    csrf: String,
    ends: Instant,
}

/// Who is logged in.
#[derive(Default)]
pub(super) struct Sessions(Mutex<HashMap<[u8; 32], Session>>);

impl Sessions {
    /// A new session's secret; `None` if there is no randomness.
    pub(super) fn open(&self) -> Option<String> {
        let (secret, csrf) = (random()?, random()?);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        all.retain(|_, session| session.ends > now);
        if all.len() >= MOST_SESSIONS {
            let oldest = all.iter().min_by_key(|(_, session)| session.ends).map(|(key, _)| *key);
            oldest.map(|key| all.remove(&key));
        }
        all.insert(digest(&secret), Session { csrf, ends: now + SESSION });
        Some(secret)
    }

    pub(super) fn close(&self, headers: &HeaderMap) {
        if let Some(secret) = cookie(headers) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest(secret));
        }
    }

    fn csrf(&self, headers: &HeaderMap) -> Option<String> {
        let key = digest(cookie(headers)?);
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&key).filter(|session| session.ends > Instant::now()).map(|session| session.csrf.clone())
    }
}

fn random() -> Option<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).ok()?;
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|line| line.split(';')).find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Visitor {
    /// Whether the request carried a good bearer token itself.
    pub(super) bearer: bool,
    /// The CSRF token of the visitor's session.
    pub(super) csrf: Option<String>,
    /// Whether changing is possible for anybody.
    pub(super) changeable: bool,
}

impl Visitor {
    /// Whether the visitor showed a token, now or at a login.
    pub(super) fn is_known(&self) -> bool {
        self.bearer || self.csrf.is_some()
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = text.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && token.len() <= LONGEST_TOKEN).then(|| token.trim())
}

/// Whether a token is good.
pub(super) async fn is_good(access: &Access, token: &str) -> Result<bool, String> {
    match &access.tokens {
        Some(tokens) if !token.is_empty() && token.len() <= LONGEST_TOKEN => tokens.knows(token).await,
        _ => Ok(false),
    }
}

/// Refuses what may not come in, and adds what every answer says.
pub(super) async fn guard(State(ui): State<Arc<Ui>>, request: Request, next: Next) -> Response {
    let (mut head, body) = request.into_parts();
    let api = head.uri.path().starts_with("/api/");
    let frame = head.uri.path().starts_with("/preview/mail/");
    let mut answer = match admit(&ui, &head).await {
        Ok(visitor) => {
            head.extensions.insert(visitor);
            next.run(Request::from_parts(head, body)).await
        }
        Err(refusal) => refused(refusal, api),
    };
    let headers = answer.headers_mut();
    let mut set = |name, value| drop(headers.insert(name, HeaderValue::from_static(value)));
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::REFERRER_POLICY, "same-origin");
    set(header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    set(header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    set(
        header::HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=(), payment=()",
    );
    if !frame {
        set(header::X_FRAME_OPTIONS, "DENY");
        set(
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
             frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        );
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    answer
}

#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    Host,
    Origin,
    NoToken,
    BadToken,
    Csrf,
    ReadOnly,
    Unknowable(String),
}

/// Anybody may have what holds nothing of anybody.
fn is_public(path: &str) -> bool {
    path.starts_with("/assets/") || matches!(path, "/login" | "/api/v1/openapi.json")
}

async fn admit(ui: &Ui, head: &Parts) -> Result<Visitor, Refusal> {
    let headers = &head.headers;
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok()).ok_or(Refusal::Host)?;
    let named = head.uri.authority().map(|named| named.as_str());
    if hosts.next().is_some()
        || !ui.access.knows_host(host)
        || named.is_some_and(|named| !ui.access.knows_host(named))
    {
        return Err(Refusal::Host);
    }
    let writes = !matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS);
    // Also what only draws a preview costs something, and nobody else's page is to make a visitor pay it.
    if writes && !is_own(headers, host) {
        return Err(Refusal::Origin);
    }
    let mut visitor = Visitor { changeable: ui.access.tokens.is_some(), ..Visitor::default() };
    if headers.contains_key(header::AUTHORIZATION) {
        let token = bearer(headers).ok_or(Refusal::BadToken)?;
        match is_good(&ui.access, token).await {
            Ok(true) => visitor.bearer = true,
            Ok(false) => return Err(Refusal::BadToken),
            Err(why) => return Err(Refusal::Unknowable(why)),
        }
    }
    visitor.csrf = ui.sessions.csrf(headers);
    let path = head.uri.path();
    if !ui.access.open && !visitor.is_known() && !is_public(path) {
        return Err(Refusal::NoToken);
    }
    Ok(visitor)
}

/// Whether a request was made by our own page, or by a program that is no browser.
fn is_own(headers: &HeaderMap, host: &str) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let site = text("sec-fetch-site");
    if site.is_some_and(|site| site != "same-origin" && site != "none") {
        return false;
    }
    match text("origin") {
        Some(origin) => {
            let own = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            own.is_some_and(|own| own.eq_ignore_ascii_case(host))
        }
        // Browsers always name the origin of a request that may change something; where they hide it, they tell the
        // site. Programs send neither.
        None => !headers.contains_key(header::COOKIE) || site.is_some(),
    }
}

/// Whether a visitor may change something. `csrf` is what the request brought besides its cookie.
#[expect(clippy::result_large_err, reason = "a refusal is a whole answer, and there is one for a request")]
pub(super) fn may_change(visitor: &Visitor, csrf: Option<&str>) -> Result<(), Response> {
    let refusal = if !visitor.changeable {
        Refusal::ReadOnly
    } else if visitor.bearer {
        return Ok(());
    } else {
        match (&visitor.csrf, csrf) {
            (None, _) => Refusal::NoToken,
            (Some(known), Some(brought)) if same(&digest(known), &digest(brought)) => return Ok(()),
            (Some(_), _) => Refusal::Csrf,
        }
    };
    Err(refused(refusal, true))
}

fn refused(refusal: Refusal, api: bool) -> Response {
    let (status, text) = match &refusal {
        Refusal::Host => (
            StatusCode::MISDIRECTED_REQUEST,
            "this host name is not known here; add it with --ui-host, or use 127.0.0.1".to_owned(),
        ),
        Refusal::Origin => (StatusCode::FORBIDDEN, "the request comes from another site".to_owned()),
        Refusal::NoToken => {
            (StatusCode::UNAUTHORIZED, "a token is needed: send it as `Authorization: Bearer …`".to_owned())
        }
        Refusal::BadToken => (StatusCode::UNAUTHORIZED, "the token is not a good one".to_owned()),
        Refusal::Csrf => (StatusCode::FORBIDDEN, "the form is too old; load the page again".to_owned()),
        Refusal::ReadOnly => (
            StatusCode::FORBIDDEN,
            "nothing can be changed here, as no token was set up; start with --ui-token-file".to_owned(),
        ),
        Refusal::Unknowable(why) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("the token can't be checked: {why}"))
        }
    };
    let mut answer = match (api, &refusal) {
        (false, Refusal::NoToken) => Redirect::to("/login").into_response(),
        (true, _) => problem(status, &text),
        (false, _) => (status, pages::plain("Refused", &text)).into_response(),
    };
    if answer.status() == StatusCode::UNAUTHORIZED {
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_requests_change_something() {
        let of = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(*name, HeaderValue::from_static(value));
            }
            is_own(&headers, "127.0.0.1:3100")
        };
        assert!(of(&[]));
        assert!(of(&[("origin", "http://127.0.0.1:3100"), ("cookie", "a=b")]));
        assert!(of(&[("origin", "https://127.0.0.1:3100"), ("sec-fetch-site", "same-origin")]));
        for origin in
            ["null", "", "http://127.0.0.1", "http://127.0.0.1:3101", "http://127.0.0.1:3100.evil", "file://"]
        {
            assert!(!of(&[("origin", origin)]), "{origin}");
        }
        assert!(!of(&[("sec-fetch-site", "cross-site")]));
        assert!(!of(&[("sec-fetch-site", "same-site"), ("origin", "http://127.0.0.1:3100")]));
        assert!(!of(&[("cookie", "a=b")]));
    }

    #[test]
    fn short_tokens_are_none() {
        assert!(StaticToken::new("short").is_none());
        assert!(StaticToken::new("  0123456789abcdef\n").is_some());
    }

    #[test]
    fn cookies_are_found_by_their_whole_name() {
        let mut headers = HeaderMap::new();
        headers
            .insert(header::COOKIE, HeaderValue::from_static("x=1; herald_session2=no; herald_session=yes"));
        assert_eq!(cookie(&headers), Some("yes"));
    }
}
