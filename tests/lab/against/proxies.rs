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
    let says = "the server says peer_reset.reply_acked → peer_fin.delivered";
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
    let after = stdout.split_once("its end comes after ").unwrap().1;
    let ms: u32 = after.split_once(" ms").unwrap().0.parse().unwrap();
    assert!(ms >= 1_000, "our own server's deadline: {stdout}");
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
    assert_eq!(outcomes(&report), [("S1", "ok"), ("S4", "failed"), ("S5", "ok")]);
    assert_eq!(report["via"]["died_of"], serde_json::json!(["S4"]));
    assert_eq!(report["server"]["alive"], true);
    assert!(row(&report, "S5")["via"].is_null());
    fs::remove_file(log).unwrap();
}
