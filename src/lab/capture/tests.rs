//! Tests with frames made by hand, and with garbage.

use std::net::SocketAddr;
use std::time::Duration;

use etherparse::{PacketBuilder, PacketBuilderStep, TcpHeader, TcpOptionElement};
use proptest::prelude::*;

use super::packet::connection;
use super::story::Stream;
use super::*;

const CLIENT: ([u8; 4], u16) = ([127, 0, 0, 1], 40_000);
const SERVER: ([u8; 4], u16) = ([127, 0, 0, 1], 20_003);

/// The sequence numbers turn over in the middle of everything.
const CLIENT_ISN: u32 = u32::MAX - 5;
const SERVER_ISN: u32 = u32::MAX;

fn client() -> SocketAddr {
    CLIENT.into()
}

fn server() -> SocketAddr {
    SERVER.into()
}

/// A frame with these flags, a sequence number from the beginning of the stream, and so many bytes.
fn frame(to_server: bool, flags: &str, seq: u32, ack: u32, bytes: usize) -> Vec<u8> {
    let (source, target) = if to_server { (CLIENT, SERVER) } else { (SERVER, CLIENT) };
    let [own, other] = if to_server { [CLIENT_ISN, SERVER_ISN] } else { [SERVER_ISN, CLIENT_ISN] };
    let begin = PacketBuilder::ethernet2([0; 6], [0; 6]).ipv4(source.0, target.0, 64);
    let mut header = TcpHeader::new(source.1, target.1, own.wrapping_add(seq), 512);
    for flag in flags.split(' ') {
        match flag {
            "SYN" => {
                header.syn = true;
                header.set_options(&[TcpOptionElement::WindowScale(7)]).unwrap();
            }
            "ACK" => {
                header.ack = true;
                header.acknowledgment_number = other.wrapping_add(ack);
            }
            "FIN" => header.fin = true,
            "RST" => header.rst = true,
            "PSH" => header.psh = true,
            other => panic!("{other}"),
        }
    }
    let built: PacketBuilderStep<TcpHeader> = begin.tcp_header(header);
    let mut frame = Vec::new();
    built.write(&mut frame, &vec![b'x'; bytes]).unwrap();
    frame
}

/// A capture of these frames, a millisecond apart.
fn captured(frames: &[Vec<u8>]) -> State {
    let mut state = State { mark: 1, ..State::default() };
    for (bytes, ms) in frames.iter().zip(1000..) {
        state.takes(&Frame {
            at: Duration::from_millis(ms),
            stamped: true,
            bytes,
            mark: None,
            lost: 0,
        });
    }
    state
}

fn packets(frames: &[Vec<u8>]) -> Vec<Packet> {
    let state = captured(frames);
    assert_eq!(state.losses, Losses::default());
    connection(state.seen.iter().map(|seen| (seen.at, &seen.segment)), client(), server())
}

fn handshake() -> Vec<Vec<u8>> {
    vec![frame(true, "SYN", 0, 0, 0), frame(false, "SYN ACK", 0, 1, 0), frame(true, "ACK", 1, 1, 0)]
}

/// The article's fourth experiment: reads the reply, closes.
fn orderly() -> Vec<Vec<u8>> {
    let mut frames = handshake();
    frames.extend([
        frame(true, "PSH ACK", 1, 1, 14),
        frame(false, "ACK", 1, 15, 0),
        frame(false, "PSH ACK", 1, 15, 37),
        frame(true, "ACK", 15, 38, 0),
        frame(true, "FIN ACK", 15, 38, 0),
        frame(false, "FIN ACK", 38, 16, 0),
        frame(true, "ACK", 16, 39, 0),
    ]);
    frames
}

/// The fifth, when the FIN is there first.
fn refused() -> Vec<Vec<u8>> {
    let mut frames = handshake();
    frames.extend([
        frame(true, "PSH ACK", 1, 1, 14),
        frame(true, "FIN ACK", 15, 1, 0),
        frame(false, "PSH ACK", 1, 16, 37),
        frame(true, "RST", 16, 0, 0),
    ]);
    frames
}

