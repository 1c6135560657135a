//! The open loop: when each request is due, whether or not the one before it is answered.
//!
//! Requests are numbered over all connections of a run, which take them in turn. So the time of
//! each request is known without a queue: the `turn`-th of connection `number` is request `turn *
//! connections + number`. Processes that share a run take turns as well, and do not need to
//! communicate for it. This also holds for requests at random moments (see `arrivals`).

use super::arrivals::Poisson;
use super::plan::{Arrivals, Plan};

/// The part of a run's schedule that belongs to one process.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Pace {
    /// When the first request of all may be due.
    begin_ns: u64,
    schedule: Schedule,
    /// Connections of all processes.
    connections: u64,
    /// Connections of this process: the first number, how many, and the distance between two.
    first: u64,
    own: u64,
    stride: u64,
    /// No request is due after this.
    end_ns: u64,
    /// The next request of this process, counted from 0.
    next: u64,
    /// When that request is due.
    next_at: u64,
}

/// The moments of the requests, from the beginning of the schedule.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Schedule {
    /// At equal intervals of this length.
    Even { interval_ns: f64 },
    /// At random, as many as at an even pace: in the warm-up, the length of the warm-up, and after
    /// it.
    Poisson { warmup: Poisson, warmup_count: u64, warmup_ns: f64, measured: Poisson },
}

impl Pace {
    /// The plan's schedule, which begins now with the warm-up; `None` in the closed loop.
    pub(super) fn new(plan: &Plan, begin_ns: u64) -> Option<Pace> {
        let interval_ns = 1e9 / plan.rate?;
        let ns = |ms: u64| ms * 1_000_000;
        let schedule = match plan.arrivals {
            Arrivals::Even => Schedule::Even { interval_ns },
            Arrivals::Poisson => {
                let (warmup_ns, measured_ns) = (ns(plan.warmup_ms) as f64, ns(plan.duration_ms));
                let due_in = |ns: f64| (ns / interval_ns).ceil() as u64;
                let warmup_count = due_in(warmup_ns);
                let count = due_in(warmup_ns + measured_ns as f64) - warmup_count;
                Schedule::Poisson {
                    warmup: Poisson::new(warmup_count, warmup_ns, 0),
                    warmup_count,
                    warmup_ns,
                    measured: Poisson::new(count, measured_ns as f64, 1),
                }
            }
        };
        let mut pace = Pace {
            begin_ns,
            schedule,
            connections: plan.all_connections.into(),
            first: plan.first_number.into(),
            own: plan.connections.into(),
            stride: plan.stride.into(),
            end_ns: begin_ns + ns(plan.warmup_ms) + ns(plan.duration_ms),
            next: 0,
            next_at: 0,
        };
        pace.next_at = pace.ahead().1;
        Some(pace)
    }

    /// When the `turn`-th request of the connection in this place is due.
    pub(super) fn due_at(&self, place: u32, turn: u64) -> u64 {
        let number = self.first + u64::from(place) * self.stride;
        let request = turn * self.connections + number;
        let ns = match &self.schedule {
            Schedule::Even { interval_ns } => request as f64 * interval_ns,
            Schedule::Poisson { warmup, warmup_count, warmup_ns, measured } => {
                match request.checked_sub(*warmup_count) {
                    None => warmup.at(request),
                    Some(request) => warmup_ns + measured.at(request),
                }
            }
        };
        self.begin_ns + ns as u64
    }

    /// The next request: its connection's place, and when it is due.
    fn ahead(&self) -> (u32, u64) {
        let (turn, place) = (self.next / self.own, (self.next % self.own) as u32);
        (place, self.due_at(place, turn))
    }

    /// Requests of this process that were due.
    pub(super) fn popped(&self) -> u64 {
        self.next
    }

    /// The place of the next connection whose request is due, and when it was due.
    pub(super) fn pop_due(&mut self, now_ns: u64) -> Option<(u32, u64)> {
        let at = self.next_due().filter(|at| *at <= now_ns)?;
        let place = (self.next % self.own) as u32;
        self.next += 1;
        self.next_at = self.ahead().1;
        Some((place, at))
    }

    /// When the next one is due; `None` after the last.
    pub(super) fn next_due(&self) -> Option<u64> {
        Some(self.next_at).filter(|at| *at < self.end_ns)
    }

