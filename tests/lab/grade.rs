//! Promise: `closecall lab ADDR --grade` gives a server the grade that its known faults allow, says
//! what to change, and never blames a correct server.
#![cfg(all(target_os = "linux", feature = "cli"))]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

use crate::process::{Process, closecall};
use crate::scenarios::lab;
use crate::schema;
use crate::shown::assert_refused;
use serde_json::Value;

/// Deadlines of the servers, far above what a reply takes and short enough for a test.
const DEADLINE: &str = "3s";
const DEADLINE_MS: &str = "3000";

/// The patience of the judge, where the server has such a deadline, and where it has none.
const PATIENCE: &str = "20s";
const SHORT: &str = "1s";

/// The report of a run, which is as the schema says, and its exit code.
#[track_caller]
fn graded(server: SocketAddr, args: &[&str]) -> (i32, Value) {
    let address = server.to_string();
    let all = [&[&*address, "--grade", "--format", "json"], args].concat();
    let (code, stdout, stderr) = lab(&all);
    assert_eq!(stderr, "");
    let report: Value = serde_json::from_str(&stdout).unwrap();
    schema::assert_valid(include_str!("../../docs/grade.schema.json"), &report);
    assert_eq!(report["server"], address);
    (code, report)
}

/// The outcomes in order: passed, failed, skipped, not played.
fn outcomes(report: &Value) -> String {
    let letter = |row: &Value| match row["outcome"].as_str().unwrap() {
        "passed" => 'p',
        "failed" => 'f',
        "skipped" => 's',
        _ => '-',
    };
    report["levels"].as_array().unwrap().iter().map(letter).collect()
}

#[track_caller]
fn assert_grade(report: &Value, grade: u8, expected: &str) {
    assert_eq!((&*outcomes(report), &report["grade"]), (expected, &grade.into()), "{report:#}");
}

/// What was observed on a level that was failed, or why it was not played.
fn observed(report: &Value, level: usize) -> &str {
    report["levels"][level - 1]["observed"].as_str().unwrap()
}

/// A server of examples/, where cargo has put it: `cargo test` builds all of them.
#[track_caller]
fn rung(name: &str, args: &[&str]) -> Process {
    let test = std::env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).expect("target/PROFILE/deps/TEST");
    let program = profile.join("examples").join(name);
    assert!(Path::new(&program).exists(), "{name} is missing: cargo build --examples");
    // Its stdin stays open: Enter would end the last one.
    let mut command = Command::new(program);
    command.arg("127.0.0.1:0").args(args).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let stdin = child.stdin.take();
    let process = Process::of(child);
    thread::spawn(move || {
        let _stdin = stdin;
        thread::park(); // until the tests end
    });
    process
}

/// A server that gives each connection to `serve`, on a thread of its own, until that gives
/// `false`. Then it no longer listens.
fn server(serve: impl Fn(TcpStream) -> bool + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, ended) = mpsc::channel();
    let accepting = listener.try_clone().unwrap();
    thread::spawn(move || {
        while let Ok((stream, _)) = accepting.accept() {
            let (serve, tell) = (serve.clone(), tell.clone());
            thread::spawn(move || {
                if !serve(stream) {
                    let _ = tell.send(());
                }
            });
        }
    });
    thread::spawn(move || {
        if ended.recv().is_ok() {
            let socket = socket2::SockRef::from(&listener);
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
    });
    address
}

/// Echoes what `change` makes of it, until the client ends.
fn echoes(mut stream: TcpStream, change: impl Fn(&[u8]) -> Vec<u8>) -> std::io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            bytes => stream.write_all(&change(&buffer[..bytes]))?,
        }
    }
}

// ---- the rungs of examples/, by their known faults ----------------------------------------------

/// Grade 7: nothing is known to be wrong with it.
#[test]
fn closecall_itself_reaches_the_highest_grade() {
    let options = ["serve", "--listen", "127.0.0.1:0", "--read-deadline", DEADLINE];
    let mut server = Process::start(closecall(&options));
    let address = server.address();
    server.wait_for_sigint_handler();
    let pid = server.id().to_string();
    let (code, report) = graded(address, &["--pid", &pid, "--patience", PATIENCE]);
    assert_grade(&report, 7, "ppppppp");
    assert_eq!((code, &report["highest"]), (0, &7.into()));
    assert_eq!(report["prefix"], "from server back[rust]:");
    assert_eq!(server.exit_code(), 0, "it drained");
}

/// A thread for each client: everything but a deadline, and SIGTERM kills it.
///
/// Regression: its threads answered the requests before the signal, and it was said to drain.
#[test]
fn the_threads_of_rung_1_reach_grade_5() {
    let threads = rung("1_threads", &[]);
    let pid = threads.id().to_string();
    let (code, report) = graded(threads.address(), &["--pid", &pid, "--patience", SHORT]);
    assert_grade(&report, 5, "pppppff");
    assert_eq!((code, &report["highest"]), (1, &7.into()));
    assert!(observed(&report, 6).ends_with("was still connected after 1 s."), "{report:#}");
    let said = observed(&report, 7);
    assert!(said.starts_with("A client whose request had arrived before SIGTERM: "), "{said}");
}

