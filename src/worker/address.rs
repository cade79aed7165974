//! Which addresses may be called. A URL may come from a document, and whoever may write documents shall not thereby
//! reach what only this machine's network can.

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Why an address is refused.
pub const REFUSED: &str =
    "names an address that is not public; set WORKER_ALLOW_PRIVATE=true to call such services";

/// The address that a URL names without a name server.
pub fn literal(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    host.trim_start_matches('[')
        .trim_end_matches(']')
        .parse()
        .ok()
}

/// Whether an address is for a machine, a network or a purpose, and not for everybody: the special-purpose registries
/// of IANA. What leads to an IPv4 address by another way is that address.
pub fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => is_private_v4(ip),
        IpAddr::V6(ip) => is_private_v6(ip),
    }
}

fn is_private_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    a == 0
        || ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_multicast()
        || ip.is_documentation()
        // Behind a provider's translation, IETF's own, relays of 6to4, benchmarks, reserved and broadcast.
        || (a == 100 && b & 0xc0 == 64)
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && b & 0xfe == 18)
        || a >= 240
}

fn is_private_v6(ip: Ipv6Addr) -> bool {
    let parts = ip.segments();
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_private_v4(Ipv4Addr::new(a, b, c, d))
    };
    match parts {
        // Without an address, loopback and the old form of an IPv4 address.
        [0, 0, 0, 0, 0, 0, _, _] => true,
        // Translated to IPv4 by SIIT, by NAT64, and by 6to4.
        [0, 0, 0, 0, 0xffff, 0, high, low] => v4(high, low),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low),
        [0x2002, high, low, ..] => v4(high, low),
        // Local NAT64, what is discarded, dummy addresses, and segments of a routing domain.
        [0x64, 0xff9b, 1, ..] | [0x100, 0, 0, 0 | 1, ..] | [0x5f00, ..] => true,
        // Of protocols (Teredo, benchmarks, …), and documentation.
        [0x2001, second, ..] if second < 0x200 || second == 0xdb8 => true,
        [0x3fff, second, ..] if second < 0x1000 => true,
        [first, ..] => {
            // Unique local, link-local, the former site-local, and multicast.
            first & 0xfe00 == 0xfc00 || first & 0xff80 == 0xfe80 || first & 0xff00 == 0xff00
        }
    }
}

/// Asks the name server, and leaves out what may not be called: the addresses that are connected to are the ones that
/// were looked at.
#[derive(Debug, Clone, Copy)]
pub struct Resolver {
    pub allows_private: bool,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allows_private = self.allows_private;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let all: Vec<SocketAddr> = found.collect();
            let allowed: Vec<SocketAddr> = all
                .iter()
                .copied()
                .filter(|found| allows_private || !is_private(found.ip()))
                .collect();
            match allowed.is_empty() && !all.is_empty() {
                true => Err(Box::new(Refused) as Box<dyn Error + Send + Sync>),
                false => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}

/// All addresses of a name are refused.
#[derive(Debug)]
pub struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REFUSED)
    }
}

impl Error for Refused {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_public() {
        for private in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:0:10.0.0.1",
            "100:0:0:1::1",
            "5f00::1",
            "64:ff9b::a01:203",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "ff02::1",
        ] {
            assert!(is_private(private.parse().unwrap()), "{private}");
        }
        for public in [
            "1.1.1.1",
            "100.63.255.255",
            "172.32.0.1",
            "198.20.0.1",
            "2606:4700::1111",
            "2a00:1450:4001::1",
            "64:ff9b::101:101",
            "::ffff:1.1.1.1",
            "::ffff:0:1.1.1.1",
        ] {
            assert!(!is_private(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn an_address_is_seen_however_it_is_written() {
        for text in [
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://0177.0.0.1/",
            "http://[::ffff:7f00:1]/",
        ] {
            let url = Url::parse(text).unwrap();
            assert!(literal(&url).is_some_and(is_private), "{text}");
        }
        assert_eq!(literal(&Url::parse("http://example.com/").unwrap()), None);
    }
}