#[test]
fn numbers_are_relative_and_windows_are_scaled() {
    let packets = packets(&orderly());
    let told: Vec<String> = packets.iter().map(Packet::to_string).collect();
    assert_eq!(
        told,
        [
            "     0.000 ms  → SYN          seq 0, window 512",
            "     1.000 ms  ← SYN ACK      seq 0, ack 1, window 512",
            "     2.000 ms  → ACK          seq 1, ack 1, window 65536",
            "     3.000 ms  → PSH ACK      seq 1, ack 1, 14 bytes, window 65536",
            "     4.000 ms  ← ACK          seq 1, ack 15, window 65536",
            "     5.000 ms  ← PSH ACK      seq 1, ack 15, 37 bytes, window 65536",
            "     6.000 ms  → ACK          seq 15, ack 38, window 65536",
            "     7.000 ms  → FIN ACK      seq 15, ack 38, window 65536",
            "     8.000 ms  ← FIN ACK      seq 38, ack 16, window 65536",
            "     9.000 ms  → ACK          seq 16, ack 39, window 65536",
        ]
    );
}

#[test]
fn a_story_is_told_in_the_words_of_the_client() {
    let story = |frames: &[Vec<u8>]| story(&packets(frames));
    assert_eq!(story(&orderly()), "→ SYN ← SYN → ACK → 14 bytes ← 37 bytes → FIN ← FIN");
    assert_eq!(story(&refused()), "→ SYN ← SYN → ACK → 14 bytes → FIN ← 37 bytes → RST");

    let mut frames = handshake();
    frames.extend([
        frame(true, "PSH ACK", 1, 1, 14),
        frame(false, "ACK", 1, 15, 0),
        frame(true, "PSH ACK", 15, 1, 14), // data that follows is added
        frame(true, "PSH ACK", 15, 1, 14), // and told again
        frame(false, "FIN ACK", 1, 29, 74),
        frame(false, "FIN ACK", 75, 29, 0),
        frame(true, "RST", 29, 0, 0),
        frame(true, "RST", 29, 0, 0),
    ]);
    let again = "→ 28 bytes → 14 bytes again ← 74 bytes ← FIN ← FIN again → RST ×2";
    assert_eq!(story(&frames), format!("→ SYN ← SYN → ACK {again}"));

    // Ends that send at the same time are summed up.
    let mut frames = handshake();
    for turn in 0..5 {
        frames.push(frame(true, "PSH ACK", 1 + 10 * turn, 1, 10));
        frames.push(frame(false, "PSH ACK", 1 + 7 * turn, 1, 7));
    }
    frames.push(frame(false, "PSH ACK", 29, 1, 7));
    frames.push(frame(true, "FIN ACK", 51, 1, 0));
    let summed_up = "→ 50 bytes ⇄ ← 35 bytes, 7 again → FIN";
    assert_eq!(story(&frames), format!("→ SYN ← SYN → ACK {summed_up}"));

    let refused = [frame(true, "SYN", 0, 0, 0), frame(false, "RST ACK", 0, 1, 0)];
    assert_eq!(story(&refused), "→ SYN ← RST");
    assert_eq!(story(&[]), "");
}

#[test]
fn a_port_used_again_is_another_connection() {
    let again: Vec<_> = [orderly(), refused()].concat();
    // The two have the same numbers here: then the last SYN repeats the first.
    assert_eq!(packets(&again).len(), again.len());
    let mut first = orderly();
    for bytes in &mut first {
        bytes[14 + 20 + 4] ^= 1; // other sequence numbers
    }
    assert_eq!(packets(&[first.clone(), refused()].concat()), packets(&refused()));
    assert_eq!(packets(&first[1..]), [], "its SYN was not seen");
    let repeated = [vec![frame(true, "SYN", 0, 0, 0)], handshake()].concat();
    assert_eq!(story(&packets(&repeated)), "→ SYN ×2 ← SYN → ACK");
}

#[test]
fn a_frame_that_is_cut_off_has_the_length_of_its_header() {
    let whole = frame(true, "PSH ACK", 1, 1, 60_000);
    let segment = Segment::parse(&whole[..SNAP_BYTES as usize]).unwrap();
    assert_eq!((segment.payload_bytes, segment.frame_bytes), (60_000, 60_054));
    for length in 0..whole.len().min(200) {
        let parsed = Segment::parse(&whole[..length]);
        assert_eq!(parsed, (length >= 54).then(|| segment.clone()), "{length} bytes");
    }
}

#[test]
fn ipv6_is_taken_apart_too() {
    let mut bytes = Vec::new();
    let [local, port] = [[0; 16], [1; 16]].map(|mut it| {
        it[15] = 1;
        it
    });
    PacketBuilder::ethernet2([0; 6], [0; 6])
        .ipv6(local, port, 64)
        .tcp(1, 2, 3, 4)
        .fin()
        .write(&mut bytes, b"12345")
        .unwrap();
    let segment = Segment::parse(&bytes).unwrap();
    assert_eq!((segment.payload_bytes, segment.frame_bytes), (5, 14 + 40 + 20 + 5));
    assert_eq!(segment.source, ("::1".parse().unwrap(), 1));
    assert!(segment.flags.fin && !segment.flags.syn);
}

