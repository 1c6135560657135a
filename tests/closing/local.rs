//! Promise: if our side closes first, the verdict shows that, and what the peer did after it is
//! kept as evidence.

use crate::common::{Bed, REPLY, error, said};
use closecall::client::{Act, Client, Did, ServerEnd, Way};
use closecall::machine::close::{Certainty, Kind, Via};

/// A close that puts its FIN on the wire, so that there was a connection up to then.
const FIN: Did = Did::Closed { unread: 0, reset: false, fin: true, late: false };

/// Plays all of `way` but the close; returns the client and that.
#[track_caller]
fn plays_up_to_the_close(bed: &mut Bed, way: Way) -> (Client, Act) {
    let (close, acts) = way.script().split_last().unwrap();
    let mut client = bed.player();
    bed.acts(&mut client, acts);
    (client, *close)
}

/// Sends a message, reads the reply, and reads to our FIN when the server was asked to stop.
#[track_caller]
fn drained(bed: &mut Bed) -> Client {
    let mut client = bed.player();
    bed.acts(&mut client, &[Act::Send, Act::Read]);
    assert_eq!(client.kept(), REPLY);
    bed.server.handle().drain();
    assert_eq!(bed.acts(&mut client, &[Act::ReadToEnd]), Did::Read(0, Some(ServerEnd::Fin)));
    client
}

#[test]
fn s9_is_silent_and_closes_after_our_fin() {
    let mut bed = Bed::with(|config| config.read_deadline_ms = Some(100));
    let (mut client, close) = plays_up_to_the_close(&mut bed, Way::Silent);
    assert!(bed.endings.is_empty(), "the peer may still say something: {:?}", bed.endings);
    let closed = bed.acts(&mut client, &[close]);
    assert_eq!(closed, FIN, "it has a FIN of ours, and no reset");
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
    let (mut client, close) = plays_up_to_the_close(&mut bed, Way::Silent);
    let ending = bed.ends_as(Kind::TimeoutRead);
    assert_eq!((said(&ending), error(&ending)), ((2, Certainty::Certain), None));
    assert_eq!((ending.evidence.fin_received, ending.evidence.fin_sent), (Some(false), true));
    assert_eq!(ending.evidence.undelivered, Some(0));
    assert!(ending.evidence.fin_acknowledged, "its kernel is there");
    let read = bed.acts(&mut client, &[Act::ReadToEnd]);
    assert_eq!(read, Did::Read(0, Some(ServerEnd::Fin)), "it has our FIN");
    let closed = bed.acts(&mut client, &[close]);
    assert_eq!(closed, FIN, "and no reset behind it, which no recv tells");
}

#[test]
fn s20_we_close_first_and_the_peer_follows() {
    let mut bed = Bed::new();
    let mut client = drained(&mut bed);
    bed.acts(&mut client, &[Act::Close]);
    let ending = bed.ends_as(Kind::LocalDrain);
    assert_eq!((said(&ending), error(&ending)), ((0, Certainty::Certain), None));
    assert_eq!((ending.evidence.fin_received, ending.evidence.fin_sent), (Some(true), true));
    assert!(ending.evidence.fin_acknowledged);
}

#[test]
fn s20b_we_close_first_and_the_peer_closes_with_our_reply_unread() {
    let mut bed = Bed::with(|config| config.read_deadline_ms = Some(100));
    bed.plays(Way::SilentReset);
    let ending = bed.ends_as(Kind::TimeoutRead);
    assert_eq!(said(&ending), (2, Certainty::Certain));
    assert_eq!(error(&ending), Some((libc::ECONNRESET, Via::Recv)), "it is kept");
    assert_eq!((ending.evidence.fin_received, ending.evidence.fin_sent), (Some(false), true));
    assert_eq!(ending.evidence.undelivered, Some(0));
}

#[test]
fn s20b_we_close_first_and_the_peer_resets() {
    let mut bed = Bed::new();
    let mut client = drained(&mut bed);
    bed.acts(&mut client, &[Act::Linger0, Act::Close]);
    let ending = bed.ends_as(Kind::LocalDrain);
    assert_eq!(said(&ending), (0, Certainty::Certain));
    assert_eq!(error(&ending), Some((libc::ECONNRESET, Via::Recv)), "it is kept");
    assert_eq!((ending.evidence.fin_received, ending.evidence.fin_sent), (Some(false), true));
}

/// Both FINs are in flight, or as near to it as one machine comes: the peer's is unread in our
/// queue when we decide to close. It was first, so the verdict is the peer's.
#[test]
fn s20_both_close_at_once() {
    let mut bed = Bed::new();
    let mut client = bed.player();
    bed.acts(&mut client, &[Act::Send, Act::Read]);
    bed.server.handle().drain();
    bed.acts(&mut client, &[Act::Close]);
    let ending = bed.ends_as(Kind::PeerFinDelivered);
    assert_eq!((said(&ending), error(&ending)), ((1, Certainty::Certain), None));
    assert_eq!((ending.evidence.fin_received, ending.evidence.fin_sent), (Some(true), true));
}
