//! Data that the peer sent after our FIN, and whether it knew of our FIN then.
//!
//! Bytes that are read after our FIN are no answer to it if they lay in the receive queue when it
//! was sent, or were on their way. So the queue is measured twice: before our FIN, and when the
//! peer's TCP is first seen to have acknowledged it. Bytes within the first measure arrived before
//! our FIN was sent, and do not count. Bytes beyond it most likely answer our FIN: an answer often
//! carries the acknowledgement itself. Where the first measure is unknown, bytes beyond the second
//! do. It is never certain: a segment that was sent before our FIN arrived, and was lost, arrives
//! after the acknowledgement of our FIN.

use super::{Bit, Observer, PackedError};
use crate::machine::close::Certainty;

impl Observer {
    /// So many bytes lie in the receive queue, and our FIN is sent next.
    pub(super) fn queue_before_fin(&mut self, unread: Option<u32>) {
        self.error = PackedError::with_queue(unread);
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

    /// Bytes were read that lay in the queue when it was measured.
    pub(super) fn read_from_queue(&mut self, bytes: usize) {
        if let Some(queue) = self.error.queue() {
            let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            self.error = PackedError::with_queue(Some(queue.saturating_sub(bytes)));
        }
    }

    /// Bytes were received when our FIN was out.
    pub(super) fn received_after_fin(&mut self, bytes: usize) {
        let Some(queue) = self.error.queue() else { return self.set(Bit::ReadAfterFin) };
        self.read_from_queue(bytes);
        if bytes as u64 > u64::from(queue) {
            let knows = self.has(Bit::PeerKnowsFin);
            self.set(if knows { Bit::ReceivedAfterAck } else { Bit::ReceivedAfterFin });
        }
    }

    /// How sure it is that the peer went on sending when its TCP had our FIN.
    pub(super) fn sent_on(&self) -> Option<Certainty> {
        let known = [
            (Bit::ReceivedAfterAck, Certainty::Likely),
            (Bit::ReceivedAfterFin, Certainty::Likely),
            (Bit::ReadAfterFin, Certainty::Unknown),
        ];
        known.into_iter().find(|(bit, _)| self.has(*bit)).map(|(_, certainty)| certainty)
    }
}
