//! Time as the machine knows it: a number that somebody else read off a clock.
//!
//! Nothing here reads a clock. `now` is an argument, so a test owns time.

/// A moment: whole milliseconds of a monotonic clock since a start that means nothing, rounded
/// down. 2^64 ms are 584 million years. (The ticks of the [`wheel`](super::wheel) are coarser: each
/// is as many of these as the grain of all deadlines.)
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Tick(u64);

impl Tick {
    /// Later than every moment: the deadline of whoever has none.
    pub const NEVER: Tick = Tick(u64::MAX);

    /// The moment `ms` milliseconds after the clock's start.
    pub const fn from_ms(ms: u64) -> Tick {
        Tick(ms)
    }

    /// Milliseconds since the clock's start.
    pub const fn as_ms(self) -> u64 {
        self.0
    }

    /// The moment `ms` milliseconds later, or [`Tick::NEVER`] where that is out of range.
    #[must_use]
    pub const fn after(self, ms: u64) -> Tick {
        Tick(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to here; 0 if that is not earlier.
    pub const fn since(self, earlier: Tick) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_passes_forwards_and_ends_at_never() {
        let now = Tick::from_ms(5);
        assert_eq!((now.after(3).since(now), now.since(now.after(3))), (3, 0));
        assert_eq!((now.after(u64::MAX), Tick::NEVER.as_ms()), (Tick::NEVER, u64::MAX));
    }
}
