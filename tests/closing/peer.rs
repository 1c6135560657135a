//! Promise: each ending by the peer is recognized. The clients play the library's own ways of
//! ending, and the server looks only while they wait for it, so every order here is forced. (Our
//! own endings are in local.rs, those with the reply still in our hands in full.rs, killed
//! processes in tests/alone/killed.rs.)

use std::io::Write;
use std::net::TcpStream;

use crate::common::{Bed, MESSAGE, REPLY, error, said};
use closecall::client::{Act, Did, Way};
use closecall::machine::close::{Certainty, Kind, Via};
use closecall::machine::reply::Framing;
use closecall::reactor::Ending;
use socket2::SockRef;

const SURE: (u8, Certainty) = (1, Certainty::Certain);

/// A server that takes a request with each read, however many lie in the queue.
fn bed_for_pipelines() -> Bed {
    Bed::with(|config| config.read_buffer_bytes = MESSAGE.len())
}

/// A FIN arrived in order, and no call reported an error: that is evidence enough.
#[track_caller]
fn assert_orderly(ending: &Ending) {
    assert_eq!((said(ending), error(ending)), (SURE, None), "{ending:#?}");
    assert_eq!(ending.evidence.fin_received, Some(true));
    assert!(ending.evidence.fin_sent && ending.evidence.fin_acknowledged);
    assert_eq!((ending.evidence.undelivered, ending.evidence.unsent), (Some(0), 0));
}

/// A reset came, without a FIN, when everything we had sent was acknowledged.
#[track_caller]
fn assert_reset_after_the_reply(ending: &Ending) {
    assert_eq!(said(ending), SURE);
    assert_eq!(error(ending), Some((libc::ECONNRESET, Via::Recv)), "{ending:#?}");
    assert_eq!((ending.evidence.fin_received, ending.evidence.fin_sent), (Some(false), false));
    assert_eq!((ending.evidence.undelivered, ending.evidence.unsent), (Some(0), 0));
    assert_eq!((ending.evidence.rx, ending.evidence.tx), (14, 37));
}

/// A FIN came, and a reset in answer to our reply of `undelivered` bytes. No recv reports it.
#[track_caller]
fn assert_refused(ending: &Ending, undelivered: usize) {
    // That it is acknowledged and reset does not tell whether it was read.
    let discarded = ending.verdict.kind == Kind::PeerFinReplyDiscarded;
    assert_eq!(said(ending), if discarded { (1, Certainty::Likely) } else { SURE });
    // EPIPE is what the kernel calls a reset between the peer's FIN and ours.
    let (errno, via) = error(ending).expect("a reset");
    assert_eq!(errno, if ending.evidence.fin_sent { libc::ECONNRESET } else { libc::EPIPE });
    assert_ne!(via, Via::Recv);
    assert_eq!(ending.evidence.fin_received, Some(true));
    assert_eq!(ending.evidence.undelivered, Some(undelivered as u32), "{ending:#?}");
}

// ---- a FIN, and everything in order -------------------------------------------------------------

#[test]
fn s1_reads_the_reply_and_closes() {
    let mut bed = Bed::new();
    let client = bed.plays(Way::Close);
    assert_eq!(client.kept(), REPLY);
    let ending = bed.ends_as(Kind::PeerFinDelivered);
    assert_orderly(&ending);
    assert_eq!((ending.evidence.rx, ending.evidence.tx), (14, 37));
    assert!(!ending.evidence.sent_after_fin);
}

#[test]
fn s6_half_closes_and_reads_the_rest() {
    let mut bed = Bed::new();
    let client = bed.plays(Way::HalfClose);
    assert_eq!(client.kept(), REPLY);
    let ending = bed.ends_as(Kind::PeerFinHalfCloseServed);
    assert_orderly(&ending);
    assert!(ending.evidence.sent_after_fin);
}

/// On the wire it is a half-close like any other: after both FINs neither side sends anything.
#[test]
fn s6c_half_closes_and_discards_the_reply_after_our_fin() {
    let mut bed = Bed::new();
    let mut client = bed.player();
    let (close, acts) = Way::HalfCloseDiscardLate.script().split_last().unwrap();
    bed.acts(&mut client, acts);
    let ending = bed.ends_as(Kind::PeerFinHalfCloseServed);
    assert_orderly(&ending);
    let closed = bed.acts(&mut client, &[*close]);
    let nothing = Did::Closed { unread: REPLY.len(), reset: false, fin: false, late: false };
    assert_eq!(closed, nothing, "it puts nothing on the wire");
    bed.plays(Way::CloseAtOnce); // another one ends, and the first not again
    assert_ne!(bed.ending().peer, ending.peer);
}

#[test]
fn s7_connects_and_closes() {
    let mut bed = Bed::new();
    bed.plays(Way::Probe);
    let ending = bed.ends_as(Kind::PeerFinProbe);
    assert_orderly(&ending);
    assert_eq!((ending.evidence.rx, ending.evidence.tx), (0, 0));
}

