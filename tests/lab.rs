//! Promise: `closecall lab` plays every ending, its five experiments first, and each row is as it
//! has to be, is the same as another, or says why it was not played.
#![cfg(all(target_os = "linux", feature = "cli"))]

#[path = "common/process.rs"]
mod process;
#[path = "common/schema.rs"]
mod schema;
#[path = "common/skip.rs"]
mod skip;

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Instant;

use process::{PATIENCE, Process, closecall, closecall_after};
use serde_json::Value;
use snapbox::{assert_data_eq, file};

/// Runs to the end, and gives the exit code and both outputs.
#[track_caller]
fn lab(args: &[&str]) -> (i32, String, String) {
    let mut process = Process::start(closecall(&[&["lab"], args].concat()));
    let code = process.exit_code();
    (code, process.stdout.text(), process.stderr.text())
}

/// All of it, run once for all tests.
fn whole() -> &'static Value {
    static WHOLE: OnceLock<Value> = OnceLock::new();
    WHOLE.get_or_init(|| json(&["--repeat", "50"]))
}

/// A run that goes well, as JSON. It is as the schema says.
#[track_caller]
fn json(args: &[&str]) -> Value {
    let (code, stdout, stderr) = lab(&[&["--format", "json"], args].concat());
    assert_eq!((code, &*stderr), (0, ""), "{stdout}");
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_valid(&report);
    report
}

#[track_caller]
fn assert_valid(report: &Value) {
    schema::assert_valid(include_str!("../docs/lab.schema.json"), report);
}

fn rows(report: &Value) -> &[Value] {
    report["rows"].as_array().unwrap()
}

#[track_caller]
fn row<'a>(report: &'a Value, id: &str) -> &'a Value {
    rows(report).iter().find(|row| row["id"] == id).unwrap_or_else(|| panic!("no row {id}"))
}

// ---- all of it ----------------------------------------------------------------------------------

#[test]
fn every_row_is_as_expected_or_the_same_as_another_or_skipped_with_a_reason() {
    let report = whole();
    assert_eq!(report["server"]["alive"], true);
    for row in rows(report) {
        let outcome = row["outcome"].as_str().unwrap();
        match outcome {
            "ok" => assert!(row["verdict"].is_string() && row["evidence"].is_object(), "{row:#}"),
            "same" => {
                let first = self::row(report, row["same_as"].as_str().unwrap());
                assert_eq!((&row["wire"], &row["verdict"]), (&first["wire"], &first["verdict"]));
            }
            "skipped" => {
                assert!(row["note"].as_str().unwrap().starts_with("needs "), "{row:#}");
                assert!(row["verdict"].is_null() && row["wire"] == "", "{row:#}");
            }
            _ => panic!("{row:#}"),
        }
        assert_eq!(row["recv_loop"].is_null(), outcome == "skipped", "{row:#}");
    }
    let skipped: Vec<_> = rows(report).iter().filter(|row| row["outcome"] == "skipped").collect();
    assert_eq!(skipped.len(), 8, "what can be forced here is not skipped");
}

#[test]
fn the_articles_experiments_stand_first_and_the_fifth_is_a_race() {
    let report = whole();
    let numbers: Vec<_> = rows(report).iter().map(|row| row["experiment"].as_u64()).collect();
    assert_eq!(numbers[..5], [Some(1), Some(2), Some(3), Some(4), Some(5)]);
    assert!(numbers[5..].iter().all(Option::is_none));
    for experiment in &rows(report)[..4] {
        assert_eq!(experiment["article"]["agrees"], true, "{experiment:#}");
    }
    let race = &rows(report)[4]["race"];
    assert_eq!(race["runs"], 50);
    for counts in [&race["verdicts"], &race["recv_loop"]] {
        let counts = counts.as_object().unwrap().values();
        assert_eq!(counts.map(|count| count.as_u64().unwrap()).sum::<u64>(), 50, "{race:#}");
    }
    assert!(race["verdicts"]["peer_fin.delivered"].is_null(), "never: {race:#}");
}

