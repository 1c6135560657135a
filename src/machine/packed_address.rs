//! The peer's address in packed form.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// A peer's address in 22 bytes instead of 32: a server with a million connections stores a
/// million.
///
/// It is canonical: an IPv4 peer is an IPv4 peer, whichever socket accepted it, and never
/// `::ffff:192.0.2.1` (RFC 4291, section 2.5.5.2). The flow label is not kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PackedAddress {
    ip: [u8; 16],
    /// A `u32`, in bytes that need no alignment.
    scope: [u8; 4],
    port: u16,
}

impl PackedAddress {
    /// The address without its port.
    pub fn ip(self) -> IpAddr {
        Ipv6Addr::from(self.ip).to_canonical()
    }
}

/// The unit that a limit for each address counts: an IPv4 address, or the /64 of an IPv6 address.
/// One host usually has a whole /64 to choose its addresses from (RFC 4291, section 2.5.4; RFC
/// 8981), so a limit on single IPv6 addresses would have no effect.
pub fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

impl From<SocketAddr> for PackedAddress {
    fn from(address: SocketAddr) -> PackedAddress {
        let (ip, scope) = match address {
            SocketAddr::V4(v4) => (v4.ip().to_ipv6_mapped(), 0),
            SocketAddr::V6(v6) => (*v6.ip(), v6.scope_id()),
        };
        PackedAddress { ip: ip.octets(), scope: u32::to_ne_bytes(scope), port: address.port() }
    }
}

impl From<PackedAddress> for SocketAddr {
    fn from(peer: PackedAddress) -> SocketAddr {
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
            assert_eq!(SocketAddr::from(PackedAddress::from(address)).to_string(), to);
        }
        assert_eq!(size_of::<PackedAddress>(), 22);
    }

    #[test]
    fn an_ipv6_peer_is_counted_with_its_64_and_an_ipv4_peer_for_itself() {
        for (address, expected) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::"),
            ("2001:db8:1:3::", "2001:db8:1:3::"),
            ("::1", "::"),
        ] {
            assert_eq!(network(address.parse().unwrap()).to_string(), expected, "{address}");
        }
    }
}
