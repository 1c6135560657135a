//! TCP segments: the header and what it says, without the payload (RFC 9293, section 3.1).

use std::fmt;
use std::net::SocketAddr;

use super::sequence::Seq;

/// The shortest TCP header, in bytes.
const HEADER_BYTES: usize = 20;
/// TCP shifts a window by at most this number of bits (RFC 7323, section 2.3).
const SCALE_MAX: u8 = 14;
/// Options of TCP: the end of the list, padding, the window scale.
const OPTION_END: u8 = 0;
const OPTION_PADDING: u8 = 1;
const OPTION_SCALE: u8 = 3;

/// The control bits of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags(pub u8);

impl Flags {
    /// No more data from the sender.
    pub const FIN: Flags = Flags(0x01);
    /// Synchronise sequence numbers.
    pub const SYN: Flags = Flags(0x02);
    /// Reset the connection.
    pub const RST: Flags = Flags(0x04);
    /// Push: it says nothing about an ending.
    pub const PSH: Flags = Flags(0x08);
    /// The acknowledgement number is valid.
    pub const ACK: Flags = Flags(0x10);
    /// The urgent pointer is valid.
    pub const URG: Flags = Flags(0x20);

    /// Both sets of bits.
    #[must_use]
    pub const fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// Whether all bits of `other` are set.
    #[must_use]
    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Names, as in "FIN ACK"; "-" if no bit is set.
impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (Flags::SYN, "SYN"),
            (Flags::FIN, "FIN"),
            (Flags::RST, "RST"),
            (Flags::PSH, "PSH"),
            (Flags::URG, "URG"),
            (Flags::ACK, "ACK"),
        ];
        let set: Vec<&str> = names.iter().filter(|it| self.has(it.0)).map(|it| it.1).collect();
        f.pad(&if set.is_empty() { "-".to_owned() } else { set.join(" ") })
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// What a TCP segment says. Numbers are as they are on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// The end that sent it.
    pub source: SocketAddr,
    /// The end that it was sent to.
    pub target: SocketAddr,
    /// Its control bits.
    pub flags: Flags,
    /// SEG.SEQ: the number of its SYN, or of its first byte.
    pub seq: Seq,
    /// SEG.ACK, if the bit ACK is set.
    pub ack: Seq,
    /// SEG.WND, not scaled.
    pub window: u16,
    /// By how many bits the windows of its sender are to be shifted; only a SYN says that.
    pub scale: Option<u8>,
    /// SEG.LEN without SYN and FIN: bytes of the stream, by the length in the IP header. The
    /// capture may have fewer.
    pub payload_bytes: u32,
}

/// What a TCP header says, without addresses.
pub(super) struct Header {
    pub(super) ports: (u16, u16),
    pub(super) flags: Flags,
    pub(super) seq: Seq,
    pub(super) ack: Seq,
    pub(super) window: u16,
    pub(super) scale: Option<u8>,
    /// Its length with its options.
    pub(super) bytes: u32,
}

impl Header {
    /// Reads the header at the beginning of `bytes`. `None` if it is cut off before its options, or
    /// if its length is impossible. Options that are cut off are left out.
    pub(super) fn parse(bytes: &[u8]) -> Option<Header> {
        let fixed: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
        let length = usize::from(fixed[12] >> 4) * 4;
        if length < HEADER_BYTES {
            return None;
        }
        let flags = Flags(fixed[13] & 0x3f);
        let options = bytes.get(HEADER_BYTES..length.min(bytes.len())).unwrap_or_default();
        Some(Header {
            ports: (be16(fixed, 0), be16(fixed, 2)),
            flags,
            seq: Seq(be32(fixed, 4)),
            ack: Seq(be32(fixed, 8)),
            window: be16(fixed, 14),
            // No other segment has it, and most segments have other options.
            scale: if flags.has(Flags::SYN) { scale(options) } else { None },
            bytes: length as u32,
        })
    }
}

/// The window scale among the options of a SYN.
fn scale(mut options: &[u8]) -> Option<u8> {
    while let [kind, rest @ ..] = options {
        options = match (*kind, rest) {
            (OPTION_END, _) => return None,
            (OPTION_PADDING, rest) => rest,
            (OPTION_SCALE, [3, bits, ..]) => return Some((*bits).min(SCALE_MAX)),
            // The length counts the kind and itself.
            (_, [length, ..]) if *length >= 2 => options.get(usize::from(*length)..)?,
            _ => return None,
        };
    }
    None
}

fn be16(bytes: &[u8; HEADER_BYTES], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn be32(bytes: &[u8; HEADER_BYTES], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_scale_is_found_among_other_options() {
        assert_eq!(scale(&[2, 4, 5, 180, 4, 2, 1, 3, 3, 7]), Some(7));
        assert_eq!(scale(&[3, 3, 15]), Some(14), "RFC 7323, section 2.3");
        assert_eq!(scale(&[1, 1, 0, 3, 3, 7]), None, "behind the end of the list");
        for cut_off in [&[][..], &[3], &[3, 3], &[2, 0, 3, 3, 7], &[2, 200], &[8]] {
            assert_eq!(scale(cut_off), None, "{cut_off:?}");
        }
    }

    #[test]
    fn flags_are_named() {
        assert_eq!(Flags::FIN.with(Flags::ACK).to_string(), "FIN ACK");
        assert_eq!(Flags(0).to_string(), "-");
        assert_eq!(format!("{:?}", Flags::RST), "RST");
    }
}
