//! A report says what was measured, of what, and when.

use jiff::Timestamp;
use serde_json::json;

use crate::process::{Process, closecall};
use crate::{Run, number, serve};

#[test]
fn it_says_what_was_asked_of_whom_and_when() {
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
