//! Moments and spans in milliseconds. Time is a number that the caller has read off a clock.
//!
//! Nothing here reads a clock. `now` is an argument, so a test controls time.

use super::u48::U48;

/// A moment: whole milliseconds of a monotonic clock since an arbitrary start, rounded down. 2^64
/// ms are 584 million years. (The ticks of the [`wheel`](super::wheel) are coarser: each is as many
/// milliseconds as the resolution of all deadlines.)
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Moment(u64);

impl Moment {
    /// Later than every moment: the deadline of a connection that has none.
    pub const NEVER: Moment = Moment(u64::MAX);

    /// The moment `ms` milliseconds after the clock's start.
    pub const fn from_ms(ms: u64) -> Moment {
        Moment(ms)
    }

    /// Milliseconds since the clock's start.
    pub const fn as_ms(self) -> u64 {
        self.0
    }

    /// The moment `ms` milliseconds later, or [`Moment::NEVER`] where that is out of range.
    #[must_use]
    pub const fn after(self, ms: u64) -> Moment {
        Moment(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to here; 0 if that is not earlier.
    pub const fn since(self, earlier: Moment) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A number of milliseconds in six bytes: 2^48 ms are 8,900 years. More than that counts as
/// [`Span::ENDLESS`].
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Span(U48);

impl Span {
    /// Longer than every other span: from any moment to [`Moment::NEVER`].
    pub const ENDLESS: Span = Span::from_ms(u64::MAX);

    /// A span of `ms` milliseconds.
    pub const fn from_ms(ms: u64) -> Span {
        Span(U48::new(ms))
    }

    /// The span from `start` to `end`; an empty one if `end` is not later.
    pub const fn between(start: Moment, end: Moment) -> Span {
        Span::from_ms(end.since(start))
    }

    /// Its length in milliseconds.
    pub const fn as_ms(self) -> u64 {
        self.0.get()
    }

    /// When it ends, if it begins at `start`.
    pub const fn end(self, start: Moment) -> Moment {
        match self.as_ms() {
            U48::MAX => Moment::NEVER,
            ms => start.after(ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_passes_forwards_and_ends_at_never() {
        let now = Moment::from_ms(5);
        assert_eq!((now.after(3).since(now), now.since(now.after(3))), (3, 0));
        assert_eq!((now.after(u64::MAX), Moment::NEVER.as_ms()), (Moment::NEVER, u64::MAX));
    }

    #[test]
    fn a_span_is_exact_for_thousands_of_years() {
        assert_eq!(size_of::<Span>(), 6);
        const TEN_YEARS_MS: u64 = 10 * 365 * 24 * 3_600_000;
        for ms in [0, 1, 65_535, 65_536, 1 << 32, TEN_YEARS_MS, (1 << 48) - 1] {
            assert_eq!(Span::from_ms(ms).as_ms(), ms);
        }
        assert_eq!(Span::from_ms(u64::MAX).as_ms(), (1 << 48) - 1);
    }

    #[test]
    fn a_span_lies_between_two_moments_or_has_no_end() {
        let start = Moment::from_ms((1 << 60) + 7);
        for end in [start, start.after(1), start.after((1 << 48) - 2), Moment::NEVER] {
            assert_eq!(Span::between(start, end).end(start), end);
        }
        assert_eq!(Span::between(start, Moment::from_ms(5)).end(start), start, "not before");
        assert_eq!(Span::between(start, start.after(1 << 48)).end(start), Moment::NEVER);
    }
}
