//! Counters of a run: replies, errors by kind, and the verdicts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::histogram::Latency;
use crate::machine::close::{Kind, KindCounts};
use crate::machine::errno::{Errno, Meaning, System};

/// An error other than a wrong reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Trouble {
    /// Nothing listens at the address.
    Refused,
    /// The server, or a middlebox, reset the connection.
    Reset,
    /// The server closed the connection before we did.
    Closed,
    /// No reply within the timeout.
    Timeout,
    /// The handshake took too long, or the kernel gave up on the connection.
    ConnectTimeout,
    /// We closed, and the server did not.
    NoFin,
    /// The network reported that the server is unreachable.
    Unreachable,
    /// No source port or address is left.
    NoPort,
    /// No file or memory is left.
    NoResource,
    /// Another process of this run exited early.
    Process,
    /// Anything else.
    Other,
}

/// A row for each, in their order: its name, and its description.
const ROWS: [(Trouble, &str, &str); Trouble::COUNT] = [
    (Trouble::Refused, "refused", "refused: nothing listens at this address"),
    (Trouble::Reset, "reset", "reset by the server"),
    (
        Trouble::Closed,
        "closed",
        "closed by the server; was it idle for too long? see --every, --rate",
    ),
    (Trouble::Timeout, "timeout", "no reply within --timeout"),
    (Trouble::ConnectTimeout, "connect_timeout", "the handshake did not finish in time"),
    (Trouble::NoFin, "no_fin", "the server did not close within --timeout after our FIN"),
    (Trouble::Unreachable, "unreachable", "the server is unreachable"),
    (Trouble::NoPort, "no_port", "no source port is free"),
    (Trouble::NoResource, "no_resource", "out of files or memory, see ulimit -n"),
    (Trouble::Process, "process", "a process of this run exited early"),
    (Trouble::Other, "other", "failed"),
];

impl Trouble {
    const COUNT: usize = Trouble::Other as usize + 1;

    /// Its name in the report.
    pub const fn name(self) -> &'static str {
        ROWS[self as usize].1
    }

    /// A description, with what to do about it.
    pub const fn says(self) -> &'static str {
        ROWS[self as usize].2
    }

    /// The meaning of an error number on an open connection.
    pub(super) fn of(errno: Errno) -> Trouble {
        match errno.meaning(System::HERE) {
            Meaning::Reset | Meaning::Killed => Trouble::Reset,
            Meaning::TimedOut => Trouble::Timeout,
            Meaning::Unreachable | Meaning::NetworkDown => Trouble::Unreachable,
            Meaning::NoFiles | Meaning::NoMemory => Trouble::NoResource,
            _ => Trouble::Other,
        }
    }

    /// Its meaning during a connect.
    pub(super) fn of_connect(errno: Errno) -> Trouble {
        match errno.name(System::HERE) {
            Some("ECONNREFUSED" | "WSAECONNREFUSED") => Trouble::Refused,
            Some("EADDRNOTAVAIL" | "WSAEADDRNOTAVAIL" | "EADDRINUSE") => Trouble::NoPort,
            _ if errno.meaning(System::HERE) == Meaning::TimedOut => Trouble::ConnectTimeout,
            _ => Trouble::of(errno),
        }
    }
}

/// The counters of one process.
#[derive(Clone, PartialEq, Default, Debug)]
pub(super) struct Tally {
    /// Replies, or complete cycles, of the measured time.
    pub(super) done: u64,
    /// Those of them that arrived before its end.
    pub(super) in_time: u64,
    pub(super) mismatches: u64,
    troubles: [u64; Trouble::COUNT],
    verdicts: KindCounts,
}

impl Tally {
    pub(super) fn trouble(&mut self, trouble: Trouble) {
        self.troubles[trouble as usize] += 1;
    }

    pub(super) fn ended(&mut self, kind: Kind) {
        self.verdicts[kind as usize] += 1;
    }

    /// Whether the last error that was counted is the first one.
    pub(super) fn is_first_trouble(&self) -> bool {
        self.mismatches + self.troubles.iter().sum::<u64>() == 1
    }

    /// What was counted since `before`, without the verdicts.
    pub(super) fn since(&self, before: &Tally) -> Tally {
        let mut since = self.clone();
        since.done -= before.done;
        since.in_time -= before.in_time;
        since.mismatches -= before.mismatches;
        for (count, before) in since.troubles.iter_mut().zip(&before.troubles) {
            *count -= before;
        }
        since
    }

    pub(super) fn errors(&self) -> BTreeMap<String, u64> {
        named(ROWS.iter().map(|row| (row.1, self.troubles[row.0 as usize])))
    }

