//! What is reported to a connection: events, time, and what its steps came to.

use super::bits::Bit;
use super::{Connection, Context, Hints, Phase};
use crate::machine::close::{Acknowledged, LocalCause, Via};
use crate::machine::errno::{Errno, Meaning, System};
use crate::machine::time::Span;

impl Connection {
    // ---- events and time -----------------------------------------------------------------------

    /// An event came for this connection.
    pub fn ready(&mut self, hints: Hints) {
        // A socket that was not readable is not harmed by one more recv. A missed edge is for ever.
        self.bits.set(Bit::Readable);
        if !hints.no_room {
            self.bits.set(Bit::Writable);
        }
        if self.phase == Phase::Settling {
            self.bits.set(Bit::AskUnacked);
        }
        if hints.read_closed {
            self.seen.hints_fin();
        }
        if hints.error {
            self.seen.suspects();
        }
        // There will be no further edge for what lies behind a FIN, an error or the urgent mark.
        if hints.read_closed || hints.error || hints.priority {
            self.bits.set(Bit::ReadsOn);
        }
    }

    /// Its alarm rang. `true` if it is time indeed: then everything is tried once more before
    /// anything is decided, because bytes that came in time save a reader, and bytes that go out,
    /// or an acknowledgement, save a slow writer. `false` if the deadline has moved since.
    ///
    /// While output is pending the alarm rings four times as often as its deadline needs: progress
    /// that was seen only at the end would count from there, and a stall could last twice as long.
    pub fn alarm_rang(&mut self, context: &Context) -> bool {
        let tries_again = self.tries_again(context);
        if tries_again {
            self.bits.clear(Bit::RetryLater);
            self.bits.set(Bit::Readable);
            self.bits.set(Bit::ReadsOn); // an event that would say so may be under way
            self.bits.set(Bit::Writable);
            self.bits.set(Bit::AskUnacked);
        }
        tries_again
    }

    /// Whether [`alarm_rang`](Self::alarm_rang) would say that it is time.
    pub fn tries_again(&self, context: &Context) -> bool {
        self.bits.has(Bit::RetryLater) || !self.outbox.is_empty() || self.is_due(context)
    }

    /// Everything was tried and it [`is_due`](Self::is_due) still: its time is up.
    ///
    /// An end that has begun keeps its cause. The drain and its end decide those that are open.
    pub fn expire(&mut self, context: &Context) {
        let over = context.drain_is_over();
        let stalled = !self.outbox.is_empty() && (over || self.deadline <= context.now);
        let may_be_owed = self.bits.has(Bit::Readable) || !self.outbox.is_empty();
        match self.phase {
            Phase::Open | Phase::Leaving | Phase::Closing if stalled => {
                if over {
                    return self.cut_off();
                }
                self.seen.ends(Some(LocalCause::WriteDeadline)); // asked to leave or not
                self.phase = Phase::Ended;
            }
            Phase::Open if self.is_asked_to_leave(context) && may_be_owed && !over => {
                self.seen.ends(Some(context.leaving_cause()));
                self.phase = Phase::Leaving;
            }
            // Silence, or nothing that is owed an answer, or no time left to give it.
            Phase::Open | Phase::Leaving => {
                let leaves = self.is_asked_to_leave(context);
                let silence = LocalCause::ReadDeadline;
                let cause = if leaves { context.leaving_cause() } else { silence };
                self.seen.ends(self.seen.cause().or(Some(cause)));
                self.phase = Phase::Closing;
            }
            Phase::Settling => self.phase = Phase::Ended,
            Phase::Closing | Phase::Ended => {}
        }
    }

