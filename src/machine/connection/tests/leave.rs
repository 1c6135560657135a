//! Connections that are asked to close: by the drain, its end, a second signal and the greatest
//! age.

use super::*;
use crate::machine::close::TcpFacts;

#[test]
fn the_drain_lets_the_reply_go_out_and_waits_for_the_peer_s_fin() {
    let mut life = Life::new();
    life.event().echoes(30);
    life.connection.blocked(Via::Send);
    life.is_told_unacked(30);
    life.context.drain_ends = Some(life.context.now.after(5_000));
    assert!(life.rings(), "the drain makes every connection due");
    life.wants(Step::Send).connection.blocked(Via::Send);
    life.is_told_unacked(30).expires().is_told_unread(0).event().wants(Step::Send);
    life.connection.flushed(7, &life.context);
    life.wants(Step::Discard).reads_blocked(); // one last look
    life.shuts_down().reads_blocked().is_told_unacked(0).wants(Step::Wait);
    assert_eq!(life.connection.alarm(&life.context), life.context.now.after(5_000));
    life.event().receives_fin().is_told_unacked(0).wants(Step::End);
    assert_eq!((life.verdict(0), life.connection.goodbye()), (Kind::LocalDrain, Goodbye::Plain));
}

#[test]
fn the_end_of_the_drain_is_a_reset() {
    let mut life = Life::new();
    life.context.drain_ends = Some(life.context.now.after(5_000));
    life.rings();
    life.reads_blocked().expires().shuts_down().reads_blocked().is_told_unacked(0);
    life.passes(5_000).rings();
    life.reads_blocked().is_told_unacked(0).expires().wants(Step::End);
    assert_eq!((life.verdict(0), life.connection.goodbye()), (Kind::LocalDrain, Goodbye::Reset));
}

#[test]
fn the_end_of_the_drain_cuts_off_what_is_still_going_out() {
    let mut life = Life::new();
    life.is_stuck_in_the_drain().passes(4_999);
    assert!(!life.connection.is_due(&life.context), "it has until the end of the drain");
    life.passes(1).expires().wants(Step::End);
    assert_eq!((life.verdict(30), life.connection.goodbye()), (Kind::LocalDrain, Goodbye::Reset));
}

/// Regression: what lay in the receive queue behind a reply was dropped unanswered.
#[test]
fn the_drain_answers_what_had_arrived_and_drops_what_comes_later() {
    let mut life = Life::new();
    life.event().echoes(30).connection.blocked(Via::Send);
    life.is_told_unacked(30).context.drain_ends = Some(life.context.now.after(5_000));
    life.rings();
    life.wants(Step::Send).connection.blocked(Via::Send);
    life.is_told_unacked(30).expires().is_told_unread(20).event().wants(Step::Send);
    life.connection.flushed(7, &life.context);
    assert_eq!(life.connection.receive_bytes_max(), 20);
    life.echoes(37);
    assert_eq!(life.connection.receive_bytes_max(), 6);
    life.receives(6, 6);
    life.connection.answered(&[b'x'; 6], 6, &life.context);
    // Behind it there may be the peer's FIN, or more that came later.
    life.wants(Step::Discard).receives(9, 65_536).shuts_down();
    let evidence = life.known(&SocketFacts::default(), Some(0));
    assert_eq!((evidence.rx, evidence.discarded, evidence.cause), (43, 9, Some(LocalCause::Drain)));
}

/// A peer that has sent its FIN after what had arrived was first.
#[test]
fn a_fin_behind_what_the_drain_answers_is_the_peer_s_end() {
    let mut life = Life::new();
    life.event().wants(Step::Receive).receives(14, 14);
    life.connection.answered(&[b'x'; 37], 37, &life.context);
    life.context.drain_ends = Some(life.context.now.after(5_000));
    life.rings();
    life.expires().is_told_unread(14).echoes(37).wants(Step::Discard).receives_fin().shuts_down();
    life.is_told_unacked(0).wants(Step::End);
    assert_eq!(life.verdict(0), Kind::PeerFinDelivered);
}

