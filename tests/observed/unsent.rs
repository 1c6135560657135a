//! What a program leaves: bytes that the kernel did not take, a stream that it drops, a reason that
//! comes too late.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use closecall::machine::close::Certainty::{Certain, Likely, Unknown};
use closecall::machine::close::Kind::*;
use closecall::machine::close::{LocalCause, Probe};
use closecall::observed::Observed;
use tokio::io::AsyncWriteExt;

use crate::common::said;
use crate::ends::{PATIENCE, on_tokio, pair};

const SHORT: Duration = Duration::from_millis(20);

/// More than all buffers hold.
const REPLY_BYTES: usize = 32 << 20;

/// Reads to the end, and says how much it was.
fn reads(mut client: TcpStream) -> thread::JoinHandle<usize> {
    thread::spawn(move || client.read_to_end(&mut Vec::new()).unwrap())
}

/// Regression: a write that had timed out left nothing unsent, so a cut reply was delivered.
#[test]
fn what_a_write_timeout_leaves_is_unsent() {
    for half_closes in [true, false] {
        let (client, mut stream) = pair();
        if half_closes {
            client.shutdown(Shutdown::Write).unwrap();
        }
        stream.get_ref().set_write_timeout(Some(SHORT)).unwrap();
        let reply = vec![0; REPLY_BYTES];
        let mut taken = 0;
        let error = loop {
            match stream.write(&reply[taken..]) {
                Ok(bytes) => taken += bytes,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        let reader = reads(client);
        let ending = stream.finish(PATIENCE);
        let expected = if half_closes { PeerFinUnconfirmed } else { LocalFinUnconfirmed };
        assert_eq!((ending.verdict.kind, said(&ending).1), (expected, Unknown), "{ending:#?}");
        assert_eq!(ending.evidence.unsent, (REPLY_BYTES - taken) as u64);
        drop(stream);
        assert_eq!(reader.join().unwrap(), taken);
    }
}

#[test]
fn what_a_cancelled_write_leaves_is_unsent() {
    on_tokio(|client, mut stream| async move {
        client.shutdown(Shutdown::Write).unwrap();
        let reply = vec![0; REPLY_BYTES];
        tokio::time::timeout(SHORT, stream.write_all(&reply)).await.unwrap_err();
        let taken = stream.seen().tx() as usize;
        let reader = reads(client);
        let ending = stream.finish(PATIENCE).await;
        assert_eq!((ending.verdict.kind, said(&ending).1), (PeerFinUnconfirmed, Unknown));
        assert_eq!(ending.evidence.unsent, (REPLY_BYTES - taken) as u64);
        drop(stream);
        assert_eq!(reader.join().unwrap(), taken);
    });
}

/// A write that found no room and was repeated leaves nothing.
#[test]
fn what_is_written_again_is_sent() {
    let (client, mut stream) = pair();
    stream.get_ref().set_write_timeout(Some(SHORT)).unwrap();
    let reply = vec![0; REPLY_BYTES];
    let (mut taken, mut reader) = (0, None);
    let mut client = Some(client);
    while taken < reply.len() {
        match stream.write(&reply[taken..]) {
            Ok(bytes) => taken += bytes,
            Err(_) => reader = reader.or_else(|| client.take().map(reads)),
        }
    }
    let ending = stream.finish(SHORT);
    assert_eq!((ending.evidence.unsent, ending.evidence.tx), (0, REPLY_BYTES as u64));
    drop(stream);
    assert_eq!(reader.unwrap().join().unwrap(), REPLY_BYTES);
}

/// Regression: a reason that came after the peer's FIN had been read took the ending for itself.
#[test]
fn a_reason_behind_the_peers_fin_is_too_late() {
    for cause in [LocalCause::Drain, LocalCause::ReadDeadline, LocalCause::MaxAge] {
        let (client, mut stream) = pair();
        drop(client);
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        stream.ends(cause);
        let ending = stream.finish(PATIENCE);
        assert_eq!((ending.verdict.kind, said(&ending)), (PeerFinProbe, (1, Certain)));
    }
}

/// Regression: the wait was counted from `finish`.
#[test]
fn the_wait_for_the_evidence_counts_from_our_fin() {
    let (client, mut stream) = pair();
    stream.shut_down().unwrap();
    let sent = Instant::now();
    while sent.elapsed() < SHORT {
        thread::yield_now(); // time passes: that is what is measured
    }
    assert!(stream.conclude().verdict_wait_ms >= SHORT.as_millis() as u64);
    drop(client);
}

/// Regression: it was called an error of this machine.
#[test]
fn a_living_stream_that_is_dropped_was_closed_by_this_side() {
    let (client, stream) = pair();
    let (tell, reports) = mpsc::channel();
    let mut stream = stream.reports(move |ending| tell.send(ending).unwrap());
    stream.write_all(b"all of it").unwrap();
    while stream.get_ref().unacked() != Some(0) {
        thread::yield_now();
    }
    drop(stream);
    let ending = reports.recv().unwrap();
    assert_eq!((ending.verdict.kind, said(&ending)), (LocalFinDelivered, (0, Likely)));
    drop(client);
}

#[test]
fn an_ipv4_peer_is_one_whichever_socket_accepted_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mapped: SocketAddr = "[::ffff:192.0.2.7]:50312".parse().unwrap();
    let ending = Observed::new(client, mapped).conclude();
    assert_eq!(ending.peer.to_string(), "192.0.2.7:50312");
}

#[test]
fn streams_can_be_shared_and_sent() {
    fn can<T: Send + Sync>() {}
    can::<Observed<TcpStream>>();
    can::<Observed<tokio::net::TcpStream>>();
}
