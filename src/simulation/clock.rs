//! The clock of a world: the true time, and what the loop knows of it.

/// The true time, and the time that the loop saw when it last read the clock.
///
/// ```text
///   start ─────── seen ── calls take their time ──▶ now
///                  └─ all that the loop can know ─┘
/// ```
///
/// All times are in microseconds.
#[derive(Debug)]
pub(super) struct Clock {
    start_us: u64,
    now_us: u64,
    seen_us: u64,
    /// The loop waits.
    waiting: bool,
    /// The longest time between two looks.
    gap_us_max: u64,
    /// How long the process stood still, all in all.
    frozen_us: u64,
}

impl Clock {
    pub(super) fn new(start_us: u64) -> Clock {
        Clock {
            start_us,
            now_us: start_us,
            seen_us: start_us,
            waiting: false,
            gap_us_max: 0,
            frozen_us: 0,
        }
    }

    /// The true time.
    pub(super) fn now_us(&self) -> u64 {
        self.now_us
    }

    /// The true time at which the loop last read the clock.
    pub(super) fn seen_us(&self) -> u64 {
        self.seen_us
    }

    /// The true time since the beginning.
    pub(super) fn age_us(&self) -> u64 {
        self.now_us - self.start_us
    }

    /// The true time, and the one that the loop knows, both since the beginning.
    pub(super) fn ages_us(&self) -> [u64; 2] {
        [self.age_us(), self.seen_us - self.start_us]
    }

    /// `us` pass.
    pub(super) fn pass(&mut self, us: u64) {
        self.now_us += us;
    }

    /// Time passes until `us`, which may be over already.
    pub(super) fn pass_until(&mut self, us: u64) {
        self.now_us = self.now_us.max(us);
    }

    /// `us` pass in which the process does not run.
    pub(super) fn freeze(&mut self, us: u64) {
        self.now_us += us;
        self.frozen_us += us;
    }

    /// The loop reads the clock.
    pub(super) fn look(&mut self) {
        self.gap_us_max = self.gap_us_max.max(self.now_us - self.seen_us);
        self.seen_us = self.now_us;
    }

    /// The loop begins to wait, or ends it.
    pub(super) fn set_waiting(&mut self, waiting: bool) {
        self.waiting = waiting;
    }

    /// When the loop takes something to have happened that happens at `at_us`: at that time if it
    /// waits, because it reads the clock then; else when it read the clock last.
    pub(super) fn known_us(&self, at_us: u64) -> u64 {
        if self.waiting { at_us } else { self.seen_us }
    }

    /// The longest time that can have passed unseen.
    pub(super) fn unseen_us_max(&self) -> u64 {
        self.gap_us_max + self.frozen_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loop_knows_the_time_at_which_it_last_read_the_clock() {
        let mut clock = Clock::new(1_000);
        clock.pass(30);
        clock.pass_until(20);
        assert_eq!((clock.now_us(), clock.seen_us(), clock.ages_us()), (1_030, 1_000, [30, 0]));
        assert_eq!(clock.known_us(1_020), 1_000);
        clock.set_waiting(true);
        assert_eq!(clock.known_us(1_020), 1_020);
        clock.look();
        clock.freeze(7);
        clock.pass_until(1_100);
        assert_eq!((clock.age_us(), clock.seen_us()), (100, 1_030));
        assert_eq!(clock.unseen_us_max(), 30 + 7);
    }
}
