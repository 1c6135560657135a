//! A program that shuts down its side first and reads on: what counts as an answer to its FIN.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;

use closecall::machine::close::Certainty::{Certain, Likely};
use closecall::machine::close::Kind::*;
use closecall::machine::close::Probe;
use closecall::observed::Observed;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::{MESSAGE, error, said};
use crate::ends::{PATIENCE, on_tokio, pair};

#[test]
fn what_is_read_after_our_half_close_is_reported() {
    let (mut client, mut stream) = pair();
    stream.write_all(b"a question").unwrap();
    stream.shut_down().unwrap();
    let mut question = String::new();
    client.read_to_string(&mut question).unwrap();
    client.write_all(b"an answer").unwrap();
    drop(client);
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!((&*question, &*answer), ("a question", "an answer"));
    stream.shut_down().unwrap_or(()); // the system may say that there is nothing left to shut down
    let ending = stream.finish(PATIENCE);
    // The answer may have brought the acknowledgement of our FIN itself.
    assert_eq!((ending.verdict.kind, said(&ending)), (LocalFinHalfCloseServed, (0, Likely)));
}

/// Reads until the acknowledgement of our FIN is here. The peer is silent.
fn awaits_acknowledgement(stream: &mut Observed<TcpStream>) {
    stream.get_ref().set_nonblocking(true).unwrap();
    loop {
        let acknowledged = stream.get_ref().unacked() == Some(0);
        assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        if acknowledged {
            break;
        }
        thread::yield_now();
    }
    stream.get_ref().set_nonblocking(false).unwrap();
}

#[test]
fn an_answer_behind_the_acknowledgement_of_our_fin_is_certain() {
    let (mut client, mut stream) = pair();
    client.write_all(MESSAGE).unwrap();
    stream.shut_down().unwrap();
    stream.read_exact(&mut [0; MESSAGE.len()]).unwrap(); // lay here before
    awaits_acknowledgement(&mut stream);
    client.write_all(b"an answer").unwrap();
    drop(client);
    stream.read_to_end(&mut Vec::new()).unwrap();
    let ending = stream.finish(PATIENCE);
    assert_eq!((ending.verdict.kind, said(&ending)), (LocalFinHalfCloseServed, (0, Certain)));
}

/// What is dropped while the end is awaited counts as well.
#[test]
fn an_answer_that_is_dropped_is_an_answer() {
    let (client, mut stream) = pair();
    let answers = thread::spawn(move || {
        assert_eq!((&client).read(&mut [0]).unwrap(), 0, "our FIN");
        (&client).write_all(b"an answer").unwrap();
    });
    let ending = stream.finish(PATIENCE);
    assert_eq!(ending.verdict.kind, LocalFinHalfCloseServed, "{ending:#?}");
    assert!(ending.verdict.certainty >= Likely, "{ending:#?}");
    answers.join().unwrap();
}

#[test]
fn with_tokio_what_is_read_after_our_half_close_is_reported() {
    on_tokio(|mut client, mut stream| async move {
        stream.write_all(b"a question").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut question = String::new();
        client.read_to_string(&mut question).unwrap();
        client.write_all(b"an answer").unwrap();
        drop(client);
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert_eq!((&*question, &*answer), ("a question", "an answer"));
        let ending = stream.finish(PATIENCE).await;
        assert_eq!((ending.verdict.kind, said(&ending)), (LocalFinHalfCloseServed, (0, Likely)));
    });
}

/// Bytes of a peer that says what it has to say, and waits for our FIN.
const SPOKEN: usize = 1_000;

/// Regression: what lay unread when we shut down was taken for an answer to our FIN.
#[test]
fn what_lay_unread_at_our_half_close_is_no_answer_to_it() {
    let (mut client, mut stream) = pair();
    client.write_all(&[b'x'; SPOKEN]).unwrap(); // over the loopback it has arrived then
    stream.read_exact(&mut [0; 10]).unwrap();
    stream.shut_down().unwrap();
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    drop(client);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(rest.len(), SPOKEN - 10);
    let ending = stream.finish(PATIENCE);
    assert_eq!((ending.verdict.kind, said(&ending)), (LocalFinDelivered, (0, Certain)));
}

#[test]
fn with_tokio_what_lay_unread_at_our_half_close_is_no_answer_to_it() {
    on_tokio(|mut client, mut stream| async move {
        client.write_all(&[b'x'; SPOKEN]).unwrap();
        stream.read_exact(&mut [0; 10]).await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        drop(client);
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest.len(), SPOKEN - 10);
        let ending = stream.finish(PATIENCE).await;
        assert_eq!((ending.verdict.kind, said(&ending)), (LocalFinDelivered, (0, Certain)));
    });
}

/// Regression: the broken pipe of a write after our own shutdown was taken for a reset.
#[test]
fn a_write_after_our_half_close_is_no_reset() {
    let (client, mut stream) = pair();
    stream.shut_down().unwrap();
    assert_eq!(stream.write(b"late").unwrap_err().kind(), ErrorKind::BrokenPipe);
    drop(client);
    let ending = stream.finish(PATIENCE);
    assert_eq!((ending.verdict.kind, said(&ending)), (LocalFinDelivered, (0, Certain)));
    assert_eq!(error(&ending), None);
    on_tokio(|client, mut stream| async move {
        stream.shutdown().await.unwrap();
        assert_eq!(stream.write(b"late").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        drop(client);
        let ending = stream.finish(PATIENCE).await;
        assert_eq!((ending.verdict.kind, error(&ending)), (LocalFinDelivered, None));
    });
}