// ---- a FIN, and a reset behind it ---------------------------------------------------------------

#[test]
fn s3_sends_and_closes_at_once_with_the_fin_first() {
    let mut bed = Bed::new();
    bed.plays(Way::CloseAtOnce);
    let ending = bed.ends_as(Kind::PeerFinReplyRefused);
    assert_refused(&ending, REPLY.len());
    assert_eq!((ending.evidence.rx, ending.evidence.tx), (14, 37));
}

/// The second request arrived before the reset, so it is read, and the send of its reply is the
/// first to learn that the peer has gone. That a FIN arrived is known by counting only.
#[test]
fn s3_pipelined_requests_and_closes_at_once() {
    let mut bed = bed_for_pipelines();
    bed.plays(Way::CloseAtOnceTwo);
    let ending = bed.ends_as(Kind::PeerFinReplyRefused);
    assert_refused(&ending, REPLY.len());
    assert_eq!(error(&ending), Some((libc::EPIPE, Via::Send)));
    assert_eq!((ending.evidence.rx, ending.evidence.tx), (28, 37));
    assert_eq!(ending.evidence.unsent, REPLY.len() as u64);
}

/// A visit is worth one request here and a turn has two visits, so that the turn ends when both
/// replies are sent and the FIN behind the requests is unread: then the client ends.
#[test]
fn s6b_half_closes_and_discards_the_reply_before_our_fin() {
    let mut bed = Bed::with(|config| {
        config.read_buffer_bytes = MESSAGE.len();
        config.bytes_per_visit = 1;
    });
    bed.plays(Way::HalfCloseDiscard);
    let ending = bed.ends_as(Kind::PeerFinReplyDiscarded);
    assert_refused(&ending, 0);
    assert_eq!((ending.evidence.rx, ending.evidence.tx), (28, 74));
    assert!(ending.evidence.sent_after_fin && !ending.evidence.fin_sent);
}

#[test]
fn s16b_shuts_down_both_ways() {
    let mut bed = Bed::new();
    let mut client = bed.player();
    let (close, acts) = Way::ShutDownBoth.script().split_last().unwrap();
    bed.acts(&mut client, acts);
    assert_refused(&bed.ends_as(Kind::PeerFinReplyRefused), REPLY.len());
    bed.acts(&mut client, &[*close]);
}

// ---- a reset, and no FIN ------------------------------------------------------------------------

#[test]
fn s2_closes_with_the_reply_unread() {
    let mut bed = Bed::new();
    bed.plays(Way::CloseUnread);
    assert_reset_after_the_reply(&bed.ends_as(Kind::PeerResetReplyAcked));
}

/// It never waits for a reply; whether one had arrived when it closed decides the verdict.
#[test]
fn s3_sends_and_closes_at_once_with_the_reply_first() {
    let mut bed = Bed::new();
    let mut client = bed.player();
    bed.accepts(1);
    for &act in Way::CloseAtOnce.script() {
        bed.acts(&mut client, &[act]);
        bed.turn();
    }
    assert_reset_after_the_reply(&bed.ends_as(Kind::PeerResetReplyAcked));
}

#[test]
fn s4_resets_after_reading_everything() {
    let mut bed = Bed::new();
    let client = bed.plays(Way::Reset);
    assert_eq!(client.kept(), REPLY);
    assert_reset_after_the_reply(&bed.ends_as(Kind::PeerResetReplyAcked));
}

/// From the second exchange on a kernel delays the acknowledgement of a reply, to combine it with
/// data. What follows here is a reset, and Linux takes no acknowledgement from a reset. So the
/// client has read every byte, and the server cannot know it.
#[test]
fn s4_resets_after_reading_everything_and_acknowledging_less() {
    let mut bed = Bed::new();
    let mut client = bed.player();
    for _ in 0..4 {
        bed.acts(&mut client, &[Act::Send, Act::Read]);
    }
    bed.acts(&mut client, Way::Reset.script());
    assert_eq!(client.kept(), REPLY.repeat(5));
    let ending = bed.ending();
    let unacknowledged = ending.evidence.undelivered.unwrap();
    let expected = match unacknowledged {
        0 => Kind::PeerResetReplyAcked, // it was quick this time
        _ => Kind::PeerResetReplyUndelivered,
    };
    assert_eq!(ending.verdict.kind, expected, "{ending:#?}");
    let certain = ending.verdict.certainty == Certainty::Certain;
    assert_eq!(certain, unacknowledged == 0, "a loss is likely, and no more than that");
    assert_eq!((ending.evidence.fin_received, ending.evidence.tx), (Some(false), 5 * 37));
    assert!(unacknowledged <= REPLY.len() as u32);
}

