//! The programs that wrap their streams: each prints the right verdict.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use closecall::client::{Act, Client, Way};
use socket2::SockRef;

use super::rung::{Rung, plays};

/// Waits for the line about this client, and compares it.
#[track_caller]
fn says(rung: &Rung, client: SocketAddr, ending: &str) {
    let line = rung.process.stdout.wait_for(&format!("{client}: "));
    let line = line.lines().find(|line| line.starts_with(&format!("{client}: "))).unwrap();
    assert!(line.contains(ending), "{line}, not {ending}");
}

#[track_caller]
fn leaves(rung: &Rung, way: Way) -> SocketAddr {
    let mut client: Client = rung.client();
    plays(&mut client, way.script());
    client.local()
}

#[test]
fn a_wrapped_echo_server_prints_how_each_connection_ended() {
    for name in ["observed_std", "observed_tokio"] {
        let rung = Rung::start(name);
        says(&rung, leaves(&rung, Way::Close), "peer_fin.delivered, certain"); // S1
        says(&rung, leaves(&rung, Way::HalfClose), "peer_fin."); // S6: the reply may be first
        says(&rung, leaves(&rung, Way::CloseFull), "peer_reset.reply_undelivered"); // S15

        // S2: its reply is acknowledged, unless the reset overtakes that.
        says(&rung, leaves(&rung, Way::CloseUnread), "peer_reset.reply_");

        // S3 with the FIN first, and S6 with the FIN before the reply: the server stands still.
        rung.stops();
        let (mut refused, mut half) = (rung.client(), rung.client());
        plays(&mut refused, Way::CloseAtOnce.script());
        plays(&mut half, &[Act::Send, Act::ShutDownWrite]);
        rung.process.signal("CONT");
        plays(&mut half, &[Act::ReadToEnd, Act::Close]);
        says(&rung, refused.local(), "peer_fin.reply_refused, certain");
        says(&rung, half.local(), "peer_fin.half_close_served, certain");
    }
}

/// A request of HTTP/1.1, and its whole reply.
#[track_caller]
fn asks(rung: &Rung, header: &str) -> TcpStream {
    let mut client = TcpStream::connect(rung.address).unwrap();
    write!(client, "GET /it HTTP/1.1\r\nHost: it\r\n{header}\r\n").unwrap();
    let (mut reply, mut buffer) = (Vec::new(), [0; 1024]);
    while !reply.ends_with(b"You asked for /it\n") {
        let bytes = client.read(&mut buffer).unwrap();
        assert!(bytes > 0, "{}", String::from_utf8_lossy(&reply));
        reply.extend_from_slice(&buffer[..bytes]);
    }
    client
}

#[test]
fn a_wrapped_http_server_prints_how_each_connection_ended() {
    let rung = Rung::start("hyper_server");

    let client = asks(&rung, "");
    let address = client.local_addr().unwrap();
    drop(client);
    says(&rung, address, "peer_fin.delivered, certain");

    let client = asks(&rung, "");
    let address = client.local_addr().unwrap();
    SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    says(&rung, address, "peer_reset.reply_");

    let mut client = asks(&rung, "Connection: close\r\n");
    let address = client.local_addr().unwrap();
    assert_eq!(client.read(&mut [0]).unwrap(), 0, "the server closes first");
    client.shutdown(Shutdown::Write).unwrap();
    says(&rung, address, "local_fin.delivered, certain");
}
