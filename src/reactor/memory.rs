//! Output memory: a limit on the memory of all pending replies, and its return to the system.

use super::Reactor;
use crate::kernel::Kernel;
use crate::machine::time::Moment;

/// Each reply may take at most one part in this number of what is left below the limit. So the sum
/// only approaches the limit, however many peers do not read.
const PARTS_OF_WHAT_IS_LEFT: u64 = 16;

/// Memory is returned when this much of it is free, in bytes. Less is not worth a call that may
/// take milliseconds.
const WORTH_GIVING_BACK_BYTES: u64 = 16 << 20;

/// It must also have been free for this long, in milliseconds: peers that read now and then would
/// take it again.
const FREE_FOR_MS: u64 = 2_000;

/// How long the system may take for that, in milliseconds, before the table is reserved again.
const GIVING_BACK_MS: u64 = 1_000;

/// Accounts for the memory of all outboxes.
#[derive(Debug)]
pub(super) struct OutputMemory {
    bytes_max: u64,
    bytes: u64,
    /// The maximum since memory was last returned.
    peak_bytes: u64,
    /// Memory is being returned.
    gives_back: bool,
    /// When the next step of that is due.
    next_step_at: Option<Moment>,
}

/// The next step of returning memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum MemoryStep {
    GiveBack,
    /// Memory was returned: reserve the table again.
    Reserve,
}

impl OutputMemory {
    pub(super) fn new(bytes_max: Option<u64>) -> OutputMemory {
        let bytes_max = bytes_max.unwrap_or(u64::MAX);
        OutputMemory { bytes_max, bytes: 0, peak_bytes: 0, gives_back: false, next_step_at: None }
    }

    /// An outbox had `before` bytes and has `after` now.
    pub(super) fn changed(&mut self, before: usize, after: usize) {
        self.bytes = (self.bytes + after as u64).saturating_sub(before as u64);
        self.peak_bytes = self.peak_bytes.max(self.bytes);
    }

    /// The longest reply that may be created now, in bytes.
    pub(super) fn reply_bytes(&self) -> usize {
        let left = self.bytes_max.saturating_sub(self.bytes) / PARTS_OF_WHAT_IS_LEFT;
        usize::try_from(left).unwrap_or(usize::MAX)
    }

    /// The step that is due: memory is returned once most of it has been free for a while.
    fn next_step(&mut self, now: Moment) -> Option<MemoryStep> {
        let free = self.peak_bytes - self.bytes;
        let worth = free >= WORTH_GIVING_BACK_BYTES && self.bytes <= self.peak_bytes / 8;
        if !worth && !self.gives_back {
            self.next_step_at = None;
            return None;
        }
        let at = *self.next_step_at.get_or_insert(now.after(FREE_FOR_MS));
        if now < at {
            return None;
        }
        self.gives_back = !self.gives_back;
        if self.gives_back {
            (self.peak_bytes, self.next_step_at) = (self.bytes, Some(now.after(GIVING_BACK_MS)));
            return Some(MemoryStep::GiveBack);
        }
        self.next_step_at = None;
        Some(MemoryStep::Reserve)
    }

    /// When the next step may be due.
    pub(super) fn next_step_at(&self) -> Option<Moment> {
        self.next_step_at
    }
}

impl<K: Kernel> Reactor<K> {
    /// Returns memory that outboxes have used to the system, and with it other free memory: that of
    /// the queues, and of the table if it is empty.
    pub(super) fn give_back_memory(&mut self) {
        match self.output.next_step(self.context.now) {
            None => {}
            Some(MemoryStep::GiveBack) => {
                self.table.shrink();
                self.wheel.shrink();
                self.endings.shrink_to_fit();
                self.events.shrink_to_fit();
                self.kernel.give_back_memory();
            }
            // Only now: earlier, they would lie in pages that are in use.
            Some(MemoryStep::Reserve) => {
                self.table.reserve();
                self.wheel.reserve(self.config.slots());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn replies_shrink_as_the_cap_comes_near_and_never_pass_it() {
        let mut output = OutputMemory::new(Some(64 * MIB));
        let mut outboxes = 0;
        while output.reply_bytes() > 256 {
            output.changed(0, output.reply_bytes().min(65_559));
            outboxes += 1;
        }
        assert!(output.bytes <= 64 * MIB && output.bytes > 63 * MIB, "{}", output.bytes);
        assert!(outboxes > 1_000, "one peer cannot take it all: {outboxes}");
        assert_eq!(OutputMemory::new(None).reply_bytes() as u64, u64::MAX / 16);
    }

    #[test]
    fn memory_goes_back_once_when_it_has_been_free_for_a_while() {
        let mut output = OutputMemory::new(None);
        let now = Moment::from_ms(5_000);
        output.changed(0, 100 << 20);
        assert_eq!((output.next_step(now), output.next_step_at()), (None, None), "it is in use");
        output.changed(100 << 20, 1 << 20);
        assert_eq!(output.next_step(now), None, "peers may take it again");
        assert_eq!(output.next_step_at(), Some(now.after(FREE_FOR_MS)));
        output.changed(0, 60 << 20);
        let later = now.after(FREE_FOR_MS);
        assert_eq!((output.next_step(later), output.next_step_at()), (None, None));
        output.changed(60 << 20, 0);
        assert_eq!(output.next_step(later), None);
        let at = later.after(FREE_FOR_MS);
        assert_eq!(output.next_step(at), Some(MemoryStep::GiveBack));
        assert_eq!((output.next_step(at), output.next_step_at()), (None, Some(at.after(1_000))));
        output.changed(0, 60 << 20); // it is ended all the same
        assert_eq!(output.next_step(at.after(1_000)), Some(MemoryStep::Reserve));
        assert_eq!(
            (output.next_step(at.after(60_000)), output.next_step_at()),
            (None, None),
            "once"
        );
    }

    #[test]
    fn little_is_not_worth_giving_back() {
        let mut output = OutputMemory::new(None);
        output.changed(0, 15 << 20);
        output.changed(15 << 20, 0);
        assert_eq!((output.next_step(Moment::from_ms(0)), output.next_step_at()), (None, None));
    }
}