#[test]
fn s5_reads_part_of_the_reply_and_closes() {
    let mut bed = Bed::new();
    let client = bed.plays(Way::CloseHalfRead);
    assert!((1..REPLY.len()).contains(&client.received()));
    assert_reset_after_the_reply(&bed.ends_as(Kind::PeerResetReplyAcked));
}

#[test]
fn s7b_connects_and_resets() {
    let mut bed = Bed::new();
    let mut client = bed.player();
    bed.accepts(1);
    bed.acts(&mut client, Way::ProbeReset.script());
    assert_reset_probe(&bed.ends_as(Kind::PeerResetProbe));
}

#[test]
fn s8_resets_before_accept() {
    let mut bed = Bed::new();
    let client = bed.plays(Way::ProbeReset);
    let ending = bed.ends_as(Kind::PeerResetProbe);
    assert_reset_probe(&ending);
    let address = client.local();
    assert_eq!(ending.peer, address, "the address comes from accept: getpeername would fail");
}

fn assert_reset_probe(ending: &Ending) {
    assert_eq!((said(ending), error(ending)), (SURE, Some((libc::ECONNRESET, Via::Recv))));
    assert_eq!((ending.evidence.rx, ending.evidence.fin_received), (0, Some(false)));
}

#[test]
fn s8b_sends_and_resets_before_accept() {
    let mut bed = Bed::new();
    bed.plays(Way::ResetAtOnce);
    let ending = bed.ends_as(Kind::PeerResetBeforeReply);
    assert_eq!((said(&ending), error(&ending)), (SURE, Some((libc::ECONNRESET, Via::Send))));
    assert_eq!((ending.evidence.unsent, ending.evidence.tx), (REPLY.len() as u64, 0));
    assert_eq!((ending.evidence.rx, ending.evidence.fin_received), (14, Some(false)));
}

/// Nothing goes over the wire when a client stops reading: it is S2 in the end.
#[test]
fn s16_shuts_down_its_reading_and_closes_with_the_reply_unread() {
    let mut bed = Bed::new();
    bed.plays(Way::ShutDownRead);
    assert_reset_after_the_reply(&bed.ends_as(Kind::PeerResetReplyAcked));
}

// ---- urgent data: bytes like others -------------------------------------------------------------

/// "abc", an urgent "!" and "def", all there before the server looks.
fn sends_urgently(client: &mut TcpStream) {
    client.write_all(b"abc").unwrap();
    assert_eq!(SockRef::from(&*client).send_out_of_band(b"!").unwrap(), 1);
    client.write_all(b"def").unwrap();
}

/// A read stops at the urgent mark, and no event reports what lies behind it.
#[test]
fn urgent_data_is_echoed_in_its_place_and_the_fin_is_seen() {
    let mut bed = Bed::with(|config| {
        config.framing = Framing::Raw;
        config.read_deadline_ms = None; // its last read would find the rest, ten seconds late
    });
    let mut client = bed.client();
    sends_urgently(&mut client);
    assert_eq!(bed.receives(&mut client, 7), b"abc!def");
    drop(client);
    let ending = bed.ends_as(Kind::PeerFinDelivered);
    assert_orderly(&ending);
    assert_eq!((ending.evidence.rx, ending.evidence.tx), (7, 7));
}

/// TCP_INFO counts bytes and a FIN alike. An unread urgent byte would look like a FIN.
#[test]
fn urgent_data_does_not_look_like_a_fin() {
    let mut bed = Bed::with(|config| config.framing = Framing::Raw);
    let mut client = bed.client();
    sends_urgently(&mut client);
    bed.holds(&client, 7);
    drop(client);
    let ending = bed.ends_as(Kind::PeerResetReplyAcked);
    assert_eq!((ending.evidence.rx, ending.evidence.fin_received), (7, Some(false)));
}

/// A FIN behind urgent data is also found by counting, without a recv that returns 0.
#[test]
fn urgent_data_does_not_hide_a_fin() {
    let mut bed = Bed::with(|config| config.framing = Framing::Raw);
    let mut client = bed.client();
    sends_urgently(&mut client);
    drop(client);
    let ending = bed.ends_as(Kind::PeerFinReplyRefused);
    assert_refused(&ending, 3);
    assert_eq!(error(&ending), Some((libc::EPIPE, Via::Send)));
}

/// If the kernel may not be asked, what became of the reply is unknown, and is not guessed.
#[test]
fn without_probes_the_verdict_rests_on_the_calls() {
    let mut bed = Bed::with(|config| config.asks_kernel = false);
    bed.plays(Way::Reset);
    let ending = bed.ends_as(Kind::PeerResetReplyUndelivered);
    assert_eq!(said(&ending), (1, Certainty::Unknown));
    let evidence = &ending.evidence;
    assert_eq!((evidence.undelivered, evidence.unread, evidence.fin_received), (None, None, None));
    assert_eq!((evidence.retransmits, evidence.probes), (None, None));
}
