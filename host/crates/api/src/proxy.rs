//! What a trusted proxy in front of the host says of a request. Whatever others write
//! into the same headers is not read.

use axum::http::{HeaderMap, HeaderName};
use selfheal_domain::user::{Role, UserName};
use std::net::IpAddr;
use std::str::FromStr;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// An address, or all addresses that begin like it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        let same = |ours: u128, theirs: u128, width: u32| {
            let rest = width - self.bits;
            rest >= width || ours >> rest == theirs >> rest
        };
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                same(ours.to_bits().into(), theirs.to_bits().into(), 32)
            }
            // Shifting by all 128 bits is no shift.
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                self.bits == 0 || same(ours.to_bits(), theirs.to_bits(), 128)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no address or network, as in 10.0.0.7 or 10.1.0.0/16");
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(width), str::parse).map_err(|_| wrong())?;
        if bits > width {
            return Err(wrong());
        }
        Ok(Self { address, bits })
    }
}

/// Which proxies are believed, and what.
#[derive(Clone, Debug, Default)]
pub struct ProxyOptions {
    /// Addresses that connections of trusted proxies come from.
    pub trusted: Vec<Network>,
    /// Whether `X-Forwarded-For`, `-Host` and `-Proto` count: for rates, and for where
    /// browsers may act from.
    pub forwarded: bool,
    /// Header that names the user whom the proxy has logged in.
    pub user_header: Option<HeaderName>,
    /// Role of accounts that are made for users who have none; they are refused without.
    pub newcomers: Option<Role>,
}

/// Where a request comes from and what it is about, as far as it can be believed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Seen {
    /// The client's address.
    pub(crate) source: IpAddr,
    /// The host that the client asked, where the proxy says it.
    pub(crate) host: Option<String>,
    /// The scheme that the client used, where the proxy says it.
    pub(crate) scheme: Option<String>,
    /// The user whom the proxy names; an error where it names nobody that can be one.
    pub(crate) user: Option<Result<UserName, ()>>,
}

impl ProxyOptions {
    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(address))
    }

    pub(crate) fn see(&self, peer: IpAddr, headers: &HeaderMap) -> Seen {
        let mut seen = Seen {
            source: peer,
            host: None,
            scheme: None,
            user: None,
        };
        if !self.trusts(peer) {
            return seen;
        }
        if self.forwarded {
            seen.source = self.client(peer, headers);
            seen.host = last(headers, &FORWARDED_HOST);
            seen.scheme = last(headers, &FORWARDED_PROTO);
        }
        if let Some(name) = &self.user_header {
            let mut values = headers.get_all(name).iter();
            seen.user = match (values.next(), values.next()) {
                (None, _) => None,
                // The second may be the client's own.
                (Some(_), Some(_)) => Some(Err(())),
                (Some(value), None) => {
                    let name = value.to_str().unwrap_or_default();
                    Some(UserName::new(name).map_err(|_| ()))
                }
            };
        }
        seen
    }

    /// The first address, from the end, that is no trusted proxy's: those before it are
    /// the client's own words.
    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let lines = headers.get_all(&FORWARDED_FOR).iter();
        let lines: Vec<_> = lines.filter_map(|line| line.to_str().ok()).collect();
        let mut found = peer;
        for address in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
            let Ok(address) = address.trim().parse() else {
                break;
            };
            found = address;
            if !self.trusts(address) {
                break;
            }
        }
        found
    }
}

/// The last value of a header: the nearest proxy's.
fn last(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let value = headers.get_all(name).iter().next_back()?;
    let value = value.to_str().ok()?.rsplit(',').next()?.trim();
    Some(value.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> ProxyOptions {
        ProxyOptions {
            trusted: ["10.0.0.7", "10.1.0.0/16", "fd00::/8"]
                .map(|text| text.parse().unwrap())
                .to_vec(),
            forwarded: true,
            user_header: Some(HeaderName::from_static("x-forwarded-user")),
            newcomers: None,
        }
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn networks_hold_what_begins_like_them() {
        let holds = |network: &str, other: &str| {
            network.parse::<Network>().unwrap().contains(address(other))
        };
        assert!(holds("10.1.0.0/16", "10.1.255.1") && !holds("10.1.0.0/16", "10.2.0.1"));
        assert!(holds("10.0.0.7", "10.0.0.7") && !holds("10.0.0.7", "10.0.0.8"));
        assert!(holds("10.0.0.7", "::ffff:10.0.0.7"));
        assert!(holds("0.0.0.0/0", "1.2.3.4") && !holds("0.0.0.0/0", "::1"));
        assert!(holds("::/0", "fe80::1") && holds("fd00::/8", "fdff::1"));
        assert!(!holds("fd00::/8", "fe00::1"));
        for wrong in ["", "10.0.0", "10.0.0.0/33", "::1/129", "10.0.0.0/x", "a/8"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn strangers_are_seen_as_they_are_whatever_they_write() {
        let lies = headers(&[
            ("x-forwarded-for", "10.0.0.7"),
            ("x-forwarded-host", "heal.example.org"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-user", "admin"),
        ]);
        let seen = options().see(address("192.0.2.1"), &lies);
        let plain = Seen {
            source: address("192.0.2.1"),
            host: None,
            scheme: None,
            user: None,
        };
        assert_eq!(seen, plain);
        let off = ProxyOptions::default();
        assert_eq!(
            off.see(address("10.0.0.7"), &lies).source,
            address("10.0.0.7")
        );
        assert_eq!(off.see(address("10.0.0.7"), &lies).user, None);
    }

    #[test]
    fn the_client_is_the_last_that_no_trusted_proxy_is() {
        let source = |lines: &[(&'static str, &str)]| {
            options().see(address("10.0.0.7"), &headers(lines)).source
        };
        let name = "x-forwarded-for";
        assert_eq!(source(&[]), address("10.0.0.7"));
        assert_eq!(source(&[(name, "192.0.2.1")]), address("192.0.2.1"));
        // What stands before the client is what it wrote itself.
        assert_eq!(
            source(&[(name, "1.1.1.1, 192.0.2.1, 10.1.2.3")]),
            address("192.0.2.1")
        );
        let lines = [(name, "1.1.1.1"), (name, "192.0.2.1,10.1.2.3")];
        assert_eq!(source(&lines), address("192.0.2.1"));
        assert_eq!(
            source(&[(name, "192.0.2.1, nonsense")]),
            address("10.0.0.7")
        );
    }

    #[test]
    fn a_user_is_named_once_or_not_at_all() {
        let user = |lines: &[(&'static str, &str)]| {
            options().see(address("10.0.0.7"), &headers(lines)).user
        };
        let name = "x-forwarded-user";
        assert_eq!(user(&[]), None);
        assert_eq!(
            user(&[(name, "ann")]),
            Some(Ok(UserName::new("ann").unwrap()))
        );
        assert_eq!(user(&[(name, "ann"), (name, "admin")]), Some(Err(())));
        assert_eq!(user(&[(name, "Ann O'Nym")]), Some(Err(())));
        assert_eq!(user(&[(name, "")]), Some(Err(())));
    }
}
