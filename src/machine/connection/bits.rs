//! The small facts of a connection, a bit each: a million connections keep a million sets of them.

/// One fact.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Bit {
    /// A receive may give something: an event said so and no call has said otherwise.
    Readable,
    /// A send may take something, likewise.
    Writable,
    /// There will be no further edge: read until 0, an error or "would block".
    ReadsOn,
    /// SIOCOUTQ is to be asked.
    AskUnacked,
    /// Of the pending reply nothing was sent.
    ReplyUntouched,
    /// The system was short of memory: try again on the timer.
    RetryLater,
    /// The alarm may have become earlier.
    AlarmMoved,
    /// It may not wait for its evidence.
    MayNotWait,
    /// The stream is in the middle of a line.
    InsideLine,
    /// There are events for room to send.
    RegisteredWritable,
}

/// A set of [`Bit`]s in two bytes.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Bits(u16);

impl Bits {
    pub(super) fn has(self, bit: Bit) -> bool {
        self.0 & (1 << bit as u8) != 0
    }

    pub(super) fn set(&mut self, bit: Bit) {
        self.0 |= 1 << bit as u8;
    }

    pub(super) fn clear(&mut self, bit: Bit) {
        self.0 &= !(1 << bit as u8);
    }

    pub(super) fn put(&mut self, bit: Bit, value: bool) {
        if value { self.set(bit) } else { self.clear(bit) }
    }

    /// Clears the bit and says whether it was set.
    pub(super) fn take(&mut self, bit: Bit) -> bool {
        let had = self.has(bit);
        self.clear(bit);
        had
    }
}
