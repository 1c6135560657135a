//! Sequence numbers of TCP: 32 bits that wrap (RFC 9293, section 3.4).

/// A sequence number as it is on the wire.
///
/// Two of them are compared by the shorter way round, so the order is right as long as they are
/// less than 2^31 apart. A window is at most 2^30 bytes (RFC 7323, section 2.3), so it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Seq(pub u32);

impl Seq {
    /// How far this one is behind `other`: negative if it is before it.
    #[must_use]
    pub const fn since(self, other: Seq) -> i32 {
        self.0.wrapping_sub(other.0).cast_signed()
    }

    /// The sequence number `bytes` later.
    #[must_use]
    pub const fn plus(self, bytes: u32) -> Seq {
        Seq(self.0.wrapping_add(bytes))
    }

    /// Whether it comes before `other`.
    #[must_use]
    pub const fn is_before(self, other: Seq) -> bool {
        self.since(other) < 0
    }

    /// The place in the stream that has this sequence number and is nearest to `near`. Places count
    /// from the SYN of a stream, which is 0 and has the number `isn`, and do not wrap. It is
    /// negative for a number from before the SYN.
    #[must_use]
    pub const fn place(self, isn: Seq, near: u64) -> i64 {
        // Truncated on purpose: a sequence number is the place modulo 2^32.
        let here = isn.plus(near as u32);
        (near as i64).saturating_add(self.since(here) as i64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_order_holds_across_the_wrap() {
        let last = Seq(u32::MAX);
        assert!(last.is_before(last.plus(1)) && !last.plus(1).is_before(last));
        assert_eq!(last.plus(3).since(last), 3);
        assert_eq!(last.since(last.plus(3)), -3);
        assert!(!last.is_before(last));
    }

    #[test]
    fn places_go_on_beyond_four_gigabytes() {
        let isn = Seq(u32::MAX - 5);
        assert_eq!(isn.place(isn, 0), 0);
        assert_eq!(isn.plus(10).place(isn, 0), 10);
        let far = 5_416_666_670;
        assert_eq!(isn.plus(far as u32).plus(100).place(isn, far), far as i64 + 100);
        assert_eq!(isn.plus(far as u32).place(isn, far + 100), far as i64);
        assert_eq!(Seq(isn.0 - 7).place(isn, 0), -7);
    }

    proptest! {
        #[test]
        fn a_place_is_found_again(
            isn: u32,
            place in 0_u64..1 << 40,
            off in -1_000_000_i64..1_000_000,
        ) {
            let near = place.saturating_add_signed(off);
            prop_assert_eq!(Seq(isn).plus(place as u32).place(Seq(isn), near), place as i64);
        }
    }
}
