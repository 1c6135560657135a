//! Clients of every kind run against an echo server of std and one of tokio, nothing is forced, and
//! the verdict never contradicts what a client knows to be true.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use closecall::client::Way;
use closecall::machine::close::{Ending, Kind};
use closecall::observed::Observed;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;

use crate::truth::{
    CONNECTIONS, ROWS, THREADS, Truth, nothing_contradicts, runs_client, runs_clients,
};

/// How many connections there are, and what a thread does: every `THREADS`th of them.
type Runs = (u32, fn(u32, SocketAddr) -> Vec<Truth>);

/// Of the lab's race.
const AT_ONCE: u32 = 1_000;
const PATIENCE: Duration = Duration::from_secs(2);

/// S3, not forced: the reply, the FIN and the reset run against each other.
fn runs_at_once(first: u32, server: SocketAddr) -> Vec<Truth> {
    let mut rows = ROWS.iter().filter(|row| row.way == Way::CloseAtOnce && !row.long);
    let row = rows.next().expect("S3 is a row");
    let numbers = (first..AT_ONCE).step_by(THREADS as usize);
    numbers.map(|number| runs_client(number, row, server, Duration::ZERO)).collect()
}

/// Runs all clients, and holds what they know against the endings.
fn run_without_contradiction(
    server: SocketAddr,
    endings: &Receiver<Ending>,
    (connections, runs): Runs,
) -> Vec<Ending> {
    let known = thread::scope(|scope| {
        let clients: Vec<_> =
            (0..THREADS).map(|first| scope.spawn(move || runs(first, server))).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    let endings: Vec<Ending> = endings.iter().take(connections as usize).collect();
    nothing_contradicts(&known, &endings);
    endings
}

/// No order of S3 delivers the reply: the client has closed without reading it.
fn is_never_delivered(endings: &[Ending]) {
    let delivered = |ending: &&Ending| ending.verdict.kind == Kind::PeerFinDelivered;
    assert_eq!(endings.iter().find(delivered), None);
}

/// As a `recv` loop does it: what goes wrong is left to the ending.
fn echoes(stream: TcpStream, peer: SocketAddr, tell: &Sender<Ending>) {
    let mut stream = Observed::new(stream, peer);
    let mut buffer = vec![0; 65_536];
    while let Ok(bytes @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..bytes]).is_err() {
            break;
        }
    }
    tell.send(stream.finish(PATIENCE)).expect("the test waits for it");
}

const MIXED: Runs = (CONNECTIONS, runs_clients);
const S3: Runs = (AT_ONCE, runs_at_once);

#[test]
fn with_std_what_is_said_never_contradicts_what_happened() {
    let (server, endings) = starts_on_std(CONNECTIONS);
    run_without_contradiction(server, &endings, MIXED);
}

#[test]
fn with_std_a_reply_to_a_client_that_closes_at_once_is_never_delivered() {
    let (server, endings) = starts_on_std(AT_ONCE);
    is_never_delivered(&run_without_contradiction(server, &endings, S3));
}

fn starts_on_std(connections: u32) -> (SocketAddr, Receiver<Ending>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = listener.local_addr().unwrap();
    let (tell, endings) = channel();
    thread::spawn(move || {
        for _ in 0..connections {
            let (stream, peer) = listener.accept().expect("a client");
            let tell = tell.clone();
            thread::spawn(move || echoes(stream, peer, &tell));
        }
    });
    (server, endings)
}

#[test]
fn with_tokio_what_is_said_never_contradicts_what_happened() {
    let (_runtime, server, endings) = starts_on_tokio(CONNECTIONS);
    run_without_contradiction(server, &endings, MIXED);
}

#[test]
fn with_tokio_a_reply_to_a_client_that_closes_at_once_is_never_delivered() {
    let (_runtime, server, endings) = starts_on_tokio(AT_ONCE);
    is_never_delivered(&run_without_contradiction(server, &endings, S3));
}

fn starts_on_tokio(connections: u32) -> (Runtime, SocketAddr, Receiver<Ending>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (tell, endings) = channel();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let server = listener.local_addr().unwrap();
    runtime.spawn(async move {
        for _ in 0..connections {
            let (stream, peer) = listener.accept().await.expect("a client");
            tokio::spawn(echoes_on_tokio(stream, peer, tell.clone()));
        }
    });
    (runtime, server, endings)
}

async fn echoes_on_tokio(stream: tokio::net::TcpStream, peer: SocketAddr, tell: Sender<Ending>) {
    let mut stream = Observed::new(stream, peer);
    let mut buffer = vec![0; 65_536];
    while let Ok(bytes @ 1..) = stream.read(&mut buffer).await {
        if stream.write_all(&buffer[..bytes]).await.is_err() {
            break;
        }
    }
    tell.send(stream.finish(PATIENCE).await).expect("the test waits for it");
}
