//! A thousand mixed ends at a round trip of 40 ms, and what each client, and the line, knows to be
//! true: what is said never contradicts it.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use closecall::kernel::mio::Handle;
use closecall::machine::close::Kind::{self, *};
use closecall::machine::close::{Certainty, Initiator};
use closecall::reactor::Ending;

use super::common::{MESSAGE, REPLY, half_close, reset};
use super::line::{Brought, To};
use super::net::Net;
use super::packet::{FIN, RST};

const CONNECTIONS: u16 = 1_000;
const THREADS: u16 = 40;

/// Each connection has a port of its own, counted from here: who is who is never in doubt.
const FIRST_PORT: u16 = 10_000;

/// The ways in which a client ends its connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Way {
    ReadsAndCloses,
    LeavesTheReply,
    ReadsPart,
    ReadsAndResets,
    SendsAndCloses,
    HalfClosesAndReads,
    HalfClosesAndDiscards,
    ConnectsAndCloses,
    ConnectsAndResets,
}

use Way::*;

/// What may be said of each way, and why nothing else.
const MAY_BE: &[(Way, &[Kind])] = &[
    // All was read before its FIN: there is one order only.
    (ReadsAndCloses, &[PeerFinDelivered]),
    // The reply was in its queue when it closed, so it sent a reset and no FIN. Whether an
    // acknowledgement went ahead of that is up to its kernel.
    (LeavesTheReply, &[PeerResetReplyAcked, PeerResetReplyUndelivered]),
    (ReadsPart, &[PeerResetReplyAcked, PeerResetReplyUndelivered]),
    (ReadsAndResets, &[PeerResetReplyAcked, PeerResetReplyUndelivered]),
    // Its FIN is a round trip ahead of the reply, unless its thread slept for as long.
    (SendsAndCloses, &[PeerFinReplyRefused, PeerResetReplyAcked, PeerResetReplyUndelivered]),
    // All was read up to our FIN. Its own FIN came before the reply went out, or after.
    (HalfClosesAndReads, &[PeerFinHalfCloseServed, PeerFinDelivered]),
    // Its reset met our FIN on the way; or it closed behind that, and then there is no reset (S6c).
    (
        HalfClosesAndDiscards,
        &[PeerFinReplyDiscarded, PeerFinReplyRefused, PeerFinHalfCloseServed, PeerFinDelivered],
    ),
    (ConnectsAndCloses, &[PeerFinProbe]),
    (ConnectsAndResets, &[PeerResetProbe]),
];

impl Way {
    /// Ends `client` in this way. Gives how much of the reply it read, and whether it read up to
    /// our FIN.
    fn end(self, mut client: TcpStream) -> std::io::Result<(usize, bool)> {
        if !matches!(self, ConnectsAndCloses | ConnectsAndResets) {
            client.write_all(MESSAGE)?;
        }
        let mut reply = [0; REPLY.len()];
        match self {
            ReadsAndCloses => client.read_exact(&mut reply).map(|()| (REPLY.len(), false)),
            LeavesTheReply => client.peek(&mut reply).map(|_| (0, false)),
            ReadsPart => client.read_exact(&mut reply[..5]).map(|()| (5, false)),
            ReadsAndResets => {
                client.read_exact(&mut reply)?;
                reset(client);
                Ok((REPLY.len(), false))
            }
            SendsAndCloses | ConnectsAndCloses => Ok((0, false)),
            HalfClosesAndReads => {
                half_close(&client);
                client.read_to_end(&mut Vec::new()).map(|bytes| (bytes, true))
            }
            HalfClosesAndDiscards => {
                half_close(&client);
                client.peek(&mut reply).map(|_| (0, false))
            }
            ConnectsAndResets => {
                reset(client);
                Ok((0, false))
            }
        }
    }
}

/// What is known about a connection when it is over.
#[derive(Clone, Copy, Debug)]
struct Truth {
    way: Way,
    /// Bytes of the reply that the client read.
    read: usize,
    /// Whether it read up to our FIN.
    saw_fin: bool,
    /// Whether the line brought a FIN of the client's to the server, and a reset.
    sent_fin: bool,
    sent_reset: bool,
}

