//! How a connection handles reports, above all with output that a full socket left over.

use super::*;

/// Deadlines that can be told apart.
fn apart() -> Rules {
    Rules { read_deadline_ms: Some(10_000), write_deadline_ms: Some(4_000), ..rules() }
}

impl Life {
    fn facts(&self) -> Evidence {
        self.known(&SocketFacts::default(), None)
    }

    /// The socket takes `bytes` more.
    fn flushes(&mut self, bytes: usize) -> &mut Life {
        self.connection.flushed(bytes, &self.context);
        self
    }

    #[track_caller]
    fn is_due_in(&self, ms: u64) {
        let due = |ms| self.connection.is_due(&self.context.at(self.context.now.after(ms)));
        assert!(!due(ms - 1), "early");
        assert!(due(ms), "late");
    }
}

#[test]
fn a_read_that_fills_its_space_is_not_the_last() {
    let mut life = Life::new();
    life.event().wants(Step::Receive);
    life.connection.received(14, 14, &life.context);
    life.connection.answered(&[b'x'; 37], 37, &life.context);
    life.wants(Step::Receive);
}

#[test]
fn each_piece_that_goes_out_is_another_write_deadline_and_the_last_a_read_deadline() {
    let mut life = Life::with(apart());
    life.event().echoes(30).is_due_in(4_000);
    life.passes(1_000).flushes(3).is_due_in(4_000);
    life.passes(1_000).flushes(4).is_due_in(10_000);
}

#[test]
fn a_reply_is_untouched_until_a_byte_of_it_is_taken() {
    for (taken, untouched) in [(0, true), (1, false)] {
        let mut life = Life::new();
        life.event().echoes(taken);
        assert_eq!(life.facts().reply_untouched, untouched);
        assert!(!life.flushes(1).facts().reply_untouched);
    }
}

#[test]
fn a_half_closer_is_served_with_the_first_byte_that_is_taken() {
    let mut life = Life::new();
    life.fin_event().echoes(0);
    assert!(!life.facts().sent_after_fin);
    assert!(life.flushes(1).facts().sent_after_fin);
}

/// How much lies in the socket is asked for all the same: the write deadline goes on.
#[test]
fn a_send_that_is_short_of_memory_is_tried_again_and_measured() {
    let mut life = Life::with(apart());
    life.event().echoes(30).wants(Step::Send).is_short_of_memory(Via::Send);
    life.is_told_unacked(30).wants(Step::Wait);
    assert_eq!(life.connection.alarm(&life.context), life.context.now.after(20));
    life.is_due_in(4_000);
    life.passes(20);
    assert!(life.rings());
    life.wants(Step::Send);
}

/// The peer's FIN came first: what became of the reply is awaited as usual.
#[test]
fn a_peer_that_closes_first_is_not_kept_until_the_end_of_the_drain() {
    let mut life = Life::new();
    life.event().echoes(37);
    life.context.drain_ends = Some(life.context.now.after(3_600_000));
    life.fin_event().receives_fin().shuts_down().is_told_unacked(38);
    life.is_due_in(2_000);
}

#[test]
fn a_refused_connection_ends_at_once_with_a_reset() {
    for cause in [LocalCause::Policy, LocalCause::Resource] {
        let mut life = Life::new();
        life.connection.refuse(cause);
        life.wants(Step::End);
        assert_eq!((life.facts().cause, life.connection.goodbye()), (Some(cause), Goodbye::Reset));
    }
}

#[test]
fn only_a_connection_that_waits_for_evidence_is_decided_at_once() {
    let mut life = Life::new();
    life.event().echoes(37);
    life.connection.decide_now();
    life.wants(Step::Wait).fin_event().receives_fin().shuts_down().is_told_unacked(38);
    life.wants(Step::Wait).connection.decide_now();
    life.is_told_unacked(38).wants(Step::End);
}
