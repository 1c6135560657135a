//! Captures as files: pcap and pcapng, with or without gzip, read as a stream.
//!
//! pcap-file finds the records; what is inside is read here. Its own reading of packets refuses
//! files of `tcpdump -s`, whose packets were longer on the wire than what is kept, and takes times
//! of pcapng for nanoseconds.

use std::fs::File;
use std::io::{self, BufReader, Chain, Cursor, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use pcap_file::pcap::{PcapReader, RawPcapPacket};
use pcap_file::pcapng::{PcapNgReader, RawBlock};
use pcap_file::{Endianness, PcapError, TsResolution};

use crate::cli::Failure;
use crate::wire::{Link, Segment, Skipped, frame};

/// A stream of bytes of which the first were looked at.
type Stream = Chain<Cursor<Vec<u8>>, Box<dyn Read>>;

/// The first bytes of each kind of file.
const GZIP: [u8; 2] = [0x1f, 0x8b];
const SECTION: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
const PCAP: [[u8; 4]; 4] = [
    [0xa1, 0xb2, 0xc3, 0xd4],
    [0xd4, 0xc3, 0xb2, 0xa1],
    [0xa1, 0xb2, 0x3c, 0x4d],
    [0x4d, 0x3c, 0xb2, 0xa1],
];

/// Types of blocks in a pcapng file.
const BLOCK_SECTION: u32 = 0x0a0d_0d0a;
const BLOCK_INTERFACE: u32 = 1;
const BLOCK_PACKET: u32 = 2;
const BLOCK_SIMPLE: u32 = 3;
const BLOCK_ENHANCED: u32 = 6;

/// The option of an interface that gives the resolution of its times.
const OPTION_RESOLUTION: u16 = 9;

/// Interfaces of a section that are remembered. Packets of those beyond are counted as unreadable.
const INTERFACES_MAX: usize = 65_536;

/// A packet of a capture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// Nanoseconds since 1970.
    pub(super) at_ns: u64,
    /// What is in it.
    pub(super) what: What,
}

/// What is in a packet.
#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    /// A segment.
    Segment(Segment),
    /// Something else.
    Skipped(Skipped),
    /// A frame of a link layer with this number, which is not read.
    UnknownLink(u32),
}

/// A capture that is read.
pub(super) struct Source {
    /// What it is called.
    pub(super) name: String,
    records: Records,
    /// How many packets were read.
    packets: u64,
}

enum Records {
    Pcap { reader: PcapReader<Stream>, link: u32, unit_ns: u64 },
    PcapNg { reader: PcapNgReader<Stream>, section: Section },
}

impl Source {
    /// Opens the file, or stdin for `-`, and reads its head.
    ///
    /// # Errors
    /// It cannot be opened or read, or it is no capture.
    pub(super) fn open(path: &Path) -> Result<Source, Failure> {
        let (name, stream): (String, Box<dyn Read>) = if path.as_os_str() == "-" {
            ("stdin".to_owned(), Box::new(io::stdin()))
        } else {
            (format!("{}", path.display()), Box::new(opened(path)?))
        };
        let records = Records::begin(stream).map_err(|error| {
            let why = match error.kind() {
                io::ErrorKind::InvalidData => error.to_string(),
                _ => format!("cannot be read: {error}"),
            };
            Failure::Refused(format!("{name:?} {why}; name a file of pcap or pcapng"))
        })?;
        Ok(Source { name, records, packets: 0 })
    }

