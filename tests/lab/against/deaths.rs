//! Servers that do not survive: at once, late, for a while, behind a proxy. Who died, and of what,
//! is said, and nobody else is blamed.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde_json::json;
use socket2::{Domain, Socket, Type};

use super::{against, dies_of_a_reset, echoes, lab, our_own, outcomes, row, server};

/// Some other program does, in its own life: nothing here waits for it.
fn takes_its_time_of(ms: u64) {
    thread::sleep(Duration::from_millis(ms));
}

#[test]
fn a_server_that_dies_of_a_reset_is_found_out_and_named() {
    let (code, report) = against(server(dies_of_a_reset), &["--only", "S7,S2,S4,S20"]);
    assert_eq!(code, 1);
    let expected = [
        ("S2", "failed"),
        ("S2 recv loop", "skipped"),
        ("S2 Linux", "skipped"),
        ("S4", "skipped"),
        ("S7", "skipped"),
        ("S20", "skipped"),
    ];
    assert_eq!(outcomes(&report), expected);
    let killer = row(&report, "S2");
    assert_eq!((&killer["seen"]["bytes"], &killer["seen"]["serves"]), (&14.into(), &false.into()));
    let note = "the server did not survive this: nobody listens any more";
    assert_eq!(killer["note"], note, "{killer:#}");
    assert_eq!(row(&report, "S4")["note"], "needs a server: nobody listens any more");
    assert_eq!(report["server"]["died_of"], json!(["S2"]));
    assert_eq!(report["server"]["alive"], false);

    let address = server(dies_of_a_reset).to_string();
    let (code, stdout, _) = lab(&[&address, "--only", "S1,S4,S5"]);
    assert_eq!(code, 1);
    let summary =
        format!("The server at {address} did not survive S4, and does not answer any more.\n");
    assert!(stdout.contains(&summary), "{stdout}");
    assert!(
        stdout.contains("\nskipped  S5: needs a server: nobody listens any more\n"),
        "{stdout}"
    );
}

/// A program takes its time to die, and serves others meanwhile.
#[test]
fn a_server_that_dies_a_moment_later_is_named_with_the_right_scenario() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        // One client after the other, and so are they played.
        while let Ok((mut stream, _)) = listener.accept() {
            if echoes(&mut stream) == Err(ErrorKind::ConnectionReset) {
                let (mut other, _) = listener.accept().unwrap();
                let mut message = [0; 4096];
                let bytes = other.read(&mut message).unwrap();
                other.write_all(&message[..bytes]).unwrap();
                return; // and nobody listens any more
            }
        }
    });
    let (code, report) = against(address, &["--only", "S1,S4,S6"]);
    assert_eq!(code, 1);
    assert_eq!(outcomes(&report), [("S1", "ok"), ("S4", "failed"), ("S6", "skipped")]);
    assert_eq!(report["server"]["died_of"], json!(["S4"]));
}

#[test]
fn a_server_that_hangs_is_not_called_dead() {
    let hangs = server(|mut stream| {
        if echoes(&mut stream) == Err(ErrorKind::ConnectionReset) {
            thread::park(); // nobody will ever wake it
        }
        true
    });
    let (code, report) = against(hangs, &["--only", "S1,S4,S6", "--patience", "1s"]);
    assert_eq!(code, 1);
    assert_eq!(outcomes(&report), [("S1", "ok"), ("S4", "failed"), ("S6", "skipped")]);
    assert_eq!(report["server"]["died_of"], json!([]));
    assert_eq!(report["server"]["hung_in"], json!(["S4"]));
    let note = row(&report, "S4")["note"].as_str().unwrap();
    assert_eq!(note, "the server hangs after this: it does not serve the next one in time");
}

#[test]
fn a_server_that_is_started_again_is_played_on_with() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut listener = listener;
        loop {
            let (stream, _) = listener.accept().unwrap();
            if !dies_of_a_reset(stream) {
                drop(listener);
                takes_its_time_of(1_000); // its supervisor is in no hurry
                listener = TcpListener::bind(address).unwrap();
            }
        }
    });
    let (code, report) = against(address, &["--only", "S1,S4,S6"]);
    assert_eq!(code, 1);
    assert_eq!(outcomes(&report), [("S1", "ok"), ("S4", "failed"), ("S6", "ok")]);
    assert_eq!(report["server"]["died_of"], json!(["S4"]));
    assert_eq!(report["server"]["alive"], true);
}

/// A server that dies of its second client from this address.
fn dies_of(address: IpAddr) -> SocketAddr {
    let mut seen = 0;
    server(move |mut stream| {
        let peer = stream.peer_addr().unwrap().ip();
        let _ = echoes(&mut stream);
        seen += u32::from(peer == address);
        seen < 2
    })
}

#[test]
fn a_server_that_dies_behind_a_proxy_is_not_the_proxys_death() {
    let of_proxy = Ipv4Addr::new(127, 0, 0, 9);
    let behind = dies_of(of_proxy.into());
    let via = server(move |mut client| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((of_proxy, 0)).into()).unwrap();
        if socket.connect(&behind.into()).is_err() {
            return true;
        }
        let mut behind = TcpStream::from(socket);
        let mut buffer = [0; 4096];
        while let Ok(bytes @ 1..) = client.read(&mut buffer) {
            behind.write_all(&buffer[..bytes]).unwrap();
            let bytes = behind.read(&mut buffer).unwrap();
            client.write_all(&buffer[..bytes]).unwrap();
        }
        true
    });
    let (code, report) = against(behind, &["--via", &via.to_string(), "--only", "S1,S5"]);
    assert_eq!(code, 1);
    let note = row(&report, "S1")["note"].as_str().unwrap();
    assert_eq!(note, "through the proxy: the server did not survive this: nobody listens any more");
    assert_eq!(report["server"]["died_of"], json!(["S1"]), "{report:#}");
    assert_eq!(report["via"]["died_of"], json!([]));
    assert_eq!(row(&report, "S5")["outcome"], "skipped");
}

/// Balancers ask their servers how they are. Whose line is whose nobody can tell then.
#[test]
fn health_checks_behind_a_proxy_are_not_taken_for_our_clients() {
    let (echo, log) = our_own("checked");
    let behind = echo.address();
    let via = super::proxies::proxy(behind);
    let checks = Arc::new(());
    let checker = Arc::downgrade(&checks);
    let thread = thread::spawn(move || {
        while checker.upgrade().is_some() {
            let mut check = TcpStream::connect(behind).unwrap();
            check.write_all(b"hello\r\n").unwrap();
            let _ = check.read(&mut [0; 64]);
            drop(check);
            takes_its_time_of(100); // an interval as balancers have
        }
    });
    let (_, report) = against(
        behind,
        &["--via", &via.to_string(), "--observe", log.to_str().unwrap(), "--only", "S1,S7"],
    );
    drop(checks);
    thread.join().unwrap();
    for id in ["S1", "S7"] {
        let row = row(&report, id);
        assert_eq!(row["outcome"], "ok", "{row:#}");
        assert_eq!((&row["via"]["verdict"], &row["via"]["differs"]), (&json!(null), &json!([])));
        assert!(row["via"]["note"].as_str().unwrap().contains("cannot be told"), "{row:#}");
    }
    fs::remove_file(log).unwrap();
}