    /// The second signal, or the end of the drain: it has no more time. What had begun to end it
    /// stands.
    ///
    /// Where it had no FIN of ours its evidence is taken turns later, and what comes until then may
    /// answer the resets of others. So only a FIN or an error that was known before can have been
    /// first.
    pub fn cut_off(&mut self) {
        let is_known = self.seen.has_fin_hint() || self.seen.is_suspect();
        if matches!(self.phase, Phase::Open | Phase::Leaving) {
            self.seen.ends(Some(match self.seen.cause() {
                Some(LocalCause::MaxAge) if is_known => LocalCause::MaxAge,
                Some(LocalCause::MaxAge) => LocalCause::Policy,
                _ if is_known => LocalCause::Drain,
                _ => LocalCause::CutOff,
            }));
        }
        self.phase = Phase::Ended;
    }

    // ---- what the steps came to ----------------------------------------------------------------

    /// A receive gave `bytes` of the `space` it was offered.
    pub fn received(&mut self, bytes: usize, space: usize, context: &Context) {
        self.seen.received(bytes);
        self.bits.clear(Bit::RetryLater); // it is read only with nothing pending
        if bytes < space && context.rules.short_read_drains && !self.bits.has(Bit::ReadsOn) {
            self.bits.clear(Bit::Readable);
        }
        match self.phase {
            Phase::Open | Phase::Leaving if self.seen.rx() <= self.answers_until => {
                self.deadline = context.read_deadline();
            }
            // It came after the peer was asked to leave: there was no FIN, so we move first.
            Phase::Open | Phase::Leaving => self.phase = Phase::Closing,
            Phase::Closing | Phase::Settling | Phase::Ended => {}
        }
    }

    /// What SIOCINQ said as it was asked to leave: so many bytes are answered still. Where the
    /// system does not tell, those were answered that one visit could read.
    pub fn unread(&mut self, bytes: Option<u32>) {
        self.answers_until = self.seen.rx().saturating_add(u64::from(bytes.unwrap_or(0)));
    }

    /// Of the reply to what was received, the socket took the first `taken` bytes.
    pub fn answered(&mut self, reply: &[u8], taken: usize, context: &Context) {
        self.seen.sent(taken);
        if taken < reply.len() {
            self.outbox.fill(&reply[taken..]);
            self.bits.put(Bit::ReplyUntouched, taken == 0);
            self.bits.set(Bit::Writable); // a short write says nothing: the next one may block
            self.deadline = context.write_deadline();
            self.bits.set(Bit::AlarmMoved);
        }
    }

    /// The socket took `bytes` of the pending output.
    pub fn flushed(&mut self, bytes: usize, context: &Context) {
        self.seen.sent(bytes);
        self.outbox.advance(bytes);
        self.bits.clear(Bit::ReplyUntouched);
        if self.outbox.is_empty() && matches!(self.phase, Phase::Open | Phase::Leaving) {
            self.deadline = context.read_deadline();
            self.bits.set(Bit::AlarmMoved);
        } else {
            self.deadline = context.write_deadline();
        }
    }

    /// A send or receive would block: nothing until the next edge.
    pub fn blocked(&mut self, via: Via) {
        // A pending error would have come instead, so whatever an event said of one was wrong.
        self.seen.suspects_nothing();
        match via {
            Via::Send => {
                self.bits.clear(Bit::Writable);
                self.bits.clear(Bit::RetryLater); // a full socket, and no want of memory
                // How much lies in the socket now is what progress is measured against.
                if !self.seen.knows_unacked() {
                    self.bits.set(Bit::AskUnacked);
                }
            }
            Via::Recv | Via::SoError => {
                self.bits.clear(Bit::Readable);
                self.bits.clear(Bit::ReadsOn);
                self.bits.clear(Bit::RetryLater); // it is read only with nothing pending
            }
        }
    }

    /// There will be events for room to send from now on; or, if that could not be had, it is tried
    /// again in a while.
    ///
    /// They are asked for when a socket is full, and not when it is accepted: it has room then, so
    /// each newcomer would have an event that says nothing, and a receive in vain.
    pub fn registered_writable(&mut self, took: bool) {
        if took {
            self.bits.set(Bit::RegisteredWritable);
        } else {
            self.bits.set(Bit::RetryLater);
            self.bits.set(Bit::AlarmMoved);
        }
    }

