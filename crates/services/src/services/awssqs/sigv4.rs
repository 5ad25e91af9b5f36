//! Signature Version 4 of AWS.

use std::fmt::Write as _;

use jiff::{Timestamp, tz::TimeZone};
use ring::{digest, hmac};
use url::Url;

use super::credentials::Credentials;

/// What a request is signed for.
pub(super) struct Scope<'a> {
    pub(super) region: &'a str,
    pub(super) service: &'a str,
    pub(super) now: Timestamp,
}

/// The headers that make a request a signed one: `X-Amz-Date`, maybe a session's token, and `Authorization`.
/// `headers` are those that the request has besides `Host`, and are signed too; names in lower case.
pub(super) fn sign(
    scope: &Scope<'_>,
    credentials: &Credentials,
    method: &str,
    url: &Url,
    headers: &[(&'static str, &str)],
    body: &[u8],
) -> Vec<(&'static str, String)> {
    let time = scope.now.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string();
    let date = time.split('T').next().unwrap_or_default();
    let mut added = vec![("x-amz-date", time.clone())];
    if !credentials.session_token.is_empty() {
        added.push(("x-amz-security-token", credentials.session_token.clone()));
    }
    let host = match url.port() {
        Some(port) => format!("{}:{port}", url.host_str().unwrap_or_default()),
        None => url.host_str().unwrap_or_default().to_string(),
    };
    let mut signed = vec![("host", host.as_str())];
    signed.extend(headers);
    signed.extend(added.iter().map(|(name, value)| (*name, value.as_str())));
    signed.sort_unstable();
    let names = signed.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");

    let mut canonical = format!("{method}\n{}\n{}\n", url.path(), canonical_query(url));
    for (name, value) in &signed {
        // Writing to a String can't fail.
        let _ = writeln!(canonical, "{name}:{}", value.trim());
    }
    let _ = write!(canonical, "\n{names}\n{}", hash(body));

    let place = format!("{date}/{}/{}/aws4_request", scope.region, scope.service);
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{place}\n{}", hash(canonical.as_bytes()));
    let first = format!("AWS4{}", credentials.secret).into_bytes();
    let key = [date, scope.region, scope.service, "aws4_request"]
        .into_iter()
        .fold(first, |key, part| mac(&key, part.as_bytes()));
    let signature = hex(&mac(&key, text.as_bytes()));
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/{place}, SignedHeaders={names}, Signature={signature}",
        credentials.key
    );
    added.push(("authorization", authorization));
    added
}

fn canonical_query(url: &Url) -> String {
    let mut pairs: Vec<(String, String)> =
        url.query_pairs().map(|(key, value)| (escape(&key), escape(&value))).collect();
    pairs.sort();
    pairs.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join("&")
}

/// Escapes all but the unreserved characters, as RFC 3986 names them.
fn escape(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref().to_vec()
}

/// SHA-256 in hexadecimal.
pub(super) fn hash(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

    /// The examples that AWS publishes: its test suite's `get-vanilla` and `post-vanilla`, and `ListUsers` of the
    /// documentation of signing.
    #[test]
    fn signatures_are_those_of_the_published_examples() {
        let credentials = Credentials {
            key: "AKIDEXAMPLE".into(),
            secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(),
            ..Credentials::default()
        };
        let table = [
            (
                "GET",
                "https://example.amazonaws.com/",
                "service",
                "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
            (
                "POST",
                "https://example.amazonaws.com/",
                "service",
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
            (
                "GET",
                "https://iam.amazonaws.com/?Version=2010-05-08&Action=ListUsers",
                "iam",
                "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
            ),
        ];
        for (method, url, service, signature) in table {
            let headers: &[_] = if service == "iam" { &[("content-type", FORM)] } else { &[] };
            let now = "2015-08-30T12:36:00Z".parse().unwrap();
            let scope = Scope { region: "us-east-1", service, now };
            let signed = sign(&scope, &credentials, method, &url.parse().unwrap(), headers, b"");
            let (_, authorization) = signed.last().unwrap();
            assert_eq!(authorization.rsplit('=').next(), Some(signature), "{method} {url}");
        }
    }
}
