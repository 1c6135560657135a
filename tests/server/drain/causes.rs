//! An end that has begun keeps its cause: neither a stop nor the force of a second one makes the
//! peer's FIN, or a deadline, an end of the server's own. Linux only, as tests/closing/slow.rs is.

use std::io::Write;
use std::net::TcpStream;

use closecall::config::Config;
use closecall::machine::close::{Certainty, Initiator, Kind};
use closecall::machine::reply::Framing;
use closecall::reactor::{Ending, Stage};
use socket2::{Domain, Socket, Type};

use crate::common::{Bed, MESSAGE, half_close, said, sockets_between};

/// More than the client has room for, and less than the server's socket takes.
const BYTES: usize = 300_000;

/// States in /proc/net/tcp.
const FIN_WAIT_1: u8 = 4;
const CLOSE_WAIT: u8 = 8;
const LAST_ACK: u8 = 9;

fn bed(change: impl FnOnce(&mut Config)) -> Bed {
    Bed::with(|config| {
        config.framing = Framing::Raw;
        config.read_deadline_ms = None;
        config.verdict_wait_ms = 3_600_000;
        config.drain_ms = 3_600_000;
        change(config);
    })
}

/// A client that has sent [`BYTES`] and reads nothing: its reply waits on the server's side.
#[track_caller]
fn says_much(bed: &Bed) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&bed.address().into()).unwrap();
    let mut client = TcpStream::from(socket);
    client.write_all(&vec![b'x'; BYTES]).unwrap();
    client
}

/// Turns until the server's end of this connection is in `state`.
#[track_caller]
fn is_in(bed: &mut Bed, client: &TcpStream, state: u8) {
    let peer = client.local_addr().unwrap();
    bed.turns_until(|bed| {
        let lines = sockets_between(bed.address(), peer);
        let field = lines.first().and_then(|line| line.split_whitespace().nth(3));
        field.and_then(|field| u8::from_str_radix(field, 16).ok()) == Some(state)
    });
}

/// A drain and an abort end it, and take nothing from what is known of it.
#[track_caller]
fn forced(bed: &mut Bed, kind: Kind) -> Ending {
    bed.server.handle().drain();
    bed.turn();
    assert_eq!((bed.last.stage, bed.endings.len()), (Stage::Draining, 0), "it waits on");
    bed.server.handle().abort();
    let ending = bed.ends_as(kind);
    assert!(ending.evidence.undelivered > Some(0), "{ending:#?}");
    assert_eq!((ending.evidence.unsent, ending.evidence.error), (0, None), "{ending:#?}");
    assert_eq!(bed.turn().stage, Stage::Forced);
    ending
}

/// Regression: it was `local.drain`, certain, with 297,696 bytes undelivered.
#[test]
fn the_force_of_a_second_stop_leaves_the_peer_its_fin() {
    let mut bed = bed(|_| ());
    let client = says_much(&bed);
    half_close(&client);
    is_in(&mut bed, &client, LAST_ACK);
    let ending = forced(&mut bed, Kind::PeerFinUnconfirmed);
    assert_eq!(said(&ending), (1, Certainty::Unknown));
    assert_eq!(ending.verdict.kind.initiator(), Initiator::Peer);
}

#[test]
fn the_force_of_a_second_stop_leaves_a_deadline_its_name() {
    let mut bed = bed(|config| config.read_deadline_ms = Some(100));
    let client = says_much(&bed);
    is_in(&mut bed, &client, FIN_WAIT_1);
    let ending = forced(&mut bed, Kind::TimeoutRead);
    assert_eq!(said(&ending), (2, Certainty::Certain));
}

/// The end of the drain decides both as well.
#[test]
fn the_end_of_a_drain_leaves_them_their_causes() {
    for (deadline_ms, state, kind) in
        [(None, LAST_ACK, Kind::PeerFinUnconfirmed), (Some(100), FIN_WAIT_1, Kind::TimeoutRead)]
    {
        let mut bed = bed(|config| {
            config.read_deadline_ms = deadline_ms;
            config.drain_ms = 200;
        });
        let client = says_much(&bed);
        if state == LAST_ACK {
            half_close(&client);
        }
        is_in(&mut bed, &client, state);
        bed.server.handle().drain();
        let ending = bed.ends_as(kind);
        assert!(ending.evidence.undelivered > Some(0), "{ending:#?}");
        assert_eq!(bed.turn().stage, Stage::Stopped);
    }
}

