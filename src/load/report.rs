//! What a run gives: plain values, as they stand in its JSON.
//!
//! The fields and their names are a promise, see `docs/load.schema.json`: fields may be added, none
//! is renamed. What is not known is null.

use std::collections::BTreeMap;

use serde::Serialize;

use super::histogram::{Microseconds, rounded};
use super::plan::{Arrivals, Mode, Plan};
use super::tally::Outcome;

/// A run, and what came of it.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LoadReport {
    /// What the connections did.
    pub mode: Mode,
    /// Whether a request waits for the reply before it, so that a slow server is asked less, and
    /// latencies count from when a request was sent. Else they count from when it was due.
    pub closed_loop: bool,
    /// Connections that were asked for.
    pub connections: u32,
    /// Processes that shared them.
    pub processes: u32,
    /// The measured time, in seconds. It begins when all connections are open and the warm-up is
    /// over.
    pub duration_s: f64,
    /// How long it was to be. A run that is interrupted, or has no connection left, is shorter.
    pub target_duration_s: f64,
    /// For hold: connections that were open at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<u64>,
    /// For echo: replies to what was asked in the measured time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub echoes: Option<u64>,
    /// For churn: connections that were opened in the measured time, answered, and closed by both
    /// sides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cycles: Option<u64>,
    /// Replies or cycles a second, of those that came within the measured time.
    pub rate_per_s: f64,
    /// Requests a second that were asked for; null in the closed loop.
    pub target_rate_per_s: Option<f64>,
    /// How long replies took: for churn from connect to the server's FIN, for all others from the
    /// request to the last byte of its reply; in the open loop from when it was due. A request that
    /// was given up on counts with its age then. Null if there was none.
    pub latency_us: Option<Microseconds>,
    /// In the open loop: from when a request was sent. Null in the closed one, where the two are
    /// the same.
    pub service_us: Option<Microseconds>,
    /// Requests of the measured time that were due and never answered; of an interrupted run, what
    /// was under way as well.
    pub unanswered: u64,
    /// Replies that were not what they had to be.
    pub mismatches: u64,
    /// What else went wrong, and how often: refused, reset, closed, timeout, connect_timeout,
    /// no_fin, unreachable, no_port, no_resource, process, other.
    pub errors: BTreeMap<String, u64>,
    /// How the connections ended (cycles of the warm-up that ended as they should are left out), in
    /// the words of the close log; our own orderly close is
    /// local.done.
    pub verdicts: BTreeMap<String, u64>,
    /// The generator itself.
    pub generator: GeneratorRow,
    /// The server's process, if --pid named it.
    pub server: Option<ServerRow>,
    /// Whether an interrupt ended the run before its time.
    pub interrupted: bool,
    /// The server's address and port; of a name, the address that answered.
    pub address: String,
    /// Bytes of a message, its newline included.
    pub size_bytes: u32,
    /// Requests that may be under way on a connection at a time.
    pub depth: u32,
    /// Connects a second that were asked for; null if they were opened as fast as it went.
    pub ramp_per_s: Option<u32>,
    /// How often an idle connection says something, in seconds; null if it does not.
    pub every_s: Option<f64>,
    /// How long a connect, a reply or the server's FIN may take, in seconds.
    pub timeout_s: f64,
    /// How long the load ran before it was measured, in seconds; 0 is no warm-up.
    pub warmup_s: f64,
    /// When the requests of the open loop were due; null in the closed one.
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

/// What the generator itself took.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GeneratorRow {
    /// Its share of a processor in the measured time, from 0 to 1; of several processes the
    /// busiest one's. At 0.9 it was the generator that set the pace. Null where the system does not
    /// tell.
    pub cpu_share: Option<f64>,
    /// The share of that time in which it was ready to run and had to wait for a processor; of
    /// several processes the one's that waited most. All of it is in the latencies.
    pub run_delay_share: Option<f64>,
    /// Its time on the processor for each reply or cycle, in microseconds.
    pub cpu_us_per_echo: Option<f64>,
}

/// What the server took.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ServerRow {
    /// Its time on the processor for each reply or cycle, in microseconds. Null if there was none.
    pub cpu_us_per_echo: Option<f64>,
    /// Its resident memory when all connections were open.
    pub rss_bytes: Option<u64>,
    /// How much that had grown since before the first connection, for each connection. Null if it
    /// had not: they lie in memory that others had left.
    pub bytes_per_connection: Option<f64>,
}

/// The share of a processor from which on the generator is said to have set the pace.
pub const BUSY: f64 = 0.9;

impl LoadReport {
    /// The report about `outcome`, which the plan came to in this number of processes.
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

    /// Whether the generator set the pace, and not the server.
    pub fn generator_was_the_limit(&self) -> bool {
        self.generator.cpu_share.is_some_and(|share| share >= BUSY)
    }

    /// Whether it did, or had no rest because others had the processors.
    pub fn machine_was_the_limit(&self) -> bool {
        let parts = self.generator.cpu_share.zip(self.generator.run_delay_share);
        parts.is_some_and(|(ran, waited)| ran + waited >= BUSY)
    }

    /// Whether it was over before its time.
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

    /// SNAPSHOTS=overwrite writes it anew.
    #[test]
    fn the_schema_in_docs_is_that_of_the_types() {
        let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
        let mut schema = generator.into_root_schema_for::<LoadReport>();
        schema.insert("title".to_owned(), "closecall load --format json".into());
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        assert_data_eq!(text, file!["../../docs/load.schema.json"].raw());
    }
}
