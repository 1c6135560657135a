//! Intervals: parts of the measured time, which `--every-report` reports during a run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::histogram::{Latency, Microseconds, rounded};

/// What happened in one interval. Processes pass it to each other.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
pub struct Interval {
    /// The number of whole interval lengths that had passed at its end, rounded down except for the
    /// last interval.
    pub number: u64,
    /// Whether the measured time ended with it.
    pub is_last: bool,
    /// From the beginning of the measured time to the beginning of this interval, in seconds.
    pub begin_s: f64,
    /// From the beginning of the measured time to the end of this interval, in seconds.
    pub end_s: f64,
    /// Connections that were open at its end.
    pub connections: u64,
    /// Replies or cycles that were counted in it.
    pub done: u64,
    /// Those of them that arrived within the measured time.
    pub in_time: u64,
    /// Wrong replies.
    pub mismatches: u64,
    /// Requests that were abandoned.
    pub unanswered: u64,
    /// Other errors, with their counts.
    pub errors: BTreeMap<String, u64>,
    /// Latencies; in the open loop from when the request was due.
    pub latency: Latency,
}

impl Interval {
    /// The number of an interval that ends `elapsed_ns` after the beginning of the measured time.
    /// An interval ends slightly after the boundary that it is due at; the last one ends at the end
    /// of the measured time, before the next boundary.
    pub(super) fn number(elapsed_ns: u64, every_ns: u64, is_last: bool) -> u64 {
        match is_last {
            true => elapsed_ns.div_ceil(every_ns).max(1),
            false => elapsed_ns / every_ns,
        }
    }

    /// Adds what another process did at the same time, or what this one did before or after.
    pub(super) fn add(&mut self, other: &Interval) {
        self.number = self.number.max(other.number);
        // One of them may have been late, and cover more than one interval.
        self.begin_s = self.begin_s.min(other.begin_s);
        self.end_s = self.end_s.max(other.end_s);
        self.done += other.done;
        self.in_time += other.in_time;
        self.mismatches += other.mismatches;
        self.unanswered += other.unanswered;
        for (name, count) in &other.errors {
            *self.errors.entry(name.clone()).or_default() += count;
        }
        self.latency.add(&other.latency).expect("both have the same bounds");
    }

    /// The number of failures of all kinds.
    pub fn failures(&self) -> u64 {
        self.mismatches + self.errors.values().sum::<u64>()
    }

    /// Its row in the JSON.
    pub fn row(&self) -> IntervalLine {
        let seconds = self.end_s - self.begin_s;
        let rate = if seconds > 0.0 { self.in_time as f64 / seconds } else { 0.0 };
        IntervalLine {
            interval: IntervalRow {
                begin_s: rounded(self.begin_s, 6),
                end_s: rounded(self.end_s, 6),
                connections: self.connections,
                done: self.done,
                rate_per_s: rounded(rate, 3),
                latency_us: self.latency.percentiles(),
                unanswered: self.unanswered,
                mismatches: self.mismatches,
                errors: self.errors.clone(),
            },
        }
    }
}

/// A line of `closecall load --format json --every-report DUR`; the last line is the report.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct IntervalLine {
    /// What happened since the line before it.
    pub interval: IntervalRow,
}

/// What happened in an interval.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct IntervalRow {
    /// From the beginning of the measured time to the beginning of this interval, in seconds.
    pub begin_s: f64,
    /// From the beginning of the measured time to the end of this interval, in seconds. If the
    /// reader is too slow for an interval, it is part of the next one.
    pub end_s: f64,
    /// Connections that were open at its end.
    pub connections: u64,
    /// Replies or cycles that were counted in it. The last interval includes those that arrived
    /// after the measured time: all intervals together have as many as the report.
    pub done: u64,
    /// Replies or cycles a second, of those that arrived within the measured time.
    pub rate_per_s: f64,
    /// Latencies, as in the report. Null if there was none.
    pub latency_us: Option<Microseconds>,
    /// Requests that were abandoned.
    pub unanswered: u64,
    /// Wrong replies.
    pub mismatches: u64,
    /// Other errors with their counts, named as in the report.
    pub errors: BTreeMap<String, u64>,
}

/// Merges the intervals of several processes: one is reported when every process has reached it.
#[derive(Debug)]
pub(super) struct Gathered {
    processes: Vec<Reached>,
    /// What has not been reported yet.
    waiting: Vec<Interval>,
}

/// How far each process is.
#[derive(Clone, Copy, Default, Debug)]
struct Reached {
    /// The number of its last interval; the maximum if none will follow.
    number: u64,
    connections: u64,
}

/// Intervals that wait for a slower process, for each process. Beyond it they are reported anyway.
const WAITING_MAX: usize = 16;

impl Gathered {
    pub(super) fn new(processes: usize) -> Gathered {
        Gathered { processes: vec![Reached::default(); processes], waiting: Vec::new() }
    }

    /// An interval arrived from this process.
    pub(super) fn came(&mut self, process: usize, interval: Interval) {
        let number = if interval.is_last { u64::MAX } else { interval.number };
        self.processes[process] = Reached { number, connections: interval.connections };
        self.waiting.push(interval);
    }

    /// This process will send no more. Without a last interval its connections ended with it.
    pub(super) fn ended(&mut self, process: usize) {
        let process = &mut self.processes[process];
        if process.number < u64::MAX {
            *process = Reached { number: u64::MAX, connections: 0 };
        }
    }

