//! Promise: beyond a limit new connections wait or are reset; open connections are not affected,
//! and the loop sleeps.

use std::io::Write;

use crate::common::{Bed, MESSAGE, REPLY, sayable};
use closecall::config::{Config, Overload};
use closecall::machine::close::Kind;
use closecall::server::Server;

#[test]
fn beyond_the_limit_a_new_connection_waits_for_a_slot() {
    let mut bed = Bed::with(|config| config.max_connections = 2);
    let (mut first, mut second) = (bed.client(), bed.client());
    bed.echoes(&mut first);
    bed.echoes(&mut second);
    let mut third = bed.client();
    third.write_all(MESSAGE).unwrap();
    bed.echoes(&mut first);
    assert_eq!(bed.server.counters().open, 2);
    drop(second);
    assert_eq!(bed.receives(&mut third, REPLY.len()), REPLY);
    assert_eq!(bed.server.counters().open, 2);
}

#[test]
fn a_full_server_sleeps() {
    let mut bed = Bed::with(|config| {
        config.max_connections = 1;
        config.read_deadline_ms = Some(500);
    });
    let first = bed.client();
    bed.accepts(1);
    let _second = bed.client();
    let mut turns = 0;
    bed.turns_until(|bed| {
        turns += 1;
        bed.server.counters().accepted == 2 || turns > 20
    });
    assert!(
        turns <= 20,
        "it turned {turns} times for one event, one deadline and one new connection"
    );
    drop(first);
}

#[test]
#[cfg_attr(windows, ignore = "wine closes with a FIN, never with a reset")]
fn shedding_resets_the_new_connection_and_no_other() {
    let mut bed = Bed::with(|config| {
        config.max_connections = 1;
        config.overload = Overload::Shed;
    });
    let mut first = bed.client();
    bed.echoes(&mut first);
    let mut second = bed.client();
    let ending = bed.ends_as(Kind::LocalPolicy);
    assert_eq!((ending.verdict.status, ending.peer), (3, second.local_addr().unwrap()));
    assert!(bed.reads_to_end(&mut second).is_err(), "reset, and not closed");
    bed.echoes(&mut first);
}

#[test]
#[cfg_attr(windows, ignore = "wine closes with a FIN, never with a reset")]
fn one_address_may_have_so_many_and_no_more() {
    let mut bed = Bed::with(|config| config.max_per_ip = Some(2));
    let (mut first, second) = (bed.client(), bed.client());
    let mut third = bed.client();
    bed.ends_as(Kind::LocalPolicy);
    assert!(bed.reads_to_end(&mut third).is_err(), "reset, and not closed");
    drop(second);
    bed.ends_as(Kind::PeerFinProbe);
    let mut fourth = bed.client();
    bed.echoes(&mut fourth);
    bed.echoes(&mut first);
}

/// The oldest that only waits for its evidence is decided at once when its slot is wanted.
#[test]
fn a_connection_that_waits_for_its_verdict_makes_room() {
    let mut bed = Bed::with(|config| {
        config.max_connections = 1;
        config.read_deadline_ms = Some(100);
        config.verdict_wait_ms = 3_600_000;
    });
    let mut first = bed.client();
    assert_eq!(bed.reads_to_end(&mut first).unwrap(), b"", "our FIN; it does not send its own");
    assert_eq!((bed.server.counters().open, bed.endings.len()), (1, 0));
    let mut second = bed.client();
    second.write_all(MESSAGE).unwrap();
    assert_eq!(bed.receives(&mut second, REPLY.len()), REPLY);
    let ending = bed.ends_as(Kind::TimeoutRead);
    assert_eq!(ending.peer, first.local_addr().unwrap());
}

/// When seven eighths of the slots are taken, no connection begins to wait for its verdict.
#[test]
fn a_crowd_is_decided_at_once() {
    let mut bed = Bed::with(|config| {
        config.max_connections = 8;
        config.read_deadline_ms = Some(100);
        config.verdict_wait_ms = 3_600_000;
    });
    let clients: Vec<_> = (0..8).map(|_| bed.client()).collect();
    bed.ends_as(Kind::TimeoutRead);
    bed.turns_until(|bed| bed.last.alarms == 0 && bed.server.counters().open == 7);
    drop(clients);
}

/// Regression: new connections were counted before those that closed in the same turn were served,
/// so one client after another was refused now and then.
#[test]
fn no_connection_is_refused_because_another_is_closing() {
    for overload in [Overload::Wait, Overload::Shed] {
        let mut bed = Bed::with(|config| {
            config.max_connections = 1;
            config.max_per_ip = Some(1);
            config.overload = overload;
        });
        for _ in 0..20 {
            let mut client = bed.client();
            bed.echoes(&mut client);
            drop(client);
        }
        let kind = sayable(Kind::PeerFinDelivered);
        assert!(bed.endings.iter().all(|e| e.verdict.kind == kind), "{overload:?}");
    }
}

/// Regression: the allocator aborted, and with it the program that embeds the server.
#[test]
fn more_connections_than_there_is_memory_for_are_an_error() {
    for max_connections in [1 << 50, usize::MAX] {
        let listen = vec!["127.0.0.1:0".parse().unwrap()];
        let refused = Server::bind(Config { listen, max_connections, ..Config::default() });
        let error = refused.map(|_| ()).unwrap_err();
        assert_eq!(error.source.kind(), std::io::ErrorKind::OutOfMemory, "{error}");
    }
}
