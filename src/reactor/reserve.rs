//! The memory that a reactor reserves, so that a server can check it first: if the system refuses
//! it to the reactor itself, the allocator ends the process.

use super::Reactor;
use super::table::Slot;
use crate::config::Config;
use crate::kernel::Kernel;
use crate::machine::wheel::TimerWheel;

/// Small parts without a size of their own here: the wheel's slots, lists of events.
const REST_BYTES: usize = 256 << 10;

impl<K: Kernel> Reactor<K> {
    /// The bytes that [`new`](Self::new) allocates for this configuration, rounded up: a slot for
    /// each connection in the table and in the wheel, and the shared buffers.
    pub fn bytes_reserved(config: &Config) -> usize {
        let slots = config.slots();
        let slot_bytes = size_of::<Slot<K::Socket>>() + TimerWheel::KEY_BYTES;
        let buffer_bytes = config.read_buffer_bytes.saturating_add(config.prefix.len());
        slots
            .saturating_mul(slot_bytes)
            .saturating_add(buffer_bytes.saturating_mul(2)) // `line` builds its replies in a second
            .saturating_add(REST_BYTES)
    }
}
