//! pcap files, for Wireshark and tcpdump.

use std::io::{self, BufWriter, Write};

use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
use pcap_file::{DataLink, PcapError, TsResolution};

use super::KeptPacket;

/// The snap length in the header. Readers refuse a longer packet; none is longer.
const LENGTH_MAX: u32 = 1 << 18;

pub(super) fn write(file: impl Write, seen: &[KeptPacket]) -> io::Result<()> {
    let header = PcapHeader {
        datalink: DataLink::ETHERNET, // the loopback device uses it, with addresses of zero
        snaplen: LENGTH_MAX,
        ts_resolution: TsResolution::NanoSecond,
        ..PcapHeader::default()
    };
    let mut writer = PcapWriter::with_header(BufWriter::new(file), header).map_err(plain)?;
    for seen in seen {
        let length = seen.segment.frame_bytes;
        let kept = &seen.bytes[..seen.bytes.len().min(length as usize)];
        let packet = PcapPacket::new(seen.at, length, kept);
        writer.write_packet(&packet).map_err(plain)?;
    }
    // The buffer is written here, so that an error such as a full disk is reported.
    writer.into_writer().into_inner().map_err(io::IntoInnerError::into_error)?;
    Ok(())
}

fn plain(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        other => io::Error::other(other),
    }
}
