//! Promise: an end that comes while the reply is still in our hands, in the socket or before it, is
//! told apart as well, and cuts nothing off.

mod common;

use std::io::Write;
use std::net::TcpStream;

use closecall::machine::close::{Certainty, Kind, Via};
use closecall::machine::reply::{Framing, PREFIX_BYTES_MAX, READ_BUFFER_BYTES_MAX};
use common::{Bed, error, half_close, said};

/// Requests of a byte each, whose replies are far more than two sockets hold.
const REQUESTS: usize = 4_000;
const PREFIX_BYTES: usize = PREFIX_BYTES_MAX;

/// More than a narrow client takes, and no more than our socket does.
const REPLY_BYTES: usize = 4_000;

/// No byte is like its neighbours, near and far, so that one that is lost or out of place shows.
fn prefix() -> Vec<u8> {
    (0..PREFIX_BYTES).map(|place| (place ^ place >> 8) as u8).collect()
}

/// A client that has sent its requests and reads nothing, and a server that has filled its socket
/// with replies and waits for room.
fn full(connect: impl FnOnce(&Bed) -> TcpStream, read_buffer_bytes: usize) -> (Bed, TcpStream) {
    let mut bed = Bed::with(|config| {
        config.framing = Framing::Line;
        config.prefix = prefix();
        config.read_buffer_bytes = read_buffer_bytes;
        config.read_deadline_ms = None;
        config.write_deadline_ms = Some(2_000);
    });
    let mut client = connect(&bed);
    client.write_all(&[b'\n'; REQUESTS]).unwrap();
    // The only alarm there is rings for output that is pending, every half second.
    bed.turns_until(|bed| bed.last.alarms > 0 && bed.last.events == 0);
    (bed, client)
}

#[test]
fn s15_closes_while_our_send_buffer_is_full() {
    let (mut bed, client) = full(Bed::narrow_client, 65_536);
    drop(client);
    let ending = bed.ends_as(Kind::PeerResetReplyUndelivered);
    assert_eq!(said(&ending), (1, Certainty::Certain));
    assert_eq!(error(&ending), Some((libc::ECONNRESET, Via::Send)));
    assert_eq!((ending.evidence.fin_received, ending.evidence.fin_sent), (Some(false), false));
    assert!(ending.evidence.undelivered.unwrap() > 0 && ending.evidence.unsent > 0);
}

/// The reply is in our socket, all of it, and most of it goes no further.
fn taken() -> (Bed, TcpStream) {
    let mut bed = Bed::with(|config| config.framing = Framing::Raw);
    let mut client = bed.narrow_client();
    bed.accepts(1);
    client.write_all(&prefix()[..REPLY_BYTES]).unwrap();
    bed.holds(&client, 1);
    (bed, client)
}

#[test]
fn s15_closes_while_the_reply_is_in_our_socket() {
    let (mut bed, client) = taken();
    drop(client);
    let ending = bed.ends_as(Kind::PeerResetReplyUndelivered);
    // Not certain: what is not acknowledged may have arrived, and a reset takes that with it.
    assert_eq!(said(&ending), (1, Certainty::Likely));
    assert_eq!(error(&ending), Some((libc::ECONNRESET, Via::Recv)));
    assert_eq!((ending.evidence.fin_received, ending.evidence.fin_sent), (Some(false), false));
    assert!(ending.evidence.undelivered.unwrap() > 0 && ending.evidence.unsent == 0);
}

/// Our FIN stands behind the reply then, and the event that both sides are shut comes at once. It
/// settles nothing.
#[test]
fn s6_half_closes_and_reads_when_our_fin_is_behind_the_reply() {
    let (mut bed, mut client) = taken();
    half_close(&client);
    assert_eq!((bed.turn().events, bed.turn().events), (1, 1), "its FIN; both are shut");
    assert!(bed.endings.is_empty(), "{:?}", bed.endings);
    assert_eq!(bed.reads_to_end(&mut client).unwrap(), &prefix()[..REPLY_BYTES]);
    drop(client);
    let ending = bed.ends_as(Kind::PeerFinDelivered); // its FIN came behind our reply
    assert_eq!((said(&ending), error(&ending)), ((1, Certainty::Certain), None));
    assert_eq!(ending.evidence.tx, REPLY_BYTES as u64);
    assert!(ending.evidence.undelivered == Some(0) && ending.evidence.fin_acknowledged);
}

#[test]
fn s15b_half_closes_while_our_send_buffer_is_full_and_reads_on() {
    half_closes_and_reads_on(65_536);
}

/// The same when all requests were read before the FIN, and one reply to them is pending.
#[test]
fn s15b_half_closes_while_its_last_reply_is_pending_and_reads_on() {
    half_closes_and_reads_on(READ_BUFFER_BYTES_MAX);
}

fn half_closes_and_reads_on(read_buffer_bytes: usize) {
    let (mut bed, mut client) = full(Bed::client, read_buffer_bytes);
    half_close(&client);
    let turn = bed.turn();
    assert_eq!((turn.events, turn.ended), (1, 0), "its FIN is an event, and no end");
    let replies = bed.reads_to_end(&mut client).unwrap();
    drop(client);
    let total = REQUESTS * (PREFIX_BYTES + 1);
    assert_eq!(replies.len(), total);
    let reply = [prefix(), b"\n".to_vec()].concat();
    assert!(replies.chunks(reply.len()).all(|bytes| bytes == reply), "every byte in its place");
    let ending = bed.ends_as(Kind::PeerFinHalfCloseServed);
    assert_eq!((said(&ending), error(&ending)), ((1, Certainty::Certain), None));
    assert_eq!((ending.evidence.rx, ending.evidence.tx), (REQUESTS as u64, total as u64));
    assert_eq!((ending.evidence.undelivered, ending.evidence.unsent), (Some(0), 0));
    assert!(ending.evidence.fin_received == Some(true) && ending.evidence.sent_after_fin);
}
