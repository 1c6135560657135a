//! `--find-rate`: the rate of a server whose capacity is known, and how a search ends otherwise.
//!
//! `CLOSECALL_LONG=1` looks for longer, and at cycles as well.

use std::sync::mpsc;

use serde_json::Value;

use super::process::{Process, closecall};
use super::{load, number, schema, serve, servers};

/// A search that has come to its end: exit code, its JSON, and stderr.
struct Search {
    code: i32,
    report: Value,
    stderr: String,
}

impl Search {
    #[track_caller]
    fn of(arguments: &[&str]) -> Search {
        Search::ended(&mut Process::start(load(arguments)))
    }

    #[track_caller]
    fn ended(process: &mut Process) -> Search {
        let code = process.exit_code();
        let (stdout, stderr) = (process.stdout.text(), process.stderr.text());
        let report: Value = serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{stderr}"));
        schema::assert_valid(include_str!("../../docs/find-rate.schema.json"), &report);
        Search { code, report, stderr }
    }
}

/// No step fails for its latency alone: what a server cannot do shows in the rate that it achieves.
#[track_caller]
fn assert_found(mode: &str, capacity: u32, duration: &str) {
    let address = servers::start(servers::Paced::new(capacity)).to_string();
    let found = Search::of(&[mode, &address, "-c20", "-d", duration, "--find-rate", "p99<500ms"]);
    let report = &found.report;
    assert_eq!(found.code, 0, "{report:#}");
    let ratio = number(&report["found_rate_per_s"]) / f64::from(capacity);
    assert!((ratio - 1.0).abs() <= 0.05, "{ratio}: {report:#}");
    let last = report["steps"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["purpose"], &last["ok"]), (&"confirm".into(), &true.into()));
    assert_eq!(last["target_rate_per_s"], report["found_rate_per_s"]);
    assert!(number(&last["metrics"]["p99"]) < 500_000.0, "{report:#}");
}

#[test]
fn the_rate_of_a_server_of_known_capacity_is_found_within_5_percent() {
    let is_long = std::env::var_os("CLOSECALL_LONG").is_some_and(|it| it == "1");
    if is_long {
        assert_found("echo", 2000, "2s");
        assert_found("churn", 1000, "2s");
    } else {
        assert_found("echo", 2000, "600ms");
    }
}

#[test]
fn an_objective_that_no_rate_meets_is_exit_code_1() {
    let (_server, address) = serve(&[]);
    let address = address.to_string();
    for mode in ["echo", "churn"] {
        let search = Search::of(&[mode, &address, "-c2", "-d20ms", "--find-rate", "min<1ns"]);
        assert_eq!((search.code, &search.report["found_rate_per_s"]), (1, &Value::Null));
        let steps = search.report["steps"].as_array().unwrap();
        assert_eq!(steps[0]["purpose"], "estimate");
        assert!(steps.len() >= 3 && steps.len() % 2 == 1, "each failure twice: {steps:#?}");
        for pair in steps[1..].chunks(2) {
            assert_eq!(pair[0]["target_rate_per_s"], pair[1]["target_rate_per_s"]);
            let reason = pair[0]["reasons"][0].as_str().unwrap();
            assert!(pair[0]["ok"] == false && reason.starts_with("min "), "{pair:#?}");
        }
    }
}

#[test]
fn ctrl_c_ends_the_search_and_shows_its_steps() {
    let (opened, first) = mpsc::channel();
    let address = servers::start(move |connection, turn: usize, line: &[u8]| {
        if (connection, turn) == (1, 1) {
            let _ = opened.send(());
        }
        Some(servers::right(line))
    });
    let address = address.to_string();
    let run = ["echo", &address, "-c1", "-d1h", "--find-rate", "p99<5ms"];
    let mut process = Process::start(load(&run));
    first.recv().unwrap();
    process.signal("INT");
    let Search { code, report, stderr } = Search::ended(&mut process);
    assert_eq!((code, &report["interrupted"]), (1, &true.into()));
    assert_eq!(
        (&report["steps"], &report["found_rate_per_s"]),
        (&Value::Array(vec![]), &Value::Null)
    );
    assert_eq!(stderr, "closecall: interrupted: these are the steps until then\n");
}

/// The rate that is found can be held against a condition, as the rate of a run can.
#[test]
fn a_condition_is_held_against_the_confirmed_rate() {
    let address = servers::start(servers::Paced::new(1000)).to_string();
    let search = ["echo", &address, "-c4", "-d50ms", "--find-rate", "p99<10s"];
    let search = Search::of(&[&search[..], &["--fail-if", "rate<1000000"]].concat());
    assert_eq!(search.code, 1, "{:#}", search.report);
    if !search.report["found_rate_per_s"].is_null() {
        let line = "closecall: --fail-if 'rate<1000000' is met: rate ";
        assert!(search.stderr.contains(line), "{}", search.stderr);
    }
}

#[test]
fn the_table_has_a_line_for_each_step_and_80_columns() {
    let (_server, address) = serve(&[]);
    let address = address.to_string();
    let run = ["load", "echo", &address, "-c2", "-d20ms", "--find-rate", "p99<1ns,max<1ns,p50<1ns"];
    let mut process = Process::start(closecall(&run));
    assert_eq!(process.exit_code(), 1, "{}", process.stderr.text());
    let table = process.stdout.text();
    let lines: Vec<_> = table.lines().collect();
    assert!(lines[0].contains("steps of 20ms: p99<1ns,max<1ns,p50<1ns"), "{table}");
    assert!(lines[1].starts_with("asked      achieved   p99 "), "{table}");
    assert!(lines[2].starts_with("closed") && lines[2].ends_with("estimate"), "{table}");
    assert!(lines[3..lines.len() - 1].iter().all(|line| line.contains("failed: ")), "{table}");
    assert!(lines[lines.len() - 1].starts_with("found: none"), "{table}");
    for line in lines {
        assert!(line.chars().count() <= 80, "{line}");
    }
}
