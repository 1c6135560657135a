//! Reports to a connection: events, time, and the results of its steps.

use super::bits::Bit;
use super::{Connection, Context, Hints, Phase};
use crate::machine::close::{Acknowledged, LocalCause, Via};
use crate::machine::errno::{Errno, Meaning, System};
use crate::machine::time::Span;

impl Connection {
    // ---- events and time -----------------------------------------------------------------------

    /// An event came for this connection.
    pub fn ready(&mut self, hints: Hints) {
        // One more recv on a socket that is not readable does no harm; a missed edge never comes
        // again.
        self.bits.set(Bit::Readable);
        if !hints.no_room {
            self.bits.set(Bit::Writable);
        }
        if self.phase() == Phase::Settling {
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
            self.bits.set(Bit::ReadUntilBlocked);
        }
    }

    /// The second signal, or the end of the drain: the connection has no more time. An end that had
    /// begun keeps its cause.
    ///
    /// Without a FIN of ours, its evidence is read some turns later, and what arrives until then
    /// may answer resets of other connections. So only a FIN or an error that was known before can
    /// have been first.
    pub fn cut_off(&mut self) {
        let is_known = self.seen.has_fin_hint() || self.seen.is_suspect();
        if matches!(self.phase(), Phase::Open | Phase::Leaving) {
            self.seen.ends(Some(match self.seen.cause() {
                Some(LocalCause::MaxAge) if is_known => LocalCause::MaxAge,
                Some(LocalCause::MaxAge) => LocalCause::Policy,
                _ if is_known => LocalCause::Drain,
                _ => LocalCause::CutOff,
            }));
        }
        self.bits.enter(Phase::Ended);
    }

    // ---- results of the steps -------------------------------------------------------------------

    /// A receive returned `bytes` of the `space` that it was offered.
    pub fn received(&mut self, bytes: usize, space: usize, context: &Context) {
        self.seen.received(bytes);
        self.bits.clear(Bit::RetryLater); // it is read only with nothing pending
        if bytes < space && context.rules.short_read_drains && !self.bits.has(Bit::ReadUntilBlocked)
        {
            self.bits.clear(Bit::Readable);
        }
        match self.phase() {
            Phase::Open | Phase::Leaving if self.seen.rx() <= self.answer_limit => {
                self.set_read_deadline(context);
            }
            // It arrived after the connection was asked to close: there was no FIN, so our side is
            // first.
            Phase::Open | Phase::Leaving => self.bits.enter(Phase::Closing),
            Phase::Closing | Phase::Settling | Phase::Ended => {}
        }
    }

    /// The result of SIOCINQ when it was asked to close: this many bytes are still answered. If the
    /// system does not report it, what one visit could read was answered.
    pub fn unread(&mut self, bytes: Option<u32>) {
        self.answer_limit = self.seen.rx().saturating_add(u64::from(bytes.unwrap_or(0)));
    }

    /// Of the reply to what was received, the socket took the first `taken` bytes.
    pub fn answered(&mut self, reply: &[u8], taken: usize, context: &Context) {
        self.seen.sent(taken);
        if taken < reply.len() {
            self.outbox.fill(&reply[taken..]);
            self.bits.put(Bit::ReplyUntouched, taken == 0);
            self.bits.set(Bit::Writable); // after a short write the next one may still take bytes
            self.set_write_deadline(context);
            self.look_at_output_later(context);
            self.bits.set(Bit::AlarmMoved);
        }
    }

    /// The socket took `bytes` of the pending output.
    pub fn flushed(&mut self, bytes: usize, context: &Context) {
        self.seen.sent(bytes);
        self.outbox.advance(bytes);
        self.bits.clear(Bit::ReplyUntouched);
        if self.outbox.is_empty() {
            self.set_read_deadline(context);
            self.bits.set(Bit::AlarmMoved);
        } else {
            self.set_write_deadline(context);
        }
    }

