//! Promise: the capture shows what was on the wire: each packet once, in order, with every byte
//! counted. The clients act beside a server whose turns are taken here, so each order is forced,
//! and what has to be seen is known. It needs CAP_NET_RAW; without it a test says `skipped: needs
//! CAP_NET_RAW`, and with CLOSECALL_NAMESPACES=required that is a failure.
#![cfg(all(target_os = "linux", feature = "cli"))]

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::process::Command;

use crate::common::Bed;
use crate::{alone, skip};
use closecall::client::{Act, Client, Plan, Way};
use closecall::lab::capture::{
    Bytes, Capture, End, Expectation, First, Packet, contradiction, story,
};
use closecall::reactor::Ending;

const HANDSHAKE: &str = "→ SYN ← SYN → ACK";

/// A capture, or `None` where this machine does not let us: that is said.
#[track_caller]
fn capture() -> Option<Capture> {
    match Capture::start() {
        Ok(capture) => Some(capture),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            skip::skips("CAP_NET_RAW");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// A client plays its script, and the server has its turns while the client waits, and afterwards.
#[track_caller]
fn plays(bed: &mut Bed, way: Way) -> (SocketAddr, Ending) {
    let (mut client, _) = Client::connect(&Plan::new(bed.address())).unwrap();
    let local = client.local();
    for &act in way.script() {
        let moment = client.play_beside(act, Some(&mut || _ = bed.turn()));
        assert!(!moment.failed(), "{moment:?}");
    }
    (local, bed.ending())
}

/// The connection as the capture saw it, with nothing missing.
#[track_caller]
fn seen(capture: &Capture, client: SocketAddr, server: SocketAddr) -> Vec<Packet> {
    capture.settle().unwrap();
    let losses = capture.losses();
    assert!(losses.is_none(), "{losses}");
    let packets = capture.packets(client, server);
    assert!(packets.is_sorted_by_key(|packet| packet.at), "{packets:#?}");
    packets
}

/// Plays `way` and holds what was seen against `expected`; returns the story.
#[track_caller]
fn told(way: Way, expected: &Expectation) -> Option<String> {
    let capture = capture()?;
    let mut bed = Bed::new();
    capture.watch(bed.address().port());
    let (client, ending) = plays(&mut bed, way);
    let packets = seen(&capture, client, bed.address());
    assert_eq!(contradiction(expected, &packets), None, "{packets:#?}\n{ending:#?}");
    for (index, packet) in packets.iter().enumerate() {
        let same = |other: &Packet| Packet { at: packet.at, ..other.clone() } == *packet;
        assert!(!packets[..index].iter().any(same), "seen twice: {packet}\n{packets:#?}");
    }
    Some(story(&packets))
}

/// A request and a reply of the article, with or without a FIN and a reset.
fn sends(bytes: u64, fin: bool, rst: bool) -> End {
    End { fin: Some(fin), rst: Some(rst), bytes: Bytes::Exactly(bytes) }
}

#[test]
fn s1_shows_both_fins() {
    let _alone = alone();
    let expected = Expectation {
        client: sends(14, true, false),
        server: sends(37, true, false),
        first: Some(First::Reply),
    };
    if let Some(story) = told(Way::Close, &expected) {
        assert_eq!(story, format!("{HANDSHAKE} → 14 bytes ← 37 bytes → FIN ← FIN"));
    }
}

#[test]
fn s2_shows_a_reset_and_no_fin() {
    let _alone = alone();
    let expected = Expectation {
        client: sends(14, false, true),
        server: sends(37, false, false),
        first: Some(First::Reply),
    };
    if let Some(story) = told(Way::CloseUnread, &expected) {
        assert_eq!(story, format!("{HANDSHAKE} → 14 bytes ← 37 bytes → RST"));
    }
}

#[test]
fn s3_shows_the_fin_before_the_reply_and_the_reset_behind_it() {
    let _alone = alone();
    let expected = Expectation {
        client: sends(14, true, true),
        server: sends(37, false, false),
        first: Some(First::Fin),
    };
    if let Some(story) = told(Way::CloseAtOnce, &expected) {
        assert_eq!(story, format!("{HANDSHAKE} → 14 bytes → FIN ← 37 bytes → RST"));
    }
}

#[test]
fn s6_shows_the_reply_behind_the_fin_and_no_reset() {
    let _alone = alone();
    let expected = Expectation {
        client: sends(14, true, false),
        server: sends(37, true, false),
        first: Some(First::Fin),
    };
    if let Some(story) = told(Way::HalfClose, &expected) {
        assert_eq!(story, format!("{HANDSHAKE} → 14 bytes → FIN ← 37 bytes ← FIN"));
    }
}

#[test]
fn s8_shows_a_request_and_a_reset() {
    let _alone = alone();
    let expected =
        Expectation { client: sends(14, false, true), server: sends(0, false, false), first: None };
    if let Some(story) = told(Way::ResetAtOnce, &expected) {
        assert_eq!(story, format!("{HANDSHAKE} → 14 bytes → RST"));
    }
}

/// Megabytes, in packets of up to 64 KB, through windows that close: both ends count the same.
#[test]
fn s15b_shows_every_byte_of_a_full_connection() {
    let _alone = alone();
    let Some(capture) = capture() else { return };
    let mut bed = Bed::new();
    capture.watch(bed.address().port());
    let (client, ending) = plays(&mut bed, Way::HalfCloseFull);
    let packets = seen(&capture, client, bed.address());
    let expected = Expectation {
        client: sends(ending.evidence.rx, true, false),
        server: sends(ending.evidence.tx, true, false),
        first: Some(First::Reply),
    };
    assert_eq!(contradiction(&expected, &packets), None, "{}", story(&packets));
    assert!(ending.evidence.rx > 1 << 20, "{ending:#?}");
    assert!(packets.iter().any(|packet| packet.payload_bytes > 1 << 15), "{}", story(&packets));
    assert!(packets.iter().any(|packet| packet.window == 0), "{}", story(&packets));
}

#[test]
fn another_ending_than_the_expected_one_is_said_in_words() {
    let _alone = alone();
    let Some(capture) = capture() else { return };
    let mut bed = Bed::new();
    let (client, _) = plays(&mut bed, Way::CloseUnread);
    let packets = seen(&capture, client, bed.address());
    let orderly =
        Expectation { client: sends(14, true, false), server: sends(37, true, false), first: None };
    assert_eq!(
        contradiction(&orderly, &packets).unwrap(),
        "the client sent no FIN; the client sent an unexpected RST; the server sent no FIN"
    );
}

#[test]
fn ipv6_is_seen_too() {
    let _alone = alone();
    let Some(capture) = capture() else { return };
    if TcpListener::bind("[::1]:0").is_err() {
        #[allow(clippy::print_stderr)] // for the person that runs the tests
        let () = eprintln!("skipped: needs IPv6");
        return;
    }
    let mut bed = Bed::with(|config| config.listen = vec!["[::1]:0".parse().unwrap()]);
    let (client, _) = plays(&mut bed, Way::Close);
    let packets = seen(&capture, client, bed.address());
    let story = story(&packets);
    assert_eq!(story, format!("{HANDSHAKE} → 14 bytes ← 37 bytes → FIN ← FIN"));
}

#[test]
fn a_port_that_is_used_again_shows_its_last_connection() {
    let _alone = alone();
    let Some(capture) = capture() else { return };
    let mut bed = Bed::new();
    // An address of its own: no other program takes the port in between.
    let source = Some(([127, 77, 0, 1], 0).into());
    let plan = Plan { source, ..Plan::new(bed.address()) };
    let (mut client, _) = Client::connect(&plan).unwrap();
    let local = client.local();
    client.play(Act::Linger0); // it leaves no TIME_WAIT behind
    client.play(Act::Close);
    bed.ending();
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&local.into()).unwrap();
    socket.connect(&bed.address().into()).unwrap();
    drop(socket);
    bed.ending();
    let packets = seen(&capture, local, bed.address());
    assert_eq!(story(&packets), format!("{HANDSHAKE} → FIN ← FIN"));
}

#[test]
fn only_what_is_watched_is_kept() {
    let _alone = alone();
    let Some(capture) = capture() else { return };
    let (mut watched, mut other) = (Bed::new(), Bed::new());
    capture.watch(watched.address().port());
    let clients = [plays(&mut watched, Way::Probe).0, plays(&mut other, Way::Probe).0];
    assert_ne!(seen(&capture, clients[0], watched.address()), []);
    assert_eq!(seen(&capture, clients[1], other.address()), []);
}

/// What tcpdump reads is what Wireshark reads.
#[test]
fn the_file_is_read_by_tcpdump() {
    let _alone = alone();
    let Some(capture) = capture() else { return };
    let mut bed = Bed::new();
    let (client, _) = plays(&mut bed, Way::CloseAtOnce);
    plays(&mut bed, Way::Close); // not asked for below
    let pair = (client, bed.address());
    let packets = seen(&capture, pair.0, pair.1);
    let folder = std::env::temp_dir();
    let path = folder.join(format!("closecall-tcpdump-{}.pcap", std::process::id()));
    let file = std::fs::File::create(&path).unwrap();
    assert_eq!(capture.save(file, &[pair]).unwrap(), packets.len());
    // As root, tcpdump changes its user before it opens the file, so it gets the file as stdin.
    let file = std::fs::File::open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let output = Command::new("tcpdump").args(["-nn", "-t", "-r", "-"]).stdin(file).output();
    let Ok(output) = output else {
        #[allow(clippy::print_stderr)] // for the person that runs the tests
        let () = eprintln!("skipped: needs tcpdump");
        return;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), packets.len(), "{output:?}");
    for (line, packet) in lines.iter().zip(&packets) {
        let length = format!("length {}", packet.payload_bytes);
        let (from, to) = if packet.to_server { (pair.0, pair.1) } else { (pair.1, pair.0) };
        let way = format!("IP 127.0.0.1.{} > 127.0.0.1.{}: ", from.port(), to.port());
        assert!(line.starts_with(&way) && line.contains(&length), "{line}\n{packet}");
    }
}

#[test]
fn many_connections_are_all_there() {
    let _alone = alone();
    let Some(capture) = capture() else { return };
    let mut bed = Bed::new();
    capture.watch(bed.address().port());
    let clients: Vec<SocketAddr> = (0..300).map(|_| plays(&mut bed, Way::CloseUnread).0).collect();
    for client in clients {
        let story = story(&seen(&capture, client, bed.address()));
        assert_eq!(story, format!("{HANDSHAKE} → 14 bytes ← 37 bytes → RST"));
    }
}
