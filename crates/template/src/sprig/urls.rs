//! URLs with the rules of Go's `net/url`.

use std::borrow::Cow;

use herald_value::{CallError, Value};

use super::help::{Result, fail, find, kind, text};
use crate::function::{Call, Function, Param::*};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("urlParse", &[Str], |c| {
        c.meter.grow(c.bytes(0).len() as u64 * 4 + 512)?;
        let source = c.bytes(0);
        let url = Url::parse(source).map_err(|why| {
            let quoted = herald_value::num::quote(source);
            CallError::new(format!("unable to parse url: parse {quoted}: {}", why.message))
        })?;
        let hostname = url.hostname().to_vec();
        let userinfo = url.user.as_ref().map(User::text).unwrap_or_default();
        let entries: [(&str, Vec<u8>); 8] = [
            ("scheme", url.scheme),
            ("host", url.host),
            ("hostname", hostname),
            ("path", url.path),
            ("query", url.query),
            ("opaque", url.opaque),
            ("fragment", url.fragment),
            ("userinfo", userinfo),
        ];
        Ok(Value::map(entries.map(|(key, value)| (key, Value::str(value))))?)
    }),
    Function::new("urlJoin", &[Map], join),
    Function::new("getHostByName", &[Str], |_| {
        fail("getHostByName is not available: rendering a template never asks the network")
    }),
];

/// What part of a URL is escaped; each has characters of its own that may stand as they are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Path,
    Host,
    Zone,
    User,
    Fragment,
}

fn must_escape(byte: u8, part: Part) -> bool {
    if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
        return false;
    }
    match part {
        Part::Host | Part::Zone => !b"!$&'()*+,;=:[]<>\"".contains(&byte),
        Part::Path => !b"$&+,/:;=@".contains(&byte),
        Part::User => !b"$&+,;=".contains(&byte),
        Part::Fragment => !b"$&+,/:;=?@!()*".contains(&byte),
    }
}

fn escape(bytes: &[u8], part: Part) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for &byte in bytes {
        if must_escape(byte, part) {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        } else {
            out.push(byte);
        }
    }
    out
}

fn unescape(bytes: &[u8], part: Part) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    let host = matches!(part, Part::Host | Part::Zone);
    let invalid = |bad: &[u8]| fail(format!("invalid URL escape {}", herald_value::num::quote(bad)));
    while let Some(&byte) = bytes.get(at) {
        if byte == b'%' {
            let digit = |at: usize| bytes.get(at).and_then(|b| char::from(*b).to_digit(16));
            let (Some(high), Some(low)) = (digit(at + 1), digit(at + 2)) else {
                return invalid(&bytes[at..bytes.len().min(at + 3)]);
            };
            let code = (high << 4 | low) as u8;
            let whole = &bytes[at..at + 3];
            // In a host only bytes beyond ASCII may be escaped.
            if part == Part::Host && high < 8 && whole != b"%25" {
                return invalid(whole);
            }
            if part == Part::Zone && whole != b"%25" && code != b' ' && must_escape(code, Part::Host) {
                return invalid(whole);
            }
            out.push(code);
            at += 3;
            continue;
        }
        if host && byte.is_ascii() && must_escape(byte, part) {
            return fail(format!("invalid character {} in host name", herald_value::num::quote(&[byte])));
        }
        out.push(byte);
        at += 1;
    }
    Ok(out)
}

struct User {
    name: Vec<u8>,
    password: Option<Vec<u8>>,
}

impl User {
    fn text(&self) -> Vec<u8> {
        let mut out = escape(&self.name, Part::User);
        if let Some(password) = &self.password {
            out.push(b':');
            out.extend(escape(password, Part::User));
        }
        out
    }
}

#[derive(Default)]
struct Url {
    scheme: Vec<u8>,
    opaque: Vec<u8>,
    user: Option<User>,
    host: Vec<u8>,
    path: Vec<u8>,
    query: Vec<u8>,
    fragment: Vec<u8>,
}

fn cut<'a>(bytes: &'a [u8], at: &[u8]) -> (&'a [u8], Option<&'a [u8]>) {
    match find(bytes, at, 0) {
        Some(i) => (&bytes[..i], Some(&bytes[i + at.len()..])),
        None => (bytes, None),
    }
}

fn scheme_of(bytes: &[u8]) -> Result<(&[u8], &[u8])> {
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if at > 0 => {}
            b':' if at == 0 => return fail("missing protocol scheme"),
            b':' => return Ok((&bytes[..at], &bytes[at + 1..])),
            _ => break,
        }
    }
    Ok((b"", bytes))
}

