//! Report of a run as text.

use std::collections::BTreeMap;

use crate::cli::fit::{pad, width};
use crate::cli::words::{bytes, duration, thousands};
use crate::load::{Arrivals, Interval, LoadReport, Microseconds, Mode};

/// Width of the column of names.
const NAMES: usize = 14;

/// The longest line, unless a single part is longer.
const COLUMNS: usize = 80;

/// The whole report.
pub(super) fn report(report: &LoadReport) -> String {
    let mut text = format!(
        "{} at {}, {}, closecall {}\n",
        report.mode.name(),
        report.address,
        report.started_at,
        report.version
    );
    let mut line = |name: &str, parts: Vec<String>| text.push_str(&row(name, &parts));
    line("load", load(report));
    line("", counts_from(report));
    let done_count = report.held.or(report.echoes).or(report.cycles).unwrap_or(0);
    let done = thousands(done_count);
    let rate = count(report.rate_per_s);
    let (what, parts) = match (report.mode, report.target_rate_per_s) {
        (Mode::Hold, _) => {
            ("held", vec![format!("{done} of {}", thousands(report.connections.into()))])
        }
        (mode, target) => {
            let what = if mode == Mode::Echo { "echoes" } else { "cycles" };
            let of = target.map_or_else(String::new, |target| format!(" of {}", count(target)));
            (what, vec![done, format!("{rate}{of} a second")])
        }
    };
    line(what, parts);
    for (name, times) in latencies(report) {
        line(name, percentiles(times));
    }
    line("payload", payload(report));
    line("mismatches", vec![thousands(report.mismatches)]);
    line("errors", counts(&report.errors));
    if report.unanswered > 0 {
        let all = thousands(report.unanswered + done_count);
        let where_counted = match report.interrupted {
            true => "not in the percentiles: the interrupt cut them off",
            false => "in the percentiles with their age at the end",
        };
        let unanswered = format!("{} of {all}", thousands(report.unanswered));
        line("unanswered", vec![unanswered, where_counted.to_owned()]);
    }
    line("ended as", counts(&report.verdicts));
    line("generator", generator(report));
    if let Some(server) = &report.server {
        let grew = server.bytes_per_connection.map(|it| format!("{it} bytes a connection"));
        let parts = [
            server.cpu_us_per_echo.map(|us| format!("{us:.2} µs of CPU per {}", one(report.mode))),
            server.rss_bytes.map(|rss| format!("{} resident", bytes(rss))),
            server.rss_bytes.map(|_| grew.unwrap_or_else(|| "no growth".to_owned())),
        ];
        line("server", parts.into_iter().flatten().collect());
    }
    text
}

/// The unit of the CPU figures.
fn one(mode: Mode) -> &'static str {
    match mode {
        Mode::Hold => "message",
        Mode::Echo => "echo",
        Mode::Churn => "cycle",
    }
}

/// A name and its parts, on as many lines as they need.
fn row(name: &str, parts: &[String]) -> String {
    let mut text = pad(name, NAMES);
    let mut column = NAMES;
    for (index, part) in parts.iter().enumerate() {
        let comma = usize::from(index + 1 < parts.len());
        if column > NAMES && column + 1 + width(part) + comma > COLUMNS {
            text.push('\n');
            text.push_str(&" ".repeat(NAMES));
            column = NAMES;
        } else if column > NAMES {
            text.push(' ');
            column += 1;
        }
        text.push_str(part);
        text.push_str(&",".repeat(comma));
        column += width(part) + comma;
    }
    text + "\n"
}

/// The line about one interval of the measured time.
pub(super) fn interval(interval: &Interval) -> String {
    let row = interval.row().interval;
    let mut parts = vec![format!("{} a second", count(row.rate_per_s))];
    if let Some(us) = &row.latency_us {
        let times = [("p50", us.p50), ("p99", us.p99), ("max", us.max)];
        parts.extend(times.map(|(name, us)| format!("{name} {}", time(us))));
    }
    let failures = interval.failures();
    parts.push(format!("{} error{}", thousands(failures), if failures == 1 { "" } else { "s" }));
    format!("{:>8.1} s  {}\n", row.end_s, parts.join(", "))
}

/// The options of the run.
fn load(report: &LoadReport) -> Vec<String> {
    let plural = |number: u32, one: &str, many: &str| match number {
        1 => format!("1 {one}"),
        number => format!("{} {many}", thousands(number.into())),
    };
    let connections = plural(report.connections, "connection", "connections");
    let processes = plural(report.processes, "process", "processes");
    let time = format!("{:.1} s", report.duration_s);
    let mut parts = vec![
        format!("{connections} in {processes}"),
        plural(report.size_bytes, "byte", "bytes"),
        match (report.warmup_s, report.duration_s) {
            (0.0, _) => time,
            (warmup, 0.0) => format!("{time} (the warm-up of {} was not completed)", typed(warmup)),
            (warmup, _) => format!("{time} after {} of warm-up", typed(warmup)),
        },
        format!("timeout {}", typed(report.timeout_s)),
    ];
    if report.depth > 1 {
        parts.push(format!("depth {}", report.depth));
    }
    if let Some(ramp) = report.ramp_per_s {
        parts.push(format!("{} connects a second", thousands(ramp.into())));
    }
    parts
}

