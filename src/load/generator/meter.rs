//! The figures of the current interval, for `--every-report`.
//!
//! The thread that measures only counts, and passes the figures on. The conductor writes them; if
//! it has no room, the interval continues.

use super::stage::RunPhase;
use super::{Conductor, Generator};
use crate::load::histogram::Latency;
use crate::load::interval::Interval;
use crate::load::tally::Tally;

/// The current interval.
pub(super) struct Meter {
    every_ns: u64,
    /// When it ends, in nanoseconds of the generator's clock; `u64::MAX` before the measured time.
    pub(super) ends_at: u64,
    begin: u64,
    latency: Latency,
    /// The counters at its beginning.
    tally: Tally,
    unanswered: u64,
}

impl Meter {
    pub(super) fn new(every_ms: u64) -> Meter {
        Meter {
            every_ns: every_ms * 1_000_000,
            ends_at: u64::MAX,
            begin: 0,
            latency: Latency::default(),
            tally: Tally::default(),
            unanswered: 0,
        }
    }
}

impl Generator {
    /// A measured turn took `ns` nanoseconds.
    pub(super) fn took(&mut self, ns: u64) {
        self.latency.record(ns);
        if let Some(meter) = &mut self.meter {
            meter.latency.record(ns);
        }
    }

    /// The first interval begins with the measured time.
    pub(super) fn begin_intervals(&mut self) {
        let Some(meter) = &mut self.meter else { return };
        meter.begin = self.window.begin;
        meter.ends_at = meter.begin + meter.every_ns;
        meter.tally = self.tally.clone();
        meter.unanswered = self.outcome.unanswered;
    }

    /// Passes the interval on if it has ended, or if it is the last.
    pub(super) fn tell_interval(&mut self, conductor: &mut impl Conductor, is_last: bool) {
        let (connections, begin) = (self.standing(), self.window.begin);
        let Some(meter) = &mut self.meter else { return };
        let is_over = self.stage == RunPhase::Running && self.turn_at >= meter.ends_at;
        if !is_last && !is_over {
            return;
        }
        let now = if is_last { self.window.end } else { self.turn_at };
        let seconds = |ns: u64| ns.saturating_sub(begin) as f64 / 1e9;
        let counted = self.tally.since(&meter.tally);
        let interval = Interval {
            number: Interval::number(now.saturating_sub(begin), meter.every_ns, is_last),
            is_last,
            begin_s: seconds(meter.begin),
            end_s: seconds(now),
            connections,
            done: counted.done,
            in_time: counted.in_time,
            mismatches: counted.mismatches,
            unanswered: self.outcome.unanswered - meter.unanswered,
            errors: counted.errors(),
            latency: std::mem::take(&mut meter.latency),
        };
        let passed = now.saturating_sub(begin) / meter.every_ns;
        meter.ends_at = begin + (passed + 1) * meter.every_ns;
        match conductor.interval(interval) {
            Some(kept) => meter.latency = kept.latency,
            None => {
                meter.begin = now;
                meter.tally = self.tally.clone();
                meter.unanswered = self.outcome.unanswered;
            }
        }
    }
}
