//! Promise: SIGHUP reopens the close log and changes nothing else, and no record is lost by it.
//!
//! The real program, with the file renamed, removed, replaced or out of reach; and what the other
//! signals do that do not stop it. Those that do are in `stop.rs` and `tests/cli/main.rs`.
#![cfg(all(target_os = "linux", feature = "cli"))]

use std::fs;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::process::{self, closecall_after};
use crate::scratch::Scratch;
use crate::service::{
    Service, Table, come_and_go, connect, exchange, parts, say, serve, short_or_long, under,
    wait_until,
};

const REOPENED: &str = "reopened the close log";

/// A server that writes its close log to `file`.
#[track_caller]
fn logs_to(file: &Scratch) -> Service {
    let patient = ["--framing", "line", "--read-deadline", "off"];
    Service::start(&[&patient[..], &["--close-log", file.path()]].concat())
}

/// The numbers of the records in a file, in their order.
#[track_caller]
fn ids(path: &Path) -> Vec<u64> {
    let text = fs::read_to_string(path).unwrap();
    let id = |line| serde_json::from_str::<serde_json::Value>(line).ok()?["id"].as_u64();
    text.lines().map(|line| id(line).unwrap_or_else(|| panic!("{path:?}: {line}"))).collect()
}

/// Waits until `count` records are in a file, so that a rename finds them there.
#[track_caller]
fn wait_for_records(path: &Path, count: usize) {
    wait_until("the records are written", || {
        fs::read_to_string(path).unwrap_or_default().matches('\n').count() == count
    });
}

/// Sends SIGHUP, and waits until the log has said for the `count`th time that it was done.
#[track_caller]
fn rotate(service: &Service, count: usize) {
    service.process.signal("HUP");
    service.process.stderr.wait_until(|text| text.matches(REOPENED).count() == count);
}

/// Asks for the table so far until it is as `expected`, and returns it.
#[track_caller]
fn so_far_until(service: &Service, expected: impl Fn(&Table) -> bool) -> Table {
    for count in 1.. {
        service.process.signal("USR1");
        let is_whole = |text: &str| text.matches("\naccepted ").count() == count;
        let text = service.process.stderr.wait_until(|text| is_whole(text) && text.ends_with('\n'));
        let (_, rows) = text.rsplit_once("verdict so far ").unwrap();
        let table = Table::of(&format!("verdict {rows}"));
        if expected(&table) {
            return table;
        }
    }
    unreachable!("each table takes a while");
}

#[test]
fn after_a_rename_and_sighup_the_new_file_gets_the_new_records() {
    let file = Scratch::new("rename");
    let service = logs_to(&file);
    let mut stays = connect(service.address);
    exchange(&mut stays, b"before\n").unwrap();
    come_and_go(service.address, 3);
    let old = file.beside("close.log.1");
    wait_for_records(Path::new(file.path()), 3);
    fs::rename(file.path(), &old).unwrap();
    come_and_go(service.address, 2); // they belong to the old file, wherever that is
    wait_for_records(&old, 5);
    rotate(&service, 1);
    assert_eq!(file.text(), "", "the new file is there at once");
    come_and_go(service.address, 4);
    exchange(&mut stays, b"after\n").unwrap(); // the rotation is not noticed
    parts(&mut stays).unwrap();
    let table = service.stop();
    assert_eq!(ids(&old), [2, 3, 4, 5, 6]);
    assert_eq!(ids(Path::new(file.path())), [7, 8, 9, 10, 1]);
    assert_eq!((table.get("accepted"), table.get("close log: records lost")), (10, 0));
}

