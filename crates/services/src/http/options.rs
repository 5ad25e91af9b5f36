//! The options that every HTTP service takes.

use std::time::Duration;

use herald_core::yaml::{self, Node, YamlError};
use reqwest::{Certificate, Identity, Proxy, Url};
use serde::Deserialize;

/// Common options (services.md 1.5) beside a service's own ones, and what Herald adds to them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpOptions {
    /// Accept any certificate.
    pub insecure_skip_verify: bool,
    /// Idle connections for all hosts; 0: no limit.
    pub max_idle_conns: i64,
    /// Idle connections for each host; 0: the default.
    pub max_idle_conns_per_host: i64,
    /// Connections for each host; 0: the default.
    pub max_conns_per_host: i64,
    /// How long an idle connection is kept, as a Go duration; one that does not parse is ignored.
    pub idle_conn_timeout: String,
    /// Proxy for this instance, before `HTTP_PROXY` and `HTTPS_PROXY`.
    #[serde(rename = "proxyURL")]
    pub proxy_url: String,
    /// Certificates (PEM) that are trusted besides those of the system.
    pub ca_bundle: String,
    /// Client certificate (PEM, with its chain).
    pub client_certificate: String,
    /// The client certificate's private key (PEM).
    pub client_key: String,
    /// Limit for one whole exchange, as a Go duration; default 30 s.
    pub request_timeout: String,
    /// Limit for connecting, as a Go duration; default 10 s.
    pub connect_timeout: String,
}

/// Options that were checked.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) total_timeout: Duration,
    pub(super) connect_timeout: Duration,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) max_idle: usize,
    pub(super) max_conns: usize,
    pub(super) insecure: bool,
    pub(super) proxy: Option<Proxy>,
    pub(super) roots: Vec<Certificate>,
    pub(super) identity: Option<Identity>,
}

const TOTAL_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
const MAX_CONNS: usize = 32;

impl HttpOptions {
    /// Reads the common options out of a service's options.
    pub fn read(options: &Node) -> Result<HttpOptions, YamlError> {
        match options.kind {
            yaml::Kind::Null => Ok(HttpOptions::default()),
            _ => yaml::decode(options),
        }
    }

    pub(super) fn check(&self) -> Result<Checked, String> {
        let max_conns = positive(self.max_conns_per_host).unwrap_or(MAX_CONNS);
        let proxy = match self.proxy_url.trim() {
            "" => None,
            // The URL may hold a password, so errors don't repeat it.
            url => Some(
                Url::parse(url)
                    .ok()
                    .filter(|url| url.has_host())
                    .and_then(|url| Proxy::all(url).ok())
                    .ok_or("proxyURL is not a URL such as http://proxy.example.com:3128")?,
            ),
        };
        let roots = match self.ca_bundle.trim() {
            "" => Vec::new(),
            pem => match Certificate::from_pem_bundle(pem.as_bytes()) {
                Ok(roots) if !roots.is_empty() => roots,
                _ => return Err("caBundle holds no certificate in PEM form".into()),
            },
        };
        let identity = match (self.client_certificate.trim(), self.client_key.trim()) {
            ("", "") => None,
            (certificate, key) => {
                Some(Identity::from_pem(format!("{certificate}\n{key}\n").as_bytes()).map_err(
                    |_| "clientCertificate and clientKey must be a certificate and its key in PEM form",
                )?)
            }
        };
        Ok(Checked {
            total_timeout: duration_or("requestTimeout", &self.request_timeout, TOTAL_TIMEOUT)?,
            connect_timeout: duration_or("connectTimeout", &self.connect_timeout, CONNECT_TIMEOUT)?,
            idle_timeout: match self.idle_conn_timeout.trim() {
                "" => Some(IDLE_TIMEOUT),
                text => Some(go_duration(text).filter(|d| !d.is_zero()).unwrap_or(IDLE_TIMEOUT)),
            },
            max_idle: positive(self.max_idle_conns_per_host)
                .or(positive(self.max_idle_conns))
                .unwrap_or(max_conns),
            max_conns,
            insecure: self.insecure_skip_verify,
            proxy,
            roots,
            identity,
        })
    }
}

/// Checks an option that must be a URL, so that a wrong one is told when configuration loads.
pub(crate) fn web_url(option: &str, text: &str, options: &Node) -> Result<(), YamlError> {
    // The name of a secret that isn't there stays as it is; that was told already.
    if text.starts_with('$') {
        return Ok(());
    }
    let fault = |why: String| Err(YamlError::new(why, options.at));
    match Url::parse(text.trim()) {
        _ if text.trim().is_empty() => fault(format!("{option} is missing")),
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(()),
        Ok(url) => fault(format!(
            "{option} is not a URL such as https://example.com: unsupported protocol scheme \"{}\"",
            url.scheme()
        )),
        // The URL may hold a password, so errors don't repeat it.
        Err(error) => fault(format!("{option} is not a URL such as https://example.com: {error}")),
    }
}

fn positive(number: i64) -> Option<usize> {
    usize::try_from(number).ok().filter(|number| *number > 0)
}

fn duration_or(option: &str, text: &str, default: Duration) -> Result<Duration, String> {
    match text.trim() {
        "" => Ok(default),
        text => go_duration(text)
            .filter(|duration| !duration.is_zero())
            .ok_or_else(|| format!("{option} is not a duration such as 10s or 1m30s: {text}")),
    }
}

/// A positive Go duration such as `1m30s` or `1.5h`.
pub fn go_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut total = 0f64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let number: f64 = number.parse().ok()?;
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        total += number
            * match unit {
                "ns" => 1e-9,
                "us" | "µs" | "μs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
        rest = tail;
    }
    Duration::try_from_secs_f64(total).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        let table = [
            ("1m30s", Some(90_000)),
            ("1.5s", Some(1500)),
            ("250ms", Some(250)),
            ("0", Some(0)),
            ("2", None),
            ("", None),
            ("2d", None),
            ("-1s", None),
            ("1..5s", None),
        ];
        for (text, millis) in table {
            assert_eq!(go_duration(text).map(|d| d.as_millis()), millis, "{text}");
        }
    }

    #[test]
    fn bad_options_are_told_without_their_value() {
        let options = |f: fn(&mut HttpOptions)| {
            let mut options = HttpOptions::default();
            f(&mut options);
            options.check().map(drop).unwrap_err()
        };
        assert!(options(|o| o.proxy_url = "http//u:hunter2@x".into()).starts_with("proxyURL is not a URL"));
        assert!(options(|o| o.ca_bundle = "hunter2".into()).starts_with("caBundle holds no certificate"));
        assert!(options(|o| o.client_key = "hunter2".into()).starts_with("clientCertificate and clientKey"));
        assert!(options(|o| o.request_timeout = "30".into()).starts_with("requestTimeout is not a duration"));
    }
}
