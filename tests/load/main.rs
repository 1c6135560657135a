//! Promise: `closecall load` counts what happened and nothing else, finds each wrong reply, names
//! the limit that would stop it, and always ends.
#![cfg(all(target_os = "linux", feature = "cli"))]

#[path = "../common/process.rs"]
mod process;
#[path = "../common/schema.rs"]
mod schema;
#[path = "../common/scratch.rs"]
mod scratch;
#[path = "../common/skip.rs"]
mod skip;

mod closing;
mod conditions;
mod find;
mod intervals;
mod million;
mod ports;
mod refusals;
mod report;
mod schedule;
mod screen;
mod servers;
mod trouble;

use std::net::SocketAddr;
use std::process::Command;
use std::sync::mpsc;

use process::{Process, closecall};
use serde_json::Value;

/// `closecall serve` on a free port.
fn serve(options: &[&str]) -> (Process, SocketAddr) {
    let base = ["serve", "--listen", "127.0.0.1:0"];
    let process = Process::start(closecall(&[&base, options].concat()));
    let address = process.address();
    (process, address)
}

/// A run that has come to its end: exit code, its JSON, and stderr.
struct Run {
    code: i32,
    report: Value,
    stderr: String,
}

impl Run {
    #[track_caller]
    fn of(command: Command) -> Run {
        Run::ended(&mut Process::start(command))
    }

    /// Waits for its end. Its JSON is as the schema says.
    #[track_caller]
    fn ended(process: &mut Process) -> Run {
        let code = process.exit_code();
        let (stdout, stderr) = (process.stdout.text(), process.stderr.text());
        let report: Value = serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{stderr}"));
        assert_valid(&report);
        Run { code, report, stderr }
    }

    /// One that went well, and said nothing but its report.
    #[track_caller]
    fn good(arguments: &[&str]) -> Value {
        let Run { code, report, stderr } = Run::of(load(arguments));
        let stderr: Vec<_> = stderr.lines().filter(|line| !line.contains("its limit")).collect();
        assert_eq!((code, stderr), (0, Vec::new()), "{report:#}");
        assert_eq!((&report["mismatches"], &report["unanswered"]), (&0.into(), &0.into()));
        assert!(report["errors"].as_object().unwrap().is_empty(), "{report:#}");
        report
    }

    /// How often it went wrong in this way.
    fn errors(&self, kind: &str) -> u64 {
        self.report["errors"][kind].as_u64().unwrap_or(0)
    }
}

/// `closecall load … --format json`.
fn load(arguments: &[&str]) -> Command {
    closecall(&[&["load"], arguments, &["--format", "json"]].concat())
}

#[track_caller]
fn assert_valid(report: &Value) {
    schema::assert_valid(include_str!("../../docs/load.schema.json"), report);
}

#[track_caller]
fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("a number: {value}"))
}

/// Percentiles rise, and are no nonsense.
#[track_caller]
fn assert_rising(latency: &Value) {
    let all = ["p50", "p90", "p99", "p99_9", "p99_99", "max"].map(|name| number(&latency[name]));
    assert!(all[0] > 0.0 && all.is_sorted(), "{latency}");
}

// ---- what it does -------------------------------------------------------------------------------

#[test]
fn echo_counts_replies_and_looks_at_the_server() {
    let (server, address) = serve(&[]);
    let pid = server.id().to_string();
    let report = Run::good(&["echo", &address.to_string(), "-c7", "-d200ms", "--pid", &pid]);
    assert_eq!(report["mode"], "echo");
    assert_eq!((&report["closed_loop"], &report["connections"]), (&true.into(), &7.into()));
    assert_eq!(report["verdicts"], serde_json::json!({"local.done": 7}));
    let echoes = number(&report["echoes"]);
    assert!(echoes > 0.0 && number(&report["rate_per_s"]) * 0.2 <= echoes, "{report:#}");
    assert!(report["service_us"].is_null() && report.get("held").is_none());
    assert_rising(&report["latency_us"]);
    assert!(number(&report["server"]["cpu_us_per_echo"]) > 0.0);
    assert!(number(&report["server"]["rss_bytes"]) > 100_000.0);
    assert!(number(&report["generator"]["cpu_us_per_echo"]) > 0.0);
}

