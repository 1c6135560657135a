//! Promise: time that passes while the server does not run, and a clock with large numbers, end no
//! connection whose client has sent something.
//!
//! The real program: stopped and continued by signals; in a time namespace of its own whose clock
//! is about to pass 2^32 and 2^36 ms (that needs root, else it says so); and with a clock that
//! jumps by days and years. `CLOSECALL_LONG=1` stops it for 11 seconds with the default deadlines.
#![cfg(all(target_os = "linux", feature = "cli"))]

mod jumps;

use std::io::Write;
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::service::{
    Service, connect, exchange, hears, hears_fin, parts, reply_to, say, serve, short_or_long, under,
};

const LINE: &[u8] = b"Hi,here is glp\n";

/// Lets time pass while the server is stopped, and nothing else: that is what this is about.
fn server_is_stopped_for(duration: Duration) {
    thread::sleep(duration);
}

#[test]
fn a_client_that_sent_while_the_server_was_stopped_is_not_timed_out() {
    let (deadline, stopped) = short_or_long(("3s", 4), ("10s", 11));
    let service = Service::start(&["--framing", "line", "--read-deadline", deadline]);
    let mut clients: Vec<TcpStream> = (0..40).map(|_| connect(service.address)).collect();
    clients.iter_mut().for_each(|client| exchange(client, LINE).unwrap());
    service.freeze();
    let (spoke, silent) = clients.split_at_mut(30);
    spoke.iter_mut().for_each(|client| client.write_all(LINE).unwrap());
    let mut newcomer = connect(service.address);
    newcomer.write_all(LINE).unwrap();
    server_is_stopped_for(Duration::from_secs(stopped));
    service.thaw();
    for client in spoke {
        hears(client, &reply_to(LINE)).unwrap();
        parts(client).unwrap();
    }
    hears(&mut newcomer, &reply_to(LINE)).unwrap();
    parts(&mut newcomer).unwrap();
    for client in &mut *silent {
        hears_fin(client).unwrap(); // and no reset
    }
    drop(clients);
    let table = service.stop();
    let ends = (table.all_of("peer_fin."), table.get("timeout.read"));
    assert_eq!(ends, (31, 10), "{table:?}");
}

/// Seconds since the system started, which is where the monotonic clock counts from.
fn uptime() -> i64 {
    let text = std::fs::read_to_string("/proc/uptime").unwrap();
    text.split('.').next().unwrap().parse().unwrap()
}

/// Whether a time namespace can be had; if not, that is printed.
fn may_shift_clocks() -> bool {
    let mut unshare = Command::new("unshare");
    unshare.args(["--time", "--monotonic=1", "true"]);
    let may = unshare.output().is_ok_and(|output| output.status.success());
    if !may {
        say("skipped: needs root, unshare (util-linux) and time namespaces");
    }
    may
}

/// The clock of the server passes `ms` while it serves: echoes go on and deadlines hold.
#[track_caller]
fn passes(ms: u64) {
    const BEFORE: u64 = 2;
    let offset = (ms / 1000 - BEFORE) as i64 - uptime(); // negative after 49 days
    let monotonic = format!("--monotonic={offset}");
    let options = ["--framing", "line", "--read-deadline", "1s", "--close-log", "-"];
    let command = under(&["unshare", "--time", &monotonic], &serve(&options));
    let service = Service::of(command);
    let mut talks = connect(service.address);
    let mut silent = Vec::new();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(2 * BEFORE) {
        exchange(&mut talks, LINE).unwrap();
        if began.elapsed() > Duration::from_millis(200 * silent.len() as u64) {
            silent.push(connect(service.address));
        }
    }
    parts(&mut talks).unwrap();
    silent.iter_mut().for_each(|client| hears_fin(client).unwrap());
    let count = silent.len() as u64;
    drop(silent);
    let stdout = service.process.stdout.clone();
    let table = service.stop();
    assert_eq!((table.get("timeout.read"), table.all_of("peer_fin.")), (count, 1));
    let mut longest = 0;
    for line in stdout.text().lines().filter(|line| line.contains("timeout.read")) {
        let duration = number(line, "\"duration_ms\":") - number(line, "\"verdict_wait_ms\":");
        assert!(duration >= 1000, "early: {line}");
        longest = longest.max(duration);
    }
    say(format!("{count} deadlines of 1,000 ms around {ms} ms: {longest} ms at the most"));
}

/// The number behind `field` in a line of JSON.
fn number(line: &str, field: &str) -> u64 {
    let (_, rest) = line.split_once(field).expect(field);
    rest.split([',', '}']).next().unwrap().parse().unwrap()
}

#[test]
fn a_clock_past_2_to_the_32_ms_is_a_clock() {
    if may_shift_clocks() {
        passes(1 << 32);
    }
}

#[test]
fn a_clock_past_2_to_the_36_ms_is_a_clock() {
    if may_shift_clocks() {
        passes(1 << 36);
    }
}

/// The namespaces are what they are taken for: a program in one has another clock.
#[test]
fn the_clock_of_a_time_namespace_is_shifted() {
    if may_shift_clocks() {
        let mut command = Command::new("unshare");
        command.args(["--time", "--boottime=100000000", "cat", "/proc/uptime"]);
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let seconds: u64 = text.split('.').next().unwrap().parse().unwrap();
        assert!(seconds >= 100_000_000, "{text}");
    }
}
