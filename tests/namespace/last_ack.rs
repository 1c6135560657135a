//! The last acknowledgement: after both FINs the verdict depends on packets that are still in
//! flight. On a loopback they are there at once; here the line holds them, and the server has to
//! wait.

use std::io::{Read, Write};
use std::net::TcpStream;

use closecall::machine::close::{Certainty, Kind, Via};
use libc::{ECONNRESET, EPIPE};

use super::common::{Bed, MESSAGE, REPLY, error, half_close, said};
use super::line::To;
use super::net::{Net, answers, asks, echoes, port};
use super::packet::{FIN, RST};

/// Turns until there was an event: what the server does then, it does in that turn.
#[track_caller]
fn event(bed: &mut Bed) {
    while bed.turn().events == 0 {}
}

/// The peer's FIN lies in the server's socket. The server reads it, sends its own, and hears at
/// once that both directions are shut. That is no verdict.
#[track_caller]
fn event_after_our_fin_is_no_verdict(net: &Net, bed: &mut Bed) {
    net.line.holds(To::Client);
    event(bed); // the FIN
    event(bed); // the first HUP, from our own shutdown
    assert!(bed.endings.is_empty(), "nothing is known yet: {:#?}", bed.endings);
    net.line.releases(To::Client);
    event(bed); // the second, when our FIN is acknowledged, or refused
    assert!(!bed.endings.is_empty(), "nothing more will come");
}

/// A client, and the server watches its socket.
fn accepted(net: &Net, bed: &mut Bed) -> TcpStream {
    let client = net.client(bed);
    bed.accepts(1);
    client
}

#[test]
fn s1_is_decided_when_our_fin_is_acknowledged() {
    let Some(net) = Net::new() else { return };
    let mut bed = net.bed(|_| ());
    let mut client = accepted(&net, &mut bed);
    echoes(&mut bed, &mut client);
    let port = port(&client);
    net.line.has_acknowledged(port);
    drop(client);
    net.line.has_brought(To::Server, port, |it| it.has(FIN));
    event_after_our_fin_is_no_verdict(&net, &mut bed);
    let ending = bed.ends_as(Kind::PeerFinDelivered);
    assert_eq!((said(&ending), error(&ending)), ((1, Certainty::Certain), None));
    assert!(ending.evidence.fin_acknowledged);
}

#[test]
fn s6_is_decided_when_our_fin_is_acknowledged() {
    let Some(net) = Net::new() else { return };
    let mut bed = net.bed(|_| ());
    let mut client = accepted(&net, &mut bed);
    asks(&net, &mut client);
    half_close(&client);
    net.line.has_brought(To::Server, port(&client), |it| it.has(FIN));
    event_after_our_fin_is_no_verdict(&net, &mut bed);
    let ending = bed.ends_as(Kind::PeerFinHalfCloseServed);
    assert_eq!((said(&ending), error(&ending)), ((1, Certainty::Certain), None));
    assert!(ending.evidence.fin_acknowledged && ending.evidence.sent_after_fin);
    let mut reply = Vec::new();
    client.read_to_end(&mut reply).unwrap();
    assert_eq!(reply, REPLY);
}

#[test]
fn s3_is_decided_when_the_reply_is_refused() {
    let Some(net) = Net::new() else { return };
    let mut bed = net.bed(|_| ());
    let mut client = accepted(&net, &mut bed);
    asks(&net, &mut client);
    let port = port(&client);
    drop(client);
    net.line.has_brought(To::Server, port, |it| it.has(FIN));
    event_after_our_fin_is_no_verdict(&net, &mut bed);
    let ending = bed.ends_as(Kind::PeerFinReplyRefused);
    assert_eq!(said(&ending), (1, Certainty::Certain));
    assert_eq!(error(&ending), Some((ECONNRESET, Via::SoError)));
    assert_eq!(ending.evidence.undelivered, Some(REPLY.len() as u32));
}

/// A visit is worth one request here: the turn is over when the reply is out, and the FIN behind
/// the second request is unread.
#[test]
fn s6b_discards_the_reply_before_our_fin() {
    let Some(net) = Net::new() else { return };
    let mut bed = net.bed(|config| {
        config.read_buffer_bytes = MESSAGE.len();
        config.bytes_per_visit = 1;
    });
    let mut client = accepted(&net, &mut bed);
    asks(&net, &mut client);
    asks(&net, &mut client);
    half_close(&client);
    let port = port(&client);
    net.line.has_brought(To::Server, port, |it| it.has(FIN));
    event(&mut bed); // the first request
    bed.turn(); // the second
    while client.peek(&mut [0; 2 * REPLY.len()]).unwrap() < 2 * REPLY.len() {}
    net.line.has_acknowledged(port);
    drop(client);
    net.line.has_brought(To::Server, port, |it| it.has(RST));
    let ending = bed.ends_as(Kind::PeerFinReplyDiscarded);
    // A reset does not tell whether what it acknowledged was read.
    assert_eq!(said(&ending), (1, Certainty::Likely));
    assert_eq!(error(&ending), Some((EPIPE, Via::SoError)));
    assert_eq!(ending.evidence.undelivered, Some(0));
    assert!(!ending.evidence.fin_sent);
}

