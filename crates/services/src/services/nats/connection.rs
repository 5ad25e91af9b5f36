//! One connection to a NATS server: the greeting, and messages that are confirmed.
//!
//! A client of our own, for three reasons: a message counts as sent only when the server has answered a PING after
//! it, as errors come before that answer; nothing is sent again behind our back after a connection broke; and the
//! connection goes to the very address that the guard has seen.

use std::net::SocketAddr;

use rustls::pki_types::ServerName;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::{Login, websocket};
use crate::failure::{Reason, SendError};

/// A server whose lines are longer is none.
pub(super) const LONGEST_LINE: usize = 1024 * 1024;

pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// What a server says of itself.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Info {
    headers: bool,
    nonce: String,
    max_payload: usize,
    tls_required: bool,
    tls_available: bool,
}

/// A message to be published.
pub(super) struct Message<'a> {
    pub(super) subject: &'a str,
    /// The headers as they go over the wire, empty or from `NATS/1.0` to the empty line.
    pub(super) headers: String,
    pub(super) payload: &'a [u8],
    /// Whether a stream must say that it has the message.
    pub(super) stored: bool,
}

/// How to reach a server.
pub(super) struct Target<'a> {
    pub(super) host: &'a str,
    pub(super) address: SocketAddr,
    /// Inside of a WebSocket; with TLS, that comes before it.
    pub(super) websocket: bool,
    pub(super) tls_required: bool,
    /// TLS also where the server leaves it open.
    pub(super) tls_wanted: bool,
    pub(super) tls: &'a (dyn Fn() -> Result<rustls::ClientConfig, SendError> + Sync),
}

/// A connection that is logged in.
pub(super) struct Connection {
    stream: BufReader<Box<dyn Stream>>,
    info: Info,
    inbox: Option<String>,
    sent: u64,
}

/// A stream that has greeted us, with what it said, and whether TLS protects it.
type Greeted = (BufReader<Box<dyn Stream>>, Info, bool);

enum Line {
    Pong,
    Error(String),
    Message { subject: String, headers: String, payload: Vec<u8> },
}

pub(super) fn broken(error: &std::io::Error) -> SendError {
    let text = error.to_string();
    let reason = if text.contains("certificate") { Reason::Untrusted } else { Reason::Unreachable };
    SendError::new(reason, format!("the connection to the NATS server broke: {text}"))
}

fn nonsense(line: &str) -> SendError {
    SendError::new(Reason::BadAnswer, format!("the answer is not that of a NATS server: {line:?}"))
}

/// What an error of the server means; those that another attempt can't mend are final.
fn refused(text: &str) -> SendError {
    let lower = text.to_lowercase();
    let words = ["permissions", "authorization", "authentication", "maximum payload", "invalid", "account"];
    let reason = if words.iter().any(|word| lower.contains(word)) && !lower.contains("timeout") {
        Reason::Rejected
    } else {
        Reason::ServerError
    };
    SendError::new(reason, format!("failed to publish message to NATS: nats: {text}"))
}

impl Connection {
    /// Connects and logs in.
    pub(super) async fn open(target: &Target<'_>, login: &Login) -> Result<Connection, SendError> {
        let tcp = TcpStream::connect(target.address).await.map_err(|e| broken(&e))?;
        // Small messages whose answers are waited for.
        tcp.set_nodelay(true).map_err(|e| broken(&e))?;
        let (stream, info, tls) = match target.websocket {
            true => inside_a_websocket(tcp, target).await?,
            false => greeted(tcp, target).await?,
        };
        let mut connection = Connection { stream, info, inbox: None, sent: 0 };
        let hello = connection.hello(login, tls)?;
        connection.write(format!("CONNECT {hello}\r\nPING\r\n").as_bytes()).await?;
        match connection.next().await? {
            Line::Pong => Ok(connection),
            Line::Error(text) => Err(refused(&text)),
            Line::Message { .. } => Err(nonsense("MSG")),
        }
    }

