//! The other end's address, packed.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// A peer's address in 22 bytes instead of 32: a server of a million connections keeps a million.
///
/// It is canonical: an IPv4 peer is an IPv4 peer, whichever socket accepted it, and never
/// `::ffff:192.0.2.1` (RFC 4291, section 2.5.5.2). The flow label is not kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Peer {
    ip: [u8; 16],
    /// A `u32`, in bytes that need no alignment.
    scope: [u8; 4],
    port: u16,
}

impl Peer {
    /// The address without its port.
    pub fn ip(self) -> IpAddr {
        Ipv6Addr::from(self.ip).to_canonical()
    }
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Peer {
        let (ip, scope) = match address {
            SocketAddr::V4(v4) => (v4.ip().to_ipv6_mapped(), 0),
            SocketAddr::V6(v6) => (*v6.ip(), v6.scope_id()),
        };
        Peer { ip: ip.octets(), scope: u32::to_ne_bytes(scope), port: address.port() }
    }
}

impl From<Peer> for SocketAddr {
    fn from(peer: Peer) -> SocketAddr {
        match peer.ip() {
            IpAddr::V4(ip) => SocketAddr::from((ip, peer.port)),
            IpAddr::V6(ip) => {
                SocketAddrV6::new(ip, peer.port, 0, u32::from_ne_bytes(peer.scope)).into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_and_unpacks_and_is_canonical() {
        for (from, to) in [
            ("192.0.2.1:80", "192.0.2.1:80"),
            ("[::ffff:192.0.2.1]:80", "192.0.2.1:80"),
            ("[::1]:20003", "[::1]:20003"),
            ("[fe80::1%3]:9", "[fe80::1%3]:9"),
        ] {
            let address: SocketAddr = from.parse().unwrap();
            assert_eq!(SocketAddr::from(Peer::from(address)).to_string(), to);
        }
        assert_eq!(size_of::<Peer>(), 22);
    }
}
