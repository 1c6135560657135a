//! The open loop: when each request is due, whether or not the one before it is answered.
//!
//! Requests are numbered over all connections of a run, and take these in turn. So of each of them
//! it is known when it is due, without a queue: the `turn`-th of connection `number` is request
//! `turn * connections + number`. Processes that share a run take turns as well, and none of them
//! has to know of another one.

/// The part of a run's schedule that one process has.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Pace {
    /// When the first request of all is due.
    pub(super) begin_ns: u64,
    /// From one request to the next, of all.
    pub(super) interval_ns: f64,
    /// Connections of all processes.
    pub(super) connections: u64,
    /// Connections of this one: from this number, so many, so far apart.
    pub(super) first: u64,
    pub(super) own: u64,
    pub(super) stride: u64,
    /// When no more are due.
    pub(super) end_ns: u64,
    /// The next one of this process to come due, counted from 0.
    pub(super) next: u64,
}

impl Pace {
    /// When the `turn`-th request of the connection in this place is due.
    pub(super) fn due_at(&self, place: u32, turn: u64) -> u64 {
        let number = self.first + u64::from(place) * self.stride;
        let request = turn * self.connections + number;
        self.begin_ns + (request as f64 * self.interval_ns) as u64
    }

    /// The next one: its connection's place, and when it is due.
    fn ahead(&self) -> (u32, u64) {
        let (turn, place) = (self.next / self.own, (self.next % self.own) as u32);
        (place, self.due_at(place, turn))
    }

    /// The place of the connection whose request has come due, one at a time.
    pub(super) fn pop_due(&mut self, now_ns: u64) -> Option<u32> {
        let (place, at) = self.ahead();
        if at > now_ns || at >= self.end_ns {
            return None;
        }
        self.next += 1;
        Some(place)
    }

    /// When the next one comes due; `None` after the last.
    pub(super) fn next_due(&self) -> Option<u64> {
        Some(self.ahead().1).filter(|at| *at < self.end_ns)
    }

    /// Ends it now: what is not due yet never will be.
    pub(super) fn stop(&mut self, now_ns: u64) {
        self.end_ns = self.end_ns.min(now_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request each millisecond, from the fifth on and for ten of them.
    fn pace(connections: u64, (first, own, stride): (u64, u64, u64)) -> Pace {
        let (begin_ns, end_ns) = (5_000_000, 15_000_000);
        Pace { begin_ns, interval_ns: 1e6, connections, first, own, stride, end_ns, next: 0 }
    }

    #[test]
    fn every_request_is_due_once_in_its_time_and_place() {
        let mut pace = pace(3, (0, 3, 1));
        let mut due = Vec::new();
        for now in (0..30_000_000).step_by(250_000) {
            while let Some(place) = pace.pop_due(now) {
                due.push((now, place));
            }
        }
        assert_eq!(due.len(), 10, "a thousand a second for ten milliseconds");
        for (number, (now, place)) in due.iter().enumerate() {
            assert_eq!(*place as usize, number % 3);
            assert_eq!(*now, pace.due_at(*place, number as u64 / 3));
        }
        assert_eq!(pace.next_due(), None);
    }

    #[test]
    fn the_schedule_goes_on_after_four_billion_requests() {
        let mut pace = pace(1, (0, 1, 1));
        pace.interval_ns = 100.0; // 2^32 requests take 429 seconds
        pace.end_ns = u64::MAX;
        pace.next = 1 << 32;
        assert_eq!(pace.next_due(), Some(5_000_000 + (100 << 32)));
    }

    #[test]
    fn processes_share_a_schedule_and_none_of_it_is_done_twice() {
        let mut all = Vec::new();
        for part in [(0, 2, 3), (1, 2, 3), (2, 1, 3)] {
            let mut pace = pace(5, part);
            while let Some(at) = pace.next_due() {
                assert!(pace.pop_due(at - 1).is_none() && pace.pop_due(at).is_some());
                all.push(at / 1_000_000);
            }
        }
        all.sort_unstable();
        assert_eq!(all, (5..15).collect::<Vec<_>>());
    }

    #[test]
    fn what_was_late_to_look_finds_all_that_came_due_meanwhile() {
        let mut pace = pace(1, (0, 1, 1));
        let late = 12_500_000;
        let count = std::iter::from_fn(|| pace.pop_due(late)).count();
        assert_eq!(count, 8);
        pace.stop(late);
        assert_eq!(pace.pop_due(20_000_000), None);
    }
}
