//! Promise: with `--capture` the lab shows what was on the wire, holds every scenario against it,
//! and `--pcap` keeps it. It needs CAP_NET_RAW; without it a test says `skipped: needs
//! CAP_NET_RAW`, and with CLOSECALL_NAMESPACES=required that is a failure.
#![cfg(all(target_os = "linux", feature = "cli"))]

use std::fs::File;
use std::io::{BufReader, ErrorKind};
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::process::{Process, closecall, closecall_after};
use crate::scenarios::lab;
use crate::{schema, skip};
use closecall::lab::capture::Capture;
use pcap_file::pcap::PcapReader;
use serde_json::Value;

/// Runs to the end, and gives the exit code and both outputs.
#[track_caller]
fn run(command: Command) -> (i32, String, String) {
    let mut process = Process::start(command);
    let code = process.exit_code();
    (code, process.stdout.text(), process.stderr.text())
}

/// Whether this machine lets us. That it does not is said.
#[track_caller]
fn can_capture() -> bool {
    match Capture::start() {
        Ok(_) => true,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            skip::skips("CAP_NET_RAW");
            false
        }
        Err(error) => panic!("{error}"),
    }
}

/// A path of our own, and its text.
fn path(name: &str) -> (PathBuf, String) {
    let name = format!("closecall-lab-{}-{name}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let text = path.to_str().unwrap().to_owned();
    (path, text)
}

/// All of it, captured, run once for all tests: the report, and the packets in the file.
fn whole() -> Option<&'static (Value, Vec<Vec<u8>>)> {
    static WHOLE: OnceLock<(Value, Vec<Vec<u8>>)> = OnceLock::new();
    let play = || {
        let (path, text) = path("whole.pcap");
        let args = ["--pcap", &text, "--repeat", "50", "--format", "json"];
        let (code, stdout, stderr) = lab(&args);
        let file = File::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!((code, &*stderr), (0, ""), "{stdout}");
        let mut reader = PcapReader::new(BufReader::new(file)).unwrap();
        let mut packets = Vec::new();
        while let Some(packet) = reader.next_packet() {
            packets.push(packet.unwrap().data.into_owned());
        }
        (serde_json::from_str(&stdout).unwrap(), packets)
    };
    can_capture().then(|| WHOLE.get_or_init(play))
}

fn rows(report: &Value) -> &[Value] {
    report["rows"].as_array().unwrap()
}

#[track_caller]
fn row<'a>(report: &'a Value, id: &str) -> &'a Value {
    rows(report).iter().find(|row| row["id"] == id).unwrap_or_else(|| panic!("no row {id}"))
}

/// `None` for a row that was not played.
fn packets(row: &Value) -> Option<&Vec<Value>> {
    row["packets"].as_array()
}

// ---- all of it ----------------------------------------------------------------------------------

#[test]
fn every_row_is_seen_to_be_as_it_has_to_be() {
    let Some((report, _)) = whole() else { return };
    schema::assert_valid(include_str!("../../docs/lab.schema.json"), report);
    assert_eq!((&report["wire"], &report["server"]["alive"]), (&"seen".into(), &true.into()));
    for row in rows(report) {
        let skipped = row["outcome"] == "skipped";
        let as_it_has_to_be = ["ok", "same", "skipped"].map(Value::from).contains(&row["outcome"]);
        assert!(as_it_has_to_be, "{}: {}", row["id"], row["note"]);
        assert_eq!(packets(row).is_none(), skipped, "{}", row["id"]);
        assert_eq!((row["wire"] == "", row["peer"].is_null()), (skipped, skipped), "{}", row["id"]);
        let Some(packets) = packets(row) else { continue };
        assert_eq!((&packets[0]["flags"], &packets[0]["at_us"]), (&"SYN".into(), &0.into()));
        assert!(packets.is_sorted_by_key(|packet| packet["at_us"].as_u64()), "{}", row["id"]);
    }
}

#[test]
fn the_fin_is_seen_to_come_before_the_reply_and_the_reset_behind_it() {
    let Some((report, _)) = whole() else { return };
    let row = row(report, "S3 FIN first");
    assert_eq!(row["wire"], "→ 14 bytes → FIN ← 37 bytes → RST");
    // All but the handshake and the acknowledgements: direction, flags, sequence number, bytes.
    let told = |packet: &Value| {
        let flags = packet["flags"].as_str().unwrap().to_owned();
        let number = |name: &str| packet[name].as_u64().unwrap();
        (packet["to_server"] == true, flags, number("seq"), number("bytes"))
    };
    let all = packets(row).unwrap().iter().map(told);
    let steps: Vec<_> = all.filter(|(_, flags, ..)| flags != "ACK").skip(2).collect();
    let step = |to_server: bool, flags: &str, seq, bytes| (to_server, flags.to_owned(), seq, bytes);
    let expected = [
        step(true, "PSH ACK", 1, 14),
        step(true, "FIN ACK", 15, 0),
        step(false, "PSH ACK", 1, 37),
        step(true, "RST", 16, 0),
    ];
    assert_eq!(steps, expected);
}

