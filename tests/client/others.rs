//! Servers that are not like ours: they reset, close, send something else or nothing, or never
//! stop. A client reports what happened, and does not hang.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use closecall::client::{Act, Client, Did, Performed, Plan, ServerEnd, Way};

use crate::{client, common, steps};

/// A server that does this with each of its connections, one after the other.
fn server(does: impl Fn(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // It ends with the tests.
    thread::spawn(move || listener.incoming().for_each(|it| does(it.unwrap())));
    address
}

fn reads_to_end(stream: &mut TcpStream) {
    let _ = stream.read_to_end(&mut Vec::new());
}

fn says(stream: &mut TcpStream, text: &[u8]) {
    stream.read_exact(&mut [0; common::MESSAGE.len()]).unwrap();
    stream.write_all(text).unwrap();
}

/// What the client says last, and the exit code.
#[track_caller]
fn met(server: SocketAddr, options: &[&str]) -> (i32, Vec<String>) {
    let mut client = client(server, options);
    let code = client.exit_code();
    assert_eq!(client.stderr.text(), "");
    (code, steps(&client.stdout.text()))
}

/// A slow client finds its connection reset; a quick one has closed before the reset arrives.
#[test]
fn a_server_that_resets_at_once() {
    let server = server(common::reset);
    for way in Way::all() {
        let mut client = client(server, &["--end", way.name()]);
        let code = client.exit_code();
        let (said, stderr) = (client.stdout.text(), client.stderr.text());
        if code == 3 {
            assert!(
                stderr.contains(
                    "reset by peer (os error 104): the server reset the connection at once"
                ),
                "{stderr}"
            );
            assert_eq!((said.as_str(), stderr.lines().count()), ("", 1));
            continue;
        }
        let steps = steps(&said);
        let last = steps.last().unwrap();
        assert!(last.starts_with("closed") || last.starts_with("was killed"), "{said}");
        let reads = way.script().iter().any(|act| matches!(act, Act::Read | Act::Hold));
        assert_eq!(code, i32::from(reads || said.contains("(os error ")), "{way:?}: {said}");
        if reads {
            assert!(!last.contains('→'), "there is no connection any more: {said}");
        }
    }
}

#[test]
fn a_server_that_closes_before_it_answers() {
    let server = server(|mut stream| {
        stream.shutdown(Shutdown::Write).unwrap();
        reads_to_end(&mut stream);
    });
    for end in ["close", "close-unread", "close-half-read"] {
        let (code, steps) = met(server, &["--end", end]);
        assert_eq!(
            (code, &steps[2..]),
            (1, &["wait for the reply: the server closed early".into(), "closed → FIN".into()][..])
        );
    }
    let (code, steps) = met(server, &["--end", "half-close"]);
    assert_eq!((code, steps[3].as_str()), (0, "read 0 bytes, then the server's FIN ← FIN"));
}

#[test]
fn a_server_that_answers_something_else() {
    let server = server(|mut stream| {
        says(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n");
        stream.shutdown(Shutdown::Write).unwrap();
        reads_to_end(&mut stream);
    });
    let (code, steps) = met(server, &[]);
    let why = "the server closed early, after 28 bytes that are not the complete echo";
    assert_eq!((code, steps[2].as_str()), (1, &*format!("wait for the reply: {why}")));
    assert_eq!(steps[3], "closed → FIN");
    let (_, steps) = met(server, &["--end", "close-unread"]);
    assert_eq!(steps[3], "closed, 28 bytes unread → RST");
    let (code, steps) = met(server, &["--end", "half-close"]);
    assert_eq!((code, &*steps[3]), (0, "read 28 bytes, then the server's FIN ← 28 bytes ← FIN"));
}

#[test]
fn failures_of_many_are_counted() {
    let server = server(|mut stream| {
        stream.shutdown(Shutdown::Write).unwrap();
        reads_to_end(&mut stream);
    });
    let mut client = client(server, &["--count", "5"]);
    assert_eq!(client.exit_code(), 1);
    let said = client.stdout.text();
    assert!(said.contains("5 of 5 connections, 0 as planned, 5 failed; sent 70 bytes"), "{said}");
    assert!(said.ends_with("first failure: wait for the reply: the server closed early\n"));
}

/// A client with little patience: nothing that it waits for will ever come.
fn plan(server: SocketAddr) -> Plan {
    let patience = Duration::from_millis(100);
    Plan { patience, end_patience: patience, ..Plan::new(server) }
}

#[track_caller]
fn plays(server: SocketAddr, acts: &[Act]) -> Performed {
    let (mut client, _) = Client::connect(&plan(server)).unwrap();
    acts.iter().map(|&act| client.play(act)).last().unwrap()
}

#[test]
fn a_server_that_never_answers() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = listener.local_addr().unwrap(); // the backlog is all there is
    for act in [Act::Hold, Act::Read, Act::ReadHalf, Act::ReadToEnd, Act::AwaitEnd] {
        let performed = plays(server, &[Act::Send, act]);
        assert!(performed.failed() && performed.did == Did::GaveUp, "{performed:?}");
    }
    let performed = plays(server, &[Act::ShutDownRead, Act::Send, Act::Hold]);
    assert_eq!(performed.did, Did::GaveUp, "that is not the server's FIN");
    let closed = plays(server, &[Act::Send, Act::Hold, Act::Close]);
    let late = Did::Closed { unread: 0, reset: false, fin: true, late: true };
    assert_eq!((&closed.did, closed.failed()), (&late, false));
    let again = plays(server, &[Act::Close, Act::Send]);
    assert!(matches!(again.did, Did::Failed(_)), "it is closed: {again:?}");
}

#[test]
fn a_server_that_answers_half() {
    let server = server(|mut stream| {
        says(&mut stream, b"Hi,here");
        reads_to_end(&mut stream);
    });
    let patient = Plan { patience: Duration::from_secs(2), ..plan(server) };
    let mut client = Client::connect(&patient).unwrap().0;
    client.play(Act::Send);
    let performed = client.play(Act::Read);
    assert_eq!(
        performed.did,
        Did::Failed("7 bytes arrived, which are not the complete echo".into())
    );
}

#[test]
fn a_server_that_never_stops() {
    let server = server(|mut stream| while stream.write_all(&[b'x'; 65_536]).is_ok() {});
    assert_eq!(plays(server, &[Act::AwaitEnd]).did, Did::GaveUp);
    // Whichever is first: it has an end in time and in bytes.
    let performed = plays(server, &[Act::ReadToEnd]);
    assert!(performed.failed(), "{performed:?}");
    let patient = Plan { end_patience: Duration::from_secs(60), ..plan(server) };
    let performed = Client::connect(&patient).unwrap().0.play(Act::ReadToEnd);
    assert_eq!(performed.did, Did::Failed("the server sent 128 MiB without an end".into()));
    // However busy the machine, something is there after so long.
    let patient = Plan { patience: Duration::from_secs(2), ..plan(server) };
    let mut client = Client::connect(&patient).unwrap().0;
    client.play(Act::Send);
    let performed = client.play(Act::Hold);
    let Did::Failed(why) = &performed.did else { panic!("{performed:?}") };
    assert!(why.ends_with("bytes arrived, which are not the complete echo"), "{why}");
    drop(client); // this server has one client at a time
    let (mut client, _) = Client::connect(&patient).unwrap();
    client.play(Act::Send);
    client.play(Act::Hold);
    let closed = client.play(Act::Close);
    assert!(matches!(closed.did, Did::Closed { unread: 1.., reset: true, .. }), "{closed:?}");
}

#[test]
fn a_server_that_takes_everything() {
    let server = server(|mut stream| _ = std::io::copy(&mut stream, &mut std::io::sink()));
    let plan = Plan { message: vec![b'x'; 100_003], ..Plan::new(server) };
    let (mut client, _) = Client::connect(&plan).unwrap();
    let why = loop {
        // A server that is slow for a moment looks full.
        if let Did::Failed(why) = client.play(Act::Fill).did {
            break why;
        }
    };
    assert_eq!(why, "the server took 64 MiB without an end");
    assert!(client.sent() > 64 << 20);
}

/// What is behind a FIN and a reset is told by neither: the close of a socket that is gone puts
/// nothing on the wire.
#[test]
fn a_server_that_closes_and_then_resets() {
    let server = server(|mut stream| {
        says(&mut stream, common::MESSAGE);
        stream.shutdown(Shutdown::Write).unwrap();
        stream.read_exact(&mut [0]).unwrap();
        common::reset(stream);
    });
    let (mut client, _) = Client::connect(&Plan::new(server)).unwrap();
    for act in [Act::Send, Act::Read] {
        assert!(!client.play(act).failed());
    }
    assert_eq!(client.play(Act::AwaitEnd).did, Did::Saw(ServerEnd::Fin));
    assert!(!client.play(Act::Send).failed());
    // It reads to the FIN, again and again, until the reset has taken it away.
    while client.play(Act::Send).did == Did::Sent(common::MESSAGE.len()) {}
    let closed = client.play(Act::Close);
    let nothing = Did::Closed { unread: 0, reset: false, fin: false, late: false };
    assert_eq!(closed.did, nothing);
}
