//! `finish`: what it does, its patience, and timeouts of the caller that it keeps.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use closecall::machine::close::Certainty::{Certain, Likely};
use closecall::machine::close::Kind::*;
use closecall::machine::close::{LocalCause, Via};
use closecall::observed::Observed;
use socket2::SockRef;
use tokio::io::AsyncWriteExt;
use tokio::runtime::Builder;

use crate::common::{MESSAGE, error, half_close, reset, said};

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(20);

fn streams() -> (TcpStream, TcpStream, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (stream, peer) = listener.accept().unwrap();
    (client, stream, peer)
}

pub(crate) fn pair() -> (TcpStream, Observed<TcpStream>) {
    let (client, stream, peer) = streams();
    (client, Observed::new(stream, peer))
}

/// Runs with a connection whose server's end is tokio's.
pub(crate) fn on_tokio<F: Future<Output = ()>>(
    test: impl FnOnce(TcpStream, Observed<tokio::net::TcpStream>) -> F,
) {
    let (client, stream, peer) = streams();
    stream.set_nonblocking(true).unwrap();
    Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let stream = tokio::net::TcpStream::from_std(stream).unwrap();
        test(client, Observed::new(stream, peer)).await;
    });
}

// ---- patience -----------------------------------------------------------------------------------

#[test]
fn a_peer_that_never_closes_is_waited_for_no_longer_than_the_patience() {
    let (client, mut stream) = pair();
    for patience in [Duration::ZERO, SHORT] {
        let ending = stream.finish(patience);
        assert_eq!((ending.verdict.kind, said(&ending)), (LocalFinDelivered, (0, Likely)));
        assert!(ending.verdict_wait_ms < 10_000, "{ending:#?}");
    }
    on_tokio(|client, mut stream| async move {
        let ending = stream.finish(SHORT).await;
        assert_eq!((ending.verdict.kind, said(&ending)), (LocalFinDelivered, (0, Likely)));
        assert!(ending.verdict_wait_ms < 10_000, "{ending:#?}");
        drop(client);
    });
    drop(client);
}

/// A patience without an end is none that overflows.
#[test]
fn the_longest_patience_is_a_patience() {
    let (client, mut stream) = pair();
    drop(client);
    assert_eq!(stream.finish(Duration::MAX).verdict.kind, PeerFinProbe);
    on_tokio(|client, mut stream| async move {
        drop(client);
        assert_eq!(stream.finish(Duration::MAX).await.verdict.kind, PeerFinProbe);
    });
}

/// A thread that writes until its connection is reset.
fn sends_for_ever(mut client: TcpStream) -> (Arc<AtomicBool>, thread::JoinHandle<io::Error>) {
    let begun = Arc::new(AtomicBool::new(false));
    let begins = Arc::clone(&begun);
    let sender = thread::spawn(move || {
        loop {
            if let Err(error) = client.write_all(&[b'x'; 1 << 16]) {
                return error;
            }
            begins.store(true, Ordering::Release);
        }
    });
    (begun, sender)
}

#[test]
fn a_peer_that_sends_indefinitely_is_read_until_the_patience_ends() {
    let (client, mut stream) = pair();
    let (begun, sender) = sends_for_ever(client);
    while !begun.load(Ordering::Acquire) {
        thread::yield_now();
    }
    let ending = stream.finish(SHORT);
    let evidence = &ending.evidence;
    assert_eq!((evidence.fin_received, ending.verdict.kind), (Some(false), LocalFinDelivered));
    assert!(evidence.discarded > 0 && evidence.discarded == evidence.rx, "{ending:#?}");
    drop(stream);
    sender.join().unwrap();
}

#[test]
fn with_tokio_a_peer_that_sends_indefinitely_is_read_until_the_patience_ends() {
    on_tokio(|client, mut stream| async move {
        let (begun, sender) = sends_for_ever(client);
        while !begun.load(Ordering::Acquire) {
            thread::yield_now();
        }
        let ending = stream.finish(SHORT).await;
        let evidence = &ending.evidence;
        assert_eq!((evidence.fin_received, ending.verdict.kind), (Some(false), LocalFinDelivered));
        assert!(evidence.discarded > 0 && evidence.discarded == evidence.rx, "{ending:#?}");
        drop(stream);
        sender.join().unwrap();
    });
}