/// What a bare recv loop cannot tell apart is told apart here.
#[test]
fn a_recv_loop_says_eof_to_a_reply_that_was_lost() {
    let report = whole();
    for id in ["S1", "S3 FIN first", "S6b", "S8b", "S15"] {
        assert_eq!(row(report, id)["recv_loop"]["recv"], "0", "{id}");
    }
    let verdicts: Vec<_> = ["S1", "S3 FIN first", "S6b", "S8b"]
        .map(|id| row(report, id)["verdict"].as_str().unwrap())
        .into_iter()
        .collect();
    let expected = [
        "peer_fin.delivered",
        "peer_fin.reply_refused",
        "peer_fin.reply_discarded",
        "peer_reset.before_reply",
    ];
    assert_eq!(verdicts, expected);
    assert_eq!(row(report, "S2")["recv_loop"]["recv"], "-1 ECONNRESET");
    assert_eq!(row(report, "S9")["recv_loop"]["recv"], "-1 EAGAIN");
    assert_eq!(row(report, "S9")["recv_loop"]["status"], 2);
    assert_eq!(row(report, "S17")["recv_loop"]["recv"], "blocked in send");
    assert!(row(report, "S17")["recv_loop"]["status"].is_null());
}

// ---- parts of it, and formats -------------------------------------------------------------------

#[test]
fn only_means_one_by_its_name_and_all_by_their_number() {
    let ids = |report: &Value| -> Vec<String> {
        rows(report).iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&json(&["--only", "s7b,S1"])), ["S1", "S7b"], "in the order of the table");
    assert_eq!(ids(&json(&["--only", "S3 FIN first"])), ["S3 FIN first"]);
    let three = ids(&json(&["--only", "S3", "--repeat", "2"]));
    assert_eq!(three, ["S3 race", "S3 FIN first", "S3 reply first", "S3 pipelined"]);
    assert_eq!(ids(&json(&["--only", "S13"])), ["S13a", "S13b"], "there is no S13 itself");
    assert_eq!(ids(&json(&["--only", "s13B"])), ["S13b"]);
}

#[test]
fn the_table_is_for_people() {
    let (code, stdout, stderr) = lab(&["--only", "S1,S4,S12"]);
    assert_eq!((code, &*stderr), (0, ""));
    assert_data_eq!(stdout, file!["lab/table.txt"]);
}

#[test]
fn markdown_is_for_an_issue() {
    let (code, stdout, stderr) = lab(&["--only", "S1,S4", "--format", "markdown"]);
    assert_eq!((code, &*stderr), (0, ""));
    assert_data_eq!(stdout, file!["lab/markdown.md"]);
}

#[test]
fn list_shows_what_there_is_and_plays_nothing() {
    let (code, stdout, _) = lab(&["--list", "--format", "json"]);
    assert_eq!(code, 0);
    let list: Value = serde_json::from_str(&stdout).unwrap();
    let list = list.as_array().unwrap();
    assert_eq!(list.len(), rows(whole()).len());
    for (listed, row) in list.iter().zip(rows(whole())) {
        assert_eq!((&listed["id"], &listed["client"]), (&row["id"], &row["client"]));
        assert_eq!(listed["needs"].is_null(), row["outcome"] != "skipped");
    }
    for format in ["table", "markdown"] {
        let (code, stdout, _) = lab(&["--list", "--only", "S7b", "--format", format]);
        assert_eq!(code, 0);
        assert!(stdout.contains("peer_reset.probe") && !stdout.contains("S1"), "{stdout}");
    }
}

#[test]
fn nothing_is_coloured_that_is_no_terminal() {
    let (_, stdout, stderr) = lab(&["--only", "S1"]);
    assert!(!stdout.contains('\x1b') && stderr.is_empty());
}

// ---- exit codes ---------------------------------------------------------------------------------

