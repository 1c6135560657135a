//! A thousand mixed ends at a round trip of 40 ms, and what each client, and the line, knows to be
//! true: the verdict never contradicts it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use closecall::client::Client;
use closecall::kernel::mio_kernel::Handle;
use closecall::machine::reply::Framing;
use closecall::reactor::Ending;

use super::line::{Brought, To};
use super::net::Net;
use super::packet::{FIN, RST};
use super::truth::{ROWS, Truth};

const CONNECTIONS: u16 = 1_000;
const THREADS: u16 = 40;

/// Each connection has a port of its own, counted from here, which identifies it.
const FIRST_PORT: u16 = 10_000;

/// Ends the server when a client's thread panics, so that the test does not wait for its endings.
struct Ends(Handle);

impl Drop for Ends {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.abort();
        }
    }
}

#[test]
fn what_is_said_never_contradicts_what_happened() {
    let Some(net) = Net::new() else { return };
    let mut bed = net.bed(|config| {
        config.framing = Framing::Raw;
        config.max_connections = 2 * usize::from(CONNECTIONS);
    });
    let (net, server) = (&net, bed.address());
    let known = thread::scope(|scope| {
        let clients: Vec<_> = (0..THREADS)
            .map(|first| {
                let ends = Ends(bed.server.handle());
                scope.spawn(move || {
                    let _ends = ends;
                    let numbers = (first..CONNECTIONS).step_by(THREADS.into());
                    numbers.map(|number| runs(net, number, server)).collect::<Vec<_>>()
                })
            })
            .collect();
        bed.turns_until(|bed| bed.endings.len() >= CONNECTIONS.into());
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    let endings: HashMap<SocketAddr, &Ending> =
        bed.endings.iter().map(|ending| (ending.peer, ending)).collect();
    assert_eq!(endings.len(), usize::from(CONNECTIONS), "one ending for each connection");
    let brought = net.line.brought();
    let wrong: Vec<_> = known
        .into_iter()
        .filter_map(|mut truth: Truth| {
            let port = truth.client.port();
            let sends = |it: &&Brought| it.to == To::Server && it.port == port;
            let sent = |flag| brought.iter().filter(sends).any(|it| it.has(flag));
            truth.line = Some((sent(FIN), sent(RST)));
            let ending = endings[&truth.client];
            truth.contradiction(ending).map(|what| (what, truth, *ending))
        })
        .collect();
    assert!(wrong.is_empty(), "{} of them, the first: {:#?}", wrong.len(), wrong[0]);
}

/// Connection number `number`, and what its client knows of it. A long message would be nothing but
/// slow here.
fn runs(net: &Net, number: u16, server: SocketAddr) -> Truth {
    let rows: Vec<_> = ROWS.iter().filter(|row| !row.long).collect();
    let round = number / THREADS + number % THREADS; // each thread goes through all ways
    let row = rows[usize::from(round) % rows.len()];
    let stream = net.client_from(FIRST_PORT + number, server).expect("the backlog has room");
    let client = Client::over(&row.plan(server), stream).expect("there are files enough");
    row.ends(client, Duration::ZERO)
}
