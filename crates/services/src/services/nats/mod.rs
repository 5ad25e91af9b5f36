//! NATS (services.md 2.10). The recipient is a subject.

mod connection;
mod nkey;
mod tls;
mod websocket;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use herald_core::yaml::{self, Node, YamlError};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::Mutex;
use url::Url;

use self::{
    connection::{Connection, Message, Target},
    nkey::NKey,
};
use crate::{
    failure::{Reason, SendError},
    http::{HttpFactory, HttpOptions, go_duration},
    schema,
    service::{Context, Delivery, Receipt, Service, ServiceType},
};

/// The service type.
pub const TYPE: ServiceType = ServiceType {
    name: "nats",
    configurable: true,
    parse_section: None,
    needs_section: false,
    options: schema::of::<Options>,
    section_schema: None,
    build,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const TOTAL_TIMEOUT: Duration = Duration::from_secs(30);

/// Nobody answers the server's PINGs on a connection that isn't used, so an older one may be dead.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default)]
struct Options {
    /// Addresses of servers, separated by `,`.
    url: String,
    /// Headers of each message.
    headers: BTreeMap<String, String>,
    /// The user's seed (`SU…`).
    nkey: String,
    /// User.
    username: String,
    /// Password.
    password: String,
    /// Ours, as all below: a token.
    token: String,
    /// The text of a `.creds` file.
    credentials: String,
    /// Whether to wait until a stream of JetStream has the message.
    jetstream: bool,
}

/// A server of the option `url`.
struct Server {
    host: String,
    port: u16,
    tls: bool,
    websocket: bool,
    login: Login,
}

/// What a client proves itself with.
#[derive(Clone, Default)]
struct Login {
    user: Option<(String, String)>,
    token: String,
    jwt: String,
    key: Option<Arc<NKey>>,
}

struct Kept {
    connection: Connection,
    used: Instant,
}

struct Nats {
    servers: Vec<Server>,
    headers: BTreeMap<String, String>,
    jetstream: bool,
    http: HttpOptions,
    connect_timeout: Duration,
    total_timeout: Duration,
    factory: Arc<HttpFactory>,
    guarded: bool,
    kept: Mutex<Option<Kept>>,
}

fn build(node: &Node, context: &Context) -> Result<Box<dyn Service>, YamlError> {
    let options: Options = yaml::decode(node)?;
    let http = HttpOptions::read(node)?;
    let secrets = [&options.nkey, &options.password, &options.token, &options.credentials, &http.client_key];
    secrets.into_iter().for_each(|secret| context.secret(secret));
    let fault = |message: String| YamlError::new(message, node.at);
    let login = login(&options).map_err(fault)?;
    let mut servers = Vec::new();
    for text in options.url.split(',').map(str::trim).filter(|text| !text.is_empty()) {
        servers.push(server(text, &login, context).map_err(fault)?);
    }
    if servers.is_empty() {
        return Err(fault("url is missing".into()));
    }
    for (name, value) in &options.headers {
        if name.is_empty() || name.contains(|c: char| c == ':' || c.is_whitespace() || !c.is_ascii_graphic())
        {
            return Err(fault(format!("invalid name of a header: {name:?}")));
        }
        context.secret(value);
    }
    let timeout = |name: &str, text: &str, default: Duration| match text.trim() {
        "" => Ok(default),
        text => go_duration(text)
            .filter(|duration| !duration.is_zero())
            .ok_or_else(|| fault(format!("{name} is not a duration such as 10s: {text}"))),
    };
    if tls::is_asked_for(&http) {
        tls::config(&http).map_err(fault)?;
    }
    Ok(Box::new(Nats {
        servers,
        headers: options.headers,
        jetstream: options.jetstream,
        connect_timeout: timeout("connectTimeout", &http.connect_timeout, CONNECT_TIMEOUT)?,
        total_timeout: timeout("requestTimeout", &http.request_timeout, TOTAL_TIMEOUT)?,
        http,
        factory: context.environment.http.clone(),
        guarded: context.environment.guarded,
        kept: Mutex::default(),
    }))
}

fn login(options: &Options) -> Result<Login, String> {
    let Options { username, password, .. } = options;
    let mut login = Login { token: options.token.clone(), ..Login::default() };
    if !username.is_empty() && !password.is_empty() {
        login.user = Some((username.clone(), password.clone()));
    }
    if !options.nkey.is_empty() {
        login.key = Some(Arc::new(NKey::from_seed(&options.nkey)?));
    }
    if !options.credentials.is_empty() {
        let part = |label: &str| {
            let (_, rest) = options.credentials.split_once(&format!("-----BEGIN {label}-----"))?;
            rest.split_once("---").map(|(text, _)| text.trim().to_string())
        };
        let (Some(jwt), Some(seed)) = (part("NATS USER JWT"), part("USER NKEY SEED")) else {
            return Err("credentials is not the text of a .creds file: it needs a JWT and a seed".into());
        };
        login.key = Some(Arc::new(NKey::from_seed(&seed)?));
        login.jwt = jwt;
    }
    Ok(login)
}

fn server(text: &str, login: &Login, context: &Context) -> Result<Server, String> {
    // The URL may hold a password, so errors don't repeat it.
    let invalid = || "url is not that of a NATS server such as nats://nats.example.com:4222".to_string();
    let full = if text.contains("://") { text.to_string() } else { format!("nats://{text}") };
    let url = Url::parse(&full).map_err(|_| invalid())?;
    let (websocket, tls, port) = match url.scheme() {
        "nats" => (false, false, 4222),
        "tls" => (false, true, 4222),
        "ws" => (true, false, 80),
        "wss" => (true, true, 443),
        _ => return Err(invalid()),
    };
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(invalid)?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_string();
    let mut login = login.clone();
    let decoded = |text: &str| {
        let form = format!("x={}", text.replace('+', "%2B"));
        url::form_urlencoded::parse(form.as_bytes()).next().map(|(_, value)| value.into_owned())
    };
    let user = decoded(url.username()).unwrap_or_default();
    match url.password().and_then(decoded) {
        Some(password) => {
            context.secret(&password);
            login.user = Some((user, password));
        }
        None if !user.is_empty() => {
            context.secret(&user);
            login.token = user;
        }
        None => {}
    }
    Ok(Server { host, port: url.port().unwrap_or(port), tls, websocket, login })
}

/// Headers as they go over the wire: names keep their case, values stay on one line.
fn wire_headers<'a>(headers: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut out = String::new();
    for (name, value) in headers {
        if out.is_empty() {
            out.push_str("NATS/1.0\r\n");
        }
        out.push_str(&format!("{name}: {}\r\n", value.replace(['\r', '\n'], " ").trim()));
    }
    if !out.is_empty() {
        out.push_str("\r\n");
    }
    out
}

