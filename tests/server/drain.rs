//! Promise: asked to stop, the server answers what has arrived, closes politely, and ends in time.

#[cfg(target_os = "linux")]
mod arrived;
#[cfg(target_os = "linux")]
mod causes;

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::common::{Bed, MESSAGE, REPLY, half_close, tops_up};
use closecall::kernel::mio_kernel::Handle;
use closecall::machine::close::Kind;
use closecall::machine::reply::Framing;
use closecall::reactor::Stage;

#[test]
fn the_backlog_is_accepted_and_what_has_arrived_is_answered() {
    let mut bed = Bed::new();
    let mut clients: Vec<TcpStream> = (0..50).map(|_| bed.client()).collect();
    clients.iter_mut().for_each(|client| client.write_all(MESSAGE).unwrap());
    bed.server.handle().drain();
    for mut client in clients {
        assert_eq!(bed.reads_to_end(&mut client).unwrap(), REPLY);
    }
    bed.turns_until(|bed| bed.last.stage == Stage::Stopped);
    assert_eq!(bed.endings.len(), 50);
    for ending in &bed.endings {
        assert_eq!((ending.verdict.kind, ending.verdict.status), (Kind::LocalDrain, 0));
        assert_eq!(ending.evidence.error, None, "no connection was reset");
    }
}

#[test]
fn idle_connections_get_our_fin_and_new_connections_are_refused() {
    let mut bed = Bed::new();
    let mut client = bed.client();
    bed.echoes(&mut client);
    bed.server.handle().drain();
    assert_eq!(bed.reads_to_end(&mut client).unwrap(), b"");
    assert!(TcpStream::connect(bed.address()).is_err(), "the listener is closed");
    drop(client);
    bed.ends_as(Kind::LocalDrain);
    assert_eq!(bed.turn().stage, Stage::Stopped);
}

#[test]
fn what_is_sent_after_our_fin_is_read_and_causes_no_reset() {
    let mut bed = Bed::new();
    let mut client = bed.client();
    bed.echoes(&mut client);
    bed.server.handle().drain();
    assert_eq!(bed.reads_to_end(&mut client).unwrap(), b"");
    client.write_all(MESSAGE).unwrap();
    drop(client);
    let ending = bed.ends_as(Kind::LocalDrain);
    assert_eq!((ending.evidence.discarded, ending.evidence.error), (14, None));
}

#[test]
fn a_peer_that_does_not_close_is_reset_at_the_end_of_the_drain() {
    let mut bed = Bed::with(|config| {
        config.drain_ms = 300;
        config.framing = Framing::Raw;
    });
    let mut silent = bed.client();
    bed.echoes_raw(&mut silent);
    bed.server.handle().drain();
    assert_eq!(bed.reads_to_end(&mut silent).unwrap(), b"", "our FIN first");
    let ending = bed.ends_as(Kind::LocalDrain);
    assert!(ending.verdict_wait_ms >= 250, "{ending:?}");
    assert_eq!(bed.turn().stage, Stage::Stopped);
    // Its next word is answered by a reset: nothing is there any more.
    silent.write_all(MESSAGE).ok();
    assert!(silent.write_all(MESSAGE).is_err() || silent.take_error().unwrap().is_some());
}

#[test]
fn an_abort_after_a_drain_ends_at_once() {
    let mut bed = Bed::with(|config| config.drain_ms = 3_600_000);
    let mut clients: Vec<TcpStream> = (0..20).map(|_| bed.client()).collect();
    clients.iter_mut().for_each(|client| bed.echoes(client));
    bed.server.handle().drain();
    bed.turns_until(|bed| bed.last.stage == Stage::Draining);
    bed.server.handle().abort();
    bed.turns_until(|bed| bed.last.stage == Stage::Forced);
    assert_eq!(bed.endings.len(), 20);
    assert!(bed.endings.iter().all(|ending| ending.verdict.kind == Kind::LocalDrain));
}

#[test]
fn an_abort_alone_ends_at_once() {
    let mut bed = Bed::with(|config| config.drain_ms = 3_600_000);
    let mut clients: Vec<TcpStream> = (0..20).map(|_| bed.client()).collect();
    clients.iter_mut().for_each(|client| bed.echoes(client));
    bed.server.handle().abort();
    bed.server.handle().drain(); // too late to be polite
    bed.turns_until(|bed| bed.last.stage == Stage::Forced);
    assert_eq!(bed.endings.len(), 20);
    assert!(bed.endings.iter().all(|ending| ending.verdict.kind == Kind::LocalDrain));
}

