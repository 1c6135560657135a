//! Which segment belongs to which connection, and how many are kept.

use super::super::script::{BEGIN_NS, played, played_from};
use super::super::{Role, Seq};
use super::*;

const WHOLE: &str = ">S <SA >A >14 <37 >F <F >A";

/// Connections that ended, in a capture of these segments.
fn ended(seen: &[(u64, Segment)], flows_max: usize) -> Vec<Ended> {
    let mut table = Table::new(flows_max);
    let mut ended = Vec::new();
    seen.iter().for_each(|(at_ns, segment)| table.takes(segment, *at_ns, &mut ended));
    table.finish(&mut ended);
    assert!(table.is_empty() && table.by_key.is_empty());
    assert_eq!((table.oldest, table.newest), (NONE, NONE));
    ended
}

fn names(ended: &[Ended]) -> Vec<&'static str> {
    ended.iter().map(|it| it.verdict(Role::Server, None).kind.name()).collect()
}

/// The same later, between other ports.
fn moved(script: &str, port: u16, later_ns: u64) -> Vec<(u64, Segment)> {
    let mut seen = played(script);
    for (at_ns, segment) in &mut seen {
        *at_ns += later_ns;
        for end in [&mut segment.source, &mut segment.target] {
            if end.port() == 40_000 {
                end.set_port(port);
            }
        }
    }
    seen
}

#[test]
fn ports_that_are_used_again_are_another_connection() {
    let first = played(WHOLE);
    let second = played_from(">S <SA >A >14 >R", [7, 9]);
    let seen = [first.clone(), second.clone()].concat();
    assert_eq!(names(&ended(&seen, 10)), ["peer_fin.delivered", "peer_reset.before_reply"]);
    // Without the second SYN, by the SYN-ACK.
    let seen = [&first[..], &second[1..]].concat();
    assert_eq!(names(&ended(&seen, 10)), ["peer_fin.delivered", "peer_reset.before_reply"]);
    // Over an attempt that failed.
    let seen = [&played(">#S")[..], &second[..]].concat();
    assert_eq!(names(&ended(&seen, 10)), ["open", "peer_reset.before_reply"]);
}

/// RFC 5961, section 4: a connection that is alive is not ended by a SYN.
#[test]
fn a_syn_begins_another_connection_only_if_it_is_answered() {
    let (open, rest) = (played(">S <SA >A >14"), played(WHOLE));
    let syn = played_from(">S", [7, 9]);
    let seen = [&open[..], &syn[..], &rest[4..]].concat();
    assert_eq!(names(&ended(&seen, 10)), ["peer_fin.delivered"]);
    let again = played_from(WHOLE, [7, 9]);
    let seen = [&open[..], &again[..]].concat();
    assert_eq!(names(&ended(&seen, 10)), ["open", "peer_fin.delivered"]);
}

#[test]
fn what_comes_behind_the_end_belongs_to_it_for_a_while() {
    let mut seen = played(WHOLE);
    let last = *seen.last().unwrap();
    seen.push((last.0 + LINGER_NS - 1, last.1));
    assert_eq!(names(&ended(&seen, 10)), ["peer_fin.delivered"]);
    seen.push((last.0 + LINGER_NS, last.1));
    assert_eq!(names(&ended(&seen, 10)), ["peer_fin.delivered", "unseen"]);
}

/// Memory follows the connections that are open, not those that there were.
#[test]
fn those_that_are_over_leave_the_table() {
    let mut table = Table::new(1000);
    let mut ended = Vec::new();
    for number in 0..500_u64 {
        for (at_ns, segment) in moved(WHOLE, 1000 + number as u16, number * 1_000_000_000) {
            table.takes(&segment, at_ns, &mut ended);
        }
        assert!(table.len() <= 7, "{}", table.len());
    }
    assert!(ended.len() >= 493 && ended.iter().all(|it| !it.is_let_go));
    assert!(names(&ended).iter().all(|name| *name == "peer_fin.delivered"));
}

#[test]
fn without_room_the_one_that_was_idle_for_the_longest_time_is_let_go() {
    let mut seen = Vec::new();
    for (number, port) in [50_001, 50_002, 50_003].into_iter().enumerate() {
        seen.extend(moved(">S <SA >A", port, number as u64 * 1_000_000_000));
    }
    // The first is heard of again, so the second is idle.
    let (_, data) = *moved(">S <SA >A >14", 50_001, 0).last().unwrap();
    seen.push((BEGIN_NS + 5_000_000_000, data));
    seen.extend(moved(">S", 50_004, 6_000_000_000));
    let ended = ended(&seen, 3);
    let ports: Vec<_> = ended.iter().map(|it| it.flow.ends()[0].port()).collect();
    assert_eq!(ports, [50_002, 50_003, 50_001, 50_004]);
    assert_eq!(names(&ended), ["unseen", "open", "open", "open"]);
    assert_eq!(ended.iter().filter(|it| it.is_let_go).count(), 1);
}

#[test]
fn a_clock_that_goes_back_stands_still() {
    let mut seen = played(WHOLE);
    seen[4].0 = 5;
    let ended = ended(&seen, 10);
    assert_eq!(names(&ended), ["peer_fin.delivered"]);
    assert!(ended[0].flow.ended_ns() >= ended[0].flow.began_ns());
}

/// An address of IPv4 and the same as IPv6 writes it are one.
#[test]
fn an_address_of_ipv4_is_itself() {
    let mut segment = played(">S")[0].1;
    let key = Key::of(&segment);
    (segment.source, segment.target) = (segment.target, segment.source);
    assert_eq!(Key::of(&segment), key, "both directions");
    let mapped = "[::ffff:127.0.0.1]:40000".parse().unwrap();
    (segment.source, segment.seq) = (mapped, Seq(0));
    segment.target = "127.0.0.1:20003".parse().unwrap();
    assert_eq!(Key::of(&segment), key);
}
