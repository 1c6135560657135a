//! `--find-rate`: the rate of a server whose capacity is known, and how a search ends otherwise.
//!
//! `CLOSECALL_LONG=1` looks for longer, and at cycles as well.

use std::sync::mpsc;
use std::thread;

use serde_json::Value;

use super::ports::{SERVER, within};
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

fn is_long() -> bool {
    std::env::var_os("CLOSECALL_LONG").is_some_and(|it| it == "1")
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
    if is_long() {
        assert_found("echo", 2000, "2s");
        assert_found("churn", 1000, "2s");
    } else {
        assert_found("echo", 2000, "250ms");
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
    assert_eq!(stderr, "closecall: interrupted: the table has the steps until then\n");
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

/// Regression: the line above the table had 105 columns, one connection was "1 connections", and
/// nothing named the conditions that had no column.
#[test]
fn the_table_has_a_line_for_each_step_and_80_columns() {
    let (_server, address) = serve(&[]);
    let address = address.to_string();
    let objective = "p99<1ns,max<1ns,p50<1ns,p99.9<1ns,p99.99<1ns";
    let run = ["load", "echo", &address, "-c1", "-d20ms", "--find-rate", objective];
    let mut process = Process::start(closecall(&run));
    assert_eq!(process.exit_code(), 1, "{}", process.stderr.text());
    let table = process.stdout.text();
    assert!(table.starts_with("echo, 1 connection, 1 process, 64 bytes, "), "{table}");
    let (head, rows) =
        table.split_once("\nasked      achieved   p99        max        gen").unwrap();
    assert!(head.contains(&objective.replace(',', ", ").replace(" p50", "\np50")), "{table}");
    assert!(head.ends_with("\nno column here, see --format json: p50, p99.9, p99.99"), "{table}");
    let rows: Vec<_> = rows.lines().skip(1).collect();
    assert!(rows[0].starts_with("closed") && rows[0].ends_with("estimate"), "{table}");
    assert!(rows[1..rows.len() - 1].iter().all(|row| row.contains("failed: ")), "{table}");
    assert!(rows[rows.len() - 1].starts_with("found: none"), "{table}");
    for line in table.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

// ---- searches that cannot go on -----------------------------------------------------------------

/// Regression: it went on for 26 more steps, hid the error, and said that the server was the limit.
#[test]
fn two_steps_without_a_reply_end_the_search() {
    // The scout connection, three connections of the closed loop, and three of the first rate.
    let address = servers::start(|connection: usize, _: usize, line: &[u8]| {
        (connection <= 6).then(|| servers::right(line))
    });
    let address = address.to_string();
    let search = Search::of(&["echo", &address, "-c3", "-d50ms", "--find-rate", "p99<10s"]);
    let Search { code, report, stderr } = search;
    assert_eq!((code, &report["found_rate_per_s"]), (1, &Value::Null), "{report:#}");
    let steps = report["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 4, "{report:#}");
    assert!(steps[2]["reasons"][0].as_str().unwrap().starts_with("closed "), "{report:#}");
    let why = report["ended_because"].as_str().unwrap();
    assert!(why.starts_with("the server no longer answers: closed "), "{why}");
    assert_eq!((&report["limited_by"], &steps[3]["limited_by"]), (&Value::Null, &Value::Null));
    assert_eq!(stderr.matches("closecall: first error: connection ").count(), 1, "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[test]
fn a_server_that_is_killed_leaves_the_rates_that_were_ok() {
    let (server, address) = serve(&[]);
    let address = address.to_string();
    let run = ["load", "echo", &address, "-c3", "-d200ms", "--find-rate", "p99<10s"];
    let mut process = Process::start(closecall(&run));
    process.stdout.wait_until(|table| table.contains(" ok\n"));
    server.signal("KILL");
    assert_eq!(process.exit_code(), 1);
    let (table, stderr) = (process.stdout.text(), process.stderr.text());
    assert!(table.contains(" failed: refused "), "{table}");
    let (_, end) = table.split_once("found: none; ").unwrap();
    assert!(end.starts_with("the server no longer answers: refused "), "{table}");
    assert!(
        end.contains("\nnot confirmed: ") && end.ends_with(" a second was ok before\n"),
        "{end}"
    );
    assert_eq!(stderr.matches("first error: ").count(), 1, "{stderr}");
}

/// Regression: it ended with "found: none", and that was all.
#[test]
fn a_closed_loop_without_a_reply_says_why() {
    let address = servers::start(|connection: usize, _: usize, line: &[u8]| {
        (connection == 0).then(|| servers::right(line))
    });
    let address = address.to_string();
    let search = Search::of(&["echo", &address, "-c3", "-d50ms", "--find-rate", "p99<10s"]);
    assert_eq!((search.code, search.report["steps"].as_array().unwrap().len()), (1, 1));
    let estimate = &search.report["steps"][0];
    assert_eq!((&estimate["ok"], &estimate["reasons"][0]), (&false.into(), &"closed 3".into()));
    assert_eq!(search.report["ended_because"], "the server sent no reply: closed 3");
    assert!(search.stderr.contains(": closed by the server"), "{}", search.stderr);
}

/// Regression: connections that the server refused were in no row.
#[test]
fn the_closed_loop_keeps_what_went_wrong() {
    let (_server, address) = serve(&["--max-per-ip", "3"]);
    let address = address.to_string();
    let search = Search::of(&["echo", &address, "-c5", "-d20ms", "--find-rate", "min<1ns"]);
    let estimate = &search.report["steps"][0];
    assert_eq!(estimate["reasons"], serde_json::json!(["reset 2"]), "{estimate:#}");
}

/// Regression: the JSON was that of a run, and no schema of a search.
#[test]
fn a_search_whose_scout_fails_has_no_steps() {
    let address = servers::start(|_: usize, _: usize, _: &[u8]| None).to_string();
    let search = Search::of(&["echo", &address, "-c3", "-d50ms", "--find-rate", "p99<10s"]);
    assert_eq!((search.code, &search.report["steps"]), (1, &Value::Array(vec![])));
    let why = search.report["ended_because"].as_str().unwrap();
    assert!(why.starts_with("the first connection: closed by the server"), "{why}");
    assert!(search.stderr.contains(why), "{}", search.stderr);
}

/// A server that answers until `connection`, and waits from there on.
fn waits_at(connection: usize) -> (String, mpsc::Receiver<()>) {
    let (tell, waits) = mpsc::channel();
    let address = servers::start(move |number: usize, _: usize, line: &[u8]| {
        if number >= connection {
            let _ = tell.send(());
            loop {
                thread::park();
            }
        }
        Some(servers::right(line))
    });
    (address.to_string(), waits)
}

/// Regression: an interrupt of the scout connection gave the JSON of a run; and a search that was
/// interrupted still named the limit of its failed steps.
#[test]
fn a_search_that_is_interrupted_names_no_limit() {
    // With one connection: the scout connection, the closed loop, a step and its repetition.
    for (connection, steps) in [(0, 0), (4, 3)] {
        let (address, waits) = waits_at(connection);
        let run = ["echo", &address, "-c1", "-d20ms", "--find-rate", "min<1ns"];
        let mut process = Process::start(load(&run));
        waits.recv().unwrap();
        process.signal("INT");
        let Search { code, report, stderr } = Search::ended(&mut process);
        assert_eq!((code, report["steps"].as_array().unwrap().len()), (1, steps), "{report:#}");
        let limit = (&report["interrupted"], &report["limited_by"], &report["ended_because"]);
        assert_eq!(limit, (&true.into(), &Value::Null, &Value::Null));
        assert_eq!(stderr, "closecall: interrupted: the table has the steps until then\n");
    }
}

/// Regression: the ports that one step had left in TIME_WAIT were missing in the next. A step
/// without ports takes a second longer, so this is one of the long tests.
fn assert_that_ports_in_time_wait_do_not_spoil_the_next_step() {
    let run = "$CLOSECALL load churn 127.0.0.1:9 -c 4 -d 1s --source 127.0.0.1 \
               --find-rate 'p99<100ms'; code=$?; kill $server; exit $code";
    let Some(mut run) = within("20000 20199", &format!("{SERVER} {run}")) else { return };
    run.exit_code();
    let table = run.stdout.text();
    assert!(table.contains(" failed: no port left"), "{table}");
    let (before, _) = table.split_once(" ok\n").unwrap();
    assert!(before.contains("no_port"), "a step is ok behind one without ports: {table}");
    assert!(table.contains("; ports were the limit, not the server"), "{table}");
}

/// Regression: a lack of ports was called "generator busy".
#[test]
fn a_search_without_ports_says_so_and_ends() {
    // TIME_WAIT lasts for its minute, and the closed loop takes all ports.
    let run = "echo 0 > /proc/sys/net/ipv4/tcp_tw_reuse; $CLOSECALL load churn 127.0.0.1:9 -c 4 \
               -d 300ms --source 127.0.0.1 --find-rate 'p99<100ms' --format json; code=$?; \
               kill $server; exit $code";
    let Some(mut run) = within("20000 20099", &format!("{SERVER} {run}")) else { return };
    let Search { code, report, stderr } = Search::ended(&mut run);
    assert_eq!((code, &report["limited_by"]), (1, &"ports".into()), "{report:#}");
    assert_eq!(report["ended_because"], "no local port was free");
    assert_eq!(report["steps"].as_array().unwrap().len(), 3, "{report:#}");
    assert_eq!(stderr.matches("closecall: ports were the limit, ").count(), 1, "{stderr}");
    if is_long() {
        assert_that_ports_in_time_wait_do_not_spoil_the_next_step();
    }
}

#[test]
fn an_objective_that_no_run_meets_is_a_usage_error() {
    let run = ["load", "echo", "127.0.0.1:1", "--find-rate", "p99<0ms"];
    let mut process = Process::start(closecall(&run));
    assert_eq!(process.exit_code(), 2);
    let stderr = process.stderr.text();
    assert!(stderr.contains("no run can meet 'p99<0ms'"), "{stderr}");
}