#[test]
fn under_load_no_record_is_lost_between_two_files() {
    let file = Scratch::new("load");
    let mut service = logs_to(&file);
    let rotations = short_or_long(20, 200);
    let enough = AtomicBool::new(false);
    let old = |number: usize| file.beside(&format!("close.log.{number}"));
    let (address, enough_of) = (service.address, &enough);
    let accepted: usize = thread::scope(|scope| {
        let loads: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(move || {
                    let mut count = 0;
                    while !enough_of.load(Ordering::Relaxed) {
                        come_and_go(address, 1);
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        for number in 1..=rotations {
            wait_until("there is a record", || !file.text().is_empty());
            fs::rename(file.path(), old(number)).unwrap();
            rotate(&service, number);
        }
        enough.store(true, Ordering::Relaxed);
        loads.into_iter().map(|load| load.join().unwrap()).sum()
    });
    service.process.signal("TERM");
    let table = service.ended();
    let mut all: Vec<u64> = (1..=rotations).flat_map(|number| ids(&old(number))).collect();
    all.extend(ids(Path::new(file.path())));
    all.sort_unstable();
    assert_eq!(all, (1..=accepted as u64).collect::<Vec<_>>());
    assert_eq!(table.get("close log: records lost"), 0);
}

#[test]
fn a_new_file_that_ends_in_a_torn_line_gets_a_newline_first() {
    let file = Scratch::new("torn-anew");
    let service = logs_to(&file);
    fs::rename(file.path(), file.beside("old")).unwrap();
    fs::write(file.path(), "torn").unwrap();
    rotate(&service, 1);
    come_and_go(service.address, 1);
    service.stop();
    assert!(file.text().starts_with("torn\n{"), "{}", file.text());
}

/// A full disk, and a rotation to one that is not: what was torn stays behind.
#[test]
fn a_torn_line_stays_in_the_old_file() {
    let file = Scratch::new("torn-behind");
    let options = ["serve", "--listen", "127.0.0.1:0", "--framing", "line", "--close-log"];
    let options = [&options[..], &[file.path()]].concat();
    let service = Service::of(closecall_after("ulimit -f 8", &options));
    come_and_go(service.address, 50);
    let whole = |text: String| text.matches("}\n").count() as u64;
    // What waits would go to the new file.
    let lost = so_far_until(&service, |table| {
        whole(file.text()) + table.get("close log: records lost") == 50
    });
    assert!(lost.get("close log: records lost") > 0, "{lost:?}");
    let old = file.beside("old");
    fs::rename(file.path(), &old).unwrap();
    rotate(&service, 1);
    come_and_go(service.address, 5);
    let table = service.stop();
    assert_eq!(ids(Path::new(file.path())), [51, 52, 53, 54, 55]);
    let old = fs::read_to_string(&old).unwrap();
    assert!(!old.ends_with('\n'), "torn in the middle of a line: {old}");
    assert_eq!(whole(old) + table.get("close log: records lost"), 50);
}

#[test]
fn a_file_that_cannot_be_reopened_is_named_and_the_old_one_goes_on() {
    let file = Scratch::new("refused");
    let service = logs_to(&file);
    let old = file.beside("old");
    fs::rename(file.path(), &old).unwrap();
    fs::create_dir(file.path()).unwrap(); // so that even root cannot
    service.process.signal("HUP");
    let text = service.process.stderr.wait_for("cannot reopen the close log");
    let line = text.lines().find(|line| line.contains("cannot reopen the close log")).unwrap();
    for part in ["ERROR", file.path(), "Is a directory", "send SIGHUP again"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    come_and_go(service.address, 2);
    wait_for_records(&old, 2);
    fs::remove_dir(file.path()).unwrap();
    rotate(&service, 1);
    come_and_go(service.address, 1);
    let table = service.stop();
    assert_eq!((ids(&old), ids(Path::new(file.path()))), (vec![1, 2], vec![3]));
    assert_eq!(table.get("close log: records lost"), 0);
}

/// The end of a terminal is a SIGHUP: it drained the server.
#[test]
fn without_a_file_sighup_does_nothing() {
    for options in [&[][..], &["--close-log", "-"]] {
        let service = Service::start(&[&["--framing", "line"], options].concat());
        let mut client = connect(service.address);
        exchange(&mut client, b"before\n").unwrap();
        for _ in 0..3 {
            service.process.signal("HUP");
            exchange(&mut client, b"after\n").unwrap();
        }
        // One thread takes them all, and this one is answered.
        service.process.signal("USR1");
        service.process.stderr.wait_for("verdict so far");
        exchange(&mut client, b"still here\n").unwrap();
        parts(&mut client).unwrap();
        let stderr = service.process.stderr.clone();
        let table = service.stop();
        assert_eq!(table.get("accepted"), 1);
        assert!(!stderr.text().contains("reopened"), "{}", stderr.text());
    }
}

/// Whether a signal is in one of the masks of /proc/PID/status.
fn is_in(service: &Service, mask: &str, signal: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", service.process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(mask)).unwrap();
    u64::from_str_radix(line.trim(), 16).unwrap() >> (signal - 1) & 1 == 1
}

const SIGHUP: u32 = 1;

/// As `nohup` starts a program.
#[test]
fn a_sighup_that_was_ignored_stays_ignored() {
    let file = Scratch::new("nohup");
    let options = ["serve", "--listen", "127.0.0.1:0", "--framing", "line", "--close-log"];
    let options = [&options[..], &[file.path()]].concat();
    let service = Service::of(closecall_after("trap '' HUP", &options));
    assert!(is_in(&service, "SigIgn:", SIGHUP) && !is_in(&service, "SigCgt:", SIGHUP));
    let old = file.beside("old");
    fs::rename(file.path(), &old).unwrap();
    service.process.signal("HUP");
    come_and_go(service.address, 2);
    let stderr = service.process.stderr.clone();
    service.stop();
    assert_eq!((ids(&old), file.text()), (vec![1, 2], String::new()));
    assert!(!stderr.text().contains("reopened"), "{}", stderr.text());
}

/// The program behind `env` with these options; `None` if that does not know them, which is
/// printed.
fn behind_env(options: &[&str], command: &Command) -> Option<Command> {
    let tried = Command::new("env").args(options).arg("true").output();
    if !tried.is_ok_and(|output| output.status.success()) {
        say(format!("skipped: needs env {} (coreutils 8.31)", options.join(" ")));
        return None;
    }
    Some(under(&[&["env"], options].concat(), command))
}

/// A signal mask is inherited: a blocked SIGTERM never arrived.
#[test]
fn signals_that_were_blocked_arrive() {
    let file = Scratch::new("blocked");
    let command = serve(&["--framing", "line", "--close-log", file.path()]);
    let blocked = ["--block-signal=TERM", "--block-signal=HUP", "--block-signal=USR1"];
    let Some(command) = behind_env(&blocked, &command) else { return };
    let service = Service::of(command);
    come_and_go(service.address, 1);
    rotate(&service, 1);
    service.process.signal("USR1");
    service.process.stderr.wait_for("verdict so far");
    assert_eq!(service.stop().get("accepted"), 1);
}

/// The same for commands that print their results on Ctrl-C.
#[test]
fn a_load_that_was_started_with_signals_blocked_is_interrupted() {
    let service = Service::start(&["--framing", "line"]);
    let address = service.address.to_string();
    let hold = process::closecall(&["load", "hold", &address, "-c", "1", "-d", "1h"]);
    let Some(command) = behind_env(&["--block-signal=INT"], &hold) else { return };
    let mut process = process::Process::start(command);
    process.wait_for_sigint_handler();
    process.signal("INT");
    assert_eq!(process.exit_code(), 1);
    assert!(process.stderr.text().contains("interrupted"), "{}", process.stderr.text());
}

// ---- SIGUSR1 ------------------------------------------------------------------------------------

#[test]
fn sigusr1_prints_the_table_so_far_whatever_the_log_shows() {
    let file = Scratch::new("so-far");
    let mut command = serve(&["--framing", "line", "--close-log", file.path()]);
    command.env("RUST_LOG", "off");
    let service = Service::of(command);
    let mut stays = connect(service.address);
    exchange(&mut stays, b"Hi\n").unwrap();
    come_and_go(service.address, 3);
    wait_for_records(Path::new(file.path()), 3);
    service.process.signal("USR1");
    let text = service.process.stderr.wait_for("accepted ");
    assert!(text.starts_with("verdict so far "), "{text}");
    let table = Table::of(&text.replace("verdict so far ", "verdict "));
    let rows = ["peer_fin.delivered", "all verdicts", "open", "accepted"];
    assert_eq!(rows.map(|row| table.get(row)), [3, 3, 1, 4]);
    exchange(&mut stays, b"Hi again\n").unwrap();
    parts(&mut stays).unwrap();
    assert_eq!(service.stop().get("peer_fin.delivered"), 4);
}

/// With a close log whose reader is stuck: each ending is a line, or lost, or waits.
#[test]
fn the_table_so_far_counts_the_records_that_wait() {
    let (reader, writer) = std::io::pipe().unwrap();
    let pipe = format!("/proc/{}/fd/{}", std::process::id(), writer.as_raw_fd());
    let mut service = Service::start(&["--framing", "line", "--close-log", &pipe]);
    drop(writer);
    come_and_go(service.address, 1_000);
    let table = so_far_until(&service, |table| table.get("all verdicts") == 1_000);
    let waiting = table.get("close log: records waiting");
    service.process.signal("TERM");
    let lost = service.ended().get("close log: records lost");
    let written = std::io::read_to_string(reader).unwrap().matches('\n').count() as u64;
    assert_eq!((written + lost, table.get("close log: records lost")), (1_000, 0));
    assert!((1..=waiting).contains(&lost) && waiting <= 1_000, "{waiting} waited, {lost} lost");
}
