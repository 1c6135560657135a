//! Promise: a reply that a slow peer is still taking is not cut off, however its connection ends; a
//! peer that takes nothing any more leaves nothing behind. Linux only: what is left is looked up in
//! /proc/net/tcp.
#![cfg(target_os = "linux")]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::common::{Bed, MESSAGE, error, half_close, said, sockets_between};
use closecall::config::Config;
use closecall::machine::close::{Certainty, Kind};
use closecall::machine::reply::Framing;
use socket2::{Domain, Socket, Type};

/// How long the server takes no turn while a connection waits for its evidence.
const VERDICT_WAIT_MS: u64 = 150;

/// What a slow reader takes meanwhile: a hundred kilobytes in a second.
const STEP_BYTES: usize = 16 << 10;

/// The number of pauses of a slow reader before it hurries up: more than a second in all.
const LOOKS: u32 = 8;

/// What is echoed: it takes a slow reader about six seconds.
const BYTES: usize = 600_000;

/// Bytes that differ from those near them, so that one that is lost or out of place shows.
fn payload() -> Vec<u8> {
    (0..BYTES as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn bed(change: impl FnOnce(&mut Config)) -> Bed {
    Bed::with(|config| {
        config.framing = Framing::Raw;
        config.read_deadline_ms = Some(100);
        config.verdict_wait_ms = VERDICT_WAIT_MS;
        change(config);
    })
}

/// A client that sends all of the payload and reads nothing. It has room for a few kilobytes; its
/// reply waits on the server's side.
#[track_caller]
fn says_much(bed: &Bed) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&bed.address().into()).unwrap();
    let mut client = TcpStream::from(socket);
    client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    client.write_all(&payload()).unwrap();
    client
}

/// Takes the next `count` bytes; the server's kernel sends on by itself.
#[track_caller]
fn takes(client: &mut TcpStream, count: usize, taken: &mut Vec<u8>) {
    let before = taken.len();
    taken.resize(before + count, 0);
    client.read_exact(&mut taken[before..]).expect("no reset");
}

/// Takes the rest, up to our FIN. Now it has everything, and was not reset.
#[track_caller]
fn takes_the_rest(client: &mut TcpStream, mut taken: Vec<u8>) {
    client.read_to_end(&mut taken).expect("no reset");
    assert_eq!(taken.len(), BYTES);
    assert!(taken == payload(), "other bytes than it was sent");
}

/// The server's end of this connection, as far as the system has one.
fn left_behind(server: SocketAddr, client: &TcpStream) -> usize {
    sockets_between(server, client.local_addr().unwrap()).len()
}

/// Our FIN is out and not acknowledged, and the peer's did not come: the state in /proc/net/tcp.
const FIN_WAIT_1: u8 = 4;

/// The same when the peer's came first.
const LAST_ACK: u8 = 9;

/// The state of the server's end of this connection.
fn state(server: SocketAddr, client: &TcpStream) -> Option<u8> {
    let lines = sockets_between(server, client.local_addr().unwrap());
    let field = lines.first()?.split_whitespace().nth(3)?;
    u8::from_str_radix(field, 16).ok()
}

/// Turns until the server has the client's FIN and its own stands behind the reply.
#[track_caller]
fn both_fins_are_out(bed: &mut Bed, client: &TcpStream) {
    half_close(client);
    bed.turns_until(|bed| state(bed.address(), client) == Some(LAST_ACK));
}

/// Turns until the read deadline of a silent client passes: the server's FIN stands behind the
/// reply.
#[track_caller]
fn our_fin_is_out(bed: &mut Bed, client: &TcpStream) {
    bed.turns_until(|bed| state(bed.address(), client) == Some(FIN_WAIT_1));
}

// ---- our FIN first ------------------------------------------------------------------------------

#[test]
fn a_slow_reader_has_as_long_as_it_takes() {
    let mut bed = bed(|_| ());
    let mut client = says_much(&bed);
    our_fin_is_out(&mut bed, &client);
    let mut taken = Vec::new();
    for _ in 0..LOOKS {
        let alarms = bed.alarms;
        takes(&mut client, STEP_BYTES, &mut taken);
        bed.turns_until(|bed| bed.alarms > alarms);
        assert_eq!(bed.endings, [], "it takes what we send");
    }
    takes_the_rest(&mut client, taken);
    drop(client);
    let ending = bed.ends_as(Kind::TimeoutRead);
    assert!(ending.verdict_wait_ms > 2 * VERDICT_WAIT_MS, "{ending:#?}");
    assert_eq!((ending.evidence.undelivered, ending.evidence.error), (Some(0), None));
    assert_eq!(ending.evidence.fin_received, Some(true));
}