#[test]
fn an_ipv4_mapped_address_equals_its_ipv4_address() {
    let segment = Segment::parse(&frame(true, "SYN", 0, 0, 0)).unwrap();
    assert!(segment.goes("[::ffff:127.0.0.1]:40000".parse().unwrap(), server()));
    assert!(!segment.goes(server(), client()));
}

#[test]
fn each_contradiction_has_its_text() {
    let expects = |change: fn(&mut Expectation), frames: &[Vec<u8>]| {
        let mut expected = Expectation::default();
        change(&mut expected);
        contradiction(&expected, &packets(frames)).unwrap_or_default()
    };
    let no = |change: fn(&mut Expectation)| expects(change, &refused());
    assert_eq!(no(|_| ()), "");
    assert_eq!(no(|it| it.client.fin = Some(true)), "");
    assert_eq!(no(|it| it.client.fin = Some(false)), "the client sent an unexpected FIN");
    assert_eq!(no(|it| it.server.fin = Some(true)), "the server sent no FIN");
    assert_eq!(no(|it| it.server.rst = Some(true)), "the server sent no RST");
    assert_eq!(no(|it| it.client.rst = Some(false)), "the client sent an unexpected RST");
    assert_eq!(no(|it| it.server.bytes = Bytes::Exactly(37)), "");
    assert_eq!(no(|it| it.server.bytes = Bytes::AtLeast(37)), "");
    assert_eq!(
        no(|it| {
            it.client.bytes = Bytes::Exactly(13);
            it.server.bytes = Bytes::AtLeast(38);
        }),
        "the client sent 14 bytes instead of 13; the server sent 37 bytes instead of at least 38"
    );
    assert_eq!(no(|it| it.first = Some(First::Fin)), "");
    let late = "the client's FIN came before the server's reply";
    assert_eq!(no(|it| it.first = Some(First::Reply)), late);
    let early = "the server's reply came before the client's FIN";
    assert_eq!(expects(|it| it.first = Some(First::Fin), &orderly()), early);
    assert_eq!(expects(|it| it.first = Some(First::Reply), &orderly()), "");
    let neither = "neither the client's FIN nor the server's reply came";
    assert_eq!(expects(|it| it.first = Some(First::Fin), &handshake()), neither);
    assert_eq!(expects(|_| (), &[]), "no packet of the connection was captured");
}

#[test]
fn a_gap_in_the_capture_is_not_blamed_on_the_server() {
    let mut frames = orderly();
    frames.remove(5); // the reply; its acknowledgement was seen
    let expected = Expectation {
        server: End { bytes: Bytes::Exactly(37), ..End::default() },
        ..Default::default()
    };
    assert_eq!(
        contradiction(&expected, &packets(&frames)).unwrap(),
        "the server sent 0 bytes instead of 37 (37 more are missing from the capture)"
    );
}

#[test]
fn the_capture_is_bounded_and_counts_the_rest() {
    let mut state = captured(&[b"no frame".to_vec(), frame(true, "SYN", 0, 0, 0)]);
    assert_eq!((state.losses.malformed, state.seen.len()), (1, 1));
    let seen = state.seen[0].clone();
    state.seen.resize(PACKETS_MAX, seen);
    let bytes = frame(true, "RST", 1, 0, 0);
    let late = |lost| Frame { at: Duration::ZERO, stamped: true, bytes: &bytes, mark: None, lost };
    assert!(!state.takes(&late(3)));
    assert_eq!(state.losses, Losses { unread: 3, beyond: 1, malformed: 1 });
    assert!(!state.losses.is_none());
    state.watched = Some(vec![7]);
    assert!(!state.takes(&late(3)), "its port is not watched");
    assert_eq!(state.losses.beyond, 1);
}

