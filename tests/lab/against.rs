//! Promise: `closecall lab ADDR` tests any server, shows what a client can see of it, names the
//! scenarios that kill it, and shows what a proxy changes. It ends, whatever the server does.
#![cfg(all(target_os = "linux", feature = "cli"))]

mod deaths;
mod joins;
mod others;
mod proxies;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;

use crate::process::{Process, closecall};
use crate::scenarios::lab;
use crate::{schema, skip};
use serde_json::Value;
use snapbox::{assert_data_eq, file};

/// A run against `server` as JSON, with its exit code. It is as the schema says.
#[track_caller]
fn against(server: SocketAddr, args: &[&str]) -> (i32, Value) {
    let address = server.to_string();
    let (code, stdout, stderr) = lab(&[&[&*address, "--format", "json"], args].concat());
    assert_eq!(stderr, "");
    let report: Value = serde_json::from_str(&stdout).unwrap();
    schema::assert_valid(include_str!("../../docs/lab.schema.json"), &report);
    (code, report)
}

#[track_caller]
fn row<'a>(report: &'a Value, id: &str) -> &'a Value {
    let rows = report["rows"].as_array().unwrap();
    rows.iter().find(|row| row["id"] == id).unwrap_or_else(|| panic!("no row {id}"))
}

fn outcomes(report: &Value) -> Vec<(&str, &str)> {
    let rows = report["rows"].as_array().unwrap().iter();
    rows.map(|row| (row["id"].as_str().unwrap(), row["outcome"].as_str().unwrap())).collect()
}

/// A server that passes one connection after the other to `does`, until that returns `false`. Then
/// it stops listening.
fn server(mut does: impl FnMut(TcpStream) -> bool + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Otherwise it ends with the test process.
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            if !does(stream) {
                break;
            }
        }
    });
    address
}

/// Echoes until the connection ends, and returns how it ended.
fn echoes(stream: &mut TcpStream) -> Result<(), ErrorKind> {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer).map_err(|error| error.kind())? {
            0 => return Ok(()),
            bytes => stream.write_all(&buffer[..bytes]).map_err(|error| error.kind())?,
        }
    }
}

/// Echoes; a reset ends the program, as in a server that treats it as a fatal error.
fn dies_of_a_reset(mut stream: TcpStream) -> bool {
    echoes(&mut stream) != Err(ErrorKind::ConnectionReset)
}

/// Our own server, with a close log of its own; the deadlines are short.
fn our_own(name: &str) -> (Process, PathBuf) {
    let file = format!("closecall-{name}-{}.log", std::process::id());
    let path = std::env::temp_dir().join(file);
    let _ = fs::remove_file(&path);
    let log = path.to_str().unwrap();
    let options = ["--read-deadline", "1s", "--write-deadline", "3s", "--close-log", log];
    let server =
        Process::start(closecall(&[&["serve", "--listen", "127.0.0.1:0"], &options[..]].concat()));
    (server, path)
}

// ---- servers of all kinds -----------------------------------------------------------------------

#[test]
fn a_server_that_never_answers_does_not_block_the_lab() {
    let mute = server(|mut stream| {
        let _ = stream.read_to_end(&mut Vec::new());
        true
    });
    let (code, report) = against(mute, &["--patience", "100ms"]);
    assert_eq!(code, 1);
    assert_eq!(report["server"]["alive"], true, "it accepts, as it did in the beginning");
    for (id, outcome) in outcomes(&report) {
        let note = row(&report, id)["note"].as_str().unwrap();
        match id {
            // Nothing is waited for.
            "S3 race" | "S3 pipelined" | "S7" | "S7b" | "S8b" | "S16b" => assert_eq!(outcome, "ok"),
            "S8" => assert_eq!(outcome, "same"), // as S7b
            "S6" => assert_eq!(note, "the client received 0 bytes, not the whole echo"),
            "S6b" | "S6c" => assert!(note.ends_with("the server closed early"), "{note}"),
            // It reads and reads: whichever bound is first.
            "S15" | "S15b" | "S17" => {
                let time = note == "the buffers did not fill up within 100 ms";
                assert!(time || note.contains("64 MiB without an end"), "{note}");
            }
            _ if outcome == "skipped" => assert!(note.starts_with("needs "), "{note}"),
            _ => assert_eq!(note, "the whole reply did not arrive within 100 ms", "{id}"),
        }
    }
}