impl Nats {
    async fn open(&self, server: &Server) -> Result<Connection, SendError> {
        let addresses = self.factory.resolve(&server.host, server.port, self.guarded).await?;
        let mut result = Err(SendError::new(Reason::Unreachable, format!("{} has no address", server.host)));
        for address in addresses {
            let target = Target {
                host: &server.host,
                address,
                websocket: server.websocket,
                tls_required: server.tls,
                tls_wanted: tls::is_asked_for(&self.http),
                tls: &|| tls::config(&self.http).map_err(SendError::misconfigured),
            };
            let opening = Connection::open(&target, &server.login);
            result = tokio::time::timeout(self.connect_timeout, opening).await.unwrap_or_else(|_| {
                Err(SendError::new(Reason::TimedOut, "the NATS server did not answer in time"))
            });
            match &result {
                Err(error) if matches!(error.reason, Reason::Unreachable | Reason::TimedOut) => {}
                _ => break,
            }
        }
        result
    }

    /// Connects to the first server that takes us.
    async fn connect(&self) -> Result<Connection, SendError> {
        let mut first: Option<SendError> = None;
        for server in &self.servers {
            match self.open(server).await {
                Ok(connection) => return Ok(connection),
                Err(mut error) => {
                    error.message = format!("failed to connect to NATS server: {}", error.message);
                    // One that may come back says more than one that is set up wrongly.
                    if first.as_ref().is_none_or(|first| !first.is_retryable() && error.is_retryable()) {
                        first = Some(error);
                    }
                }
            }
        }
        Err(first.unwrap_or_else(|| SendError::misconfigured("url is missing")))
    }

    async fn publish(&self, message: &Message<'_>) -> Result<String, SendError> {
        let mut place = self.kept.lock().await;
        // Taken out, so that a connection in an unknown state is dropped when this attempt ends early.
        let kept = place.take().filter(|kept| kept.used.elapsed() < LONGEST_PAUSE);
        let mut again = kept.is_some();
        let mut connection = match kept {
            Some(kept) => kept.connection,
            None => self.connect().await?,
        };
        loop {
            let result = connection.publish(message).await;
            match &result {
                // The server may have closed it since; the message did not arrive, or its receipt was lost.
                Err(error) if again && error.reason == Reason::Unreachable => {
                    again = false;
                    connection = self.connect().await?;
                    continue;
                }
                // After an error the server may close the connection.
                Err(_) => {}
                Ok(_) => *place = Some(Kept { connection, used: Instant::now() }),
            }
            return result;
        }
    }
}

#[async_trait]
impl Service for Nats {
    fn check_recipient(&self, subject: &str) -> Result<(), SendError> {
        let bad = |c: char| c.is_whitespace() || c.is_control();
        match subject.is_empty() || subject.contains(bad) || subject.split('.').any(str::is_empty) {
            true => Err(SendError::misconfigured(format!(
                "failed to publish message to NATS: nats: invalid subject {subject:?}"
            ))),
            false => Ok(()),
        }
    }

    async fn send(&self, delivery: &Delivery<'_>) -> Result<Receipt, SendError> {
        let subject = delivery.recipient;
        let id = Some(("Nats-Msg-Id", delivery.notice_id)).filter(|(_, id)| self.jetstream && !id.is_empty());
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let message = Message {
            subject,
            headers: wire_headers(headers.chain(id)),
            payload: delivery.message().as_bytes(),
            stored: self.jetstream,
        };
        match tokio::time::timeout(self.total_timeout, self.publish(&message)).await {
            Ok(result) => result.map(Receipt::new),
            Err(_) => Err(SendError::new(Reason::TimedOut, "the NATS server did not answer in time")),
        }
    }
}