    pub(super) fn verdicts(&self) -> BTreeMap<String, u64> {
        named(Kind::all().map(|kind| (kind.name(), self.verdicts[kind as usize])))
    }
}

/// Only the rows that are not zero.
fn named(rows: impl Iterator<Item = (&'static str, u64)>) -> BTreeMap<String, u64> {
    let rows = rows.filter(|(_, count)| *count > 0);
    rows.map(|(name, count)| (name.to_owned(), count)).collect()
}

/// The result of one process, or of all.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// Connections that were open when measuring began.
    pub connected: u64,
    /// Those of them that were open when it ended.
    pub held: u64,
    /// Replies, or complete cycles, for requests of the measured time.
    pub done: u64,
    /// Those of them that arrived before its end.
    pub in_time: u64,
    /// Requests that were due in the measured time and never answered.
    pub unanswered: u64,
    /// Wrong replies.
    pub mismatches: u64,
    /// Other errors, with their counts.
    pub errors: BTreeMap<String, u64>,
    /// How the connections ended.
    pub verdicts: BTreeMap<String, u64>,
    /// Payload that the sockets took in the measured time, in bytes.
    pub sent_bytes: u64,
    /// Payload that was received in the measured time, in bytes.
    pub received_bytes: u64,
    /// The measured time, in seconds.
    pub seconds: f64,
    /// The generator's own CPU time in the measured time, in seconds: of the busiest process.
    pub cpu_seconds: Option<f64>,
    /// The time in which it was ready to run and waited for a processor, in seconds: of the process
    /// that waited longest.
    pub waited_seconds: Option<f64>,
    /// Its CPU time until the last reply, of all processes.
    pub cpu_seconds_sum: Option<f64>,
    /// Latencies; in the open loop from when the request was due.
    pub latency: Latency,
    /// In the open loop: latencies from when the request was sent.
    pub service: Latency,
    /// An interrupt ended the run early.
    pub interrupted: bool,
}

impl Outcome {
    /// Adds the result of another process at the same time.
    pub fn add(&mut self, other: &Outcome) {
        self.connected += other.connected;
        self.held += other.held;
        self.done += other.done;
        self.in_time += other.in_time;
        self.unanswered += other.unanswered;
        self.mismatches += other.mismatches;
        self.sent_bytes += other.sent_bytes;
        self.received_bytes += other.received_bytes;
        for (ours, theirs) in
            [(&mut self.errors, &other.errors), (&mut self.verdicts, &other.verdicts)]
        {
            for (name, count) in theirs {
                *ours.entry(name.clone()).or_default() += count;
            }
        }
        self.seconds = self.seconds.max(other.seconds);
        self.cpu_seconds = most(self.cpu_seconds, other.cpu_seconds, f64::max);
        self.waited_seconds = most(self.waited_seconds, other.waited_seconds, f64::max);
        self.cpu_seconds_sum = most(self.cpu_seconds_sum, other.cpu_seconds_sum, |a, b| a + b);
        for (ours, theirs) in
            [(&mut self.latency, &other.latency), (&mut self.service, &other.service)]
        {
            ours.add(theirs).expect("both have the same bounds");
        }
        self.interrupted |= other.interrupted;
    }

    /// Counts one error that happened outside a generator.
    pub fn trouble(&mut self, trouble: Trouble) {
        *self.errors.entry(trouble.name().to_owned()).or_default() += 1;
    }

    /// Whether there was any error.
    pub fn has_failed(&self) -> bool {
        self.interrupted || self.mismatches > 0 || !self.errors.is_empty() || self.unanswered > 0
    }
}

/// `of` the two, or the one that is known.
fn most(one: Option<f64>, other: Option<f64>, of: fn(f64, f64) -> f64) -> Option<f64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(of(one, other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_trouble_has_its_own_row() {
        for (index, row) in ROWS.iter().enumerate() {
            assert_eq!(row.0 as usize, index, "{}", row.1);
        }
    }

    #[test]
    fn an_outcome_survives_the_way_to_another_process_and_adds_up() {
        let mut one = Outcome { done: 3, cpu_seconds: Some(0.5), ..Outcome::default() };
        one.cpu_seconds_sum = one.cpu_seconds;
        one.latency.record(1_234_567);
        one.trouble(Trouble::Refused);
        let text = serde_json::to_string(&one).unwrap();
        let other: Outcome = serde_json::from_str(&text).unwrap();
        assert_eq!(one, other);
        one.add(&other);
        assert_eq!((one.done, one.latency.count(), one.errors["refused"]), (6, 2, 2));
        assert_eq!((one.cpu_seconds, one.cpu_seconds_sum), (Some(0.5), Some(1.0)));
    }
}