// ---- which side was first -----------------------------------------------------------------------

/// Its FIN was in our queue, unread, when we called `finish`.
#[test]
fn a_fin_that_was_here_before_ours_was_first() {
    let (mut client, mut stream) = pair();
    stream.write_all(MESSAGE).unwrap();
    client.read_exact(&mut [0; MESSAGE.len()]).unwrap();
    drop(client);
    let ending = stream.finish(PATIENCE);
    assert_eq!((ending.verdict.kind, said(&ending)), (PeerFinDelivered, (1, Certain)));
    on_tokio(|mut client, mut stream| async move {
        stream.write_all(MESSAGE).await.unwrap();
        client.read_exact(&mut [0; MESSAGE.len()]).unwrap();
        drop(client);
        stream.shutdown().await.unwrap();
        let ending = stream.finish(PATIENCE).await;
        assert_eq!((ending.verdict.kind, said(&ending)), (PeerFinDelivered, (1, Certain)));
    });
}

/// And so was its reset, whatever the reason that we give.
#[test]
fn a_reset_that_was_here_before_our_fin_was_first() {
    let (client, mut stream) = pair();
    reset(client);
    stream.ends(LocalCause::ReadDeadline);
    let ending = stream.finish(PATIENCE);
    assert_eq!(ending.verdict.kind, PeerResetProbe, "{ending:#?}");
    assert_eq!(error(&ending), Some((libc::ECONNRESET, Via::Recv)));
}

/// A request that we did not answer lies before its FIN: we cut it off.
#[test]
fn a_fin_behind_a_request_that_we_leave_unread_does_not_make_it_the_peers_end() {
    let (mut client, mut stream) = pair();
    client.write_all(MESSAGE).unwrap();
    drop(client);
    let ending = stream.finish(PATIENCE);
    assert_eq!(ending.verdict.kind, LocalFinDelivered, "{ending:#?}");
    assert_eq!(ending.evidence.discarded, MESSAGE.len() as u64);
}

#[test]
fn a_deadline_of_the_caller_is_reported() {
    let (client, mut stream) = pair();
    stream.ends(LocalCause::ReadDeadline);
    let closes = thread::spawn(move || {
        assert_eq!((&client).read(&mut [0]).unwrap(), 0, "our FIN");
    });
    let ending = stream.finish(PATIENCE);
    assert_eq!((ending.verdict.kind, said(&ending)), (TimeoutRead, (2, Certain)));
    closes.join().unwrap();
}

// ---- calls that say nothing ---------------------------------------------------------------------

#[test]
fn empty_reads_and_writes_are_no_evidence() {
    let (mut client, mut stream) = pair();
    client.write_all(b"!").unwrap(); // an empty read waits for a byte
    assert_eq!(stream.read(&mut []).unwrap(), 0);
    assert_eq!(stream.read_vectored(&mut [IoSliceMut::new(&mut [])]).unwrap(), 0);
    assert_eq!(stream.write(&[]).unwrap(), 0);
    assert_eq!(stream.write_vectored(&[]).unwrap(), 0);
    assert!(!stream.seen().has_fin());
    let ending = stream.finish(Duration::ZERO);
    assert_eq!(
        (ending.verdict.kind, ending.evidence.fin_received),
        (LocalFinDelivered, Some(false))
    );
    drop(client);
    on_tokio(|client, mut stream| async move {
        assert_eq!(stream.write(&[]).await.unwrap(), 0);
        assert!(!stream.seen().has_fin());
        drop(client);
    });
}

