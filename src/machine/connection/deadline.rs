//! The deadlines of a connection, and the alarm at which the connection is checked.
//!
//! Each deadline is set in one place here. The table on [`Connection`] shows which one runs when.

use super::bits::{Bit, Phase};
use super::{Connection, Context, Rules};
use crate::machine::close::LocalCause;
use crate::machine::time::{Moment, Span};

impl Connection {
    // ---- deadlines are set ----------------------------------------------------------------------

    /// Silence counts from now.
    pub(super) fn set_read_deadline(&mut self, context: &Context) {
        self.set_deadline(after(context.rules.read_deadline_ms, context));
    }

    /// The time without progress of pending output counts from now.
    pub(super) fn set_write_deadline(&mut self, context: &Context) {
        self.set_deadline(after(context.rules.write_deadline_ms, context));
    }

    /// The wait for its evidence counts from now, unless it ends with the drain.
    pub(super) fn set_verdict_deadline(&mut self, context: &Context) {
        self.set_deadline(match context.drain_ends {
            Some(end) if self.seen.cause() == Some(LocalCause::Drain) => end,
            _ if self.bits.has(Bit::MayNotWait) => context.now,
            _ => context.now.after(context.rules.verdict_wait_ms),
        });
    }

    fn set_deadline(&mut self, at: Moment) {
        self.deadline_after = Span::between(self.accepted_at, at);
    }

    fn deadline(&self) -> Moment {
        self.deadline_after.end(self.accepted_at)
    }

    // ---- and tries before them ------------------------------------------------------------------

    /// While output is pending, a send is tried again, and progress is measured, four times per
    /// write deadline. Otherwise progress that was seen only at the end would count from there, and
    /// a stall could last twice as long.
    pub(super) fn look_at_output_later(&mut self, context: &Context) {
        let quarter_ms = context.rules.write_deadline_ms.map(|ms| (ms / 4).max(1));
        self.try_after = Span::between(self.accepted_at, after(quarter_ms, context));
    }

    /// The system was short of memory: it is tried again in a while.
    pub(super) fn retry_later(&mut self, context: &Context) {
        let retry = context.now.after(context.rules.retry_ms);
        let at = if self.outbox.is_empty() { retry } else { retry.min(self.next_try()) };
        self.try_after = Span::between(self.accepted_at, at);
        self.bits.set(Bit::RetryLater);
        self.bits.set(Bit::AlarmMoved);
    }

    /// When everything is tried again before the deadline; [`Moment::NEVER`] if there is no reason.
    fn next_try(&self) -> Moment {
        match self.bits.has(Bit::RetryLater) || !self.outbox.is_empty() {
            true => self.try_after.end(self.accepted_at),
            false => Moment::NEVER,
        }
    }

    // ---- the alarm ------------------------------------------------------------------------------

    /// When this connection must be checked again at the latest; [`Moment::NEVER`] if it has no
    /// deadline. It does not depend on `context.now`: it is the same moment until a fact is
    /// reported or the drain begins.
    pub fn alarm(&self, context: &Context) -> Moment {
        let leaves = match context.drain_ends {
            Some(_) if self.phase() == Phase::Open => Moment::from_ms(0), // at once
            Some(end) => end,
            None if self.phase() == Phase::Open => self.old_at(&context.rules),
            None => Moment::NEVER,
        };
        self.deadline().min(self.next_try()).min(leaves)
    }

    /// Whether [`alarm`](Self::alarm) may have become earlier since the last call. Reading and
    /// answering never do that, so a busy connection never touches the wheel.
    pub fn take_alarm_moved(&mut self) -> bool {
        self.bits.take(Bit::AlarmMoved)
    }

    /// Its alarm expired. Returns `true` if a deadline has passed: then everything is tried once
    /// more before anything is decided, because bytes that arrived in time save a reader, and bytes
    /// that are sent, or an acknowledgement, save a slow writer. `false` if the deadline has moved
    /// since.
    ///
    /// Afterwards the next [`alarm`](Self::alarm) is to be set.
    pub fn alarm_rang(&mut self, context: &Context) -> bool {
        if !self.alarm_is_due(context) {
            return false;
        }
        self.bits.clear(Bit::RetryLater);
        self.bits.set(Bit::Readable);
        self.bits.set(Bit::ReadUntilBlocked); // an event that would say so may be under way
        self.bits.set(Bit::Writable);
        self.bits.set(Bit::AskUnacked);
        self.look_at_output_later(context);
        true
    }

    /// Whether [`alarm_rang`](Self::alarm_rang) would return `true`.
    pub fn alarm_is_due(&self, context: &Context) -> bool {
        self.next_try() <= context.now || self.is_due(context)
    }

    /// Whether its time has passed: its deadline, or the moment at which it is asked to close.
    pub fn is_due(&self, context: &Context) -> bool {
        let leaves = self.phase() == Phase::Open && self.is_asked_to_leave(context);
        let due = self.deadline() <= context.now || leaves || context.drain_is_over();
        due && self.phase() != Phase::Ended
    }

    /// Everything was tried and it [`is_due`](Self::is_due) still: it ends.
    ///
    /// An end that has begun keeps its cause. The drain and its end decide open connections.
    pub fn expire(&mut self, context: &Context) {
        let over = context.drain_is_over();
        let stalled = !self.outbox.is_empty() && (over || self.deadline() <= context.now);
        let may_be_owed = self.bits.has(Bit::Readable) || !self.outbox.is_empty();
        match self.phase() {
            Phase::Open | Phase::Leaving | Phase::Closing if stalled => {
                if over {
                    return self.cut_off();
                }
                self.seen.ends(Some(LocalCause::WriteDeadline)); // asked to close or not
                self.bits.enter(Phase::Ended);
            }
            Phase::Open if self.is_asked_to_leave(context) && may_be_owed && !over => {
                self.seen.ends(Some(context.leaving_cause()));
                self.bits.enter(Phase::Leaving);
            }
            // Silence, or no answer is due, or no time is left for it.
            Phase::Open | Phase::Leaving => {
                let leaves = self.is_asked_to_leave(context);
                let silence = LocalCause::ReadDeadline;
                let cause = if leaves { context.leaving_cause() } else { silence };
                self.seen.ends(self.seen.cause().or(Some(cause)));
                self.bits.enter(Phase::Closing);
            }
            Phase::Settling => self.bits.enter(Phase::Ended),
            Phase::Closing | Phase::Ended => {}
        }
    }

    // ---- the drain and the greatest age ---------------------------------------------------------

    fn is_asked_to_leave(&self, context: &Context) -> bool {
        context.drain_ends.is_some() || self.old_at(&context.rules) <= context.now
    }

    /// When it is too old: at its greatest age, less up to a tenth of that. The tenth is cut by the
    /// connection's number, spread as Fibonacci hashing does it (Knuth, TAOCP 3, 6.4).
    fn old_at(&self, rules: &Rules) -> Moment {
        let Some(max_age_ms) = rules.max_age_ms else { return Moment::NEVER };
        let spread = self.id().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let early_ms = (u128::from(max_age_ms / 10) * u128::from(spread)) >> 32;
        self.accepted_at.after(max_age_ms - early_ms as u64)
    }
}

/// The moment in `ms` milliseconds; `None` is never.
fn after(ms: Option<u64>, context: &Context) -> Moment {
    ms.map_or(Moment::NEVER, |ms| context.now.after(ms))
}
