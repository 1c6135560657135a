//! What is known of a connection, above all when it has ended.

use super::*;
use crate::machine::close::TcpFacts;

impl Life {
    /// What is known if the system counts `received` bytes, of which `unread` were not read.
    fn evidence(&self, unacked: u32, received: Option<u64>, unread: u32) -> Evidence {
        let tcp = TcpFacts { bytes_received: received, ..TcpFacts::default() };
        let facts = SocketFacts { unread: Some(unread), tcp: Some(tcp) };
        self.known(&facts, Some(unacked))
    }

    /// The read deadline has passed and our FIN is out.
    fn falls_silent(&mut self) -> &mut Life {
        self.passes(10_000).rings();
        self.reads_blocked().expires().shuts_down().reads_blocked()
    }
}

#[test]
fn its_age_counts_from_accept_and_its_wait_from_our_fin() {
    let mut life = Life::new();
    life.passes(300).fin_event().receives_fin();
    assert_eq!(life.connection.waited_ms(life.context.now), 0);
    life.shuts_down().passes(40);
    let Life { connection, context: Context { now, .. } } = life;
    assert_eq!((connection.id(), connection.age_ms(now), connection.waited_ms(now)), (7, 340, 40));
}

#[test]
fn its_place_in_the_line_is_kept_from_read_to_read() {
    let mut life = Life::new();
    for inside in [false, true, false] {
        life.connection.set_inside_line(inside);
        assert_eq!(life.event().connection.inside_line(), inside);
    }
}

#[test]
fn bytes_are_counted_and_those_after_our_fin_apart() {
    let mut life = Life::new();
    life.event().echoes(37).event().echoes(30);
    life.connection.flushed(7, &life.context);
    life.falls_silent();
    for bytes in [5, 6] {
        life.event().wants(Step::Discard);
        life.connection.received(bytes, 65_536, &life.context);
    }
    let evidence = life.evidence(0, None, 0);
    assert_eq!((evidence.rx, evidence.discarded, evidence.tx), (28 + 11, 11, 74));
}

#[test]
fn it_settles_with_our_fin_and_is_settled_when_all_is_acknowledged_both_ways() {
    for (fin, unacked, fails, settled) in [
        (true, 0, false, true),
        (false, 0, false, false),
        (true, 1, false, false),
        (true, 0, true, false),
    ] {
        let mut life = Life::new();
        assert!(!life.connection.is_settling());
        if fin {
            life.event().receives_fin().shuts_down();
        } else {
            life.falls_silent();
        }
        assert!(life.connection.is_settling() && !life.connection.seen.is_settled());
        life.is_told_unacked(unacked);
        if fails {
            life.connection.seen.failed(ECONNRESET, Via::SoError);
        }
        assert_eq!(life.connection.seen.is_settled(), settled, "{fin} {unacked} {fails}");
        assert_eq!(life.connection.seen.has_error(), fails);
    }
}

/// So that SO_ERROR is asked when there is reason to, and no more.
#[test]
fn it_is_suspect_from_the_hint_of_an_error_until_a_call_has_none() {
    let mut life = Life::new();
    assert!(!life.event().connection.seen.is_suspect());
    life.connection.ready(Hints { error: true, ..Hints::default() });
    assert!(life.connection.seen.is_suspect());
    assert!(!life.reads_blocked().connection.seen.is_suspect());
}

// ---- how we part --------------------------------------------------------------------------------

/// A reset would cut off what a slow peer is still taking, so each of these is reason not to.
#[test]
fn a_silent_peer_is_reset_only_if_it_acknowledges_nothing_and_may_still_answer() {
    let mut deaf = Life::new();
    deaf.event().echoes(37).falls_silent().is_told_unacked(30).passes(2_000).expires();
    assert_eq!(deaf.connection.goodbye(), Goodbye::Reset);

    let mut closed = Life::new();
    closed.event().echoes(37).falls_silent().is_told_unacked(30).event().receives_fin();
    closed.is_told_unacked(30).passes(2_000).expires();
    assert_eq!(closed.connection.goodbye(), Goodbye::Plain, "its FIN came");

    let mut done = Life::new();
    done.event().echoes(37).falls_silent().is_told_unacked(0).passes(2_000).expires();
    assert_eq!(done.connection.goodbye(), Goodbye::Plain, "it has everything");

    let mut unknown = Life::new();
    unknown.event().echoes(37).falls_silent().wants(Step::AskUnacked);
    unknown.connection.unacked(None, &unknown.context);
    unknown.passes(2_000).expires();
    assert_eq!(unknown.connection.goodbye(), Goodbye::Plain, "it may have everything");

    let mut hurried = Life::new();
    hurried.context.may_wait = false;
    hurried.event().echoes(37).falls_silent().is_told_unacked(30).wants(Step::End);
    assert_eq!(hurried.connection.goodbye(), Goodbye::Plain, "it had no time");
}

// ---- the evidence -------------------------------------------------------------------------------

/// A FIN that was never read has its place in the sequence, and TCP_INFO counts it.
#[test]
fn a_fin_behind_unread_bytes_is_known_by_its_place() {
    let mut life = Life::new();
    life.event().echoes(37);
    for (received, fin) in
        [(Some(14 + 5 + 1), Some(true)), (Some(14 + 5), Some(false)), (None, None)]
    {
        assert_eq!(life.evidence(0, received, 5).fin_received, fin, "{received:?}");
    }
    life.event().receives_fin();
    assert_eq!(life.evidence(0, None, 5).fin_received, Some(true), "it was read");
}

#[test]
fn our_fin_counts_as_a_byte_until_it_is_acknowledged() {
    let mut life = Life::new();
    life.event().echoes(37);
    for (unacked, undelivered) in [(3, Some(3)), (0, Some(0))] {
        let evidence = life.evidence(unacked, None, 0);
        assert_eq!((evidence.undelivered, evidence.fin_acknowledged), (undelivered, false));
    }
    life.event().receives_fin().shuts_down();
    for (unacked, undelivered, acknowledged) in [(4, 3, false), (1, 0, false), (0, 0, true)] {
        let evidence = life.evidence(unacked, None, 0);
        assert_eq!(evidence.undelivered, Some(undelivered));
        assert_eq!(evidence.fin_acknowledged, acknowledged);
    }
}

/// Until our FIN is out the peer knows nothing of our intention.
#[test]
fn a_reset_is_the_peer_s_end_if_our_fin_was_not_out() {
    let mut life = Life::new();
    life.context.drain_ends = Some(life.context.now.after(5_000));
    life.rings();
    life.reads_blocked().expires().wants(Step::ShutDown); // decided on, and not done
    assert_eq!(life.evidence(30, None, 0).cause, Some(LocalCause::Drain));
    life.connection.seen.failed(ECONNRESET, Via::Send);
    assert_eq!(life.evidence(30, None, 0).cause, None);

    let mut after = Life::new();
    after.falls_silent().connection.seen.failed(ECONNRESET, Via::Recv);
    assert_eq!(after.evidence(1, None, 0).cause, Some(LocalCause::ReadDeadline));
}
