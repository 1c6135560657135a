//! Networks and machines that refuse: routers, middleboxes, and `ss -K` on this machine.

use closecall::machine::close::{Certainty, Kind, Via};
use libc::{ECONNABORTED, ECONNRESET};

use super::common::{REPLY, error, half_close, said};
use super::line::To;
use super::net::{Net, answers, asks, echoes, hears, port};
use super::packet::{FIN, Icmp};

/// Retransmissions come after 0.24, 0.7 and 1.6 s here: one or two of them fit.
const USER_TIMEOUT_MS: u64 = 600;

/// Every way in which ICMP says no, and what Linux makes of it (`icmp_err_convert` and
/// `tcp_v4_err` in `net/ipv4`). Code 4 is missing: "too big" is something to be done about.
const REFUSALS: &[(Icmp, i32)] = &[
    ((3, 0), libc::ENETUNREACH),
    ((3, 1), libc::EHOSTUNREACH),
    ((3, 2), libc::ENOPROTOOPT),
    ((3, 3), libc::ECONNREFUSED),
    ((3, 5), libc::EOPNOTSUPP), // source route failed
    ((3, 6), libc::ENETUNREACH),
    ((3, 7), libc::EHOSTDOWN),
    ((3, 8), libc::ENONET),
    ((3, 9), libc::ENETUNREACH),
    ((3, 10), libc::EHOSTUNREACH),
    ((3, 11), libc::ENETUNREACH),
    ((3, 12), libc::EHOSTUNREACH),
    ((3, 13), libc::EHOSTUNREACH),
    ((3, 14), libc::EHOSTUNREACH),
    ((3, 15), libc::EHOSTUNREACH),
    ((11, 0), libc::EHOSTUNREACH), // time exceeded
    ((12, 0), libc::EPROTO),       // parameter problem
];

const HOST_UNREACHABLE: Icmp = (3, 1);

#[test]
fn s11_a_router_refuses_until_the_retries_end() {
    let Some(net) = Net::new() else { return };
    let mut bed = net.bed(|config| config.user_timeout_ms = Some(USER_TIMEOUT_MS));
    let clients = REFUSALS.iter().map(|(icmp, _)| {
        let mut client = net.client(&bed);
        asks(&net, &mut client);
        net.line.cannot_reach(port(&client), *icmp);
        client
    });
    let clients: Vec<_> = clients.collect();
    for _ in &clients {
        let ending = bed.ends_as(Kind::TimeoutUnreachable);
        let (icmp, errno) = REFUSALS[ending.id as usize - 1];
        assert_eq!(error(&ending), Some((errno, Via::Recv)), "ICMP {icmp:?}");
        assert_eq!(said(&ending), (3, Certainty::Certain));
        assert_eq!(ending.evidence.undelivered, Some(REPLY.len() as u32));
        assert_eq!(ending.evidence.fin_received, Some(false));
    }
}

/// The last word of a peer that had said its own: its reply is what is not confirmed.
#[test]
fn s11_after_a_fin() {
    let Some(net) = Net::new() else { return };
    let mut bed = net.bed(|config| config.user_timeout_ms = Some(USER_TIMEOUT_MS));
    let mut client = net.client(&bed);
    asks(&net, &mut client);
    half_close(&client);
    net.line.has_brought(To::Server, port(&client), |it| it.has(FIN));
    net.line.cannot_reach(port(&client), HOST_UNREACHABLE);
    let ending = bed.ends_as(Kind::PeerFinUnconfirmed);
    assert_eq!(said(&ending), (1, Certainty::Unknown));
    assert_eq!(error(&ending), Some((libc::EHOSTUNREACH, Via::SoError)));
    assert_eq!(ending.evidence.undelivered, Some(REPLY.len() as u32));
}

/// Our own routing table says no, to a retransmission.
#[test]
fn s11_our_own_route_is_gone() {
    let Some(net) = Net::new() else { return };
    let mut bed = net.bed(|config| config.user_timeout_ms = Some(USER_TIMEOUT_MS));
    let mut client = net.client(&bed);
    asks(&net, &mut client);
    let port = port(&client);
    net.line.loses(port);
    answers(&mut bed);
    net.line.has_lost(To::Client, port, |it| it.payload_bytes > 0);
    net.at_server("ip route flush dev tun");
    let ending = bed.ends_as(Kind::TimeoutUnreachable);
    assert_eq!(said(&ending), (3, Certainty::Certain));
    assert_eq!(error(&ending), Some((libc::ENETUNREACH, Via::Recv)));
}