#[test]
fn usage_errors_are_one_line_that_names_what_is_allowed() {
    for (args, named) in [
        (["--only", "S99"], ["'S99'", "S2 recv loop, S2 Linux, S1, "]),
        (["--only", "S"], ["'S'", "one or more of"]),
        (["--only", "S1,,S2"], ["''", "one or more of"]),
        (["--format", "xml"], ["'xml'", "table, json or markdown"]),
        (["--repeat", "0"], ["'0'", "from 1 to 100000"]),
        (["--repeat", "-1"], ["'-1'", "from 1 to 100000"]),
    ] {
        let (code, stdout, stderr) = lab(&args);
        assert_eq!((code, &*stdout, stderr.lines().count()), (2, "", 1), "{stderr}");
        assert!(named.iter().all(|part| stderr.contains(part)), "{stderr}");
        assert!(stderr.contains(args[0]), "{stderr}");
    }
}

#[test]
fn servers_that_cannot_be_started_are_refused() {
    let mut process = Process::start(closecall_after("ulimit -n 5", &["lab"]));
    assert_eq!(process.exit_code(), 3);
    let stderr = process.stderr.text();
    assert!(stderr.contains("ulimit -n") && stderr.lines().count() == 1, "{stderr}");
}

/// The close log of a server elsewhere tells how far it is: with so many connections the first row
/// is done, and the race is under way.
#[test]
fn an_interrupt_leaves_what_was_played() {
    let log = std::env::temp_dir().join(format!("closecall-lab-{}.jsonl", std::process::id()));
    let path = log.to_str().unwrap();
    let server =
        Process::start(closecall(&["serve", "--listen", "127.0.0.1:0", "--close-log", path]));
    let address = server.address().to_string();
    let rows_of = ["lab", &address, "--observe", path, "--only", "S1,S3 race,S9"];
    let options = ["--repeat", "100000", "--format", "json"];
    let mut process = Process::start(closecall(&[&rows_of[..], &options].concat()));
    let give_up = Instant::now() + PATIENCE;
    while std::fs::read_to_string(&log).unwrap().lines().count() < 100 {
        assert!(Instant::now() < give_up, "{}", process.stderr.text());
        std::thread::yield_now();
    }
    process.signal("INT");
    let code = process.exit_code();
    std::fs::remove_file(&log).unwrap();
    let stderr = process.stderr.text();
    assert_eq!(code, 1, "{stderr}");
    let report: Value = serde_json::from_str(&process.stdout.text()).unwrap();
    assert_valid(&report);
    assert_eq!(row(&report, "S1")["outcome"], "ok");
    assert!(row(&report, "S3 race")["note"].as_str().unwrap().contains(" of 100000 runs"));
    assert_eq!(rows(&report).len(), 2, "S9 was not played: {report:#}");
    assert!(stderr.contains("interrupted after 2 of 3 rows"), "{stderr}");
}

/// A control group of this test's own whose sockets share this much memory; `None` where there can
/// be none: that is said.
fn short_of_memory(bytes: &str) -> Option<Group> {
    let group = Group(format!("/sys/fs/cgroup/memory/closecall-{}", std::process::id()).into());
    let limited = fs::create_dir(&group.0)
        .and_then(|()| fs::write(group.0.join("memory.kmem.tcp.limit_in_bytes"), bytes));
    match limited {
        Ok(()) => Some(group),
        Err(_) => {
            skip::skips("a memory control group (v1) that can be made, and root");
            None
        }
    }
}

struct Group(PathBuf);

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// S15b failed with `timeout.write_stall` when neighbours had taken the memory for sockets: both
/// ends had megabytes to send, and neither had memory to receive.
#[test]
fn full_buffers_become_empty_again_when_memory_for_sockets_is_short() {
    let Some(group) = short_of_memory("2M") else { return };
    let enters = format!("echo $$ > {}", group.0.join("cgroup.procs").display());
    let args = ["lab", "--only", "S15b", "--format", "json"];
    let mut process = Process::start(closecall_after(&enters, &args));
    let code = process.exit_code();
    assert_eq!((code, process.stderr.text()), (0, String::new()), "{}", process.stdout.text());
}
