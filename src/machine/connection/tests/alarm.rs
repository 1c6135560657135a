//! The alarm: an absolute moment, fixed by the fact that is its reason.

use super::*;

impl Life {
    /// Its alarm is `ms` from now, and is the same moment however late it is asked for.
    #[track_caller]
    fn alarm_is_in(&self, ms: u64) {
        let at = self.context.now.after(ms);
        for asked_after_ms in [0, 1, ms, ms + 1, 1_000_000] {
            let later = self.context.at(self.context.now.after(asked_after_ms));
            let alarm = self.connection.alarm(&later);
            assert_eq!(alarm, at, "{ms} ms, asked for {asked_after_ms} ms later");
        }
    }

    pub(super) fn is_short_of_memory(&mut self, via: Via) -> &mut Life {
        self.connection.failed(ENOBUFS, via, LINUX, &self.context);
        self
    }
}

/// Regression: the alarm was counted from the moment of the call, so it moved with each call.
#[test]
fn a_retry_is_fixed_when_a_call_was_short_of_memory() {
    let mut reads = Life::new();
    reads.event().wants(Step::Receive).is_short_of_memory(Via::Recv).alarm_is_in(20);
    reads.passes(15).alarm_is_in(5);
    reads.event().wants(Step::Receive).is_short_of_memory(Via::Recv).alarm_is_in(20);

    let mut sends = Life::new();
    sends.event().echoes(30).wants(Step::Send).is_short_of_memory(Via::Send).alarm_is_in(20);
    sends.is_told_unacked(30).wants(Step::Wait).passes(15).alarm_is_in(5);
}

/// Regression: as above.
#[test]
fn a_retry_is_fixed_when_events_for_room_could_not_be_had() {
    let mut life = Life::new();
    life.event().echoes(30).connection.blocked(Via::Send);
    life.is_told_unacked(30).passes(100).wants(Step::RegisterWritable);
    life.connection.registered_writable(false, &life.context);
    life.alarm_is_in(20);
    life.passes(15).alarm_is_in(5);
}

/// Regression: as above.
#[test]
fn a_look_at_pending_output_is_fixed_when_it_begins_and_when_the_last_one_was_taken() {
    let mut life = Life::new();
    life.event().echoes(30).alarm_is_in(2_500);
    life.passes(1_000).wants(Step::Send).connection.blocked(Via::Send);
    life.is_told_unacked(30).registered_writable().alarm_is_in(1_500);
    life.passes(1_500);
    assert!(life.rings());
    life.wants(Step::Send).connection.blocked(Via::Send);
    life.is_told_unacked(30).alarm_is_in(2_500);
}

/// Regression: each alarm tried everything again while output was pending, whatever it had been set
/// for.
#[test]
fn an_alarm_that_rings_early_tries_nothing_and_moves_nothing() {
    let mut life = Life::new();
    life.event().echoes(30).connection.blocked(Via::Send);
    life.is_told_unacked(30).registered_writable().passes(2_499);
    assert!(!life.rings());
    life.wants(Step::Wait).alarm_is_in(1);
}

/// The drain does not count from the moment at which it is looked at either.
#[test]
fn in_the_drain_it_is_asked_at_once_and_then_at_the_end() {
    let mut life = Life::new();
    life.context.drain_ends = Some(life.context.now.after(5_000));
    assert_eq!(life.connection.alarm(&life.context), Moment::from_ms(0));
    assert!(life.rings());
    life.expires().is_told_unread(0).wants(Step::Discard).alarm_is_in(5_000);
}

/// A span of six bytes has an end, and a deadline that lies beyond it has none.
#[test]
fn deadlines_are_exact_for_a_thousand_years_and_may_be_off() {
    const THOUSAND_YEARS_MS: u64 = 1_000 * 365 * 24 * 3_600_000;
    let mut life = Life::new();
    life.passes(THOUSAND_YEARS_MS).event().echoes(37).alarm_is_in(10_000);

    let off = Rules { read_deadline_ms: None, write_deadline_ms: None, ..rules() };
    let mut life = Life::with(off);
    assert_eq!(life.connection.alarm(&life.context), Moment::NEVER);
    life.event().echoes(30);
    assert_eq!(life.connection.alarm(&life.context), Moment::NEVER);
    life.wants(Step::Send).is_short_of_memory(Via::Send).alarm_is_in(20);
}
