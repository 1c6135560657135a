//! Addresses on the command line: their syntax, and how this machine resolves them.
//!
//! The syntax is checked when the options are parsed; a mistake is a usage error. Names and zones
//! are resolved afterwards; one that this machine does not know is a refusal (exit code 3).
//!
//! Addresses are canonical: `[::ffff:127.0.0.1]:80` is `127.0.0.1:80`, here and in everything that
//! is printed (RFC 4291, section 2.5.5.2). A zone (RFC 4007, section 11) is printed as its number,
//! as in the close log; it may be given as a number or as the name of an interface.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, ToSocketAddrs};

use super::Failure;
use crate::config::Config;
use crate::server::{BindError, Server};

/// An address and a port, or a name and a port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Endpoint {
    host: Host,
    port: u16,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Host {
    Address(Address),
    Name(String),
}

/// An IP address, with its zone if it has one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Address {
    pub(super) ip: IpAddr,
    pub(super) zone: Zone,
}

/// The link that a link-local address belongs to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Zone {
    /// None is named.
    Default,
    /// The number of an interface.
    Number(u32),
    /// The name of an interface.
    Name(String),
}

impl Endpoint {
    /// Reads `127.0.0.1:80`, `[::1]:80`, `[fe80::1%eth0]:80` or `name:80`.
    ///
    /// # Errors
    /// It is none of these.
    pub(super) fn parse(text: &str) -> Result<Endpoint, String> {
        const EXPECTED: &str = "expected an address and a port, such as 127.0.0.1:20003 or [::1]:0";
        let (host, port) = text.rsplit_once(':').ok_or(EXPECTED)?;
        let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let port: u16 = port.parse().ok().filter(|_| is_number).ok_or(EXPECTED)?;
        let host = match host.strip_prefix('[') {
            Some(host) => {
                let host = host.strip_suffix(']').filter(|host| host.contains(':'));
                let address = Address::parse(host.ok_or(EXPECTED)?).ok_or(EXPECTED)?;
                if address.is_link_local() && address.zone == Zone::Default {
                    return Err("expected an interface with this link-local address, such as \
                                [fe80::1%eth0]:20003"
                        .to_owned());
                }
                Host::Address(address)
            }
            None => match host.parse() {
                Ok(IpAddr::V4(ip)) => Host::Address(Address { ip: ip.into(), zone: Zone::Default }),
                _ if host.is_empty() || host.contains([':', '[', ']', '%', ' ']) => {
                    return Err(EXPECTED.to_owned());
                }
                _ => Host::Name(host.to_owned()),
            },
        };
        Ok(Endpoint { host, port })
    }

    /// All addresses of this endpoint, at least one. `option` is its name in an error.
    ///
    /// # Errors
    /// The name cannot be resolved, or there is no such interface.
    pub(super) fn resolve(&self, option: &str) -> Result<Vec<SocketAddr>, Failure> {
        match &self.host {
            Host::Address(address) => {
                let scope = address.scope(option)?;
                Ok(vec![socket_address(address.ip, scope, self.port)])
            }
            Host::Name(name) => look_up(name, self.port).map_err(|reason| {
                Failure::Refused(format!(
                    "{option} {self}: cannot resolve this name ({reason}); check its spelling, and \
                     the name resolution of this machine"
                ))
            }),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Name(name) => write!(f, "{name}:{}", self.port),
            Host::Address(address) if address.ip.is_ipv6() => {
                write!(f, "[{address}]:{}", self.port)
            }
            Host::Address(address) => write!(f, "{address}:{}", self.port),
        }
    }
}

/// The ADDR of `command`, which connects to it.
///
/// # Errors
/// ADDR is missing.
pub(super) fn given<'a>(
    address: Option<&'a Endpoint>,
    command: &str,
) -> Result<&'a Endpoint, Failure> {
    address.ok_or_else(|| {
        Failure::Usage(format!(
            "ADDR is missing: give the address of the server, such as 127.0.0.1:20003; see \
             closecall {command} --help"
        ))
    })
}

/// All addresses of `server` with the IP version of `source`, at least one. `source` is the option
/// for an error, and whether it is IPv4.
///
/// # Errors
/// The name cannot be resolved, there is no such interface, or no address has that version.
pub(super) fn servers(
    server: &Endpoint,
    source: Option<(String, bool)>,
) -> Result<Vec<SocketAddr>, Failure> {
    reachable(server.resolve("ADDR")?, source)
}

/// The addresses of `all` that have the source's version of IP.
fn reachable(
    all: Vec<SocketAddr>,
    source: Option<(String, bool)>,
) -> Result<Vec<SocketAddr>, Failure> {
    let Some((option, is_ipv4)) = source else { return Ok(all) };
    let fits = |server: &&SocketAddr| server.is_ipv4() == is_ipv4;
    let fitting: Vec<_> = all.iter().filter(fits).copied().collect();
    if fitting.is_empty() {
        let version = if is_ipv4 { "IPv6" } else { "IPv4" };
        let server = all[0];
        return Err(Failure::Usage(format!(
            "{option}: expected an {version} address, because the server's address is {server}"
        )));
    }
    Ok(fitting)
}