#[test]
fn a_peer_that_takes_nothing_after_our_fin_is_reset_and_leaves_nothing_behind() {
    let mut bed = bed(|_| ());
    let mut client = says_much(&bed);
    let ending = bed.ends_as(Kind::TimeoutRead);
    assert!(ending.verdict_wait_ms >= VERDICT_WAIT_MS, "early: {ending:#?}");
    assert!(ending.evidence.undelivered > Some(0), "{ending:#?}");
    assert_eq!(left_behind(bed.address(), &client), 0, "a plain close stays in FIN-WAIT-1");
    let error = client.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_peer_that_stops_taking_is_reset_a_whole_wait_later() {
    let mut bed = bed(|_| ());
    let mut client = says_much(&bed);
    our_fin_is_out(&mut bed, &client);
    let mut taken = Vec::new();
    for _ in 0..2 {
        let alarms = bed.alarms;
        takes(&mut client, STEP_BYTES, &mut taken);
        bed.turns_until(|bed| bed.alarms > alarms);
    }
    let ending = bed.ends_as(Kind::TimeoutRead);
    assert!(ending.verdict_wait_ms >= 2 * VERDICT_WAIT_MS, "early: {ending:#?}");
    assert_eq!(left_behind(bed.address(), &client), 0);
    assert_eq!(client.read_to_end(&mut taken).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

/// Its FIN shows that it is still there: the system continues to deliver.
#[test]
fn a_peer_that_answers_our_fin_and_reads_later_finds_everything() {
    let mut bed = bed(|_| ());
    let mut client = says_much(&bed);
    our_fin_is_out(&mut bed, &client);
    half_close(&client);
    let ending = bed.ends_as(Kind::TimeoutRead);
    assert_eq!(ending.evidence.fin_received, Some(true));
    assert!(ending.evidence.undelivered > Some(0), "{ending:#?}");
    drop(bed);
    takes_the_rest(&mut client, Vec::new());
}

// ---- the peer's FIN first -----------------------------------------------------------------------

#[test]
fn a_slow_reader_that_half_closed_gets_everything() {
    let mut bed = bed(|_| ());
    let mut client = says_much(&bed);
    both_fins_are_out(&mut bed, &client);
    let mut taken = Vec::new();
    // It is let go when the wait is over. The system goes on delivering.
    while bed.endings.is_empty() {
        takes(&mut client, STEP_BYTES, &mut taken);
        bed.turn();
    }
    let ending = bed.ends_as(Kind::PeerFinUnconfirmed);
    assert!(ending.verdict_wait_ms >= VERDICT_WAIT_MS, "early: {ending:#?}");
    assert!(ending.evidence.undelivered > Some(0), "{ending:#?}");
    takes_the_rest(&mut client, taken);
}

#[test]
fn a_peer_that_half_closed_and_reads_later_finds_everything() {
    let mut bed = bed(|_| ());
    let mut client = says_much(&bed);
    half_close(&client);
    let ending = bed.ends_as(Kind::PeerFinUnconfirmed);
    assert!(ending.verdict_wait_ms >= VERDICT_WAIT_MS, "early: {ending:#?}");
    assert_eq!(said(&ending), (1, Certainty::Unknown));
    let arrived = client.peek(&mut vec![0; BYTES]).unwrap();
    let undelivered = ending.evidence.undelivered.unwrap() as usize;
    assert!((BYTES - arrived..=BYTES).contains(&undelivered), "{arrived} arrived: {ending:#?}");
    assert_eq!(left_behind(bed.address(), &client), 1, "the system goes on delivering");
    drop(bed);
    takes_the_rest(&mut client, Vec::new());
}

// ---- no time to wait ----------------------------------------------------------------------------

#[test]
fn without_a_wait_the_close_is_a_plain_one() {
    for (half_closes, kind) in [(true, Kind::PeerFinUnconfirmed), (false, Kind::TimeoutRead)] {
        let mut bed = bed(|config| config.verdict_wait_ms = 0);
        let mut client = says_much(&bed);
        if half_closes {
            half_close(&client);
        }
        let ending = bed.ends_as(kind);
        assert!(ending.evidence.fin_sent && ending.evidence.undelivered > Some(0), "{ending:#?}");
        takes_the_rest(&mut client, Vec::new());
    }
}

/// Above seven eighths of the slots no connection begins to wait, which is no reason to cut one
/// off.
#[test]
fn in_a_crowd_the_close_is_a_plain_one() {
    for (half_closes, kind) in [(true, Kind::PeerFinUnconfirmed), (false, Kind::TimeoutRead)] {
        let mut bed = bed(|config| {
            config.max_connections = 8;
            config.verdict_wait_ms = 3_600_000;
            config.read_deadline_ms = (!half_closes).then_some(100);
        });
        let mut clients: Vec<TcpStream> = (0..8).map(|_| says_much(&bed)).collect();
        bed.accepts(8);
        if half_closes {
            half_close(&clients[0]);
        }
        let ending = bed.ends_as(kind);
        assert!(ending.evidence.undelivered > Some(0), "{ending:#?}");
        let first = clients.iter_mut().find(|c| c.local_addr().unwrap() == ending.peer).unwrap();
        takes_the_rest(first, Vec::new());
    }
}

/// Of two connections that wait for their evidence, the one that has waited longest is decided when
/// a slot is needed, by what is known then: only that its reply is in flight.
#[test]
fn a_connection_that_makes_room_is_not_cut_off() {
    let mut bed = bed(|config| {
        config.max_connections = 3;
        config.verdict_wait_ms = 3_600_000;
        config.read_deadline_ms = None;
    });
    let mut active = bed.client();
    bed.echoes_raw(&mut active);
    let mut waiting = [says_much(&bed), says_much(&bed)];
    waiting.iter().for_each(|client| both_fins_are_out(&mut bed, client));
    let mut newcomer = bed.client();
    bed.echoes_raw(&mut newcomer);
    let ending = bed.ends_as(Kind::PeerFinUnconfirmed);
    assert_eq!(ending.peer, waiting[0].local_addr().unwrap(), "the oldest");
    assert_eq!(said(&ending), (1, Certainty::Unknown));
    assert_eq!((bed.endings.len(), bed.server.counters().open), (0, 3));
    bed.echoes_raw(&mut active);
    for client in &mut waiting {
        takes_the_rest(client, Vec::new());
    }
    assert_eq!(bed.ending().evidence.undelivered, Some(0), "the other one waited to see it");
}

// ---- the drain ----------------------------------------------------------------------------------

/// A close over unread input is a reset, and that would take our FIN from the peer, and what of the
/// reply stands before it.
#[test]
fn a_peer_that_sends_during_the_drain_gets_its_reply_and_our_fin() {
    let mut bed = bed(|config| {
        config.read_deadline_ms = None;
        config.drain_ms = 3_600_000;
    });
    let mut client = says_much(&bed);
    bed.turns_until(|bed| bed.last.visits > 0);
    bed.server.handle().drain();
    bed.turns_until(|bed| bed.last.alarms > 0);
    let mut taken = Vec::new();
    for _ in 0..20 {
        client.write_all(MESSAGE).expect("no reset");
        takes(&mut client, STEP_BYTES, &mut taken);
        bed.turn();
    }
    client.read_to_end(&mut taken).expect("no reset");
    assert!(taken.starts_with(&payload()), "other bytes than it was sent");
    client.write_all(MESSAGE).expect("no reset");
    drop(client);
    let ending = bed.ends_as(Kind::LocalDrain);
    assert_eq!((ending.evidence.error, ending.evidence.fin_received), (None, Some(true)));
    assert!(ending.evidence.discarded >= MESSAGE.len() as u64, "{ending:#?}");
    assert_eq!(ending.evidence.undelivered, Some(0));
}

// ---- the system's own patience, which is asked for on the listener ------------------------------

/// As the help states: also a peer that is there and answers every probe, with a window of zero. It
/// looks like a peer that is gone, or nearly so.
#[test]
fn a_user_timeout_ends_a_live_peer_that_takes_nothing() {
    let mut bed = bed(|config| {
        config.read_deadline_ms = None;
        config.write_deadline_ms = None;
        config.user_timeout_ms = Some(300);
    });
    let client = says_much(&bed);
    let ending = bed.ends_as(Kind::TimeoutRetransmit);
    assert_eq!(said(&ending), (2, Certainty::Likely));
    assert_eq!(ending.evidence.retransmits, Some(0));
    assert_eq!(error(&ending).map(|error| error.0), Some(libc::ETIMEDOUT));
    assert!(ending.duration_ms >= 300 && ending.evidence.undelivered > Some(0), "{ending:#?}");
    assert_eq!(left_behind(bed.address(), &client), 0);
}

/// What a connection inherits of it is in /proc/net/tcp: the kind of its timer, and what is left.
#[test]
fn keepalive_runs_on_each_connection_if_it_is_asked_for() {
    for (keepalive_ms, idle_s) in [(None, 0), (Some(3_600_000), 3_600)] {
        let mut bed = bed(|config| {
            config.read_deadline_ms = None;
            config.keepalive_ms = keepalive_ms;
        });
        let mut client = bed.client();
        bed.echoes_raw(&mut client);
        bed.turns_until(|bed| bed.server.counters().open == 1);
        let line = sockets_between(bed.address(), client.local_addr().unwrap()).remove(0);
        let (kind, left) = line.split_whitespace().nth(5).unwrap().split_once(':').unwrap();
        let left_s = u64::from_str_radix(left, 16).unwrap() / 100;
        match keepalive_ms {
            None => assert_ne!(kind, "02", "{line}"),
            Some(_) => assert!(kind == "02" && (1..=idle_s).contains(&left_s), "{line}"),
        }
    }
}