    /// The sum of all processes up to the interval that all have reached, if that is a new one.
    pub(super) fn next(&mut self) -> Option<Interval> {
        let reached = self.processes.iter().map(|it| it.number).min()?;
        let is_full = self.waiting.len() > WAITING_MAX * self.processes.len();
        let mut ready = self.waiting.extract_if(.., |it| is_full || it.number <= reached);
        let mut whole = ready.next()?;
        ready.for_each(|it| whole.add(&it));
        whole.connections = self.processes.iter().map(|it| it.connections).sum();
        whole.is_last = reached == u64::MAX;
        Some(whole)
    }

    /// It could not be reported yet, and becomes part of the next one.
    pub(super) fn returned(&mut self, interval: Interval) {
        self.waiting.push(interval);
    }
}

#[cfg(test)]
mod tests {
    use schemars::generate::SchemaSettings;
    use snapbox::{assert_data_eq, file};

    use super::*;

    /// `SNAPSHOTS=overwrite` rewrites it.
    #[test]
    fn the_schema_in_docs_is_that_of_the_types() {
        let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
        let mut schema = generator.into_root_schema_for::<IntervalLine>();
        schema.insert("title".to_owned(), "closecall load --every-report".into());
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        assert_data_eq!(text, file!["../../docs/load-interval.schema.json"].raw());
    }

    /// An interval of a second with ten replies, each of which took `ns` nanoseconds.
    fn interval(number: u64, ns: u64) -> Interval {
        let mut latency = Latency::default();
        (0..10).for_each(|_| latency.record(ns));
        let (begin_s, end_s) = (number as f64 - 1.0, number as f64);
        let (done, in_time, connections) = (10, 10, 7);
        Interval {
            number,
            begin_s,
            end_s,
            done,
            in_time,
            connections,
            latency,
            ..Interval::default()
        }
    }

    #[test]
    fn an_interval_is_told_when_the_slowest_process_has_it() {
        let mut all = Gathered::new(2);
        all.came(0, interval(1, 1000));
        assert_eq!(all.next(), None);
        all.came(1, interval(1, 3000));
        let row = all.next().unwrap().row().interval;
        assert_eq!((row.begin_s, row.end_s, row.done, row.connections), (0.0, 1.0, 20, 14));
        assert_eq!(row.rate_per_s, 20.0);
        let latency = row.latency_us.unwrap();
        assert!((latency.min - 1.0).abs() < 0.01 && (latency.max - 3.0).abs() < 0.01);
        assert_eq!(all.next(), None);

        // One was late and covers two intervals; the other one's second has not ended.
        all.came(0, interval(2, 1000));
        all.came(0, interval(3, 1000));
        all.came(1, Interval { begin_s: 1.0, is_last: true, ..interval(3, 1000) });
        let whole = all.next().unwrap();
        assert_eq!((whole.begin_s, whole.end_s, whole.done), (1.0, 3.0, 30));
        assert!(!whole.is_last);
        all.came(0, interval(4, 1000));
        let whole = all.next().unwrap();
        assert_eq!((whole.number, whole.done, whole.connections), (4, 10, 14));
        all.ended(0);
        assert_eq!(all.next(), None);
    }

    /// Regression: a late interval had the number of the one after it. So did the last interval,
    /// and each process's last one was let through alone.
    #[test]
    fn the_last_intervals_of_all_processes_are_one() {
        let mut all = Gathered::new(4);
        let numbered = |elapsed_ms: u64, is_last| {
            let number = Interval::number(elapsed_ms, 250, is_last);
            Interval { begin_s: 0.0, end_s: 0.25, number, is_last, ..interval(1, 1000) }
        };
        for (elapsed_ms, is_last) in [(251, false), (502, false), (750, false), (1000, true)] {
            for process in 0..4 {
                assert_eq!(all.next(), None, "{elapsed_ms}");
                all.came(process, numbered(elapsed_ms + process as u64 % 2, is_last));
            }
            let whole = all.next().unwrap();
            assert_eq!((whole.done, whole.connections, whole.is_last), (40, 28, is_last));
            assert_eq!(whole.row().interval.rate_per_s, 160.0);
        }
        assert_eq!(all.next(), None);
    }

    /// Regression: the connections of a killed process were reported until the end of the run.
    #[test]
    fn a_process_that_was_killed_has_no_connections() {
        let mut all = Gathered::new(2);
        (0..2).for_each(|process| all.came(process, interval(1, 1000)));
        assert_eq!(all.next().unwrap().connections, 14);
        all.ended(0);
        all.came(1, Interval { is_last: true, ..interval(2, 1000) });
        all.ended(1);
        let whole = all.next().unwrap();
        assert_eq!((whole.connections, whole.done, whole.is_last), (7, 10, true));
    }

    #[test]
    fn what_there_was_no_room_for_is_in_the_next_one() {
        let mut all = Gathered::new(1);
        all.came(0, interval(1, 1000));
        let first = all.next().unwrap();
        all.returned(first);
        all.came(0, Interval { is_last: true, ..interval(2, 1000) });
        let whole = all.next().unwrap();
        assert_eq!((whole.begin_s, whole.end_s, whole.done, whole.is_last), (0.0, 2.0, 20, true));
        assert_eq!((whole.connections, whole.latency.count()), (7, 20));
    }

    #[test]
    fn a_process_that_stands_still_does_not_fill_the_memory() {
        let mut all = Gathered::new(2);
        for number in 1..=2 * WAITING_MAX as u64 + 1 {
            assert_eq!(all.next(), None);
            all.came(0, interval(number, 1000));
        }
        assert!(all.next().is_some_and(|whole| whole.done > 300 && !whole.is_last));
        assert!(all.waiting.is_empty());
    }
}
