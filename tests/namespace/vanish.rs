//! Peers that vanish: the cable is cut, the machine is gone, and sometimes it comes back.

use std::net::{Shutdown, TcpStream};

use closecall::machine::close::{Certainty, Kind, Via};
use closecall::reactor::Ending;
use libc::{ECONNRESET, ETIMEDOUT};

use super::common::{REPLY, error, half_close, reset, said};
use super::line::To;
use super::net::{Net, answers, asks, echoes, hears, port};
use super::packet::{FIN, RST};

/// Retransmissions come after 0.24, 0.7 and 1.6 s here: one or two of them fit.
const USER_TIMEOUT_MS: u64 = 600;

/// The kernel counts keepalive in seconds: idle for one, then three probes a second apart.
const KEEPALIVE_MS: u64 = 1000;

#[test]
fn s10a_vanishes_with_our_reply_in_flight() {
    let Some(net) = Net::new() else { return };
    let mut bed = net.bed(|config| config.user_timeout_ms = Some(USER_TIMEOUT_MS));
    let mut client = net.client(&bed);
    asks(&net, &mut client);
    net.line.loses(port(&client));
    let ending = bed.ends_as(Kind::TimeoutRetransmit);
    assert_eq!(said(&ending), (2, Certainty::Certain));
    assert_eq!(error(&ending), Some((ETIMEDOUT, Via::Recv)));
    assert_eq!(ending.evidence.undelivered, Some(REPLY.len() as u32));
    assert!(ending.evidence.retransmits > Some(0));
}

#[test]
fn s10a_without_a_user_timeout_the_retries_end() {
    let Some(net) = Net::new() else { return };
    net.server_setting("tcp_retries2", "2");
    let mut bed = net.bed(|_| ());
    let mut client = net.client(&bed);
    asks(&net, &mut client);
    net.line.loses(port(&client));
    let ending = bed.ends_as(Kind::TimeoutRetransmit);
    assert_eq!(said(&ending), (2, Certainty::Certain));
    assert_eq!(error(&ending), Some((ETIMEDOUT, Via::Recv)));
}

#[test]
fn s10b_vanishes_while_idle() {
    let Some(net) = Net::new() else { return };
    let mut bed = net.bed(|config| config.keepalive_ms = Some(KEEPALIVE_MS));
    let mut client = net.client(&bed);
    echoes(&mut bed, &mut client);
    net.line.has_acknowledged(port(&client));
    net.line.loses(port(&client));
    let ending = bed.ends_as(Kind::TimeoutKeepalive);
    assert_eq!(said(&ending), (2, Certainty::Certain));
    assert_eq!(error(&ending), Some((ETIMEDOUT, Via::Recv)));
    assert_eq!(ending.evidence.undelivered, Some(0));
    assert!(ending.evidence.probes > Some(0));
}

/// TCP_USER_TIMEOUT ends the probes sooner; still, no reply was lost.
#[test]
fn s10b_with_a_user_timeout() {
    let Some(net) = Net::new() else { return };
    let mut bed = net.bed(|config| {
        config.keepalive_ms = Some(KEEPALIVE_MS);
        config.user_timeout_ms = Some(USER_TIMEOUT_MS);
    });
    let mut client = net.client(&bed);
    echoes(&mut bed, &mut client);
    net.line.has_acknowledged(port(&client));
    net.line.loses(port(&client));
    let ending = bed.ends_as(Kind::TimeoutKeepalive);
    assert_eq!(said(&ending), (2, Certainty::Certain));
    assert_eq!(error(&ending), Some((ETIMEDOUT, Via::Recv)));
    assert!(ending.evidence.probes > Some(0));
}

/// The machine is gone and comes back without its sockets, and no packet announces that.
fn restarts(net: &Net, client: TcpStream) {
    let port = port(&client);
    net.line.loses(port);
    reset(client);
    net.line.has_lost(To::Server, port, |it| it.has(RST));
}

/// A client asks, restarts, and is there again when our reply has been lost once.
fn restarts_while_we_answer(early_retrans: &str) -> Option<Ending> {
    let net = Net::new()?;
    net.server_setting("tcp_early_retrans", early_retrans);
    let mut bed = net.bed(|_| ());
    let mut client = net.client(&bed);
    asks(&net, &mut client);
    let port = port(&client);
    restarts(&net, client);
    answers(&mut bed);
    net.line.has_lost(To::Client, port, |it| it.payload_bytes > 0);
    net.line.finds(port);
    Some(bed.ending())
}