fn valid_port(text: &[u8]) -> bool {
    match text {
        [] => true,
        [b':', digits @ ..] => digits.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

impl Url {
    fn parse(source: &[u8]) -> Result<Url> {
        let (main, fragment) = cut(source, b"#");
        if main.iter().any(|b| *b < b' ' || *b == 0x7f) {
            return fail("net/url: invalid control character in URL");
        }
        let mut url = Url::default();
        if let Some(fragment) = fragment {
            url.fragment = unescape(fragment, Part::Fragment)?;
        }
        if main == b"*" {
            url.path = main.to_vec();
            return Ok(url);
        }
        let (scheme, rest) = scheme_of(main)?;
        url.scheme = scheme.to_ascii_lowercase();
        let (rest, query) = cut(rest, b"?");
        url.query = query.unwrap_or_default().to_vec();
        let mut rest = rest;
        if !rest.starts_with(b"/") {
            if !url.scheme.is_empty() {
                url.opaque = rest.to_vec();
                return Ok(url);
            }
            if cut(rest, b"/").0.contains(&b':') {
                return fail("first path segment in URL cannot contain colon");
            }
        }
        if (!url.scheme.is_empty() || !rest.starts_with(b"///")) && rest.starts_with(b"//") {
            let authority = &rest[2..];
            let end = authority.iter().position(|b| *b == b'/').unwrap_or(authority.len());
            url.authority(&authority[..end])?;
            rest = &authority[end..];
        }
        url.path = unescape(rest, Part::Path)?;
        Ok(url)
    }

    fn authority(&mut self, authority: &[u8]) -> Result<()> {
        let at = authority.iter().rposition(|b| *b == b'@');
        self.host = parse_host(&self.scheme, at.map_or(authority, |at| &authority[at + 1..]))?;
        let Some(at) = at else { return Ok(()) };
        let userinfo = &authority[..at];
        if !userinfo.iter().all(|b| b.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(b)) {
            return fail("net/url: invalid userinfo");
        }
        let (name, password) = cut(userinfo, b":");
        let password = password.map(|p| unescape(p, Part::User)).transpose()?;
        self.user = Some(User { name: unescape(name, Part::User)?, password });
        Ok(())
    }

    /// The host without its port and brackets.
    fn hostname(&self) -> &[u8] {
        let host = match self.host.iter().rposition(|b| *b == b':') {
            Some(colon) if valid_port(&self.host[colon..]) => &self.host[..colon],
            _ => &self.host,
        };
        host.strip_prefix(b"[").and_then(|h| h.strip_suffix(b"]")).unwrap_or(host)
    }

    fn text(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if !self.scheme.is_empty() {
            out.extend_from_slice(&self.scheme);
            out.push(b':');
        }
        if !self.opaque.is_empty() {
            out.extend_from_slice(&self.opaque);
        } else {
            let some_host = !self.host.is_empty() || self.user.is_some();
            if some_host || (!self.scheme.is_empty() && !self.path.is_empty()) {
                out.extend_from_slice(b"//");
            }
            if let Some(user) = &self.user {
                out.extend(user.text());
                out.push(b'@');
            }
            out.extend(escape(&self.host, Part::Host));
            let path = if self.path == b"*" { b"*".to_vec() } else { escape(&self.path, Part::Path) };
            if !path.is_empty() && path[0] != b'/' && !self.host.is_empty() {
                out.push(b'/');
            }
            // Else the first segment would look like a scheme.
            if out.is_empty() && cut(&path, b"/").0.contains(&b':') {
                out.extend_from_slice(b"./");
            }
            out.extend(path);
        }
        if !self.query.is_empty() {
            out.push(b'?');
            out.extend_from_slice(&self.query);
        }
        if !self.fragment.is_empty() {
            out.push(b'#');
            out.extend(escape(&self.fragment, Part::Fragment));
        }
        out
    }
}

fn parse_host(scheme: &[u8], host: &[u8]) -> Result<Vec<u8>> {
    let bad_port = |port: &[u8]| fail(format!("invalid port {} after host", herald_value::num::quote(port)));
    match host.iter().rposition(|b| *b == b'[') {
        Some(0) => {
            let Some(close) = host.iter().rposition(|b| *b == b']') else {
                return fail("missing ']' in host");
            };
            let (name, port) = (&host[1..close], &host[close + 1..]);
            if !valid_port(port) {
                return bad_port(port);
            }
            let zone = find(name, b"%25", 0).unwrap_or(name.len());
            let address = unescape(&name[..zone], Part::Host)?;
            let zone = unescape(&name[zone..], Part::Zone)?;
            let text = String::from_utf8_lossy(&address);
            if text.parse::<std::net::Ipv6Addr>().is_err() || zone == b"%" {
                return fail(format!("invalid host: ParseAddr({text:?}): unable to parse IP"));
            }
            Ok([b"[", address.as_slice(), &zone, b"]", port].concat())
        }
        Some(_) => fail("invalid IP-literal"),
        None => {
            let strict = scheme == b"http" || scheme == b"https";
            let first = host.iter().position(|b| *b == b':');
            let colon = if strict { first } else { host.iter().rposition(|b| *b == b':') };
            if let Some(colon) = colon
                && !valid_port(&host[colon..])
            {
                return bad_port(&host[colon..]);
            }
            unescape(host, Part::Host)
        }
    }
}

fn join(call: &mut Call<'_>) -> Result<Value> {
    let map = call.map(0);
    let part = |key: &str| match map.as_ref().and_then(|m| m.get(key)) {
        None => Ok(Cow::Borrowed(&[][..])),
        Some(Value::Str(text)) => Ok(Cow::Borrowed(text.as_bytes())),
        Some(Value::Nil) => Err(super::help::nil_pointer()),
        Some(other) => {
            fail(format!("unable to parse {key} key, must be of type string, but {} found", kind(other)))
        }
    };
    let mut url = Url {
        scheme: part("scheme")?.into_owned(),
        opaque: part("opaque")?.into_owned(),
        user: None,
        host: part("host")?.into_owned(),
        path: part("path")?.into_owned(),
        query: part("query")?.into_owned(),
        fragment: part("fragment")?.into_owned(),
    };
    let userinfo = part("userinfo")?;
    if !userinfo.is_empty() {
        let source = [b"proto://", &*userinfo, b"@host"].concat();
        let parsed = Url::parse(&source)
            .map_err(|why| CallError::new(format!("unable to parse userinfo in dict: {}", why.message)))?;
        url.user = parsed.user;
    }
    let out = url.text();
    text(call, out)
}
