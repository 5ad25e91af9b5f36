//! Where a NATS outbox is: `nats://[user:password@|token@]host[:port][,host…][?option=value&…]`.

use std::{fmt, path::PathBuf, str::FromStr};

use async_nats::ConnectOptions;

use crate::OutboxError;

/// What is known, for messages.
const OPTIONS: &str = "creds, nkey, ca, cert, key, tls, replicas, partitions, prefix";

/// The servers and how to get in. Shows no secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct NatsAddress {
    servers: Vec<String>,
    user: Option<(String, String)>,
    token: Option<String>,
    creds: Option<PathBuf>,
    nkey: Option<PathBuf>,
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    tls: bool,
    /// Copies of everything: 3 with three servers or more, else 1.
    pub(super) replicas: usize,
    /// Parts that workers share, where the stream is made anew.
    pub(super) partitions: u32,
    /// The beginning of the names of streams and buckets.
    pub(super) prefix: String,
}

impl fmt::Display for NatsAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nats://{}", self.servers.join(","))
    }
}

impl fmt::Debug for NatsAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for NatsAddress {
    type Err = OutboxError;

    fn from_str(text: &str) -> Result<Self, OutboxError> {
        let wrong = |reason: String| OutboxError::Address { reason };
        let (place, options) = text.split_once('?').unwrap_or((text, ""));
        let mut address = NatsAddress {
            servers: Vec::new(),
            user: None,
            token: None,
            creds: None,
            nkey: None,
            ca: None,
            cert: None,
            key: None,
            tls: false,
            replicas: 0,
            partitions: 32,
            prefix: "herald".into(),
        };
        for server in place.split(',') {
            let (scheme, rest) = server.split_once("://").unwrap_or(("nats", server));
            match scheme {
                "nats" => {}
                "tls" => address.tls = true,
                other => {
                    return Err(wrong(format!("`{other}://` is no NATS server; write nats://host:4222")));
                }
            }
            let (entry, host) =
                rest.rsplit_once('@').map_or((None, rest), |(entry, host)| (Some(entry), host));
            let host = host.trim_end_matches('/');
            if host.is_empty() {
                return Err(wrong("a server has no name; write nats://host:4222".into()));
            }
            match entry.map(|entry| entry.split_once(':').ok_or(entry)) {
                Some(Ok((user, password))) => address.user = Some((decoded(user), decoded(password))),
                Some(Err(token)) => address.token = Some(decoded(token)),
                None => {}
            }
            let named = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
            address.servers.push(if named { host.to_owned() } else { format!("{host}:4222") });
        }
        for (name, value) in url::form_urlencoded::parse(options.as_bytes()) {
            let file = || Some(PathBuf::from(value.as_ref()));
            let number = |least: u32, most: u32| {
                let parsed = value.parse::<u32>().ok().filter(|number| (least..=most).contains(number));
                parsed.ok_or_else(|| {
                    wrong(format!("{name} must be a number from {least} to {most}, not `{value}`"))
                })
            };
            match name.as_ref() {
                "creds" => address.creds = file(),
                "nkey" => address.nkey = file(),
                "ca" => address.ca = file(),
                "cert" => address.cert = file(),
                "key" => address.key = file(),
                "tls" => address.tls = value != "false",
                "replicas" => address.replicas = number(1, 5)? as usize,
                "partitions" => address.partitions = number(1, 1024)?,
                "prefix" => {
                    let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
                    if value.is_empty() || !value.chars().all(good) {
                        return Err(wrong(format!(
                            "the prefix `{value}` must be of letters, digits, - and _"
                        )));
                    }
                    address.prefix = value.into_owned();
                }
                other => return Err(wrong(format!("`{other}` is not known; known are {OPTIONS}"))),
            }
        }
        if address.replicas == 0 {
            address.replicas = if address.servers.len() >= 3 { 3 } else { 1 };
        }
        Ok(address)
    }
}

fn decoded(text: &str) -> String {
    let pair = format!("x={}", text.replace('+', "%2B"));
    url::form_urlencoded::parse(pair.as_bytes())
        .next()
        .map_or_else(String::new, |(_, value)| value.into_owned())
}

impl NatsAddress {
    /// Servers as the client wants them.
    pub(super) fn servers(&self) -> Vec<String> {
        let scheme = if self.tls { "tls" } else { "nats" };
        self.servers.iter().map(|server| format!("{scheme}://{server}")).collect()
    }

    pub(super) async fn options(&self) -> Result<ConnectOptions, OutboxError> {
        let unreadable = |path: &PathBuf, error: std::io::Error| OutboxError::Address {
            reason: format!("{}: {error}", path.display()),
        };
        let mut options = ConnectOptions::new();
        if let Some(path) = &self.creds {
            options = options.credentials_file(path).await.map_err(|error| unreadable(path, error))?;
        }
        if let Some(path) = &self.nkey {
            let seed = std::fs::read_to_string(path).map_err(|error| unreadable(path, error))?;
            options = options.nkey(seed.trim().to_owned());
        }
        if let Some((user, password)) = &self.user {
            options = options.user_and_password(user.clone(), password.clone());
        }
        if let Some(token) = &self.token {
            options = options.token(token.clone());
        }
        if let Some(path) = &self.ca {
            options = options.add_root_certificates(path.clone());
        }
        if let (Some(cert), Some(key)) = (&self.cert, &self.key) {
            options = options.add_client_certificate(cert.clone(), key.clone());
        }
        Ok(options.require_tls(self.tls || self.ca.is_some()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_keep_their_secrets() {
        let address: NatsAddress =
            "nats://me:p%40ss@a:4222,nats://b,c:1?replicas=2&partitions=8&ca=/x/ca.pem".parse().unwrap();
        assert_eq!(address.servers, ["a:4222", "b:4222", "c:1"]);
        assert_eq!(address.user, Some(("me".into(), "p@ss".into())));
        assert_eq!((address.replicas, address.partitions), (2, 8));
        assert_eq!(format!("{address} {address:?}").matches("p@ss").count(), 0);
        assert_eq!("nats://a,b,c".parse::<NatsAddress>().unwrap().replicas, 3);
        assert_eq!("nats://t0ken@a".parse::<NatsAddress>().unwrap().token.as_deref(), Some("t0ken"));
        for (text, part) in [
            ("http://x", "is no NATS server"),
            ("nats://", "has no name"),
            ("nats://a?replicas=9", "from 1 to 5"),
            ("nats://a?retries=1", "`retries` is not known"),
            ("nats://a?prefix=a.b", "must be of letters"),
        ] {
            let error = text.parse::<NatsAddress>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
