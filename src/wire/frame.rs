//! Frames of a capture: link layer, IP, and the TCP segment inside.
//!
//! Bytes are borrowed and read by hand; nothing is allocated and no bytes can cause a panic. A
//! frame that is not looked into is named, so that it can be counted: a packet that a reader cannot
//! see must not look like one that was never sent.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::segment::{Header, Segment};

/// Tags of VLANs and backbones, one inside the other, that are passed over at most.
const TAGS_MAX: usize = 4;
/// Extension headers of IPv6 that are passed over at most.
const EXTENSIONS_MAX: usize = 8;

/// Link layers, by the numbers that pcap and pcapng files share
/// (<https://www.tcpdump.org/linktypes.html>).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Link {
    /// Ethernet, with 802.1Q, 802.1ad and 802.1ah.
    Ethernet,
    /// IPv4 or IPv6 and nothing before it.
    Raw,
    /// The loopback of BSD: the address family in four bytes, in either byte order.
    Loopback,
    /// Linux "cooked", version 1 (`tcpdump -i any`).
    Cooked,
    /// Linux "cooked", version 2.
    Cooked2,
}

impl Link {
    /// The link layer with this number; `None` for one that cannot be read.
    #[must_use]
    pub const fn numbered(number: u32) -> Option<Link> {
        // The upper bits tell of a frame check sequence at the end, which is not looked at.
        match number & 0xffff {
            0 | 108 => Some(Link::Loopback),
            1 => Some(Link::Ethernet),
            12 | 14 | 101 | 228 | 229 => Some(Link::Raw),
            113 => Some(Link::Cooked),
            276 => Some(Link::Cooked2),
            _ => None,
        }
    }
}

/// Why a frame gave no segment.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Skipped {
    /// The capture kept too little of it to have a TCP header.
    CutOff,
    /// Its lengths contradict each other.
    Malformed,
    /// Neither IPv4 nor IPv6, such as ARP.
    NotIp,
    /// A fragment of an IP packet.
    Fragment,
    /// MPLS.
    Mpls,
    /// PPP over Ethernet.
    Pppoe,
    /// Generic routing encapsulation.
    Gre,
    /// IP in IP.
    IpInIp,
    /// VXLAN or Geneve.
    Vxlan,
    /// UDP.
    Udp,
    /// ICMP and ICMPv6.
    Icmp,
    /// Another protocol than TCP, or encrypted.
    OtherProtocol,
}

impl Skipped {
    /// How many reasons there are.
    pub const COUNT: usize = Skipped::OtherProtocol as usize + 1;

    /// All of them, in their order.
    pub const ALL: [Skipped; Skipped::COUNT] = {
        use Skipped::*;
        [
            CutOff,
            Malformed,
            NotIp,
            Fragment,
            Mpls,
            Pppoe,
            Gre,
            IpInIp,
            Vxlan,
            Udp,
            Icmp,
            OtherProtocol,
        ]
    };

    /// What such frames are called where they are counted.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Skipped::CutOff => "cut off before the end of the TCP header",
            Skipped::Malformed => "malformed",
            Skipped::NotIp => "not IP",
            Skipped::Fragment => "IP fragments",
            Skipped::Mpls => "MPLS",
            Skipped::Pppoe => "PPPoE",
            Skipped::Gre => "GRE",
            Skipped::IpInIp => "IP in IP",
            Skipped::Vxlan => "VXLAN or Geneve",
            Skipped::Udp => "UDP",
            Skipped::Icmp => "ICMP",
            Skipped::OtherProtocol => "other protocols",
        }
    }

    /// Whether a TCP segment may be inside that was not looked at.
    #[must_use]
    pub const fn may_hide_tcp(self) -> bool {
        !matches!(self, Skipped::NotIp | Skipped::Udp | Skipped::Icmp)
    }
}

/// The TCP segment in a frame. `bytes` is what the capture kept of it, from its beginning;
/// `wire_bytes` is its length on the wire.
///
/// # Errors
/// There is none, or it cannot be read; the reason is named.
pub fn segment(link: Link, bytes: &[u8], wire_bytes: u32) -> Result<Segment, Skipped> {
    let packet = match link {
        Link::Raw => bytes,
        Link::Ethernet => behind_tags(bytes, 12)?,
        Link::Cooked => behind_tags(bytes, 14)?,
        Link::Cooked2 => match bytes.get(..2).ok_or(Skipped::CutOff)? {
            [0x08, 0x00] | [0x86, 0xdd] => bytes.get(20..).ok_or(Skipped::CutOff)?,
            _ => return Err(Skipped::NotIp),
        },
        Link::Loopback => bytes.get(4..).ok_or(Skipped::CutOff)?,
    };
    let before = (bytes.len() - packet.len()) as u32;
    let rest_bytes = wire_bytes.max(bytes.len() as u32) - before;
    match packet.first().ok_or(Skipped::CutOff)? >> 4 {
        4 => ipv4(packet, rest_bytes),
        6 => ipv6(packet, rest_bytes),
        _ => Err(Skipped::NotIp),
    }
}

