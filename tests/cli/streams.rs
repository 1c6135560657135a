//! A stdout or stderr that is closed, full or never read does not stop the server, and bytes of
//! clients reach neither of them unescaped.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::process::{Output, Process, closecall, closecall_after};
use crate::{MESSAGE, REPLY, come_and_go, connect, echo, row, stop};

/// A port for a server that cannot say which one it has: held by a socket that does not listen.
fn reserved() -> (Socket, String) {
    let holder = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    holder.set_reuse_port(true).unwrap();
    holder.set_reuse_address(true).unwrap();
    holder.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = holder.local_addr().unwrap().as_socket().unwrap();
    (holder, address.to_string())
}

/// The exit waits for some seconds; one that takes this long has waited for a reader.
const LONG: Duration = Duration::from_secs(60);

/// Reads the first line of a child's stdout, and leaves the rest of its pipes alone.
fn address_of(child: &mut Child) -> SocketAddr {
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    line.trim().strip_prefix("listening on ").unwrap().parse().unwrap()
}

/// `count` echoes, of which a log at the level `debug` has two lines each.
fn chatter(address: SocketAddr, count: usize) {
    let mut client = connect(address);
    for _ in 0..count {
        echo(&mut client);
    }
}

#[test]
fn a_closed_stdout_stops_nothing() {
    let (_holder, address) = reserved();
    let args = ["serve", "--reuse-port", "--close-log", "-", "--listen", &address];
    let mut server = Process::start(closecall_after("exec >&-", &args));
    server.stderr.wait_for("at most");
    come_and_go(address.parse().unwrap(), 10);
    assert_eq!(row(&stop(&mut server), "accepted"), Some(10));
}

