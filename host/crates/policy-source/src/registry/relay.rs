//! The only way from the registry client to the network: a proxy on loopback, for one
//! operation, that looks where each connection goes and counts what comes back.
//!
//! The registry itself is always reached. Any other host (registries redirect to
//! storage and to token services) is reached over TLS only, and only at public
//! addresses: a registry cannot make this host talk to its own network. The address
//! that was looked at is the address that is connected to.

use super::Plain;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const LARGEST_HEAD: usize = 16 << 10;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const PIECE: usize = 16 << 10;

/// Why the relay ended a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Stopped {
    /// More came back than this many bytes.
    Budget(u64),
    /// It was to go where nothing goes.
    Refused { to: String, why: &'static str },
    /// The registry cannot be connected to.
    Unreachable(String),
}

/// A running relay; it ends with its runtime.
pub(super) struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    /// `HOST` or `HOST:PORT`.
    registry: String,
    plain: Option<Plain>,
    token: String,
    budget: u64,
    left: AtomicU64,
    stopped: Mutex<Option<Stopped>>,
}

impl Relay {
    pub(super) async fn start(
        registry: &str,
        plain: Option<Plain>,
        budget: u64,
    ) -> io::Result<Self> {
        let mut token = [0; 16];
        getrandom::fill(&mut token).map_err(|error| io::Error::other(error.to_string()))?;
        let token = token.iter().map(|byte| format!("{byte:02x}")).collect();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            registry: registry.to_owned(),
            plain,
            token,
            budget,
            left: AtomicU64::new(budget),
            stopped: Mutex::new(None),
        });
        let serving = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let shared = Arc::clone(&serving);
                tokio::spawn(async move {
                    // Whoever is at the other end sees the connection end.
                    let _ = shared.serve(client).await;
                });
            }
        });
        Ok(Self { address, shared })
    }

    /// As the client is to be told. The token keeps other processes out.
    pub(super) fn address(&self) -> String {
        format!("http://relay:{}@{}", self.shared.token, self.address)
    }

    /// Why a connection was ended, the first one if several were.
    pub(super) fn stopped(&self) -> Option<Stopped> {
        let stopped = self.shared.stopped.lock();
        stopped.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Shared {
    fn stop(&self, why: Stopped) {
        let mut stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        stopped.get_or_insert(why);
    }

    async fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        let (head, rest) = read_head(&mut client).await?;
        let Some(request) = Request::parse(&head) else {
            return client.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        };
        let expected = STANDARD.encode(format!("relay:{}", self.token));
        if request.authorization != Some(expected.as_str()) {
            // The client leaves its token out where it follows a redirect elsewhere.
            if let Err(why) = self.encrypted(&request) {
                self.stop(why);
            }
            return client
                .write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
                .await;
        }
        let to = format!("{}:{}", request.host, request.port);
        let addresses = match self.addresses(&request).await {
            Ok(addresses) => addresses,
            Err(why) => {
                self.stop(why);
                return client.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n").await;
            }
        };
        let connecting = TcpStream::connect(addresses.as_slice());
        let mut server = match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(Ok(server)) => server,
            Ok(Err(error)) => {
                self.stop(Stopped::Unreachable(format!("{to}: {error}")));
                return client.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").await;
            }
            Err(_) => {
                self.stop(Stopped::Unreachable(format!("{to} does not answer")));
                return client
                    .write_all(b"HTTP/1.1 504 Gateway Timeout\r\n\r\n")
                    .await;
            }
        };
        if request.tunnel {
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
        } else {
            server.write_all(&head).await?;
        }
        server.write_all(&rest).await?;
        self.copy(client, server).await
    }

    /// Whether a request is for the registry itself; any other has to be encrypted.
    fn encrypted(&self, request: &Request<'_>) -> Result<bool, Stopped> {
        let default = if self.plain.is_some() { 80 } else { 443 };
        let (host, port) = match self.registry.split_once(':') {
            Some((host, port)) => (host, port.parse().unwrap_or(default)),
            None => (self.registry.as_str(), default),
        };
        let the_registry = request.host == host && request.port == port;
        let plainly = the_registry && self.plain.is_some();
        if !request.tunnel && !plainly {
            return Err(Stopped::Refused {
                to: format!("{}:{}", request.host, request.port),
                why: "it is not encrypted",
            });
        }
        Ok(the_registry)
    }

    /// Where a request may go.
    async fn addresses(&self, request: &Request<'_>) -> Result<Vec<SocketAddr>, Stopped> {
        let the_registry = self.encrypted(request)?;
        let to = format!("{}:{}", request.host, request.port);
        let refused = |why| Stopped::Refused {
            to: to.clone(),
            why,
        };
        let found = tokio::net::lookup_host((request.host, request.port))
            .await
            .map_err(|error| Stopped::Unreachable(format!("{to}: {error}")))?;
        let addresses: Vec<SocketAddr> = found.collect();
        if the_registry && self.plain != Some(Plain::Loopback) {
            return Ok(addresses);
        }
        if the_registry {
            // A name may sound like this machine and be another one.
            if addresses.iter().any(|address| !address.ip().is_loopback()) {
                return Err(refused("it is not this machine, and not encrypted"));
            }
            return Ok(addresses);
        }
        if addresses.iter().any(|address| !is_public(address.ip())) {
            return Err(refused("its address is a private one"));
        }
        Ok(addresses)
    }

    /// Both directions until both ended, or until the budget is used up.
    async fn copy(&self, client: TcpStream, server: TcpStream) -> io::Result<()> {
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let up = async {
            let copied = tokio::io::copy(&mut from_client, &mut to_server).await;
            let _ = to_server.shutdown().await;
            copied.map(drop)
        };
        let down = async {
            let mut piece = vec![0; PIECE];
            loop {
                let length = from_server.read(&mut piece).await?;
                if length == 0 {
                    return to_client.shutdown().await;
                }
                let spent = u64::try_from(length).unwrap_or(u64::MAX);
                let enough = self
                    .left
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                        left.checked_sub(spent)
                    });
                if enough.is_err() {
                    self.stop(Stopped::Budget(self.budget));
                    return Err(io::Error::other("the budget is used up"));
                }
                to_client
                    .write_all(piece.get(..length).unwrap_or_default())
                    .await?;
            }
        };
        // An error on one side ends both.
        tokio::try_join!(up, down).map(drop)
    }
}