#[test]
fn what_comes_before_the_first_mark_is_before_the_capture() {
    let mut state = State::default();
    let bytes = frame(true, "SYN", 0, 0, 0);
    let at = Duration::from_secs(1);
    assert!(!state.takes(&Frame { at, stamped: true, bytes: &bytes, mark: None, lost: 5 }));
    assert!(state.takes(&Frame { at, stamped: true, bytes: &bytes, mark: Some(1), lost: 5 }));
    assert_eq!((state.seen.len(), state.losses), (0, Losses::default()));
    // Time does not go back.
    assert!(!state.takes(&Frame { at, stamped: true, bytes: &bytes, mark: None, lost: 5 }));
    assert!(!state.takes(&Frame {
        at: Duration::ZERO,
        stamped: true,
        bytes: &bytes,
        mark: None,
        lost: 5
    }));
    assert_eq!(state.seen[1].at, at);
}

#[test]
fn a_file_is_read_back_as_it_was_written() {
    let mut frames = orderly();
    frames.push(frame(true, "ACK", 16, 39, 65_000)[..SNAP_BYTES as usize].to_vec());
    let state = captured(&frames);
    let mut bytes = Vec::new();
    pcap::write(&mut bytes, &state.seen).unwrap();
    let mut reader = pcap_file::pcap::PcapReader::new(bytes.as_slice()).unwrap();
    assert_eq!(reader.header().datalink, pcap_file::DataLink::ETHERNET);
    for (index, frame) in frames.iter().enumerate() {
        let packet = reader.next_packet().unwrap().unwrap();
        assert_eq!(packet.timestamp, Duration::from_millis(1000 + index as u64));
        assert_eq!(
            (&*packet.data, packet.orig_len),
            (&frame[..], state.seen[index].segment.frame_bytes)
        );
    }
    assert!(reader.next_packet().is_none());
    assert_eq!(state.seen.last().unwrap().segment.frame_bytes, 65_054);
    let mut no_room = [0; 3];
    assert!(pcap::write(&mut no_room[..], &[]).is_err());
}

/// Any packet at all.
fn any_packet() -> impl Strategy<Value = Packet> {
    let numbers = (any::<u32>(), any::<Option<u32>>(), any::<u32>(), 0..70_000_u32);
    (numbers, any::<bool>(), any::<[bool; 6]>(), any::<u64>()).prop_map(
        |(
            (seq, ack, window, payload_bytes),
            to_server,
            [syn, ack_flag, fin, rst, psh, urg],
            at,
        )| {
            let flags = Flags { syn, ack: ack_flag, fin, rst, psh, urg };
            let at = Duration::from_nanos(at);
            Packet { at, to_server, flags, seq, ack, payload_bytes, window }
        },
    )
}

proptest! {
    #[test]
    fn garbage_is_no_segment_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut state = State { mark: 1, ..State::default() };
        let at = Duration::ZERO;
        state.takes(&Frame { at, stamped: true, bytes: &bytes, mark: None, lost: 0 });
    }

    #[test]
    fn a_frame_with_wrong_bytes_is_no_panic(
        place in 0..80_usize,
        byte in any::<u8>(),
        length in 0..100_usize,
    ) {
        let mut frames = orderly();
        for frame in &mut frames {
            frame.truncate(length.max(54));
            let place = place % frame.len();
            frame[place] = byte;
        }
        let state = captured(&frames);
        let seen = state.seen.iter().map(|seen| (seen.at, &seen.segment));
        let packets = connection(seen, client(), server());
        story(&packets);
        contradiction(&Expectation::default(), &packets);
    }

    #[test]
    fn any_packets_have_a_story(packets in prop::collection::vec(any_packet(), 0..30)) {
        story(&packets);
        let expected = Expectation {
            server: End { bytes: Bytes::Exactly(u64::MAX), ..End::default() },
            ..Expectation::default()
        };
        prop_assert!(contradiction(&expected, &packets).is_some());
        for packet in &packets {
            prop_assert_eq!(packet.to_string().lines().count(), 1);
        }
    }

    /// In whatever order they come, and however often: bytes that were seen count once.
    #[test]
    fn bytes_count_once(parts in prop::collection::vec((0..200_u32, 0..50_u32), 0..20)) {
        let mut stream = Stream::default();
        let mut seen = std::collections::BTreeSet::new();
        for (seq, payload_bytes) in parts {
            let (at, flags) = (Duration::ZERO, Flags::default());
            let (ack, window) = (None, 0);
            let packet = Packet { at, to_server: true, flags, seq, ack, payload_bytes, window };
            let before = seen.len();
            seen.extend(seq..seq + payload_bytes);
            prop_assert_eq!(stream.takes(&packet), (seen.len() - before) as u64);
            prop_assert_eq!(stream.bytes(), seen.len() as u64);
        }
    }
}