/// Regression: the handle counted its calls, so that a program that stopped its server from two
/// places cut off connections that were to be drained.
#[test]
fn two_drains_are_one() {
    let mut bed = Bed::with(|config| config.drain_ms = 3_600_000);
    let mut client = bed.client();
    bed.echoes(&mut client);
    client.write_all(MESSAGE).unwrap();
    for handle in [bed.server.handle(), bed.server.handle()] {
        handle.drain();
        handle.drain();
    }
    bed.turns_until(|bed| bed.last.stage == Stage::Draining);
    bed.server.handle().drain();
    assert_eq!(bed.reads_to_end(&mut client).unwrap(), REPLY);
    drop(client);
    bed.turns_until(|bed| bed.last.stage.is_over());
    assert_eq!(bed.last.stage, Stage::Stopped);
    let ending = bed.ends_as(Kind::LocalDrain);
    assert_eq!((ending.evidence.fin_received, ending.evidence.error), (Some(true), None));
}

/// A turn in which something ended is not the last one, so that a loop `while` the server is not
/// over reads every ending. The last turn does not wait, and neither does each one after it.
#[test]
fn a_server_that_has_stopped_says_so_at_once() {
    let mut bed = Bed::new();
    bed.server.handle().drain();
    assert_eq!(bed.turn().stage, Stage::Draining);
    for _ in 0..3 {
        let last = bed.server.turn().unwrap();
        assert_eq!((last.stage, last.visits, last.ended), (Stage::Stopped, 0, 0));
    }
}

/// Regression: the example on the first page of the documentation never saw the endings of its last
/// turn, which were all of those that an abort makes.
#[test]
fn the_natural_loop_sees_every_ending() {
    for stop in [Handle::drain, Handle::abort] {
        let mut bed = Bed::with(|config| config.reaps_per_turn = 3);
        let clients: Vec<TcpStream> = (0..10).map(|_| bed.client()).collect();
        bed.accepts(10);
        stop(&bed.server.handle());
        let mut clients = Some(clients);
        let mut endings = 0;
        while !bed.server.turn().unwrap().stage.is_over() {
            endings += bed.server.endings().count();
            drop(clients.take()); // once the drain has begun
        }
        assert_eq!((endings, bed.server.counters().ended()), (10, 10));
    }
}

/// The kernel of a client in the backlog has reported it as connected. A table that is full when
/// the drain begins is no reason to reset it.
#[test]
fn the_backlog_of_a_full_server_is_served_as_well() {
    let mut bed = Bed::with(|config| config.max_connections = 5);
    let mut clients: Vec<TcpStream> = (0..23).map(|_| bed.client()).collect();
    clients.iter_mut().for_each(|client| client.write_all(MESSAGE).unwrap());
    bed.accepts(5);
    bed.server.handle().drain();
    for mut client in clients {
        assert_eq!(bed.reads_to_end(&mut client).unwrap(), REPLY);
    }
    bed.turns_until(|bed| bed.last.stage == Stage::Stopped);
    assert_eq!(bed.endings.len(), 23);
}

/// Regression: the end of the drain reset a peer that had sent its FIN and was reading. The kernel
/// continues to deliver after a plain close, even after the process has ended.
#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "only Linux tells what is undelivered")]
fn a_peer_that_half_closed_and_reads_slowly_gets_everything() {
    let mut bed = Bed::with(|config| {
        config.drain_ms = 1_000;
        config.framing = Framing::Raw;
    });
    let mut client = bed.narrow_client();
    let sent = vec![b'x'; 50_000];
    client.write_all(&sent).unwrap();
    bed.turns_until(|bed| bed.last.visits > 0);
    bed.server.handle().drain();
    bed.turns_until(|bed| bed.last.alarms > 0);
    half_close(&client); // ours is out already, behind what it has not read yet
    bed.turns_until(|bed| bed.last.stage == Stage::Stopped);
    assert_eq!(bed.endings[0].verdict.kind, Kind::LocalDrain);
    assert_eq!(bed.endings[0].evidence.fin_received, Some(true));
    assert!(bed.endings[0].evidence.undelivered > Some(0), "{:?}", bed.endings);
    drop(bed);
    let mut received = Vec::new();
    client.read_to_end(&mut received).expect("no reset");
    assert_eq!(received.len(), sent.len());
}

/// Regression: a drain that had been decided but not carried out claimed an end that was the
/// peer's.
#[test]
#[cfg_attr(windows, ignore = "wine closes with a FIN, never with a reset")]
fn a_reset_before_our_fin_is_the_peers_end() {
    let mut bed = Bed::with(|config| config.framing = Framing::Raw);
    let mut client = bed.narrow_client();
    client.write_all(&[b'x'; 50_000]).unwrap();
    bed.holds(&client, 1);
    tops_up(&mut client);
    bed.turns_until(|bed| bed.last.events == 0);
    bed.server.handle().drain();
    bed.turns_until(|bed| bed.last.stage == Stage::Draining && bed.last.alarms > 0);
    drop(client); // with most of the reply on this side
    let ending = bed.ends_as(Kind::PeerResetReplyUndelivered);
    assert!(ending.evidence.error.is_some() && !ending.evidence.fin_sent, "{ending:?}");
}