    /// A send or receive would block: wait for the next edge.
    pub fn blocked(&mut self, via: Via) {
        // A pending error would have been returned instead, so there is none, whatever an event
        // reported.
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
                self.bits.clear(Bit::ReadUntilBlocked);
                self.bits.clear(Bit::RetryLater); // it is read only with nothing pending
            }
        }
    }

    /// Events for room to send are registered from now on; or, if the system refused that, it is
    /// tried again later.
    ///
    /// They are registered when a socket is full, and not when it is accepted: it has room then, so
    /// each new connection would get a useless event and a receive that returns nothing.
    pub fn registered_writable(&mut self, took: bool, context: &Context) {
        if took {
            self.bits.set(Bit::RegisteredWritable);
        } else {
            self.retry_later(context);
        }
    }

    /// The peer's FIN: a receive returned 0.
    pub fn received_fin(&mut self) {
        self.seen.received_fin();
        match self.phase() {
            Phase::Open | Phase::Leaving => {
                self.seen.ends(None); // whether or not it was asked to close: the peer was first
                self.bits.enter(Phase::Closing);
            }
            _ => self.bits.set(Bit::AskUnacked),
        }
    }

    /// A call failed. The first failure counts. Lack of memory is not one: the call is tried again
    /// later, within the deadline.
    pub fn failed(&mut self, errno: Errno, via: Via, system: System, context: &Context) {
        if errno.meaning(system) == Meaning::NoMemory && via != Via::SoError {
            match via {
                Via::Send => self.blocked(via),      // progress is measured from here
                _ => self.bits.clear(Bit::Readable), // `ReadUntilBlocked` stays as it was
            }
            return self.retry_later(context);
        }
        self.ended_by(errno, via);
    }

    fn ended_by(&mut self, errno: Errno, via: Via) {
        self.seen.failed(errno, via);
        self.bits.enter(Phase::Ended);
    }

    /// Our FIN was sent, or could not be: then a reset arrived first, and SO_ERROR has it.
    pub fn shut_down(&mut self, took: bool, context: &Context) {
        if !took {
            self.seen.suspects();
            self.bits.enter(Phase::Ended);
            return;
        }
        self.bits.enter(Phase::Settling);
        self.answer_limit = self.answer_limit.min(self.seen.rx());
        self.fin_sent_after = Span::from_ms(context.now.since(self.accepted_at));
        self.seen.sent_fin();
        self.bits.set(Bit::AskUnacked); // on a near network it is often acknowledged by now
        self.bits.set(Bit::Readable);
        self.bits.set(Bit::AlarmMoved);
        let drains = self.seen.cause() == Some(LocalCause::Drain); // it has until the drain's end
        let may_wait = context.may_wait && context.rules.verdict_wait_ms > 0;
        self.bits.put(Bit::MayNotWait, !(drains || may_wait));
        self.set_verdict_deadline(context);
    }

    /// The result of SO_ERROR.
    pub fn error_taken(&mut self, errno: Option<Errno>) {
        self.seen.suspects_nothing();
        if let Some(errno) = errno {
            self.ended_by(errno, Via::SoError);
        }
    }

    /// The result of SIOCOUTQ: bytes unacknowledged, our FIN counting as one; `None` if the system
    /// does not report it.
    pub fn unacked(&mut self, bytes: Option<u32>, context: &Context) {
        self.bits.clear(Bit::AskUnacked);
        let told = self.seen.acknowledged(bytes);
        let progress = told == Acknowledged::More;
        if self.phase() != Phase::Settling {
            if progress {
                self.set_write_deadline(context); // slow, but it takes what we send
            }
        } else if self.bits.has(Bit::MayNotWait) || told == Acknowledged::Settled {
            self.bits.enter(Phase::Ended);
        } else if progress && bytes != Some(0) && !self.seen.has_fin() {
            self.set_verdict_deadline(context);
        }
    }

    // ---- ends that this side decides -----------------------------------------------------------

    /// Our own reason to end it at once: a limit, or a socket that cannot be registered.
    pub fn refuse(&mut self, cause: LocalCause) {
        self.seen.ends(Some(cause));
        self.bits.enter(Phase::Ended);
    }

    /// Decides a connection that waits for its evidence now, by what is known.
    pub fn decide_now(&mut self) {
        if self.is_settling() {
            self.bits.set(Bit::MayNotWait);
            self.bits.set(Bit::AskUnacked);
        }
    }
}
