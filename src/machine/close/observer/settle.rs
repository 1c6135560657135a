//! The questions to the system when a connection has ended, and their order.

use std::time::Duration;

use super::{Acknowledged, Bit, Conclusion, Leftover, NOT_ASKED, Observer, Probe, Settling};
use crate::machine::close::{Evidence, LocalCause, SocketFacts, Via, classify};
use crate::machine::errno::System;

/// The first time that the system is asked again: on loopback it is settled by then.
const FIRST_LOOK: Duration = Duration::from_millis(1);

/// The longest time between two looks. Where the socket has events they come first.
const LONGEST_LOOK: Duration = Duration::from_millis(250);

impl Observer {
    /// Asks whether it is settled. Call it when the last call was made: after an error, or when our
    /// FIN is out. `waited` is how long ago that was; the longer it is, the less often the system
    /// has to be asked.
    ///
    /// It is for the caller to say how long it waits: [`conclude`](Self::conclude) ends the wait,
    /// by what is known then. A peer that acknowledges byte by byte makes `progress`, and may be
    /// given more time.
    pub fn settle<P: Probe>(&mut self, mut probe: P, waited: Duration) -> Settling {
        if self.has_error() {
            return Settling::Done(self.conclude(probe));
        }
        if self.is_suspect() {
            self.ask_error(&mut probe);
        }
        let told = self.acknowledged(probe.unacked());
        if self.has_error() || told == Acknowledged::Settled {
            return Settling::Done(self.conclude(probe));
        }
        if probe.facts().tcp.is_some_and(|tcp| tcp.closed) {
            return Settling::Done(self.conclude(probe));
        }
        // A quarter more each time: late by no more than a quarter, and seldom.
        let after = (waited / 4).clamp(FIRST_LOOK, LONGEST_LOOK);
        Settling::AskAgain { after, progress: told == Acknowledged::More }
    }

    /// Call it before the program shuts down its writing side: asks for the length of the receive
    /// queue, so that those bytes are not taken for an answer to our FIN. If it was not called, or
    /// if more than 16,382 bytes lie there, no byte is taken for one.
    pub fn before_shut_down<P: Probe>(&mut self, mut probe: P) {
        if !self.has(Bit::FinSent) && !self.has(Bit::FinReceived) && !self.has_error() {
            self.queue_before_fin(probe.facts().unread);
        }
    }

    /// What SIOCOUTQ said: bytes unacknowledged, our FIN counting as one; `None` where the system
    /// does not tell, and then there is nothing to wait for.
    pub fn acknowledged(&mut self, unacked: Option<u32>) -> Acknowledged {
        let before = self.unacked;
        self.unacked = unacked.unwrap_or(NOT_ASKED);
        let is_all = unacked == Some(0) && self.has(Bit::FinSent);
        self.put(Bit::AllAcknowledged, is_all);
        if unacked.is_some_and(|bytes| bytes <= u32::from(self.has(Bit::FinSent))) {
            self.set(Bit::BytesAcknowledged);
        }
        let is_told = is_all || unacked.is_none();
        if self.has(Bit::FinSent) && self.has(Bit::FinReceived) && is_told {
            Acknowledged::Settled
        } else if before != NOT_ASKED && unacked.is_some_and(|bytes| bytes < before) {
            Acknowledged::More
        } else {
            Acknowledged::NoMore
        }
    }

    /// How it ended, by what is known now.
    pub fn conclude<P: Probe>(&mut self, probe: P) -> Conclusion {
        self.conclude_with(probe, Leftover::default())
    }

    /// The same, with what the owner of the connection has left over.
    pub fn conclude_with<P: Probe>(&mut self, mut probe: P, leftover: Leftover) -> Conclusion {
        let (facts, unacked) = match self.is_settled() {
            true => (SocketFacts::SETTLED, Some(0)),
            false => (probe.facts(), probe.unacked().or(self.unacked_at_most())),
        };
        // SO_ERROR last, and only where there is reason: it also hands out errors of the network
        // that ended nothing.
        let is_closed = facts.tcp.is_some_and(|tcp| tcp.closed);
        if !self.has_error() && (self.is_suspect() || is_closed) {
            self.ask_error(&mut probe);
        }
        let evidence = self.evidence(&facts, unacked, leftover, probe.system());
        Conclusion { verdict: classify(&evidence), evidence }
    }

    /// What is left unacknowledged at most where the system does not tell any more, as macOS and
    /// the BSDs do not once the connection has ended: our FIN, if every byte was acknowledged
    /// before.
    fn unacked_at_most(&self) -> Option<u32> {
        self.has(Bit::BytesAcknowledged).then_some(u32::from(self.has(Bit::FinSent)))
    }

    fn ask_error<P: Probe>(&mut self, probe: &mut P) {
        self.clear(Bit::Suspect);
        if let Some(errno) = probe.take_error() {
            self.failed(errno, Via::SoError);
        }
    }

    /// All that is known: what calls came to, what the system says of the socket, and how much
    /// SIOCOUTQ says is unacknowledged.
    pub fn evidence(
        &self,
        facts: &SocketFacts,
        unacked: Option<u32>,
        leftover: Leftover,
        system: System,
    ) -> Evidence {
        let fin_sent = self.has(Bit::FinSent);
        let unread = if self.has(Bit::FinReceived) { Some(0) } else { facts.unread };
        let fin_received = self.fin_received(facts, unread);
        let is_forestalled =
            !fin_sent && self.is_forestalled(fin_received, unread, leftover.unsent);
        Evidence {
            system,
            cause: self.cause().filter(|_| !is_forestalled),
            error: self.error.get(),
            fin_received,
            fin_sent,
            sent_after_fin: self.has(Bit::SentAfterFin),
            received_after_fin: self.sent_on(),
            rx: self.rx,
            discarded: leftover.discarded,
            tx: self.tx,
            undelivered: unacked.map(|bytes| bytes.saturating_sub(u32::from(fin_sent))),
            fin_acknowledged: fin_sent && unacked == Some(0),
            unsent: leftover.unsent,
            reply_untouched: leftover.reply_untouched,
            unread,
            retransmits: facts.tcp.and_then(|tcp| tcp.retransmits),
            probes: facts.tcp.and_then(|tcp| tcp.probes),
            last_ack_ms: facts.tcp.and_then(|tcp| tcp.last_ack_ms),
        }
    }

    /// Whether the peer's FIN came. It takes one place in the sequence, and TCP_INFO counts it as a
    /// byte, also where a reset came behind it.
    fn fin_received(&self, facts: &SocketFacts, unread: Option<u32>) -> Option<bool> {
        if self.has(Bit::FinReceived) {
            return Some(true);
        }
        let received = facts.tcp.and_then(|tcp| tcp.bytes_received)?;
        Some(received > self.rx.saturating_add(u64::from(unread?)))
    }

    /// Whether the peer was there before our own reason to end it. These reasons begin with our
    /// FIN. Until it is out the peer knows nothing of our intention: an error before that is an end
    /// of its own, and so is its FIN, also one that waits behind a reply that is stuck. Where it is
    /// requests that were left unanswered, we cut it off.
    fn is_forestalled(&self, fin_received: Option<bool>, unread: Option<u32>, unsent: u64) -> bool {
        let begins_with_fin = self.cause().is_some_and(LocalCause::begins_with_fin);
        let is_answered = unread == Some(0) || unsent > 0;
        begins_with_fin && (self.has_error() || fin_received == Some(true) && is_answered)
    }
}