#[test]
fn a_server_that_closes_with_unread_input_resets_its_clients() {
    let hasty = server(|stream| {
        let _ = stream.peek(&mut [0]);
        true // its end is the stream's: a reset, for a byte lies unread
    });
    let (code, report) = against(hasty, &["--only", "S1,S6,S7"]);
    assert_eq!(code, 1);
    assert_eq!(outcomes(&report), [("S1", "failed"), ("S6", "failed"), ("S7", "ok")]);
    let one = row(&report, "S1");
    assert_eq!((&one["seen"]["end"], &one["seen"]["bytes"]), (&"reset".into(), &0.into()));
    assert!(one["seen"]["end_us"].as_u64().unwrap() < 3_000_000, "{one:#}");
    let note = one["note"].as_str().unwrap();
    assert!(
        note.starts_with("the whole reply did not arrive: ") && note.contains("reset"),
        "{note}"
    );
    assert_eq!(row(&report, "S6")["seen"]["end"], "reset");
}

#[test]
fn a_server_that_speaks_first_is_an_echo_server_all_the_same() {
    let polite = server(|mut stream| {
        let _ = stream.write_all(b"220 welcome\r\n").map(|()| echoes(&mut stream));
        true
    });
    let (code, report) = against(polite, &["--only", "S1,S2,S6"]);
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(row(&report, "S1")["seen"]["bytes"], 27);
}

#[test]
fn a_server_that_never_stops_talking_is_left_alone_in_time() {
    let flood = server(|stream| {
        // Each in a thread of its own, so that no connection waits for the one before.
        thread::spawn(move || {
            let mut stream = stream;
            while stream.write_all(&[b'x'; 65_536]).is_ok() {}
        });
        true
    });
    let (code, report) = against(flood, &["--only", "S1,S2,S6,S9", "--patience", "300ms"]);
    assert_eq!(code, 1);
    for (id, outcome) in outcomes(&report) {
        assert_eq!(outcome, "failed", "{id}");
    }
}

#[test]
fn a_server_without_a_deadline_is_no_failure() {
    let endless = server(|mut stream| {
        let _ = echoes(&mut stream);
        true
    });
    let (code, report) = against(endless, &["--only", "S9", "--patience", "1s"]);
    assert_eq!(code, 0);
    let silent = row(&report, "S9");
    assert_eq!(silent["seen"]["in_vain"], "the server did not close within 1 s");
    assert_eq!((&silent["outcome"], &silent["seen"]["end"]), (&"ok".into(), &Value::Null));
}

/// An hour is longer than this test waits for anything.
#[test]
fn an_interrupt_is_heard_while_the_client_waits() {
    let endless = server(|mut stream| {
        let _ = echoes(&mut stream);
        true
    });
    let address = endless.to_string();
    let command = closecall(&["lab", &address, "--only", "S1,S9", "--patience", "1h"]);
    let mut process = Process::start(command);
    process.wait_for_sigint_handler();
    process.signal("INT");
    assert_eq!(process.exit_code(), 1);
    assert!(process.stderr.text().contains("interrupted after"), "{}", process.stderr.text());
    let table = process.stdout.text();
    assert!(!table.contains("S9"), "it was broken off: {table}");
    let well = ["still answers.\n", "accepts.\n"].iter().any(|end| table.contains(end));
    assert!(well, "nothing is known against it: {table}");
}

// ---- our own, with its close log ----------------------------------------------------------------

#[test]
fn our_own_server_tells_each_verdict_in_its_close_log() {
    let (server, log) = our_own("whole");
    let log = log.to_str().unwrap();
    let args = ["--observe", log, "--repeat", "20", "--patience", "8s"];
    let (code, report) = against(server.address(), &args);
    assert_eq!(code, 0, "{report:#}");
    for (id, outcome) in outcomes(&report) {
        let row = row(&report, id);
        assert_ne!(outcome, "failed", "{row:#}");
        assert_eq!(row["verdict"].is_null(), outcome == "skipped", "{row:#}");
        assert_eq!(row["evidence"].is_null(), outcome == "skipped", "{row:#}");
        assert!(row["recv_loop"].is_null() && row["article"].is_null(), "{row:#}");
    }
    assert_eq!(row(&report, "S9")["verdict"], "timeout.read");
    assert_eq!(row(&report, "S9")["seen"]["end"], "fin");
    // The reasons of the scenarios apply to closecall's own server only.
    assert_eq!(row(&report, "S9")["note"], "the read deadline passed; the server's FIN came first");
    assert_eq!(row(&report, "S17")["verdict"], "timeout.write_stall");
    assert_eq!(row(&report, "S17")["seen"]["end"], "reset");
    assert_eq!(row(&report, "S3 race")["race"]["runs"], 20);
    fs::remove_file(log).unwrap();
}