    fn hello(&self, login: &Login, tls: bool) -> Result<Value, SendError> {
        let mut hello = json!({
            "verbose": false, "pedantic": false, "tls_required": tls, "name": "herald", "lang": "rust",
            "version": env!("CARGO_PKG_VERSION"), "protocol": 1, "echo": true, "headers": true,
            "no_responders": true,
        });
        if let Some((user, password)) = &login.user {
            hello["user"] = user.as_str().into();
            hello["pass"] = password.as_str().into();
        }
        if !login.token.is_empty() {
            hello["auth_token"] = login.token.as_str().into();
        }
        if !login.jwt.is_empty() {
            hello["jwt"] = login.jwt.as_str().into();
        }
        if let Some(key) = &login.key {
            if self.info.nonce.is_empty() {
                return Err(SendError::misconfigured("nkeys not supported by the server"));
            }
            hello["sig"] = key.sign(&self.info.nonce).into();
            if login.jwt.is_empty() {
                hello["nkey"] = key.public().into();
            }
        }
        Ok(hello)
    }

    /// Publishes a message and waits until the server has taken it. Gives what a stream says of it.
    pub(super) async fn publish(&mut self, message: &Message<'_>) -> Result<String, SendError> {
        let fault =
            |text: String| SendError::misconfigured(format!("failed to publish message to NATS: {text}"));
        let size = message.headers.len() + message.payload.len();
        if self.info.max_payload > 0 && size > self.info.max_payload {
            let text =
                format!("nats: maximum payload exceeded: {size} bytes, {} allowed", self.info.max_payload);
            return Err(SendError::rejected(format!("failed to publish message to NATS: {text}")));
        }
        if !message.headers.is_empty() && !self.info.headers {
            return Err(fault("nats: headers not supported by server".into()));
        }
        let mut out = Vec::new();
        let mut reply = String::new();
        if message.stored {
            let inbox = match &self.inbox {
                Some(inbox) => inbox.clone(),
                None => {
                    let inbox = format!("_INBOX.{}", uuid::Uuid::new_v4().simple());
                    out.extend_from_slice(format!("SUB {inbox}.* 1\r\n").as_bytes());
                    self.inbox = Some(inbox.clone());
                    inbox
                }
            };
            self.sent += 1;
            reply = format!("{inbox}.{}", self.sent);
        }
        let to = if reply.is_empty() { String::new() } else { format!(" {reply}") };
        let head = match message.headers.len() {
            0 => format!("PUB {}{to} {size}\r\n", message.subject),
            headers => format!("HPUB {}{to} {headers} {size}\r\n", message.subject),
        };
        for part in [head.as_bytes(), message.headers.as_bytes(), message.payload, b"\r\nPING\r\n"] {
            out.extend_from_slice(part);
        }
        self.write(&out).await?;
        let (mut error, mut stored, mut confirmed) = (None, None, false);
        while !confirmed || (message.stored && stored.is_none() && error.is_none()) {
            match self.next().await {
                Ok(Line::Pong) => confirmed = true,
                Ok(Line::Error(text)) => error = Some(refused(&text)),
                Ok(Line::Message { subject, headers, payload }) if subject == reply => {
                    stored = Some(acknowledged(message.subject, &headers, &payload));
                }
                Ok(Line::Message { .. }) => {}
                // After some errors the server closes the connection; the error says more.
                Err(closed) => return Err(error.unwrap_or(closed)),
            }
        }
        match error {
            Some(error) => Err(error),
            None => stored.unwrap_or_else(|| Ok(String::new())),
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        self.stream.write_all(bytes).await.map_err(|e| broken(&e))?;
        self.stream.flush().await.map_err(|e| broken(&e))
    }

    /// The next line that concerns us; the server's own PINGs are answered.
    async fn next(&mut self) -> Result<Line, SendError> {
        loop {
            let line = read_line(&mut self.stream).await?;
            let mut words = line.split_ascii_whitespace();
            match words.next().unwrap_or_default().to_ascii_uppercase().as_str() {
                "PING" => self.write(b"PONG\r\n").await?,
                "PONG" => return Ok(Line::Pong),
                "INFO" | "+OK" => {}
                "-ERR" => {
                    let text = line.get(4..).unwrap_or_default().trim().trim_matches('\'');
                    return Ok(Line::Error(text.to_string()));
                }
                kind @ ("MSG" | "HMSG") => {
                    let words: Vec<&str> = words.collect();
                    let number = |word: Option<&&str>| word.and_then(|word| word.parse::<usize>().ok());
                    let total = number(words.last()).filter(|total| *total <= LONGEST_LINE);
                    let head = match kind {
                        "HMSG" => number(words.iter().rev().nth(1)),
                        _ => Some(0),
                    };
                    let (Some(subject), Some(total), Some(head)) = (words.first(), total, head) else {
                        return Err(nonsense(&line));
                    };
                    let mut body = vec![0; total + 2];
                    self.stream.read_exact(&mut body).await.map_err(|e| broken(&e))?;
                    body.truncate(total);
                    let payload = body.split_off(head.min(total));
                    let headers = String::from_utf8_lossy(&body).into_owned();
                    return Ok(Line::Message { subject: (*subject).to_string(), headers, payload });
                }
                _ => return Err(nonsense(&line)),
            }
        }
    }
}

/// The server says whether TLS begins after its greeting.
async fn greeted(tcp: TcpStream, target: &Target<'_>) -> Result<Greeted, SendError> {
    let mut plain = BufReader::new(tcp);
    let info = greeting(&mut plain).await?;
    let tls = target.tls_required || info.tls_required || (info.tls_available && target.tls_wanted);
    if tls && !info.tls_required && !info.tls_available {
        return Err(SendError::misconfigured("the NATS server offers no TLS, but the options ask for it"));
    }
    let plain = plain.into_inner();
    let stream: Box<dyn Stream> = if tls { secured(plain, target).await? } else { Box::new(plain) };
    Ok((BufReader::new(stream), info, tls))
}

/// TLS comes first, if it is asked for, whatever the server says in its greeting.
async fn inside_a_websocket(tcp: TcpStream, target: &Target<'_>) -> Result<Greeted, SendError> {
    let tls = target.tls_required || target.tls_wanted;
    let stream: Box<dyn Stream> = if tls { secured(tcp, target).await? } else { Box::new(tcp) };
    let host = if target.host.contains(':') { format!("[{}]", target.host) } else { target.host.to_owned() };
    let authority = format!("{host}:{}", target.address.port());
    let mut stream = BufReader::new(websocket::open(stream, &authority).await?);
    let info = greeting(&mut stream).await?;
    Ok((stream, info, tls))
}

async fn secured(tcp: TcpStream, target: &Target<'_>) -> Result<Box<dyn Stream>, SendError> {
    let name = ServerName::try_from(target.host.to_string())
        .map_err(|_| SendError::misconfigured(format!("{} is no name of a server", target.host)))?;
    let connector = TlsConnector::from(std::sync::Arc::new((target.tls)()?));
    Ok(Box::new(connector.connect(name, tcp).await.map_err(|e| broken(&e))?))
}

async fn greeting<R: AsyncRead + Unpin>(stream: &mut BufReader<R>) -> Result<Info, SendError> {
    let greeting = read_line(stream).await?;
    let info = greeting.strip_prefix("INFO ").and_then(|info| serde_json::from_str(info).ok());
    info.ok_or_else(|| nonsense(&greeting))
}

/// What a stream's answer means.
fn acknowledged(subject: &str, headers: &str, payload: &[u8]) -> Result<String, SendError> {
    if headers.starts_with("NATS/1.0 503") {
        return Err(SendError::misconfigured(format!("no stream of JetStream takes the subject {subject}")));
    }
    let answer: Value = serde_json::from_slice(payload).unwrap_or_default();
    let error = &answer["error"];
    if error.is_object() {
        let text = format!("JetStream: {}", error["description"].as_str().unwrap_or("unknown error"));
        let reason = match error["code"].as_u64() {
            Some(500..) | None => Reason::ServerError,
            Some(_) => Reason::Rejected,
        };
        return Err(SendError::new(reason, text));
    }
    match answer["stream"].as_str() {
        Some(stream) => Ok(format!("{stream} {}", answer["seq"])),
        None => Err(SendError::new(Reason::BadAnswer, "JetStream's answer names no stream")),
    }
}

async fn read_line<R: AsyncRead + Unpin>(stream: &mut BufReader<R>) -> Result<String, SendError> {
    let mut line = Vec::new();
    let limit = u64::try_from(LONGEST_LINE).unwrap_or(u64::MAX);
    stream.take(limit).read_until(b'\n', &mut line).await.map_err(|e| broken(&e))?;
    if line.pop() != Some(b'\n') {
        return Err(SendError::new(Reason::Unreachable, "the NATS server closed the connection"));
    }
    Ok(String::from_utf8_lossy(&line).trim_end_matches('\r').to_string())
}
