//! What is left to know and to do when a connection has ended.

use super::bits::Bit;
use super::{Connection, Goodbye, NOT_ASKED, Phase};
use crate::machine::close::{Evidence, FirstError, LocalCause, SocketFacts, Via};
use crate::machine::errno::{Errno, System};

impl Connection {
    /// Both FINs are in order and everything that we sent, ours too, is acknowledged: there is
    /// nothing left to ask.
    pub fn is_settled(&self) -> bool {
        self.bits.has(Bit::AllAcknowledged)
            && self.bits.has(Bit::FinReceived)
            && self.error_via.is_none()
    }

    /// Our FIN is out and the verdict is not.
    pub fn is_settling(&self) -> bool {
        self.phase == Phase::Settling
    }

    /// Whether a call has handed out an error.
    pub fn has_error(&self) -> bool {
        self.error_via.is_some()
    }

    /// Whether SO_ERROR may know of one: an event or a failed shutdown spoke of it.
    pub fn is_suspect(&self) -> bool {
        self.bits.has(Bit::Suspect)
    }

    /// Keeps an error, if it is the first.
    pub fn latch(&mut self, errno: Errno, via: Via) {
        if self.error_via.is_none() {
            self.errno = u16::try_from(errno.0).unwrap_or(0);
            self.error_via = Some(via);
        }
    }

    /// How its socket is to be closed.
    ///
    /// A reset is for peers from which nothing is to be expected: a stalled reader, one beyond a
    /// limit, one that does not acknowledge our FIN. Everywhere else it could cut off a reply that
    /// a slow peer is still taking. And where output never left us, a plain close would send a FIN
    /// and so claim that the reply was whole.
    pub fn goodbye(&self) -> Goodbye {
        if self.has_error() {
            return Goodbye::Plain;
        }
        if !self.outbox.is_empty() {
            return Goodbye::Reset;
        }
        let Some(cause) = self.cause else { return Goodbye::Plain };
        let fin_received = self.bits.has(Bit::FinReceived);
        // Where the system does not tell what is acknowledged, nothing speaks for a reset.
        let owes_nothing = self.bits.has(Bit::AllAcknowledged) || self.unacked == NOT_ASKED;
        let plain = match cause {
            LocalCause::WriteDeadline | LocalCause::Policy | LocalCause::Resource => false,
            LocalCause::ReadDeadline | LocalCause::MaxAge => {
                fin_received || owes_nothing || self.bits.has(Bit::Hurries)
            }
            LocalCause::Drain | LocalCause::CutOff => fin_received || self.bits.has(Bit::Hurries),
        };
        if plain { Goodbye::Plain } else { Goodbye::Reset }
    }

    /// All that is known at the end: this connection's own facts, what the system says of the
    /// socket, and how much SIOCOUTQ says is unacknowledged.
    pub fn evidence(&self, facts: &SocketFacts, unacked: Option<u32>, system: System) -> Evidence {
        let fin_sent = self.bits.has(Bit::FinSent);
        let unread = if self.bits.has(Bit::FinReceived) { Some(0) } else { facts.unread };
        let counted = facts.tcp.and_then(|tcp| tcp.bytes_received).zip(unread);
        let fin_received = match counted {
            _ if self.bits.has(Bit::FinReceived) => Some(true),
            // The FIN takes one place in the sequence, and TCP_INFO counts it as a byte.
            Some((received, unread)) => Some(received > self.rx + u64::from(unread)),
            None => None,
        };
        // These begin with our FIN. Until it is out the peer knows nothing of our intention: an
        // error before that is an end of its own, and so is its FIN, also one that waits behind a
        // reply that is stuck. Where it is requests that were left unanswered, we cut it off.
        let begins_with_fin = matches!(
            self.cause,
            Some(LocalCause::ReadDeadline | LocalCause::MaxAge | LocalCause::Drain)
        );
        let answered = unread == Some(0) || !self.outbox.is_empty();
        let parted_first = fin_received == Some(true) && answered;
        let forestalled = begins_with_fin && !fin_sent && (self.has_error() || parted_first);
        Evidence {
            system,
            cause: self.cause.filter(|_| !forestalled),
            error: self.error_via.map(|via| FirstError { errno: Errno(self.errno.into()), via }),
            fin_received,
            fin_sent,
            sent_after_fin: self.bits.has(Bit::SentAfterFin),
            rx: self.rx,
            discarded: self.rx.saturating_sub(self.answers_until),
            tx: self.tx,
            undelivered: unacked.map(|bytes| bytes.saturating_sub(u32::from(fin_sent))),
            fin_acknowledged: fin_sent && unacked == Some(0),
            unsent: self.outbox.len() as u64,
            reply_untouched: self.bits.has(Bit::ReplyUntouched),
            unread,
            retransmits: facts.tcp.map(|tcp| tcp.retransmits),
            probes: facts.tcp.map(|tcp| tcp.probes),
            last_ack_ms: facts.tcp.and_then(|tcp| tcp.last_ack_ms),
        }
    }
}
