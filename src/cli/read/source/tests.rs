//! Both formats in every form, cut off anywhere, and garbage.

use std::io::Write;

use etherparse::PacketBuilder;
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::*;

const AT_NS: u64 = 1_795_374_000_123_456_000;

/// An IP packet with a SYN to this port.
fn packet(port: u16) -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = PacketBuilder::ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64);
    builder.tcp(40_000, port, 7, 512).syn().write(&mut packet, &[]).unwrap();
    packet
}

#[derive(Clone, Copy)]
struct Order(bool);

impl Order {
    fn u16(self, value: u16) -> [u8; 2] {
        if self.0 { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    fn u32(self, value: u32) -> [u8; 4] {
        if self.0 { value.to_be_bytes() } else { value.to_le_bytes() }
    }
}

/// A pcap file of these packets, each cut off behind `kept` bytes, a second apart.
fn pcap(order: Order, is_nano: bool, packets: &[Vec<u8>], kept: usize) -> Vec<u8> {
    let magic = if is_nano { 0xa1b2_3c4d } else { 0xa1b2_c3d4 };
    let mut file = Vec::new();
    file.extend(order.u32(magic));
    file.extend([order.u16(2), order.u16(4)].concat());
    file.extend([order.u32(0), order.u32(0), order.u32(kept as u32), order.u32(101)].concat());
    for (packet, second) in packets.iter().zip(0..) {
        let data = &packet[..packet.len().min(kept)];
        let below = (AT_NS % 1_000_000_000) as u32;
        file.extend(order.u32((AT_NS / 1_000_000_000) as u32 + second));
        file.extend(order.u32(if is_nano { below } else { below / 1000 }));
        file.extend([order.u32(data.len() as u32), order.u32(packet.len() as u32)].concat());
        file.extend(data);
    }
    file
}

fn block(order: Order, kind: u32, mut body: Vec<u8>) -> Vec<u8> {
    body.resize(body.len().next_multiple_of(4), 0);
    let length = order.u32(body.len() as u32 + 12);
    [&order.u32(kind)[..], &length, &body, &length].concat()
}

/// A section of a pcapng file with one interface, whose times have this resolution.
fn pcapng(order: Order, resolution: Option<(u8, u64)>, packets: &[Vec<u8>]) -> Vec<u8> {
    let section = [&order.u32(0x1a2b_3c4d)[..], &order.u16(1), &order.u16(0), &[0xff; 8]].concat();
    let mut file = block(order, BLOCK_SECTION, section);
    let mut interface = [&order.u16(101)[..], &[0, 0], &order.u32(0)].concat();
    let (power, per_second) = resolution.unwrap_or((6, 1_000_000));
    if resolution.is_some() {
        interface.extend([&order.u16(9)[..], &order.u16(1), &[power, 0, 0, 0], &[0; 4]].concat());
    }
    file.extend(block(order, BLOCK_INTERFACE, interface));
    file.extend(block(order, 0x0000_0bad, vec![1, 2, 3]));
    for (packet, second) in packets.iter().zip(0_u64..) {
        let at = u128::from(AT_NS) + u128::from(second) * 1_000_000_000;
        let units = (at * u128::from(per_second) / 1_000_000_000) as u64;
        let times = [order.u32((units >> 32) as u32), order.u32(units as u32)].concat();
        let lengths = [order.u32(packet.len() as u32), order.u32(packet.len() as u32)].concat();
        let body = [&order.u32(0)[..], &times, &lengths, packet].concat();
        file.extend(block(order, BLOCK_ENHANCED, body));
    }
    file
}

fn source(bytes: &[u8]) -> Result<Source, String> {
    let records = Records::begin(Box::new(Cursor::new(bytes.to_vec())));
    let records = records.map_err(|error| error.to_string())?;
    Ok(Source { name: "test".to_owned(), records, packets: 0 })
}

/// Times and ports of all segments, and what was said at the end.
fn read(bytes: &[u8]) -> (Vec<(u64, u16)>, Option<String>) {
    let mut source = source(bytes).unwrap();
    let mut seen = Vec::new();
    loop {
        match source.next() {
            Ok(Some(Seen { at_ns, what: What::Segment(segment) })) => {
                seen.push((at_ns, segment.target.port()));
            }
            Ok(Some(other)) => panic!("{other:?}"),
            Ok(None) => return (seen, None),
            Err(remark) => return (seen, Some(remark)),
        }
    }
}

fn packets() -> Vec<Vec<u8>> {
    vec![packet(80), packet(81), packet(82)]
}

fn expected() -> Vec<(u64, u16)> {
    vec![(AT_NS, 80), (AT_NS + 1_000_000_000, 81), (AT_NS + 2_000_000_000, 82)]
}

#[test]
fn each_form_of_both_formats_is_read() {
    for order in [Order(true), Order(false)] {
        for is_nano in [true, false] {
            assert_eq!(read(&pcap(order, is_nano, &packets(), 1000)), (expected(), None));
        }
        for resolution in [None, Some((6, 1_000_000)), Some((9, 1_000_000_000))] {
            assert_eq!(read(&pcapng(order, resolution, &packets())), (expected(), None));
        }
        let (seen, remark) = read(&pcapng(order, Some((0x80 | 20, 1 << 20)), &packets()));
        assert_eq!(remark, None);
        for ((at_ns, port), (expected_ns, expected_port)) in seen.into_iter().zip(expected()) {
            assert!(at_ns.abs_diff(expected_ns) < 1000 && port == expected_port);
        }
    }
    // The second section has the other byte order.
    let both = [pcapng(Order(true), None, &packets()), pcapng(Order(false), None, &packets())];
    assert_eq!(read(&both.concat()).0, [expected(), expected()].concat());
}

/// `tcpdump -s 40`: each packet was longer on the wire than what is kept.
#[test]
fn packets_that_were_cut_off_are_read() {
    assert_eq!(read(&pcap(Order(false), false, &packets(), 40)), (expected(), None));
    let mut source = source(&pcap(Order(false), false, &packets(), 39)).unwrap();
    let Ok(Some(Seen { what: What::Skipped(reason), .. })) = source.next() else { panic!() };
    assert_eq!(reason, Skipped::CutOff);
}

#[test]
fn gzip_is_unpacked_also_in_several_parts() {
    let file = pcap(Order(false), true, &packets(), 1000);
    let pack = |bytes: &[u8]| {
        let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(bytes).unwrap();
        packer.finish().unwrap()
    };
    assert_eq!(read(&pack(&file)), (expected(), None));
    assert_eq!(read(&[pack(&file[..50]), pack(&file[50..])].concat()), (expected(), None));
    let packed = pack(&file);
    let (_, remark) = read(&packed[..packed.len() - 9]);
    assert!(remark.unwrap().contains("cut off behind packet"));
}

#[test]
fn what_is_no_capture_says_so() {
    let error = |bytes: &[u8]| source(bytes).err().unwrap();
    assert_eq!(error(b""), "is empty");
    assert_eq!(error(b"GET / HTTP/1.1\r\n"), "is no capture");
    assert_eq!(error(b"\xd4\xc3"), "is no capture");
    assert_eq!(error(&pcap(Order(false), true, &[], 0)[..23]), "is cut off in its head");
    assert_eq!(error(&pcapng(Order(false), None, &[])[..20]), "is cut off in its head");
    assert_eq!(error(&[0x1f, 0x8b, 8]), "unexpected end of file");
}

#[test]
fn a_link_layer_that_is_not_read_is_named() {
    let mut file = pcap(Order(true), true, &packets(), 1000);
    file[23] = 105;
    let Ok(Some(Seen { what: What::UnknownLink(105), .. })) = source(&file).unwrap().next() else {
        panic!()
    };
}

#[test]
fn a_file_that_is_cut_off_is_read_as_far_as_it_goes() {
    for file in
        [pcap(Order(false), false, &packets(), 1000), pcapng(Order(false), None, &packets())]
    {
        let (seen, remark) = read(&file[..file.len() - 1]);
        assert_eq!(seen, expected()[..2]);
        assert_eq!(remark.unwrap(), r#""test" is cut off behind packet 2"#);
    }
}

proptest! {
    #[test]
    fn no_bytes_cause_a_panic(
        is_pcap: bool,
        is_big: bool,
        changes in proptest::collection::vec((0..400_usize, any::<u8>()), 1..12),
        cut in 0..500_usize,
    ) {
        let order = Order(is_big);
        let mut file = match is_pcap {
            true => pcap(order, is_big, &packets(), 1000),
            false => pcapng(order, Some((9, 1_000_000_000)), &packets()),
        };
        for (at, byte) in changes {
            if let Some(place) = file.get_mut(at) {
                *place = byte;
            }
        }
        file.truncate(cut);
        if let Ok(mut source) = source(&file) {
            let mut packets = 0;
            while let Ok(Some(_)) = source.next() {
                packets += 1;
                prop_assert!(packets < 100);
            }
        }
    }
}
