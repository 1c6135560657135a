//! What is counted of a connection.

use super::super::script::{BEGIN_NS, client, played, played_from, server};
use super::*;

fn flow(script: &str) -> Flow {
    let seen = played(script);
    let mut flow = Flow::new(&seen[0].1, seen[0].0);
    seen.iter().for_each(|(at_ns, segment)| flow.takes(segment, *at_ns));
    flow
}

#[test]
fn both_directions_are_counted_across_the_wrap() {
    let flow = flow(">S <SA >A >14 <3000 >A >14 <37 >F <F >A");
    let [ours, peer] = flow.directions();
    assert_eq!((flow.ends(), flow.asker()), ([client(), server()], Some(0)));
    assert_eq!((ours.bytes(), ours.undelivered(), ours.missing()), (28, Some(0), 0));
    assert_eq!((peer.bytes(), peer.undelivered(), peer.missing()), (3037, Some(0), 0));
    assert_eq!((ours.totals().segments, peer.totals().segments), (7, 4));
    assert!(ours.is_fin_acknowledged() && peer.is_fin_acknowledged() && flow.is_over());
    assert_eq!(flow.round_trip_ns(), Some(2_000_000));
    assert_eq!((flow.began_ns(), flow.ended_ns()), (BEGIN_NS + 1_000_000, BEGIN_NS + 11_000_000));
}

#[test]
fn retransmissions_and_disorder_are_told_apart() {
    let lost = flow(">S <SA >A >#14 >again <A");
    let totals = lost.directions()[0].totals();
    assert_eq!((totals.bytes, totals.retransmits, totals.out_of_order), (14, 1, 0));
    assert_eq!(lost.directions()[0].retransmitting(), 0, "it was acknowledged");
    // The first of two segments arrives behind the second.
    let mut seen = played(">S <SA >A >14 >20 <A");
    seen.swap(3, 4);
    let mut flow = Flow::new(&seen[0].1, 0);
    seen.iter().for_each(|(at_ns, segment)| flow.takes(segment, *at_ns));
    let totals = flow.directions()[0].totals();
    assert_eq!((totals.bytes, totals.retransmits, totals.out_of_order), (34, 0, 1));
}

#[test]
fn what_the_capture_missed_is_not_lost() {
    let flow = flow(">S <SA >A >~14 >20 <A <~37 >A");
    let [client, server] = flow.directions();
    assert_eq!((client.bytes(), client.missing(), client.totals().bytes), (34, 14, 20));
    assert_eq!((server.bytes(), server.missing(), server.undelivered()), (37, 37, Some(0)));
}

#[test]
fn probes_are_no_data() {
    let idle = flow(">S <SA >A >14 <A >K >K");
    let direction = &idle.directions()[0];
    assert_eq!((direction.totals().probes, direction.probing(), direction.bytes()), (2, 2, 14));
    assert_eq!(flow(">S <SA >A >14 <A >K <A").directions()[0].probing(), 0, "it was answered");
    assert_eq!(flow(">S <SA >A >14 >K").directions()[0].totals().probes, 0, "14 are in flight");
    assert_eq!(flow(">S <SA >A >14 <Z").directions()[1].totals().zero_windows, 1);
}

#[test]
fn windows_are_scaled_after_the_handshake() {
    assert_eq!(flow(">S").directions()[0].window(), Some(512));
    assert_eq!(flow(">S <SA >A").directions()[0].window(), Some(512 << 7));
    assert_eq!(flow(">S <SA >A").directions()[1].window(), Some(512));
    assert_eq!(flow(">14").directions()[0].window(), Some(512), "no scale was seen");
}

/// RFC 5961, section 3.2.
#[test]
fn a_reset_must_be_at_the_next_number() {
    assert!(flow(">S <SA >A >14 <37 >R").reset().unwrap().is_exact);
    assert!(flow(">S <SA >A >14F <37 >r").reset().unwrap().is_exact);
    assert!(flow(">S <RA").reset().unwrap().is_exact);
    assert!(!flow(">S <SA >A >14 <37 >X").reset().unwrap().is_exact);
    assert_eq!(flow(">S <SA >A >14 >X <37").reset(), None, "the connection went on");
    let foreign = played_from(">S <RA", [77, 0]);
    let mut flow = flow(">S");
    flow.takes(&foreign[1].1, BEGIN_NS);
    assert!(!flow.reset().unwrap().is_exact, "it acknowledges another SYN");
}

#[test]
fn data_in_a_syn_counts() {
    let mut seen = played(">S <SA >A");
    seen[0].1.payload_bytes = 14;
    seen[1].1.ack = seen[1].1.ack.plus(14);
    seen[2].1.seq = seen[2].1.seq.plus(14);
    let mut flow = Flow::new(&seen[0].1, 0);
    seen.iter().for_each(|(at_ns, segment)| flow.takes(segment, *at_ns));
    let direction = &flow.directions()[0];
    assert_eq!((direction.bytes(), direction.undelivered(), direction.missing()), (14, Some(0), 0));
    assert_eq!(flow.handshake(), Handshake::Completed);
}

#[test]
fn both_ends_may_ask_at_once() {
    let flow = flow(">'S <'S <SA >SA >14 <37 >F <F >A");
    assert_eq!((flow.handshake(), flow.asker()), (Handshake::Completed, Some(0)));
    assert!(flow.is_over());
    assert_eq!(flow.directions()[0].bytes(), 14);
}