/// A client with as little room as there is, whose reply does not fit the server's socket: part of
/// it is left in the outbox. All that it sent was read, and then its FIN came.
#[track_caller]
fn half_closes_over_stuck_output(bed: &mut Bed) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(1).unwrap();
    socket.set_tcp_mss(536).unwrap();
    socket.set_send_buffer_size(1 << 20).unwrap();
    socket.connect(&bed.address().into()).unwrap();
    let mut client = TcpStream::from(socket);
    bed.accepts(1);
    // A line of one byte has a reply of thousands: all that it sends fits one read.
    client.write_all(&[b'\n'; 60]).unwrap();
    bed.turns_until(|bed| bed.last.visits > 0);
    half_close(&client);
    is_in(bed, &client, CLOSE_WAIT);
    bed.turns_until(|bed| bed.last.visits > 0);
    client
}

fn stuck_bed(change: impl FnOnce(&mut Config)) -> Bed {
    bed(|config| {
        config.framing = Framing::Line;
        config.prefix = vec![b'p'; 4096];
        config.read_buffer_bytes = 1 << 20;
        config.write_deadline_ms = None;
        change(config);
    })
}

/// Regression: it was `local.drain`.
#[test]
fn a_fin_with_stuck_output_at_the_end_of_a_drain_is_the_peers_end() {
    let mut bed = stuck_bed(|config| config.drain_ms = 300);
    let client = half_closes_over_stuck_output(&mut bed);
    bed.server.handle().drain();
    let ending = bed.ends_as(Kind::PeerFinUnconfirmed);
    assert_eq!(ending.evidence.fin_received, Some(true));
    assert!(ending.evidence.unsent > 0 && !ending.evidence.fin_sent, "{ending:#?}");
    assert_eq!(said(&ending), (1, Certainty::Unknown));
    drop(client);
}

#[test]
fn a_fin_with_stuck_output_at_the_write_deadline_is_a_stall() {
    let mut bed = stuck_bed(|config| config.write_deadline_ms = Some(200));
    let client = half_closes_over_stuck_output(&mut bed);
    let ending = bed.ends_as(Kind::TimeoutWriteStall);
    assert_eq!(ending.evidence.fin_received, Some(true));
    assert!(ending.evidence.unsent > 0 && !ending.evidence.fin_sent, "{ending:#?}");
    drop(client);
}

/// Without the peer's FIN the drain is what ended it.
#[test]
fn stuck_output_at_the_end_of_a_drain_is_the_drains_end() {
    let mut bed = stuck_bed(|config| config.drain_ms = 300);
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(1).unwrap();
    socket.set_tcp_mss(536).unwrap();
    socket.connect(&bed.address().into()).unwrap();
    let mut client = TcpStream::from(socket);
    client.write_all(&[b'\n'; 60]).unwrap();
    bed.turns_until(|bed| bed.last.visits > 0);
    bed.server.handle().drain();
    let ending = bed.ends_as(Kind::LocalDrain);
    assert_eq!(ending.evidence.fin_received, Some(false));
    assert!(ending.evidence.unsent > 0, "{ending:#?}");
}

/// What Java's `Socket.close()` is: shutdown(Write), then close, over a reply that it never read.
/// The reset follows its FIN.
#[test]
fn a_close_behind_a_shutdown_over_an_unread_reply_discards_it() {
    for verdict_wait_ms in [0, 3_600_000] {
        let mut bed = bed(|config| config.verdict_wait_ms = verdict_wait_ms);
        let mut client = bed.client();
        client.write_all(MESSAGE).unwrap();
        bed.holds(&client, MESSAGE.len());
        half_close(&client);
        drop(client);
        let ending = bed.ends_as(Kind::PeerFinReplyDiscarded);
        assert_eq!(said(&ending), (1, Certainty::Likely));
        assert_eq!(ending.evidence.undelivered, Some(0));
    }
}
