//! The small facts of a connection, one bit each, and its phase: a server with a million
//! connections stores a million of these.

/// One fact.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Bit {
    /// A receive may return something: an event reported it and no call has contradicted it.
    Readable,
    /// A send may take something; likewise.
    Writable,
    /// There will be no further edge: it is read until 0, an error or "would block".
    ReadUntilBlocked,
    /// SIOCOUTQ is to be asked.
    AskUnacked,
    /// Nothing of the pending reply was sent.
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

/// The phase of a connection. It takes three bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Phase {
    /// Reading and answering.
    Open,
    /// Asked to close: what had arrived by then is read and answered, then our FIN is sent.
    Leaving,
    /// No longer reading; our FIN follows the pending output.
    Closing,
    /// Our FIN was sent; what became of the reply is not known yet.
    Settling,
    Ended,
}

/// A set of [`Bit`]s, and a [`Phase`] in the top three, in two bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bits(u16);

/// The lowest bit of the phase.
const PHASE: u32 = 13;
const _: () = assert!((Bit::RegisteredWritable as u32) < PHASE, "a bit lies in the phase");

impl Bits {
    /// An open connection about which nothing is known.
    pub(super) const OPEN: Bits = Bits((Phase::Open as u16) << PHASE);

    pub(super) fn phase(self) -> Phase {
        match self.0 >> PHASE {
            0 => Phase::Open,
            1 => Phase::Leaving,
            2 => Phase::Closing,
            3 => Phase::Settling,
            _ => Phase::Ended,
        }
    }

    pub(super) fn enter(&mut self, phase: Phase) {
        self.0 = self.0 & !(7 << PHASE) | (phase as u16) << PHASE;
    }

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

    /// Clears the bit and returns whether it was set.
    pub(super) fn take(&mut self, bit: Bit) -> bool {
        let had = self.has(bit);
        self.clear(bit);
        had
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_and_bits_do_not_touch_each_other() {
        let mut bits = Bits::OPEN;
        assert_eq!(bits.phase(), Phase::Open);
        bits.set(Bit::Readable);
        bits.set(Bit::RegisteredWritable);
        for phase in [Phase::Ended, Phase::Leaving, Phase::Settling, Phase::Closing, Phase::Open] {
            bits.enter(phase);
            assert_eq!(bits.phase(), phase);
            assert!(bits.has(Bit::Readable) && bits.has(Bit::RegisteredWritable));
            assert!(!bits.has(Bit::Writable) && !bits.has(Bit::InsideLine));
        }
        assert!(bits.take(Bit::Readable) && !bits.has(Bit::Readable));
    }
}
