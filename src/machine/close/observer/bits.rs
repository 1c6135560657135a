//! The small facts of a connection and the reason of ours for its end, in two bytes.

use crate::machine::close::LocalCause;

/// One small fact.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Bit {
    /// The peer's FIN was spoken of, by an event or by a receive.
    FinHinted,
    /// A receive gave 0.
    FinReceived,
    /// Our FIN is out.
    FinSent,
    /// The kernel took bytes from us after the peer's FIN.
    SentAfterFin,
    /// Bytes were read after our FIN, and it is not known whether they came before it.
    ReadAfterFin,
    /// More bytes were read after our FIN than lay in the receive queue when it was sent.
    ReceivedAfterFin,
    /// Everything we sent is acknowledged, our FIN too.
    AllAcknowledged,
    /// There may be an error that no call has handed out.
    Suspect,
    /// Every byte that we sent is acknowledged, our FIN aside: that cannot be undone, so it is kept
    /// where a system tells it only while the connection lives.
    BytesAcknowledged,
}

/// A set of [`Bit`]s; the highest four bits are the cause, 0 for none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bits(u16);

const CAUSE_SHIFT: u32 = 12;
const _: () = assert!((Bit::BytesAcknowledged as u32) < CAUSE_SHIFT);
const _: () = assert!(LocalCause::ALL.len() < 1 << (u16::BITS - CAUSE_SHIFT));

impl Bits {
    pub(super) const NONE: Bits = Bits(0);

    pub(super) const fn has(self, bit: Bit) -> bool {
        self.0 & (1 << bit as u8) != 0
    }

    pub(super) const fn set(&mut self, bit: Bit) {
        self.0 |= 1 << bit as u8;
    }

    pub(super) const fn clear(&mut self, bit: Bit) {
        self.0 &= !(1 << bit as u8);
    }

    pub(super) const fn put(&mut self, bit: Bit, value: bool) {
        if value { self.set(bit) } else { self.clear(bit) }
    }

    pub(super) const fn cause(self) -> Option<LocalCause> {
        match (self.0 >> CAUSE_SHIFT) as usize {
            0 => None,
            number => Some(LocalCause::ALL[number - 1]),
        }
    }

    pub(super) const fn set_cause(&mut self, cause: Option<LocalCause>) {
        let number = match cause {
            None => 0,
            Some(cause) => cause as u16 + 1,
        };
        self.0 = self.0 & ((1 << CAUSE_SHIFT) - 1) | number << CAUSE_SHIFT;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_is_kept_beside_the_bits() {
        for (number, cause) in LocalCause::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, number);
            let mut bits = Bits::NONE;
            bits.set(Bit::BytesAcknowledged);
            bits.set_cause(Some(LocalCause::Close));
            bits.set_cause(Some(cause));
            assert_eq!((bits.cause(), bits.has(Bit::BytesAcknowledged)), (Some(cause), true));
            bits.set_cause(None);
            assert_eq!((bits.cause(), bits.has(Bit::BytesAcknowledged)), (None, true));
        }
    }
}
