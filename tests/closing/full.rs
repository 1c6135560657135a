//! Promise: an end that comes while a part of the reply is in the socket or before it is recognized
//! as well, and cuts nothing off.

use crate::common::{Bed, MESSAGE, error, said};
use closecall::client::{Act, Client, Did, ServerEnd, Way};
use closecall::machine::close::{Certainty, Kind, Via};
use closecall::machine::reply::{Framing, PREFIX_BYTES_MAX, READ_BUFFER_BYTES_MAX};

/// Requests of a byte each, whose replies are far more than two sockets hold.
const REQUESTS: usize = 4_000;
const PREFIX_BYTES: usize = PREFIX_BYTES_MAX;

/// More than a narrow client takes, and no more than our socket does.
const REPLY_BYTES: usize = 4_000;

/// No byte is like its neighbours, near and far, so that one that is lost or out of place shows.
fn prefix() -> Vec<u8> {
    (0..PREFIX_BYTES).map(|place| (place ^ place >> 8) as u8).collect()
}

/// A client of `bed` that has sent this, and whose receive buffer is as small as the system makes
/// it if it is `narrow`.
#[track_caller]
fn sends(bed: &mut Bed, message: &[u8], narrow: bool) -> Client {
    let mut plan = bed.plan();
    plan.message = message.to_vec();
    plan.receive_buffer = narrow.then_some(1);
    let mut client = Client::connect(&plan).expect("the backlog has room").0;
    bed.accepts(1);
    bed.acts(&mut client, &[Act::Send]);
    client
}

#[test]
fn s15_closes_while_our_send_buffer_is_full() {
    let mut bed = Bed::with(|config| {
        config.framing = Framing::Raw;
        config.write_deadline_ms = Some(2_000);
    });
    bed.plays(Way::CloseFull);
    let ending = bed.ends_as(Kind::PeerResetReplyUndelivered);
    assert_eq!(said(&ending), (1, Certainty::Certain));
    assert_eq!(error(&ending), Some((libc::ECONNRESET, Via::Send)));
    assert_eq!((ending.evidence.fin_received, ending.evidence.fin_sent), (Some(false), false));
    assert!(ending.evidence.undelivered.unwrap() > 0 && ending.evidence.unsent > 0);
}

/// The reply is in our socket, all of it, and most of it goes no further.
fn taken() -> (Bed, Client) {
    let mut bed = Bed::with(|config| config.framing = Framing::Raw);
    let client = sends(&mut bed, &prefix()[..REPLY_BYTES], true);
    bed.turns_until(|bed| bed.last.bytes > 0);
    (bed, client)
}

#[test]
fn s15_closes_while_the_reply_is_in_our_socket() {
    let (mut bed, mut client) = taken();
    bed.acts(&mut client, &[Act::Close]);
    let ending = bed.ends_as(Kind::PeerResetReplyUndelivered);
    // Not certain: what is not acknowledged may have arrived, and a reset takes that with it.
    assert_eq!(said(&ending), (1, Certainty::Likely));
    assert_eq!(error(&ending), Some((libc::ECONNRESET, Via::Recv)));
    assert_eq!((ending.evidence.fin_received, ending.evidence.fin_sent), (Some(false), false));
    assert!(ending.evidence.undelivered.unwrap() > 0 && ending.evidence.unsent == 0);
}

/// Our FIN stands behind the reply then, and the event that both sides are shut comes at once. It
/// is no evidence.
#[test]
fn s6_half_closes_and_reads_when_our_fin_is_behind_the_reply() {
    let (mut bed, mut client) = taken();
    bed.acts(&mut client, &[Act::ShutDownWrite]);
    assert_eq!((bed.turn().events, bed.turn().events), (1, 1), "its FIN; both are shut");
    assert!(bed.endings.is_empty(), "{:?}", bed.endings);
    let read = bed.acts(&mut client, &[Act::ReadToEnd]);
    assert_eq!(read, Did::Read(REPLY_BYTES, Some(ServerEnd::Fin)));
    assert_eq!(client.kept(), &prefix()[..REPLY_BYTES]);
    bed.acts(&mut client, &[Act::Close]);
    let ending = bed.ends_as(Kind::PeerFinDelivered); // its FIN came behind our reply
    assert_eq!((said(&ending), error(&ending)), ((1, Certainty::Certain), None));
    assert_eq!(ending.evidence.tx, REPLY_BYTES as u64);
    assert!(ending.evidence.undelivered == Some(0) && ending.evidence.fin_acknowledged);
}

/// All buffers are full in both directions, and its FIN stands behind its own requests.
#[test]
fn s15b_half_closes_when_all_buffers_are_full_and_reads_on() {
    let mut bed = Bed::with(|config| {
        config.framing = Framing::Raw;
        config.write_deadline_ms = Some(2_000);
    });
    let client = bed.plays(Way::HalfCloseFull);
    assert!(client.sent() > 1 << 20, "{} bytes", client.sent());
    assert_eq!(client.received(), client.sent());
    assert!(client.kept() == MESSAGE.repeat(client.sent().div_ceil(14)).split_at(client.sent()).0);
    let ending = bed.ending();
    // Whether its FIN is here before the last of the reply is out is up to the buffers.
    let orderly = [Kind::PeerFinHalfCloseServed, Kind::PeerFinDelivered];
    assert!(orderly.contains(&ending.verdict.kind), "{ending:#?}");
    assert_eq!((said(&ending), error(&ending)), ((1, Certainty::Certain), None));
    assert_eq!((ending.evidence.rx, ending.evidence.tx), [client.sent() as u64; 2].into());
    assert_eq!((ending.evidence.undelivered, ending.evidence.unsent), (Some(0), 0));
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

/// A client that sends its requests and reads nothing, until the server has filled its socket with
/// replies and waits for room. Then its FIN comes.
fn half_closes_and_reads_on(read_buffer_bytes: usize) {
    let mut bed = Bed::with(|config| {
        config.framing = Framing::Line;
        config.prefix = prefix();
        config.read_buffer_bytes = read_buffer_bytes;
        config.read_deadline_ms = None;
        config.write_deadline_ms = Some(2_000);
    });
    let mut client = sends(&mut bed, &[b'\n'; REQUESTS], false);
    // The only alarm there is rings for output that is pending, every half second.
    bed.turns_until(|bed| bed.last.alarms > 0 && bed.last.events == 0);
    bed.acts(&mut client, &[Act::ShutDownWrite]);
    let turn = bed.turn();
    assert_eq!((turn.events, turn.ended), (1, 0), "its FIN is an event, and no end");
    let read = bed.acts(&mut client, &[Act::ReadToEnd]);
    bed.acts(&mut client, &[Act::Close]);
    let total = REQUESTS * (PREFIX_BYTES + 1);
    assert_eq!(read, Did::Read(total, Some(ServerEnd::Fin)));
    let reply = [prefix(), b"\n".to_vec()].concat();
    let mut replies = client.kept().chunks(reply.len());
    assert!(replies.all(|bytes| bytes == reply), "every byte in its place");
    let ending = bed.ends_as(Kind::PeerFinHalfCloseServed);
    assert_eq!((said(&ending), error(&ending)), ((1, Certainty::Certain), None));
    assert_eq!((ending.evidence.rx, ending.evidence.tx), (REQUESTS as u64, total as u64));
    assert_eq!((ending.evidence.undelivered, ending.evidence.unsent), (Some(0), 0));
    assert!(ending.evidence.fin_received == Some(true) && ending.evidence.sent_after_fin);
}
