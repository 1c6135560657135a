//! A run's figures as people read them.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::cli::args::RunArgs;
use crate::cli::fit::pad;
use crate::cli::words::{bytes, duration, thousands};
use crate::load::{Microseconds, Mode, Report};

/// Room for the names in front.
const NAMES: usize = 14;

/// The whole of it.
pub(super) fn report(report: &Report, run: &RunArgs<'_>) -> String {
    let mut text = headline(report, run);
    let mut line = |name: &str, value: String| {
        // Writing to memory does not fail.
        let _ = writeln!(text, "{}{value}", pad(name, NAMES));
    };
    let (what, done) = match report.mode {
        Mode::Hold => ("held", report.held),
        Mode::Echo => ("echoes", report.echoes),
        Mode::Churn => ("cycles", report.cycles),
    };
    let done_count = done.unwrap_or(0);
    let done = thousands(done_count);
    line(
        what,
        match (report.mode, report.target_rate_per_s) {
            (Mode::Hold, _) => format!("{done} of {}", thousands(report.connections.into())),
            (_, None) => format!("{done}, {} a second", count(report.rate_per_s)),
            (_, Some(target)) => {
                format!("{done}, {} of {} a second", count(report.rate_per_s), count(target))
            }
        },
    );
    for (name, times) in latencies(report) {
        line(name, percentiles(times));
    }
    line("mismatches", thousands(report.mismatches));
    line("errors", counts(&report.errors));
    if report.unanswered > 0 {
        let all = thousands(report.unanswered + done_count);
        let unanswered = thousands(report.unanswered);
        let where_counted = match report.interrupted {
            true => "those that the interrupt cut off are in no percentile",
            false => "in the percentiles with their age",
        };
        line("unanswered", format!("{unanswered} of {all}: {where_counted}"));
    }
    line("ended as", counts(&report.verdicts));
    line("generator", generator(report));
    if let Some(server) = &report.server {
        let grew = server.bytes_per_connection.map(|it| format!("{it} bytes a connection"));
        let parts = [
            server.cpu_us_per_echo.map(|us| format!("{us:.2} µs of CPU for each")),
            server.rss_bytes.map(|rss| format!("{} resident", bytes(rss))),
            server.rss_bytes.map(|_| grew.unwrap_or_else(|| "no more than before".to_owned())),
        ];
        line("server", parts.into_iter().flatten().collect::<Vec<_>>().join(", "));
    }
    text
}

fn headline(report: &Report, run: &RunArgs<'_>) -> String {
    let plural = |number: u32, one: &str, many: &str| match number {
        1 => format!("1 {one}"),
        number => format!("{} {many}", thousands(number.into())),
    };
    let how = match (report.mode, report.closed_loop) {
        (Mode::Hold, _) => match super::every_ms(run) {
            Some(ms) => format!("each says something every {}", duration(ms)),
            None => "all are silent".to_owned(),
        },
        (Mode::Churn, true) => "closed loop: a cycle counts from its connect".to_owned(),
        (Mode::Churn, false) => "open loop: a cycle counts from when it was due".to_owned(),
        (Mode::Echo, true) => "closed loop: a request counts from when it was sent".to_owned(),
        (Mode::Echo, false) => "open loop: a request counts from when it was due".to_owned(),
    };
    format!(
        "{}, {} in {}, {} bytes, {:.1} s; {how}\n",
        report.mode.name(),
        plural(report.connections, "connection", "connections"),
        plural(report.processes, "process", "processes"),
        thousands(run.common.size.into()),
        report.duration_s,
    )
}

/// Each with what it counts from.
fn latencies(report: &Report) -> Vec<(&'static str, &Microseconds)> {
    let name = if report.closed_loop { "latency" } else { "response time" };
    let both = [(name, &report.latency_us), ("service time", &report.service_us)];
    both.into_iter().filter_map(|(name, times)| Some((name, times.as_ref()?))).collect()
}

fn percentiles(times: &Microseconds) -> String {
    format!(
        "p50 {}, p90 {}, p99 {}, p99.9 {}, p99.99 {}, max {}",
        time(times.p50),
        time(times.p90),
        time(times.p99),
        time(times.p99_9),
        time(times.p99_99),
        time(times.max)
    )
}

/// 41.3 µs, 2.71 ms, 10.2 s: three digits, as many as the histogram has.
pub(super) fn time(us: f64) -> String {
    let (value, unit) = match us {
        us if us < 1000.0 => (us, "µs"),
        us if us < 1e6 => (us / 1e3, "ms"),
        us => (us / 1e6, "s"),
    };
    match value {
        value if value < 10.0 => format!("{value:.2} {unit}"),
        value if value < 100.0 => format!("{value:.1} {unit}"),
        value => format!("{value:.0} {unit}"),
    }
}

fn count(number: f64) -> String {
    thousands(number.round() as u64)
}

fn counts(counts: &BTreeMap<String, u64>) -> String {
    let parts: Vec<_> =
        counts.iter().map(|(name, count)| format!("{name} {}", thousands(*count))).collect();
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}

fn generator(report: &Report) -> String {
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let share = match (report.generator.cpu_share, report.generator.run_delay_share) {
        (Some(share), None) => format!("{} of a processor", percent(share)),
        (Some(share), Some(waited)) => {
            format!("{} of a processor, waited {} for one", percent(share), percent(waited))
        }
        (None, _) if report.duration_s == 0.0 => "measured nothing".to_owned(),
        (None, _) => "its share of a processor is not known here".to_owned(),
    };
    match report.generator.cpu_us_per_echo {
        Some(us) => format!("{share}, {us:.2} µs for each"),
        None => share,
    }
}

/// Several histograms as one.
pub(super) fn merged(files: usize, count: u64, times: Option<&Microseconds>) -> String {
    let times = times.map_or_else(|| "none".to_owned(), percentiles);
    let mut text = String::new();
    for (name, value) in
        [("files", thousands(files as u64)), ("replies", thousands(count)), ("latency", times)]
    {
        let _ = writeln!(text, "{}{value}", pad(name, NAMES));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits_and_a_fitting_unit() {
        let texts = [0.25, 41.26, 999.0, 2_712.0, 10_240.0, 432_000.0, 10_240_000.0].map(time);
        assert_eq!(
            texts,
            ["0.25 µs", "41.3 µs", "999 µs", "2.71 ms", "10.2 ms", "432 ms", "10.2 s"]
        );
    }
}
