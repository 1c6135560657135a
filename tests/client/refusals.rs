//! A refusal is one line, and an output that is not read stops nothing.

use std::io::Write;
use std::net::TcpListener;
use std::process::{Command, Stdio};

use crate::process::{Process, closecall, closecall_after};
use crate::{record, serve};

/// Runs `command` to its end: it says one line, and nothing on stdout.
#[track_caller]
fn refused(command: Command, code: i32, fragments: &[&str]) {
    let mut process = Process::start(command);
    let (exit_code, stderr) = (process.exit_code(), process.stderr.text());
    assert_eq!((exit_code, process.stdout.text().as_str()), (code, ""), "{stderr}");
    assert!(stderr.starts_with("closecall: ") && stderr.lines().count() == 1, "{stderr}");
    for fragment in fragments {
        assert!(stderr.contains(fragment), "{stderr}");
    }
}

#[test]
fn what_makes_no_sense_is_a_usage_error() {
    let address = "127.0.0.1:20003";
    for (args, fragments) in [
        (&["client"][..], &["ADDR is missing", "client --help"][..]),
        (&["client", "nonsense"], &["ADDR 'nonsense'", "127.0.0.1:20003 or [::1]:"]),
        (&["client", address, "more"], &["unexpected", "'more'"]),
        (&["client", address, "--end", "polite"], &["--end 'polite'", "list", "close-unread"]),
        (&["client", address, "--count", "0"], &["--count '0'", "from 1 to"]),
        (&["client", address, "--wait", "5"], &["--wait '5'", "such as 250ms"]),
        (&["client", address, "--message", ""], &["--message ''", "1 to 65536 bytes"]),
        (&["client", address, "--source", "eth0"], &["--source 'eth0'", "an IP address"]),
        (&["client", address, "--source", "::1"], &["--source ::1", "expected an IPv4", address]),
        (&["client", "[::1]:9", "--source", "127.0.0.1"], &["expected an IPv6", "[::1]:9"]),
    ] {
        refused(closecall(args), 2, fragments);
    }
}

#[test]
fn a_server_that_does_not_accept_is_named_with_a_remedy() {
    // No other program gets this port while it is bound, and nothing listens there.
    let bound = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    bound.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = bound.local_addr().unwrap().as_socket().unwrap().to_string();
    for more in [&[][..], &["--count", "3"]] {
        let command = closecall(&[&["client", &address], more].concat());
        refused(command, 3, &[&address, "refused", "closecall serve"]);
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let command = closecall(&["client", &address, "--source", "192.0.2.1"]);
    refused(command, 3, &[&address, "--source", "this machine"]);
    // The loader needs one file as well, but it gives it back.
    let command = closecall_after("ulimit -n 4", &["client", &address]);
    refused(command, 3, &[&address, "open files", "ulimit -n"]);
}

#[test]
fn a_stdout_that_is_closed_or_full_stops_nothing() {
    let server = serve(&[]);
    let address = server.address().to_string();
    // With a closed output the lines are not wanted; on a full disk they are missing.
    let full = "closecall: cannot write to stdout: No space left on device (os error 28)\n";
    for (shell, expected) in [("exec >&-", (0, "")), ("exec >/dev/full", (1, full))] {
        let options = ["client", &address, "--source", "127.0.0.78", "--end", "reset"];
        let mut client = Process::start(closecall_after(shell, &options));
        assert_eq!((client.exit_code(), client.stderr.text().as_str()), expected);
    }
    let log = server.stdout.wait_until(|log| log.matches("127.0.0.78").count() == 2);
    assert_eq!(log.matches("\"peer_reset.reply_acked\"").count(), 2, "{log}");

    let mut command = closecall(&["client", &address, "--source", "127.0.0.79"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take()); // not read
    assert_eq!(Process::of(child).exit_code(), 0);
    server.stdout.wait_for("127.0.0.79");
}

/// The child that is to be killed does not outlive a parent that cannot do that any more.
#[test]
fn a_process_that_holds_a_socket_ends_with_its_parent() {
    let mut command = closecall(&["hold"]);
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut holder = Process::of(child);
    stdin.write_all(b"it is still there").unwrap();
    drop(stdin);
    assert_eq!((holder.exit_code(), holder.stdout.text().as_str()), (0, ""));
}

/// `--source` comes with its own port each time, and so does no `--source`.
#[test]
fn many_from_one_address() {
    let server = serve(&[]);
    let options = ["--count", "50", "--source", "127.0.0.80", "--end", "close"];
    let said = crate::told(crate::client(server.address(), &options));
    assert!(said.contains("50 as planned, 0 failed"), "{said}");
    let log = server.stdout.wait_until(|log| log.matches("127.0.0.80").count() == 50);
    let peer = log.lines().nth(1).unwrap().split("\"peer\":\"").nth(1).unwrap();
    let record = record(&server, peer.split('"').next().unwrap());
    assert_eq!(record["verdict"], "peer_fin.delivered");
}
