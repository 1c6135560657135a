//! Promise: whatever the order of events, the verdict never contradicts what happened.
//!
//! Nothing is forced here: a server runs freely, clients of every kind run against it, and each
//! writes down what it knows to be true. Every connection comes from an address of its own, so that
//! its ending can be held against that.

use std::net::TcpStream;
use std::thread;

use crate::common::Bed;
use crate::truth::{CONNECTIONS, THREADS, nothing_contradicts, runs_clients};
use closecall::kernel::mio_kernel::Handle;
use closecall::machine::close::Certainty;
use closecall::machine::close::Kind::{LocalDrain, PeerFinDelivered};
use closecall::machine::reply::Framing;
use closecall::reactor::Stage;

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
    let mut bed = Bed::with(|config| {
        config.framing = Framing::Raw; // what a client sent is what its reply is
        config.max_connections = 2 * CONNECTIONS as usize;
    });
    let server = bed.address();
    let known = thread::scope(|scope| {
        let clients: Vec<_> = (0..THREADS)
            .map(|first| {
                let ends = Ends(bed.server.handle());
                scope.spawn(move || {
                    let _ends = ends;
                    runs_clients(first, server)
                })
            })
            .collect();
        bed.turns_until(|bed| bed.endings.len() >= CONNECTIONS as usize);
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    let counters = bed.server.counters();
    assert_eq!((counters.accepted, counters.open), (CONNECTIONS.into(), 0));
    nothing_contradicts(&known, &bed.endings);
}

/// S20, not forced: FINs cross. Whichever was first, both sides read everything and closed in
/// order, so there is no error, and the peer's FIN arrived.
#[test]
fn a_stop_while_clients_close() {
    const CLIENTS: usize = 400;
    let mut bed = Bed::new();
    let mut clients: Vec<TcpStream> = (0..CLIENTS).map(|_| bed.client()).collect();
    clients.iter_mut().for_each(|client| bed.echoes(client));
    let handle = bed.server.handle();
    let closer = thread::spawn(move || {
        for (number, client) in clients.into_iter().enumerate() {
            if number == CLIENTS / 4 {
                handle.drain();
            }
            drop(client);
        }
    });
    bed.turns_until(|bed| bed.last.stage.is_over());
    closer.join().unwrap();
    assert_eq!((bed.last.stage, bed.endings.len()), (Stage::Stopped, CLIENTS));
    for ending in &bed.endings {
        let (kind, evidence) = (ending.verdict.kind, &ending.evidence);
        assert!(matches!(kind, PeerFinDelivered | LocalDrain), "{ending:#?}");
        assert_eq!(ending.verdict.certainty, Certainty::Certain, "{ending:#?}");
        assert_eq!((evidence.error, evidence.fin_received), (None, Some(true)), "{ending:#?}");
        assert_eq!((evidence.undelivered, evidence.fin_acknowledged), (Some(0), true));
    }
}