/// Seconds in the format of the options.
fn typed(seconds: f64) -> String {
    duration((seconds * 1e3).round() as u64)
}

/// How requests are made, and the starting point of a latency.
fn counts_from(report: &LoadReport) -> Vec<String> {
    let from = match (report.mode, report.closed_loop) {
        (Mode::Hold, _) => match report.every_s {
            Some(seconds) => format!("each connection sends a message every {}", typed(seconds)),
            None => "all connections are silent".to_owned(),
        },
        (Mode::Churn, true) => "closed loop: latency counts from each connect".to_owned(),
        (Mode::Churn, false) => "open loop: latency counts from when a cycle was due".to_owned(),
        (Mode::Echo, true) => "closed loop: latency counts from when a request was sent".to_owned(),
        (Mode::Echo, false) => "open loop: latency counts from when a request was due".to_owned(),
    };
    let random = report.arrivals == Some(Arrivals::Poisson);
    [Some(from), random.then(|| "at random times (Poisson)".to_owned())]
        .into_iter()
        .flatten()
        .collect()
}

/// The latencies with their names.
fn latencies(report: &LoadReport) -> Vec<(&'static str, &Microseconds)> {
    let name = if report.closed_loop { "latency" } else { "response time" };
    let both = [(name, &report.latency_us), ("service time", &report.service_us)];
    both.into_iter().filter_map(|(name, times)| Some((name, times.as_ref()?))).collect()
}

fn percentiles(times: &Microseconds) -> Vec<String> {
    let all = [
        ("min", times.min),
        ("p50", times.p50),
        ("p90", times.p90),
        ("p99", times.p99),
        ("p99.9", times.p99_9),
        ("p99.99", times.p99_99),
        ("max", times.max),
        ("mean", times.mean),
        ("stddev", times.stddev),
    ];
    all.map(|(name, us)| format!("{name} {}", time(us))).to_vec()
}

fn payload(report: &LoadReport) -> Vec<String> {
    let both = [("sent", report.sent_bytes_per_s), ("received", report.received_bytes_per_s)];
    both.map(|(name, rate)| format!("{name} {} a second", bytes(rate.round() as u64))).to_vec()
}

/// 41.3 µs, 2.71 ms, 10.2 s: three digits, as many as the histogram has.
pub(super) fn time(us: f64) -> String {
    let (value, unit) = match us {
        us if us < 999.5 => (us, "µs"),
        us if us < 999.5e3 => (us / 1e3, "ms"),
        us => (us / 1e6, "s"),
    };
    match value {
        value if value < 9.995 => format!("{value:.2} {unit}"),
        value if value < 99.95 => format!("{value:.1} {unit}"),
        value => format!("{value:.0} {unit}"),
    }
}

fn count(number: f64) -> String {
    thousands(number.round() as u64)
}

fn counts(counts: &BTreeMap<String, u64>) -> Vec<String> {
    if counts.is_empty() {
        return vec!["none".to_owned()];
    }
    counts.iter().map(|(name, count)| format!("{name} {}", thousands(*count))).collect()
}

fn generator(report: &LoadReport) -> Vec<String> {
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let mut parts = match (report.generator.cpu_share, report.generator.run_delay_share) {
        (Some(share), None) => vec![format!("{} of a processor", percent(share))],
        (Some(share), Some(waited)) => {
            let waited = format!("waited for one {} of the time", percent(waited));
            vec![format!("{} of a processor", percent(share)), waited]
        }
        (None, _) if report.duration_s == 0.0 => vec!["nothing measured".to_owned()],
        (None, _) => vec!["CPU use unknown on this system".to_owned()],
    };
    parts.extend(
        report
            .generator
            .cpu_us_per_echo
            .map(|us| format!("{us:.2} µs of CPU per {}", one(report.mode))),
    );
    parts
}

/// The report of merged histograms.
pub(super) fn merged(files: usize, count: u64, times: Option<&Microseconds>) -> String {
    let times = times.map_or_else(|| vec!["none".to_owned()], percentiles);
    let (files, count) = (thousands(files as u64), thousands(count));
    row("files", &[files]) + &row("replies", &[count]) + &row("latency", &times)
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
        let rounded = [9.996, 99.97, 999.6, 99_980.0, 999_700.0].map(time);
        assert_eq!(rounded, ["10.0 µs", "100 µs", "1.00 ms", "100 ms", "1.00 s"]);
    }

    #[test]
    fn a_row_is_no_wider_than_a_terminal_and_loses_nothing() {
        let us = 99_900.0;
        let times = Microseconds {
            p50: us,
            p90: us,
            p99: us,
            p99_9: us,
            p99_99: us,
            max: us,
            min: us,
            mean: us,
            stddev: us,
        };
        let parts = percentiles(&times);
        let text = row("response time", &parts);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines.iter().all(|line| width(line) <= COLUMNS), "{text}");
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(&text), words(&format!("response time {}", parts.join(", "))));
        let long = "x".repeat(100);
        assert_eq!(row("a", std::slice::from_ref(&long)), format!("{}{long}\n", pad("a", NAMES)));
    }
}