/// Regression: the kernel doubled the table of descriptors while connections were opened, and the
/// generator stood still for 5 to 20 ms each time, because its threads share the table.
#[test]
fn the_table_of_descriptors_has_its_size_before_the_second_connection() {
    let (opened, first) = mpsc::channel();
    let address = servers::start(move |connection, _: usize, line: &[u8]| {
        if connection == 1 {
            let _ = opened.send(());
        }
        Some(servers::right(line))
    });
    let address = address.to_string();
    let run = Process::start(load(&["hold", &address, "-c", "3000", "--ramp", "1", "-d1s"]));
    first.recv().unwrap();
    let size: usize = run.proc_status("FDSize").parse().unwrap();
    assert!(size >= 3000, "it has {size} places");
}

#[test]
fn hold_keeps_silent_peers_alive_beyond_the_deadline_of_the_server() {
    let (_server, address) = serve(&["--read-deadline", "3s"]);
    let address = address.to_string();
    let run = ["hold", &address, "-c20", "-d4s", "--every", "150ms"];
    let report = Run::good(&run);
    assert_eq!((&report["held"], &report["closed_loop"]), (&20.into(), &true.into()));
    assert_eq!(report["verdicts"], serde_json::json!({"local.done": 20}));
    assert_rising(&report["latency_us"]);

    let run = Run::of(load(&["hold", &address, "-c20", "-d1h", "--every", "off"]));
    assert_eq!((run.code, run.errors("closed")), (1, 20), "all were ended, and so is the run");
    assert_eq!(run.report["held"], 0);
    assert_eq!(run.report["verdicts"], serde_json::json!({"peer_fin.delivered": 20}));
    assert!(run.report["latency_us"].is_null());
    assert!(run.stderr.contains("--every"), "{}", run.stderr);
}

#[test]
fn churn_ends_each_cycle_in_order_on_both_sides() {
    let (mut server, address) = serve(&[]);
    let address = address.to_string();
    let report = Run::good(&["churn", &address, "-c8", "-d1s", "--source", "127.0.1.0/28"]);
    let cycles = report["cycles"].as_u64().unwrap();
    assert!(cycles > 8, "places are used again: {cycles}");
    assert_eq!(report["verdicts"], serde_json::json!({ "local.done": cycles }));
    server.signal("TERM");
    assert_eq!(server.exit_code(), 0);
    let stderr = server.stderr.text();
    let (_, table) = stderr.rsplit_once("verdict ").unwrap();
    let accepted = format!("accepted {}", cycles + 1); // and the one that learnt the prefix
    let table: String = table.replace(',', "").split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(table.contains(&accepted), "{table}");
    assert!(!table.contains("peer_reset") && !table.contains("unconfirmed"), "{table}");
}

#[test]
fn every_framing_and_depth_and_size_is_compared_and_right() {
    for framing in ["chunk", "line", "raw"] {
        let (_server, address) = serve(&["--framing", framing, "--read-buffer", "1000"]);
        for (size, depth) in [("1", "1"), ("17", "7"), ("64", "1"), ("5000", "3")] {
            let address = address.to_string();
            let run = ["echo", &address, "-c3", "-d50ms", "--size", size, "--depth", depth];
            assert!(number(&Run::good(&run)["echoes"]) > 0.0, "{framing} {size} {depth}");
        }
    }
}

#[test]
fn several_processes_are_one_run() {
    let (_server, address) = serve(&[]);
    let address = address.to_string();
    let run = ["--processes", "2", "-c9", "-d200ms", "--source", "127.0.2.0/24"];
    for mode in ["hold", "echo", "churn"] {
        let report = Run::good(&[&[mode, &address], &run[..]].concat());
        assert_eq!((&report["processes"], &report["connections"]), (&2.into(), &9.into()));
        let done = report["verdicts"]["local.done"].as_u64().unwrap();
        match mode {
            "churn" => assert_eq!(report["cycles"], done),
            _ => assert_eq!(done, 9),
        }
    }
    let rate = Run::good(&[&["echo", &address, "--rate", "1000"], &run[..]].concat());
    assert_eq!(rate["echoes"], 200, "all that was due, whichever connection had to send it");
}

