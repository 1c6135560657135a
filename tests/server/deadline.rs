//! Promise: silence and stalling end a connection, never early; a peer that sends, or takes what we
//! send, stays connected.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::common::{Bed, MESSAGE, REPLY, sockets_between, tops_up};
use closecall::machine::close::Kind;
use closecall::machine::reply::Framing;

/// Lets a deadline pass while the server takes no turn, as if its process had been stopped.
fn server_is_stopped_for(duration: Duration) {
    std::thread::sleep(duration); // time passing is what this is about: nothing is waited for
}

#[test]
fn a_silent_peer_gets_our_fin_after_the_deadline_and_not_before() {
    let mut bed = Bed::with(|config| config.read_deadline_ms = Some(200));
    let mut client = bed.client();
    assert_eq!(bed.reads_to_end(&mut client).unwrap(), b"", "a FIN, and no reset");
    drop(client);
    let ending = bed.ends_as(Kind::TimeoutRead);
    assert!(ending.duration_ms >= 200, "early: {} ms", ending.duration_ms);
    assert_eq!((ending.verdict.status, ending.evidence.fin_received), (2, Some(true)));
}

#[test]
fn each_read_moves_the_deadline() {
    let mut bed = Bed::with(|config| config.read_deadline_ms = Some(500));
    let mut client = bed.client();
    bed.accepts(1); // its life begins no later than ours here
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(1_500) {
        bed.echoes(&mut client);
    }
    bed.echoes(&mut client); // and this read is no earlier than that
    assert!(bed.endings.is_empty(), "{:?}", bed.endings);
    assert_eq!(bed.reads_to_end(&mut client).unwrap(), b"");
    drop(client);
    let ending = bed.ends_as(Kind::TimeoutRead);
    assert!(ending.duration_ms >= 2_000, "early: {} ms", ending.duration_ms);
}

#[test]
fn bytes_that_came_in_time_save_a_connection_even_if_the_server_comes_late() {
    let mut bed = Bed::with(|config| config.read_deadline_ms = Some(100));
    let mut client = bed.client();
    client.write_all(MESSAGE).unwrap();
    bed.accepts(1); // a turn that serves no connection
    server_is_stopped_for(Duration::from_millis(250));
    assert_eq!(bed.receives(&mut client, REPLY.len()), REPLY);
}

/// Regression: with more ready than one batch of events holds, a deadline could come before the
/// event of the bytes that save the connection. The last read is for them.
#[test]
#[cfg_attr(windows, ignore = "1,500 new connections take longer than 150 ms under wine")]
fn bytes_behind_a_full_batch_save_a_connection() {
    let mut bed = Bed::with(|config| {
        config.read_deadline_ms = Some(150);
        config.max_connections = 3_000;
        config.accepts_per_turn = 3_000;
    });
    let mut clients: Vec<TcpStream> = (0..1_500).map(|_| bed.client()).collect();
    clients.iter_mut().for_each(|client| client.write_all(MESSAGE).unwrap());
    bed.turn();
    assert_eq!(bed.last.accepted, 1_500, "all in one turn, which serves no connection");
    server_is_stopped_for(Duration::from_millis(300));
    for client in &mut clients {
        assert_eq!(bed.receives(client, REPLY.len()), REPLY);
    }
}

#[test]
fn what_comes_after_our_fin_is_dropped_and_causes_no_reset() {
    let mut bed = Bed::with(|config| config.read_deadline_ms = Some(100));
    let mut client = bed.client();
    assert_eq!(bed.reads_to_end(&mut client).unwrap(), b"");
    client.write_all(MESSAGE).unwrap();
    bed.turn();
    client.write_all(MESSAGE).unwrap();
    drop(client); // in order: a reset would show as an error in the evidence
    let ending = bed.ends_as(Kind::TimeoutRead);
    assert_eq!((ending.evidence.rx, ending.evidence.discarded), (28, 28));
    assert_eq!((ending.evidence.tx, ending.evidence.error), (0, None));
}