/// The IP packet behind an EtherType at `at` and the tags that follow it.
fn behind_tags(bytes: &[u8], mut at: usize) -> Result<&[u8], Skipped> {
    for _ in 0..=TAGS_MAX {
        at = match be16(bytes, at).ok_or(Skipped::CutOff)? {
            0x0800 | 0x86dd => return bytes.get(at + 2..).ok_or(Skipped::CutOff),
            // 802.1Q, 802.1ad, and what came before it: two bytes of tag, then the next type.
            0x8100 | 0x88a8 | 0x9100 | 0x9200 => at + 4,
            // 802.1ah: four bytes of tag, and a whole Ethernet header behind them.
            0x88e7 => at + 2 + 4 + 12,
            0x8847 | 0x8848 => return Err(Skipped::Mpls),
            0x8863 | 0x8864 => return Err(Skipped::Pppoe),
            _ => return Err(Skipped::NotIp),
        };
    }
    Err(Skipped::NotIp)
}

fn ipv4(packet: &[u8], rest_bytes: u32) -> Result<Segment, Skipped> {
    let header: &[u8; 20] = packet.first_chunk().ok_or(Skipped::CutOff)?;
    let header_bytes = usize::from(header[0] & 0x0f) * 4;
    if header_bytes < 20 {
        return Err(Skipped::Malformed);
    }
    let is_fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0;
    if is_fragment {
        return Err(Skipped::Fragment);
    }
    // 0: the network card cuts the packet into segments later, and the length fits no 16 bits.
    let length = match u16::from_be_bytes([header[2], header[3]]) {
        0 => rest_bytes,
        length => length.into(),
    };
    let source = Ipv4Addr::new(header[12], header[13], header[14], header[15]);
    let target = Ipv4Addr::new(header[16], header[17], header[18], header[19]);
    let payload = Payload { protocol: header[9], packet, at: header_bytes, length };
    payload.segment(source.into(), target.into())
}

fn ipv6(packet: &[u8], rest_bytes: u32) -> Result<Segment, Skipped> {
    let header: &[u8; 40] = packet.first_chunk().ok_or(Skipped::CutOff)?;
    let length = match u16::from_be_bytes([header[4], header[5]]) {
        0 => rest_bytes,
        payload => 40 + u32::from(payload),
    };
    let address = |at: usize| {
        let bytes: [u8; 16] = header[at..].first_chunk().copied().unwrap_or_default();
        Ipv6Addr::from(bytes)
    };
    let (mut next, mut at) = (header[6], 40);
    for _ in 0..=EXTENSIONS_MAX {
        let extension = packet.get(at..at + 8);
        (next, at) = match next {
            // Hop-by-hop options, routing, options for the destination.
            0 | 43 | 60 => {
                let [after, length, ..] = extension.ok_or(Skipped::CutOff)? else {
                    return Err(Skipped::CutOff);
                };
                (*after, at + (usize::from(*length) + 1) * 8)
            }
            // Authentication.
            51 => {
                let [after, length, ..] = extension.ok_or(Skipped::CutOff)? else {
                    return Err(Skipped::CutOff);
                };
                (*after, at + (usize::from(*length) + 2) * 4)
            }
            // A fragment that is the whole packet has neither an offset nor a successor (RFC 6946).
            44 => match extension.ok_or(Skipped::CutOff)? {
                [after, _, high, low, ..] if *high == 0 && low & 0xf9 == 0 => (*after, at + 8),
                _ => return Err(Skipped::Fragment),
            },
            protocol => {
                let payload = Payload { protocol, packet, at, length };
                return payload.segment(address(8).into(), address(24).into());
            }
        };
    }
    Err(Skipped::OtherProtocol)
}

/// What an IP packet carries.
struct Payload<'a> {
    protocol: u8,
    packet: &'a [u8],
    /// Where in the packet.
    at: usize,
    /// Of the packet, by its header.
    length: u32,
}

impl Payload<'_> {
    fn segment(&self, source: IpAddr, target: IpAddr) -> Result<Segment, Skipped> {
        match self.protocol {
            6 => {}
            17 => {
                let port = be16(self.packet, self.at + 2);
                let is_tunnel = matches!(port, Some(4789 | 6081 | 8472));
                return Err(if is_tunnel { Skipped::Vxlan } else { Skipped::Udp });
            }
            1 | 58 => return Err(Skipped::Icmp),
            4 | 41 => return Err(Skipped::IpInIp),
            47 => return Err(Skipped::Gre),
            _ => return Err(Skipped::OtherProtocol),
        }
        let bytes = self.packet.get(self.at..).ok_or(Skipped::CutOff)?;
        let is_cut_off = bytes.len() < 20;
        let missing = if is_cut_off { Skipped::CutOff } else { Skipped::Malformed };
        let header = Header::parse(bytes).ok_or(missing)?;
        let before = self.at as u32 + header.bytes;
        Ok(Segment {
            source: SocketAddr::new(source, header.ports.0),
            target: SocketAddr::new(target, header.ports.1),
            flags: header.flags,
            seq: header.seq,
            ack: header.ack,
            window: header.window,
            scale: header.scale,
            payload_bytes: self.length.checked_sub(before).ok_or(Skipped::Malformed)?,
        })
    }
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    let pair = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_be_bytes(*pair))
}

#[cfg(test)]
mod tests;
