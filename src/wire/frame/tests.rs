//! Frames of every link layer, cut off anywhere, and garbage.

use etherparse::{PacketBuilder, TcpHeader, TcpOptionElement};
use proptest::prelude::*;

use super::super::segment::Flags;
use super::super::sequence::Seq;
use super::*;

const PAYLOAD: &[u8] = b"Hi,here is glp";

fn header() -> TcpHeader {
    let mut header = TcpHeader::new(40_000, 20_003, 7, 512);
    (header.syn, header.ack, header.acknowledgment_number) = (true, true, 9);
    let options = [TcpOptionElement::MaximumSegmentSize(1460), TcpOptionElement::WindowScale(7)];
    header.set_options(&options).unwrap();
    header
}

fn ipv4() -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = PacketBuilder::ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64);
    builder.tcp_header(header()).write(&mut packet, PAYLOAD).unwrap();
    packet
}

fn ipv6() -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = PacketBuilder::ipv6([0xfe; 16], [0xfd; 16], 64);
    builder.tcp_header(header()).write(&mut packet, PAYLOAD).unwrap();
    packet
}

/// The same packet with these bytes between the header of IPv6 and TCP; the first of them is filled
/// in.
fn extended(protocol: u8, mut extension: Vec<u8>) -> Vec<u8> {
    let mut packet = ipv6();
    extension[0] = packet[6];
    packet[6] = protocol;
    let length = u16::from_be_bytes([packet[4], packet[5]]) + extension.len() as u16;
    packet[4..6].copy_from_slice(&length.to_be_bytes());
    packet.splice(40..40, extension);
    packet
}

fn read(link: Link, frame: &[u8]) -> Result<Segment, Skipped> {
    segment(link, frame, frame.len() as u32)
}

#[track_caller]
fn has_the_segment(link: Link, before: &[u8], packet: &[u8]) {
    let frame = [before, packet].concat();
    let is_v4 = packet[0] >> 4 == 4;
    let (source, target) = if is_v4 {
        ("192.0.2.1:40000".parse().unwrap(), "192.0.2.2:20003".parse().unwrap())
    } else {
        let address = |byte| SocketAddr::new(Ipv6Addr::from([byte; 16]).into(), 0);
        let (mut source, mut target) = (address(0xfe), address(0xfd));
        source.set_port(40_000);
        target.set_port(20_003);
        (source, target)
    };
    let expected = Segment {
        source,
        target,
        flags: Flags::SYN.with(Flags::ACK),
        seq: Seq(7),
        ack: Seq(9),
        window: 512,
        scale: Some(7),
        payload_bytes: PAYLOAD.len() as u32,
    };
    assert_eq!(read(link, &frame), Ok(expected));
    // The lengths are those of the headers, whatever the capture kept and whatever pads the frame.
    let kept = frame.len() - PAYLOAD.len();
    assert_eq!(segment(link, &frame[..kept], frame.len() as u32), Ok(expected));
    assert_eq!(read(link, &[&frame[..], &[0; 6]].concat()), Ok(expected));
    for cut in 0..kept {
        let cut_off = segment(link, &frame[..cut], frame.len() as u32);
        // All but the options may be there.
        let is_whole = cut_off.is_ok_and(|it| it.payload_bytes == expected.payload_bytes);
        assert!(cut_off == Err(Skipped::CutOff) || is_whole, "{cut}: {cut_off:?}");
    }
}

const MACS: [u8; 12] = [2; 12];

#[test]
fn every_link_layer_is_read() {
    for (packet, kind, family) in [(ipv4(), [0x08, 0x00], 2), (ipv6(), [0x86, 0xdd], 30)] {
        let ethernet = |tags: &[u8]| [&MACS, tags, &kind].concat();
        has_the_segment(Link::Raw, &[], &packet);
        has_the_segment(Link::Loopback, &[family, 0, 0, 0], &packet);
        has_the_segment(Link::Loopback, &[0, 0, 0, family], &packet);
        has_the_segment(Link::Ethernet, &ethernet(&[]), &packet);
        has_the_segment(Link::Ethernet, &ethernet(&[0x81, 0, 0, 5]), &packet);
        has_the_segment(Link::Ethernet, &ethernet(&[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6]), &packet);
        let backbone = [&[0x88, 0xe7, 0, 0, 0, 1][..], &MACS].concat();
        has_the_segment(Link::Ethernet, &ethernet(&backbone), &packet);
        has_the_segment(Link::Cooked, &[&[0; 14][..], &kind].concat(), &packet);
        has_the_segment(Link::Cooked2, &[&kind[..], &[0; 18]].concat(), &packet);
    }
}