    /// The next packet; `None` at the end.
    ///
    /// # Errors
    /// The file is damaged, cut off, or cannot be read further. There is no more of it.
    pub(super) fn next(&mut self) -> Result<Option<Seen>, String> {
        let next = self.records.next();
        let packets = self.packets;
        match next {
            Ok(next) => {
                self.packets += u64::from(next.is_some());
                Ok(next)
            }
            Err(PcapError::IoError(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(format!("{:?} is cut off behind packet {packets}", self.name))
            }
            Err(PcapError::IoError(error)) => {
                Err(format!("{:?} cannot be read behind packet {packets}: {error}", self.name))
            }
            Err(error) => {
                Err(format!("{:?} is damaged behind packet {packets}: {error}", self.name))
            }
        }
    }
}

fn opened(path: &Path) -> Result<File, Failure> {
    File::open(path).map_err(|error| {
        let path: PathBuf = path.into();
        Failure::Refused(format!(
            "{path:?} cannot be opened: {error}; name a file that can be read"
        ))
    })
}

/// The first bytes of a stream, and the stream as if they were still in it.
fn peeked(mut stream: Box<dyn Read>) -> io::Result<(Vec<u8>, Stream)> {
    let mut first = Vec::new();
    stream.by_ref().take(4).read_to_end(&mut first)?;
    Ok((first.clone(), Cursor::new(first).chain(stream)))
}

fn is_no_capture(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

impl Records {
    /// # Errors
    /// [`InvalidData`](io::ErrorKind::InvalidData) with the reason if it is no capture; otherwise
    /// what reading it gave.
    fn begin(stream: Box<dyn Read>) -> io::Result<Records> {
        let (first, stream) = peeked(stream)?;
        if !first.starts_with(&GZIP) {
            return Records::of(&first, stream);
        }
        let unpacked = MultiGzDecoder::new(BufReader::new(stream));
        let (first, stream) = peeked(Box::new(unpacked))?;
        Records::of(&first, stream)
    }

    fn of(first: &[u8], stream: Stream) -> io::Result<Records> {
        let plain = |error| match error {
            PcapError::IoError(error) if error.kind() != io::ErrorKind::UnexpectedEof => error,
            _ => is_no_capture("is cut off in its head"),
        };
        if first.is_empty() {
            return Err(is_no_capture("is empty"));
        }
        if first == SECTION {
            let reader = PcapNgReader::new(stream).map_err(plain)?;
            let is_big = reader.section().endianness == Endianness::Big;
            let section = Section { is_big, interfaces: Vec::new() };
            return Ok(Records::PcapNg { reader, section });
        }
        if !PCAP.iter().any(|magic| first == magic) {
            return Err(is_no_capture("is no capture"));
        }
        let reader = PcapReader::new(stream).map_err(plain)?;
        let header = reader.header();
        let link = u32::from(header.datalink);
        let unit_ns = if header.ts_resolution == TsResolution::MicroSecond { 1000 } else { 1 };
        Ok(Records::Pcap { reader, link, unit_ns })
    }

    fn next(&mut self) -> Result<Option<Seen>, PcapError> {
        match self {
            Records::Pcap { reader, link, unit_ns } => {
                let Some(packet) = reader.next_raw_packet().transpose()? else { return Ok(None) };
                Ok(Some(of_pcap(&packet, *link, *unit_ns)))
            }
            Records::PcapNg { reader, section } => loop {
                let Some(block) = reader.next_raw_block().transpose()? else { return Ok(None) };
                if let Some(seen) = section.takes(&block) {
                    return Ok(Some(seen));
                }
            },
        }
    }
}

fn of_pcap(packet: &RawPcapPacket<'_>, link: u32, unit_ns: u64) -> Seen {
    let at_ns = u64::from(packet.ts_sec) * 1_000_000_000 + u64::from(packet.ts_frac) * unit_ns;
    Seen { at_ns, what: what(link, &packet.data, packet.orig_len) }
}

fn what(link: u32, bytes: &[u8], wire_bytes: u32) -> What {
    let Some(layer) = Link::numbered(link) else { return What::UnknownLink(link) };
    match frame::segment(layer, bytes, wire_bytes) {
        Ok(segment) => What::Segment(segment),
        Err(skipped) => What::Skipped(skipped),
    }
}

/// What a section of a pcapng file has said so far.
struct Section {
    is_big: bool,
    interfaces: Vec<Interface>,
}

#[derive(Clone, Copy)]
struct Interface {
    link: u32,
    /// Units of its times in a second.
    per_second: u64,
}

impl Section {
    /// Takes a block; gives the packet in it, if there is one.
    fn takes(&mut self, block: &RawBlock<'_>) -> Option<Seen> {
        let body: &[u8] = &block.body;
        match block.type_ {
            BLOCK_SECTION => {
                self.is_big = body.starts_with(&[0x1a, 0x2b, 0x3c, 0x4d]);
                self.interfaces.clear();
                None
            }
            BLOCK_INTERFACE => {
                if self.interfaces.len() < INTERFACES_MAX {
                    self.interfaces.push(self.interface(body)?);
                }
                None
            }
            BLOCK_ENHANCED => {
                let interface = self.u32(body, 0)?;
                let units = u64::from(self.u32(body, 4)?) << 32 | u64::from(self.u32(body, 8)?);
                self.packet(interface, units, body.get(12..)?)
            }
            BLOCK_PACKET => {
                let interface = u32::from(self.u16(body, 0)?);
                let units = u64::from(self.u32(body, 4)?) << 32 | u64::from(self.u32(body, 8)?);
                self.packet(interface, units, body.get(12..)?)
            }
            BLOCK_SIMPLE => {
                // It has no time and no length of what was kept, and is of the first interface.
                let Interface { link, .. } = *self.interfaces.first()?;
                let wire_bytes = self.u32(body, 0)?;
                let bytes = body.get(4..)?;
                let bytes = &bytes[..bytes.len().min(wire_bytes as usize)];
                Some(Seen { at_ns: 0, what: what(link, bytes, wire_bytes) })
            }
            _ => None,
        }
    }

    /// `rest`: the length of what was kept, the length on the wire, and what was kept.
    fn packet(&self, interface: u32, units: u64, rest: &[u8]) -> Option<Seen> {
        let Interface { link, per_second } = *self.interfaces.get(interface as usize)?;
        let seconds = units / per_second;
        let below = u128::from(units % per_second) * 1_000_000_000 / u128::from(per_second);
        // Less than a second, so it fits.
        let at_ns = seconds.saturating_mul(1_000_000_000).saturating_add(below as u64);
        let (kept, wire_bytes) = (self.u32(rest, 0)?, self.u32(rest, 4)?);
        let bytes = rest.get(8..)?;
        let bytes = &bytes[..bytes.len().min(kept as usize)];
        Some(Seen { at_ns, what: what(link, bytes, wire_bytes) })
    }

    fn interface(&self, body: &[u8]) -> Option<Interface> {
        let mut per_second = 1_000_000;
        let mut options = body.get(8..).unwrap_or_default();
        while let (Some(code), Some(length)) = (self.u16(options, 0), self.u16(options, 2)) {
            let length = usize::from(length);
            let Some(value) = options.get(4..4 + length) else { break };
            match (code, value) {
                (0, _) => break,
                (OPTION_RESOLUTION, [power, ..]) => per_second = units_per_second(*power),
                _ => {}
            }
            options = options.get(4 + length.next_multiple_of(4)..).unwrap_or_default();
        }
        Some(Interface { link: u32::from(self.u16(body, 0)?), per_second })
    }

    fn u16(&self, bytes: &[u8], at: usize) -> Option<u16> {
        let pair = *bytes.get(at..)?.first_chunk()?;
        Some(if self.is_big { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) })
    }

    fn u32(&self, bytes: &[u8], at: usize) -> Option<u32> {
        let four = *bytes.get(at..)?.first_chunk()?;
        Some(if self.is_big { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) })
    }
}

/// A negative power of 10, or of 2 if the highest bit is set. One that is too small for 64 bits is
/// taken for the smallest that is not.
fn units_per_second(power: u8) -> u64 {
    let exponent = u32::from(power & 0x7f);
    if power & 0x80 == 0 { 10_u64.pow(exponent.min(19)) } else { 1 << exponent.min(63) }
}

#[cfg(test)]
mod tests;