/// An error of the network is none of the connection before the kernel gives it up. SO_ERROR would
/// tell of it at any time, so it is not asked without a reason.
#[test]
fn s11_is_no_error_when_nothing_has_given_up() {
    let Some(net) = Net::new() else { return };
    let mut bed = net.bed(|config| config.verdict_wait_ms = 300);
    let mut client = net.client(&bed);
    asks(&net, &mut client);
    half_close(&client);
    net.line.has_brought(To::Server, port(&client), |it| it.has(FIN));
    net.line.cannot_reach(port(&client), HOST_UNREACHABLE);
    let ending = bed.ends_as(Kind::PeerFinUnconfirmed);
    assert_eq!((said(&ending), error(&ending)), ((1, Certainty::Unknown), None));
}

/// And when the way is free again, nothing of it is left.
#[test]
fn a_router_that_refuses_for_a_while_ends_nothing() {
    let Some(net) = Net::new() else { return };
    let mut bed = net.bed(|_| ());
    let mut client = net.client(&bed);
    asks(&net, &mut client);
    let port = port(&client);
    net.line.cannot_reach(port, HOST_UNREACHABLE);
    answers(&mut bed);
    net.line.has_lost(To::Client, port, |it| it.payload_bytes > 0);
    net.line.finds(port);
    hears(&mut client);
    drop(client);
    let ending = bed.ends_as(Kind::PeerFinDelivered);
    assert_eq!((said(&ending), error(&ending)), ((1, Certainty::Certain), None));
}

#[test]
fn s12_a_middlebox_resets_instead_of_bringing_our_reply() {
    let Some(net) = Net::new() else { return };
    let mut bed = net.bed(|_| ());
    let mut client = net.client(&bed);
    asks(&net, &mut client);
    net.at_client("nft add table ip box");
    net.at_client("nft add chain ip box input { type filter hook input priority 0 ; }");
    net.at_client("nft add rule ip box input meta l4proto tcp reject with tcp reset");
    let ending = bed.ends_as(Kind::PeerResetReplyUndelivered);
    // A peer's own reset could have overtaken its acknowledgement.
    assert_eq!(said(&ending), (1, Certainty::Likely));
    assert_eq!(error(&ending), Some((ECONNRESET, Via::Recv)));
    assert_eq!(ending.evidence.undelivered, Some(REPLY.len() as u32));
    assert_eq!(ending.evidence.fin_received, Some(false));
}

/// On the wire it is what a peer does that closes with the reply unread (S2).
#[test]
fn s12_a_middlebox_resets_an_idle_connection() {
    let Some(net) = Net::new() else { return };
    let mut bed = net.bed(|_| ());
    let mut client = net.client(&bed);
    echoes(&mut bed, &mut client);
    net.line.has_acknowledged(port(&client));
    net.line.resets(port(&client));
    let ending = bed.ends_as(Kind::PeerResetReplyAcked);
    assert_eq!(said(&ending), (1, Certainty::Certain));
    assert_eq!(error(&ending), Some((ECONNRESET, Via::Recv)));
    assert_eq!(ending.evidence.undelivered, Some(0));
}

#[test]
fn s21_a_program_here_kills_the_socket() {
    let Some(net) = Net::new() else { return };
    let mut bed = net.bed(|_| ());
    let mut client = net.client(&bed);
    echoes(&mut bed, &mut client);
    net.at_server(&format!("ss -K dport = {}", port(&client)));
    let ending = bed.ends_as(Kind::LocalKilled);
    assert_eq!(said(&ending), (3, Certainty::Certain));
    assert_eq!(error(&ending), Some((ECONNABORTED, Via::Recv)));
    assert_eq!(ending.evidence.fin_received, Some(false));
}

/// The FIN reads as 0 then, and hides the error: SO_ERROR has it.
#[test]
fn s21_a_program_here_kills_the_socket_while_it_waits() {
    let Some(net) = Net::new() else { return };
    let mut bed = net.bed(|_| ());
    let mut client = net.client(&bed);
    asks(&net, &mut client);
    half_close(&client);
    net.line.has_brought(To::Server, port(&client), |it| it.has(FIN));
    net.line.holds(To::Client);
    answers(&mut bed);
    net.at_server(&format!("ss -K dport = {}", port(&client)));
    let ending = bed.ends_as(Kind::LocalKilled);
    assert_eq!(said(&ending), (3, Certainty::Certain));
    assert_eq!(error(&ending), Some((ECONNABORTED, Via::SoError)));
    assert!(ending.evidence.fin_received == Some(true) && ending.evidence.fin_sent);
}