/// Its reply is stuck in a full socket, and behind the request, unread, lies its FIN.
fn has_sent_its_fin_and_is_stuck() -> Life {
    let mut life = Life::new();
    life.event().echoes(30).connection.blocked(Via::Send);
    life.is_told_unacked(30).registered_writable().fin_event();
    life.wants(Step::Send).connection.blocked(Via::Send);
    life
}

/// Regression: two stops turned an end that had begun into one of ours, and so did the end of the
/// drain. An end that has begun keeps its cause, whatever signals follow.
#[test]
fn the_drain_and_a_second_signal_leave_an_end_that_has_begun_its_cause() {
    let verdict = |life: &Life| {
        let tcp = TcpFacts { bytes_received: Some(14 + 1), ..TcpFacts::default() };
        let facts = SocketFacts { unread: Some(0), tcp: Some(tcp) };
        classify(&life.known(&facts, Some(30))).kind
    };
    let mut late = has_sent_its_fin_and_is_stuck();
    late.context.drain_ends = Some(late.context.now.after(5_000));
    late.passes(5_000).rings();
    late.wants(Step::Send).connection.blocked(Via::Send);
    late.is_told_unacked(30).expires().wants(Step::End);
    let mut cut = has_sent_its_fin_and_is_stuck();
    cut.connection.cut_off();
    for life in [&late, &cut] {
        assert_eq!(verdict(life), Kind::PeerFinUnconfirmed);
        assert_eq!(life.connection.goodbye(), Goodbye::Reset, "7 bytes were never sent");
    }
    // At its write deadline it is a stall.
    let mut stalled = has_sent_its_fin_and_is_stuck();
    stalled.passes(10_000).rings();
    stalled.wants(Step::Send).connection.blocked(Via::Send);
    stalled.is_told_unacked(30).expires().wants(Step::End);
    assert_eq!(verdict(&stalled), Kind::TimeoutWriteStall);
}

#[test]
fn a_second_signal_leaves_settling_connections_their_cause_and_ends_the_open_ones() {
    let mut silent = Life::new();
    silent.event().reads_blocked().passes(10_000).rings();
    silent.reads_blocked().expires().shuts_down().reads_blocked().is_told_unacked(1);
    silent.connection.cut_off();
    assert_eq!(silent.verdict(1), Kind::TimeoutRead);
    let mut open = Life::new();
    open.connection.cut_off();
    assert_eq!((open.verdict(0), open.connection.goodbye()), (Kind::LocalDrain, Goodbye::Reset));
}

/// Regression: the evidence of a forced stop is read some turns later, and what peers sent until
/// then, mostly in answer to our resets, was taken for the beginning of the end.
#[test]
fn what_comes_after_a_second_signal_was_not_first() {
    let tcp = TcpFacts { bytes_received: Some(14 + 1), ..TcpFacts::default() };
    let facts = SocketFacts { unread: Some(0), tcp: Some(tcp) };
    let mut fin = Life::new();
    fin.event().echoes(37).connection.cut_off();
    let evidence = fin.known(&facts, Some(0));
    assert_eq!((evidence.fin_received, classify(&evidence).kind), (Some(true), Kind::LocalDrain));
    let mut reset = Life::new();
    reset.event().echoes(37).connection.cut_off();
    reset.connection.seen.failed(ECONNRESET, Via::SoError);
    assert_eq!(reset.verdict(0), Kind::LocalDrain);
    // An event had reported this one.
    let mut before = Life::new();
    before.event().echoes(37).fin_event().connection.cut_off();
    let evidence = before.known(&facts, Some(0));
    assert_eq!(classify(&evidence).kind, Kind::PeerFinDelivered);
}

