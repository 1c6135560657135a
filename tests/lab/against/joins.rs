//! Behind a proxy, the server's lines are joined to the lab's connections, and never to other ones.
//! A row with an unknown verdict is never ok.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use serde_json::{Value, json};

use super::deaths::takes_its_time_of;
use super::proxies::proxy;
use super::{against, our_own, row, server};
use crate::process::Process;

/// A run through `via`, beside the close log of the server behind it.
#[track_caller]
fn joined(behind: &(Process, PathBuf), via: SocketAddr, args: &[&str]) -> Value {
    let (server, log) = behind;
    let via = via.to_string();
    let base = ["--via", &via, "--observe", log.to_str().unwrap()];
    let (code, report) = against(server.address(), &[&base, args].concat());
    assert_eq!(code, 0, "{report:#}");
    fs::remove_file(log).unwrap();
    report
}

/// HAProxy's `check` connects and says nothing, and so does S7. Its line was taken for that of S15.
#[test]
fn a_health_check_is_never_our_connection() {
    let behind = our_own("checked");
    let address = behind.0.address();
    let checks = Arc::new(());
    let checker = Arc::downgrade(&checks);
    let thread = thread::spawn(move || {
        while checker.upgrade().is_some() {
            drop(TcpStream::connect(address).unwrap());
            takes_its_time_of(100); // an interval as balancers have
        }
    });
    let report = joined(&behind, proxy(address), &["--only", "S1,S4,S7", "--patience", "5s"]);
    drop(checks);
    thread.join().unwrap();
    for (id, verdict, change) in
        [("S1", "peer_fin.delivered", "same"), ("S4", "peer_fin.delivered", "differs")]
    {
        let row = row(&report, id);
        assert_eq!(row["outcome"], "ok", "{row:#}");
        assert_eq!(
            (&row["via"]["verdict"], &row["via"]["change"]),
            (&verdict.into(), &change.into())
        );
    }
    let silent = row(&report, "S7");
    assert_eq!((&silent["outcome"], &silent["via"]["verdict"]), (&"skipped".into(), &Value::Null));
    assert_eq!(silent["via"]["log"], "unclear");
    assert!(silent["note"].as_str().unwrap().contains("through the proxy"), "{silent:#}");
}

/// A proxy that keeps its connection to the server, whatever its client does.
fn keeper(behind: SocketAddr) -> SocketAddr {
    let mut kept = Vec::new();
    server(move |client| {
        let server = TcpStream::connect(behind).unwrap();
        kept.push(server.try_clone().unwrap());
        let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
        for ((mut from, mut to), ends) in [((client, server), false), (back, true)] {
            thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = if ends { to.shutdown(Shutdown::Write) } else { Ok(()) };
            });
        }
        true
    })
}

#[test]
fn a_line_that_has_not_come_makes_no_row_ok() {
    let behind = our_own("kept");
    let via = keeper(behind.0.address());
    // Less than the read deadline, which would end it.
    let report = joined(&behind, via, &["--only", "S1", "--patience", "500ms"]);
    let one = row(&report, "S1");
    assert_eq!(
        (&one["outcome"], &one["verdict"]),
        (&"skipped".into(), &"peer_fin.delivered".into())
    );
    assert_eq!((&one["via"]["log"], &one["via"]["verdict"]), (&"no_line_yet".into(), &Value::Null));
    let note = one["note"].as_str().unwrap();
    assert!(note.contains("through the proxy no close log line with the "), "{note}");
    assert!(
        note.ends_with("within 500 ms: the server may still hold the connection open"),
        "{note}"
    );
}

/// One that connects when its client has said something.
fn waiter(behind: SocketAddr) -> SocketAddr {
    server(move |mut client| {
        let mut request = [0; 4096];
        while let Ok(bytes @ 1..) = client.read(&mut request) {
            let mut server = TcpStream::connect(behind).unwrap();
            server.write_all(&request[..bytes]).unwrap();
            server.shutdown(Shutdown::Write).unwrap();
            let _ = std::io::copy(&mut server, &mut client);
        }
        true
    })
}

#[test]
fn a_connection_that_the_server_never_saw_is_a_difference() {
    let behind = our_own("unseen");
    let via = waiter(behind.0.address());
    let report = joined(&behind, via, &["--only", "S7", "--patience", "3s"]);
    let silent = row(&report, "S7");
    assert_eq!(silent["via"]["log"], "never_seen", "{silent:#}");
    let says =
        "the server reports peer_fin.probe → nothing: the server never accepted the connection";
    assert_eq!(silent["via"]["differs"], json!([says]));
    assert_eq!((&silent["via"]["change"], &silent["outcome"]), (&"differs".into(), &"ok".into()));
}

/// The race was played once through the proxy, and called no difference.
#[test]
fn a_race_is_played_as_often_through_the_proxy_and_judged_by_what_the_client_got() {
    let behind = our_own("raced");
    let via = proxy(behind.0.address());
    let report = joined(&behind, via, &["--only", "S3 race", "--repeat", "7"]);
    let race = row(&report, "S3 race");
    assert_eq!((&race["race"]["runs"], &race["via"]["race"]["runs"]), (&7.into(), &7.into()));
    assert_eq!(
        (&race["via"]["change"], &race["via"]["seen"]["reply"]["got"]),
        (&"lost".into(), &0.into())
    );
    let differs = race["via"]["differs"].to_string();
    assert!(differs.contains("the client got 0 of ") && differs.contains("7 runs"), "{differs}");
}

#[test]
fn a_close_log_that_stands_still_makes_no_row_ok() {
    let behind = our_own("still");
    let (server, log) = &behind;
    let copy = log.with_extension("copy");
    fs::write(&copy, "").unwrap();
    // Only the first line is copied, as if the `tail -F` that copies the log had ended.
    let (from, to) = (log.clone(), copy.clone());
    let copied = thread::spawn(move || {
        let first = loop {
            let text = fs::read_to_string(&from).unwrap_or_default();
            if text.contains('\n') {
                break text.lines().next().unwrap().to_owned() + "\n";
            }
            thread::yield_now();
        };
        fs::OpenOptions::new().append(true).open(to).unwrap().write_all(first.as_bytes()).unwrap();
    });
    let args = ["--observe", copy.to_str().unwrap(), "--only", "S1,S4,S5,S6", "--patience", "1s"];
    let (code, report) = against(server.address(), &args);
    copied.join().unwrap();
    assert_eq!(code, 0, "{report:#}");
    for id in ["S1", "S4", "S5", "S6"] {
        let row = row(&report, id);
        assert_eq!(
            (&row["outcome"], &row["log"]),
            (&"skipped".into(), &"no_line_yet".into()),
            "{row:#}"
        );
    }
    fs::remove_file(log).unwrap();
    fs::remove_file(copy).unwrap();
}
