//! The report of a run: plain values, as they stand in its JSON.
//!
//! The fields and their names are a promise, see `docs/load.schema.json`: fields may be added, none
//! is renamed. Unknown values are null.

use std::collections::BTreeMap;

use serde::Serialize;

use super::histogram::{Microseconds, rounded};
use super::plan::{Arrivals, Mode, Plan};
use super::tally::Outcome;

/// The report of a run.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LoadReport {
    /// What the connections did.
    pub mode: Mode,
    /// Whether a request waits for the reply before it, so that a slow server gets fewer requests.
    /// Latencies then count from when a request was sent, else from when it was due.
    pub closed_loop: bool,
    /// The requested number of connections.
    pub connections: u32,
    /// Processes that share them.
    pub processes: u32,
    /// The measured time, in seconds. It begins when all connections are open and the warm-up has
    /// ended.
    pub duration_s: f64,
    /// The planned length. A run that is interrupted, or has no connection left, is shorter.
    pub target_duration_s: f64,
    /// For hold: connections that were open at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<u64>,
    /// For echo: replies to requests of the measured time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub echoes: Option<u64>,
    /// For churn: connections that were opened in the measured time, answered, and closed by both
    /// sides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cycles: Option<u64>,
    /// Replies or cycles a second, of those that arrived within the measured time.
    pub rate_per_s: f64,
    /// The requested rate in requests a second; null in the closed loop.
    pub target_rate_per_s: Option<f64>,
    /// Latencies: for churn from connect to the server's FIN, for all others from the request to
    /// the last byte of its reply; in the open loop from when the request was due. An abandoned
    /// request counts with its age at that moment. Null if there was none.
    pub latency_us: Option<Microseconds>,
    /// In the open loop: latencies from when a request was sent. Null in the closed loop, where
    /// both are the same.
    pub service_us: Option<Microseconds>,
    /// Requests that were due in the measured time and never answered; in an interrupted run, also
    /// those in flight.
    pub unanswered: u64,
    /// Wrong replies.
    pub mismatches: u64,
    /// Other errors with their counts: refused, reset, closed, timeout, connect_timeout, no_fin,
    /// unreachable, no_port, no_resource, process, other.
    pub errors: BTreeMap<String, u64>,
    /// How the connections ended, named as in the close log; our own orderly close is local.done.
    /// Cycles of the warm-up that ended as expected are left out.
    pub verdicts: BTreeMap<String, u64>,
    /// The generator itself.
    pub generator: GeneratorRow,
    /// The server's process, if --pid named it.
    pub server: Option<ServerRow>,
    /// Whether an interrupt ended the run early.
    pub interrupted: bool,
    /// The server's address and port; for a name, the address that answered.
    pub address: String,
    /// Bytes of a message, including its newline.
    pub size_bytes: u32,
    /// Requests that may be in flight on a connection at a time.
    pub depth: u32,
    /// The requested number of connects a second; null if they were opened as fast as possible.
    pub ramp_per_s: Option<u32>,
    /// The interval at which an idle connection sends a message, in seconds; null if it does not.
    pub every_s: Option<f64>,
    /// How long a connect, a reply or the server's FIN may take, in seconds.
    pub timeout_s: f64,
    /// How long the load ran before it was measured, in seconds; 0 means no warm-up.
    pub warmup_s: f64,
    /// When the requests of the open loop were due; null in the closed loop.
    pub arrivals: Option<Arrivals>,
    /// Payload that was sent in the measured time, in bytes a second.
    pub sent_bytes_per_s: f64,
    /// Payload that was received in the measured time, in bytes a second.
    pub received_bytes_per_s: f64,
    /// When the run began, before the first connection: UTC, RFC 3339.
    pub started_at: String,
    /// The version of closecall.
    pub version: &'static str,
}

/// The generator's own figures.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GeneratorRow {
    /// Its share of a processor in the measured time, from 0 to 1; of several processes the busiest
    /// one's. At 0.9 or more the generator was the limit. Null where the system does not report it.
    pub cpu_share: Option<f64>,
    /// The share of that time in which it was ready to run and waited for a processor; of several
    /// processes the one's that waited longest. All of it is in the latencies.
    pub run_delay_share: Option<f64>,
    /// Its CPU time for each reply or cycle, in microseconds.
    pub cpu_us_per_echo: Option<f64>,
}

