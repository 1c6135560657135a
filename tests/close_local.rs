//! Promise: where we close first, that is what is said, and what the peer did then is kept as
//! evidence.

mod common;

use std::io::Write;
use std::net::TcpStream;

use closecall::machine::close::{Certainty, Kind, Via};
use common::{Bed, MESSAGE, REPLY, error, reset, said};

/// A server whose patience with silence is short, and a client that has our FIN for it, and the
/// reply to its only request unread.
fn timed_out() -> (Bed, TcpStream) {
    let mut bed = Bed::with(|config| config.read_deadline_ms = Some(100));
    let mut client = bed.client();
    client.write_all(MESSAGE).unwrap();
    bed.holds(&client, REPLY.len());
    bed.turns_until(|bed| bed.server.counters().ended() > 0 || has_our_fin(bed, &client));
    (bed, client)
}

/// Whether our FIN has reached the client: its socket is in CLOSE_WAIT.
fn has_our_fin(bed: &Bed, client: &TcpStream) -> bool {
    let lines = common::sockets_between(client.local_addr().unwrap(), bed.address());
    lines.iter().any(|line| line.split_whitespace().nth(3) == Some("08"))
}

#[test]
fn s9_is_silent_and_closes_after_our_fin() {
    let mut bed = Bed::with(|config| config.read_deadline_ms = Some(100));
    let mut client = bed.client();
    bed.echoes(&mut client);
    assert_eq!(bed.reads_to_end(&mut client).unwrap(), b"", "a FIN, and no reset");
    assert!(bed.endings.is_empty(), "the peer may still say something: {:?}", bed.endings);
    drop(client);
    let ending = bed.ends_as(Kind::TimeoutRead);
    assert_eq!((said(&ending), error(&ending)), ((2, Certainty::Certain), None));
    assert_eq!((ending.evidence.fin_received, ending.evidence.fin_sent), (Some(true), true));
    assert_eq!((ending.evidence.undelivered, ending.evidence.tx), (Some(0), 37));
    assert!(ending.evidence.fin_acknowledged);
}

#[test]
fn s9_is_silent_and_never_closes() {
    let mut bed = Bed::with(|config| {
        config.read_deadline_ms = Some(100);
        config.verdict_wait_ms = 100;
    });
    let mut client = bed.client();
    bed.echoes(&mut client);
    let ending = bed.ends_as(Kind::TimeoutRead);
    assert_eq!((said(&ending), error(&ending)), ((2, Certainty::Certain), None));
    assert_eq!((ending.evidence.fin_received, ending.evidence.fin_sent), (Some(false), true));
    assert_eq!(ending.evidence.undelivered, Some(0));
    assert!(ending.evidence.fin_acknowledged, "its kernel is there");
    assert_eq!(bed.reads_to_end(&mut client).unwrap(), b"", "it has our FIN");
    assert!(client.take_error().unwrap().is_none(), "and no reset behind it, which no recv tells");
}

#[test]
fn s20_we_close_first_and_the_peer_follows() {
    let mut bed = Bed::new();
    let mut client = bed.client();
    bed.echoes(&mut client);
    bed.server.handle().stop();
    assert_eq!(bed.reads_to_end(&mut client).unwrap(), b"");
    drop(client);
    let ending = bed.ends_as(Kind::LocalDrain);
    assert_eq!((said(&ending), error(&ending)), ((0, Certainty::Certain), None));
    assert_eq!((ending.evidence.fin_received, ending.evidence.fin_sent), (Some(true), true));
    assert!(ending.evidence.fin_acknowledged);
}

#[test]
fn s20b_we_close_first_and_the_peer_closes_with_our_reply_unread() {
    let (mut bed, client) = timed_out();
    drop(client);
    let ending = bed.ends_as(Kind::TimeoutRead);
    assert_eq!(said(&ending), (2, Certainty::Certain));
    assert_eq!(error(&ending), Some((libc::ECONNRESET, Via::Recv)), "it is kept");
    assert_eq!((ending.evidence.fin_received, ending.evidence.fin_sent), (Some(false), true));
    assert_eq!(ending.evidence.undelivered, Some(0));
}

#[test]
fn s20b_we_close_first_and_the_peer_resets() {
    let mut bed = Bed::new();
    let mut client = bed.client();
    bed.echoes(&mut client);
    bed.server.handle().stop();
    assert_eq!(bed.reads_to_end(&mut client).unwrap(), b"");
    reset(client);
    let ending = bed.ends_as(Kind::LocalDrain);
    assert_eq!(said(&ending), (0, Certainty::Certain));
    assert_eq!(error(&ending), Some((libc::ECONNRESET, Via::Recv)), "it is kept");
    assert_eq!((ending.evidence.fin_received, ending.evidence.fin_sent), (Some(false), true));
}

/// Both FINs are on their way, or as near to it as one machine comes: the peer's is in our queue
/// when we decide to close, and unread. It was first, so it is what is told.
#[test]
fn s20_both_close_at_once() {
    let mut bed = Bed::new();
    let mut client = bed.client();
    bed.echoes(&mut client);
    bed.server.handle().stop();
    drop(client);
    let ending = bed.ends_as(Kind::PeerFinDelivered);
    assert_eq!((said(&ending), error(&ending)), ((1, Certainty::Certain), None));
    assert_eq!((ending.evidence.fin_received, ending.evidence.fin_sent), (Some(true), true));
}
