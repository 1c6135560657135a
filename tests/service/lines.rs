//! Promise: a line is written whole, and each ending is a line or is counted as lost.
//!
//! The real program beyond the limit of file sizes (RLIMIT_FSIZE), behind a torn line, with several
//! outputs on one pipe whose reader is slow, and at an exit whose output is not read. A full disk
//! and a stuck stderr are in `sinks.rs`.
#![cfg(all(target_os = "linux", feature = "cli"))]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, PipeReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use rlimit::{Resource, prlimit};
use serde_json::Value;

use crate::process::{self, Process, closecall_after};
use crate::scratch::Scratch;
use crate::service::{
    self, Service, Table, come_and_go, connect, exchange, parts, say, serve, short_or_long,
};

const LINE: &[u8] = b"Hi,here is glp\n";

const OPTIONS: &[&str] = &["--framing", "line"];

/// `closecall serve` behind a line of shell, with more options.
fn serve_after(shell: &str, options: &[&str]) -> std::process::Command {
    let base = ["serve", "--listen", "127.0.0.1:0"];
    closecall_after(shell, &[&base, OPTIONS, options].concat())
}

/// How many lines are whole records, and how many are something else.
fn records(text: &str) -> (u64, u64) {
    let is_record =
        |line: &&str| serde_json::from_str::<Value>(line).is_ok_and(|it| it.is_object());
    let whole = text.lines().filter(is_record).count();
    (whole as u64, (text.lines().count() - whole) as u64)
}

/// Accepted = lines + lost. Returns both.
#[track_caller]
fn add_up(table: &Table, written: u64, accepted: u64) -> (u64, u64) {
    let lost = table.get("close log: records lost");
    let sums = (written + lost, table.get("accepted"));
    assert_eq!(sums, (accepted, accepted), "{written} lines, {lost} lost");
    (written, lost)
}

// ---- the limit of file sizes --------------------------------------------------------------------

/// What a process may write into one file, in blocks of 512 bytes (POSIX: `ulimit -f`).
const SMALL: &str = "ulimit -f 8";

/// SIGXFSZ ended the server here.
#[test]
fn a_close_log_at_the_limit_of_file_sizes_costs_records_which_are_counted() {
    let file = Scratch::new("limit");
    let service = Service::of(serve_after(SMALL, &["--close-log", file.path()]));
    let stderr = service.process.stderr.clone();
    come_and_go(service.address, 300);
    stderr.wait_for("cannot write the close log: ");
    let table = service.stop();
    let (_, lost) = add_up(&table, records(&file.text()).0, 300);
    assert!(lost > 250, "the limit is above {} bytes", file.text().len());
}

#[test]
fn a_stderr_at_the_limit_of_file_sizes_stops_nothing() {
    let file = Scratch::new("limit-stderr");
    let mut command = serve_after(SMALL, &["--close-log", "-"]);
    command.env("RUST_LOG", "trace").stdout(Stdio::piped()).stderr(file.create());
    let process = Process::of(command.spawn().unwrap());
    let address = process.address();
    let mut service = Service { process, address };
    come_and_go(service.address, 300);
    service.process.signal("TERM");
    assert_eq!(service.process.exit_code(), 0);
    assert_eq!(records(&service.process.stdout.text()), (300, 1), "and the address");
}

/// They have nothing but their reports; SIGXFSZ left half of one and no word.
#[test]
fn a_report_at_the_limit_of_file_sizes_is_a_failure_in_one_line() {
    let service = Service::start(OPTIONS);
    let address = service.address.to_string();
    let none = "ulimit -f 0";
    for args in [&["lab", "--list"][..], &["client", &address], &["--help"]] {
        let file = Scratch::new("limit-stdout");
        let mut command = closecall_after(none, args);
        command.stdout(file.create()).stderr(Stdio::piped());
        let mut process = Process::of(command.spawn().unwrap());
        let (code, stderr) = (process.exit_code(), process.stderr.text());
        assert_eq!((code, stderr.lines().count()), (1, 1), "{args:?}: {stderr}");
        assert!(stderr.contains("cannot write to stdout: File too large"), "{args:?}: {stderr}");
    }
    let file = Scratch::new("limit-kept");
    let hdr = ["load", "echo", &address, "-c", "1", "-d", "100ms", "--hdr", file.path()];
    let pcap = ["lab", "--only", "S1", "--pcap", file.path()];
    for args in [&hdr[..], &pcap] {
        let mut process = Process::start(closecall_after(none, args));
        let (code, stderr) = (process.exit_code(), process.stderr.text());
        if code == 3 && stderr.contains("CAP_NET_RAW") {
            say("skipped: needs CAP_NET_RAW");
            continue;
        }
        let kept = args[args.len() - 2];
        assert_eq!(code, 1, "{args:?}: {stderr}");
        assert!(stderr.contains(kept) && stderr.contains("File too large"), "{args:?}: {stderr}");
    }
}