#[test]
fn vectored_calls_are_counted() {
    let (mut client, mut stream) = pair();
    client.write_all(b"abcdef").unwrap();
    let (mut one, mut other) = ([0; 2], [0; 8]);
    let mut parts = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut other)];
    assert_eq!(stream.read_vectored(&mut parts).unwrap(), 6);
    assert_eq!(stream.write_vectored(&[IoSlice::new(b"gh"), IoSlice::new(b"ijk")]).unwrap(), 5);
    assert_eq!((stream.seen().rx(), stream.seen().tx()), (6, 5));
    client.read_exact(&mut [0; 5]).unwrap();
    drop(client);
    assert_eq!(stream.read_vectored(&mut [IoSliceMut::new(&mut [0])]).unwrap(), 0);
    assert_eq!(stream.finish(PATIENCE).verdict.kind, PeerFinDelivered);
    on_tokio(|client, mut stream| async move {
        let parts = [IoSlice::new(b"gh"), IoSlice::new(b"ijk")];
        assert_eq!(stream.write_vectored(&parts).await.unwrap(), 5);
        assert_eq!(stream.seen().tx(), 5);
        drop(client);
    });
}

#[test]
fn a_timeout_of_the_callers_is_no_error_and_stays_as_it_is() {
    let (mut client, mut stream) = pair();
    stream.get_ref().set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    let kind = stream.read(&mut [0]).unwrap_err().kind();
    assert!(matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut));
    assert!(!stream.seen().has_error());
    client.write_all(MESSAGE).unwrap();
    assert_eq!(stream.read(&mut [0; 64]).unwrap(), MESSAGE.len());
    let before = stream.get_ref().read_timeout().unwrap(); // in ticks of the system
    stream.finish(SHORT);
    assert_eq!(stream.get_ref().read_timeout().unwrap(), before);
}

#[cfg(unix)]
#[test]
fn a_stream_that_does_not_block_does_not_block_afterwards() {
    let (_client, mut stream) = pair();
    stream.get_ref().set_nonblocking(true).unwrap();
    stream.finish(SHORT);
    assert!(SockRef::from(stream.get_ref()).nonblocking().unwrap());
    assert_eq!(stream.get_ref().read_timeout().unwrap(), None);
}

// ---- the system's own timeout -------------------------------------------------------------------

/// TCP_USER_TIMEOUT ends it while `finish` waits, and the read that waits then has the error.
#[cfg(target_os = "linux")]
#[test]
fn a_timeout_of_the_systems_is_an_error() {
    let (client, mut stream) = pair();
    SockRef::from(stream.get_ref()).set_tcp_user_timeout(Some(Duration::from_millis(300))).unwrap();
    stream.get_ref().set_nonblocking(true).unwrap();
    while stream.write(&[b'x'; 1 << 16]).is_ok() {} // the client takes nothing
    let ending = stream.finish(PATIENCE);
    assert_eq!((ending.verdict.kind, ending.verdict.status), (LocalFinUnconfirmed, 2));
    assert_eq!(error(&ending), Some((libc::ETIMEDOUT, Via::Recv)), "{ending:#?}");
    drop(client);
}

// ---- addresses ----------------------------------------------------------------------------------

/// getpeername fails then.
#[test]
fn the_peer_of_a_connection_that_was_reset_before_accept_is_known() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let address = client.local_addr().unwrap();
    reset(client);
    let (stream, peer) = listener.accept().unwrap();
    assert!(stream.peer_addr().is_err());
    let mut stream = Observed::new(stream, peer);
    assert!(stream.read(&mut [0]).is_err());
    let ending = stream.finish(PATIENCE);
    assert_eq!((ending.verdict.kind, ending.peer), (PeerResetProbe, address));
}

/// A client of one's own: "reply" is what we sent.
#[test]
fn a_client_may_be_observed_as_well() {
    let (server, client, _) = streams();
    let peer = client.peer_addr().unwrap();
    let mut client = Observed::new(client, peer);
    client.write_all(MESSAGE).unwrap();
    (&server).read_exact(&mut [0; MESSAGE.len()]).unwrap();
    half_close(&server);
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    client.get_ref().shutdown(Shutdown::Read).unwrap(); // puts nothing on the wire
    assert_eq!(client.finish(PATIENCE).verdict.kind, PeerFinDelivered);
}
