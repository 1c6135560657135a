//! Proxies between the client and the server: what each of them hides.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;

use super::{against, lab, our_own, outcomes, row, server};

/// Forwards both ways. Whatever ends one of them, the other side is told of it with a FIN, as most
/// proxies do.
pub(crate) fn proxy(behind: SocketAddr) -> SocketAddr {
    server(move |client| {
        let Ok(server) = TcpStream::connect(behind) else { return true };
        let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
        for (mut from, mut to) in [(client, server), back] {
            thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Write);
            });
        }
        true
    })
}

#[test]
fn a_proxy_that_makes_a_fin_of_a_reset_hides_the_reset() {
    let (server, log) = our_own("proxy");
    let via = proxy(server.address()).to_string();
    let args = ["--observe", log.to_str().unwrap(), "--via", &via, "--only", "S1,S2,S6"];
    let (code, report) = against(server.address(), &args);
    assert_eq!(code, 0, "to differ is no failure: {report:#}");
    assert_eq!(report["via"]["alive"], true);
    let reset = row(&report, "S2");
    assert_eq!(reset["verdict"], "peer_reset.reply_acked");
    assert_eq!(reset["via"]["verdict"], "peer_fin.delivered", "{reset:#}");
    let says = "the server reports peer_reset.reply_acked → peer_fin.delivered";
    assert_eq!(reset["via"]["differs"], serde_json::json!([says]), "{reset:#}");
    assert_eq!(row(&report, "S1")["via"]["differs"], serde_json::json!([]));
    fs::remove_file(log).unwrap();
}

#[test]
fn a_proxy_with_less_patience_is_seen_by_the_client() {
    let (echo, log) = our_own("hasty");
    let behind = echo.address();
    let via = server(move |client| {
        let behind = TcpStream::connect(behind).unwrap();
        let mut buffer = [0; 4096];
        for (mut from, mut to) in [(&client, &behind), (&behind, &client)] {
            let bytes = from.read(&mut buffer).unwrap();
            to.write_all(&buffer[..bytes]).unwrap();
        }
        true // one request, one reply, and it closes
    });
    let address = behind.to_string();
    let via = via.to_string();
    let markdown = ["--only", "S9", "--long", "--format", "markdown"];
    let (code, stdout, _) = lab(&[&[&*address, "--via", &via], &markdown[..]].concat());
    assert_eq!(code, 0, "{stdout}");
    let after = stdout.split_once("the server ends its side after ").unwrap().1;
    let seconds: f64 = after.split_once(" s").unwrap().0.parse().unwrap();
    assert!(seconds >= 1.0, "our own server's deadline: {stdout}");
    assert!(stdout.contains("1 row: 0 the same, 1 differ, 0 lost, 0 failed."), "{stdout}");
    fs::remove_file(log).unwrap();
}

#[test]
fn a_proxy_that_dies_is_a_failure() {
    let (echo, log) = our_own("mortal");
    let behind = echo.address();
    let via = server(move |mut client| {
        let Ok(mut behind) = TcpStream::connect(behind) else { return false };
        let mut buffer = [0; 4096];
        loop {
            let reset = match client.read(&mut buffer) {
                Ok(0) => return true,
                Ok(bytes) => behind.write_all(&buffer[..bytes]).is_err(),
                Err(error) => error.kind() == ErrorKind::ConnectionReset,
            };
            if reset {
                return false;
            }
            let bytes = behind.read(&mut buffer).unwrap();
            client.write_all(&buffer[..bytes]).unwrap();
        }
    });
    let (code, report) = against(behind, &["--via", &via.to_string(), "--only", "S1,S4,S5"]);
    assert_eq!(code, 1);
    assert_eq!(outcomes(&report), [("S1", "ok"), ("S4", "failed"), ("S5", "skipped")]);
    assert_eq!(row(&report, "S5")["note"], "needs the proxy: it no longer listens");
    assert_eq!(report["via"]["died_of"], serde_json::json!(["S4"]));
    assert_eq!(report["server"]["alive"], true);
    assert!(row(&report, "S5")["via"].is_null());
    fs::remove_file(log).unwrap();
}

/// A proxy that ends both directions when either has ended, as nginx does: a client that
/// half-closes gets no reply.
fn ends_both(behind: SocketAddr) -> SocketAddr {
    server(move |client| {
        let server = TcpStream::connect(behind).unwrap();
        let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
        // The server's bytes come first where there are some.
        for (mut from, mut to) in [(client, server), back] {
            thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(bytes @ 1..) = from.read(&mut buffer) {
                    // A client that half-closes does so at once, and gets no reply.
                    let ended = matches!(from.peek(&mut [0]), Ok(0));
                    if ended || to.write_all(&buffer[..bytes]).is_err() {
                        break;
                    }
                }
                let _ = (to.shutdown(Shutdown::Both), from.shutdown(Shutdown::Both));
            });
        }
        true
    })
}

/// It came out as "no difference", with exit code 0.
#[test]
fn a_reply_that_a_half_close_loses_is_lost_and_scripts_can_fail_on_it() {
    let (echo, log) = our_own("half");
    let address = echo.address();
    let half = ends_both(address).to_string();
    let plain = proxy(address).to_string();
    let exits = |via: &str, only: &str, fail_on: &[&str]| {
        let observe = ["--observe", log.to_str().unwrap(), "--via", via, "--only", only];
        against(address, &[&observe, fail_on].concat())
    };
    let (code, report) = exits(&half, "S6", &["--fail-on", "lost"]);
    let six = row(&report, "S6");
    assert_eq!((code, &six["via"]["change"]), (1, &"lost".into()), "{six:#}");
    assert_eq!(six["via"]["seen"]["reply"]["got"], 0);
    assert_eq!(six["seen"]["reply"]["got"], six["seen"]["reply"]["of"]);
    assert!(six["via"]["differs"].to_string().contains(" → 0 of "), "{six:#}");
    assert_eq!(exits(&half, "S6", &[]).0, 0, "to differ is no failure by itself");
    assert_eq!(exits(&plain, "S2", &["--fail-on", "lost"]).0, 0);
    assert_eq!(exits(&plain, "S2", &["--fail-on", "differs"]).0, 1);
    assert_eq!(exits(&plain, "S1", &["--fail-on", "differs"]).0, 0);
    fs::remove_file(log).unwrap();
}