    /// Ends the schedule now: later requests are dropped.
    pub(super) fn stop(&mut self, now_ns: u64) {
        self.end_ns = self.end_ns.min(now_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN_NS: u64 = 5_000_000;

    /// A thousand requests a second, for this number of milliseconds and connections.
    fn plan(connections: u32, duration_ms: u64) -> Plan {
        Plan {
            rate: Some(1000.0),
            duration_ms,
            connections,
            all_connections: connections,
            ..crate::load::plan::tests::plan()
        }
    }

    fn pace(plan: &Plan) -> Pace {
        Pace::new(plan, BEGIN_NS).unwrap()
    }

    /// All requests of the schedule: when, and where.
    fn all(mut pace: Pace) -> Vec<(u64, u32)> {
        std::iter::from_fn(|| pace.pop_due(u64::MAX)).map(|(place, at)| (at, place)).collect()
    }

    const BOTH: [Arrivals; 2] = [Arrivals::Even, Arrivals::Poisson];

    #[test]
    fn every_request_is_due_once_in_its_time_and_place() {
        for arrivals in BOTH {
            let pace = pace(&Plan { arrivals, ..plan(3, 10) });
            let mut popped = Vec::new();
            let mut looks = pace;
            for now in (0..30_000_000).step_by(250_000) {
                while let Some((place, at)) = looks.pop_due(now) {
                    assert!(at <= now && now - at < 250_000);
                    popped.push((at, place));
                }
            }
            assert_eq!(popped.len(), 10, "a thousand a second for ten milliseconds");
            assert!(popped.iter().all(|(at, _)| (BEGIN_NS..15_000_000).contains(at)));
            assert!(popped.is_sorted_by_key(|(at, _)| *at));
            for (number, (at, place)) in popped.iter().enumerate() {
                assert_eq!(*place as usize, number % 3);
                assert_eq!(*at, pace.due_at(*place, number as u64 / 3));
            }
            assert_eq!(looks.next_due(), None);
            assert_eq!(popped, all(pace));
        }
    }

    /// The standard deviation of the gaps divided by their mean: 0 at an even pace, 1 at random.
    #[test]
    fn the_gaps_are_even_or_exponential() {
        for (arrivals, expected) in BOTH.into_iter().zip([0.0, 1.0]) {
            let due = all(pace(&Plan { arrivals, ..plan(7, 50_000) }));
            assert_eq!(due.len(), 50_000);
            let gaps: Vec<_> = due.windows(2).map(|two| (two[1].0 - two[0].0) as f64).collect();
            let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
            let squares = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>();
            let variation = (squares / gaps.len() as f64).sqrt() / mean;
            assert!((mean / 1e6 - 1.0).abs() < 0.001, "{mean}");
            assert!((variation - expected).abs() < 0.02, "{arrivals:?}: {variation}");
        }
    }

    #[test]
    fn the_schedule_goes_on_after_four_billion_requests() {
        for arrivals in BOTH {
            let rate = Some(10_000_000.0); // 2^32 requests take 429 seconds
            let mut pace = pace(&Plan { arrivals, rate, ..plan(1, 500_000) });
            pace.next = 1 << 32;
            pace.next_at = pace.ahead().1;
            let at = pace.next_due().unwrap();
            let even = BEGIN_NS + (100 << 32);
            match arrivals {
                Arrivals::Even => assert_eq!(at, even),
                // About ten times the deviation of a random count.
                Arrivals::Poisson => assert!(at.abs_diff(even) < 70_000_000, "{at}"),
            }
        }
    }

    #[test]
    fn processes_share_a_schedule_and_none_of_it_is_done_twice() {
        for arrivals in BOTH {
            let plan = Plan { arrivals, warmup_ms: 7, ..plan(5, 50) };
            let parts = plan.split(3).into_iter().flat_map(|part| all(pace(&part)));
            let mut at: Vec<_> = parts.map(|(at, _)| at).collect();
            at.sort_unstable();
            let whole: Vec<_> = all(pace(&plan)).into_iter().map(|(at, _)| at).collect();
            assert_eq!(at, whole);
            assert_eq!(whole.len(), 57);
        }
    }

    #[test]
    fn the_warm_up_has_its_share_of_the_requests() {
        for arrivals in BOTH {
            let due = all(pace(&Plan { arrivals, warmup_ms: 20, ..plan(3, 40) }));
            let measured = due.iter().filter(|(at, _)| *at >= BEGIN_NS + 20_000_000).count();
            assert_eq!((due.len(), measured), (60, 40), "{arrivals:?}");
        }
    }

    #[test]
    fn what_was_late_to_look_finds_all_that_came_due_meanwhile() {
        for arrivals in BOTH {
            let mut pace = pace(&Plan { arrivals, ..plan(1, 10) });
            let late = 12_500_000;
            let expected = all(pace).iter().filter(|(at, _)| *at <= late).count();
            let count = std::iter::from_fn(|| pace.pop_due(late)).count();
            assert!(count == expected && count > 0, "{arrivals:?}: {count}");
            pace.stop(late);
            assert_eq!(pace.pop_due(20_000_000), None);
        }
    }
}