/// Regression: the same for a connection that had been asked to close because of its age.
#[test]
fn what_comes_after_a_second_signal_was_not_first_where_one_was_too_old() {
    let mut old = Life::with(Rules { max_age_ms: Some(5_000), ..rules() });
    old.event().echoes(30).connection.blocked(Via::Send);
    old.is_told_unacked(30).passes(5_000).rings();
    old.wants(Step::Send).connection.blocked(Via::Send);
    old.is_told_unacked(30).expires().is_told_unread(0).connection.cut_off();
    let tcp = TcpFacts { bytes_received: Some(14 + 1), ..TcpFacts::default() };
    let facts = SocketFacts { unread: Some(0), tcp: Some(tcp) };
    let evidence = old.known(&facts, Some(30));
    assert_eq!((evidence.fin_received, classify(&evidence).kind), (Some(true), Kind::LocalPolicy));
    old.connection.seen.failed(ECONNRESET, Via::SoError);
    assert_eq!(old.verdict(30), Kind::LocalPolicy);
}

/// Regression: a drain that began while a connection closed because of its age became its cause.
#[test]
fn a_drain_leaves_one_that_is_too_old_its_cause() {
    let mut life = Life::with(Rules { max_age_ms: Some(5_000), ..rules() });
    life.event().echoes(30).connection.blocked(Via::Send);
    life.is_told_unacked(30).passes(5_000).rings();
    life.wants(Step::Send).connection.blocked(Via::Send);
    life.is_told_unacked(30).expires().is_told_unread(0).registered_writable();
    life.context.drain_ends = Some(life.context.now.after(5_000));
    life.event().wants(Step::Send);
    life.connection.flushed(7, &life.context);
    life.wants(Step::Discard).reads_blocked().shuts_down().reads_blocked().is_told_unacked(0);
    assert_eq!(life.verdict(0), Kind::LocalPolicy);
}

/// A peer that has sent its FIN, and more before it than was answered, was cut off by us.
#[test]
fn requests_that_a_second_signal_leaves_unanswered_are_cut_off_by_us() {
    let mut life = Life::new();
    life.event().echoes(37).connection.cut_off();
    let tcp = TcpFacts { bytes_received: Some(14 + 50 + 1), ..TcpFacts::default() };
    let facts = SocketFacts { unread: Some(50), tcp: Some(tcp) };
    let evidence = life.known(&facts, Some(0));
    assert_eq!((evidence.fin_received, classify(&evidence).kind), (Some(true), Kind::LocalDrain));
}

/// The greatest age ends it as politely as silence does, a little early, by its number.
#[test]
fn too_old_is_asked_to_leave_and_answered() {
    let mut life = Life::with(Rules { max_age_ms: Some(60_000), ..rules() });
    let old_at = life.connection.alarm(&life.context.at(life.context.now.after(50_000)));
    assert_eq!(old_at, life.context.now.after(10_000), "the read deadline comes first");
    life.passes(53_999).event().echoes(37);
    assert!(!life.connection.is_due(&life.context), "at least nine tenths of it");
    life.passes(6_001).rings();
    life.expires().is_told_unread(14).echoes(37).wants(Step::Discard).reads_blocked();
    life.shuts_down().reads_blocked().is_told_unacked(0).wants(Step::Wait);
    life.event().receives_fin().is_told_unacked(0).wants(Step::End);
    assert_eq!((life.verdict(0), life.connection.goodbye()), (Kind::LocalPolicy, Goodbye::Plain));
}

/// Regression: the moment of our FIN was kept in 32 bits, so after 60 days a wait of no time was
/// reported as one of ten days.
#[test]
fn a_wait_is_exact_after_any_age() {
    let mut life = Life::new();
    for years in [0, 1, 10, 1_000] {
        life.passes(years * 365 * 24 * 3_600_000);
        let mut other = Life::new();
        other.context.now = life.context.now;
        other.connection = Connection::new(7, life.connection.peer, &Life::new().context);
        other.event().receives_fin().shuts_down().passes(3);
        assert_eq!(other.connection.waited_ms(other.context.now), 3, "after {years} years");
    }
}

#[test]
fn the_drain_does_not_wait_for_a_newcomer_s_deadline() {
    let mut life = Life::new();
    life.context.drain_ends = Some(Moment::NEVER);
    assert!(life.connection.alarm(&life.context) <= life.context.now);
    assert!(life.connection.is_due(&life.context));
}
