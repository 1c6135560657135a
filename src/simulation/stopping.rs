//! State of the stop of the simulated server: what was asked for, and what the loop knows.

use crate::kernel::Stop;

/// What the server was asked for, and what of that the loop knows.
#[derive(Debug)]
pub(super) struct Stopping {
    drain_us: u64,
    asked: Option<Stop>,
    told: Option<Stop>,
    since_us: Option<u64>,
}

impl Stopping {
    /// The server was not asked to stop. A drain takes `drain_us` at most.
    pub(super) fn new(drain_us: u64) -> Stopping {
        Stopping { drain_us, asked: None, told: None, since_us: None }
    }

    /// The server is asked to stop.
    pub(super) fn ask(&mut self, stop: Stop) {
        self.asked = self.asked.max(Some(stop));
    }

    /// What the loop is to be told now, if it does not know yet.
    pub(super) fn take_news(&mut self) -> Option<Stop> {
        let news = self.asked.filter(|_| self.told < self.asked)?;
        self.told = Some(news);
        Some(news)
    }

    /// What the loop knows.
    pub(super) fn told(&self) -> Option<Stop> {
        self.told
    }

    /// Whether the server was asked to drain, and knows.
    pub(super) fn is_draining(&self) -> bool {
        self.told.is_some()
    }

    /// Whether every connection is to be ended at once.
    pub(super) fn is_forced(&self) -> bool {
        self.told == Some(Stop::Abort)
    }

    /// The loop reads the clock: whether the drain begins with that.
    pub(super) fn begins_at(&mut self, seen_us: u64) -> bool {
        let begins = self.is_draining() && self.since_us.is_none();
        if begins {
            self.since_us = Some(seen_us);
        }
        begins
    }

    /// What the loop's clock showed when it first knew.
    pub(super) fn since_us(&self) -> Option<u64> {
        self.since_us
    }

    /// When the time of the drain has passed, by the loop's clock.
    pub(super) fn ends_us(&self) -> Option<u64> {
        self.since_us.map(|since_us| since_us + self.drain_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loop_is_told_once_of_each_stop_and_the_drain_begins_when_it_reads_the_clock() {
        let mut stopping = Stopping::new(100);
        assert_eq!((stopping.take_news(), stopping.begins_at(5)), (None, false));
        stopping.ask(Stop::Drain);
        assert!(!stopping.is_draining());
        assert_eq!((stopping.take_news(), stopping.take_news()), (Some(Stop::Drain), None));
        assert_eq!((stopping.begins_at(7), stopping.begins_at(9)), (true, false));
        assert_eq!((stopping.since_us(), stopping.ends_us()), (Some(7), Some(107)));
        stopping.ask(Stop::Abort);
        stopping.ask(Stop::Drain);
        assert_eq!((stopping.is_forced(), stopping.take_news()), (false, Some(Stop::Abort)));
        assert!(stopping.is_forced());
    }
}