    /// The peer's FIN: a receive gave 0.
    pub fn received_fin(&mut self) {
        self.seen.received_fin();
        match self.phase {
            Phase::Open | Phase::Leaving => {
                self.seen.ends(None); // asked to leave or not: it has moved first
                self.phase = Phase::Closing;
            }
            _ => self.bits.set(Bit::AskUnacked),
        }
    }

    /// A call failed. The first failure is the one that counts; being short of memory is none, and
    /// is tried again in a while, within the deadline.
    pub fn failed(&mut self, errno: Errno, via: Via, system: System) {
        if errno.meaning(system) == Meaning::NoMemory && via != Via::SoError {
            match via {
                Via::Send => self.blocked(via),      // progress is measured from here
                _ => self.bits.clear(Bit::Readable), // whether it reads on stays as it was
            }
            self.bits.set(Bit::RetryLater);
            self.bits.set(Bit::AlarmMoved);
            return;
        }
        self.seen.failed(errno, via);
        self.phase = Phase::Ended;
    }

    /// Our FIN went out, or could not: then a reset was here first, and SO_ERROR has it.
    pub fn shut_down(&mut self, took: bool, context: &Context) {
        if !took {
            self.seen.suspects();
            self.phase = Phase::Ended;
            return;
        }
        self.phase = Phase::Settling;
        self.answers_until = self.answers_until.min(self.seen.rx());
        self.fin_sent_after = Span::from_ms(context.now.since(self.accepted_at));
        self.seen.sent_fin();
        self.bits.set(Bit::AskUnacked); // on a near network it is often settled by now
        self.bits.set(Bit::Readable);
        self.bits.set(Bit::AlarmMoved);
        self.deadline = match context.drain_ends {
            Some(end) if self.seen.cause() == Some(LocalCause::Drain) => end,
            _ if context.may_wait && context.rules.verdict_wait_ms > 0 => {
                context.now.after(context.rules.verdict_wait_ms)
            }
            _ => {
                self.bits.set(Bit::MayNotWait);
                context.now
            }
        };
    }

    /// What SO_ERROR said.
    pub fn error_taken(&mut self, errno: Option<Errno>, system: System) {
        self.seen.suspects_nothing();
        if let Some(errno) = errno {
            self.failed(errno, Via::SoError, system);
        }
    }

    /// What SIOCOUTQ said: bytes unacknowledged, our FIN counting as one; `None` where the system
    /// does not tell.
    pub fn unacked(&mut self, bytes: Option<u32>, context: &Context) {
        self.bits.clear(Bit::AskUnacked);
        let told = self.seen.acknowledged(bytes);
        let progress = told == Acknowledged::More;
        if self.phase != Phase::Settling {
            if progress {
                self.deadline = context.write_deadline(); // slow, but it takes what we send
            }
            return;
        }
        if self.bits.has(Bit::MayNotWait) || told == Acknowledged::Settled {
            self.phase = Phase::Ended;
        } else if progress
            && bytes != Some(0)
            && !self.seen.has_fin()
            && self.seen.cause() != Some(LocalCause::Drain)
        {
            self.deadline = context.now.after(context.rules.verdict_wait_ms);
        }
    }

    // ---- our own reasons -----------------------------------------------------------------------

    /// Our own reason to end it at once: a limit, or a socket that cannot be registered.
    pub fn refuse(&mut self, cause: LocalCause) {
        self.seen.ends(Some(cause));
        self.phase = Phase::Ended;
    }

    /// Decides a connection that waits for its evidence now, by what is known.
    pub fn decide_now(&mut self) {
        if self.is_settling() {
            self.bits.set(Bit::MayNotWait);
            self.bits.set(Bit::AskUnacked);
        }
    }
}
