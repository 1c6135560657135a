//! Promise: an output that takes nothing stops nothing, and each lost line is counted.
//!
//! The real program with a stderr that is stuck or closed and a close log on a disk that is full,
//! for a while or for good. What stdout does is in `tests/cli/streams.rs`, a close log on /dev/full
//! or in a pipe whose reader leaves in `tests/cli/close_log.rs`. The full disk is a tmpfs in a
//! mount namespace, which needs root; else it says so. `CLOSECALL_LONG=1`: ten times as many lines.
#![cfg(all(target_os = "linux", feature = "cli"))]

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::process::{Output, Process, closecall_after};
use crate::service::{
    Service, Table, come_and_go, connect, exchange, parts, say, serve, short_or_long, under,
    wait_until,
};

const LINE: &[u8] = b"Hi,here is glp\n";

const OPTIONS: &[&str] = &["--framing", "line"];

/// The server, and its stderr, which is not read.
fn with_a_stuck_stderr(filter: &str) -> (Service, impl Read + Send + 'static) {
    let mut command = serve(OPTIONS);
    command.env("RUST_LOG", filter).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on ").unwrap().parse().unwrap();
    let unread = child.stderr.take().unwrap();
    (Service { process: Process::of(child), address }, unread)
}

/// The sum of "… 4,812 log lines were dropped".
fn dropped(stderr: &str) -> usize {
    let count = |line: &str| {
        let (_, rest) = line.split_once("… ")?;
        rest.strip_suffix(" log lines were dropped")?.replace(',', "").parse::<usize>().ok()
    };
    stderr.lines().filter_map(count).sum()
}

#[test]
fn a_stuck_stderr_costs_lines_which_are_counted() {
    let (mut service, unread) = with_a_stuck_stderr("closecall::echo=debug");
    let echoes = short_or_long(5_000, 50_000);
    let mut client = connect(service.address);
    (0..echoes).for_each(|_| exchange(&mut client, LINE).unwrap());
    let stderr = Output::of(unread); // at last
    stderr.wait_for(" log lines were dropped");
    exchange(&mut client, b"the last one\n").unwrap();
    stderr.wait_until(|text| text.matches("the last one").count() == 2);
    parts(&mut client).unwrap();
    service.process.signal("TERM");
    assert_eq!(service.process.exit_code(), 0);
    let text = stderr.wait_to_end();
    let (dropped, written) = (dropped(&text), text.matches(" closecall::echo: ").count());
    assert!(dropped > 0, "nothing was stuck");
    assert_eq!(dropped + written, 2 * (echoes + 1), "each echo is two lines");
    assert_eq!(Table::of(&text).get("accepted"), 1);
}

#[test]
fn a_closed_stderr_stops_nothing() {
    let args = [&["serve", "--listen", "127.0.0.1:0", "--close-log", "-"], OPTIONS].concat();
    let mut command = closecall_after("exec 2>&-", &args);
    command.env("RUST_LOG", "trace");
    let mut service = Service::of(command);
    come_and_go(service.address, 100);
    service.process.signal("TERM");
    assert_eq!(service.process.exit_code(), 0);
    let records = service.process.stdout.text().lines().filter(|it| it.ends_with('}')).count();
    assert_eq!(records, 100);
}

#[test]
fn stdout_stderr_and_close_log_may_all_be_full() {
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut command = serve(&[OPTIONS, &["--close-log", "/dev/full"]].concat());
    command.env("RUST_LOG", "trace").stdout(writer).stderr(full());
    let process = Process::of(command.spawn().unwrap());
    drop(command); // with its end of the pipe
    let mut line = String::new();
    BufReader::new(&mut reader).read_line(&mut line).unwrap();
    drop(reader); // and now stdout is gone, too
    let address = line.trim().strip_prefix("listening on ").unwrap().parse().unwrap();
    let mut service = Service { process, address };
    come_and_go(service.address, 500);
    service.process.signal("TERM");
    assert_eq!(service.process.exit_code(), 0);
}

/// Where the small disk is mounted: in a namespace of the server's own, so it is gone with it.
fn mount_point() -> String {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("small-disk");
    std::fs::create_dir_all(&path).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A server whose close log is on a disk of 64 KB; `None` where that is not available, which is
/// printed.
fn on_a_small_disk() -> Option<(Service, File)> {
    let mounted = mount_point();
    let probe = format!("mount -t tmpfs -o size=64k none {mounted}");
    let tried = Command::new("unshare").args(["--mount", "sh", "-c", &probe]).output();
    if !tried.is_ok_and(|output| output.status.success()) {
        say("skipped: needs root and unshare (util-linux)");
        return None;
    }
    let log = format!("{mounted}/close.log");
    let script = format!("{probe} && exec \"$0\" \"$@\"");
    let command = serve(&[OPTIONS, &["--close-log", &log]].concat());
    let service = Service::of(under(&["unshare", "--mount", "sh", "-c", &script], &command));
    // The disk exists as long as this is open.
    let log = File::options()
        .read(true)
        .write(true)
        .open(format!("/proc/{}/root{log}", service.process.id()))
        .unwrap();
    Some((service, log))
}

/// How many whole records there are.
#[track_caller]
fn records(mut log: &File) -> u64 {
    let mut text = String::new();
    log.rewind().unwrap();
    log.read_to_string(&mut text).unwrap();
    text.lines().filter(|line| line.starts_with('{') && line.ends_with('}')).count() as u64
}

#[test]
fn a_full_disk_costs_records_which_are_counted() {
    let Some((service, log)) = on_a_small_disk() else { return };
    let stderr = service.process.stderr.clone();
    come_and_go(service.address, 400); // some 130 KB
    stderr.wait_for("cannot write the close log: ");
    come_and_go(service.address, 100);
    let table = service.stop();
    let (lost, written) = (table.get("close log: records lost"), records(&log));
    assert_eq!(
        (lost + written, table.get("accepted")),
        (500, 500),
        "{lost} lost {written} written"
    );
    let text = stderr.text();
    assert_eq!(text.matches("cannot write the close log: ").count(), 1, "once an episode: {text}");
    assert!(written > 100, "there was room for more than {written}");
}

#[test]
fn a_disk_with_room_again_is_written_again() {
    let Some((service, log)) = on_a_small_disk() else { return };
    let stderr = service.process.stderr.clone();
    come_and_go(service.address, 400);
    stderr.wait_for("cannot write the close log: ");
    wait_until("it is full", || {
        let size = log.metadata().unwrap().len();
        size == 64 << 10
    });
    let before = records(&log);
    log.set_len(0).unwrap(); // as a rotation by copying does
    come_and_go(service.address, 100);
    let table = service.stop();
    let (lost, written) = (table.get("close log: records lost"), before + records(&log));
    assert_eq!(
        (lost + written, table.get("accepted")),
        (500, 500),
        "{lost} lost {written} written"
    );
    assert!(stderr.text().contains(" close log records were lost"), "{}", stderr.text());
    assert!(records(&log) > 0, "it goes on");
}
