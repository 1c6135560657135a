//! What the peer sent after our FIN, and whether it knew of it then.
//!
//! Bytes that are read after our FIN are no answer to it if they lay in the receive queue when it
//! went out, or were under way. So the queue is measured twice: before our FIN, and when the
//! peer's TCP is first seen to have acknowledged it. Bytes within the first measure came before our
//! FIN. Bytes beyond the second were sent by a TCP that had our FIN. Between the two either may be
//! true: an answer often brings the acknowledgement itself.

use super::{Bit, Observer, PackedError, Probe};
use crate::machine::close::{Certainty, LocalCause};

impl Observer {
    /// Call it before the program shuts down its writing side: asks what lies in the receive queue,
    /// so that it is not taken for an answer to our FIN. Where it was not called, or more than
    /// 16 KiB lie there, a peer that sends on is known as such only when it does so after its
    /// acknowledgement of our FIN was seen.
    pub fn before_shut_down<P: Probe>(&mut self, mut probe: P) {
        if !self.has(Bit::FinSent) && !self.has_error() {
            self.error = PackedError::with_queue(probe.facts().unread);
        }
    }

    /// Call it before each read that follows our FIN: asks whether the peer's TCP has acknowledged
    /// it, until it has. [`settle`](Self::settle) asks as well.
    pub fn before_read<P: Probe>(&mut self, mut probe: P) {
        if self.awaits_knowledge() && probe.unacked() == Some(0) {
            self.peer_knows_fin(probe.facts().unread);
        }
    }

    /// Whether it is of use to know that the peer has our FIN. Where the program did not shut down
    /// first, or had a reason of its own, what comes later changes no verdict.
    pub(super) fn awaits_knowledge(&self) -> bool {
        self.has(Bit::FinSent)
            && self.cause() == Some(LocalCause::Close)
            && !self.has(Bit::PeerKnowsFin)
            && !self.has(Bit::FinReceived)
            && !self.has_error()
    }

    /// Our FIN was acknowledged, and after that so many bytes lay in the receive queue.
    pub(super) fn peer_knows_fin(&mut self, unread: Option<u32>) {
        let Some(bytes) = unread else { return };
        if self.error.queue().is_some_and(|before| bytes > before) {
            self.set(Bit::ReceivedAfterFin);
        }
        self.error = PackedError::with_queue(unread);
        self.put(Bit::PeerKnowsFin, self.error.queue().is_some());
    }

    /// Bytes were received when our FIN was out.
    pub(super) fn received_after_fin(&mut self, bytes: usize) {
        let Some(queue) = self.error.queue() else { return self.set(Bit::ReadAfterFin) };
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.error = PackedError::with_queue(Some(queue.saturating_sub(bytes)));
        if bytes > queue {
            let knows = self.has(Bit::PeerKnowsFin);
            self.set(if knows { Bit::ReceivedAfterAck } else { Bit::ReceivedAfterFin });
        }
    }

    /// How sure it is that the peer went on sending when its TCP had our FIN.
    pub(super) fn sent_on(&self) -> Option<Certainty> {
        let known = [
            (Bit::ReceivedAfterAck, Certainty::Certain),
            (Bit::ReceivedAfterFin, Certainty::Likely),
            (Bit::ReadAfterFin, Certainty::Unknown),
        ];
        known.into_iter().find(|(bit, _)| self.has(*bit)).map(|(_, certainty)| certainty)
    }
}