/// What in this ending cannot be, if anything.
fn contradiction(truth: &Truth, ending: &Ending) -> Option<&'static str> {
    let (verdict, evidence) = (&ending.verdict, &ending.evidence);
    let may_be = MAY_BE.iter().find(|row| row.0 == truth.way).expect("a row for each way").1;
    let took_all = matches!(verdict.kind, PeerFinDelivered | PeerFinHalfCloseServed);
    let refused = verdict.kind == PeerFinReplyRefused;
    let certain = verdict.certainty == Certainty::Certain;
    // A reset takes acknowledgements with it.
    let loss = refused || verdict.kind == PeerResetReplyUndelivered;
    // A reset that meets our FIN looks like a peer that had gone for good (S1c): likely is all.
    let met_our_fin = truth.way == HalfClosesAndDiscards && truth.sent_reset;
    let rules = [
        (may_be.contains(&verdict.kind), "it cannot have ended so"),
        (verdict.status == 1 && verdict.kind.initiator() == Initiator::Peer, "the peer ended it"),
        (evidence.fin_received == Some(truth.sent_fin), "whether there was a FIN is known"),
        (evidence.error.is_some() == truth.sent_reset, "whether there was a reset is known"),
        (!refused || evidence.undelivered == Some(REPLY.len() as u32), "all of it is refused"),
        (evidence.tx >= truth.read as u64, "less was sent than was read"),
        (!truth.saw_fin || evidence.fin_sent, "our FIN was seen"),
        (!truth.saw_fin || truth.read == REPLY.len(), "a reply was cut off"),
        (!took_all || evidence.undelivered == Some(0), "part of the reply was not taken"),
        (!took_all || evidence.fin_acknowledged != truth.sent_reset, "a refused FIN is open"),
        (!took_all || certain != truth.sent_reset, "likely after a reset, or else certain"),
        (certain || met_our_fin || loss, "it is certain"),
    ];
    rules.into_iter().find(|(holds, _)| !holds).map(|(_, what)| what)
}

/// Ends the server when a client's thread panics, so that nobody waits for its endings.
struct Ends(Handle);

impl Drop for Ends {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.stop();
            self.0.stop();
        }
    }
}

#[test]
fn what_is_said_never_contradicts_what_happened() {
    let Some(net) = Net::new() else { return };
    let mut bed = net.bed(|config| config.max_connections = 2 * usize::from(CONNECTIONS));
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
    let endings: HashMap<u16, &Ending> =
        bed.endings.iter().map(|ending| (ending.peer.port(), ending)).collect();
    assert_eq!(endings.len(), usize::from(CONNECTIONS), "one ending for each connection");
    let brought = net.line.brought();
    let wrong: Vec<_> = known
        .iter()
        .filter_map(|&(port, way, (read, saw_fin))| {
            let sent = |flag| {
                brought
                    .iter()
                    .any(|it: &Brought| it.to == To::Server && it.port == port && it.has(flag))
            };
            let truth = Truth { way, read, saw_fin, sent_fin: sent(FIN), sent_reset: sent(RST) };
            let ending = endings[&port];
            contradiction(&truth, ending).map(|what| (what, truth, *ending))
        })
        .collect();
    assert!(wrong.is_empty(), "{} of them, the first: {:#?}", wrong.len(), wrong[0]);
}

/// Connection number `number`: its port, its way, and what the client knows of it.
fn runs(net: &Net, number: u16, server: std::net::SocketAddr) -> (u16, Way, (usize, bool)) {
    let round = number / THREADS + number % THREADS; // each thread goes through all ways
    let way = MAY_BE[usize::from(round) % MAY_BE.len()].0;
    let port = FIRST_PORT + number;
    let client = net.client_from(port, server).expect("the backlog has room");
    match way.end(client) {
        Ok(known) => (port, way, known),
        // Nobody who reads is reset by this server, and who only writes does not hear of it.
        Err(error) => panic!("{way:?}, connection {number}: {error}"),
    }
}