/// What is expected without a capture is what a capture shows, but where buffers are full or a race
/// is run. Two requests on end are one step on the wire.
#[test]
fn what_is_expected_is_what_is_seen() {
    let Some((report, _)) = whole() else { return };
    let (code, stdout, _) = lab(&["--repeat", "1", "--format", "json"]);
    assert_eq!(code, 0);
    let expected: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(expected["wire"], "expected");
    let mut compared = 0;
    for (seen, expected) in rows(report).iter().zip(rows(&expected)) {
        assert!(packets(expected).is_none() && expected["peer"].is_null(), "{}", expected["id"]);
        let wire =
            expected["wire"].as_str().unwrap().replace("→ 14 bytes → 14 bytes", "→ 28 bytes");
        if !wire.contains("at most") && !wire.contains("; or ") {
            assert_eq!(seen["wire"], wire, "{}", seen["id"]);
            compared += 1;
        }
    }
    assert_eq!(compared, rows(report).len() - 4, "the race, S15, S15b, S17");
}

/// Each run of the race is seen, and none of them is without the client's reset.
#[test]
fn a_race_tells_how_often_each_way_was_seen() {
    let Some((report, _)) = whole() else { return };
    let wire = row(report, "S3 race")["wire"].as_str().unwrap();
    let ways: Vec<_> = wire.split("; ").map(|way| way.split_once(": ").unwrap()).collect();
    let runs: u32 = ways.iter().map(|(count, _)| count.parse::<u32>().unwrap()).sum();
    assert_eq!(runs, 50, "{wire}");
    let known = |way: &str| way.contains("→ RST") || way == "other sequences";
    assert!(ways.iter().all(|(_, way)| known(way)), "{wire}");
}

#[test]
fn the_file_holds_every_packet_of_every_row() {
    let Some((report, kept)) = whole() else { return };
    for row in rows(report) {
        let Some(packets) = packets(row) else { continue };
        let peer = row["peer"].as_str().unwrap();
        let port: u16 = peer.rsplit(':').next().unwrap().parse().unwrap();
        // The ports stand behind 14 bytes of Ethernet and 20 of IPv4.
        let is_its =
            |frame: &&Vec<u8>| [34, 36].iter().any(|&at| frame[at..at + 2] == port.to_be_bytes());
        // A port may have been used again, beside another server.
        let count = kept.iter().filter(is_its).count();
        assert!(count >= packets.len(), "{}: {count} of {}", row["id"], packets.len());
    }
    let races: usize = 50 * 6; // three of the handshake, two with data, a reset
    let others: usize = rows(report).iter().filter_map(packets).map(Vec::len).sum();
    assert!(kept.len() >= others + races, "{} of {}", kept.len(), others + races);
}

// ---- the table ----------------------------------------------------------------------------------

#[test]
fn the_wire_says_where_it_is_from_and_the_details_what_stands_in_it() {
    let (code, without, _) = lab(&["--only", "S1", "--long"]);
    assert_eq!(code, 0);
    assert!(without.contains("wire, expected") && !without.contains("wire, seen"), "{without}");
    if !can_capture() {
        return;
    }
    let (code, shown, _) = lab(&["--only", "S1,S15b", "--capture", "--long"]);
    assert_eq!(code, 0);
    assert!(shown.contains("wire, seen") && !shown.contains("wire, expected"), "{shown}");
    assert_eq!(shown.matches('⇄').count(), 2, "{shown}"); // in the cell and in the legend
    let (_, shown, _) = lab(&["--only", "S1", "--capture", "--long"]);
    assert!(!shown.contains('⇄'), "{shown}");
}

// ---- what the machine refuses -------------------------------------------------------------------

/// The program without CAP_NET_RAW, even if root runs the tests; `None` if that is not possible.
fn powerless(args: &[&str]) -> Option<Command> {
    let args = [&["lab"], args].concat();
    if Capture::start().is_err() {
        return Some(closecall(&args));
    }
    let drops = "setpriv --bounding-set -net_raw --inh-caps -net_raw";
    if !Command::new("setpriv").arg("--version").output().is_ok_and(|it| it.status.success()) {
        skip::skips("setpriv");
        return None;
    }
    Some(closecall_after(&format!("set -- {drops} \"$0\" \"$@\"; exec \"$@\""), &args))
}