#[test]
fn what_the_limit_cut_off_is_ended_before_the_next_record() {
    let file = Scratch::new("limit-raised");
    let service = Service::of(serve_after("ulimit -S -f 8", &["--close-log", file.path()]));
    come_and_go(service.address, 50);
    service.process.stderr.wait_for("cannot write the close log: ");
    let cut = file.text();
    assert!(!cut.ends_with('\n'), "a limit in the middle of a line: {} bytes", cut.len());
    let limit = (rlimit::INFINITY, rlimit::INFINITY);
    prlimit(service.process.id() as i32, Resource::FSIZE, Some(limit), None).unwrap();
    come_and_go(service.address, 50);
    let table = service.stop();
    let text = file.text();
    assert!(text.starts_with(&format!("{cut}\n{{")), "{text}");
    let (written, torn) = records(&text);
    assert_eq!(torn, 1, "{text}");
    let (written, _) = add_up(&table, written, 100);
    assert!(written >= 50, "it goes on: {text}");
}

// ---- a torn tail --------------------------------------------------------------------------------

#[test]
fn a_close_log_that_ends_in_a_torn_line_gets_a_newline_first() {
    for (before, lines) in [("", 1), ("whole\n", 2), ("{\"time\":\"20", 2), ("whole\ntorn", 3)] {
        let file = Scratch::new("torn");
        fs::write(file.path(), before).unwrap();
        let service = Service::start(&[OPTIONS, &["--close-log", file.path()]].concat());
        come_and_go(service.address, 1);
        service.stop();
        let text = file.text();
        assert_eq!((records(&text).0, text.lines().count()), (1, lines), "{text}");
        assert!(text.starts_with(before), "{text}");
    }
}

/// `closecall serve --close-log - >>FILE 2>>FILE`: what a service manager does.
#[test]
fn a_torn_line_behind_an_inherited_output_gets_a_newline_first() {
    let (stdout, stderr) = (Scratch::new("torn-stdout"), Scratch::new("torn-stderr"));
    for file in [&stdout, &stderr] {
        fs::write(file.path(), "torn").unwrap();
    }
    let append = |file: &Scratch| File::options().append(true).open(file.path()).unwrap();
    let mut command = serve(&[OPTIONS, &["--close-log", "-"]].concat());
    command.stdout(append(&stdout)).stderr(append(&stderr));
    let mut process = Process::of(command.spawn().unwrap());
    service::wait_until("it listens", || stdout.text().ends_with('\n'));
    process.signal("TERM");
    assert_eq!(process.exit_code(), 0);
    assert!(stdout.text().starts_with("torn\nlistening on "), "{}", stdout.text());
    assert!(stderr.text().starts_with("torn\n20"), "{}", stderr.text());
}

// ---- one pipe -----------------------------------------------------------------------------------

/// The kinds of lines that there are; `None` if it is none, or more than one.
fn kind(line: &str) -> Option<&'static str> {
    let is_time = |text: &str| text.len() == 24 && text.ends_with('Z') && text.starts_with("20");
    let words: Vec<&str> = line.splitn(3, ' ').collect();
    match words[..] {
        ["listening", "on", _] => Some("address"),
        ["…", _, "log lines were dropped"] => Some("dropped"),
        [time, _, rest] if is_time(time) => {
            // A target and a message, and not the beginning of another line.
            let is_one = !rest.contains("{\"time\"") && rest.matches(" closecall").count() <= 1;
            is_one.then_some("log")
        }
        _ if line.starts_with('{') => {
            serde_json::from_str::<Value>(line).is_ok().then_some("record")
        }
        _ => None,
    }
}

/// The lines that came through a pipe before the table: those that are torn, and how many there are
/// of a kind.
fn sorted(text: &str) -> (Vec<&str>, impl Fn(&str) -> u64) {
    let lines: Vec<&str> = text.lines().take_while(|line| !line.starts_with("verdict ")).collect();
    let torn = lines.iter().copied().filter(|line| kind(line).is_none()).collect();
    (torn, move |wanted| lines.iter().filter(|line| kind(line) == Some(wanted)).count() as u64)
}

/// 16 lines of 28,000 were torn, and 132 with the messages: two threads wrote batches.
#[test]
fn lines_of_stdout_and_stderr_on_one_pipe_are_never_torn() {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = serve(&[OPTIONS, &["--close-log", "-"]].concat());
    command.env("RUST_LOG", "debug").stdout(writer.try_clone().unwrap()).stderr(writer);
    let process = Process::of(command.spawn().unwrap());
    drop(command);
    let mut reader = BufReader::with_capacity(512, reader);
    let (address, mut text) = address(&mut reader);
    let mut service = Service { process, address };
    let connections = short_or_long(2_000, 20_000);
    for number in 0..connections {
        come_and_go(service.address, 1);
        // A slow reader: the pipe is full nearly all the time.
        if number % 4 == 0 {
            reader.read_line(&mut text).unwrap();
        }
    }
    let rest = process::Output::of(reader);
    service.process.signal("TERM");
    assert_eq!(service.process.exit_code(), 0);
    text.push_str(&rest.wait_to_end());
    let (torn, count) = sorted(&text);
    assert_eq!(torn, Vec::<&str>::new(), "of {} lines", text.lines().count());
    add_up(&Table::of(&text), count("record"), connections as u64);
}

