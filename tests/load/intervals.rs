//! `--every-report` reports each interval of the measured time: all intervals together add up to
//! the report, and reporting never delays the run.

use std::io::{Read, Write, pipe};
use std::process::Stdio;
use std::sync::mpsc;

use serde_json::Value;

use crate::process::{PATIENCE, Process, closecall};
use crate::servers::{right, start};
use crate::{assert_valid, load, number, schema, serve};

/// The intervals and the report that these JSON lines are.
#[track_caller]
fn parts(stdout: &str) -> (Vec<Value>, Value) {
    let mut lines: Vec<Value> =
        stdout.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let report = lines.pop().expect("a report");
    assert_valid(&report);
    for line in &lines {
        schema::assert_valid(include_str!("../../docs/load-interval.schema.json"), line);
    }
    let intervals = lines.iter().map(|line| line["interval"].clone());
    (intervals.collect(), report)
}

/// They follow each other from the beginning to the end, and add up to the report.
#[track_caller]
fn assert_whole(intervals: &[Value], report: &Value) {
    let mut end = 0.0;
    for interval in intervals {
        assert_eq!(number(&interval["begin_s"]), end, "{intervals:#?}");
        end = number(&interval["end_s"]);
        assert!(number(&interval["begin_s"]) <= end, "{intervals:#?}");
    }
    assert_eq!(end, number(&report["duration_s"]), "{intervals:#?}");
    let sum = |name: &str| intervals.iter().map(|it| number(&it[name])).sum::<f64>();
    assert_eq!(sum("done"), number(&report["echoes"]), "{intervals:#?}");
    let max = |it: &Value| it["latency_us"]["max"].as_f64().unwrap_or(0.0);
    let longest = intervals.iter().map(max).fold(0.0, f64::max);
    assert_eq!(longest, max(report), "{intervals:#?}");
}

#[test]
fn intervals_add_up_to_the_report() {
    let (_server, address) = serve(&[]);
    let address = address.to_string();
    for more in [&[][..], &["--rate", "500"], &["--warmup", "150ms", "--rate", "500"]] {
        let options = ["-c6", "-d400ms", "--every-report", "100ms"];
        let arguments = [&["echo", &address], &options[..], more].concat();
        let mut process = Process::start(load(&arguments));
        assert_eq!(process.exit_code(), 0, "{}", process.stderr.text());
        let (intervals, report) = parts(&process.stdout.text());
        assert_whole(&intervals, &report);
        // A machine that is busy may be late for one.
        assert!((1..=5).contains(&intervals.len()), "{intervals:#?}");
        assert_eq!(intervals[0]["connections"], 6);
        if !more.is_empty() {
            assert_eq!(report["echoes"], 200);
        }
    }
}

/// Regression: each process had a line of its own at the end, with its part of the rate, because
/// the interval before the last one had the same number as the last one.
#[test]
fn several_processes_tell_one_interval_together() {
    let (_server, address) = serve(&[]);
    let address = address.to_string();
    let options = ["-c8", "-d1s", "--every-report", "500ms", "--processes", "4"];
    let arguments = [&["echo", &address, "--rate", "400"], &options[..]].concat();
    let mut process = Process::start(load(&arguments));
    assert_eq!(process.exit_code(), 0, "{}", process.stderr.text());
    let (intervals, report) = parts(&process.stdout.text());
    let sum: f64 = intervals.iter().map(|it| number(&it["done"])).sum();
    assert_eq!((sum, &report["echoes"]), (400.0, &400.into()), "{intervals:#?}");
    let ends: Vec<_> = intervals.iter().map(|it| number(&it["end_s"])).collect();
    assert!(ends.is_sorted_by(|one, next| one < next), "{intervals:#?}");
    // A line of one process alone has a rate of 100.
    for interval in &intervals {
        assert!(number(&interval["rate_per_s"]) > 150.0, "{intervals:#?}");
        assert_eq!(interval["connections"], 8, "{intervals:#?}");
    }
    assert_eq!(ends.last(), Some(&1.0));
}

#[test]
fn for_people_each_is_a_line_on_stderr() {
    let (_server, address) = serve(&[]);
    let address = address.to_string();
    let run = ["load", "echo", &address, "-c3", "-d300ms", "--every-report", "100ms"];
    let mut process = Process::start(closecall(&run));
    assert_eq!(process.exit_code(), 0, "{}", process.stderr.text());
    let stderr = process.stderr.text();
    let lines: Vec<_> = stderr.lines().filter(|line| line.contains(" a second, p50 ")).collect();
    assert!(!lines.is_empty(), "{stderr}");
    for line in &lines {
        assert!(line.chars().count() <= 80 && line.ends_with(", 0 errors"), "{line}");
        assert!(line.contains(", p99 ") && line.contains(", max "), "{line}");
    }
    assert!(lines[lines.len() - 1].starts_with("     0.3 s  "), "{stderr}");
    assert!(!process.stdout.text().contains("p50 0"), "the table is on stdout");
    assert!(process.stdout.text().starts_with("echo at "));
}

/// Nothing reads stdout. What there is no room for is in the next interval, and the run ends.
#[test]
fn a_stdout_that_takes_nothing_does_not_stop_the_run() {
    let (tell, ended) = mpsc::channel();
    let address = start(move |connection, turn, line: &[u8]| {
        // The last of the requests: 60 in all, and the first of the connection.
        if (connection, turn) == (1, 60) {
            let _ = tell.send(());
        }
        Some(right(line))
    });
    let (mut stdout, mut full) = pipe().unwrap();
    full.write_all(&[b' '; 65_536]).unwrap();
    let address = address.to_string();
    let options = ["--rate", "100", "-d600ms", "--every-report", "10ms"];
    let mut command = load(&[&["echo", &address, "-c1"], &options[..]].concat());
    command.stdout(Stdio::from(full)).stderr(Stdio::piped()).stdin(Stdio::null());
    let mut process = Process::of(command.spawn().unwrap());
    drop(command); // and with it our end of the pipe
    ended.recv_timeout(PATIENCE).expect("it stands still");

    let mut told = String::new();
    stdout.read_to_string(&mut told).unwrap();
    assert_eq!(process.exit_code(), 0, "{}", process.stderr.text());
    let (intervals, report) = parts(told.trim_start());
    assert_eq!(report["echoes"], 60);
    assert_whole(&intervals, &report);
    assert!(intervals.len() < 30, "{intervals:#?}");
}