/// A client that does not read blocks all others, and there is no deadline.
#[test]
fn the_spinning_rung_2_reaches_grade_4() {
    let spinning = rung("2_spinning", &[]);
    let (code, report) = graded(spinning.address(), &["--patience", SHORT]);
    assert_grade(&report, 4, "ppppffs");
    assert_eq!(code, 1);
    assert!(observed(&report, 5).starts_with("Another client, while one sends"), "{report:#}");
    assert_eq!(observed(&report, 7), "needs --pid");
}

/// Bytes that the socket does not take are lost: a half-closer and a slow reader find it.
#[test]
fn the_readiness_of_rung_3_reaches_grade_3() {
    let readiness = rung("3_readiness", &[]);
    let (code, report) = graded(readiness.address(), &["--patience", SHORT]);
    assert_grade(&report, 3, "pppfffs");
    assert_eq!(code, 1);
    for level in [4, 5] {
        let observed = observed(&report, level);
        assert!(observed.contains("byte"), "{observed}");
    }
}

/// It has deadlines, and SIGTERM kills it.
#[test]
fn the_deadline_of_rung_5_reaches_grade_6() {
    let deadline = rung("5_deadline", &[DEADLINE_MS]);
    let pid = deadline.id().to_string();
    let (code, report) = graded(deadline.address(), &["--pid", &pid, "--patience", PATIENCE]);
    assert_grade(&report, 6, "ppppppf");
    assert_eq!((code, &report["highest"]), (1, &7.into()));
    assert!(observed(&report, 7).contains("SIGTERM"), "{report:#}");
}

/// The library in a program: it drains on Enter, so SIGTERM is left out here.
#[test]
fn the_library_of_rung_7_reaches_the_highest_grade_without_a_signal() {
    let embed = rung("7_embed", &[DEADLINE_MS]);
    let (code, report) = graded(embed.address(), &["--patience", PATIENCE]);
    assert_grade(&report, 6, "pppppps");
    assert_eq!((code, &report["highest"]), (0, &6.into()));
}

// ---- faults that the rungs do not have ----------------------------------------------------------

#[test]
fn a_server_that_knows_only_text_fails_level_1_and_the_others_are_played() {
    let c_string = |bytes: &[u8]| bytes.split(|byte| *byte == 0).next().unwrap().to_vec();
    let text = server(move |stream| echoes(stream, c_string).is_ok() | true);
    let (code, report) = graded(text, &["--patience", SHORT]);
    assert_grade(&report, 0, "fppppfs");
    assert_eq!(code, 1);
    let said = observed(&report, 1);
    assert!(said.starts_with("A message with all bytes from 0 to 255: "), "{said}");
    let row = &report["levels"][0];
    assert!(row["change"].as_str().unwrap().contains("strlen"), "{row:#}");
    let replay = row["replay"].as_str().unwrap();
    assert!(replay.starts_with(&format!("closecall client {text} --message")), "{replay}");
}

#[test]
fn a_server_that_does_not_echo_has_grade_0_and_nothing_else_is_played() {
    let shouts = server(|stream| echoes(stream, |bytes| bytes.to_ascii_uppercase()).is_ok() | true);
    let (code, report) = graded(shouts, &["--patience", SHORT]);
    assert_grade(&report, 0, "f------");
    assert_eq!((code, &report["prefix"]), (1, &Value::Null));
    let said = observed(&report, 1);
    assert!(
        said.ends_with("64 bytes came back, and they do not end with what was sent."),
        "{said}"
    );
    assert_eq!(observed(&report, 2), "the server does not echo");
}

/// As the article's Go server, which panics when a client closes.
#[test]
fn a_server_that_ends_with_its_first_client_has_grade_0() {
    let dies = server(|stream| echoes(stream, <[u8]>::to_vec).is_err());
    let (code, report) = graded(dies, &["--patience", SHORT]);
    assert_eq!((code, &report["grade"]), (1, &0.into()), "{report:#}");
    assert!(outcomes(&report).ends_with("f------"), "{report:#}");
    assert_eq!(observed(&report, 2), "the server is gone since level 1");
}

/// The article's question, taken as an error that ends the program.
#[test]
fn a_server_that_dies_of_a_reset_has_grade_2() {
    let dies = server(|stream| echoes(stream, <[u8]>::to_vec).is_ok());
    let (code, report) = graded(dies, &["--patience", SHORT]);
    assert_grade(&report, 2, "ppf----");
    assert_eq!(code, 1);
    let replay = report["levels"][2]["replay"].as_str().unwrap();
    // A thread of the test ends the listener, and may take its time.
    assert!(replay.starts_with(&format!("closecall lab {dies} --only S")), "{replay}");
    assert_eq!(observed(&report, 4), "the server is gone since level 3");
}

