//! TCP segments, parsed from Ethernet frames.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use etherparse::{
    LaxNetSlice, LaxSlicedPacket, TcpOptionElement, TcpSlice, TransportSlice, ip_number,
};

const ETHERNET_BYTES: u32 = 14;
const IPV6_BYTES: u32 = 40;

/// The flags of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)] // their names are those of RFC 9293
pub struct Flags {
    pub syn: bool,
    pub ack: bool,
    pub fin: bool,
    pub rst: bool,
    pub psh: bool,
    pub urg: bool,
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Flags { syn, ack, fin, rst, psh, urg } = *self;
        let all =
            [(syn, "SYN"), (fin, "FIN"), (rst, "RST"), (psh, "PSH"), (urg, "URG"), (ack, "ACK")];
        let set: Vec<&str> = all.iter().filter(|flag| flag.0).map(|flag| flag.1).collect();
        f.pad(&if set.is_empty() { "-".to_owned() } else { set.join(" ") })
    }
}

/// The header of a TCP segment, with the numbers of the wire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Segment {
    pub(super) source: (IpAddr, u16),
    pub(super) target: (IpAddr, u16),
    pub(super) flags: Flags,
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) window: u16,
    /// The window scale of the sender, in bits.
    pub(super) scale: Option<u8>,
    pub(super) payload_bytes: u32,
    /// The length of the frame on the wire.
    pub(super) frame_bytes: u32,
}

impl Segment {
    /// Parses the beginning of an Ethernet frame; `None` if it has no complete TCP header.
    pub(super) fn parse(frame: &[u8]) -> Option<Segment> {
        let packet = LaxSlicedPacket::from_ethernet(frame).ok()?;
        let Some(TransportSlice::Tcp(tcp)) = packet.transport else { return None };
        if !packet.link_exts.is_empty() {
            return None;
        }
        // Lengths come from the IP header, because the frame is cut.
        let (source, target, ip_bytes, ip_header_bytes) = match packet.net? {
            LaxNetSlice::Ipv4(ip) if ip.header().protocol() == ip_number::TCP => {
                let header = ip.header();
                let addresses: (IpAddr, IpAddr) =
                    (header.source_addr().into(), header.destination_addr().into());
                let length = u32::from(header.total_len());
                (addresses.0, addresses.1, length, header.slice().len() as u32)
            }
            LaxNetSlice::Ipv6(ip) if ip.header().next_header() == ip_number::TCP => {
                let header = ip.header();
                let length = IPV6_BYTES + u32::from(header.payload_length());
                (header.source_addr().into(), header.destination_addr().into(), length, IPV6_BYTES)
            }
            _ => return None,
        };
        let tcp_header_bytes = tcp.header_slice().len() as u32;
        Some(Segment {
            source: (source, tcp.source_port()),
            target: (target, tcp.destination_port()),
            flags: flags(&tcp),
            seq: tcp.sequence_number(),
            ack: tcp.acknowledgment_number(),
            window: tcp.window_size(),
            scale: tcp.options_iterator().flatten().find_map(|option| match option {
                TcpOptionElement::WindowScale(bits) => Some(bits),
                _ => None,
            }),
            payload_bytes: ip_bytes.checked_sub(ip_header_bytes + tcp_header_bytes)?,
            frame_bytes: ETHERNET_BYTES + ip_bytes,
        })
    }

    /// Whether the segment goes from `source` to `target`. An IPv4-mapped IPv6 address equals its
    /// IPv4 address.
    pub(super) fn goes(&self, source: SocketAddr, target: SocketAddr) -> bool {
        let plain = |address: SocketAddr| (address.ip().to_canonical(), address.port());
        self.source == plain(source) && self.target == plain(target)
    }
}

fn flags(tcp: &TcpSlice<'_>) -> Flags {
    Flags {
        syn: tcp.syn(),
        ack: tcp.ack(),
        fin: tcp.fin(),
        rst: tcp.rst(),
        psh: tcp.psh(),
        urg: tcp.urg(),
    }
}
