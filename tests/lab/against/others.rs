//! Servers that are no echo servers, and what is claimed of them: what was seen, or what follows
//! for any TCP.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use closecall::lab::capture::Capture;
use socket2::{Domain, Socket, Type};

use super::{against, echoes, outcomes, row, server};
use crate::process::{Process, closecall};
use crate::skip::skips;

/// Answers each request with a line of its own, as redis does.
fn answers(answer: &'static [u8]) -> SocketAddr {
    server(move |mut stream| {
        thread::spawn(move || {
            let mut request = [0; 4096];
            while let Ok(1..) = stream.read(&mut request) {
                if stream.write_all(answer).is_err() {
                    break;
                }
            }
        });
        true
    })
}

/// nginx, redis, sshd and others gave 16 to 19 failed rows.
#[test]
fn any_reply_will_do_where_that_is_said() {
    let redis = answers(b"+PONG\r\n");
    let args = ["--any-reply", "--message", r"PING\r\n", "--patience", "2s"];
    let (code, report) = against(redis, &args);
    assert_eq!(code, 0, "{report:#}");
    assert!(outcomes(&report).iter().all(|(_, outcome)| *outcome != "failed"), "{report:#}");
    let one = row(&report, "S1");
    assert_eq!(
        (&one["wire"], &one["seen"]["bytes"]),
        (&"→ 6 bytes ← 7 bytes → FIN".into(), &7.into())
    );
    assert!(one["seen"]["reply"].is_null(), "there is none to compare with");
    let (code, report) = against(redis, &["--only", "S1", "--patience", "1s"]);
    assert_eq!((code, &*outcomes(&report)), (1, &[("S1", "failed")][..]), "without it, it fails");
}

/// The lab claimed "→ RST to the reply" where there were two FINs, and "our FIN" of servers that
/// were not ours.
#[test]
fn nothing_is_claimed_of_a_reply_that_does_not_come() {
    let mute = server(|mut stream| {
        let _ = stream.read_to_end(&mut Vec::new());
        true
    });
    let (_, report) = against(mute, &["--only", "S1,S3,S6,S7,S16b", "--patience", "300ms"]);
    for row in report["rows"].as_array().unwrap() {
        let wire = row["wire"].as_str().unwrap();
        assert!(!wire.contains("RST"), "{row:#}");
        let note = row["note"].as_str().unwrap();
        assert!(row["outcome"] != "ok" || note.is_empty(), "{row:#}");
    }
    let endless = server(|mut stream| {
        thread::spawn(move || {
            let _ = echoes(&mut stream);
            thread::park(); // and does not close
        });
        true
    });
    let (_, report) = against(endless, &["--only", "S6", "--patience", "300ms"]);
    assert_eq!(row(&report, "S6")["wire"], "→ 14 bytes → FIN ← 14 bytes");
}

/// Regression: of a server that reads nothing a FIN was claimed that waited behind the data, and a
/// reset was missed that no reply had called for.
#[test]
fn nothing_is_claimed_of_what_waits_behind_full_buffers() {
    let deaf = server(|stream| {
        thread::spawn(move || {
            let _stream = stream; // open, and never read
            thread::park();
        });
        true
    });
    let args = ["--only", "S15", "--patience", "1s"];
    let (_, report) = against(deaf, &args);
    let wire = row(&report, "S15")["wire"].as_str().unwrap();
    assert!(wire.ends_with(" bytes at most → FIN behind them"), "{wire}");
    if Capture::start().is_err() {
        return skips("CAP_NET_RAW");
    }
    let (_, report) = against(deaf, &[&args[..], &["--capture"]].concat());
    let seen = row(&report, "S15");
    assert_eq!(seen["outcome"], "ok", "{seen:#}");
    assert!(!seen["wire"].as_str().unwrap().contains("FIN"), "{seen:#}");
}

/// A server to which no connection is possible, and that does not refuse: its queue is full.
fn full() -> (SocketAddr, Vec<TcpStream>, TcpListener) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    socket.listen(1).unwrap();
    let listener = TcpListener::from(socket);
    let address = listener.local_addr().unwrap();
    let waits = Duration::from_millis(200);
    let queue = std::iter::from_fn(|| TcpStream::connect_timeout(&address, waits).ok()).collect();
    (address, queue, listener)
}

/// It was ignored until the patience was over.
#[test]
fn an_interrupt_is_heard_during_connect() {
    let (address, _queue, _listener) = full();
    let address = address.to_string();
    for command in [&["lab", &address, "--patience", "1h"][..], &["client", &address]] {
        let mut process = Process::start(closecall(command));
        process.wait_for_sigint_handler();
        process.signal("INT");
        assert_eq!(process.exit_code(), 1, "{command:?}");
        let stderr = process.stderr.text();
        assert!(stderr.starts_with("closecall: interrupted"), "{stderr}");
    }
}
