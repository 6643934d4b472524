//! Ways out of a contained command's network, each to one destination.

use crate::SandboxError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;

/// Most grants of one command.
const MOST: usize = 16;

/// One destination that a contained command may reach, and nothing beside it.
///
/// The command has no network but a loopback of its own. A grant is a listener on
/// that loopback which the host itself holds: for each connection made to it, the
/// host connects to the destination and carries the bytes. The command can choose
/// neither the destination nor anything about how it is reached.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Grant {
    /// Names that lead to `listen` inside, such as `api.example.org`: with the
    /// destination's own name and port, TLS works end to end. Often none.
    pub names: Vec<String>,
    /// Where the command connects to: a loopback address (`127.0.0.0/8`) inside its
    /// network, with a port that is not 0. Ports below 1024 work.
    pub listen: SocketAddrV4,
    /// Where the host connects to.
    pub connect: Destination,
}

/// Where the host carries a granted connection to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Destination {
    /// A unix socket of the host, by absolute path.
    Unix(PathBuf),
    /// `host:port`; the name is looked up by the host, at each connection.
    Tcp(String),
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => f.write_str(address),
        }
    }
}

impl Grant {
    /// `127.0.0.1:port` inside leads to `connect`.
    pub fn at_port(port: u16, connect: Destination) -> Self {
        Self {
            names: Vec::new(),
            listen: SocketAddrV4::new(Ipv4Addr::LOCALHOST, port),
            connect,
        }
    }

    /// A grant for each `host:port`, so that the command reaches it under the same
    /// name and port. Hosts get loopback addresses of their own; what is on this
    /// machine's own loopback stays at `127.0.0.1`.
    ///
    /// # Errors
    /// A destination is not of the form `host:port`.
    pub fn for_destinations<'a>(
        destinations: impl IntoIterator<Item = &'a str>,
    ) -> Result<Vec<Self>, SandboxError> {
        let mut hosts: Vec<&str> = Vec::new();
        let mut grants = Vec::new();
        for destination in destinations.into_iter().collect::<BTreeSet<_>>() {
            let (host, port) = split(destination).ok_or_else(|| {
                SandboxError::Invalid(format!("{destination:?} is not of the form host:port"))
            })?;
            let (address, names) = if matches!(host, "localhost" | "127.0.0.1") {
                (Ipv4Addr::LOCALHOST, Vec::new())
            } else {
                let known = hosts.iter().position(|known| *known == host);
                let number = known.unwrap_or_else(|| {
                    hosts.push(host);
                    hosts.len() - 1
                });
                let last = u8::try_from(number + 1)
                    .map_err(|_| SandboxError::Invalid("too many hosts".to_owned()))?;
                (Ipv4Addr::new(127, 83, 104, last), vec![host.to_owned()])
            };
            grants.push(Self {
                names,
                listen: SocketAddrV4::new(address, port),
                connect: Destination::Tcp(destination.to_owned()),
            });
        }
        Ok(grants)
    }
}

/// Host name or IPv4 address and port of `host:port`.
fn split(destination: &str) -> Option<(&str, u16)> {
    let (host, port) = destination.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    is_host_name(host).then_some((host, port))
}

fn is_host_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 253
        && !name.starts_with(['-', '.'])
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'))
}

/// Refuses grants that would not do what they say.
pub(crate) fn check(grants: &[Grant]) -> Result<(), SandboxError> {
    let invalid = |text: String| Err(SandboxError::Invalid(text));
    if grants.len() > MOST {
        return invalid(format!("more than {MOST} network grants"));
    }
    let mut places = BTreeSet::new();
    for grant in grants {
        if !grant.listen.ip().is_loopback() || grant.listen.port() == 0 {
            return invalid(format!(
                "a network grant listens on a loopback address, not on {}",
                grant.listen
            ));
        }
        if !places.insert(grant.listen) {
            return invalid(format!("two network grants listen on {}", grant.listen));
        }
        if let Some(name) = grant.names.iter().find(|name| !is_host_name(name)) {
            return invalid(format!("{name:?} is not a host name"));
        }
        match &grant.connect {
            Destination::Unix(path) if !path.is_absolute() => {
                return invalid(format!("the socket {} is not absolute", path.display()));
            }
            Destination::Tcp(address) if split(address).is_none() => {
                return invalid(format!("{address:?} is not of the form host:port"));
            }
            Destination::Unix(_) | Destination::Tcp(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_get_addresses_of_their_own() {
        let grants = Grant::for_destinations([
            "b.example:80",
            "a.example:443",
            "a.example:80",
            "localhost:5432",
        ])
        .expect("destinations");
        let seen: Vec<(String, Vec<String>)> = grants
            .into_iter()
            .map(|grant| (grant.listen.to_string(), grant.names))
            .collect();
        let named = |address: &str, name: &str| (address.to_owned(), vec![name.to_owned()]);
        assert_eq!(
            seen,
            [
                named("127.83.104.1:443", "a.example"),
                named("127.83.104.1:80", "a.example"),
                named("127.83.104.2:80", "b.example"),
                ("127.0.0.1:5432".to_owned(), Vec::new()),
            ]
        );
    }

    #[test]
    fn what_is_no_destination_is_refused() {
        for text in [
            "",
            "example.org",
            "example.org:0",
            ":80",
            "a b:80",
            "x\n1.2.3.4 y:80",
            "-a:1",
        ] {
            assert!(Grant::for_destinations([text]).is_err(), "{text:?}");
        }
        let outside = Grant {
            listen: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 80),
            ..Grant::at_port(80, Destination::Tcp("example.org:80".to_owned()))
        };
        let twice = vec![Grant::at_port(80, Destination::Tcp("example.org:80".to_owned())); 2];
        assert!(check(&[outside]).is_err());
        assert!(check(&twice).is_err());
        assert!(check(&[Grant::at_port(80, Destination::Unix("relative".into()))]).is_err());
    }
}