/// What the client asks of its proxy.
#[derive(PartialEq, Eq, Debug)]
struct Request<'a> {
    /// `CONNECT`: the rest is TLS with `host`.
    tunnel: bool,
    host: &'a str,
    port: u16,
    authorization: Option<&'a str>,
}

impl<'a> Request<'a> {
    fn parse(head: &'a [u8]) -> Option<Self> {
        let mut lines = std::str::from_utf8(head).ok()?.split("\r\n");
        let mut words = lines.next()?.split(' ');
        let (method, target) = (words.next()?, words.next()?);
        let tunnel = method == "CONNECT";
        let authority = if tunnel {
            target
        } else {
            let rest = target.strip_prefix("http://")?;
            rest.split(['/', '?', '#']).next()?
        };
        if authority.contains('@') {
            return None;
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (authority, 80),
        };
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        if host.is_empty() {
            return None;
        }
        let authorization = lines
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("proxy-authorization"))
            .and_then(|(_, value)| value.trim().strip_prefix("Basic "));
        Some(Self {
            tunnel,
            host,
            port,
            authorization,
        })
    }
}

/// Reads a request's head, and what came after it.
async fn read_head(client: &mut TcpStream) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(end) = end {
            let rest = bytes.split_off(end + 4);
            return Ok((bytes, rest));
        }
        if bytes.len() > LARGEST_HEAD || client.read_buf(&mut bytes).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
    }
}

/// Whether an address is out on the Internet: not this machine, not this network, not
/// a cloud's metadata service.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => {
            let embedded = address
                .to_ipv4_mapped()
                .or_else(|| translated(address))
                .or_else(|| six_to_four(address));
            if let Some(inner) = embedded {
                return is_public_v4(inner);
            }
            // Global unicast is 2000::/3; 2001::/23 holds Teredo and documentation.
            let [first, second, ..] = address.segments();
            first & 0xe000 == 0x2000 && !(first == 0x2001 && (second < 0x0200 || second == 0x0db8))
        }
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_unspecified()
        || address.is_broadcast()
        || address.is_multicast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 198 && (18..20).contains(&b))
        || (a == 192 && b == 0 && c == 0))
}

/// The IPv4 address inside `64:ff9b::/96`.
fn translated(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [0x64, 0xff9b, 0, 0, 0, 0, high, low] = address.segments() else {
        return None;
    };
    Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)))
}

/// The IPv4 address inside `2002::/16`.
fn six_to_four(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [0x2002, high, low, ..] = address.segments() else {
        return None;
    };
    Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_addresses_of_the_internet_are_public() {
        for address in [
            "1.1.1.1",
            "140.82.112.3",
            "2606:4700::1111",
            "64:ff9b::101:101",
        ] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "192.0.0.192",
            "::",
            "::1",
            "fe80::1",
            "fd00:ec2::254",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
            "2001:db8::1",
            "2001::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn requests_to_a_proxy_are_read() {
        let head = b"CONNECT ghcr.io:443 HTTP/1.1\r\nHost: ghcr.io\r\nProxy-Authorization: Basic abc\r\n\r\n";
        let request = Request::parse(head).unwrap();
        assert_eq!(
            (request.tunnel, request.host, request.port),
            (true, "ghcr.io", 443)
        );
        assert_eq!(request.authorization, Some("abc"));
        let request =
            Request::parse(b"GET http://h:5000/v2/?x=http://y:1 HTTP/1.1\r\n\r\n").unwrap();
        assert_eq!(
            (request.tunnel, request.host, request.port),
            (false, "h", 5000)
        );
        let request = Request::parse(b"GET http://[::1]/v2/ HTTP/1.1\r\n\r\n").unwrap();
        assert_eq!((request.host, request.port), ("::1", 80));
        for head in [
            &b""[..],
            b"GET /v2/ HTTP/1.1\r\n\r\n",
            b"GET https://h/ HTTP/1.1\r\n\r\n",
            b"GET http://ghcr.io@10.0.0.1/ HTTP/1.1\r\n\r\n",
            b"CONNECT h:99999 HTTP/1.1\r\n\r\n",
            b"CONNECT :443 HTTP/1.1\r\n\r\n",
            b"\xff\xff",
        ] {
            assert_eq!(Request::parse(head), None);
        }
    }

    proptest! {
        #[test]
        fn any_head_is_read_or_refused(head: Vec<u8>, text: String) {
            let _ = Request::parse(&head);
            let _ = Request::parse(text.as_bytes());
        }
    }
}