/// Its reset and our FIN meet on the line. Every byte was acknowledged, and only our FIN is open: a
/// half-closer that had read everything and lost patience with us could look like this as well.
#[test]
fn s6b_discards_the_reply_when_our_fin_is_under_way() {
    let Some(net) = Net::new() else { return };
    let mut bed = net.bed(|_| ());
    let mut client = accepted(&net, &mut bed);
    asks(&net, &mut client);
    half_close(&client);
    let port = port(&client);
    net.line.has_brought(To::Server, port, |it| it.has(FIN));
    net.line.holds_flag(To::Client, FIN);
    event(&mut bed);
    while client.peek(&mut [0; REPLY.len()]).unwrap() < REPLY.len() {}
    net.line.has_acknowledged(port);
    drop(client);
    let ending = bed.ends_as(Kind::PeerFinReplyDiscarded);
    assert_eq!(said(&ending), (1, Certainty::Likely));
    assert_eq!(error(&ending), Some((ECONNRESET, Via::SoError)));
    assert_eq!((ending.evidence.undelivered, ending.evidence.fin_acknowledged), (Some(0), false));
}

/// A client that has its reply and has closed; its FIN lies in the server's socket, unread.
fn has_closed(net: &Net, bed: &mut Bed) -> u16 {
    let mut client = accepted(net, bed);
    echoes(bed, &mut client);
    let port = port(&client);
    net.line.has_acknowledged(port);
    drop(client);
    net.line.has_brought(To::Server, port, |it| it.has(FIN));
    port
}

/// The peer read everything and closed, and its kernel has forgotten it when our FIN arrives: its
/// FIN_WAIT_2 is over. That takes 60 s on Linux, and here 4.
#[test]
fn s1c_is_forgotten_before_our_fin() {
    let Some(net) = Net::new() else { return };
    net.client_setting("tcp_fin_timeout", "4");
    let mut bed = net.bed(|_| ());
    let port = has_closed(&net, &mut bed);
    net.client_has_forgotten(port);
    let ending = bed.ends_as(Kind::PeerFinDelivered);
    assert_eq!(said(&ending), (1, Certainty::Likely));
    assert_eq!(error(&ending), Some((ECONNRESET, Via::SoError)));
}

/// Regression: the same right behind its FIN was called delivered. No FIN_WAIT_2 is that short: it
/// is a program that shut down and then closed over an unread reply, or was killed.
#[test]
fn a_reset_right_behind_the_fin_is_no_expired_fin_wait_2() {
    let Some(net) = Net::new() else { return };
    let mut bed = net.bed(|_| ());
    let port = has_closed(&net, &mut bed);
    net.line.loses(port);
    net.at_client(&format!("ss -K sport = {port}"));
    net.line.finds(port);
    let ending = bed.ends_as(Kind::PeerFinReplyDiscarded);
    assert_eq!(said(&ending), (1, Certainty::Likely));
    assert_eq!(error(&ending), Some((ECONNRESET, Via::SoError)));
}

/// Regression: what Java's `Socket.close()` is, shutdown(Write) and then close, over a reply that
/// was never read: of 3,000 such clients 18 were called delivered. Its reset and our FIN meet on
/// the line.
#[test]
fn a_close_behind_a_shutdown_over_an_unread_reply_discards_it() {
    let Some(net) = Net::new() else { return };
    let mut bed = net.bed(|_| ());
    let mut client = accepted(&net, &mut bed);
    client.write_all(MESSAGE).unwrap();
    answers(&mut bed);
    while client.peek(&mut [0; REPLY.len()]).unwrap() < REPLY.len() {}
    let port = port(&client);
    net.line.has_acknowledged(port);
    half_close(&client);
    net.line.has_brought(To::Server, port, |it| it.has(FIN));
    net.line.holds_flag(To::Client, FIN);
    event(&mut bed); // our FIN is on its way
    drop(client);
    net.line.has_brought(To::Server, port, |it| it.has(RST));
    net.line.releases(To::Client);
    let ending = bed.ends_as(Kind::PeerFinReplyDiscarded);
    assert_eq!(said(&ending), (1, Certainty::Likely));
    assert_eq!(error(&ending), Some((ECONNRESET, Via::SoError)));
    assert!(ending.evidence.fin_sent && !ending.evidence.sent_after_fin, "{ending:#?}");
    assert_eq!(ending.evidence.undelivered, Some(0));
}
