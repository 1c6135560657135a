//! Servers that do not survive: at once, late, for a while, behind a proxy. The report names the
//! server that died and the scenario that killed it, and blames no other one.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use serde_json::json;
use socket2::{Domain, SockRef, Socket, Type};

use super::{against, dies_of_a_reset, echoes, lab, outcomes, row, server};

/// Some other program does, in its own life: nothing here waits for it.
pub(crate) fn takes_its_time_of(ms: u64) {
    thread::sleep(Duration::from_millis(ms));
}

#[test]
fn a_server_that_dies_of_a_reset_is_found_out_and_named() {
    let (code, report) = against(server(dies_of_a_reset), &["--only", "S7,S2,S4,S20"]);
    assert_eq!(code, 1);
    let expected = [("S2", "failed"), ("S4", "skipped"), ("S7", "skipped"), ("S20", "skipped")];
    assert_eq!(outcomes(&report), expected);
    let killer = row(&report, "S2");
    assert_eq!((&killer["seen"]["bytes"], &killer["seen"]["serves"]), (&14.into(), &false.into()));
    let note = "the server did not survive this: it no longer listens";
    assert_eq!(killer["note"], note, "{killer:#}");
    assert_eq!(row(&report, "S4")["note"], "needs the server: it no longer listens");
    assert_eq!(report["server"]["died_of"], json!(["S2"]));
    assert_eq!(report["server"]["alive"], false);

    let address = server(dies_of_a_reset).to_string();
    let (code, stdout, _) = lab(&[&address, "--only", "S1,S4,S5"]);
    assert_eq!(code, 1);
    let summary = format!("The server at {address} did not survive S4, and no longer answers.\n");
    assert!(stdout.contains(&summary), "{stdout}");
    assert!(stdout.contains("\nskipped  S5: needs the server: it no longer listens\n"), "{stdout}");
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
                return; // and stops listening
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
            thread::park(); // forever: nothing unparks it
        }
        true
    });
    let (code, report) = against(hangs, &["--only", "S1,S4,S6", "--patience", "1s"]);
    assert_eq!(code, 1);
    assert_eq!(outcomes(&report), [("S1", "ok"), ("S4", "failed"), ("S6", "skipped")]);
    assert_eq!(report["server"]["died_of"], json!([]));
    assert_eq!(report["server"]["hung_in"], json!(["S4"]));
    let note = row(&report, "S4")["note"].as_str().unwrap();
    assert_eq!(
        note,
        "the server hangs after this: it does not answer the next connection in time, or resets it"
    );
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
                takes_its_time_of(1_500); // its supervisor is in no hurry
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
    assert_eq!(note, "through the proxy: the server did not survive this: it no longer listens");
    assert_eq!(report["server"]["died_of"], json!(["S1"]), "{report:#}");
    assert_eq!(report["via"]["died_of"], json!([]));
    assert_eq!(row(&report, "S5")["outcome"], "skipped");
}

// ---- not dead -----------------------------------------------------------------------------------

/// Something listens, and does so without an end.
#[track_caller]
fn assert_hangs_after_a_reset(address: SocketAddr) {
    let args = ["--only", "S1,S4,S6", "--patience", "1s"];
    let (code, report) = against(address, &args);
    assert_eq!(code, 1);
    assert_eq!(outcomes(&report), [("S1", "ok"), ("S4", "failed"), ("S6", "skipped")]);
    assert_eq!(report["server"]["died_of"], json!([]), "{report:#}");
    assert_eq!(report["server"]["hung_in"], json!(["S4"]));
    assert_eq!(report["server"]["alive"], false);
}

/// Found with a server at its connection limit: it was called dead.
#[test]
fn a_server_that_resets_newcomers_is_not_called_dead() {
    let mut is_full = false;
    assert_hangs_after_a_reset(server(move |mut stream| {
        match is_full {
            true => SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap(),
            false => is_full = echoes(&mut stream) == Err(ErrorKind::ConnectionReset),
        }
        true
    }));
}

/// Regression: at the end of the run it was called dead.
#[test]
fn a_server_that_resets_newcomers_later_is_not_called_dead() {
    let mut accepted = 0;
    let address = server(move |mut stream| {
        accepted += 1;
        match accepted {
            1..=3 => drop(echoes(&mut stream)),
            _ => SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap(),
        }
        true
    });
    let (code, report) = against(address, &["--only", "S1", "--patience", "1s"]);
    assert_eq!((code, outcomes(&report)), (1, vec![("S1", "ok")]), "{report:#}");
    assert_eq!(report["server"]["died_of"], json!([]));
    assert_eq!(report["server"]["hung_in"], json!(["something after S1"]));
}

/// A SYN that finds the queue full is not answered.
#[test]
fn a_server_whose_backlog_is_full_is_not_called_dead() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    socket.listen(1).unwrap();
    let listener = TcpListener::from(socket);
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            if echoes(&mut stream) == Err(ErrorKind::ConnectionReset) {
                // Nothing is accepted any more: these stay in the queue, and fill it.
                let waits = Duration::from_millis(200);
                let filling =
                    std::iter::from_fn(|| TcpStream::connect_timeout(&address, waits).ok());
                let _queue: Vec<TcpStream> = filling.collect();
                thread::park(); // forever: nothing unparks it
            }
        }
    });
    assert_hangs_after_a_reset(address);
}

#[test]
fn a_server_that_is_started_again_within_100_ms_has_survived() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut listener = listener;
        loop {
            let (stream, _) = listener.accept().unwrap();
            if !dies_of_a_reset(stream) {
                drop(listener);
                takes_its_time_of(100); // its supervisor is quick
                listener = TcpListener::bind(address).unwrap();
            }
        }
    });
    let (code, report) = against(address, &["--only", "S1,S4,S6"]);
    assert_eq!(outcomes(&report), [("S1", "ok"), ("S4", "ok"), ("S6", "ok")], "{report:#}");
    assert_eq!((code, &report["server"]["died_of"]), (0, &json!([])));
}