#[test]
fn s10c_has_restarted_and_resets_a_retransmission() {
    let Some(ending) = restarts_while_we_answer("0") else { return };
    assert_eq!(ending.verdict.kind, Kind::PeerResetStale, "{ending:#?}");
    assert_eq!(said(&ending), (1, Certainty::Likely));
    assert_eq!(error(&ending), Some((ECONNRESET, Via::Recv)));
    assert_eq!(ending.evidence.fin_received, Some(false));
    assert!(ending.evidence.retransmits > Some(0));
}

/// The kernel sends the end of a stream a second time before it calls that a retransmission (tail
/// loss probe, RFC 8985), and counts it nowhere that progress would clear. A reset in answer to
/// that one looks like a reset in answer to the reply itself, and is called so.
#[test]
fn s10c_a_reset_to_a_tail_loss_probe_is_one_to_the_reply() {
    let Some(ending) = restarts_while_we_answer("3") else { return };
    assert_eq!(error(&ending), Some((ECONNRESET, Via::Recv)));
    let counted = ending.evidence.retransmits > Some(0); // on a machine that is very busy
    let kind = if counted { Kind::PeerResetStale } else { Kind::PeerResetReplyUndelivered };
    assert_eq!(ending.verdict.kind, kind, "{ending:#?}");
    assert_eq!(ending.evidence.undelivered, Some(REPLY.len() as u32));
}

#[test]
fn s10c_has_restarted_and_resets_a_probe() {
    let Some(net) = Net::new() else { return };
    let mut bed = net.bed(|config| config.keepalive_ms = Some(KEEPALIVE_MS));
    let mut client = net.client(&bed);
    echoes(&mut bed, &mut client);
    let port = port(&client);
    net.line.has_acknowledged(port);
    restarts(&net, client);
    net.line.finds(port);
    let ending = bed.ends_as(Kind::PeerResetStale);
    assert_eq!(said(&ending), (1, Certainty::Likely));
    assert_eq!(error(&ending), Some((ECONNRESET, Via::Recv)));
    assert_eq!(ending.evidence.undelivered, Some(0));
    assert!(ending.evidence.probes > Some(0));
}

/// A loss that was made good is history: only what runs at the end makes a reset stale.
#[test]
fn a_reset_after_a_loss_that_was_made_good_is_not_stale() {
    let Some(net) = Net::new() else { return };
    let mut bed = net.bed(|_| ());
    let mut client = net.client(&bed);
    asks(&net, &mut client);
    net.line.loses(port(&client));
    answers(&mut bed);
    net.line.has_lost(To::Client, port(&client), |it| it.payload_bytes > 0);
    net.line.finds(port(&client));
    hears(&mut client);
    net.line.has_acknowledged(port(&client));
    reset(client);
    let ending = bed.ends_as(Kind::PeerResetReplyAcked);
    assert_eq!(error(&ending), Some((ECONNRESET, Via::Recv)));
    assert_eq!(ending.evidence.retransmits, Some(0));
}

#[test]
fn s10h_vanishes_after_its_fin() {
    let Some(net) = Net::new() else { return };
    let mut bed = net.bed(|config| config.user_timeout_ms = Some(USER_TIMEOUT_MS));
    let mut client = net.client(&bed);
    asks(&net, &mut client);
    half_close(&client);
    net.line.has_brought(To::Server, port(&client), |it| it.has(FIN));
    net.line.loses(port(&client));
    let ending = bed.ends_as(Kind::PeerFinUnconfirmed);
    assert_eq!(said(&ending), (2, Certainty::Unknown));
    assert_eq!(error(&ending), Some((ETIMEDOUT, Via::SoError)));
    assert_eq!(ending.evidence.undelivered, Some(REPLY.len() as u32));
    assert_eq!(ending.evidence.fin_received, Some(true));
}

#[test]
fn s10h_is_waited_for_no_longer_than_the_verdict_wait() {
    let Some(net) = Net::new() else { return };
    let mut bed = net.bed(|config| config.verdict_wait_ms = 300);
    let mut client = net.client(&bed);
    asks(&net, &mut client);
    client.shutdown(Shutdown::Both).unwrap();
    net.line.has_brought(To::Server, port(&client), |it| it.has(FIN));
    net.line.loses(port(&client));
    let ending = bed.ends_as(Kind::PeerFinUnconfirmed);
    assert_eq!(said(&ending), (1, Certainty::Unknown));
    assert_eq!((error(&ending), ending.evidence.undelivered), (None, Some(REPLY.len() as u32)));
}
