//! Promise: what `closecall read` says of a capture of the lab agrees with what the server, whose
//! sockets they were, said of the same connections. It needs CAP_NET_RAW; without it the test says
//! `skipped: needs CAP_NET_RAW`.
#![cfg(all(target_os = "linux", feature = "cli"))]

use std::collections::HashMap;
use std::io::ErrorKind;
use std::process::Command;

use closecall::lab::capture::Capture;
use serde_json::Value;

use crate::process::{Process, closecall};
use crate::skip;

/// Verdicts of the server's own that look different from outside, and as what. A deadline, a limit
/// and the end of a drain are reasons of the program: only what it sent for them is on the wire.
/// An acknowledgement that comes with a reset is on the wire, and the kernel does not count it.
const AGREES: &[(&str, &[&str])] = &[
    ("timeout.read", &["local_fin.delivered", "local_fin.refused", "local_fin.unconfirmed"]),
    ("timeout.write_stall", &["local_reset.unread", "local_reset.aborted"]),
    ("local.drain", &["local_fin.delivered", "local_fin.refused", "local_fin.half_close_served"]),
    ("peer_reset.reply_undelivered", &["peer_reset.reply_acked"]),
];

fn agree(server: &str, outside: &str) -> bool {
    let others = AGREES.iter().find(|row| row.0 == server).map_or(&[][..], |row| row.1);
    server == outside || others.contains(&outside)
}

#[track_caller]
fn run(command: Command) -> (i32, String, String) {
    let mut process = Process::start(command);
    let code = process.exit_code();
    (code, process.stdout.text(), process.stderr.text())
}

#[test]
fn the_view_from_outside_agrees_with_the_server() {
    match Capture::start() {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return skip::skips("CAP_NET_RAW");
        }
        started => drop(started.unwrap()),
    }
    let path = std::env::temp_dir().join(format!("closecall-read-{}.pcap", std::process::id()));
    let file = path.to_str().unwrap();
    let lab = run(closecall(&["lab", "--pcap", file, "--repeat", "5", "--format", "json"]));
    let read = run(closecall(&["read", file, "--format", "json"]));
    std::fs::remove_file(&path).unwrap();
    assert_eq!((lab.0, &*lab.2), (0, ""), "{}", lab.1);
    assert_eq!((read.0, &*read.2), (0, ""));

    let records = read.1.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let outside: HashMap<String, Value> =
        records.map(|record| (record["peer"].as_str().unwrap().to_owned(), record)).collect();
    let report: Value = serde_json::from_str(&lab.1).unwrap();
    let (mut compared, mut broken) = (0, Vec::new());
    for row in report["rows"].as_array().unwrap() {
        let (Some(peer), Some(verdict)) = (row["peer"].as_str(), row["verdict"].as_str()) else {
            continue;
        };
        let Some(record) = outside.get(peer) else {
            broken.push(format!("{}: {peer} is not in the capture", row["id"]));
            continue;
        };
        compared += 1;
        let seen = record["verdict"].as_str().unwrap();
        let evidence = &row["evidence"];
        // A byte that the server read had arrived, and one that it sent was on its way.
        let is_more = |name: &str| record[name].as_u64() >= evidence[name].as_u64();
        let fins = ["fin_received", "fin_sent"].map(|name| (&record[name], &evidence[name]));
        // The FIN behind a reset is known to neither; what is known to both is the same.
        let is_same_fin = fins[0].1.is_null() || fins[0].0 == fins[0].1;
        if !agree(verdict, seen) || !is_more("rx") || !is_same_fin {
            broken.push(format!("{}: {verdict} and {seen}: {record} and {evidence}", row["id"]));
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
    assert!(compared > 20, "they were not found: {compared}");
}