/// A report that is longer than PIPE_BUF was one call.
#[test]
fn reports_of_several_programs_on_one_pipe_are_never_torn() {
    const PROGRAMS: usize = 16;
    let list = || process::closecall(&["lab", "--list", "--format", "json"]);
    let one = String::from_utf8(list().output().unwrap().stdout).unwrap();
    assert!(one.len() * PROGRAMS > 2 * 65_536, "more than a pipe holds: {}", one.len());
    let (mut reader, writer) = std::io::pipe().unwrap();
    let start = |_| Process::of(list().stdout(writer.try_clone().unwrap()).spawn().unwrap());
    let programs: Vec<Process> = (0..PROGRAMS).map(start).collect();
    drop(writer);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    for mut program in programs {
        assert_eq!(program.exit_code(), 0);
    }
    let known: std::collections::HashSet<&str> = one.lines().collect();
    let torn: Vec<_> = text.lines().filter(|line| !known.contains(line)).collect();
    assert_eq!((torn, text.len()), (Vec::new(), PROGRAMS * one.len()));
}

/// Reads up to the line that names the address.
fn address(reader: &mut impl BufRead) -> (std::net::SocketAddr, String) {
    let mut text = String::new();
    loop {
        reader.read_line(&mut text).unwrap();
        let line = text.lines().last().expect("it listens");
        if let Some(address) = line.strip_prefix("listening on ") {
            return (address.parse().unwrap(), text);
        }
    }
}

// ---- at the exit --------------------------------------------------------------------------------

/// A server with its close log on a pipe that is full by now, and its other end.
fn with_a_stuck_close_log(connections: usize) -> (Service, PipeReader) {
    let (reader, writer) = std::io::pipe().unwrap();
    with_a_stuck(reader, writer, connections)
}

/// The same for another kind of pipe.
fn with_a_stuck<R: Read>(
    mut reader: R,
    writer: impl Into<Stdio>,
    connections: usize,
) -> (Service, R) {
    let mut command = serve(&[OPTIONS, &["--close-log", "-"]].concat());
    command.stdout(writer).stderr(Stdio::piped());
    let process = Process::of(command.spawn().unwrap());
    drop(command);
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        let mut byte = [0];
        reader.read_exact(&mut byte).unwrap();
        line.push(byte[0]);
    }
    let line = String::from_utf8(line).unwrap();
    let address = line.trim().strip_prefix("listening on ").unwrap().parse().unwrap();
    let service = Service { process, address };
    come_and_go(service.address, connections);
    (service, reader)
}

/// Up to a batch was written and counted as lost.
#[test]
fn at_an_exit_without_a_reader_lines_and_losses_add_up() {
    let (service, mut reader) = with_a_stuck_close_log(2_000);
    let table = service.stop();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    let (written, other) = records(&text);
    assert_eq!(other, 0, "{text}");
    let (written, lost) = add_up(&table, written, 2_000);
    assert!(written > 0 && lost > 0, "{written} written, {lost} lost");
}

/// A service manager gives its services a socket. It has no O_NONBLOCK of our own.
#[test]
fn at_an_exit_with_a_stuck_socket_lines_and_losses_add_up() {
    let (reader, writer) = UnixStream::pair().unwrap();
    let (service, mut reader) = with_a_stuck(reader, OwnedFd::from(writer), 2_000);
    let table = service.stop();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    let (written, other) = records(&text);
    assert_eq!(other, 0, "{text}");
    let (written, lost) = add_up(&table, written, 2_000);
    assert!(written > 0 && lost > 0, "{written} written, {lost} lost");
}

/// What has been counted as lost may not appear after all.
#[test]
fn a_reader_that_comes_back_during_the_exit_changes_no_count() {
    let (mut service, mut reader) = with_a_stuck_close_log(2_000);
    service.process.signal("TERM");
    service.process.stderr.wait_for("accepted ");
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    add_up(&service.ended(), records(&text).0, 2_000);
}

/// One client at the time of the signal: its record is lost as well, and counted.
#[test]
fn the_record_of_the_drain_itself_is_counted() {
    let (service, mut reader) = with_a_stuck_close_log(1_000);
    let mut client = connect(service.address);
    exchange(&mut client, LINE).unwrap();
    service.process.signal("TERM");
    service.process.stderr.wait_for("draining: 1 open");
    parts(&mut client).unwrap();
    let mut service = service;
    let table = service.ended();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    add_up(&table, records(&text).0, 1_001);
}