/// Takes nothing: there is no space left on it.
#[cfg(target_os = "linux")]
fn full() -> std::fs::File {
    std::fs::File::options().write(true).open("/dev/full").unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_stdout_stops_nothing() {
    let (_holder, address) = reserved();
    let mut command =
        closecall(&["serve", "--reuse-port", "--close-log", "-", "--listen", &address]);
    command.stdout(full());
    let mut server = Process::of(command.stderr(Stdio::piped()).spawn().unwrap());
    server.stderr.wait_for("at most");
    come_and_go(address.parse().unwrap(), 10);
    let stderr = stop(&mut server);
    assert_eq!(row(&stderr, "close log: records lost"), Some(10), "{stderr}");
    assert!(stderr.contains("cannot write the close log: No space left"), "{stderr}");
}

/// Regression: it was called the close log, which this server does not have.
#[cfg(target_os = "linux")]
#[test]
fn a_full_stdout_without_a_close_log_is_called_stdout() {
    let (_holder, address) = reserved();
    let mut command = closecall(&["serve", "--reuse-port", "--listen", &address]);
    command.stdout(full());
    let mut server = Process::of(command.stderr(Stdio::piped()).spawn().unwrap());
    server.stderr.wait_for("cannot write to stdout: No space left");
    let stderr = stop(&mut server);
    assert!(!stderr.contains("close log"), "{stderr}");
}

#[test]
fn a_stdout_that_is_never_read_stops_nothing() {
    let args = ["serve", "--listen", "127.0.0.1:0", "--close-log", "-"];
    let mut command = closecall(&args);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let address = address_of(&mut child);
    let unread = child.stdout.take();
    let mut server = Process::of(child);
    come_and_go(address, 1000); // some 350 KB of records, and a pipe has 64
    let asked = Instant::now();
    let stderr = stop(&mut server);
    assert!(asked.elapsed() < LONG, "the exit must not wait for a reader");
    assert_eq!(row(&stderr, "accepted"), Some(1000));
    let lost = row(&stderr, "close log: records lost").unwrap();
    let mut written = String::new();
    unread.unwrap().read_to_string(&mut written).unwrap();
    let whole = written.lines().filter(|line| line.ends_with('}')).count() as u64;
    // The batch that was being written when the patience ended counts as lost, and is 256 at most.
    assert!((1000..=1000 + 256).contains(&(lost + whole)), "{lost} lost and {whole} written");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_stderr_stops_nothing() {
    for filter in ["trace", "loud=very"] {
        let mut command = closecall(&["serve", "--listen", "127.0.0.1:0"]);
        command.env("RUST_LOG", filter);
        command.stderr(full());
        let mut server = Process::of(command.stdout(Stdio::piped()).spawn().unwrap());
        chatter(server.address(), 100);
        come_and_go(server.address(), 10);
        server.signal("TERM");
        assert_eq!(server.exit_code(), 0);
    }
}

#[test]
fn a_stderr_that_is_read_late_stops_nothing() {
    let mut command = closecall(&["serve", "--listen", "127.0.0.1:0"]);
    command.env("RUST_LOG", "trace").stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let address = address_of(&mut child);
    let unread = child.stderr.take().unwrap();
    let mut server = Process::of(child);
    chatter(address, 5000); // 10,000 lines: a pipe has some 500 of them, the queue 4,096
    let stderr = Output::of(unread); // at last
    stderr.wait_for(" log lines were dropped");
    chatter(address, 1);
    stderr.wait_for(" #2 ");
    server.signal("TERM");
    assert_eq!(server.exit_code(), 0);
    assert_eq!(row(&stderr.wait_to_end(), "accepted"), Some(2));
}

#[test]
fn the_exit_does_not_wait_for_a_stderr_that_is_never_read() {
    let mut command = closecall(&["serve", "--listen", "127.0.0.1:0"]);
    command.env("RUST_LOG", "trace").stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let address = address_of(&mut child);
    let _unread = child.stderr.take();
    let mut server = Process::of(child);
    chatter(address, 5000);
    let asked = Instant::now();
    server.signal("TERM");
    assert_eq!(server.exit_code(), 0);
    assert!(asked.elapsed() < LONG, "the exit must not wait for a reader");
}

#[test]
fn what_a_client_sends_reaches_no_log_raw() {
    let mut command = closecall(&["serve", "--listen", "127.0.0.1:0"]);
    command.env("RUST_LOG", "trace");
    let mut server = Process::start(command);
    let evil = b"\x1b[31mred\r\n2026 INFO forged\x00\x07\x7f\x9b\xc2\x9b\xff\"";
    let mut client = connect(server.address());
    client.write_all(evil).unwrap();
    let mut reply = vec![0; REPLY.len() - MESSAGE.len() + evil.len()];
    client.read_exact(&mut reply).unwrap();
    assert!(reply.ends_with(evil));
    drop(client);
    let stderr = stop(&mut server);
    let raw = |c: char| c.is_control() && c != '\n';
    assert!(!stderr.contains(raw) && !stderr.contains("\n2026 INFO"), "{stderr:?}");
    assert!(stderr.contains(r#"read client [34]="\x1b[31mred\r\n2026"#), "{stderr}");
}

#[test]
fn a_filter_that_makes_no_sense_is_named_and_ignored() {
    let mut command = closecall(&["serve", "--listen", "127.0.0.1:0"]);
    command.env("RUST_LOG", "info,closecall::echo=loud");
    let mut server = Process::start(command);
    come_and_go(server.address(), 1);
    let stderr = stop(&mut server);
    assert!(stderr.contains("RUST_LOG: \"closecall::echo=loud\" is ignored"), "{stderr}");
    assert!(stderr.contains("peer_fin.delivered 127.0.0.1"), "the rest holds: {stderr}");
}

// ---- a report ----------------------------------------------------------------------------------

/// Each command with something to tell, and a server for those that need one.
#[cfg(target_os = "linux")]
fn with_a_report(server: &str) -> [Vec<&str>; 7] {
    [
        vec!["--help"],
        vec!["client", "--end", "list"],
        vec!["client", server],
        vec!["client", server, "--count", "3"],
        vec!["lab", "--list"],
        vec!["lab", "--only", "S1", "--format", "json"],
        vec!["load", "echo", server, "-c", "1", "-d", "100ms"],
    ]
}

/// What came on stderr, but for what `load` says of a busy machine.
#[cfg(target_os = "linux")]
fn said(process: &Process) -> String {
    let text = process.stderr.text();
    text.split_inclusive('\n').filter(|line| !line.contains("at its limit")).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn a_report_that_cannot_be_written_is_a_failure_in_one_line() {
    let server = super::serve(&[]);
    for args in with_a_report(&server.address().to_string()) {
        let mut command = closecall(&args);
        command.stdout(full());
        let mut process = Process::of(command.stderr(Stdio::piped()).spawn().unwrap());
        let (code, stderr) = (process.exit_code(), said(&process));
        assert_eq!((code, stderr.lines().count()), (1, 1), "{args:?}: {stderr}");
        assert!(stderr.contains("cannot write to stdout: No space left"), "{args:?}: {stderr}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_reader_that_has_closed_its_pipe_is_no_failure() {
    let server = super::serve(&[]);
    for args in with_a_report(&server.address().to_string()) {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = closecall(&args);
        let mut process =
            Process::of(command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap());
        assert_eq!((process.exit_code(), &*said(&process)), (0, ""), "{args:?}");
    }
}
