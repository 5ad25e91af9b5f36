//! Keeps configurations of tenants away from addresses inside the cluster, after names are resolved.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use reqwest::{
    Url,
    dns::{Addrs, Name, Resolve, Resolving},
};

/// A range of addresses, such as `10.1.0.0/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    address: IpAddr,
    prefix: u32,
}

impl std::str::FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Range, String> {
        let (address, prefix) = text.split_once('/').unwrap_or((text, ""));
        let bad = || format!("not a range of addresses such as 10.1.0.0/16: {text}");
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = if prefix.is_empty() { bits } else { prefix.parse().map_err(|_| bad())? };
        if prefix > bits { Err(bad()) } else { Ok(Range { address, prefix }) }
    }
}

impl Range {
    fn contains(&self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let shift = 32 - self.prefix;
                u64::from(a.to_bits()) >> shift == u64::from(b.to_bits()) >> shift
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                let shift = 128 - self.prefix;
                a.to_bits().checked_shr(shift) == b.to_bits().checked_shr(shift)
            }
            _ => false,
        }
    }
}

/// Decides whether an address may be reached.
#[derive(Clone, Debug, Default)]
pub(super) struct Guard {
    allowed: Arc<[Range]>,
}

impl Guard {
    pub(super) fn new(allowed: &[Range]) -> Guard {
        Guard { allowed: allowed.into() }
    }

    pub(super) fn permits(&self, address: IpAddr) -> bool {
        is_public(address) || self.allowed.iter().any(|range| range.contains(address))
    }

    /// Whether a URL's host is an address that must not be reached. Names are judged when they are resolved.
    pub(super) fn forbids_host(&self, url: &Url) -> bool {
        match url.host() {
            Some(url::Host::Ipv4(address)) => !self.permits(address.into()),
            Some(url::Host::Ipv6(address)) => !self.permits(address.into()),
            Some(url::Host::Domain(_)) => false,
            None => true,
        }
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let good: Vec<SocketAddr> =
                found.into_iter().filter(|address| guard.permits(address.ip())).collect();
            match good.is_empty() {
                true => Err(Refused.into()),
                false => Ok(Box::new(good.into_iter()) as Addrs),
            }
        })
    }
}

/// The error of a refused address.
#[derive(Debug, thiserror::Error)]
#[error(
    "the address lies inside the cluster or on this machine, where a tenant's configuration may not send"
)]
pub(super) struct Refused;

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !matches!(
        (a, b, c),
        (0 | 10 | 127 | 224..=255, _, _)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 168, _)
            | (192, 0, 0 | 2)
            | (198, 18 | 19, _)
            | (198, 51, 100)
            | (203, 0, 113)
    )
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match (a, b, c, d, e, f) {
        // Loopback, unspecified, and IPv4 in its two old spellings.
        (0, 0, 0, 0, 0, 0) => (g, h) > (0, 1) && embedded(g, h),
        (0, 0, 0, 0, 0, 0xffff) | (0x64, 0xff9b, 0, 0, 0, 0) => embedded(g, h),
        (0x2002, _, _, _, _, _) => embedded(b, c),
        (0x2001, 0 | 0xdb8, _, _, _, _) | (0x64, 0xff9b, _, _, _, _) => false,
        (0xfc00..=0xfdff | 0xfe80..=0xfeff | 0xff00..=0xffff, _, _, _, _, _) => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inner_addresses_are_refused_in_every_spelling() {
        let inner = "127.0.0.1 10.0.0.1 172.31.0.1 192.168.1.1 169.254.169.254 100.64.0.1 0.0.0.0 224.0.0.1 \
            255.255.255.255 ::1 :: fe80::1 fd00::1 fec0::1 ff02::1 ::ffff:10.0.0.1 ::127.0.0.1 64:ff9b::a00:1 2002:a00:1::";
        let guard = Guard::default();
        for text in inner.split_whitespace() {
            assert!(!guard.permits(text.parse().unwrap()), "{text}");
        }
        for text in ["1.1.1.1", "172.32.0.1", "2606:4700::1111", "::ffff:8.8.8.8"] {
            assert!(guard.permits(text.parse().unwrap()), "{text}");
        }
        for url in ["http://[::1]/", "http://2130706433/", "http://0x7f.1/", "http://127.1:80/"] {
            assert!(guard.forbids_host(&Url::parse(url).unwrap()), "{url}");
        }
    }

    #[test]
    fn what_the_operator_allows_is_reachable() {
        let guard = Guard::new(&["10.1.0.0/16".parse().unwrap(), "::1".parse().unwrap()]);
        assert!(guard.permits("10.1.2.3".parse().unwrap()));
        assert!(guard.permits("::1".parse().unwrap()));
        assert!(!guard.permits("10.2.2.3".parse().unwrap()));
        assert!("10.0.0.0/33".parse::<Range>().is_err());
    }
}
