//! Data that the peer sent after our FIN.
//!
//! Bytes that are read after our FIN are no answer to it if they lay in the receive queue when it
//! was sent, so the queue is measured before. Bytes beyond it most likely answer our FIN. That is
//! never certain: they may have been on their way when our FIN was sent, or be a lost segment that
//! is sent again, and both can also arrive after the acknowledgement of our FIN.

use super::{Bit, Observer, PackedError};
use crate::machine::close::Certainty;

impl Observer {
    /// Records the length of the receive queue, in bytes, just before our FIN is sent.
    pub(super) fn queue_before_fin(&mut self, unread: Option<u32>) {
        self.error = PackedError::with_queue(unread);
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
            self.set(Bit::ReceivedAfterFin);
        }
    }

    /// How sure it is that the peer continued to send when its TCP had our FIN.
    pub(super) fn sent_on(&self) -> Option<Certainty> {
        if self.has(Bit::ReceivedAfterFin) {
            Some(Certainty::Likely)
        } else {
            self.has(Bit::ReadAfterFin).then_some(Certainty::Unknown)
        }
    }
}