impl Address {
    /// Reads `127.0.0.1`, `::1`, `fe80::1%2` or `fe80::1%eth0`.
    pub(super) fn parse(text: &str) -> Option<Address> {
        let Some((ip, zone)) = text.split_once('%') else {
            let ip: IpAddr = text.parse().ok()?;
            return Some(Address { ip: ip.to_canonical(), zone: Zone::Default });
        };
        let ip: Ipv6Addr = ip.parse().ok()?;
        let zone = match zone.parse() {
            Ok(number) => Zone::Number(number),
            Err(_) if zone.is_empty() || zone.contains(['%', '/', '[', ']', ' ']) => return None,
            Err(_) => Zone::Name(zone.to_owned()),
        };
        ip.is_unicast_link_local().then_some(Address { ip: ip.into(), zone })
    }

    fn is_link_local(&self) -> bool {
        matches!(self.ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
    }

    /// The number of its zone, 0 if there is none.
    ///
    /// # Errors
    /// There is no interface of this name.
    pub(super) fn scope(&self, option: &str) -> Result<u32, Failure> {
        let name = match &self.zone {
            Zone::Default => return Ok(0),
            Zone::Number(number) => return Ok(*number),
            Zone::Name(name) => name,
        };
        // getaddrinfo(3) resolves names of interfaces, and sends no query for a numeric address.
        let found =
            (self.to_string().as_str(), 0).to_socket_addrs().ok().and_then(|mut it| it.next());
        match found {
            Some(SocketAddr::V6(address)) if address.scope_id() != 0 => Ok(address.scope_id()),
            _ => Err(Failure::Refused(format!(
                "{option} {self}: this machine has no interface '{}'; `ip link` lists its \
                 interfaces",
                name.escape_debug()
            ))),
        }
    }

    /// The address to connect to `server` from, with a port that the system chooses. A link-local
    /// address without a zone is in that of the server.
    ///
    /// # Errors
    /// As for [`scope`](Self::scope).
    pub(super) fn towards(&self, server: SocketAddr) -> Result<SocketAddr, Failure> {
        let scope = match (self.scope("--source")?, server) {
            (0, SocketAddr::V6(server)) if self.is_link_local() => server.scope_id(),
            (scope, _) => scope,
        };
        Ok(socket_address(self.ip, scope, 0))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.zone {
            Zone::Default => write!(f, "{}", self.ip),
            Zone::Number(zone) => write!(f, "{}%{zone}", self.ip),
            Zone::Name(zone) => write!(f, "{}%{zone}", self.ip),
        }
    }
}

fn socket_address(ip: IpAddr, scope: u32, port: u16) -> SocketAddr {
    match ip {
        IpAddr::V4(ip) => (ip, port).into(),
        IpAddr::V6(ip) => SocketAddrV6::new(ip, port, 0, scope).into(),
    }
}

/// The addresses of a name, without duplicates, or the reason why there are none.
fn look_up(name: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let found = (name, port).to_socket_addrs().map_err(|it| it.to_string().replace('\n', " "))?;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found {
        let scope = match address {
            SocketAddr::V6(address) => address.scope_id(),
            SocketAddr::V4(_) => 0,
        };
        let address = socket_address(address.ip().to_canonical(), scope, port);
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() { Err("no address found".to_owned()) } else { Ok(addresses) }
}

// ---- one port for all addresses of a name -------------------------------------------------------

/// The most ports that are tried to find one that is free on all addresses of a name.
const PORTS_TRIED_MAX: u32 = 16;

/// Binds a server to `groups`, each the addresses of one `--listen`. For port 0 all addresses of a
/// group get the same port.
///
/// # Errors
/// As for [`Server::bind`].
pub(super) fn bind(config: Config, groups: &[Vec<SocketAddr>]) -> Result<Server, BindError> {
    bind_to(config, groups, |first| {
        // If this fails, binding the server fails as well and reports why.
        TcpListener::bind(first).and_then(|it| it.local_addr()).map_or(0, |it| it.port())
    })
}

/// [`bind`] with `free_port`, which finds a free port of the first address of a group. Until the
/// server binds that port, another program may take it, or it may be in use on another address.
fn bind_to(
    mut config: Config,
    groups: &[Vec<SocketAddr>],
    mut free_port: impl FnMut(SocketAddr) -> u16,
) -> Result<Server, BindError> {
    let shares = |group: &[SocketAddr]| group.len() > 1 && group[0].port() == 0;
    let mut left = if groups.iter().any(|it| shares(it)) { PORTS_TRIED_MAX } else { 1 };
    loop {
        left -= 1;
        config.listen.clear();
        for group in groups {
            let port = if shares(group) { free_port(group[0]) } else { group[0].port() };
            config.listen.extend(group.iter().map(|it| {
                let mut address = *it;
                address.set_port(port);
                address
            }));
        }
        match Server::bind(config.clone()) {
            Err(error) if left > 0 && error.source.kind() == io::ErrorKind::AddrInUse => {}
            bound => return bound,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(text: &str) -> Vec<String> {
        let endpoint = Endpoint::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        endpoint.resolve("--listen").unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn addresses_are_canonical_and_have_a_port() {
        for (text, address) in [
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("[::1]:20003", "[::1]:20003"),
            ("[::ffff:127.0.0.1]:80", "127.0.0.1:80"),
            ("[::ffff:0.0.0.0]:0", "0.0.0.0:0"),
            ("[fe80::1%1]:9", "[fe80::1%1]:9"),
        ] {
            assert_eq!(resolved(text), [address]);
        }
        let all = ["", ":1", "20003", "127.0.0.1", "::1:20003", "[::1]", "a:b", "a:65536", "a b:1"];
        let zones = ["[::1%lo]:1", "[fe80::1%]:1", "[fe80::1]:1", "[127.0.0.1]:1", "a%lo:1"];
        for text in all.iter().chain(&zones).chain(&["a:+1", "[fe80::1%a%b]:1", "[a]:1", "a:"]) {
            assert!(Endpoint::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_name_has_each_of_its_addresses_once() {
        let mut found = resolved("localhost:20003");
        assert!(!found.is_empty());
        for address in &found {
            let address: SocketAddr = address.parse().unwrap();
            assert!(address.ip().is_loopback() && address.port() == 20003, "{address}");
        }
        let count = found.len();
        found.sort_unstable();
        found.dedup();
        assert_eq!(found.len(), count);
    }

    #[test]
    fn of_a_name_with_both_versions_the_addresses_of_the_source_are_taken() {
        let all = ["[::1]:1", "127.0.0.1:1"].map(|it| it.parse().unwrap()).to_vec();
        for (is_ipv4, expected) in [(true, "127.0.0.1:1"), (false, "[::1]:1")] {
            let source = Some(("--source".to_owned(), is_ipv4));
            let found = reachable(all.clone(), source).unwrap_or_else(|_| panic!("{expected}"));
            assert_eq!(found, [expected.parse().unwrap()]);
        }
    }

    #[test]
    fn an_unknown_name_or_interface_is_refused_and_is_no_usage_error() {
        for (text, reason) in [
            ("nowhere.invalid:1", "--listen nowhere.invalid:1: cannot resolve this name ("),
            ("[fe80::1%nowhere0]:1", "--listen fe80::1%nowhere0: this machine has no interface"),
        ] {
            let Err(Failure::Refused(line)) = Endpoint::parse(text).unwrap().resolve("--listen")
            else {
                panic!("{text}")
            };
            assert!(line.starts_with(reason), "{line}");
        }
    }

    #[test]
    fn a_link_local_source_is_in_the_zone_of_the_server() {
        let server: SocketAddr = "[fe80::1%7]:80".parse().unwrap();
        let elsewhere: SocketAddr = "[2001:db8::1]:80".parse().unwrap();
        for (source, server, expected) in [
            ("fe80::2", server, "[fe80::2%7]:0"),
            ("fe80::2%3", server, "[fe80::2%3]:0"),
            ("fe80::2%3", elsewhere, "[fe80::2%3]:0"),
            ("::1", server, "[::1]:0"),
            ("::ffff:127.0.0.2", elsewhere, "127.0.0.2:0"),
        ] {
            let source = Address::parse(source).unwrap();
            assert_eq!(source.towards(server).unwrap().to_string(), expected);
        }
    }

    /// A port that is free on the first address of a name may be taken on another one.
    #[test]
    fn all_addresses_of_a_name_get_one_port_that_is_free_on_each() {
        let taken = TcpListener::bind("127.0.0.2:0").unwrap();
        let free = TcpListener::bind("127.0.0.3:0").unwrap().local_addr().unwrap().port();
        let ports = [taken.local_addr().unwrap().port(), free];
        let group = ["127.0.0.1:0", "127.0.0.2:0"].map(|it| it.parse().unwrap()).to_vec();
        let config = Config { max_connections: 4, ..Config::default() };
        let mut asked = 0;
        let server = bind_to(config.clone(), std::slice::from_ref(&group), |_| {
            asked += 1;
            ports[(asked - 1) % 2]
        });
        let server = server.unwrap_or_else(|error| panic!("{error}"));
        let addresses = server.addresses();
        assert_eq!(addresses.iter().map(|it| it.port()).collect::<Vec<_>>(), [free, free]);
        assert_eq!(asked, 2);

        let refused = bind_to(config, &[group], |_| ports[0]);
        assert_eq!(refused.map(|_| ()).unwrap_err().source.kind(), io::ErrorKind::AddrInUse);
    }
}