#[test]
fn the_open_loop_asks_for_all_that_was_due() {
    let (_server, address) = serve(&[]);
    for mode in ["echo", "churn"] {
        let address = address.to_string();
        let report = Run::good(&[mode, &address, "-c5", "-d300ms", "--rate", "500"]);
        assert_eq!(report["closed_loop"], false);
        let name = if mode == "echo" { "echoes" } else { "cycles" };
        assert_eq!(report[name], 150, "{report:#}");
        assert_rising(&report["latency_us"]);
        assert_rising(&report["service_us"]);
    }
}

/// One of two connections gets no reply until the other one has had 50 of them, which are due at an
/// even pace. So by construction half a second has passed, in which the first one asked nothing.
#[test]
fn a_stall_shows_in_the_response_time_and_not_in_the_service_time() {
    let address = servers::start(servers::Stall::new(50)).to_string();
    let report = Run::good(&["echo", &address, "-c2", "-d1s", "--rate", "200"]);
    assert_eq!(report["echoes"], 200);
    let (response, service) = (&report["latency_us"], &report["service_us"]);
    // Of 200 requests 25 were due in the first half of the stall.
    assert!(number(&response["p90"]) >= 200_000.0, "{report:#}");
    assert!(number(&service["p90"]) * 4.0 <= number(&response["p90"]), "{report:#}");
    assert!(number(&service["max"]) >= 100_000.0, "the one that was under way: {report:#}");
}

/// Only where nothing was said about idle connections: `--every off` says that they are silent.
#[test]
fn silent_connections_are_warned_of_unless_they_were_asked_for() {
    let (_server, address) = serve(&[]);
    let address = address.to_string();
    for (options, lines) in [(&[][..], 1), (&["--every", "off"], 0)] {
        let run = ["echo", &address, "-c20", "-d1ms", "--rate", "1"];
        let run = Run::of(load(&[&run[..], options].concat()));
        let count = run.stderr.matches("each connection is silent for 10 s").count();
        assert_eq!((run.code, count), (0, lines), "{}", run.stderr);
    }
}

#[test]
fn histograms_add_up() {
    let (_server, address) = serve(&[]);
    let folder = std::env::temp_dir().join(format!("closecall-load-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (one, other, both) = (path("one.hdr"), path("other.hdr"), path("both.hdr"));
    let mut echoes = 0;
    let mut longest = 0.0f64;
    for (file, processes) in [(&one, "1"), (&other, "2")] {
        let address = address.to_string();
        let run = ["echo", &address, "-c4", "-d100ms", "--hdr", file, "--processes", processes];
        let report = Run::good(&run);
        echoes += report["echoes"].as_u64().unwrap();
        longest = longest.max(number(&report["latency_us"]["max"]));
    }
    for files in [vec!["merge", &one, &other, "--hdr", &both], vec!["merge", &both]] {
        let mut process = Process::start(load(&files));
        assert_eq!(process.exit_code(), 0, "{}", process.stderr.text());
        let merged: Value = serde_json::from_str(&process.stdout.text()).unwrap();
        assert_eq!(merged["count"], echoes);
        assert_eq!(number(&merged["latency_us"]["max"]), longest);
        assert_rising(&merged["latency_us"]);
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn the_table_is_for_people() {
    let (_server, address) = serve(&[]);
    let address = address.to_string();
    let run = ["load", "echo", &address, "-c3", "-d100ms", "--rate", "100"];
    let mut process = Process::start(closecall(&run));
    assert_eq!(process.exit_code(), 0, "{}", process.stderr.text());
    let table = process.stdout.text();
    for part in ["open loop", "response time", "service time", "local.done 3", "errors        none"]
    {
        assert!(table.contains(part), "{part}: {table}");
    }
    let stderr = process.stderr.text();
    assert!(!table.contains('\x1b'), "{table}");
    assert!(stderr.lines().all(|line| line.contains("its limit")), "{stderr}");
}