/// The server's figures.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ServerRow {
    /// Its CPU time for each reply or cycle, in microseconds. Null if there was none.
    pub cpu_us_per_echo: Option<f64>,
    /// Its resident memory when all connections were open.
    pub rss_bytes: Option<u64>,
    /// The growth of that memory since before the first connection, for each connection. Null if
    /// there was none: they used memory that was already resident.
    pub bytes_per_connection: Option<f64>,
}

/// The share of a processor from which on the generator counts as the limit.
pub const BUSY: f64 = 0.9;

impl LoadReport {
    /// The report on `outcome`, the result of the plan in this number of processes.
    pub fn new(plan: &Plan, processes: u32, started_at: String, outcome: &Outcome) -> LoadReport {
        let (mode, rate) = (plan.mode, plan.rate);
        let done = |of: Mode| (mode == of).then_some(outcome.done);
        let per_second = |count: u64| match outcome.seconds > 0.0 {
            true => count as f64 / outcome.seconds,
            false => 0.0,
        };
        let share = |part: Option<f64>| {
            part.filter(|_| outcome.seconds > 0.0).map(|it| rounded(it / outcome.seconds, 3))
        };
        LoadReport {
            mode,
            closed_loop: rate.is_none(),
            connections: plan.connections,
            processes,
            duration_s: rounded(outcome.seconds, 6),
            target_duration_s: seconds(plan.duration_ms),
            held: (mode == Mode::Hold).then_some(outcome.held),
            echoes: done(Mode::Echo),
            cycles: done(Mode::Churn),
            rate_per_s: rounded(per_second(outcome.in_time), 3),
            target_rate_per_s: rate,
            latency_us: outcome.latency.percentiles(),
            service_us: rate.and_then(|_| outcome.service.percentiles()),
            unanswered: outcome.unanswered,
            mismatches: outcome.mismatches,
            errors: outcome.errors.clone(),
            verdicts: outcome.verdicts.clone(),
            generator: GeneratorRow {
                cpu_share: share(outcome.cpu_seconds),
                run_delay_share: share(outcome.waited_seconds),
                cpu_us_per_echo: outcome
                    .cpu_seconds_sum
                    .filter(|_| outcome.done > 0)
                    .map(|cpu| rounded(cpu * 1e6 / outcome.done as f64, 3)),
            },
            server: None,
            interrupted: outcome.interrupted,
            address: plan.server.to_string(),
            size_bytes: plan.size,
            depth: plan.depth,
            ramp_per_s: plan.ramp,
            every_s: plan.every_ms.filter(|_| mode != Mode::Churn).map(seconds),
            timeout_s: seconds(plan.timeout_ms),
            warmup_s: seconds(plan.warmup_ms),
            arrivals: rate.map(|_| plan.arrivals),
            sent_bytes_per_s: rounded(per_second(outcome.sent_bytes), 3),
            received_bytes_per_s: rounded(per_second(outcome.received_bytes), 3),
            started_at,
            version: env!("CARGO_PKG_VERSION"),
        }
    }

    /// Whether the generator was the limit, and not the server.
    pub fn generator_was_the_limit(&self) -> bool {
        self.generator.cpu_share.is_some_and(|share| share >= BUSY)
    }

    /// Whether it was, or waited because other programs used the processors.
    pub fn machine_was_the_limit(&self) -> bool {
        let parts = self.generator.cpu_share.zip(self.generator.run_delay_share);
        parts.is_some_and(|(ran, waited)| ran + waited >= BUSY)
    }

    /// Whether it ended early.
    pub fn ended_early(&self) -> bool {
        self.duration_s < self.target_duration_s
    }
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1e3
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
        let mut schema = generator.into_root_schema_for::<LoadReport>();
        schema.insert("title".to_owned(), "closecall load --format json".into());
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        assert_data_eq!(text, file!["../../docs/load.schema.json"].raw());
    }
}
