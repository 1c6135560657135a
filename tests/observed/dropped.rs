//! A stream that is dropped, or finished more than once: its report is called exactly once.

use std::future::Future;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::pin::pin;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::task::{Context, Waker};
use std::time::Duration;

use closecall::machine::close::Certainty::{Certain, Likely};
use closecall::machine::close::Ending;
use closecall::machine::close::Kind::*;
use closecall::observed::{Observed, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};

use crate::common::{MESSAGE, reset};

/// Far more than any test here needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection of std: the client's end, and the server's end with the reports about it.
fn pair() -> (TcpStream, Observed<TcpStream>, Receiver<Ending>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (stream, peer) = listener.accept().unwrap();
    let (stream, reports) = reporting(Observed::new(stream, peer));
    (client, stream, reports)
}

fn reporting<S: Stream>(stream: Observed<S>) -> (Observed<S>, Receiver<Ending>) {
    let (tell, reports) = mpsc::channel();
    (stream.reports(move |ending| tell.send(ending).expect("the test is there")), reports)
}

/// The same of tokio.
async fn tokio_pair() -> (TcpStream, Observed<tokio::net::TcpStream>, Receiver<Ending>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (stream, peer) = listener.accept().await.unwrap();
    let (stream, reports) = reporting(Observed::new(stream, peer));
    (client, stream, reports)
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// The article's exchange, and the client closes.
fn echoes_and_closes(mut client: TcpStream, stream: &mut Observed<TcpStream>) {
    let mut buffer = [0; MESSAGE.len()];
    client.write_all(MESSAGE).unwrap();
    stream.read_exact(&mut buffer).unwrap();
    stream.write_all(&buffer).unwrap();
    client.read_exact(&mut buffer).unwrap();
    drop(client);
    assert_eq!(stream.read(&mut buffer).unwrap(), 0);
}

/// The same, with tokio.
async fn echoes_and_is_closed(mut client: TcpStream, stream: &mut Observed<tokio::net::TcpStream>) {
    let mut buffer = [0; MESSAGE.len()];
    client.write_all(MESSAGE).unwrap();
    stream.read_exact(&mut buffer).await.unwrap();
    stream.write_all(&buffer).await.unwrap();
    client.read_exact(&mut buffer).unwrap();
    drop(client);
    assert_eq!(stream.read(&mut buffer).await.unwrap(), 0);
}

/// There was one report, and there will be no other.
#[track_caller]
fn the_only(reports: &Receiver<Ending>) -> Ending {
    let ending = reports.recv_timeout(PATIENCE).expect("a report");
    assert_eq!(reports.recv_timeout(PATIENCE), Err(mpsc::RecvTimeoutError::Disconnected));
    ending
}

// ---- std ----------------------------------------------------------------------------------------

#[test]
fn dropped_without_finish_is_reported_with_what_is_known() {
    let (client, mut stream, reports) = pair();
    echoes_and_closes(client, &mut stream);
    assert_eq!(reports.try_recv(), Err(TryRecvError::Empty), "not before it is dropped");
    drop(stream);
    let ending = the_only(&reports);
    let verdict = ending.verdict;
    assert_eq!((verdict.kind, verdict.certainty), (PeerFinDelivered, Likely), "{ending:#?}");
    assert!(!ending.evidence.fin_sent, "nothing was sent to learn more");
}

#[test]
fn finished_and_dropped_is_reported_once() {
    let (client, mut stream, reports) = pair();
    echoes_and_closes(client, &mut stream);
    let ending = stream.finish(PATIENCE);
    assert_eq!((ending.verdict.kind, ending.verdict.certainty), (PeerFinDelivered, Certain));
    assert_eq!(stream.finish(PATIENCE), ending, "it has ended");
    drop(stream);
    assert_eq!(the_only(&reports), ending);
}

#[test]
fn dropped_without_a_report_is_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    drop(Observed::new(client, listener.local_addr().unwrap()));
    assert_eq!(listener.accept().unwrap().0.read(&mut [0]).unwrap(), 0);
}

// ---- tokio --------------------------------------------------------------------------------------

#[test]
fn within_a_runtime_a_dropped_stream_waits_for_its_evidence() {
    let runtime = runtime();
    let reports = runtime.block_on(async {
        let (client, mut stream, reports) = tokio_pair().await;
        echoes_and_is_closed(client, &mut stream).await;
        drop(stream);
        assert_eq!(reports.try_recv(), Err(TryRecvError::Empty), "that is a task of its own");
        while reports.try_recv() == Err(TryRecvError::Empty) {
            tokio::task::yield_now().await;
        }
        reports
    });
    assert_eq!(reports.try_recv(), Err(TryRecvError::Disconnected), "and no second one");
}