#[test]
fn extension_headers_and_options_are_passed_over() {
    has_the_segment(Link::Raw, &[], &extended(0, vec![0; 8]));
    has_the_segment(Link::Raw, &[], &extended(60, [0, 1, 0, 0, 0, 0, 0, 0].repeat(2)));
    has_the_segment(Link::Raw, &[], &extended(51, vec![0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
    has_the_segment(Link::Raw, &[], &extended(44, vec![0; 8]));
    let mut packet = ipv4();
    packet[0] = 0x46;
    packet[3] += 4;
    packet.splice(20..20, [1; 4]);
    has_the_segment(Link::Raw, &[], &packet);
}

#[test]
fn what_is_not_looked_into_is_named() {
    let with = |at: usize, value: u8| {
        let mut packet = ipv4();
        packet[at] = value;
        read(Link::Raw, &packet).unwrap_err()
    };
    assert_eq!(with(6, 0x20), Skipped::Fragment);
    assert_eq!(with(7, 1), Skipped::Fragment);
    assert_eq!(with(9, 17), Skipped::Udp);
    assert_eq!(with(9, 47), Skipped::Gre);
    assert_eq!(with(9, 4), Skipped::IpInIp);
    assert_eq!(with(9, 1), Skipped::Icmp);
    assert_eq!(with(9, 50), Skipped::OtherProtocol);
    assert_eq!(with(0, 0x40), Skipped::Malformed);
    assert_eq!(with(0, 0x10), Skipped::NotIp);
    assert_eq!(with(32, 0x40), Skipped::Malformed, "a TCP header of 16 bytes");
    assert_eq!(with(3, 30), Skipped::Malformed, "shorter than its headers");
    let mut tunnel = ipv4();
    (tunnel[9], tunnel[22], tunnel[23]) = (17, 0x12, 0xb5);
    assert_eq!(read(Link::Raw, &tunnel), Err(Skipped::Vxlan));
    let second = extended(44, vec![0, 0, 0, 8, 0, 0, 0, 1]);
    assert_eq!(read(Link::Raw, &second), Err(Skipped::Fragment));
    for (kind, reason) in [
        ([0x08, 0x06], Skipped::NotIp),
        ([0x88, 0x47], Skipped::Mpls),
        ([0x88, 0x64], Skipped::Pppoe),
    ] {
        assert_eq!(read(Link::Ethernet, &[&MACS[..], &kind, &ipv4()].concat()), Err(reason));
    }
    let tags = [0x81, 0, 0, 1].repeat(TAGS_MAX + 1);
    let frame = [&MACS[..], &tags, &[0x08, 0], &ipv4()].concat();
    assert_eq!(read(Link::Ethernet, &frame), Err(Skipped::NotIp), "too many tags");
}

/// A card that segments later leaves the length open.
#[test]
fn a_length_of_zero_is_the_length_of_the_frame() {
    let mut packet = ipv4();
    packet[2..4].fill(0);
    assert_eq!(read(Link::Raw, &packet).unwrap().payload_bytes, PAYLOAD.len() as u32);
    assert_eq!(segment(Link::Raw, &packet, 100_000).unwrap().payload_bytes, 100_000 - 20 - 28);
    let mut packet = ipv6();
    packet[4..6].fill(0);
    assert_eq!(read(Link::Raw, &packet).unwrap().payload_bytes, PAYLOAD.len() as u32);
}

#[test]
fn each_reason_has_a_place_and_a_name_of_its_own() {
    let mut names: Vec<_> = Skipped::ALL.iter().map(|it| it.name()).collect();
    assert!(Skipped::ALL.iter().enumerate().all(|(index, it)| *it as usize == index));
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Skipped::COUNT);
}

fn links() -> impl Strategy<Value = Link> {
    let all = [Link::Ethernet, Link::Raw, Link::Loopback, Link::Cooked, Link::Cooked2];
    proptest::sample::select(all.to_vec())
}

proptest! {
    #[test]
    fn no_bytes_cause_a_panic(link in links(), bytes: Vec<u8>, wire_bytes: u32) {
        let _ = segment(link, &bytes, wire_bytes);
    }

    #[test]
    fn no_changed_bytes_cause_a_panic(
        link in links(),
        changes in proptest::collection::vec((0..90_usize, any::<u8>()), 1..6),
        cut in 0..90_usize,
        is_v4: bool,
    ) {
        let kind = if is_v4 { [0x08, 0x00] } else { [0x86, 0xdd] };
        let packet = if is_v4 { ipv4() } else { ipv6() };
        let mut frame = match link {
            Link::Raw => packet,
            Link::Loopback => [&[2, 0, 0, 0], &packet[..]].concat(),
            Link::Ethernet => [&MACS[..], &kind, &packet].concat(),
            Link::Cooked => [&[0; 14][..], &kind, &packet].concat(),
            Link::Cooked2 => [&kind[..], &[0; 18], &packet].concat(),
        };
        for (at, byte) in changes {
            if let Some(place) = frame.get_mut(at) {
                *place = byte;
            }
        }
        frame.truncate(cut.max(1));
        let _ = segment(link, &frame, 1500);
    }
}