#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "only Linux tells that no FIN came")]
fn a_peer_that_never_closes_is_left_after_the_verdict_wait() {
    let mut bed = Bed::with(|config| {
        config.read_deadline_ms = Some(100);
        config.verdict_wait_ms = 1_000;
    });
    let client = bed.client();
    let ending = bed.ends_as(Kind::TimeoutRead);
    assert!(ending.verdict_wait_ms >= 1_000, "{ending:?}");
    // Its kernel acknowledges our FIN a little later: no reason to wait all over again.
    assert!(ending.verdict_wait_ms < 2_000, "{ending:?}");
    assert_eq!(ending.evidence.fin_received, Some(false));
    drop(client);
}

/// Sends far more than two sockets hold, from a thread of its own, until the server takes no more;
/// returns the error that ended it.
fn floods(client: &TcpStream) -> std::thread::JoinHandle<ErrorKind> {
    let mut writer = client.try_clone().unwrap();
    std::thread::spawn(move || {
        let bytes = vec![b'x'; 1 << 20];
        loop {
            if let Err(error) = writer.write_all(&bytes) {
                return error.kind();
            }
        }
    })
}

#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "only Linux tells what is undelivered")]
fn s17_a_peer_that_never_reads_is_reset_and_leaves_nothing_behind() {
    let mut bed = Bed::with(|config| {
        config.write_deadline_ms = Some(200);
        config.framing = Framing::Raw;
    });
    let client = bed.narrow_client();
    let address = client.local_addr().unwrap();
    let flood = floods(&client);
    let ending = bed.ends_as(Kind::TimeoutWriteStall);
    assert!(ending.evidence.undelivered.unwrap() > 0 && ending.evidence.unsent > 0);
    // A plain close would go on offering the rest in FIN-WAIT-1, for minutes.
    assert_eq!(sockets_between(bed.address(), address), Vec::<String>::new());
    assert_eq!(flood.join().unwrap(), ErrorKind::ConnectionReset);
}

/// The kernel calls a socket writable again only when a third of its buffer is free, so a slow
/// reader gives no event for a long time. Its acknowledgements are progress all the same.
#[test]
fn a_slow_reader_lives() {
    let mut bed = Bed::with(|config| {
        config.write_deadline_ms = Some(250);
        config.framing = Framing::Raw;
    });
    let mut client = bed.client();
    let begin = Instant::now();
    // Until its deadline has come up at all: before that nothing is shown.
    while begin.elapsed() < Duration::from_secs(2) || bed.alarms == 0 {
        tops_up(&mut client);
        bed.receives(&mut client, 400_000);
        bed.turn(); // sleeps until an event, or until its deadline would end it
        assert!(bed.endings.is_empty(), "{:?}", bed.endings);
    }
}

#[test]
fn without_a_deadline_there_is_no_end_and_no_wake_up() {
    let mut bed = Bed::with(|config| {
        config.read_deadline_ms = None;
        config.write_deadline_ms = None;
    });
    let mut client = bed.client();
    bed.echoes(&mut client);
    let handle = bed.server.handle();
    let waker = std::thread::spawn(move || {
        server_is_stopped_for(Duration::from_millis(300));
        handle.drain();
    });
    let turn = bed.turn(); // nothing but the stop wakes it
    waker.join().unwrap();
    assert_eq!((turn.events, turn.alarms, bed.endings.len()), (1, 1, 0));
}

/// Regression: however many connections were served in a turn, only a fixed number of deadlines was
/// handled, and under load they came later and later.
#[test]
fn deadlines_keep_their_share_of_a_busy_turn() {
    let mut bed = Bed::with(|config| {
        config.read_deadline_ms = Some(100);
        config.expiries_per_turn = 1;
        config.accepts_per_turn = 200;
    });
    let mut busy: Vec<TcpStream> = (0..100).map(|_| bed.client()).collect();
    let _silent: Vec<TcpStream> = (0..100).map(|_| bed.client()).collect();
    bed.accepts(200);
    busy.iter_mut().for_each(|client| client.write_all(MESSAGE).unwrap());
    server_is_stopped_for(Duration::from_millis(200));
    let turn = bed.turn();
    assert!(turn.visits >= 100 && turn.alarms >= 50, "{turn:?}");
}
