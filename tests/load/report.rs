//! A report states what was measured, on which server, and when.

use std::path::Path;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::process::{Process, closecall};
use crate::scratch::Scratch;
use crate::{Run, load, number, serve};

#[test]
fn it_reports_the_settings_the_server_and_the_time() {
    let (_server, address) = serve(&[]);
    let address = address.to_string();
    let before = Timestamp::now();
    let options = ["-c3", "-d100ms", "--size", "100", "--depth", "2", "--timeout", "3s"];
    let report = Run::good(&[&["echo", &address, "--ramp", "1000"], &options[..]].concat());
    let after = Timestamp::now();
    for (name, expected) in [
        ("address", json!(address)),
        ("size_bytes", json!(100)),
        ("depth", json!(2)),
        ("ramp_per_s", json!(1000)),
        ("every_s", json!(5.0)),
        ("timeout_s", json!(3.0)),
        ("version", json!(env!("CARGO_PKG_VERSION"))),
    ] {
        assert_eq!(report[name], expected, "{name}");
    }
    let text = report["started_at"].as_str().unwrap();
    let started: Timestamp = text.parse().unwrap();
    // It has milliseconds, and may be rounded up.
    let (first, last) = (before.as_millisecond(), after.as_millisecond() + 1);
    assert!((first..=last).contains(&started.as_millisecond()), "{before} {started} {after}");
    assert!(text.ends_with('Z'), "UTC: {text}");
}

#[test]
fn it_has_the_payload_each_way_and_the_moments_of_the_latencies() {
    let (_server, address) = serve(&["--prefix", "12345678"]);
    let address = address.to_string();
    let report = Run::good(&["echo", &address, "-c4", "-d200ms", "--size", "56"]);
    let (echoes, seconds) = (number(&report["echoes"]), number(&report["duration_s"]));
    let bytes = |name: &str| (number(&report[name]) * seconds).round();
    // The closed loop: each request is sent in the measured time, the last replies are late.
    assert_eq!(bytes("sent_bytes_per_s"), echoes * 56.0, "{report:#}");
    let received = bytes("received_bytes_per_s");
    assert!(received <= echoes * 64.0 && received >= (echoes - 4.0) * 64.0, "{report:#}");

    let latency = &report["latency_us"];
    let [min, mean, max, stddev] =
        ["min", "mean", "max", "stddev"].map(|name| number(&latency[name]));
    assert!(0.0 < min && min <= mean && mean <= max, "{latency}");
    assert!(0.0 < stddev && stddev < max, "{latency}");
    assert!(min <= number(&latency["p50"]), "{latency}");
}

#[test]
fn no_line_of_a_table_is_wider_than_a_terminal() {
    let (server, address) = serve(&[]);
    let (address, pid) = (address.to_string(), server.id().to_string());
    let echo = ["echo", &address, "--rate", "2000", "--depth", "3"];
    for run in [&["hold", &address, "--every", "50ms"][..], &echo, &["churn", &address]] {
        let options = ["-c20", "-d100ms", "--pid", &pid];
        let mut process = Process::start(closecall(&[&["load"], run, &options].concat()));
        assert_eq!(process.exit_code(), 0, "{}", process.stderr.text());
        let table = process.stdout.text();
        for line in table.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        for part in ["mean ", "stddev ", "min ", "sent ", "received ", "20 connections"] {
            assert!(table.contains(part), "{part}: {table}");
        }
        assert!(table.contains(&format!("{} at {address}, 2", run[0])), "{table}");
    }
}

/// The lines of numbers of a percentile distribution, as the plotter of HdrHistogram reads them.
fn percentile_rows(path: &Path) -> Vec<Vec<f64>> {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.starts_with("       Value     Percentile TotalCount 1/(1-Percentile)\n\n"));
    let footer: Vec<_> = text.lines().filter(|line| line.starts_with('#')).collect();
    for (line, name) in footer.iter().zip(["#[Mean ", "#[Max ", "#[Buckets "]) {
        assert!(line.starts_with(name) && line.ends_with(']'), "{line}");
    }
    assert_eq!(footer.len(), 3, "{text}");
    let rows = text.lines().skip(2).filter(|line| !line.starts_with('#'));
    rows.map(|row| row.split_whitespace().map(|it| it.parse().unwrap()).collect()).collect()
}

#[test]
fn beside_a_histogram_lie_its_percentiles_as_text() {
    let (_server, address) = serve(&[]);
    let folder = Scratch::new("hgrm");
    let [one, both, text] = ["one.hdr", "both.hdr", "text.hgrm"].map(|name| folder.beside(name));
    let shown = |path: &Path| path.to_str().unwrap().to_owned();
    let address = address.to_string();
    let run = ["echo", &address, "-c4", "-d100ms", "--rate", "500", "--hdr"];
    let report = Run::good(&[&run[..], &[&shown(&one)]].concat());

    let rows = percentile_rows(&folder.beside("one.hdr.hgrm"));
    let last = rows.last().unwrap();
    assert_eq!((last[1], last[2]), (1.0, 50.0), "all of them");
    // Milliseconds there, microseconds here; the same value, or the highest that looks the same.
    let same = |ms: f64, us: &Value| (ms * 1000.0 / number(us) - 1.0).abs() < 0.002;
    assert!(same(last[0], &report["latency_us"]["max"]), "{rows:?} {report:#}");
    let median = rows.iter().find(|row| row[1] >= 0.5).unwrap();
    assert!(same(median[0], &report["latency_us"]["p50"]), "{rows:?} {report:#}");

    for (files, out) in [([&one, &one], &both), ([&both, &one], &text)] {
        let [first, second] = files.map(|path| shown(path));
        let mut merge = Process::start(load(&["merge", &first, &second, "--hdr", &shown(out)]));
        assert_eq!(merge.exit_code(), 0, "{}", merge.stderr.text());
    }
    let all = percentile_rows(&folder.beside("both.hdr.hgrm"));
    assert_eq!((all.last().unwrap()[2], all.last().unwrap()[0]), (100.0, last[0]));
    assert_eq!(percentile_rows(&text).last().unwrap()[2], 150.0, "the text alone");
    let left = std::fs::read_dir(folder.beside("")).unwrap().count();
    assert_eq!(left, 5, "no third file of text.hgrm");
}