#[test]
fn the_table_shows_what_came_back_and_what_was_said() {
    let (server, log) = our_own("table");
    let address = server.address().to_string();
    let (code, stdout, _) =
        lab(&[&address, "--observe", log.to_str().unwrap(), "--only", "S1,S4,S12"]);
    assert_eq!(code, 0);
    assert_data_eq!(stdout, file!["against.txt"]);
    fs::remove_file(log).unwrap();
}

// ---- bad input ----------------------------------------------------------------------------------

/// An address on which nothing listens.
fn unused() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[track_caller]
fn assert_refused(args: &[&str], code: i32, parts: &[&str]) {
    let (exit, stdout, stderr) = lab(args);
    assert_eq!((exit, &*stdout, stderr.lines().count()), (code, "", 1), "{stderr}");
    for part in parts {
        assert!(stderr.contains(part), "{part} is not in {stderr}");
    }
}

#[test]
fn no_server_is_one_line() {
    let unused = unused();
    assert_refused(&[&unused], 3, &["no server at", &unused, "refused", "start the server"]);
    let (server, log) = our_own("alone");
    let address = server.address().to_string();
    assert_refused(&[&address, "--via", &unused], 3, &["no proxy at", &unused, "refused"]);
    fs::remove_file(log).unwrap();
}

#[test]
fn a_capture_sees_the_loopback_device_and_says_so() {
    let (server, log) = our_own("seen");
    let address = server.address().to_string();
    let (code, stdout, stderr) =
        lab(&[&address, "--capture", "--only", "S1,S2", "--format", "json"]);
    fs::remove_file(log).unwrap();
    if code == 3 && stderr.contains("CAP_NET_RAW") {
        return skip::skips("CAP_NET_RAW");
    }
    assert_eq!(code, 0, "{stdout}{stderr}");
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(report["wire"], "seen");
    assert_eq!(row(&report, "S1")["wire"], "→ 14 bytes ← 37 bytes → FIN ← FIN");
    assert_eq!(row(&report, "S2")["wire"], "→ 14 bytes ← 37 bytes → RST");
    let packets = row(&report, "S2")["packets"].as_array().unwrap();
    assert!(packets.iter().any(|packet| packet["flags"].to_string().contains("RST")));
}

#[test]
fn a_close_log_has_to_be_that_of_the_server() {
    let (server, log) = our_own("wrong");
    let address = server.address().to_string();
    let observe = |path: &Path, parts: &[&str]| {
        let path = path.to_str().unwrap();
        assert_refused(
            &[&address, "--observe", path],
            3,
            &[&[path, "--close-log"], parts].concat(),
        );
    };
    observe(Path::new("/nonexistent/close.log"), &["No such file"]);
    observe(&std::env::temp_dir(), &["not a regular file"]);
    let other = log.with_extension("other");
    fs::write(&other, "").unwrap();
    observe(&other, &["no close log line with port"]);
    for path in [log, other] {
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn options_that_need_a_server_say_so() {
    assert_refused(&["--via", "127.0.0.1:1"], 2, &["--via needs ADDR"]);
    assert_refused(&["--observe", "x"], 2, &["--observe needs ADDR"]);
    assert_refused(&["--patience", "1s"], 2, &["--patience needs ADDR"]);
    assert_refused(&["--message", "Hi"], 2, &["--message needs ADDR"]);
    assert_refused(&["--any-reply"], 2, &["--any-reply needs ADDR"]);
    assert_refused(&["127.0.0.1:1", "--fail-on", "lost"], 2, &["--fail-on needs --via"]);
    assert_refused(&["127.0.0.1:1", "--patience", "0s"], 2, &["--patience '0s'", "from 100ms"]);
    assert_refused(&["nowhere"], 2, &["'nowhere'"]);
}
