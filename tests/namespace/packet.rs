//! The parts of IPv4, TCP and ICMP that a line needs to carry packets, to identify their
//! connections, and to answer them itself. Source: RFC 791, RFC 792, RFC 9293.

use std::net::Ipv4Addr;

pub const FIN: u8 = 1;
pub const SYN: u8 = 2;
pub const RST: u8 = 4;
pub const ACK: u8 = 16;

const IP_BYTES: usize = 20;
const TCP_BYTES: usize = 20;
const ICMP: u8 = 1;
const TCP: u8 = 6;

/// An ICMP error by its type and code: (3, 1) is "host unreachable".
pub type Icmp = (u8, u8);

/// A TCP segment in an IPv4 packet.
#[derive(Clone, Debug)]
pub struct Packet {
    bytes: Vec<u8>,
    tcp_at: usize,
}

impl Packet {
    /// `None` if it is anything else: such packets are of no use here.
    pub fn new(bytes: &[u8]) -> Option<Packet> {
        let tcp_at = usize::from(bytes.first()? & 15) * 4;
        let is_tcp = bytes[0] >> 4 == 4 && bytes.get(9) == Some(&TCP);
        let whole = bytes.len() >= tcp_at + TCP_BYTES;
        (is_tcp && whole).then(|| Packet { bytes: bytes.to_vec(), tcp_at })
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn source_port(&self) -> u16 {
        u16::from_be_bytes(self.tcp(0))
    }

    pub fn target_port(&self) -> u16 {
        u16::from_be_bytes(self.tcp(2))
    }

    pub fn flags(&self) -> u8 {
        self.bytes[self.tcp_at + 13]
    }

    /// Bytes of the stream in it.
    pub fn payload_bytes(&self) -> usize {
        let header_bytes = usize::from(self.bytes[self.tcp_at + 12] >> 4) * 4;
        self.bytes.len() - self.tcp_at - header_bytes
    }

    /// The place in the stream of its sender that is next after it.
    pub fn end(&self) -> u32 {
        let marks = u32::from(self.flags() & SYN != 0) + u32::from(self.flags() & FIN != 0);
        let length = self.payload_bytes() as u32;
        u32::from_be_bytes(self.tcp(4)).wrapping_add(length + marks)
    }

    /// The place in the stream of its receiver that its sender wants next.
    pub fn acknowledged(&self) -> u32 {
        u32::from_be_bytes(self.tcp(8))
    }

    /// The reset that its sender would have sent right after it.
    pub fn reset_behind(&self) -> Vec<u8> {
        let mut tcp = self.bytes[self.tcp_at..][..TCP_BYTES].to_vec();
        tcp[4..8].copy_from_slice(&self.end().to_be_bytes());
        tcp[12..16].copy_from_slice(&[5 << 4, RST | ACK, 0, 0]);
        tcp[16..20].fill(0);
        let addresses = &self.bytes[12..20];
        let length = [0, TCP, 0, TCP_BYTES as u8];
        let sum = checksum(&[addresses, &length, &tcp].concat());
        tcp[16..18].copy_from_slice(&sum);
        ip(TCP, addresses, &tcp)
    }

    /// A router's answer to its sender: it will not get there.
    pub fn icmp(&self, router: Ipv4Addr, (kind, code): Icmp) -> Vec<u8> {
        let mut body = vec![kind, code, 0, 0, 0, 0, 0, 0];
        body.extend_from_slice(&self.bytes[..self.tcp_at + 8]);
        let sum = checksum(&body);
        body[2..4].copy_from_slice(&sum);
        let addresses = [&router.octets(), &self.bytes[12..16]].concat();
        ip(ICMP, &addresses, &body)
    }

    fn tcp<const N: usize>(&self, at: usize) -> [u8; N] {
        self.bytes[self.tcp_at + at..][..N].try_into().expect("N bytes")
    }
}

/// An IPv4 packet around `body`, from and to these addresses.
fn ip(protocol: u8, addresses: &[u8], body: &[u8]) -> Vec<u8> {
    let length = (IP_BYTES + body.len()) as u16;
    let mut header = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0];
    header[2..4].copy_from_slice(&length.to_be_bytes());
    header.extend_from_slice(addresses);
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum);
    header.extend_from_slice(body);
    header
}

/// The Internet checksum, over bytes whose own checksum is zero still.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | u32::from(word.get(1).copied().unwrap_or(0)));
    let sum = words.fold(0, |sum: u32, word| (sum + word) % 0xffff);
    (!(sum as u16)).to_be_bytes()
}