/// A greeting, and lines: neither is a fault.
#[test]
fn a_server_that_greets_and_answers_whole_lines_is_an_echo_server() {
    let lines = server(|mut stream| {
        let mut line = Vec::new();
        let mut space = [0; 4096];
        let _ = stream.write_all(b"220 welcome\r\n");
        while let Ok(bytes @ 1..) = stream.read(&mut space) {
            line.extend_from_slice(&space[..bytes]);
            let end = line.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            let whole: Vec<u8> = line.drain(..end).collect();
            for line in whole.split_inclusive(|byte| *byte == b'\n') {
                if stream.write_all(&[b"> ", line].concat()).is_err() {
                    return true;
                }
            }
        }
        let _ = stream.write_all(&line); // the last one has no newline
        true
    });
    let (_, report) = graded(lines, &["--patience", SHORT]);
    assert_grade(&report, 5, "pppppfs");
    assert_eq!(report["prefix"], "> ");
}

/// A limit on the age of a connection is no read deadline.
#[test]
fn a_deadline_that_activity_does_not_move_fails_level_6() {
    let options = ["serve", "--listen", "127.0.0.1:0", "--max-age", "2s", "--framing", "raw"];
    let server = Process::start(closecall(&options));
    let (_, report) = graded(server.address(), &["--patience", PATIENCE]);
    assert_grade(&report, 5, "pppppfs");
    let said = observed(&report, 6);
    assert!(said.starts_with("A client that speaks now and then, with pauses of"), "{said}");
    assert_eq!(report["prefix"], "");
}

// ---- the table, and bad input -------------------------------------------------------------------

#[test]
fn the_table_fits_80_columns_and_says_what_to_do() {
    let shouts = server(|stream| echoes(stream, |bytes| bytes.to_ascii_uppercase()).is_ok() | true);
    let address = shouts.to_string();
    let (code, table, stderr) = lab(&[&address, "--grade", "--patience", SHORT]);
    assert_eq!((code, &*stderr), (1, ""));
    assert!(table.starts_with(&format!("{address} has grade 0 of 7.\n\n")), "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    for part in ["1 failed      echoes\n", "observed  ", "change  ", "replay    closecall client "]
    {
        assert!(table.contains(part), "{part} is not in {table}");
    }
    assert!(table.contains("7 not played  drain: the server does not echo\n"), "{table}");
}

#[test]
fn options_that_contradict_a_grade_are_refused() {
    let address = "127.0.0.1:1";
    assert_refused(&["--grade"], 2, &["--grade needs ADDR"]);
    assert_refused(&[address, "--pid", "1"], 2, &["--pid needs --grade"]);
    assert_refused(&[address, "--grade", "--pid", "0"], 2, &["--pid '0'"]);
    assert_refused(&[address, "--grade", "--format", "markdown"], 2, &["--format"]);
    let others: [&[&str]; 9] = [
        &["--only", "S1"],
        &["--via", address],
        &["--observe", "x"],
        &["--message", "Hi"],
        &["--any-reply"],
        &["--repeat", "2"],
        &["--list"],
        &["--capture"],
        &["--long"],
    ];
    for other in others {
        let args = [&[address, "--grade"], other].concat();
        assert_refused(&args, 2, &["--grade", other[0], "cannot be used together"]);
    }
}

#[test]
fn no_server_and_a_wrong_process_are_one_line_each() {
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    assert_refused(&[&unused, "--grade"], 3, &[&unused, "refused", "start the server"]);
    // This process would not survive it.
    let mut innocent = Command::new("sleep");
    let innocent = Process::start({
        innocent.arg("600");
        innocent
    });
    let pid = innocent.id().to_string();
    let args = [&*unused, "--grade", "--pid", &pid];
    assert_refused(&args, 3, &["--pid", &pid, "does not listen on the port of ADDR"]);
    let gone = ["127.0.0.1:1", "--grade", "--pid", "2147483647"];
    assert_refused(&gone, 3, &["--pid 2147483647", "No such process"]);
}

/// An hour is longer than this test waits for anything.
#[test]
fn an_interrupt_ends_the_exercise_with_the_levels_so_far() {
    let endless = server(|stream| echoes(stream, <[u8]>::to_vec).is_ok() | true);
    let address = endless.to_string();
    let mut process = Process::start(closecall(&["lab", &address, "--grade", "--patience", "1h"]));
    process.wait_for_sigint_handler();
    process.signal("INT");
    assert_eq!(process.exit_code(), 1);
    assert!(process.stderr.text().contains("interrupted "), "{}", process.stderr.text());
}