#[test]
fn within_a_runtime_the_report_of_a_dropped_stream_is_certain() {
    runtime().block_on(async {
        let (client, mut stream, reports) = tokio_pair().await;
        echoes_and_is_closed(client, &mut stream).await;
        drop(stream);
        let ending = tokio::task::spawn_blocking(move || the_only(&reports)).await.unwrap();
        assert_eq!((ending.verdict.kind, ending.verdict.certainty), (PeerFinDelivered, Certain));
    });
}

#[test]
fn outside_of_a_runtime_a_dropped_stream_is_reported_with_what_is_known() {
    let runtime = runtime();
    let (stream, reports) = runtime.block_on(async {
        let (client, mut stream, reports) = tokio_pair().await;
        echoes_and_is_closed(client, &mut stream).await;
        (stream, reports)
    });
    drop(stream);
    let ending = the_only(&reports);
    assert_eq!((ending.verdict.kind, ending.verdict.certainty), (PeerFinDelivered, Likely));
}

/// A runtime that shuts down drops its tasks, and takes no new ones.
#[test]
fn a_stream_that_is_dropped_with_its_runtime_is_reported_with_what_is_known() {
    let runtime = runtime();
    let (client, reports) = runtime.block_on(async {
        let (client, mut stream, reports) = tokio_pair().await;
        tokio::spawn(async move { stream.read(&mut [0]).await });
        tokio::task::yield_now().await;
        (client, reports)
    });
    drop(runtime);
    let ending = the_only(&reports);
    assert_eq!((ending.verdict.kind, ending.evidence.rx), (LocalIo, 0), "{ending:#?}");
    drop(client);
}

/// The same when it was dropped before, and is still being finished.
#[test]
fn a_dropped_stream_whose_runtime_ends_is_reported_with_what_is_known() {
    let runtime = runtime();
    let (client, reports) = runtime.block_on(async {
        let (client, stream, reports) = tokio_pair().await;
        drop(stream);
        tokio::task::yield_now().await;
        (client, reports)
    });
    drop(runtime);
    let ending = the_only(&reports);
    assert_eq!(ending.verdict.kind, LocalFinDelivered, "{ending:#?}");
    drop(client);
}

/// tokio's timers panic where its time is not enabled. The report comes all the same, once.
#[test]
fn without_timers_a_dropped_stream_is_reported_with_what_is_known() {
    let runtime = Builder::new_current_thread().enable_io().build().unwrap();
    let (client, reports) = runtime.block_on(async {
        let (client, stream, reports) = tokio_pair().await;
        drop(stream);
        tokio::task::yield_now().await;
        (client, reports)
    });
    let ending = the_only(&reports);
    assert_eq!(ending.verdict.kind, LocalFinDelivered, "{ending:#?}");
    drop(client);
}

#[test]
fn a_cancelled_finish_may_be_called_again() {
    runtime().block_on(async {
        let (client, mut stream, reports) = tokio_pair().await;
        {
            // The peer says nothing, so that it waits.
            let mut finish = pin!(stream.finish(PATIENCE));
            let mut context = Context::from_waker(Waker::noop());
            assert!(finish.as_mut().poll(&mut context).is_pending());
        }
        assert!(stream.seen().has_sent_fin());
        assert_eq!(reports.try_recv(), Err(TryRecvError::Empty));
        drop(client);
        let ending = stream.finish(PATIENCE).await;
        assert_eq!((ending.verdict.kind, ending.verdict.certainty), (LocalFinDelivered, Certain));
        assert_eq!(stream.finish(PATIENCE).await, ending);
        drop(stream);
        assert_eq!(the_only(&reports), ending);
    });
}

/// A cancelled finish, and then a drop: what was seen until then counts.
#[test]
fn a_cancelled_finish_is_finished_by_the_drop() {
    runtime().block_on(async {
        let (client, mut stream, reports) = tokio_pair().await;
        let patience = Duration::from_millis(1);
        assert!(tokio::time::timeout(patience, stream.finish(PATIENCE)).await.is_err());
        reset(client);
        drop(stream);
        let ending = tokio::task::spawn_blocking(move || the_only(&reports)).await.unwrap();
        assert_eq!(ending.verdict.kind, LocalFinRefused, "{ending:#?}");
    });
}

#[test]
fn a_client_that_was_shut_down_both_ways_is_distinguished_from_one_that_closed() {
    let (client, mut stream, reports) = pair();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    stream.write_all(MESSAGE).unwrap();
    reset(client);
    drop(stream);
    let ending = the_only(&reports);
    assert_eq!(ending.verdict.kind, PeerFinReplyDiscarded, "{ending:#?}");
}