#[test]
fn without_the_capability_one_line_says_what_to_do() {
    let (path, text) = path("powerless.pcap");
    for args in [&["--capture"][..], &["--pcap", &text]] {
        let Some(command) = powerless(args) else { return };
        let (code, stdout, stderr) = run(command);
        assert_eq!((code, &*stdout, stderr.lines().count()), (3, "", 1), "{stderr}");
        for part in [args[0], "CAP_NET_RAW", "root", "setcap cap_net_raw+ep /", "leave --capture"] {
            assert!(stderr.contains(part), "{part}: {stderr}");
        }
    }
    assert!(!path.exists(), "nothing is left behind");
    let Some(command) = powerless(&["--only", "S1"]) else { return };
    assert_eq!(run(command).0, 0, "and without the option all is well");
}

#[test]
fn a_file_that_cannot_be_written_is_told_before_anything_is_played() {
    if !can_capture() {
        return;
    }
    for path in ["/dev/null/no.pcap", "/"] {
        let (code, stdout, stderr) = lab(&["--pcap", path]);
        assert_eq!((code, &*stdout, stderr.lines().count()), (3, "", 1), "{stderr}");
        let parts = [&format!("--pcap {path:?}: cannot open it: "), "give a writable file"];
        assert!(parts.iter().all(|part| stderr.contains(part)), "{stderr}");
    }
}

#[test]
fn a_disk_that_is_full_at_the_end_is_told_and_the_report_is_there() {
    if !can_capture() {
        return;
    }
    let (code, stdout, stderr) = lab(&["--only", "S1", "--pcap", "/dev/full"]);
    assert_eq!((code, stderr.lines().count()), (1, 1), "{stderr}");
    assert!(stderr.contains("--pcap \"/dev/full\" is incomplete: "), "{stderr}");
    assert!(stdout.contains("1 row: 1 ok"), "{stdout}");
}

// ---- the file that is there already ------------------------------------------------------------

#[test]
fn a_file_is_as_it_was_where_nothing_is_played() {
    let (path, text) = path("earlier.pcap");
    std::fs::write(&path, "from an earlier run").unwrap();
    let unused = "127.0.0.1:1"; // tcpmux, which no system runs today
    let (code, stdout, stderr) = lab(&[unused, "--pcap", &text]);
    let kept = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!((code, &*stdout, stderr.lines().count()), (3, "", 1), "{stderr}");
    assert_eq!(kept, "from an earlier run");
}

#[test]
fn what_was_in_the_file_is_gone_when_packets_are_kept() {
    if !can_capture() {
        return;
    }
    let (path, text) = path("longer.pcap");
    std::fs::write(&path, vec![b'x'; 1 << 20]).unwrap();
    let (code, ..) = lab(&["--only", "S1", "--pcap", &text]);
    let kept = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(code, 0);
    assert!(kept.len() < 10_000, "{}", kept.len());
    let mut reader = PcapReader::new(&*kept).unwrap();
    let mut packets = 0;
    while let Some(packet) = reader.next_packet() {
        packet.unwrap();
        packets += 1;
    }
    assert!(packets >= 6, "{packets}");
}

/// By whatever name: the file may have two.
#[test]
fn the_close_log_is_no_file_for_packets() {
    let (log, log_text) = path("close.log");
    let (link, link_text) = path("link.log");
    std::fs::write(&log, "{}\n").unwrap();
    std::fs::hard_link(&log, &link).unwrap();
    for pcap in [&log_text, &link_text] {
        let args = ["127.0.0.1:1", "--observe", &log_text, "--pcap", pcap];
        let (code, stdout, stderr) = lab(&args);
        assert_eq!((code, &*stdout, stderr.lines().count()), (2, "", 1), "{stderr}");
        let parts = [&format!("--pcap {pcap:?}: give a file other than"), "--observe"];
        assert!(parts.iter().all(|part| stderr.contains(part)), "{stderr}");
    }
    let kept = std::fs::read_to_string(&log).unwrap();
    std::fs::remove_file(&log).unwrap();
    std::fs::remove_file(&link).unwrap();
    assert_eq!(kept, "{}\n");
    let args = ["127.0.0.1:1", "--observe", &log_text, "--pcap", &log_text];
    assert_eq!(lab(&args).0, 2, "nor where it is not there yet");
    assert!(!log.exists());
}
